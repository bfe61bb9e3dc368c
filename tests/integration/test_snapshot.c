/*
 * Snapshots: what they hold, and what they forget.
 * test-labels: bed
 */
#include "fixture.h"

static hl_snapshot *take(hl_sandbox *sandbox)
{
    hl_snapshot *snapshot;
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
    return snapshot;
}

static void restore(hl_sandbox *sandbox, const hl_snapshot *snapshot)
{
    assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshot, &fixture_error));
}

/* A page that was mapped but zero in the first snapshot is written after a restore: the second
 * snapshot has it. */
static void a_second_snapshot_holds_what_a_restored_guest_wrote(void **state)
{
    (void)state;
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL);
    hl_snapshot *empty = take(sandbox);
    restore(sandbox, empty);
    assert_int_equal(
        fixture_call_u64(sandbox, "scatter", ARGUMENTS(hl_value_i32(20), hl_value_i32(3))), 0);
    hl_snapshot *written = take(sandbox);
    for (int round = 0; round < 3; round++) {
        restore(sandbox, empty);
        assert_int_equal(
            fixture_call_u64(sandbox, "scatter", ARGUMENTS(hl_value_i32(20), hl_value_i32(9))), 0);
        restore(sandbox, written);
        assert_int_equal(
            fixture_call_u64(sandbox, "scatter", ARGUMENTS(hl_value_i32(20), hl_value_i32(9))), 60);
    }
    hl_sandbox_free(sandbox);
    assert_status(HL_OK, hl_sandbox_from_snapshot(written, NULL, &sandbox, &fixture_error));
    assert_int_equal(
        fixture_call_u64(sandbox, "scatter", ARGUMENTS(hl_value_i32(20), hl_value_i32(1))), 60);
    hl_sandbox_free(sandbox);
    hl_snapshot_free(empty);
    hl_snapshot_free(written);
}

static void a_restored_guest_counts_anew(void **state)
{
    (void)state;
    hl_sandbox *sandbox = fixture_sandbox("plugin.glibc", NULL);
    assert_int_equal(fixture_call_u64(sandbox, "count_up", NO_ARGUMENTS), 1);
    hl_snapshot *snapshot = take(sandbox);
    for (int round = 0; round < 5; round++) {
        assert_int_equal(fixture_call_u64(sandbox, "count_up", NO_ARGUMENTS), 2);
        assert_int_equal(fixture_call_u64(sandbox, "count_up", NO_ARGUMENTS), 3);
        restore(sandbox, snapshot);
    }
    hl_sandbox_free(sandbox);
    hl_snapshot_free(snapshot);
}

/* Rounding mode: the program's until the restore, then the snapshot's. */
static void control_registers_of_the_program_come_back(void **state)
{
    (void)state;
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL);
    (void)fixture_call(sandbox, "rounding", ARGUMENTS(hl_value_i32(1)));
    hl_snapshot *upward = take(sandbox);
    assert_int_equal(fixture_call(sandbox, "rounding", ARGUMENTS(hl_value_i32(0))).as.i32, 1);
    assert_int_equal(fixture_call(sandbox, "rounding", NO_ARGUMENTS).as.i32, 0);
    restore(sandbox, upward);
    assert_int_equal(fixture_call(sandbox, "rounding", NO_ARGUMENTS).as.i32, 1);
    hl_sandbox_free(sandbox);
    hl_snapshot_free(upward);
}

static void hooks_run_once_per_restore(void **state)
{
    (void)state;
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL);
    hl_snapshot *snapshot = take(sandbox);
    uint64_t last = 0;
    for (int round = 0; round < 4; round++) {
        restore(sandbox, snapshot);
        fixture_honest_call(sandbox);
        hl_value report = fixture_call(sandbox, "hook_report", NO_ARGUMENTS);
        assert_int_equal(report.as.list.items[1].as.u32, 1);
        assert_int_not_equal(report.as.list.items[0].as.u64, last);
        last = report.as.list.items[0].as.u64;
        hl_value_free(&report);
    }
    hl_sandbox_free(sandbox);
    hl_snapshot_free(snapshot);
}

/* The VM of a sandbox that is gone serves the next one of its snapshot, which sees nothing of it. */
static void a_vm_that_is_used_again_remembers_nothing(void **state)
{
    (void)state;
    hl_sandbox *first = fixture_sandbox("plugin.musl", NULL);
    hl_snapshot *snapshot = take(first);
    hl_sandbox *sandboxes[6];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 6; i++) {
            hl_error err = HL_ERROR_INIT;
            hl_stats stats = {.size = sizeof stats};
            assert_int_equal(hl_sandbox_from_snapshot(snapshot, NULL, &sandboxes[i], &err), HL_OK);
            assert_int_equal(hl_sandbox_stats(sandboxes[i], &stats, &err), HL_OK);
            assert_int_equal(stats.calls, 0);
            assert_int_equal(stats.page_table_edits, 0);
            hl_value hooks = fixture_call(sandboxes[i], "hook_report", NO_ARGUMENTS);
            assert_int_equal(hooks.as.list.items[1].as.u32, 1);
            hl_value_free(&hooks);
            /* It rounds as the snapshot's program did, and leaves another mode behind. */
            assert_int_equal(fixture_call(sandboxes[i], "rounding", NO_ARGUMENTS).as.i32, 0);
            (void)fixture_call(sandboxes[i], "rounding", ARGUMENTS(hl_value_i32(1)));
        }
        for (size_t i = 0; i < 6; i++)
            hl_sandbox_free(sandboxes[i]);
    }
    hl_sandbox_free(first);
    hl_snapshot_free(snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_snapshot_holds_what_a_restored_guest_wrote),
        cmocka_unit_test(a_restored_guest_counts_anew),
        cmocka_unit_test(control_registers_of_the_program_come_back),
        cmocka_unit_test(hooks_run_once_per_restore),
        cmocka_unit_test(a_vm_that_is_used_again_remembers_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
