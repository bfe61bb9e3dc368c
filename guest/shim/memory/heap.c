/*
 * The shim's heap. Pages are fetched from the program's RAM in growing steps, since each step is an
 * exit, and stay in reach for good: a page that goes back to the program's memory keeps its mapping
 * here, so that giving and taking pages never takes a right away.
 *
 * Small objects come from pages that hold one size only, larger ones are whole pages in a row.
 */
#include "memory/heap.h"
#include "host/edits.h"
#include "memory/memory.h"

#include <stdbool.h>
#include <string.h>

#define STEP_PAGES_MIN 16u
#define STEP_PAGES_MAX 512u
#define SPARE_PAGES_MAX 512u /* beyond these, free pages go back to the program's memory */
#define SMALL_MAX 2048u

struct free_object {
    struct free_object *next;
};

struct free_page {
    uint64_t next; /* page number */
};

static const uint16_t sizes[] = {16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, SMALL_MAX};
#define SIZE_COUNT (sizeof sizes / sizeof sizes[0])

static struct {
    struct free_object *objects[SIZE_COUNT];
    uint64_t first_page; /* list of free pages through their first bytes */
    uint64_t spare_pages;
    uint64_t step_pages;
} heap;

static uint64_t pages_for(size_t size)
{
    return HL__PAGES(HL__PAGE_UP((uint64_t)size));
}

/* Brings pages into the shim's reach. The pages are lost if the host refuses: it has no tables left. */
static bool heap_map(const struct hl__page_run *run)
{
    hl__edits_add((uint64_t)hl__page_bytes(run->page), run->count, HL_ABI_SOURCE_RAM,
                  run->page * HL_ABI_PAGE_SIZE, HL__RIGHTS_DATA);
    return hl__edits_flush() == 0;
}

static void page_put(uint64_t page)
{
    ((struct free_page *)hl__page_bytes(page))->next = heap.first_page;
    heap.first_page = page;
    heap.spare_pages++;
}

static bool heap_grow(void)
{
    struct hl__page_run run;

    heap.step_pages = heap.step_pages ? heap.step_pages * 2 : STEP_PAGES_MIN;
    if (heap.step_pages > STEP_PAGES_MAX)
        heap.step_pages = STEP_PAGES_MAX;
    if (!hl__memory_take(heap.step_pages, true, &run) || !heap_map(&run))
        return false;
    for (uint64_t page = run.page + run.count; page-- > run.page;)
        page_put(page);
    return true;
}

static uint64_t page_take(void)
{
    uint64_t page;

    if (!heap.first_page && !heap_grow())
        return 0;
    page = heap.first_page;
    heap.first_page = ((struct free_page *)hl__page_bytes(page))->next;
    heap.spare_pages--;
    return page;
}

uint64_t hl__page_new(void)
{
    uint64_t page = page_take();

    if (page)
        memset(hl__page_bytes(page), 0, HL_ABI_PAGE_SIZE);
    return page;
}

void hl__page_free(uint64_t page)
{
    if (heap.spare_pages >= SPARE_PAGES_MAX)
        hl__memory_give(page, 1);
    else
        page_put(page);
}

static unsigned size_index(size_t size)
{
    unsigned i = 0;

    while (sizes[i] < size)
        i++;
    return i;
}

static bool small_refill(unsigned index)
{
    uint64_t page = page_take();
    uint8_t *bytes = hl__page_bytes(page);

    if (!page)
        return false;
    for (size_t at = 0; at + sizes[index] <= HL_ABI_PAGE_SIZE; at += sizes[index]) {
        struct free_object *object = (struct free_object *)(bytes + at);

        object->next = heap.objects[index];
        heap.objects[index] = object;
    }
    return true;
}

static void *small_new(size_t size)
{
    unsigned index = size_index(size);
    struct free_object *object;

    if (!heap.objects[index] && !small_refill(index))
        return NULL;
    object = heap.objects[index];
    heap.objects[index] = object->next;
    memset(object, 0, sizes[index]);
    return object;
}

static void *large_new(size_t size)
{
    struct hl__page_run run;
    uint64_t page = size <= HL_ABI_PAGE_SIZE ? page_take() : 0;

    if (!page) {
        if (!hl__memory_take(pages_for(size), false, &run) || !heap_map(&run))
            return NULL;
        page = run.page;
    }
    memset(hl__page_bytes(page), 0, pages_for(size) * HL_ABI_PAGE_SIZE);
    return hl__page_bytes(page);
}

void *hl__heap_new(size_t size)
{
    if (size > HL__HEAP_SIZE_MAX)
        return NULL;
    return size <= SMALL_MAX ? small_new(size) : large_new(size);
}

void hl__heap_free(void *object, size_t size)
{
    unsigned index;

    if (!object)
        return;
    if (size > SMALL_MAX) {
        uint64_t page = ((uint64_t)object - (uint64_t)hl__page_bytes(0)) / HL_ABI_PAGE_SIZE;

        if (pages_for(size) == 1)
            hl__page_free(page);
        else
            hl__memory_give(page, pages_for(size));
        return;
    }
    index = size_index(size);
    ((struct free_object *)object)->next = heap.objects[index];
    heap.objects[index] = object;
}

static bool same_place(size_t a, size_t b)
{
    if (a > SMALL_MAX || b > SMALL_MAX)
        return a > SMALL_MAX && b > SMALL_MAX && pages_for(a) == pages_for(b);
    return size_index(a) == size_index(b);
}

void *hl__heap_resize(void *object, size_t old_size, size_t new_size)
{
    size_t kept = old_size < new_size ? old_size : new_size;
    void *moved = object;

    if (!object)
        return hl__heap_new(new_size);
    if (!same_place(old_size, new_size)) {
        moved = hl__heap_new(new_size);
        if (!moved)
            return NULL;
        memcpy(moved, object, kept);
        hl__heap_free(object, old_size);
    } else if (new_size > old_size) {
        memset((uint8_t *)object + old_size, 0, new_size - old_size);
    }
    return moved;
}
