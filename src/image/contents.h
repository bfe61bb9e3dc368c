/*
 * Contents of files, written to the image's file as they come: page-aligned, small ones packed, equal
 * ones once. One content is written at a time.
 */
#ifndef HL_IMAGE_CONTENTS_H
#define HL_IMAGE_CONTENTS_H

#include <hyperlight/abi/image.h>
#include <hyperlight/error.h>
#include <nettle/sha2.h>

#define HL__CONTENTS_PAGE 4096u

struct hl__contents_record {
    uint8_t digest[SHA256_DIGEST_SIZE];
    uint64_t offset, size;
    uint32_t references; /* inodes that hold it */
    uint32_t chain;
    uint32_t rewrite; /* index plus 1, given by the writer */
    bool sparse;      /* has no digest */
};

struct hl__contents {
    int output;
    uint64_t size_max;                   /* of all contents */
    uint64_t start;                      /* of the first */
    uint64_t end;                        /* page-aligned: where the next goes */
    struct hl__contents_record *records; /* [0] is the empty one */
    uint32_t count, room;
    uint32_t *buckets;
    uint32_t bucket_mask;
    uint8_t small[HL__CONTENTS_PAGE]; /* the page that is being packed */
    uint64_t small_offset;
    uint32_t small_used;
    /* The one that is being written. */
    const char *name;
    uint64_t size, written;
    bool is_small, sparse;
    uint8_t buffer[HL_IMAGE_SMALL_MAX];
    struct sha256_ctx hash;
};

/* Contents start at `start`, which is page-aligned. */
hl_status hl__contents_init(struct hl__contents *contents, int output, uint64_t start,
                            uint64_t size_max, hl_error *err);
void hl__contents_free(struct hl__contents *contents);

/* A content of `size` bytes; `name` is whose, for messages. */
hl_status hl__contents_begin(struct hl__contents *contents, uint64_t size, const char *name,
                             hl_error *err);
/* Its bytes in ascending order; what is left out is zero. */
hl_status hl__contents_write(struct hl__contents *contents, uint64_t offset, const void *data,
                             size_t size, hl_error *err);
/* The number stands for the content; somebody must hold it. */
hl_status hl__contents_end(struct hl__contents *contents, uint32_t *number, hl_error *err);

void hl__contents_hold(struct hl__contents *contents, uint32_t number);
void hl__contents_release(struct hl__contents *contents, uint32_t number);

/* When all are written: closes the gaps of those that nobody holds. */
hl_status hl__contents_finish(struct hl__contents *contents, hl_error *err);

/* Appends `size` bytes that belong to no file, from a page on. */
hl_status hl__contents_append(struct hl__contents *contents, const void *data, size_t size,
                              uint64_t *offset, hl_error *err);

#endif
