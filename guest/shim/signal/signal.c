/* Signal actions, masks, and what a signal comes to. */
#include "entry/access.h"
#include "entry/state.h"
#include "entry/syscall.h"
#include "memory/stubs.h"
#include "thread/thread.h"
#include "time/clock.h"

void hl__signal_raise(int signal, int code)
{
    struct linux_siginfo info = {.signal = signal, .code = code, .sender = {hl__process()->id, 0}};

    hl__signal_thread(hl__thread, &info);
}

/* The mask and the action while the handler runs. */
static void enter_handler(struct linux_sigaction *action, int signal)
{
    struct hl__thread_signals *signals = &hl__thread->signals;

    signals->mask |= action->mask & ~HL__SIGNALS_UNBLOCKABLE;
    if (!(action->flags & SA_NODEFER))
        signals->mask |= HL__SIGNAL_BIT(signal);
    if (action->flags & SA_RESETHAND)
        action->handler = SIG_DFL;
}

/* No room for a frame: a signal stack of SIGSEGV's handler may have some. */
static void frame_failed(int signal, struct hl_abi_fault *fault)
{
    if (signal == SIGSEGV)
        hl__process_exit(0, SIGSEGV, fault);
    hl__signal_force(SIGSEGV, fault);
}

static void deliver(struct hl_abi_registers *registers, const struct linux_siginfo *info,
                    struct hl_abi_fault *fault)
{
    struct linux_sigaction *action = &hl__process()->signals.actions[info->signal];

    if (action->handler == SIG_DFL)
        hl__process_exit(0, info->signal, fault);
    if (!hl__frame_push(registers, action, info, fault)) {
        frame_failed(info->signal, fault);
        return;
    }
    hl__thread->signals.mask_is_saved = false; /* the frame carries the old mask from here on */
    enter_handler(action, info->signal);
}

/* A call that a handler interrupts ends, or begins anew when the handler returns. */
static void end_interrupted(struct hl_abi_registers *registers,
                            const struct linux_sigaction *action)
{
    enum { SYSCALL_SIZE = 2 };

    const struct hl__wait *wait = &hl__thread->wait;

    if (wait->partial && wait->progress)
        registers->rax = wait->progress;
    else if (wait->restart == HL__RESTART_ALWAYS && action->flags & SA_RESTART)
        registers->rip = hl__file_address(registers->rip) - SYSCALL_SIZE;
    else
        registers->rax = (uint64_t)-EINTR;
}

void hl__signal_deliver(struct hl_abi_registers *registers, bool interrupted)
{
    struct hl__thread *thread = hl__thread;
    struct linux_siginfo info;

    while (hl__signal_pending(thread) && hl__signal_take(thread, ~thread->signals.mask, &info)) {
        if (interrupted)
            end_interrupted(registers, &thread->process->signals.actions[info.signal]);
        interrupted = false;
        deliver(registers, &info, NULL);
    }
}

void hl__signal_fault(struct hl_abi_fault *fault, const struct linux_siginfo *info)
{
    if (hl__signal_ignored(hl__process(), info->signal) ||
        hl__thread->signals.mask & HL__SIGNAL_BIT(info->signal))
        hl__process_exit(0, info->signal, fault);
    deliver(&hl__hot.syscall, info, fault);
}

void hl__signal_force(int signal, struct hl_abi_fault *fault)
{
    const struct linux_siginfo info = {.signal = signal, .code = SI_KERNEL};

    hl__signal_fault(fault, &info);
}

void hl__signals_reset(struct hl__process *process)
{
    struct linux_sigaction *actions = process->signals.actions;

    for (int signal = 1; signal <= SIGNAL_COUNT; signal++)
        if (actions[signal].handler != SIG_IGN)
            actions[signal] = (struct linux_sigaction){.handler = SIG_DFL};
}

void hl__signal_mask_for_call(uint64_t mask)
{
    struct hl__thread_signals *signals = &hl__thread->signals;

    if (!signals->mask_is_saved) {
        signals->saved_mask = signals->mask;
        signals->mask_is_saved = true;
    }
    signals->mask = mask & ~HL__SIGNALS_UNBLOCKABLE;
}

HL__SYSCALL(rt_sigaction)
{
    struct hl__process_signals *signals = &hl__process()->signals;
    struct linux_sigaction old, new;
    uint64_t signal = arg[0];

    if (arg[3] != sizeof new.mask || signal < 1 || signal > SIGNAL_COUNT)
        return -EINVAL;
    old = signals->actions[signal];
    if (arg[1]) {
        if (signal == SIGKILL || signal == SIGSTOP)
            return -EINVAL;
        if (hl__user_read(&new, arg[1], sizeof new) < 0)
            return -EFAULT;
    }
    if (arg[2] && hl__user_write(arg[2], &old, sizeof old) < 0)
        return -EFAULT;
    if (!arg[1])
        return 0;
    new.mask &= ~HL__SIGNALS_UNBLOCKABLE;
    signals->actions[signal] = new;
    if (hl__signal_ignored(hl__process(), (int)signal)) {
        hl__signal_forget(&signals->waiting, HL__SIGNAL_BIT(signal));
        for (struct hl__thread *thread = hl__process()->threads; thread; thread = thread->all_next)
            hl__signal_forget(&thread->signals.waiting, HL__SIGNAL_BIT(signal));
    }
    return 0;
}

static int64_t mask_change(uint64_t how, uint64_t set)
{
    struct hl__thread_signals *signals = &hl__thread->signals;

    if (how == SIG_BLOCK)
        signals->mask |= set & ~HL__SIGNALS_UNBLOCKABLE;
    else if (how == SIG_UNBLOCK)
        signals->mask &= ~set;
    else if (how == SIG_SETMASK)
        signals->mask = set & ~HL__SIGNALS_UNBLOCKABLE;
    else
        return -EINVAL;
    return 0;
}

HL__SYSCALL(rt_sigprocmask)
{
    uint64_t old = hl__thread->signals.mask, set;
    int64_t failure;

    if (arg[3] != sizeof set)
        return -EINVAL;
    if (arg[1]) {
        if (hl__user_read(&set, arg[1], sizeof set) < 0)
            return -EFAULT;
        failure = mask_change(arg[0], set);
        if (failure)
            return failure;
    }
    return arg[2] ? hl__user_write(arg[2], &old, sizeof old) : 0;
}

HL__SYSCALL(rt_sigpending)
{
    uint64_t pending = (hl__thread->signals.waiting.set | hl__process()->signals.waiting.set) &
                       hl__thread->signals.mask;

    return arg[1] > sizeof pending ? -EINVAL : hl__user_write(arg[0], &pending, arg[1]);
}

HL__SYSCALL(rt_sigsuspend)
{
    uint64_t mask;

    if (arg[1] != sizeof mask)
        return -EINVAL;
    if (hl__user_read(&mask, arg[0], sizeof mask) < 0)
        return -EFAULT;
    hl__signal_mask_for_call(mask);
    hl__thread->wait.restart = HL__RESTART_NEVER;
    return hl__wait_on(NULL, UINT64_MAX);
}

HL__SYSCALL(pause)
{
    (void)arg;
    hl__thread->wait.restart = HL__RESTART_NEVER;
    return hl__wait_on(NULL, UINT64_MAX);
}

HL__SYSCALL(rt_sigtimedwait)
{
    struct hl__thread *thread = hl__thread;
    struct linux_siginfo info;
    uint64_t set, timeout_ns = UINT64_MAX, deadline;
    int64_t failure = hl__timeout_read(arg[2], &timeout_ns);

    if (arg[3] != sizeof set)
        return -EINVAL;
    if (hl__user_read(&set, arg[0], sizeof set) < 0)
        return -EFAULT;
    if (failure)
        return failure;
    set &= ~HL__SIGNALS_UNBLOCKABLE;
    thread->signals.waited_for = 0;
    if (hl__signal_take(thread, set, &info)) {
        if (arg[1] && hl__user_write(arg[1], &info, sizeof info) < 0)
            return -EFAULT;
        return info.signal;
    }
    deadline = hl__wait_deadline(timeout_ns);
    if (hl__wait_expired(deadline))
        return -EAGAIN;
    thread->signals.waited_for = set;
    thread->wait.restart = HL__RESTART_NEVER;
    return hl__wait_on(NULL, deadline);
}

static bool on_signal_stack(void)
{
    const struct linux_stack *stack = &hl__thread->signals.stack;
    uint64_t rsp = hl__hot.syscall.rsp;

    return !(stack->flags & (SS_DISABLE | SS_AUTODISARM)) && rsp > stack->start &&
           rsp - stack->start <= stack->size;
}

HL__SYSCALL(sigaltstack)
{
    struct linux_stack old = hl__thread->signals.stack, new;
    bool on_it = on_signal_stack();
    uint32_t mode;

    old.flags |= on_it ? SS_ONSTACK : 0;
    if (arg[0]) {
        if (hl__user_read(&new, arg[0], sizeof new) < 0)
            return -EFAULT;
        mode = new.flags & ~SS_AUTODISARM;
        if (on_it)
            return -EPERM;
        if (mode != 0 && mode != SS_ONSTACK && mode != SS_DISABLE)
            return -EINVAL;
        if (mode != SS_DISABLE && new.size < MINSIGSTKSZ)
            return -ENOMEM;
        if (mode == SS_DISABLE)
            new.start = new.size = 0;
        new.flags &= ~SS_ONSTACK;
        new.padding = 0;
        hl__thread->signals.stack = new;
    }
    return arg[1] ? hl__user_write(arg[1], &old, sizeof old) : 0;
}
