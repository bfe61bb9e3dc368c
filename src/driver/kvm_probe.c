/*
 * Finds out by experiment what this machine's KVM does with guests: a VM of a few pages, entered
 * some twenty times.
 *
 * The first attempt sets no CPUID. Page-table-based KVM (PVM) ignores it for user mode, and setting
 * it costs a fifth of a VM's creation. Other KVMs derive from it which control registers they
 * accept, so there a second attempt follows.
 */
#include "driver/kvm_internal.h"
#include "driver/tiny_guest.h"

#include "os/os.h"
#include "util/error.h"

#include <cpuid.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#define CR4_PAE (1ull << 5)
#define CR4_OSFXSR (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_UMIP (1ull << 11)
#define CR4_FSGSBASE (1ull << 16)
#define CR4_OSXSAVE (1ull << 18)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)
#define CR4_ALWAYS (CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT)

#define XCR0_X87_SSE 0x3ull
#define XCR0_X87_SSE_AVX 0x7ull
#define XCR0_AVX512 0xe7ull
/* Components that fit into HL__VECTOR_STATE_SIZE: all up to PKRU, not AMX. */
#define XCR0_USABLE 0x2ffull

#define VECTOR_GP 13u
#define VECTOR_PF 14u
#define NO_ANSWER UINT32_MAX /* the guest did not ring */

struct kvm_experiment {
    struct kvm_vm vm;
    struct kvm_vcpu vcpu;
    struct hl__tiny_guest guest;
    struct hl__machine machine; /* as far as it is known */
    uint64_t counter;
    uint64_t refused; /* CR4 bits that the processor has and KVM does not take like this */
    uint64_t xcr0;
};

/* What the processor has, by CPUID */

static const struct kvm_cpuid_entry2 *kvm_cpuid_find(uint32_t function, uint32_t index)
{
    static const struct kvm_cpuid_entry2 nothing;
    const struct kvm_cpuid2 *cpuid = &hl__kvm_host.cpuid.head;
    for (uint32_t i = 0; i < cpuid->nent; i++)
        if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
            return &cpuid->entries[i];
    return &nothing;
}

/* Asked of the processor itself: PVM does not list all of this for guests, but takes it. */
static uint64_t kvm_processor_cr4(void)
{
    uint32_t eax, ebx, ecx, edx;
    uint64_t bits = 0;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx))
        bits |= ecx & 1u << 26 ? CR4_OSXSAVE : 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
        bits |= (ebx & 1u << 0 ? CR4_FSGSBASE : 0) | (ebx & 1u << 7 ? CR4_SMEP : 0) |
                (ebx & 1u << 20 ? CR4_SMAP : 0) | (ecx & 1u << 2 ? CR4_UMIP : 0);
    return bits;
}

static uint64_t kvm_cpuid_xcr0(void)
{
    const struct kvm_cpuid_entry2 *state = kvm_cpuid_find(0xd, 0);
    return ((uint64_t)state->edx << 32 | state->eax) & XCR0_USABLE;
}

/* The last page below the physical address width. */
static uint64_t kvm_cpuid_last_page(void)
{
    uint32_t bits = kvm_cpuid_find(0x80000008, 0)->eax & 0xff;
    return (1ull << (bits >= 32 && bits <= 52 ? bits : 36)) - HL__TINY_PAGE;
}

/* Running the guest */

/* The value of the next doorbell, or NO_ANSWER. */
static uint32_t kvm_experiment_run(struct kvm_experiment *e, const struct hl__cpu_state *state)
{
    struct hl__exit exit = {0};
    hl__kvm_state_set(&e->vcpu, HL__STATE_GENERAL | HL__STATE_SYSTEM | HL__STATE_EVENTS, state);
    do {
        if (hl__kvm_run(&e->vcpu, &exit, NULL) != HL_OK)
            return NO_ANSWER;
    } while (exit.kind == HL__EXIT_INTERRUPTED);
    return exit.kind == HL__EXIT_DOORBELL ? exit.value : NO_ANSWER;
}

static uint32_t kvm_experiment_user(struct kvm_experiment *e, enum hl__tiny_code code,
                                    uint64_t argument)
{
    struct hl__cpu_state state;
    hl__tiny_state_user(&e->machine, code, &state);
    state.general.rdi = argument;
    return kvm_experiment_run(e, &state);
}

static uint32_t kvm_experiment_ring0(struct kvm_experiment *e, enum hl__tiny_stub stub,
                                     uint64_t argument)
{
    struct hl__cpu_state state;
    hl__tiny_state_ring0(&e->machine, stub, &state);
    state.general.rdi = argument;
    return kvm_experiment_run(e, &state);
}

/* Experiments */

/* Which type of TSS lets user mode ring at all. */
static bool kvm_finds_doorbell(struct kvm_experiment *e)
{
    const uint32_t value = 0x600d;
    for (int available = 0; available < 2; available++) {
        e->machine.tss_available = available;
        if (kvm_experiment_user(e, HL__TINY_COUNT, value) == value)
            return true;
    }
    return false;
}

/* Whether KVM takes CR4 bits on top of those that are known to work. */
static bool kvm_accepts_cr4(struct kvm_experiment *e, uint64_t bits)
{
    e->machine.cr4_wanted |= bits;
    if (kvm_experiment_user(e, HL__TINY_COUNT, 1) == 1)
        return true;
    e->machine.cr4_wanted &= ~bits;
    e->refused |= bits;
    return false;
}

/* Ring 0 must not run a user page. */
static bool kvm_smep_works(struct kvm_experiment *e)
{
    struct hl__cpu_state state;
    hl__tiny_state_ring0(&e->machine, HL__TINY_STUB_RELOAD, &state);
    state.general.rip = hl__tiny_code_address(HL__TINY_COUNT);
    return kvm_experiment_run(e, &state) == HL__TINY_EXCEPTION + VECTOR_PF;
}

/* Ring 0 must not read a user page. */
static bool kvm_smap_works(struct kvm_experiment *e)
{
    return kvm_experiment_ring0(e, HL__TINY_STUB_READ, HL__TINY_DATA) ==
           HL__TINY_EXCEPTION + VECTOR_PF;
}

static bool kvm_umip_works(struct kvm_experiment *e)
{
    return kvm_experiment_user(e, HL__TINY_SGDT, 0) == HL__TINY_EXCEPTION + VECTOR_GP;
}

static bool kvm_fsgsbase_works(struct kvm_experiment *e)
{
    return kvm_experiment_user(e, HL__TINY_FSBASE, HL__TINY_DATA) == HL__TINY_DATA;
}

static bool kvm_osxsave_works(struct kvm_experiment *e)
{
    uint32_t value = kvm_experiment_user(e, HL__TINY_XGETBV, 0);
    if (e->xcr0)
        return value == e->xcr0;
    return value != NO_ANSWER && (value & XCR0_X87_SSE) == XCR0_X87_SSE;
}

/* The most vector state that KVM lets a vCPU have; 0 if it lets us choose nothing. */
static uint64_t kvm_find_xcr0(const struct kvm_experiment *e)
{
    const uint64_t candidates[] = {kvm_cpuid_xcr0(), XCR0_AVX512, XCR0_X87_SSE_AVX, XCR0_X87_SSE};
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++)
        if (candidates[i] && hl__kvm_vcpu_set_xcr0(&e->vcpu, candidates[i]) == 0)
            return candidates[i];
    return 0;
}

static void kvm_find_cr4(struct kvm_experiment *e)
{
    static const struct {
        uint64_t bit;
        bool (*works)(struct kvm_experiment *e);
    } features[] = {
        {CR4_SMEP, kvm_smep_works},       {CR4_SMAP, kvm_smap_works},
        {CR4_UMIP, kvm_umip_works},       {CR4_FSGSBASE, kvm_fsgsbase_works},
        {CR4_OSXSAVE, kvm_osxsave_works},
    };
    uint64_t present = kvm_processor_cr4();
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (present & features[i].bit && kvm_accepts_cr4(e, features[i].bit) &&
            !features[i].works(e))
            e->machine.cr4_wanted &= ~features[i].bit;
}

/* Whether a translation that was used stays in use after the host took it away and ring 0
 * reloaded CR3. */
static bool kvm_translations_go_stale(struct kvm_experiment *e)
{
    const uint32_t before = 0xaaaa, after = 0xbbbb;
    const uint64_t page = HL__TINY_DATA, other = HL__TINY_DATA + HL__TINY_PAGE;
    uint64_t *entry = hl__tiny_guest_entry(&e->guest, 0, page);
    memcpy(hl__tiny_guest_at(&e->guest, page), &before, sizeof before);
    memcpy(hl__tiny_guest_at(&e->guest, other), &after, sizeof after);
    if (kvm_experiment_user(e, HL__TINY_READ, page) != before)
        return true;
    *entry = other | HL__TINY_ENTRY_USER_DATA;
    return kvm_experiment_ring0(e, HL__TINY_STUB_RELOAD, 0) != HL__TINY_DONE ||
           kvm_experiment_user(e, HL__TINY_READ, page) != after;
}

static uint64_t kvm_calibrate_tsc(void)
{
    const uint64_t span_ns = 2000000;
    uint64_t start_ns = hl__os_monotonic_ns(), start = hl__os_tsc(), now_ns;
    do
        now_ns = hl__os_monotonic_ns();
    while (now_ns - start_ns < span_ns);
    return (hl__os_tsc() - start) * 1000000 / (now_ns - start_ns);
}

static uint64_t kvm_find_tsc_khz(const struct kvm_experiment *e)
{
    int khz = ioctl(e->vcpu.fd, KVM_GET_TSC_KHZ, 0);
    return khz > 0 ? (uint64_t)khz : kvm_calibrate_tsc();
}

/* A width that KVM itself cannot use all of shows here. */
static hl_status kvm_find_spare_address(struct kvm_experiment *e, hl_error *err)
{
    hl_status status;
    hl__kvm_host.spare_address = kvm_cpuid_last_page();
    while ((status = hl__kvm_flush(&e->vm, err)) != HL_OK && hl__kvm_host.spare_address >> 36)
        hl__kvm_host.spare_address = hl__kvm_host.spare_address >> 1 & ~(HL__TINY_PAGE - 1ull);
    return status;
}

/* Attempts */

static hl_status kvm_experiment_begin(struct kvm_experiment *e, hl_error *err)
{
    struct hl__vcpu_setup setup = hl__tiny_vcpu_setup(true);
    hl_status status = hl__tiny_guest_new(&e->guest, err);
    if (status != HL_OK)
        return status;
    status = hl__kvm_vm_create(&e->vm, 1, &e->counter, err);
    if (status != HL_OK)
        goto no_vm;
    status = hl__tiny_guest_add(&e->guest, &hl__kvm_driver, &e->vm, 0, err);
    if (status == HL_OK)
        status = hl__kvm_vcpu_create(&e->vm, &e->vcpu, 0, &setup, err);
    if (status == HL_OK)
        return HL_OK;
    hl__kvm_vm_destroy(&e->vm);
no_vm:
    hl__tiny_guest_free(&e->guest);
    return status;
}

static void kvm_experiment_end(struct kvm_experiment *e)
{
    hl__kvm_vcpu_destroy(&e->vcpu);
    hl__kvm_vm_destroy(&e->vm);
    hl__tiny_guest_free(&e->guest);
}

static hl_status kvm_missing(const char *what, hl_error *err)
{
    return hl__error_set(err, HL_HYPERVISOR_TOO_OLD, "KVM_RUN",
                         "KVM is here, but its guests %s; a newer kernel or processor may help",
                         what);
}

/* All that the machine is asked, in order: each answer is needed for the next question. */
static hl_status kvm_experiment_ask(struct kvm_experiment *e, hl_error *err)
{
    e->machine.cr4_wanted = CR4_ALWAYS;
    if (!kvm_finds_doorbell(e))
        return kvm_missing("cannot reach the host from user mode", err);
    e->xcr0 = kvm_find_xcr0(e);
    kvm_find_cr4(e);
    if (!(e->machine.cr4_wanted & CR4_SMEP))
        return kvm_missing("do not keep ring 0 off user pages (SMEP)", err);
    e->machine.syscall_stays = kvm_experiment_user(e, HL__TINY_SYSCALL, 0) == HL__TINY_SYSCALL_USER;
    e->machine.flush_required = kvm_translations_go_stale(e) || e->machine.syscall_stays;
    e->machine.tsc_khz = kvm_find_tsc_khz(e);
    return kvm_find_spare_address(e, err);
}

static hl_status kvm_attempt(bool with_cpuid, struct kvm_experiment *e, hl_error *err)
{
    memset(e, 0, sizeof *e);
    hl__kvm_host.cpuid_needed = with_cpuid;
    hl__kvm_host.xcr0 = 0;
    hl_status status = kvm_experiment_begin(e, err);
    if (status != HL_OK)
        return status;
    status = kvm_experiment_ask(e, err);
    hl__kvm_host.xcr0 = e->xcr0;
    kvm_experiment_end(e);
    return status;
}

static hl_status kvm_find_machine(struct hl__machine *machine, hl_error *err)
{
    struct kvm_experiment e;
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
    info->virtualization =
        machine->syscall_stays ? HL_VIRTUALIZATION_PAGE_TABLE : HL_VIRTUALIZATION_HARDWARE;
    info->syscall_stays_in_user_mode = machine->syscall_stays;
    info->api_version = hl__kvm_host.api_version;
    info->tsc_khz = machine->tsc_khz;
    info->vcpus_max = hl__kvm_host.vcpus_max;
    info->memory_slots_max = hl__kvm_host.slots_max - 1;
    info->capabilities = HL_CAPABILITY_DIRTY_LOG | HL_CAPABILITY_DIRTY_REARM |
                         HL_CAPABILITY_SYNC_REGISTERS | HL_CAPABILITY_READONLY_MEMORY |
                         HL_CAPABILITY_IMMEDIATE_EXIT |
                         (machine->cr4_wanted & CR4_SMAP ? HL_CAPABILITY_SMAP : 0) |
                         (machine->cr4_wanted & CR4_UMIP ? HL_CAPABILITY_UMIP : 0);
    snprintf(info->detail, sizeof info->detail, "KVM of Linux %s is ready: %s", system.release,
             machine->syscall_stays ? "it works by page tables (PVM), user mode runs at full speed"
                                    : "it uses the processor's virtualization (VT-x or SVM)");
}

/* Why KVM is not usable is an answer, not a failure of the probe. */
hl_status hl__kvm_probe(hl_driver_info *info, struct hl__machine *machine, hl_error *err)
{
    (void)err;
    hl_error reason = HL_ERROR_INIT;
    *info = (hl_driver_info){.size = sizeof *info, .name = hl__kvm_driver.name};
    *machine = (struct hl__machine){0};
    info->status = hl__kvm_open(&reason);
    if (info->status == HL_OK) {
        info->status = kvm_find_machine(machine, &reason);
        hl__kvm_close();
    }
    if (info->status == HL_OK)
        kvm_describe(info, machine);
    else
        snprintf(info->detail, sizeof info->detail, "%.*s", (int)sizeof info->detail - 1,
                 reason.message);
    return HL_OK;
}
