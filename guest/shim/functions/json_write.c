/* Messages from the host as lines of JSON. The host checked them, but the program can write to where
 * they lie: nothing is believed that would lead out of the message. */
#include "functions/json.h"

#include <string.h>

enum { WRITE_IDLE, WRITE_NAME, WRITE_ARGUMENTS, WRITE_VALUES, WRITE_END };

#define BASE64_PIECE 48u /* bytes, a multiple of 3; the text must fit into the token */

static void put_bytes(struct hl__json_writer *w, const char *text, size_t size)
{
    memcpy(w->token + w->token_size, text, size);
    w->token_size = (uint8_t)(w->token_size + size);
}

static void put(struct hl__json_writer *w, const char *text)
{
    while (*text)
        w->token[w->token_size++] = *text++;
}

static void fail(struct hl__json_writer *w)
{
    w->failed = true;
    w->state = WRITE_IDLE;
    w->depth = 0;
    w->body = w->body_end = NULL;
    w->token_size = w->token_at = 0;
}

static bool read_head(struct hl__json_writer *w, struct hl_wire_value *head)
{
    if ((uint64_t)(w->end - w->at) < sizeof *head) {
        fail(w);
        return false;
    }
    memcpy(head, w->at, sizeof *head);
    w->at += sizeof *head;
    if (!head->flags)
        return true;
    fail(w);
    return false;
}

static void start_body(struct hl__json_writer *w, uint64_t size, bool base64, bool key)
{
    uint64_t left = (uint64_t)(w->end - w->at);

    /* There is a NUL behind it, and zeroes up to a multiple of 8. */
    if (size >= left || ((size + 8) & ~7ull) > left) {
        fail(w);
        return;
    }
    w->body = w->at;
    w->body_end = w->at + size;
    w->at += (size + 8) & ~7ull;
    w->body_is_base64 = base64;
    w->body_is_key = key;
    put(w, base64 ? "{\"$bytes\":\"" : "\"");
}

static void put_whole(struct hl__json_writer *w, uint64_t magnitude, bool negative)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + magnitude % 10);
    while (magnitude /= 10);
    put(w, negative ? "-" : "");
    put_bytes(w, digits + at, sizeof digits - at);
}

static void put_signed(struct hl__json_writer *w, int64_t number)
{
    put_whole(w, number < 0 ? -(uint64_t)number : (uint64_t)number, number < 0);
}

static void put_double(struct hl__json_writer *w, uint64_t bits)
{
    const uint64_t infinity = 0x7ffull << 52, magnitude = bits & ~(1ull << 63);

    if (magnitude < infinity)
        w->token_size = (uint8_t)(w->token_size + hl__double_text(w->token + w->token_size, bits));
    else
        put(w, magnitude > infinity ? "{\"$f64\":\"nan\"}"
               : bits >> 63         ? "{\"$f64\":\"-inf\"}"
                                    : "{\"$f64\":\"inf\"}");
}

static void put_float(struct hl__json_writer *w, uint32_t bits)
{
    const uint32_t infinity = 0xffu << 23, magnitude = bits & ~(1u << 31);

    if (magnitude < infinity)
        w->token_size = (uint8_t)(w->token_size + hl__float_text(w->token + w->token_size, bits));
    else
        put(w, magnitude > infinity ? "{\"$f32\":\"nan\"}"
               : bits >> 31         ? "{\"$f32\":\"-inf\"}"
                                    : "{\"$f32\":\"inf\"}");
}

/* Whether a map with one entry would read like a typed value. */
static bool map_is_ambiguous(const struct hl__json_writer *w, uint64_t count)
{
    struct hl_wire_value key;

    if (count != 1 || (uint64_t)(w->end - w->at) <= sizeof key)
        return false;
    memcpy(&key, w->at, sizeof key);
    return key.data && w->at[sizeof key] == '$';
}

static void open_container(struct hl__json_writer *w, uint64_t count, bool map)
{
    bool wrapped = map && map_is_ambiguous(w, count);

    if (w->depth == sizeof w->levels / sizeof *w->levels) {
        fail(w);
        return;
    }
    w->levels[w->depth++] = (struct hl__json_level){count, map, wrapped, true};
    put(w, wrapped ? "{\"$map\":{" : map ? "{" : "[");
}

static void close_container(struct hl__json_writer *w)
{
    const struct hl__json_level *level = &w->levels[--w->depth];

    put(w, level->wrapped ? "}}" : level->map ? "}" : "]");
}

static void put_value(struct hl__json_writer *w)
{
    struct hl_wire_value head;

    if (!read_head(w, &head))
        return;
    switch (head.type) {
    case HL__JSON_BOOL:
        put(w, head.data ? "true" : "false");
        break;
    case HL__JSON_I32:
        put_signed(w, (int32_t)head.data);
        break;
    case HL__JSON_I64:
        put_signed(w, (int64_t)head.data);
        break;
    case HL__JSON_U32:
        put_whole(w, (uint32_t)head.data, false);
        break;
    case HL__JSON_U64:
        put_whole(w, head.data, false);
        break;
    case HL__JSON_F32:
        put_float(w, (uint32_t)head.data);
        break;
    case HL__JSON_F64:
        put_double(w, head.data);
        break;
    case HL__JSON_STRING:
    case HL__JSON_BYTES:
        start_body(w, head.data, head.type == HL__JSON_BYTES, false);
        break;
    case HL__JSON_LIST:
    case HL__JSON_MAP:
        open_container(w, head.data, head.type == HL__JSON_MAP);
        break;
    case HL__JSON_NULL:
        put(w, "null");
        break;
    default:
        fail(w);
    }
}

static void put_key(struct hl__json_writer *w)
{
    struct hl_wire_value head;

    if (!read_head(w, &head))
        return;
    if (head.type == HL__JSON_STRING)
        start_body(w, head.data, false, true);
    else
        fail(w);
}

/* The next thing inside the innermost container: an item, a key, or its end. */
static void put_next(struct hl__json_writer *w)
{
    struct hl__json_level *level = &w->levels[w->depth - 1];

    if (!level->left) {
        close_container(w);
        return;
    }
    level->left--;
    if (!level->first)
        put(w, ",");
    level->first = false;
    if (level->map)
        put_key(w);
    else
        put_value(w);
}

static bool is_plain(const uint8_t *at)
{
    /* C0, DEL and C1 are escaped, so that no line drives a terminal. A NUL follows the body. */
    return *at >= 0x20 && *at != '"' && *at != '\\' && *at != 0x7f &&
           !(*at == 0xc2 && at[1] < 0xa0);
}

static void put_escaped(struct hl__json_writer *w)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t byte = *w->body++;

    put(w, "\\");
    if (byte == '"' || byte == '\\') {
        put_bytes(w, (const char *)&byte, 1);
    } else if (byte == '\n') {
        put(w, "n");
    } else {
        if (byte == 0xc2 && w->body < w->body_end)
            byte = *w->body++; /* U+0080 to U+009F */
        put(w, "u00");
        put_bytes(w, &hex[byte >> 4], 1);
        put_bytes(w, &hex[byte & 15], 1);
    }
}

static void put_base64(struct hl__json_writer *w)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t size = (size_t)(w->body_end - w->body);

    if (size > BASE64_PIECE)
        size = BASE64_PIECE;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t bits = (uint32_t)w->body[i] << 16 |
                        (left > 1 ? (uint32_t)w->body[i + 1] << 8 : 0) |
                        (left > 2 ? w->body[i + 2] : 0);
        char quad[4] = {alphabet[bits >> 18], alphabet[bits >> 12 & 63],
                        left > 1 ? alphabet[bits >> 6 & 63] : '=',
                        left > 2 ? alphabet[bits & 63] : '='};

        put_bytes(w, quad, sizeof quad);
    }
    w->body += size;
}

static void end_body(struct hl__json_writer *w)
{
    w->body = w->body_end = NULL;
    put(w, w->body_is_base64 ? "\"}" : "\"");
    if (!w->body_is_key)
        return;
    if (w->state == WRITE_NAME) {
        w->state = WRITE_ARGUMENTS;
        return;
    }
    put(w, ":");
    put_value(w);
}

static void put_end(struct hl__json_writer *w)
{
    put(w, w->restored ? ",\"restored\":true}\n" : "}\n");
    w->state = WRITE_IDLE;
    w->at = w->end;
}

/* Makes the next token. */
static void step(struct hl__json_writer *w)
{
    if (w->body)
        w->body == w->body_end ? end_body(w) : w->body_is_base64 ? put_base64(w) : put_escaped(w);
    else if (w->depth)
        put_next(w);
    else if (w->state == WRITE_NAME)
        put_key(w);
    else if (w->state == WRITE_ARGUMENTS) {
        w->state = WRITE_END;
        put(w, ",\"args\":");
        open_container(w, w->levels[0].left, false);
    } else if (w->state == WRITE_VALUES) {
        w->state = WRITE_END;
        put_value(w);
    } else if (w->state == WRITE_END)
        put_end(w);
}

bool hl__json_write_start(struct hl__json_writer *w, enum hl__json_form form, const void *message,
                          uint64_t size, bool restored)
{
    struct hl_wire_head head;
    uint32_t kind = form == HL__JSON_CALL ? HL_WIRE_CALL : HL_WIRE_VALUE;

    if (size < sizeof head)
        return false;
    memcpy(&head, message, sizeof head);
    if (head.kind != kind || head.size != size)
        return false;
    w->at = (const uint8_t *)message + sizeof head;
    w->end = (const uint8_t *)message + size;
    w->body = w->body_end = NULL;
    w->depth = w->token_size = w->token_at = 0;
    w->failed = false;
    w->restored = restored;
    w->form = (uint8_t)form;
    w->state = form == HL__JSON_CALL ? WRITE_NAME : WRITE_VALUES;
    w->levels[0].left = head.count;
    put(w, form == HL__JSON_CALL     ? "{\"call\":"
           : form == HL__JSON_RESULT ? "{\"result\":"
                                     : "{\"error\":");
    return true;
}

/* What of a string needs no escapes goes straight through. */
static size_t copy_plain(struct hl__json_writer *w, uint8_t *to, size_t capacity)
{
    size_t size = (size_t)(w->body_end - w->body), plain = 0;

    if (size > capacity)
        size = capacity;
    while (plain < size && is_plain(w->body + plain))
        plain++;
    memcpy(to, w->body, plain);
    w->body += plain;
    return plain;
}

size_t hl__json_write(struct hl__json_writer *w, uint8_t *to, size_t capacity)
{
    size_t size = 0;

    while (size < capacity) {
        if (w->token_at < w->token_size) {
            to[size++] = (uint8_t)w->token[w->token_at++];
            continue;
        }
        w->token_at = w->token_size = 0;
        if (w->body && !w->body_is_base64 && w->body != w->body_end) {
            size_t plain = copy_plain(w, to + size, capacity - size);

            size += plain;
            if (plain)
                continue;
        }
        if (w->state == WRITE_IDLE)
            break;
        step(w);
        if (w->failed)
            break;
    }
    return size;
}
