/* The run loop: enters the guest, serves what it asks, and turns the end into a status. */
#include "context/control_state.h"
#include "sandbox/sandbox.h"
#include "util/error.h"
#include <signal.h>

/* Tells a deadline in words, with the option that moves it. */
static hl_status cancelled(const hl_sandbox *sandbox, hl_status cause, hl_error *err)
{
    const char *source = "hl_sandbox_call";
    bool starting = sandbox->guest.phase < HL__PHASE_RESTING;
    if (cause == HL_TIMED_OUT)
        return hl__error_set(
            err, cause, source, "the guest ran for %.3f s, its wall-clock limit; raise %s",
            (double)(hl__os_monotonic_ns() - sandbox->run.started_ns) / 1e9,
            starting ? "start_timeout_ns (timeout_ns with hl_sandbox_run)" : "timeout_ns");
    if (cause == HL_CPU_LIMIT)
        return hl__error_set(err, cause, source,
                             "the guest used up its CPU time of %.3f s; raise cpu_time_ns",
                             (double)sandbox->options.cpu_time_ns / 1e9);
    return hl__error_set(err, cause, source, "hl_sandbox_interrupt stopped the guest");
}

/* Hands an exception to the shim, which makes a signal of it, or backs the page that was touched.
 */
static void reflect(hl_sandbox *sandbox, const struct hl_abi_fault *fault)
{
    sandbox->stats.faults++;
    sandbox->last_fault = *fault;
    hl__space_mailbox(sandbox->space, 0)->fault = *fault;
    hl__vcpu_redirect(sandbox->vm, sandbox->vm->shim->fault);
    sandbox->entry = HL__ENTRY_STATE;
}

/* Interrupts the program for a tick, where `stopped` it can be; or else tells the shim, which runs next.
 */
static hl_status tick(hl_sandbox *sandbox, bool stopped, hl_error *err)
{
    struct hl_abi_fault fault = {.vector = HL_ABI_VECTOR_TICK};
    bool possible = false;
    hl_status status =
        stopped ? hl__vcpu_interrupted(sandbox->vm, &fault.registers, &possible, err) : HL_OK;
    if (status)
        return status;
    sandbox->stats.ticks++;
    struct hl_abi_mailbox *mailbox = hl__space_mailbox(sandbox->space, 0);
    if (!possible) {
        mailbox->tick = 1;
        return HL_OK;
    }
    mailbox->fault = fault;
    hl__vcpu_redirect(sandbox->vm, sandbox->vm->shim->fault);
    sandbox->entry = HL__ENTRY_STATE;
    return HL_OK;
}

HL__WARM_PATH static enum hl__step take_event(hl_sandbox *sandbox, const struct hl__event *event,
                                              hl_status *status, hl_error *err)
{
    sandbox->entry = HL__ENTRY_CONTINUE;
    switch (event->kind) {
    case HL__EVENT_INTERRUPTED:
        sandbox->stats.kicks++;
        return HL__STEP_CONTINUE;
    case HL__EVENT_CALL:
        sandbox->stats.hypercalls++;
        return hl__hypercall(sandbox, event->op, status, err);
    case HL__EVENT_FAULT:
        if (sandbox->guest.phase == HL__PHASE_HELLO)
            return hl__guest_violation(status, err, "an exception before the first hypercall");
        reflect(sandbox, &event->fault);
        return HL__STEP_CONTINUE;
    default:
        return hl__guest_violation(status, err, event->reason);
    }
}

/* Another member of the VM may have run meanwhile: a resting guest then goes on through its wake-up
 * code. */
HL__WARM_PATH static hl_status take_vcpu(hl_sandbox *sandbox, hl_error *err)
{
    hl__space *current = sandbox->vm->vcpu.current;
    if (sandbox->entry != HL__ENTRY_CONTINUE || current == sandbox->space)
        return HL_OK;
    if (sandbox->guest.phase != HL__PHASE_CALL)
        return hl__error_set(err, HL_BUSY, "hl_sandbox_call",
                             "the VM's vCPU is taken by another of its sandboxes");
    sandbox->entry = HL__ENTRY_WAKE;
    return HL_OK;
}

/* The run was cancelled, or a tick is due. */
static hl_status disturbed(hl_sandbox *sandbox, bool stopped, hl_error *err)
{
    hl_status cause = hl__control_cause(sandbox->control);
    if (cause)
        return cancelled(sandbox, cause, err);
    return hl__control_tick_take(sandbox->control) ? tick(sandbox, stopped, err) : HL_OK;
}

HL__WARM_PATH static hl_status loop(hl_sandbox *sandbox, hl_error *err)
{
    enum hl__step step = HL__STEP_CONTINUE;
    struct hl__event event; /* not cleared: it is large */
    event.kind = HL__EVENT_CALL;
    hl_status status = take_vcpu(sandbox, err);
    while (!status && step == HL__STEP_CONTINUE) {
        if (hl__control_is_disturbed(sandbox->control) &&
            (status = disturbed(sandbox, event.kind == HL__EVENT_INTERRUPTED, err)))
            return status;
        sandbox->stats.entries++;
        status = hl__vcpu_enter(sandbox->vm, sandbox->space, sandbox->entry, sandbox->control,
                                &event, err);
        if (!status)
            step = take_event(sandbox, &event, &status, err);
    }
    return status;
}

static uint64_t deadline_after(uint64_t now, uint64_t timeout_ns)
{
    return timeout_ns == HL_UNLIMITED || now + timeout_ns < now ? UINT64_MAX : now + timeout_ns;
}

HL__WARM_PATH hl_status hl__sandbox_serve(hl_sandbox *sandbox, uint64_t timeout_ns, hl_error *err)
{
    uint64_t now = hl__sandbox_now_ns(sandbox), transfer_used = sandbox->run.transfer_used;
    sandbox->run = (struct hl__run){.started_ns = now,
                                    .deadline_ns = deadline_after(now, timeout_ns),
                                    .transfer_used = transfer_used};
    sandbox->last_fault.vector = HL_ABI_NO_VECTOR;
    hl_status status = hl__control_begin(sandbox->control, sandbox->run.deadline_ns,
                                         sandbox->options.cpu_time_ns, err);
    if (status)
        return status;
    status = loop(sandbox, err);
    if (status) {
        hl_status ignored = HL_OK; /* the run has failed already */
        hl__output_take(sandbox, &ignored, NULL);
    }
    /* Who cancelled was told that the run is over; a reply that came at the same moment does not
     * change that. */
    hl_status cause = hl__control_end(sandbox->control);
    if (!status && cause)
        status = cancelled(sandbox, cause, err);
    sandbox->stats.run_time_ns += hl__sandbox_now_ns(sandbox) - now;
    return status;
}

hl_status hl__sandbox_start(hl_sandbox *sandbox, uint64_t timeout_ns, hl_error *err)
{
    sandbox->guest.phase = HL__PHASE_HELLO;
    sandbox->entry = HL__ENTRY_START;
    sandbox->run.transfer_used = 0;
    return hl__sandbox_serve(sandbox, timeout_ns, err);
}

hl_status hl_sandbox_run(hl_sandbox *sandbox, int *exit_code, hl_error *err)
{
    if (!sandbox || !exit_code)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_run",
                             "sandbox and exit_code must not be NULL");
    hl_status status = hl__sandbox_claim(sandbox, false, "hl_sandbox_run", err);
    if (status)
        return status;
    if (sandbox->guest.phase != HL__PHASE_NEW) {
        hl__sandbox_release(sandbox, HL_SANDBOX_READY);
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_run",
                             "the program was started before");
    }
    status = hl__sandbox_start(sandbox, sandbox->options.timeout_ns, err);
    sandbox->stats.calls++;
    if (status) {
        hl__sandbox_release(sandbox, HL_SANDBOX_POISONED);
        return status;
    }
    if (sandbox->run.ending == HL__ENDING_RESTED) {
        hl__sandbox_release(sandbox, HL_SANDBOX_READY);
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_run",
                             "'%s' serves calls instead of exiting; use hl_sandbox_call",
                             sandbox->vm->program->name);
    }
    *exit_code = sandbox->run.exit_code;
    hl__sandbox_release(sandbox, HL_SANDBOX_FINISHED);
    return HL_OK;
}
