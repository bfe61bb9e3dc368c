/* The codec: every type there and back, and everything that must be refused. */
#include "util/error.h"
#include "wire/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))
#define NO_LIMIT UINT64_MAX

/* Encoded bytes in a block of exactly their size, so that a sanitizer sees a read past them. */
struct message {
    uint8_t *bytes;
    uint64_t size;
};

/* The size of a value's message, which is not written. */
static bool measure(const hl_value *value, bool references, uint64_t limit, uint64_t *size,
                    hl__wire_problem *problem)
{
    const hl__wire_content content = {NULL, value, 1, references, limit};
    return hl__wire_encode(&content, NULL, 0, size, problem);
}

static struct message encode_content(const hl__wire_content *content)
{
    struct message message;
    hl__wire_problem problem;
    uint64_t size;
    assert_true(hl__wire_encode(content, NULL, 0, &size, &problem));
    for (uint64_t room = size > 0 ? size - 1 : 0; room <= size; room++) {
        message.bytes = malloc(size);
        assert_non_null(message.bytes);
        memset(message.bytes, 0xa5, size);
        assert_true(hl__wire_encode(content, message.bytes, room, &message.size, &problem));
        assert_int_equal(message.size, size);
        if (room == size)
            break;
        assert_int_equal(message.bytes[room], 0xa5);
        free(message.bytes);
    }
    return message;
}

static struct message encode(const hl_value *value, bool references)
{
    const hl__wire_content content = {NULL, value, 1, references, NO_LIMIT};
    return encode_content(&content);
}

static struct message encode_call(const char *name, const hl_value *arguments, size_t count)
{
    const hl_span span = {name, strlen(name)};
    const hl__wire_content content = {&span, arguments, count, false, NO_LIMIT};
    return encode_content(&content);
}

static struct message copy_of(const void *bytes, uint64_t size)
{
    struct message message = {malloc(size == 0 ? 1 : size), size};
    assert_non_null(message.bytes);
    if (size != 0)
        memcpy(message.bytes, bytes, size);
    return message;
}

/* Decodes a copy of exactly the message's size, and into pieces of exactly theirs. HL_OK or the
 * problem's status. */
static hl_status decode_tightly(uint32_t kind, const struct message *message, uint64_t limit,
                                hl__wire_fetch fetch, void *user)
{
    hl__wire_problem problem = {HL_OK, NULL};
    hl__wire_message result;
    struct message copy = copy_of(message->bytes, message->size);
    struct hl__arena_block *first = calloc(1, sizeof *first);
    struct hl__arena arena;
    assert_non_null(first);
    hl__arena_init(&arena, first, 0, 0);
    if (hl__wire_decode_in(&arena, kind, copy.bytes, copy.size, limit, fetch, user, &result,
                           &problem))
        problem.status = HL_OK;
    hl__arena_blocks_free(first);
    free(copy.bytes);
    return problem.status;
}

/* Decodes a copy that the result takes over. HL_OK or the problem's status. */
static hl_status decode(uint32_t kind, const struct message *message, uint64_t limit,
                        hl__wire_fetch fetch, void *user, hl__wire_message *result)
{
    hl__wire_problem problem = {HL_OK, NULL};
    void *copy = hl__wire_buffer_new(message->size);
    assert_non_null(copy);
    memcpy(copy, message->bytes, message->size);
    if (hl__wire_decode(kind, copy, message->size, limit, fetch, user, result, &problem))
        return HL_OK;
    assert_non_null(problem.reason);
    assert_int_not_equal(problem.status, HL_OK);
    return problem.status;
}

static hl_status decode_value(const struct message *message, hl_value *value)
{
    hl__wire_message result;
    hl_status status = decode(HL_WIRE_VALUE, message, NO_LIMIT, NULL, NULL, &result);
    assert_int_equal(decode_tightly(HL_WIRE_VALUE, message, NO_LIMIT, NULL, NULL), status);
    if (status == HL_OK)
        *value = hl__wire_message_take(&result);
    return status;
}

static void assert_refused(const struct message *message)
{
    hl_value value;
    assert_int_equal(decode_value(message, &value), HL_GUEST_BAD_REPLY);
}

static void assert_round_trip(const hl_value *value)
{
    hl_value decoded;
    struct message message = encode(value, false);
    assert_int_equal(message.size % 8, 0);
    assert_int_equal(decode_value(&message, &decoded), HL_OK);
    assert_true(hl_value_equal(value, &decoded));
    struct message again = encode(&decoded, false);
    assert_int_equal(again.size, message.size);
    assert_memory_equal(again.bytes, message.bytes, message.size);
    hl_value_free(&decoded);
    free(message.bytes);
    free(again.bytes);
}

static void assert_unsendable(const hl_value *value, hl_status status)
{
    static uint8_t room[1 << 16];
    const hl__wire_content content = {NULL, value, 1, false, NO_LIMIT};
    uint64_t size = 42;
    hl__wire_problem problem = {HL_OK, NULL};
    assert_false(hl__wire_encode(&content, room, sizeof room, &size, &problem));
    assert_int_equal(problem.status, status);
    assert_non_null(problem.reason);
    assert_int_equal(size, 42);
}

/* A value that has something of everything. */
struct mixture {
    hl_value items[5], numbers[8];
    hl_entry entries[3], inner[1];
    hl_value value;
};

static void mixture_init(struct mixture *mixture)
{
    float f32_nan;
    double f64_nan;
    memcpy(&f32_nan, &(uint32_t){0x7fc01234}, sizeof f32_nan);
    memcpy(&f64_nan, &(uint64_t){0x7ff8000012345678}, sizeof f64_nan);
    const hl_value numbers[] = {hl_value_bool(true),      hl_value_i32(INT32_MIN),
                                hl_value_u32(UINT32_MAX), hl_value_i64(INT64_MIN),
                                hl_value_u64(UINT64_MAX), hl_value_f32(f32_nan),
                                hl_value_f64(f64_nan),    hl_value_null()};
    memcpy(mixture->numbers, numbers, sizeof numbers);
    mixture->inner[0] = hl_value_entry("", hl_value_bytes("\xff\x00\x80", 3));
    mixture->items[0] = hl_value_list(mixture->numbers, COUNT_OF(numbers));
    mixture->items[1] = hl_value_string("gr\xc3\xbc\xc3\x9f\x65");
    mixture->items[2] = hl_value_string_n("with\0nul", 8);
    mixture->items[3] = hl_value_map(mixture->inner, 1);
    mixture->items[4] = hl_value_list(NULL, 0);
    mixture->entries[0] = hl_value_entry("list", hl_value_list(mixture->items, 5));
    mixture->entries[1] = hl_value_entry("\xe2\x82\xac", hl_value_map(NULL, 0));
    mixture->entries[2] = hl_value_entry("seven77", hl_value_bytes(NULL, 0));
    mixture->value = hl_value_map(mixture->entries, 3);
}

static void test_wire_every_type_makes_the_round_trip(void **state)
{
    (void)state;
    struct mixture mixture;
    mixture_init(&mixture);
    assert_round_trip(&mixture.value);
    for (size_t i = 0; i < COUNT_OF(mixture.numbers); i++)
        assert_round_trip(&mixture.numbers[i]);
    for (size_t i = 0; i < COUNT_OF(mixture.items); i++)
        assert_round_trip(&mixture.items[i]);
}

static void test_wire_strings_of_every_small_size_make_the_round_trip(void **state)
{
    (void)state;
    char text[40];
    memset(text, 'x', sizeof text);
    for (size_t size = 0; size <= sizeof text; size++) {
        const hl_value string = hl_value_string_n(text, size);
        const hl_value bytes = hl_value_bytes(text, size);
        assert_round_trip(&string);
        assert_round_trip(&bytes);
    }
}

static void test_wire_received_strings_end_with_nul_and_lie_in_the_message(void **state)
{
    (void)state;
    const hl_value string = hl_value_string("12345678");
    struct message message = encode(&string, false);
    hl__wire_message result;
    hl__wire_problem problem;
    char *copy = hl__wire_buffer_new(message.size);
    assert_non_null(copy);
    memcpy(copy, message.bytes, message.size);
    assert_true(hl__wire_decode(HL_WIRE_VALUE, copy, message.size, NO_LIMIT, NULL, NULL, &result,
                                &problem));
    assert_ptr_equal(result.values[0].as.string.data, copy + 32);
    assert_string_equal(result.values[0].as.string.data, "12345678");
    hl__wire_message_free(&result);
    assert_null(result.values);
    free(message.bytes);
}

static void test_wire_call_carries_name_and_arguments(void **state)
{
    (void)state;
    hl_value arguments[HL_PARAMETERS_MAX];
    for (size_t i = 0; i < HL_PARAMETERS_MAX; i++)
        arguments[i] = hl_value_i32((int32_t)i);
    for (size_t count = 0; count <= HL_PARAMETERS_MAX; count += 8) {
        struct message message = encode_call("shout", arguments, count);
        hl__wire_message result;
        assert_int_equal(decode(HL_WIRE_CALL, &message, NO_LIMIT, NULL, NULL, &result), HL_OK);
        assert_int_equal(result.count, count);
        assert_int_equal(result.function.size, 5);
        assert_string_equal(result.function.data, "shout");
        for (size_t i = 0; i < count; i++)
            assert_true(hl_value_equal(&result.values[i], &arguments[i]));
        hl__wire_message_free(&result);
        free(message.bytes);
    }
}

static bool call_fits(const char *name, size_t name_size, size_t count)
{
    hl_value arguments[HL_PARAMETERS_MAX + 1];
    const hl_span span = {name, name_size};
    hl__wire_problem problem = {HL_OK, NULL};
    uint64_t size;
    for (size_t i = 0; i < COUNT_OF(arguments); i++)
        arguments[i] = hl_value_null();
    const hl__wire_content content = {&span, arguments, count, false, NO_LIMIT};
    bool fits = hl__wire_encode(&content, NULL, 0, &size, &problem);
    assert_int_equal(problem.status, fits ? HL_OK : HL_INVALID_VALUE);
    return fits;
}

static void test_wire_call_size_refuses_bad_names_and_too_many_arguments(void **state)
{
    (void)state;
    char name[HL_NAME_MAX + 1];
    memset(name, 'n', sizeof name);
    assert_true(call_fits(name, 1, 0));
    assert_true(call_fits(name, HL_NAME_MAX, HL_PARAMETERS_MAX));
    assert_false(call_fits(name, HL_NAME_MAX + 1, 0));
    assert_false(call_fits(name, 0, 0));
    assert_false(call_fits(NULL, 0, 0));
    assert_false(call_fits("a\0b", 3, 0));
    assert_false(call_fits("\xff", 1, 0));
    assert_false(call_fits(name, 1, HL_PARAMETERS_MAX + 1));
}

static void test_wire_decode_refuses_calls_with_bad_names(void **state)
{
    (void)state;
    const hl_value argument = hl_value_null();
    struct message message = encode_call("ab", &argument, 1);
    hl__wire_message result;
    uint8_t *name = message.bytes + 32;
    memcpy(name, "a\0", 2);
    assert_int_equal(decode(HL_WIRE_CALL, &message, NO_LIMIT, NULL, NULL, &result),
                     HL_GUEST_BAD_REPLY);
    memcpy(name, "a\x80", 2);
    assert_int_equal(decode(HL_WIRE_CALL, &message, NO_LIMIT, NULL, NULL, &result),
                     HL_GUEST_BAD_REPLY);
    message.bytes[16] = HL_TYPE_BYTES;
    memcpy(name, "ab", 2);
    assert_int_equal(decode(HL_WIRE_CALL, &message, NO_LIMIT, NULL, NULL, &result),
                     HL_GUEST_BAD_REPLY);
    free(message.bytes);
}

static void test_wire_decode_refuses_too_many_arguments(void **state)
{
    (void)state;
    struct message message = encode_call("f", NULL, 0);
    const size_t count = HL_PARAMETERS_MAX + 1, size = message.size + count * 16;
    uint8_t *bytes = calloc(1, size);
    hl__wire_message result;
    assert_non_null(bytes);
    memcpy(bytes, message.bytes, message.size);
    struct hl_wire_head head = {HL_WIRE_CALL, (uint32_t)count, size};
    memcpy(bytes, &head, sizeof head);
    struct message hostile = {bytes, size};
    assert_int_equal(decode(HL_WIRE_CALL, &hostile, NO_LIMIT, NULL, NULL, &result),
                     HL_GUEST_BAD_REPLY);
    free(bytes);
    free(message.bytes);
}

/* `depth` lists or maps around a number. */
static hl_value nested(hl_value *values, hl_entry *entries, size_t depth, bool maps)
{
    hl_value value = hl_value_i32(7);
    for (size_t i = 0; i < depth; i++) {
        values[i] = value;
        entries[i] = hl_value_entry("k", value);
        value = maps ? hl_value_map(&entries[i], 1) : hl_value_list(&values[i], 1);
    }
    return value;
}

static void test_wire_nesting_ends_at_the_named_depth(void **state)
{
    (void)state;
    hl_value values[HL_VALUE_DEPTH_MAX + 1];
    hl_entry entries[HL_VALUE_DEPTH_MAX + 1];
    for (int maps = 0; maps < 2; maps++) {
        hl_value deep = nested(values, entries, HL_VALUE_DEPTH_MAX, maps);
        assert_round_trip(&deep);
        deep = nested(values, entries, HL_VALUE_DEPTH_MAX + 1, maps);
        assert_unsendable(&deep, HL_INVALID_VALUE);
    }
}

static void test_wire_decode_refuses_deeper_nesting(void **state)
{
    (void)state;
    const size_t depths[] = {HL_VALUE_DEPTH_MAX + 1, 100000};
    for (size_t i = 0; i < COUNT_OF(depths); i++) {
        struct message message = {NULL, 16 + (depths[i] + 1) * 16};
        message.bytes = calloc(1, message.size);
        assert_non_null(message.bytes);
        const struct hl_wire_head head = {HL_WIRE_VALUE, 1, message.size};
        const struct hl_wire_value list = {HL_TYPE_LIST, 0, {0}, 1};
        memcpy(message.bytes, &head, sizeof head);
        for (size_t depth = 0; depth < depths[i]; depth++)
            memcpy(message.bytes + 16 + depth * 16, &list, sizeof list);
        assert_refused(&message);
        free(message.bytes);
    }
}

static void test_wire_list_that_contains_itself_is_refused(void **state)
{
    (void)state;
    hl_value list[2];
    list[0] = list[1] = hl_value_list(list, 2);
    assert_unsendable(&list[0], HL_INVALID_VALUE);
}

static const struct {
    const char *text;
    size_t size;
    bool valid;
} utf8_samples[] = {
    {"", 0, true},
    {"plain ASCII text of some length", 31, true},
    {"\x7f", 1, true},
    {"\xc2\x80", 2, true},
    {"\xdf\xbf", 2, true},
    {"\xe0\xa0\x80", 3, true},
    {"\xed\x9f\xbf", 3, true},
    {"\xee\x80\x80", 3, true},
    {"\xef\xbf\xbf", 3, true},
    {"\xf0\x90\x80\x80", 4, true},
    {"\xf4\x8f\xbf\xbf", 4, true},
    {"12345678\xe2\x82\xac"
     "12345678",
     19, true},
    {"\x80", 1, false},
    {"\xbf", 1, false},
    {"\xc0\x80", 2, false},
    {"\xc1\xbf", 2, false},
    {"\xc2", 1, false},
    {"\xc2\x7f", 2, false},
    {"\xc2\xc0", 2, false},
    {"\xe0\x9f\xbf", 3, false},
    {"\xe2\x82", 2, false},
    {"\xe2\x82\x7f", 3, false},
    {"\xed\xa0\x80", 3, false},
    {"\xed\xbf\xbf", 3, false},
    {"\xf0\x8f\xbf\xbf", 4, false},
    {"\xf0\x9f\x98", 3, false},
    {"\xf4\x90\x80\x80", 4, false},
    {"\xf5\x80\x80\x80", 4, false},
    {"\xf8\x88\x80\x80\x80", 5, false},
    {"\xff", 1, false},
    {"1234567\x80", 8, false},
    {"12345678\xf0", 9, false},
};

static void test_wire_utf8_is_judged_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(utf8_samples); i++)
        assert_int_equal(hl__text_is_utf8(utf8_samples[i].text, utf8_samples[i].size),
                         utf8_samples[i].valid);
}

static void test_wire_strings_and_keys_must_be_utf8_on_both_sides(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(utf8_samples); i++) {
        const hl_span text = {utf8_samples[i].text, utf8_samples[i].size};
        const hl_value string = hl_value_string_n(text.data, text.size);
        const hl_entry entry = {text, hl_value_null()};
        const hl_value map = hl_value_map(&entry, 1);
        const hl_value bytes = hl_value_bytes(text.data, text.size);
        assert_round_trip(&bytes);
        if (utf8_samples[i].valid) {
            assert_round_trip(&string);
            assert_round_trip(&map);
            continue;
        }
        assert_unsendable(&string, HL_INVALID_VALUE);
        assert_unsendable(&map, HL_INVALID_VALUE);
        struct message message = encode(&bytes, false);
        message.bytes[16] = HL_TYPE_STRING;
        assert_refused(&message);
        free(message.bytes);
    }
}

static void test_wire_values_that_are_none_are_not_sent(void **state)
{
    (void)state;
    hl_value value = hl_value_null();
    value.type = (hl_type)12;
    assert_unsendable(&value, HL_INVALID_VALUE);
    value.type = HL_TYPE_ANY;
    assert_unsendable(&value, HL_INVALID_VALUE);
    value = hl_value_i32(1);
    value.reserved = 1;
    assert_unsendable(&value, HL_INVALID_VALUE);
    value = hl_value_string_n(NULL, 1);
    assert_unsendable(&value, HL_INVALID_VALUE);
    value = hl_value_list(NULL, 1);
    assert_unsendable(&value, HL_INVALID_VALUE);
    value = hl_value_map(NULL, 1);
    assert_unsendable(&value, HL_INVALID_VALUE);
}

static void test_wire_sizes_do_not_overflow(void **state)
{
    (void)state;
    const hl_value huge[] = {hl_value_string_n("x", SIZE_MAX), hl_value_bytes("x", SIZE_MAX - 7),
                             hl_value_bytes("x", SIZE_MAX - 31),
                             hl_value_bytes("x", SIZE_MAX - 32)};
    for (size_t i = 0; i < COUNT_OF(huge); i++) {
        assert_unsendable(&huge[i], HL_REQUEST_TOO_LARGE);
        uint64_t size;
        hl__wire_problem problem;
        assert_false(measure(&huge[i], true, NO_LIMIT - 1000, &size, &problem));
        assert_int_equal(problem.status, HL_REQUEST_TOO_LARGE);
    }
}

static void test_wire_request_limit_is_exact(void **state)
{
    (void)state;
    struct mixture mixture;
    mixture_init(&mixture);
    struct message message = encode(&mixture.value, false);
    uint64_t size = 0;
    hl__wire_problem problem;
    assert_true(measure(&mixture.value, false, message.size, &size, &problem));
    for (uint64_t limit = 0; limit < message.size; limit++) {
        assert_false(measure(&mixture.value, false, limit, &size, &problem));
        assert_int_equal(problem.status, HL_REQUEST_TOO_LARGE);
    }
    free(message.bytes);
}

static void test_wire_reply_limit_is_exact(void **state)
{
    (void)state;
    const hl_value string = hl_value_string("some text");
    struct message message = encode(&string, false);
    hl__wire_message result;
    assert_int_equal(decode(HL_WIRE_VALUE, &message, message.size, NULL, NULL, &result), HL_OK);
    hl__wire_message_free(&result);
    assert_int_equal(decode(HL_WIRE_VALUE, &message, message.size - 1, NULL, NULL, &result),
                     HL_REPLY_TOO_LARGE);
    free(message.bytes);
}

static void test_wire_truncated_messages_are_refused(void **state)
{
    (void)state;
    struct mixture mixture;
    mixture_init(&mixture);
    struct message message = encode(&mixture.value, false);
    for (uint64_t size = 0; size < message.size; size++) {
        struct message cut = copy_of(message.bytes, size);
        assert_refused(&cut);
        if (size >= sizeof(struct hl_wire_head)) {
            memcpy(cut.bytes + offsetof(struct hl_wire_head, size), &size, sizeof size);
            assert_refused(&cut);
        }
        free(cut.bytes);
    }
    free(message.bytes);
}

static void test_wire_bytes_behind_the_last_item_are_refused(void **state)
{
    (void)state;
    const hl_value number = hl_value_i32(5);
    struct message message = encode(&number, false);
    struct message longer = {calloc(1, message.size + 8), message.size + 8};
    assert_non_null(longer.bytes);
    memcpy(longer.bytes, message.bytes, message.size);
    assert_refused(&longer);
    memcpy(longer.bytes + offsetof(struct hl_wire_head, size), &longer.size, sizeof longer.size);
    assert_refused(&longer);
    free(longer.bytes);
    free(message.bytes);
}

/* What is accepted has one encoding only: so it encodes to the very bytes that were accepted. */
static bool accepted_as_is(const struct message *message)
{
    hl_value value;
    hl_status status = decode_value(message, &value);
    if (status != HL_OK) {
        assert_int_equal(status, HL_GUEST_BAD_REPLY);
        return false;
    }
    struct message again = encode(&value, false);
    assert_int_equal(again.size, message->size);
    assert_memory_equal(again.bytes, message->bytes, message->size);
    free(again.bytes);
    hl_value_free(&value);
    return true;
}

static void test_wire_every_flipped_bit_is_refused_or_means_something_else(void **state)
{
    (void)state;
    struct mixture mixture;
    size_t accepted = 0;
    mixture_init(&mixture);
    struct message message = encode(&mixture.value, false);
    for (uint64_t bit = 0; bit < message.size * 8; bit++) {
        message.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        accepted += accepted_as_is(&message);
        message.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_in_range(accepted, 1, message.size * 8 / 2);
    free(message.bytes);
}

static void test_wire_sizes_and_counts_that_lie_are_refused(void **state)
{
    (void)state;
    const uint64_t lies[] = {2,          3,          100,           UINT32_MAX,     1ull << 60,
                             1ull << 63, UINT64_MAX, SIZE_MAX / 16, UINT64_MAX - 7, UINT64_MAX - 8};
    const hl_type types[] = {HL_TYPE_LIST, HL_TYPE_MAP, HL_TYPE_STRING, HL_TYPE_BYTES};
    const hl_value empty = hl_value_bytes("", 0);
    struct message message = encode(&empty, false);
    for (size_t type = 0; type < COUNT_OF(types); type++) {
        for (size_t i = 0; i < COUNT_OF(lies); i++) {
            if (type >= 2 && lies[i] < 8)
                continue; /* the padding is long enough for these */
            message.bytes[16] = (uint8_t)types[type];
            memcpy(message.bytes + 24, &lies[i], sizeof lies[i]);
            assert_refused(&message);
        }
    }
    free(message.bytes);
}

static void test_wire_number_of_values_is_limited(void **state)
{
    (void)state;
    const size_t count = HL_VALUE_COUNT_MAX; /* with the list itself one too many */
    hl_value *items = calloc(count, sizeof *items);
    assert_non_null(items);
    hl_value list = hl_value_list(items, count - 1);
    assert_round_trip(&list);
    list = hl_value_list(items, count);
    assert_unsendable(&list, HL_INVALID_VALUE);
    struct message message = {calloc(1, 32 + count * 16), 32 + count * 16};
    assert_non_null(message.bytes);
    const struct hl_wire_head head = {HL_WIRE_VALUE, 1, message.size};
    const struct hl_wire_value item = {HL_TYPE_LIST, 0, {0}, count};
    memcpy(message.bytes, &head, sizeof head);
    memcpy(message.bytes + 16, &item, sizeof item);
    assert_refused(&message);
    free(message.bytes);
    free(items);
}

static void test_wire_kinds_do_not_mix(void **state)
{
    (void)state;
    const hl_value number = hl_value_i32(5);
    struct message message = encode(&number, false);
    hl__wire_message result;
    assert_int_equal(decode(HL_WIRE_CALL, &message, NO_LIMIT, NULL, NULL, &result),
                     HL_GUEST_BAD_REPLY);
    message.bytes[4] = 2;
    assert_refused(&message);
    message.bytes[4] = 0;
    assert_refused(&message);
    free(message.bytes);
}

/* A map of `count` keys "0000000", "0000001", ... in a scrambled order. */
static hl_entry *many_entries(size_t count, char (*keys)[8])
{
    hl_entry *entries = calloc(count, sizeof *entries);
    assert_non_null(entries);
    for (size_t i = 0; i < count; i++) {
        snprintf(keys[i], sizeof keys[i], "%07u", (unsigned)(i * 7919 % count));
        entries[i] = hl_value_entry(keys[i], hl_value_null());
    }
    return entries;
}

static void test_wire_keys_that_occur_twice_are_refused(void **state)
{
    (void)state;
    const size_t counts[] = {2, 3, 32, 33, 1000, 200000};
    char(*keys)[8] = calloc(200000, sizeof *keys);
    assert_non_null(keys);
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        hl_entry *entries = many_entries(counts[i], keys);
        const hl_value map = hl_value_map(entries, counts[i]);
        assert_round_trip(&map);
        struct message message = encode(&map, false);
        const size_t last = (counts[i] - 1) * 40;
        memcpy(message.bytes + 32 + last, message.bytes + 32, 24); /* the first key */
        assert_refused(&message);
        entries[counts[i] - 1].key = entries[0].key;
        assert_unsendable(&map, HL_INVALID_VALUE);
        free(message.bytes);
        free(entries);
    }
    free(keys);
}

/* Guest memory that references may read: the range itself, at its own address. */
struct memory {
    const char *data;
    size_t size;
    uint64_t fetched;
};

static bool fetch_memory(void *user, uint64_t address, void *out, size_t size)
{
    struct memory *memory = user;
    const uint64_t start = (uintptr_t)memory->data;
    if (address < start || address - start > memory->size ||
        size > memory->size - (address - start))
        return false;
    memcpy(out, memory->data + (address - start), size);
    memory->fetched += size;
    return true;
}

#define LONG_SIZE (HL_WIRE_REFERENCE_MIN + 3)

static void test_wire_long_strings_travel_as_references(void **state)
{
    (void)state;
    char *text = malloc(LONG_SIZE);
    assert_non_null(text);
    memset(text, 't', LONG_SIZE);
    const hl_entry entries[] = {
        {{text, LONG_SIZE}, hl_value_bytes(text, HL_WIRE_REFERENCE_MIN)},
        {{text, 3}, hl_value_string_n(text, HL_WIRE_REFERENCE_MIN - 1)},
        {{text, 4}, hl_value_string_n(text, LONG_SIZE)},
    };
    const hl_value map = hl_value_map(entries, COUNT_OF(entries));
    struct message message = encode(&map, true);
    struct memory memory = {text, LONG_SIZE, 0};
    hl__wire_message result;
    assert_in_range(message.size, HL_WIRE_REFERENCE_MIN, HL_WIRE_REFERENCE_MIN + 300);
    assert_int_equal(decode(HL_WIRE_VALUE, &message, NO_LIMIT, fetch_memory, &memory, &result),
                     HL_OK);
    assert_int_equal(memory.fetched, 2 * LONG_SIZE + HL_WIRE_REFERENCE_MIN);
    hl_value value = hl__wire_message_take(&result);
    free(text); /* nothing may point there any more */
    assert_int_equal(value.as.map.count, COUNT_OF(entries));
    const hl_span *fetched = &value.as.map.entries[2].value.as.string;
    assert_int_equal(fetched->size, LONG_SIZE);
    assert_int_equal(strlen(fetched->data), LONG_SIZE);
    assert_int_equal(strspn(fetched->data, "t"), LONG_SIZE);
    hl_value_free(&value);
    assert_int_equal(value.type, HL_TYPE_NULL);
    free(message.bytes);
}

static void test_wire_limit_counts_referenced_bytes(void **state)
{
    (void)state;
    char text[LONG_SIZE];
    memset(text, 't', sizeof text);
    const hl_value items[] = {hl_value_string_n(text, LONG_SIZE), hl_value_bytes(text, LONG_SIZE)};
    const hl_value list = hl_value_list(items, 2);
    struct message message = encode(&list, true);
    struct memory memory = {text, sizeof text, 0};
    const uint64_t needed = message.size + 2 * LONG_SIZE;
    hl__wire_message result;
    hl__wire_problem problem;
    uint64_t size;
    assert_int_equal(decode(HL_WIRE_VALUE, &message, needed - 1, fetch_memory, &memory, &result),
                     HL_REPLY_TOO_LARGE);
    assert_int_equal(memory.fetched, LONG_SIZE); /* the first, which fits */
    assert_int_equal(decode(HL_WIRE_VALUE, &message, needed, fetch_memory, &memory, &result),
                     HL_OK);
    hl__wire_message_free(&result);
    assert_true(measure(&list, true, needed, &size, &problem));
    assert_int_equal(size, message.size);
    assert_false(measure(&list, true, needed - 1, &size, &problem));
    assert_int_equal(problem.status, HL_REQUEST_TOO_LARGE);
    free(message.bytes);
}

/* A VALUE message that is one reference. */
static struct message reference_to(hl_type type, const void *address, uint64_t size)
{
    uint64_t words[5] = {HL_WIRE_VALUE | 1ull << 32, sizeof words,
                         (uint64_t)type | HL_WIRE_REFERENCE << 8, size, (uintptr_t)address};
    return copy_of(words, sizeof words);
}

static void test_wire_references_are_refused_where_they_do_not_belong(void **state)
{
    (void)state;
    struct memory memory = {"text", 4, 0};
    hl__wire_message result;
    struct message message = reference_to(HL_TYPE_STRING, memory.data, 4);
    assert_refused(&message); /* no fetch function: a message of the host */
    assert_int_equal(decode(HL_WIRE_VALUE, &message, NO_LIMIT, fetch_memory, &memory, &result),
                     HL_OK);
    hl__wire_message_free(&result);
    message.bytes[16] = HL_TYPE_U64;
    assert_int_equal(decode(HL_WIRE_VALUE, &message, NO_LIMIT, fetch_memory, &memory, &result),
                     HL_GUEST_BAD_REPLY);
    message.bytes[16] = HL_TYPE_STRING;
    message.bytes[17] |= 2;
    assert_int_equal(decode(HL_WIRE_VALUE, &message, NO_LIMIT, fetch_memory, &memory, &result),
                     HL_GUEST_BAD_REPLY);
    free(message.bytes);
}

static void test_wire_references_to_bad_memory_are_refused(void **state)
{
    (void)state;
    struct memory memory = {"te\xfft", 4, 0};
    const struct {
        hl_type type;
        const char *address;
        uint64_t size;
        uint64_t limit;
        hl_status status;
    } cases[] = {
        {HL_TYPE_BYTES, memory.data, 4, NO_LIMIT, HL_OK},
        {HL_TYPE_STRING, memory.data, 2, NO_LIMIT, HL_OK},
        {HL_TYPE_STRING, memory.data, 0, NO_LIMIT, HL_OK},
        {HL_TYPE_STRING, NULL, 0, NO_LIMIT, HL_OK},
        {HL_TYPE_STRING, memory.data, 4, NO_LIMIT, HL_GUEST_BAD_REPLY},
        {HL_TYPE_BYTES, memory.data, 5, NO_LIMIT, HL_GUEST_BAD_REPLY},
        {HL_TYPE_BYTES, NULL, 1, NO_LIMIT, HL_GUEST_BAD_REPLY},
        {HL_TYPE_BYTES, memory.data, 1ull << 60, 1 << 20, HL_REPLY_TOO_LARGE},
        {HL_TYPE_BYTES, memory.data, UINT64_MAX, 1 << 20, HL_REPLY_TOO_LARGE},
        {HL_TYPE_BYTES, memory.data, UINT64_MAX - 40, NO_LIMIT, HL_OUT_OF_MEMORY},
        {HL_TYPE_BYTES, memory.data, 1ull << 63, NO_LIMIT, HL_OUT_OF_MEMORY},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct message message = reference_to(cases[i].type, cases[i].address, cases[i].size);
        hl__wire_message result = {0};
        assert_int_equal(
            decode(HL_WIRE_VALUE, &message, cases[i].limit, fetch_memory, &memory, &result),
            cases[i].status);
        hl__wire_message_free(&result);
        free(message.bytes);
    }
}

static void test_wire_taken_scalars_own_nothing(void **state)
{
    (void)state;
    const hl_value number = hl_value_f64(0.5);
    struct message message = encode(&number, false);
    hl_value value;
    assert_int_equal(decode_value(&message, &value), HL_OK);
    assert_null(value.owner);
    assert_true(value.as.f64 == 0.5);
    free(message.bytes);
}

static hl__wire_export exported(const char *name, const hl_signature *signature)
{
    hl__wire_export export = {.name = {name, strlen(name)}};
    if (signature != NULL) {
        export.has_signature = true;
        export.signature = *signature;
    }
    return export;
}

static struct message encode_exports(const hl__wire_export *exports, size_t count)
{
    struct message message = {NULL, hl__wire_exports_size(exports, count)};
    message.bytes = malloc(message.size);
    assert_non_null(message.bytes);
    memset(message.bytes, 0xa5, message.size);
    hl__wire_exports_write(message.bytes, exports, count);
    return message;
}

static void assert_exports_refused(const struct message *message)
{
    hl__wire_export *exports;
    size_t count;
    hl__wire_problem problem = {HL_OK, NULL};
    assert_false(
        hl__wire_exports_decode(message->bytes, message->size, &exports, &count, &problem));
    assert_int_equal(problem.status, HL_GUEST_BAD_REPLY);
}

static const hl_type many_types[HL_PARAMETERS_MAX] = {HL_TYPE_MAP, HL_TYPE_ANY, HL_TYPE_I32};

static size_t sample_exports(hl__wire_export *exports)
{
    const hl_signature most = {many_types, HL_PARAMETERS_MAX, HL_TYPE_ANY};
    const hl_signature least = {NULL, 0, HL_TYPE_NULL};
    exports[0] = exported("untyped", NULL);
    exports[1] = exported("most", &most);
    exports[2] = exported("\xc3\xa4\xc3\xb6", &least);
    return 3;
}

static void test_wire_exports_make_the_round_trip(void **state)
{
    (void)state;
    hl__wire_export exports[3], *decoded;
    size_t count;
    hl__wire_problem problem;
    struct message message = encode_exports(exports, sample_exports(exports));
    assert_true(hl__wire_exports_decode(message.bytes, message.size, &decoded, &count, &problem));
    free(message.bytes); /* the result points into itself alone */
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        const hl_signature *signature = &decoded[i].signature;
        assert_string_equal(decoded[i].name.data, exports[i].name.data);
        assert_int_equal(decoded[i].has_signature, exports[i].has_signature);
        assert_int_equal(signature->result, exports[i].signature.result);
        assert_int_equal(signature->parameter_count, exports[i].signature.parameter_count);
        for (size_t j = 0; j < signature->parameter_count; j++)
            assert_int_equal(signature->parameters[j], many_types[j]);
    }
    free(decoded);
}

static void test_wire_no_exports_are_fine(void **state)
{
    (void)state;
    hl__wire_export *decoded;
    size_t count = 1;
    hl__wire_problem problem;
    struct message message = encode_exports(NULL, 0);
    assert_true(hl__wire_exports_decode(message.bytes, message.size, &decoded, &count, &problem));
    assert_int_equal(count, 0);
    free(decoded);
    free(message.bytes);
}

static void test_wire_bad_exports_are_refused(void **state)
{
    (void)state;
    const hl_signature unknown = {many_types, 1, (hl_type)12};
    const hl_type bad_type = (hl_type)254;
    const hl_signature bad_parameter = {&bad_type, 1, HL_TYPE_NULL};
    char name[HL_NAME_MAX + 2] = "";
    memset(name, 'n', HL_NAME_MAX + 1);
    const hl__wire_export lists[][2] = {
        {exported("twice", NULL), exported("twice", NULL)},
        {exported("a", NULL), exported("", NULL)},
        {exported("a", NULL), exported("\xff", NULL)},
        {exported("a", NULL), exported(name, NULL)},
        {exported("a", NULL), {.name = {"a\0b", 3}}},
        {exported("a", NULL), exported("b", &unknown)},
        {exported("a", NULL), exported("b", &bad_parameter)},
    };
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        struct message message = encode_exports(lists[i], 2);
        assert_exports_refused(&message);
        free(message.bytes);
    }
}

static void test_wire_number_of_exports_is_limited(void **state)
{
    (void)state;
    static hl__wire_export exports[HL_WIRE_EXPORTS_MAX + 1];
    static char names[HL_WIRE_EXPORTS_MAX + 1][8];
    for (size_t i = 0; i < COUNT_OF(exports); i++) {
        snprintf(names[i], sizeof names[i], "f%u", (unsigned)i);
        exports[i] = exported(names[i], NULL);
    }
    hl__wire_export *decoded;
    size_t count;
    hl__wire_problem problem;
    struct message message = encode_exports(exports, HL_WIRE_EXPORTS_MAX);
    assert_true(hl__wire_exports_decode(message.bytes, message.size, &decoded, &count, &problem));
    assert_int_equal(count, HL_WIRE_EXPORTS_MAX);
    free(decoded);
    free(message.bytes);
    message = encode_exports(exports, HL_WIRE_EXPORTS_MAX + 1);
    assert_exports_refused(&message);
    free(message.bytes);
}

static void test_wire_damaged_exports_are_refused_or_mean_something_else(void **state)
{
    (void)state;
    hl__wire_export exports[3], *decoded;
    size_t count;
    hl__wire_problem problem;
    struct message message = encode_exports(exports, sample_exports(exports));
    for (uint64_t bit = 0; bit < message.size * 8; bit++) {
        struct message damaged = copy_of(message.bytes, message.size);
        damaged.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (hl__wire_exports_decode(damaged.bytes, damaged.size, &decoded, &count, &problem)) {
            struct message again = encode_exports(decoded, count);
            assert_int_equal(again.size, damaged.size);
            assert_memory_equal(again.bytes, damaged.bytes, damaged.size);
            free(again.bytes);
            free(decoded);
        }
        free(damaged.bytes);
    }
    for (uint64_t size = 0; size < message.size; size++) {
        struct message cut = copy_of(message.bytes, size);
        if (size >= sizeof(struct hl_wire_head))
            memcpy(cut.bytes + offsetof(struct hl_wire_head, size), &size, sizeof size);
        assert_exports_refused(&cut);
        free(cut.bytes);
    }
    free(message.bytes);
}

/* Random values from a fixed seed; they live in `pool` until it is wound back. */
static uint64_t random_state;
static char pool[1 << 20];
static size_t pool_used;

static uint64_t random_number(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    uint64_t number = random_state ^ random_state >> 29;
    return number * 0x9e3779b97f4a7c15u ^ number >> 32;
}

static void *pool_take(size_t size)
{
    void *taken = pool + pool_used;
    pool_used += (size + 15) & ~(size_t)15;
    assert_true(pool_used <= sizeof pool);
    return taken;
}

static hl_span random_text(void)
{
    static const char *const characters[] = {
        "a", "\xc3\xa9", "\xe2\x82\xac", "\xef\xbf\xbf", "\xf0\x9f\x98\x80", "z"};
    size_t length = random_number() % 20, size = 0;
    char *text = pool_take(4 * length + 1);
    for (size_t i = 0; i < length; i++) {
        const char *character = characters[random_number() % COUNT_OF(characters)];
        memcpy(text + size, character, strlen(character));
        size += strlen(character);
    }
    return (hl_span){text, size};
}

static hl_value random_value(unsigned depth);

static hl_value random_list(unsigned depth)
{
    size_t count = random_number() % 6;
    hl_value *items = pool_take(count * sizeof *items);
    for (size_t i = 0; i < count; i++)
        items[i] = random_value(depth + 1);
    return hl_value_list(items, count);
}

static hl_value random_map(unsigned depth)
{
    size_t count = random_number() % 6;
    hl_entry *entries = pool_take(count * sizeof *entries);
    for (size_t i = 0; i < count; i++) {
        char *key = pool_take(16);
        snprintf(key, 16, "%u-%u", (unsigned)i, (unsigned)(random_number() % 1000));
        entries[i] = hl_value_entry(key, random_value(depth + 1));
    }
    return hl_value_map(entries, count);
}

static hl_value random_value(unsigned depth)
{
    hl_span text;
    uint64_t bits = random_number();
    hl_value value = hl_value_null();
    switch (random_number() % (depth < 5 ? 12 : 10)) {
    case HL_TYPE_NULL:
        return value;
    case HL_TYPE_BOOL:
        return hl_value_bool(bits & 1);
    case HL_TYPE_I32:
        return hl_value_i32((int32_t)bits);
    case HL_TYPE_U32:
        return hl_value_u32((uint32_t)bits);
    case HL_TYPE_I64:
        return hl_value_i64((int64_t)bits);
    case HL_TYPE_U64:
        return hl_value_u64(bits);
    case HL_TYPE_F32:
        value.type = HL_TYPE_F32;
        value.as.u32 = (uint32_t)bits;
        return value;
    case HL_TYPE_F64:
        value.type = HL_TYPE_F64;
        value.as.u64 = bits;
        return value;
    case HL_TYPE_STRING:
        text = random_text();
        return hl_value_string_n(text.data, text.size);
    case HL_TYPE_BYTES:
        return hl_value_bytes(&pool[bits % 100], bits % 50);
    case HL_TYPE_LIST:
        return random_list(depth);
    default:
        return random_map(depth);
    }
}

static void test_wire_random_values_make_the_round_trip(void **state)
{
    (void)state;
    random_state = 20240607;
    for (unsigned i = 0; i < 3000; i++) {
        pool_used = 0;
        const hl_value value = random_value(0);
        assert_round_trip(&value);
    }
}

static void test_wire_random_damage_is_refused_or_means_something_else(void **state)
{
    (void)state;
    random_state = 42;
    for (unsigned i = 0; i < 3000; i++) {
        pool_used = 0;
        const hl_value value = random_value(0);
        struct message message = encode(&value, false);
        for (unsigned hit = 0; hit < 3; hit++)
            message.bytes[16 + random_number() % (message.size - 16)] = (uint8_t)random_number();
        accepted_as_is(&message);
        free(message.bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_every_type_makes_the_round_trip),
        cmocka_unit_test(test_wire_strings_of_every_small_size_make_the_round_trip),
        cmocka_unit_test(test_wire_received_strings_end_with_nul_and_lie_in_the_message),
        cmocka_unit_test(test_wire_call_carries_name_and_arguments),
        cmocka_unit_test(test_wire_call_size_refuses_bad_names_and_too_many_arguments),
        cmocka_unit_test(test_wire_decode_refuses_calls_with_bad_names),
        cmocka_unit_test(test_wire_decode_refuses_too_many_arguments),
        cmocka_unit_test(test_wire_nesting_ends_at_the_named_depth),
        cmocka_unit_test(test_wire_decode_refuses_deeper_nesting),
        cmocka_unit_test(test_wire_list_that_contains_itself_is_refused),
        cmocka_unit_test(test_wire_utf8_is_judged_right),
        cmocka_unit_test(test_wire_strings_and_keys_must_be_utf8_on_both_sides),
        cmocka_unit_test(test_wire_values_that_are_none_are_not_sent),
        cmocka_unit_test(test_wire_sizes_do_not_overflow),
        cmocka_unit_test(test_wire_request_limit_is_exact),
        cmocka_unit_test(test_wire_reply_limit_is_exact),
        cmocka_unit_test(test_wire_truncated_messages_are_refused),
        cmocka_unit_test(test_wire_bytes_behind_the_last_item_are_refused),
        cmocka_unit_test(test_wire_every_flipped_bit_is_refused_or_means_something_else),
        cmocka_unit_test(test_wire_sizes_and_counts_that_lie_are_refused),
        cmocka_unit_test(test_wire_number_of_values_is_limited),
        cmocka_unit_test(test_wire_kinds_do_not_mix),
        cmocka_unit_test(test_wire_keys_that_occur_twice_are_refused),
        cmocka_unit_test(test_wire_long_strings_travel_as_references),
        cmocka_unit_test(test_wire_limit_counts_referenced_bytes),
        cmocka_unit_test(test_wire_references_are_refused_where_they_do_not_belong),
        cmocka_unit_test(test_wire_references_to_bad_memory_are_refused),
        cmocka_unit_test(test_wire_taken_scalars_own_nothing),
        cmocka_unit_test(test_wire_exports_make_the_round_trip),
        cmocka_unit_test(test_wire_no_exports_are_fine),
        cmocka_unit_test(test_wire_bad_exports_are_refused),
        cmocka_unit_test(test_wire_number_of_exports_is_limited),
        cmocka_unit_test(test_wire_damaged_exports_are_refused_or_mean_something_else),
        cmocka_unit_test(test_wire_random_values_make_the_round_trip),
        cmocka_unit_test(test_wire_random_damage_is_refused_or_means_something_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
