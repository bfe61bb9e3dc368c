/* Records of a tree. */
#define _GNU_SOURCE
#include "image/host/records.h"

#include "util/error.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static hl_status flush(struct hl__records *records, hl_error *err)
{
    size_t size = records->used;
    records->used = 0;
    return hl__child_send(records->child, records->buffer, size, err);
}

hl_status hl__records_bytes(struct hl__records *records, const void *data, size_t size,
                            hl_error *err)
{
    const char *next = data;
    hl_status status = HL_OK;
    while (size > 0 && status == HL_OK) {
        size_t room = sizeof records->buffer - records->used;
        size_t part = size < room ? size : room;
        memcpy(records->buffer + records->used, next, part);
        records->used += part;
        next += part;
        size -= part;
        if (records->used == sizeof records->buffer)
            status = flush(records, err);
    }
    return status;
}

hl_status hl__records_add(struct hl__records *records, uint32_t kind, const char *path,
                          const char *target, const struct stat *attributes, hl_error *err)
{
    size_t path_size = strlen(path), target_size = target ? strlen(target) : 0;
    if (path_size > HL__RECORD_PATH_MAX || target_size > HL__RECORD_PATH_MAX)
        return hl__error_set(err, HL_IMAGE_INVALID, NULL,
                             "'%.100s...' is a path of more than 65535 bytes", path);
    bool device = S_ISCHR(attributes->st_mode) || S_ISBLK(attributes->st_mode);
    struct hl__record record = {
        .kind = kind,
        .mode = attributes->st_mode,
        .uid = attributes->st_uid,
        .gid = attributes->st_gid,
        .modified_s = attributes->st_mtim.tv_sec,
        .modified_ns = (uint32_t)attributes->st_mtim.tv_nsec,
        .path_size = (uint32_t)path_size,
        .target_size = (uint32_t)target_size,
        .size = device ? attributes->st_rdev : (uint64_t)attributes->st_size,
    };
    hl_status status = hl__records_bytes(records, &record, sizeof record, err);
    if (status == HL_OK)
        status = hl__records_bytes(records, path, path_size, err);
    if (status == HL_OK)
        status = hl__records_bytes(records, target, target_size, err);
    return status;
}

hl_status hl__records_file(struct hl__records *records, int file, uint64_t size, const char *path,
                           hl_error *err)
{
    hl_status status = HL_OK;
    while (size > 0 && status == HL_OK) {
        size_t room = sizeof records->buffer - records->used;
        size_t part = size < room ? (size_t)size : room;
        ssize_t taken = read(file, records->buffer + records->used, part);
        if (taken < 0 && errno == EINTR)
            continue;
        if (taken < 0)
            return hl__error_os(err, HL_IMAGE_UNREADABLE, errno, "read", "cannot read '%s'", path);
        if (taken == 0)
            return hl__error_set(err, HL_IMAGE_UNREADABLE, NULL,
                                 "'%s' became shorter while it was read", path);
        records->used += (size_t)taken;
        size -= (uint64_t)taken;
        if (records->used == sizeof records->buffer)
            status = flush(records, err);
    }
    return status;
}

hl_status hl__records_end(struct hl__records *records, hl_error *err)
{
    struct hl__record record = {.kind = HL__RECORD_END};
    hl_status status = hl__records_bytes(records, &record, sizeof record, err);
    return status == HL_OK ? flush(records, err) : status;
}
