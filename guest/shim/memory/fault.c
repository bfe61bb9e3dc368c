/* Page faults: memory that was not touched before, pages of files, copies on write, stacks that
 * grow. */
#include "base/linux.h"
#include "host/edits.h"
#include "memory/memory.h"
#include "program/limits.h"

#define FAULT_PAGES_MIN 16u
#define FAULT_PAGES_MAX 256u
#define SPURIOUS_MAX 64u
#define GROWTH_STEP (64ull << 10) /* a stack grows by so much at once where there is room */

/* A sweep that goes on where the last fault's pages ended gets more at a time. */
static uint64_t fault_window(uint64_t page)
{
    uint64_t pages = page == hl__memory.fault_next ? hl__memory.fault_pages * 2 : FAULT_PAGES_MIN;

    hl__memory.fault_pages = pages > FAULT_PAGES_MAX ? FAULT_PAGES_MAX : pages;
    return hl__memory.fault_pages;
}

struct hl__fault_window hl__memory_window(const struct hl__vma *vma, uint64_t page)
{
    uint64_t size = fault_window(page) * HL_ABI_PAGE_SIZE;
    struct hl__fault_window window = {page, page + size, hl__memory.fault_pages > FAULT_PAGES_MIN};

    if (vma->flags & HL__VMA_STACK) {
        window.end = page + HL_ABI_PAGE_SIZE;
        window.start = window.end - size;
    } else if (!window.sequential) {
        window.start = page / size * size;
        window.end = window.start + size;
    }
    if (window.start < vma->start)
        window.start = vma->start;
    if (window.end > vma->end)
        window.end = vma->end;
    hl__memory.fault_next =
        vma->flags & HL__VMA_STACK ? window.start - HL_ABI_PAGE_SIZE : window.end;
    return window;
}

static enum hl__fault_result fault_back(const struct hl__vma *vma, uint64_t page)
{
    struct hl__fault_window window = hl__memory_window(vma, page);

    hl__memory_back(window.start, window.end, vma->flags, window.sequential);
    if (hl__table_get(&hl__memory.table, page))
        return HL__FAULT_RESOLVED;
    /* Too little for the whole window, perhaps not for one page. */
    return hl__memory_back(page, page + HL_ABI_PAGE_SIZE, vma->flags, false) < 0
               ? HL__FAULT_NO_MEMORY
               : HL__FAULT_RESOLVED;
}

static enum hl__fault_result fault_file(const struct hl__vma *vma, uint64_t page, bool write)
{
    switch (hl__memory_file_fault(vma, page, write)) {
    case 0:
        return HL__FAULT_RESOLVED;
    case -EFAULT:
        return HL__FAULT_BEYOND;
    default:
        return HL__FAULT_NO_MEMORY;
    }
}

/* The page should be accessible: the processor saw an older state. Say it again, not for ever. */
static enum hl__fault_result fault_spurious(const struct hl__vma *vma, uint64_t page, uint64_t rip)
{
    if (hl__memory.spurious_address != page || hl__memory.spurious_rip != rip)
        hl__memory.spurious_count = 0;
    if (hl__memory.spurious_count++ == SPURIOUS_MAX)
        return HL__FAULT_DENIED;
    hl__memory.spurious_address = page;
    hl__memory.spurious_rip = rip;
    hl__memory_show(vma, page, page + HL_ABI_PAGE_SIZE);
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

/* Whether an allowed access needs nothing but what is behind the page. */
static bool fault_needless(const struct hl__vma *vma, uint64_t page, uint32_t access)
{
    uint64_t entry = hl__table_get(&hl__memory.table, page);

    return entry && (!(access & HL__ACCESS_WRITE) ||
                     hl__memory_shown_rights(vma, entry) & HL_ABI_RIGHT_WRITE);
}

static enum hl__fault_result fault_bring(const struct hl__vma *vma, uint64_t page, uint32_t access)
{
    return vma->inode ? fault_file(vma, page, access & HL__ACCESS_WRITE) : fault_back(vma, page);
}

/* The lowest address that a stack above `address` may grow to. */
static uint64_t growth_limit(const struct hl__vma *stack)
{
    const struct hl__vma *below = stack > hl__memory.vmas.items ? stack - 1 : NULL;
    uint64_t limit = hl__limit(RLIMIT_STACK);
    uint64_t lowest = stack->end - HL_ABI_USER_START > limit ? HL__PAGE_UP(stack->end - limit)
                                                             : HL_ABI_USER_START;

    if (below && below->end + HL__STACK_GAP > lowest && below->flags & HL__VMA_RIGHTS)
        return below->end + HL__STACK_GAP;
    return below && below->end > lowest ? below->end : lowest;
}

/* Lets the stack above `address` grow down to it. NULL: there is none, or it must not. */
static const struct hl__vma *fault_grow(uint64_t address)
{
    struct hl__vmas *vmas = &hl__memory.vmas;
    uint32_t i = hl__vma_at_or_after(vmas, address);
    struct hl__vma *stack = &vmas->items[i];
    uint64_t limit, start = HL__PAGE_DOWN(address);

    if (i == vmas->count || !(stack->flags & HL__VMA_STACK) || stack->start <= address)
        return NULL;
    limit = growth_limit(stack);
    if (start < limit)
        return NULL;
    start = start - limit > GROWTH_STEP ? start - GROWTH_STEP : limit;
    hl__memory_drop_ahead(start, stack->start);
    hl__memory_drop_retired(start, stack->start);
    hl__edits_send();
    stack->start = start;
    return stack;
}

enum hl__fault_result hl__memory_fault(uint64_t address, uint32_t error_code, uint64_t rip)
{
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, address);

    if (!vma)
        vma = fault_grow(address);
    if (!vma)
        return HL__FAULT_UNMAPPED;
    if (!fault_allowed(vma, error_code))
        return HL__FAULT_DENIED;
    if (fault_needless(vma, HL__PAGE_DOWN(address), error_code))
        return fault_spurious(vma, HL__PAGE_DOWN(address), rip);
    hl__memory.spurious_address = 0;
    return fault_bring(vma, HL__PAGE_DOWN(address), error_code);
}

bool hl__memory_present(uint64_t start, uint64_t size, uint32_t access)
{
    if (size > HL_ABI_USER_END || start > HL_ABI_USER_END - size)
        return false;
    for (uint64_t page = HL__PAGE_DOWN(start); page < start + size; page += HL_ABI_PAGE_SIZE) {
        const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, page);

        if (!vma)
            vma = fault_grow(page);
        if (!vma || !fault_allowed(vma, access))
            return false;
        if (!fault_needless(vma, page, access) &&
            fault_bring(vma, page, access) != HL__FAULT_RESOLVED)
            return false;
    }
    return true;
}
