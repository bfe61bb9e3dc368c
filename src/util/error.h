/* Making errors, and checking the options structures of the API. */
#ifndef HL_UTIL_ERROR_H
#define HL_UTIL_ERROR_H

#include "util/placement.h"
#include <hyperlight/error.h>

/* Fills `err` (may be NULL) completely and returns `status`. `source`: static name of the function
 * or system call. */
HL__COLD_PATH hl_status hl__error_set(hl_error *err, hl_status status, const char *source,
                                      const char *format, ...) HL_PRINTF(4, 5);

/* The same for a failed system call: appends ": " and the text of `os_error`. */
HL__COLD_PATH hl_status hl__error_os(hl_error *err, hl_status status, int os_error,
                                     const char *source, const char *format, ...) HL_PRINTF(5, 6);

/* Copies hostile text: at most capacity-1 bytes, control characters, DEL and invalid UTF-8 as \xNN,
 * "..." at the end if it was cut. NUL-terminates. */
void hl__text_escape(char *out, size_t capacity, const char *text, size_t size);

/* Whether `size` bytes are valid UTF-8 (no surrogates, no overlong forms, at most U+10FFFF). */
bool hl__text_is_utf8(const char *text, size_t size);

/* Copies a versioned options structure: at most `known` bytes; the rest of *out stays zero. NULL
 * options: all zero. HL_INVALID_ARGUMENT if the caller's size is below `least` or its unknown tail
 * is not zero. */
hl_status hl__options_copy(void *out, size_t known, size_t least, const void *options,
                           const char *type_name, hl_error *err);

#endif
