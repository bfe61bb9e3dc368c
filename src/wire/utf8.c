/* UTF-8 validation, for the host library and the guest SDK alike. */
#include "util/error.h"
#include "wire/codec.h"

#define HIGH_BITS UINT64_C(0x8080808080808080)

enum { CHUNK = 32 };

static inline bool utf8_chunk_is_ascii(const unsigned char *text)
{
    uint64_t words = hl__wire_word(text) | hl__wire_word(text + 8) | hl__wire_word(text + 16) |
                     hl__wire_word(text + 24);
    return (words & HIGH_BITS) == 0;
}

HL__WARM_PATH static bool utf8_is_ascii(const unsigned char *text, size_t size)
{
    if (size < sizeof(uint64_t))
        return (hl__wire_short_word(text, size) & HIGH_BITS) == 0;
    if (size >= CHUNK) {
        for (size_t at = 0; at < size - CHUNK; at += CHUNK)
            if (!utf8_chunk_is_ascii(text + at))
                return false;
        return utf8_chunk_is_ascii(text + size - CHUNK);
    }
    uint64_t words = hl__wire_word(text + size - sizeof words);
    for (size_t at = 0; at < size - sizeof words; at += sizeof words)
        words |= hl__wire_word(text + at);
    return (words & HIGH_BITS) == 0;
}

/* Bytes of plain ASCII at the start. */
static size_t utf8_ascii_prefix(const unsigned char *text, size_t size)
{
    size_t at = 0;
    while (size - at >= 64 && utf8_is_ascii(text + at, 64))
        at += 64;
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

HL__WARM_PATH bool hl__text_is_utf8(const char *text, size_t size)
{
    return utf8_is_ascii((const unsigned char *)text, size) ||
           hl__wire_utf8_prefix(text, size) == size;
}

/* Whether all bytes are ASCII and none is NUL: subtracting 1 borrows the high bit of a NUL. */
static inline bool utf8_is_plain(const char *text, size_t size)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    for (; size >= sizeof ones; size -= sizeof ones, text += sizeof ones) {
        uint64_t word = hl__wire_word(text);
        if ((word | (word - ones)) & HIGH_BITS)
            return false;
    }
    uint64_t word = hl__wire_short_word(text, size) | ones << (8 * size);
    return ((word | (word - ones)) & HIGH_BITS) == 0;
}

HL__WARM_PATH bool hl__wire_is_name(const hl_span *name)
{
    if (name->data == NULL || name->size < 1 || name->size > HL_NAME_MAX)
        return false;
    return utf8_is_plain(name->data, name->size) ||
           (memchr(name->data, 0, name->size) == NULL && hl__text_is_utf8(name->data, name->size));
}

bool hl__wire_refuse(hl__wire_problem *problem, hl_status status, const char *reason)
{
    problem->status = status;
    problem->reason = reason;
    return false;
}
