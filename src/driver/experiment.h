/*
 * Finds out by experiment what a hypervisor does with guests: a VM of a few pages, entered some
 * twenty times. Drivers use it in their probes.
 */
#ifndef HL_DRIVER_EXPERIMENT_H
#define HL_DRIVER_EXPERIMENT_H

#include "driver/tiny_guest.h"

struct hl__experiment {
    const hl__driver *driver;
    void *vm, *vcpu; /* the driver's */
    struct hl__tiny_guest guest;
    struct hl__machine machine; /* as far as it is known */
    uint64_t counter;
    uint64_t refused; /* CR4 bits that the processor has and the hypervisor does not take */
    uint64_t xcr0;    /* what the driver gives to every vCPU, 0 if it does not know */
};

/* Makes the VM of a driver that is open. Leaves nothing behind if it fails. */
hl_status hl__experiment_begin(struct hl__experiment *e, const hl__driver *driver, hl_error *err);
void hl__experiment_end(struct hl__experiment *e);

/* Fills e->machine and e->refused. HL_HYPERVISOR_TOO_OLD: guests lack what sandboxes need. */
hl_status hl__experiment_ask(struct hl__experiment *e, hl_error *err);

/* The HL_CAPABILITY_* bits that follow from the machine alone. */
uint64_t hl__machine_capabilities(const struct hl__machine *machine);

#endif
