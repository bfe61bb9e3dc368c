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

/* What drivers differ in when they are probed. */
struct hl__experiment_probe {
    const hl__driver *driver;
    /* Experiments, with the driver open. */
    hl_status (*find_machine)(struct hl__machine *machine, hl_error *err);
    /* Adds to the public answer what does not follow from the machine alone. */
    void (*describe)(hl_driver_info *info, const struct hl__machine *machine);
};

/* As the driver's probe: opens the driver, asks, closes it, and describes what was found. Why it is not
 * usable is an answer, not a failure. */
hl_status hl__experiment_probe(const struct hl__experiment_probe *probe, hl_driver_info *info,
                               struct hl__machine *machine);

#endif
