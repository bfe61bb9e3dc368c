/* The sorted array of ranges whose unmapping waits. */
#include "memory/retired.h"

#include <string.h>

static uint32_t retired_at_or_after(const struct hl__retired *retired, uint64_t address)
{
    uint32_t i = 0;

    while (i < retired->count && retired->items[i].end <= address)
        i++;
    return i;
}

static void retired_open_gap(struct hl__retired *retired, uint32_t at)
{
    struct hl__range *item = &retired->items[at];

    memmove(item + 1, item, (retired->count++ - at) * sizeof *item);
}

static void retired_close_gap(struct hl__retired *retired, uint32_t at)
{
    struct hl__range *item = &retired->items[at];

    memmove(item, item + 1, (--retired->count - at) * sizeof *item);
}

bool hl__retired_add(struct hl__retired *retired, uint64_t start, uint64_t end)
{
    uint32_t i = retired_at_or_after(retired, start);
    struct hl__range *next = &retired->items[i];
    bool joins_last = i && next[-1].end == start;
    bool joins_next = i < retired->count && next->start == end;

    if (joins_last) {
        next[-1].end = joins_next ? next->end : end;
        if (joins_next)
            retired_close_gap(retired, i);
    } else if (joins_next) {
        next->start = start;
    } else {
        if (retired->count == HL__RETIRED_MAX)
            return false;
        retired_open_gap(retired, i);
        *next = (struct hl__range){start, end};
    }
    retired->size += end - start;
    return true;
}

uint64_t hl__retired_next(const struct hl__retired *retired, uint64_t address)
{
    uint32_t i = retired_at_or_after(retired, address);

    return i < retired->count ? retired->items[i].start : UINT64_MAX;
}

bool hl__retired_cut(struct hl__retired *retired, uint64_t start, uint64_t end,
                     struct hl__range *part)
{
    uint32_t i = retired_at_or_after(retired, start);
    struct hl__range *item = &retired->items[i];

    if (i == retired->count || item->start >= end)
        return false;
    part->start = start > item->start ? start : item->start;
    part->end = end < item->end ? end : item->end;
    retired->size -= part->end - part->start;
    if (part->start > item->start && part->end < item->end) {
        retired_open_gap(retired, i);
        item[0].end = part->start;
        item[1].start = part->end;
    } else if (part->start > item->start) {
        item->end = part->start;
    } else if (part->end < item->end) {
        item->start = part->end;
    } else {
        retired_close_gap(retired, i);
    }
    return true;
}
