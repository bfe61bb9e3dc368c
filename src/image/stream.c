/* Records of the library to nodes of a tree. */
#define _GNU_SOURCE
#include "image/stream.h"

#include "image/protocol.h"
#include "util/error.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE 262144u

struct stream {
    int input;
    struct hl__tree *tree;
    size_t used, filled; /* of the buffer */
    char buffer[BUFFER_SIZE];
    char path[HL__RECORD_PATH_MAX + 1];
    char target[HL__RECORD_PATH_MAX + 1];
};

static hl_status fill(struct stream *stream, hl_error *err)
{
    ssize_t size;
    do
        size = read(stream->input, stream->buffer, sizeof stream->buffer);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "read", "the library cannot be heard");
    if (size == 0)
        return hl__error_set(err, HL_SYSTEM, NULL, "the library stopped in the middle");
    stream->used = 0;
    stream->filled = (size_t)size;
    return HL_OK;
}

/* What is in the buffer, at most `size` bytes. */
static hl_status take(struct stream *stream, uint64_t size, const char **data, size_t *taken,
                      hl_error *err)
{
    hl_status status = stream->used == stream->filled ? fill(stream, err) : HL_OK;
    size_t there = stream->filled - stream->used;
    *taken = size < there ? (size_t)size : there;
    *data = stream->buffer + stream->used;
    stream->used += *taken;
    return status;
}

static hl_status take_whole(struct stream *stream, void *data, size_t size, hl_error *err)
{
    hl_status status = HL_OK;
    char *out = data;
    while (size > 0 && status == HL_OK) {
        const char *part;
        size_t taken;
        status = take(stream, size, &part, &taken, err);
        if (status != HL_OK)
            break;
        memcpy(out, part, taken);
        out += taken;
        size -= taken;
    }
    return status;
}

static hl_status take_path(struct stream *stream, char *path, uint32_t size, hl_error *err)
{
    if (size > HL__RECORD_PATH_MAX)
        return hl__error_set(err, HL_IMAGE_INVALID, NULL, "a path is too long");
    path[size] = '\0';
    return take_whole(stream, path, size, err);
}

static hl_status take_contents(struct stream *stream, uint64_t size, uint32_t *number,
                               hl_error *err)
{
    struct hl__contents *contents = stream->tree->contents;
    hl_status status = hl__contents_begin(contents, size, stream->path, err);
    for (uint64_t done = 0; done < size && status == HL_OK;) {
        const char *part;
        size_t taken;
        status = take(stream, size - done, &part, &taken, err);
        if (status == HL_OK)
            status = hl__contents_write(contents, done, part, taken, err);
        done += taken;
    }
    return status == HL_OK ? hl__contents_end(contents, number, err) : status;
}

static hl_status take_node(struct stream *stream, const struct hl__record *record, hl_error *err)
{
    bool device = S_ISCHR(record->mode) || S_ISBLK(record->mode);
    struct hl__tree_attributes attributes = {.mode = record->mode,
                                             .uid = record->uid,
                                             .gid = record->gid,
                                             .modified_s = record->modified_s,
                                             .modified_ns = record->modified_ns,
                                             .device = device ? record->size : 0};
    uint32_t inode, contents;
    hl_status status = hl__tree_add(stream->tree, stream->path, &attributes, &inode, err);
    if (status != HL_OK)
        return status;
    if (S_ISLNK(record->mode))
        return hl__tree_set_target(stream->tree, inode, stream->path, stream->target, err);
    if (!S_ISREG(record->mode))
        return HL_OK;
    status = take_contents(stream, record->size, &contents, err);
    if (status == HL_OK)
        hl__tree_set_contents(stream->tree, inode, contents);
    return status;
}

static hl_status take_record(struct stream *stream, const struct hl__record *record, hl_error *err)
{
    uint32_t inode;
    hl_status status = take_path(stream, stream->path, record->path_size, err);
    if (status == HL_OK)
        status = take_path(stream, stream->target, record->target_size, err);
    if (status != HL_OK)
        return status;
    if (record->kind == HL__RECORD_NODE)
        return take_node(stream, record, err);
    if (record->kind == HL__RECORD_LINK)
        return hl__tree_link(stream->tree, stream->path, stream->target, &inode, err);
    return hl__error_set(err, HL_IMAGE_INVALID, NULL, "there is no record of kind %u",
                         record->kind);
}

hl_status hl__stream_read(int input, struct hl__tree *tree,
                          const struct hl__archive_progress *progress, hl_error *err)
{
    static struct stream stream; /* too large for a stack; the helper has one */
    stream.input = input;
    stream.tree = tree;
    stream.used = stream.filled = 0;
    for (;;) {
        struct hl__record record;
        hl_status status = take_whole(&stream, &record, sizeof record, err);
        if (status != HL_OK || record.kind == HL__RECORD_END)
            return status;
        status = take_record(&stream, &record, err);
        if (status != HL_OK)
            return status;
        if (progress)
            progress->report(progress->user);
    }
}
