/*
 * Every object of the API made, used, failed and freed, in orders that no one would plan: nothing
 * of them is left. HL_ROUNDS says how often.
 * test-labels: bed
 */
#include "census.h"
#include "fixture.h"
#include <pthread.h>
#include <stdlib.h>

enum { ROUNDS = 100, ROUNDS_IN_BED = 10 };

static unsigned finalized;

static void finalize(void *user)
{
    (void)user;
    finalized++;
}

static hl_status answer(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                        void *user)
{
    (void)arguments, (void)count, (void)user;
    *reply = hl_value_bytes(hl_call_alloc(call, 5000), 5000);
    return HL_OK;
}

static hl_host_functions *make_functions(void)
{
    hl_host_functions *functions;
    assert_status(HL_OK, hl_host_functions_new(&functions, &fixture_error));
    assert_status(HL_OK, hl_host_functions_add(functions, "answer", NULL, answer, NULL, finalize,
                                               &fixture_error));
    assert_status(HL_INVALID_ARGUMENT, hl_host_functions_add(functions, "answer", NULL, answer,
                                                             NULL, finalize, &fixture_error));
    return functions;
}

static hl_program *open_guest(hl_context *context, const char *argument)
{
    const char *arguments[] = {"plugin", argument, NULL};
    const hl_program_options options = {
        .size = sizeof options, .context = context, .arguments = arguments};
    hl_program *program;
    assert_status(
        HL_OK, hl_program_open(HL_TEST_GUESTS "/plugin.musl", &options, &program, &fixture_error));
    return program;
}

/* Everything that a sandbox can do, once. The reply outlives what made it. */
static hl_value use(hl_sandbox *sandbox)
{
    static char large[100000];
    char *output;
    size_t size;
    fixture_honest_call(sandbox);
    fixture_expect(HL_OK, sandbox, "echo", ARGUMENTS(hl_value_bytes(large, sizeof large)));
    fixture_expect(HL_OK, sandbox, "call_host", ARGUMENTS(hl_value_string("answer")));
    fixture_expect(HL_GUEST_ERROR, sandbox, "call_host", ARGUMENTS(hl_value_string("nobody")));
    fixture_expect(HL_INVALID_VALUE, sandbox, "echo", ARGUMENTS(hl_value_string("\xff")));
    fixture_expect(HL_OK, sandbox, "print",
                   ARGUMENTS(hl_value_i32(1), hl_value_string("text"), hl_value_i32(3)));
    assert_status(HL_OK, hl_sandbox_output(sandbox, 1, &output, &size, &fixture_error));
    assert_int_equal(size, 12);
    hl_output_free(output);
    fixture_expect(HL_OK, sandbox, "print",
                   ARGUMENTS(hl_value_i32(1), hl_value_string("text"), hl_value_i32(3)));
    return fixture_call(sandbox, "bytes", ARGUMENTS(hl_value_u64(70000)));
}

/* Program, context and host functions go first, the snapshot outlives its sandbox, the handle
 * everything. */
static void odd_order(void)
{
    hl_context *context;
    hl_sandbox *first, *second;
    hl_snapshot *snapshot;
    assert_status(HL_OK, hl_context_new(NULL, &context, &fixture_error));
    hl_program *program = open_guest(context, NULL);
    hl_context_free(context);
    hl_host_functions *functions = make_functions();
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.host_functions = functions, .stdout_stream.mode = HL_STREAM_CAPTURE,
                        .stdin_stream = {.mode = HL_STREAM_MEMORY, .data = "in", .data_size = 2});
    assert_status(HL_OK, hl_sandbox_new(program, &options, &first, &fixture_error));
    hl_host_functions_free(functions);
    hl_program_free(program);
    hl_interrupt_handle *handle = hl_sandbox_interrupt_handle(first);
    hl_value reply = use(first);
    assert_status(HL_OK, hl_sandbox_snapshot(first, &snapshot, &fixture_error));
    hl_sandbox_free(first);
    assert_status(HL_OK, hl_sandbox_from_snapshot(snapshot, NULL, &second, &fixture_error));
    hl_value_free(&reply);
    reply = use(second);
    assert_status(HL_OK, hl_sandbox_restore(second, snapshot, &fixture_error));
    hl_snapshot_free(snapshot);
    fixture_expect(HL_GUEST_ABORTED, second, "abort", NO_ARGUMENTS);
    hl_sandbox_free(second);
    hl_value_free(&reply);
    assert_int_equal(hl_sandbox_interrupt(handle), HL_INVALID_ARGUMENT);
    hl_interrupt_handle_free(handle);
}

/* The snapshot is the last of all, and of a sandbox that made several. */
static void snapshots_last(void)
{
    hl_snapshot *snapshots[3];
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL);
    for (int i = 0; i < 3; i++) {
        fixture_expect(HL_OK, sandbox, "scatter", ARGUMENTS(hl_value_i32(10), hl_value_i32(i)));
        assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshots[i], &fixture_error));
    }
    assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshots[0], &fixture_error));
    hl_snapshot_free(snapshots[1]);
    hl_sandbox_free(sandbox);
    hl_snapshot_free(snapshots[2]);
    hl_snapshot_free(snapshots[0]);
}

/* Each way in which a sandbox does not come to be. */
static void failing_starts(void)
{
    static const char script[] = "#!/bin/sh\n";
    hl_program *program, *spinner = open_guest(NULL, "spin"), *leaver = open_guest(NULL, "exit");
    hl_program *good = open_guest(NULL, NULL);
    hl_sandbox *sandbox;
    hl_host_functions *functions = make_functions();
    const hl_sandbox_options hasty =
        FIXTURE_OPTIONS(.start_timeout_ns = 2000000, .host_functions = functions);
    const hl_sandbox_options tiny = FIXTURE_OPTIONS(.memory_size = HL_MEMORY_SIZE_MIN);
    const hl_sandbox_options wrong = FIXTURE_OPTIONS(.memory_size = 1);
    assert_status(HL_OK, hl_program_from_memory(script, sizeof script, NULL, &program, NULL));
    assert_status(HL_PROGRAM_INVALID, hl_sandbox_new(program, NULL, &sandbox, &fixture_error));
    assert_status(HL_GUEST_EXITED, hl_sandbox_new(leaver, NULL, &sandbox, &fixture_error));
    assert_status(HL_TIMED_OUT, hl_sandbox_new(spinner, &hasty, &sandbox, &fixture_error));
    assert_status(HL_INVALID_ARGUMENT, hl_sandbox_new(good, &wrong, &sandbox, &fixture_error));
    if (hl_sandbox_new(good, &tiny, &sandbox, &fixture_error) == HL_OK)
        hl_sandbox_free(sandbox);
    assert_status(HL_OK, hl_sandbox_new_stopped(good, &hasty, &sandbox, &fixture_error));
    hl_sandbox_free(sandbox);
    hl_host_functions_free(functions);
    hl_program_free(program);
    hl_program_free(spinner);
    hl_program_free(leaver);
    hl_program_free(good);
    assert_int_not_equal(hl_program_open("/nonexistent", NULL, &program, &fixture_error), HL_OK);
}

static void nothing(void)
{
    hl_context_free(NULL);
    hl_program_free(NULL);
    hl_sandbox_free(NULL);
    hl_snapshot_free(NULL);
    hl_host_functions_free(NULL);
    hl_interrupt_handle_free(NULL);
    hl_output_free(NULL);
    hl_value_free(NULL);
}

/* A thread that comes, calls and goes leaves nothing in thread-local memory. */
static void *call_in_thread(void *user)
{
    (void)user;
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL);
    fixture_honest_call(sandbox);
    return sandbox;
}

static void sandbox_moves_between_threads(void)
{
    pthread_t thread;
    void *sandbox;
    assert_int_equal(pthread_create(&thread, NULL, call_in_thread, NULL), 0);
    assert_int_equal(pthread_join(thread, &sandbox), 0);
    fixture_honest_call(sandbox);
    hl_sandbox_free(sandbox);
}

static void one_round(void)
{
    odd_order();
    snapshots_last();
    failing_starts();
    nothing();
    sandbox_moves_between_threads();
}

static void nothing_grows(void **state)
{
    (void)state;
    uint64_t rounds = fixture_number("HL_ROUNDS", getenv("BED_INSIDE") ? ROUNDS_IN_BED : ROUNDS);
    one_round();
    unsigned each = finalized;
    struct census before = census_take();
    for (uint64_t i = 0; i < rounds; i++)
        one_round();
    assert_int_equal(finalized, each * (rounds + 1));
    census_expect(&before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
