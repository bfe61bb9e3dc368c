/* Short texts in fixed buffers: always NUL-terminated, cut where they are full. */
#ifndef HL_SHIM_TEXT_H
#define HL_SHIM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hl__text {
    char *bytes;
    size_t capacity; /* the NUL included */
    size_t size;
};

size_t hl__string_length(const char *string);
bool hl__string_equal(const char *a, const char *b);

void hl__text_start(struct hl__text *text, char *bytes, size_t capacity);
void hl__text_add(struct hl__text *text, const char *string);
/* Bytes that the guest chose: at most `size`, up to a NUL, anything unprintable as '?'. */
void hl__text_add_escaped(struct hl__text *text, const char *bytes, size_t size);
void hl__text_add_number(struct hl__text *text, uint64_t number);
void hl__text_add_hex(struct hl__text *text, uint64_t number);

#endif
