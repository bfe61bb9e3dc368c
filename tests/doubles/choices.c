/* Decisions from bytes, or from xorshift64. */
#include "doubles/choices.h"

#include <string.h>

static uint64_t choices_bytes(struct choices *choices, size_t size)
{
    uint64_t number = 0;
    size_t taken = size < choices->size ? size : choices->size;
    memcpy(&number, choices->data, taken);
    choices->data += taken;
    choices->size -= taken;
    return number;
}

static uint64_t choices_generate(struct choices *choices)
{
    choices->state ^= choices->state << 13;
    choices->state ^= choices->state >> 7;
    choices->state ^= choices->state << 17;
    return choices->state * 0x2545f4914f6cdd1du;
}

uint64_t choices_below(struct choices *choices, uint64_t bound)
{
    if (!choices->data)
        return (choices_generate(choices) >> 16) % bound;
    size_t size = bound <= 1 ? 0 : bound <= 256 ? 1 : bound <= 65536 ? 2 : 8;
    return choices_bytes(choices, size) % bound;
}

uint64_t choices_word(struct choices *choices)
{
    return choices->data ? choices_bytes(choices, 8) : choices_generate(choices);
}
