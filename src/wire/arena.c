#include "wire/arena.h"
#include "util/placement.h"

#include <stdlib.h>

/* Goes on to a kept block that is large enough, or puts a new one behind the current block. */
static struct hl__arena_block *arena_next(struct hl__arena *arena, size_t size)
{
    struct hl__arena_block *block = arena->current->next;
    while (block != NULL && block->size < size)
        block = block->next;
    if (block != NULL)
        return block;
    size_t block_size = size < arena->block_min ? arena->block_min : size;
    block = malloc(sizeof *block + block_size);
    if (block == NULL)
        return NULL;
    *block = (struct hl__arena_block){arena->current->next, block_size};
    arena->current->next = block;
    return block;
}

void *hl__arena_take_more(struct hl__arena *arena, size_t size)
{
    if (size > PTRDIFF_MAX - HL__ARENA_ALIGNMENT - sizeof(struct hl__arena_block))
        return NULL;
    struct hl__arena_block *block = arena_next(arena, hl__arena_piece(size));
    if (block == NULL)
        return NULL;
    arena->current = block;
    arena->used = hl__arena_piece(size);
    return block + 1;
}

void hl__arena_trim(struct hl__arena *arena)
{
    size_t kept = 0;
    struct hl__arena_block **link = &arena->first->next;
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

HL__WARM_PATH void hl__arena_blocks_free(struct hl__arena_block *first)
{
    while (first != NULL) {
        struct hl__arena_block *next = first->next;
        free(first);
        first = next;
    }
}
