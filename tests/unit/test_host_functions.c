/* Sets of host functions, signatures, and what a host function can do with its call. */
#define _GNU_SOURCE
#include "call/host_functions.h"
#include "os/os.h"
#include "sleeper_driver.h"

#include <hyperlight/abi/hypercall.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    hl_host_functions *functions;
    hl__control *control;
    struct hl_call call;
    hl_value reply;
};

static struct fixture fixture;

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(hl_host_functions_new(&fixture.functions, NULL), HL_OK);
    assert_int_equal(hl__control_new(NULL, &fixture.control, NULL), HL_OK);
    hl__call_init(&fixture.call, fixture.control);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hl__call_clear(&fixture.call);
    hl__control_unref(fixture.control);
    hl_host_functions_free(fixture.functions);
    return 0;
}

static hl_status answer(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                        void *user)
{
    (void)call, (void)arguments;
    assert_ptr_equal(user, &fixture);
    assert_int_equal(reply->type, HL_TYPE_NULL);
    *reply = hl_value_u64(count);
    return HL_OK;
}

static hl_status fail_with_text(hl_call *call, const hl_value *arguments, size_t count,
                                hl_value *reply, void *user)
{
    (void)arguments, (void)count, (void)reply, (void)user;
    return hl_call_fail(call, "no such key '%s'", "a\nb");
}

static hl_status fail_with_status(hl_call *call, const hl_value *arguments, size_t count,
                                  hl_value *reply, void *user)
{
    (void)call, (void)arguments, (void)count, (void)reply, (void)user;
    return HL_OUT_OF_MEMORY;
}

static void add(const char *name, const hl_signature *signature, hl_host_function function)
{
    assert_int_equal(
        hl_host_functions_add(fixture.functions, name, signature, function, &fixture, NULL, NULL),
        HL_OK);
}

static int finalized;

static void finalize(void *user)
{
    finalized++;
    assert_ptr_equal(user, &fixture);
}

static void check_add_refused(const char *name, const hl_signature *signature,
                              hl_host_function function, const char *text)
{
    hl_error err;
    finalized = 0;
    assert_int_equal(hl_host_functions_add(fixture.functions, name, signature, function, &fixture,
                                           finalize, &err),
                     HL_INVALID_ARGUMENT);
    assert_int_equal(finalized, 1);
    if (!strstr(err.message, text))
        fail_msg("\"%s\" lacks \"%s\"", err.message, text);
}

static void test_bad_names(void **state)
{
    (void)state;
    char longest[HL_NAME_MAX + 2];
    memset(longest, 'n', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    check_add_refused(NULL, NULL, answer, "NULL");
    check_add_refused("", NULL, answer, "empty");
    check_add_refused("\xff", NULL, answer, "UTF-8");
    check_add_refused("a\tb", NULL, answer, "a\\x09b");
    check_add_refused("a\x7f", NULL, answer, "control");
    check_add_refused(longest, NULL, answer, "255");
    longest[HL_NAME_MAX] = '\0';
    add(longest, NULL, answer);
    add("gr\u00f6\u00dfe", NULL, answer);
    check_add_refused("gr\u00f6\u00dfe", NULL, answer, "already");
    check_add_refused("x", NULL, NULL, "NULL");
    finalized = 0;
    assert_int_equal(hl_host_functions_add(NULL, "x", NULL, answer, &fixture, finalize, NULL),
                     HL_INVALID_ARGUMENT);
    assert_int_equal(finalized, 1);
    assert_int_equal(hl_host_functions_new(NULL, NULL), HL_INVALID_ARGUMENT);
}

static void test_bad_signatures(void **state)
{
    (void)state;
    hl_type types[HL_PARAMETERS_MAX + 1] = {HL_TYPE_NULL};
    hl_signature many = {types, HL_PARAMETERS_MAX + 1, HL_TYPE_NULL};
    check_add_refused("x", &many, answer, "HL_PARAMETERS_MAX");
    many.parameter_count = HL_PARAMETERS_MAX;
    add("most", &many, answer);
    types[HL_PARAMETERS_MAX - 1] = (hl_type)12;
    check_add_refused("x", &many, answer, "unknown type");
    check_add_refused("x", &(hl_signature){NULL, 1, HL_TYPE_NULL}, answer, "NULL");
    check_add_refused("x", &(hl_signature){NULL, 0, (hl_type)99}, answer, "unknown type");
}

static void test_finalizers_run_once(void **state)
{
    (void)state;
    finalized = 0;
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        assert_int_equal(
            hl_host_functions_add(fixture.functions, name, NULL, answer, &fixture, finalize, NULL),
            HL_OK);
    }
    hl__host_functions_ref(fixture.functions);
    hl_host_functions_free(fixture.functions);
    assert_int_equal(finalized, 0);
    check_add_refused("late", NULL, answer, "uses the set already");
    finalized = 0;
    hl_host_functions_free(fixture.functions);
    assert_int_equal(finalized, 3);
    fixture.functions = NULL;
    hl__host_functions_ref(NULL);
}

static void test_full_set(void **state)
{
    (void)state;
    for (int i = 0; i < HL_HOST_FUNCTIONS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        add(name, NULL, answer);
    }
    check_add_refused("more", NULL, answer, "HL_HOST_FUNCTIONS_MAX");
}

static uint32_t dispatch(const char *name, const hl_value *arguments, size_t count)
{
    const hl_span span = {name, strlen(name)};
    return hl__host_functions_dispatch(fixture.functions, &fixture.call, &span, arguments, count,
                                       &fixture.reply);
}

static void test_dispatch(void **state)
{
    (void)state;
    add("answer", NULL, answer);
    const hl_value arguments[] = {hl_value_i32(1), hl_value_null()};
    assert_int_equal(dispatch("answer", arguments, 2), HL_ABI_OUTCOME_OK);
    assert_int_equal(fixture.reply.type, HL_TYPE_U64);
    assert_int_equal(fixture.reply.as.u64, 2);
    assert_int_equal(dispatch("answe", NULL, 0), HL_ABI_OUTCOME_UNKNOWN);
    assert_string_equal(fixture.call.error_text, "the host has no function \"answe\"");
    assert_int_equal(dispatch("a\n", NULL, 0), HL_ABI_OUTCOME_UNKNOWN);
    assert_string_equal(fixture.call.error_text, "the host has no function \"a\\x0a\"");
    const hl_span span = {"x", 1};
    assert_int_equal(
        hl__host_functions_dispatch(NULL, &fixture.call, &span, NULL, 0, &fixture.reply),
        HL_ABI_OUTCOME_UNKNOWN);
}

static void test_failures(void **state)
{
    (void)state;
    add("text", NULL, fail_with_text);
    add("status", NULL, fail_with_status);
    assert_int_equal(dispatch("text", NULL, 0), HL_ABI_OUTCOME_ERROR);
    assert_string_equal(fixture.call.error_text, "no such key 'a\\x0ab'");
    assert_int_equal(dispatch("status", NULL, 0), HL_ABI_OUTCOME_ERROR);
    assert_string_equal(fixture.call.error_text, hl_status_meaning(HL_OUT_OF_MEMORY));
}

static void test_signatures(void **state)
{
    (void)state;
    const hl_type types[] = {HL_TYPE_STRING, HL_TYPE_ANY};
    add("f", &(hl_signature){types, 2, HL_TYPE_U64}, answer);
    const hl_value good[] = {hl_value_string("x"), hl_value_bool(true)};
    const hl_value bad[] = {hl_value_bool(true), hl_value_bool(true)};
    assert_int_equal(dispatch("f", good, 2), HL_ABI_OUTCOME_OK);
    assert_int_equal(dispatch("f", good, 1), HL_ABI_OUTCOME_MISMATCH);
    assert_string_equal(fixture.call.error_text, "f(string, any) was called with (string)");
    assert_int_equal(dispatch("f", bad, 2), HL_ABI_OUTCOME_MISMATCH);
    assert_int_equal(dispatch("f", NULL, 0), HL_ABI_OUTCOME_MISMATCH);
    assert_string_equal(fixture.call.error_text, "f(string, any) was called with ()");
}

static void test_result_that_does_not_fit(void **state)
{
    (void)state;
    add("f", &(hl_signature){NULL, 0, HL_TYPE_STRING}, answer);
    assert_int_equal(dispatch("f", NULL, 0), HL_ABI_OUTCOME_ERROR);
    assert_non_null(strstr(fixture.call.error_text, "\"f\" does not fit its signature"));
}

static void test_mismatch_text_stays_in_bounds(void **state)
{
    (void)state;
    hl_type types[HL_PARAMETERS_MAX];
    for (size_t i = 0; i < HL_PARAMETERS_MAX; i++)
        types[i] = HL_TYPE_STRING;
    const hl_signature signature = {types, HL_PARAMETERS_MAX, HL_TYPE_NULL};
    const hl_span name = {"name", 4};
    char text[600];
    for (size_t capacity = 0; capacity < sizeof text; capacity++) {
        memset(text, 'Z', sizeof text);
        assert_false(hl__signature_check(&signature, &name, NULL, 0, text, capacity));
        if (capacity > 0)
            assert_true(strlen(text) < capacity);
        assert_int_equal(text[capacity], 'Z');
    }
}

static void test_alloc(void **state)
{
    (void)state;
    for (size_t size = 0; size < 300; size += 7) {
        unsigned char *memory = hl_call_alloc(&fixture.call, size);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 16, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(memory[i], 0);
        memset(memory, 0xff, size);
    }
    assert_null(hl_call_alloc(&fixture.call, SIZE_MAX));
    hl__call_clear(&fixture.call);
    assert_null(fixture.call.scratch);
}

static void test_cancellation_is_seen(void **state)
{
    (void)state;
    uint64_t deadline = hl__os_monotonic_ns() + UINT64_C(60000000000);
    assert_int_equal(hl__control_begin(fixture.control, deadline, UINT64_MAX, NULL), HL_OK);
    assert_int_equal(hl_call_deadline_ns(&fixture.call), deadline);
    assert_false(hl_call_cancelled(&fixture.call));
    assert_false(hl_call_wait_cancelled(&fixture.call, 1000000));
    assert_true(hl__control_cancel(fixture.control, HL_INTERRUPTED));
    assert_true(hl_call_wait_cancelled(&fixture.call, UINT64_MAX));
    assert_true(hl_call_cancelled(&fixture.call));
    assert_int_equal(hl__control_end(fixture.control), HL_INTERRUPTED);
}

#define CALL_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CALL_TEST(test_bad_names),
        CALL_TEST(test_bad_signatures),
        CALL_TEST(test_finalizers_run_once),
        CALL_TEST(test_full_set),
        CALL_TEST(test_dispatch),
        CALL_TEST(test_failures),
        CALL_TEST(test_signatures),
        CALL_TEST(test_result_that_does_not_fit),
        CALL_TEST(test_mismatch_text_stays_in_bounds),
        CALL_TEST(test_alloc),
        CALL_TEST(test_cancellation_is_seen),
    };
    return cmocka_run_group_tests(tests, sleeper_install, NULL);
}
