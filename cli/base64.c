/* Base64 of RFC 4648 with padding, for byte arrays in JSON. */
#include "cli.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_write(FILE *out, const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        unsigned int bits = (unsigned int)data[i] << 16;
        if (left > 1)
            bits |= (unsigned int)data[i + 1] << 8;
        if (left > 2)
            bits |= data[i + 2];
        fputc(alphabet[bits >> 18], out);
        fputc(alphabet[bits >> 12 & 63], out);
        fputc(left > 1 ? alphabet[bits >> 6 & 63] : '=', out);
        fputc(left > 2 ? alphabet[bits & 63] : '=', out);
    }
}

/* Value of a character, -1 if it is not of the alphabet. */
static int digit_value(char character)
{
    if (character >= 'A' && character <= 'Z')
        return character - 'A';
    if (character >= 'a' && character <= 'z')
        return character - 'a' + 26;
    if (character >= '0' && character <= '9')
        return character - '0' + 52;
    return character == '+' ? 62 : character == '/' ? 63 : -1;
}

/* Characters that carry bits; `length` is a multiple of 4. */
static size_t unpadded_length(const char *text, size_t length)
{
    if (length && text[length - 1] == '=')
        length--;
    if (length % 4 == 3 && text[length - 1] == '=')
        length--;
    return length;
}

bool base64_decode(const char *text, size_t length, unsigned char *data, size_t *size)
{
    if (length % 4 != 0)
        return false;
    size_t digits = unpadded_length(text, length);
    unsigned int bits = 0;
    *size = 0;
    for (size_t i = 0; i < digits; i++) {
        int value = digit_value(text[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (unsigned int)value;
        if (i % 4 != 0)
            data[(*size)++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
    }
    return (bits & ((1u << (digits % 4 * 6 % 8)) - 1)) == 0;
}
