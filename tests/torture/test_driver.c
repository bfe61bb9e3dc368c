/*
 * The n-th operation of the hypervisor's driver fails, for every n of a sandbox's whole life.
 * test-labels: bed
 */
#include "census.h"
#include "doubles/fault_driver.h"
#include "driver/override.h"
#include "scenario.h"

static void disarm(void)
{
    fault_driver_arm(0);
}

static bool fired_since;

static bool fired(void)
{
    fired_since = fired_since || fault_driver_fired();
    return fired_since;
}

static bool fits(hl_status status)
{
    return status == HL_SYSTEM;
}

static const struct scenario_fault fault = {disarm, fired, fits};

/* Runs the scenario with the n-th operation failing; returns whether there was one. */
static bool run_with_fault(uint64_t n)
{
    const char *step = "";
    fired_since = false;
    fault_driver_arm(n);
    hl_status status = scenario_run(&fault, &step);
    assert_int_equal(fault_driver_vms(), 0);
    assert_int_equal(fault_driver_vcpus(), 0);
    print_message("%3lu %-20s %s\n", (unsigned long)n, status ? step : "-", hl_status_name(status));
    return fired_since;
}

static void each_operation_fails(void **state)
{
    (void)state;
    hl_driver_info info = {.size = sizeof info};
    struct hl__machine machine;
    const hl__driver *driver;
    assert_status(HL_OK, hl__driver_find(NULL, &driver, &info, &machine, &fixture_error));
    hl__driver_override(fault_driver_wrap(driver), &info, &machine);
    run_with_fault(0);
    struct census before = census_take();
    uint64_t n = 1;
    while (run_with_fault(n))
        n++;
    assert_in_range(n, 50, 10000);
    census_expect(&before);
    hl__driver_override(NULL, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_operation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
