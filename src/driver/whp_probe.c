/* What this machine's Windows Hypervisor Platform is and does. */
#include "driver/experiment.h"
#include "driver/whp_internal.h"

#include <stdio.h>

/* The most vector state that Hyper-V lets a vCPU have; 0 if it lets us choose nothing. */
static uint64_t whp_find_xcr0(const struct hl__experiment *e)
{
    uint64_t xcr0;
    for (unsigned attempt = 0; (xcr0 = hl__hyperv_xcr0(attempt)); attempt++)
        if (hl__whp_vcpu_set_xcr0(e->vcpu, xcr0, NULL) == HL_OK)
            return xcr0;
    return 0;
}

static hl_status whp_find_machine(struct hl__machine *machine, hl_error *err)
{
    struct hl__experiment e;
    hl__whp_host.xcr0 = 0;
    hl_status status = hl__experiment_begin(&e, &hl__whp_driver, err);
    if (status != HL_OK)
        return status;
    e.xcr0 = whp_find_xcr0(&e);
    status = hl__experiment_ask(&e, err);
    hl__whp_host.xcr0 = e.xcr0;
    hl__experiment_end(&e);
    *machine = e.machine;
    machine->one_vm = !hl__whp_host.surrogates;
    return status;
}

/* The public answer */

static void whp_describe(hl_driver_info *info, const struct hl__machine *machine)
{
    (void)machine;
    info->vcpus_max = HL__WHP_VCPUS_MAX;
    info->memory_slots_max = HL__HYPERV_SLOTS_MAX;
    info->capabilities |=
        HL_CAPABILITY_DIRTY_LOG | HL_CAPABILITY_DIRTY_REARM | HL_CAPABILITY_READONLY_MEMORY;
    snprintf(info->detail, sizeof info->detail,
             "Hyper-V is ready by the Windows Hypervisor Platform: %s",
             hl__whp_host.surrogates
                 ? "each sandbox has its memory in a process of its own"
                 : "one sandbox at a time (hyperlight-surrogate.exe is not beside the library)");
}

hl_status hl__whp_probe(hl_driver_info *info, struct hl__machine *machine, hl_error *err)
{
    const struct hl__experiment_probe probe = {&hl__whp_driver, whp_find_machine, whp_describe};
    (void)err;
    return hl__experiment_probe(&probe, info, machine);
}
