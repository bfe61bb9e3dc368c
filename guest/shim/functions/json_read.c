/* Lines of JSON from the program, as wire values. The program is free to write anything, in pieces of any
 * size. */
#include "functions/value.h"
#include "memory/heap.h"

enum {
    STATE_LINE, /* before a line's object */
    STATE_VALUE,
    STATE_FIRST_ITEM,
    STATE_FIRST_KEY,
    STATE_KEY,
    STATE_COLON,
    STATE_AFTER, /* a value in a container */
    STATE_STRING,
    STATE_ESCAPE,
    STATE_HEX,
    STATE_LOW_BACKSLASH, /* of the second half of a surrogate pair */
    STATE_LOW_U,
    STATE_WORD,
    STATE_MINUS,
    STATE_ZERO,
    STATE_WHOLE,
    STATE_POINT,
    STATE_FRACTION,
    STATE_E,
    STATE_E_SIGN,
    STATE_EXPONENT,
    STATE_END /* behind a line's object */
};

#define CAPACITY_LEAST HL_ABI_PAGE_SIZE
#define EXPONENT_MAX 100000000

bool hl__json_reserve(reader *r, uint64_t size)
{
    uint64_t capacity = r->capacity ? r->capacity : CAPACITY_LEAST;
    void *bytes;

    if (r->capacity >= r->size && size <= r->capacity - r->size)
        return true;
    if (size > HL__HEAP_SIZE_MAX || r->size + size > HL__HEAP_SIZE_MAX)
        return value_refuse(r, "the line is too long");
    while (capacity < r->size + size)
        capacity *= 2;
    bytes = r->bytes ? hl__heap_resize(r->bytes, r->capacity, capacity) : hl__heap_new(capacity);
    if (!bytes) {
        r->no_memory = true;
        return value_refuse(r, "no memory for the line");
    }
    r->bytes = bytes;
    r->capacity = capacity;
    return true;
}

static bool value_end(reader *r)
{
    r->state = r->nesting ? STATE_AFTER : STATE_END;
    if (r->nesting)
        r->open[r->nesting - 1].count++;
    return true;
}

static bool value_start(reader *r, uint8_t type, uint64_t data)
{
    struct hl_wire_value head = {.type = type, .data = data};

    return value_append(r, &head, sizeof head);
}

static bool scalar(reader *r, uint8_t type, uint64_t data)
{
    return value_start(r, type, data) && value_end(r);
}

static bool container_start(reader *r, bool map)
{
    if (r->nesting == HL__JSON_NESTING_MAX)
        return value_refuse(r, "a value is nested too deeply");
    r->open[r->nesting++] = (struct hl__json_open){.at = r->size, .map = map};
    r->state = map ? STATE_FIRST_KEY : STATE_FIRST_ITEM;
    return value_start(r, map ? HL__JSON_MAP : HL__JSON_LIST, 0);
}

static bool container_end(reader *r)
{
    const struct hl__json_open *closed = &r->open[--r->nesting];

    value_set_head(r, closed->at, closed->map ? HL__JSON_MAP : HL__JSON_LIST, closed->count);
    return value_end(r);
}

/* The keys of the line itself, and their values, are found again by where they start. */
static bool note_key(reader *r)
{
    if (r->nesting != 1)
        return true;
    if (r->key_count == HL__JSON_KEYS_MAX)
        return value_refuse(r, "the line has too many keys");
    r->keys[r->key_count] = r->size;
    return true;
}

static void note_value(reader *r)
{
    if (r->nesting == 1)
        r->values[r->key_count++] = r->size;
}

static bool string_start(reader *r, bool key)
{
    struct hl_wire_value head = {.type = HL__JSON_STRING};

    r->string_at = r->size;
    r->is_key = key;
    r->state = STATE_STRING;
    r->utf8_left = 0;
    return key ? value_append(r, &head, sizeof head) : value_start(r, HL__JSON_STRING, 0);
}

static bool string_end(reader *r)
{
    static const uint8_t zeroes[8];
    uint64_t size = r->size - r->string_at - VALUE_HEAD_SIZE;

    if (!value_append(r, zeroes, value_padded(size) - size))
        return false;
    value_set_head(r, r->string_at, HL__JSON_STRING, size);
    if (!r->is_key)
        return value_end(r);
    r->state = STATE_COLON;
    return true;
}

static bool append_code_point(reader *r, uint32_t point)
{
    uint8_t bytes[4];
    uint32_t size = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;

    for (uint32_t i = size; i-- > 1; point >>= 6)
        bytes[i] = (uint8_t)(0x80 | (point & 0x3f));
    bytes[0] = (uint8_t)(size == 1 ? point : (0xf00u >> size & 0xff) | point);
    return value_append(r, bytes, size);
}

/* Four digits of an escape are there. */
static bool unit_end(reader *r)
{
    uint32_t unit = r->unit;

    r->state = STATE_STRING;
    if (r->high_surrogate) {
        uint32_t high = r->high_surrogate;

        r->high_surrogate = 0;
        if (unit < 0xdc00 || unit > 0xdfff)
            return value_refuse(r, "half of a surrogate pair in a string");
        return append_code_point(r, 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00));
    }
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return value_refuse(r, "half of a surrogate pair in a string");
    if (unit >= 0xd800 && unit <= 0xdbff) {
        r->high_surrogate = (uint16_t)unit;
        r->state = STATE_LOW_BACKSLASH;
        return true;
    }
    return append_code_point(r, unit);
}

static bool hex_digit(reader *r, uint8_t byte)
{
    uint8_t letter = byte | 0x20;
    uint8_t digit = byte >= '0' && byte <= '9'       ? (uint8_t)(byte - '0')
                    : letter >= 'a' && letter <= 'f' ? (uint8_t)(letter - 'a' + 10)
                                                     : 16;

    if (digit == 16)
        return value_refuse(r, "\\u takes four hexadecimal digits");
    r->unit = (uint16_t)(r->unit << 4 | digit);
    return --r->hex_left ? true : unit_end(r);
}

static bool hex_start(reader *r)
{
    r->state = STATE_HEX;
    r->hex_left = 4;
    r->unit = 0;
    return true;
}

static bool escape(reader *r, uint8_t byte)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

    if (byte == 'u')
        return hex_start(r);
    for (size_t i = 0; from[i]; i++) {
        if (from[i] == (char)byte) {
            r->state = STATE_STRING;
            return value_append(r, &to[i], 1);
        }
    }
    return value_refuse(r, "an unknown escape in a string");
}

static bool utf8_start(reader *r, uint8_t lead)
{
    if (lead < 0xc2 || lead > 0xf4)
        return value_refuse(r, "a string is not valid UTF-8");
    r->utf8_left = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    /* No overlong forms, no surrogates, nothing above U+10FFFF. */
    r->utf8_least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    r->utf8_greatest = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    return value_append(r, &lead, 1);
}

static bool utf8_continue(reader *r, uint8_t byte)
{
    if (byte < r->utf8_least || byte > r->utf8_greatest)
        return value_refuse(r, "a string is not valid UTF-8");
    r->utf8_left--;
    r->utf8_least = 0x80;
    r->utf8_greatest = 0xbf;
    return value_append(r, &byte, 1);
}

static bool string_byte(reader *r, uint8_t byte)
{
    if (r->utf8_left)
        return utf8_continue(r, byte);
    if (byte == '"')
        return string_end(r);
    if (byte == '\\') {
        r->state = STATE_ESCAPE;
        return true;
    }
    if (byte == '\n')
        return value_refuse(r, "the line ends inside a string");
    if (byte < 0x20)
        return value_refuse(r, "a control character in a string must be escaped");
    return byte < 0x80 ? value_append(r, &byte, 1) : utf8_start(r, byte);
}

static void decimal_digit(reader *r, uint8_t digit, bool fraction)
{
    struct hl__decimal *decimal = &r->decimal;

    if (!decimal->digit_count && !digit) {
        decimal->exponent -= fraction;
        return;
    }
    decimal->exponent += !fraction;
    if (decimal->digit_count < HL__DECIMAL_DIGITS_MAX)
        decimal->digits[decimal->digit_count++] = digit;
    else
        decimal->sticky |= digit != 0;
}

static void number_start(reader *r, bool negative)
{
    r->negative = negative;
    r->whole = 0;
    r->whole_overflow = false;
    r->exponent = 0;
    r->exponent_negative = false;
    r->decimal.digit_count = 0;
    r->decimal.sticky = false;
    r->decimal.exponent = 0;
    r->state = STATE_MINUS;
}

static bool whole_digit(reader *r, uint8_t digit)
{
    decimal_digit(r, digit, false);
    r->whole_overflow |= __builtin_mul_overflow(r->whole, 10, &r->whole) ||
                         __builtin_add_overflow(r->whole, digit, &r->whole);
    r->state = r->state == STATE_MINUS && !digit ? STATE_ZERO : STATE_WHOLE;
    return true;
}

/* The smallest of i32, i64 and u64 that holds the number. */
static bool number_end_whole(reader *r)
{
    uint64_t number = r->negative ? -r->whole : r->whole;

    if (!r->whole_overflow) {
        if (r->whole <= INT32_MAX + (uint64_t)r->negative)
            return scalar(r, HL__JSON_I32, (uint32_t)number);
        if (r->whole <= INT64_MAX + (uint64_t)r->negative)
            return scalar(r, HL__JSON_I64, number);
        if (!r->negative)
            return scalar(r, HL__JSON_U64, number);
    }
    return value_refuse(r, "a whole number does not fit into 64 bits");
}

static bool number_end_real(reader *r)
{
    struct hl__decimal *decimal = &r->decimal;
    uint64_t bits;

    decimal->exponent += r->exponent_negative ? -r->exponent : r->exponent;
    while (!decimal->sticky && decimal->digit_count && !decimal->digits[decimal->digit_count - 1])
        decimal->digit_count--;
    if (!hl__decimal_to_double(decimal, &bits))
        return value_refuse(r, "a number is too large");
    return scalar(r, HL__JSON_F64, bits | (uint64_t)r->negative << 63);
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* A byte behind a part of a number that may be its end. Sets *again if the byte is not the number's. */
static bool number_byte(reader *r, uint8_t byte, bool *again)
{
    bool real = r->state >= STATE_FRACTION;

    if (is_digit(byte) && r->state != STATE_ZERO) {
        if (r->state == STATE_WHOLE)
            return whole_digit(r, (uint8_t)(byte - '0'));
        if (r->state == STATE_FRACTION)
            decimal_digit(r, (uint8_t)(byte - '0'), true);
        else if (r->exponent < EXPONENT_MAX)
            r->exponent = r->exponent * 10 + (byte - '0');
        return true;
    }
    if (byte == '.' && !real) {
        r->state = STATE_POINT;
        return true;
    }
    if ((byte == 'e' || byte == 'E') && r->state != STATE_EXPONENT) {
        r->state = STATE_E;
        return true;
    }
    *again = true;
    return real ? number_end_real(r) : number_end_whole(r);
}

/* A byte where a digit, or before an exponent's digits a sign, must come. */
static bool number_digit(reader *r, uint8_t byte)
{
    if (r->state == STATE_E && (byte == '+' || byte == '-')) {
        r->exponent_negative = byte == '-';
        r->state = STATE_E_SIGN;
        return true;
    }
    if (!is_digit(byte))
        return value_refuse(r, "a number lacks digits");
    if (r->state == STATE_MINUS)
        return whole_digit(r, (uint8_t)(byte - '0'));
    if (r->state == STATE_POINT) {
        decimal_digit(r, (uint8_t)(byte - '0'), true);
        r->state = STATE_FRACTION;
    } else {
        r->exponent = byte - '0';
        r->state = STATE_EXPONENT;
    }
    return true;
}

static bool word_byte(reader *r, uint8_t byte)
{
    if ((uint8_t)*r->word != byte)
        return value_refuse(r, "an unknown word; a string needs its quotes");
    return *++r->word ? true : scalar(r, r->word_type, r->word_data);
}

static bool word_start(reader *r, const char *word, uint8_t type, uint64_t data)
{
    r->word = word + 1;
    r->word_type = type;
    r->word_data = data;
    r->state = STATE_WORD;
    return true;
}

static bool value_byte(reader *r, uint8_t byte)
{
    switch (byte) {
    case '{':
        return container_start(r, true);
    case '[':
        return container_start(r, false);
    case '"':
        return string_start(r, false);
    case 't':
        return word_start(r, "true", HL__JSON_BOOL, 1);
    case 'f':
        return word_start(r, "false", HL__JSON_BOOL, 0);
    case 'n':
        return word_start(r, "null", HL__JSON_NULL, 0);
    case '-':
        number_start(r, true);
        return true;
    default:
        if (!is_digit(byte))
            return value_refuse(r, "no value where one is expected; a string needs its quotes");
        number_start(r, false);
        return number_digit(r, byte);
    }
}

static bool after_byte(reader *r, uint8_t byte)
{
    bool map = r->open[r->nesting - 1].map;

    if (byte == (map ? '}' : ']'))
        return container_end(r);
    if (byte != ',')
        return value_refuse(r, map ? "a comma or } is missing" : "a comma or ] is missing");
    r->state = map ? STATE_KEY : STATE_VALUE;
    return true;
}

/* A byte between the parts of a value, no white space. */
static bool structure_byte(reader *r, uint8_t byte)
{
    switch (r->state) {
    case STATE_LINE:
        if (byte != '{')
            return value_refuse(r, "a line must be an object");
        r->started = true;
        r->size = HL__JSON_ROOM;
        return hl__json_reserve(r, VALUE_HEAD_SIZE) && container_start(r, true);
    case STATE_VALUE:
        return value_byte(r, byte);
    case STATE_FIRST_ITEM:
        return byte == ']' ? container_end(r) : value_byte(r, byte);
    case STATE_FIRST_KEY:
        if (byte == '}')
            return container_end(r);
        /* fall through */
    case STATE_KEY:
        if (byte != '"')
            return value_refuse(r, "a key must be a string");
        return note_key(r) && string_start(r, true);
    case STATE_COLON:
        note_value(r);
        r->state = STATE_VALUE;
        return byte == ':' || value_refuse(r, "a colon is missing");
    case STATE_AFTER:
        return after_byte(r, byte);
    default:
        return value_refuse(r, "something follows the object on the line");
    }
}

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

/* One byte. False: refused. */
static bool read_byte(reader *r, uint8_t byte)
{
    bool again = false;

    switch (r->state) {
    case STATE_STRING:
        return string_byte(r, byte);
    case STATE_ESCAPE:
        return escape(r, byte);
    case STATE_HEX:
        return hex_digit(r, byte);
    case STATE_LOW_BACKSLASH:
        r->state = STATE_LOW_U;
        return byte == '\\' || value_refuse(r, "half of a surrogate pair in a string");
    case STATE_LOW_U:
        return byte == 'u' ? hex_start(r) : value_refuse(r, "half of a surrogate pair in a string");
    case STATE_WORD:
        return word_byte(r, byte);
    case STATE_MINUS:
    case STATE_POINT:
    case STATE_E:
    case STATE_E_SIGN:
        return number_digit(r, byte);
    case STATE_ZERO:
    case STATE_WHOLE:
    case STATE_FRACTION:
    case STATE_EXPONENT:
        if (!number_byte(r, byte, &again) || !again)
            return !r->problem;
        break;
    default:
        break;
    }
    if (is_space(byte))
        return true;
    if (byte == '\n')
        return value_refuse(r, "the line ends before its object does");
    return structure_byte(r, byte);
}

/* What of a string can be taken as it is. */
static size_t plain_prefix(const uint8_t *bytes, size_t size)
{
    size_t plain = 0;

    while (plain < size && bytes[plain] >= 0x20 && bytes[plain] < 0x80 && bytes[plain] != '"' &&
           bytes[plain] != '\\')
        plain++;
    return plain;
}

enum hl__json_progress hl__json_read(reader *r, const uint8_t *bytes, size_t size, size_t *taken)
{
    for (size_t i = 0; i < size; i++) {
        if (r->state == STATE_STRING && !r->utf8_left) {
            size_t plain = plain_prefix(bytes + i, size - i);

            if (plain && !value_append(r, bytes + i, plain))
                return HL__JSON_REFUSED;
            i += plain;
            if (i == size)
                break;
        }
        if (bytes[i] == '\n' && (r->state == STATE_LINE || r->state == STATE_END)) {
            if (r->state == STATE_LINE)
                continue;
            *taken = i + 1;
            return HL__JSON_LINE;
        }
        if (!read_byte(r, bytes[i]))
            return HL__JSON_REFUSED;
    }
    *taken = size;
    return HL__JSON_MORE;
}

void hl__json_reader_init(reader *r)
{
    hl__json_reader_reset(r);
}

void hl__json_reader_reset(reader *r)
{
    r->state = STATE_LINE;
    r->size = 0;
    r->problem = NULL;
    r->no_memory = r->started = false;
    r->nesting = 0;
    r->key_count = 0;
    r->utf8_left = 0;
    r->high_surrogate = 0;
}

void hl__json_reader_free(reader *r)
{
    hl__heap_free(r->bytes, r->capacity);
    r->bytes = NULL;
    r->capacity = 0;
    hl__json_reader_reset(r);
}
