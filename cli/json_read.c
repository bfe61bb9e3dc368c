/*
 * JSON text to hl_value, by jansson. Lists, maps and bytes live in blocks of the argument; strings
 * stay those of jansson's tree.
 */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A reading under way. */
struct reader {
    struct json_argument *argument;
    char *why;
    size_t why_size;
};

struct block {
    struct block *next;
    max_align_t data[];
};

/* A whole number of any of the four integer types. */
struct whole {
    bool negative;
    uint64_t magnitude;
};

static bool read_value(struct reader *reader, json_t *json, hl_value *value);

static bool HL_PRINTF(2, 3) refuse(struct reader *reader, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reader->why, reader->why_size, format, arguments);
    va_end(arguments);
    return false;
}

static void *allocate(struct reader *reader, size_t size)
{
    struct block *block = malloc(sizeof *block + size);
    if (!block) {
        refuse(reader, "out of memory");
        return NULL;
    }
    block->next = reader->argument->blocks;
    reader->argument->blocks = block;
    return block->data;
}

/* An integer as JSON writes it, or in a string, which can hold all of u64. */
static bool get_whole(json_t *json, struct whole *whole)
{
    if (json_is_integer(json)) {
        json_int_t number = json_integer_value(json);
        whole->negative = number < 0;
        whole->magnitude = number < 0 ? -(uint64_t)number : (uint64_t)number;
        return true;
    }
    const char *text = json_string_value(json);
    if (!text)
        return false;
    whole->negative = *text == '-';
    text += whole->negative;
    if (!isdigit((unsigned char)*text))
        return false;
    char *end;
    errno = 0;
    whole->magnitude = strtoull(text, &end, 10);
    return *end == '\0' && errno == 0;
}

/* Whether the number lies in -lowest … highest. */
static bool whole_fits(struct whole whole, uint64_t lowest, uint64_t highest)
{
    return whole.magnitude <= (whole.negative ? lowest : highest);
}

static bool to_integer(struct whole whole, hl_type type, hl_value *value)
{
    int64_t number = (int64_t)(whole.negative ? -whole.magnitude : whole.magnitude);
    switch (type) {
    case HL_TYPE_I32:
        *value = hl_value_i32((int32_t)number);
        return whole_fits(whole, UINT64_C(1) << 31, INT32_MAX);
    case HL_TYPE_U32:
        *value = hl_value_u32((uint32_t)whole.magnitude);
        return whole_fits(whole, 0, UINT32_MAX);
    case HL_TYPE_I64:
        *value = hl_value_i64(number);
        return whole_fits(whole, UINT64_C(1) << 63, INT64_MAX);
    default:
        *value = hl_value_u64(whole.magnitude);
        return whole_fits(whole, 0, UINT64_MAX);
    }
}

/* The type of an integer that names none. */
static bool to_smallest_integer(struct whole whole, hl_value *value)
{
    return to_integer(whole, HL_TYPE_I32, value) || to_integer(whole, HL_TYPE_I64, value) ||
           to_integer(whole, HL_TYPE_U64, value);
}

static bool read_typed_integer(struct reader *reader, hl_type type, json_t *json, hl_value *value)
{
    struct whole whole;
    if (get_whole(json, &whole) && to_integer(whole, type, value))
        return true;
    return refuse(reader, "\"$%s\" takes a whole number in the range of %s", hl_type_name(type),
                  hl_type_name(type));
}

/* A number, or the name of one that JSON cannot write. */
static bool get_real(json_t *json, double *number)
{
    const char *text = json_string_value(json);
    if (!text) {
        *number = json_number_value(json);
        return json_is_number(json);
    }
    if (strcmp(text, "nan") == 0)
        *number = (double)NAN;
    else if (strcmp(text, "inf") == 0 || strcmp(text, "-inf") == 0)
        *number = *text == '-' ? -(double)INFINITY : (double)INFINITY;
    else
        return false;
    return true;
}

static bool read_typed_real(struct reader *reader, hl_type type, json_t *json, hl_value *value)
{
    double number;
    if (!get_real(json, &number))
        return refuse(reader, "\"$%s\" takes a number, \"nan\", \"inf\" or \"-inf\"",
                      hl_type_name(type));
    *value = type == HL_TYPE_F32 ? hl_value_f32((float)number) : hl_value_f64(number);
    return true;
}

static bool read_bytes(struct reader *reader, json_t *json, hl_value *value)
{
    size_t length = json_string_length(json);
    unsigned char *data = allocate(reader, length + 1);
    if (!data)
        return false;
    if (!json_is_string(json) || !base64_decode(json_string_value(json), length, data, &length))
        return refuse(reader, "\"$bytes\" takes a string of base64 with its padding");
    *value = hl_value_bytes(data, length);
    return true;
}

static bool read_list(struct reader *reader, json_t *json, hl_value *value)
{
    size_t count = json_array_size(json);
    hl_value *items = allocate(reader, count * sizeof *items);
    if (!items)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!read_value(reader, json_array_get(json, i), &items[i]))
            return false;
    }
    *value = hl_value_list(items, count);
    return true;
}

static bool read_map(struct reader *reader, json_t *json, hl_value *value)
{
    hl_entry *entries = allocate(reader, json_object_size(json) * sizeof *entries);
    size_t count = 0;
    const char *key;
    json_t *item;
    if (!entries)
        return false;
    json_object_foreach(json, key, item)
    {
        entries[count] = hl_value_entry(key, hl_value_null());
        if (!read_value(reader, item, &entries[count++].value))
            return false;
    }
    *value = hl_value_map(entries, count);
    return true;
}

/* {"$type": ...}: a value whose type JSON cannot tell. */
static bool read_typed(struct reader *reader, const char *type, json_t *json, hl_value *value)
{
    static const hl_type integers[] = {HL_TYPE_I32, HL_TYPE_U32, HL_TYPE_I64, HL_TYPE_U64};
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        if (strcmp(type, hl_type_name(integers[i])) == 0)
            return read_typed_integer(reader, integers[i], json, value);
    }
    if (strcmp(type, "f32") == 0 || strcmp(type, "f64") == 0)
        return read_typed_real(reader, type[1] == '3' ? HL_TYPE_F32 : HL_TYPE_F64, json, value);
    if (strcmp(type, "bytes") == 0)
        return read_bytes(reader, json, value);
    if (strcmp(type, "map") == 0 && json_is_object(json))
        return read_map(reader, json, value);
    return refuse(reader,
                  "\"$%.40s\" is not a type; a map with this key alone is written "
                  "{\"$map\": {...}}",
                  type);
}

static bool read_object(struct reader *reader, json_t *json, hl_value *value)
{
    const char *key = json_object_iter_key(json_object_iter(json));
    if (json_object_size(json) == 1 && key[0] == '$')
        return read_typed(reader, key + 1, json_object_get(json, key), value);
    return read_map(reader, json, value);
}

static bool read_value(struct reader *reader, json_t *json, hl_value *value)
{
    struct whole whole;
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return read_object(reader, json, value);
    case JSON_ARRAY:
        return read_list(reader, json, value);
    case JSON_STRING:
        *value = hl_value_string_n(json_string_value(json), json_string_length(json));
        return true;
    case JSON_INTEGER:
        return get_whole(json, &whole) && to_smallest_integer(whole, value);
    case JSON_REAL:
        *value = hl_value_f64(json_real_value(json));
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        *value = hl_value_bool(json_is_true(json));
        return true;
    default:
        *value = hl_value_null();
        return true;
    }
}

/* Whole numbers above INT64_MAX, which jansson does not take: u64 where they stand alone. */
static bool read_large(const char *text, hl_value *value)
{
    json_t *json = json_string(text);
    struct whole whole;
    bool large = json && text[0] != '0' && get_whole(json, &whole) && whole.magnitude > INT64_MAX &&
                 to_integer(whole, HL_TYPE_U64, value);
    json_decref(json);
    return large;
}

static bool explain(struct reader *reader, const char *text, const json_error_t *error)
{
    bool is_bare_word = !strchr("\"[{", text[strspn(text, " \t\r\n")]) || !*text;
    if (json_error_code(error) == json_error_numeric_overflow)
        return refuse(reader, "a number is too large; u64 is written {\"$u64\": \"NUMBER\"}");
    if (is_bare_word)
        return refuse(reader, "it is not valid JSON; a string needs its quotes: '\"text\"'");
    return refuse(reader, "it is not valid JSON: %s (column %d)", error->text, error->column);
}

bool json_argument_read(const char *text, struct json_argument *argument, char *why,
                        size_t why_size)
{
    struct reader reader = {argument, why, why_size};
    json_error_t error;
    *argument = (struct json_argument){0};
    if (read_large(text, &argument->value))
        return true;
    json_t *root =
        json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!root)
        return explain(&reader, text, &error);
    argument->root = root;
    return read_value(&reader, root, &argument->value);
}

void json_argument_free(struct json_argument *argument)
{
    struct block *block = argument->blocks;
    while (block) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
    json_decref(argument->root);
    *argument = (struct json_argument){0};
}
