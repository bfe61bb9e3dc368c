/*
 * Which pages of RAM are free. Pages are numbered by offset / HL_ABI_PAGE_SIZE. A page that was
 * never handed out is zero; a returned one must be zeroed by whoever takes it.
 */
#ifndef HL_SHIM_PAGES_H
#define HL_SHIM_PAGES_H

#include <stdbool.h>
#include <stdint.h>

struct hl__pages {
    uint64_t first, end; /* the pages owned */
    uint64_t fresh;      /* never handed out: [fresh, end) */
    uint64_t returned_count;
    uint64_t lowest_returned; /* no returned page is below */
    uint64_t *returned;       /* one bit per page, from `first` on */
};

struct hl__page_run {
    uint64_t page, count;
    bool fresh;
};

/* Bytes of `returned` for a number of pages. */
uint64_t hl__pages_bitmap_size(uint64_t page_count);

void hl__pages_init(struct hl__pages *pages, uint64_t first, uint64_t end);
uint64_t hl__pages_free(const struct hl__pages *pages);

/* Takes 1 to `count` consecutive pages, returned ones first. False when there is none. */
bool hl__pages_take(struct hl__pages *pages, uint64_t count, struct hl__page_run *run);
/* The same from fresh pages only. */
bool hl__pages_take_fresh(struct hl__pages *pages, uint64_t count, struct hl__page_run *run);
/* Exactly `count` consecutive pages, or none. */
bool hl__pages_take_whole(struct hl__pages *pages, uint64_t count, struct hl__page_run *run);
void hl__pages_give(struct hl__pages *pages, uint64_t page, uint64_t count);

#endif
