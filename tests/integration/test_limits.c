/*
 * Limits: each is kept to, told by its name, and counts afresh with the next call.
 * test-labels: bed
 */
#include "fixture.h"
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A call that must come to a limit, whose option the message names, no later than a second behind
 * `after_ns`. */
static void expect_limit(hl_status status, const hl_sandbox_options *options, uint64_t after_ns,
                         const char *option, const char *function, const hl_value *arguments,
                         size_t count)
{
    hl_snapshot *snapshot;
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", options);
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
    uint64_t start = fixture_now_ns();
    fixture_expect(status, sandbox, function, arguments, count);
    assert_in_range(fixture_now_ns() - start, after_ns, after_ns + LATE_MAX);
    assert_non_null(strstr(fixture_error.message, option));
    assert_status(HL_POISONED, hl_sandbox_call(sandbox, "echo", NO_ARGUMENTS, NULL, NULL));
    assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshot, &fixture_error));
    fixture_honest_call(sandbox);
    hl_sandbox_free(sandbox);
    hl_snapshot_free(snapshot);
}

static void deadline(void **state)
{
    (void)state;
    const hl_sandbox_options options = FIXTURE_OPTIONS(.timeout_ns = 100 * MILLISECOND);
    const hl_value ten_seconds = hl_value_u64(10000 * MILLISECOND);
    expect_limit(HL_TIMED_OUT, &options, 100 * MILLISECOND, "timeout_ns", "spin", NO_ARGUMENTS);
    expect_limit(HL_TIMED_OUT, &options, 100 * MILLISECOND, "timeout_ns", "sleep_ns", &ten_seconds,
                 1);
}

/* Many short calls may together take longer than one may. */
static void deadline_counts_afresh(void **state)
{
    (void)state;
    const hl_sandbox_options options = FIXTURE_OPTIONS(.timeout_ns = 300 * MILLISECOND);
    const hl_value pause = hl_value_u64(50 * MILLISECOND);
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options);
    for (int i = 0; i < 10; i++)
        fixture_expect(HL_OK, sandbox, "sleep_ns", &pause, 1);
    usleep(400000);
    fixture_honest_call(sandbox);
    hl_sandbox_free(sandbox);
}

static void deadline_of_the_start(void **state)
{
    (void)state;
    const hl_sandbox_options options = FIXTURE_OPTIONS(.start_timeout_ns = 100 * MILLISECOND);
    hl_program *program = fixture_program("plugin.musl", "spin");
    hl_sandbox *sandbox = NULL;
    uint64_t start = fixture_now_ns();
    assert_status(HL_TIMED_OUT, hl_sandbox_new(program, &options, &sandbox, &fixture_error));
    assert_in_range(fixture_now_ns() - start, 100 * MILLISECOND, 100 * MILLISECOND + LATE_MAX);
    assert_non_null(strstr(fixture_error.message, "start_timeout_ns"));
    assert_null(sandbox);
    hl_program_free(program);
}

/* Sleeping costs wall-clock time only. */
static void cpu_time(void **state)
{
    (void)state;
    const hl_sandbox_options options = FIXTURE_OPTIONS(.cpu_time_ns = 150 * MILLISECOND);
    const hl_value pause = hl_value_u64(500 * MILLISECOND);
    expect_limit(HL_CPU_LIMIT, &options, 140 * MILLISECOND, "cpu_time_ns", "spin", NO_ARGUMENTS);
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options);
    fixture_expect(HL_OK, sandbox, "sleep_ns", &pause, 1);
    hl_sandbox_free(sandbox);
}

static void memory(void **state)
{
    (void)state;
    const hl_sandbox_options options = FIXTURE_OPTIONS(.memory_size = 8 << 20);
    const hl_value much = hl_value_u64(64 << 20);
    expect_limit(HL_MEMORY_LIMIT, &options, 0, "memory_size", "overcommit", &much, 1);
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options);
    uint64_t got = fixture_call_u64(sandbox, "allocate", &much, 1);
    assert_in_range(got, 4 << 20, 8 << 20);
    fixture_honest_call(sandbox);
    hl_stats stats = {.size = sizeof stats};
    assert_status(HL_OK, hl_sandbox_stats(sandbox, &stats, &fixture_error));
    assert_int_equal(stats.memory_size, 8 << 20);
    assert_in_range(stats.memory_mapped, got, 8 << 20);
    hl_sandbox_free(sandbox);
}

static void output(void **state)
{
    (void)state;
    char text[1000];
    memset(text, 'x', sizeof text);
    const hl_sandbox_options options = FIXTURE_OPTIONS(.output_size_max = sizeof text);
    hl_value arguments[] = {hl_value_i32(1), hl_value_string_n(text, 250), hl_value_i32(4)};
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options);
    fixture_expect(HL_OK, sandbox, "print", arguments, 3);
    fixture_expect(HL_OK, sandbox, "print", arguments, 3);
    hl_sandbox_free(sandbox);
    arguments[2] = hl_value_i32(5);
    expect_limit(HL_OUTPUT_LIMIT, &options, 0, "output_size_max", "print", arguments, 3);
    arguments[0] = hl_value_i32(2);
    arguments[1] = hl_value_string_n(text, sizeof text);
    expect_limit(HL_OUTPUT_LIMIT, &options, 0, "output_size_max", "print", arguments, 3);
    const hl_value lines[] = {hl_value_i32(3), hl_value_string_n(text, 900)};
    sandbox = fixture_sandbox("plugin.musl", &options);
    fixture_expect(HL_OK, sandbox, "log", lines, 2);
    hl_sandbox_free(sandbox);
}

static void host_calls(void **state)
{
    (void)state;
    const hl_sandbox_options options = FIXTURE_OPTIONS(.host_calls_max = 5);
    hl_value arguments[] = {hl_value_string("nobody"), hl_value_i32(5)};
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fixture_call_u64(sandbox, "call_host_often", arguments, 2), 5);
    hl_sandbox_free(sandbox);
    arguments[1] = hl_value_i32(6);
    expect_limit(HL_HOST_CALL_LIMIT, &options, 0, "host_calls_max", "call_host_often", arguments,
                 2);
}

static void unlimited(void **state)
{
    (void)state;
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.timeout_ns = HL_UNLIMITED, .start_timeout_ns = HL_UNLIMITED,
                        .cpu_time_ns = HL_UNLIMITED, .output_size_max = HL_UNLIMITED,
                        .host_calls_max = HL_UNLIMITED);
    const hl_value print[] = {hl_value_i32(1), hl_value_string("text"), hl_value_i32(100)};
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options);
    fixture_honest_call(sandbox);
    fixture_expect(HL_OK, sandbox, "print", print, 3);
    hl_sandbox_free(sandbox);
}

static void refuse_options(const hl_sandbox_options *options, const char *name)
{
    hl_program *program = fixture_program("plugin.musl", NULL);
    hl_sandbox *sandbox = NULL;
    assert_status(HL_INVALID_ARGUMENT, hl_sandbox_new(program, options, &sandbox, &fixture_error));
    assert_non_null(strstr(fixture_error.message, name));
    assert_null(sandbox);
    hl_program_free(program);
}

static void options_beyond_their_maximum(void **state)
{
    (void)state;
    refuse_options(&(hl_sandbox_options)FIXTURE_OPTIONS(.memory_size = 4096), "memory_size");
    refuse_options(&(hl_sandbox_options)FIXTURE_OPTIONS(.memory_size = HL_MEMORY_SIZE_MAX + 1),
                   "memory_size");
    refuse_options(
        &(hl_sandbox_options)FIXTURE_OPTIONS(.request_size_max = HL_TRANSFER_SIZE_MAX + 1),
        "request_size_max");
    refuse_options(&(hl_sandbox_options)FIXTURE_OPTIONS(.reply_size_max = HL_UNLIMITED),
                   "reply_size_max");
    refuse_options(&(hl_sandbox_options)FIXTURE_OPTIONS(.stdout_stream.mode = HL_STREAM_MEMORY),
                   "stdout_stream");
    refuse_options(&(hl_sandbox_options)FIXTURE_OPTIONS(.stdin_stream.mode = HL_STREAM_CAPTURE),
                   "stdin_stream");
    refuse_options(&(hl_sandbox_options)FIXTURE_OPTIONS(.stderr_stream.mode = HL_STREAM_CALLBACK),
                   "stderr_stream");
    refuse_options(&(hl_sandbox_options)
                       FIXTURE_OPTIONS(.stdout_stream = {.mode = HL_STREAM_CAPTURE,
                                                         .capacity = HL_CAPTURE_SIZE_MAX + 1}),
                   "stdout_stream");
    refuse_options(&(hl_sandbox_options)FIXTURE_OPTIONS(.clock = (hl_clock_policy)7), "clock");
    refuse_options(&(hl_sandbox_options){.size = 3}, "size");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deadline),
        cmocka_unit_test(deadline_counts_afresh),
        cmocka_unit_test(deadline_of_the_start),
        cmocka_unit_test(cpu_time),
        cmocka_unit_test(memory),
        cmocka_unit_test(output),
        cmocka_unit_test(host_calls),
        cmocka_unit_test(unlimited),
        cmocka_unit_test(options_beyond_their_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
