/* Short texts in fixed buffers. */
#include "base/text.h"

size_t hl__string_length(const char *string)
{
    size_t length = 0;

    while (string[length])
        length++;
    return length;
}

bool hl__string_equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

void hl__text_start(struct hl__text *text, char *bytes, size_t capacity)
{
    text->bytes = bytes;
    text->capacity = capacity;
    text->size = 0;
    bytes[0] = 0;
}

static void text_add_byte(struct hl__text *text, char byte)
{
    if (text->size + 1 >= text->capacity)
        return;
    text->bytes[text->size++] = byte;
    text->bytes[text->size] = 0;
}

void hl__text_add(struct hl__text *text, const char *string)
{
    while (*string)
        text_add_byte(text, *string++);
}

void hl__text_add_escaped(struct hl__text *text, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size && bytes[i]; i++)
        text_add_byte(text, bytes[i] >= ' ' && bytes[i] <= '~' ? bytes[i] : '?');
}

static void text_add_digits(struct hl__text *text, uint64_t number, unsigned base)
{
    char digits[20];
    int count = 0;

    do
        digits[count++] = "0123456789abcdef"[number % base];
    while (number /= base);
    while (count)
        text_add_byte(text, digits[--count]);
}

void hl__text_add_number(struct hl__text *text, uint64_t number)
{
    text_add_digits(text, number, 10);
}

void hl__text_add_hex(struct hl__text *text, uint64_t number)
{
    hl__text_add(text, "0x");
    text_add_digits(text, number, 16);
}
