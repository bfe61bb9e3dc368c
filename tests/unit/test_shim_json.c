/*
 * The shim's JSON and its decimal numbers: against the C library's printf and strtod, against the host
 * library's own codec, and piece by piece in all sizes.
 */
#include "../../guest/shim/functions/decimal.c"
#include "../../guest/shim/functions/json_keys.c"
#include "../../guest/shim/functions/json_line.c"
#include "../../guest/shim/functions/json_read.c"
#include "../../guest/shim/functions/json_write.c"

#include "wire/wire.h"

#include <hyperlight/value.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static size_t heap_left = SIZE_MAX;

void *hl__heap_new(size_t size)
{
    return size > heap_left ? NULL : calloc(1, size);
}

void hl__heap_free(void *object, size_t size)
{
    (void)size;
    free(object);
}

void *hl__heap_resize(void *object, size_t old_size, size_t new_size)
{
    void *moved = new_size > heap_left ? NULL : calloc(1, new_size);

    if (!moved)
        return NULL;
    memcpy(moved, object, old_size < new_size ? old_size : new_size);
    free(object);
    return moved;
}

static uint64_t random_state = 88172645463325252ull;

static uint64_t random_number(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint64_t bits_of(double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static double of_bits(uint64_t bits)
{
    double number;

    memcpy(&number, &bits, sizeof number);
    return number;
}

/* Digits of the significand in a text. */
static int digit_count(const char *text)
{
    int count = 0, zeroes = 0;

    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9')
            continue;
        if (*text == '0' && !count)
            continue;
        zeroes = *text == '0' ? zeroes + 1 : 0;
        count++;
    }
    return count - zeroes;
}

/* The fewest digits with which printf's text reads back. */
static int fewest_digits(double number)
{
    char text[64];

    for (int digits = 1;; digits++) {
        snprintf(text, sizeof text, "%.*e", digits - 1, number);
        if (strtod(text, NULL) == number)
            return digit_count(text);
    }
}

static void check_double(uint64_t bits)
{
    char text[HL__DECIMAL_TEXT_MAX + 1], nearest[64];
    double number = of_bits(bits);
    int digits;

    if (!isfinite(number))
        return;
    text[hl__double_text(text, bits)] = '\0';
    if (bits_of(strtod(text, NULL)) != bits)
        fail_msg("%a is printed as %s", number, text);
    digits = digit_count(text);
    assert_non_null(strpbrk(text, ".e"));
    if (number == 0)
        return;
    if (digits > fewest_digits(number))
        fail_msg("%a is printed as %s, which is too long", number, text);
    /* Where printf's digits read back, too, they are the nearest. */
    snprintf(nearest, sizeof nearest, "%.*e", digits - 1, number);
    if (strtod(nearest, NULL) == number && strtold(nearest, NULL) != strtold(text, NULL))
        fail_msg("%a is printed as %s, nearer is %s", number, text, nearest);
}

static void doubles_are_printed_shortest(void **state)
{
    (void)state;
    check_double(0);
    check_double(1ull << 63);
    for (int exponent = 0; exponent < 2047; exponent++) {
        for (int64_t near = -2; near <= 2; near++)
            check_double((((uint64_t)exponent << 52) + (uint64_t)near) & ~(1ull << 63));
    }
    for (int power = -330; power < 309; power++) {
        char text[16];

        snprintf(text, sizeof text, "1e%d", power);
        for (int64_t near = -1; near <= 1 && strtod(text, NULL) > 0; near++)
            check_double(bits_of(strtod(text, NULL)) + (uint64_t)near);
    }
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = random_number();

        check_double(bits);
        check_double(bits_of((double)(int64_t)(bits >> (bits & 63)) / 1000));
    }
}

static void doubles_have_the_known_forms(void **state)
{
    static const struct {
        double number;
        const char *text;
    } known[] = {{0.0, "0.0"},
                 {-0.0, "-0.0"},
                 {1.0, "1.0"},
                 {-1.5, "-1.5"},
                 {0.1, "0.1"},
                 {0.0001, "0.0001"},
                 {0.00001, "1e-05"},
                 {123456789.0, "123456789.0"},
                 {1e15, "1000000000000000.0"},
                 {1e16, "1e+16"},
                 {1.25e100, "1.25e+100"},
                 {5e-324, "5e-324"},
                 {1.7976931348623157e308, "1.7976931348623157e+308"},
                 {9007199254740993.0, "9007199254740992.0"},
                 {2e-44, "2e-44"},
                 {9.5367431640625e-07, "9.5367431640625e-07"}};

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char text[HL__DECIMAL_TEXT_MAX + 1];

        text[hl__double_text(text, bits_of(known[i].number))] = '\0';
        assert_string_equal(text, known[i].text);
    }
}

static uint32_t float_bits(float number)
{
    uint32_t bits;

    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static void check_float(uint32_t bits)
{
    char text[HL__DECIMAL_TEXT_MAX + 1], other[64];
    float number;
    double wide;
    int digits;

    memcpy(&number, &bits, sizeof number);
    wide = (double)number;
    assert_int_equal(hl__float_to_double(bits), bits_of(wide));
    assert_int_equal(hl__double_to_float(bits_of(wide)), bits);
    text[hl__float_text(text, bits)] = '\0';
    if (float_bits(strtof(text, NULL)) != bits)
        fail_msg("%a is printed as %s", wide, text);
    for (digits = 1; digits < digit_count(text); digits++) {
        snprintf(other, sizeof other, "%.*e", digits - 1, wide);
        assert_true(strtof(other, NULL) != number);
    }
}

static void floats_are_printed_shortest(void **state)
{
    (void)state;
    for (uint32_t exponent = 0; exponent < 255; exponent++)
        for (uint32_t near = 0; near < 3; near++)
            check_float((exponent << 23) + near);
    for (int i = 0; i < 20000; i++) {
        uint32_t bits = (uint32_t)random_number();

        if ((bits & 0x7f800000) != 0x7f800000)
            check_float(bits);
    }
}

static void doubles_become_floats(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = random_number();

        /* Exponents that floats have, and half of them halfway between two floats. */
        bits = (bits & ~(0x7ffull << 52)) | (1023 - 160 + (bits >> 52) % 320) << 52;
        if (bits & 1)
            bits = (bits & ~0x1fffffffull) | 0x10000000;
        assert_int_equal(hl__double_to_float(bits), float_bits((float)of_bits(bits)));
        assert_int_equal(hl__whole_to_double(bits, false), bits_of((double)bits));
    }
    assert_int_equal(hl__double_to_float(0x7ffull << 52), 0xffu << 23);
    assert_true(isnan((float)of_bits(hl__float_to_double(0x7fc00000))));
}

/* Reads a line as a whole; the message goes to `line`. */
static struct hl__line read_line(struct hl__json_reader *r, const char *text)
{
    size_t taken;
    struct hl__line invalid = {.kind = HL__LINE_INVALID};

    hl__json_reader_reset(r);
    if (hl__json_read(r, (const uint8_t *)text, strlen(text), &taken) != HL__JSON_LINE)
        return invalid;
    return hl__json_line(r, HL__JSON_ANY);
}

/* A copy of a line's message for hl__wire_decode(). */
static void *buffer_of(const struct hl__line *line)
{
    void *buffer = hl__wire_buffer_new(line->size);

    assert_non_null(buffer);
    return memcpy(buffer, line->message, line->size);
}

/* The value of {"result":TEXT}, decoded by the host library. */
static hl_value read_value(const char *text)
{
    static struct hl__json_reader r;
    size_t size = strlen(text) + 32;
    char *whole = malloc(size);
    hl__wire_message message;
    hl__wire_problem problem = {HL_OK, "not refused"};

    snprintf(whole, size, "{\"result\":%s}\n", text);

    struct hl__line line = read_line(&r, whole);

    if (line.kind != HL__LINE_RESULT)
        fail_msg("%s: %s", text, r.problem);
    if (!hl__wire_decode(HL_WIRE_VALUE, buffer_of(&line), line.size, UINT64_MAX, NULL, NULL,
                         &message, &problem))
        fail_msg("%s: the host says: %s", text, problem.reason);
    hl__json_reader_free(&r);
    free(whole);
    return hl__wire_message_take(&message);
}

static void check_number(const char *text)
{
    hl_value value = read_value(text);

    assert_int_equal(value.type, HL_TYPE_F64);
    if (bits_of(value.as.f64) != bits_of(strtod(text, NULL)))
        fail_msg("%s is read as %a, not as %a", text, value.as.f64, strtod(text, NULL));
}

static void decimals_are_read_exactly(void **state)
{
    static const char *const hard[] = {
        "0.0",
        "-0.0",
        "0e5",
        "1e0",
        "1E+2",
        "1e-2",
        "4.9e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "2.2250738585072011e-308",
        "2.2250738585072014e-308",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "9007199254740992.5",
        "9007199254740993.0",
        "9007199254740993.00000000000000000000000000000001",
        "9007199254740994.9999999999999999999999999999999",
        "123456789012345678901234567890.0",
        "0.000000000000000000000000000000000000000000000000000000000001e59",
        "1e-400",
        "0.1e-323",
        "6.9294956446009195e15",
        "5e-325",
        "1.00000000000000011102230246251565404236316680908203125",
        "1.00000000000000011102230246251565404236316680908203124",
        "1.00000000000000011102230246251565404236316680908203126",
        "1e-1000000000000000000000",
        "0.0e99999999999999999999",
        "18446744073709551615.0",
        "18446744073709551616.0e0",
        "8.98846567431158e307",
        "3.5e-46"};

    (void)state;
    for (size_t i = 0; i < sizeof hard / sizeof *hard; i++)
        check_number(hard[i]);
    for (int i = 0; i < 20000; i++) {
        char text[96];
        double number = of_bits(random_number());

        if (!isfinite(number))
            continue;
        snprintf(text, sizeof text, "%.*e", (int)(random_number() % 20), number);
        check_number(strstr(text, ".") ? text : "1.5");
        snprintf(text, sizeof text, "%" PRIu64 "e%d", random_number() >> (random_number() & 63),
                 (int)(random_number() % 60) - 30);
        check_number(text);
    }
}

/* Exactly halfway between two doubles, and a little above and below, with all of their digits. */
static void ties_are_read_exactly(void **state)
{
    (void)state;
    for (int i = 0; i < 600; i++) {
        char text[1400];
        uint64_t bits = (random_number() % 2046) << 52 | (random_number() >> 12);
        double number = of_bits(i < 60 ? (uint64_t)i : bits);
        long double half = ((long double)number + (long double)of_bits(bits_of(number) + 1)) / 2;
        int length = snprintf(text, sizeof text, "%.780Le", half);
        size_t exponent = strcspn(text, "e");

        assert_in_range(length, exponent + 1, sizeof text - 201);
        check_number(text);
        text[exponent - 1] = '1'; /* behind trailing zeroes, most of the time */
        check_number(text);
        memmove(text + exponent + 200, text + exponent, (size_t)length + 1 - exponent);
        memset(text + exponent, '0', 200);
        text[exponent + 199] = '3';
        check_number(text);
    }
}

static void numbers_have_the_smallest_type(void **state)
{
    static const struct {
        const char *text;
        hl_type type;
        uint64_t bits;
    } numbers[] = {{"0", HL_TYPE_I32, 0},
                   {"-0", HL_TYPE_I32, 0},
                   {"2147483647", HL_TYPE_I32, 2147483647},
                   {"-2147483648", HL_TYPE_I32, 0x80000000},
                   {"2147483648", HL_TYPE_I64, 2147483648},
                   {"-2147483649", HL_TYPE_I64, (uint64_t)-2147483649},
                   {"9223372036854775807", HL_TYPE_I64, INT64_MAX},
                   {"-9223372036854775808", HL_TYPE_I64, 1ull << 63},
                   {"9223372036854775808", HL_TYPE_U64, 1ull << 63},
                   {"18446744073709551615", HL_TYPE_U64, UINT64_MAX},
                   {"{\"$u64\":\"18446744073709551615\"}", HL_TYPE_U64, UINT64_MAX},
                   {"{\"$u64\":7}", HL_TYPE_U64, 7},
                   {"{\"$i64\":\"-7\"}", HL_TYPE_I64, (uint64_t)-7},
                   {"{\"$i32\":-7}", HL_TYPE_I32, (uint32_t)-7},
                   {"{\"$u32\":4294967295}", HL_TYPE_U32, UINT32_MAX}};

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        hl_value value = read_value(numbers[i].text);
        uint64_t bits =
            value.type == HL_TYPE_I32 || value.type == HL_TYPE_U32 ? value.as.u32 : value.as.u64;

        assert_int_equal(value.type, numbers[i].type);
        assert_int_equal(bits, numbers[i].bits);
    }
    assert_true(isnan(read_value("{\"$f64\":\"nan\"}").as.f64));
    assert_true(isinf(read_value("{\"$f64\":\"-inf\"}").as.f64));
    assert_true(read_value("{\"$f64\":3}").as.f64 == 3.0);
    assert_true(read_value("{\"$f32\":0.5}").as.f32 == 0.5F);
}

static void check_text(const char *json, const char *text, size_t size)
{
    hl_value value = read_value(json);

    assert_int_equal(value.type, HL_TYPE_STRING);
    assert_int_equal(value.as.string.size, size);
    assert_memory_equal(value.as.string.data, text, size);
    hl_value_free(&value);
}

static void strings_are_read(void **state)
{
    (void)state;
    check_text("\"\"", "", 0);
    check_text("\"1234567\"", "1234567", 7);
    check_text("\"12345678\"", "12345678", 8);
    check_text("\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\"", "a\"\\/\b\f\n\r\tz", 10);
    check_text("\"\\u0000\\u0041\\u00e9\\u20AC\\uD83D\\ude00\"",
               "\0A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 11);
    check_text("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"",
               "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f", 10);
}

/* {"$map":...}: what is typed, and what only looks so. */
static void typed_values_are_told_from_maps(void **state)
{
    hl_value value = read_value("{\"$bytes\":\"AAECAw==\"}"), inner;

    (void)state;
    assert_int_equal(value.type, HL_TYPE_BYTES);
    assert_int_equal(value.as.bytes.size, 4);
    assert_memory_equal(value.as.bytes.data, "\0\1\2\3", 4);
    hl_value_free(&value);

    value = read_value("{\"$map\":{\"$bytes\":\"AAECAw==\"}}");
    assert_int_equal(value.type, HL_TYPE_MAP);
    inner = *hl_value_get(&value, "$bytes");
    assert_int_equal(inner.type, HL_TYPE_STRING);
    hl_value_free(&value);

    value = read_value("{\"$map\":{\"$map\":{\"$bytes\":\"\"}}}");
    inner = *hl_value_get(&value, "$map");
    assert_int_equal(inner.type, HL_TYPE_BYTES);
    hl_value_free(&value);

    value = read_value("{\"$map\":{\"$bytes\":\"\"},\"b\":[{\"$map\":{\"a\":1}},{\"$u64\":2}]}");
    assert_int_equal(value.as.map.count, 2);
    inner = *hl_value_get(&value, "$map");
    assert_int_equal(inner.type, HL_TYPE_BYTES);
    inner = *hl_value_get(&value, "b");
    assert_int_equal(inner.as.list.count, 2);
    assert_int_equal(inner.as.list.items[0].type, HL_TYPE_MAP);
    assert_int_equal(inner.as.list.items[1].type, HL_TYPE_U64);
    hl_value_free(&value);
}

static const char *const malformed[] = {
    "",
    "x",
    "[]",
    "1",
    "\"a\"",
    "{",
    "{}",
    "{]",
    "{\"result\"}",
    "{\"result\":}",
    "{\"result\" 1}",
    "{\"result\":1,}",
    "{\"result\":1",
    "{\"result\":1}}",
    "{\"result\":1} 2",
    "{\"result\":1 2}",
    "{\"result\":01}",
    "{\"result\":-}",
    "{\"result\":+1}",
    "{\"result\":1.}",
    "{\"result\":.5}",
    "{\"result\":1e}",
    "{\"result\":1e+}",
    "{\"result\":1e999}",
    "{\"result\":1.0e309}",
    "{\"result\":0x10}",
    "{\"result\":NaN}",
    "{\"result\":Infinity}",
    "{\"result\":nul}",
    "{\"result\":nulll}",
    "{\"result\":True}",
    "{\"result\":'a'}",
    "{\"result\":\"a}",
    "{\"result\":\"\\x\"}",
    "{\"result\":\"\\u12\"}",
    "{\"result\":\"\\ud800\"}",
    "{\"result\":\"\\udc00\"}",
    "{\"result\":\"\\ud800\\u0041\"}",
    "{\"result\":\"\\ud800x\"}",
    "{\"result\":\"\x01\"}",
    "{\"result\":\"\t\"}",
    "{\"result\":\"\xff\"}",
    "{\"result\":\"\xc0\x80\"}",
    "{\"result\":\"\xe0\x80\x80\"}",
    "{\"result\":\"\xed\xa0\x80\"}",
    "{\"result\":\"\xf4\x90\x80\x80\"}",
    "{\"result\":\"\xc3\"}",
    "{\"result\":[1,]}",
    "{\"result\":[,1]}",
    "{\"result\":[1}",
    "{\"result\":{\"a\":1]}",
    "{\"result\":{a:1}}",
    "{\"result\":{1:1}}",
    "{\"result\":[1 2]}",
    "{\"result\":18446744073709551616}",
    "{\"result\":-9223372036854775809}",
    "{\"result\":{\"$bytes\":\"A\"}}",
    "{\"result\":{\"$bytes\":\"AB==\"}}",
    "{\"result\":{\"$bytes\":\"AA=A\"}}",
    "{\"result\":{\"$bytes\":\"A A=\"}}",
    "{\"result\":{\"$bytes\":1}}",
    "{\"result\":{\"$\":1}}",
    "{\"result\":{\"$nothing\":1}}",
    "{\"result\":{\"$u64\":-1}}",
    "{\"result\":{\"$u64\":\"\"}}",
    "{\"result\":{\"$u64\":\" 1\"}}",
    "{\"result\":{\"$u64\":\"18446744073709551616\"}}",
    "{\"result\":{\"$i32\":2147483648}}",
    "{\"result\":{\"$u32\":1.0}}",
    "{\"result\":{\"$f64\":\"x\"}}",
    "{\"result\":{\"$f64\":null}}",
    "{\"result\":{\"$map\":[]}}",
    "{\"result\":{\"$map\":{\"$no\":{\"$no\":1}}}}",
    "{\"results\":1}",
    "{\"result\":1,\"result\":1}",
    "{\"result\":1,\"error\":\"\"}",
    "{\"error\":1}",
    "{\"error\":null}",
    "{\"host\":1}",
    "{\"host\":\"\"}",
    "{\"host\":\"a\\u0000\"}",
    "{\"args\":[]}",
    "{\"host\":\"a\",\"args\":{}}",
    "{\"host\":\"a\",\"args\":null}",
    "{\"host\":\"a\",\"result\":1}",
    "{\"functions\":1}",
    "{\"functions\":[1]}",
    "{\"functions\":[\"\"]}",
    "{\"functions\":[\"a\",\"a\"]}",
    "{\"functions\":[{}]}",
    "{\"functions\":[{\"name\":1}]}",
    "{\"functions\":[{\"name\":[]}]}",
    "{\"functions\":[{\"name\":\"a\",\"result\":\"int\"}]}",
    "{\"functions\":[{\"name\":\"a\",\"parameters\":[1]}]}",
    "{\"functions\":[{\"name\":\"a\",\"parameters\":[[\"i32\"]]}]}",
    "{\"functions\":[{\"name\":\"a\",\"x\":1}]}",
    "{\"functions\":[],\"restored\":1}",
    "{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1}",
    "{\"result\":1}\r\x01",
    "{\"$map\":{\"result\":1}}",
    "{\"result\":{\"a\":1,\"b\":2,\"\\u0061\":3}}",
    "{\"host\":\"f\",\"args\":[[{\"\":1,\"\":1}]]}"};

static void malformed_lines_are_refused(void **state)
{
    static struct hl__json_reader r;
    char text[128];

    (void)state;
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        snprintf(text, sizeof text, "%s\n", malformed[i]);
        if (read_line(&r, text).kind != HL__LINE_INVALID)
            fail_msg("accepted: %s", malformed[i]);
        if (*malformed[i] && !r.problem)
            fail_msg("refused without a reason: %s", malformed[i]);
    }
    hl__json_reader_free(&r);
}

static char *nested(char *text, unsigned depth, const char *open, const char *close)
{
    char *at = text;

    for (unsigned i = 0; i < depth; i++)
        at = stpcpy(at, open);
    at = stpcpy(at, "1");
    for (unsigned i = 0; i < depth; i++)
        at = stpcpy(at, close);
    return text;
}

static void depth_and_count_have_limits(void **state)
{
    static struct hl__json_reader r;
    static char text[8192], line[8300];
    size_t size = 2 * (HL__JSON_VALUES_MAX + 1) + 64;
    char *large = malloc(size), *at;

    (void)state;
    hl_value value = read_value(nested(text, 32, "[", "]"));
    hl_value_free(&value);
    value = read_value(nested(text, 32, "{\"$map\":{\"$a\":", "}}"));
    hl_value_free(&value);
    snprintf(line, sizeof line, "{\"result\":%s}\n", nested(text, 33, "[", "]"));
    assert_int_equal(read_line(&r, line).kind, HL__LINE_INVALID);
    snprintf(line, sizeof line, "{\"result\":%s}\n", nested(text, 1000, "{\"a\":", "}"));
    assert_int_equal(read_line(&r, line).kind, HL__LINE_INVALID);
    snprintf(line, sizeof line, "{\"host\":\"f\",\"args\":[%s]}\n", nested(text, 32, "[", "]"));
    assert_int_equal(read_line(&r, line).kind, HL__LINE_CALL);
    snprintf(line, sizeof line, "{\"host\":\"f\",\"args\":[%s]}\n", nested(text, 33, "[", "]"));
    assert_int_equal(read_line(&r, line).kind, HL__LINE_INVALID);

    for (unsigned extra = 0; extra < 2; extra++) {
        at = stpcpy(large, "{\"result\":[0");
        for (unsigned i = 2; i < HL__JSON_VALUES_MAX + extra; i++)
            at = stpcpy(at, ",0");
        strcpy(at, "]}\n");
        assert_int_equal(read_line(&r, large).kind, extra ? HL__LINE_INVALID : HL__LINE_RESULT);
    }
    heap_left = 1 << 20;
    hl__json_reader_free(&r);
    assert_int_equal(read_line(&r, large).kind, HL__LINE_INVALID);
    assert_true(r.no_memory);
    heap_left = SIZE_MAX;
    hl__json_reader_free(&r);
    free(large);
}

static void keys_occur_once(void **state)
{
    static struct hl__json_reader r;
    char *text = malloc(1 << 20), *at;

    (void)state;
    for (int twice = 0; twice < 2; twice++) {
        at = stpcpy(text, "{\"result\":{\"first\":0");
        for (int i = 0; i < 20000; i++)
            at += sprintf(at, ",\"k%d\":%d", i * 7919 % 20011, i);
        strcpy(at, twice ? ",\"k19999\":1}}\n" : "}}\n");
        assert_int_equal(read_line(&r, text).kind, twice ? HL__LINE_INVALID : HL__LINE_RESULT);
    }
    assert_string_equal(r.problem, "a key occurs twice in a map");
    hl__json_reader_free(&r);
    free(text);
}

/* Host calls: the order of the keys does not matter. */
static void host_calls_are_messages(void **state)
{
    static const char *const lines[] = {
        "{\"host\":\"add\",\"args\":[1,{\"$bytes\":\"AAAA\"},[{\"$u64\":3}]]}\n",
        "\n \r\n { \"args\" : [1,{\"$bytes\":\"AAAA\"},[{\"$u64\":3}]] , \"host\" : \"add\" } "
        "\r\n"};
    static struct hl__json_reader r;
    hl__wire_problem problem;
    char name[300], text[400];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct hl__line line = read_line(&r, lines[i]);
        hl__wire_message message;

        assert_int_equal(line.kind, HL__LINE_CALL);
        assert_true(hl__wire_decode(HL_WIRE_CALL, buffer_of(&line), line.size, UINT64_MAX, NULL,
                                    NULL, &message, &problem));
        assert_string_equal(message.function.data, "add");
        assert_int_equal(message.count, 3);
        assert_int_equal(message.values[1].type, HL_TYPE_BYTES);
        assert_int_equal(message.values[2].as.list.items[0].as.u64, 3);
        hl__wire_message_free(&message);
    }
    memset(name, 'n', sizeof name);
    for (int length = 1; length <= 256; length++) {
        hl__wire_message message;
        struct hl__line line;

        snprintf(text, sizeof text,
                 length & 1 ? "{\"args\":[],\"host\":\"%.*s\"}\n" : "{\"host\":\"%.*s\"}\n", length,
                 name);
        line = read_line(&r, text);
        assert_int_equal(line.kind, length == 256 ? HL__LINE_INVALID : HL__LINE_CALL);
        if (length == 256)
            break;
        assert_true(hl__wire_decode(HL_WIRE_CALL, buffer_of(&line), line.size, UINT64_MAX, NULL,
                                    NULL, &message, &problem));
        assert_int_equal(message.function.size, length);
        hl__wire_message_free(&message);
    }
    hl__json_reader_free(&r);
}

static void declarations_are_messages(void **state)
{
    static struct hl__json_reader r;
    struct hl__line line = read_line(
        &r,
        "{\"restored\":true,\"functions\":[\"a\",{\"name\":\"bb\",\"parameters\":[\"i64\",\"any\"],"
        "\"result\":\"f64\"},{\"parameters\":[],\"name\":\"c\"},{\"result\":\"null\",\"name\":"
        "\"d\"}]}\n");
    hl__wire_export *exports;
    hl__wire_problem problem = {HL_OK, ""};
    size_t count;

    (void)state;
    assert_int_equal(line.kind, HL__LINE_EXPORTS);
    assert_true(line.notify_restored && !line.any_name);
    if (!hl__wire_exports_decode(line.message, line.size, &exports, &count, &problem))
        fail_msg("%s", problem.reason);
    assert_int_equal(count, 4);
    assert_false(exports[0].has_signature);
    assert_string_equal(exports[1].name.data, "bb");
    assert_int_equal(exports[1].signature.parameter_count, 2);
    assert_int_equal(exports[1].signature.parameters[0], HL_TYPE_I64);
    assert_int_equal(exports[1].signature.parameters[1], HL_TYPE_ANY);
    assert_int_equal(exports[1].signature.result, HL_TYPE_F64);
    assert_true(exports[2].has_signature && exports[2].signature.result == HL_TYPE_ANY);
    assert_int_equal(exports[3].signature.result, HL_TYPE_NULL);
    free(exports);
    line = read_line(&r, "{\"restored\":false}\n");
    assert_int_equal(line.kind, HL__LINE_EXPORTS);
    assert_true(line.any_name && !line.notify_restored);
    hl__json_reader_free(&r);
}

/* A promised type is kept where the number allows it. */
static void results_follow_the_signature(void **state)
{
    static const struct {
        const char *json;
        hl_type promised, type;
    } cases[] = {{"5", HL_TYPE_I64, HL_TYPE_I64},    {"5", HL_TYPE_U32, HL_TYPE_U32},
                 {"-5", HL_TYPE_U32, HL_TYPE_I32},   {"5", HL_TYPE_F64, HL_TYPE_F64},
                 {"5.5", HL_TYPE_F32, HL_TYPE_F32},  {"5.5", HL_TYPE_I32, HL_TYPE_F64},
                 {"5", HL_TYPE_STRING, HL_TYPE_I32}, {"\"nan\"", HL_TYPE_F64, HL_TYPE_STRING},
                 {"5", HL_TYPE_ANY, HL_TYPE_I32},    {"[5]", HL_TYPE_I64, HL_TYPE_LIST}};
    static struct hl__json_reader r;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        size_t taken;
        struct hl__line line;
        struct hl_wire_value head;

        hl__json_reader_reset(&r);
        snprintf(text, sizeof text, "{\"result\":%s}\n", cases[i].json);
        assert_int_equal(hl__json_read(&r, (uint8_t *)text, strlen(text), &taken), HL__JSON_LINE);
        line = hl__json_line(&r, (enum hl__json_type)cases[i].promised);
        memcpy(&head, line.message + sizeof(struct hl_wire_head), sizeof head);
        assert_int_equal(head.type, cases[i].type);
        if (head.type == HL_TYPE_F64 && head.data == bits_of(5.0))
            assert_int_equal(cases[i].promised, HL_TYPE_F64);
    }
    hl__json_reader_free(&r);
}

/* The text of a value as the writer makes it, with pieces of a size. */
static char *write_value(const hl_value *value, size_t piece)
{
    struct hl__json_writer w = {0};
    const hl__wire_content content = {NULL, value, 1, false, UINT64_MAX};
    hl__wire_problem problem = {HL_OK, ""};
    uint64_t size;
    char *text = malloc(1 << 16);
    size_t length = 0, got;
    void *message;

    if (!hl__wire_encode(&content, NULL, 0, &size, &problem))
        fail_msg("%s", problem.reason);
    message = malloc(size);
    assert_true(hl__wire_encode(&content, message, size, &size, &problem));
    assert_true(hl__json_write_start(&w, HL__JSON_RESULT, message, size, false));
    while ((got = hl__json_write(&w, (uint8_t *)text + length, piece)) != 0)
        length += got;
    assert_false(w.failed);
    text[length] = '\0';
    free(message);
    return text;
}

static void check_written(hl_value value, const char *json)
{
    char expected[512];

    snprintf(expected, sizeof expected, "{\"result\":%s}\n", json);
    for (size_t piece = 1; piece < 80; piece += 13) {
        char *text = write_value(&value, piece);

        assert_string_equal(text, expected);
        free(text);
    }
}

static void values_are_written(void **state)
{
    hl_value items[] = {hl_value_i32(-1), hl_value_u64(UINT64_MAX), hl_value_null()};
    hl_entry one = hl_value_entry("$x", hl_value_bool(true));
    hl_entry two[] = {hl_value_entry("a", hl_value_list(NULL, 0)),
                      hl_value_entry("$b\n", hl_value_map(NULL, 0))};

    (void)state;
    check_written(hl_value_null(), "null");
    check_written(hl_value_bool(false), "false");
    check_written(hl_value_i64(INT64_MIN), "-9223372036854775808");
    check_written(hl_value_u32(UINT32_MAX), "4294967295");
    check_written(hl_value_i32(INT32_MIN), "-2147483648");
    check_written(hl_value_f64(0.1), "0.1");
    check_written(hl_value_f32(0.1F), "0.1");
    check_written(hl_value_f64(NAN), "{\"$f64\":\"nan\"}");
    check_written(hl_value_f32(-INFINITY), "{\"$f32\":\"-inf\"}");
    check_written(hl_value_string("a\"\\\n\t\x7f\xc2\x85\xc3\xa9\xc2\xa0"),
                  "\"a\\\"\\\\\\n\\u0009\\u007f\\u0085\xc3\xa9\xc2\xa0\"");
    check_written(hl_value_string_n("\0", 1), "\"\\u0000\"");
    check_written(hl_value_bytes("", 0), "{\"$bytes\":\"\"}");
    check_written(hl_value_bytes("\0\1\2\3", 4), "{\"$bytes\":\"AAECAw==\"}");
    check_written(hl_value_list(items, 3), "[-1,18446744073709551615,null]");
    check_written(hl_value_map(&one, 1), "{\"$map\":{\"$x\":true}}");
    check_written(hl_value_map(two, 2), "{\"a\":[],\"$b\\n\":{}}");
}

static void calls_are_written(void **state)
{
    hl_value arguments[] = {hl_value_string("x"), hl_value_i32(2)};
    hl_span name = {"na\"me", 5};
    hl__wire_problem problem;
    struct hl__json_writer w = {0};
    uint64_t size;
    char message[512];
    uint8_t text[128];

    (void)state;
    const hl__wire_content content = {&name, arguments, 2, false, sizeof message};
    assert_true(hl__wire_encode(&content, message, sizeof message, &size, &problem));
    for (int restored = 0; restored < 2; restored++) {
        const char *expected =
            restored ? "{\"call\":\"na\\\"me\",\"args\":[\"x\",2],\"restored\":true}\n"
                     : "{\"call\":\"na\\\"me\",\"args\":[\"x\",2]}\n";

        assert_true(hl__json_write_start(&w, HL__JSON_CALL, message, size, restored));
        assert_int_equal(hl__json_write(&w, text, sizeof text), strlen(expected));
        assert_memory_equal(text, expected, strlen(expected));
        assert_int_equal(hl__json_write(&w, text, sizeof text), 0);
    }
    /* A name that reaches out of the message, and one that is cut. */
    for (uint64_t cut = 0; cut < size; cut += 8) {
        struct hl_wire_head head = {HL_WIRE_CALL, 2, cut};
        char *copy = malloc(cut + 1);
        size_t total = 0, got;

        memcpy(copy, message, cut);
        memcpy(copy, &head, cut < sizeof head ? cut : sizeof head);
        if (hl__json_write_start(&w, HL__JSON_CALL, copy, cut, false)) {
            while ((got = hl__json_write(&w, text, sizeof text)) != 0)
                total += got;
            assert_true(w.failed && total < sizeof text);
        }
        free(copy);
    }
}

static hl_value random_value(unsigned depth, void **memory, size_t *count);

static void *keep(void **memory, size_t *count, size_t size)
{
    return memory[(*count)++] = calloc(1, size + 1);
}

static hl_value random_text(bool bytes, void **memory, size_t *count)
{
    size_t size = random_number() % 24;
    char *data = keep(memory, count, 4 * size);
    size_t length = 0;

    for (size_t i = 0; i < size; i++) {
        static const char *const pieces[] = {
            "a", "\"", "\\", "\n", "\x01", "\xc2\x80", "\xf0\x9f\x98\x80", "$"};
        const char *piece = pieces[random_number() % 8];

        if (bytes)
            data[length++] = (char)random_number();
        else
            length = (size_t)(stpcpy(data + length, piece) - data);
    }
    return bytes ? hl_value_bytes(data, length) : hl_value_string_n(data, length);
}

static hl_value random_container(bool map, unsigned depth, void **memory, size_t *count)
{
    size_t size = random_number() % 4;
    hl_value *items = keep(memory, count, size * sizeof *items);
    hl_entry *entries = keep(memory, count, size * sizeof *entries);
    static const char *const keys[] = {"$map", "$bytes", "a", "$u64"};
    size_t first = random_number();

    for (size_t i = 0; i < size; i++) {
        items[i] = random_value(depth - 1, memory, count);
        entries[i] = hl_value_entry(keys[(first + i) % 4], items[i]);
    }
    return map ? hl_value_map(entries, size) : hl_value_list(items, size);
}

static hl_value random_value(unsigned depth, void **memory, size_t *count)
{
    uint64_t bits = random_number();
    int64_t number = (int64_t)bits >> (random_number() & 63);

    switch (random_number() % (depth ? 9 : 7)) {
    case 0:
        return hl_value_null();
    case 1:
        return hl_value_bool(bits & 1);
    case 2: /* numbers of the type that JSON gives back */
        return number == (int32_t)number ? hl_value_i32((int32_t)number) : hl_value_i64(number);
    case 3:
        return hl_value_u64(bits | 1ull << 63);
    case 4:
        return hl_value_f64(isfinite(of_bits(bits)) ? of_bits(bits) : (double)INFINITY);
    case 5:
        return random_text(false, memory, count);
    case 6:
        return random_text(true, memory, count);
    default:
        return random_container(bits & 1, depth, memory, count);
    }
}

/* Whatever the host sends comes back equal when the program sends it as it came, in pieces. */
static void values_come_back_equal(void **state)
{
    static struct hl__json_reader r;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        void *memory[4096];
        size_t count = 0, taken = 0;
        hl_value value = random_value(4, memory, &count), back;
        char *text = write_value(&value, 1 + random_number() % 64);
        size_t size = strlen(text);
        hl__wire_message message;
        hl__wire_problem problem = {HL_OK, ""};
        struct hl__line line;

        hl__json_reader_reset(&r);
        for (size_t at = 0; at < size; at += taken) {
            size_t piece = 1 + random_number() % 9;

            piece = piece < size - at ? piece : size - at;
            assert_int_not_equal(hl__json_read(&r, (uint8_t *)text + at, piece, &taken),
                                 HL__JSON_REFUSED);
            assert_int_equal(taken, piece);
        }
        line = hl__json_line(&r, HL__JSON_ANY);
        if (line.kind != HL__LINE_RESULT)
            fail_msg("%s: %s", text, r.problem);
        if (!hl__wire_decode(HL_WIRE_VALUE, buffer_of(&line), line.size, UINT64_MAX, NULL, NULL,
                             &message, &problem))
            fail_msg("%s: %s", text, problem.reason);
        back = hl__wire_message_take(&message);
        if (!hl_value_equal(&value, &back))
            fail_msg("does not come back: %s", text);
        hl_value_free(&back);
        free(text);
        while (count)
            free(memory[--count]);
    }
    hl__json_reader_free(&r);
}

/* Two lines in one piece: the first one ends where it ends. */
static void lines_end_at_their_ends(void **state)
{
    static struct hl__json_reader r;
    const char *text = "{\"result\":1}\n{\"result\":2}\n";
    size_t taken;

    (void)state;
    hl__json_reader_reset(&r);
    assert_int_equal(hl__json_read(&r, (const uint8_t *)text, strlen(text), &taken), HL__JSON_LINE);
    assert_int_equal(taken, 13);
    hl__json_reader_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles_are_printed_shortest),
        cmocka_unit_test(doubles_have_the_known_forms),
        cmocka_unit_test(floats_are_printed_shortest),
        cmocka_unit_test(doubles_become_floats),
        cmocka_unit_test(decimals_are_read_exactly),
        cmocka_unit_test(ties_are_read_exactly),
        cmocka_unit_test(numbers_have_the_smallest_type),
        cmocka_unit_test(strings_are_read),
        cmocka_unit_test(typed_values_are_told_from_maps),
        cmocka_unit_test(malformed_lines_are_refused),
        cmocka_unit_test(depth_and_count_have_limits),
        cmocka_unit_test(keys_occur_once),
        cmocka_unit_test(host_calls_are_messages),
        cmocka_unit_test(declarations_are_messages),
        cmocka_unit_test(results_follow_the_signature),
        cmocka_unit_test(values_are_written),
        cmocka_unit_test(calls_are_written),
        cmocka_unit_test(values_come_back_equal),
        cmocka_unit_test(lines_end_at_their_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
