/* What a line says: typed values are made of the maps that stand for them, and a message for the host of
 * the line's value, in the same buffer. */
#include "functions/value.h"
#include "memory/heap.h"

/* A value on its way to its final place, which is before or where it is. */
struct settling {
    reader *r;
    uint64_t from, to;
    uint64_t value_count;
};

static const char *text_at(const reader *r, uint64_t at)
{
    return (const char *)r->bytes + at + VALUE_HEAD_SIZE;
}

static bool text_is(const reader *r, uint64_t at, const char *text)
{
    uint64_t size = value_head(r, at).data;
    const char *bytes = text_at(r, at);

    for (uint64_t i = 0; i < size; i++)
        if (!text[i] || text[i] != bytes[i])
            return false;
    return !text[size];
}

struct whole {
    bool negative;
    uint64_t magnitude;
};

static bool whole_fits(struct whole whole, uint64_t lowest, uint64_t highest)
{
    return whole.magnitude <= (whole.negative ? lowest : highest);
}

/* The bits of a whole number of a type; false if it does not fit. */
static bool whole_bits(struct whole whole, uint8_t type, uint64_t *bits)
{
    uint64_t number = whole.negative ? -whole.magnitude : whole.magnitude;

    *bits = type == HL__JSON_I32 || type == HL__JSON_U32 ? (uint32_t)number : number;
    switch (type) {
    case HL__JSON_I32:
        return whole_fits(whole, 1ull << 31, INT32_MAX);
    case HL__JSON_U32:
        return whole_fits(whole, 0, UINT32_MAX);
    case HL__JSON_I64:
        return whole_fits(whole, 1ull << 63, INT64_MAX);
    default:
        return whole_fits(whole, 0, UINT64_MAX);
    }
}

/* A value that was read as a whole number: i32, i64 or u64. */
static bool get_number(struct hl_wire_value head, struct whole *whole)
{
    int64_t number = head.type == HL__JSON_I32 ? (int32_t)head.data : (int64_t)head.data;

    if (head.type == HL__JSON_U64)
        *whole = (struct whole){false, head.data};
    else
        *whole = (struct whole){number < 0, number < 0 ? -(uint64_t)number : (uint64_t)number};
    return head.type == HL__JSON_I32 || head.type == HL__JSON_I64 || head.type == HL__JSON_U64;
}

/* The same, or a string that holds one. */
static bool get_whole(const reader *r, uint64_t at, struct whole *whole)
{
    struct hl_wire_value head = value_head(r, at);
    const char *text = text_at(r, at), *end = text + head.data;

    if (head.type != HL__JSON_STRING)
        return get_number(head, whole);
    *whole = (struct whole){text < end && *text == '-', 0};
    text += whole->negative;
    if (text == end)
        return false;
    for (; text < end; text++)
        if (*text < '0' || *text > '9' ||
            __builtin_mul_overflow(whole->magnitude, 10, &whole->magnitude) ||
            __builtin_add_overflow(whole->magnitude, (uint64_t)(*text - '0'), &whole->magnitude))
            return false;
    return true;
}

/* The bits of a number as a double, or of the name of one that JSON cannot write. */
static bool get_real(const reader *r, uint64_t at, uint64_t *bits)
{
    struct hl_wire_value head = value_head(r, at);
    struct whole whole;

    if (head.type == HL__JSON_F64)
        *bits = head.data;
    else if (head.type == HL__JSON_STRING && text_is(r, at, "nan"))
        *bits = 0x7ff8ull << 48;
    else if (head.type == HL__JSON_STRING && text_is(r, at, "inf"))
        *bits = 0x7ffull << 52;
    else if (head.type == HL__JSON_STRING && text_is(r, at, "-inf"))
        *bits = 0xfffull << 52;
    else if (get_number(head, &whole))
        *bits = hl__whole_to_double(whole.magnitude, whole.negative);
    else
        return false;
    return true;
}

static int base64_digit(char character)
{
    if (character >= 'A' && character <= 'Z')
        return character - 'A';
    if (character >= 'a' && character <= 'z')
        return character - 'a' + 26;
    if (character >= '0' && character <= '9')
        return character - '0' + 52;
    return character == '+' ? 62 : character == '/' ? 63 : -1;
}

/* `to` may lie before the text in the same memory. */
static bool base64_decode(const char *text, uint64_t length, uint8_t *to, uint64_t *size)
{
    uint32_t bits = 0;
    uint64_t digits = length;

    *size = 0;
    if (length % 4)
        return false;
    if (digits && text[digits - 1] == '=')
        digits--;
    if (digits % 4 == 3 && text[digits - 1] == '=')
        digits--;
    for (uint64_t i = 0; i < digits; i++) {
        int value = base64_digit(text[i]);

        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4)
            to[(*size)++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    return !(bits & ((1u << (digits % 4 * 6 % 8)) - 1));
}

/* The size of a value that has no values in it. */
static uint64_t leaf_size(struct hl_wire_value head)
{
    bool body = head.type == HL__JSON_STRING || head.type == HL__JSON_BYTES;

    return VALUE_HEAD_SIZE + (body ? value_padded(head.data) : 0);
}

static void move_leaf(struct settling *s)
{
    uint64_t size = leaf_size(value_head(s->r, s->from));

    if (s->to != s->from)
        memmove(s->r->bytes + s->to, s->r->bytes + s->from, size);
    s->from += size;
    s->to += size;
}

static bool settle_bytes(struct settling *s)
{
    struct hl_wire_value head = value_head(s->r, s->from);
    uint64_t size, to = s->to + VALUE_HEAD_SIZE;

    if (head.type != HL__JSON_STRING ||
        !base64_decode(text_at(s->r, s->from), head.data, s->r->bytes + to, &size))
        return value_refuse(s->r, "\"$bytes\" takes a string of base64 with its padding");
    s->from += leaf_size(head);
    value_set_head(s->r, s->to, HL__JSON_BYTES, size);
    memset(s->r->bytes + to + size, 0, value_padded(size) - size);
    s->to = to + value_padded(size);
    return true;
}

static bool settle_number(struct settling *s, uint8_t type)
{
    struct hl_wire_value head = value_head(s->r, s->from);
    struct whole whole;
    uint64_t bits;

    if (type == HL__JSON_F32 || type == HL__JSON_F64) {
        if (!get_real(s->r, s->from, &bits))
            return value_refuse(
                s->r, "\"$f32\" and \"$f64\" take a number, \"nan\", \"inf\" or \"-inf\"");
        if (type == HL__JSON_F32)
            bits = hl__double_to_float(bits);
    } else if (!get_whole(s->r, s->from, &whole) || !whole_bits(whole, type, &bits)) {
        return value_refuse(
            s->r, "\"$i32\", \"$u32\", \"$i64\" and \"$u64\" take a whole number in their range");
    }
    s->from += leaf_size(head);
    value_set_head(s->r, s->to, type, bits);
    s->to += VALUE_HEAD_SIZE;
    return true;
}

static bool settle(struct settling *s, uint32_t depth_left, bool plain);

/* A map whose only key, at s->from, starts with a dollar. */
static bool settle_typed(struct settling *s, uint32_t depth_left)
{
    static const struct {
        const char name[5];
        uint8_t type;
    } numbers[] = {{"$i32", HL__JSON_I32}, {"$u32", HL__JSON_U32}, {"$i64", HL__JSON_I64},
                   {"$u64", HL__JSON_U64}, {"$f32", HL__JSON_F32}, {"$f64", HL__JSON_F64}};
    uint64_t key = s->from;

    s->from += leaf_size(value_head(s->r, key));
    if (text_is(s->r, key, "$map") && value_head(s->r, s->from).type == HL__JSON_MAP) {
        s->value_count--;
        return settle(s, depth_left, true);
    }
    if (text_is(s->r, key, "$bytes"))
        return settle_bytes(s);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (text_is(s->r, key, numbers[i].name))
            return settle_number(s, numbers[i].type);
    return value_refuse(s->r,
                        "a map's only key starts with $ and is not a type; such a map is written "
                        "{\"$map\": {...}}");
}

static bool key_starts_with_dollar(const reader *r, uint64_t key)
{
    return value_head(r, key).data && *text_at(r, key) == '$';
}

/* The keys and values of a map. */
static bool settle_entries(struct settling *s, uint64_t count, uint32_t depth_left)
{
    uint64_t *keys = count > 1 ? hl__heap_new(count * sizeof *keys) : NULL;
    bool good = true;

    if (count > 1 && !keys) {
        s->r->no_memory = true;
        return value_refuse(s->r, "no memory for the line");
    }
    for (uint64_t i = 0; good && i < count; i++) {
        if (keys)
            keys[i] = s->to;
        move_leaf(s);
        good = settle(s, depth_left, false);
    }
    if (good && keys && !hl__json_keys_unique(s->r, keys, count))
        good = value_refuse(s->r, "a key occurs twice in a map");
    hl__heap_free(keys, count * sizeof *keys);
    return good;
}

/* `plain`: a map is itself, whatever its key. */
static bool settle(struct settling *s, uint32_t depth_left, bool plain)
{
    struct hl_wire_value head = value_head(s->r, s->from);
    bool map = head.type == HL__JSON_MAP;

    if (++s->value_count > HL__JSON_VALUES_MAX)
        return value_refuse(s->r, "too many values");
    if (!map && head.type != HL__JSON_LIST) {
        move_leaf(s);
        return true;
    }
    if (map && head.data == 1 && !plain &&
        key_starts_with_dollar(s->r, s->from + VALUE_HEAD_SIZE)) {
        s->from += VALUE_HEAD_SIZE;
        return settle_typed(s, depth_left);
    }
    if (!depth_left)
        return value_refuse(s->r, "a value is nested too deeply");
    move_leaf(s); /* its head */
    if (map)
        return settle_entries(s, head.data, depth_left - 1);
    for (uint64_t i = 0; i < head.data; i++)
        if (!settle(s, depth_left - 1, false))
            return false;
    return true;
}

/* A number becomes one of the type that was promised, if it can. */
static void settle_result(reader *r, uint64_t at, enum hl__json_type type)
{
    struct hl_wire_value head = value_head(r, at);
    struct whole whole;
    uint64_t bits;

    if (type < HL__JSON_I32 || type > HL__JSON_F64 || type == head.type)
        return;
    if (type < HL__JSON_F32) {
        if (get_number(head, &whole) && whole_bits(whole, (uint8_t)type, &bits))
            value_set_head(r, at, (uint8_t)type, bits);
    } else if (head.type != HL__JSON_STRING && get_real(r, at, &bits)) {
        value_set_head(r, at, (uint8_t)type,
                       type == HL__JSON_F32 ? hl__double_to_float(bits) : bits);
    }
}

static struct hl__line line_invalid(reader *r, const char *problem)
{
    if (problem)
        r->problem = problem;
    return (struct hl__line){.kind = HL__LINE_INVALID};
}

/* The message that starts with a head at `at`. */
static struct hl__line line_of(reader *r, enum hl__line_kind kind, uint64_t at, uint64_t end,
                               uint32_t wire_kind, uint32_t count)
{
    struct hl_wire_head head = {wire_kind, count, end - at};

    memcpy(r->bytes + at, &head, sizeof head);
    return (struct hl__line){.kind = kind, .message = r->bytes + at, .size = end - at};
}

static struct hl__line line_result(reader *r, uint64_t value, enum hl__json_type type)
{
    struct settling s = {r, value, value, 0};

    if (!settle(&s, HL__JSON_DEPTH_MAX, false))
        return line_invalid(r, NULL);
    settle_result(r, value, type);
    return line_of(r, HL__LINE_RESULT, value - sizeof(struct hl_wire_head), s.to, HL_WIRE_VALUE, 1);
}

static struct hl__line line_error(reader *r, uint64_t value)
{
    struct hl_wire_value head = value_head(r, value);

    if (head.type != HL__JSON_STRING)
        return line_invalid(r, "\"error\" takes a string");
    return line_of(r, HL__LINE_ERROR, value - sizeof(struct hl_wire_head), value + leaf_size(head),
                   HL_WIRE_VALUE, 1);
}

static bool is_name(const reader *r, uint64_t at)
{
    struct hl_wire_value head = value_head(r, at);

    if (head.type != HL__JSON_STRING || !head.data || head.data > HL__JSON_NAME_MAX)
        return false;
    for (uint64_t i = 0; i < head.data; i++)
        if (!text_at(r, at)[i])
            return false;
    return true;
}

/* A call of a host function: its name, and the list of its arguments or 0. */
static struct hl__line line_call(reader *r, uint64_t name, uint64_t list)
{
    uint8_t string[VALUE_HEAD_SIZE + HL__JSON_NAME_MAX + 1];
    struct hl_wire_value head = {.type = HL__JSON_LIST};
    struct settling s = {r, HL__JSON_ROOM, HL__JSON_ROOM, 0};
    uint64_t size, start;

    if (!is_name(r, name))
        return line_invalid(r, "\"host\" takes the name of a function: 1 to 255 bytes");
    if (list)
        head = value_head(r, list);
    if (head.type != HL__JSON_LIST || head.data > HL__JSON_ARGUMENTS_MAX)
        return line_invalid(r, "\"args\" takes a list of at most 64 values");
    /* The name may stand behind the arguments: it moves before them. */
    size = leaf_size(value_head(r, name));
    memcpy(string, r->bytes + name, size);
    if (list)
        s.from = s.to = list + VALUE_HEAD_SIZE;
    start = s.from - size - sizeof(struct hl_wire_head);
    for (uint64_t i = 0; i < head.data; i++)
        if (!settle(&s, HL__JSON_DEPTH_MAX, false))
            return line_invalid(r, NULL);
    memcpy(r->bytes + start + sizeof(struct hl_wire_head), string, size);
    return line_of(r, HL__LINE_CALL, start, s.to, HL_WIRE_CALL, (uint32_t)head.data);
}

/* Declarations: built behind the line's value. */

static int type_by_name(const reader *r, uint64_t at)
{
    static const char names[][7] = {"null", "bool", "i32",    "u32",   "i64",  "u64",
                                    "f32",  "f64",  "string", "bytes", "list", "map"};

    if (value_head(r, at).type != HL__JSON_STRING)
        return -1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (text_is(r, at, names[i]))
            return (int)i;
    return text_is(r, at, "any") ? HL__JSON_ANY : -1;
}

/* What a function's object says. */
struct declaration {
    uint64_t name; /* where it is; 0: missing */
    bool typed;
    uint8_t types[1 + HL__JSON_ARGUMENTS_MAX]; /* the result's first */
    uint64_t parameter_count;
};

/* Behind a value without values in it, or a list of such. */
static uint64_t behind_simple(const reader *r, uint64_t at)
{
    struct hl_wire_value head = value_head(r, at);

    at += leaf_size(head);
    for (uint64_t i = 0; head.type == HL__JSON_LIST && i < head.data; i++)
        at += leaf_size(value_head(r, at));
    return at;
}

static bool read_parameters(reader *r, uint64_t at, struct declaration *d)
{
    struct hl_wire_value head = value_head(r, at);

    if (head.type != HL__JSON_LIST || head.data > HL__JSON_ARGUMENTS_MAX)
        return value_refuse(r, "\"parameters\" takes a list of at most 64 types");
    d->typed = true;
    d->parameter_count = head.data;
    at += VALUE_HEAD_SIZE;
    for (uint64_t i = 0; i < head.data; i++) {
        int type = type_by_name(r, at);

        if (type < 0)
            return value_refuse(r, "\"parameters\" names an unknown type");
        d->types[1 + i] = (uint8_t)type;
        at += leaf_size(value_head(r, at));
    }
    return true;
}

static bool read_declaration(reader *r, uint64_t at, struct declaration *d)
{
    struct hl_wire_value head = value_head(r, at);

    *d = (struct declaration){.types = {HL__JSON_ANY}};
    if (head.type == HL__JSON_STRING) {
        d->name = at;
        return true;
    }
    if (head.type != HL__JSON_MAP)
        return value_refuse(r, "\"functions\" lists names and objects");
    at += VALUE_HEAD_SIZE;
    for (uint64_t i = 0; i < head.data; i++) {
        uint64_t key = at, value = at + leaf_size(value_head(r, at));
        int type;

        if (text_is(r, key, "name")) {
            d->name = value;
        } else if (text_is(r, key, "result")) {
            if ((type = type_by_name(r, value)) < 0)
                return value_refuse(r, "\"result\" of a function names an unknown type");
            d->types[0] = (uint8_t)type;
            d->typed = true;
        } else if (!text_is(r, key, "parameters")) {
            return value_refuse(r, "a function has \"name\", \"parameters\" and \"result\"");
        } else if (!read_parameters(r, value, d)) {
            return false;
        }
        /* All of these are checked to be simple; a name is checked by the caller. */
        if (text_is(r, key, "name") && value_head(r, value).type != HL__JSON_STRING)
            return value_refuse(r, "the name of a function is a string");
        at = behind_simple(r, value);
    }
    return true;
}

/* Whether the function whose name is at `name` is declared between `at` and `end` already. */
static bool is_declared(const reader *r, uint64_t name, uint64_t at, uint64_t end)
{
    struct hl_wire_value head = value_head(r, name);

    while (at < end) {
        struct hl_wire_value other = value_head(r, at);

        if (other.data == head.data && memcmp(text_at(r, at), text_at(r, name), head.data) == 0)
            return true;
        at += leaf_size(other);
        at += leaf_size(value_head(r, at));
    }
    return false;
}

static bool append_declaration(reader *r, const struct declaration *d, uint64_t start)
{
    uint8_t types[sizeof d->types + 8] = {0};
    struct hl_wire_value head = {.type = d->typed ? HL__JSON_BYTES : HL__JSON_NULL};
    uint64_t name_size;

    if (!d->name || !is_name(r, d->name))
        return value_refuse(r, "a function needs a name of 1 to 255 bytes");
    if (is_declared(r, d->name, start, r->size))
        return value_refuse(r, "a function is declared twice");
    name_size = leaf_size(value_head(r, d->name));
    if (!hl__json_reserve(r, name_size) || !value_append(r, r->bytes + d->name, name_size))
        return false;
    head.data = d->typed ? 1 + d->parameter_count : 0;
    memcpy(types, d->types, head.data);
    return value_append(r, &head, sizeof head) &&
           (!d->typed || value_append(r, types, value_padded(head.data)));
}

/* Where the next item of the list of functions starts. */
static uint64_t behind_function(const reader *r, uint64_t at)
{
    struct hl_wire_value head = value_head(r, at);

    at += leaf_size(head);
    for (uint64_t i = 0; head.type == HL__JSON_MAP && i < head.data; i++)
        at = behind_simple(r, behind_simple(r, at));
    return at;
}

/* `functions`: where the list is, 0: any name is served. `restored`: likewise, a bool. */
static struct hl__line line_exports(reader *r, uint64_t functions, uint64_t restored)
{
    struct hl_wire_value list = {.type = HL__JSON_LIST};
    struct hl_wire_head head = {0};
    struct declaration d;
    struct hl__line line;
    uint64_t message = r->size, start = message + sizeof head, at = functions + VALUE_HEAD_SIZE;

    if (functions)
        list = value_head(r, functions);
    if (list.type != HL__JSON_LIST || list.data > HL_WIRE_EXPORTS_MAX)
        return line_invalid(r, "\"functions\" takes a list of at most 1024 functions");
    if (restored && value_head(r, restored).type != HL__JSON_BOOL)
        return line_invalid(r, "\"restored\" takes true or false");
    if (!value_append(r, &head, sizeof head))
        return line_invalid(r, NULL);
    for (uint64_t i = 0; i < list.data; i++) {
        if (!read_declaration(r, at, &d) || !append_declaration(r, &d, start))
            return line_invalid(r, NULL);
        at = behind_function(r, at);
    }
    line = line_of(r, HL__LINE_EXPORTS, message, r->size, HL_WIRE_EXPORTS, (uint32_t)list.data);
    line.any_name = !functions;
    line.notify_restored = restored && value_head(r, restored).data;
    return line;
}

/* Where the value of a key of the line is, 0 if it has none; counts it as known. */
static uint64_t value_of(const reader *r, const char *key, uint32_t *known)
{
    for (uint32_t i = 0; i < r->key_count; i++) {
        if (text_is(r, r->keys[i], key)) {
            ++*known;
            return r->values[i];
        }
    }
    return 0;
}

struct hl__line hl__json_line(reader *r, enum hl__json_type result_type)
{
    uint32_t known = 0;
    uint64_t result = value_of(r, "result", &known), error = value_of(r, "error", &known),
             host = value_of(r, "host", &known), args = value_of(r, "args", &known),
             functions = value_of(r, "functions", &known),
             restored = value_of(r, "restored", &known);

    if (known != r->key_count || !known)
        return line_invalid(r, "a line has the key \"result\", \"error\", \"host\" (and \"args\") "
                               "or \"functions\" (and \"restored\"), each once");
    if (host && known == (args ? 2u : 1u))
        return line_call(r, host, args);
    if (result && known == 1)
        return line_result(r, result, result_type);
    if (error && known == 1)
        return line_error(r, error);
    if ((functions || restored) && known == (functions && restored ? 2u : 1u))
        return line_exports(r, functions, restored);
    return line_invalid(r, "keys of a line do not belong together");
}
