/* Filling error objects. No heap: errors are made when there may be none. */
#include "util/error.h"

#include "os/os.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Longer than a message, so that what is cut off is marked. */
#define DRAFT_SIZE (2 * HL_ERROR_MESSAGE_MAX)

HL_PRINTF(2, 0)
static size_t draft_print(char *draft, const char *format, va_list arguments)
{
    int length = vsnprintf(draft, DRAFT_SIZE, format, arguments);
    if (length < 0)
        return 0;
    return (size_t)length < DRAFT_SIZE ? (size_t)length : DRAFT_SIZE - 1;
}

static hl_status error_fill(hl_error *err, hl_status status, int os_error, const char *source,
                            const char *draft, size_t size)
{
    *err = (hl_error){
        .status = status, .os_error = os_error, .fault_vector = HL_NO_VECTOR, .source = source};
    hl__text_escape(err->message, sizeof err->message, draft, size);
    return status;
}

hl_status hl__error_set(hl_error *err, hl_status status, const char *source, const char *format,
                        ...)
{
    if (!err)
        return status;
    char draft[DRAFT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    size_t size = draft_print(draft, format, arguments);
    va_end(arguments);
    return error_fill(err, status, 0, source, draft, size);
}

hl_status hl__error_os(hl_error *err, hl_status status, int os_error, const char *source,
                       const char *format, ...)
{
    if (!err)
        return status;
    char draft[DRAFT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    size_t size = draft_print(draft, format, arguments);
    va_end(arguments);

    char reason[128];
    hl__os_error_text(os_error, reason, sizeof reason);
    int length = snprintf(draft + size, DRAFT_SIZE - size, ": %s", reason);
    size = length < 0                           ? size
           : size + (size_t)length < DRAFT_SIZE ? size + (size_t)length
                                                : DRAFT_SIZE - 1;
    return error_fill(err, status, os_error, source, draft, size);
}
