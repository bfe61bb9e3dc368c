/* What a host function sees of the call that it serves. */
#include "call/host_functions.h"
#include "os/os.h"
#include "util/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hl__scratch {
    struct hl__scratch *next;
    _Alignas(16) char data[];
};

void hl__call_init(struct hl_call *call, hl__control *control)
{
    call->control = control;
    call->error_text[0] = '\0';
    call->scratch = NULL;
}

void hl__call_clear(struct hl_call *call)
{
    while (call->scratch) {
        struct hl__scratch *next = call->scratch->next;
        free(call->scratch);
        call->scratch = next;
    }
}

bool hl_call_cancelled(const hl_call *call)
{
    return hl__control_cause(call->control) != HL_OK;
}

uint64_t hl_call_deadline_ns(const hl_call *call)
{
    return hl__control_deadline_ns(call->control);
}

bool hl_call_wait_cancelled(hl_call *call, uint64_t timeout_ns)
{
    uint64_t now = hl__os_monotonic_ns();
    uint64_t until = timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
    return hl__control_wait(call->control, until);
}

void *hl_call_alloc(hl_call *call, size_t size)
{
    if (size > SIZE_MAX - sizeof(struct hl__scratch))
        return NULL;
    struct hl__scratch *scratch = calloc(1, sizeof *scratch + size);
    if (!scratch)
        return NULL;
    scratch->next = call->scratch;
    call->scratch = scratch;
    return scratch->data;
}

hl_status hl_call_fail(hl_call *call, const char *format, ...)
{
    char draft[2 *
               HL_ERROR_MESSAGE_MAX]; /* longer than a message, so that what is cut off is marked */
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(draft, sizeof draft, format, arguments);
    va_end(arguments);
    if (length >= 0)
        hl__text_escape(call->error_text, sizeof call->error_text, draft, strlen(draft));
    return HL_GUEST_ERROR;
}
