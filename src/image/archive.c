/* Tars, by libarchive. */
#define _GNU_SOURCE
#include "image/archive.h"

#include "image/short_name.h"
#include "util/error.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOBODY 65534u
#define WHITEOUT ".wh."
#define WHITEOUT_ALL ".wh..wh..opq"

/* ---- Sources ---- */

static ssize_t file_read(struct hl__source *base, const void **data)
{
    struct hl__file_source *source = (struct hl__file_source *)base;
    ssize_t size;
    do
        size = pread(source->file, source->buffer, sizeof source->buffer, (off_t)source->offset);
    while (size < 0 && errno == EINTR);
    if (size < 0) {
        base->status =
            hl__error_os(base->err, HL_IMAGE_UNREADABLE, errno, "pread", "cannot read the archive");
        return -1;
    }
    source->offset += (uint64_t)size;
    *data = source->buffer;
    return size;
}

static int64_t file_skip(struct hl__source *base, int64_t size)
{
    struct hl__file_source *source = (struct hl__file_source *)base;
    uint64_t left = source->offset < source->size ? source->size - source->offset : 0;
    uint64_t taken = (uint64_t)size < left ? (uint64_t)size : left;
    source->offset += taken;
    return (int64_t)taken;
}

hl_status hl__file_source_init(struct hl__file_source *source, int file, hl_error *err)
{
    off_t size = lseek(file, 0, SEEK_END);
    source->base = (struct hl__source){.read = file_read, .skip = file_skip, .err = err};
    source->file = file;
    source->offset = 0;
    source->size = (uint64_t)size;
    if (size < 0)
        return hl__error_os(err, HL_IMAGE_UNREADABLE, errno, "lseek", "cannot read the archive");
    return HL_OK;
}

static la_ssize_t read_source(struct archive *reader, void *user, const void **data)
{
    struct hl__source *source = user;
    ssize_t size = source->read(source, data);
    if (size < 0)
        archive_set_error(reader, EIO, "the source failed");
    return size;
}

static la_int64_t skip_source(struct archive *reader, void *user, la_int64_t size)
{
    struct hl__source *source = user;
    (void)reader;
    return source->skip ? source->skip(source, size) : 0;
}

/* ---- The reader ---- */

hl_status hl__archive_failed(struct archive *reader, const struct hl__source *source,
                             const char *name, hl_error *err)
{
    const char *why = archive_error_string(reader);
    if (source->status != HL_OK)
        return source->status;
    if (archive_errno(reader) == ENOMEM)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "libarchive",
                             "no memory left to unpack the archive");
    if (!name)
        return hl__error_set(err, HL_IMAGE_INVALID, "libarchive",
                             "the input is no prepared image and no tar archive: %s",
                             why ? why : "unknown reason");
    return hl__error_set(err, HL_IMAGE_INVALID, "libarchive", "'%s': the archive is damaged: %s",
                         HL__SHORT(name), why ? why : "unknown reason");
}

hl_status hl__archive_open(struct hl__source *source, struct archive **opened, hl_error *err)
{
    struct archive *reader = archive_read_new();
    if (!reader)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "libarchive",
                             "no memory left to open the archive");
    if (archive_read_support_format_tar(reader) != ARCHIVE_OK ||
        archive_read_support_filter_gzip(reader) != ARCHIVE_OK ||
        archive_read_support_filter_bzip2(reader) != ARCHIVE_OK ||
        archive_read_support_filter_xz(reader) != ARCHIVE_OK ||
        archive_read_support_filter_zstd(reader) != ARCHIVE_OK ||
        archive_read_open2(reader, source, NULL, read_source, skip_source, NULL) != ARCHIVE_OK) {
        hl_status status = hl__archive_failed(reader, source, NULL, err);
        archive_read_free(reader);
        return status;
    }
    *opened = reader;
    return HL_OK;
}

/* ---- Members ---- */

struct reading {
    struct archive *reader;
    struct archive_entry *entry;
    const struct hl__source *source;
    struct hl__tree *tree;
    bool layer;
    char last[256]; /* the start of the last member's name, for messages */
};

static hl_status member_refused(const char *name, const char *why, hl_error *err)
{
    return hl__error_set(err, HL_IMAGE_INVALID, NULL, "'%s' %s", HL__SHORT(name), why);
}

static uint32_t owner(int64_t id)
{
    return id >= 0 && id < UINT32_MAX ? (uint32_t)id : NOBODY;
}

static void read_attributes(struct archive_entry *entry, struct hl__tree_attributes *attributes)
{
    long fraction = archive_entry_mtime_nsec(entry);
    *attributes = (struct hl__tree_attributes){
        .mode = archive_entry_filetype(entry) | (archive_entry_perm(entry) & 07777),
        .uid = owner(archive_entry_uid(entry)),
        .gid = owner(archive_entry_gid(entry)),
        .modified_s = archive_entry_mtime(entry),
        .modified_ns = fraction >= 0 && fraction < 1000000000 ? (uint32_t)fraction : 0};
    if (S_ISCHR(attributes->mode) || S_ISBLK(attributes->mode))
        attributes->device = archive_entry_rdev(entry);
}

static hl_status copy_data(struct reading *reading, const char *name, uint32_t *number,
                           hl_error *err)
{
    struct hl__contents *contents = reading->tree->contents;
    int64_t size = archive_entry_size(reading->entry);
    if (size < 0)
        return member_refused(name, "has a negative size", err);
    hl_status status = hl__contents_begin(contents, (uint64_t)size, name, err);
    while (status == HL_OK) {
        const void *data;
        size_t block;
        int64_t offset;
        int result = archive_read_data_block(reading->reader, &data, &block, &offset);
        if (result == ARCHIVE_EOF)
            break;
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
            return hl__archive_failed(reading->reader, reading->source, name, err);
        status = offset < 0 ? member_refused(name, "has data before its start", err)
                            : hl__contents_write(contents, (uint64_t)offset, data, block, err);
    }
    return status == HL_OK ? hl__contents_end(contents, number, err) : status;
}

/* A file's data goes to whatever has the inode's names. */
static hl_status read_data(struct reading *reading, const char *name, uint32_t inode, hl_error *err)
{
    uint32_t number;
    hl_status status = copy_data(reading, name, &number, err);
    if (status == HL_OK)
        hl__tree_set_contents(reading->tree, inode, number);
    return status;
}

static hl_status read_link(struct reading *reading, const char *name, const char *target,
                           hl_error *err)
{
    uint32_t inode;
    hl_status status = hl__tree_link(reading->tree, name, target, &inode, err);
    /* Some formats have a file's data with its last name. */
    if (status == HL_OK && archive_entry_size(reading->entry) > 0 &&
        S_ISREG(reading->tree->inodes[inode].attributes.mode))
        status = read_data(reading, name, inode, err);
    return status;
}

static hl_status read_node(struct reading *reading, const char *name, hl_error *err)
{
    struct hl__tree_attributes attributes;
    uint32_t inode;
    read_attributes(reading->entry, &attributes);
    switch (attributes.mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
        break;
    default:
        return member_refused(name, "is of a type that images do not have", err);
    }
    hl_status status = hl__tree_add(reading->tree, name, &attributes, &inode, err);
    if (status != HL_OK)
        return status;
    if (S_ISREG(attributes.mode))
        return read_data(reading, name, inode, err);
    if (!S_ISLNK(attributes.mode))
        return HL_OK;
    const char *target = archive_entry_symlink(reading->entry);
    return hl__tree_set_target(reading->tree, inode, name, target ? target : "", err);
}

/* The last component of a path, which may end in slashes. */
static const char *last_name(const char *path, size_t *size)
{
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    *size = end - start;
    return path + start;
}

/* Whether the member is one that hides; it then has. */
static hl_status read_whiteout(struct reading *reading, const char *path, bool *hides,
                               hl_error *err)
{
    size_t size, prefix = strlen(WHITEOUT);
    const char *name = last_name(path, &size);
    char *hidden;
    *hides = reading->layer && size >= prefix && memcmp(name, WHITEOUT, prefix) == 0;
    if (!*hides)
        return HL_OK;
    bool all = size == strlen(WHITEOUT_ALL) && memcmp(name, WHITEOUT_ALL, size) == 0;
    if (asprintf(&hidden, "%.*s%.*s", (int)(name - path), path, all ? 0 : (int)(size - prefix),
                 name + prefix) < 0)
        return hl__error_set(err, HL_OUT_OF_MEMORY, NULL, "no memory left for a layer's names");
    if (all)
        hl__tree_hide_below(reading->tree, hidden);
    else if (size > prefix && strncmp(name, ".wh..wh.", 8) != 0) /* other marks of AUFS */
        hl__tree_hide(reading->tree, hidden);
    free(hidden);
    return HL_OK;
}

static hl_status read_member(struct reading *reading, hl_error *err)
{
    const char *name = archive_entry_pathname(reading->entry);
    const char *target = archive_entry_hardlink(reading->entry);
    bool hides;
    if (!name || !*name)
        return member_refused(reading->last, "is followed by a member without a name", err);
    snprintf(reading->last, sizeof reading->last, "%s", name);
    hl_status status = read_whiteout(reading, name, &hides, err);
    if (status != HL_OK || hides)
        return status;
    return target ? read_link(reading, name, target, err) : read_node(reading, name, err);
}

static hl_status read_members(struct reading *reading, const struct hl__archive_progress *progress,
                              hl_error *err)
{
    hl_status status = HL_OK;
    bool first = true;
    while (status == HL_OK) {
        int result = archive_read_next_header(reading->reader, &reading->entry);
        if (result == ARCHIVE_EOF)
            break;
        if (result == ARCHIVE_RETRY)
            continue;
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
            return hl__archive_failed(reading->reader, reading->source,
                                      first ? NULL : reading->last, err);
        first = false;
        status = read_member(reading, err);
        if (progress)
            progress->report(progress->user);
    }
    return status;
}

hl_status hl__archive_read(struct hl__source *source, struct hl__tree *tree, bool layer,
                           const struct hl__archive_progress *progress, hl_error *err)
{
    struct reading reading = {.source = source, .tree = tree, .layer = layer};
    hl_status status = hl__archive_open(source, &reading.reader, err);
    if (status != HL_OK)
        return status;
    status = read_members(&reading, progress, err);
    archive_read_free(reading.reader);
    return status;
}
