/* Serving calls: rest, decode the request, run the function, encode its reply, rest again. */
#include "sdk.h"

#define SERVE_FAILED 70 /* EX_SOFTWARE of sysexits.h */

char hl__guest_fail_text[HL_ERROR_MESSAGE_MAX];

/* What a call came to: an outcome and an encoded message in the call's arena. */
struct serve_reply {
    uint64_t outcome;
    const void *message;
    uint64_t size;
};

static const struct serve_reply serve_none = {HL_ABI_OUTCOME_NONE, NULL, 0};

static bool serve_encode(const hl_value *value, uint64_t outcome, struct serve_reply *reply,
                         hl__wire_problem *problem)
{
    const hl__wire_content content = {NULL, value, 1, true, UINT64_MAX};
    void *message;
    uint64_t size;
    if (!hl__guest_encode(&hl__guest.call, &content, &message, &size, problem))
        return false;
    *reply = (struct serve_reply){outcome, message, size};
    return true;
}

/*
 * Gives up what the call allocated, so that there is always room for the text: it must not lie in
 * the arena and must be short.
 */
static struct serve_reply serve_failure(uint64_t outcome, const char *text)
{
    struct serve_reply reply = {outcome, NULL, 0};
    hl__wire_problem problem;
    const hl_value value = hl_value_string(text);
    hl__arena_reset(&hl__guest.call);
    serve_encode(&value, outcome, &reply, &problem); /* fits into the arena's first block */
    return reply;
}

/* A failure whose text is put together from two pieces. */
static struct serve_reply serve_failure_about(uint64_t outcome, const char *what,
                                              const char *detail, size_t detail_size)
{
    char buffer[HL_ERROR_MESSAGE_MAX];
    struct hl__guest_text text = {buffer, sizeof buffer, 0};
    hl__guest_text_add(&text, what, strlen(what));
    hl__guest_text_add(&text, detail, detail_size);
    return serve_failure(outcome, buffer);
}

static struct serve_reply serve_refusal(const hl__wire_problem *problem, const char *what)
{
    return serve_failure_about(problem->status == HL_OUT_OF_MEMORY ? HL_ABI_OUTCOME_TOO_LARGE
                                                                   : HL_ABI_OUTCOME_ERROR,
                               what, problem->reason, strlen(problem->reason));
}

static const struct hl__guest_export *serve_find(const hl_span *name)
{
    for (size_t i = 0; i < hl__guest.export_count; i++)
        if (hl__wire_equal(&hl__guest.exports[i].name, name))
            return &hl__guest.handlers[i];
    return NULL;
}

static struct serve_reply serve_call(const struct hl__guest_export *export,
                                     const hl__wire_message *request)
{
    hl_value value = hl_value_null();
    struct serve_reply reply;
    hl__wire_problem problem;
    hl__guest.failed = false;
    hl_status status = export->function(request->values, request->count, &value, export->user);
    if (status != HL_OK)
        return serve_failure(HL_ABI_OUTCOME_ERROR,
                             hl__guest.failed ? hl__guest_fail_text : hl_status_meaning(status));
    if (!serve_encode(&value, HL_ABI_OUTCOME_OK, &reply, &problem))
        return serve_refusal(&problem, "the guest function's reply cannot be sent: ");
    return reply;
}

static struct serve_reply serve_request(const void *message, uint64_t size)
{
    hl__wire_message request;
    hl__wire_problem problem;
    if (!hl__guest_decode(&hl__guest.call, HL_WIRE_CALL, message, size, &request, &problem))
        return serve_refusal(&problem, "the request cannot be read: ");
    const struct hl__guest_export *export = serve_find(&request.function);
    if (export == NULL)
        return serve_failure_about(HL_ABI_OUTCOME_UNKNOWN, "the guest exports no function ",
                                   request.function.data, request.function.size);
    return serve_call(export, &request);
}

static void serve_run_hooks(const struct hl_abi_wake *wake)
{
    hl_guest_wake news = {.size = sizeof news, .generation = wake->generation};
    /* Not through vector registers, which would keep the one thing that is not as it was at every
     * restore until the function is called. */
    for (size_t at = 0; at < sizeof news.seed; at += sizeof(uint64_t)) {
        uint64_t word = hl__wire_word(wake->seed + at);
        __asm__("" : "+r"(word));
        memcpy(news.seed + at, &word, sizeof word);
    }
    for (size_t i = 0; i < hl__guest.hook_count; i++)
        hl__guest.hooks[i].hook(&news, hl__guest.hooks[i].user);
}

/*
 * A small request lies where answers to host calls will lie, so it moves out of the way. A large
 * one stays: the host puts answers behind it. NULL if there is no memory for the copy.
 */
static const void *serve_keep(const struct hl_abi_place *place)
{
    const void *message = (const void *)(uintptr_t)place->address;
    if (place->size > HL_ABI_INLINE_SIZE)
        return message;
    void *copy = hl__arena_take(&hl__guest.call, (size_t)place->size);
    if (copy != NULL)
        hl__wire_copy(copy, message, (size_t)place->size);
    return copy;
}

/* From one wake-up to the next reply. */
HL__WARM_PATH static struct serve_reply serve_wake(const struct hl_abi_shim *shim, int64_t wake)
{
    const struct hl_abi_place place = *shim->request;
    bool is_call = (wake & HL_ABI_WAKE_CALL) != 0;
    hl__arena_reset(&hl__guest.call);
    hl__arena_reset(&hl__guest.answer);
    const void *message = is_call ? serve_keep(&place) : NULL;
    if (wake & HL_ABI_WAKE_RESTORED)
        serve_run_hooks(shim->wake);
    if (!is_call)
        return serve_none;
    if (message == NULL)
        return serve_failure(HL_ABI_OUTCOME_TOO_LARGE, "the request cannot be read: out of memory");
    return serve_request(message, place.size);
}

static bool serve_declare(const struct hl_abi_shim *shim)
{
    uint64_t size = hl__wire_exports_size(hl__guest.exports, hl__guest.export_count);
    void *message = hl__arena_take(&hl__guest.call, (size_t)size);
    if (message == NULL)
        return false;
    hl__wire_exports_write(message, hl__guest.exports, hl__guest.export_count);
    return shim->call(HL_ABI_OP_EXPORT, (uintptr_t)message, size, HL_ABI_VERSION_MIN,
                      HL_ABI_VERSION_MAX) >= 0;
}

HL__WARM_PATH int hl_guest_serve(void)
{
    const struct hl_abi_shim *shim = hl__guest_shim();
    if (shim == NULL) {
        hl__guest_complain("this program serves Hyperlight calls and must run inside a micro VM",
                           true);
        return SERVE_FAILED;
    }
    hl__guest_ready();
    if (hl__guest.serving || !serve_declare(shim)) {
        hl__guest_complain(hl__guest.serving ? "serves calls already"
                                             : "cannot declare its functions to the host",
                           false);
        return SERVE_FAILED;
    }
    hl__guest.serving = true;
    for (struct serve_reply reply = serve_none;;) {
        int64_t wake =
            shim->call(HL_ABI_OP_REST, reply.outcome, (uintptr_t)reply.message, reply.size, 0);
        if (wake < 0)
            break;
        reply = serve_wake(shim, wake);
    }
    hl__guest_complain("cannot rest for the next call", false);
    return SERVE_FAILED;
}
