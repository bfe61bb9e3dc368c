/* Wire values in a reader's buffer, for the files that read lines. */
#ifndef HL_SHIM_JSON_VALUE_H
#define HL_SHIM_JSON_VALUE_H

#include "functions/json.h"

#include <string.h>

#define VALUE_HEAD_SIZE sizeof(struct hl_wire_value)

typedef struct hl__json_reader reader;

static inline bool value_refuse(reader *r, const char *problem)
{
    r->problem = problem;
    return false;
}

static inline struct hl_wire_value value_head(const reader *r, uint64_t at)
{
    struct hl_wire_value head;

    memcpy(&head, r->bytes + at, sizeof head);
    return head;
}

static inline void value_set_head(reader *r, uint64_t at, uint8_t type, uint64_t data)
{
    struct hl_wire_value head = {.type = type, .data = data};

    memcpy(r->bytes + at, &head, sizeof head);
}

/* Bytes of a string's or byte array's payload: with its NUL, padded. */
static inline uint64_t value_padded(uint64_t size)
{
    return (size + 8) & ~7ull;
}

/* Appends to the buffer. */
static inline bool value_append(reader *r, const void *bytes, uint64_t size)
{
    if (!hl__json_reserve(r, size))
        return false;
    memcpy(r->bytes + r->size, bytes, size);
    r->size += size;
    return true;
}

/* Whether all of a map's keys differ, by where they are; the order of `keys` changes. json_keys.c. */
bool hl__json_keys_unique(const reader *r, uint64_t *keys, uint64_t count);

#endif
