/*
 * Ticks, waiting for input, and output that waits to be taken: the host's side of each, past the shim.
 * test-labels: bed
 * test-serial: yes
 */
#include "context/watchdog.h"
#include "fixture.h"
#include "sandbox/sandbox.h"
#include "system.h"
#include <hyperlight/abi/hypercall.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS UINT64_C(100000000)

static hl_sandbox *open_captured(uint64_t timeout_ns, uint64_t output_size_max)
{
    const hl_stream capture = {.mode = HL_STREAM_CAPTURE};
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.timeout_ns = timeout_ns, .output_size_max = output_size_max,
                        .stdout_stream = capture, .stderr_stream = capture);
    return fixture_sandbox("ticks.musl", &options);
}

static uint64_t ticks_so_far(const hl_sandbox *sandbox)
{
    hl_stats stats = {.size = sizeof stats};
    assert_status(HL_OK, hl_sandbox_stats(sandbox, &stats, &fixture_error));
    return stats.ticks;
}

static uint64_t loop(hl_sandbox *sandbox, uint64_t first_ns, uint64_t period_ns)
{
    return fixture_call_u64(
        sandbox, "ticked_loop",
        ARGUMENTS(hl_value_u64(first_ns), hl_value_u64(period_ns), hl_value_u64(ROUNDS)));
}

static void registers_survive_ticks(void **state)
{
    hl_sandbox *sandbox = open_captured(0, 0);
    (void)state;
    uint64_t ticks = 0, start = fixture_now_ns();
    for (int i = 0; i < 1000 && ticks < 50; i++) {
        assert_int_equal(loop(sandbox, 1, 1), 0);
        ticks = ticks_so_far(sandbox);
    }
    uint64_t spent_ns = fixture_now_ns() - start;
    assert_true(ticks >= 50);
    assert_true(ticks <= spent_ns / HL_ABI_TICK_MIN_NS + 1);
    /* The rest ended them. */
    assert_int_equal(loop(sandbox, 0, 0), 0);
    assert_int_equal(ticks_so_far(sandbox), ticks);
    hl_sandbox_free(sandbox);
}

static void a_fault_behind_ticks_is_told_as_one(void **state)
{
    hl_sandbox *sandbox = open_captured(0, 0);
    (void)state;
    loop(sandbox, 1, 1);
    fixture_expect(HL_GUEST_FAULT, sandbox, "fault", NO_ARGUMENTS);
    assert_int_equal(fixture_error.fault_vector, 14);
    assert_int_equal(fixture_error.fault_address, 8);
    hl_sandbox_free(sandbox);
}

static void a_tick_while_the_host_serves(void **state)
{
    hl_sandbox *sandbox = open_captured(0, 0);
    (void)state;
    assert_int_equal(fixture_call_u64(sandbox, "tick_in_the_host", NO_ARGUMENTS), 1);
    assert_in_range(ticks_so_far(sandbox), 1, 20);
    hl_sandbox_free(sandbox);
}

static void a_restore_ends_ticks(void **state)
{
    hl_sandbox *sandbox = open_captured(200 * MILLISECOND, 0);
    hl_snapshot *snapshot;
    (void)state;
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
    fixture_expect(HL_TIMED_OUT, sandbox, "ticked_loop",
                   ARGUMENTS(hl_value_u64(1), hl_value_u64(1), hl_value_u64(UINT64_MAX)));
    assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshot, &fixture_error));
    uint64_t ticks = ticks_so_far(sandbox);
    assert_int_equal(
        fixture_call_u64(sandbox, "ticked_loop",
                         ARGUMENTS(hl_value_u64(0), hl_value_u64(0), hl_value_u64(10000000))),
        0);
    assert_int_equal(ticks_so_far(sandbox), ticks);
    hl_snapshot_free(snapshot);
    hl_sandbox_free(sandbox);
}

/* Whatever a guest asks for, the watchdog has its sleep, and the deadline comes. */
static void floods_of_timers(void **state)
{
    hl_sandbox *sandbox = open_captured(300 * MILLISECOND, 0);
    const struct hl__watchdog *watchdog = sandbox->context->watchdog;
    (void)state;
    uint64_t start = fixture_now_ns(), before = hl__watchdog_wakeups(watchdog);
    fixture_expect(HL_TIMED_OUT, sandbox, "flood", ARGUMENTS(hl_value_u64(0)));
    uint64_t spent_ns = fixture_now_ns() - start;
    assert_true(spent_ns < 300 * MILLISECOND + LATE_MAX);
    uint64_t wakeups = hl__watchdog_wakeups(watchdog) - before;
    assert_true(wakeups <= 4 * (spent_ns / HL_ABI_TICK_MIN_NS) + 100);
    hl_sandbox_free(sandbox);
}

/* Standard input as the read end of a pipe. */
static int lend_input(int *saved)
{
    int ends[2];
    system_pipe(ends);
    *saved = dup(0);
    assert_true(dup2(ends[0], 0) == 0);
    close(ends[0]);
    return ends[1];
}

static int64_t wait_for(hl_sandbox *sandbox, uint64_t duration_ns, uint64_t events)
{
    hl_value reply = fixture_call(sandbox, "wait_for",
                                  ARGUMENTS(hl_value_u64(duration_ns), hl_value_u64(events)));
    int64_t result = reply.as.i64;
    hl_value_free(&reply);
    return result;
}

static void waiting_for_inherited_input(void **state)
{
    const hl_sandbox_options options = FIXTURE_OPTIONS(.timeout_ns = 2000 * MILLISECOND,
                                                       .stdin_stream = {.mode = HL_STREAM_INHERIT});
    hl_sandbox *sandbox = fixture_sandbox("ticks.musl", &options);
    int saved, end = lend_input(&saved);
    (void)state;
    uint64_t start = fixture_now_ns();
    assert_int_equal(wait_for(sandbox, 0, HL_ABI_EVENT_INPUT), 0);
    assert_int_equal(wait_for(sandbox, 20 * MILLISECOND, HL_ABI_EVENT_INPUT), 0);
    assert_true(fixture_now_ns() - start >= 20 * MILLISECOND);
    assert_int_equal(write(end, "x", 1), 1);
    assert_int_equal(wait_for(sandbox, UINT64_MAX, HL_ABI_EVENT_INPUT), HL_ABI_EVENT_INPUT);
    assert_int_equal(wait_for(sandbox, 0, HL_ABI_EVENT_INPUT), HL_ABI_EVENT_INPUT);
    assert_int_equal(wait_for(sandbox, 1, 0), 0);
    char byte;
    assert_int_equal(read(0, &byte, 1), 1);
    fixture_expect(HL_TIMED_OUT, sandbox, "wait_for",
                   ARGUMENTS(hl_value_u64(UINT64_MAX), hl_value_u64(HL_ABI_EVENT_INPUT)));
    hl_sandbox_free(sandbox);
    close(end);
    /* The end of input is no reason to wait. */
    sandbox = fixture_sandbox("ticks.musl", &options);
    assert_int_equal(wait_for(sandbox, UINT64_MAX, HL_ABI_EVENT_INPUT), HL_ABI_EVENT_INPUT);
    hl_sandbox_free(sandbox);
    dup2(saved, 0);
    close(saved);
}

static void other_input_is_always_there(void **state)
{
    static const hl_stream streams[] = {{.mode = HL_STREAM_DISCARD},
                                        {.mode = HL_STREAM_MEMORY, .data = "x", .data_size = 1}};
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        const hl_sandbox_options options = FIXTURE_OPTIONS(.stdin_stream = streams[i]);
        hl_sandbox *sandbox = fixture_sandbox("ticks.musl", &options);
        assert_int_equal(wait_for(sandbox, UINT64_MAX, HL_ABI_EVENT_INPUT), HL_ABI_EVENT_INPUT);
        hl_sandbox_free(sandbox);
    }
}

static void expect_output(hl_sandbox *sandbox, int stream, const char *expected)
{
    char *data;
    size_t size;
    assert_status(HL_OK, hl_sandbox_output(sandbox, stream, &data, &size, &fixture_error));
    assert_string_equal(data, expected);
    hl_output_free(data);
}

static void leave(hl_sandbox *sandbox, hl_status status, int stream, const char *text, int what)
{
    fixture_expect(status, sandbox, "leave_output",
                   ARGUMENTS(hl_value_u64((uint64_t)stream), hl_value_string(text),
                             hl_value_u64((uint64_t)what)));
}

/* However the run ends, and whatever comes next, what was written is given out once and in order. */
static void output_is_taken(void **state)
{
    static const struct {
        int what;
        hl_status status;
        const char *out;
    } cases[] = {{0, HL_OK, "text"},        {1, HL_GUEST_FAULT, "text"},
                 {2, HL_TIMED_OUT, "text"}, {3, HL_GUEST_VIOLATION, "text"},
                 {4, HL_OK, "textdirect"},  {5, HL_OK, "text"},
                 {6, HL_OK, "text"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hl_sandbox *sandbox = open_captured(300 * MILLISECOND, 0);
        leave(sandbox, cases[i].status, 1, "text", cases[i].what);
        expect_output(sandbox, 1, cases[i].out);
        expect_output(sandbox, 2, "");
        if (cases[i].status == HL_OK) {
            leave(sandbox, HL_OK, 2, "more", 0);
            expect_output(sandbox, 1, "");
            expect_output(sandbox, 2, "more");
        }
        hl_sandbox_free(sandbox);
    }
}

static void output_that_is_taken_counts(void **state)
{
    hl_sandbox *sandbox = open_captured(0, 10);
    (void)state;
    leave(sandbox, HL_OUTPUT_LIMIT, 1, "0123", 7);
    expect_output(sandbox, 1, "0123012301"); /* what fits into the limit */
    hl_sandbox_free(sandbox);
}

static void output_does_not_come_back_with_a_restore(void **state)
{
    hl_sandbox *sandbox = open_captured(1500 * MILLISECOND, 0);
    hl_snapshot *snapshot;
    (void)state;
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
    for (int i = 0; i < 3; i++) {
        leave(sandbox, HL_TIMED_OUT, 1, "once", 2);
        expect_output(sandbox, 1, "once");
        assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshot, &fixture_error));
        assert_int_equal(loop(sandbox, 0, 0), 0);
        expect_output(sandbox, 1, "");
        assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshot, &fixture_error));
    }
    hl_snapshot_free(snapshot);
    hl_sandbox_free(sandbox);
}

static void output_that_cannot_be_written(void **state)
{
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.stdout_stream = {.mode = HL_STREAM_INHERIT});
    hl_sandbox *sandbox = fixture_sandbox("ticks.musl", &options);
    int ends[2], saved = dup(1);
    (void)state;
    system_pipe(ends);
    fflush(NULL);
    dup2(ends[1], 1);
    close(ends[1]);
    close(ends[0]);
    uint64_t stream = fixture_call_u64(
        sandbox, "leave_output", ARGUMENTS(hl_value_u64(1), hl_value_string("x"), hl_value_u64(6)));
    dup2(saved, 1);
    close(saved);
    assert_int_equal(stream, HL_ABI_OUTPUT_FAILED | 32u /* Linux's EPIPE */);
    hl_sandbox_free(sandbox);
}

static void malformed_output(void **state)
{
    static const uint32_t cases[][2] = {
        {0, 1}, {3, 1}, {UINT32_MAX, 1}, {1, HL_ABI_OUTPUT_SIZE - 7}, {2, UINT32_MAX}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hl_sandbox *sandbox = open_captured(0, 0);
        fixture_expect(HL_GUEST_VIOLATION, sandbox, "malformed_output",
                       ARGUMENTS(hl_value_u64(cases[i][0]), hl_value_u64(cases[i][1])));
        assert_non_null(strstr(fixture_error.message, "malformed output"));
        hl_sandbox_free(sandbox);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_survive_ticks),
        cmocka_unit_test(a_fault_behind_ticks_is_told_as_one),
        cmocka_unit_test(a_tick_while_the_host_serves),
        cmocka_unit_test(a_restore_ends_ticks),
        cmocka_unit_test(floods_of_timers),
        cmocka_unit_test(waiting_for_inherited_input),
        cmocka_unit_test(other_input_is_always_there),
        cmocka_unit_test(output_is_taken),
        cmocka_unit_test(output_that_is_taken_counts),
        cmocka_unit_test(output_does_not_come_back_with_a_restore),
        cmocka_unit_test(output_that_cannot_be_written),
        cmocka_unit_test(malformed_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
