/* Where a random test takes its decisions from: a fuzzer's input, or a generator that never ends. */
#ifndef HL_TESTS_CHOICES_H
#define HL_TESTS_CHOICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct choices {
    const uint8_t *data; /* NULL: generate */
    size_t size;         /* bytes left */
    uint64_t state;      /* generator; not 0 */
};

/* A number below `bound`, which is not 0. A spent input gives 0 for ever. */
uint64_t choices_below(struct choices *choices, uint64_t bound);

/* Any 64 bits. */
uint64_t choices_word(struct choices *choices);

/* True once in `n` times. A spent input says false. */
static inline bool choices_once_in(struct choices *choices, uint64_t n)
{
    return choices_below(choices, n) == n - 1;
}

/* Whether an input is used up. */
static inline bool choices_spent(const struct choices *choices)
{
    return choices->data && choices->size == 0;
}

#endif
