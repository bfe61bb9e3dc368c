/*
 * Functions of programs without native code: /dev/hyperlight, in lines of JSON and in frames.
 * test-labels: bed
 */
#include "fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static hl_host_functions *functions;
static hl_context *context;
static char log_text[4096];

static hl_status add(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                     void *user)
{
    (void)user;
    if (count != 2 || arguments[0].type != HL_TYPE_I32 || arguments[1].type != HL_TYPE_I32)
        return hl_call_fail(call, "two \"i32\"\nplease");
    *reply = hl_value_i32(arguments[0].as.i32 + arguments[1].as.i32);
    return HL_OK;
}

static hl_status much(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                      void *user)
{
    size_t size = count ? (size_t)arguments[0].as.i32 : 0;
    char *text = hl_call_alloc(call, size);
    (void)user;
    memset(text, 'm', size);
    *reply = hl_value_string_n(text, size);
    return HL_OK;
}

static void take_line(hl_log_level level, hl_log_source source, const char *line, void *user)
{
    (void)user;
    if (level == HL_LOG_WARN && source == HL_LOG_SHIM)
        snprintf(log_text, sizeof log_text, "%s", line);
}

static int set_up(void **state)
{
    const hl_context_options options = {.size = sizeof options, .log_sink = take_line};
    (void)state;
    assert_status(HL_OK, hl_context_new(&options, &context, &fixture_error));
    assert_status(HL_OK, hl_host_functions_new(&functions, &fixture_error));
    assert_status(HL_OK,
                  hl_host_functions_add(functions, "add", NULL, add, NULL, NULL, &fixture_error));
    assert_status(HL_OK,
                  hl_host_functions_add(functions, "much", NULL, much, NULL, NULL, &fixture_error));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hl_host_functions_free(functions);
    hl_context_free(context);
    return 0;
}

static hl_sandbox *start(const char *guest, const char *first, const char *second)
{
    char path[4096];
    const char *arguments[] = {guest, first, second, NULL};
    const hl_program_options program_options = {
        .size = sizeof program_options, .arguments = arguments, .context = context};
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.host_functions = functions, .timeout_ns = 20000 * MILLISECOND);
    hl_program *program = NULL;
    hl_sandbox *sandbox = NULL;
    snprintf(path, sizeof path, "%s/%s", HL_TEST_GUESTS, guest);
    assert_status(HL_OK, hl_program_open(path, &program_options, &program, &fixture_error));
    assert_status(HL_OK, hl_sandbox_new(program, &options, &sandbox, &fixture_error));
    hl_program_free(program);
    return sandbox;
}

/* The guest's reply to a raw line, as an error's text or a string. */
static void expect_error(hl_sandbox *sandbox, const char *function, const char *raw,
                         const char *message)
{
    fixture_expect(HL_GUEST_ERROR, sandbox, function, ARGUMENTS(hl_value_string(raw)));
    if (!strstr(fixture_error.message, message))
        fail_msg("%s: expected \"%s\", got \"%s\"", raw, message, fixture_error.message);
}

static int32_t call_number(hl_sandbox *sandbox, const char *function, const hl_value *arguments,
                           size_t count)
{
    hl_value reply = fixture_call(sandbox, function, arguments, count);
    assert_int_equal(reply.type, HL_TYPE_I32);
    return reply.as.i32;
}

static hl_value deep(unsigned depth, hl_value *values)
{
    values[0] = hl_value_i32(1);
    for (unsigned i = 1; i <= depth; i++)
        values[i] = hl_value_list(&values[i - 1], 1);
    return values[depth];
}

static void check_echo(hl_sandbox *sandbox)
{
    hl_value nested[33];
    hl_entry entries[] = {hl_value_entry("$bytes", hl_value_string("no")),
                          hl_value_entry("k\n\"", hl_value_bytes("\0\xff", 2))};
    hl_value arguments[] = {hl_value_null(),
                            hl_value_bool(true),
                            hl_value_i32(-5),
                            hl_value_i64(INT64_MIN),
                            hl_value_u64(UINT64_MAX),
                            hl_value_f64(0.1),
                            hl_value_f64(-0.0),
                            hl_value_f64(5e-324),
                            hl_value_string("\xf0\x9f\x98\x80 \\ \" \n \x01"),
                            hl_value_string_n("a\0b", 3),
                            hl_value_bytes("", 0),
                            hl_value_map(entries, 1),
                            hl_value_map(entries, 2),
                            deep(31, nested)};
    const size_t count = sizeof arguments / sizeof *arguments;
    hl_value reply = fixture_call(sandbox, "echo", arguments, count);
    assert_int_equal(reply.type, HL_TYPE_LIST);
    assert_int_equal(reply.as.list.count, count);
    for (size_t i = 0; i < count; i++)
        if (!hl_value_equal(&arguments[i], &reply.as.list.items[i]))
            fail_msg("argument %zu is not what comes back", i);
    hl_value_free(&reply);
}

static void values_come_back(void **state)
{
    (void)state;
    hl_sandbox *sandbox = start("lines.musl", NULL, NULL);
    check_echo(sandbox);
    hl_sandbox_free(sandbox);
    sandbox = start("lines.glibc", "bytes", NULL);
    check_echo(sandbox);
    hl_sandbox_free(sandbox);
    sandbox = start("frames.musl", NULL, NULL);
    check_echo(sandbox);
    hl_sandbox_free(sandbox);
}

static void large_values_come_back(void **state)
{
    static const char *const guests[] = {"lines.musl", "frames.glibc"};
    const size_t size = 3 << 20;
    char *text = malloc(size);
    (void)state;
    for (size_t i = 0; i < size; i++)
        text[i] = (char)('a' + i % 26);
    for (size_t i = 0; i < 2; i++) {
        hl_sandbox *sandbox = start(guests[i], NULL, NULL);
        for (int round = 0; round < 2; round++) {
            hl_value argument = hl_value_string_n(text, round ? 100 : size);
            hl_value reply = fixture_call(sandbox, "echo", &argument, 1);
            assert_true(hl_value_equal(&reply.as.list.items[0], &argument));
            hl_value_free(&reply);
        }
        hl_sandbox_free(sandbox);
    }
    free(text);
}

static void malformed_lines_are_refused(void **state)
{
    static const char *const malformed[][2] = {
        {"nonsense\n", "a line must be an object"},
        {"{\"result\":}\n", "no value where one is expected"},
        {"{\"result\":\"\xc3\xa9\"\n", "the line ends before its object does"},
        {"{\"result\":1,\"error\":\"\"}\n", "do not belong together"},
        {"{\"result\":[\n", "the line ends"},
        {"{\"host\":\"\"}\n", "the name of a function"},
        {"{\"functions\":[\"late\"]}\n", "declared once"},
        {"{\"result\":1e999}\n", "too large"}};
    (void)state;
    hl_sandbox *sandbox = start("lines.musl", NULL, NULL);
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        log_text[0] = '\0';
        expect_error(sandbox, "raw", malformed[i][0], "errno 22");
        if (!strstr(log_text, malformed[i][1]))
            fail_msg("%s is logged as: %s", malformed[i][0], log_text);
        expect_error(sandbox, "raw bytes", malformed[i][0], "errno 22");
    }
    /* The reply counts that came before what was refused. */
    hl_value reply =
        fixture_call(sandbox, "raw", ARGUMENTS(hl_value_string("\n{\"result\":4}\n \n")));
    assert_int_equal(reply.as.i32, 4);
    fixture_expect(HL_OK, sandbox, "count", NO_ARGUMENTS);
    hl_sandbox_free(sandbox);
}

static void errors_and_missing_replies(void **state)
{
    (void)state;
    hl_sandbox *sandbox = start("lines.musl", NULL, NULL);
    expect_error(sandbox, "raw", "{\"error\":\"it \\\"failed\\\"\"}\n", "it \"failed\"");
    expect_error(sandbox, "anything", "", "no such function");
    expect_error(sandbox, "nothing", "", "no reply");
    expect_error(sandbox, "raw", "{\"result\":1}", "ends with a newline");
    expect_error(sandbox, "raw", "", "no reply");
    assert_int_equal(call_number(sandbox, "count", NO_ARGUMENTS), 1);
    hl_sandbox_free(sandbox);
    sandbox = start("frames.musl", NULL, NULL);
    fixture_expect(HL_GUEST_ERROR, sandbox, "nothing", NO_ARGUMENTS);
    fixture_expect(HL_GUEST_ERROR, sandbox, "garbage", NO_ARGUMENTS);
    assert_non_null(strstr(fixture_error.message, "-1 -1 22"));
    fixture_expect(HL_GUEST_BAD_REPLY, sandbox, "malformed", NO_ARGUMENTS);
    hl_sandbox_free(sandbox);
}

static void check_answer(hl_sandbox *sandbox, const char *function, const char *raw,
                         const char *key, hl_value expected)
{
    hl_value reply = fixture_call(sandbox, function, ARGUMENTS(hl_value_string(raw)));
    const hl_value *answer = hl_value_get(&reply.as.list.items[0], key);
    assert_non_null(answer);
    if (!hl_value_equal(answer, &expected))
        fail_msg("%s is answered with %s", raw,
                 answer->type == HL_TYPE_STRING ? answer->as.string.data : "another value");
    hl_value_free(&reply);
}

static void host_functions_are_called(void **state)
{
    static const char *const guests[] = {"host", "host bytes"};
    (void)state;
    hl_sandbox *sandbox = start("lines.glibc", NULL, NULL);
    for (size_t i = 0; i < 2; i++) {
        check_answer(sandbox, guests[i], "{\"host\":\"add\",\"args\":[20,22]}\n", "result",
                     hl_value_i32(42));
        check_answer(sandbox, guests[i], "{\"args\":[1],\"host\":\"add\"}\n", "error",
                     hl_value_string("two \"i32\"\\x0aplease"));
        check_answer(sandbox, guests[i], "{\"host\":\"nobody\"}\n", "error",
                     hl_value_string("the host has no function \"nobody\""));
    }
    hl_value reply = fixture_call(
        sandbox, "host", ARGUMENTS(hl_value_string("{\"host\":\"much\",\"args\":[300000]}\n")));
    assert_int_equal(hl_value_get(&reply.as.list.items[0], "result")->as.string.size, 300000);
    hl_value_free(&reply);
    hl_sandbox_free(sandbox);
    sandbox = start("frames.glibc", NULL, NULL);
    reply = fixture_call(sandbox, "host",
                         ARGUMENTS(hl_value_string("add"), hl_value_i32(1), hl_value_i32(2)));
    assert_int_equal(reply.as.i32, 3);
    fixture_expect(HL_GUEST_ERROR, sandbox, "host", ARGUMENTS(hl_value_string("add")));
    reply = fixture_call(sandbox, "host", ARGUMENTS(hl_value_string("much"), hl_value_i32(300000)));
    assert_int_equal(reply.as.string.size, 300000);
    hl_value_free(&reply);
    reply = fixture_call(sandbox, "refer", NO_ARGUMENTS);
    assert_int_equal(reply.as.string.size, 1 << 20);
    hl_value_free(&reply);
    hl_sandbox_free(sandbox);
}

static void functions_are_declared(void **state)
{
    const char *const *names;
    size_t count;
    (void)state;
    hl_sandbox *sandbox = start("lines.musl",
                                "{\"functions\":[\"echo\",{\"name\":\"count\",\"parameters\":[],"
                                "\"result\":\"i64\"},{\"name\":\"raw\",\"parameters\":[\"string\"],"
                                "\"result\":\"f64\"}]}\n",
                                NULL);
    assert_status(HL_OK, hl_sandbox_exports(sandbox, &names, &count, &fixture_error));
    assert_int_equal(count, 3);
    assert_string_equal(names[1], "count");
    fixture_expect(HL_UNKNOWN_FUNCTION, sandbox, "nothing", NO_ARGUMENTS);
    fixture_expect(HL_SIGNATURE_MISMATCH, sandbox, "count", ARGUMENTS(hl_value_i32(1)));
    /* Numbers follow the signature. */
    hl_value reply = fixture_call(sandbox, "count", NO_ARGUMENTS);
    assert_int_equal(reply.type, HL_TYPE_I64);
    reply = fixture_call(sandbox, "raw", ARGUMENTS(hl_value_string("{\"result\":7}\n")));
    assert_int_equal(reply.type, HL_TYPE_F64);
    fixture_expect(HL_GUEST_BAD_REPLY, sandbox, "raw",
                   ARGUMENTS(hl_value_string("{\"result\":\"7\"}\n")));
    hl_sandbox_free(sandbox);
    sandbox = start("lines.musl", NULL, NULL);
    assert_status(HL_OK, hl_sandbox_exports(sandbox, &names, &count, &fixture_error));
    assert_int_equal(count, 0);
    hl_sandbox_free(sandbox);
}

static void snapshots_are_taken_while_it_reads(void **state)
{
    static const char *const pieces[] = {NULL, "bytes"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        hl_sandbox *sandbox = start("lines.musl", "{\"restored\":true}\n", pieces[i]), *copy;
        hl_snapshot *snapshot;
        assert_int_equal(call_number(sandbox, "count", NO_ARGUMENTS), 1);
        assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
        for (int round = 0; round < 3; round++) {
            assert_int_equal(call_number(sandbox, "count", NO_ARGUMENTS), 2);
            assert_int_equal(call_number(sandbox, "count", NO_ARGUMENTS), 3);
            check_echo(sandbox);
            assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshot, &fixture_error));
            assert_int_equal(call_number(sandbox, "restored", NO_ARGUMENTS), 1);
            assert_int_equal(call_number(sandbox, "restored", NO_ARGUMENTS), 0);
            assert_int_equal(call_number(sandbox, "vectors", NO_ARGUMENTS), 0);
        }
        /* What poisons it is undone, too. */
        fixture_expect(HL_GUEST_EXITED, sandbox, "exit", NO_ARGUMENTS);
        assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshot, &fixture_error));
        assert_int_equal(call_number(sandbox, "count", NO_ARGUMENTS), 2);
        assert_status(HL_OK, hl_sandbox_from_snapshot(snapshot, NULL, &copy, &fixture_error));
        assert_int_equal(call_number(copy, "count", NO_ARGUMENTS), 2);
        assert_int_equal(call_number(copy, "vectors", NO_ARGUMENTS), 0);
        hl_sandbox_free(copy);
        hl_sandbox_free(sandbox);
        hl_snapshot_free(snapshot);
    }
}

/* A thread that reads waits for the one that replies; the others run, also after a restore. */
static void threads_read_and_reply(void **state)
{
    hl_snapshot *snapshot;
    (void)state;
    hl_sandbox *sandbox = start("lines_threads.glibc", NULL, NULL);
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
    for (int i = 0; i < 6; i++) {
        hl_value reply = fixture_call(sandbox, "anything", NO_ARGUMENTS);
        assert_int_equal(reply.as.list.items[0].as.i32, 0);
        assert_true(reply.as.list.items[1].as.boolean);
        hl_value_free(&reply);
        if (i % 3 == 2)
            assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshot, &fixture_error));
    }
    hl_sandbox_free(sandbox);
    hl_snapshot_free(snapshot);
}

static void a_deadline_poisons_it(void **state)
{
    hl_snapshot *snapshot;
    hl_sandbox *sandbox;
    (void)state;
    const hl_sandbox_options options = FIXTURE_OPTIONS(.timeout_ns = 100 * MILLISECOND);
    sandbox = fixture_sandbox("lines.musl", &options);
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
    fixture_expect(HL_TIMED_OUT, sandbox, "spin", NO_ARGUMENTS);
    assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshot, &fixture_error));
    assert_int_equal(call_number(sandbox, "count", NO_ARGUMENTS), 1);
    hl_sandbox_free(sandbox);
    hl_snapshot_free(snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(large_values_come_back),
        cmocka_unit_test(malformed_lines_are_refused),
        cmocka_unit_test(errors_and_missing_replies),
        cmocka_unit_test(host_functions_are_called),
        cmocka_unit_test(functions_are_declared),
        cmocka_unit_test(snapshots_are_taken_while_it_reads),
        cmocka_unit_test(threads_read_and_reply),
        cmocka_unit_test(a_deadline_poisons_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
