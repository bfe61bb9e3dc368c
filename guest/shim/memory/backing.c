/*
 * Pages behind the program's addresses: taking and returning them, looking ahead, and page faults.
 *
 * Bookkeeping that grows lies in the heap area: the bitmap of returned pages (mapped whole at the
 * start; it is small), the mappings, the table's nodes.
 */
#include "base/linux.h"
#include "host/edits.h"
#include "memory/memory.h"

#include <string.h>

#define HEAP_VMAS_OFFSET 0x10000000ull  /* 256 MiB of bitmap come first */
#define HEAP_NODES_OFFSET 0x12000000ull /* up to the heap's end */
#define VMAS_PER_PAGE (HL_ABI_PAGE_SIZE / sizeof(struct hl__vma))
#define VMAS_ROOM 4u
#define NODES_START 16u
#define NODES_STEP 16u
#define NODES_MAX ((HL_ABI_HEAP_END - HL_ABI_HEAP_ADDRESS - HEAP_NODES_OFFSET) / HL_ABI_PAGE_SIZE)

#define AHEAD_PAGES_MIN 48u /* a libc's first steps of the break fit */
#define AHEAD_PAGES_MAX 512u
#define AHEAD_PAGES_POPULATE 64u /* whoever got this far goes on */
#define FAULT_PAGES_MIN 16u
#define FAULT_PAGES_MAX 256u
#define SPURIOUS_MAX 64u
#define RETIRED_SIZE_MAX (4ull << 20)

struct hl__memory hl__memory;

/* Pages taken for the program whose mapping is under way, so that it can be undone or zeroed. */
struct backing_run {
    uint64_t address;
    struct hl__page_run run;
    uint32_t rights;
    bool promised;
};

/* How pages are to be taken. */
struct backing_way {
    uint32_t rights;
    bool promised, fresh_only;
};

static struct {
    struct backing_run runs[HL_ABI_EDITS_MAX];
    uint32_t count;
} pending;

static uint64_t available_pages(void)
{
    uint64_t used = hl__memory.committed + hl__memory.loose;

    return used < hl__memory.total_pages ? hl__memory.total_pages - used : 0;
}

/* Whether so many pages are to be had, if need be by giving up what is mapped without need. */
static bool make_available(uint64_t page_count)
{
    if (page_count > available_pages()) {
        hl__memory_drop_ahead(0, HL_ABI_USER_END);
        hl__memory_drop_retired(0, HL_ABI_USER_END);
        hl__edits_send();
    }
    return page_count <= available_pages();
}

bool hl__memory_take_loose(uint64_t count, bool fewer, struct hl__page_run *run)
{
    struct hl__pages *pages = &hl__memory.pages;

    make_available(count);
    if (count > available_pages()) {
        if (!fewer || !available_pages())
            return false;
        count = available_pages();
    }
    if (!(fewer ? hl__pages_take(pages, count, run) : hl__pages_take_whole(pages, count, run)))
        return false;
    hl__memory.loose += run->count;
    return true;
}

void hl__memory_give_loose(uint64_t page, uint64_t count)
{
    hl__pages_give(&hl__memory.pages, page, count);
    hl__memory.loose -= count;
}

/* Takes pages for bookkeeping and queues their edits. Returns false when there are too few. */
static bool heap_queue(uint64_t address, uint64_t page_count, bool *recycled)
{
    struct hl__page_run run;

    if (!make_available(page_count) || page_count > hl__pages_free(&hl__memory.pages))
        return false;
    hl__memory.loose += page_count;
    for (; page_count; page_count -= run.count) {
        hl__pages_take(&hl__memory.pages, page_count, &run);
        hl__edits_add(address, run.count, HL_ABI_SOURCE_RAM, run.page * HL_ABI_PAGE_SIZE,
                      HL__RIGHTS_DATA);
        *recycled |= !run.fresh;
        address += run.count * HL_ABI_PAGE_SIZE;
    }
    return true;
}

/*
 * Maps zeroed pages for bookkeeping. A refused edit loses them: the host has no page tables left,
 * and nothing could use them.
 */
static int64_t heap_map(uint64_t address, uint64_t page_count)
{
    bool recycled = false;

    if (!heap_queue(address, page_count, &recycled) || hl__edits_flush() < 0)
        return -ENOMEM;
    if (recycled)
        memset((void *)address, 0, page_count * HL_ABI_PAGE_SIZE);
    return 0;
}

static uint64_t heap_nodes(void)
{
    return hl__memory.heap + HEAP_NODES_OFFSET;
}

bool hl__memory_init(uint64_t first_page, uint64_t end_page, uint64_t heap, const void *program)
{
    struct hl__memory *memory = &hl__memory;
    uint64_t bitmap_pages = HL__PAGES(HL__PAGE_UP(hl__pages_bitmap_size(end_page - first_page)));
    bool recycled = false; /* no page was used before */

    if (first_page >= end_page)
        return false;
    hl__pages_init(&memory->pages, first_page, end_page);
    memory->pages.returned = (uint64_t *)heap;
    memory->total_pages = end_page - first_page;
    memory->heap = heap;
    memory->program = program;
    memory->vmas.items = (struct hl__vma *)(heap + HEAP_VMAS_OFFSET);
    memory->table.nodes = (uint32_t *)heap_nodes();
    memory->table.node_count = 1;
    if (!heap_queue(heap, bitmap_pages, &recycled) ||
        !heap_queue(heap + HEAP_VMAS_OFFSET, 1, &recycled) ||
        !heap_queue(heap_nodes(), NODES_START, &recycled) || hl__edits_flush() < 0)
        return false;
    memory->vmas.capacity = VMAS_PER_PAGE;
    memory->table.node_end = NODES_START;
    return true;
}

int64_t hl__memory_reserve_vmas(void)
{
    struct hl__vmas *vmas = &hl__memory.vmas;

    if (vmas->count + VMAS_ROOM <= vmas->capacity)
        return 0;
    if (vmas->capacity + VMAS_PER_PAGE > HL__VMAS_MAX ||
        heap_map((uint64_t)(vmas->items + vmas->capacity), 1) < 0)
        return -ENOMEM;
    vmas->capacity += VMAS_PER_PAGE;
    return 0;
}

int64_t hl__memory_reserve_table(uint64_t start, uint64_t end)
{
    struct hl__table *table = &hl__memory.table;
    uint64_t needed = hl__table_nodes_needed(start, end);
    uint64_t left = hl__table_nodes_left(table);
    uint64_t count;

    if (needed <= left)
        return 0;
    count = (needed - left + NODES_STEP - 1) / NODES_STEP * NODES_STEP;
    if (count > available_pages())
        count = needed - left;
    if (table->node_end + count > NODES_MAX ||
        heap_map(heap_nodes() + table->node_end * 4096ull, count) < 0)
        return -ENOMEM;
    table->node_end += (uint32_t)count;
    return 0;
}

static void pending_undo(void)
{
    for (uint32_t i = 0; i < pending.count; i++) {
        const struct backing_run *run = &pending.runs[i];

        hl__table_clear(&hl__memory.table, run->address,
                        run->address + run->run.count * HL_ABI_PAGE_SIZE);
        hl__pages_give(&hl__memory.pages, run->run.page, run->run.count);
        if (!run->promised)
            hl__memory.loose -= run->run.count;
    }
    pending.count = 0;
}

/* Zeroes the pages that were used before. They are writable at the time. */
static void pending_zero(void)
{
    for (uint32_t i = 0; i < pending.count; i++) {
        const struct backing_run *run = &pending.runs[i];
        uint32_t rights = run->rights & ~HL_ABI_RIGHT_POPULATE;

        if (run->run.fresh)
            continue;
        memset((void *)run->address, 0, run->run.count * HL_ABI_PAGE_SIZE);
        if (!(rights & HL_ABI_RIGHT_WRITE))
            hl__edits_add(run->address, run->run.count, HL_ABI_SOURCE_KEEP, 0, rights);
    }
}

int64_t hl__memory_back_now(void)
{
    for (uint32_t i = 0; i < pending.count; i++) {
        const struct backing_run *run = &pending.runs[i];
        uint32_t first_rights = run->run.fresh ? run->rights : run->rights | HL_ABI_RIGHT_WRITE;

        hl__edits_add(run->address, run->run.count, HL_ABI_SOURCE_RAM,
                      run->run.page * HL_ABI_PAGE_SIZE, first_rights);
    }
    if (hl__edits_flush() < 0) {
        pending_undo();
        return -ENOMEM;
    }
    pending_zero();
    pending.count = 0;
    return hl__edits_flush();
}

static bool pending_take(uint64_t address, uint64_t page_count, const struct backing_way *way)
{
    struct backing_run *run = &pending.runs[pending.count];
    struct hl__pages *pages = &hl__memory.pages;

    if (!way->promised && page_count > available_pages())
        page_count = available_pages();
    if (!page_count)
        return false;
    if (!(way->fresh_only ? hl__pages_take_fresh(pages, page_count, &run->run)
                          : hl__pages_take(pages, page_count, &run->run)))
        return false;
    run->address = address;
    run->rights = way->rights;
    run->promised = way->promised;
    if (!way->promised)
        hl__memory.loose += run->run.count;
    hl__table_set(&hl__memory.table, address, run->run.page, run->run.count);
    pending.count++;
    return true;
}

/* Takes pages for every hole in [start, end); the last of them stay pending. */
static int64_t backing_collect(uint64_t start, uint64_t end, const struct backing_way *way)
{
    struct hl__table *table = &hl__memory.table;

    while ((start = hl__table_next_empty(table, start, end)) < end) {
        uint64_t hole = hl__table_next(table, start, end) - start;

        if (pending.count == HL_ABI_EDITS_MAX && hl__memory_back_now() < 0)
            return -ENOMEM;
        if (!pending_take(start, HL__PAGES(hole), way))
            return -ENOMEM;
        start += pending.runs[pending.count - 1].run.count * HL_ABI_PAGE_SIZE;
    }
    return 0;
}

static uint32_t backing_rights(uint64_t vma_flags, bool populate)
{
    return (uint32_t)(vma_flags & HL__VMA_RIGHTS) | (populate ? HL_ABI_RIGHT_POPULATE : 0);
}

int64_t hl__memory_back_later(uint64_t start, uint64_t end, uint64_t vma_flags, bool populate)
{
    const struct backing_way way = {.rights = backing_rights(vma_flags, populate),
                                    .promised = vma_flags & HL__VMA_COMMITTED};

    if (hl__memory_reserve_table(start, end) < 0)
        return -ENOMEM;
    if (!way.promised)
        make_available(HL__PAGES(end - start));
    return backing_collect(start, end, &way);
}

int64_t hl__memory_back(uint64_t start, uint64_t end, uint64_t vma_flags, bool populate)
{
    int64_t failure = hl__memory_back_later(start, end, vma_flags, populate);

    return hl__memory_back_now() < 0 ? -ENOMEM : failure;
}

/* The range becomes a mapping's: what was mapped ahead there is promised from now on. */
static void ahead_take(struct hl__lookahead *ahead, uint64_t start, uint64_t end)
{
    if (start > ahead->start || end <= ahead->start)
        return;
    if (end > ahead->end)
        end = ahead->end;
    hl__memory.loose -= HL__PAGES(end - ahead->start);
    ahead->start = end;
}

/* How many pages to map ahead: more each time, but never much of what is left. */
static uint64_t ahead_choose(struct hl__lookahead *ahead, uint64_t room_pages)
{
    uint64_t pages = ahead->page_count * 2;
    uint64_t fresh = hl__memory.pages.end - hl__memory.pages.fresh;

    if (pages < AHEAD_PAGES_MIN)
        pages = AHEAD_PAGES_MIN;
    if (pages > AHEAD_PAGES_MAX)
        pages = AHEAD_PAGES_MAX;
    ahead->page_count = pages;
    if (pages > fresh / 8)
        pages = fresh / 8;
    if (pages > available_pages() / 8)
        pages = available_pages() / 8;
    return pages < room_pages ? pages : room_pages;
}

int64_t hl__memory_back_ahead(struct hl__lookahead *ahead, uint64_t start, uint64_t end,
                              uint64_t limit)
{
    struct backing_way way = {.promised = true};
    uint64_t ahead_end = end;
    int64_t failure;

    ahead_take(ahead, start, end);
    if (hl__table_next_empty(&hl__memory.table, start, end) >= end)
        return 0;
    if (ahead->start == ahead->end)
        ahead_end = end + ahead_choose(ahead, HL__PAGES(limit - end)) * HL_ABI_PAGE_SIZE;
    if (hl__memory_reserve_table(start, ahead_end) < 0)
        return -ENOMEM;
    way.rights = backing_rights(HL__RIGHTS_DATA, ahead->page_count >= AHEAD_PAGES_POPULATE);
    failure = backing_collect(start, end, &way);
    if (!failure && ahead_end > end) {
        way.promised = false;
        way.fresh_only = true;
        ahead->start = end;
        backing_collect(end, ahead_end, &way);
        ahead->end = hl__table_next_empty(&hl__memory.table, end, ahead_end);
    }
    if (hl__memory_back_now() < 0) {
        ahead->end = ahead->start;
        return -ENOMEM;
    }
    return failure;
}

void hl__memory_unback(uint64_t start, uint64_t end, bool promised)
{
    struct hl__table_run run;

    for (uint64_t at = start; hl__table_run(&hl__memory.table, at, end, &run);
         at = run.address + run.count * HL_ABI_PAGE_SIZE) {
        hl__pages_give(&hl__memory.pages, run.page, run.count);
        if (!promised)
            hl__memory.loose -= run.count;
    }
    hl__table_clear(&hl__memory.table, start, end);
}

static void ahead_drop(struct hl__lookahead *ahead, uint64_t start, uint64_t end)
{
    uint64_t from = start > ahead->start ? start : ahead->start;

    if (ahead->start == ahead->end || from >= ahead->end || end <= ahead->start)
        return;
    hl__memory_unback(from, ahead->end, false);
    hl__edits_add(from, HL__PAGES(ahead->end - from), HL_ABI_SOURCE_NONE, 0, 0);
    hl__edits_send();
    ahead->end = from;
}

void hl__memory_drop_ahead(uint64_t start, uint64_t end)
{
    ahead_drop(&hl__memory.break_ahead, start, end);
    ahead_drop(&hl__memory.map_ahead, start, end);
}

void hl__memory_retire(uint64_t start, uint64_t end)
{
    struct hl__retired *retired = &hl__memory.retired;
    uint64_t page_count = hl__table_count(&hl__memory.table, start, end);

    if (!page_count)
        return;
    if (retired->size + (end - start) > RETIRED_SIZE_MAX || !hl__retired_add(retired, start, end)) {
        hl__memory_drop_retired(0, HL_ABI_USER_END);
        hl__edits_send();
        hl__retired_add(retired, start, end);
    }
    hl__memory.loose += page_count;
}

void hl__memory_revive(uint64_t start, uint64_t end)
{
    struct hl__range part;
    struct hl__table_run run;

    while (hl__retired_cut(&hl__memory.retired, start, end, &part))
        for (uint64_t at = part.start; hl__table_run(&hl__memory.table, at, part.end, &run);
             at = run.address + run.count * HL_ABI_PAGE_SIZE) {
            memset((void *)run.address, 0, run.count * HL_ABI_PAGE_SIZE);
            hl__memory.loose -= run.count;
        }
}

void hl__memory_drop_retired(uint64_t start, uint64_t end)
{
    struct hl__retired *retired = &hl__memory.retired;
    struct hl__range part;

    if (retired->count == HL__RETIRED_MAX && hl__retired_next(retired, start) < end) {
        start = 0; /* there is no room for cutting one in two */
        end = HL_ABI_USER_END;
    }
    while (hl__retired_cut(retired, start, end, &part)) {
        hl__memory_unback(part.start, part.end, false);
        hl__edits_add(part.start, HL__PAGES(part.end - part.start), HL_ABI_SOURCE_NONE, 0, 0);
    }
}

int64_t hl__memory_commit(uint64_t page_count)
{
    if (!make_available(page_count)) {
        hl__memory.refused = true;
        return -ENOMEM;
    }
    hl__memory.committed += page_count;
    return 0;
}

/* A sweep that goes on where the last fault's pages ended gets more at a time. */
static uint64_t fault_window(uint64_t page)
{
    uint64_t pages = page == hl__memory.fault_next ? hl__memory.fault_pages * 2 : FAULT_PAGES_MIN;

    hl__memory.fault_pages = pages > FAULT_PAGES_MAX ? FAULT_PAGES_MAX : pages;
    return hl__memory.fault_pages;
}

static enum hl__fault_result fault_back(const struct hl__vma *vma, uint64_t page)
{
    uint64_t size = fault_window(page) * HL_ABI_PAGE_SIZE;
    bool sequential = hl__memory.fault_pages > FAULT_PAGES_MIN;
    uint64_t start = page, end = page + size;

    if (vma->flags & HL__VMA_STACK) {
        end = page + HL_ABI_PAGE_SIZE;
        start = end - size;
    } else if (!sequential) {
        start = page / size * size;
        end = start + size;
    }
    if (start < vma->start)
        start = vma->start;
    if (end > vma->end)
        end = vma->end;
    hl__memory.fault_next = vma->flags & HL__VMA_STACK ? start - HL_ABI_PAGE_SIZE : end;
    hl__memory_back(start, end, vma->flags, sequential);
    if (hl__table_get(&hl__memory.table, page))
        return HL__FAULT_RESOLVED;
    /* Too little for the whole window, perhaps not for one page. */
    return hl__memory_back(page, page + HL_ABI_PAGE_SIZE, vma->flags, false) < 0
               ? HL__FAULT_NO_MEMORY
               : HL__FAULT_RESOLVED;
}

/* The page should be accessible: the processor saw an older state. Say it again, not for ever. */
static enum hl__fault_result fault_spurious(const struct hl__vma *vma, uint64_t page, uint64_t rip)
{
    uint32_t rights = (uint32_t)(vma->flags & HL__VMA_RIGHTS);

    if (hl__memory.spurious_address != page || hl__memory.spurious_rip != rip)
        hl__memory.spurious_count = 0;
    if (hl__memory.spurious_count++ == SPURIOUS_MAX)
        return HL__FAULT_DENIED;
    hl__memory.spurious_address = page;
    hl__memory.spurious_rip = rip;
    if (vma->flags & HL__VMA_PROGRAM)
        hl__edits_add(page, 1, HL_ABI_SOURCE_PROGRAM, vma->offset + (page - vma->start), rights);
    else
        hl__edits_add(page, 1, HL_ABI_SOURCE_RAM,
                      hl__table_get(&hl__memory.table, page) * HL_ABI_PAGE_SIZE, rights);
    return hl__edits_flush() < 0 ? HL__FAULT_NO_MEMORY : HL__FAULT_RESOLVED;
}

static bool fault_allowed(const struct hl__vma *vma, uint32_t access)
{
    if (access & HL__ACCESS_WRITE)
        return vma->flags & HL_ABI_RIGHT_WRITE;
    if (access & HL__ACCESS_EXECUTE)
        return vma->flags & HL_ABI_RIGHT_EXECUTE;
    return vma->flags & HL__VMA_RIGHTS;
}

static bool vma_has_page(const struct hl__vma *vma, uint64_t page)
{
    return vma->flags & HL__VMA_PROGRAM || hl__table_get(&hl__memory.table, page);
}

enum hl__fault_result hl__memory_fault(uint64_t address, uint32_t error_code, uint64_t rip)
{
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, address);

    if (!vma)
        return HL__FAULT_UNMAPPED;
    if (!fault_allowed(vma, error_code))
        return HL__FAULT_DENIED;
    if (vma_has_page(vma, HL__PAGE_DOWN(address)))
        return fault_spurious(vma, HL__PAGE_DOWN(address), rip);
    hl__memory.spurious_address = 0;
    return fault_back(vma, HL__PAGE_DOWN(address));
}

bool hl__memory_present(uint64_t start, uint64_t size, uint32_t access)
{
    if (size > HL_ABI_USER_END || start > HL_ABI_USER_END - size)
        return false;
    for (uint64_t page = HL__PAGE_DOWN(start); page < start + size; page += HL_ABI_PAGE_SIZE) {
        const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, page);

        if (!vma || !fault_allowed(vma, access))
            return false;
        if (!vma_has_page(vma, page) && fault_back(vma, page) != HL__FAULT_RESOLVED)
            return false;
    }
    return true;
}
