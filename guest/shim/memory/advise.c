/* The system calls that say how memory is used: madvise, msync, mincore, mlock and their like. */
#include "base/linux.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "host/edits.h"
#include "memory/heap.h"
#include "memory/memory.h"
#include "thread/thread.h"

#include <string.h>

#define IOV_MAX 1024u

/* Up to this size, dropped pages are zeroed in place, which costs no exit. Those of memory that is
 * not reserved are of use elsewhere. */
#define DROP_IN_PLACE_MAX (1ull << 20)
#define DROP_UNRESERVED_IN_PLACE_MAX (256ull << 10)

/* Private memory starts over from zeroes, or from its file. */
static void drop_piece(const struct hl__vma *vma, uint64_t start, uint64_t end)
{
    uint64_t in_place_max =
        vma->flags & HL__VMA_NO_RESERVE ? DROP_UNRESERVED_IN_PLACE_MAX : DROP_IN_PLACE_MAX;
    struct hl__table_run run;
    uint64_t first;

    if (vma->flags & (HL__VMA_SHARED | HL__VMA_STUBS))
        return;
    if (!vma->inode && (vma->flags & HL_ABI_RIGHT_WRITE) && end - start <= in_place_max) {
        for (uint64_t at = start; hl__table_run(&hl__memory.table, at, end, &run);
             at = run.address + run.count * HL_ABI_PAGE_SIZE)
            memset((void *)run.address, 0, run.count * HL_ABI_PAGE_SIZE);
        return;
    }
    first = hl__table_next(&hl__memory.table, start, end);
    if (first >= end)
        return;
    hl__memory_unback(first, end);
    if (vma->flags & HL__VMA_RIGHTS)
        hl__edits_add(first, HL__PAGES(end - first), HL_ABI_SOURCE_NONE, 0, 0);
}

/* The pages of a shared mapping become holes of its file: zeroes. */
static int64_t remove_piece(const struct hl__vma *vma, uint64_t start, uint64_t end)
{
    uint64_t file_end = hl__memory_file_end(vma);

    for (uint64_t at = start; at < end && at < file_end; at += HL_ABI_PAGE_SIZE) {
        bool failed = false;
        uint64_t index = HL__PAGES(vma->offset + (at - vma->start)), page;

        if (hl__inode_page(vma->inode, index, &failed).source == HL__PAGE_HOLE && !failed)
            continue;
        page = hl__inode_page_own(vma->inode, index);
        if (!page)
            return -ENOMEM;
        memset(hl__page_bytes(page), 0, HL_ABI_PAGE_SIZE);
    }
    return 0;
}

typedef int64_t piece_function(const struct hl__vma *vma, uint64_t start, uint64_t end,
                               uint64_t advice);

/* Calls a function for each mapping's part of a range; what is not mapped is left out, and told. */
static int64_t for_pieces(uint64_t start, uint64_t end, uint64_t advice, piece_function *function)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;
    uint64_t at = start;
    bool gap = false;
    int64_t failure = 0;

    for (uint32_t i = hl__vma_at_or_after(vmas, start);
         i < vmas->count && vmas->items[i].start < end && !failure; i++) {
        const struct hl__vma *vma = &vmas->items[i];
        uint64_t from = vma->start > start ? vma->start : start;

        gap |= from > at;
        at = vma->end < end ? vma->end : end;
        failure = function(vma, from, at, advice);
    }
    if (hl__edits_flush() < 0)
        return -ENOMEM;
    return failure ? failure : gap || at < end ? -ENOMEM : 0;
}

static int64_t advise_piece(const struct hl__vma *vma, uint64_t start, uint64_t end,
                            uint64_t advice)
{
    switch (advice) {
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
        drop_piece(vma, start, end);
        return 0;
    case MADV_REMOVE:
        if (!vma->inode || !(vma->flags & HL__VMA_SHARED))
            return -EINVAL;
        return vma->flags & HL__VMA_READ_ONLY ? -EACCES : remove_piece(vma, start, end);
    case MADV_FREE:
        return vma->inode ? -EINVAL : 0;
    default:
        return 0;
    }
}

static int64_t populate_piece(const struct hl__vma *vma, uint64_t start, uint64_t end, bool write)
{
    bool copies = write && (vma->flags & HL_ABI_RIGHT_WRITE);

    for (uint64_t at = start; at < end; at += HL_ABI_PAGE_SIZE) {
        int64_t failure;

        if (hl__table_get(&hl__memory.table, at) &&
            (!copies || hl__memory_shown_rights(vma, hl__table_get(&hl__memory.table, at)) &
                            HL_ABI_RIGHT_WRITE))
            continue;
        failure = vma->inode ? hl__memory_file_fault(vma, at, copies)
                             : hl__memory_back(at, end, vma->flags, true);
        if (failure < 0)
            return failure;
    }
    return 0;
}

int64_t hl__memory_populate(uint64_t start, uint64_t end, bool write)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;
    int64_t failure = 0;

    for (uint32_t i = hl__vma_at_or_after(vmas, start);
         i < vmas->count && vmas->items[i].start < end && !failure; i++) {
        const struct hl__vma *vma = &vmas->items[i];
        uint64_t from = vma->start > start ? vma->start : start;
        uint64_t to = vma->end < end ? vma->end : end;

        if (!(vma->flags & HL__VMA_RIGHTS) || (write && !(vma->flags & HL_ABI_RIGHT_WRITE)))
            return -EINVAL;
        failure = populate_piece(vma, from, to, write || !vma->inode);
    }
    return failure;
}

static int64_t populate_advice(uint64_t start, uint64_t end, bool write)
{
    if (!hl__vma_all(&hl__memory.vmas, start, end))
        return -ENOMEM;
    return hl__memory_populate(start, end, write);
}

static bool advice_known(uint64_t advice)
{
    return advice <= MADV_DONTNEED || (advice >= MADV_FREE && advice <= MADV_COLLAPSE);
}

HL__SYSCALL(madvise)
{
    uint64_t start = arg[0], size = HL__PAGE_UP(arg[1]), advice = (uint32_t)arg[2];

    if (advice == MADV_HWPOISON || advice == MADV_SOFT_OFFLINE)
        return -EPERM;
    if (start & HL__PAGE_MASK || !advice_known(advice))
        return -EINVAL;
    if (!arg[1])
        return 0;
    if (arg[1] > HL_ABI_USER_END || start + size < start)
        return -EINVAL;
    if (!hl__memory_range_valid(start, size) || hl__address_space_foreign(start, start + size))
        return -ENOMEM;
    if (advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE)
        return populate_advice(start, start + size, advice == MADV_POPULATE_WRITE);
    return for_pieces(start, start + size, advice, advise_piece);
}

HL__SYSCALL(msync)
{
    uint64_t size = HL__PAGE_UP(arg[1]), flags = arg[2];

    if (arg[0] & HL__PAGE_MASK || flags & ~(uint64_t)(MS_ASYNC | MS_INVALIDATE | MS_SYNC) ||
        (flags & MS_ASYNC && flags & MS_SYNC))
        return -EINVAL;
    if (arg[1] > HL_ABI_USER_END || arg[0] > HL_ABI_USER_END ||
        (arg[1] && !hl__vma_all(&hl__memory.vmas, arg[0], arg[0] + size)))
        return -ENOMEM;
    return 0;
}

/* Everything of a file counts as present: it is in the image or in memory. */
HL__SYSCALL(mincore)
{
    uint64_t start = arg[0], end = start + HL__PAGE_UP(arg[1]), out = arg[2];

    if (start & HL__PAGE_MASK)
        return -EINVAL;
    if (arg[1] > HL_ABI_USER_END || !hl__memory_range_valid(start, end - start) ||
        !hl__vma_all(&hl__memory.vmas, start, end))
        return -ENOMEM;
    for (uint64_t at = start; at < end; at += HL_ABI_PAGE_SIZE) {
        const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, at);
        uint8_t present =
            (vma->inode && at < hl__memory_file_end(vma)) || hl__table_get(&hl__memory.table, at);

        if (hl__user_write(out++, &present, 1) < 0)
            return -EFAULT;
    }
    return 0;
}

/* Nothing is ever paged out, so locking only brings in. */
static int64_t lock(uint64_t start, uint64_t size, bool populate)
{
    uint64_t end = HL__PAGE_UP(start + size);

    start = HL__PAGE_DOWN(start);
    if (start == end)
        return 0;
    if (end < start)
        return -EINVAL;
    if (!hl__memory_range_valid(start, end - start) || !hl__vma_all(&hl__memory.vmas, start, end))
        return -ENOMEM;
    if (populate && hl__memory_populate(start, end, false) < 0)
        return -ENOMEM;
    return 0;
}

HL__SYSCALL(mlock)
{
    return lock(arg[0], arg[1], true);
}

HL__SYSCALL(mlock2)
{
    enum { MLOCK_ONFAULT = 1 };

    return arg[2] & ~(uint64_t)MLOCK_ONFAULT ? -EINVAL
                                             : lock(arg[0], arg[1], !(arg[2] & MLOCK_ONFAULT));
}

HL__SYSCALL(munlock)
{
    return lock(arg[0], arg[1], false);
}

HL__SYSCALL(mlockall)
{
    return !arg[0] || arg[0] & ~7ull || arg[0] == 4 ? -EINVAL : 0;
}

HL__SYSCALL(munlockall)
{
    (void)arg;
    return 0;
}

/* One processor sees its own accesses in order, and a thread that does not run has none under way. */
HL__SYSCALL(membarrier)
{
    enum { QUERY = 0, KNOWN = 0x1ff };

    if (arg[1])
        return -EINVAL;
    if (arg[0] == QUERY)
        return KNOWN;
    return arg[0] & ~(uint64_t)KNOWN || arg[0] & (arg[0] - 1) ? -EINVAL : 0;
}

struct vectors {
    struct linux_iovec item; /* what is left of the current one */
    uint64_t next, left;     /* the ones after it */
};

/* 0 when there is nothing left, -EFAULT, or 1. */
static int64_t vectors_next(struct vectors *vectors)
{
    while (!vectors->item.size) {
        if (!vectors->left)
            return 0;
        if (hl__user_read(&vectors->item, vectors->next, sizeof vectors->item) < 0)
            return -EFAULT;
        vectors->next += sizeof vectors->item;
        vectors->left--;
    }
    return 1;
}

static int64_t copy_memory(uint64_t to, uint64_t from, uint64_t size)
{
    uint8_t bytes[1024];

    for (uint64_t done = 0; done < size;) {
        uint64_t step = size - done < sizeof bytes ? size - done : sizeof bytes;

        if (hl__user_read(bytes, from + done, step) < 0 ||
            hl__user_write(to + done, bytes, step) < 0)
            return -EFAULT;
        done += step;
    }
    return 0;
}

/* Between two lists of pieces of the same memory. */
static int64_t copy_vectors(const uint64_t *arg, bool to_local)
{
    struct vectors local = {.next = arg[1], .left = arg[2]};
    struct vectors remote = {.next = arg[3], .left = arg[4]};
    int64_t copied = 0;

    if (arg[5] || arg[2] > IOV_MAX || arg[4] > IOV_MAX)
        return -EINVAL;
    if ((int32_t)arg[0] != hl__process()->id)
        return -ESRCH;
    for (;;) {
        int64_t left = vectors_next(&local), other = vectors_next(&remote);
        uint64_t size = local.item.size < remote.item.size ? local.item.size : remote.item.size;

        if (left < 0 || other < 0 ||
            (left && other &&
             copy_memory(to_local ? local.item.address : remote.item.address,
                         to_local ? remote.item.address : local.item.address, size) < 0))
            return copied ? copied : -EFAULT;
        if (!left || !other)
            return copied;
        local.item.address += size;
        local.item.size -= size;
        remote.item.address += size;
        remote.item.size -= size;
        copied += (int64_t)size;
    }
}

HL__SYSCALL(process_vm_readv)
{
    return copy_vectors(arg, true);
}

HL__SYSCALL(process_vm_writev)
{
    return copy_vectors(arg, false);
}
