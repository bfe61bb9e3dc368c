/*
 * What the files of the codec share: reading items of a message, refusing, and building decoded
 * values in memory that the caller gives (the guest SDK decodes into its arena).
 */
#ifndef HL_WIRE_CODEC_H
#define HL_WIRE_CODEC_H

#include "wire/wire.h"

/* Start of the block that holds a decoded message; values, entries and fetched bytes follow. */
struct hl__wire_block {
    void *data; /* the message itself, freed with the block; NULL if it is borrowed */
    void *reserved;
};

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

/* Fills in `problem` and returns false. */
bool hl__wire_refuse(hl__wire_problem *problem, hl_status status, const char *reason);

/* Whether a function's name is acceptable: 1 to HL_NAME_MAX bytes of UTF-8 without NUL. */
bool hl__wire_is_name(const hl_span *name);

enum hl__wire_keys { HL__WIRE_KEYS_UNIQUE, HL__WIRE_KEYS_DUPLICATE, HL__WIRE_KEYS_NO_MEMORY };

/* Looks for equal texts among `count` spans that lie `stride` bytes apart, in O(n log n). */
enum hl__wire_keys hl__wire_keys_check(const hl_span *first, size_t stride, size_t count);

/* Length of the longest prefix that is valid UTF-8. */
size_t hl__wire_utf8_prefix(const char *text, size_t size);

/* Reads a message from front to back; never past `end`. */
struct hl__wire_reader {
    const unsigned char *at;
    const unsigned char *end;
    hl__wire_problem *problem;
};

static inline uint64_t hl__wire_left(const struct hl__wire_reader *reader)
{
    return (uint64_t)(reader->end - reader->at);
}

/* Checks kind and size and reads the head. */
bool hl__wire_read_message(struct hl__wire_reader *reader, uint32_t kind, const void *data,
                           uint64_t size, struct hl_wire_head *head);
/* Reads an item's head and checks its reserved bytes and flags. */
bool hl__wire_read_head(struct hl__wire_reader *reader, struct hl_wire_value *head);
/* Reads the payload of a string or byte array that is not a reference. */
bool hl__wire_read_payload(struct hl__wire_reader *reader, uint64_t size, hl_span *span);
/* Reads a whole string that is a function's name. */
bool hl__wire_read_name(struct hl__wire_reader *reader, hl_span *name);
/* Nothing may be left. */
bool hl__wire_read_end(struct hl__wire_reader *reader);

/* A checked message and what its decoded form needs. */
struct hl__wire_plan {
    struct hl__wire_reader reader; /* behind the head */
    uint32_t kind;
    uint32_t count;
    uint64_t limit;      /* bytes that references may still bring */
    bool references;     /* allowed */
    size_t value_count;  /* all levels */
    size_t entry_count;  /* those of them that are values in maps */
    uint64_t fetch_size; /* storage for referenced bytes */
};

/* Checks everything in a CALL or VALUE message but map keys' uniqueness and referenced bytes. */
bool hl__wire_plan_make(struct hl__wire_plan *plan, uint32_t kind, const void *data, uint64_t size,
                        uint64_t limit, bool references, hl__wire_problem *problem);
/* Bytes that hl__wire_plan_build() needs; UINT64_MAX if they cannot be counted. */
uint64_t hl__wire_plan_size(const struct hl__wire_plan *plan);
/* Decodes into `block` (16-byte aligned). The message must not have changed since the plan. */
bool hl__wire_plan_build(const struct hl__wire_plan *plan, struct hl__wire_block *block,
                         hl__wire_fetch fetch, void *user, hl__wire_message *message);

#endif
