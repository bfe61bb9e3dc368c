/* UTF-8 validation, for the host library and the guest SDK alike. */
#include "util/error.h"
#include "wire/codec.h"

/* Bytes of plain ASCII at the start, found eight at a time. */
static size_t utf8_ascii_prefix(const unsigned char *text, size_t size)
{
    size_t at = 0;
    while (size - at >= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, text + at, sizeof word);
        if (word & UINT64_C(0x8080808080808080))
            break;
        at += sizeof word;
    }
    while (at < size && text[at] < 0x80)
        at++;
    return at;
}

static bool utf8_is_continuation(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/*
 * Length of the multi-byte sequence at the start, 0 if there is no valid one. The second byte's
 * range excludes overlong forms (E0, F0), surrogates (ED) and what is above U+10FFFF (F4).
 */
static size_t utf8_sequence(const unsigned char *text, size_t size)
{
    unsigned char lead = text[0];
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || size < length)
        return 0;
    unsigned char least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned char greatest = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (text[1] < least || text[1] > greatest)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (!utf8_is_continuation(text[i]))
            return 0;
    return length;
}

size_t hl__wire_utf8_prefix(const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t at = 0;
    while (at < size) {
        if (bytes[at] < 0x80) {
            at += utf8_ascii_prefix(bytes + at, size - at);
            continue;
        }
        size_t length = utf8_sequence(bytes + at, size - at);
        if (length == 0)
            return at;
        at += length;
    }
    return at;
}

bool hl__text_is_utf8(const char *text, size_t size)
{
    return hl__wire_utf8_prefix(text, size) == size;
}
