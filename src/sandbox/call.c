/* A call into the guest: checked, encoded, run, and its reply decoded. */
#include "sandbox/sandbox.h"
#include "snapshot/snapshot.h"
#include "util/error.h"
#include "wire/codec.h"
#include <stdlib.h>

/* What is known of a function that was not declared. */
static const hl__wire_export any_function = {.has_signature = false};

HL__WARM_PATH static const hl__wire_export *find_export(const struct hl__exports *exports,
                                                        const hl_span *name)
{
    for (size_t i = 0; exports && i < exports->count; i++)
        if (hl__wire_equal(&exports->functions[i].name, name))
            return &exports->functions[i];
    return exports && exports->any_name ? &any_function : NULL;
}

/* The guest's functions for a message, as many as fit. */
static void list_exports(const struct hl__exports *exports, char *text, size_t capacity)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; exports && i < exports->count && used + 64 < capacity; i++) {
        if (i > 0)
            text[used++] = ',', text[used++] = ' ';
        hl__text_escape(text + used, capacity - used, exports->functions[i].name.data,
                        exports->functions[i].name.size);
        used += strlen(text + used);
    }
}

HL__WARM_PATH static hl_status check_call(hl_sandbox *sandbox, const hl_span *name,
                                          const hl_value *arguments, size_t count, hl_error *err)
{
    char text[320], escaped[128];
    if (name->size == 0 || name->size > HL_NAME_MAX || count > HL_PARAMETERS_MAX ||
        (count && !arguments))
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_call",
                             "a function's name has 1 to %d bytes, a call at most %d arguments",
                             HL_NAME_MAX, HL_PARAMETERS_MAX);
    const hl__wire_export *function = find_export(sandbox->guest.exports, name);
    sandbox->called = function;
    if (!function) {
        hl__text_escape(escaped, sizeof escaped, name->data, name->size);
        list_exports(sandbox->guest.exports, text, sizeof text);
        return hl__error_set(err, HL_UNKNOWN_FUNCTION, "hl_sandbox_call",
                             "'%s' exports no function '%s'; it exports: %s",
                             sandbox->vm->program->name, escaped, text[0] ? text : "nothing");
    }
    if (function->has_signature &&
        !hl__signature_check(&function->signature, name, arguments, count, text, sizeof text))
        return hl__error_set(err, HL_SIGNATURE_MISMATCH, "hl_sandbox_call", "%s", text);
    return HL_OK;
}

static hl_status request_invalid(const hl_sandbox *sandbox, const hl__wire_problem *problem,
                                 hl_error *err)
{
    if (problem->status == HL_REQUEST_TOO_LARGE)
        return hl__error_set(err, problem->status, "hl_sandbox_call",
                             "the request exceeds request_size_max (%llu bytes); raise it",
                             (unsigned long long)sandbox->options.request_size_max);
    return hl__error_set(err, problem->status, "hl_sandbox_call", "an argument is not valid: %s",
                         problem->reason);
}

HL__WARM_PATH static hl_status send_request(hl_sandbox *sandbox, const hl_span *name,
                                            const hl_value *arguments, size_t count, hl_error *err)
{
    const hl__wire_content content = {
        .function = name,
        .values = arguments,
        .count = count,
        .limit = sandbox->options.request_size_max,
    };
    hl__wire_problem problem;
    uint64_t size;
    hl_status status = hl__message_send(sandbox, &content, 0, &size, &problem, err);
    if (status)
        return problem.status ? request_invalid(sandbox, &problem, err) : status;
    sandbox->run.transfer_used =
        size > HL_ABI_INLINE_SIZE ? (size + HL__PAGE - 1) & ~(HL__PAGE - 1) : 0;
    hl__space_mailbox(sandbox->space, 0)->call.result =
        HL_ABI_WAKE_CALL | (sandbox->entry == HL__ENTRY_WAKE ? HL_ABI_WAKE_RESTORED : 0);
    return HL_OK;
}

static hl_status bad_reply(hl_error *err, const char *reason)
{
    return hl__error_set(err, HL_GUEST_BAD_REPLY, "hl_sandbox_call",
                         "the guest's reply is malformed: %s", reason);
}

static hl_status reply_too_large(const hl_sandbox *sandbox, hl_error *err)
{
    return hl__error_set(err, HL_REPLY_TOO_LARGE, "hl_sandbox_call",
                         "the guest's reply exceeds reply_size_max (%llu bytes); raise it",
                         (unsigned long long)sandbox->options.reply_size_max);
}

static hl_status no_memory_for_reply(hl_error *err)
{
    return hl__error_set(err, HL_OUT_OF_MEMORY, "hl_sandbox_call",
                         "no memory for the guest's reply");
}

HL__WARM_PATH static hl_status decode_reply(hl_sandbox *sandbox, uint64_t limit, hl_value *value,
                                            hl_error *err)
{
    const struct hl_abi_call *rest = &sandbox->run.outcome;
    hl__wire_message message;
    hl__wire_problem problem;
    if (rest->arg[2] > limit)
        return reply_too_large(sandbox, err);
    void *data;
    hl_status status = hl__message_fetch(sandbox, rest->arg[1], rest->arg[2], &data);
    if (status == HL_OUT_OF_MEMORY)
        return no_memory_for_reply(err);
    if (status)
        return bad_reply(err, "it is not in readable memory");
    if (hl__wire_decode(HL_WIRE_VALUE, data, rest->arg[2], limit, hl__message_fetch_reference,
                        sandbox, &message, &problem)) {
        *value = hl__wire_message_take(&message);
        return HL_OK;
    }
    if (problem.status == HL_REPLY_TOO_LARGE)
        return reply_too_large(sandbox, err);
    if (problem.status == HL_OUT_OF_MEMORY)
        return no_memory_for_reply(err);
    return bad_reply(err, problem.reason);
}

/* The guest function failed: its text goes into the error. */
static hl_status guest_failed(hl_sandbox *sandbox, hl_status outcome, hl_error *err)
{
    hl_value value;
    char text[HL_ERROR_MESSAGE_MAX - 64];
    hl_status status = decode_reply(sandbox, sandbox->options.reply_size_max, &value, err);
    if (status)
        return status;
    if (value.type != HL_TYPE_STRING) {
        hl_value_free(&value);
        return bad_reply(err, "the text of an error is not a string");
    }
    hl__text_escape(text, sizeof text, value.as.string.data, value.as.string.size);
    hl_value_free(&value);
    return hl__error_set(err, outcome, "hl_sandbox_call", "%s",
                         text[0] ? text : hl_status_meaning(outcome));
}

/* A function with a signature has promised the type of its result. */
HL__WARM_PATH static hl_status check_result(const hl_sandbox *sandbox, const hl_value *value,
                                            hl_error *err)
{
    const hl__wire_export *function = sandbox->called;
    if (!function->has_signature || function->signature.result == HL_TYPE_ANY ||
        function->signature.result == value->type)
        return HL_OK;
    char name[128];
    hl__text_escape(name, sizeof name, function->name.data, function->name.size);
    return hl__error_set(err, HL_GUEST_BAD_REPLY, "hl_sandbox_call",
                         "the guest's '%s' returned %s where its signature promises %s", name,
                         hl_type_name(value->type), hl_type_name(function->signature.result));
}

HL__WARM_PATH static hl_status take_reply(hl_sandbox *sandbox, hl_value *reply, hl_error *err)
{
    hl_value value = hl_value_null();
    hl_status status;
    switch (sandbox->run.outcome.arg[0]) {
    case HL_ABI_OUTCOME_OK:
        status = decode_reply(sandbox, sandbox->options.reply_size_max, &value, err);
        if (!status && (status = check_result(sandbox, &value, err)))
            hl_value_free(&value);
        break;
    case HL_ABI_OUTCOME_ERROR:
        return guest_failed(sandbox, HL_GUEST_ERROR, err);
    case HL_ABI_OUTCOME_UNKNOWN:
        return guest_failed(sandbox, HL_UNKNOWN_FUNCTION, err);
    case HL_ABI_OUTCOME_MISMATCH:
        return guest_failed(sandbox, HL_SIGNATURE_MISMATCH, err);
    case HL_ABI_OUTCOME_TOO_LARGE:
        return reply_too_large(sandbox, err);
    default:
        return bad_reply(err, "its outcome is unknown");
    }
    if (!status && reply)
        *reply = value;
    else if (!status)
        hl_value_free(&value);
    return status;
}

/* A sandbox that was made stopped is started by its first call. */
static hl_status ensure_started(hl_sandbox *sandbox, hl_error *err)
{
    if (sandbox->guest.phase == HL__PHASE_RESTING)
        return HL_OK;
    hl_status status = hl__sandbox_start(sandbox, sandbox->options.start_timeout_ns, err);
    if (status || sandbox->run.ending == HL__ENDING_RESTED)
        return status;
    status = hl__error_set(err, HL_GUEST_EXITED, "hl_sandbox_call",
                           "'%s' exited with %d before it served calls", sandbox->vm->program->name,
                           sandbox->run.exit_code);
    if (err)
        err->exit_code = sandbox->run.exit_code;
    return status;
}

HL__WARM_PATH static hl_status call_guest(hl_sandbox *sandbox, hl_value *reply, hl_error *err)
{
    uint64_t entries = sandbox->stats.entries;
    sandbox->guest.phase = HL__PHASE_CALL;
    hl_status status = hl__sandbox_serve(sandbox, sandbox->options.timeout_ns, err);
    if (sandbox->stats.entries == entries)
        sandbox->guest.phase = HL__PHASE_RESTING; /* it was not even entered */
    sandbox->stats.calls++;
    return status ? status : take_reply(sandbox, reply, err);
}

HL__WARM_PATH hl_status hl_sandbox_call(hl_sandbox *sandbox, const char *function,
                                        const hl_value *arguments, size_t count, hl_value *reply,
                                        hl_error *err)
{
    if (!sandbox || !function)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_call",
                             "sandbox and function must not be NULL");
    const hl_span name = {function, strlen(function)};
    hl_status status = hl__sandbox_claim(sandbox, false, "hl_sandbox_call", err);
    if (status)
        return status;
    if ((status = ensure_started(sandbox, err))) {
        hl__sandbox_release(sandbox, HL_SANDBOX_POISONED);
        return status;
    }
    if ((status = check_call(sandbox, &name, arguments, count, err)) ||
        (status = send_request(sandbox, &name, arguments, count, err))) {
        hl__sandbox_release(sandbox, status == HL_SYSTEM ? HL_SANDBOX_POISONED : HL_SANDBOX_READY);
        return status;
    }
    status = call_guest(sandbox, reply, err);
    if (sandbox->learning)
        hl__snapshot_learn(sandbox);
    hl__sandbox_release(sandbox, status && hl_status_poisons(status) ? HL_SANDBOX_POISONED
                                                                     : HL_SANDBOX_READY);
    return status;
}
