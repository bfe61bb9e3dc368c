/* Sizes of messages before they are written, and the checks of what the caller wants to send. */
#include "util/error.h"
#include "wire/codec.h"

struct measure {
    uint64_t total;      /* message and referenced bytes: what the limit is about */
    uint64_t referenced; /* of that, referenced bytes */
    uint64_t limit;
    size_t value_count;
    bool references;
    hl__wire_problem *problem;
};

static bool measure_refuse(struct measure *measure, const char *reason)
{
    return hl__wire_refuse(measure->problem, HL_INVALID_VALUE, reason);
}

static bool measure_add(struct measure *measure, uint64_t size)
{
    if (size > measure->limit - measure->total)
        return hl__wire_refuse(measure->problem, HL_REQUEST_TOO_LARGE,
                               "the encoded message exceeds the limit");
    measure->total += size;
    return true;
}

static bool measure_span(struct measure *measure, const hl_span *span)
{
    if (span->data == NULL && span->size != 0)
        return measure_refuse(measure, "string or bytes without data");
    if (!measure_add(measure, sizeof(struct hl_wire_value)) || !measure_add(measure, span->size))
        return false;
    if (!hl__wire_is_reference(span->size, measure->references))
        return measure_add(measure, hl__wire_padded(span->size) - span->size);
    measure->referenced += span->size;
    return measure_add(measure, sizeof(uint64_t));
}

static bool measure_text(struct measure *measure, const hl_span *text)
{
    if (!measure_span(measure, text))
        return false;
    return hl__text_is_utf8(text->data, text->size) ||
           measure_refuse(measure, "string is not valid UTF-8");
}

static bool measure_value(struct measure *measure, const hl_value *value, unsigned depth);

static bool measure_list(struct measure *measure, const hl_value *list, unsigned depth)
{
    if (list->as.list.items == NULL && list->as.list.count != 0)
        return measure_refuse(measure, "list without items");
    if (!measure_add(measure, sizeof(struct hl_wire_value)))
        return false;
    for (size_t i = 0; i < list->as.list.count; i++)
        if (!measure_value(measure, &list->as.list.items[i], depth))
            return false;
    return true;
}

static bool measure_keys(struct measure *measure, const hl_value *map)
{
    switch (hl__wire_keys_check(&map->as.map.entries->key, sizeof(hl_entry), map->as.map.count)) {
    case HL__WIRE_KEYS_UNIQUE:
        return true;
    case HL__WIRE_KEYS_DUPLICATE:
        return measure_refuse(measure, "a key occurs twice in a map");
    default:
        return hl__wire_refuse(measure->problem, HL_OUT_OF_MEMORY, "out of memory");
    }
}

static bool measure_map(struct measure *measure, const hl_value *map, unsigned depth)
{
    if (map->as.map.entries == NULL && map->as.map.count != 0)
        return measure_refuse(measure, "map without entries");
    if (!measure_add(measure, sizeof(struct hl_wire_value)))
        return false;
    for (size_t i = 0; i < map->as.map.count; i++)
        if (!measure_text(measure, &map->as.map.entries[i].key) ||
            !measure_value(measure, &map->as.map.entries[i].value, depth))
            return false;
    return map->as.map.count == 0 || measure_keys(measure, map);
}

/* `depth` containers lie around the value. */
static bool measure_value(struct measure *measure, const hl_value *value, unsigned depth)
{
    if (++measure->value_count > HL_VALUE_COUNT_MAX)
        return measure_refuse(measure, "too many values");
    if (value->reserved != 0)
        return measure_refuse(measure, "reserved field of a value is not zero");
    switch (value->type) {
    case HL_TYPE_NULL:
    case HL_TYPE_BOOL:
    case HL_TYPE_I32:
    case HL_TYPE_U32:
    case HL_TYPE_I64:
    case HL_TYPE_U64:
    case HL_TYPE_F32:
    case HL_TYPE_F64:
        return measure_add(measure, sizeof(struct hl_wire_value));
    case HL_TYPE_STRING:
        return measure_text(measure, &value->as.string);
    case HL_TYPE_BYTES:
        return measure_span(measure, &value->as.bytes);
    case HL_TYPE_LIST:
    case HL_TYPE_MAP:
        if (depth >= HL_VALUE_DEPTH_MAX)
            return measure_refuse(measure, "value is nested too deeply");
        return value->type == HL_TYPE_LIST ? measure_list(measure, value, depth + 1)
                                           : measure_map(measure, value, depth + 1);
    default:
        return measure_refuse(measure, "value has an unknown type");
    }
}

bool hl__wire_call_size(const hl_span *function, const hl_value *arguments, size_t count,
                        bool references, uint64_t limit, uint64_t *size, hl__wire_problem *problem)
{
    struct measure measure = {.limit = limit, .references = references, .problem = problem};
    if (!hl__wire_is_name(function))
        return measure_refuse(&measure, "function name is not 1 to 255 bytes of UTF-8");
    if (count > HL_PARAMETERS_MAX)
        return measure_refuse(&measure, "more than 64 arguments");
    if (!measure_add(&measure, sizeof(struct hl_wire_head)) || !measure_span(&measure, function))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!measure_value(&measure, &arguments[i], 0))
            return false;
    *size = measure.total - measure.referenced;
    return true;
}

bool hl__wire_value_size(const hl_value *value, bool references, uint64_t limit, uint64_t *size,
                         hl__wire_problem *problem)
{
    struct measure measure = {.limit = limit, .references = references, .problem = problem};
    if (!measure_add(&measure, sizeof(struct hl_wire_head)) || !measure_value(&measure, value, 0))
        return false;
    *size = measure.total - measure.referenced;
    return true;
}

static uint64_t measure_export(const hl__wire_export *export)
{
    uint64_t size = 2 * sizeof(struct hl_wire_value) + hl__wire_padded(export->name.size);
    return export->has_signature ? size + hl__wire_padded(1 + export->signature.parameter_count)
                                 : size;
}

uint64_t hl__wire_exports_size(const hl__wire_export *exports, size_t count)
{
    uint64_t size = sizeof(struct hl_wire_head);
    for (size_t i = 0; i < count; i++)
        size += measure_export(&exports[i]);
    return size;
}
