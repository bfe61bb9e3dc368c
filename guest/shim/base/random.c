/*
 * A ChaCha20 generator with fast key erasure: of each request's keystream the first 32 bytes
 * become the next key, so that what was given out cannot be computed again from the state left
 * behind.
 */
#include "base/random.h"
#include "base/linux.h"
#include "entry/access.h"
#include "entry/state.h"
#include "entry/syscall.h"

#include <string.h>

#define BLOCK_SIZE 64

static uint32_t rotate(uint32_t value, int bits)
{
    return value << bits | value >> (32 - bits);
}

static void quarter_round(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    *a += *b, *d = rotate(*d ^ *a, 16);
    *c += *d, *b = rotate(*b ^ *c, 12);
    *a += *b, *d = rotate(*d ^ *a, 8);
    *c += *d, *b = rotate(*b ^ *c, 7);
}

void hl__chacha20_block(uint32_t out[16], const uint32_t key[8], uint64_t counter, uint64_t nonce)
{
    uint32_t start[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

    memcpy(start + 4, key, 32);
    memcpy(start + 12, &counter, 8);
    memcpy(start + 14, &nonce, 8);
    memcpy(out, start, BLOCK_SIZE);
    for (int i = 0; i < 10; i++) {
        for (int column = 0; column < 4; column++)
            quarter_round(&out[column], &out[4 + column], &out[8 + column], &out[12 + column]);
        for (int column = 0; column < 4; column++)
            quarter_round(&out[column], &out[4 + (column + 1) % 4], &out[8 + (column + 2) % 4],
                          &out[12 + (column + 3) % 4]);
    }
    for (int i = 0; i < 16; i++)
        out[i] += start[i];
}

static void random_reseed(struct hl__random_state *random)
{
    random->generation = HL__WAKE->generation;
    random->block_count = 0;
    memcpy(random->key, HL__WAKE->seed, sizeof random->key);
}

/* The next block; the key it came from is gone afterwards. Returns the bytes that may be given
 * out. */
static const uint8_t *random_block(uint32_t block[16])
{
    struct hl__random_state *random = &hl__hot.random;

    if (random->generation != HL__WAKE->generation)
        random_reseed(random);
    hl__chacha20_block(block, random->key, random->block_count++, 0);
    memcpy(random->key, block, sizeof random->key);
    return (const uint8_t *)block + sizeof random->key;
}

void hl__random_bytes(void *to, size_t size)
{
    uint32_t block[16];
    uint8_t *at = to;

    while (size) {
        const uint8_t *bytes = random_block(block);
        size_t part = size < 32 ? size : 32;

        memcpy(at, bytes, part);
        at += part;
        size -= part;
    }
}

uint64_t hl__random_number(void)
{
    uint64_t number;

    hl__random_bytes(&number, sizeof number);
    return number;
}

HL__SYSCALL(getrandom)
{
    enum { GRND_FLAGS = 7 };
    uint64_t size = arg[1] < 0x1ffffff ? arg[1] : 0x1ffffff;
    uint8_t bytes[256];

    if (arg[2] & ~(uint64_t)GRND_FLAGS)
        return -EINVAL;
    for (uint64_t done = 0; done < size;) {
        size_t part = size - done < sizeof bytes ? size - done : sizeof bytes;

        hl__random_bytes(bytes, part);
        if (hl__user_write(arg[0] + done, bytes, part) < 0)
            return done ? (int64_t)done : -EFAULT;
        done += part;
    }
    return (int64_t)size;
}
