/*
 * A program that maps and unmaps small pieces all the time costs few exits, and snapshots may be taken in the middle of it.
 * test-labels: bed
 */
#include "fixture.h"

static hl_stats stats_of(hl_sandbox *sandbox)
{
    hl_stats stats = {.size = sizeof stats};
    assert_status(HL_OK, hl_sandbox_stats(sandbox, &stats, &fixture_error));
    return stats;
}

/* Of the shim, memory/memory.c: so many unmappings of a program take effect at once. */
enum { UNMAPPINGS_AT_ONCE = 16384 };

static void churn(hl_sandbox *sandbox, uint64_t count)
{
    assert_int_equal(fixture_call_u64(sandbox, "churn", ARGUMENTS(hl_value_u64(count))), 0);
}

/* That many take long in the bed. */
static hl_sandbox *open_patient(const char *program)
{
    const hl_sandbox_options options = FIXTURE_OPTIONS(.timeout_ns = UINT64_C(200000000000));
    return fixture_sandbox(program, &options);
}

static void unmapping_costs_few_exits(void **state)
{
    (void)state;
    hl_sandbox *sandbox = open_patient("plugin.musl");
    churn(sandbox, UNMAPPINGS_AT_ONCE + 200);
    hl_stats before = stats_of(sandbox);
    churn(sandbox, 10000);
    hl_stats after = stats_of(sandbox);
    assert_in_range(after.entries - before.entries, 1, 100);
    assert_in_range(after.page_table_flushes - before.page_table_flushes, 0, 50);
    hl_sandbox_free(sandbox);
}

static void snapshots_between_unmappings(void **state)
{
    (void)state;
    hl_snapshot *snapshot;
    hl_sandbox *copy, *sandbox = open_patient("plugin.glibc");
    churn(sandbox, UNMAPPINGS_AT_ONCE + 205);
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
    for (uint64_t i = 0; i < 20; i++) {
        churn(sandbox, 1 + i * 37);
        assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshot, &fixture_error));
    }
    assert_status(HL_OK, hl_sandbox_from_snapshot(snapshot, NULL, &copy, &fixture_error));
    churn(copy, 500);
    churn(sandbox, 500);
    hl_sandbox_free(copy);
    hl_sandbox_free(sandbox);
    hl_snapshot_free(snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unmapping_costs_few_exits),
        cmocka_unit_test(snapshots_between_unmappings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
