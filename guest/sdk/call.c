/* Calls of host functions. */
#include "sdk.h"

/* hl_guest_error()'s text; written only when a call fails. */
static char call_error_text[HL_ERROR_MESSAGE_MAX];

static hl_status call_failed(hl_status status, const char *text, size_t size)
{
    struct hl__guest_text error = {call_error_text, sizeof call_error_text, 0};
    hl__guest_text_add(&error, text, size);
    hl__guest_text_clean(call_error_text, error.size, error.size < size);
    hl__guest.call_error = call_error_text;
    return status;
}

static hl_status call_failed_plainly(hl_status status)
{
    const char *meaning = hl_status_meaning(status);
    return call_failed(status, meaning, strlen(meaning));
}

static hl_status call_status(int64_t outcome)
{
    switch (outcome) {
    case HL_ABI_OUTCOME_OK:
        return HL_OK;
    case HL_ABI_OUTCOME_ERROR:
        return HL_GUEST_ERROR;
    case HL_ABI_OUTCOME_UNKNOWN:
        return HL_UNKNOWN_FUNCTION;
    case HL_ABI_OUTCOME_MISMATCH:
        return HL_SIGNATURE_MISMATCH;
    case HL_ABI_OUTCOME_TOO_LARGE:
        return HL_REPLY_TOO_LARGE;
    case HL_ABI_OUTCOME_ANSWER_TOO_LARGE:
        return HL_REQUEST_TOO_LARGE;
    case HL_ABI_OUTCOME_INVALID:
        return HL_INVALID_VALUE;
    default:
        return HL_SYSTEM;
    }
}

/* Encodes into the answers' arena, behind the last answer: the arguments may come from there. */
static hl_status call_encode(const hl_span *name, const hl_value *arguments, size_t count,
                             void **message, uint64_t *size)
{
    const hl__wire_content content = {name, arguments, count, true, UINT64_MAX};
    hl__wire_problem problem;
    if (hl__guest_encode(&hl__guest.answer, &content, message, size, &problem))
        return HL_OK;
    if (problem.status == HL_OUT_OF_MEMORY)
        return call_failed_plainly(HL_OUT_OF_MEMORY);
    return call_failed(problem.status, problem.reason, strlen(problem.reason));
}

/* Decodes the answer where it lies; the last one and the request are not needed any more. */
static hl_status call_decode(const struct hl_abi_place *place, hl_value *answer)
{
    hl__wire_message message;
    hl__wire_problem problem;
    const void *data = (const void *)(uintptr_t)place->address;
    hl__arena_reset(&hl__guest.answer);
    if (!hl__guest_decode(&hl__guest.answer, HL_WIRE_VALUE, data, place->size, &message, &problem))
        return call_failed(problem.status, problem.reason, strlen(problem.reason));
    *answer = message.values[0];
    return HL_OK;
}

static hl_status call_explain(hl_status status, const struct hl_abi_place *place)
{
    hl_value text;
    if (status == HL_SYSTEM || place->size == 0 || call_decode(place, &text) != HL_OK ||
        text.type != HL_TYPE_STRING || text.as.string.size == 0)
        return call_failed_plainly(status);
    return call_failed(status, text.as.string.data, text.as.string.size);
}

hl_status hl_guest_call(const char *name, const hl_value *arguments, size_t count, hl_value *reply)
{
    const struct hl_abi_shim *shim = hl__guest_shim();
    const hl_span function = {name, name == NULL ? 0 : strnlen(name, HL_NAME_MAX + 1)};
    void *message;
    uint64_t size;
    hl_value answer;
    hl__guest.call_error = NULL;
    if (shim == NULL)
        return call_failed_plainly(HL_NOT_SERVING);
    hl__guest_ready();
    hl_status status = call_encode(&function, arguments, count, &message, &size);
    if (status != HL_OK)
        return status;
    status = call_status(shim->call(HL_ABI_OP_HOST_CALL, (uintptr_t)message, size, 0, 0));
    if (status != HL_OK)
        return call_explain(status, shim->request);
    status = call_decode(shim->request, &answer);
    if (status == HL_OK && reply != NULL)
        *reply = answer;
    return status;
}

const char *hl_guest_error(void)
{
    return hl__guest.call_error == NULL ? "" : hl__guest.call_error;
}
