/* The program is in a folder without hyperlight-surrogate.exe: one sandbox at a time works, a second is
 * refused with words that help. */
#include "fixture.h"
#include <hyperlight/driver.h>
#include <string.h>

static void the_probe_says_so(void **state)
{
    hl_driver_info info = {.size = sizeof info};
    (void)state;
    assert_status(HL_OK, hl_driver_probe("whp", &info, &fixture_error));
    assert_int_equal(info.status, HL_OK);
    assert_non_null(strstr(info.detail, "one sandbox at a time"));
}

static void a_second_sandbox_is_refused(void **state)
{
    hl_program *program = fixture_program("plugin.musl", NULL);
    hl_sandbox *first = fixture_sandbox("plugin.musl", NULL), *second = NULL;
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_status(HL_SYSTEM, hl_sandbox_new(program, NULL, &second, &fixture_error));
        assert_null(second);
        assert_non_null(strstr(fixture_error.message, "hyperlight-surrogate.exe"));
        fixture_honest_call(first);
    }
    hl_sandbox_free(first);
    assert_status(HL_OK, hl_sandbox_new(program, NULL, &second, &fixture_error));
    fixture_honest_call(second);
    hl_sandbox_free(second);
    hl_program_free(program);
}

static void snapshots_work(void **state)
{
    hl_snapshot *snapshot;
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", NULL);
    (void)state;
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fixture_call_u64(sandbox, "count_up", NO_ARGUMENTS), 1);
        assert_status(HL_OK, hl_sandbox_restore(sandbox, snapshot, &fixture_error));
    }
    hl_sandbox_free(sandbox);
    assert_status(HL_OK, hl_sandbox_from_snapshot(snapshot, NULL, &sandbox, &fixture_error));
    assert_int_equal(fixture_call_u64(sandbox, "count_up", NO_ARGUMENTS), 1);
    hl_sandbox_free(sandbox);
    hl_snapshot_free(snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_probe_says_so),
        cmocka_unit_test(a_second_sandbox_is_refused),
        cmocka_unit_test(snapshots_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
