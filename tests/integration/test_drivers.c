/*
 * Sandboxes of two hypervisors in one process: a snapshot of one restores on the other. Needs a second
 * driver, which tests/integration/CMakeLists.txt preloads.
 */
#include "fixture.h"
#include <hyperlight/driver.h>
#include <stdio.h>
#include <stdlib.h>

enum { DRIVERS = 2 };

/* A sandbox of the same program on each of two drivers. */
struct pair {
    const char *names[DRIVERS];
    hl_context *contexts[DRIVERS];
    hl_sandbox *sandboxes[DRIVERS];
};

static size_t find_drivers(const char **names)
{
    size_t found = 0;
    for (size_t i = 0; i < hl_driver_count() && found < DRIVERS; i++) {
        hl_driver_info info = {.size = sizeof info};
        assert_status(HL_OK, hl_driver_probe(hl_driver_name(i), &info, &fixture_error));
        if (info.status == HL_OK)
            names[found++] = info.name;
    }
    return found;
}

static hl_sandbox *make_sandbox(hl_context *context, const char *file)
{
    const hl_program_options options = {.size = sizeof options, .context = context};
    char path[512];
    hl_program *program;
    hl_sandbox *sandbox;
    snprintf(path, sizeof path, "%s/%s", HL_TEST_GUESTS, file);
    assert_status(HL_OK, hl_program_open(path, &options, &program, &fixture_error));
    assert_status(HL_OK, hl_sandbox_new(program, NULL, &sandbox, &fixture_error));
    hl_program_free(program);
    return sandbox;
}

static int set_up(void **state)
{
    static struct pair pair;
    assert_int_equal(find_drivers(pair.names), DRIVERS);
    for (int i = 0; i < DRIVERS; i++) {
        const hl_context_options options = {.size = sizeof options, .driver = pair.names[i]};
        assert_status(HL_OK, hl_context_new(&options, &pair.contexts[i], &fixture_error));
        pair.sandboxes[i] = make_sandbox(pair.contexts[i], "plugin.musl");
    }
    *state = &pair;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *pair = *state;
    for (int i = 0; i < DRIVERS; i++) {
        hl_sandbox_free(pair->sandboxes[i]);
        hl_context_free(pair->contexts[i]);
    }
    return 0;
}

static hl_snapshot *take(hl_sandbox *sandbox)
{
    hl_snapshot *snapshot;
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
    return snapshot;
}

static void write_pages(hl_sandbox *sandbox, int value, uint64_t before)
{
    assert_int_equal(
        fixture_call_u64(sandbox, "scatter", ARGUMENTS(hl_value_i32(20), hl_value_i32(value))),
        before);
}

static void a_snapshot_restores_on_the_other_driver(void **state)
{
    struct pair *pair = *state;
    for (int from = 0; from < DRIVERS; from++) {
        hl_sandbox *one = pair->sandboxes[from], *other = pair->sandboxes[1 - from];
        hl_snapshot *pristine = take(one), *theirs = take(other);
        write_pages(one, 3, 0);
        hl_snapshot *written = take(one);
        for (int round = 0; round < 3; round++) {
            assert_status(HL_OK, hl_sandbox_restore(other, written, &fixture_error));
            write_pages(other, 5, 60);
            fixture_honest_call(other);
            assert_status(HL_OK, hl_sandbox_restore(other, pristine, &fixture_error));
            write_pages(other, 7, 0);
        }
        assert_status(HL_OK, hl_sandbox_restore(other, theirs, &fixture_error));
        assert_status(HL_OK, hl_sandbox_restore(one, pristine, &fixture_error));
        hl_snapshot_free(pristine);
        hl_snapshot_free(theirs);
        hl_snapshot_free(written);
    }
}

/* Also where nothing but the snapshot is left of the sandbox, and for a poisoned one. */
static void a_snapshot_outlives_its_driver(void **state)
{
    struct pair *pair = *state;
    hl_sandbox *one = make_sandbox(pair->contexts[0], "plugin.musl");
    write_pages(one, 4, 0);
    hl_snapshot *snapshot = take(one);
    hl_sandbox_free(one);
    hl_sandbox *other = pair->sandboxes[1];
    assert_status(HL_OK, hl_sandbox_restore(other, snapshot, &fixture_error));
    write_pages(other, 6, 80);
    hl_snapshot_free(snapshot);
    fixture_honest_call(other);
}

static void another_program_is_refused(void **state)
{
    struct pair *pair = *state;
    hl_sandbox *stranger = make_sandbox(pair->contexts[1], "plugin.glibc");
    hl_snapshot *snapshot = take(pair->sandboxes[0]);
    assert_status(HL_INCOMPATIBLE_SNAPSHOT, hl_sandbox_restore(stranger, snapshot, &fixture_error));
    hl_snapshot_free(snapshot);
    hl_sandbox_free(stranger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_restores_on_the_other_driver),
        cmocka_unit_test(a_snapshot_outlives_its_driver),
        cmocka_unit_test(another_program_is_refused),
    };
    const char *names[DRIVERS];
    /* Where the double was preloaded, a driver that is missing is a failure. */
    if (find_drivers(names) < DRIVERS && !getenv("LD_PRELOAD")) {
        puts("skipped: there is one driver at most");
        return 77;
    }
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
