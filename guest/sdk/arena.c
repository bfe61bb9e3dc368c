#include "arena.h"

#include <stdint.h>
#include <stdlib.h>

#define ARENA_ALIGNMENT 16
#define ARENA_BLOCK_SIZE_MIN (((size_t)64 << 10) - sizeof(struct hl__arena_block) - 32)

static unsigned char *arena_bytes(struct hl__arena_block *block)
{
    return (unsigned char *)(block + 1);
}

void hl__arena_init(struct hl__arena *arena, void *memory, size_t size)
{
    struct hl__arena_block *block = memory;
    *block = (struct hl__arena_block){NULL, size - sizeof *block};
    *arena = (struct hl__arena){block, block, 0};
}

/* Goes on to a kept block that is large enough, or puts a new one behind the current block. */
static struct hl__arena_block *arena_next(struct hl__arena *arena, size_t size)
{
    struct hl__arena_block *block = arena->current->next;
    while (block != NULL && block->size < size)
        block = block->next;
    if (block != NULL)
        return block;
    size_t block_size = size < ARENA_BLOCK_SIZE_MIN ? ARENA_BLOCK_SIZE_MIN : size;
    block = malloc(sizeof *block + block_size);
    if (block == NULL)
        return NULL;
    *block = (struct hl__arena_block){arena->current->next, block_size};
    arena->current->next = block;
    return block;
}

void *hl__arena_take(struct hl__arena *arena, size_t size)
{
    if (size > PTRDIFF_MAX - ARENA_ALIGNMENT - sizeof(struct hl__arena_block))
        return NULL;
    size = (size + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
    if (size > arena->current->size - arena->used) {
        struct hl__arena_block *block = arena_next(arena, size);
        if (block == NULL)
            return NULL;
        arena->current = block;
        arena->used = 0;
    }
    void *piece = arena_bytes(arena->current) + arena->used;
    arena->used += size;
    return piece;
}

/* Frees the blocks that are too much to keep. The first one is the owner's. */
static void arena_trim(struct hl__arena_block *first)
{
    size_t kept = 0;
    struct hl__arena_block **link = &first->next;
    for (struct hl__arena_block *block; (block = *link) != NULL;) {
        if (block->size > HL__ARENA_KEPT_SIZE - kept) {
            *link = block->next;
            free(block);
        } else {
            kept += block->size;
            link = &block->next;
        }
    }
}

void hl__arena_reset(struct hl__arena *arena)
{
    if (arena->current != arena->first)
        arena_trim(arena->first);
    arena->current = arena->first;
    arena->used = 0;
}
