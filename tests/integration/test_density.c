/* Many sandboxes of one snapshot alive in one process: each has its own memory, and nothing of them
 * is left afterwards. HL_SANDBOXES says how many. */
#include "census.h"
#include "fixture.h"
#include <stdlib.h>

enum { SANDBOXES_MAX = 500, MEMORY_SIZE = 4 << 20 };

static hl_sandbox *sandboxes[SANDBOXES_MAX];
static uint64_t count;

static hl_snapshot *take_snapshot(void)
{
    const hl_sandbox_options options = FIXTURE_OPTIONS(.memory_size = MEMORY_SIZE);
    hl_snapshot *snapshot;
    hl_sandbox *first = fixture_sandbox("plugin.musl", &options);
    assert_int_equal(fixture_call_u64(first, "count_up", NO_ARGUMENTS), 1);
    assert_status(HL_OK, hl_sandbox_snapshot(first, &snapshot, &fixture_error));
    hl_sandbox_free(first);
    return snapshot;
}

/* Each counts to a number of its own, and writes it into pages of its own. */
static void call_each(void)
{
    for (uint64_t i = 0; i < count; i++) {
        const hl_value mark = hl_value_u64(i % 251 + 1);
        for (uint64_t call = 0; call < 1 + i % 3; call++)
            assert_int_equal(fixture_call_u64(sandboxes[i], "count_up", NO_ARGUMENTS), 2 + call);
        assert_int_equal(
            fixture_call_u64(sandboxes[i], "scatter", ARGUMENTS(hl_value_u64(4), mark)), 0);
    }
}

static void check_each(const hl_snapshot *snapshot)
{
    for (uint64_t i = 0; i < count; i++) {
        bool restored = i % 7 == 0;
        const hl_value mark = hl_value_u64(0);
        if (restored)
            assert_status(HL_OK, hl_sandbox_restore(sandboxes[i], snapshot, &fixture_error));
        uint64_t calls = fixture_call_u64(sandboxes[i], "count_up", NO_ARGUMENTS);
        assert_int_equal(calls, restored ? 2 : 3 + i % 3);
        uint64_t sum = fixture_call_u64(sandboxes[i], "scatter", ARGUMENTS(hl_value_u64(4), mark));
        assert_int_equal(sum, restored ? 0 : 4 * (i % 251 + 1));
    }
}

/* One of them misbehaves in between; the others do not notice. */
static void poison_some(void)
{
    for (uint64_t i = 0; i < count; i += 49)
        fixture_expect(HL_GUEST_FAULT, sandboxes[i], "touch",
                       ARGUMENTS(hl_value_u64(8), hl_value_i32(1)));
}

/* From both ends towards the middle. */
static void free_all(void)
{
    for (uint64_t i = 0; i < count; i++)
        hl_sandbox_free(sandboxes[i % 2 ? count - 1 - i / 2 : i / 2]);
}

static void many_live_together(void **state)
{
    (void)state;
    struct census before = census_take();
    hl_snapshot *snapshot = take_snapshot();
    for (uint64_t i = 0; i < count; i++)
        assert_status(HL_OK,
                      hl_sandbox_from_snapshot(snapshot, NULL, &sandboxes[i], &fixture_error));
    call_each();
    poison_some();
    check_each(snapshot);
    free_all();
    hl_snapshot_free(snapshot);
    census_expect(&before);
}

/* What the process keeps from its first sandbox on: the driver's descriptor, the C library's
 * caches. */
static int warm_up(void **state)
{
    (void)state;
    census_raise_limits();
    count = fixture_number("HL_SANDBOXES", SANDBOXES_MAX);
    assert_in_range(count, 1, SANDBOXES_MAX);
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL);
    fixture_honest_call(sandbox);
    hl_sandbox_free(sandbox);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_live_together),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
