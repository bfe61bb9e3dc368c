/*
 * The shim's heap over RAM that is an array: objects are zeroed and do not overlap, and what is freed
 * can be had again for anything else.
 */
#include "hyperlight/abi/x86_64.h"

#include <stdint.h>

#define RAM_PAGES 2048u
static uint8_t ram[RAM_PAGES * 4096] __attribute__((aligned(4096)));
#undef HL_ABI_POOL_ADDRESS
#define HL_ABI_POOL_ADDRESS ((uint64_t)ram)

#include "../../guest/shim/memory/heap.c"
#include "../../guest/shim/memory/pages.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t returned[RAM_PAGES / 64];
static struct hl__pages pages;

bool hl__memory_take(uint64_t count, bool fewer, struct hl__page_run *run)
{
    if (count > hl__pages_free(&pages) && fewer)
        count = hl__pages_free(&pages);
    if (!count || count > hl__pages_free(&pages))
        return false;
    return fewer ? hl__pages_take(&pages, count, run) : hl__pages_take_whole(&pages, count, run);
}

void hl__memory_give(uint64_t page, uint64_t count)
{
    memset(hl__page_bytes(page), 0xee, count * HL_ABI_PAGE_SIZE);
    hl__pages_give(&pages, page, count);
}

void hl__edits_add(uint64_t address, uint64_t page_count, enum hl_abi_source source,
                   uint64_t offset, uint32_t rights)
{
    (void)address, (void)page_count, (void)source, (void)offset, (void)rights;
}

int64_t hl__edits_flush(void)
{
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    memset(&heap, 0, sizeof heap);
    memset(returned, 0, sizeof returned);
    memset(ram, 0xee, sizeof ram);
    pages.returned = returned;
    hl__pages_init(&pages, 1, RAM_PAGES);
    return 0;
}

/* Pages that are free, wherever they are kept. */
static uint64_t free_pages(void)
{
    return hl__pages_free(&pages) + heap.spare_pages;
}

struct object {
    uint8_t *bytes;
    size_t size;
    uint8_t value;
};

static void object_check(const struct object *object)
{
    for (size_t i = 0; i < object->size; i++)
        assert_int_equal(object->bytes[i], object->value);
}

static void object_make(struct object *object, size_t size)
{
    *object = (struct object){hl__heap_new(size), size, 0};
    assert_non_null(object->bytes);
    assert_int_equal((uint64_t)object->bytes % 16, 0);
    object_check(object);
    object->value = (uint8_t)(1 + rand() % 255);
    memset(object->bytes, object->value, size);
}

static size_t any_size(void)
{
    return 1 + (size_t)rand() % (rand() % 8 ? 300 : 3 * HL_ABI_PAGE_SIZE);
}

static void objects_are_apart(void **state)
{
    static struct object objects[400];

    (void)state;
    srand(5);
    memset(objects, 0, sizeof objects);
    for (unsigned step = 0; step < 40000; step++) {
        struct object *object = &objects[(unsigned)rand() % 400];

        if (object->bytes) {
            object_check(object);
            hl__heap_free(object->bytes, object->size);
        }
        object_make(object, any_size());
    }
    for (unsigned i = 0; i < 400; i++) {
        object_check(&objects[i]);
        hl__heap_free(objects[i].bytes, objects[i].size);
    }
    /* One page of each size stays. */
    assert_true(free_pages() + SIZE_COUNT >= RAM_PAGES - 1);
}

/* Fills memory with objects of a size and frees them, every third first. Returns their number. */
static unsigned fill_and_free(size_t size)
{
    static void *objects[RAM_PAGES * 256];
    unsigned count = 0;

    while ((objects[count] = hl__heap_new(size)))
        count++;
    for (unsigned first = 0; first < 3; first++)
        for (unsigned i = first; i < count; i += 3)
            hl__heap_free(objects[i], size);
    return count;
}

static void memory_is_no_sizes_own(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < SIZE_COUNT; i++) {
            unsigned expected = (4096 - HEAD_SIZE) / sizes[i] * (RAM_PAGES - 1 - SIZE_COUNT);

            assert_in_range(fill_and_free(sizes[i]), expected,
                            (4096 - HEAD_SIZE) / sizes[i] * (RAM_PAGES - 1));
            assert_true(free_pages() + SIZE_COUNT >= RAM_PAGES - 1);
        }
}

/* Pages that the heap keeps for itself must not be what lies between all others. */
static void spare_pages_do_not_stand_in_the_way(void **state)
{
    static uint64_t taken[RAM_PAGES];
    unsigned count = 0;
    void *large;

    (void)state;
    while ((taken[count] = hl__page_new()))
        count++;
    assert_int_equal(count, RAM_PAGES - 1);
    for (unsigned i = 0; i < count; i += 4)
        hl__page_free(taken[i]);
    for (unsigned i = 0; i < count; i++)
        if (i % 4)
            hl__page_free(taken[i]);
    assert_true(heap.spare_pages > 100);
    large = hl__heap_new(1024 * HL_ABI_PAGE_SIZE);
    assert_non_null(large);
    hl__heap_free(large, 1024 * HL_ABI_PAGE_SIZE);
    assert_int_equal(free_pages(), RAM_PAGES - 1);
}

static void resized_objects_keep_their_content(void **state)
{
    uint8_t *object = hl__heap_resize(NULL, 0, 10);
    size_t size = 10;

    (void)state;
    memset(object, 7, size);
    for (size_t next = 11; next < 40000; next += next / 3) {
        object = hl__heap_resize(object, size, next);
        assert_non_null(object);
        for (size_t i = 0; i < next; i++)
            assert_int_equal(object[i], i < size ? 7 : 0);
        memset(object, 7, next);
        size = next;
    }
    assert_null(hl__heap_resize(object, size, RAM_PAGES * 4096ul));
    assert_int_equal(object[size - 1], 7);
    hl__heap_free(object, size);
    hl__heap_free(NULL, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(objects_are_apart, set_up),
        cmocka_unit_test_setup(memory_is_no_sizes_own, set_up),
        cmocka_unit_test_setup(spare_pages_do_not_stand_in_the_way, set_up),
        cmocka_unit_test_setup(resized_objects_keep_their_content, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
