/*
 * Floating-point numbers as decimal text and back, with integers alone: the shim may use no vector
 * register, and the program's own are in them. Both directions are exact.
 */
#ifndef HL_SHIM_DECIMAL_H
#define HL_SHIM_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More digits than any double needs: those behind them only matter if one is not zero. */
#define HL__DECIMAL_DIGITS_MAX 800u

/* 0.d1d2d3... without leading zeroes, times 10^exponent. */
struct hl__decimal {
    uint32_t digit_count; /* 0: the number is zero */
    bool sticky;          /* a digit that is not zero follows */
    int64_t exponent;
    uint8_t digits[HL__DECIMAL_DIGITS_MAX]; /* 0 to 9 */
};

/* Bits of the nearest double, ties to even, without a sign. False: too large for one. */
bool hl__decimal_to_double(const struct hl__decimal *decimal, uint64_t *bits);
/* The same for a float. */
bool hl__decimal_to_float(const struct hl__decimal *decimal, uint32_t *bits);

/* The bits of a float that is nearest to a double, and of the double that equals a float. Values beyond
 * a float's range become infinite; NaN stays NaN. */
uint32_t hl__double_to_float(uint64_t bits);
uint64_t hl__float_to_double(uint32_t bits);
/* The double that is nearest to a whole number. */
uint64_t hl__whole_to_double(uint64_t magnitude, bool negative);

/* Longest text of hl__double_text() and hl__float_text(). */
#define HL__DECIMAL_TEXT_MAX 32u

/*
 * The shortest text that reads back as the same finite number, the nearest of these to it; there is
 * always a point or an exponent. As Python writes it: 0.0001, 1e-05, 123.0, 1e+16. Returns its length;
 * no NUL.
 */
size_t hl__double_text(char *text, uint64_t bits);
size_t hl__float_text(char *text, uint32_t bits);

#endif
