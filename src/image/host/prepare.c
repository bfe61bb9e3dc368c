/* Making a prepared image's file of an archive or a directory. */
#define _GNU_SOURCE
#include "image/host/prepare.h"

#include "image/host/directory.h"
#include "image/host/output.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <hyperlight/abi/image.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE_MIN 65536u

static hl_status check_limits(const hl_prepare_options *options, hl_error *err)
{
    if (options->size_max < SIZE_MIN || options->size_max > HL_PREPARE_SIZE_MAX)
        return hl__error_set(err, HL_INVALID_ARGUMENT, NULL,
                             "hl_prepare_options.size_max goes from %u to 16 GiB", SIZE_MIN);
    if (options->files_max > HL_PREPARE_FILES_MAX)
        return hl__error_set(err, HL_INVALID_ARGUMENT, NULL,
                             "hl_prepare_options.files_max goes up to %u", HL_PREPARE_FILES_MAX);
    if (options->depth_max > HL_PREPARE_DEPTH_MAX)
        return hl__error_set(err, HL_INVALID_ARGUMENT, NULL,
                             "hl_prepare_options.depth_max goes up to %u", HL_PREPARE_DEPTH_MAX);
    return HL_OK;
}

hl_status hl__prepare_options(hl_prepare_options *out, const hl_prepare_options *options,
                              hl_error *err)
{
    hl_status status =
        hl__options_copy(out, sizeof *out, sizeof *out, options, "hl_prepare_options", err);
    if (status != HL_OK)
        return status;
    if (out->size_max == 0)
        out->size_max = HL_PREPARE_SIZE_MAX;
    if (out->files_max == 0)
        out->files_max = HL_PREPARE_FILES_DEFAULT;
    if (out->depth_max == 0)
        out->depth_max = HL_PREPARE_DEPTH_DEFAULT;
    if (out->cache_size_max == 0)
        out->cache_size_max = HL_PREPARE_CACHE_SIZE_DEFAULT;
    if (out->timeout_ns == 0)
        out->timeout_ns = HL_PREPARE_TIMEOUT_NS_DEFAULT;
    if (out->timeout_ns > INT64_MAX / 2)
        out->timeout_ns = INT64_MAX / 2;
    return check_limits(out, err);
}

/* ---- What the input is ---- */

static bool is_prepared(int file)
{
    uint64_t magic = 0;
    return pread(file, &magic, sizeof magic, 0) == (ssize_t)sizeof magic && magic == HL_IMAGE_MAGIC;
}

static bool is_layout(int directory)
{
    struct stat attributes;
    return fstatat(directory, "oci-layout", &attributes, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(attributes.st_mode) &&
           fstatat(directory, "index.json", &attributes, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(attributes.st_mode);
}

hl_status hl__input_open(const char *path, struct hl__input *input, hl_error *err)
{
    *input =
        (struct hl__input){.path = path, .file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (input->file < 0 || fstat(input->file, &input->attributes) != 0) {
        hl_status status =
            hl__error_os(err, HL_IMAGE_UNREADABLE, errno, "open", "cannot read '%s'", path);
        hl__input_close(input);
        return status;
    }
    if (S_ISDIR(input->attributes.st_mode)) {
        input->kind = is_layout(input->file) ? HL__INPUT_LAYOUT : HL__INPUT_STREAM;
        return HL_OK;
    }
    input->kind = HL__INPUT_ARCHIVE;
    input->prepared = S_ISREG(input->attributes.st_mode) && is_prepared(input->file);
    if (S_ISREG(input->attributes.st_mode))
        return HL_OK;
    hl__input_close(input);
    return hl__error_set(err, HL_IMAGE_UNREADABLE, NULL, "'%s' is neither a file nor a directory",
                         path);
}

void hl__input_close(struct hl__input *input)
{
    if (input->file >= 0)
        close(input->file);
    input->file = -1;
}

/* ---- Making the image ---- */

static hl_status send_directory(struct hl__child *child, const struct hl__input *input,
                                hl_error *err)
{
    struct hl__records *records = malloc(sizeof *records);
    if (!records)
        return hl__error_set(err, HL_OUT_OF_MEMORY, NULL, "no memory left to read '%s'",
                             input->path);
    records->child = child;
    records->used = 0;
    hl_status status = hl__directory_send(records, input->file, input->path, "", true, err);
    if (status == HL_OK)
        status = hl__records_end(records, err);
    free(records);
    return status;
}

/* Blobs have names that are digests: nothing else of a directory is opened for the helper. */
static bool is_blob(const char *name)
{
    return strlen(name) == 64 && strspn(name, "0123456789abcdef") == 64;
}

static int open_plain(int directory, const char *name)
{
    struct stat attributes;
    int file = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0)
        return -errno;
    if (fstat(file, &attributes) == 0 && S_ISREG(attributes.st_mode))
        return file;
    close(file);
    return -EACCES;
}

static int open_blob(int layout, const char *name)
{
    int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int blobs = openat(layout, "blobs", flags);
    int directory = blobs < 0 ? -1 : openat(blobs, "sha256", flags);
    int file = directory < 0 ? -errno : open_plain(directory, name);
    if (blobs >= 0)
        close(blobs);
    if (directory >= 0)
        close(directory);
    return file;
}

static int open_layout_file(const char *path, void *user)
{
    static const char prefix[] = "blobs/sha256/";
    const struct hl__input *input = user;
    const char *name = path + sizeof prefix - 1;
    if (strcmp(path, "index.json") == 0)
        return open_plain(input->file, path);
    if (strncmp(path, prefix, sizeof prefix - 1) == 0 && is_blob(name))
        return open_blob(input->file, name);
    return -EACCES;
}

hl_status hl__prepare(const struct hl__input *input, int output, const hl_prepare_options *options,
                      hl_error *err)
{
    struct hl__child child;
    int archive = input->kind == HL__INPUT_ARCHIVE ? input->file : -1;
    hl_status status = hl__child_start(&child, input->kind, archive, output, options, err);
    if (status != HL_OK)
        return status;
    child.open = input->kind == HL__INPUT_LAYOUT ? open_layout_file : NULL;
    child.open_user = (void *)input;
    if (input->kind == HL__INPUT_STREAM)
        status = send_directory(&child, input, err);
    if (status != HL_OK) {
        hl__child_abandon(&child);
        return status;
    }
    status = hl__child_finish(&child, err);
    return status == HL_OK ? hl__output_check(output, child.size, err) : status;
}

hl_status hl_prepare_file(const char *input, const char *output, const hl_prepare_options *options,
                          hl_error *err)
{
    hl_prepare_options complete;
    struct hl__input opened;
    struct hl__output made;
    if (!input || !output)
        return hl__error_set(err, HL_INVALID_ARGUMENT, NULL, "%s is NULL",
                             input ? "output" : "input");
    hl_status status = hl__prepare_options(&complete, options, err);
    if (status == HL_OK)
        status = hl__input_open(input, &opened, err);
    if (status != HL_OK)
        return status;
    if (opened.prepared)
        status = hl__error_set(err, HL_INVALID_ARGUMENT, NULL, "'%s' is a prepared image already",
                               input);
    if (status == HL_OK)
        status = hl__output_open(&made, output, 0666, err);
    if (status == HL_OK) {
        status = hl__prepare(&opened, made.file, &complete, err);
        status = hl__output_close(&made, status, err);
    }
    hl__input_close(&opened);
    return status;
}
