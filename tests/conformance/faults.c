/* Every operation of a driver fails once: the failure is told, and no VM or vCPU is left behind.
 * Exit status 77 without a hypervisor. */
#include "doubles/fault_driver.h"
#include "driver/override.h"
#include "driver/selftest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const hl__driver *inner;
static hl_driver_info info;
static struct hl__machine machine;

/* Each operation of the table at least once. */
static hl_status use_everything(struct hl__selftest *t)
{
    const hl__driver *driver = t->driver;
    uint64_t bitmap[(HL__TINY_DATA_PAGES + 63) / 64];
    struct hl__cpu_state state;
    hl_status status = HL_OK;
    hl__selftest_user(t, HL__TINY_IN);
    if (!hl__selftest_start(t))
        return t->error.status;
    if (!status)
        status = driver->retire(t->vcpu, &t->error);
    if (!status)
        status = driver->state_get(t->vcpu, HL__STATE_GENERAL, &state, &t->error);
    if (!status)
        status = driver->memory_track(t->vm, HL__TINY_SLOT_DATA, &t->error);
    if (!status)
        status = driver->dirty_collect(t->vm, HL__TINY_SLOT_DATA, bitmap,
                                       sizeof bitmap / sizeof *bitmap, &t->error);
    if (!status && driver->dirty_rearm)
        status = driver->dirty_rearm(t->vm, HL__TINY_SLOT_DATA, bitmap,
                                     sizeof bitmap / sizeof *bitmap, &t->error);
    return status ? status : driver->flush(t->vm, &t->error);
}

static hl_status use_once(const hl__driver *driver, hl_error *err)
{
    struct hl__selftest t;
    assert_int_equal(hl__driver_open(driver, NULL), HL_OK);
    bool opened = hl__selftest_open(&t, driver, &machine, 0);
    hl_status status = opened ? use_everything(&t) : t.error.status;
    *err = t.error;
    if (opened)
        hl__selftest_close(&t);
    hl__driver_close(driver);
    return status;
}

static void test_each_operation_fails(void **state)
{
    (void)state;
    const hl__driver *driver = fault_driver_wrap(inner);
    uint64_t n = 0;
    do {
        hl_error err = HL_ERROR_INIT;
        fault_driver_arm(++n);
        hl_status status = use_once(driver, &err);
        assert_int_equal(status, fault_driver_fired() ? HL_SYSTEM : HL_OK);
        assert_int_equal(err.status, status);
        if (status)
            assert_non_null(strstr(err.message, "fault injected"));
        assert_int_equal(fault_driver_vms(), 0);
        assert_int_equal(fault_driver_vcpus(), 0);
    } while (fault_driver_fired());
    assert_true(n > 10);
}

/* Disarmed, the wrapper is a driver like the one inside. */
static void test_wrapper_conforms(void **state)
{
    (void)state;
    hl_error err = HL_ERROR_INIT;
    hl__driver_override(fault_driver_wrap(inner), &info, &machine);
    hl_status status = hl_driver_selftest("fault", NULL, NULL, &err);
    hl__driver_override(NULL, NULL, NULL);
    if (status)
        print_error("%s\n", err.message);
    assert_int_equal(status, HL_OK);
    assert_true(fault_driver_operations() > 100);
    assert_int_equal(fault_driver_vms(), 0);
    assert_int_equal(fault_driver_vcpus(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_operation_fails),
        cmocka_unit_test(test_wrapper_conforms),
    };
    hl_error err = HL_ERROR_INIT;
    if (hl__driver_find(NULL, &inner, &info, &machine, &err) != HL_OK) {
        fprintf(stderr, "skipped: %s\n", err.message);
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
