/* Signals that were raised and not delivered yet. */
#include "entry/state.h"
#include "io/signalfd.h"
#include "memory/heap.h"
#include "thread/thread.h"

#define FIRST_REAL_TIME 32
#define IGNORED_BY_DEFAULT                                                                         \
    (HL__SIGNAL_BIT(SIGCHLD) | HL__SIGNAL_BIT(SIGCONT) | HL__SIGNAL_BIT(SIGURG) |                  \
     HL__SIGNAL_BIT(SIGWINCH) | HL__SIGNAL_BIT(SIGTSTP) | HL__SIGNAL_BIT(SIGTTIN) |                \
     HL__SIGNAL_BIT(SIGTTOU) | HL__SIGNAL_BIT(SIGSTOP))

static uint32_t waiting_count;

bool hl__signal_ignored(const struct hl__process *process, int signal)
{
    uint64_t handler = process->signals.actions[signal].handler;

    return handler == SIG_IGN ||
           (handler == SIG_DFL && HL__SIGNAL_BIT(signal) & IGNORED_BY_DEFAULT);
}

static int64_t queue_add(struct hl__signal_queue *queue, const struct linux_siginfo *info)
{
    struct hl__signal_waiting **at = &queue->first, *waiting;

    /* Of a standard signal the first one counts. */
    if (info->signal < FIRST_REAL_TIME && queue->set & HL__SIGNAL_BIT(info->signal))
        return 0;
    if (waiting_count == HL__SIGNALS_WAITING_MAX || !(waiting = hl__heap_new(sizeof *waiting)))
        return -EAGAIN;
    waiting_count++;
    waiting->info = *info;
    while (*at)
        at = &(*at)->next;
    *at = waiting;
    queue->set |= HL__SIGNAL_BIT(info->signal);
    return 0;
}

static void queue_remove(struct hl__signal_queue *queue, struct hl__signal_waiting **at)
{
    struct hl__signal_waiting *waiting = *at;
    int signal = waiting->info.signal;

    *at = waiting->next;
    hl__heap_free(waiting, sizeof *waiting);
    waiting_count--;
    for (waiting = queue->first; waiting; waiting = waiting->next)
        if (waiting->info.signal == signal)
            return;
    queue->set &= ~HL__SIGNAL_BIT(signal);
}

/* The one to deliver first: faults and standard signals by number, then real-time ones. */
static bool queue_take(struct hl__signal_queue *queue, uint64_t set, struct linux_siginfo *info)
{
    struct hl__signal_waiting **at = &queue->first;
    int signal;

    set &= queue->set;
    if (!set)
        return false;
    signal = __builtin_ctzll(set) + 1;
    while ((*at)->info.signal != signal)
        at = &(*at)->next;
    *info = (*at)->info;
    queue_remove(queue, at);
    return true;
}

void hl__signal_forget(struct hl__signal_queue *queue, uint64_t set)
{
    for (struct hl__signal_waiting **at = &queue->first; queue->set & set && *at;) {
        if (HL__SIGNAL_BIT((*at)->info.signal) & set)
            queue_remove(queue, at);
        else
            at = &(*at)->next;
    }
}

void hl__signals_drop(struct hl__signal_queue *queue)
{
    hl__signal_forget(queue, ~0ull);
}

bool hl__signal_take(struct hl__thread *thread, uint64_t set, struct linux_siginfo *info)
{
    return queue_take(&thread->signals.waiting, set, info) ||
           queue_take(&thread->process->signals.waiting, set, info);
}

/* Whether a signal may be forgotten at once: nobody blocks it, and it would do nothing. A blocked one may
 * yet be waited for. */
static bool no_one_cares(const struct hl__process *process, const struct hl__thread *thread,
                         int signal)
{
    return hl__signal_ignored(process, signal) && !(thread->signals.mask & HL__SIGNAL_BIT(signal));
}

/* Tells a thread of a signal that it may take. */
static void notice(struct hl__thread *thread)
{
    hl__hot.attention = true;
    if (thread->state == HL__THREAD_WAITING)
        hl__wake_thread(thread);
}

static bool wants(const struct hl__thread *thread, int signal)
{
    return thread->state != HL__THREAD_ENDED &&
           (!(thread->signals.mask & HL__SIGNAL_BIT(signal)) ||
            thread->signals.waited_for & HL__SIGNAL_BIT(signal));
}

int64_t hl__signal_thread(struct hl__thread *thread, const struct linux_siginfo *info)
{
    int64_t failure;

    if (no_one_cares(thread->process, thread, info->signal))
        return 0;
    failure = queue_add(&thread->signals.waiting, info);
    if (failure)
        return failure;
    if (wants(thread, info->signal))
        notice(thread);
    hl__signalfd_notify(info->signal);
    return 0;
}

static struct hl__thread *taker(struct hl__process *process, int signal)
{
    struct hl__thread *thread = hl__thread;

    if (thread && thread->process == process && wants(thread, signal))
        return thread;
    for (thread = process->threads; thread; thread = thread->all_next)
        if (wants(thread, signal))
            return thread;
    return NULL;
}

int64_t hl__signal_process(struct hl__process *process, const struct linux_siginfo *info)
{
    struct hl__thread *thread = taker(process, info->signal);
    int64_t failure;

    if (thread && no_one_cares(process, thread, info->signal))
        return 0;
    failure = queue_add(&process->signals.waiting, info);
    if (failure)
        return failure;
    if (thread)
        notice(thread);
    hl__signalfd_notify(info->signal);
    return 0;
}

bool hl__signal_pending(struct hl__thread *thread)
{
    struct hl__process *process = thread->process;
    uint64_t set =
        (thread->signals.waiting.set | process->signals.waiting.set) & ~thread->signals.mask;

    for (uint64_t left = set; left; left &= left - 1) {
        int signal = __builtin_ctzll(left) + 1;

        if (!hl__signal_ignored(process, signal))
            continue;
        hl__signal_forget(&thread->signals.waiting, HL__SIGNAL_BIT(signal));
        hl__signal_forget(&process->signals.waiting, HL__SIGNAL_BIT(signal));
        set &= ~HL__SIGNAL_BIT(signal);
    }
    return set;
}
