/*
 * Signal frames, as Linux lays them out on x86-64: the program's registers and vector state on its
 * own stack, where a handler may read and change them, and the way back.
 */
#include "base/machine.h"
#include "entry/access.h"
#include "entry/state.h"
#include "entry/syscall.h"
#include "host/host.h"
#include "memory/memory.h"
#include "memory/stubs.h"
#include "signal/signal.h"
#include "thread/thread.h"

#include <string.h>

#define RED_ZONE 128u
#define XSAVE_HEADER_SIZE 64u
#define VECTOR_ALIGNMENT 64u
#define USER_CS 0x33
#define USER_SS 0x2b
#define CONTEXT_FLAGS 7u /* UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS */

#define FLAG_ALWAYS 0x202ull
#define FLAG_TRAP 0x100ull
#define FLAG_DIRECTION 0x400ull
#define FLAG_RESUME 0x10000ull
/* CF PF AF ZF SF DF OF AC. Not TF: it would trap inside the shim on the way out. */
#define FLAGS_RESTORED 0x40cd5ull

static uint32_t state_size = FX_SIZE; /* of the vector state, in the order of XSAVE */

void hl__vector_state_init(void)
{
    enum { OSXSAVE = 1 << 27, XSAVE_LEAF = 0xd };

    if (!(hl__cpuid(1, 0).ecx & OSXSAVE))
        return;
    hl__hot.xcr0 = hl__xgetbv();
    state_size = hl__cpuid(XSAVE_LEAF, 0).ebx;
}

/* Bytes on the stack, the second magic number included. */
uint64_t hl__vector_state_size(void)
{
    return hl__hot.xcr0 ? state_size + sizeof(uint32_t) : state_size;
}

void hl__vector_state_save(uint8_t *area)
{
    if (hl__hot.xcr0) {
        memset(area + FX_SIZE, 0, XSAVE_HEADER_SIZE);
        hl__xsave(area, hl__hot.xcr0);
    } else {
        hl__fxsave(area);
    }
}

void hl__vector_state_load(const uint8_t *area)
{
    if (hl__hot.xcr0)
        hl__xrstor(area, hl__hot.xcr0);
    else
        hl__fxrstor(area);
}

/* The state on the program's stack, as signal handlers expect it. */
static void vector_state_push(uint8_t *area)
{
    struct linux_fx_software software = {.magic1 = FP_XSTATE_MAGIC1,
                                         .extended_size = state_size + 4,
                                         .features = hl__hot.xcr0,
                                         .state_size = state_size};
    uint32_t magic2 = FP_XSTATE_MAGIC2;

    hl__vector_state_save(area);
    if (!hl__hot.xcr0)
        return;
    memcpy(area + FX_SOFTWARE_OFFSET, &software, sizeof software);
    memcpy(area + state_size, &magic2, sizeof magic2);
}

static int64_t vector_state_restore(uint64_t area)
{
    struct linux_fx_software software;

    if (!area)
        return hl__hot.xcr0 ? hl__access_xrstor(hl__clean_vector_state, hl__hot.xcr0)
                            : hl__access_fxrstor(hl__clean_vector_state);
    if (!hl__user_range(area, state_size) || area % VECTOR_ALIGNMENT)
        return -EFAULT;
    if (hl__access_copy(&software, (const void *)(area + FX_SOFTWARE_OFFSET), sizeof software) < 0)
        return -EFAULT;
    if (!hl__hot.xcr0 || software.magic1 != FP_XSTATE_MAGIC1)
        return hl__access_fxrstor((const void *)area);
    return hl__access_xrstor((const void *)area, hl__hot.xcr0);
}

static bool stack_holds(const struct linux_stack *stack, uint64_t rsp)
{
    return rsp > stack->start && rsp - stack->start <= stack->size;
}

/* Where the frame starts to grow down from; 0 if the signal stack has run over. */
static uint64_t frame_top(const struct hl_abi_registers *registers,
                          const struct linux_sigaction *action)
{
    const struct linux_stack *stack = &hl__thread->signals.stack;
    bool usable = !(stack->flags & SS_DISABLE);

    if ((action->flags & SA_ONSTACK) && usable && !stack_holds(stack, registers->rsp))
        return stack->start + stack->size;
    return registers->rsp - RED_ZONE;
}

/* The mask that holds again when the handler returns. */
static uint64_t mask_before(void)
{
    const struct hl__thread_signals *signals = &hl__thread->signals;

    return signals->mask_is_saved ? signals->saved_mask : signals->mask;
}

static struct linux_sigcontext context_of(const struct hl_abi_registers *r,
                                          const struct hl_abi_fault *fault)
{
    return (struct linux_sigcontext){.r8 = r->r8,
                                     .r9 = r->r9,
                                     .r10 = r->r10,
                                     .r11 = r->r11,
                                     .r12 = r->r12,
                                     .r13 = r->r13,
                                     .r14 = r->r14,
                                     .r15 = r->r15,
                                     .rdi = r->rdi,
                                     .rsi = r->rsi,
                                     .rbp = r->rbp,
                                     .rbx = r->rbx,
                                     .rdx = r->rdx,
                                     .rax = r->rax,
                                     .rcx = r->rcx,
                                     .rsp = r->rsp,
                                     .rip = hl__file_address(r->rip),
                                     .rflags = r->rflags,
                                     .cs = USER_CS,
                                     .ss = USER_SS,
                                     .error_code = fault ? fault->error_code : 0,
                                     .trap_number = fault ? fault->vector : 0,
                                     .old_mask = mask_before(),
                                     .cr2 = fault ? fault->address : 0};
}

static void frame_fill(struct linux_sigframe *frame, uint64_t state,
                       const struct hl_abi_registers *registers,
                       const struct linux_sigaction *action, const struct linux_siginfo *info,
                       const struct hl_abi_fault *fault)
{
    frame->restorer = action->restorer;
    frame->context.flags = hl__hot.xcr0 ? CONTEXT_FLAGS : CONTEXT_FLAGS & ~1u;
    frame->context.link = 0;
    frame->context.stack = hl__thread->signals.stack;
    frame->context.machine = context_of(registers, fault);
    frame->context.machine.vector_state = state;
    frame->context.mask = mask_before();
    frame->info = *info;
}

static bool is_canonical(uint64_t address)
{
    return (int64_t)(address << 16) >> 16 == (int64_t)address;
}

/* The one way in which a running program gets an address to go on at that no instruction of its own jumped
 * to. The processor would refuse some while still in the shim: the scheduler looks at those. */
static void continue_at(struct hl_abi_registers *registers, uint64_t address)
{
    registers->rip = address;
    if (!is_canonical(address))
        hl__hot.attention = true;
}

void hl__frame_refuse_address(void)
{
    enum { VECTOR_PROTECTION = 13 };
    static const struct linux_siginfo info = {.signal = SIGSEGV, .code = SI_KERNEL};

    while (!is_canonical(hl__hot.syscall.rip)) {
        struct hl_abi_fault fault = {.vector = VECTOR_PROTECTION, .registers = hl__hot.syscall};

        hl__signal_fault(&fault, &info);
    }
}

bool hl__frame_push(struct hl_abi_registers *registers, const struct linux_sigaction *action,
                    const struct linux_siginfo *info, const struct hl_abi_fault *fault)
{
    uint64_t top = frame_top(registers, action);
    uint64_t state = (top - hl__vector_state_size()) & ~(uint64_t)(VECTOR_ALIGNMENT - 1);
    uint64_t address = ((state - sizeof(struct linux_sigframe)) & ~15ull) - 8;
    struct linux_sigframe *frame = (struct linux_sigframe *)address;

    if (top < HL_ABI_USER_START || top > HL_ABI_USER_END || !(action->flags & SA_RESTORER))
        return false;
    if (stack_holds(&hl__thread->signals.stack, top) &&
        !stack_holds(&hl__thread->signals.stack, address))
        return false;
    if (!hl__memory_present(address, top - address, HL__ACCESS_WRITE))
        return false;
    vector_state_push((uint8_t *)state);
    frame_fill(frame, state, registers, action, info, fault);
    if (hl__thread->signals.stack.flags & SS_AUTODISARM)
        hl__thread->signals.stack = (struct linux_stack){.flags = SS_DISABLE};
    registers->rdi = (uint64_t)info->signal;
    registers->rsi = (uint64_t)&frame->info;
    registers->rdx = (uint64_t)&frame->context;
    registers->rax = 0;
    registers->rsp = address;
    continue_at(registers, action->handler);
    registers->rflags &= ~(FLAG_TRAP | FLAG_DIRECTION | FLAG_RESUME);
    return true;
}

static void registers_restore(struct hl_abi_registers *to, const struct linux_sigcontext *from)
{
    *to = (struct hl_abi_registers){.rax = from->rax,
                                    .rbx = from->rbx,
                                    .rcx = from->rcx,
                                    .rdx = from->rdx,
                                    .rsi = from->rsi,
                                    .rdi = from->rdi,
                                    .rbp = from->rbp,
                                    .rsp = from->rsp,
                                    .r8 = from->r8,
                                    .r9 = from->r9,
                                    .r10 = from->r10,
                                    .r11 = from->r11,
                                    .r12 = from->r12,
                                    .r13 = from->r13,
                                    .r14 = from->r14,
                                    .r15 = from->r15,
                                    .rflags = (from->rflags & FLAGS_RESTORED) | FLAG_ALWAYS};
    continue_at(to, hl__code_address(from->rip));
}

HL__SYSCALL(rt_sigreturn)
{
    struct hl_abi_registers *registers = &hl__hot.syscall;
    struct linux_ucontext context;

    (void)arg;
    /* The handler's return took the restorer's address off the stack. */
    if (hl__user_read(&context, registers->rsp, sizeof context) < 0) {
        hl__signal_force(SIGSEGV, NULL);
        return (int64_t)registers->rax;
    }
    hl__thread->signals.mask = context.mask & ~HL__SIGNALS_UNBLOCKABLE;
    registers_restore(registers, &context.machine);
    if (vector_state_restore(context.machine.vector_state) < 0) {
        hl__signal_force(SIGSEGV, NULL);
        return (int64_t)registers->rax;
    }
    hl__thread->signals.stack = context.stack;
    hl__thread->signals.stack.flags &= ~SS_ONSTACK;
    return (int64_t)registers->rax;
}
