/*
 * Time and randomness of guests: fresh after each restore, or repeated on request.
 * test-labels: bed
 */
#include "fixture.h"
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RANDOM_SIZE = 32 };
#define SECOND UINT64_C(1000000000)

struct random {
    uint8_t bytes[RANDOM_SIZE];
};

struct times {
    uint64_t real, monotonic;
};

static struct random random_of(hl_sandbox *sandbox)
{
    struct random random;
    hl_value reply = fixture_call(sandbox, "random_bytes", NO_ARGUMENTS);
    assert_int_equal(reply.as.bytes.size, RANDOM_SIZE);
    memcpy(random.bytes, reply.as.bytes.data, RANDOM_SIZE);
    hl_value_free(&reply);
    return random;
}

static bool same(const struct random *a, const struct random *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static struct times times_of(hl_sandbox *sandbox)
{
    hl_value reply = fixture_call(sandbox, "clocks", NO_ARGUMENTS);
    struct times times = {reply.as.list.items[0].as.u64, reply.as.list.items[1].as.u64};
    hl_value_free(&reply);
    return times;
}

static uint64_t host_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static hl_snapshot *snapshot_of(hl_sandbox *sandbox)
{
    hl_snapshot *snapshot;
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
    return snapshot;
}

static void restore(hl_sandbox *sandbox, const hl_snapshot *snapshot)
{
    assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshot, &fixture_error));
}

/* Without a seed no two are alike: calls, restores, siblings, strangers. */
static void randomness_is_fresh(void **state)
{
    (void)state;
    enum { EACH = 10, COUNT = 3 * EACH };
    struct random all[COUNT];
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL), *other;
    hl_snapshot *snapshot = snapshot_of(sandbox);
    for (int i = 0; i < EACH; i++) {
        all[3 * i] = random_of(sandbox);
        restore(sandbox, snapshot);
        all[3 * i + 1] = random_of(sandbox);
        assert_status(HL_OK, i % 2
                                 ? hl_sandbox_from_snapshot(snapshot, NULL, &other, &fixture_error)
                                 : HL_OK);
        if (i % 2 == 0)
            other = fixture_sandbox("plugin.musl", NULL);
        all[3 * i + 2] = random_of(other);
        hl_sandbox_free(other);
    }
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < i; j++)
            assert_false(same(&all[i], &all[j]));
    hl_sandbox_free(sandbox);
    hl_snapshot_free(snapshot);
}

/* With a seed each start and each restore give the same sequence. */
static void randomness_repeats(void **state)
{
    (void)state;
    const hl_sandbox_options options = FIXTURE_OPTIONS(.seed_fixed = true, .seed = {1, 2, 3});
    hl_sandbox_options others = options;
    others.seed[31] = 9;
    hl_sandbox *first = fixture_sandbox("plugin.musl", &options);
    hl_sandbox *second = fixture_sandbox("plugin.musl", &options), *third;
    struct random one = random_of(first), another = random_of(second);
    assert_true(same(&one, &another));
    hl_snapshot *snapshot = snapshot_of(first);
    restore(first, snapshot);
    one = random_of(first);
    struct random next = random_of(first);
    assert_false(same(&one, &next));
    for (int i = 0; i < 3; i++) {
        restore(first, snapshot);
        another = random_of(first);
        assert_true(same(&one, &another));
        another = random_of(first);
        assert_true(same(&next, &another));
    }
    assert_status(HL_OK, hl_sandbox_from_snapshot(snapshot, NULL, &third, &fixture_error));
    another = random_of(third);
    assert_true(same(&one, &another));
    hl_sandbox_free(third);
    assert_status(HL_OK, hl_sandbox_from_snapshot(snapshot, &others, &third, &fixture_error));
    another = random_of(third);
    assert_false(same(&one, &another));
    hl_sandbox_free(first);
    hl_sandbox_free(second);
    hl_sandbox_free(third);
    hl_snapshot_free(snapshot);
}

/* The hook of the SDK runs once after each restore, with a generation of its own. */
static void hooks_run(void **state)
{
    (void)state;
    uint64_t generations[4] = {0};
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL);
    hl_snapshot *snapshot = snapshot_of(sandbox);
    for (int i = 0; i < 4; i++) {
        for (int call = 0; call < 2; call++) {
            hl_value reply = fixture_call(sandbox, "hook_report", NO_ARGUMENTS);
            generations[i] = reply.as.list.items[0].as.u64;
            assert_int_equal(reply.as.list.items[1].as.u32, i > 0);
            hl_value_free(&reply);
        }
        for (int j = 1; j < i; j++)
            assert_int_not_equal(generations[i], generations[j]);
        restore(sandbox, snapshot);
    }
    hl_sandbox_free(sandbox);
    hl_snapshot_free(snapshot);
}

/* The guest's clock is read between two readings of the host's; a little drift of the counter is
 * allowed. */
static void check_host_clock(hl_sandbox *sandbox)
{
    const uint64_t drift = 5000000;
    uint64_t real = host_ns(CLOCK_REALTIME), monotonic = host_ns(CLOCK_MONOTONIC);
    struct times times = times_of(sandbox);
    assert_in_range(times.real, real - drift, host_ns(CLOCK_REALTIME) + drift);
    assert_in_range(times.monotonic, monotonic - drift, host_ns(CLOCK_MONOTONIC) + drift);
}

static void clocks_follow_the_host(void **state)
{
    (void)state;
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL), *other;
    check_host_clock(sandbox);
    hl_snapshot *snapshot = snapshot_of(sandbox);
    usleep(1300000); /* longer than the base may get old */
    check_host_clock(sandbox);
    restore(sandbox, snapshot);
    check_host_clock(sandbox);
    assert_status(HL_OK, hl_sandbox_from_snapshot(snapshot, NULL, &other, &fixture_error));
    check_host_clock(other);
    hl_sandbox_free(sandbox);
    hl_sandbox_free(other);
    hl_snapshot_free(snapshot);
}

static void monotonic_never_runs_backwards(void **state)
{
    (void)state;
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL);
    uint64_t last = 0, start = host_ns(CLOCK_MONOTONIC);
    unsigned readings = 0;
    while (host_ns(CLOCK_MONOTONIC) - start <
           5 * SECOND / 2) { /* over some refreshes of the base */
        struct times times = times_of(sandbox);
        assert_true(times.monotonic >= last);
        last = times.monotonic;
        readings++;
    }
    assert_true(readings > 10);
    hl_sandbox_free(sandbox);
}

static void check_fixed_clock(hl_sandbox *sandbox, uint64_t start, uint64_t most)
{
    struct times times = times_of(sandbox);
    assert_in_range(times.real, start, start + most);
}

/* A clock that starts where the host application says, at each start and restore, and runs from
 * there. */
static void fixed_clock(void **state)
{
    (void)state;
    const uint64_t start = UINT64_C(1000000000) * SECOND, bit = SECOND / 10;
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.clock = HL_CLOCK_FIXED, .clock_start_ns = start);
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options), *other;
    check_fixed_clock(sandbox, start, 20 * bit);
    hl_snapshot *snapshot = snapshot_of(sandbox);
    usleep(200000);
    check_fixed_clock(sandbox, start + 2 * bit, 100 * bit);
    restore(sandbox, snapshot);
    check_fixed_clock(sandbox, start, 2 * bit);
    assert_status(HL_OK, hl_sandbox_from_snapshot(snapshot, NULL, &other, &fixture_error));
    check_fixed_clock(other, start, 2 * bit);
    hl_sandbox_free(sandbox);
    hl_sandbox_free(other);
    hl_snapshot_free(snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(randomness_is_fresh),
        cmocka_unit_test(randomness_repeats),
        cmocka_unit_test(hooks_run),
        cmocka_unit_test(clocks_follow_the_host),
        cmocka_unit_test(monotonic_never_runs_backwards),
        cmocka_unit_test(fixed_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
