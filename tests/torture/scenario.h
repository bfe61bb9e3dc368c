/* One whole use of the library, step by step, for tests in which one step fails. */
#ifndef HL_TESTS_SCENARIO_H
#define HL_TESTS_SCENARIO_H

#include "fixture.h"

/* How a fault is switched off once a step has failed, so that the rest of the world works again. */
struct scenario_fault {
    void (*disarm)(void);
    bool (*fired)(void);
    /* Whether this status is an honest name for the fault. */
    bool (*fits)(hl_status status);
};

/*
 * Runs the scenario until a step fails, or to its end. Checks after a failure that it was told,
 * that outputs were left alone and that the sandbox is either as it was, or poisoned and can be
 * restored; frees everything. Returns the status and the step's name.
 */
hl_status scenario_run(const struct scenario_fault *fault, const char **step);

#endif
