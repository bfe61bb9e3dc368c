/* Reads the items of a message from front to back, with every check that needs no context. */
#ifndef HL_WIRE_READ_H
#define HL_WIRE_READ_H

#include "wire/codec.h"

/* Never past `end`. */
struct hl__wire_reader {
    const unsigned char *at;
    const unsigned char *end;
    hl__wire_problem *problem;
};

static inline uint64_t hl__wire_left(const struct hl__wire_reader *reader)
{
    return (uint64_t)(reader->end - reader->at);
}

static inline bool hl__wire_read_refuse(struct hl__wire_reader *reader, const char *reason)
{
    return hl__wire_refuse(reader->problem, HL_GUEST_BAD_REPLY, reason);
}

/* Checks kind and size and reads the head. */
static inline bool hl__wire_read_message(struct hl__wire_reader *reader, uint32_t kind,
                                         const void *data, uint64_t size, struct hl_wire_head *head)
{
    if (size < sizeof *head || size % 8 != 0 || size > SIZE_MAX)
        return hl__wire_read_refuse(reader, "message has an impossible size");
    memcpy(head, data, sizeof *head);
    reader->at = (const unsigned char *)data + sizeof *head;
    reader->end = (const unsigned char *)data + size;
    if (head->kind != kind)
        return hl__wire_read_refuse(reader, "message is of another kind");
    return head->size == size || hl__wire_read_refuse(reader, "message states another size");
}

/* Reads an item's head and checks its reserved bytes and flags. */
static inline bool hl__wire_read_head(struct hl__wire_reader *reader, struct hl_wire_value *head)
{
    uint64_t reserved;
    _Static_assert(offsetof(struct hl_wire_value, reserved) == 2, "behind type and flags");
    if (hl__wire_left(reader) < sizeof *head)
        return hl__wire_read_refuse(reader, "message ends inside an item");
    memcpy(head, reader->at, sizeof *head);
    memcpy(&reserved, reader->at, sizeof reserved);
    reader->at += sizeof *head;
    if (reserved >> 16 != 0)
        return hl__wire_read_refuse(reader, "reserved bytes are not zero");
    bool may_refer = head->type == HL_TYPE_STRING || head->type == HL_TYPE_BYTES;
    return head->flags == 0 || (head->flags == HL_WIRE_REFERENCE && may_refer) ||
           hl__wire_read_refuse(reader, "item has unknown flags");
}

/* Reads the payload of a string or byte array that is not a reference. */
static inline bool hl__wire_read_payload(struct hl__wire_reader *reader, uint64_t size,
                                         hl_span *span)
{
    if (size >= hl__wire_left(reader))
        return hl__wire_read_refuse(reader, "string or bytes reach past the message's end");
    uint64_t padded = hl__wire_padded(size); /* within the message, whose size is a multiple of 8 */
    uint64_t last; /* 8 bytes: the last ones of the payload, if any, and the zeroes behind it */
    memcpy(&last, reader->at + padded - sizeof last, sizeof last);
    if (last >> (size % 8 * 8) != 0)
        return hl__wire_read_refuse(reader, "string or bytes are not followed by zeroes");
    *span = (hl_span){(const char *)reader->at, (size_t)size};
    reader->at += padded;
    return true;
}

/* Reads a whole string that is a function's name. */
static inline bool hl__wire_read_name(struct hl__wire_reader *reader, hl_span *name)
{
    struct hl_wire_value head;
    if (!hl__wire_read_head(reader, &head))
        return false;
    if (head.type != HL_TYPE_STRING || head.flags != 0)
        return hl__wire_read_refuse(reader, "function name is not a string");
    if (!hl__wire_read_payload(reader, head.data, name))
        return false;
    return hl__wire_is_name(name) ||
           hl__wire_read_refuse(reader, "function name is not 1 to 255 bytes of UTF-8");
}

/* Nothing may be left. */
static inline bool hl__wire_read_end(struct hl__wire_reader *reader)
{
    return hl__wire_left(reader) == 0 || hl__wire_read_refuse(reader, "bytes follow the last item");
}

#endif
