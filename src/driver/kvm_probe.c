/*
 * What this machine's KVM is and does.
 *
 * The first attempt sets no CPUID. Page-table-based KVM (PVM) ignores it for user mode, and setting
 * it costs a fifth of a VM's creation. Other KVMs derive from it which control registers they
 * accept, so there a second attempt follows.
 */
#include "driver/experiment.h"
#include "driver/kvm_internal.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#define XCR0_X87_SSE 0x3ull
#define XCR0_X87_SSE_AVX 0x7ull
#define XCR0_AVX512 0xe7ull
/* Components that fit into HL__VECTOR_STATE_SIZE: all up to PKRU, not AMX. */
#define XCR0_USABLE 0x2ffull

static const struct kvm_cpuid_entry2 *kvm_cpuid_find(uint32_t function, uint32_t index)
{
    static const struct kvm_cpuid_entry2 nothing;
    const struct kvm_cpuid2 *cpuid = &hl__kvm_host.cpuid.head;
    for (uint32_t i = 0; i < cpuid->nent; i++)
        if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
            return &cpuid->entries[i];
    return &nothing;
}

static uint64_t kvm_cpuid_xcr0(void)
{
    const struct kvm_cpuid_entry2 *state = kvm_cpuid_find(0xd, 0);
    return ((uint64_t)state->edx << 32 | state->eax) & XCR0_USABLE;
}

/* The most vector state that KVM lets a vCPU have; 0 if it lets us choose nothing. */
static uint64_t kvm_find_xcr0(const struct hl__experiment *e)
{
    const uint64_t candidates[] = {kvm_cpuid_xcr0(), XCR0_AVX512, XCR0_X87_SSE_AVX, XCR0_X87_SSE};
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++)
        if (candidates[i] && hl__kvm_vcpu_set_xcr0(e->vcpu, candidates[i]) == 0)
            return candidates[i];
    return 0;
}

static void kvm_find_tsc_khz(struct hl__experiment *e)
{
    const struct kvm_vcpu *vcpu = e->vcpu;
    int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);
    if (khz > 0)
        e->machine.tsc_khz = (uint64_t)khz;
}

static hl_status kvm_attempt(bool with_cpuid, struct hl__experiment *e, hl_error *err)
{
    hl__kvm_host.cpuid_needed = with_cpuid;
    hl__kvm_host.xcr0 = 0;
    hl_status status = hl__experiment_begin(e, &hl__kvm_driver, err);
    if (status != HL_OK)
        return status;
    e->xcr0 = kvm_find_xcr0(e);
    status = hl__experiment_ask(e, err);
    kvm_find_tsc_khz(e);
    hl__kvm_host.xcr0 = e->xcr0;
    hl__experiment_end(e);
    return status;
}

static hl_status kvm_find_machine(struct hl__machine *machine, hl_error *err)
{
    struct hl__experiment e;
    hl_status status = kvm_attempt(false, &e, err);
    if (status != HL_OK || e.refused || !e.machine.syscall_stays)
        status = kvm_attempt(true, &e, err);
    if (status == HL_OK)
        *machine = e.machine;
    return status;
}

/* The public answer */

static void kvm_describe(hl_driver_info *info, const struct hl__machine *machine)
{
    struct utsname system = {.release = "?"};
    (void)uname(&system);
    info->api_version = hl__kvm_host.api_version;
    info->vcpus_max = hl__kvm_host.vcpus_max;
    info->memory_slots_max = hl__kvm_host.slots_max - 1;
    info->capabilities |= HL_CAPABILITY_DIRTY_LOG | HL_CAPABILITY_DIRTY_REARM |
                          HL_CAPABILITY_SYNC_REGISTERS | HL_CAPABILITY_READONLY_MEMORY |
                          HL_CAPABILITY_IMMEDIATE_EXIT;
    snprintf(info->detail, sizeof info->detail, "KVM of Linux %s is ready: %s", system.release,
             machine->syscall_stays ? "it works by page tables (PVM), user mode runs at full speed"
                                    : "it uses the processor's virtualization (VT-x or SVM)");
}

hl_status hl__kvm_probe(hl_driver_info *info, struct hl__machine *machine, hl_error *err)
{
    const struct hl__experiment_probe probe = {&hl__kvm_driver, kvm_find_machine, kvm_describe};
    (void)err;
    return hl__experiment_probe(&probe, info, machine);
}
