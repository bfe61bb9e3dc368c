/* What the tests of threads share. */
#include "threads.h"
#include <stdatomic.h>

hl_snapshot *threads_snapshot;

int threads_set_up(void **state)
{
    (void)state;
    const hl_sandbox_options options = FIXTURE_OPTIONS(.memory_size = 8 << 20);
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options);
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &threads_snapshot, &fixture_error));
    hl_sandbox_free(sandbox);
    return 0;
}

int threads_tear_down(void **state)
{
    (void)state;
    hl_snapshot_free(threads_snapshot);
    return 0;
}

hl_sandbox *threads_sandbox(uint64_t timeout_ns)
{
    const hl_sandbox_options options = FIXTURE_OPTIONS(.timeout_ns = timeout_ns);
    hl_sandbox *sandbox;
    assert_status(HL_OK,
                  hl_sandbox_from_snapshot(threads_snapshot, &options, &sandbox, &fixture_error));
    return sandbox;
}

void threads_start(pthread_t *thread, void *(*body)(void *), void *user)
{
    assert_int_equal(pthread_create(thread, NULL, body, user), 0);
}

static atomic_uint wrong;

void threads_check(bool good)
{
    if (!good)
        atomic_fetch_add(&wrong, 1);
}

unsigned threads_wrong(void)
{
    return atomic_load(&wrong);
}

void threads_all_went_well(void)
{
    assert_int_equal(atomic_exchange(&wrong, 0), 0);
}

hl_status threads_call(hl_sandbox *sandbox, const char *function, uint64_t *number)
{
    hl_value reply = hl_value_null();
    hl_status status = hl_sandbox_call(sandbox, function, NULL, 0, &reply, NULL);
    if (number)
        *number = reply.as.u64;
    hl_value_free(&reply);
    return status;
}

void threads_expect_deadline(void)
{
    hl_sandbox *sandbox;
    const hl_sandbox_options options = FIXTURE_OPTIONS(.timeout_ns = 50 * MILLISECOND);
    threads_check(hl_sandbox_from_snapshot(threads_snapshot, &options, &sandbox, NULL) == HL_OK);
    for (int i = 0; i < 3; i++) {
        uint64_t start = fixture_now_ns();
        threads_check(threads_call(sandbox, "spin", NULL) == HL_TIMED_OUT);
        threads_check(fixture_now_ns() - start < 50 * MILLISECOND + LATE_MAX);
        threads_check(hl_sandbox_restore(sandbox, threads_snapshot, NULL) == HL_OK);
        threads_check(threads_call(sandbox, "count_up", NULL) == HL_OK);
    }
    hl_sandbox_free(sandbox);
}
