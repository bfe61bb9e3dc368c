/*
 * Pages of files in the program's memory. A file's page is shown where it lies, in the image or in
 * the file's own memory, and may be written in a shared mapping only, and only where it is the
 * file's own memory; a private mapping gets a copy when it is written first.
 */
#include "base/linux.h"
#include "host/edits.h"
#include "memory/heap.h"
#include "memory/memory.h"
#include "memory/stubs.h"

#define BORROW_SIZE (2ull << 20) /* shown with a fault, and with what lies beside the mapping */
#define COPY_AHEAD_SIZE (64ull << 10) /* a library's data up to this is about to be relocated */

static uint32_t zero_entry(bool *failed)
{
    if (!hl__memory.zero_page)
        hl__memory.zero_page = hl__page_new();
    *failed |= !hl__memory.zero_page;
    return HL__ENTRY_SHARED | (uint32_t)hl__memory.zero_page;
}

uint32_t hl__memory_file_entry(const struct hl__vma *vma, uint64_t address, bool *failed)
{
    uint64_t offset = vma->offset + (address - vma->start);
    struct hl__file_page page;
    uint64_t patch;

    if (vma->flags & HL__VMA_STUBS)
        return HL__ENTRY_ROOT | (uint32_t)HL__PAGES(offset);
    if (vma->flags & HL__VMA_PATCHED && hl__stubs_patch(vma->inode, HL__PAGES(offset), &patch))
        return HL__ENTRY_ROOT | (uint32_t)HL__PAGES(patch);
    page = hl__inode_page(vma->inode, HL__PAGES(offset), failed);
    switch (page.source) {
    case HL__PAGE_IMAGE:
        return HL__ENTRY_ROOT | (uint32_t)HL__PAGES(page.offset);
    case HL__PAGE_PROGRAM:
        return HL__ENTRY_BINARY | (uint32_t)HL__PAGES(page.offset);
    case HL__PAGE_RAM:
        return HL__ENTRY_SHARED | (uint32_t)HL__PAGES(page.offset);
    default:
        return zero_entry(failed);
    }
}

const void *hl__memory_entry_bytes(uint32_t entry)
{
    uint64_t number = entry & HL__ENTRY_NUMBER;

    if (entry & HL__ENTRY_ROOT)
        return (const void *)(HL_ABI_ROOT_ADDRESS + number * HL_ABI_PAGE_SIZE);
    if (entry & HL__ENTRY_BINARY)
        return (const void *)(HL_ABI_PROGRAM_ADDRESS + number * HL_ABI_PAGE_SIZE);
    return hl__page_bytes(number);
}

uint32_t hl__memory_shown_rights(const struct hl__vma *vma, uint64_t entry)
{
    uint32_t rights = (uint32_t)(vma->flags & HL__VMA_RIGHTS);
    bool read_only =
        entry & HL__ENTRY_SHARED
            ? !(vma->flags & HL__VMA_SHARED) || (entry & HL__ENTRY_NUMBER) == hl__memory.zero_page
            : entry & HL__ENTRY_READ_ONLY;

    return read_only ? rights & ~HL_ABI_RIGHT_WRITE : rights;
}

static enum hl_abi_source entry_source(uint64_t entry)
{
    if (entry & HL__ENTRY_ROOT)
        return HL_ABI_SOURCE_ROOT;
    return entry & HL__ENTRY_BINARY ? HL_ABI_SOURCE_PROGRAM : HL_ABI_SOURCE_RAM;
}

static void show_run(const struct hl__vma *vma, const struct hl__table_run *run)
{
    uint32_t rights = hl__memory_shown_rights(vma, run->page);

    if (rights)
        hl__edits_add(run->address, run->count, entry_source(run->page),
                      (run->page & HL__ENTRY_NUMBER) * HL_ABI_PAGE_SIZE, rights);
}

void hl__memory_show(const struct hl__vma *vma, uint64_t start, uint64_t end)
{
    struct hl__table_run run;

    for (uint64_t at = start; hl__table_run(&hl__memory.table, at, end, &run);
         at = run.address + run.count * HL_ABI_PAGE_SIZE)
        show_run(vma, &run);
}

uint64_t hl__memory_file_end(const struct hl__vma *vma)
{
    uint64_t size = vma->inode->size;

    if (vma->flags & HL__VMA_STUBS)
        return vma->end;
    if (size <= vma->offset)
        return vma->start;
    size -= vma->offset;
    return size > vma->end - vma->start ? vma->end : vma->start + HL__PAGE_UP(size);
}

int64_t hl__memory_borrow_later(const struct hl__vma *vma, uint64_t start, uint64_t end)
{
    struct hl__table *table = &hl__memory.table;

    if (hl__memory_reserve_table(start, end) < 0)
        return -ENOMEM;
    for (uint64_t at = start; at < end; at += HL_ABI_PAGE_SIZE) {
        bool failed = false;
        struct hl__table_run run = {at, 1, 0};

        if (hl__table_get(table, at))
            continue;
        run.page = hl__memory_file_entry(vma, at, &failed);
        if (failed)
            return -ENOMEM;
        hl__table_set(table, at, run.page, 1);
        show_run(vma, &run);
    }
    return 0;
}

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t higher(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What is shown with a page that is read. */
static int64_t borrow_around(const struct hl__vma *vma, uint64_t page)
{
    uint64_t start = higher(page / BORROW_SIZE * BORROW_SIZE, vma->start);
    uint64_t end = lower(page / BORROW_SIZE * BORROW_SIZE + BORROW_SIZE, hl__memory_file_end(vma));

    if (vma->end - vma->start <= BORROW_SIZE) {
        start = vma->start;
        end = hl__memory_file_end(vma);
    }
    return hl__memory_borrow_later(vma, start, end);
}

/* A page that is not written yet shows what is written to its file later. Files of the image are hardly
 * ever written, so that copies of theirs may come ahead. */
static bool copies_ahead(const struct hl__vma *vma)
{
    return vma->inode->image && !vma->inode->changed_here;
}

/* Data of a library up to some size is copied whole: whoever maps it is about to relocate it. */
static bool copied_whole(const struct hl__vma *vma)
{
    return (vma->flags & HL_ABI_RIGHT_WRITE) && !(vma->flags & HL__VMA_SHARED) &&
           vma->end - vma->start <= COPY_AHEAD_SIZE && copies_ahead(vma);
}

/* Another part of the file that has a fault: shown with it if it is new. False: too much by now. */
static bool borrow_neighbour(const struct hl__vma *vma, uint64_t *room)
{
    uint64_t end = hl__memory_file_end(vma), size = end - vma->start;

    if (size > *room)
        return false;
    *room -= size;
    if (!(vma->flags & HL__VMA_RIGHTS) ||
        hl__table_next(&hl__memory.table, vma->start, end) < end || vma->start >= end)
        return true;
    return copied_whole(vma) ? hl__memory_copy_later(vma, vma->start, end) == 0
                             : hl__memory_borrow_later(vma, vma->start, end) == 0;
}

/* A library lies in several mappings beside each other; one fault is enough for all of them. */
static void borrow_neighbours(const struct hl__vma *vma)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;
    uint32_t at = (uint32_t)(vma - vmas->items);
    const struct hl__inode *inode = vma->inode;
    uint64_t room = BORROW_SIZE;

    if (vma->flags & HL__VMA_SHARED)
        return;
    for (uint32_t i = at; i && vmas->items[i - 1].inode == inode; i--)
        if (!borrow_neighbour(&vmas->items[i - 1], &room))
            break;
    for (uint32_t i = at + 1; i < vmas->count && vmas->items[i].inode == inode; i++)
        if (!borrow_neighbour(&vmas->items[i], &room))
            break;
}

static int64_t copy_around(const struct hl__vma *vma, uint64_t page)
{
    struct hl__fault_window window = {page, page + HL_ABI_PAGE_SIZE, false};
    uint64_t end = hl__memory_file_end(vma);

    if (copies_ahead(vma))
        window = hl__memory_window(vma, page);
    if (copied_whole(vma))
        window.start = vma->start, window.end = end;
    return hl__memory_copy_later(vma, window.start, lower(window.end, end));
}

/* A fault is under way that changes many pages of a file: the edits go together. */
static bool change_later;

/* Makes a page the file's own memory, and shows it so that it can be written. */
static int64_t own_page(const struct hl__vma *vma, uint64_t page)
{
    uint64_t offset = vma->offset + (page - vma->start);
    uint64_t number = hl__inode_page_own(vma->inode, HL__PAGES(offset));
    struct hl__table_run run = {page, 1, HL__ENTRY_SHARED | number};

    if (!number)
        return -ENOMEM;
    hl__table_set(&hl__memory.table, page, run.page, 1);
    show_run(vma, &run);
    return 0;
}

/* Pages of a shared mapping that is written. Those of the image become the file's own memory one by
 * one, holes in windows. */
static int64_t own_around(const struct hl__vma *vma, uint64_t page)
{
    struct hl__fault_window window = hl__memory_window(vma, page);
    uint64_t end = lower(window.end, hl__memory_file_end(vma));
    int64_t failure;

    if (hl__memory_reserve_table(window.start, window.end) < 0)
        return -ENOMEM;
    change_later = true;
    failure = own_page(vma, page);
    for (uint64_t at = window.start; at < end && !failure; at += HL_ABI_PAGE_SIZE) {
        uint64_t entry = hl__table_get(&hl__memory.table, at);
        bool failed = false;

        if (!entry || (entry & ~HL__ENTRY_SHARED) == hl__memory.zero_page)
            entry = hl__memory_file_entry(vma, at, &failed);
        if (!failed && entry & HL__ENTRY_SHARED && at != page && own_page(vma, at) < 0)
            break; /* the page that was touched is there */
    }
    change_later = false;
    return failure;
}

/* Shared memory that is read first is about to be written. */
static bool is_hole(const struct hl__vma *vma, uint64_t page)
{
    bool failed = false;

    return hl__memory_file_entry(vma, page, &failed) == (HL__ENTRY_SHARED | hl__memory.zero_page);
}

int64_t hl__memory_file_fault(const struct hl__vma *vma, uint64_t page, bool write)
{
    int64_t failure;

    if (page >= hl__memory_file_end(vma))
        return -EFAULT;
    if (vma->flags & HL__VMA_SHARED && vma->flags & HL_ABI_RIGHT_WRITE &&
        (write || is_hole(vma, page)))
        failure = own_around(vma, page);
    else if (write)
        failure = copy_around(vma, page);
    else
        failure = borrow_around(vma, page);
    if (!failure)
        borrow_neighbours(vma);
    if (hl__memory_back_now() < 0)
        return -ENOMEM;
    /* Too little for all of it, perhaps not for the one page. */
    if (failure && write && !(vma->flags & HL__VMA_SHARED))
        failure = hl__memory_copy_later(vma, page, page + HL_ABI_PAGE_SIZE);
    if (hl__memory_back_now() < 0)
        return -ENOMEM;
    return failure;
}

/* A mapping forgets pages of its file. Copies stay unless the file ends before them. */
static void forget_pages(const struct hl__vma *vma, uint64_t start, uint64_t end)
{
    uint64_t file_end = hl__memory_file_end(vma);

    for (uint64_t at = hl__table_next(&hl__memory.table, start, end); at < end;
         at = hl__table_next(&hl__memory.table, at + HL_ABI_PAGE_SIZE, end)) {
        if (!(hl__table_get(&hl__memory.table, at) & HL__ENTRY_BORROWED) && at < file_end)
            continue;
        hl__memory_unback(at, at + HL_ABI_PAGE_SIZE);
        hl__edits_add(at, 1, HL_ABI_SOURCE_NONE, 0, 0);
    }
}

void hl__memory_file_changed(struct hl__inode *inode, uint64_t first, uint64_t end)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;

    for (uint32_t i = 0; i < vmas->count; i++) {
        const struct hl__vma *vma = &vmas->items[i];
        uint64_t pages = HL__PAGES(vma->end - vma->start), from = HL__PAGES(vma->offset);

        if (vma->inode != inode || vma->flags & HL__VMA_STUBS || end <= from ||
            first >= from + pages)
            continue;
        forget_pages(vma,
                     first > from ? vma->start + (first - from) * HL_ABI_PAGE_SIZE : vma->start,
                     end < from + pages ? vma->start + (end - from) * HL_ABI_PAGE_SIZE : vma->end);
    }
    if (!change_later)
        hl__edits_flush();
}
