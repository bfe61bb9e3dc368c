/*
 * Timers that raise signals: alarm, setitimer, timer_create. Those that count CPU time look, when the
 * time is up that would be the earliest, how much was used, and wait for the rest.
 */
#include "time/interval.h"
#include "base/linux.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "memory/heap.h"
#include "thread/thread.h"
#include "time/clock.h"

#define NS_PER_SECOND 1000000000ull
#define INTERVALS_MAX 1024u
#define OVERRUNS_MAX 0x7fffffff

enum { ITIMER_REAL = 0, ITIMER_VIRTUAL = 1, ITIMER_PROF = 2 };
enum { SIGEV_SIGNAL = 0, SIGEV_NONE = 1, SIGEV_THREAD = 2, SIGEV_THREAD_ID = 4 };

struct interval_spec {
    struct linux_timespec period, value;
};

struct interval_value {
    struct linux_timeval period, value;
};

struct signal_event {
    uint64_t value;
    int32_t signal, notify;
    int32_t thread_id;
    uint8_t reserved[44];
};
HL_ABI_ASSERT(sizeof(struct signal_event) == 64);

static uint32_t interval_count;

static uint64_t clock_now(const struct hl__interval *interval)
{
    uint64_t now = 0;

    if (interval->clock == CLOCK_PROCESS_CPUTIME_ID)
        return hl__process_cpu_ns(interval->process);
    hl__clock_read(interval->clock, &now);
    return now;
}

static void interval_signal(struct hl__interval *interval)
{
    struct linux_siginfo info = {.signal = interval->signal, .code = interval->code};
    struct hl__thread *thread =
        interval->thread_id ? hl__thread_find_any(interval->thread_id) : NULL;

    if (interval->code == SI_TIMER) {
        info.timer.id = interval->id;
        info.timer.overrun = (int32_t)interval->overruns;
        info.timer.value = interval->value;
    }
    if (!interval->signal)
        return;
    if (thread)
        hl__signal_thread(thread, &info);
    else if (!interval->thread_id)
        hl__signal_process(interval->process, &info);
}

static void interval_expired(struct hl__timer *timer);

/* Waits for the time that is left on the interval's clock. Without memory for that it never comes: a
 * program whose memory is used up so far ends soon. */
static void interval_wait(struct hl__interval *interval, uint64_t now)
{
    uint64_t left = interval->due > now ? interval->due - now : 0;

    hl__timer_set(&interval->timer, hl__clock_monotonic_ns() + left, interval_expired);
}

static void interval_expired(struct hl__timer *timer)
{
    struct hl__interval *interval = (struct hl__interval *)timer; /* its first member */
    uint64_t now = clock_now(interval), missed;

    if (now < interval->due) {
        interval_wait(interval, now);
        return;
    }
    missed = interval->period_ns ? (now - interval->due) / interval->period_ns : 0;
    interval->overruns = missed < OVERRUNS_MAX ? missed : OVERRUNS_MAX;
    interval->due = interval->period_ns ? interval->due + (missed + 1) * interval->period_ns : 0;
    interval_signal(interval);
    if (interval->due)
        interval_wait(interval, now);
}

/* What is left, and the period; then sets both. `value_ns` 0: disarms. */
static void interval_get(const struct hl__interval *interval, uint64_t *left, uint64_t *period)
{
    uint64_t now = clock_now(interval);

    *period = interval->period_ns;
    *left = !interval->due ? 0 : interval->due > now ? interval->due - now : 1;
}

static void interval_set(struct hl__interval *interval, uint64_t value_ns, uint64_t period_ns,
                         bool absolute)
{
    uint64_t now = clock_now(interval);

    hl__timer_cancel(&interval->timer);
    interval->overruns = 0;
    interval->due = 0;
    interval->period_ns = period_ns;
    if (!value_ns)
        return;
    interval->due = absolute ? value_ns : value_ns < UINT64_MAX - now ? now + value_ns : UINT64_MAX;
    interval_wait(interval, now);
}

static bool timeval_ns(const struct linux_timeval *time, uint64_t *ns)
{
    struct linux_timespec exact = {time->seconds, time->microseconds * 1000};

    return time->microseconds >= 0 && time->microseconds < 1000000 && hl__timespec_ns(&exact, ns);
}

static struct linux_timeval timeval_of(uint64_t ns)
{
    return hl__timeval(ns + 999); /* never 0 for a timer that is armed */
}

static int64_t classic_write(const struct hl__interval *interval, uint64_t address)
{
    struct interval_value value;
    uint64_t left, period;

    interval_get(interval, &left, &period);
    value.value = timeval_of(left);
    value.period = timeval_of(period);
    return hl__user_write(address, &value, sizeof value);
}

static struct hl__interval *classic(uint64_t which)
{
    return &hl__process()->classic_intervals[which];
}

HL__SYSCALL(getitimer)
{
    return arg[0] < HL__INTERVALS_CLASSIC ? classic_write(classic(arg[0]), arg[1]) : -EINVAL;
}

HL__SYSCALL(setitimer)
{
    struct interval_value value = {0};
    uint64_t value_ns, period_ns;

    if (arg[0] >= HL__INTERVALS_CLASSIC)
        return -EINVAL;
    if (arg[1] && hl__user_read(&value, arg[1], sizeof value) < 0)
        return -EFAULT;
    if (!timeval_ns(&value.value, &value_ns) || !timeval_ns(&value.period, &period_ns))
        return -EINVAL;
    if (arg[2] && classic_write(classic(arg[0]), arg[2]) < 0)
        return -EFAULT;
    interval_set(classic(arg[0]), value_ns, period_ns, false);
    return 0;
}

HL__SYSCALL(alarm)
{
    struct hl__interval *interval = classic(ITIMER_REAL);
    uint64_t left, period;

    interval_get(interval, &left, &period);
    interval_set(interval, (arg[0] & UINT32_MAX) * NS_PER_SECOND, 0, false);
    /* Rounded, but never to 0 while it is armed. */
    return left && left < NS_PER_SECOND ? 1 : (int64_t)((left + NS_PER_SECOND / 2) / NS_PER_SECOND);
}

static struct hl__interval *interval_find(uint64_t id)
{
    struct hl__interval *interval = hl__process()->intervals;

    while (interval && interval->id != (int32_t)id)
        interval = interval->next;
    return interval;
}

static int32_t interval_new_id(void)
{
    int32_t id = 0;

    while (interval_find((uint64_t)id))
        id++;
    return id;
}

static int64_t event_read(uint64_t address, struct signal_event *event)
{
    *event = (struct signal_event){.signal = SIGALRM, .notify = SIGEV_SIGNAL};
    if (address && hl__user_read(event, address, sizeof *event) < 0)
        return -EFAULT;
    if (event->notify != SIGEV_NONE && (event->signal < 1 || event->signal > SIGNAL_COUNT))
        return -EINVAL;
    switch (event->notify) {
    case SIGEV_NONE:
    case SIGEV_SIGNAL:
    case SIGEV_THREAD:
        event->thread_id = 0;
        return 0;
    case SIGEV_THREAD_ID:
        return hl__thread_find(event->thread_id) ? 0 : -EINVAL;
    default:
        return -EINVAL;
    }
}

HL__SYSCALL(timer_create)
{
    struct hl__process *process = hl__process();
    struct hl__interval *interval;
    struct signal_event event;
    int64_t failure = event_read(arg[1], &event);
    uint64_t now;
    int32_t id;

    if (failure)
        return failure;
    if (!hl__clock_read(arg[0], &now))
        return -EINVAL;
    if (interval_count == INTERVALS_MAX || !(interval = hl__heap_new(sizeof *interval)))
        return -EAGAIN;
    id = interval_new_id();
    if (hl__user_write(arg[2], &id, sizeof id) < 0) {
        hl__heap_free(interval, sizeof *interval);
        return -EFAULT;
    }
    *interval = (struct hl__interval){.process = process,
                                      .next = process->intervals,
                                      .id = id,
                                      .thread_id = event.thread_id,
                                      .signal = event.notify == SIGEV_NONE ? 0 : event.signal,
                                      .code = SI_TIMER,
                                      .value = arg[1] ? event.value : (uint64_t)id,
                                      .clock = arg[0]};
    process->intervals = interval;
    interval_count++;
    return 0;
}

static int64_t spec_write(const struct hl__interval *interval, uint64_t address)
{
    struct interval_spec spec;
    uint64_t left, period;

    interval_get(interval, &left, &period);
    spec.value = hl__timespec(left);
    spec.period = hl__timespec(period);
    return hl__user_write(address, &spec, sizeof spec);
}

HL__SYSCALL(timer_settime)
{
    struct hl__interval *interval = interval_find(arg[0]);
    struct interval_spec spec;
    uint64_t value_ns, period_ns;

    if (!interval || !arg[2])
        return -EINVAL;
    if (hl__user_read(&spec, arg[2], sizeof spec) < 0)
        return -EFAULT;
    if (!hl__timespec_ns(&spec.value, &value_ns) || !hl__timespec_ns(&spec.period, &period_ns))
        return -EINVAL;
    if (arg[3] && spec_write(interval, arg[3]) < 0)
        return -EFAULT;
    interval_set(interval, value_ns, period_ns, arg[1] & TIMER_ABSTIME);
    return 0;
}

HL__SYSCALL(timer_gettime)
{
    const struct hl__interval *interval = interval_find(arg[0]);

    return interval ? spec_write(interval, arg[1]) : -EINVAL;
}

HL__SYSCALL(timer_getoverrun)
{
    const struct hl__interval *interval = interval_find(arg[0]);

    return interval ? (int64_t)interval->overruns : -EINVAL;
}

static void interval_delete(struct hl__interval **at)
{
    struct hl__interval *interval = *at;

    *at = interval->next;
    hl__timer_cancel(&interval->timer);
    hl__heap_free(interval, sizeof *interval);
    interval_count--;
}

HL__SYSCALL(timer_delete)
{
    struct hl__interval **at = &hl__process()->intervals;

    while (*at && (*at)->id != (int32_t)arg[0])
        at = &(*at)->next;
    if (!*at)
        return -EINVAL;
    interval_delete(at);
    return 0;
}

void hl__intervals_init(struct hl__process *process)
{
    static const struct hl__interval classic_intervals[HL__INTERVALS_CLASSIC] = {
        [ITIMER_REAL] = {.signal = SIGALRM, .code = SI_KERNEL, .clock = CLOCK_MONOTONIC},
        [ITIMER_VIRTUAL] = {.signal = SIGVTALRM,
                            .code = SI_KERNEL,
                            .clock = CLOCK_PROCESS_CPUTIME_ID},
        [ITIMER_PROF] = {.signal = SIGPROF, .code = SI_KERNEL, .clock = CLOCK_PROCESS_CPUTIME_ID},
    };

    for (int i = 0; i < HL__INTERVALS_CLASSIC; i++) {
        process->classic_intervals[i] = classic_intervals[i];
        process->classic_intervals[i].process = process;
    }
}

void hl__intervals_delete(struct hl__process *process)
{
    while (process->intervals)
        interval_delete(&process->intervals);
}

void hl__intervals_end(struct hl__process *process)
{
    hl__intervals_delete(process);
    for (int i = 0; i < HL__INTERVALS_CLASSIC; i++)
        hl__timer_cancel(&process->classic_intervals[i].timer);
}
