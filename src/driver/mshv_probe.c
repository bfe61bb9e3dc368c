/* What this machine's MSHV is and does. */
#include "driver/experiment.h"
#include "driver/mshv_internal.h"

#include "util/error.h"

#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Kernels before 6.15 had a /dev/mshv of another interface, which knows no such request. */
static hl_status mshv_check_interface(hl_error *err)
{
    struct mshv_create_partition request = {.flags = MSHV_PARTITION_LARGE_PAGES};
    int fd = hl__mshv_ioctl(hl__mshv_host.fd, NULL, MSHV_CREATE_PARTITION, &request);
    if (fd >= 0) {
        close(fd);
        return HL_OK;
    }
    if (errno == ENOTTY || errno == EINVAL)
        return hl__error_os(err, HL_HYPERVISOR_TOO_OLD, errno, "MSHV_CREATE_PARTITION",
                            "/dev/mshv of this kernel has another interface; Linux 6.15 or newer "
                            "has the one that is needed");
    return hl__error_os(err, HL_SYSTEM, errno, "MSHV_CREATE_PARTITION",
                        "MSHV does not create partitions: is this the root partition of Hyper-V?");
}

/* Fills in `shares_registers`: whether registers travel in the shared page. */
static hl_status mshv_find_machine(struct hl__machine *machine, bool *shares_registers,
                                   hl_error *err)
{
    struct hl__experiment e;
    hl_status status = mshv_check_interface(err);
    if (status == HL_OK)
        status = hl__experiment_begin(&e, &hl__mshv_driver, err);
    if (status != HL_OK)
        return status;
    status = hl__experiment_ask(&e, err);
    *shares_registers = hl__mshv_page_is_valid(e.vcpu);
    hl__experiment_end(&e);
    *machine = e.machine;
    machine->memory_pinned = true;
    return status;
}

static void mshv_describe(hl_driver_info *info, const struct hl__machine *machine,
                          bool shares_registers)
{
    struct utsname system = {.release = "?"};
    (void)uname(&system);
    info->virtualization =
        machine->syscall_stays ? HL_VIRTUALIZATION_PAGE_TABLE : HL_VIRTUALIZATION_HARDWARE;
    info->syscall_stays_in_user_mode = machine->syscall_stays;
    info->tsc_khz = machine->tsc_khz;
    info->vcpus_max = HL__MSHV_VCPUS_MAX;
    info->memory_slots_max = HL__HYPERV_SLOTS_MAX;
    info->capabilities =
        HL_CAPABILITY_DIRTY_LOG | HL_CAPABILITY_DIRTY_REARM | HL_CAPABILITY_READONLY_MEMORY |
        (shares_registers ? HL_CAPABILITY_SYNC_REGISTERS : 0) | hl__machine_capabilities(machine);
    snprintf(info->detail, sizeof info->detail,
             "Hyper-V is ready by MSHV of Linux %s; memory of sandboxes is pinned", system.release);
}

/* Why MSHV is not usable is an answer, not a failure of the probe. */
hl_status hl__mshv_probe(hl_driver_info *info, struct hl__machine *machine, hl_error *err)
{
    (void)err;
    hl_error reason = HL_ERROR_INIT;
    bool shares_registers = false;
    *info = (hl_driver_info){.size = sizeof *info, .name = hl__mshv_driver.name};
    *machine = (struct hl__machine){0};
    info->status = hl__mshv_open(&reason);
    if (info->status == HL_OK) {
        info->status = mshv_find_machine(machine, &shares_registers, &reason);
        hl__mshv_close();
    }
    if (info->status == HL_OK)
        mshv_describe(info, machine, shares_registers);
    else
        snprintf(info->detail, sizeof info->detail, "%.*s", (int)sizeof info->detail - 1,
                 reason.message);
    return HL_OK;
}
