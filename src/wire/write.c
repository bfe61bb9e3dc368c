/* Writes messages. What is written is never read back: the other side may be looking. */
#include "wire/codec.h"
#include <hyperlight/abi/hypercall.h>

static unsigned char *write_message_head(unsigned char *out, uint32_t kind, size_t count)
{
    const struct hl_wire_head head = {.kind = kind, .count = (uint32_t)count};
    memcpy(out, &head, sizeof head);
    return out + sizeof head;
}

/* Completes the head when the message's end is known. */
static void write_message_size(unsigned char *message, const unsigned char *end)
{
    const uint64_t size = (uint64_t)(end - message);
    memcpy(message + offsetof(struct hl_wire_head, size), &size, sizeof size);
}

static unsigned char *write_head(unsigned char *out, unsigned type, unsigned flags, uint64_t data)
{
    const struct hl_wire_value head = {(uint8_t)type, (uint8_t)flags, {0}, data};
    memcpy(out, &head, sizeof head);
    return out + sizeof head;
}

/* The host reads what is referred to where it lies; a page that was never touched is not there yet.
 */
static void touch_span(const hl_span *span)
{
    const volatile char *data = span->data;
    for (uint64_t at = 0; at < span->size; at += HL_ABI_PAGE_SIZE)
        (void)data[at];
    (void)data[span->size - 1];
}

static unsigned char *write_span(unsigned char *out, hl_type type, const hl_span *span,
                                 bool references)
{
    if (hl__wire_is_reference(span->size, references)) {
        const uint64_t address = (uintptr_t)span->data;
        touch_span(span);
        out = write_head(out, type, HL_WIRE_REFERENCE, span->size);
        memcpy(out, &address, sizeof address);
        return out + sizeof address;
    }
    out = write_head(out, type, 0, span->size);
    unsigned char *end = out + hl__wire_padded(span->size);
    memset(end - 8, 0, 8);
    if (span->size != 0)
        memcpy(out, span->data, span->size);
    return end;
}

static unsigned char *write_value(unsigned char *out, const hl_value *value, bool references);

static unsigned char *write_list(unsigned char *out, const hl_value *list, bool references)
{
    out = write_head(out, HL_TYPE_LIST, 0, list->as.list.count);
    for (size_t i = 0; i < list->as.list.count; i++)
        out = write_value(out, &list->as.list.items[i], references);
    return out;
}

static unsigned char *write_map(unsigned char *out, const hl_value *map, bool references)
{
    out = write_head(out, HL_TYPE_MAP, 0, map->as.map.count);
    for (size_t i = 0; i < map->as.map.count; i++) {
        out = write_span(out, HL_TYPE_STRING, &map->as.map.entries[i].key, references);
        out = write_value(out, &map->as.map.entries[i].value, references);
    }
    return out;
}

static unsigned char *write_value(unsigned char *out, const hl_value *value, bool references)
{
    switch (value->type) {
    case HL_TYPE_BOOL:
        return write_head(out, HL_TYPE_BOOL, 0, value->as.boolean ? 1 : 0);
    case HL_TYPE_I32:
    case HL_TYPE_U32:
    case HL_TYPE_F32:
        return write_head(out, value->type, 0, value->as.u32);
    case HL_TYPE_I64:
    case HL_TYPE_U64:
    case HL_TYPE_F64:
        return write_head(out, value->type, 0, value->as.u64);
    case HL_TYPE_STRING:
    case HL_TYPE_BYTES:
        return write_span(out, value->type, &value->as.bytes, references);
    case HL_TYPE_LIST:
        return write_list(out, value, references);
    case HL_TYPE_MAP:
        return write_map(out, value, references);
    default: /* no other type passed the size computation */
        return write_head(out, HL_TYPE_NULL, 0, 0);
    }
}

void hl__wire_call_write(void *out, const hl_span *function, const hl_value *arguments,
                         size_t count, bool references)
{
    unsigned char *at = write_message_head(out, HL_WIRE_CALL, count);
    at = write_span(at, HL_TYPE_STRING, function, false);
    for (size_t i = 0; i < count; i++)
        at = write_value(at, &arguments[i], references);
    write_message_size(out, at);
}

void hl__wire_value_write(void *out, const hl_value *value, bool references)
{
    unsigned char *at = write_message_head(out, HL_WIRE_VALUE, 1);
    write_message_size(out, write_value(at, value, references));
}

static unsigned char *write_signature(unsigned char *out, const hl_signature *signature)
{
    unsigned char types[1 + HL_PARAMETERS_MAX];
    types[0] = (unsigned char)signature->result;
    for (size_t i = 0; i < signature->parameter_count; i++)
        types[1 + i] = (unsigned char)signature->parameters[i];
    const hl_span span = {(const char *)types, 1 + signature->parameter_count};
    return write_span(out, HL_TYPE_BYTES, &span, false);
}

void hl__wire_exports_write(void *out, const hl__wire_export *exports, size_t count)
{
    unsigned char *at = write_message_head(out, HL_WIRE_EXPORTS, count);
    for (size_t i = 0; i < count; i++) {
        at = write_span(at, HL_TYPE_STRING, &exports[i].name, false);
        at = exports[i].has_signature ? write_signature(at, &exports[i].signature)
                                      : write_head(at, HL_TYPE_NULL, 0, 0);
    }
    write_message_size(out, at);
}
