/*
 * Values of every type through a guest and back, and from a guest through the host and back.
 * test-labels: bed
 */
#include "fixture.h"
#include "wire/wire.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static hl_sandbox *sandbox;

static hl_status host_echo(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                           void *user)
{
    (void)call, (void)user;
    *reply = count == 1 ? arguments[0] : hl_value_null();
    return HL_OK;
}

static hl_sandbox *make_sandbox(uint64_t memory_size, uint64_t limit)
{
    hl_host_functions *functions;
    assert_status(HL_OK, hl_host_functions_new(&functions, &fixture_error));
    assert_status(HL_OK, hl_host_functions_add(functions, "echo", NULL, host_echo, NULL, NULL,
                                               &fixture_error));
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.memory_size = memory_size, .request_size_max = limit,
                        .reply_size_max = limit, .host_functions = functions,
                        .timeout_ns = UINT64_C(60000000000));
    hl_sandbox *made = fixture_sandbox("plugin.musl", &options);
    hl_host_functions_free(functions);
    return made;
}

static int set_up(void **state)
{
    (void)state;
    sandbox = make_sandbox(0, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hl_sandbox_free(sandbox);
    return 0;
}

/* Both ways come back as what was sent. */
static void check_value(hl_value value)
{
    hl_value reply = fixture_call(sandbox, "echo", &value, 1);
    assert_true(hl_value_equal(&reply, &value));
    hl_value_free(&reply);
    reply = fixture_call(sandbox, "call_host", ARGUMENTS(hl_value_string("echo"), value));
    assert_true(hl_value_equal(&reply, &value));
    hl_value_free(&reply);
}

static void refuse_value(hl_value value)
{
    fixture_expect(HL_INVALID_VALUE, sandbox, "echo", &value, 1);
    fixture_honest_call(sandbox);
}

static void scalars(void **state)
{
    (void)state;
    check_value(hl_value_null());
    check_value(hl_value_bool(true));
    check_value(hl_value_bool(false));
    check_value(hl_value_i32(INT32_MIN));
    check_value(hl_value_i32(INT32_MAX));
    check_value(hl_value_u32(UINT32_MAX));
    check_value(hl_value_i64(INT64_MIN));
    check_value(hl_value_i64(-1));
    check_value(hl_value_u64(UINT64_MAX));
}

static float f32_of(uint32_t bits)
{
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static double f64_of(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* Bit for bit: signs of zero and payloads of NaN too. */
static void floating_point(void **state)
{
    (void)state;
    check_value(hl_value_f32(0.1f));
    check_value(hl_value_f32(f32_of(0x80000000)));
    check_value(hl_value_f32(f32_of(0x7fc12345)));
    check_value(hl_value_f32(f32_of(0xff800001)));
    check_value(hl_value_f32(INFINITY));
    check_value(hl_value_f64(-0.0));
    check_value(hl_value_f64(5e-324));
    check_value(hl_value_f64(f64_of(UINT64_C(0x7ff8dead0000beef))));
    check_value(hl_value_f64(f64_of(UINT64_C(0xfff0000000000001))));
    check_value(hl_value_f64(-INFINITY));
}

static void strings(void **state)
{
    (void)state;
    check_value(hl_value_string(""));
    check_value(
        hl_value_string("gr\xc3\xbc\xc3\x9f dich, \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x8c\x8d"));
    check_value(hl_value_string_n("with\0zero", 9));
    check_value(hl_value_bytes("", 0));
    check_value(hl_value_bytes("\xff\0\xfe", 3));
    hl_value reply = fixture_call(sandbox, "echo", ARGUMENTS(hl_value_string_n("cut off", 3)));
    assert_string_equal(reply.as.string.data, "cut");
    hl_value_free(&reply);
    refuse_value(hl_value_string("\xc0\x80"));
    refuse_value(hl_value_string("\xed\xa0\x80"));
    refuse_value(hl_value_string_n("\xe4\xb8\x96", 2));
}

/* Sizes about each border: inline message, references, pages, transfer memory. */
static void sizes(void **state)
{
    (void)state;
    static const size_t around[] = {8, 4096, 4 * 4096 - 256, 16384, 65536, 1 << 20, 3 << 20};
    char *data = malloc((3 << 20) + 100);
    for (size_t i = 0; i < (3 << 20) + 100; i++)
        data[i] = (char)('a' + i * 7 % 26);
    for (size_t i = 0; i < sizeof around / sizeof around[0]; i++)
        for (int more = -66; more <= 40; more += i < 5 ? 1 : 53)
            if ((int)around[i] + more >= 0) {
                size_t size = (size_t)((int)around[i] + more);
                check_value(more % 2 ? hl_value_string_n(data, size) : hl_value_bytes(data, size));
            }
    free(data);
}

static void lists_and_maps(void **state)
{
    (void)state;
    const hl_value items[] = {hl_value_i32(1), hl_value_string("two"), hl_value_list(NULL, 0),
                              hl_value_map(NULL, 0), hl_value_bytes("\1\2", 2)};
    const hl_value list = hl_value_list(items, 5);
    const hl_entry entries[] = {hl_value_entry("", hl_value_null()), hl_value_entry("list", list),
                                hl_value_entry("\xc3\xa4", hl_value_f64(1.5))};
    hl_value map = hl_value_map(entries, 3);
    check_value(list);
    check_value(map);
    hl_value reply = fixture_call(sandbox, "echo", &map, 1);
    assert_string_equal(reply.as.map.entries[2].key.data, "\xc3\xa4");
    assert_int_equal(hl_value_get(&reply, "list")->as.list.count, 5);
    assert_null(hl_value_get(&reply, "lis"));
    hl_value_free(&reply);
    const hl_entry twice[] = {hl_value_entry("a", hl_value_null()),
                              hl_value_entry("a", hl_value_null())};
    refuse_value(hl_value_map(twice, 2));
    hl_entry broken = hl_value_entry("\xff", hl_value_null());
    refuse_value(hl_value_map(&broken, 1));
    hl_value unknown = hl_value_null();
    unknown.type = (hl_type)77;
    refuse_value(unknown);
}

/* Lists in lists: as deep as allowed, and one deeper. */
static void depth(void **state)
{
    (void)state;
    hl_value levels[HL_VALUE_DEPTH_MAX + 2];
    levels[0] = hl_value_i32(7);
    for (int i = 1; i < HL_VALUE_DEPTH_MAX + 2; i++)
        levels[i] = hl_value_list(&levels[i - 1], 1);
    check_value(levels[HL_VALUE_DEPTH_MAX]);
    refuse_value(levels[HL_VALUE_DEPTH_MAX + 1]);
}

static void counts(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    hl_value *items = malloc((HL_VALUE_COUNT_MAX + 1) * sizeof *items);
    assert_non_null(items);
    for (size_t i = 0; i <= HL_VALUE_COUNT_MAX; i++)
        items[i] = hl_value_u32((uint32_t)i);
    hl_value reply = fixture_call(sandbox, "echo", ARGUMENTS(hl_value_list(items, MANY)));
    assert_int_equal(reply.as.list.items[MANY - 1].as.u32, MANY - 1);
    hl_value_free(&reply);
    refuse_value(hl_value_list(items, HL_VALUE_COUNT_MAX + 1));
    free(items);
}

static void arguments(void **state)
{
    (void)state;
    hl_value many[HL_PARAMETERS_MAX + 1];
    for (int i = 0; i <= HL_PARAMETERS_MAX; i++)
        many[i] = hl_value_i32(i);
    hl_value reply = fixture_call(sandbox, "echo", many, HL_PARAMETERS_MAX);
    assert_int_equal(reply.as.list.count, HL_PARAMETERS_MAX);
    assert_int_equal(reply.as.list.items[HL_PARAMETERS_MAX - 1].as.i32, HL_PARAMETERS_MAX - 1);
    hl_value_free(&reply);
    fixture_expect(HL_INVALID_ARGUMENT, sandbox, "echo", many, HL_PARAMETERS_MAX + 1);
    reply = fixture_call(sandbox, "echo", NO_ARGUMENTS);
    assert_int_equal(reply.as.list.count, 0);
    hl_value_free(&reply);
}

/* Bytes whose request takes exactly `limit` when encoded. */
static size_t size_for(uint64_t limit)
{
    const hl_span name = {"echo", 4};
    hl__wire_problem problem;
    uint64_t empty;
    const hl_value value = hl_value_bytes("", 0);
    const hl__wire_content content = {&name, &value, 1, false, limit};
    assert_true(hl__wire_encode(&content, NULL, 0, &empty, &problem));
    return (size_t)(limit - empty + 7); /* the NUL is in the padding */
}

/* The largest request of all fits, and one byte more does not. */
static void largest_request(void **state)
{
    (void)state;
    size_t size = size_for(HL_TRANSFER_SIZE_DEFAULT);
    char *data = calloc(1, size + 1);
    hl_sandbox *large = make_sandbox(UINT64_C(160) << 20, 0);
    data[size - 1] = 'x';
    hl_value value = hl_value_bytes(data, size);
    hl_value reply = fixture_call(large, "echo", &value, 1);
    assert_true(hl_value_equal(&value, &reply));
    hl_value_free(&reply);
    value.as.bytes.size++;
    fixture_expect(HL_REQUEST_TOO_LARGE, large, "echo", &value, 1);
    assert_non_null(strstr(fixture_error.message, "request_size_max"));
    fixture_honest_call(large);
    hl_sandbox_free(large);
    free(data);
}

/* Replies, and requests of the guest, up to their limit: it lies between the bare bytes and their
 * encoding. */
static void largest_reply(void **state)
{
    (void)state;
    enum { LIMIT = 100000, OVERHEAD = 48 };
    hl_snapshot *snapshot;
    hl_sandbox *small = make_sandbox(0, LIMIT);
    assert_status(HL_OK, hl_sandbox_snapshot(small, &snapshot, &fixture_error));
    hl_value reply = fixture_call(small, "bytes", ARGUMENTS(hl_value_u64(LIMIT - OVERHEAD)));
    assert_int_equal(reply.as.bytes.size, LIMIT - OVERHEAD);
    hl_value_free(&reply);
    fixture_expect(HL_REPLY_TOO_LARGE, small, "bytes", ARGUMENTS(hl_value_u64(LIMIT + 1)));
    assert_non_null(strstr(fixture_error.message, "reply_size_max"));
    assert_status(HL_OK, hl_sandbox_restore(small, snapshot, &fixture_error));
    fixture_honest_call(small);
    hl_sandbox_free(small);
    hl_snapshot_free(snapshot);
}

/* Transfer memory counts: what does not fit is refused before the guest runs; nothing is lost. */
static void transfer_memory_counts(void **state)
{
    (void)state;
    enum { MEMORY = 8 << 20 };
    char *data = calloc(1, MEMORY);
    hl_sandbox *small = make_sandbox(MEMORY, 0);
    hl_stats before = {.size = sizeof before}, after = before;
    assert_int_equal(fixture_call_u64(small, "count_up", NO_ARGUMENTS), 1);
    assert_status(HL_OK, hl_sandbox_stats(small, &before, &fixture_error));
    assert_status(HL_MEMORY_LIMIT,
                  hl_sandbox_call(small, "echo", ARGUMENTS(hl_value_bytes(data, MEMORY)), NULL,
                                  &fixture_error));
    assert_non_null(strstr(fixture_error.message, "memory_size"));
    assert_int_equal(hl_sandbox_status(small), HL_SANDBOX_READY);
    assert_status(HL_OK, hl_sandbox_stats(small, &after, &fixture_error));
    assert_int_equal(before.entries, after.entries);
    assert_int_equal(before.memory_mapped, after.memory_mapped);
    hl_value reply = fixture_call(small, "echo", ARGUMENTS(hl_value_bytes(data, MEMORY / 4)));
    hl_value_free(&reply);
    assert_int_equal(fixture_call_u64(small, "count_up", NO_ARGUMENTS), 2);
    hl_sandbox_free(small);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars),
        cmocka_unit_test(floating_point),
        cmocka_unit_test(strings),
        cmocka_unit_test(sizes),
        cmocka_unit_test(lists_and_maps),
        cmocka_unit_test(depth),
        cmocka_unit_test(counts),
        cmocka_unit_test(arguments),
        cmocka_unit_test(largest_request),
        cmocka_unit_test(largest_reply),
        cmocka_unit_test(transfer_memory_counts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
