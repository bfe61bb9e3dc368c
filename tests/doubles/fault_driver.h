/*
 * A driver that wraps another one and makes the n-th operation that can fail fail, for torture
 * tests: "whatever fails, nothing leaks and the error is told". Thread-safe, except for wrapping.
 */
#ifndef HL_TESTS_FAULT_DRIVER_H
#define HL_TESTS_FAULT_DRIVER_H

#include "driver/driver.h"

/* The wrapper around `inner`, named "fault". There is one; its counters start over. Disarmed. */
const hl__driver *fault_driver_wrap(const hl__driver *inner);

/* The n-th operation from now on, counted from 1, fails with HL_SYSTEM; 0 disarms. It fails
 * once. */
void fault_driver_arm(uint64_t n);

/* Whether the armed operation was reached since fault_driver_arm(). */
bool fault_driver_fired(void);

/* Operations that could have failed since fault_driver_arm() or fault_driver_wrap(). */
uint64_t fault_driver_operations(void);

/* VMs and vCPUs alive; both are 0 when nothing leaked. */
uint64_t fault_driver_vms(void);
uint64_t fault_driver_vcpus(void);

#endif
