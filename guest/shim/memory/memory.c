/* Mappings: what the memory system calls do to them. */
#include "memory/memory.h"
#include "host/edits.h"
#include "base/linux.h"
#include "entry/syscall.h"

#include <string.h>

/* Up to this size, growth is backed at once instead of by faults. */
#define BREAK_EAGER_MAX (1ull << 20)
#define MAP_EAGER_MAX (256ull << 10)
/* Up to this size, dropped pages are zeroed in place, which costs no exit. Those that were not
 * promised are of use elsewhere. */
#define DROP_IN_PLACE_MAX (1ull << 20)
#define DROP_UNPROMISED_IN_PLACE_MAX (256ull << 10)
/* So many unmappings take effect at once: a program that makes no more sees just what Linux does. */
#define UNMAPS_AT_ONCE 64u
#define RETIRE_SIZE_MAX (64ull << 10)
#define LOW_START 0x40000000ull /* where MAP_32BIT looks */
#define LOW_END 0x80000000ull

static bool range_valid(uint64_t start, uint64_t size)
{
    return start >= HL_ABI_USER_START && start < HL_ABI_USER_END && size <= HL_ABI_USER_END - start;
}

static uint64_t promised_flag(uint64_t rights, uint64_t no_reserve)
{
    return rights && !no_reserve ? HL__VMA_COMMITTED : 0;
}

int64_t hl__memory_map(uint64_t start, uint64_t end, uint64_t flags)
{
    struct hl__vma vma = {start, end, 0, flags};

    if (hl__memory_reserve_vmas() < 0)
        return -ENOMEM;
    if (flags != HL__VMA_DATA || hl__memory.retired.count == HL__RETIRED_MAX) {
        hl__memory_drop_retired(start, end);
        hl__edits_send();
    }
    if ((flags & HL__VMA_COMMITTED) && hl__memory_commit(HL__PAGES(end - start)) < 0)
        return -ENOMEM;
    hl__vma_insert(&hl__memory.vmas, &vma);
    hl__memory_revive(start, end);
    return 0;
}

int64_t hl__memory_map_program(uint64_t start, uint64_t end, uint64_t offset, uint32_t rights)
{
    struct hl__vma vma = {start, end, offset, rights | HL__VMA_PROGRAM};

    if (hl__memory_reserve_vmas() < 0)
        return -ENOMEM;
    if (rights)
        hl__edits_add(start, HL__PAGES(end - start), HL_ABI_SOURCE_PROGRAM, offset, rights);
    hl__vma_insert(&hl__memory.vmas, &vma);
    return 0;
}

/* Gives back what is behind one mapping's part of a range; widens [*low, *high) by what the host
 * still maps. */
static void unmap_piece(const struct hl__vma *vma, uint64_t start, uint64_t end, uint64_t *low,
                        uint64_t *high)
{
    struct hl__table *table = &hl__memory.table;
    uint64_t first = vma->flags & HL__VMA_PROGRAM ? start : hl__table_next(table, start, end);

    if (vma->flags & HL__VMA_COMMITTED)
        hl__memory.committed -= HL__PAGES(end - start);
    if (first >= end)
        return;
    hl__memory_unback(start, end, vma->flags & HL__VMA_COMMITTED);
    if (first < *low)
        *low = first;
    *high = end;
}

/* Whether a range may stay with the host for a while after it was unmapped. */
static bool may_retire(uint64_t start, uint64_t end)
{
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, start);

    return end - start <= RETIRE_SIZE_MAX && vma && vma->end >= end && vma->flags == HL__VMA_DATA &&
           hl__memory.unmap_count++ >= UNMAPS_AT_ONCE;
}

int64_t hl__memory_unmap(uint64_t start, uint64_t end)
{
    struct hl__vmas *vmas = &hl__memory.vmas;
    uint64_t low = end, high = start;

    hl__memory_drop_ahead(start, end);
    if (hl__memory_reserve_vmas() < 0)
        return -ENOMEM;
    if (may_retire(start, end)) {
        hl__memory.committed -= HL__PAGES(end - start);
        hl__vma_remove(vmas, start, end);
        hl__memory_retire(start, end);
        return 0;
    }
    for (uint32_t i = hl__vma_at_or_after(vmas, start);
         i < vmas->count && vmas->items[i].start < end; i++) {
        const struct hl__vma *vma = &vmas->items[i];

        unmap_piece(vma, vma->start > start ? vma->start : start, vma->end < end ? vma->end : end,
                    &low, &high);
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
static uint64_t hole_end(uint64_t address)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;
    uint32_t i = hl__vma_at_or_after(vmas, address);

    if (i == vmas->count)
        return HL_ABI_USER_END;
    return vmas->items[i].start > address ? vmas->items[i].start : address;
}

/* Up to where, below `limit`, pages may be mapped ahead behind `address`. */
static uint64_t ahead_limit(uint64_t address, uint64_t limit)
{
    uint64_t retired = hl__retired_next(&hl__memory.retired, address);

    return retired < limit ? retired : limit;
}

static bool hint_usable(uint64_t hint, uint64_t size)
{
    return range_valid(hint, size) && !hl__vma_any(&hl__memory.vmas, hint, hint + size);
}

/* Picks the place of a mapping without MAP_FIXED. 0: none. */
static uint64_t choose_place(uint64_t hint, uint64_t size, uint64_t flags, bool use_ahead)
{
    uint64_t place = 0;

    hint = HL__PAGE_DOWN(hint);
    if (hint && hint_usable(hint, size)) {
        hl__memory_drop_ahead(hint, hint + size);
        return hint;
    }
    if (flags & MAP_32BIT)
        return find_hole(LOW_START, LOW_END, size, false);
    place = find_hole(hl__memory.map_base, HL_ABI_USER_END, size, use_ahead);
    return place ? place : find_hole(HL_ABI_USER_START, hl__memory.map_base, size, false);
}

/* Clears the place of a fixed mapping. */
static int64_t take_place(uint64_t start, uint64_t size, uint64_t flags)
{
    if (start & HL__PAGE_MASK)
        return -EINVAL;
    if (!range_valid(start, size))
        return start < HL_ABI_USER_START ? -EPERM : -ENOMEM;
    if (!(flags & MAP_FIXED_NOREPLACE))
        return hl__memory_unmap(start, start + size);
    if (hl__vma_any(&hl__memory.vmas, start, start + size))
        return -EEXIST;
    hl__memory_drop_ahead(start, start + size);
    return 0;
}

/* Backs a new mapping as far as that is better done now. */
static int64_t map_back(uint64_t start, uint64_t end, uint64_t vma_flags, uint64_t flags,
                        bool eager)
{
    int64_t failure = 0;

    if (eager)
        failure = hl__memory_back_ahead(&hl__memory.map_ahead, start, end,
                                        ahead_limit(end, hole_end(end)));
    else if ((flags & MAP_POPULATE) && (vma_flags & HL__VMA_RIGHTS))
        hl__memory_back(start, end, vma_flags, true);
    if (failure < 0)
        hl__memory_unmap(start, end);
    return failure;
}

static int64_t map_anonymous(uint64_t hint, uint64_t size, uint64_t rights, uint64_t flags)
{
    uint64_t vma_flags = rights | (flags & MAP_NORESERVE ? HL__VMA_NO_RESERVE : 0) |
                         promised_flag(rights, flags & MAP_NORESERVE);
    bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
    bool eager = !fixed && !hint && !(flags & MAP_32BIT) && size <= MAP_EAGER_MAX &&
                 vma_flags == HL__VMA_DATA;
    uint64_t start = hint;
    int64_t failure;

    if (fixed) {
        failure = take_place(hint, size, flags);
        if (failure < 0)
            return failure;
    } else {
        start = choose_place(hint, size, flags, eager);
        if (!start)
            return -ENOMEM;
    }
    failure = hl__memory_map(start, start + size, vma_flags);
    if (!failure)
        failure =
            map_back(start, start + size, vma_flags, flags, eager && start >= hl__memory.map_base);
    return failure < 0 ? failure : (int64_t)start;
}

/* The hardware cannot write or execute without reading. */
static uint32_t rights_of(uint64_t protection)
{
    uint32_t rights = (protection & PROT_WRITE ? HL_ABI_RIGHT_WRITE : 0) |
                      (protection & PROT_EXEC ? HL_ABI_RIGHT_EXECUTE : 0);

    return rights || (protection & PROT_READ) ? rights | HL_ABI_RIGHT_READ : 0;
}

HL__SYSCALL(mmap)
{
    uint64_t hint = arg[0], size = HL__PAGE_UP(arg[1]), flags = arg[3];
    uint64_t type = flags & MAP_TYPE;

    if (!arg[1] || (type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE))
        return -EINVAL;
    if (!(flags & MAP_ANONYMOUS))
        return hl__descriptor_open((int)arg[4]) ? -ENODEV : -EBADF;
    if (arg[1] > HL_ABI_USER_END || (flags & MAP_HUGETLB))
        return -ENOMEM;
    return map_anonymous(hint, size, rights_of(arg[2]), flags);
}

HL__SYSCALL(munmap)
{
    uint64_t size = HL__PAGE_UP(arg[1]);

    if ((arg[0] & HL__PAGE_MASK) || !arg[1] || arg[1] > HL_ABI_USER_END ||
        !range_valid(arg[0], size))
        return -EINVAL;
    return hl__memory_unmap(arg[0], arg[0] + size);
}

/* Pages that a change of rights newly promises. */
static uint64_t protect_promises(const struct hl__vma *vma, uint64_t start, uint64_t end,
                                 uint32_t rights)
{
    bool becomes_private = vma->flags & HL__VMA_PROGRAM ? rights & HL_ABI_RIGHT_WRITE : rights;

    if (!becomes_private || vma->flags & (HL__VMA_COMMITTED | HL__VMA_NO_RESERVE))
        return 0;
    return HL__PAGES(end - start);
}

/* Pages of the file that become writable: private copies of them. */
static int64_t protect_copy(const struct hl__vma *vma, uint64_t start, uint64_t end,
                            uint32_t rights)
{
    const uint8_t *from = hl__memory.program + vma->offset + (start - vma->start);
    uint64_t flags = rights | HL__VMA_COMMITTED;

    if (hl__memory_back(start, end, flags, true) < 0) {
        hl__memory_unback(start, end, true);
        hl__edits_add(start, HL__PAGES(end - start), HL_ABI_SOURCE_PROGRAM,
                      vma->offset + (start - vma->start), (uint32_t)(vma->flags & HL__VMA_RIGHTS));
        return -ENOMEM;
    }
    memcpy((void *)start, from, end - start);
    hl__vma_change(&hl__memory.vmas, start, end, HL__VMA_RIGHTS | HL__VMA_PROGRAM, flags);
    return 0;
}

static void protect_show(const struct hl__vma *vma, uint64_t start, uint64_t end, uint32_t rights)
{
    struct hl__table_run run;

    if (vma->flags & HL__VMA_PROGRAM) {
        hl__edits_add(start, HL__PAGES(end - start), HL_ABI_SOURCE_PROGRAM,
                      vma->offset + (start - vma->start), rights);
        return;
    }
    for (uint64_t at = start; hl__table_run(&hl__memory.table, at, end, &run);
         at = run.address + run.count * HL_ABI_PAGE_SIZE)
        hl__edits_add(run.address, run.count, HL_ABI_SOURCE_RAM, run.page * HL_ABI_PAGE_SIZE,
                      rights);
}

/* Tells the host of new rights on pages that are there. Pages without any right are taken out of
 * its tables. */
static void protect_edit(const struct hl__vma *vma, uint64_t start, uint64_t end, uint32_t rights)
{
    uint64_t first =
        vma->flags & HL__VMA_PROGRAM ? start : hl__table_next(&hl__memory.table, start, end);

    if (first >= end)
        return;
    if (!(vma->flags & HL__VMA_RIGHTS))
        protect_show(vma, start, end, rights);
    else if (rights)
        hl__edits_add(first, HL__PAGES(end - first), HL_ABI_SOURCE_KEEP, 0, rights);
    else
        hl__edits_add(first, HL__PAGES(end - first), HL_ABI_SOURCE_NONE, 0, 0);
}

static int64_t protect_piece(uint64_t start, uint64_t end, uint32_t rights)
{
    struct hl__vma vma = *hl__vma_find(&hl__memory.vmas, start);
    uint64_t promises = protect_promises(&vma, start, end, rights);

    if (promises && hl__memory_commit(promises) < 0)
        return -ENOMEM;
    if ((vma.flags & HL__VMA_PROGRAM) && (rights & HL_ABI_RIGHT_WRITE)) {
        int64_t failure = protect_copy(&vma, start, end, rights);

        if (failure < 0)
            hl__memory.committed -= promises;
        return failure;
    }
    if ((vma.flags & HL__VMA_RIGHTS) == rights)
        return 0;
    protect_edit(&vma, start, end, rights);
    hl__vma_change(&hl__memory.vmas, start, end, HL__VMA_RIGHTS,
                   rights | (promises ? HL__VMA_COMMITTED : 0));
    return 0;
}

int64_t hl__memory_protect(uint64_t start, uint64_t end, uint32_t rights)
{
    int64_t failure = 0, edit_failure;

    if (!hl__vma_all(&hl__memory.vmas, start, end))
        return -ENOMEM;
    while (start < end && !failure) {
        const struct hl__vma *vma;
        uint64_t piece_end;

        if (hl__memory_reserve_vmas() < 0)
            return hl__edits_flush(), -ENOMEM;
        vma = hl__vma_find(&hl__memory.vmas, start);
        piece_end = vma->end < end ? vma->end : end;
        failure = protect_piece(start, piece_end, rights);
        start = piece_end;
    }
    edit_failure = hl__edits_flush();
    return failure ? failure : edit_failure;
}

HL__SYSCALL(mprotect)
{
    uint64_t size = HL__PAGE_UP(arg[1]);

    if (arg[0] & HL__PAGE_MASK)
        return -EINVAL;
    if (!arg[1])
        return 0;
    if (arg[1] > HL_ABI_USER_END || !range_valid(arg[0], size))
        return -ENOMEM;
    return hl__memory_protect(arg[0], arg[0] + size, rights_of(arg[2]));
}

static int64_t break_grow(uint64_t old_end, uint64_t new_end)
{
    uint64_t limit = hole_end(old_end) - HL_ABI_PAGE_SIZE; /* a page stays free, as a guard */

    if (new_end >= HL_ABI_USER_END || limit < new_end)
        return -ENOMEM;
    if (hl__memory_map(old_end, new_end, HL__VMA_DATA) < 0)
        return -ENOMEM;
    if (new_end - old_end > BREAK_EAGER_MAX) {
        hl__memory.break_ahead.page_count = 0;
        hl__memory_drop_ahead(old_end, new_end);
        return 0;
    }
    if (hl__memory_back_ahead(&hl__memory.break_ahead, old_end, new_end,
                              ahead_limit(new_end, limit)) < 0)
        return hl__memory_unmap(old_end, new_end), -ENOMEM;
    return 0;
}

HL__SYSCALL(brk)
{
    struct hl__memory *memory = &hl__memory;
    uint64_t old_end = HL__PAGE_UP(memory->break_end), new_end = HL__PAGE_UP(arg[0]);
    int64_t failure = 0;

    if (arg[0] < memory->break_start || arg[0] >= HL_ABI_USER_END)
        return (int64_t)memory->break_end;
    if (new_end > old_end)
        failure = break_grow(old_end, new_end);
    else if (new_end < old_end)
        failure = hl__memory_unmap(new_end, old_end);
    if (!failure)
        memory->break_end = arg[0];
    return (int64_t)memory->break_end;
}

/* Moves what is behind a mapping to another place: the pages stay, their addresses change. The host
 * allows no more mapped pages than there are, even for a moment. */
static void move_pages(const struct hl__vma *vma, uint64_t from, uint64_t size, uint64_t to)
{
    uint32_t rights = (uint32_t)(vma->flags & HL__VMA_RIGHTS);
    struct hl__table_run run;

    if (rights)
        hl__edits_add(from, HL__PAGES(size), HL_ABI_SOURCE_NONE, 0, 0);
    if (HL__PAGES(size) > hl__pages_free(&hl__memory.pages))
        hl__edits_send();
    if (vma->flags & HL__VMA_PROGRAM && rights)
        hl__edits_add(to, HL__PAGES(size), HL_ABI_SOURCE_PROGRAM, vma->offset + (from - vma->start),
                      rights);
    for (uint64_t at = from; hl__table_run(&hl__memory.table, at, from + size, &run);
         at = run.address + run.count * HL_ABI_PAGE_SIZE) {
        hl__table_set(&hl__memory.table, run.address - from + to, run.page, run.count);
        if (rights)
            hl__edits_add(run.address - from + to, run.count, HL_ABI_SOURCE_RAM,
                          run.page * HL_ABI_PAGE_SIZE, rights);
    }
    hl__table_clear(&hl__memory.table, from, from + size);
}

static int64_t remap_move(const struct hl__vma *old, uint64_t from, uint64_t old_size, uint64_t to,
                          uint64_t new_size)
{
    struct hl__vma vma = {to, to + new_size, 0, old->flags & ~(uint64_t)HL__VMA_STACK};
    uint64_t growth = new_size > old_size ? HL__PAGES(new_size - old_size) : 0;

    if (old->flags & HL__VMA_PROGRAM)
        vma.offset = old->offset + (from - old->start);
    if (hl__memory_reserve_table(to, to + new_size) < 0)
        return -ENOMEM;
    if ((vma.flags & HL__VMA_COMMITTED) && hl__memory_commit(growth) < 0)
        return -ENOMEM;
    hl__memory_drop_retired(to, to + new_size);
    move_pages(old, from, old_size, to);
    hl__vma_remove(&hl__memory.vmas, from, from + old_size);
    hl__vma_insert(&hl__memory.vmas, &vma);
    return hl__edits_flush() < 0 ? -ENOMEM : (int64_t)to;
}

static int64_t remap_grow_in_place(const struct hl__vma *vma, uint64_t end, uint64_t new_end)
{
    uint64_t flags = vma->flags;

    if (vma->end != end || flags & HL__VMA_PROGRAM || new_end > HL_ABI_USER_END)
        return -ENOMEM;
    if (hl__vma_any(&hl__memory.vmas, end, new_end))
        return -ENOMEM;
    hl__memory_drop_ahead(end, new_end);
    return hl__memory_map(end, new_end, flags);
}

static int64_t remap_fixed(const struct hl__vma *vma, uint64_t from, uint64_t old_size, uint64_t to,
                           uint64_t new_size)
{
    struct hl__vma old = *vma;
    int64_t failure;

    if ((to & HL__PAGE_MASK) || !range_valid(to, new_size) ||
        (to < from + old_size && from < to + new_size))
        return -EINVAL;
    failure = hl__memory_unmap(to, to + new_size);
    if (!failure && new_size < old_size)
        failure = hl__memory_unmap(from + new_size, from + old_size);
    if (failure < 0)
        return failure;
    return remap_move(&old, from, new_size < old_size ? new_size : old_size, to, new_size);
}

static int64_t remap(uint64_t from, uint64_t old_size, uint64_t new_size, uint64_t flags,
                     uint64_t to)
{
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, from);
    struct hl__vma old;

    if (!vma || vma->end < from + old_size)
        return -EFAULT;
    if (hl__memory_reserve_vmas() < 0)
        return -ENOMEM;
    if (flags & MREMAP_FIXED)
        return remap_fixed(vma, from, old_size, to, new_size);
    if (new_size <= old_size) {
        int64_t failure =
            new_size < old_size ? hl__memory_unmap(from + new_size, from + old_size) : 0;

        return failure < 0 ? failure : (int64_t)from;
    }
    old = *vma;
    if (!remap_grow_in_place(vma, from + old_size, from + new_size))
        return (int64_t)from;
    to = flags & MREMAP_MAYMOVE && !(old.flags & HL__VMA_PROGRAM)
             ? choose_place(0, new_size, 0, false)
             : 0;
    return to ? remap_move(&old, from, old_size, to, new_size) : -ENOMEM;
}

HL__SYSCALL(mremap)
{
    uint64_t from = arg[0], old_size = HL__PAGE_UP(arg[1]), new_size = HL__PAGE_UP(arg[2]),
             flags = arg[3];

    if ((from & HL__PAGE_MASK) || !arg[1] || !arg[2] ||
        flags & ~(uint64_t)(MREMAP_MAYMOVE | MREMAP_FIXED))
        return -EINVAL;
    if ((flags & MREMAP_FIXED) && !(flags & MREMAP_MAYMOVE))
        return -EINVAL;
    if (arg[1] > HL_ABI_USER_END || !range_valid(from, old_size))
        return -EFAULT;
    if (arg[2] > HL_ABI_USER_END)
        return -ENOMEM;
    return remap(from, old_size, new_size, flags, arg[4]);
}

/* Private memory starts over from zeroes. */
static void drop_piece(const struct hl__vma *vma, uint64_t start, uint64_t end)
{
    uint64_t in_place_max =
        vma->flags & HL__VMA_COMMITTED ? DROP_IN_PLACE_MAX : DROP_UNPROMISED_IN_PLACE_MAX;
    struct hl__table_run run;
    uint64_t first;

    if (vma->flags & HL__VMA_PROGRAM)
        return;
    if ((vma->flags & HL_ABI_RIGHT_WRITE) && end - start <= in_place_max) {
        for (uint64_t at = start; hl__table_run(&hl__memory.table, at, end, &run);
             at = run.address + run.count * HL_ABI_PAGE_SIZE)
            memset((void *)run.address, 0, run.count * HL_ABI_PAGE_SIZE);
        return;
    }
    first = hl__table_next(&hl__memory.table, start, end);
    if (first >= end)
        return;
    hl__memory_unback(first, end, vma->flags & HL__VMA_COMMITTED);
    if (vma->flags & HL__VMA_RIGHTS)
        hl__edits_add(first, HL__PAGES(end - first), HL_ABI_SOURCE_NONE, 0, 0);
}

static int64_t drop_range(uint64_t start, uint64_t end)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;

    for (uint32_t i = hl__vma_at_or_after(vmas, start);
         i < vmas->count && vmas->items[i].start < end; i++) {
        const struct hl__vma *vma = &vmas->items[i];

        drop_piece(vma, vma->start > start ? vma->start : start, vma->end < end ? vma->end : end);
    }
    return hl__edits_flush();
}

HL__SYSCALL(madvise)
{
    uint64_t start = arg[0], size = HL__PAGE_UP(arg[1]);

    if (start & HL__PAGE_MASK)
        return -EINVAL;
    if (!arg[1])
        return 0;
    if (arg[1] > HL_ABI_USER_END || !range_valid(start, size) ||
        !hl__vma_all(&hl__memory.vmas, start, start + size))
        return -ENOMEM;
    if (arg[2] == MADV_DONTNEED || arg[2] == MADV_DONTNEED_LOCKED)
        return drop_range(start, start + size);
    if (arg[2] == MADV_POPULATE_READ || arg[2] == MADV_POPULATE_WRITE)
        return hl__memory_present(start, size, arg[2] == MADV_POPULATE_WRITE ? HL__ACCESS_WRITE : 0)
                   ? 0
                   : -EFAULT;
    return 0;
}

HL__SYSCALL(msync)
{
    uint64_t size = HL__PAGE_UP(arg[1]);

    if (arg[0] & HL__PAGE_MASK)
        return -EINVAL;
    if (arg[1] > HL_ABI_USER_END ||
        (arg[1] && !hl__vma_all(&hl__memory.vmas, arg[0], arg[0] + size)))
        return -ENOMEM;
    return 0;
}
