/* What the integration tests share: opening guests, calling them, and checking statuses with the
 * error's text in the failure. */
#ifndef HL_TESTS_FIXTURE_H
#define HL_TESTS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <hyperlight/hyperlight.h>

/* Opens HL_TEST_GUESTS/name with optional arguments; fails the test if it cannot. */
hl_program *fixture_program(const char *name, const char *argument);

/* A sandbox of a guest; NULL options: defaults. */
hl_sandbox *fixture_sandbox(const char *name, const hl_sandbox_options *options);

/* Default options for designated initialisers: `hl_sandbox_options options =
 * FIXTURE_OPTIONS(.timeout_ns = 5);` */
#define FIXTURE_OPTIONS(...)                                                                       \
    {                                                                                              \
        .size = sizeof(hl_sandbox_options), __VA_ARGS__                                            \
    }

/* Arguments as an array and its length. */
#define ARGUMENTS(...)                                                                             \
    (hl_value[]){__VA_ARGS__}, sizeof((hl_value[]){__VA_ARGS__}) / sizeof(hl_value)
#define NO_ARGUMENTS NULL, 0

/* Calls and asserts the status; the error of the last call is in fixture_error. */
extern hl_error fixture_error;
void fixture_expect(hl_status expected, hl_sandbox *sandbox, const char *function,
                    const hl_value *arguments, size_t count);
/* Calls, asserts success, and gives the reply; free it. */
hl_value fixture_call(hl_sandbox *sandbox, const char *function, const hl_value *arguments,
                      size_t count);
uint64_t fixture_call_u64(hl_sandbox *sandbox, const char *function, const hl_value *arguments,
                          size_t count);
void fixture_status(hl_status expected, hl_status got);
#define assert_status(expected, got) fixture_status((expected), (got))

/* Time that never goes back; and how late what is on time may be, on a crowded machine. */
#define MILLISECOND UINT64_C(1000000)
#define LATE_MAX (UINT64_C(1000) * MILLISECOND)
uint64_t fixture_now_ns(void);

/* A number from the environment, such as how often a test is to do something. */
uint64_t fixture_number(const char *variable, uint64_t otherwise);

/* An honest call works. */
void fixture_honest_call(hl_sandbox *sandbox);

#endif
