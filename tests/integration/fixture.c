/* What the integration tests share. */
#include "fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

hl_error fixture_error;

void fixture_status(hl_status expected, hl_status got)
{
    if (expected != got)
        fail_msg("expected HL_%s, got HL_%s: %s", hl_status_name(expected) + 3,
                 hl_status_name(got) + 3, fixture_error.message);
}

hl_program *fixture_program(const char *name, const char *argument)
{
    char path[4096];
    hl_program *program = NULL;
    const char *arguments[] = {name, argument, NULL};
    const hl_program_options options = {.size = sizeof options, .arguments = arguments};
    snprintf(path, sizeof path, "%s/%s", HL_TEST_GUESTS, name);
    assert_status(HL_OK, hl_program_open(path, &options, &program, &fixture_error));
    return program;
}

hl_sandbox *fixture_sandbox(const char *name, const hl_sandbox_options *options)
{
    hl_program *program = fixture_program(name, NULL);
    hl_sandbox *sandbox = NULL;
    assert_status(HL_OK, hl_sandbox_new(program, options, &sandbox, &fixture_error));
    hl_program_free(program);
    return sandbox;
}

void fixture_expect(hl_status expected, hl_sandbox *sandbox, const char *function,
                    const hl_value *arguments, size_t count)
{
    hl_value reply = hl_value_null();
    fixture_error = (hl_error)HL_ERROR_INIT;
    assert_status(expected,
                  hl_sandbox_call(sandbox, function, arguments, count, &reply, &fixture_error));
    if (expected != HL_OK) {
        assert_int_equal(fixture_error.status, expected);
        assert_true(strlen(fixture_error.message) > 0);
        assert_null(strchr(fixture_error.message, '\n'));
        assert_int_equal(hl_sandbox_status(sandbox),
                         hl_status_poisons(expected) ? HL_SANDBOX_POISONED : HL_SANDBOX_READY);
    }
    hl_value_free(&reply);
}

hl_value fixture_call(hl_sandbox *sandbox, const char *function, const hl_value *arguments,
                      size_t count)
{
    hl_value reply = hl_value_null();
    assert_status(HL_OK,
                  hl_sandbox_call(sandbox, function, arguments, count, &reply, &fixture_error));
    return reply;
}

uint64_t fixture_call_u64(hl_sandbox *sandbox, const char *function, const hl_value *arguments,
                          size_t count)
{
    hl_value reply = fixture_call(sandbox, function, arguments, count);
    assert_int_equal(reply.type, HL_TYPE_U64);
    return reply.as.u64;
}

void fixture_honest_call(hl_sandbox *sandbox)
{
    hl_value reply = fixture_call(sandbox, "echo", ARGUMENTS(hl_value_string("honest")));
    assert_int_equal(reply.type, HL_TYPE_STRING);
    assert_string_equal(reply.as.string.data, "honest");
    hl_value_free(&reply);
}

uint64_t fixture_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * MILLISECOND + (uint64_t)now.tv_nsec;
}

uint64_t fixture_number(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}
