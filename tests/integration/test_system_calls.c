/*
 * The system calls that the shim serves: the sys_* guests, which say the same on Linux, run in a
 * micro VM.
 * test-labels: bed
 */
#include "fixture.h"

#include <string.h>

static char output[65536];
static size_t output_size;

static bool keep_output(const char *data, size_t size, void *user)
{
    (void)user;
    if (size > sizeof output - 1 - output_size)
        size = sizeof output - 1 - output_size;
    memcpy(output + output_size, data, size);
    output_size += size;
    output[output_size] = 0;
    return true;
}

static hl_status run(const char *name, const char *argument, int *code)
{
    hl_sandbox_options options =
        FIXTURE_OPTIONS(.memory_size = 128u << 20, .timeout_ns = HL_UNLIMITED);
    hl_program *program = fixture_program(name, argument);
    hl_sandbox *sandbox;
    hl_status status;

    output_size = 0;
    options.stdout_stream.mode = HL_STREAM_CALLBACK;
    options.stdout_stream.write = keep_output;
    assert_status(HL_OK, hl_sandbox_new_stopped(program, &options, &sandbox, &fixture_error));
    status = hl_sandbox_run(sandbox, code, &fixture_error);
    hl_sandbox_free(sandbox);
    hl_program_free(program);
    return status;
}

static void expect_all_ok(const char *name)
{
    int code = -1;

    assert_status(HL_OK, run(name, NULL, &code));
    if (code)
        fail_msg("%s: %s", name, strstr(output, "FAILED") ? strstr(output, "FAILED") : output);
    assert_non_null(strstr(output, "ok "));
}

static void memory(void **state)
{
    (void)state;
    expect_all_ok("sys_memory.glibc");
    expect_all_ok("sys_memory.musl");
}

static void signals(void **state)
{
    (void)state;
    expect_all_ok("sys_signals.glibc");
    expect_all_ok("sys_signals.musl");
}

static void everything_else(void **state)
{
    (void)state;
    expect_all_ok("sys_misc.glibc");
    expect_all_ok("sys_misc.musl");
}

static void fatal_faults(void **state)
{
    static const struct {
        const char *way;
        int signal;
        uint32_t vector;
        uint64_t address;
    } cases[] = {
        {"segv", 11, 14, 0x1234},
        {"blocked_segv", 11, 14, 0x1234},
        {"ignored_segv", 11, 14, 0x1234},
        {"handler_nowhere", 11, 14, 0x1000},
        {"privileged", 11, 13, 0},
        {"single_step", 5, 1, 0},
        {"divide", 8, 0, 0},
        {"no_stack_for_handler", 11, 6, 0},
    };
    int code;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_status(HL_GUEST_FAULT, run("sys_fatal.glibc", cases[i].way, &code));
        assert_int_equal(fixture_error.signal, cases[i].signal);
        assert_int_equal(fixture_error.fault_vector, cases[i].vector);
        assert_int_equal(fixture_error.fault_address, cases[i].address);
    }
    assert_status(HL_GUEST_FAULT, run("sys_fatal.glibc", "stack_overflow", &code));
    assert_int_equal(fixture_error.fault_vector, 14);
}

static void fatal_signals(void **state)
{
    int code;

    (void)state;
    assert_status(HL_GUEST_ABORTED, run("sys_fatal.glibc", "abort", &code));
    assert_int_equal(fixture_error.signal, 6);
    assert_int_not_equal(HL_OK, run("sys_fatal.glibc", "raise_kill", &code));
    assert_int_equal(fixture_error.signal, 9);
    assert_int_not_equal(HL_OK, run("sys_fatal.glibc", "bad_sigreturn", &code));
    assert_int_equal(fixture_error.signal, 11);
}

static void system_calls_need_no_stack(void **state)
{
    int code = -1;

    (void)state;
    assert_status(HL_OK, run("sys_fatal.glibc", "no_stack", &code));
    assert_int_equal(code, 42);
}

static void memory_runs_out(void **state)
{
    int code = -1;

    (void)state;
    assert_status(HL_OK, run("sys_fatal.glibc", "exhaust", &code));
    assert_int_equal(code, 43);
    assert_status(HL_OK, run("sys_fatal.musl", "exhaust", &code));
    assert_int_equal(code, 43);
    assert_status(HL_MEMORY_LIMIT, run("sys_fatal.glibc", "overcommit", &code));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory),          cmocka_unit_test(signals),
        cmocka_unit_test(everything_else), cmocka_unit_test(fatal_faults),
        cmocka_unit_test(fatal_signals),   cmocka_unit_test(system_calls_need_no_stack),
        cmocka_unit_test(memory_runs_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
