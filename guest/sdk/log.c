/* Lines for the host application's log. */
#include "sdk.h"

#include <stdarg.h>
#include <stdio.h>

#define LOG_LEVEL_ERROR 1
#define LOG_LEVEL_TRACE 5

static int log_level_clamped(int level)
{
    if (level < LOG_LEVEL_ERROR)
        return LOG_LEVEL_ERROR;
    return level > LOG_LEVEL_TRACE ? LOG_LEVEL_TRACE : level;
}

void hl_guest_log(int level, const char *format, ...)
{
    const struct hl_abi_shim *shim = hl__guest_shim();
    char line[HL_ABI_LOG_SIZE_MAX + 1];
    if (shim == NULL)
        return;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    uint64_t size = length < (int)sizeof line ? (uint64_t)length : sizeof line - 1;
    shim->call(HL_ABI_OP_LOG, (uint64_t)log_level_clamped(level), (uintptr_t)line, size, 0);
}
