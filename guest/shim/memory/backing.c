/*
 * Pages behind the program's addresses: taking and returning them, looking ahead, and page faults.
 *
 * Bookkeeping that grows lies in the heap area: the bitmap of returned pages (mapped whole at the
 * start; it is small), the mappings, the table's nodes.
 */
#include "base/linux.h"
#include "host/edits.h"
#include "memory/memory.h"
#include "program/limits.h"

#include <string.h>

#define HEAP_VMAS_OFFSET 0x10000000ull  /* 256 MiB of bitmap come first */
#define HEAP_NODES_OFFSET 0x12000000ull /* up to the heap's end */
#define VMAS_PER_PAGE (uint32_t)(HL_ABI_PAGE_SIZE / sizeof(struct hl__vma))
#define VMAS_PAGES_STEP 16u
#define VMAS_ROOM 4u
#define NODES_START 16u
#define NODES_STEP 16u
#define NODES_MAX ((HL_ABI_HEAP_END - HL_ABI_HEAP_ADDRESS - HEAP_NODES_OFFSET) / HL_ABI_PAGE_SIZE)

#define AHEAD_PAGES_MIN 48u /* a libc's first steps of the break fit */
#define AHEAD_PAGES_MAX 512u
#define AHEAD_PAGES_POPULATE 64u /* whoever got this far goes on */
#define RETIRED_SIZE_MAX (4ull << 20)
#define ASK_SLACK_PAGES HL__PAGES(256ull << 20)

struct hl__memory hl__memory;

/* Pages taken for the program whose mapping is under way, so that it can be undone or filled. */
struct backing_run {
    uint64_t address;
    struct hl__page_run run;
    uint32_t rights;
    struct hl__vma copied; /* without a file: zeroes; else the mapping whose pages are copied */
};

/* How pages are to be taken. */
struct backing_way {
    uint32_t rights;
    bool fresh_only;
    const struct hl__vma *copied; /* NULL: zeroes */
};

static struct {
    struct backing_run runs[HL_ABI_EDITS_MAX];
    uint32_t count;
} pending;

/* Whether so many pages are to be had, if need be by giving up what is mapped without need. */
static bool make_available(uint64_t page_count)
{
    if (page_count > hl__pages_free(&hl__memory.pages)) {
        hl__memory_drop_ahead(0, HL_ABI_USER_END);
        hl__memory_drop_retired(0, HL_ABI_USER_END);
        hl__edits_send();
    }
    return page_count <= hl__pages_free(&hl__memory.pages);
}

bool hl__memory_take(uint64_t count, bool fewer, struct hl__page_run *run)
{
    struct hl__pages *pages = &hl__memory.pages;

    if (!make_available(count)) {
        count = hl__pages_free(pages);
        if (!fewer || !count)
            return false;
    }
    return fewer ? hl__pages_take(pages, count, run) : hl__pages_take_whole(pages, count, run);
}

void hl__memory_give(uint64_t page, uint64_t count)
{
    hl__pages_give(&hl__memory.pages, page, count);
}

int64_t hl__memory_ask(uint64_t page_count, bool reserved)
{
    uint64_t limit = hl__memory.total_pages * 2 + ASK_SLACK_PAGES;

    if (reserved ? page_count <= limit : make_available(page_count))
        return 0;
    hl__memory.refused = true;
    return -ENOMEM;
}

static bool counts_as_data(uint64_t vma_flags)
{
    return (vma_flags & (HL_ABI_RIGHT_WRITE | HL__VMA_SHARED | HL__VMA_STACK)) ==
           HL_ABI_RIGHT_WRITE;
}

/* Bytes that are mapped, or mapped as data, outside of [start, end). A stack that grows by itself counts as
 * nothing: all of it is reserved at the start. */
static uint64_t mapped_bytes(bool only_data, uint64_t start, uint64_t end)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < vmas->count; i++) {
        const struct hl__vma *vma = &vmas->items[i];
        uint64_t low = vma->start > start ? vma->start : start;
        uint64_t high = vma->end < end ? vma->end : end;

        if (vma->owner == vmas->owner && !(vma->flags & HL__VMA_STACK) &&
            (!only_data || counts_as_data(vma->flags)))
            sum += vma->end - vma->start - (low < high ? high - low : 0);
    }
    return sum;
}

static bool is_within(uint32_t resource, uint64_t size, uint64_t start, uint64_t end)
{
    uint64_t limit = hl__limit(resource);

    return limit == RLIM_INFINITY ||
           (size <= limit && mapped_bytes(resource == RLIMIT_DATA, start, end) <= limit - size);
}

int64_t hl__memory_limited(uint64_t size, uint64_t vma_flags, uint64_t start, uint64_t end)
{
    if (!is_within(RLIMIT_AS, size, start, end))
        return -ENOMEM;
    return counts_as_data(vma_flags) && !is_within(RLIMIT_DATA, size, start, end) ? -ENOMEM : 0;
}

/* Takes pages for bookkeeping and queues their edits. Returns false when there are too few. */
static bool heap_queue(uint64_t address, uint64_t page_count, bool *recycled)
{
    struct hl__page_run run;

    if (!make_available(page_count))
        return false;
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

bool hl__memory_init(uint64_t first_page, uint64_t end_page, uint64_t heap)
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
    memory->vmas.items = (struct hl__vma *)(heap + HEAP_VMAS_OFFSET);
    memory->table.nodes = (uint32_t *)heap_nodes();
    memory->table.node_count = 1;
    if (!heap_queue(heap, bitmap_pages, &recycled) ||
        !heap_queue(heap + HEAP_VMAS_OFFSET, 1, &recycled) ||
        !heap_queue(heap_nodes(), NODES_START, &recycled) || hl__edits_flush() < 0)
        return false;
    memory->vmas.capacity = VMAS_PER_PAGE;
    memory->table.node_end = NODES_START;
    hl__address_space_enter(hl__address_space_first());
    return true;
}

int64_t hl__memory_reserve_vmas(void)
{
    struct hl__vmas *vmas = &hl__memory.vmas;
    uint32_t pages = vmas->capacity / VMAS_PER_PAGE;

    if (vmas->count + VMAS_ROOM <= vmas->capacity)
        return 0;
    if (pages > VMAS_PAGES_STEP)
        pages = VMAS_PAGES_STEP;
    if (vmas->capacity + pages * VMAS_PER_PAGE > HL__VMAS_MAX ||
        heap_map((uint64_t)(vmas->items + vmas->capacity), pages) < 0)
        return -ENOMEM;
    vmas->capacity += pages * VMAS_PER_PAGE;
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
    if (count > hl__pages_free(&hl__memory.pages))
        count = needed - left;
    if (table->node_end + count > NODES_MAX ||
        heap_map(heap_nodes() + table->node_end * 4096ull, count) < 0)
        return -ENOMEM;
    table->node_end += (uint32_t)count;
    return 0;
}

static uint64_t run_end(const struct backing_run *run)
{
    return run->address + run->run.count * HL_ABI_PAGE_SIZE;
}

/* Where copies were to come, the file's pages may still be shown. */
static void pending_undo(void)
{
    for (uint32_t i = 0; i < pending.count; i++) {
        const struct backing_run *run = &pending.runs[i];

        hl__table_clear(&hl__memory.table, run->address, run_end(run));
        hl__pages_give(&hl__memory.pages, run->run.page, run->run.count);
        if (run->copied.inode)
            hl__edits_add(run->address, run->run.count, HL_ABI_SOURCE_NONE, 0, 0);
    }
    pending.count = 0;
    hl__edits_send();
}

/* The file's pages were in reach of the shim when their copies were taken. */
static void pending_copy(const struct backing_run *run)
{
    for (uint64_t at = run->address; at < run_end(run); at += HL_ABI_PAGE_SIZE) {
        bool failed = false;
        uint32_t entry = hl__memory_file_entry(&run->copied, at, &failed);

        if (!failed)
            memcpy((void *)at, hl__memory_entry_bytes(entry), HL_ABI_PAGE_SIZE);
    }
}

static bool run_is_filled(const struct backing_run *run)
{
    return run->copied.inode || !run->run.fresh;
}

/* Zeroes the pages that were used before, and copies what is to be copied. They are writable at the
 * time. */
static void pending_fill(void)
{
    for (uint32_t i = 0; i < pending.count; i++) {
        const struct backing_run *run = &pending.runs[i];
        uint32_t rights = run->rights & ~HL_ABI_RIGHT_POPULATE;

        if (!run_is_filled(run))
            continue;
        if (run->copied.inode)
            pending_copy(run);
        else
            memset((void *)run->address, 0, run->run.count * HL_ABI_PAGE_SIZE);
        if (!(rights & HL_ABI_RIGHT_WRITE))
            hl__edits_add(run->address, run->run.count, HL_ABI_SOURCE_KEEP, 0, rights);
    }
}

int64_t hl__memory_back_now(void)
{
    for (uint32_t i = 0; i < pending.count; i++) {
        const struct backing_run *run = &pending.runs[i];

        hl__edits_add(run->address, run->run.count, HL_ABI_SOURCE_RAM,
                      run->run.page * HL_ABI_PAGE_SIZE,
                      run->rights | (run_is_filled(run) ? HL_ABI_RIGHT_WRITE : 0));
    }
    if (hl__edits_flush() < 0) {
        pending_undo();
        hl__edits_flush();
        return -ENOMEM;
    }
    pending_fill();
    pending.count = 0;
    return hl__edits_flush();
}

static bool pending_take(uint64_t address, uint64_t page_count, const struct backing_way *way)
{
    struct backing_run *run = &pending.runs[pending.count];
    struct hl__pages *pages = &hl__memory.pages;

    if (!(way->fresh_only ? hl__pages_take_fresh(pages, page_count, &run->run)
                          : hl__pages_take(pages, page_count, &run->run)))
        return false;
    run->address = address;
    run->rights = way->rights;
    run->copied = way->copied ? *way->copied : (struct hl__vma){0};
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
    const struct backing_way way = {.rights = backing_rights(vma_flags, populate)};

    if (hl__memory_reserve_table(start, end) < 0)
        return -ENOMEM;
    make_available(HL__PAGES(end - start));
    return backing_collect(start, end, &way);
}

/* Whether the mapping has a page of its own there. */
static bool is_own(uint64_t entry)
{
    return entry && !(entry & HL__ENTRY_BORROWED);
}

int64_t hl__memory_copy_later(const struct hl__vma *vma, uint64_t start, uint64_t end)
{
    const struct backing_way way = {.rights = backing_rights(vma->flags, true), .copied = vma};
    struct hl__table *table = &hl__memory.table;

    if (hl__memory_reserve_table(start, end) < 0)
        return -ENOMEM;
    make_available(HL__PAGES(end - start));
    for (uint64_t page = start; page < end;) {
        bool failed = false;
        uint64_t count = 0;

        for (uint64_t at = page; at < end && !is_own(hl__table_get(table, at)) && !failed;
             at += HL_ABI_PAGE_SIZE, count++)
            hl__memory_file_entry(vma, at, &failed); /* puts it in reach */
        if (failed)
            return -ENOMEM;
        if (pending.count == HL_ABI_EDITS_MAX && hl__memory_back_now() < 0)
            return -ENOMEM;
        if (count && !pending_take(page, count, &way))
            return -ENOMEM;
        page += (count ? pending.runs[pending.count - 1].run.count : 1) * HL_ABI_PAGE_SIZE;
    }
    return 0;
}

int64_t hl__memory_back(uint64_t start, uint64_t end, uint64_t vma_flags, bool populate)
{
    int64_t failure = hl__memory_back_later(start, end, vma_flags, populate);

    return hl__memory_back_now() < 0 ? -ENOMEM : failure;
}

/* The range becomes a mapping's. */
static void ahead_take(struct hl__lookahead *ahead, uint64_t start, uint64_t end)
{
    if (start > ahead->start || end <= ahead->start)
        return;
    if (end > ahead->end)
        end = ahead->end;
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
    return pages < room_pages ? pages : room_pages;
}

int64_t hl__memory_back_ahead(struct hl__lookahead *ahead, uint64_t start, uint64_t end,
                              uint64_t limit)
{
    struct backing_way way = {0};
    uint64_t ahead_end = end;
    int64_t failure;

    ahead_take(ahead, start, end);
    if (hl__table_next_empty(&hl__memory.table, start, end) >= end)
        return 0;
    make_available(HL__PAGES(end - start));
    if (ahead->start == ahead->end)
        ahead_end = end + ahead_choose(ahead, HL__PAGES(limit - end)) * HL_ABI_PAGE_SIZE;
    if (hl__memory_reserve_table(start, ahead_end) < 0)
        return -ENOMEM;
    way.rights = backing_rights(HL__RIGHTS_DATA, ahead->page_count >= AHEAD_PAGES_POPULATE);
    failure = backing_collect(start, end, &way);
    if (!failure && ahead_end > end) {
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

void hl__memory_unback(uint64_t start, uint64_t end)
{
    struct hl__table_run run;

    for (uint64_t at = start; hl__table_run(&hl__memory.table, at, end, &run);
         at = run.address + run.count * HL_ABI_PAGE_SIZE)
        if (is_own(run.page))
            hl__pages_give(&hl__memory.pages, run.page, run.count);
    hl__table_clear(&hl__memory.table, start, end);
}

static void ahead_drop(struct hl__lookahead *ahead, uint64_t start, uint64_t end)
{
    uint64_t from = start > ahead->start ? start : ahead->start;

    if (ahead->start == ahead->end || from >= ahead->end || end <= ahead->start)
        return;
    hl__memory_unback(from, ahead->end);
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

    if (hl__table_next(&hl__memory.table, start, end) >= end)
        return;
    if (retired->size + (end - start) > RETIRED_SIZE_MAX || !hl__retired_add(retired, start, end)) {
        hl__memory_drop_retired(0, HL_ABI_USER_END);
        hl__edits_send();
        hl__retired_add(retired, start, end);
    }
}

void hl__memory_revive(uint64_t start, uint64_t end)
{
    struct hl__range part;
    struct hl__table_run run;

    while (hl__retired_cut(&hl__memory.retired, start, end, &part))
        for (uint64_t at = part.start; hl__table_run(&hl__memory.table, at, part.end, &run);
             at = run.address + run.count * HL_ABI_PAGE_SIZE)
            memset((void *)run.address, 0, run.count * HL_ABI_PAGE_SIZE);
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
        hl__memory_unback(part.start, part.end);
        hl__edits_add(part.start, HL__PAGES(part.end - part.start), HL_ABI_SOURCE_NONE, 0, 0);
    }
}
