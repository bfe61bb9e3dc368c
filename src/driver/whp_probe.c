/* What this machine's Windows Hypervisor Platform is and does. */
#include "driver/experiment.h"
#include "driver/whp_internal.h"

#include "util/error.h"

#include <stdio.h>

static hl_status whp_find_machine(struct hl__machine *machine, hl_error *err)
{
    struct hl__experiment e;
    hl_status status = hl__experiment_begin(&e, &hl__whp_driver, err);
    if (status != HL_OK)
        return status;
    status = hl__experiment_ask(&e, err);
    hl__experiment_end(&e);
    *machine = e.machine;
    return status;
}

static void whp_describe(hl_driver_info *info, const struct hl__machine *machine)
{
    info->virtualization =
        machine->syscall_stays ? HL_VIRTUALIZATION_PAGE_TABLE : HL_VIRTUALIZATION_HARDWARE;
    info->syscall_stays_in_user_mode = machine->syscall_stays;
    info->tsc_khz = machine->tsc_khz;
    info->vcpus_max = HL__WHP_VCPUS_MAX;
    info->memory_slots_max = HL__HYPERV_SLOTS_MAX;
    info->capabilities = HL_CAPABILITY_DIRTY_LOG | HL_CAPABILITY_DIRTY_REARM |
                         HL_CAPABILITY_READONLY_MEMORY | hl__machine_capabilities(machine);
    snprintf(info->detail, sizeof info->detail,
             "Hyper-V is ready by the Windows Hypervisor Platform: %s",
             hl__whp_host.surrogates
                 ? "each sandbox has its memory in a process of its own"
                 : "one sandbox at a time (hyperlight-surrogate.exe is not beside the library)");
}

/* Why WHP is not usable is an answer, not a failure of the probe. */
hl_status hl__whp_probe(hl_driver_info *info, struct hl__machine *machine, hl_error *err)
{
    (void)err;
    hl_error reason = HL_ERROR_INIT;
    *info = (hl_driver_info){.size = sizeof *info, .name = hl__whp_driver.name};
    *machine = (struct hl__machine){0};
    info->status = hl__whp_open(&reason);
    if (info->status == HL_OK) {
        info->status = whp_find_machine(machine, &reason);
        hl__whp_close();
    }
    if (info->status == HL_OK)
        whp_describe(info, machine);
    else
        snprintf(info->detail, sizeof info->detail, "%.*s", (int)sizeof info->detail - 1,
                 reason.message);
    return HL_OK;
}
