/* The system call mremap. */
#include "base/linux.h"
#include "entry/syscall.h"
#include "host/edits.h"
#include "memory/memory.h"
#include "memory/stubs.h"

struct remap_request {
    uint64_t from, old_size, to, new_size, flags; /* to: with MREMAP_FIXED */
};

/* Moves what is behind a mapping to another place: the pages stay, their addresses change. The host
 * allows no more mapped pages than there are, even for a moment. */
static void move_pages(uint64_t from, uint64_t size, const struct hl__vma *to)
{
    struct hl__table_run run;

    if (hl__table_next(&hl__memory.table, from, from + size) >= from + size)
        return;
    if (to->flags & HL__VMA_RIGHTS)
        hl__edits_add(from, HL__PAGES(size), HL_ABI_SOURCE_NONE, 0, 0);
    if (HL__PAGES(size) > hl__pages_free(&hl__memory.pages))
        hl__edits_send();
    for (uint64_t at = from; hl__table_run(&hl__memory.table, at, from + size, &run);
         at = run.address + run.count * HL_ABI_PAGE_SIZE)
        hl__table_set(&hl__memory.table, run.address - from + to->start, run.page, run.count);
    hl__table_clear(&hl__memory.table, from, from + size);
    hl__memory_show(to, to->start, to->start + size);
}

/* Whether growth of a mapping is memory that is asked for. */
static int64_t ask_growth(const struct hl__vma *vma, uint64_t old_size, uint64_t new_size)
{
    bool asks =
        vma->flags & HL_ABI_RIGHT_WRITE && !(vma->flags & (HL__VMA_SHARED | HL__VMA_NO_RESERVE));

    if (new_size > old_size && hl__memory_limited(new_size - old_size, vma->flags, 0, 0) < 0)
        return -ENOMEM;
    return asks && new_size > old_size ? hl__memory_ask(HL__PAGES(new_size - old_size), false) : 0;
}

/* The place is free. */
static int64_t remap_move(const struct hl__vma *old, const struct remap_request *request,
                          uint64_t old_size, uint64_t to)
{
    struct hl__vma vma = {.start = to,
                          .end = to + request->new_size,
                          .flags = old->flags & ~(uint64_t)HL__VMA_STACK,
                          .inode = old->inode};

    if (old->inode)
        vma.offset = old->offset + (request->from - old->start);
    if (hl__memory_reserve_table(to, to + request->new_size) < 0 ||
        ask_growth(old, old_size, request->new_size) < 0)
        return -ENOMEM;
    hl__memory_drop_retired(to, to + request->new_size);
    move_pages(request->from, old_size, &vma);
    hl__vma_insert(&hl__memory.vmas, &vma);
    if (!(request->flags & MREMAP_DONTUNMAP))
        hl__vma_remove(&hl__memory.vmas, request->from, request->from + old_size);
    return hl__edits_flush() < 0 ? -ENOMEM : (int64_t)to;
}

static int64_t remap_grow_in_place(const struct hl__vma *vma, uint64_t end, uint64_t new_end)
{
    struct hl__vma more = *vma;

    if (vma->end != end || !hl__memory_range_valid(vma->start, new_end - vma->start) ||
        hl__vma_any(&hl__memory.vmas, end, new_end) || ask_growth(vma, 0, new_end - end) < 0)
        return -ENOMEM;
    hl__memory_drop_ahead(end, new_end);
    if (!vma->inode)
        return hl__memory_map(end, new_end, vma->flags);
    more.start = end;
    more.end = new_end;
    more.offset += end - vma->start;
    hl__memory_drop_retired(end, new_end);
    hl__edits_send();
    hl__vma_insert(&hl__memory.vmas, &more);
    return 0;
}

/* A second mapping of shared memory. */
static int64_t remap_duplicate(const struct hl__vma *old, const struct remap_request *request)
{
    uint64_t to = request->to;
    int64_t failure = 0;

    if (!(old->flags & HL__VMA_SHARED) || !(request->flags & MREMAP_MAYMOVE))
        return -EINVAL;
    if (request->flags & MREMAP_FIXED)
        failure = hl__memory_unmap(to, to + request->new_size);
    else
        to = hl__memory_place(0, request->new_size, 0, 0, false);
    if (failure < 0 || !to)
        return failure < 0 ? failure : -ENOMEM;
    failure = hl__memory_map_file(to, to + request->new_size, old->flags, old->inode,
                                  old->offset + (request->from - old->start));
    return failure < 0 ? failure : (int64_t)to;
}

/* Makes its place free first: the old mapping is found again, since others may move meanwhile. */
static int64_t remap_fixed(const struct remap_request *request)
{
    uint64_t from = request->from, kept = request->old_size;
    struct hl__vma old;
    int64_t failure = hl__memory_unmap(request->to, request->to + request->new_size);

    if (!failure && request->new_size < kept) {
        failure = hl__memory_unmap(from + request->new_size, from + kept);
        kept = request->new_size;
    }
    if (failure < 0)
        return failure;
    old = *hl__vma_find(&hl__memory.vmas, from);
    return remap_move(&old, request, kept, request->to);
}

static int64_t remap_shrink(const struct remap_request *request)
{
    int64_t failure =
        request->new_size < request->old_size
            ? hl__memory_unmap(request->from + request->new_size, request->from + request->old_size)
            : 0;

    return failure < 0 ? failure : (int64_t)request->from;
}

static int64_t remap(const struct remap_request *request)
{
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, request->from);
    uint64_t end = request->from + request->old_size, to;
    struct hl__vma old;

    if (!vma)
        return -EFAULT;
    if (hl__memory_reserve_vmas() < 0)
        return -ENOMEM;
    /* Rewritten code cannot leave its stubs. */
    hl__stubs_unmap(request->from, request->from + HL_ABI_PAGE_SIZE);
    hl__edits_send();
    vma = hl__vma_find(&hl__memory.vmas, request->from);
    if (!vma)
        return -EFAULT;
    old = *vma;
    if (!request->old_size)
        return remap_duplicate(&old, request);
    if (vma->end < end)
        return -EFAULT;
    if (request->flags & MREMAP_FIXED)
        return remap_fixed(request);
    if (!(request->flags & MREMAP_DONTUNMAP)) {
        if (request->new_size <= request->old_size)
            return remap_shrink(request);
        if (!remap_grow_in_place(vma, end, request->from + request->new_size))
            return (int64_t)request->from;
    }
    to = request->flags & MREMAP_MAYMOVE ? hl__memory_place(0, request->new_size, 0, 0, false) : 0;
    return to ? remap_move(&old, request, request->old_size, to) : -ENOMEM;
}

static bool remap_flags_valid(const struct remap_request *request)
{
    uint64_t flags = request->flags;

    if (flags & ~(uint64_t)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP))
        return false;
    if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) && !(flags & MREMAP_MAYMOVE))
        return false;
    return !(flags & MREMAP_DONTUNMAP) || request->old_size == request->new_size;
}

HL__SYSCALL(mremap)
{
    const struct remap_request request = {.from = arg[0],
                                          .old_size = HL__PAGE_UP(arg[1]),
                                          .new_size = HL__PAGE_UP(arg[2]),
                                          .flags = arg[3],
                                          .to = arg[4]};

    if ((request.from & HL__PAGE_MASK) || !arg[2] || !remap_flags_valid(&request))
        return -EINVAL;
    if (arg[1] > HL_ABI_USER_END || !hl__memory_range_valid(request.from, request.old_size))
        return -EFAULT;
    if (arg[2] > HL_ABI_USER_END)
        return -EINVAL;
    if (hl__address_space_foreign(request.from, request.from + request.old_size))
        return -EFAULT;
    if (request.flags & MREMAP_FIXED &&
        ((request.to & HL__PAGE_MASK) || !hl__memory_range_valid(request.to, request.new_size) ||
         (request.to < request.from + request.old_size &&
          request.from < request.to + request.new_size)))
        return -EINVAL;
    if (request.flags & MREMAP_FIXED &&
        hl__address_space_foreign(request.to, request.to + request.new_size))
        return -ENOMEM;
    return remap(&request);
}
