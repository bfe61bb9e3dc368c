/* A call of the guest to a host function: copied out, decoded, dispatched, answered. */
#include "sandbox/sandbox.h"
#include "util/error.h"
#include <errno.h>
#include <hyperlight/abi/wire.h>
#include <stdlib.h>

/* Puts the answer where the guest finds it; the outcome changes if it does not fit. */
HL__WARM_PATH static int64_t give_answer(hl_sandbox *sandbox, uint32_t outcome,
                                         const hl_value *value)
{
    const hl__wire_content content = {
        .values = value, .count = 1, .limit = sandbox->options.request_size_max};
    hl__wire_problem problem;
    uint64_t size;
    if (!hl__message_send(sandbox, &content, sandbox->run.transfer_used, &size, &problem, NULL))
        return outcome;
    if (!problem.status) {
        hl_value text =
            hl_value_string("the host function's result does not fit into the sandbox's memory");
        return give_answer(sandbox, HL_ABI_OUTCOME_ANSWER_TOO_LARGE, &text);
    }
    bool too_large = problem.status == HL_REQUEST_TOO_LARGE;
    hl_value text =
        hl_value_string(too_large ? "the host function's result exceeds request_size_max"
                                  : "the host function's result is not a valid value");
    if (outcome != HL_ABI_OUTCOME_OK)
        return -HL_ABI_EMSGSIZE;
    return give_answer(sandbox, too_large ? HL_ABI_OUTCOME_ANSWER_TOO_LARGE : HL_ABI_OUTCOME_ERROR,
                       &text);
}

static int64_t refuse(hl_sandbox *sandbox, uint32_t outcome, const char *text)
{
    hl_value value = hl_value_string(text);
    return give_answer(sandbox, outcome, &value);
}

static int64_t refuse_undecoded(hl_sandbox *sandbox, const hl__wire_problem *problem)
{
    if (problem->status == HL_OUT_OF_MEMORY)
        return refuse(sandbox, HL_ABI_OUTCOME_ERROR, "the host is out of memory");
    return refuse(sandbox,
                  problem->status == HL_REPLY_TOO_LARGE ? HL_ABI_OUTCOME_TOO_LARGE
                                                        : HL_ABI_OUTCOME_INVALID,
                  problem->reason);
}

HL__WARM_PATH static int64_t dispatch(hl_sandbox *sandbox, const hl__wire_message *message)
{
    struct hl_call call;
    hl_value reply = hl_value_null();
    hl__call_init(&call, sandbox->control);
    uint32_t outcome =
        hl__host_functions_dispatch(sandbox->options.host_functions, &call, &message->function,
                                    message->values, message->count, &reply);
    if (outcome != HL_ABI_OUTCOME_OK)
        reply = hl_value_string(call.error_text);
    int64_t result = give_answer(sandbox, outcome, &reply);
    hl__call_clear(&call);
    return result;
}

HL__WARM_PATH enum hl__step hl__host_call(hl_sandbox *sandbox, const struct hl_abi_call *call,
                                          int64_t *result, hl_status *status, hl_error *err)
{
    uint64_t size = call->arg[1], limit = sandbox->options.reply_size_max;
    hl__wire_message message;
    hl__wire_problem problem;
    sandbox->stats.host_calls++;
    if (++sandbox->run.host_calls > sandbox->options.host_calls_max) {
        *status = hl__error_set(err, HL_HOST_CALL_LIMIT, "hl_sandbox_call",
                                "the guest made more than %llu host calls; raise host_calls_max",
                                (unsigned long long)sandbox->options.host_calls_max);
        return HL__STEP_FAILED;
    }
    if (size > limit) {
        *result = refuse(sandbox, HL_ABI_OUTCOME_TOO_LARGE,
                         "the request exceeds the host's reply_size_max");
        return HL__STEP_CONTINUE;
    }
    void *data;
    hl_status fetched = hl__message_fetch(sandbox, call->arg[0], size, &data);
    if (fetched) {
        *result =
            fetched == HL_OUT_OF_MEMORY
                ? refuse(sandbox, HL_ABI_OUTCOME_ERROR, "the host is out of memory")
                : refuse(sandbox, HL_ABI_OUTCOME_INVALID, "the request is not in readable memory");
        return HL__STEP_CONTINUE;
    }
    if (!hl__wire_decode(HL_WIRE_CALL, data, size, limit, hl__message_fetch_reference, sandbox,
                         &message, &problem)) {
        *result = refuse_undecoded(sandbox, &problem);
        return HL__STEP_CONTINUE;
    }
    *result = dispatch(sandbox, &message);
    hl__wire_message_free(&message);
    return HL__STEP_CONTINUE;
}
