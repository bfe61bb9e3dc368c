/* Address spaces: sets of mappings that come and go together. */
#include "memory/address_space.h"
#include "host/edits.h"
#include "memory/heap.h"
#include "memory/memory.h"

static struct hl__address_space first_space = {.id = 1, .references = 1};
static uint32_t last_id = 1;

struct hl__address_space *hl__address_space_first(void)
{
    return &first_space;
}

struct hl__address_space *hl__address_space_new(void)
{
    struct hl__address_space *space = hl__heap_new(sizeof *space);

    if (space)
        *space = (struct hl__address_space){.id = ++last_id, .references = 1};
    return space;
}

void hl__address_space_ref(struct hl__address_space *space)
{
    space->references++;
}

void hl__address_space_unref(struct hl__address_space *space)
{
    if (--space->references)
        return;
    /* What cannot be unmapped now, for want of memory, stays mapped and unused. */
    hl__address_space_clear(space);
    hl__inode_unref(space->executable);
    space->executable = NULL;
    if (space != &first_space)
        hl__heap_free(space, sizeof *space);
}

/* From the first mapping of an owner to the last of those that follow it without one of another owner
 * between. */
static bool next_stretch(uint32_t owner, uint64_t *start, uint64_t *end)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;
    uint32_t i = 0;

    while (i < vmas->count && vmas->items[i].owner != owner)
        i++;
    if (i == vmas->count)
        return false;
    *start = vmas->items[i].start;
    while (i + 1 < vmas->count && vmas->items[i + 1].owner == owner)
        i++;
    *end = vmas->items[i].end;
    return true;
}

bool hl__address_space_clear(struct hl__address_space *space)
{
    struct hl__memory *memory = &hl__memory;
    uint64_t start, end;

    hl__memory_drop_ahead(0, HL_ABI_USER_END);
    while (next_stretch(space->id, &start, &end))
        if (hl__memory_unmap(start, end) < 0)
            return false;
    hl__memory_drop_retired(0, HL_ABI_USER_END);
    hl__edits_send();
    memory->break_ahead = memory->map_ahead = (struct hl__lookahead){0};
    memory->fault_next = 0;
    return true;
}

void hl__address_space_enter(struct hl__address_space *space)
{
    hl__memory.space = space;
    hl__memory.vmas.owner = space->id;
}

bool hl__address_space_foreign(uint64_t start, uint64_t end)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;

    for (uint32_t i = hl__vma_at_or_after(vmas, start);
         i < vmas->count && vmas->items[i].start < end; i++)
        if (vmas->items[i].owner != vmas->owner)
            return true;
    return false;
}
