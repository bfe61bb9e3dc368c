/* Registers of x86-64: between the contract's form and KVM's, and the state that vCPUs have from
 * birth. */
#include "driver/kvm_internal.h"

#include "util/error.h"

#include <errno.h>
#include <sys/ioctl.h>

#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_SYSCALL_MASK 0xc0000084u

void hl__kvm_general_to(const struct hl__general_state *from, struct kvm_regs *to)
{
    *to = (struct kvm_regs){
        .rax = from->rax,
        .rbx = from->rbx,
        .rcx = from->rcx,
        .rdx = from->rdx,
        .rsi = from->rsi,
        .rdi = from->rdi,
        .rsp = from->rsp,
        .rbp = from->rbp,
        .r8 = from->r8,
        .r9 = from->r9,
        .r10 = from->r10,
        .r11 = from->r11,
        .r12 = from->r12,
        .r13 = from->r13,
        .r14 = from->r14,
        .r15 = from->r15,
        .rip = from->rip,
        .rflags = from->rflags,
    };
}

void hl__kvm_general_from(const struct kvm_regs *from, struct hl__general_state *to)
{
    *to = (struct hl__general_state){
        .rax = from->rax,
        .rbx = from->rbx,
        .rcx = from->rcx,
        .rdx = from->rdx,
        .rsi = from->rsi,
        .rdi = from->rdi,
        .rsp = from->rsp,
        .rbp = from->rbp,
        .r8 = from->r8,
        .r9 = from->r9,
        .r10 = from->r10,
        .r11 = from->r11,
        .r12 = from->r12,
        .r13 = from->r13,
        .r14 = from->r14,
        .r15 = from->r15,
        .rip = from->rip,
        .rflags = from->rflags,
    };
}

static struct kvm_segment kvm_segment_to(const struct hl__segment *from)
{
    return (struct kvm_segment){
        .base = from->base,
        .limit = from->limit,
        .selector = from->selector,
        .type = from->type,
        .present = from->present,
        .dpl = from->dpl,
        .db = from->default_big,
        .s = from->code_or_data,
        .l = from->long_mode,
        .g = from->granularity,
        .unusable = !from->present,
    };
}

static struct hl__segment kvm_segment_from(const struct kvm_segment *from)
{
    return (struct hl__segment){
        .base = from->base,
        .limit = from->limit,
        .selector = from->selector,
        .type = from->type,
        .dpl = from->dpl,
        .present = from->present && !from->unusable,
        .code_or_data = from->s,
        .long_mode = from->l,
        .default_big = from->db,
        .granularity = from->g,
    };
}

void hl__kvm_system_to(const struct hl__system_state *from, uint64_t apic_base,
                       struct kvm_sregs *to)
{
    *to = (struct kvm_sregs){
        .cs = kvm_segment_to(&from->cs),
        .ds = kvm_segment_to(&from->ds),
        .es = kvm_segment_to(&from->es),
        .fs = kvm_segment_to(&from->fs),
        .gs = kvm_segment_to(&from->gs),
        .ss = kvm_segment_to(&from->ss),
        .tr = kvm_segment_to(&from->tr),
        .ldt = kvm_segment_to(&from->ldt),
        .gdt = {.base = from->gdt.base, .limit = from->gdt.limit},
        .idt = {.base = from->idt.base, .limit = from->idt.limit},
        .cr0 = from->cr0,
        .cr2 = from->cr2,
        .cr3 = from->cr3,
        .cr4 = from->cr4,
        .efer = from->efer,
        .apic_base = apic_base,
    };
}

void hl__kvm_system_from(const struct kvm_sregs *from, struct hl__system_state *to)
{
    *to = (struct hl__system_state){
        .cs = kvm_segment_from(&from->cs),
        .ds = kvm_segment_from(&from->ds),
        .es = kvm_segment_from(&from->es),
        .fs = kvm_segment_from(&from->fs),
        .gs = kvm_segment_from(&from->gs),
        .ss = kvm_segment_from(&from->ss),
        .tr = kvm_segment_from(&from->tr),
        .ldt = kvm_segment_from(&from->ldt),
        .gdt = {.base = from->gdt.base, .limit = from->gdt.limit},
        .idt = {.base = from->idt.base, .limit = from->idt.limit},
        .cr0 = from->cr0,
        .cr2 = from->cr2,
        .cr3 = from->cr3,
        .cr4 = from->cr4,
        .efer = from->efer,
    };
}

/* Nothing injected, nothing pending, no shadow, not even of what a zeroed structure alone would
 * leave alone. */
void hl__kvm_events_none(struct kvm_vcpu_events *events)
{
    *events = (struct kvm_vcpu_events){
        .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
                 (hl__kvm_host.triple_fault_event ? KVM_VCPUEVENT_VALID_TRIPLE_FAULT : 0),
    };
}

bool hl__kvm_event_pending(const struct kvm_vcpu_events *events)
{
    return events->exception.injected || events->exception.pending || events->interrupt.injected ||
           events->nmi.injected || events->nmi.pending || events->triple_fault.pending;
}

int hl__kvm_vcpu_set_xcr0(const struct kvm_vcpu *vcpu, uint64_t value)
{
    struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = value}}};
    return hl__kvm_ioctl(vcpu->fd, vcpu->counter, KVM_SET_XCRS, &xcrs) < 0 ? errno : 0;
}

static hl_status kvm_set_msrs(const struct kvm_vcpu *vcpu, hl_error *err)
{
    enum { COUNT = 3 };
    union {
        struct kvm_msrs head;
        uint8_t bytes[sizeof(struct kvm_msrs) + COUNT * sizeof(struct kvm_msr_entry)];
    } msrs = {.head = {.nmsrs = COUNT}};
    msrs.head.entries[0] = (struct kvm_msr_entry){.index = MSR_STAR, .data = vcpu->setup.star};
    msrs.head.entries[1] = (struct kvm_msr_entry){.index = MSR_LSTAR, .data = vcpu->setup.lstar};
    msrs.head.entries[2] =
        (struct kvm_msr_entry){.index = MSR_SYSCALL_MASK, .data = vcpu->setup.syscall_mask};

    int accepted = hl__kvm_ioctl(vcpu->fd, vcpu->counter, KVM_SET_MSRS, &msrs);
    if (accepted < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_SET_MSRS", "cannot set MSRs of a vCPU");
    if (accepted != COUNT)
        return hl__error_set(err, HL_SYSTEM, "KVM_SET_MSRS", "KVM refused MSR 0x%x",
                             (unsigned)msrs.head.entries[accepted].index);
    return HL_OK;
}

hl_status hl__kvm_vcpu_set_birth_state(const struct kvm_vcpu *vcpu, hl_error *err)
{
    if (hl__kvm_host.xcr0) {
        int error = hl__kvm_vcpu_set_xcr0(vcpu, hl__kvm_host.xcr0);
        if (error)
            return hl__error_os(err, HL_SYSTEM, error, "KVM_SET_XCRS",
                                "cannot enable vector state 0x%llx",
                                (unsigned long long)hl__kvm_host.xcr0);
    }
    return kvm_set_msrs(vcpu, err);
}
