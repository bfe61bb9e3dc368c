/* Reads the items of a message with every check that needs no context. */
#include "util/error.h"
#include "wire/codec.h"

bool hl__wire_refuse(hl__wire_problem *problem, hl_status status, const char *reason)
{
    problem->status = status;
    problem->reason = reason;
    return false;
}

static bool read_refuse(struct hl__wire_reader *reader, const char *reason)
{
    return hl__wire_refuse(reader->problem, HL_GUEST_BAD_REPLY, reason);
}

bool hl__wire_is_name(const hl_span *name)
{
    return name->data != NULL && name->size >= 1 && name->size <= HL_NAME_MAX &&
           memchr(name->data, 0, name->size) == NULL && hl__text_is_utf8(name->data, name->size);
}

bool hl__wire_read_message(struct hl__wire_reader *reader, uint32_t kind, const void *data,
                           uint64_t size, struct hl_wire_head *head)
{
    if (size < sizeof *head || size % 8 != 0 || size > SIZE_MAX)
        return read_refuse(reader, "message has an impossible size");
    memcpy(head, data, sizeof *head);
    reader->at = (const unsigned char *)data + sizeof *head;
    reader->end = (const unsigned char *)data + size;
    if (head->kind != kind)
        return read_refuse(reader, "message is of another kind");
    return head->size == size || read_refuse(reader, "message states another size");
}

static bool read_flags_are_known(const struct hl_wire_value *head)
{
    bool may_refer = head->type == HL_TYPE_STRING || head->type == HL_TYPE_BYTES;
    return head->flags == 0 || (head->flags == HL_WIRE_REFERENCE && may_refer);
}

bool hl__wire_read_head(struct hl__wire_reader *reader, struct hl_wire_value *head)
{
    static const uint8_t zeroes[sizeof head->reserved];
    if (hl__wire_left(reader) < sizeof *head)
        return read_refuse(reader, "message ends inside an item");
    memcpy(head, reader->at, sizeof *head);
    reader->at += sizeof *head;
    if (memcmp(head->reserved, zeroes, sizeof zeroes) != 0)
        return read_refuse(reader, "reserved bytes are not zero");
    return read_flags_are_known(head) || read_refuse(reader, "item has unknown flags");
}

bool hl__wire_read_payload(struct hl__wire_reader *reader, uint64_t size, hl_span *span)
{
    if (size >= hl__wire_left(reader))
        return read_refuse(reader, "string or bytes reach past the message's end");
    uint64_t padded = hl__wire_padded(size); /* within the message, whose size is a multiple of 8 */
    for (uint64_t i = size; i < padded; i++)
        if (reader->at[i] != 0)
            return read_refuse(reader, "string or bytes are not followed by zeroes");
    span->data = (const char *)reader->at;
    span->size = (size_t)size;
    reader->at += padded;
    return true;
}

bool hl__wire_read_name(struct hl__wire_reader *reader, hl_span *name)
{
    struct hl_wire_value head;
    if (!hl__wire_read_head(reader, &head))
        return false;
    if (head.type != HL_TYPE_STRING || head.flags != 0)
        return read_refuse(reader, "function name is not a string");
    if (!hl__wire_read_payload(reader, head.data, name))
        return false;
    return hl__wire_is_name(name) ||
           read_refuse(reader, "function name is not 1 to 255 bytes of UTF-8");
}

bool hl__wire_read_end(struct hl__wire_reader *reader)
{
    return hl__wire_left(reader) == 0 || read_refuse(reader, "bytes follow the last item");
}
