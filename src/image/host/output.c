/* Files that appear when they are complete. */
#define _GNU_SOURCE
#include "image/host/output.h"

#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <hyperlight/abi/image.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 16

static bool name_temporary(struct hl__output *output)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return false;
    int length = snprintf(output->temporary, sizeof output->temporary, "%s.%016" PRIx64 ".new",
                          output->path, random);
    if (length < (int)sizeof output->temporary)
        return true;
    errno = ENAMETOOLONG;
    return false;
}

static void open_named(struct hl__output *output, unsigned mode)
{
    errno = EEXIST;
    for (int i = 0; i < TRIES && output->file < 0 && errno == EEXIST; i++) {
        if (!name_temporary(output))
            return;
        output->file = open(output->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    }
    output->named = output->file >= 0;
}

struct link {
    char path[32];
};

/* What linkat() follows to a file that has no name. */
static struct link link_to(int file)
{
    struct link link;
    snprintf(link.path, sizeof link.path, "/proc/self/fd/%d", file);
    return link;
}

static int open_directory_of(const char *path, int flags, unsigned mode)
{
    const char *slash = strrchr(path, '/');
    char directory[PATH_MAX];
    int size = slash ? (int)(slash - path) + 1 : 2;
    if (size >= PATH_MAX)
        return -1;
    snprintf(directory, sizeof directory, "%.*s", size, slash ? path : "./");
    return open(directory, flags, mode);
}

/* A file without a name is gone with the process, whatever ends that. Not every file system has them. */
static void open_nameless(struct hl__output *output, unsigned mode)
{
    output->file = open_directory_of(output->path, O_RDWR | O_TMPFILE | O_CLOEXEC, mode);
    if (output->file < 0 || access(link_to(output->file).path, F_OK) == 0)
        return;
    close(output->file);
    output->file = -1;
}

hl_status hl__output_open(struct hl__output *output, const char *path, unsigned mode, hl_error *err)
{
    *output = (struct hl__output){.path = path, .file = -1};
    open_nameless(output, mode);
    if (output->file < 0)
        open_named(output, mode);
    if (output->file < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "open", "cannot make a file beside '%s'", path);
    return HL_OK;
}

hl_status hl__output_name(struct hl__output *output, hl_error *err)
{
    errno = EEXIST;
    for (int i = 0; i < TRIES && !output->named && errno == EEXIST; i++)
        output->named =
            name_temporary(output) && linkat(AT_FDCWD, link_to(output->file).path, AT_FDCWD,
                                             output->temporary, AT_SYMLINK_FOLLOW) == 0;
    return output->named ? HL_OK
                         : hl__error_os(err, HL_SYSTEM, errno, "linkat",
                                        "cannot make a file beside '%s'", output->path);
}

/* What is under the name after a power failure is whole. */
static hl_status keep(struct hl__output *output, hl_error *err)
{
    if (fsync(output->file) != 0)
        return hl__error_os(err, HL_SYSTEM, errno, "fsync", "cannot write '%s'", output->path);
    hl_status status = hl__output_name(output, err);
    if (status != HL_OK)
        return status;
    if (rename(output->temporary, output->path) != 0)
        return hl__error_os(err, HL_SYSTEM, errno, "rename", "cannot make '%s'", output->path);
    return HL_OK;
}

hl_status hl__output_close(struct hl__output *output, hl_status status, hl_error *err)
{
    if (status == HL_OK)
        status = keep(output, err);
    if (status != HL_OK) {
        hl__output_discard(output);
        return status;
    }
    close(output->file);
    output->file = -1;
    return HL_OK;
}

void hl__output_discard(struct hl__output *output)
{
    if (output->named)
        unlink(output->temporary);
    close(output->file);
    output->file = -1;
}

hl_status hl__output_head(const char *path, struct hl_image_head *head, hl_error *err)
{
    int file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    bool good = file >= 0 && pread(file, head, sizeof *head, 0) == (ssize_t)sizeof *head;
    int error = file >= 0 ? EIO : errno;
    if (file >= 0)
        close(file);
    return good ? HL_OK
                : hl__error_os(err, HL_IMAGE_UNREADABLE, error, "open", "cannot read '%s'", path);
}

hl_status hl__output_check(int file, uint64_t size, hl_error *err)
{
    struct hl_image_head head;
    struct stat attributes;
    if (fstat(file, &attributes) != 0 || (uint64_t)attributes.st_size != size ||
        pread(file, &head, sizeof head, 0) != (ssize_t)sizeof head ||
        head.magic != HL_IMAGE_MAGIC || head.version != HL_IMAGE_VERSION || head.size != size ||
        size % 4096 != 0)
        return hl__error_set(err, HL_IMAGE_INVALID, NULL,
                             "hyperlight-prepare made no image, without saying why");
    return HL_OK;
}
