/* Making hostile text fit for a message: one line, printable, valid UTF-8, bounded. */
#include "util/error.h"

#include <string.h>

/* Bytes of the character whose first byte is `lead`, 0 if none starts so. */
static size_t character_size(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* C0 and C1 control characters, and DEL: a terminal may obey them. */
static bool is_control(const unsigned char *text, size_t size)
{
    return size == 1 ? text[0] < 0x20 || text[0] == 0x7f
                     : size == 2 && text[0] == 0xc2 && text[1] < 0xa0;
}

/* Bytes at `text` that are one character fit to be shown, 0 if its first byte must be escaped. */
static size_t printable_size(const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t length = character_size(bytes[0]);
    if (length == 0 || length > size || !hl__text_is_utf8(text, length) ||
        is_control(bytes, length))
        return 0;
    return length;
}

static void escape_byte(char out[4], unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    out[0] = '\\';
    out[1] = 'x';
    out[2] = digits[byte >> 4];
    out[3] = digits[byte & 15];
}

static void end_cut(char *out, size_t room, size_t used)
{
    size_t dots = room - used < 3 ? room - used : 3;
    memset(out + used, '.', dots);
    out[used + dots] = '\0';
}

void hl__text_escape(char *out, size_t capacity, const char *text, size_t size)
{
    if (capacity == 0)
        return;
    size_t room = capacity - 1;
    size_t used = 0;
    size_t cut = 0; /* the last place between characters where "..." still fits */
    while (size > 0) {
        size_t shown = printable_size(text, size);
        size_t taken = shown ? shown : 1;
        size_t made = shown ? shown : 4;
        if (used + 3 <= room)
            cut = used;
        if (made > room - used) {
            end_cut(out, room, cut);
            return;
        }
        if (shown)
            memcpy(out + used, text, shown);
        else
            escape_byte(out + used, (unsigned char)*text);
        used += made;
        text += taken;
        size -= taken;
    }
    out[used] = '\0';
}
