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

/* The most vector state that Hyper-V lets a vCPU have; 0 if it lets us choose nothing. */
static uint64_t mshv_find_xcr0(const struct hl__experiment *e)
{
    uint64_t xcr0;
    for (unsigned attempt = 0; (xcr0 = hl__hyperv_xcr0(attempt)); attempt++)
        if (hl__mshv_vcpu_set_xcr0(e->vcpu, xcr0, NULL) == HL_OK)
            return xcr0;
    return 0;
}

static hl_status mshv_find_machine(struct hl__machine *machine, hl_error *err)
{
    struct hl__experiment e;
    hl__mshv_host.xcr0 = 0;
    hl_status status = mshv_check_interface(err);
    if (status == HL_OK)
        status = hl__experiment_begin(&e, &hl__mshv_driver, err);
    if (status != HL_OK)
        return status;
    e.xcr0 = mshv_find_xcr0(&e);
    status = hl__experiment_ask(&e, err);
    hl__mshv_host.shares_registers = hl__mshv_page_is_valid(e.vcpu);
    hl__mshv_host.xcr0 = e.xcr0;
    hl__experiment_end(&e);
    *machine = e.machine;
    machine->memory_pinned = true;
    return status;
}

/* The public answer */

static void mshv_describe(hl_driver_info *info, const struct hl__machine *machine)
{
    struct utsname system = {.release = "?"};
    (void)machine;
    (void)uname(&system);
    info->vcpus_max = HL__MSHV_VCPUS_MAX;
    info->memory_slots_max = HL__HYPERV_SLOTS_MAX;
    info->capabilities |= HL_CAPABILITY_DIRTY_LOG | HL_CAPABILITY_DIRTY_REARM |
                          HL_CAPABILITY_READONLY_MEMORY |
                          (hl__mshv_host.shares_registers ? HL_CAPABILITY_SYNC_REGISTERS : 0);
    snprintf(info->detail, sizeof info->detail,
             "Hyper-V is ready by MSHV of Linux %s; memory of sandboxes is pinned", system.release);
}

hl_status hl__mshv_probe(hl_driver_info *info, struct hl__machine *machine, hl_error *err)
{
    const struct hl__experiment_probe probe = {&hl__mshv_driver, mshv_find_machine, mshv_describe};
    (void)err;
    return hl__experiment_probe(&probe, info, machine);
}
