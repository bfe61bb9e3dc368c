/* Contents of files, spooled to the image's file. */
#define _GNU_SOURCE
#include "image/contents.h"

#include "image/short_name.h"
#include "util/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SMALL_ALIGNMENT 16u
#define BUCKETS_FIRST 1024u
#define COPY_SIZE (1u << 20)

static const uint8_t zeros[HL__CONTENTS_PAGE];

static uint64_t page_up(uint64_t size)
{
    return (size + HL__CONTENTS_PAGE - 1) & ~(uint64_t)(HL__CONTENTS_PAGE - 1);
}

static hl_status no_memory(hl_error *err)
{
    return hl__error_set(err, HL_OUT_OF_MEMORY, NULL, "no memory left for the image's contents");
}

static hl_status write_at(const struct hl__contents *contents, uint64_t offset, const void *data,
                          size_t size, hl_error *err)
{
    const char *next = data;
    while (size > 0) {
        ssize_t taken = pwrite(contents->output, next, size, (off_t)offset);
        if (taken < 0 && errno == EINTR)
            continue;
        if (taken < 0)
            return hl__error_os(err, HL_SYSTEM, errno, "pwrite", "cannot write the image");
        next += taken;
        offset += (uint64_t)taken;
        size -= (size_t)taken;
    }
    return HL_OK;
}

static hl_status read_at(const struct hl__contents *contents, uint64_t offset, void *data,
                         size_t size, hl_error *err)
{
    char *next = data;
    while (size > 0) {
        ssize_t taken = pread(contents->output, next, size, (off_t)offset);
        if (taken < 0 && errno == EINTR)
            continue;
        if (taken <= 0)
            return hl__error_os(err, HL_SYSTEM, taken ? errno : EIO, "pread",
                                "cannot read the image that is being written");
        next += taken;
        offset += (uint64_t)taken;
        size -= (size_t)taken;
    }
    return HL_OK;
}

static hl_status resize(const struct hl__contents *contents, uint64_t size, hl_error *err)
{
    if (ftruncate(contents->output, (off_t)size) != 0)
        return hl__error_os(err, HL_SYSTEM, errno, "ftruncate", "cannot write the image");
    return HL_OK;
}

/* ---- Records, found by their digest ---- */

static uint32_t *bucket_of(struct hl__contents *contents, const uint8_t *digest)
{
    uint32_t hash;
    memcpy(&hash, digest, sizeof hash);
    return &contents->buckets[hash & contents->bucket_mask];
}

static void chain_record(struct hl__contents *contents, uint32_t number)
{
    struct hl__contents_record *record = &contents->records[number];
    uint32_t *bucket = bucket_of(contents, record->digest);
    record->chain = *bucket;
    *bucket = number;
}

static bool grow_buckets(struct hl__contents *contents)
{
    uint32_t count = contents->buckets ? (contents->bucket_mask + 1) * 2 : BUCKETS_FIRST;
    uint32_t *buckets = calloc(count, sizeof *buckets);
    if (!buckets)
        return false;
    free(contents->buckets);
    contents->buckets = buckets;
    contents->bucket_mask = count - 1;
    for (uint32_t i = 1; i < contents->count; i++)
        if (!contents->records[i].sparse)
            chain_record(contents, i);
    return true;
}

static bool grow_records(struct hl__contents *contents)
{
    if (contents->count < contents->room)
        return true;
    uint32_t room = contents->room ? contents->room * 2 : 256;
    struct hl__contents_record *records =
        reallocarray(contents->records, room, sizeof *contents->records);
    if (!records)
        return false;
    contents->records = records;
    contents->room = room;
    return true;
}

static uint32_t find_record(struct hl__contents *contents, const uint8_t *digest, uint64_t size)
{
    uint32_t number = *bucket_of(contents, digest);
    while (number && (contents->records[number].size != size ||
                      memcmp(contents->records[number].digest, digest, SHA256_DIGEST_SIZE) != 0))
        number = contents->records[number].chain;
    return number;
}

static hl_status new_record(struct hl__contents *contents, const uint8_t *digest, uint64_t offset,
                            uint32_t *number, hl_error *err)
{
    if (!grow_records(contents) ||
        (contents->count > contents->bucket_mask && !grow_buckets(contents)))
        return no_memory(err);
    struct hl__contents_record *record = &contents->records[contents->count];
    *record = (struct hl__contents_record){
        .offset = offset, .size = contents->size, .sparse = contents->sparse};
    *number = contents->count++;
    if (!contents->sparse) {
        memcpy(record->digest, digest, SHA256_DIGEST_SIZE);
        chain_record(contents, *number);
    }
    return HL_OK;
}

/* ---- Packing ---- */

static hl_status flush_small(struct hl__contents *contents, hl_error *err)
{
    if (contents->small_used == 0)
        return HL_OK;
    memset(contents->small + contents->small_used, 0,
           sizeof contents->small - contents->small_used);
    contents->small_used = 0;
    return write_at(contents, contents->small_offset, contents->small, sizeof contents->small, err);
}

/* Packs `size` bytes, fewer than HL_IMAGE_SMALL_MAX, behind the last that were. */
static hl_status pack(struct hl__contents *contents, const void *data, uint64_t size,
                      uint64_t *offset, hl_error *err)
{
    if (contents->small_used == 0 || contents->small_used + size > sizeof contents->small) {
        hl_status status = flush_small(contents, err);
        if (status != HL_OK)
            return status;
        contents->small_offset = contents->end;
        contents->end += HL__CONTENTS_PAGE;
    }
    uint32_t end = contents->small_used + (uint32_t)size;
    *offset = contents->small_offset + contents->small_used;
    memcpy(contents->small + contents->small_used, data, size);
    contents->small_used = (end + SMALL_ALIGNMENT - 1) & ~(SMALL_ALIGNMENT - 1);
    memset(contents->small + end, 0, contents->small_used - end);
    return HL_OK;
}

/* ---- One content ---- */

hl_status hl__contents_begin(struct hl__contents *contents, uint64_t size, const char *name,
                             hl_error *err)
{
    uint64_t used = contents->end;
    if (size > contents->size_max || used > contents->size_max ||
        page_up(size) > contents->size_max - used)
        return hl__error_set(err, HL_IMAGE_TOO_LARGE, NULL,
                             "'%s' of %" PRIu64 " bytes goes over the limit of %" PRIu64
                             " bytes for the image",
                             HL__SHORT(name), size, contents->size_max);
    contents->name = name;
    contents->size = size;
    contents->written = 0;
    contents->is_small = size < HL_IMAGE_SMALL_MAX;
    contents->sparse = false;
    sha256_init(&contents->hash);
    return HL_OK;
}

/* Zeros that were left out, up to `offset`. What is more than a little makes the content sparse. */
static void skip_to(struct hl__contents *contents, uint64_t offset)
{
    uint64_t gap = offset - contents->written;
    if (contents->is_small)
        memset(contents->buffer + contents->written, 0, gap);
    else if (gap >= COPY_SIZE)
        contents->sparse = true;
    for (uint64_t left = contents->sparse ? 0 : gap; left > 0;) {
        uint64_t part = left < sizeof zeros ? left : sizeof zeros;
        sha256_update(&contents->hash, part, zeros);
        left -= part;
    }
    contents->written = offset;
}

hl_status hl__contents_write(struct hl__contents *contents, uint64_t offset, const void *data,
                             size_t size, hl_error *err)
{
    if (offset < contents->written || offset > contents->size || size > contents->size - offset)
        return hl__error_set(err, HL_IMAGE_INVALID, NULL,
                             "'%s' has data out of order or beyond its end",
                             HL__SHORT(contents->name));
    skip_to(contents, offset);
    contents->written += size;
    if (!contents->sparse)
        sha256_update(&contents->hash, size, data);
    if (!contents->is_small)
        return write_at(contents, contents->end + offset, data, size, err);
    memcpy(contents->buffer + offset, data, size);
    return HL_OK;
}

/* The content lies in whole pages at the end: they are taken, or given back. */
static hl_status end_large(struct hl__contents *contents, bool keep, hl_error *err)
{
    if (!keep)
        return resize(contents, contents->end, err);
    contents->end += page_up(contents->size);
    return resize(contents, contents->end, err);
}

hl_status hl__contents_end(struct hl__contents *contents, uint32_t *number, hl_error *err)
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    if (contents->size == 0) {
        *number = 0;
        return HL_OK;
    }
    skip_to(contents, contents->size);
    sha256_digest(&contents->hash, sizeof digest, digest);
    uint32_t known = contents->sparse ? 0 : find_record(contents, digest, contents->size);
    uint64_t offset = contents->end;
    hl_status status = HL_OK;
    if (!contents->is_small)
        status = end_large(contents, !known, err);
    else if (!known)
        status = pack(contents, contents->buffer, contents->size, &offset, err);
    *number = known;
    if (status != HL_OK || known)
        return status;
    return new_record(contents, digest, offset, number, err);
}

void hl__contents_hold(struct hl__contents *contents, uint32_t number)
{
    contents->records[number].references++;
}

void hl__contents_release(struct hl__contents *contents, uint32_t number)
{
    contents->records[number].references--;
}

/* ---- All of them ---- */

hl_status hl__contents_init(struct hl__contents *contents, int output, uint64_t start,
                            uint64_t size_max, hl_error *err)
{
    memset(contents, 0, sizeof *contents);
    contents->output = output;
    contents->start = start;
    contents->end = start;
    contents->size_max = size_max;
    if (!grow_records(contents) || !grow_buckets(contents))
        return no_memory(err);
    contents->records[0] = (struct hl__contents_record){.references = 1};
    contents->count = 1;
    return HL_OK;
}

void hl__contents_free(struct hl__contents *contents)
{
    free(contents->records);
    free(contents->buckets);
    contents->records = NULL;
    contents->buckets = NULL;
}

/* Whether somebody's content was replaced or hidden. */
static bool has_gaps(const struct hl__contents *contents)
{
    for (uint32_t i = 1; i < contents->count; i++)
        if (contents->records[i].references == 0)
            return true;
    return false;
}

static hl_status move_down(struct hl__contents *contents, struct hl__contents_record *record,
                           char *buffer, hl_error *err)
{
    uint64_t to = contents->end, size = page_up(record->size);
    hl_status status = HL_OK;
    for (uint64_t done = 0; to != record->offset && done < size && status == HL_OK;) {
        size_t part = size - done < COPY_SIZE ? (size_t)(size - done) : COPY_SIZE;
        status = read_at(contents, record->offset + done, buffer, part, err);
        if (status == HL_OK)
            status = write_at(contents, to + done, buffer, part, err);
        done += part;
    }
    record->offset = to;
    contents->end += size;
    return status;
}

static hl_status pack_again(struct hl__contents *contents, struct hl__contents_record *record,
                            char *buffer, hl_error *err)
{
    hl_status status = read_at(contents, record->offset, buffer, (size_t)record->size, err);
    return status == HL_OK ? pack(contents, buffer, record->size, &record->offset, err) : status;
}

static int compare_offsets(const void *left, const void *right, void *records)
{
    const struct hl__contents_record *a = (struct hl__contents_record *)records + *(uint32_t *)left;
    const struct hl__contents_record *b =
        (struct hl__contents_record *)records + *(uint32_t *)right;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* The records that somebody holds, as they lie. NULL: no memory. */
static uint32_t *held_records(const struct hl__contents *contents, uint32_t *count)
{
    uint32_t *held = malloc(contents->count * sizeof *held);
    *count = 0;
    if (!held)
        return NULL;
    for (uint32_t i = 1; i < contents->count; i++)
        if (contents->records[i].references > 0)
            held[(*count)++] = i;
    qsort_r(held, *count, sizeof *held, compare_offsets, contents->records);
    return held;
}

/*
 * Everything moves down or stays, in the order in which it lies, so nothing is overwritten before it
 * has moved. That holds for the packed ones too: without some of them the others never need more pages.
 */
static hl_status close_gaps(struct hl__contents *contents, const uint32_t *held, uint32_t count,
                            char *buffer, hl_error *err)
{
    hl_status status = HL_OK;
    contents->end = contents->start;
    for (uint32_t i = 0; i < count && status == HL_OK; i++) {
        struct hl__contents_record *record = &contents->records[held[i]];
        if (record->size < HL_IMAGE_SMALL_MAX)
            status = pack_again(contents, record, buffer, err);
        else
            status = move_down(contents, record, buffer, err);
    }
    if (status == HL_OK)
        status = flush_small(contents, err);
    return status == HL_OK ? resize(contents, contents->end, err) : status;
}

hl_status hl__contents_finish(struct hl__contents *contents, hl_error *err)
{
    hl_status status = flush_small(contents, err);
    if (status != HL_OK || !has_gaps(contents))
        return status;
    uint32_t count;
    char *buffer = malloc(COPY_SIZE);
    uint32_t *held = held_records(contents, &count);
    if (buffer && held)
        status = close_gaps(contents, held, count, buffer, err);
    else
        status = no_memory(err);
    free(held);
    free(buffer);
    return status;
}

hl_status hl__contents_append(struct hl__contents *contents, const void *data, size_t size,
                              uint64_t *offset, hl_error *err)
{
    if (contents->end > contents->size_max || size > contents->size_max - contents->end)
        return hl__error_set(err, HL_IMAGE_TOO_LARGE, NULL,
                             "the image goes over its limit of %" PRIu64 " bytes",
                             contents->size_max);
    *offset = contents->end;
    hl_status status = write_at(contents, contents->end, data, size, err);
    if (status != HL_OK)
        return status;
    contents->end += page_up(size);
    return resize(contents, contents->end, err);
}
