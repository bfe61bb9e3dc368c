/*
 * Floods of output, log lines and host calls, and text that would like to be obeyed by a terminal.
 * test-labels: bed
 */
#include "hostile.h"
#include <stdlib.h>

enum { OUTPUT_MAX = 100000, HOST_CALLS_MAX = 50 };

/* What arrived on the host's side. */
static struct {
    uint64_t output, lines, calls, widest;
    bool control; /* a byte that a terminal obeys, or bad UTF-8 */
    bool from_guest;
    hl_sandbox *victim;
    hl_status reentry;
} seen;

static bool take_output(const char *data, size_t size, void *user)
{
    (void)data, (void)user;
    seen.output += size;
    return true;
}

/* One line of printable text: the sink may go to a terminal. */
static void take_line(hl_log_level level, hl_log_source source, const char *line, void *user)
{
    (void)level, (void)user;
    size_t length = strlen(line);
    seen.lines++;
    seen.from_guest = source == HL_LOG_GUEST;
    seen.widest = length > seen.widest ? length : seen.widest;
    for (const unsigned char *at = (const unsigned char *)line; *at; at++)
        seen.control |= *at < ' ' || *at == 0x7f || (*at == 0xc2 && at[1] < 0xa0) || *at == 0xc0 ||
                        *at == 0xc1 || *at > 0xf4;
}

static hl_status count_call(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                            void *user)
{
    (void)call, (void)arguments, (void)count, (void)user;
    seen.calls++;
    *reply = hl_value_null();
    return HL_OK;
}

/* Every function of the API on the sandbox that is being served, from within. */
static hl_status call_back(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                           void *user)
{
    hl_snapshot *snapshot;
    int code;
    (void)call, (void)arguments, (void)count, (void)user;
    seen.calls++;
    seen.reentry = hl_sandbox_call(seen.victim, "echo", NO_ARGUMENTS, NULL, NULL);
    if (seen.reentry == HL_BUSY)
        seen.reentry = hl_sandbox_snapshot(seen.victim, &snapshot, NULL);
    if (seen.reentry == HL_BUSY)
        seen.reentry = hl_sandbox_run(seen.victim, &code, NULL);
    hl_sandbox_free(seen.victim);
    *reply = hl_value_null();
    return HL_OK;
}

static void output_up_to_the_limit(void **state)
{
    struct hostile *hostile = *state;
    seen.output = 0;
    fixture_expect(HL_OK, hostile->victim, "print", ARGUMENTS(hl_value_u64(OUTPUT_MAX)));
    assert_int_equal(seen.output, OUTPUT_MAX);
    /* The limit counts afresh with each call. */
    fixture_expect(HL_OK, hostile->victim, "print", ARGUMENTS(hl_value_u64(OUTPUT_MAX)));
    hostile_aftermath(hostile);
    seen.output = 0;
    hostile_status(hostile, HL_OUTPUT_LIMIT, "print", ARGUMENTS(hl_value_u64(OUTPUT_MAX + 1)));
    assert_true(seen.output <= OUTPUT_MAX);
    assert_non_null(strstr(fixture_error.message, "output_size_max"));
    hostile_aftermath(hostile);
    seen.output = 0;
    hostile_status(hostile, HL_OUTPUT_LIMIT, "print", ARGUMENTS(hl_value_u64(UINT64_C(1) << 40)));
    assert_true(seen.output <= OUTPUT_MAX);
    hostile_aftermath(hostile);
}

/* The log counts as output, even lines that nobody sees. */
static void log_up_to_the_limit(void **state)
{
    struct hostile *hostile = *state;
    static char line[500];
    memset(line, 'x', sizeof line);
    seen.lines = 0;
    fixture_expect(
        HL_OK, hostile->victim, "log",
        ARGUMENTS(hl_value_bytes(line, sizeof line), hl_value_u64(OUTPUT_MAX / sizeof line)));
    assert_int_equal(seen.lines, OUTPUT_MAX / sizeof line);
    hostile_aftermath(hostile);
    seen.lines = 0;
    hostile_status(
        hostile, HL_OUTPUT_LIMIT, "log",
        ARGUMENTS(hl_value_bytes(line, sizeof line), hl_value_u64(OUTPUT_MAX / sizeof line + 1)));
    assert_int_equal(seen.lines, OUTPUT_MAX / sizeof line);
    hostile_aftermath(hostile);
}

/* Past the SDK, so that nothing of the text is lost on the way. */
static void log_text(struct hostile *hostile, uint64_t level, const void *text, size_t size,
                     uint64_t source)
{
    uint64_t at = hostile->places[PLACE_SCRATCH];
    hostile_poke(hostile, at, text, size);
    assert_int_equal(hostile_raw_result(hostile, HL_ABI_OP_LOG, level, at, size, source), 0);
}

static void text_for_terminals(void **state)
{
    static const char *const texts[] = {"\x1b[2J\x1b[H",
                                        "\x1b]0;title\x07",
                                        "\x9b"
                                        "31m",
                                        "\xc2\x9b"
                                        "31m",
                                        "\r\nforged line",
                                        "back\b\b\b\b",
                                        "\x7f",
                                        "\xc0\x80",
                                        "\xed\xa0\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xff\xfe",
                                        "\xe2\x82",
                                        "\xf0\x9f\x92\xa9",
                                        "%s%n%x",
                                        "\t\v\f"};
    struct hostile *hostile = *state;
    seen.control = false;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        seen.lines = 0;
        log_text(hostile, 3, texts[i], strlen(texts[i]), 0);
        assert_int_equal(seen.lines, 1);
        assert_true(seen.from_guest);
    }
    uint8_t all[HL_ABI_LOG_SIZE_MAX];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    log_text(hostile, 3, all, sizeof all, 0);
    for (uint64_t seed = 1; seed <= 50; seed++) {
        uint64_t at = hostile->places[PLACE_SCRATCH];
        fixture_expect(HL_OK, hostile->victim, "garble",
                       ARGUMENTS(hl_value_u64(at), hl_value_u64(sizeof all), hl_value_u64(seed)));
        assert_int_equal(hostile_raw_result(hostile, HL_ABI_OP_LOG, 3, at, sizeof all, 0), 0);
    }
    assert_false(seen.control);
    assert_true(seen.widest < HL_LOG_LINE_MAX);
    hostile_aftermath(hostile);
}

/* The guest's text in errors: a refusal, and the message of a failed call. */
static void text_in_errors(void **state)
{
    struct hostile *hostile = *state;
    struct {
        struct hl_wire_head head;
        struct hl_wire_value value;
        char text[2048];
    } message = {.head = {HL_WIRE_VALUE, 1, sizeof message},
                 .value = {.type = HL_TYPE_STRING, .data = sizeof message.text - 8}};
    for (size_t i = 0; i < sizeof message.text - 8; i++)
        message.text[i] = (char)(i % 128);
    static const uint64_t outcomes[] = {HL_ABI_OUTCOME_ERROR, HL_ABI_OUTCOME_UNKNOWN,
                                        HL_ABI_OUTCOME_MISMATCH};
    static const hl_status statuses[] = {HL_GUEST_ERROR, HL_UNKNOWN_FUNCTION,
                                         HL_SIGNATURE_MISMATCH};
    for (size_t i = 0; i < 3; i++) {
        hostile_poke(hostile, hostile->places[PLACE_SCRATCH], &message, sizeof message);
        hostile_status(hostile, statuses[i], "raw",
                       ARGUMENTS(hl_value_u64(HL_ABI_OP_REST), hl_value_u64(outcomes[i]),
                                 hl_value_u64(hostile->places[PLACE_SCRATCH]),
                                 hl_value_u64(sizeof message)));
        for (const char *at = fixture_error.message; *at; at++)
            assert_true((unsigned char)*at >= ' ' && *at != 0x7f);
        hostile_aftermath(hostile);
    }
}

static void host_calls_up_to_the_limit(void **state)
{
    struct hostile *hostile = *state;
    seen.calls = 0;
    fixture_expect(HL_OK, hostile->victim, "call_host",
                   ARGUMENTS(hl_value_string("count"), hl_value_u64(HOST_CALLS_MAX)));
    assert_int_equal(seen.calls, HOST_CALLS_MAX);
    hostile_aftermath(hostile);
    seen.calls = 0;
    hostile_status(hostile, HL_HOST_CALL_LIMIT, "call_host",
                   ARGUMENTS(hl_value_string("count"), hl_value_u64(UINT64_MAX)));
    assert_int_equal(seen.calls, HOST_CALLS_MAX);
    hostile_aftermath(hostile);
    /* Calls that fail count too. */
    hostile_status(hostile, HL_HOST_CALL_LIMIT, "call_host",
                   ARGUMENTS(hl_value_string("no such function"), hl_value_u64(UINT64_MAX)));
    hostile_aftermath(hostile);
}

static void calls_back_into_the_sandbox(void **state)
{
    struct hostile *hostile = *state;
    seen.victim = hostile->victim;
    seen.reentry = HL_OK;
    fixture_expect(HL_OK, hostile->victim, "call_host",
                   ARGUMENTS(hl_value_string("call_back"), hl_value_u64(3)));
    assert_int_equal(seen.reentry, HL_BUSY);
    hostile_aftermath(hostile);
}

static hl_host_functions *functions;
static hl_context *context;

static int set_up(void **state)
{
    const hl_context_options watched = {
        .size = sizeof watched, .log_sink = take_line, .log_level = HL_LOG_INFO};
    assert_status(HL_OK, hl_context_new(&watched, &context, &fixture_error));
    assert_status(HL_OK, hl_host_functions_new(&functions, &fixture_error));
    assert_status(HL_OK, hl_host_functions_add(functions, "count", NULL, count_call, NULL, NULL,
                                               &fixture_error));
    assert_status(HL_OK, hl_host_functions_add(functions, "call_back", NULL, call_back, NULL, NULL,
                                               &fixture_error));
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.output_size_max = OUTPUT_MAX, .host_calls_max = HOST_CALLS_MAX,
                        .host_functions = functions,
                        .stdout_stream = {.mode = HL_STREAM_CALLBACK, .write = take_output});
    return hostile_set_up_in(state, context, &options);
}

static int tear_down(void **state)
{
    int result = hostile_tear_down(state);
    hl_host_functions_free(functions);
    hl_context_free(context);
    return result;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_up_to_the_limit),     cmocka_unit_test(log_up_to_the_limit),
        cmocka_unit_test(text_for_terminals),         cmocka_unit_test(text_in_errors),
        cmocka_unit_test(host_calls_up_to_the_limit), cmocka_unit_test(calls_back_into_the_sandbox),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
