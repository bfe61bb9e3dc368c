/*
 * VPs of the engine and their registers, by Hyper-V's names.
 *
 * General and system registers and pending events live in the page that KVM shares (sync regs): what
 * is set waits there for the next entry. All others go to KVM at once.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

struct msr_name {
    uint32_t name, msr;
};

static const struct msr_name msr_names[] = {
    {NAME_TSC, 0x10},      {0x80002, 0xc0000102}, {0x80004, 0x277},      {0x80005, 0x174},
    {0x80006, 0x176},      {0x80007, 0x175},      {0x80008, 0xc0000081}, {0x80009, 0xc0000082},
    {0x8000a, 0xc0000083}, {0x8000b, 0xc0000084}, {0x8000d, 0xfe},       {0x8000e, 0x2ff},
    {0x80070, 0x250},      {0x80071, 0x258},      {0x80072, 0x259},      {0x80073, 0x268},
    {0x80074, 0x269},      {0x80075, 0x26a},      {0x80076, 0x26b},      {0x80077, 0x26c},
    {0x80078, 0x26d},      {0x80079, 0x26e},      {0x8007a, 0x26f},      {0x8007b, 0xc0000103},
    {0x8007c, 0xd90},      {0x8007d, 0x1d9},      {0x8007e, 0xe7},       {0x8007f, 0xe8},
    {0x80084, 0x48},       {0x80086, 0xc001011f}, {0x80088, 0x122},      {0x8008b, 0xda0},
    {0x8008c, 0x6a0},      {0x8008d, 0x6a2},      {0x8008f, 0x6a4},      {0x80090, 0x6a5},
    {0x80091, 0x6a6},      {0x80092, 0x6a7},      {0x80093, 0x6a8},      {0x80095, 0x6e0},
    {0x80096, 0x3b},       {0x80098, 0xe1},       {0x80099, 0x1c4},      {0x8009a, 0x1c5},
    {0x800a0, 0x1a0},
};
#define MSR_XSS 0xda0u

/* Life */

/* Has KVM give and take all registers with entries. */
static bool vp_fetch(struct engine_vp *vp)
{
    struct kvm_run *run = vp->run;
    run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
    return system_ioctl(vp->file, KVM_GET_REGS, &run->s.regs.regs) == 0 &&
           system_ioctl(vp->file, KVM_GET_SREGS, &run->s.regs.sregs) == 0 &&
           system_ioctl(vp->file, KVM_GET_VCPU_EVENTS, &run->s.regs.events) == 0;
}

static size_t run_size(void)
{
    static atomic_size_t known;
    size_t size = atomic_load(&known);
    if (!size) {
        int64_t answer = system_ioctl(engine_kvm(), KVM_GET_VCPU_MMAP_SIZE, NULL);
        size = answer > 0 ? (size_t)answer : 3 * PAGE_BYTES;
        atomic_store(&known, size);
    }
    return size;
}

struct engine_vp *engine_vp_new(struct engine_vm *vm, uint32_t index)
{
    static atomic_bool prepared;
    if (!atomic_exchange(&prepared, true))
        system_interrupt_prepare();
    struct engine_vp *vp = calloc(1, sizeof *vp);
    if (!vp)
        return NULL;
    *vp = (struct engine_vp){.vm = vm, .index = index, .xcr0 = 1};
    vp->internal[0] = 1; /* suspended until it first runs */
    vp->file = (int)system_ioctl(vm->file, KVM_CREATE_VCPU, (void *)(uintptr_t)index);
    if (vp->file >= 0)
        vp->run = system_map(vp->file, run_size());
    if (vp->run && system_ioctl(vp->file, KVM_SET_CPUID2, vm->cpuid) == 0 && vp_fetch(vp))
        return vp;
    engine_vp_free(vp);
    return NULL;
}

void engine_vp_free(struct engine_vp *vp)
{
    if (vp->run)
        system_unmap(vp->run, run_size());
    if (vp->file >= 0)
        system_close(vp->file);
    free(vp);
}

enum engine_result engine_flush(struct engine_vp *vp)
{
    struct kvm_run *run = vp->run;
    uint64_t dirty = run->kvm_dirty_regs;
    run->kvm_dirty_regs = 0;
    if (dirty & KVM_SYNC_X86_SREGS && system_ioctl(vp->file, KVM_SET_SREGS, &run->s.regs.sregs) < 0)
        return ENGINE_BAD_VALUE;
    if (dirty & KVM_SYNC_X86_REGS && system_ioctl(vp->file, KVM_SET_REGS, &run->s.regs.regs) < 0)
        return ENGINE_BAD_VALUE;
    if (dirty & KVM_SYNC_X86_EVENTS &&
        system_ioctl(vp->file, KVM_SET_VCPU_EVENTS, &run->s.regs.events) < 0)
        return ENGINE_BAD_VALUE;
    return ENGINE_OK;
}

/* Numbers in the shared page */

uint64_t *engine_general(struct kvm_regs *regs, uint32_t name)
{
    uint64_t *const order[] = {
        (uint64_t *)&regs->rax, (uint64_t *)&regs->rcx, (uint64_t *)&regs->rdx,
        (uint64_t *)&regs->rbx, (uint64_t *)&regs->rsp, (uint64_t *)&regs->rbp,
        (uint64_t *)&regs->rsi, (uint64_t *)&regs->rdi, (uint64_t *)&regs->r8,
        (uint64_t *)&regs->r9,  (uint64_t *)&regs->r10, (uint64_t *)&regs->r11,
        (uint64_t *)&regs->r12, (uint64_t *)&regs->r13, (uint64_t *)&regs->r14,
        (uint64_t *)&regs->r15, (uint64_t *)&regs->rip, (uint64_t *)&regs->rflags};
    return name >= NAME_RAX && name <= NAME_RFLAGS ? order[name - NAME_RAX] : NULL;
}

static uint64_t *system_find(struct kvm_sregs *sregs, uint32_t name)
{
    switch (name) {
    case NAME_CR0:
    case NAME_CR0 + NAME_INTERMEDIATE:
        return (uint64_t *)&sregs->cr0;
    case NAME_CR2:
        return (uint64_t *)&sregs->cr2;
    case NAME_CR3:
    case NAME_CR3 + NAME_INTERMEDIATE:
        return (uint64_t *)&sregs->cr3;
    case NAME_CR4:
    case NAME_CR4 + NAME_INTERMEDIATE:
        return (uint64_t *)&sregs->cr4;
    case NAME_CR8:
    case NAME_CR8 + NAME_INTERMEDIATE:
        return (uint64_t *)&sregs->cr8;
    case NAME_EFER:
        return (uint64_t *)&sregs->efer;
    case NAME_APIC_BASE:
        return (uint64_t *)&sregs->apic_base;
    default:
        return NULL;
    }
}

/* What only this engine knows. */
static uint64_t *internal_find(struct engine_vp *vp, uint32_t name)
{
    switch (name) {
    case NAME_EXPLICIT_SUSPEND:
        return &vp->internal[0];
    case NAME_INTERCEPT_SUSPEND:
        return &vp->internal[1];
    case NAME_ACTIVITY:
        return &vp->internal[2];
    case NAME_DELIVERABILITY:
        return &vp->internal[3];
    case NAME_PENDING_EVENT0:
        return &vp->internal[4];
    case NAME_PENDING_EVENT1:
        return &vp->internal[6];
    default:
        break;
    }
    if (name >= 0xa0000 && name < 0xa0016)
        return &vp->synthetic[name - 0xa0000];
    if ((name >= 0x90000 && name <= 0x90004) || name == 0x90017)
        return &vp->synthetic[0x20 + (name & 0x1f)];
    return NULL;
}

/* The number that a register is, and the group to send when it changes. */
static uint64_t *number_find(struct engine_vp *vp, uint32_t name, uint64_t *group)
{
    struct kvm_sync_regs *sync = &vp->run->s.regs;
    uint64_t *number = engine_general(&sync->regs, name);
    *group = KVM_SYNC_X86_REGS;
    if (!number) {
        number = system_find(&sync->sregs, name);
        *group = KVM_SYNC_X86_SREGS;
    }
    if (!number) {
        number = internal_find(vp, name);
        *group = 0;
    }
    return number;
}

/* Segments and tables */

static struct kvm_segment *segment_find(struct kvm_sregs *sregs, uint32_t name)
{
    struct kvm_segment *const order[] = {&sregs->es, &sregs->cs, &sregs->ss,  &sregs->ds,
                                         &sregs->fs, &sregs->gs, &sregs->ldt, &sregs->tr};
    return name >= NAME_ES && name <= NAME_TR ? order[name - NAME_ES] : NULL;
}

static void segment_get(const struct kvm_segment *segment, union engine_value *value)
{
    value->segment.base = segment->base;
    value->segment.limit = segment->limit;
    value->segment.selector = segment->selector;
    value->segment.attributes =
        (uint16_t)(segment->type | segment->s << 4 | segment->dpl << 5 | segment->present << 7 |
                   segment->avl << 12 | segment->l << 13 | segment->db << 14 | segment->g << 15);
}

static void segment_set(struct kvm_segment *segment, const union engine_value *value)
{
    unsigned attributes = value->segment.attributes;
    *segment = (struct kvm_segment){
        .base = value->segment.base,
        .limit = value->segment.limit,
        .selector = value->segment.selector,
        .type = attributes & 15,
        .s = attributes >> 4 & 1,
        .dpl = attributes >> 5 & 3,
        .present = attributes >> 7 & 1,
        .avl = attributes >> 12 & 1,
        .l = attributes >> 13 & 1,
        .db = attributes >> 14 & 1,
        .g = attributes >> 15 & 1,
        .unusable = !(attributes >> 7 & 1),
    };
}

static struct kvm_dtable *table_find(struct kvm_sregs *sregs, uint32_t name)
{
    return name == NAME_IDTR ? &sregs->idt : name == NAME_GDTR ? &sregs->gdt : NULL;
}

/* Pending events */

enum { PENDING = 1, KIND_SHIFT = 1, KIND_INTERRUPT = 0, KIND_NMI = 2, KIND_EXCEPTION = 3 };
#define HAS_ERROR_CODE 0x10u

static uint64_t pending_get(const struct kvm_vcpu_events *events)
{
    if (events->exception.injected)
        return PENDING | KIND_EXCEPTION << KIND_SHIFT |
               (events->exception.has_error_code ? HAS_ERROR_CODE : 0) |
               (uint64_t)events->exception.nr << 16 | (uint64_t)events->exception.error_code << 32;
    if (events->interrupt.injected)
        return PENDING | (uint64_t)events->interrupt.nr << 16;
    if (events->nmi.injected)
        return PENDING | KIND_NMI << KIND_SHIFT | 2u << 16;
    return 0;
}

static void pending_set(struct kvm_vcpu_events *events, uint64_t value)
{
    unsigned kind = value >> KIND_SHIFT & 7;
    uint8_t vector = (uint8_t)(value >> 16);
    memset(&events->exception, 0, sizeof events->exception);
    events->interrupt.injected = events->nmi.injected = events->nmi.pending = 0;
    if (!(value & PENDING))
        return;
    if (kind == KIND_INTERRUPT) {
        events->interrupt.injected = 1;
        events->interrupt.nr = vector;
    } else if (kind == KIND_NMI) {
        events->nmi.injected = 1;
    } else {
        events->exception.injected = 1;
        events->exception.nr = vector;
        events->exception.has_error_code = !!(value & HAS_ERROR_CODE);
        events->exception.error_code = (uint32_t)(value >> 32);
    }
}

static bool event_set(struct engine_vp *vp, uint32_t name, const union engine_value *value)
{
    struct kvm_vcpu_events *events = &vp->run->s.regs.events;
    if (name == NAME_PENDING_INTERRUPTION) {
        pending_set(events, value->word[0]);
    } else if (name == NAME_INTERRUPT_STATE) {
        events->interrupt.shadow = value->word[0] & 1;
        events->nmi.masked = value->word[0] >> 1 & 1;
        events->flags |= KVM_VCPUEVENT_VALID_SHADOW;
    } else {
        return false;
    }
    vp->run->kvm_dirty_regs |= KVM_SYNC_X86_EVENTS;
    return true;
}

static bool event_get(const struct engine_vp *vp, uint32_t name, union engine_value *value)
{
    const struct kvm_vcpu_events *events = &vp->run->s.regs.events;
    if (name == NAME_PENDING_INTERRUPTION)
        value->word[0] = pending_get(events);
    else if (name == NAME_INTERRUPT_STATE)
        value->word[0] = (events->interrupt.shadow ? 1 : 0) | (uint64_t)events->nmi.masked << 1;
    else
        return false;
    return true;
}

/* Registers that KVM keeps */

static uint32_t msr_find(uint32_t name)
{
    if (name >= 0x80010 && name <= 0x80017)
        return 0x200 + 2 * (name - 0x80010);
    if (name >= 0x80040 && name <= 0x80047)
        return 0x201 + 2 * (name - 0x80040);
    for (size_t i = 0; i < sizeof msr_names / sizeof *msr_names; i++)
        if (msr_names[i].name == name)
            return msr_names[i].msr;
    return 0;
}

static bool msr_apply(const struct engine_vp *vp, unsigned long request, uint32_t msr,
                      uint64_t *value)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } call = {.head.nmsrs = 1, .entry = {.index = msr, .data = *value}};
    if (system_ioctl(vp->file, request, &call) != 1)
        return false;
    *value = call.entry.data;
    return true;
}

static void remember(struct engine_vp *vp, uint32_t msr, uint64_t value)
{
    unsigned i = 0;
    while (i < vp->remembered_count && vp->remembered[i].msr != msr)
        i++;
    if (i == sizeof vp->remembered / sizeof *vp->remembered)
        return;
    vp->remembered[i] = (struct engine_remembered){msr, value};
    if (i == vp->remembered_count)
        vp->remembered_count++;
}

static enum engine_result msr_set(struct engine_vp *vp, uint32_t msr, uint64_t value)
{
    if (!msr_apply(vp, KVM_SET_MSRS, msr, &value))
        return ENGINE_BAD_VALUE;
    remember(vp, msr, value);
    return ENGINE_OK;
}

static enum engine_result msr_get(struct engine_vp *vp, uint32_t msr, uint64_t *value)
{
    /* KVM lets this one be read where it does not exist. */
    return msr_apply(vp, KVM_GET_MSRS, msr, value) &&
                   (msr != MSR_XSS || msr_apply(vp, KVM_SET_MSRS, msr, value))
               ? ENGINE_OK
               : ENGINE_UNKNOWN;
}

static enum engine_result xcr0_set(struct engine_vp *vp, uint64_t value)
{
    struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs[0].value = value};
    if (system_ioctl(vp->file, KVM_SET_XCRS, &xcrs) < 0)
        return ENGINE_BAD_VALUE;
    vp->xcr0 = value;
    return ENGINE_OK;
}

void engine_vp_revive(struct engine_vp *vp)
{
    for (unsigned i = 0; i < vp->remembered_count; i++)
        (void)msr_apply(vp, KVM_SET_MSRS, vp->remembered[i].msr, &vp->remembered[i].value);
    (void)xcr0_set(vp, vp->xcr0);
}

static uint64_t *debug_find(struct kvm_debugregs *debug, uint32_t name)
{
    if (name >= NAME_DR0 && name < NAME_DR0 + 4)
        return (uint64_t *)&debug->db[name - NAME_DR0];
    return name == NAME_DR6   ? (uint64_t *)&debug->dr6
           : name == NAME_DR7 ? (uint64_t *)&debug->dr7
                              : NULL;
}

static enum engine_result debug_access(const struct engine_vp *vp, uint32_t name, uint64_t *value,
                                       bool is_write)
{
    struct kvm_debugregs debug;
    if (system_ioctl(vp->file, KVM_GET_DEBUGREGS, &debug) < 0)
        return ENGINE_FAILED;
    uint64_t *number = debug_find(&debug, name);
    if (!is_write) {
        *value = *number;
        return ENGINE_OK;
    }
    *number = *value;
    return system_ioctl(vp->file, KVM_SET_DEBUGREGS, &debug) < 0 ? ENGINE_BAD_VALUE : ENGINE_OK;
}

/* Floating point: KVM_GET_FPU and KVM_SET_FPU leave MXCSR out. */

#define XSAVE_MXCSR_WORD 6
#define XSAVE_PRESENT_WORD 128

static bool fpu_get(const struct engine_vp *vp, struct kvm_fpu *fpu)
{
    struct kvm_xsave area;
    if (system_ioctl(vp->file, KVM_GET_FPU, fpu) < 0 ||
        system_ioctl(vp->file, KVM_GET_XSAVE, &area) < 0)
        return false;
    fpu->mxcsr = area.region[XSAVE_MXCSR_WORD];
    return true;
}

static bool fpu_set(const struct engine_vp *vp, struct kvm_fpu *fpu)
{
    struct kvm_xsave area;
    if (system_ioctl(vp->file, KVM_SET_FPU, fpu) < 0 ||
        system_ioctl(vp->file, KVM_GET_XSAVE, &area) < 0)
        return false;
    area.region[XSAVE_MXCSR_WORD] = fpu->mxcsr & 0xffff;
    area.region[XSAVE_PRESENT_WORD] |= 3;
    return system_ioctl(vp->file, KVM_SET_XSAVE, &area) == 0;
}

static void fpu_read(const struct kvm_fpu *fpu, uint32_t name, union engine_value *value)
{
    if (name < NAME_ST0) {
        memcpy(value->bytes, fpu->xmm[name - NAME_XMM0], 16);
    } else if (name < NAME_FP_CONTROL) {
        memcpy(value->bytes, fpu->fpr[name - NAME_ST0], 16);
    } else if (name == NAME_FP_CONTROL) {
        value->fp_control.control = fpu->fcw;
        value->fp_control.status = fpu->fsw;
        value->fp_control.tags = fpu->ftwx;
        value->fp_control.opcode = fpu->last_opcode;
        value->fp_control.instruction = fpu->last_ip;
    } else {
        value->xmm_control.data = fpu->last_dp;
        value->xmm_control.mxcsr = fpu->mxcsr;
        value->xmm_control.mxcsr_mask = 0xffff;
    }
}

static void fpu_write(struct kvm_fpu *fpu, uint32_t name, const union engine_value *value)
{
    if (name < NAME_ST0) {
        memcpy(fpu->xmm[name - NAME_XMM0], value->bytes, 16);
    } else if (name < NAME_FP_CONTROL) {
        memcpy(fpu->fpr[name - NAME_ST0], value->bytes, 16);
    } else if (name == NAME_FP_CONTROL) {
        fpu->fcw = value->fp_control.control;
        fpu->fsw = value->fp_control.status;
        fpu->ftwx = value->fp_control.tags;
        fpu->last_opcode = value->fp_control.opcode;
        fpu->last_ip = value->fp_control.instruction;
    } else {
        fpu->last_dp = value->xmm_control.data;
        fpu->mxcsr = value->xmm_control.mxcsr;
    }
}

/* The names that KVM keeps, read or written. */
static enum engine_result kept_access(struct engine_vp *vp, uint32_t name,
                                      union engine_value *value, bool is_write)
{
    struct kvm_fpu fpu;
    uint32_t msr = msr_find(name);
    if (name == NAME_XCR0) {
        if (is_write)
            return xcr0_set(vp, value->word[0]);
        value->word[0] = vp->xcr0;
        return ENGINE_OK;
    }
    if (name >= NAME_DR0 && name <= NAME_DR7)
        return debug_access(vp, name, &value->word[0], is_write);
    if (msr)
        return is_write ? msr_set(vp, msr, value->word[0]) : msr_get(vp, msr, &value->word[0]);
    if (name < NAME_XMM0 || name > NAME_XMM_CONTROL)
        return ENGINE_UNKNOWN;
    if (!fpu_get(vp, &fpu))
        return ENGINE_FAILED;
    if (!is_write) {
        fpu_read(&fpu, name, value);
        return ENGINE_OK;
    }
    fpu_write(&fpu, name, value);
    return fpu_set(vp, &fpu) ? ENGINE_OK : ENGINE_BAD_VALUE;
}

/* Registers */

enum engine_result engine_get(struct engine_vp *vp, uint32_t name, union engine_value *value)
{
    struct kvm_sregs *sregs = &vp->run->s.regs.sregs;
    uint64_t group;
    const uint64_t *number = number_find(vp, name, &group);
    const struct kvm_segment *segment = segment_find(sregs, name);
    const struct kvm_dtable *table = table_find(sregs, name);
    *value = (union engine_value){0};
    if (number) {
        value->word[0] = *number;
    } else if (segment) {
        segment_get(segment, value);
    } else if (table) {
        value->table.base = table->base;
        value->table.limit = table->limit;
    } else if (!event_get(vp, name, value)) {
        return kept_access(vp, name, value, false);
    }
    return ENGINE_OK;
}

enum engine_result engine_set(struct engine_vp *vp, uint32_t name, const union engine_value *value)
{
    struct kvm_sregs *sregs = &vp->run->s.regs.sregs;
    uint64_t group;
    uint64_t *number = number_find(vp, name, &group);
    struct kvm_segment *segment = segment_find(sregs, name);
    struct kvm_dtable *table = table_find(sregs, name);
    if (name == NAME_DELIVERABILITY && value->word[0] & 1)
        return ENGINE_UNKNOWN; /* notifications of interrupt windows */
    if (number) {
        *number = value->word[0];
        vp->run->kvm_dirty_regs |= group;
        return ENGINE_OK;
    }
    if (!segment && !table) {
        union engine_value copy = *value;
        return event_set(vp, name, value) ? ENGINE_OK : kept_access(vp, name, &copy, true);
    }
    if (segment) {
        segment_set(segment, value);
    } else {
        table->base = value->table.base;
        table->limit = value->table.limit;
    }
    vp->run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
    return ENGINE_OK;
}
