/* The text of a failed call, printf-style. */
#include "sdk.h"

#include <stdarg.h>
#include <stdio.h>

hl_status hl_guest_fail(const char *format, ...)
{
    char *text = hl__guest_fail_text;
    const int capacity = sizeof hl__guest_fail_text;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, (size_t)capacity, format, arguments);
    va_end(arguments);
    if (length < 0) { /* an encoding error of libc: the format is better than nothing */
        struct hl__guest_text plain = {text, (size_t)capacity, 0};
        hl__guest_text_add(&plain, format, strlen(format));
        length = (int)plain.size;
    }
    bool cut = length >= capacity;
    hl__guest_text_clean(text, (size_t)(cut ? capacity - 1 : length), cut);
    hl__guest.failed = true;
    return HL_GUEST_ERROR;
}
