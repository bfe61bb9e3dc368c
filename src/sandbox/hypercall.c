/* Hypercalls: which are legal now, and what each does. Everything in them is the guest's word:
 * copied once, then checked. */
#include "sandbox/sandbox.h"
#include "util/error.h"
#include <errno.h>
#include <stdlib.h>

enum hl__step hl__guest_violation(hl_status *status, hl_error *err, const char *reason)
{
    *status = hl__error_set(err, HL_GUEST_VIOLATION, "hl_sandbox_call",
                            "the guest broke the protocol: %s", reason);
    return HL__STEP_FAILED;
}

HL__WARM_PATH static void set_result(hl_sandbox *sandbox, int64_t result)
{
    hl__space_mailbox(sandbox->space, 0)->call.result = result;
}

static enum hl__step answer(hl_sandbox *sandbox, int64_t result)
{
    set_result(sandbox, result);
    return HL__STEP_CONTINUE;
}

/* Whether two version ranges meet. */
static bool speaks(uint64_t least, uint64_t greatest)
{
    return least <= greatest && least <= HL_ABI_VERSION_MAX && greatest >= HL_ABI_VERSION_MIN;
}

static enum hl__step hello(hl_sandbox *sandbox, const struct hl_abi_call *call, hl_status *status,
                           hl_error *err)
{
    if (!speaks(call->arg[0], call->arg[1]))
        return hl__guest_violation(
            status, err, "the shim speaks no version of the protocol that this library speaks");
    sandbox->guest.phase = HL__PHASE_MAIN;
    return answer(sandbox, 0);
}

HL__WARM_PATH static enum hl__step rest(hl_sandbox *sandbox, const struct hl_abi_call *call,
                                        hl_status *status, hl_error *err)
{
    bool serving = sandbox->guest.phase == HL__PHASE_CALL;
    if (call->arg[0] >= HL_ABI_OUTCOME_COUNT || (call->arg[0] == HL_ABI_OUTCOME_NONE) == serving)
        return hl__guest_violation(status, err,
                                   serving ? "a rest without an outcome"
                                           : "a rest with an outcome but without a call");
    sandbox->guest.phase = HL__PHASE_RESTING;
    sandbox->run.outcome = *call;
    sandbox->run.ending = HL__ENDING_RESTED;
    return HL__STEP_ENDED;
}

static struct hl__exports *exports_new(hl__wire_export *functions, size_t count, bool any_name)
{
    struct hl__exports *exports = calloc(1, sizeof *exports);
    const char **names = calloc(count + 1, sizeof *names);
    if (!exports || !names) {
        free(exports);
        free(names);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        names[i] = functions[i].name.data;
    *exports = (struct hl__exports){.references = 1,
                                    .functions = functions,
                                    .names = names,
                                    .count = count,
                                    .any_name = any_name};
    return exports;
}

static enum hl__step declare_exports(hl_sandbox *sandbox, const struct hl_abi_call *call,
                                     hl_status *status, hl_error *err)
{
    hl__wire_export *functions = NULL;
    hl__wire_problem problem;
    size_t count;
    if (sandbox->guest.phase != HL__PHASE_MAIN || sandbox->guest.exports)
        return hl__guest_violation(status, err,
                                   "functions were declared twice, or after the first rest");
    if (!speaks(call->arg[2], call->arg[3]))
        return hl__guest_violation(
            status, err,
            "the guest SDK speaks no version of the protocol that this library speaks");
    if (call->arg[4] & ~(uint64_t)HL_ABI_EXPORT_ANY_NAME)
        return hl__guest_violation(status, err, "functions were declared with unknown flags");
    if (call->arg[1] > HL_WIRE_EXPORTS_MAX * (uint64_t)512)
        return hl__guest_violation(status, err, "the declaration of functions is too long");
    void *message = NULL;
    problem.status = hl__message_fetch(sandbox, call->arg[0], call->arg[1], &message);
    if (problem.status == HL_OK &&
        hl__wire_exports_decode(message, call->arg[1], &functions, &count, &problem))
        sandbox->guest.exports =
            exports_new(functions, count, call->arg[4] & HL_ABI_EXPORT_ANY_NAME);
    hl__wire_buffer_free(message);
    if (sandbox->guest.exports)
        return answer(sandbox, 0);
    free(functions);
    if (problem.status != HL_OK && problem.status != HL_OUT_OF_MEMORY)
        return hl__guest_violation(status, err, "the declaration of functions is malformed");
    *status = hl__error_set(err, HL_OUT_OF_MEMORY, "hl_sandbox_new",
                            "no memory for the list of the guest's functions");
    return HL__STEP_FAILED;
}

static bool fatal_fault(const struct hl_sandbox *sandbox, const struct hl_abi_call *call)
{
    return call->arg[3] != HL_ABI_NO_VECTOR && call->arg[3] == sandbox->last_fault.vector;
}

/* Reports a fatal signal. What the hardware said comes from the host's own record, not from the
 * guest. */
static hl_status died(const hl_sandbox *sandbox, const struct hl_abi_call *call, hl_error *err)
{
    int number = (int)(call->arg[1] & 127);
    const char *hint = call->arg[2] & HL_ABI_EXIT_MEMORY_REFUSED
                           ? "; memory had run out before: raise memory_size"
                           : "";
    if (!fatal_fault(sandbox, call)) {
        hl_status status = number == HL_ABI_SIGABRT ? HL_GUEST_ABORTED : HL_GUEST_FAULT;
        hl__error_set(err, status, "hl_sandbox_call", "'%s' was killed by signal %d (%s)%s",
                      sandbox->vm->program->name, number,
                      number == HL_ABI_SIGABRT ? "abort" : "raised by itself", hint);
    } else {
        const struct hl_abi_fault *fault = &sandbox->last_fault;
        hl__error_set(
            err, HL_GUEST_FAULT, "hl_sandbox_call",
            "'%s' was killed by signal %d: exception %u at instruction %#llx, address %#llx%s",
            sandbox->vm->program->name, number, fault->vector,
            (unsigned long long)fault->registers.rip, (unsigned long long)fault->address, hint);
        if (err) {
            err->fault_vector = fault->vector;
            err->fault_address = fault->address;
            err->instruction_pointer = fault->registers.rip;
        }
    }
    if (err)
        err->signal = number;
    return number == HL_ABI_SIGABRT && !fatal_fault(sandbox, call) ? HL_GUEST_ABORTED
                                                                   : HL_GUEST_FAULT;
}

static enum hl__step program_exit(hl_sandbox *sandbox, const struct hl_abi_call *call,
                                  hl_status *status, hl_error *err)
{
    int code = (int)(call->arg[0] & 255);
    if (call->arg[1] & 127) {
        *status = died(sandbox, call, err);
        return HL__STEP_FAILED;
    }
    sandbox->run.exit_code = code;
    if (sandbox->guest.phase == HL__PHASE_CALL) {
        *status =
            hl__error_set(err, HL_GUEST_EXITED, "hl_sandbox_call",
                          "'%s' exited with %d during the call%s", sandbox->vm->program->name, code,
                          call->arg[2] & HL_ABI_EXIT_MEMORY_REFUSED
                              ? "; memory had run out before: raise memory_size"
                              : "");
        if (err)
            err->exit_code = code;
        return HL__STEP_FAILED;
    }
    sandbox->run.ending = HL__ENDING_EXITED;
    return HL__STEP_ENDED;
}

static enum hl__step edit(hl_sandbox *sandbox, const struct hl_abi_call *call)
{
    struct hl_abi_edit edits[HL_ABI_EDITS_MAX];
    if (call->arg[1] == 0 || call->arg[1] > HL_ABI_EDITS_MAX)
        return answer(sandbox, -EINVAL);
    if (!hl__space_read(sandbox->space, call->arg[0], edits, call->arg[1] * sizeof edits[0]))
        return answer(sandbox, -EFAULT);
    return answer(sandbox, hl__space_edit(sandbox->space, edits, call->arg[1]));
}

static enum hl__step log_line(hl_sandbox *sandbox, const struct hl_abi_call *call,
                              hl_status *status, hl_error *err)
{
    char text[HL_ABI_LOG_SIZE_MAX];
    bool shim = call->arg[3] == 1;
    hl_log_level level = call->arg[0] < HL_LOG_ERROR || call->arg[0] > HL_LOG_TRACE
                             ? HL_LOG_INFO
                             : (hl_log_level)call->arg[0];
    if (call->arg[2] > sizeof text)
        return answer(sandbox, -HL_ABI_EMSGSIZE);
    if (!hl__space_read(sandbox->space, call->arg[1], text, call->arg[2]))
        return answer(sandbox, -EFAULT);
    if (!hl__output_count(sandbox, call->arg[2], status, err))
        return HL__STEP_FAILED;
    hl__log_hostile(sandbox->context, level, shim ? HL_LOG_SHIM : HL_LOG_GUEST, text, call->arg[2],
                    shim && sandbox->options.trace);
    return answer(sandbox, 0);
}

static uint64_t time_after(uint64_t now, uint64_t duration_ns)
{
    return now + duration_ns < now ? UINT64_MAX : now + duration_ns;
}

static enum hl__step wait_for(hl_sandbox *sandbox, const struct hl_abi_call *call)
{
    uint64_t until = time_after(hl__os_monotonic_ns(), call->arg[0]);
    if (call->arg[1] & HL_ABI_EVENT_INPUT)
        return answer(sandbox, hl__input_wait(sandbox, until) ? HL_ABI_EVENT_INPUT : 0);
    hl__control_wait(sandbox->control, until);
    return answer(sandbox, 0);
}

/* However short the times are that a guest asks for, the host wakes no more often than every
 * HL_ABI_TICK_MIN_NS for it. */
static uint64_t tick_time(uint64_t wanted_ns)
{
    return wanted_ns > HL_ABI_TICK_MIN_NS ? wanted_ns : HL_ABI_TICK_MIN_NS;
}

static enum hl__step timer(hl_sandbox *sandbox, const struct hl_abi_call *call)
{
    uint64_t first = time_after(hl__os_monotonic_ns(), tick_time(call->arg[0]));
    uint64_t period = call->arg[1] ? tick_time(call->arg[1]) : 0;
    return answer(sandbox, hl__control_tick_start(sandbox->control, first, period) ? 0 : -ENOMEM);
}

static const char *refusal_reason(uint64_t refusal)
{
    switch (refusal) {
    case HL_ABI_REFUSAL_MACHINE:
        return "is not for x86-64 Linux";
    case HL_ABI_REFUSAL_INTERPRETER:
        return "is dynamically linked, and its interpreter is missing";
    case HL_ABI_REFUSAL_TOO_LARGE:
        return "does not fit into the sandbox's memory; raise memory_size";
    default:
        return "is not a program that can run";
    }
}

/* The next step, behind what the guest says. */
static const char *refusal_hint(uint64_t refusal)
{
    return refusal == HL_ABI_REFUSAL_INTERPRETER ? "; run it from an image that has what it needs "
                                                   "(`hyperlight pack`, then --root), or "
                                                   "link it with -static"
                                                 : "";
}

static enum hl__step refuse(hl_sandbox *sandbox, const struct hl_abi_call *call, hl_status *status,
                            hl_error *err)
{
    static const hl_status statuses[HL_ABI_REFUSAL_COUNT] = {
        [HL_ABI_REFUSAL_INVALID] = HL_PROGRAM_INVALID,
        [HL_ABI_REFUSAL_MACHINE] = HL_PROGRAM_WRONG_MACHINE,
        [HL_ABI_REFUSAL_INTERPRETER] = HL_PROGRAM_NEEDS_INTERPRETER,
        [HL_ABI_REFUSAL_TOO_LARGE] = HL_PROGRAM_TOO_LARGE,
        [HL_ABI_REFUSAL_MEMORY] = HL_MEMORY_LIMIT,
    };
    char raw[HL_ABI_REFUSAL_TEXT_MAX], text[HL_ABI_REFUSAL_TEXT_MAX];
    uint64_t size = call->arg[2] < sizeof raw ? call->arg[2] : sizeof raw;
    if (call->arg[0] == 0 || call->arg[0] >= HL_ABI_REFUSAL_COUNT ||
        !hl__space_read(sandbox->space, call->arg[1], raw, size))
        return hl__guest_violation(status, err, "a malformed refusal");
    if (call->arg[0] != HL_ABI_REFUSAL_MEMORY && sandbox->guest.phase != HL__PHASE_MAIN)
        return hl__guest_violation(status, err, "the program was refused after its first rest");
    hl__text_escape(text, sizeof text, raw, size);
    if (call->arg[0] == HL_ABI_REFUSAL_MEMORY)
        *status = hl__error_set(err, HL_MEMORY_LIMIT, "hl_sandbox_call",
                                "'%s' used up its memory of %llu bytes; raise memory_size",
                                sandbox->vm->program->name,
                                (unsigned long long)sandbox->options.memory_size);
    else
        *status = hl__error_set(err, statuses[call->arg[0]], "hl_sandbox_new", "'%s' %s%s%s%s",
                                sandbox->vm->program->name, refusal_reason(call->arg[0]),
                                size ? ": " : "", text, refusal_hint(call->arg[0]));
    return HL__STEP_FAILED;
}

HL__WARM_PATH enum hl__step hl__hypercall(hl_sandbox *sandbox, uint32_t op, hl_status *status,
                                          hl_error *err)
{
    const struct hl_abi_call call = hl__space_mailbox_read(sandbox->space)->call;
    int64_t result = 0;
    enum hl__step step = HL__STEP_CONTINUE;
    if ((op == HL_ABI_OP_HELLO) != (sandbox->guest.phase == HL__PHASE_HELLO))
        return hl__guest_violation(status, err,
                                   op == HL_ABI_OP_HELLO ? "a second first hypercall"
                                                         : "a hypercall before the first one");
    if ((step = hl__output_take(sandbox, status, err)) != HL__STEP_CONTINUE)
        return step;
    switch (op) {
    case HL_ABI_OP_HELLO:
        return hello(sandbox, &call, status, err);
    case HL_ABI_OP_REST:
        return rest(sandbox, &call, status, err);
    case HL_ABI_OP_EXPORT:
        return declare_exports(sandbox, &call, status, err);
    case HL_ABI_OP_EXIT:
        return program_exit(sandbox, &call, status, err);
    case HL_ABI_OP_EDIT:
        sandbox->stats.edits++;
        return edit(sandbox, &call);
    case HL_ABI_OP_LOG:
        return log_line(sandbox, &call, status, err);
    case HL_ABI_OP_WAIT:
        return wait_for(sandbox, &call);
    case HL_ABI_OP_TIMER:
        return timer(sandbox, &call);
    case HL_ABI_OP_REFUSE:
        return refuse(sandbox, &call, status, err);
    case HL_ABI_OP_HOST_CALL:
        step = hl__host_call(sandbox, &call, &result, status, err);
        break;
    case HL_ABI_OP_WRITE:
        step = hl__stream_write(sandbox, &call, &result, status, err);
        break;
    case HL_ABI_OP_READ:
        step = hl__stream_read(sandbox, &call, &result);
        break;
    default:
        return hl__guest_violation(status, err, "an unknown hypercall");
    }
    if (step == HL__STEP_CONTINUE)
        set_result(sandbox, result);
    return step;
}
