/* Log lines: made only if someone wants them, always one printable line. */
#include "context/context.h"
#include "util/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool log_wants(const hl_context *context, hl_log_level level)
{
    return context->log_sink && context->log_level != HL_LOG_NONE && level <= context->log_level;
}

static void log_send(const hl_context *context, hl_log_level level, hl_log_source source,
                     const char *text, size_t size)
{
    char line[HL_LOG_LINE_MAX];
    hl__text_escape(line, sizeof line, text, size);
    context->log_sink(level, source, line, context->log_user);
}

void hl__log(const hl_context *context, hl_log_level level, const char *format, ...)
{
    if (!log_wants(context, level))
        return;
    char draft[2 * HL_LOG_LINE_MAX]; /* longer than a line, so that what is cut off is marked */
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(draft, sizeof draft, format, arguments);
    va_end(arguments);
    if (length >= 0)
        log_send(context, level, HL_LOG_HOST, draft, strlen(draft));
}

void hl__log_hostile(const hl_context *context, hl_log_level level, hl_log_source source,
                     const char *text, size_t size, bool always)
{
    if (log_wants(context, level) || (always && context->log_sink))
        log_send(context, level, source, text, size);
}
