/* Owns the kick signal of the process: its handler, and what the handler acts on. */
#define _GNU_SOURCE
#include "os/kick.h"
#include "util/error.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEFAULT_SIGNAL (SIGRTMIN + 8)

/* Read by the handler. Initial-exec, because the first touch of any other kind in a dlopen'ed
 * library allocates memory. */
static _Thread_local _Atomic(struct hl__kick_target *) current
    __attribute__((tls_model("initial-exec")));

static struct {
    unsigned users;
    int signal;
    struct sigaction before;
} installed;

HL__WARM_PATH void hl__kick_enter(struct hl__kick_target *target)
{
    target->outer = atomic_load_explicit(&current, memory_order_relaxed);
    atomic_store_explicit(&current, target, memory_order_release);
}

HL__WARM_PATH void hl__kick_leave(struct hl__kick_target *target)
{
    atomic_store_explicit(&current, target->outer, memory_order_release);
}

static void kick_handle(int signal, siginfo_t *info, void *machine)
{
    (void)signal, (void)info, (void)machine;
    int saved = errno;
    struct hl__kick_target *target = atomic_load_explicit(&current, memory_order_acquire);
    /* All that are under way: an outer run must not lose its kick to an inner one, and a kick too
     * many does no harm. */
    for (; target; target = target->outer)
        target->kick(target->vcpu);
    errno = saved;
}

bool hl__kick_send(int thread, int signal)
{
    int saved = errno;
    bool sent = syscall(SYS_tgkill, getpid(), thread, signal) == 0 || errno != EAGAIN;
    errno = saved;
    return sent;
}

hl_status hl__kick_signal(int wanted, int *signal, hl_error *err)
{
    int number = wanted ? wanted : DEFAULT_SIGNAL;
    if (number < SIGRTMIN || number > SIGRTMAX)
        return hl__error_set(err, HL_INVALID_ARGUMENT, NULL,
                             "hl_context_options.kick_signal is %d: it must be a real-time "
                             "signal, %d to %d",
                             number, SIGRTMIN, SIGRTMAX);
    *signal = number;
    return HL_OK;
}

static bool kick_is_free(const struct sigaction *action)
{
    return !(action->sa_flags & SA_SIGINFO) && action->sa_handler == SIG_DFL;
}

static int kick_handle_signal(int signal)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = kick_handle;
    action.sa_flags = SA_ONSTACK | SA_RESTART | SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    return sigaction(signal, &action, NULL);
}

static hl_status kick_install(int signal, hl_error *err)
{
    if (sigaction(signal, NULL, &installed.before) != 0)
        return hl__error_os(err, HL_SYSTEM, errno, "sigaction", "signal %d", signal);
    if (!kick_is_free(&installed.before))
        return hl__error_set(err, HL_SIGNAL_IN_USE, "sigaction",
                             "signal %d (SIGRTMIN+%d) has a handler already: set "
                             "hl_context_options.kick_signal to another real-time signal",
                             signal, signal - SIGRTMIN);
    if (kick_handle_signal(signal) != 0)
        return hl__error_os(err, HL_SYSTEM, errno, "sigaction", "signal %d", signal);
    installed.signal = signal;
    return HL_OK;
}

hl_status hl__kick_acquire(int signal, hl_error *err)
{
    if (installed.users > 0 && installed.signal != signal)
        return hl__error_set(err, HL_INVALID_ARGUMENT, NULL,
                             "hl_context_options.kick_signal is %d, but another context uses %d: "
                             "contexts that live at the same time share one signal",
                             signal, installed.signal);
    hl_status status = installed.users == 0 ? kick_install(signal, err) : HL_OK;
    if (status == HL_OK)
        installed.users++;
    return status;
}

/* Whether the handler is still ours: if the host application put its own in place meanwhile, that
 * stays. */
static bool kick_is_ours(int signal)
{
    struct sigaction now;
    return sigaction(signal, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
           now.sa_sigaction == kick_handle;
}

static void kick_uninstall(int signal, const struct sigaction *before)
{
    if (!kick_is_ours(signal))
        return;
    /* Ignoring a signal drops it where it is still pending: a late kick must not meet the default
     * action, which ends the process. */
    struct sigaction ignore;
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    sigaction(signal, &ignore, NULL);
    sigaction(signal, before, NULL);
}

void hl__kick_release(void)
{
    if (--installed.users == 0)
        kick_uninstall(installed.signal, &installed.before);
}

hl_status hl__kick_borrow(int *signal, hl_error *err)
{
    struct sigaction action;
    for (int number = SIGRTMAX; number >= SIGRTMIN; number--) {
        if (sigaction(number, NULL, &action) != 0 || !kick_is_free(&action))
            continue;
        if (kick_handle_signal(number) != 0)
            break;
        *signal = number;
        return HL_OK;
    }
    return hl__error_set(err, HL_SIGNAL_IN_USE, "sigaction", "every real-time signal is in use");
}

void hl__kick_return(int signal)
{
    struct sigaction before;
    memset(&before, 0, sizeof before);
    before.sa_handler = SIG_DFL;
    kick_uninstall(signal, &before);
}

/* By the system call itself: libc's functions for sets would cost as much again. */
static uint64_t kick_mask(int how, int signal)
{
    uint64_t set = UINT64_C(1) << (signal - 1), before = 0;
    syscall(SYS_rt_sigprocmask, how, &set, &before, sizeof set);
    return before & set;
}

HL__WARM_PATH bool hl__kick_unblock(int signal)
{
    return kick_mask(SIG_UNBLOCK, signal) != 0;
}

void hl__kick_block(int signal)
{
    kick_mask(SIG_BLOCK, signal);
}
