/*
 * The shim's heap. Pages are fetched from the program's RAM in growing steps, since each step is an
 * exit, and stay in reach for good: a page that goes back to the program's memory keeps its mapping
 * here, so that giving and taking pages never takes a right away.
 *
 * Small objects come from pages that hold one size only, each with a head that knows its free ones: a
 * page that holds none any more goes back. Larger objects are whole pages in a row.
 */
#include "memory/heap.h"
#include "host/edits.h"
#include "memory/memory.h"

#include <stdbool.h>
#include <string.h>

#define STEP_PAGES_MIN 16u
#define STEP_PAGES_MAX 512u
#define SPARE_PAGES_MAX 512u /* beyond these, free pages go back to the program's memory */
struct free_object {
    struct free_object *next;
};

/* At the start of a page of small objects. */
struct object_page {
    struct object_page *next, *previous; /* among those of its size that have free objects */
    struct free_object *free;
    uint32_t used;
};

struct free_page {
    uint64_t next; /* page number */
};

#define HEAD_SIZE 32u
_Static_assert(sizeof(struct object_page) <= HEAD_SIZE, "objects lie behind the page's head");

/* As large as can be for their number in a page, from 512 on. */
static const uint16_t sizes[] = {16,  32,  48,  64,  96,   128,  192,
                                 256, 384, 576, 800, 1008, 1344, 2032};
#define SIZE_COUNT (sizeof sizes / sizeof sizes[0])
#define SMALL_MAX 2032u

static struct {
    struct object_page *partial[SIZE_COUNT];
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

static void partial_add(unsigned index, struct object_page *page)
{
    page->previous = NULL;
    page->next = heap.partial[index];
    if (page->next)
        page->next->previous = page;
    heap.partial[index] = page;
}

static void partial_remove(unsigned index, struct object_page *page)
{
    if (page->next)
        page->next->previous = page->previous;
    if (page->previous)
        page->previous->next = page->next;
    else
        heap.partial[index] = page->next;
}

static bool small_refill(unsigned index)
{
    uint64_t number = page_take();
    struct object_page *page = hl__page_bytes(number);
    uint8_t *bytes = (uint8_t *)page;

    if (!number)
        return false;
    *page = (struct object_page){0};
    for (size_t at = HEAD_SIZE; at + sizes[index] <= HL_ABI_PAGE_SIZE; at += sizes[index]) {
        struct free_object *object = (struct free_object *)(bytes + at);

        object->next = page->free;
        page->free = object;
    }
    partial_add(index, page);
    return true;
}

static void *small_new(size_t size)
{
    unsigned index = size_index(size);
    struct object_page *page;
    struct free_object *object;

    if (!heap.partial[index] && !small_refill(index))
        return NULL;
    page = heap.partial[index];
    object = page->free;
    page->free = object->next;
    page->used++;
    if (!page->free)
        partial_remove(index, page);
    memset(object, 0, sizes[index]);
    return object;
}

static uint64_t page_of(const void *address)
{
    return ((uint64_t)address - (uint64_t)hl__page_bytes(0)) / HL_ABI_PAGE_SIZE;
}

/* The last page of a size with free objects stays, so that one object that comes and goes costs little. */
static void small_free(void *address, size_t size)
{
    unsigned index = size_index(size);
    struct object_page *page = hl__page_bytes(page_of(address));
    struct free_object *object = address;

    if (!page->free)
        partial_add(index, page);
    object->next = page->free;
    page->free = object;
    if (--page->used || (heap.partial[index] == page && !page->next))
        return;
    partial_remove(index, page);
    hl__page_free(page_of(page));
}

/* Spare pages may be what lies between free ones. */
static bool give_spare_pages(void)
{
    bool any = heap.first_page;

    while (heap.first_page)
        hl__memory_give(page_take(), 1);
    return any;
}

static bool run_take(uint64_t count, struct hl__page_run *run)
{
    return hl__memory_take(count, false, run) ||
           (give_spare_pages() && hl__memory_take(count, false, run));
}

static void *large_new(size_t size)
{
    struct hl__page_run run;
    uint64_t page = size <= HL_ABI_PAGE_SIZE ? page_take() : 0;

    if (!page) {
        if (!run_take(pages_for(size), &run) || !heap_map(&run))
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
    if (!object)
        return;
    if (size <= SMALL_MAX)
        small_free(object, size);
    else if (pages_for(size) == 1)
        hl__page_free(page_of(object));
    else
        hl__memory_give(page_of(object), pages_for(size));
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
