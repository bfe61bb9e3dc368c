/* Operations on typed values that the public API offers on both sides. */
#include "wire/codec.h"

#include <stdlib.h>

HL__WARM_PATH void hl_value_free(hl_value *value)
{
    if (value == NULL || value->owner == NULL)
        return;
    hl__arena_blocks_free(value->owner);
    *value = hl_value_null();
}

static bool value_spans_equal(const hl_span *left, const hl_span *right)
{
    return left->size == right->size &&
           (left->size == 0 || memcmp(left->data, right->data, left->size) == 0);
}

const hl_value *hl_value_get(const hl_value *map, const char *key)
{
    if (map == NULL || key == NULL || map->type != HL_TYPE_MAP)
        return NULL;
    const hl_span wanted = {key, strlen(key)};
    for (size_t i = 0; i < map->as.map.count; i++)
        if (value_spans_equal(&map->as.map.entries[i].key, &wanted))
            return &map->as.map.entries[i].value;
    return NULL;
}

static bool value_equal(const hl_value *left, const hl_value *right, unsigned depth);

static bool value_lists_equal(const hl_value *left, const hl_value *right, unsigned depth)
{
    if (left->as.list.count != right->as.list.count)
        return false;
    for (size_t i = 0; i < left->as.list.count; i++)
        if (!value_equal(&left->as.list.items[i], &right->as.list.items[i], depth))
            return false;
    return true;
}

static bool value_maps_equal(const hl_value *left, const hl_value *right, unsigned depth)
{
    if (left->as.map.count != right->as.map.count)
        return false;
    for (size_t i = 0; i < left->as.map.count; i++) {
        const hl_entry *l = &left->as.map.entries[i], *r = &right->as.map.entries[i];
        if (!value_spans_equal(&l->key, &r->key) || !value_equal(&l->value, &r->value, depth))
            return false;
    }
    return true;
}

/* `depth` containers lie around the values. Nothing nested deeper than allowed is a value. */
static bool value_equal(const hl_value *left, const hl_value *right, unsigned depth)
{
    if (left->type != right->type)
        return false;
    switch (left->type) {
    case HL_TYPE_NULL:
        return true;
    case HL_TYPE_BOOL:
        return left->as.boolean == right->as.boolean;
    case HL_TYPE_I32:
    case HL_TYPE_U32:
    case HL_TYPE_F32:
        return left->as.u32 == right->as.u32;
    case HL_TYPE_I64:
    case HL_TYPE_U64:
    case HL_TYPE_F64:
        return left->as.u64 == right->as.u64;
    case HL_TYPE_STRING:
    case HL_TYPE_BYTES:
        return value_spans_equal(&left->as.bytes, &right->as.bytes);
    case HL_TYPE_LIST:
        return depth < HL_VALUE_DEPTH_MAX && value_lists_equal(left, right, depth + 1);
    case HL_TYPE_MAP:
        return depth < HL_VALUE_DEPTH_MAX && value_maps_equal(left, right, depth + 1);
    default:
        return false;
    }
}

bool hl_value_equal(const hl_value *left, const hl_value *right)
{
    if (left == NULL || right == NULL)
        return left == right;
    return value_equal(left, right, 0);
}

const char *hl_type_name(hl_type type)
{
    static const char names[][8] = {"null", "bool", "i32",    "u32",   "i64",  "u64",
                                    "f32",  "f64",  "string", "bytes", "list", "map"};
    if (type == HL_TYPE_ANY)
        return "any";
    return (unsigned)type < sizeof names / sizeof *names ? names[type] : "?";
}
