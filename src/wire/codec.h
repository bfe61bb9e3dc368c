/*
 * What the files of the codec share: refusing, copying and comparing what is mostly short, and
 * decoding into memory that the caller gives (the guest SDK decodes into its arena).
 */
#ifndef HL_WIRE_CODEC_H
#define HL_WIRE_CODEC_H

#include "util/placement.h"
#include "wire/arena.h"
#include "wire/wire.h"

/* Payload of a string or byte array of `size` bytes: with its NUL, padded. */
static inline uint64_t hl__wire_padded(uint64_t size)
{
    return (size + 8) & ~(uint64_t)7;
}

static inline bool hl__wire_is_reference(uint64_t size, bool references)
{
    return references && size >= HL_WIRE_REFERENCE_MIN;
}

/* Whether a type may occur in a signature. */
static inline bool hl__wire_is_parameter(unsigned type)
{
    return type <= HL_TYPE_MAP || type == HL_TYPE_ANY;
}

/* The following three do without a call what is mostly done to short texts: the call would cost more
 * (util/placement.h). Words overlap where the size is no multiple of theirs. */

static inline uint64_t hl__wire_word(const void *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof word);
    return word;
}

/* Fewer than 8 bytes as a word. */
static inline uint64_t hl__wire_short_word(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint64_t word = 0;
    unsigned char *out = (unsigned char *)&word;
    if (size & 4)
        memcpy(out, bytes, 4);
    if (size & 2)
        memcpy(out + (size & 4), bytes + (size & 4), 2);
    if (size & 1)
        out[size - 1] = bytes[size - 1];
    return word;
}

/* As memcpy, of whole words. */
static inline void hl__wire_copy(void *out, const void *data, size_t size)
{
    enum { CHUNK = 32, LONG = 512 };
    unsigned char *to = out;
    const unsigned char *from = data;
    if (size > LONG) {
        memcpy(to, from, size);
        return;
    }
    if (size < CHUNK) {
        for (size_t at = 0; at < size; at += sizeof(uint64_t))
            memcpy(to + at, from + at, sizeof(uint64_t));
        return;
    }
    for (size_t at = 0; at < size - CHUNK; at += CHUNK)
        memcpy(to + at, from + at, CHUNK);
    memcpy(to + size - CHUNK, from + size - CHUNK, CHUNK);
}

static inline bool hl__wire_equal(const hl_span *left, const hl_span *right)
{
    size_t size = left->size;
    if (size != right->size)
        return false;
    if (size < sizeof(uint64_t))
        return hl__wire_short_word(left->data, size) == hl__wire_short_word(right->data, size);
    size -= sizeof(uint64_t);
    for (size_t at = 0; at < size; at += sizeof(uint64_t))
        if (hl__wire_word(left->data + at) != hl__wire_word(right->data + at))
            return false;
    return hl__wire_word(left->data + size) == hl__wire_word(right->data + size);
}

/* Fills in `problem` and returns false. */
HL__COLD_PATH bool hl__wire_refuse(hl__wire_problem *problem, hl_status status, const char *reason);

/* Whether a function's name is acceptable: 1 to HL_NAME_MAX bytes of UTF-8 without NUL. */
bool hl__wire_is_name(const hl_span *name);

/* Whether no two of `count` spans that lie `stride` bytes apart are equal, in O(n log n). If there are such,
 * `problem` has `status` and `reason`; HL_OUT_OF_MEMORY if that cannot be told. */
bool hl__wire_keys_unique(const hl_span *first, size_t stride, size_t count,
                          hl__wire_problem *problem, hl_status status, const char *reason);

/* Length of the longest prefix that is valid UTF-8. */
size_t hl__wire_utf8_prefix(const char *text, size_t size);

/* Decodes into an arena; the message must stay where it is. What was taken from the arena before a
 * refusal stays taken. */
bool hl__wire_decode_in(struct hl__arena *arena, uint32_t kind, const void *data, uint64_t size,
                        uint64_t limit, hl__wire_fetch fetch, void *user, hl__wire_message *message,
                        hl__wire_problem *problem);

#endif
