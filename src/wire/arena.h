/*
 * Scratch memory that is given out piece by piece and taken back all at once. It starts in memory
 * that its owner has anyway; further blocks come from malloc and are kept for the next round, so
 * that a warm call asks libc for nothing.
 */
#ifndef HL_WIRE_ARENA_H
#define HL_WIRE_ARENA_H

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

struct hl__arena_block {
    struct hl__arena_block *next;
    size_t size; /* bytes behind this head */
};
_Static_assert(sizeof(struct hl__arena_block) == 16, "pieces are 16-byte aligned");

struct hl__arena {
    struct hl__arena_block *first;
    struct hl__arena_block *current;
    size_t used;      /* bytes of `current` */
    size_t block_min; /* size of further blocks, unless a piece needs more */
};

#define HL__ARENA_ALIGNMENT 16

/* Bytes that a piece of that size takes. */
static inline size_t hl__arena_piece(size_t size)
{
    return (size + HL__ARENA_ALIGNMENT - 1) & ~(size_t)(HL__ARENA_ALIGNMENT - 1);
}

/* `first`: 16-byte aligned, lives as long as the arena; `used` bytes of it are taken already. */
static inline void hl__arena_init(struct hl__arena *arena, struct hl__arena_block *first,
                                  size_t used, size_t block_min)
{
    *arena = (struct hl__arena){first, first, hl__arena_piece(used), block_min};
}

/* What is left of the current block begins here. */
static inline unsigned char *hl__arena_free(const struct hl__arena *arena)
{
    return (unsigned char *)(arena->current + 1) + arena->used;
}

/* hl__arena_take() for what does not fit into the current block. */
void *hl__arena_take_more(struct hl__arena *arena, size_t size);

/* 16-byte aligned, not zeroed; NULL if libc has no more. */
static inline void *hl__arena_take(struct hl__arena *arena, size_t size)
{
    if (size > arena->current->size || hl__arena_piece(size) > arena->current->size - arena->used)
        return hl__arena_take_more(arena, size);
    void *piece = hl__arena_free(arena);
    arena->used += hl__arena_piece(size);
    return piece;
}

/* Frees the blocks that are too much to keep: HL__ARENA_KEPT_SIZE beside the first one. */
void hl__arena_trim(struct hl__arena *arena);

/* Takes everything back. Blocks beyond HL__ARENA_KEPT_SIZE return to libc. */
static inline void hl__arena_reset(struct hl__arena *arena)
{
    if (arena->current != arena->first)
        hl__arena_trim(arena);
    arena->current = arena->first;
    arena->used = 0;
}

/* Frees all blocks, the first one too, for an owner that got that from malloc. */
void hl__arena_blocks_free(struct hl__arena_block *first);

#define HL__ARENA_KEPT_SIZE ((size_t)4 << 20)

#endif
