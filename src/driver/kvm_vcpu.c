/*
 * vCPUs of KVM: entering them, decoding exits, kicks, and moving registers.
 *
 * Registers travel in the page that is shared with the kernel (KVM_CAP_SYNC_REGS): state_set()
 * fills it and marks the groups in kvm_dirty_regs, and the next KVM_RUN takes them. A KVM_RUN with
 * immediate_exit set takes registers, completes what the last exit left half done, gives registers
 * back, and enters no guest code; that makes it the tool for everything that is not an entry.
 */
#include "driver/kvm_internal.h"

#include "util/error.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static struct kvm_regs *kvm_sync_general(const struct kvm_vcpu *vcpu)
{
    return &vcpu->run->s.regs.regs;
}

static struct kvm_sregs *kvm_sync_system(const struct kvm_vcpu *vcpu)
{
    return &vcpu->run->s.regs.sregs;
}

/* Creation */

static hl_status kvm_vcpu_open(const struct kvm_vm *vm, struct kvm_vcpu *vcpu, uint32_t index,
                               hl_error *err)
{
    vcpu->fd = hl__kvm_ioctl(vm->fd, vm->counter, KVM_CREATE_VCPU, (void *)(uintptr_t)index);
    if (vcpu->fd < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_CREATE_VCPU", "cannot create a vCPU");
    (*vm->counter)++;
    void *run = mmap(NULL, hl__kvm_host.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (run == MAP_FAILED)
        return hl__error_os(err, HL_SYSTEM, errno, "mmap", "cannot map the state of a vCPU");
    vcpu->run = run;
    return HL_OK;
}

/*
 * The guest's time-stamp counter shall be the host's: the core tells guests the time in its terms.
 * Where the hardware has an offset, KVM starts the counter at 0. Kernels before 5.16 have no way to
 * set the offset; there the counter itself is set, which is off by the time that takes.
 */
static void kvm_vcpu_share_tsc(const struct kvm_vcpu *vcpu)
{
    const uint64_t offset = 0;
    const struct kvm_device_attr attribute = {
        .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)&offset};
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } counter = {.head.nmsrs = 1, .entry.index = 0x10 /* IA32_TIME_STAMP_COUNTER */};
    if (hl__kvm_ioctl(vcpu->fd, vcpu->counter, KVM_SET_DEVICE_ATTR, &attribute) == 0)
        return;
    counter.entry.data = __builtin_ia32_rdtsc();
    (void)hl__kvm_ioctl(vcpu->fd, vcpu->counter, KVM_SET_MSRS, &counter);
}

static hl_status kvm_vcpu_prepare(struct kvm_vcpu *vcpu, hl_error *err)
{
    if (hl__kvm_host.cpuid_needed) {
        if (hl__kvm_ioctl(vcpu->fd, vcpu->counter, KVM_SET_CPUID2, &hl__kvm_host.cpuid) < 0)
            return hl__error_os(err, HL_SYSTEM, errno, "KVM_SET_CPUID2", "cannot set up a vCPU");
        kvm_vcpu_share_tsc(vcpu);
    }
    struct kvm_sregs sregs;
    if (hl__kvm_ioctl(vcpu->fd, vcpu->counter, KVM_GET_SREGS, &sregs) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_GET_SREGS", "cannot read a new vCPU");
    vcpu->apic_base = sregs.apic_base;
    return hl__kvm_vcpu_set_birth_state(vcpu, err);
}

hl_status hl__kvm_vcpu_create(void *vm_state, void *vcpu_state, uint32_t index,
                              const struct hl__vcpu_setup *setup, hl_error *err)
{
    struct kvm_vm *vm = vm_state;
    struct kvm_vcpu *vcpu = vcpu_state;
    *vcpu = (struct kvm_vcpu){.fd = -1, .counter = vm->counter, .setup = *setup};
    hl_status status = kvm_vcpu_open(vm, vcpu, index, err);
    if (status == HL_OK)
        status = kvm_vcpu_prepare(vcpu, err);
    if (status != HL_OK)
        hl__kvm_vcpu_destroy(vcpu);
    return status;
}

void hl__kvm_vcpu_destroy(void *state)
{
    struct kvm_vcpu *vcpu = state;
    if (vcpu->run) {
        munmap(vcpu->run, hl__kvm_host.run_size);
        (*vcpu->counter)++;
    }
    if (vcpu->fd >= 0) {
        close(vcpu->fd);
        (*vcpu->counter)++;
    }
    vcpu->run = NULL;
    vcpu->fd = -1;
}

/* Completing instructions */

/*
 * A KVM_RUN that enters no guest code. Returns EINTR when it did all it should, another errno if it
 * failed, 0 if the instruction under completion wants one more exit. Leaves a kick that arrives
 * meanwhile to the next run: `kicked` remembers it.
 */
static int kvm_run_nothing(struct kvm_vcpu *vcpu, uint64_t wanted_groups)
{
    struct kvm_run *run = vcpu->run;
    run->kvm_valid_regs = wanted_groups;
    run->immediate_exit = 1;
    (*vcpu->counter)++;
    int error = ioctl(vcpu->fd, KVM_RUN, 0) < 0 ? errno : 0;
    run->immediate_exit = 0;
    run->kvm_valid_regs = 0;
    return error;
}

/* What a guest reads from a port or from memory that is not there: zeroes. */
static void kvm_answer_read(const struct kvm_vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_IN)
        memset((uint8_t *)run + run->io.data_offset, 0, (size_t)run->io.size * run->io.count);
    else if (run->exit_reason == KVM_EXIT_MMIO && !run->mmio.is_write)
        memset(run->mmio.data, 0, sizeof run->mmio.data);
}

/* Makes the exit at hand the last of a repeated string instruction, which could go on for ever. */
static void kvm_cut_repetition(struct kvm_vcpu *vcpu)
{
    struct kvm_regs regs;
    if (hl__kvm_ioctl(vcpu->fd, vcpu->counter, KVM_GET_REGS, &regs) < 0)
        return;
    regs.rcx = vcpu->run->exit_reason == KVM_EXIT_IO ? vcpu->run->io.count : 1;
    (void)hl__kvm_ioctl(vcpu->fd, vcpu->counter, KVM_SET_REGS, &regs);
}

static hl_status kvm_complete(struct kvm_vcpu *vcpu, hl_error *err)
{
    /* An access is split into 8-byte fragments, 8 for the widest register; what takes longer is
     * a repetition. */
    enum { PATIENCE = 16, ATTEMPTS = 2 * PATIENCE };
    int error = 0;
    for (int attempt = 0; attempt < ATTEMPTS && !error; attempt++) {
        if (attempt >= PATIENCE)
            kvm_cut_repetition(vcpu);
        kvm_answer_read(vcpu);
        error = kvm_run_nothing(vcpu, 0);
    }
    if (error != EINTR)
        return hl__error_os(err, HL_SYSTEM, error ? error : ELOOP, "KVM_RUN",
                            "KVM does not finish an instruction of the guest");
    vcpu->unfinished = false;
    return HL_OK;
}

hl_status hl__kvm_retire(void *state, hl_error *err)
{
    struct kvm_vcpu *vcpu = state;
    if (!vcpu->unfinished)
        return HL_OK;
    /* Registers that wait for the next entry must not mix with the instruction under completion. */
    uint64_t waiting = vcpu->run->kvm_dirty_regs;
    vcpu->run->kvm_dirty_regs = 0;
    hl_status status = kvm_complete(vcpu, err);
    vcpu->run->kvm_dirty_regs = waiting;
    return status;
}

/* Registers */

void hl__kvm_state_set(void *state, uint32_t groups, const struct hl__cpu_state *from)
{
    struct kvm_vcpu *vcpu = state;
    if (groups & HL__STATE_GENERAL) {
        hl__kvm_general_to(&from->general, kvm_sync_general(vcpu));
        vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
    }
    if (groups & HL__STATE_SYSTEM) {
        hl__kvm_system_to(&from->system, vcpu->apic_base, kvm_sync_system(vcpu));
        vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
    }
    if (groups & HL__STATE_EVENTS) {
        hl__kvm_events_none(&vcpu->run->s.regs.events);
        vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_EVENTS;
    }
}

/* Amid an instruction, by ioctls that complete nothing. */
static hl_status kvm_fetch_amid(struct kvm_vcpu *vcpu, uint64_t groups, hl_error *err)
{
    if (groups & KVM_SYNC_X86_REGS &&
        hl__kvm_ioctl(vcpu->fd, vcpu->counter, KVM_GET_REGS, kvm_sync_general(vcpu)) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_GET_REGS", "cannot read registers");
    if (groups & KVM_SYNC_X86_SREGS &&
        hl__kvm_ioctl(vcpu->fd, vcpu->counter, KVM_GET_SREGS, kvm_sync_system(vcpu)) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_GET_SREGS", "cannot read registers");
    if (groups & KVM_SYNC_X86_EVENTS &&
        hl__kvm_ioctl(vcpu->fd, vcpu->counter, KVM_GET_VCPU_EVENTS, &vcpu->run->s.regs.events) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_GET_VCPU_EVENTS", "cannot read events");
    return HL_OK;
}

/* Brings the groups into the shared page. Those that wait there for the next entry are the
 * newest already. */
static hl_status kvm_fetch(struct kvm_vcpu *vcpu, uint64_t groups, hl_error *err)
{
    uint64_t missing = groups & ~(uint64_t)vcpu->run->kvm_dirty_regs;
    if (!missing)
        return HL_OK;
    if (vcpu->unfinished)
        return kvm_fetch_amid(vcpu, missing, err);
    /* This takes what waits, so everything wanted must come back. */
    int error = kvm_run_nothing(vcpu, groups);
    if (error != EINTR)
        return hl__error_os(err, HL_SYSTEM, error, "KVM_RUN", "cannot read registers");
    return HL_OK;
}

static hl_status kvm_fetch_vector(const struct kvm_vcpu *vcpu, uint8_t *vector, hl_error *err)
{
    _Static_assert(sizeof(struct kvm_xsave) == HL__VECTOR_STATE_SIZE, "size of the XSAVE area");
    if (hl__kvm_ioctl(vcpu->fd, vcpu->counter, KVM_GET_XSAVE, vector) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_GET_XSAVE", "cannot read vector state");
    return HL_OK;
}

hl_status hl__kvm_state_get(void *state, uint32_t groups, struct hl__cpu_state *to, hl_error *err)
{
    struct kvm_vcpu *vcpu = state;
    uint64_t wanted = (groups & HL__STATE_GENERAL ? KVM_SYNC_X86_REGS : 0) |
                      (groups & HL__STATE_SYSTEM ? KVM_SYNC_X86_SREGS : 0) |
                      (groups & HL__STATE_EVENTS ? KVM_SYNC_X86_EVENTS : 0);
    hl_status status = kvm_fetch(vcpu, wanted, err);
    if (status == HL_OK && groups & HL__STATE_VECTOR)
        status = kvm_fetch_vector(vcpu, to->vector, err);
    if (status != HL_OK)
        return status;
    if (groups & HL__STATE_GENERAL)
        hl__kvm_general_from(kvm_sync_general(vcpu), &to->general);
    if (groups & HL__STATE_SYSTEM)
        hl__kvm_system_from(kvm_sync_system(vcpu), &to->system);
    if (groups & HL__STATE_EVENTS)
        to->event_pending = hl__kvm_event_pending(&vcpu->run->s.regs.events);
    return HL_OK;
}

/* Running */

void hl__kvm_kick(void *state)
{
    struct kvm_vcpu *vcpu = state;
    vcpu->kicked = 1;
    /* For a run that has looked at `kicked` already and is about to enter. */
    *(volatile uint8_t *)&vcpu->run->immediate_exit = 1;
}

/* Consumes a kick. In this order a kick that arrives in between stays visible in `kicked`. */
static void kvm_interrupted(struct kvm_vcpu *vcpu, struct hl__exit *exit)
{
    vcpu->kicked = 0;
    *(volatile uint8_t *)&vcpu->run->immediate_exit = 0;
    *exit = (struct hl__exit){.kind = HL__EXIT_INTERRUPTED};
}

/*
 * KVM tells no string form of a 32-bit OUT from a plain one: it reports OUTS as a plain OUT of the
 * word in the guest's memory, one element at a time. The guest can choose that value in either
 * case.
 */
HL__WARM_PATH static void kvm_decode_port(struct kvm_vcpu *vcpu, struct hl__exit *exit)
{
    const struct kvm_run *run = vcpu->run;
    bool is_write = run->io.direction == KVM_EXIT_IO_OUT;
    *exit = (struct hl__exit){
        .kind = HL__EXIT_PORT,
        .is_write = is_write,
        .port = run->io.port,
        .size = run->io.size,
    };
    if (is_write && run->io.size == sizeof exit->value && run->io.count == 1) {
        exit->kind = HL__EXIT_DOORBELL;
        memcpy(&exit->value, (const uint8_t *)run + run->io.data_offset, sizeof exit->value);
    }
    vcpu->unfinished = !is_write;
}

static void kvm_decode_memory(struct kvm_vcpu *vcpu, struct hl__exit *exit)
{
    const struct kvm_run *run = vcpu->run;
    *exit = (struct hl__exit){
        .kind = HL__EXIT_MEMORY,
        .is_write = run->mmio.is_write,
        .address = run->mmio.phys_addr,
    };
    vcpu->unfinished = true; /* writes too: a wide one has more fragments to come */
}

static void kvm_decode_failure(const struct kvm_run *run, struct hl__exit *exit)
{
    *exit = (struct hl__exit){.kind = HL__EXIT_FAILED, .reason = run->exit_reason};
    if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
        exit->detail = run->internal.suberror;
    else if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
        exit->detail = (uint32_t)run->fail_entry.hardware_entry_failure_reason;
}

/* SVM resets a vCPU that shuts down; what it had from birth goes back in. */
static hl_status kvm_decode_shutdown(const struct kvm_vcpu *vcpu, struct hl__exit *exit,
                                     hl_error *err)
{
    hl_status status = hl__kvm_vcpu_set_birth_state(vcpu, err);
    if (status == HL_OK)
        *exit = (struct hl__exit){.kind = HL__EXIT_SHUTDOWN};
    return status;
}

HL__WARM_PATH static hl_status kvm_decode_exit(struct kvm_vcpu *vcpu, struct hl__exit *exit,
                                               hl_error *err)
{
    switch (vcpu->run->exit_reason) {
    case KVM_EXIT_IO:
        kvm_decode_port(vcpu, exit);
        return HL_OK;
    case KVM_EXIT_MMIO:
        kvm_decode_memory(vcpu, exit);
        return HL_OK;
    case KVM_EXIT_HLT:
        *exit = (struct hl__exit){.kind = HL__EXIT_HALT};
        return HL_OK;
    case KVM_EXIT_SHUTDOWN:
        return kvm_decode_shutdown(vcpu, exit, err);
    case KVM_EXIT_INTR:
        *exit = (struct hl__exit){.kind = HL__EXIT_INTERRUPTED};
        return HL_OK;
    default:
        kvm_decode_failure(vcpu->run, exit);
        return HL_OK;
    }
}

HL__WARM_PATH hl_status hl__kvm_run(void *state, struct hl__exit *exit, hl_error *err)
{
    struct kvm_vcpu *vcpu = state;
    if (vcpu->kicked) {
        kvm_interrupted(vcpu, exit);
        return HL_OK;
    }
    if (vcpu->unfinished && vcpu->run->kvm_dirty_regs) {
        hl_status status = hl__kvm_retire(vcpu, err);
        if (status != HL_OK)
            return status;
    }
    if (vcpu->unfinished)
        kvm_answer_read(vcpu);
    if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
        vcpu->unfinished = false;
        return kvm_decode_exit(vcpu, exit, err);
    }
    if (errno != EINTR && errno != EAGAIN)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_RUN", "KVM cannot run the guest");
    vcpu->unfinished = false;
    kvm_interrupted(vcpu, exit);
    return HL_OK;
}
