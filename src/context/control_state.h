/*
 * Inside of a control, for control.c and the watchdog.
 *
 * `state` is one word: number of the run, whether it is armed, and what cancelled it. Whoever
 * cancels exchanges the word that it looked at, so that nothing can cancel a later run than the one
 * it meant.
 */
#ifndef HL_CONTEXT_CONTROL_STATE_H
#define HL_CONTEXT_CONTROL_STATE_H

#include "context/control.h"
#include <stdatomic.h>

struct hl_interrupt_handle {
    atomic_uint references;
    hl_context *context;
    atomic_uint_fast64_t state;

    /* Of the armed run; written before its state is published. */
    atomic_uint_fast64_t deadline_ns;
    atomic_uint_fast64_t look_ns; /* before that time nothing can be over */
    atomic_uint_fast64_t cpu_budget_ns;
    atomic_uint_fast64_t cpu_start_ns;
    atomic_int cpu_clock;

    /* thread that a kick would stop, or 0; negated: it waits for a descriptor */
    atomic_int runner;
    atomic_bool kick_owed; /* a kick may not have got there; the watchdog tries again */
    /* The armed thread's: when the next tick is due, UINT64_MAX if none is, and how long to the one
     * behind it, 0 if there is none. */
    atomic_uint_fast64_t tick_ns, tick_period_ns;
    atomic_bool tick_due;      /* the watchdog's word that it may be worth a look at the clock */
    atomic_uint cancellations; /* waiters of hl__control_wait sleep on it */

    /* The armed thread's. */
    bool unblocked; /* the kick signal was blocked before */
    bool enrolled;  /* in the watchdog's list */

    /* The watchdog's, under its lock. */
    struct hl__watch {
        hl__control *previous, *next;
        uint64_t run;     /* `look_ns` is about that run */
        uint64_t look_ns; /* later than the run's own, as its budget is not spent yet */
        uint64_t told_ns; /* the last tick that was told */
        bool tick_owed;   /* its kick may not have got there */
    } watch;
};

#define HL__STATE_CAUSE UINT64_C(0x7f)
#define HL__STATE_ARMED UINT64_C(0x80)
#define HL__STATE_RUN_SHIFT 8

static inline hl_status hl__state_cause(uint64_t state)
{
    return (hl_status)(state & HL__STATE_CAUSE);
}

static inline uint64_t hl__state_run(uint64_t state)
{
    return state >> HL__STATE_RUN_SHIFT;
}

/* Whether there is a run that can still be cancelled. */
static inline bool hl__state_is_live(uint64_t state)
{
    return (state & (HL__STATE_ARMED | HL__STATE_CAUSE)) == HL__STATE_ARMED;
}

/* Whether hl__control_cause() or hl__control_tick_take() has something to tell. */
static inline bool hl__control_is_disturbed(const hl__control *control)
{
    return hl__state_cause(atomic_load(&control->state)) != HL_OK ||
           atomic_load(&control->tick_due);
}

/* Cancels the run of that state, if it is still live. Async-signal-safe. */
bool hl__control_cancel_run(hl__control *control, uint64_t state, hl_status cause);

/* Kicks the thread that runs the control, if one does. False if that must be done again: the system
 * could not take the signal, or the driver may miss it. Async-signal-safe. */
bool hl__control_kick(hl__control *control);

#endif
