/*
 * The thread that keeps deadlines.
 *
 * A run that begins must not be overlooked, and must not cost a system call. The thread says in
 * `planned_ns` until when it means to sleep, and UINT64_MAX while it looks around: who arms a run
 * publishes it first and reads `planned_ns` then, the thread writes `planned_ns` first and reads
 * the runs then. So either the thread sees the run, or the run sees that it must ring.
 */
#include "context/watchdog.h"
#include "context/context.h"
#include "context/control_state.h"
#include "os/os.h"
#include "os/thread.h"
#include "util/error.h"

#include <pthread.h>
#include <stdlib.h>

/* Budgets are looked at no more often than this as they come to their end. */
#define BUDGET_GRAIN_NS 100000

/* How often a kick is tried again that may not have got there. */
#define KICK_RETRY_NS 200000

struct hl__watchdog {
    atomic_uint bell; /* the thread sleeps on it */
    atomic_bool stop;
    atomic_uint_fast64_t planned_ns;
    atomic_uint_fast64_t wakeups;
    uint64_t fork_generation;
    pthread_mutex_t lock; /* of the list, and of the thread's start */
    hl__control *first;
    bool started;
    hl__os_thread thread;
};

static void watchdog_ring(struct hl__watchdog *watchdog)
{
    atomic_fetch_add(&watchdog->bell, 1);
    hl__os_word_wake(&watchdog->bell);
}

/* When to look at a budget next, at most `deadline`; 0 if it is spent. */
static uint64_t budget_look(const hl__control *control, uint64_t now, uint64_t deadline)
{
    uint64_t budget = atomic_load(&control->cpu_budget_ns);
    if (budget == UINT64_MAX)
        return deadline;
    uint64_t used = hl__os_cpu_clock_ns(atomic_load(&control->cpu_clock));
    if (used == UINT64_MAX)
        return deadline;
    uint64_t start = atomic_load(&control->cpu_start_ns);
    used = used > start ? used - start : 0;
    if (used >= budget)
        return 0;
    uint64_t left = budget - used > BUDGET_GRAIN_NS ? budget - used : BUDGET_GRAIN_NS;
    return deadline - now > left ? now + left : deadline;
}

/*
 * When to look again at a control that has nothing to cancel. Its next run is likely as long as its
 * last: planning for that one's end saves a wake-up with each run that is over before the thread
 * has come to see it.
 */
static uint64_t watch_idle(hl__control *control, uint64_t look, uint64_t now)
{
    if (atomic_load(&control->kick_owed)) {
        if (!hl__control_kick(control))
            return now + KICK_RETRY_NS;
        atomic_store(&control->kick_owed, false);
    }
    return look > now ? look : UINT64_MAX;
}

/*
 * Tells a tick that is due, and stops the guest for it. Returns when to look again: for the tick behind
 * it, too, which saves a ring.
 */
static uint64_t watch_tick(hl__control *control, uint64_t now)
{
    struct hl__watch *watch = &control->watch;
    uint64_t due = atomic_load(&control->tick_ns);
    if (now < due)
        return due;
    if (watch->told_ns != due) {
        watch->told_ns = due;
        watch->tick_owed = true;
        atomic_store(&control->tick_due, true);
    }
    if (!atomic_load(&control->tick_due) || atomic_load(&control->runner) <= 0)
        watch->tick_owed = false; /* it is taken already, or before the guest is entered again */
    if (watch->tick_owed)
        watch->tick_owed = !hl__control_kick(control);
    if (watch->tick_owed)
        return now + KICK_RETRY_NS;
    uint64_t period = atomic_load(&control->tick_period_ns), next = due + period;
    next = next > now ? next : now + period;
    return period && next > now ? next : UINT64_MAX;
}

/* Cancels a run if it is over. Returns when to look again. */
static uint64_t watch_run(hl__control *control, uint64_t state, uint64_t now)
{
    struct hl__watch *watch = &control->watch;
    uint64_t look = atomic_load(&control->look_ns);
    if (watch->run == hl__state_run(state))
        look = watch->look_ns;
    if (now < look)
        return look;

    uint64_t deadline = atomic_load(&control->deadline_ns);
    hl_status cause = HL_TIMED_OUT;
    if (now < deadline) {
        cause = HL_CPU_LIMIT;
        look = budget_look(control, now, deadline);
        if (look != 0) {
            watch->run = hl__state_run(state);
            watch->look_ns = look;
            return look;
        }
    }
    hl__control_cancel_run(control, state, cause);
    return UINT64_MAX;
}

/* Does for a control what is to be done now. Returns when to look again. */
static uint64_t watch_control(hl__control *control, uint64_t now)
{
    uint64_t state = atomic_load(&control->state);
    if (!hl__state_is_live(state))
        return watch_idle(control, atomic_load(&control->look_ns), now);
    uint64_t run = watch_run(control, state, now), tick = watch_tick(control, now);
    return run < tick ? run : tick;
}

static uint64_t watch_all(struct hl__watchdog *watchdog)
{
    uint64_t earliest = UINT64_MAX;
    pthread_mutex_lock(&watchdog->lock);
    uint64_t now = hl__os_monotonic_ns();
    for (hl__control *control = watchdog->first; control; control = control->watch.next) {
        uint64_t look = watch_control(control, now);
        if (look < earliest)
            earliest = look;
    }
    pthread_mutex_unlock(&watchdog->lock);
    return earliest;
}

static void *watchdog_main(void *user)
{
    struct hl__watchdog *watchdog = user;
    hl__os_thread_keeps_time("hl-watchdog");
    while (!atomic_load(&watchdog->stop)) {
        unsigned bell = atomic_load(&watchdog->bell);
        atomic_store(&watchdog->planned_ns, UINT64_MAX);
        uint64_t earliest = watch_all(watchdog);
        atomic_store(&watchdog->planned_ns, earliest);
        if (!atomic_load(&watchdog->stop))
            hl__os_word_wait(&watchdog->bell, bell, earliest);
        atomic_fetch_add_explicit(&watchdog->wakeups, 1, memory_order_relaxed);
    }
    return NULL;
}

hl_status hl__watchdog_new(struct hl__watchdog **watchdog, hl_error *err)
{
    struct hl__watchdog *made = calloc(1, sizeof *made);
    if (!made)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "calloc", "no memory for the watchdog");
    made->fork_generation = hl__os_fork_generation();
    atomic_init(&made->planned_ns, UINT64_MAX);
    pthread_mutex_init(&made->lock, NULL);
    *watchdog = made;
    return HL_OK;
}

/* In a forked child there is no thread, and the lock is as it was in the parent at that moment. */
static bool watchdog_is_inherited(const struct hl__watchdog *watchdog)
{
    return watchdog->fork_generation != hl__os_fork_generation();
}

void hl__watchdog_free(struct hl__watchdog *watchdog)
{
    if (!watchdog)
        return;
    if (!watchdog_is_inherited(watchdog)) {
        if (watchdog->started) {
            atomic_store(&watchdog->stop, true);
            watchdog_ring(watchdog);
            hl__os_thread_join(watchdog->thread);
        }
        pthread_mutex_destroy(&watchdog->lock);
    }
    free(watchdog);
}

hl_status hl__watchdog_enroll(struct hl__watchdog *watchdog, hl__control *control, hl_error *err)
{
    hl_status status = HL_OK;
    pthread_mutex_lock(&watchdog->lock);
    if (!watchdog->started)
        status = hl__os_thread_start(&watchdog->thread, watchdog_main, watchdog, err);
    if (status == HL_OK) {
        watchdog->started = true;
        control->watch.next = watchdog->first;
        if (watchdog->first)
            watchdog->first->watch.previous = control;
        watchdog->first = control;
    }
    pthread_mutex_unlock(&watchdog->lock);
    return status;
}

void hl__watchdog_remove(struct hl__watchdog *watchdog, hl__control *control)
{
    if (watchdog_is_inherited(watchdog))
        return;
    pthread_mutex_lock(&watchdog->lock);
    struct hl__watch *watch = &control->watch;
    if (watch->previous)
        watch->previous->watch.next = watch->next;
    else
        watchdog->first = watch->next;
    if (watch->next)
        watch->next->watch.previous = watch->previous;
    pthread_mutex_unlock(&watchdog->lock);
}

HL__WARM_PATH void hl__watchdog_expect(struct hl__watchdog *watchdog, uint64_t look_ns)
{
    if (look_ns < atomic_load(&watchdog->planned_ns))
        watchdog_ring(watchdog);
}

uint64_t hl__watchdog_wakeups(const struct hl__watchdog *watchdog)
{
    return atomic_load_explicit(&watchdog->wakeups, memory_order_relaxed);
}
