/*
 * Scratch memory that is given out piece by piece and taken back all at once. It starts in memory
 * that its owner has anyway; further blocks come from malloc and are kept for the next round, so
 * that a warm call asks libc for nothing.
 */
#ifndef HL_SDK_ARENA_H
#define HL_SDK_ARENA_H

#include <stdalign.h>
#include <stddef.h>

struct hl__arena_block {
    struct hl__arena_block *next;
    size_t size; /* bytes behind this head */
};
_Static_assert(sizeof(struct hl__arena_block) == 16, "pieces are 16-byte aligned");

struct hl__arena {
    struct hl__arena_block *first;
    struct hl__arena_block *current;
    size_t used; /* bytes of `current` */
};

/* `memory`: 16-byte aligned, lives as long as the arena. */
void hl__arena_init(struct hl__arena *arena, void *memory, size_t size);

/* 16-byte aligned, not zeroed; NULL if libc has no more. */
void *hl__arena_take(struct hl__arena *arena, size_t size);

/* Takes everything back. Blocks beyond HL__ARENA_KEPT_SIZE return to libc. */
void hl__arena_reset(struct hl__arena *arena);

#define HL__ARENA_KEPT_SIZE ((size_t)4 << 20)

#endif
