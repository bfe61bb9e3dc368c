/*
 * Snapshots: what they hold, and what they forget.
 * test-labels: bed
 */
#include "fixture.h"
#include "snapshot/snapshot.h"
#include "vm/x86_64/tables.h"

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

static hl_sandbox *made_of(const hl_snapshot *snapshot)
{
    hl_sandbox *sandbox;
    assert_status(HL_OK, hl_sandbox_from_snapshot(snapshot, NULL, &sandbox, &fixture_error));
    return sandbox;
}

static void prewarm(const hl_snapshot *snapshot, size_t count)
{
    assert_status(HL_OK, hl_snapshot_prewarm(snapshot, NULL, count, &fixture_error));
}

/* Making a VM takes more calls of the driver than taking back one that is there. */
static bool had_a_vm_ready(const hl_sandbox *sandbox)
{
    hl_stats stats = {.size = sizeof stats};
    assert_status(HL_OK, hl_sandbox_stats(sandbox, &stats, &fixture_error));
    assert_int_equal(stats.calls, 0);
    assert_int_equal(stats.entries, 0);
    return stats.driver_calls < 5;
}

static void count_to(hl_sandbox *sandbox, uint64_t expected)
{
    assert_int_equal(fixture_call_u64(sandbox, "count_up", NO_ARGUMENTS), expected);
}

/* As many sandboxes as VMs were made ahead find one, whatever was known of their calls by then. */
static void vms_that_were_made_ahead_serve_new_sandboxes(void **state)
{
    enum { AHEAD = HL__HUSKS_DEFAULT + 1 };
    (void)state;
    hl_sandbox *first = fixture_sandbox("plugin.musl", NULL), *sandboxes[AHEAD + 1];
    count_to(first, 1);
    hl_snapshot *snapshot = take(first);
    for (int round = 0; round < 2; round++) {
        prewarm(snapshot, AHEAD);
        prewarm(snapshot, AHEAD - 1); /* they are there */
        for (size_t i = 0; i <= AHEAD; i++) {
            sandboxes[i] = made_of(snapshot);
            assert_int_equal(had_a_vm_ready(sandboxes[i]), i < AHEAD);
            count_to(sandboxes[i], 2); /* also teaches the snapshot */
            count_to(sandboxes[i], 3);
        }
        for (size_t i = 0; i <= AHEAD; i++)
            hl_sandbox_free(sandboxes[i]);
        prewarm(snapshot, 0);
    }
    hl_sandbox_free(first);
    hl_snapshot_free(snapshot);
}

/* What calls were seen to touch is in the new VM before the first call, so that it meets fewer faults. */
static void a_vm_that_was_made_ahead_has_what_calls_touch(void **state)
{
    (void)state;
    hl_sandbox *first = fixture_sandbox("plugin.musl", NULL);
    hl_snapshot *snapshot = take(first);
    hl_sandbox *teacher = made_of(snapshot);
    count_to(teacher, 1);
    uint64_t hot = 0, accessed = 0;
    for (size_t word = 0; word < snapshot->memory_size / HL__PAGE / 64; word++)
        hot += (unsigned)__builtin_popcountll(snapshot->hot[word]);
    for (size_t word = 0; word < snapshot->table_count * (size_t)HL__TABLE_WORDS; word++)
        accessed += (unsigned)__builtin_popcountll(snapshot->accessed[word]);
    assert_in_range(hot, 1, 64);
    assert_in_range(accessed, hot, 256);

    prewarm(snapshot, 1);
    hl_sandbox *ready = made_of(snapshot);
    assert_true(had_a_vm_ready(ready));
    for (size_t i = 0; i < snapshot->table_count * (size_t)HL__TABLE_ENTRIES; i++)
        if (hl__bitmap_get((const uint64_t *)snapshot->accessed, i))
            assert_true(hl__table_entries(ready->space, 0)[i] & HL__PTE_ACCESSED);
    count_to(ready, 1);
    hl_sandbox_free(teacher);
    hl_sandbox_free(ready);
    hl_sandbox_free(first);
    hl_snapshot_free(snapshot);
}

static void vms_made_ahead_suit_the_options_they_were_made_for(void **state)
{
    (void)state;
    hl_sandbox *first = fixture_sandbox("plugin.musl", NULL), *sandbox;
    hl_snapshot *snapshot = take(first);
    hl_sandbox_options options = {.size = sizeof options, .request_size_max = 8 << 20};
    assert_status(HL_OK, hl_snapshot_prewarm(snapshot, &options, 1, &fixture_error));
    assert_status(HL_OK, hl_sandbox_from_snapshot(snapshot, &options, &sandbox, &fixture_error));
    assert_true(had_a_vm_ready(sandbox));
    hl_sandbox_free(sandbox);
    prewarm(snapshot, 0);

    assert_status(HL_INVALID_ARGUMENT, hl_snapshot_prewarm(NULL, NULL, 1, &fixture_error));
    assert_status(HL_INVALID_ARGUMENT,
                  hl_snapshot_prewarm(snapshot, NULL, HL_PREWARM_MAX + 1, &fixture_error));
    options.memory_size = 1 << 30;
    assert_status(HL_INCOMPATIBLE_SNAPSHOT,
                  hl_snapshot_prewarm(snapshot, &options, 1, &fixture_error));
    sandbox = made_of(snapshot);
    assert_false(had_a_vm_ready(sandbox));
    hl_sandbox_free(sandbox);
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
        cmocka_unit_test(vms_that_were_made_ahead_serve_new_sandboxes),
        cmocka_unit_test(a_vm_that_was_made_ahead_has_what_calls_touch),
        cmocka_unit_test(vms_made_ahead_suit_the_options_they_were_made_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
