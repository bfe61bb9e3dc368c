/* Signal actions, masks, and what a signal comes to. */
#include "signal/signal.h"
#include "entry/access.h"
#include "host/host.h"
#include "entry/state.h"
#include "entry/syscall.h"

#define ACTION_DEFAULT 0u
#define ACTION_IGNORE 1u
#define BIT(signal) (1ull << ((signal)-1))
#define UNBLOCKABLE (BIT(SIGKILL) | BIT(SIGSTOP))
#define IGNORED_BY_DEFAULT                                                                         \
    (BIT(SIGCHLD) | BIT(SIGCONT) | BIT(SIGURG) | BIT(SIGWINCH) | BIT(SIGTSTP) | BIT(SIGTTIN) |     \
     BIT(SIGTTOU) | BIT(SIGSTOP))

struct hl__signals hl__signals;

void hl__signals_init(void)
{
    hl__signals.stack.flags = SS_DISABLE;
    hl__vector_state_init();
}

void hl__signal_raise(int signal, int code)
{
    hl__signals.waiting |= BIT(signal);
    hl__signals.codes[signal] = (int8_t)code;
}

bool hl__signal_waiting(void)
{
    return hl__signals.waiting & ~hl__signals.mask;
}

static bool signal_ignored(int signal)
{
    uint64_t handler = hl__signals.actions[signal].handler;

    return handler == ACTION_IGNORE ||
           (handler == ACTION_DEFAULT && BIT(signal) & IGNORED_BY_DEFAULT);
}

/* The mask and the action while the handler runs. */
static void signal_enter_handler(int signal)
{
    struct linux_sigaction *action = &hl__signals.actions[signal];

    hl__signals.mask |= action->mask & ~UNBLOCKABLE;
    if (!(action->flags & SA_NODEFER))
        hl__signals.mask |= BIT(signal);
    if (action->flags & SA_RESETHAND)
        action->handler = ACTION_DEFAULT;
}

static void signal_deliver(struct hl_abi_registers *registers, const struct linux_siginfo *info,
                           struct hl_abi_fault *fault)
{
    const struct linux_sigaction *action = &hl__signals.actions[info->signal];

    if (action->handler == ACTION_DEFAULT)
        hl__host_exit(0, (uint64_t)info->signal, fault);
    if (!hl__frame_push(registers, action, info, fault))
        hl__host_exit(0, SIGSEGV, fault);
    signal_enter_handler(info->signal);
}

void hl__signal_deliver_waiting(struct hl_abi_registers *registers)
{
    while (hl__signal_waiting()) {
        int signal = __builtin_ctzll(hl__signals.waiting & ~hl__signals.mask) + 1;
        struct linux_siginfo info = {
            .signal = signal, .code = hl__signals.codes[signal], .sender = {HL__PROCESS_ID, 0}};

        hl__signals.waiting &= ~BIT(signal);
        if (!signal_ignored(signal))
            signal_deliver(registers, &info, NULL);
    }
}

void hl__signal_fault(struct hl_abi_fault *fault, const struct linux_siginfo *info)
{
    if (signal_ignored(info->signal) || hl__signals.mask & BIT(info->signal))
        hl__host_exit(0, (uint64_t)info->signal, fault);
    signal_deliver(&fault->registers, info, fault);
}

static int64_t signal_send(uint64_t signal, int code)
{
    if (signal > SIGNAL_COUNT)
        return -EINVAL;
    if (signal)
        hl__signal_raise((int)signal, code);
    return 0;
}

HL__SYSCALL(kill)
{
    int32_t process = (int32_t)arg[0];

    if (process > 0 && process != HL__PROCESS_ID)
        return -ESRCH;
    if (process < -1 && process != -HL__PROCESS_ID)
        return -ESRCH;
    return signal_send(arg[1], SI_USER);
}

HL__SYSCALL(tkill)
{
    return (int32_t)arg[0] == HL__PROCESS_ID ? signal_send(arg[1], SI_TKILL) : -ESRCH;
}

HL__SYSCALL(tgkill)
{
    if ((int32_t)arg[0] != HL__PROCESS_ID || (int32_t)arg[1] != HL__PROCESS_ID)
        return -ESRCH;
    return signal_send(arg[2], SI_TKILL);
}

HL__SYSCALL(rt_sigaction)
{
    uint64_t signal = arg[0];
    struct linux_sigaction old, new;

    if (arg[3] != sizeof new.mask || signal < 1 || signal > SIGNAL_COUNT)
        return -EINVAL;
    old = hl__signals.actions[signal];
    if (arg[1]) {
        if (signal == SIGKILL || signal == SIGSTOP)
            return -EINVAL;
        if (hl__user_read(&new, arg[1], sizeof new) < 0)
            return -EFAULT;
    }
    if (arg[2] && hl__user_write(arg[2], &old, sizeof old) < 0)
        return -EFAULT;
    if (arg[1]) {
        hl__signals.actions[signal] = new;
        if (signal_ignored((int)signal))
            hl__signals.waiting &= ~BIT(signal);
    }
    return 0;
}

static int64_t mask_change(uint64_t how, uint64_t set)
{
    struct hl__signals *signals = &hl__signals;

    if (how == SIG_BLOCK)
        signals->mask |= set & ~UNBLOCKABLE;
    else if (how == SIG_UNBLOCK)
        signals->mask &= ~set;
    else if (how == SIG_SETMASK)
        signals->mask = set & ~UNBLOCKABLE;
    else
        return -EINVAL;
    return 0;
}

HL__SYSCALL(rt_sigprocmask)
{
    uint64_t old = hl__signals.mask, set;
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
    uint64_t pending = hl__signals.waiting & hl__signals.mask;

    return arg[1] > sizeof pending ? -EINVAL : hl__user_write(arg[0], &pending, arg[1]);
}

static bool on_signal_stack(void)
{
    const struct linux_stack *stack = &hl__signals.stack;
    uint64_t rsp = hl__hot.syscall.rsp;

    return !(stack->flags & (SS_DISABLE | SS_AUTODISARM)) && rsp > stack->start &&
           rsp - stack->start <= stack->size;
}

HL__SYSCALL(sigaltstack)
{
    struct linux_stack old = hl__signals.stack, new;
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
        hl__signals.stack = new;
    }
    return arg[1] ? hl__user_write(arg[1], &old, sizeof old) : 0;
}
