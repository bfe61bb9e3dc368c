/* Arming, running and cancelling what a sandbox runs. */
#include "context/control.h"
#include "context/context.h"
#include "context/control_state.h"
#include "context/watchdog.h"
#include "os/kick.h"
#include "os/os.h"
#include "os/thread.h"
#include "util/error.h"

#include <errno.h>
#include <stdlib.h>

hl_status hl__control_new(hl_context *context, hl__control **control, hl_error *err)
{
    hl__control *made = calloc(1, sizeof *made);
    if (!made)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "calloc", "no memory for a control");
    hl_status status = hl__context_get(context, &made->context, err);
    if (status != HL_OK) {
        free(made);
        return status;
    }
    atomic_init(&made->references, 1);
    atomic_init(&made->deadline_ns, UINT64_MAX);
    atomic_init(&made->tick_ns, UINT64_MAX);
    *control = made;
    return HL_OK;
}

void hl__control_ref(hl__control *control)
{
    atomic_fetch_add_explicit(&control->references, 1, memory_order_relaxed);
}

void hl__control_unref(hl__control *control)
{
    if (!control || atomic_fetch_sub(&control->references, 1) > 1)
        return;
    if (control->enrolled)
        hl__watchdog_remove(control->context->watchdog, control);
    hl__context_unref(control->context);
    free(control);
}

HL__WARM_PATH static void control_set_budget(hl__control *control, uint64_t cpu_budget_ns)
{
    atomic_store_explicit(&control->cpu_budget_ns, cpu_budget_ns, memory_order_relaxed);
    if (cpu_budget_ns == UINT64_MAX)
        return;
    int clock = hl__os_cpu_clock();
    atomic_store_explicit(&control->cpu_clock, clock, memory_order_relaxed);
    atomic_store_explicit(&control->cpu_start_ns, hl__os_cpu_clock_ns(clock), memory_order_relaxed);
}

/* The first time at which the run can be over: its CPU time passes no faster than the clock on the
 * wall. */
HL__WARM_PATH static uint64_t first_look(uint64_t deadline_ns, uint64_t cpu_budget_ns)
{
    if (cpu_budget_ns == UINT64_MAX)
        return deadline_ns;
    uint64_t now = hl__os_monotonic_ns();
    uint64_t spent = cpu_budget_ns < UINT64_MAX - now ? now + cpu_budget_ns : UINT64_MAX;
    return spent < deadline_ns ? spent : deadline_ns;
}

static hl_status control_enroll(hl__control *control, hl_error *err)
{
    if (control->enrolled)
        return HL_OK;
    hl_status status = hl__watchdog_enroll(control->context->watchdog, control, err);
    control->enrolled = status == HL_OK;
    return status;
}

HL__WARM_PATH hl_status hl__control_begin(hl__control *control, uint64_t deadline_ns,
                                          uint64_t cpu_budget_ns, hl_error *err)
{
    struct hl__watchdog *watchdog = control->context->watchdog;
    uint64_t look = first_look(deadline_ns, cpu_budget_ns);
    bool watched = look != UINT64_MAX || control->context->driver->kick_repeats;
    hl_status status = watched ? control_enroll(control, err) : HL_OK;
    if (status != HL_OK)
        return status;
    control->unblocked = hl__kick_unblock(control->context->kick_signal);
    control_set_budget(control, cpu_budget_ns);
    atomic_store_explicit(&control->deadline_ns, deadline_ns, memory_order_relaxed);
    atomic_store_explicit(&control->look_ns, look, memory_order_relaxed);
    atomic_store_explicit(&control->kick_owed, false, memory_order_relaxed);
    atomic_store_explicit(&control->tick_due, false, memory_order_relaxed);
    uint64_t run = hl__state_run(atomic_load(&control->state)) + 1;
    atomic_store(&control->state, run << HL__STATE_RUN_SHIFT | HL__STATE_ARMED);
    if (look != UINT64_MAX)
        hl__watchdog_expect(watchdog, look);
    return HL_OK;
}

HL__WARM_PATH hl_status hl__control_end(hl__control *control)
{
    atomic_store_explicit(&control->tick_ns, UINT64_MAX, memory_order_relaxed);
    uint64_t state = atomic_fetch_and(&control->state, ~HL__STATE_ARMED);
    if (control->unblocked)
        hl__kick_block(control->context->kick_signal);
    return hl__state_cause(state);
}

HL__WARM_PATH hl_status hl__control_cause(const hl__control *control)
{
    return hl__state_cause(atomic_load(&control->state));
}

HL__WARM_PATH hl_status hl__control_run(hl__control *control, const hl__driver *driver, void *vcpu,
                                        struct hl__exit *exit, hl_error *err)
{
    struct hl__kick_target target = {.kick = driver->kick, .vcpu = vcpu};
    hl_status status = HL_OK;
    hl__kick_enter(&target);
    /* Who cancels writes the cause and reads the runner then, and likewise with ticks: one of the two
     * sees the other. */
    atomic_store(&control->runner, hl__os_thread_id());
    if (!hl__control_is_disturbed(control))
        status = driver->run(vcpu, exit, err);
    else
        *exit = (struct hl__exit){.kind = HL__EXIT_INTERRUPTED};
    atomic_store(&control->runner, 0);
    hl__kick_leave(&target);
    return status;
}

bool hl__control_kick(hl__control *control)
{
    int runner = atomic_load(&control->runner), thread = runner < 0 ? -runner : runner;
    return thread == 0 || (hl__kick_send(thread, control->context->kick_signal) &&
                           !control->context->driver->kick_repeats);
}

bool hl__control_cancel_run(hl__control *control, uint64_t state, hl_status cause)
{
    uint_fast64_t expected = state;
    if (!hl__state_is_live(state) ||
        !atomic_compare_exchange_strong(&control->state, &expected, state | (uint64_t)cause))
        return false;
    atomic_fetch_add(&control->cancellations, 1);
    hl__os_word_wake(&control->cancellations);
    if (!hl__control_kick(control)) {
        atomic_store(&control->kick_owed, true);
        hl__watchdog_expect(control->context->watchdog, 0);
    }
    return true;
}

bool hl__control_cancel(hl__control *control, hl_status cause)
{
    /* A forked child has the parent's run in its memory, but nothing runs there. */
    if (control->context->fork_generation != hl__os_fork_generation())
        return false;
    return hl__control_cancel_run(control, atomic_load(&control->state), cause);
}

bool hl__control_wait(hl__control *control, uint64_t until_ns)
{
    for (;;) {
        unsigned seen = atomic_load(&control->cancellations);
        if (hl__control_cause(control) != HL_OK)
            return true;
        if (hl__os_monotonic_ns() >= until_ns)
            return false;
        hl__os_word_wait(&control->cancellations, seen, until_ns);
    }
}

int hl__control_poll(hl__control *control, int descriptor, bool to_write, uint64_t until_ns)
{
    int signal = control->context->kick_signal;
    int result = -EINTR;
    hl__kick_block(signal);
    atomic_store(&control->runner, -hl__os_thread_id());
    while (result == -EINTR && hl__control_cause(control) == HL_OK)
        result = hl__os_descriptor_wait(descriptor, to_write, signal, until_ns);
    atomic_store(&control->runner, 0);
    hl__kick_unblock(signal);
    if (hl__control_cause(control) != HL_OK)
        return -EINTR;
    return result == -EAGAIN ? -EAGAIN : 0;
}

static void tick_await(hl__control *control, uint64_t tick_ns)
{
    atomic_store(&control->tick_ns, tick_ns);
    if (tick_ns != UINT64_MAX)
        hl__watchdog_expect(control->context->watchdog, tick_ns);
}

bool hl__control_tick_start(hl__control *control, uint64_t first_ns, uint64_t period_ns)
{
    if (first_ns != UINT64_MAX && control_enroll(control, NULL) != HL_OK)
        return false;
    atomic_store(&control->tick_period_ns, period_ns);
    tick_await(control, first_ns);
    return true;
}

HL__WARM_PATH bool hl__control_tick_take(hl__control *control)
{
    if (!atomic_load_explicit(&control->tick_due, memory_order_relaxed))
        return false;
    atomic_store(&control->tick_due, false);
    uint64_t now = hl__os_monotonic_ns(), due = atomic_load(&control->tick_ns);
    if (now < due)
        return false;
    uint64_t period = atomic_load(&control->tick_period_ns);
    uint64_t next = due + period > now ? due + period : now + period;
    tick_await(control, period && next >= now ? next : UINT64_MAX);
    return true;
}

uint64_t hl__control_deadline_ns(const hl__control *control)
{
    return atomic_load(&control->deadline_ns);
}
