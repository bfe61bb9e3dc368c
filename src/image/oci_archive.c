/* Layouts of containers' images in tars: found out, and their files read out of the tar. */
#define _GNU_SOURCE
#include "image/oci.h"

#include "util/error.h"

#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The name of a member without what says nothing. NULL: it has none. */
static const char *member_name(struct archive_entry *entry)
{
    const char *name = archive_entry_pathname(entry);
    while (name && (name[0] == '/' || (name[0] == '.' && name[1] == '/')))
        name++;
    return name;
}

/* ---- Detecting ---- */

static bool is_hex(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!isdigit((unsigned char)text[i]) && (text[i] < 'a' || text[i] > 'f'))
            return false;
    return true;
}

/* "ID/", "ID/layer.tar", "ID.json": what older versions of docker save. */
static bool is_docker_name(const char *name)
{
    size_t size = strcspn(name, "/.");
    return size == 64 && is_hex(name, size);
}

static bool is_layout_name(const char *name)
{
    static const char *const names[] = {
        "", ".", "blobs", "oci-layout", "index.json", "manifest.json", "repositories"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return strncmp(name, "blobs/", 6) == 0 || is_docker_name(name);
}

struct detected {
    bool layout, index, manifest;
};

/* False: the member is of no layout. */
static bool look_at(struct detected *detected, const char *name)
{
    detected->layout |= name && strcmp(name, "oci-layout") == 0;
    detected->index |= name && strcmp(name, "index.json") == 0;
    detected->manifest |= name && strcmp(name, "manifest.json") == 0;
    return name && is_layout_name(name);
}

hl_status hl__oci_detect(int file, enum hl__oci_kind *kind, hl_error *err)
{
    struct hl__file_source *source = malloc(sizeof *source);
    struct archive *reader = NULL;
    struct archive_entry *entry;
    struct detected detected = {0};
    *kind = HL__OCI_NONE;
    if (!source)
        return hl__error_set(err, HL_OUT_OF_MEMORY, NULL, "no memory left to read the archive");
    hl_status status = hl__file_source_init(source, file, err);
    if (status == HL_OK)
        status = hl__archive_open(&source->base, &reader, err);
    bool going = status == HL_OK;
    while (going) {
        int result = archive_read_next_header(reader, &entry);
        going = result == ARCHIVE_OK || result == ARCHIVE_WARN;
        if (result == ARCHIVE_EOF)
            *kind = detected.layout && detected.index ? HL__OCI_LAYOUT
                    : detected.manifest               ? HL__OCI_DOCKER
                                                      : HL__OCI_NONE;
        going = going && look_at(&detected, member_name(entry));
    }
    archive_read_free(reader);
    free(source);
    return status;
}

/* ---- Files in the tar ---- */

static ssize_t read_part(struct hl__source *base, const void **data)
{
    struct hl__oci_archive *archive =
        (struct hl__oci_archive *)((char *)base - offsetof(struct hl__oci_archive, member));
    size_t size;
    int64_t offset;
    int result = archive_read_data_block(archive->reader, data, &size, &offset);
    if (result == ARCHIVE_EOF)
        return 0;
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
        base->status = hl__archive_failed(archive->reader, &archive->outer.base,
                                          "a layer in the archive", archive->err);
    else if (offset != archive->offset)
        base->status = hl__error_set(archive->err, HL_IMAGE_INVALID, NULL,
                                     "the archive has a layer with holes");
    if (base->status != HL_OK)
        return -1;
    archive->offset += (int64_t)size;
    return size > 0 ? (ssize_t)size : read_part(base, data);
}

static void close_member(struct hl__oci_files *files)
{
    struct hl__oci_archive *archive = (struct hl__oci_archive *)files;
    archive_read_free(archive->reader);
    archive->reader = NULL;
}

static hl_status find_member(struct hl__oci_archive *archive, const char *name, hl_error *err)
{
    struct archive_entry *entry;
    for (;;) {
        int result = archive_read_next_header(archive->reader, &entry);
        if (result == ARCHIVE_EOF)
            return hl__error_set(err, HL_IMAGE_INVALID, NULL,
                                 "the archive lacks the file '%s', which it refers to", name);
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
            return hl__archive_failed(archive->reader, &archive->outer.base, name, err);
        const char *found = member_name(entry);
        if (found && strcmp(found, name) == 0 && archive_entry_filetype(entry) == S_IFREG &&
            !archive_entry_hardlink(entry))
            return HL_OK;
    }
}

static hl_status open_member(struct hl__oci_files *files, const char *name,
                             struct hl__source **source, hl_error *err)
{
    struct hl__oci_archive *archive = (struct hl__oci_archive *)files;
    hl_status status = hl__file_source_init(&archive->outer, archive->file, err);
    if (status == HL_OK)
        status = hl__archive_open(&archive->outer.base, &archive->reader, err);
    if (status != HL_OK)
        return status;
    status = find_member(archive, name, err);
    archive->err = err;
    archive->offset = 0;
    archive->member = (struct hl__source){.read = read_part, .err = err};
    *source = &archive->member;
    if (status != HL_OK)
        close_member(files);
    return status;
}

void hl__oci_archive_init(struct hl__oci_archive *archive, int file, hl_error *err)
{
    *archive = (struct hl__oci_archive){
        .base = {.open = open_member, .close = close_member}, .file = file, .err = err};
}
