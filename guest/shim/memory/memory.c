/* Mappings: making, removing and changing them, and where they go. */
#include "memory/memory.h"
#include "base/linux.h"
#include "host/edits.h"
#include "memory/stubs.h"

#include <string.h>

/* So many unmappings take effect at once: a program that makes no more sees just what Linux does. */
#define UNMAPS_AT_ONCE 16384u
#define RETIRE_SIZE_MAX (64ull << 10)
#define LOW_START 0x40000000ull /* where MAP_32BIT looks */
#define LOW_END 0x80000000ull
/* From here up to map_base there is room for what is too large above that. */
#define VAST_START 0x100000000000ull

bool hl__memory_range_valid(uint64_t start, uint64_t size)
{
    return start >= HL_ABI_USER_START && start < HL_ABI_USER_END && size <= HL_ABI_USER_END - start;
}

int64_t hl__memory_map(uint64_t start, uint64_t end, uint64_t flags)
{
    struct hl__vma vma = {.start = start, .end = end, .flags = flags};

    if (hl__memory_reserve_vmas() < 0)
        return -ENOMEM;
    if (flags != HL__VMA_DATA || hl__memory.retired.count == HL__RETIRED_MAX) {
        hl__memory_drop_retired(start, end);
        hl__edits_send();
    }
    hl__vma_insert(&hl__memory.vmas, &vma);
    hl__memory_revive(start, end);
    return 0;
}

int64_t hl__memory_map_file(uint64_t start, uint64_t end, uint64_t flags, struct hl__inode *inode,
                            uint64_t offset)
{
    struct hl__vma vma = {
        .start = start, .end = end, .flags = flags, .offset = offset, .inode = inode};

    if (hl__memory_reserve_vmas() < 0)
        return -ENOMEM;
    hl__memory_drop_retired(start, end);
    hl__vma_insert(&hl__memory.vmas, &vma);
    if (flags & HL_ABI_RIGHT_EXECUTE)
        hl__stubs_map(start, end);
    return 0;
}

/* Gives back what is behind one mapping's part of a range; widens [*low, *high) by what the host
 * still maps. */
static void unmap_piece(uint64_t start, uint64_t end, uint64_t *low, uint64_t *high)
{
    uint64_t first = hl__table_next(&hl__memory.table, start, end);

    if (first >= end)
        return;
    hl__memory_unback(first, end);
    if (first < *low)
        *low = first;
    *high = end;
}

/* Whether a range may stay with the host for a while after it was unmapped. */
static bool may_retire(uint64_t start, uint64_t end)
{
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, start);

    return end - start <= RETIRE_SIZE_MAX && vma && vma->end >= end && !vma->inode &&
           vma->flags == HL__VMA_DATA && hl__memory.unmap_count++ >= UNMAPS_AT_ONCE;
}

/* Whether a border of the range lies within a mapping, which it splits. */
static bool splits_at(uint64_t address)
{
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, address);

    return vma && vma->start < address;
}

/* Room for the mappings that an unmapping leaves: it needs none if it splits none. */
static int64_t reserve_splits(uint64_t start, uint64_t end)
{
    if (!splits_at(start) && !splits_at(end))
        return 0;
    return hl__memory_reserve_vmas();
}

int64_t hl__memory_unmap(uint64_t start, uint64_t end)
{
    struct hl__vmas *vmas = &hl__memory.vmas;
    uint64_t low = end, high = start;

    hl__memory_drop_ahead(start, end);
    if (reserve_splits(start, end) < 0)
        return -ENOMEM;
    if (may_retire(start, end)) {
        hl__vma_remove(vmas, start, end);
        hl__memory_retire(start, end);
        return 0;
    }
    hl__stubs_unmap(start, end);
    for (uint32_t i = hl__vma_at_or_after(vmas, start);
         i < vmas->count && vmas->items[i].start < end; i++) {
        const struct hl__vma *vma = &vmas->items[i];

        unmap_piece(vma->start > start ? vma->start : start, vma->end < end ? vma->end : end, &low,
                    &high);
    }
    hl__vma_remove(vmas, start, end);
    if (low < high) {
        hl__edits_add(low, HL__PAGES(high - low), HL_ABI_SOURCE_NONE, 0, 0);
        hl__memory_drop_retired(low, high);
    }
    return hl__edits_flush();
}

/* The lowest hole of `size` bytes in [from, limit), 0 if none. Memory mapped ahead counts as taken
 * unless `use_ahead`. */
static uint64_t find_hole(uint64_t from, uint64_t limit, uint64_t size, bool use_ahead)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;
    const struct hl__lookahead *ahead = &hl__memory.map_ahead;

    for (uint32_t i = hl__vma_at_or_after(vmas, from);; i++) {
        uint64_t end =
            i < vmas->count && vmas->items[i].start < limit ? vmas->items[i].start : limit;

        if (!use_ahead && ahead->start < end && ahead->end > from) {
            if (ahead->start >= from && ahead->start - from >= size)
                return from;
            from = ahead->end;
        }
        if (end >= from && end - from >= size)
            return from;
        if (end == limit)
            return 0;
        from = vmas->items[i].end;
    }
}

/* Up to where addresses from `address` on are free. */
uint64_t hl__memory_hole_end(uint64_t address)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;
    uint32_t i = hl__vma_at_or_after(vmas, address);

    if (i == vmas->count)
        return HL_ABI_USER_END;
    return vmas->items[i].start > address ? vmas->items[i].start : address;
}

/* Up to where, below `limit`, pages may be mapped ahead behind `address`. */
uint64_t hl__memory_ahead_limit(uint64_t address, uint64_t limit)
{
    uint64_t retired = hl__retired_next(&hl__memory.retired, address);

    return retired < limit ? retired : limit;
}

static bool hint_usable(uint64_t hint, uint64_t size)
{
    return hl__memory_range_valid(hint, size) && !hl__vma_any(&hl__memory.vmas, hint, hint + size);
}

uint64_t hl__memory_place(uint64_t hint, uint64_t size, uint64_t room, uint64_t mmap_flags,
                          bool use_ahead)
{
    uint64_t place = 0;

    hint = HL__PAGE_DOWN(hint);
    if (hint && hint_usable(hint, size + room)) {
        hl__memory_drop_ahead(hint, hint + size);
        return hint;
    }
    if (mmap_flags & MAP_32BIT)
        return find_hole(LOW_START, LOW_END, size, false);
    if (room)
        place = find_hole(hl__memory.map_base, HL_ABI_USER_END, size + room, false);
    if (!place)
        place = find_hole(hl__memory.map_base, HL_ABI_USER_END, size, use_ahead);
    if (!place)
        place = find_hole(VAST_START, hl__memory.map_base, size, false);
    return place ? place : find_hole(HL_ABI_USER_START, hl__memory.map_base, size, false);
}

/* Tells the host of new rights on pages that are there. Pages without any right are taken out of
 * its tables. */
static void protect_edit(const struct hl__vma *old, const struct hl__vma *new, uint64_t start,
                         uint64_t end)
{
    struct hl__table_run run;

    if (!(new->flags &HL__VMA_RIGHTS)) {
        start = hl__table_next(&hl__memory.table, start, end);
        hl__edits_add(start, HL__PAGES(end - start), HL_ABI_SOURCE_NONE, 0, 0);
        return;
    }
    if (!(old->flags & HL__VMA_RIGHTS)) {
        hl__memory_show(new, start, end);
        return;
    }
    for (uint64_t at = start; hl__table_run(&hl__memory.table, at, end, &run);
         at = run.address + run.count * HL_ABI_PAGE_SIZE) {
        uint32_t rights = hl__memory_shown_rights(new, run.page);

        if (rights != hl__memory_shown_rights(old, run.page))
            hl__edits_add(run.address, run.count, HL_ABI_SOURCE_KEEP, 0, rights);
    }
}

static int64_t protect_piece(uint64_t start, uint64_t end, uint32_t rights)
{
    struct hl__vma old = *hl__vma_find(&hl__memory.vmas, start), new = old;
    bool private = !(old.flags & HL__VMA_SHARED);

    if ((old.flags & HL__VMA_RIGHTS) == rights || old.flags & HL__VMA_STUBS)
        return 0;
    if (old.flags & HL__VMA_READ_ONLY && rights & HL_ABI_RIGHT_WRITE)
        return -EACCES;
    if (private && rights & HL_ABI_RIGHT_WRITE && !(old.flags & HL_ABI_RIGHT_WRITE) &&
        !(old.flags & HL__VMA_NO_RESERVE) && hl__memory_ask(HL__PAGES(end - start), true) < 0)
        return -ENOMEM;
    new.flags = (old.flags & ~(uint64_t)HL__VMA_RIGHTS) | rights;
    protect_edit(&old, &new, start, end);
    hl__vma_change(&hl__memory.vmas, start, end, HL__VMA_RIGHTS, rights);
    if (old.inode && rights & HL_ABI_RIGHT_EXECUTE && !(old.flags & HL_ABI_RIGHT_EXECUTE))
        hl__stubs_map(start, end);
    return 0;
}

/* Changes what is mapped up to the first gap, as Linux does. */
int64_t hl__memory_protect(uint64_t start, uint64_t end, uint32_t rights)
{
    int64_t failure = 0, edit_failure;

    while (start < end && !failure) {
        const struct hl__vma *vma;
        uint64_t piece_end;

        vma = hl__vma_find(&hl__memory.vmas, start);
        if (!vma || hl__memory_reserve_vmas() < 0) {
            failure = -ENOMEM;
            break;
        }
        piece_end = vma->end < end ? vma->end : end;
        failure = protect_piece(start, piece_end, rights);
        start = piece_end;
    }
    edit_failure = hl__edits_flush();
    return failure ? failure : edit_failure;
}

static const char *mapping_name(const struct hl__vma *vma)
{
    const struct hl__memory *memory = &hl__memory;

    if (vma->inode)
        return NULL;
    if (vma->start < memory->space->break_end && vma->end > memory->space->break_start)
        return "[heap]";
    return vma->start < memory->space->stack_end && vma->end >= memory->space->stack_end ? "[stack]"
                                                                                         : NULL;
}

bool hl__memory_mapping(uint64_t address, struct hl__mapping *mapping)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;
    uint32_t i = hl__vma_at_or_after(vmas, address);
    const struct hl__vma *vma;

    while (i < vmas->count && vmas->items[i].owner != vmas->owner)
        i++;
    if (i == vmas->count)
        return false;
    vma = &vmas->items[i];
    *mapping = (struct hl__mapping){.start = vma->start,
                                    .end = vma->end,
                                    .rights = (uint32_t)(vma->flags & HL__VMA_RIGHTS),
                                    .shared = vma->flags & HL__VMA_SHARED,
                                    .offset = vma->flags & HL__VMA_STUBS ? 0 : vma->offset,
                                    .inode = vma->inode,
                                    .name = mapping_name(vma)};
    return true;
}
