/*
 * Decimal text and binary floating point. To binary: the decimal as a fraction of two big integers,
 * whose quotient has 64 bits and a remainder. To decimal: the digits of Steele and White's free-format
 * algorithm, which ends as soon as what is left is below half of the gap to the neighbours.
 */
#include "functions/decimal.h"

#include <string.h>

/* 10^1124 times 2^64 is the largest: a double's least value, written with the most digits. */
#define BIG_WORDS 128u

struct big {
    uint32_t count; /* the highest word is not zero */
    uint32_t words[BIG_WORDS];
};

/* A format: bits of the significand with the hidden one, least exponent of its last bit, largest. */
struct format {
    int precision, least, greatest;
};
static const struct format double_format = {53, -1074, 971};
static const struct format float_format = {24, -149, 104};

#define TEN_POWER_COUNT 20
static const uint64_t ten_powers[TEN_POWER_COUNT] = {1ull,
                                                     10ull,
                                                     100ull,
                                                     1000ull,
                                                     10000ull,
                                                     100000ull,
                                                     1000000ull,
                                                     10000000ull,
                                                     100000000ull,
                                                     1000000000ull,
                                                     10000000000ull,
                                                     100000000000ull,
                                                     1000000000000ull,
                                                     10000000000000ull,
                                                     100000000000000ull,
                                                     1000000000000000ull,
                                                     10000000000000000ull,
                                                     100000000000000000ull,
                                                     1000000000000000000ull,
                                                     10000000000000000000ull};

static int bit_length(uint64_t number)
{
    return number ? 64 - __builtin_clzll(number) : 0;
}

static void big_set(struct big *big, uint64_t number)
{
    big->words[0] = (uint32_t)number;
    big->words[1] = (uint32_t)(number >> 32);
    big->count = number >> 32 ? 2 : number ? 1 : 0;
}

static int big_bits(const struct big *big)
{
    return big->count ? (int)(big->count - 1) * 32 + bit_length(big->words[big->count - 1]) : 0;
}

static void big_multiply_add(struct big *big, uint32_t factor, uint32_t addend)
{
    uint64_t carry = addend;

    for (uint32_t i = 0; i < big->count; i++) {
        carry += (uint64_t)big->words[i] * factor;
        big->words[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry)
        big->words[big->count++] = (uint32_t)carry;
}

static void big_multiply_ten_power(struct big *big, uint32_t power)
{
    for (; power >= 9; power -= 9)
        big_multiply_add(big, 1000000000, 0);
    if (power)
        big_multiply_add(big, (uint32_t)ten_powers[power], 0);
}

static void big_shift_left(struct big *big, int bits)
{
    uint32_t words = (uint32_t)bits / 32, rest = (uint32_t)bits % 32;

    if (!big->count)
        return;
    memmove(big->words + words, big->words, big->count * sizeof *big->words);
    memset(big->words, 0, words * sizeof *big->words);
    big->count += words;
    if (rest) {
        uint64_t carry = 0;

        for (uint32_t i = words; i < big->count; i++) {
            carry |= (uint64_t)big->words[i] << rest;
            big->words[i] = (uint32_t)carry;
            carry >>= 32;
        }
        if (carry)
            big->words[big->count++] = (uint32_t)carry;
    }
}

static int big_compare(const struct big *a, const struct big *b)
{
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    for (uint32_t i = a->count; i-- > 0;)
        if (a->words[i] != b->words[i])
            return a->words[i] < b->words[i] ? -1 : 1;
    return 0;
}

/* Compares a + b with c. */
static int big_compare_sum(const struct big *a, const struct big *b, const struct big *c)
{
    const struct big *longer = a->count >= b->count ? a : b, *other = longer == a ? b : a;
    struct big sum;
    uint64_t carry = 0;

    sum.count = longer->count;
    for (uint32_t i = 0; i < sum.count; i++) {
        carry += (uint64_t)longer->words[i] + (i < other->count ? other->words[i] : 0);
        sum.words[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry)
        sum.words[sum.count++] = (uint32_t)carry;
    return big_compare(&sum, c);
}

/* a -= b, which is not greater. */
static void big_subtract(struct big *a, const struct big *b)
{
    int64_t carry = 0;

    for (uint32_t i = 0; i < a->count; i++) {
        carry += (int64_t)a->words[i] - (i < b->count ? b->words[i] : 0);
        a->words[i] = (uint32_t)carry;
        carry >>= 32;
    }
    while (a->count && !a->words[a->count - 1])
        a->count--;
}

/* The quotient, which has at most 64 bits; `a` becomes the remainder, shifted. */
static uint64_t big_divide(struct big *a, struct big *b)
{
    uint64_t quotient = 0;

    /* Bit by bit from the top: a is doubled instead of halving b. */
    big_shift_left(b, 63);
    for (int bit = 63; bit >= 0; bit--) {
        if (big_compare(a, b) >= 0) {
            big_subtract(a, b);
            quotient |= 1ull << bit;
        }
        if (!a->count)
            break;
        big_shift_left(a, 1);
    }
    return quotient;
}

/*
 * Rounds number * 2^exponent, and a bit more if `sticky`, to a format. Returns the bits of its
 * significand and biased exponent; 0 in *fits if it is too large.
 */
static uint64_t assemble(const struct format *format, uint64_t number, int exponent, bool sticky,
                         bool *fits)
{
    int drop = bit_length(number) - format->precision;
    uint64_t half, rest;

    if (exponent + drop < format->least)
        drop = format->least - exponent;
    if (drop > 64)
        drop = 65;
    if (drop > 0) {
        rest = drop > 63 ? number : number & ((1ull << drop) - 1);
        half = drop > 64 ? 0 : 1ull << (drop - 1);
        number = drop > 63 ? 0 : number >> drop;
        if (drop <= 64 && (rest > half || (rest == half && (sticky || (number & 1)))))
            number++;
    } else {
        number <<= -drop;
    }
    exponent += drop;
    if (number >> format->precision) {
        number >>= 1;
        exponent++;
    }
    *fits = exponent <= format->greatest;
    if (!(number >> (format->precision - 1)))
        return number; /* subnormal or zero */
    /* The hidden bit adds one to the biased exponent. */
    return ((uint64_t)(exponent - format->least) << (format->precision - 1)) + number;
}

/* A quotient of 128 and 64 bits; high < divisor. */
static uint64_t divide_wide(uint64_t high, uint64_t low, uint64_t divisor, uint64_t *remainder)
{
    uint64_t quotient;

    __asm__("divq %4"
            : "=a"(quotient), "=d"(*remainder)
            : "a"(low), "d"(high), "r"(divisor)
            : "cc");
    return quotient;
}

/* digits * 10^power, where both fit into a register. */
static uint64_t convert_small(const struct format *format, uint64_t digits, int power, bool *fits)
{
    int digits_shift, divisor_shift;
    uint64_t divisor, remainder, quotient;

    if (power >= 0) {
        unsigned __int128 product = (unsigned __int128)digits * ten_powers[power];
        int wide = bit_length((uint64_t)(product >> 64));

        return assemble(format, (uint64_t)(product >> wide), wide,
                        (product & (((unsigned __int128)1 << wide) - 1)) != 0, fits);
    }
    divisor = ten_powers[-power];
    digits_shift = 64 - bit_length(digits);
    divisor_shift = 64 - bit_length(divisor);
    digits <<= digits_shift;
    divisor <<= divisor_shift;
    quotient = divide_wide(digits >> 1, digits << 63, divisor, &remainder);
    return assemble(format, quotient, divisor_shift - digits_shift - 63, remainder != 0, fits);
}

static uint64_t convert_large(const struct format *format, const struct hl__decimal *decimal,
                              int power, bool *fits)
{
    struct big dividend, divisor;
    int shift;

    big_set(&dividend, 0);
    big_set(&divisor, 1);
    for (uint32_t i = 0; i < decimal->digit_count; i++) {
        if (dividend.count || decimal->digits[i])
            big_multiply_add(&dividend, 10, decimal->digits[i]);
    }
    if (power > 0)
        big_multiply_ten_power(&dividend, (uint32_t)power);
    else
        big_multiply_ten_power(&divisor, (uint32_t)-power);
    shift = 63 + big_bits(&divisor) - big_bits(&dividend);
    if (shift >= 0)
        big_shift_left(&dividend, shift);
    else
        big_shift_left(&divisor, -shift);

    uint64_t quotient = big_divide(&dividend, &divisor);

    return assemble(format, quotient, -shift, dividend.count || decimal->sticky, fits);
}

static uint64_t convert(const struct format *format, const struct hl__decimal *decimal, bool *fits)
{
    enum { REGISTER_DIGITS = 19, GREATEST = 309, LEAST = -323 };
    int power;

    *fits = decimal->exponent <= GREATEST || !decimal->digit_count;
    if (!decimal->digit_count || !*fits || decimal->exponent < LEAST)
        return 0;
    power = (int)decimal->exponent - (int)decimal->digit_count;
    if (decimal->digit_count <= REGISTER_DIGITS && power > -TEN_POWER_COUNT &&
        power < TEN_POWER_COUNT && !decimal->sticky) {
        uint64_t digits = 0;

        for (uint32_t i = 0; i < decimal->digit_count; i++)
            digits = digits * 10 + decimal->digits[i];
        return convert_small(format, digits, power, fits);
    }
    return convert_large(format, decimal, power, fits);
}

bool hl__decimal_to_double(const struct hl__decimal *decimal, uint64_t *bits)
{
    bool fits;

    *bits = convert(&double_format, decimal, &fits);
    return fits;
}

bool hl__decimal_to_float(const struct hl__decimal *decimal, uint32_t *bits)
{
    bool fits;

    *bits = (uint32_t)convert(&float_format, decimal, &fits);
    return fits;
}

/* A finite number of a format as significand * 2^exponent. */
static uint64_t unpack(const struct format *format, uint64_t bits, int *exponent)
{
    int biased = (int)(bits >> (format->precision - 1)); /* without a sign */
    uint64_t fraction = bits & ((1ull << (format->precision - 1)) - 1);

    *exponent = format->least + (biased ? biased - 1 : 0);
    return biased ? fraction | 1ull << (format->precision - 1) : fraction;
}

#define DOUBLE_SIGN (1ull << 63)
#define DOUBLE_INFINITY (0x7ffull << 52)
#define FLOAT_SIGN (1u << 31)
#define FLOAT_INFINITY (0xffu << 23)

uint32_t hl__double_to_float(uint64_t bits)
{
    uint32_t sign = bits & DOUBLE_SIGN ? FLOAT_SIGN : 0;
    uint64_t magnitude = bits & ~DOUBLE_SIGN;
    uint32_t result;
    bool fits;
    int exponent;

    if (magnitude > DOUBLE_INFINITY)
        return sign | FLOAT_INFINITY | 1u << 22;
    if (magnitude == DOUBLE_INFINITY)
        return sign | FLOAT_INFINITY;
    magnitude = unpack(&double_format, magnitude, &exponent);
    result = (uint32_t)assemble(&float_format, magnitude, exponent, false, &fits);
    return sign | (fits ? result : FLOAT_INFINITY);
}

uint64_t hl__float_to_double(uint32_t bits)
{
    uint64_t sign = bits & FLOAT_SIGN ? DOUBLE_SIGN : 0;
    uint64_t magnitude = bits & ~FLOAT_SIGN;
    bool fits;
    int exponent;

    if (magnitude >= FLOAT_INFINITY)
        return sign | DOUBLE_INFINITY | (magnitude & 0x7fffff) << 29;
    magnitude = unpack(&float_format, magnitude, &exponent);
    return sign | assemble(&double_format, magnitude, exponent, false, &fits);
}

uint64_t hl__whole_to_double(uint64_t magnitude, bool negative)
{
    bool fits;

    return assemble(&double_format, magnitude, 0, false, &fits) | (negative ? DOUBLE_SIGN : 0);
}

/* A number between its neighbours: value = r / s, half of the gap above is above / s, and below. */
struct digits {
    struct big r, s, above, below;
    bool closed; /* the ends of the interval read back as the number, too */
};

static void digits_start(struct digits *d, const struct format *format, uint64_t number,
                         int exponent)
{
    bool uneven = number == 1ull << (format->precision - 1) &&
                  exponent > format->least; /* gap below is half */
    int up = exponent > 0 ? exponent : 0, down = exponent < 0 ? -exponent : 0;

    big_set(&d->r, number);
    big_set(&d->s, 1);
    big_set(&d->above, 1);
    big_set(&d->below, 1);
    big_shift_left(&d->r, up + 1 + uneven);
    big_shift_left(&d->s, down + 1 + uneven);
    big_shift_left(&d->above, up + uneven);
    big_shift_left(&d->below, up);
    d->closed = !(number & 1);
}

/* Scales so that the first digit stands before the point. Returns the exponent: 0.d1d2... * 10^it. */
static int digits_scale(struct digits *d, uint64_t number, int exponent)
{
    /* At most one too small: log10(2) * 2^20 is 315652.8. */
    int64_t scaled = (int64_t)(exponent + bit_length(number) - 1) * 315653;
    int power = (int)(scaled >> 20);

    if (power > 0) {
        big_multiply_ten_power(&d->s, (uint32_t)power);
    } else {
        big_multiply_ten_power(&d->r, (uint32_t)-power);
        big_multiply_ten_power(&d->above, (uint32_t)-power);
        big_multiply_ten_power(&d->below, (uint32_t)-power);
    }
    for (;;) {
        int order = big_compare_sum(&d->r, &d->above, &d->s);

        if (order < 0 || (order == 0 && !d->closed))
            break;
        big_multiply_add(&d->s, 10, 0);
        power++;
    }
    return power;
}

static char digits_next(struct digits *d)
{
    char digit = '0';

    big_multiply_add(&d->r, 10, 0);
    big_multiply_add(&d->above, 10, 0);
    big_multiply_add(&d->below, 10, 0);
    while (big_compare(&d->r, &d->s) >= 0) {
        big_subtract(&d->r, &d->s);
        digit++;
    }
    return digit;
}

/* Whether what is left is more than half of a digit's worth; exactly half rounds to even. */
static bool is_nearer_above(const struct digits *d, char digit)
{
    int order = big_compare_sum(&d->r, &d->r, &d->s);

    return order > 0 || (order == 0 && (digit & 1));
}

/* All digits; returns their number. */
static uint32_t digits_make(struct digits *d, char *digits)
{
    for (uint32_t count = 0;;) {
        char digit = digits_next(d);
        int low = big_compare(&d->r, &d->below), high = big_compare_sum(&d->r, &d->above, &d->s);
        bool low_ends = low < 0 || (low == 0 && d->closed);
        bool high_ends = high > 0 || (high == 0 && d->closed);

        if (high_ends && (!low_ends || is_nearer_above(d, digit)))
            digit++;
        digits[count++] = digit;
        if (low_ends || high_ends)
            return count;
    }
}

static size_t text_put(char *text, size_t at, const char *bytes, size_t size)
{
    memcpy(text + at, bytes, size);
    return at + size;
}

static size_t text_put_zeroes(char *text, size_t at, size_t count)
{
    memset(text + at, '0', count);
    return at + count;
}

/* 0.d1d2... * 10^point as text. */
static size_t layout(char *text, size_t at, const char *digits, uint32_t count, int point)
{
    enum { LEAST_POINT = -3, GREATEST_POINT = 16 };
    int exponent = point - 1;

    if (point > 0 && point <= GREATEST_POINT) {
        uint32_t before = (uint32_t)point < count ? (uint32_t)point : count;

        at = text_put(text, at, digits, before);
        at = text_put_zeroes(text, at, (uint32_t)point - before);
        text[at++] = '.';
        return before == count ? text_put_zeroes(text, at, 1)
                               : text_put(text, at, digits + before, count - before);
    }
    if (point <= 0 && point >= LEAST_POINT) {
        at = text_put_zeroes(text, text_put(text, at, "0.", 2), (size_t)-point);
        return text_put(text, at, digits, count);
    }
    text[at++] = digits[0];
    if (count > 1) {
        text[at++] = '.';
        at = text_put(text, at, digits + 1, count - 1);
    }
    text[at++] = 'e';
    text[at++] = exponent < 0 ? '-' : '+';
    exponent = exponent < 0 ? -exponent : exponent;
    if (exponent >= 100)
        text[at++] = (char)('0' + exponent / 100);
    text[at++] = (char)('0' + exponent / 10 % 10);
    text[at++] = (char)('0' + exponent % 10);
    return at;
}

static size_t make_text(char *text, const struct format *format, uint64_t bits, bool negative)
{
    struct digits d;
    char digits[HL__DECIMAL_TEXT_MAX];
    int exponent, point;
    uint64_t number = unpack(format, bits, &exponent);
    size_t at = 0;

    if (negative)
        text[at++] = '-';
    if (!number)
        return text_put(text, at, "0.0", 3);
    digits_start(&d, format, number, exponent);
    point = digits_scale(&d, number, exponent);
    return layout(text, at, digits, digits_make(&d, digits), point);
}

size_t hl__double_text(char *text, uint64_t bits)
{
    return make_text(text, &double_format, bits & ~DOUBLE_SIGN, bits & DOUBLE_SIGN);
}

size_t hl__float_text(char *text, uint32_t bits)
{
    return make_text(text, &float_format, bits & ~FLOAT_SIGN, bits & FLOAT_SIGN);
}
