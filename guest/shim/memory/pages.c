/* The allocator of RAM pages: a mark up to which pages were used, and a bitmap of those that came
 * back. */
#include "memory/pages.h"

uint64_t hl__pages_bitmap_size(uint64_t page_count)
{
    return (page_count + 63) / 64 * sizeof(uint64_t);
}

void hl__pages_init(struct hl__pages *pages, uint64_t first, uint64_t end)
{
    pages->first = pages->fresh = first;
    pages->end = pages->lowest_returned = end;
    pages->returned_count = 0;
}

uint64_t hl__pages_free(const struct hl__pages *pages)
{
    return pages->returned_count + (pages->end - pages->fresh);
}

static bool pages_is_returned(const struct hl__pages *pages, uint64_t page)
{
    uint64_t bit = page - pages->first;

    return pages->returned[bit / 64] >> (bit % 64) & 1;
}

static uint64_t pages_find_returned(const struct hl__pages *pages)
{
    uint64_t bit = pages->lowest_returned - pages->first;
    uint64_t word = pages->returned[bit / 64] & ~0ull << (bit % 64);

    while (!word) {
        bit = (bit / 64 + 1) * 64;
        word = pages->returned[bit / 64];
    }
    return pages->first + bit / 64 * 64 + (uint64_t)__builtin_ctzll(word);
}

static void pages_take_returned(struct hl__pages *pages, uint64_t count, struct hl__page_run *run)
{
    uint64_t page = pages_find_returned(pages);

    run->page = page;
    run->fresh = false;
    for (run->count = 0;
         run->count < count && page < pages->fresh && pages_is_returned(pages, page);
         run->count++, page++)
        pages->returned[(page - pages->first) / 64] &= ~(1ull << ((page - pages->first) % 64));
    pages->returned_count -= run->count;
    pages->lowest_returned = page;
}

bool hl__pages_take_fresh(struct hl__pages *pages, uint64_t count, struct hl__page_run *run)
{
    uint64_t left = pages->end - pages->fresh;

    if (!left)
        return false;
    run->page = pages->fresh;
    run->count = count < left ? count : left;
    run->fresh = true;
    pages->fresh += run->count;
    return true;
}

bool hl__pages_take(struct hl__pages *pages, uint64_t count, struct hl__page_run *run)
{
    if (!pages->returned_count)
        return hl__pages_take_fresh(pages, count, run);
    pages_take_returned(pages, count, run);
    return true;
}

/* The first run of `count` returned pages, 0 if there is none. */
static uint64_t pages_find_run(const struct hl__pages *pages, uint64_t count)
{
    uint64_t length = 0;

    if (count > pages->returned_count)
        return 0;
    for (uint64_t page = pages->lowest_returned; page < pages->fresh; page++) {
        length = pages_is_returned(pages, page) ? length + 1 : 0;
        if (length == count)
            return page + 1 - count;
    }
    return 0;
}

bool hl__pages_take_whole(struct hl__pages *pages, uint64_t count, struct hl__page_run *run)
{
    uint64_t page;

    if (count <= pages->end - pages->fresh)
        return hl__pages_take_fresh(pages, count, run);
    page = pages_find_run(pages, count);
    if (!page)
        return false;
    *run = (struct hl__page_run){.page = page, .count = count};
    for (uint64_t bit = page - pages->first; bit < page - pages->first + count; bit++)
        pages->returned[bit / 64] &= ~(1ull << (bit % 64));
    pages->returned_count -= count;
    return true;
}

void hl__pages_give(struct hl__pages *pages, uint64_t page, uint64_t count)
{
    for (uint64_t i = page; i < page + count; i++)
        pages->returned[(i - pages->first) / 64] |= 1ull << ((i - pages->first) % 64);
    pages->returned_count += count;
    if (page < pages->lowest_returned || pages->returned_count == count)
        pages->lowest_returned = page;
}
