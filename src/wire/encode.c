/*
 * Encoding: checks values and writes their message in one go, as far as there is room; what comes
 * behind is only counted. What is written is never read back: the other side may be looking.
 */
#include "util/error.h"
#include "wire/codec.h"
#include <hyperlight/abi/hypercall.h>

struct encode {
    unsigned char *at; /* where the message goes on */
    uint64_t room;     /* bytes that may be written there */
    uint64_t size;     /* of the message so far */
    uint64_t budget;   /* bytes that the message, and what it refers to, may still have */
    size_t value_count;
    bool references;
    hl__wire_problem *problem;
};

static bool encode_refuse(struct encode *encode, const char *reason)
{
    return hl__wire_refuse(encode->problem, HL_INVALID_VALUE, reason);
}

static bool encode_count(struct encode *encode, uint64_t size)
{
    if (size > encode->budget)
        return hl__wire_refuse(encode->problem, HL_REQUEST_TOO_LARGE,
                               "the encoded message exceeds the limit");
    encode->budget -= size;
    return true;
}

/* Adds `size` bytes, at most PTRDIFF_MAX. *out is where they go, NULL if there is no room. */
static inline bool encode_take(struct encode *encode, uint64_t size, unsigned char **out)
{
    if (!encode_count(encode, size))
        return false;
    *out = size <= encode->room ? encode->at : NULL;
    if (*out != NULL) {
        encode->at += size;
        encode->room -= size;
    } else {
        encode->room = 0;
    }
    encode->size += size;
    return true;
}

static inline void write_head(unsigned char *out, unsigned type, unsigned flags, uint64_t data)
{
    const struct hl_wire_value head = {(uint8_t)type, (uint8_t)flags, {0}, data};
    memcpy(out, &head, sizeof head);
}

/* Bytes of a string or byte array that is not a reference. */
static inline uint64_t span_size(uint64_t size)
{
    return sizeof(struct hl_wire_value) + hl__wire_padded(size);
}

static inline unsigned char *write_span(unsigned char *out, hl_type type, const hl_span *span)
{
    size_t tail = span->size % 8, whole = span->size & ~(size_t)7;
    unsigned char *end = out + span_size(span->size);
    write_head(out, type, 0, span->size);
    hl__wire_copy(out + sizeof(struct hl_wire_value), span->data, whole);
    const uint64_t last = tail == 0 ? 0 : hl__wire_short_word(span->data + whole, tail);
    memcpy(end - sizeof last, &last, sizeof last);
    return end;
}

static bool encode_head(struct encode *encode, unsigned type, uint64_t data)
{
    unsigned char *out;
    if (!encode_take(encode, sizeof(struct hl_wire_value), &out))
        return false;
    if (out != NULL)
        write_head(out, type, 0, data);
    return true;
}

static inline bool encode_is_text(hl_type type, const hl_span *span)
{
    return type != HL_TYPE_STRING || hl__text_is_utf8(span->data, span->size);
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

static bool encode_reference(struct encode *encode, hl_type type, const hl_span *span)
{
    const uint64_t address = (uintptr_t)span->data;
    unsigned char *out;
    if (!encode_count(encode, span->size) ||
        !encode_take(encode, sizeof(struct hl_wire_value) + sizeof address, &out))
        return false;
    if (out == NULL)
        return true;
    if (!encode_is_text(type, span))
        return encode_refuse(encode, "string is not valid UTF-8");
    touch_span(span);
    write_head(out, type, HL_WIRE_REFERENCE, span->size);
    memcpy(out + sizeof(struct hl_wire_value), &address, sizeof address);
    return true;
}

/* A payload that does not fit is not looked at: it is encoded again where there is room. */
HL__WARM_PATH static bool encode_span(struct encode *encode, hl_type type, const hl_span *span)
{
    unsigned char *out;
    if (span->data == NULL && span->size != 0)
        return encode_refuse(encode, "string or bytes without data");
    if (hl__wire_is_reference(span->size, encode->references))
        return encode_reference(encode, type, span);
    if (span->size > PTRDIFF_MAX - 64)
        return encode_count(encode, UINT64_MAX);
    if (!encode_take(encode, span_size(span->size), &out))
        return false;
    if (out == NULL)
        return true;
    if (!encode_is_text(type, span))
        return encode_refuse(encode, "string is not valid UTF-8");
    write_span(out, type, span);
    return true;
}

static bool encode_value(struct encode *encode, const hl_value *value, unsigned depth);

static bool encode_list(struct encode *encode, const hl_value *list, unsigned depth)
{
    if (list->as.list.items == NULL && list->as.list.count != 0)
        return encode_refuse(encode, "list without items");
    if (!encode_head(encode, HL_TYPE_LIST, list->as.list.count))
        return false;
    for (size_t i = 0; i < list->as.list.count; i++)
        if (!encode_value(encode, &list->as.list.items[i], depth))
            return false;
    return true;
}

static bool encode_map(struct encode *encode, const hl_value *map, unsigned depth)
{
    if (map->as.map.entries == NULL && map->as.map.count != 0)
        return encode_refuse(encode, "map without entries");
    if (!encode_head(encode, HL_TYPE_MAP, map->as.map.count))
        return false;
    for (size_t i = 0; i < map->as.map.count; i++)
        if (!encode_span(encode, HL_TYPE_STRING, &map->as.map.entries[i].key) ||
            !encode_value(encode, &map->as.map.entries[i].value, depth))
            return false;
    return map->as.map.count == 0 ||
           hl__wire_keys_unique(&map->as.map.entries->key, sizeof(hl_entry), map->as.map.count,
                                encode->problem, HL_INVALID_VALUE, "a key occurs twice in a map");
}

/* `depth` containers lie around the value. */
HL__WARM_PATH static bool encode_value(struct encode *encode, const hl_value *value, unsigned depth)
{
    if (++encode->value_count > HL_VALUE_COUNT_MAX)
        return encode_refuse(encode, "too many values");
    if (value->reserved != 0)
        return encode_refuse(encode, "reserved field of a value is not zero");
    switch (value->type) {
    case HL_TYPE_NULL:
        return encode_head(encode, HL_TYPE_NULL, 0);
    case HL_TYPE_BOOL:
        return encode_head(encode, HL_TYPE_BOOL, value->as.boolean ? 1 : 0);
    case HL_TYPE_I32:
    case HL_TYPE_U32:
    case HL_TYPE_F32:
        return encode_head(encode, value->type, value->as.u32);
    case HL_TYPE_I64:
    case HL_TYPE_U64:
    case HL_TYPE_F64:
        return encode_head(encode, value->type, value->as.u64);
    case HL_TYPE_STRING:
        return encode_span(encode, HL_TYPE_STRING, &value->as.string);
    case HL_TYPE_BYTES:
        return encode_span(encode, HL_TYPE_BYTES, &value->as.bytes);
    case HL_TYPE_LIST:
    case HL_TYPE_MAP:
        if (depth >= HL_VALUE_DEPTH_MAX)
            return encode_refuse(encode, "value is nested too deeply");
        return value->type == HL_TYPE_LIST ? encode_list(encode, value, depth + 1)
                                           : encode_map(encode, value, depth + 1);
    default:
        return encode_refuse(encode, "value has an unknown type");
    }
}

static bool encode_name(struct encode *encode, const hl_span *name)
{
    unsigned char *out;
    if (!hl__wire_is_name(name))
        return encode_refuse(encode, "function name is not 1 to 255 bytes of UTF-8");
    if (!encode_take(encode, span_size(name->size), &out))
        return false;
    if (out != NULL)
        write_span(out, HL_TYPE_STRING, name);
    return true;
}

HL__WARM_PATH bool hl__wire_encode(const hl__wire_content *content, void *out, uint64_t capacity,
                                   uint64_t *size, hl__wire_problem *problem)
{
    struct encode encode = {.at = out,
                            .room = capacity,
                            .budget = content->limit,
                            .references = content->references,
                            .problem = problem};
    struct hl_wire_head head = {.kind = content->function ? HL_WIRE_CALL : HL_WIRE_VALUE,
                                .count = (uint32_t)content->count};
    unsigned char *start;
    if (content->count > HL_PARAMETERS_MAX)
        return encode_refuse(&encode, "more than 64 arguments");
    if (!encode_take(&encode, sizeof head, &start))
        return false;
    if (content->function && !encode_name(&encode, content->function))
        return false;
    for (size_t i = 0; i < content->count; i++)
        if (!encode_value(&encode, &content->values[i], 0))
            return false;
    *size = head.size = encode.size;
    if (start != NULL)
        memcpy(start, &head, sizeof head);
    return true;
}

static uint64_t export_size(const hl__wire_export *export)
{
    return span_size(export->name.size) + (export->has_signature
                                               ? span_size(1 + export->signature.parameter_count)
                                               : sizeof(struct hl_wire_value));
}

uint64_t hl__wire_exports_size(const hl__wire_export *exports, size_t count)
{
    uint64_t size = sizeof(struct hl_wire_head);
    for (size_t i = 0; i < count; i++)
        size += export_size(&exports[i]);
    return size;
}

static unsigned char *write_signature(unsigned char *out, const hl_signature *signature)
{
    unsigned char types[1 + HL_PARAMETERS_MAX];
    const uint8_t count = (uint8_t)signature->parameter_count; /* at most HL_PARAMETERS_MAX */
    types[0] = (unsigned char)signature->result;
    for (size_t i = 0; i < count; i++)
        types[1 + i] = (unsigned char)signature->parameters[i];
    const hl_span span = {(const char *)types, 1 + (size_t)count};
    return write_span(out, HL_TYPE_BYTES, &span);
}

void hl__wire_exports_write(void *out, const hl__wire_export *exports, size_t count)
{
    const struct hl_wire_head head = {HL_WIRE_EXPORTS, (uint32_t)count,
                                      hl__wire_exports_size(exports, count)};
    unsigned char *at = out;
    memcpy(at, &head, sizeof head);
    at += sizeof head;
    for (size_t i = 0; i < count; i++) {
        at = write_span(at, HL_TYPE_STRING, &exports[i].name);
        if (exports[i].has_signature) {
            at = write_signature(at, &exports[i].signature);
        } else {
            write_head(at, HL_TYPE_NULL, 0, 0);
            at += sizeof(struct hl_wire_value);
        }
    }
}
