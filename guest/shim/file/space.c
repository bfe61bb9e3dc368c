#include "file/space.h"
#include "memory/memory.h"

void hl__space(uint64_t *total_pages, uint64_t *free_pages)
{
    *total_pages = hl__memory.total_pages;
    *free_pages = hl__pages_free(&hl__memory.pages);
}
