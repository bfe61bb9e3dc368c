/*
 * Who runs. Threads that may run stand in a queue; each gets the processor until it waits, ends, or a
 * tick comes while others are ready. Ticks are asked for only while there is something to interrupt the
 * running thread for: other threads, or a timer.
 */
#include "base/machine.h"
#include "entry/state.h"
#include "entry/syscall.h"
#include "file/file.h"
#include "host/host.h"
#include "io/timerfd.h"
#include "memory/address_space.h"
#include "thread/thread.h"
#include "time/clock.h"

#define SLICE_NS 10000000u

struct hl__thread *hl__thread;

static struct hl__queue ready; /* without the current thread */
static bool yielding;          /* the current thread goes behind the others */
static bool ticked;            /* a tick came since the last choice */

void hl__thread_ready(struct hl__thread *thread)
{
    thread->state = HL__THREAD_READY;
    if (thread != hl__thread)
        hl__queue_add(&ready, thread);
    hl__hot.attention = true;
}

void hl__schedule_forget(struct hl__thread *thread)
{
    if (thread->state == HL__THREAD_WAITING)
        hl__wait_leave(thread);
    else if (thread != hl__thread)
        hl__queue_remove(&ready, thread);
}

void hl__schedule_yield(void)
{
    yielding = true;
    hl__hot.attention = true;
}

void hl__schedule_tick(void)
{
    HL__MAILBOX->tick = 0;
    hl__hot.tick_ns =
        hl__hot.tick_period_ns ? hl__clock_monotonic_ns() + hl__hot.tick_period_ns : UINT64_MAX;
    ticked = true;
    hl__schedule_yield();
}

bool hl__schedule_needed(void)
{
    const struct hl__thread *thread = hl__thread;
    uint64_t waiting = thread->signals.waiting.set | thread->process->signals.waiting.set;

    return hl__hot.attention || ((volatile struct hl_abi_mailbox *)HL__MAILBOX)->tick ||
           waiting & ~thread->signals.mask;
}

uint64_t hl__thread_cpu_ns(const struct hl__thread *thread)
{
    uint64_t now = hl__clock_monotonic_ns();

    if (thread != hl__thread || now < thread->started_ns)
        return thread->cpu_ns;
    return thread->cpu_ns + (now - thread->started_ns);
}

void hl__threads_move_clock(int64_t by_ns)
{
    hl__timers_move(by_ns);
    hl__timerfds_move(by_ns);
    hl__thread->started_ns += (uint64_t)by_ns;
    for (struct hl__process *process = hl__processes; process; process = process->all_next)
        for (struct hl__thread *thread = process->threads; thread; thread = thread->all_next)
            if (thread->wait.started && thread->wait.deadline_ns != UINT64_MAX)
                thread->wait.deadline_ns += (uint64_t)by_ns;
}

static void thread_leave(struct hl__thread *thread)
{
    thread->cpu_ns = hl__thread_cpu_ns(thread);
    thread->registers = hl__hot.syscall;
    thread->fs_base = hl__rdfsbase();
    thread->gs_base = hl__rdgsbase();
    hl__vector_state_save(thread->vector_state);
}

static void thread_enter(struct hl__thread *thread)
{
    hl__hot.syscall = thread->registers;
    hl__wrfsbase(thread->fs_base);
    hl__wrgsbase(thread->gs_base);
    hl__vector_state_load(thread->vector_state);
    hl__address_space_enter(thread->process->space);
    thread->started_ns = hl__clock_monotonic_ns();
    hl__thread = thread;
}

static void switch_to(struct hl__thread *next)
{
    struct hl__thread *last = hl__thread;

    if (next == last)
        return;
    if (last->state == HL__THREAD_ENDED)
        hl__thread_free(last);
    else
        thread_leave(last);
    thread_enter(next);
}

/* Nobody can run: sleeps until a timer or input changes that. */
static void idle(void)
{
    uint64_t start = hl__clock_monotonic_ns(), next = hl__timer_next(), end;
    uint64_t events = hl__stream_input_wanted() ? HL_ABI_EVENT_INPUT : 0;
    uint64_t duration = next == UINT64_MAX ? UINT64_MAX : next > start ? next - start : 0;

    if (duration || events)
        events = (uint64_t)hl__host_wait(duration, events);
    if (events & HL_ABI_EVENT_INPUT)
        hl__stream_input_ready();
    end = hl__clock_monotonic_ns();
    hl__thread->started_ns += end - start; /* CPU time does not pass */
    hl__timers_run(end);
}

/* While threads run, those that wait for input must be told of it, too. */
static void look_for_input(void)
{
    if (hl__stream_input_wanted() && hl__host_wait(0, HL_ABI_EVENT_INPUT) & HL_ABI_EVENT_INPUT)
        hl__stream_input_ready();
}

static struct hl__thread *choose(void)
{
    struct hl__thread *current = hl__thread;
    bool can_go_on = current->state == HL__THREAD_READY;

    if (can_go_on && (!yielding || !ready.first))
        return current;
    if (yielding)
        look_for_input();
    if (can_go_on)
        hl__queue_add(&ready, current);
    while (!ready.first && current->state != HL__THREAD_READY)
        idle();
    if (!can_go_on && current->state == HL__THREAD_READY)
        return current; /* its wait is over, and it never left the processor */
    current = ready.first;
    hl__queue_remove(&ready, current);
    return current;
}

/* Tries the chosen thread's waiting call again. False: it goes on waiting. */
static bool go_on(void)
{
    struct hl__thread *thread = hl__thread;

    if (!thread->in_syscall)
        return true;
    if (hl__syscall_try(&hl__hot.syscall))
        return true;
    if (thread->wait.unbreakable || !hl__signal_pending(thread))
        return false;
    hl__wait_leave(thread);
    thread->state = HL__THREAD_READY;
    hl__signal_deliver(&hl__hot.syscall, true);
    hl__syscall_forget(thread);
    return true;
}

/* Asks for a tick when the running thread must be interrupted at some time, and for none when not. */
static void ask_for_ticks(void)
{
    uint64_t wanted = hl__timer_next(), now;
    bool turns = ready.first || hl__stream_input_wanted();

    if (!turns && wanted == UINT64_MAX)
        return;
    now = hl__clock_monotonic_ns();
    if (turns)
        wanted = wanted < now + SLICE_NS ? wanted : now + SLICE_NS;
    if (hl__hot.tick_ns <= wanted + SLICE_NS / 8)
        return;
    hl__hot.tick_ns = wanted;
    /* One that comes while the shim is being left is not noticed: another must follow. */
    hl__hot.tick_period_ns = SLICE_NS;
    hl__host_timer(wanted > now ? wanted - now : 0, hl__hot.tick_period_ns);
}

/* After a tick: no more of them if nobody waits for his turn, until the next timer. Not earlier, as
 * threads that wait for each other in turn would ask for ticks and stop them at each switch. */
static void stop_ticks(void)
{
    uint64_t next = hl__timer_next(), now;

    if (!hl__hot.tick_period_ns || ready.first || hl__stream_input_wanted())
        return;
    now = hl__clock_monotonic_ns();
    if (next <= now + SLICE_NS)
        return;
    hl__hot.tick_ns = next;
    hl__hot.tick_period_ns = next == UINT64_MAX ? 0 : SLICE_NS;
    hl__host_timer(next == UINT64_MAX ? UINT64_MAX : next - now, hl__hot.tick_period_ns);
}

void hl__schedule(void)
{
    if (HL__MAILBOX->tick)
        hl__schedule_tick();
    do {
        hl__hot.attention = false;
        if (hl__timer_next() != UINT64_MAX)
            hl__timers_run(hl__clock_monotonic_ns());
        switch_to(choose());
        yielding = false;
        if (go_on() && hl__signal_pending(hl__thread))
            hl__signal_deliver(&hl__hot.syscall, false);
        hl__frame_refuse_address();
    } while (hl__thread->state != HL__THREAD_READY);
    hl__hot.attention = false;
    if (ticked)
        stop_ticks();
    ticked = false;
    ask_for_ticks();
}
