/*
 * Host functions as guests and host functions themselves see them.
 * test-labels: bed
 */
#include "fixture.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CHAIN = 8 };

/* What the host functions saw. */
static struct {
    unsigned calls;
    bool cancelled_before, cancelled_after;
    uint64_t deadline_ns, waited_ns;
    hl_status inner;
    hl_sandbox *other;
    hl_interrupt_handle *handle;
    hl_sandbox *chain[CHAIN];
} seen;

#define HOST_FUNCTION(name)                                                                        \
    static hl_status name(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply, \
                          void *user)
#define UNUSED (void)call, (void)arguments, (void)count, (void)reply, (void)user

HOST_FUNCTION(add)
{
    UNUSED;
    seen.calls++;
    *reply = hl_value_i64(arguments[0].as.i64 + arguments[1].as.i64);
    return HL_OK;
}

HOST_FUNCTION(refuse)
{
    UNUSED;
    return hl_call_fail(call, "no %s\nfor you", "milk");
}

HOST_FUNCTION(refuse_plainly)
{
    UNUSED;
    return HL_NOT_SERVING;
}

HOST_FUNCTION(lie)
{
    UNUSED;
    *reply = hl_value_string("not an i64");
    return HL_OK;
}

HOST_FUNCTION(answer_nonsense)
{
    UNUSED;
    *reply = hl_value_string("\xff\xff");
    return HL_OK;
}

HOST_FUNCTION(answer_much)
{
    UNUSED;
    size_t size = arguments[0].as.u64;
    *reply = hl_value_bytes(hl_call_alloc(call, size), size);
    return HL_OK;
}

/* Waits for the cancellation, and goes on for a while after it. */
HOST_FUNCTION(wait)
{
    UNUSED;
    uint64_t start = fixture_now_ns();
    seen.cancelled_before = hl_call_cancelled(call);
    seen.deadline_ns = hl_call_deadline_ns(call);
    if (seen.handle)
        hl_sandbox_interrupt(seen.handle);
    seen.cancelled_after = hl_call_wait_cancelled(call, arguments[0].as.u64);
    seen.waited_ns = fixture_now_ns() - start;
    if (count > 1)
        usleep(100000);
    return HL_OK;
}

/* Calls another sandbox on the same thread. */
HOST_FUNCTION(call_other)
{
    UNUSED;
    seen.inner = hl_sandbox_call(seen.other, arguments[0].as.string.data, NULL, 0, NULL, NULL);
    *reply = hl_value_i32((int)seen.inner);
    return HL_OK;
}

/* Hands the call on to the next sandbox of a chain; the last one counts. */
HOST_FUNCTION(hand_on)
{
    UNUSED;
    size_t next = (size_t)arguments[0].as.u64;
    hl_value result = hl_value_null();
    hl_status status =
        next == CHAIN
            ? HL_OK
            : hl_sandbox_call(seen.chain[next], "call_host",
                              ARGUMENTS(hl_value_string("hand_on"), hl_value_u64(next + 1)),
                              &result, NULL);
    *reply = hl_value_u64(next == CHAIN ? 1 : 1 + result.as.u64);
    hl_value_free(&result);
    return status;
}

static hl_host_functions *functions;

static void offer(const char *name, const hl_signature *signature, hl_host_function function)
{
    assert_status(HL_OK, hl_host_functions_add(functions, name, signature, function, NULL, NULL,
                                               &fixture_error));
}

static int set_up(void **state)
{
    static const hl_type two_numbers[] = {HL_TYPE_I64, HL_TYPE_I64};
    const hl_signature sum = {two_numbers, 2, HL_TYPE_I64};
    const hl_signature number = {NULL, 0, HL_TYPE_I64};
    (void)state;
    assert_status(HL_OK, hl_host_functions_new(&functions, &fixture_error));
    offer("add", &sum, add);
    offer("refuse", NULL, refuse);
    offer("refuse_plainly", NULL, refuse_plainly);
    offer("lie", &number, lie);
    offer("answer_nonsense", NULL, answer_nonsense);
    offer("answer_much", NULL, answer_much);
    offer("wait", NULL, wait);
    offer("call_other", NULL, call_other);
    offer("hand_on", NULL, hand_on);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hl_host_functions_free(functions);
    return 0;
}

static hl_sandbox *make_sandbox(uint64_t timeout_ns)
{
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.memory_size = 8 << 20, .timeout_ns = timeout_ns,
                        .request_size_max = 1 << 20, .host_functions = functions);
    memset(&seen, 0, sizeof seen);
    return fixture_sandbox("plugin.musl", &options);
}

/* The guest's host call fails; the guest reports status and text of it. */
static void expect_refusal(hl_sandbox *sandbox, const hl_value *arguments, size_t count,
                           hl_status status, const char *text)
{
    char start[16];
    snprintf(start, sizeof start, "%d: ", (int)status);
    fixture_expect(HL_GUEST_ERROR, sandbox, "call_host", arguments, count);
    if (strncmp(fixture_error.message, start, strlen(start)) != 0 ||
        !strstr(fixture_error.message, text))
        fail_msg("expected %s...%s, got: %s", start, text, fixture_error.message);
    fixture_honest_call(sandbox);
}

static void signatures(void **state)
{
    (void)state;
    hl_sandbox *sandbox = make_sandbox(0);
    hl_value reply =
        fixture_call(sandbox, "call_host",
                     ARGUMENTS(hl_value_string("add"), hl_value_i64(-3), hl_value_i64(45)));
    assert_int_equal(reply.as.i64, 42);
    expect_refusal(sandbox, ARGUMENTS(hl_value_string("add"), hl_value_bool(true)),
                   HL_SIGNATURE_MISMATCH, "add(i64, i64) was called with (bool)");
    expect_refusal(sandbox, ARGUMENTS(hl_value_string("nobody")), HL_UNKNOWN_FUNCTION, "nobody");
    assert_int_equal(seen.calls, 1); /* what does not fit never arrives */
    expect_refusal(sandbox, ARGUMENTS(hl_value_string("lie")), HL_GUEST_ERROR, "signature");
    hl_sandbox_free(sandbox);
}

static void failures(void **state)
{
    (void)state;
    hl_sandbox *sandbox = make_sandbox(0);
    expect_refusal(sandbox, ARGUMENTS(hl_value_string("refuse")), HL_GUEST_ERROR,
                   "no milk\\x0afor you");
    expect_refusal(sandbox, ARGUMENTS(hl_value_string("refuse_plainly")), HL_GUEST_ERROR,
                   hl_status_meaning(HL_NOT_SERVING));
    expect_refusal(sandbox, ARGUMENTS(hl_value_string("answer_nonsense")), HL_GUEST_ERROR,
                   "not a valid value");
    expect_refusal(sandbox, ARGUMENTS(hl_value_string("answer_much"), hl_value_u64(2 << 20)),
                   HL_REQUEST_TOO_LARGE, "request_size_max");
    hl_sandbox_free(sandbox);
}

/* An answer that would fit the limit, but not the memory that is left. */
static void answers_count_as_memory(void **state)
{
    (void)state;
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.memory_size = 4 << 20, .host_functions = functions);
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options);
    expect_refusal(sandbox, ARGUMENTS(hl_value_string("answer_much"), hl_value_u64(16 << 20)),
                   HL_REQUEST_TOO_LARGE, "memory");
    hl_value reply = fixture_call(sandbox, "call_host",
                                  ARGUMENTS(hl_value_string("answer_much"), hl_value_u64(1 << 20)));
    assert_int_equal(reply.as.bytes.size, 1 << 20);
    hl_value_free(&reply);
    hl_sandbox_free(sandbox);
}

static void expect_wait(hl_status status, hl_sandbox *sandbox, const hl_value *extra, size_t count)
{
    hl_value arguments[] = {hl_value_string("wait"), hl_value_u64(20000 * MILLISECOND),
                            count ? *extra : hl_value_null()};
    fixture_expect(status, sandbox, "call_host", arguments, 2 + count);
    assert_false(seen.cancelled_before);
    assert_true(seen.cancelled_after);
}

/* The host function learns of the deadline as it passes; the call ends when it returns. */
static void deadline_reaches_the_host_function(void **state)
{
    (void)state;
    const uint64_t timeout = 200 * MILLISECOND;
    const hl_value longer = hl_value_null();
    hl_sandbox *sandbox = make_sandbox(timeout);
    uint64_t start = fixture_now_ns();
    expect_wait(HL_TIMED_OUT, sandbox, &longer, 1);
    assert_in_range(fixture_now_ns() - start, timeout + 100 * MILLISECOND,
                    timeout + 100 * MILLISECOND + LATE_MAX);
    assert_in_range(seen.waited_ns, timeout / 2, timeout + LATE_MAX);
    assert_in_range(seen.deadline_ns, start + timeout, start + timeout + LATE_MAX);
    hl_sandbox_free(sandbox);
}

static void interrupt_reaches_the_host_function(void **state)
{
    (void)state;
    hl_sandbox *sandbox = make_sandbox(HL_UNLIMITED);
    seen.handle = hl_sandbox_interrupt_handle(sandbox);
    expect_wait(HL_INTERRUPTED, sandbox, NULL, 0);
    assert_int_equal(seen.deadline_ns, UINT64_MAX);
    assert_in_range(seen.waited_ns, 0, LATE_MAX);
    hl_interrupt_handle_free(seen.handle);
    hl_sandbox_free(sandbox);
}

/* A wait that is not cut short says so. */
static void waiting_without_cancellation(void **state)
{
    (void)state;
    hl_sandbox *sandbox = make_sandbox(0);
    const hl_value arguments[] = {hl_value_string("wait"), hl_value_u64(20 * MILLISECOND)};
    fixture_expect(HL_OK, sandbox, "call_host", arguments, 2);
    assert_false(seen.cancelled_after);
    assert_in_range(seen.waited_ns, 20 * MILLISECOND, LATE_MAX);
    hl_sandbox_free(sandbox);
}

/* What becomes of the other sandbox does not touch the one that waits for it. */
static void another_sandbox_from_a_host_function(void **state)
{
    (void)state;
    const hl_sandbox_options hasty = FIXTURE_OPTIONS(.timeout_ns = 50 * MILLISECOND);
    hl_sandbox *sandbox = make_sandbox(0);
    seen.other = fixture_sandbox("plugin.musl", &hasty);
    const hl_value count_up[] = {hl_value_string("call_other"), hl_value_string("count_up")};
    const hl_value spin[] = {hl_value_string("call_other"), hl_value_string("spin")};
    fixture_expect(HL_OK, sandbox, "call_host", count_up, 2);
    assert_int_equal(seen.inner, HL_OK);
    assert_int_equal(fixture_call_u64(seen.other, "count_up", NO_ARGUMENTS), 2);
    assert_int_equal(fixture_call_u64(sandbox, "count_up", NO_ARGUMENTS), 1);
    fixture_expect(HL_OK, sandbox, "call_host", spin, 2);
    assert_int_equal(seen.inner, HL_TIMED_OUT);
    assert_int_equal(hl_sandbox_status(seen.other), HL_SANDBOX_POISONED);
    fixture_honest_call(sandbox);
    hl_sandbox_free(seen.other);
    hl_sandbox_free(sandbox);
}

/* The outer deadline passes while an inner sandbox runs: both end, each with its own. */
static void outer_deadline_while_an_inner_sandbox_runs(void **state)
{
    (void)state;
    const hl_sandbox_options patient = FIXTURE_OPTIONS(.timeout_ns = 400 * MILLISECOND);
    hl_sandbox *sandbox = make_sandbox(100 * MILLISECOND);
    const hl_value spin[] = {hl_value_string("call_other"), hl_value_string("spin")};
    seen.other = fixture_sandbox("plugin.musl", &patient);
    uint64_t start = fixture_now_ns();
    fixture_expect(HL_TIMED_OUT, sandbox, "call_host", spin, 2);
    assert_int_equal(seen.inner, HL_TIMED_OUT);
    assert_in_range(fixture_now_ns() - start, 400 * MILLISECOND, 400 * MILLISECOND + LATE_MAX);
    hl_sandbox_free(seen.other);
    hl_sandbox_free(sandbox);
}

static void sandboxes_in_a_chain(void **state)
{
    (void)state;
    hl_sandbox *first = make_sandbox(0);
    const hl_sandbox_options options = FIXTURE_OPTIONS(.host_functions = functions);
    for (int i = 0; i < CHAIN; i++)
        seen.chain[i] = fixture_sandbox("plugin.musl", &options);
    hl_value reply =
        fixture_call(first, "call_host", ARGUMENTS(hl_value_string("hand_on"), hl_value_u64(0)));
    assert_int_equal(reply.as.u64, CHAIN + 1);
    for (int i = 0; i < CHAIN; i++)
        hl_sandbox_free(seen.chain[i]);
    hl_sandbox_free(first);
}

static void count_finalizer(void *user)
{
    ++*(unsigned *)user;
}

/* Once, when the last owner is gone: set, sandboxes and snapshots own it. */
static void finalizers(void **state)
{
    (void)state;
    unsigned finalized = 0;
    hl_host_functions *set;
    hl_snapshot *snapshot;
    hl_sandbox *copy;
    assert_status(HL_OK, hl_host_functions_new(&set, &fixture_error));
    assert_status(HL_OK, hl_host_functions_add(set, "f", NULL, refuse, &finalized, count_finalizer,
                                               &fixture_error));
    assert_status(HL_INVALID_ARGUMENT, hl_host_functions_add(set, "f", NULL, refuse, &finalized,
                                                             count_finalizer, &fixture_error));
    assert_int_equal(finalized, 1); /* of the one that was not taken */
    const hl_sandbox_options options = FIXTURE_OPTIONS(.host_functions = set);
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options);
    assert_status(HL_INVALID_ARGUMENT,
                  hl_host_functions_add(set, "late", NULL, refuse, NULL, NULL, &fixture_error));
    hl_host_functions_free(set);
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
    hl_sandbox_free(sandbox);
    assert_int_equal(finalized, 1);
    assert_status(HL_OK, hl_sandbox_from_snapshot(snapshot, NULL, &copy, &fixture_error));
    hl_snapshot_free(snapshot);
    assert_int_equal(finalized, 1);
    fixture_expect(HL_GUEST_ERROR, copy, "call_host", ARGUMENTS(hl_value_string("f")));
    hl_sandbox_free(copy);
    assert_int_equal(finalized, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures),
        cmocka_unit_test(failures),
        cmocka_unit_test(answers_count_as_memory),
        cmocka_unit_test(deadline_reaches_the_host_function),
        cmocka_unit_test(interrupt_reaches_the_host_function),
        cmocka_unit_test(waiting_without_cancellation),
        cmocka_unit_test(another_sandbox_from_a_host_function),
        cmocka_unit_test(outer_deadline_while_an_inner_sandbox_runs),
        cmocka_unit_test(sandboxes_in_a_chain),
        cmocka_unit_test(finalizers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
