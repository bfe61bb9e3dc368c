/*
 * Control of what a sandbox runs: deadline, CPU budget, interrupt, and the kick that stops a vCPU.
 * One control per sandbox; the public hl_interrupt_handle is a counted reference to it, so that an
 * interrupt cannot race the sandbox's end.
 *
 * A run is armed by hl__control_begin() and disarmed by hl__control_end(). In between, at most one
 * cause cancels it. Together they make one system call, which unblocks the kick signal; more only
 * if the caller had it blocked, the watchdog must wake earlier than it planned, or a CPU budget is
 * set.
 */
#ifndef HL_CONTEXT_CONTROL_H
#define HL_CONTEXT_CONTROL_H

#include "driver/driver.h"
#include <hyperlight/context.h>
#include <hyperlight/sandbox.h>

typedef struct hl_interrupt_handle hl__control;

hl_status hl__control_new(hl_context *context, hl__control **control, hl_error *err);
void hl__control_ref(hl__control *control);
void hl__control_unref(hl__control *control); /* NULL is fine */

/* Arms a run on the calling thread. deadline_ns: CLOCK_MONOTONIC, UINT64_MAX for none.
 * cpu_budget_ns: UINT64_MAX for none. Starts the watchdog if needed. */
hl_status hl__control_begin(hl__control *control, uint64_t deadline_ns, uint64_t cpu_budget_ns,
                            hl_error *err);

/* Disarms. Returns HL_OK or the cause that cancelled the run: HL_TIMED_OUT, HL_CPU_LIMIT,
 * HL_INTERRUPTED. */
hl_status hl__control_end(hl__control *control);

/* The cause so far, or HL_OK. Any thread; async-signal-safe. */
hl_status hl__control_cause(const hl__control *control);

/* Runs the vCPU once, kickable. If the run was cancelled before or while it ran, *exit is
 * HL__EXIT_INTERRUPTED and hl__control_cause() tells why; a stray signal gives HL__EXIT_INTERRUPTED
 * with cause HL_OK: the caller runs again. Cannot lose a kick. Works if the caller blocked the kick
 * signal. */
hl_status hl__control_run(hl__control *control, const hl__driver *driver, void *vcpu,
                          struct hl__exit *exit, hl_error *err);

/* Cancels the armed run. Async-signal-safe, any thread. Returns whether there was one to cancel. */
bool hl__control_cancel(hl__control *control, hl_status cause);

/* Waits until cancelled or until CLOCK_MONOTONIC reaches `until_ns`. Returns whether cancelled. */
bool hl__control_wait(hl__control *control, uint64_t until_ns);

/* Waits until `descriptor` can be read (written) or has failed: 0. -EAGAIN: CLOCK_MONOTONIC reached
 * `until_ns` (UINT64_MAX: never) before. -EINTR: the run was cancelled. */
int hl__control_poll(hl__control *control, int descriptor, bool to_write, uint64_t until_ns);

/* Asks for a tick at `first_ns` (CLOCK_MONOTONIC; UINT64_MAX: none), and one every `period_ns` behind it
 * (0: none), in place of those before; the end of the run ends them. A tick makes hl__control_run()
 * return HL__EXIT_INTERRUPTED. False if the watchdog cannot be started. */
bool hl__control_tick_start(hl__control *control, uint64_t first_ns, uint64_t period_ns);

/* Whether a tick is due; the next one is awaited then. Cheap while none is. */
bool hl__control_tick_take(hl__control *control);

/* The deadline of the armed run. */
uint64_t hl__control_deadline_ns(const hl__control *control);

#endif
