/* The sorted array of the program's mappings. */
#include "memory/vma.h"
#include "file/inode.h"

#include <stddef.h>
#include <string.h>

uint32_t hl__vma_at_or_after(const struct hl__vmas *vmas, uint64_t address)
{
    uint32_t low = 0, high = vmas->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (vmas->items[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct hl__vma *hl__vma_find(const struct hl__vmas *vmas, uint64_t address)
{
    uint32_t i = hl__vma_at_or_after(vmas, address);

    return i < vmas->count && vmas->items[i].start <= address ? &vmas->items[i] : NULL;
}

bool hl__vma_any(const struct hl__vmas *vmas, uint64_t start, uint64_t end)
{
    uint32_t i = hl__vma_at_or_after(vmas, start);

    return i < vmas->count && vmas->items[i].start < end;
}

bool hl__vma_all(const struct hl__vmas *vmas, uint64_t start, uint64_t end)
{
    for (uint32_t i = hl__vma_at_or_after(vmas, start); start < end; i++) {
        if (i == vmas->count || vmas->items[i].start > start)
            return false;
        start = vmas->items[i].end;
    }
    return true;
}

static void vma_hold(const struct hl__vma *vma)
{
    if (!vma->inode)
        return;
    hl__inode_ref(vma->inode);
    vma->inode->mapping_count++;
}

static void vma_release(const struct hl__vma *vma)
{
    if (!vma->inode)
        return;
    vma->inode->mapping_count--;
    hl__inode_unref(vma->inode);
}

static void vma_open_gap(struct hl__vmas *vmas, uint32_t at)
{
    memmove(&vmas->items[at + 1], &vmas->items[at], (vmas->count - at) * sizeof *vmas->items);
    vmas->count++;
}

static void vma_close_gap(struct hl__vmas *vmas, uint32_t at, uint32_t count)
{
    memmove(&vmas->items[at], &vmas->items[at + count],
            (vmas->count - at - count) * sizeof *vmas->items);
    vmas->count -= count;
}

/* Makes `address` a border of mappings; returns the index of the first one at or after it. */
static uint32_t vma_split(struct hl__vmas *vmas, uint64_t address)
{
    uint32_t i = hl__vma_at_or_after(vmas, address);
    struct hl__vma *vma = &vmas->items[i];

    if (i == vmas->count || vma->start >= address)
        return i;
    vma_open_gap(vmas, i);
    vma[0].end = vma[1].start = address;
    vma_hold(vma);
    if (vma->inode)
        vma[1].offset += address - vma->start;
    return i + 1;
}

static bool vma_can_join(const struct hl__vma *a, const struct hl__vma *b)
{
    if (a->end != b->start || a->flags != b->flags || a->inode != b->inode || a->owner != b->owner)
        return false;
    return !a->inode || a->offset + (a->end - a->start) == b->offset;
}

/* Joins what can be joined among the mappings from the one before `first` to the one at `last`. */
static void vma_join(struct hl__vmas *vmas, uint32_t first, uint32_t last)
{
    uint32_t i = first ? first - 1 : 0;

    while (i < last && i + 1 < vmas->count) {
        if (vma_can_join(&vmas->items[i], &vmas->items[i + 1])) {
            vmas->items[i].end = vmas->items[i + 1].end;
            vma_release(&vmas->items[i + 1]);
            vma_close_gap(vmas, i + 1, 1);
            last--;
        } else {
            i++;
        }
    }
}

void hl__vma_remove(struct hl__vmas *vmas, uint64_t start, uint64_t end)
{
    uint32_t first, last;

    if (!hl__vma_any(vmas, start, end))
        return;
    first = vma_split(vmas, start);
    last = vma_split(vmas, end);
    for (uint32_t i = first; i < last; i++)
        vma_release(&vmas->items[i]);
    vma_close_gap(vmas, first, last - first);
}

void hl__vma_insert(struct hl__vmas *vmas, const struct hl__vma *vma)
{
    uint32_t at = hl__vma_at_or_after(vmas, vma->start);

    vma_open_gap(vmas, at);
    vmas->items[at] = *vma;
    vmas->items[at].owner = vmas->owner;
    vma_hold(vma);
    vma_join(vmas, at, at + 1);
}

void hl__vma_change(struct hl__vmas *vmas, uint64_t start, uint64_t end, uint64_t clear,
                    uint64_t set)
{
    uint32_t first = vma_split(vmas, start);
    uint32_t last = vma_split(vmas, end);

    for (uint32_t i = first; i < last; i++) {
        struct hl__vma *vma = &vmas->items[i];

        vma->flags = (vma->flags & ~clear) | set;
    }
    vma_join(vmas, first, last);
}
