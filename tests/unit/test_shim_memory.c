/*
 * The shim's memory management against this process's own address space: a pretended host serves
 * its edits with mmap() on a file that plays RAM, so that contents and rights are real. Random
 * operations run beside a model.
 */
#include <stdint.h>

static void require(int condition, const char *text, int line);
#define SHIM_REQUIRE(condition) require(!!(condition), #condition, __LINE__)
#include "doubles/shim_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void require(int condition, const char *text, int line)
{
    if (!condition)
        fail_msg("shim_memory.h:%d: %s", line, text);
}

static int set_up(void **state)
{
    (void)state;
    shim_memory_set_up();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    shim_memory_tear_down();
    return 0;
}

static int64_t map(uint64_t hint, uint64_t size, uint64_t protection, uint64_t flags)
{
    const uint64_t arg[6] = {hint, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, ~0ull, 0};

    return hl__sys_mmap(arg);
}

static int64_t unmap(uint64_t start, uint64_t size)
{
    return hl__sys_munmap((const uint64_t[]){start, size});
}

static int64_t protect(uint64_t start, uint64_t size, uint64_t protection)
{
    return hl__sys_mprotect((const uint64_t[]){start, size, protection});
}

static int64_t remap_call(uint64_t start, uint64_t old_size, uint64_t new_size, uint64_t flags)
{
    return hl__sys_mremap((const uint64_t[]){start, old_size, new_size, flags, 0});
}

static uint64_t set_break(uint64_t end)
{
    return (uint64_t)hl__sys_brk((const uint64_t[]){end});
}

/* Memory that is new must be zero. */
static void fill_new(uint64_t at, uint64_t size, unsigned value)
{
    for (uint64_t i = 0; i < size; i += 4096) {
        assert_true(touch(at + i, true));
        assert_int_equal(*(uint8_t *)(at + i), 0);
        assert_int_equal(*(uint8_t *)(at + i + 4095), 0);
    }
    memset((void *)at, (int)value + 1, size);
}

static void small_growth_is_mapped_ahead(void **state)
{
    uint64_t start = set_break(0);

    (void)state;
    for (unsigned i = 1; i <= 1000; i++) {
        assert_int_equal(set_break(start + i * 4096ull), start + i * 4096ull);
        *(uint8_t *)(start + i * 4096ull - 1) = 1;
    }
    assert_in_range(edit_calls, 1, 12);
    edit_calls = 0;
    for (unsigned i = 0; i < 256; i++) {
        int64_t at = map(0, 8192, PROT_READ | PROT_WRITE, 0);

        assert_true(at > 0);
        *(uint8_t *)(uint64_t)at = 1;
    }
    assert_in_range(edit_calls, 1, 12);
    check_books();
}

static void look_ahead_is_given_up_for_need(void **state)
{
    uint64_t start = set_break(0), end = start;

    (void)state;
    while (set_break(end + 65536) == end + 65536)
        end += 65536;
    check_books();
    assert_true(hl__memory.refused);
    /* All but the bookkeeping and less than one step is the program's. */
    assert_true(HL__PAGES(end - start) + 16 + 64 > hl__memory.total_pages);
    set_break(start);
    check_books();
}

/* What is asked for in one piece must be there, but nothing is promised for later. */
static void requests_that_cannot_come_true_are_refused(void **state)
{
    const uint64_t size = 12ull << 20;
    int64_t at = map(0, size, PROT_READ | PROT_WRITE, 0), again, reserved;

    (void)state;
    assert_true(at > 0);
    again = map(0, size, PROT_READ | PROT_WRITE, 0);
    assert_true(again > 0);
    for (uint64_t i = 0; i < size; i += 4096)
        assert_true(touch((uint64_t)at + i, true));
    assert_false(hl__memory.refused);
    assert_int_equal(map(0, size, PROT_READ | PROT_WRITE, 0), -ENOMEM);
    assert_true(hl__memory.refused);
    assert_true(map(0, size, PROT_READ | PROT_WRITE, MAP_NORESERVE) > 0);
    assert_true(map(0, size, PROT_READ, 0) > 0);
    /* A reservation that is opened is one of a program that asks for more than it touches. */
    reserved = map(0, 64ull << 20, PROT_NONE, 0);
    assert_int_equal(protect((uint64_t)reserved, 64ull << 20, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(map((uint64_t)reserved, 64ull << 20, PROT_READ | PROT_WRITE, MAP_FIXED),
                     reserved);
    reserved = map(0, 1ull << 40, PROT_NONE, 0);
    assert_int_equal(protect((uint64_t)reserved, 1ull << 40, PROT_READ | PROT_WRITE), -ENOMEM);
    check_books();
}

/* Reservations of any size cost nothing. */
static void reservations_are_free(void **state)
{
    uint64_t free_pages, at[40];

    (void)state;
    free_pages = hl__pages_free(&hl__memory.pages);
    for (unsigned i = 0; i < 40; i++) {
        at[i] = (uint64_t)map(0, 1ull << 40, PROT_NONE, MAP_NORESERVE);
        assert_true((int64_t)at[i] > 0);
    }
    assert_int_equal(edit_calls, 0);
    assert_int_equal(free_pages, hl__pages_free(&hl__memory.pages));
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(hl__memory_fault(at[i] + (1ull << 39), 0, 1), HL__FAULT_DENIED);
        assert_int_equal(unmap(at[i], 1ull << 40), 0);
    }
    assert_int_equal(edit_calls, 0);
}

static void unpromised_memory_runs_out(void **state)
{
    int64_t at = map(0, 64ull << 20, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    uint64_t i = 0;

    (void)state;
    assert_true(at > 0);
    while (i < 64ull << 20 && touch((uint64_t)at + i, true))
        i += 4096;
    assert_in_range(i, 8ull << 20, 16ull << 20);
    assert_int_equal(hl__memory_fault((uint64_t)at + i, HL__ACCESS_WRITE, 1), HL__FAULT_NO_MEMORY);
    check_books();
    assert_int_equal(unmap((uint64_t)at, 64ull << 20), 0);
    check_books();
    assert_true(map(0, 12ull << 20, PROT_READ | PROT_WRITE, 0) > 0);
}

static void returned_pages_are_zero(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        int64_t at = map(0, 4ull << 20, PROT_READ | PROT_WRITE, 0);
        uint8_t *bytes = (uint8_t *)(uint64_t)at;

        for (uint64_t i = 0; i < 4ull << 20; i += 4096) {
            assert_true(touch((uint64_t)at + i, true));
            assert_int_equal(bytes[i], 0);
            memset(bytes + i, 0xaa, 4096);
        }
        assert_int_equal(unmap((uint64_t)at, 4ull << 20), 0);
    }
    int64_t at = map(0, 1 << 20, PROT_READ, 0);
    for (uint64_t i = 0; i < 1 << 20; i += 4096) {
        assert_true(touch((uint64_t)at + i, false));
        assert_int_equal(*(uint8_t *)((uint64_t)at + i), 0);
    }
    check_books();
}

static void faults_are_told_apart(void **state)
{
    uint64_t at = (uint64_t)map(0, 8192, PROT_READ, 0);

    (void)state;
    assert_int_equal(hl__memory_fault(at, HL__ACCESS_WRITE, 1), HL__FAULT_DENIED);
    assert_int_equal(hl__memory_fault(at, HL__ACCESS_EXECUTE, 1), HL__FAULT_DENIED);
    assert_int_equal(hl__memory_fault(at + 8192, 0, 1), HL__FAULT_UNMAPPED);
    assert_int_equal(hl__memory_fault(0, 0, 1), HL__FAULT_UNMAPPED);
    assert_int_equal(hl__memory_fault(~0ull, 0, 1), HL__FAULT_UNMAPPED);
    assert_int_equal(hl__memory_fault(at, 0, 1), HL__FAULT_RESOLVED);
    /* The processor may see an old state for a while, not for ever. */
    for (unsigned i = 0; i < SPURIOUS_MAX; i++)
        assert_int_equal(hl__memory_fault(at, 0, 1), HL__FAULT_RESOLVED);
    assert_int_equal(hl__memory_fault(at, 0, 1), HL__FAULT_DENIED);
}

static void stack_grows_down(void **state)
{
    uint64_t end = 0x400000000000ull, start = end - (1 << 20);

    (void)state;
    assert_int_equal(hl__memory_map(start, end, HL__VMA_DATA | HL__VMA_STACK), 0);
    for (uint64_t at = end - 8; at > start; at -= 4096)
        assert_true(touch(at, true));
    assert_in_range(edit_calls, 1, 10);
    /* Into free addresses, up to the limit. */
    assert_int_equal(touch(start - 8, true), true);
    assert_int_equal(touch(end - HL__STACK_SIZE_MAX, true), true);
    assert_int_equal(hl__memory_fault(end - HL__STACK_SIZE_MAX - 8, HL__ACCESS_WRITE, 1),
                     HL__FAULT_UNMAPPED);
    check_books();
}

/* A stack keeps its distance from what lies below, unless that cannot be accessed. */
static void stacks_keep_their_gap(void **state)
{
    uint64_t start = 0x400000000000ull, end = start + (4ull << 20);

    (void)state;
    assert_int_equal(map(start, 4096, PROT_READ, MAP_FIXED), start);
    assert_int_equal(map(end - 4096, 4096, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_GROWSDOWN),
                     end - 4096);
    assert_int_equal(hl__memory_fault(start + HL__STACK_GAP, HL__ACCESS_WRITE, 1),
                     HL__FAULT_UNMAPPED);
    assert_true(touch(start + HL__STACK_GAP + 4096, true));
    assert_false(touch(start + HL__STACK_GAP, true));
    assert_int_equal(unmap(start, 8ull << 20), 0);
    assert_int_equal(map(start, 4096, PROT_NONE, MAP_FIXED), start);
    assert_int_equal(map(end - 4096, 4096, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_GROWSDOWN),
                     end - 4096);
    assert_true(touch(start + 4096, true));
    assert_int_equal(hl__memory_fault(start, HL__ACCESS_WRITE, 1), HL__FAULT_DENIED);
    check_books();
}

enum { FILE_RO = 5, FILE_RW = 6, OTHER_RO = 7 }; /* descriptors */

static int64_t map_fd(unsigned descriptor, uint64_t hint, uint64_t size, uint64_t protection,
                      uint64_t flags, uint64_t offset)
{
    return hl__sys_mmap((const uint64_t[]){hint, size, protection, flags, descriptor, offset});
}

static uint8_t byte_at(uint64_t address)
{
    assert_true(touch(address, false));
    return *(volatile uint8_t *)address;
}

static void put_byte(uint64_t address, uint8_t value)
{
    assert_true(touch(address, true));
    *(volatile uint8_t *)address = value;
}

/* The byte that a page of the pretended image holds. */
static uint8_t image_byte(unsigned page)
{
    return (uint8_t)(page % 250 + 1);
}

static void files_are_shown_where_they_lie(void **state)
{
    uint64_t at;

    (void)state;
    fake_image_file(FILE_RO, 10, 100, 0);
    at = (uint64_t)map_fd(FILE_RO, 0, 100 * 4096, PROT_READ, MAP_PRIVATE, 0);
    assert_int_equal(edit_calls, 0);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(byte_at(at + i * 4096), image_byte(10 + i));
    assert_int_equal(edit_calls, 1);
    assert_int_equal(check_pages(), 0);
    assert_false(touch(at, true));
    check_books();
}

static void private_pages_are_copied_when_they_are_written(void **state)
{
    uint64_t at, other;

    (void)state;
    fake_image_file(FILE_RO, 10, 100, 0);
    at = (uint64_t)map_fd(FILE_RO, 0, 100 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
    other = (uint64_t)map_fd(FILE_RO, 0, 4096, PROT_READ, MAP_PRIVATE, 50 * 4096);
    assert_int_equal(byte_at(at + 50 * 4096), image_byte(60));
    put_byte(at + 50 * 4096, 7);
    assert_int_equal(byte_at(at + 50 * 4096), 7);
    assert_int_equal(byte_at(at + 50 * 4096 + 1), image_byte(60));
    assert_int_equal(byte_at(at + 51 * 4096), image_byte(61));
    assert_int_equal(byte_at(other), image_byte(60));
    assert_int_equal(root_view[60 * 4096], image_byte(60));
    /* What is dropped starts over from the file. */
    assert_int_equal(hl__sys_madvise((const uint64_t[]){at, 100 * 4096, MADV_DONTNEED}), 0);
    assert_int_equal(byte_at(at + 50 * 4096), image_byte(60));
    check_books();
}

/* Of a file that is written, only the page that was touched is copied. */
static void pages_that_are_not_written_show_the_file(void **state)
{
    struct fake_file *file;
    uint64_t at;

    (void)state;
    file = fake_image_file(FILE_RW, 10, 8, O_RDWR);
    at = (uint64_t)map_fd(FILE_RW, 0, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
    *(uint8_t *)hl__page_bytes(hl__inode_page_own(&file->inode, 3)) = 98;
    put_byte(at + 3 * 4096 + 1, 7);
    *(uint8_t *)hl__page_bytes(hl__inode_page_own(&file->inode, 3)) = 97;
    *(uint8_t *)hl__page_bytes(hl__inode_page_own(&file->inode, 4)) = 96;
    assert_int_equal(byte_at(at + 3 * 4096), 98);
    assert_int_equal(byte_at(at + 4 * 4096), 96);
    check_books();
}

static void copies_keep_their_content_through_changes_of_rights(void **state)
{
    uint64_t at, moved;

    (void)state;
    fake_image_file(FILE_RO, 10, 64, 0);
    at = (uint64_t)map_fd(FILE_RO, 0, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
    put_byte(at + 5 * 4096, 7);
    assert_int_equal(protect(at, 64 * 4096, PROT_READ), 0);
    assert_false(touch(at + 5 * 4096, true));
    assert_int_equal(byte_at(at + 5 * 4096), 7);
    assert_int_equal(byte_at(at + 40 * 4096), image_byte(50));
    edit_calls = 0;
    assert_int_equal(protect(at + 40 * 4096, 24 * 4096, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(edit_calls, 0); /* the file's own pages stay read-only */
    put_byte(at + 40 * 4096, 8);
    assert_int_equal(protect(at, 64 * 4096, PROT_NONE), 0);
    assert_false(touch(at, false));
    assert_int_equal(protect(at, 64 * 4096, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(byte_at(at + 5 * 4096), 7);
    assert_int_equal(byte_at(at + 40 * 4096), 8);
    put_byte(at, 9);
    assert_int_equal(map(at + 64 * 4096, 4096, PROT_READ, MAP_FIXED), at + 64 * 4096);
    moved = (uint64_t)remap_call(at, 64 * 4096, 70 * 4096, MREMAP_MAYMOVE);
    assert_true((int64_t)moved > 0 && moved != at);
    assert_int_equal(byte_at(moved), 9);
    assert_int_equal(byte_at(moved + 5 * 4096), 7);
    assert_int_equal(byte_at(moved + 63 * 4096), image_byte(73));
    assert_int_equal(hl__memory_fault(moved + 64 * 4096, 0, 1), HL__FAULT_BEYOND);
    check_books();
}

static void shared_mappings_write_the_file(void **state)
{
    struct fake_file *file;
    uint64_t at, other, private;

    (void)state;
    file = fake_image_file(FILE_RW, 10, 8, O_RDWR);
    at = (uint64_t)map_fd(FILE_RW, 0, 8 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    other = (uint64_t)map_fd(FILE_RW, 0, 4 * 4096, PROT_READ, MAP_SHARED, 2 * 4096);
    private = (uint64_t)map_fd(FILE_RW, 0, 8 * 4096, PROT_READ, MAP_PRIVATE, 0);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(byte_at(at + i * 4096), image_byte(10 + i));
    assert_int_equal(byte_at(other), image_byte(12));
    assert_int_equal(byte_at(private + 2 * 4096), image_byte(12));
    put_byte(at + 2 * 4096, 99);
    assert_int_equal(byte_at(other), 99);
    assert_int_equal(byte_at(private + 2 * 4096), 99);
    assert_int_equal(root_view[12 * 4096], image_byte(12));
    assert_int_equal(file->pages[2].source, HL__PAGE_RAM);
    assert_int_equal(file->pages[3].source, HL__PAGE_IMAGE);
    /* And the other way round, as write() does it. */
    *(uint8_t *)hl__page_bytes(hl__inode_page_own(&file->inode, 3)) = 98;
    assert_int_equal(byte_at(other + 4096), 98);
    assert_false(touch(other, true));
    assert_int_equal(unmap(at, 8 * 4096), 0);
    assert_int_equal(byte_at(other), 99);
    check_books();
}

static void rights_of_shared_mappings_follow_the_file(void **state)
{
    uint64_t at;

    (void)state;
    fake_image_file(FILE_RO, 10, 8, 0);
    fake_image_file(FILE_RW, 10, 8, O_RDWR);
    assert_int_equal(map_fd(FILE_RO, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0), -EACCES);
    at = (uint64_t)map_fd(FILE_RO, 0, 4096, PROT_READ, MAP_SHARED, 0);
    assert_int_equal(protect(at, 4096, PROT_READ | PROT_WRITE), -EACCES);
    assert_int_equal(byte_at(at), image_byte(10));
    at = (uint64_t)map_fd(FILE_RW, 0, 4096, PROT_READ, MAP_SHARED, 0);
    assert_int_equal(byte_at(at), image_byte(10));
    assert_int_equal(protect(at, 4096, PROT_READ | PROT_WRITE), 0);
    put_byte(at, 3);
    fake_open[FILE_RO].flags = O_WRONLY;
    assert_int_equal(map_fd(FILE_RO, 0, 4096, PROT_READ, MAP_PRIVATE, 0), -EACCES);
    assert_int_equal(map_fd(FILE_RW, 0, 4096, PROT_READ, MAP_PRIVATE, 1), -EINVAL);
    assert_int_equal(map_fd(20, 0, 4096, PROT_READ, MAP_PRIVATE, 0), -EBADF);
    check_books();
}

static void shared_memory_outlives_one_of_its_mappings(void **state)
{
    uint64_t at, again;

    (void)state;
    at = (uint64_t)hl__sys_mmap((const uint64_t[]){0, 40 * 4096, PROT_READ | PROT_WRITE,
                                                   MAP_SHARED | MAP_ANONYMOUS, ~0ull, 0});
    assert_int_equal(byte_at(at + 4096), 0);
    for (unsigned i = 0; i < 40; i++)
        put_byte(at + i * 4096, (uint8_t)(i + 1));
    assert_in_range(edit_calls, 1, 12);
    again = (uint64_t)hl__sys_mremap((const uint64_t[]){at, 0, 40 * 4096, MREMAP_MAYMOVE, 0});
    assert_true((int64_t)again > 0);
    assert_int_equal(unmap(at, 40 * 4096), 0);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(byte_at(again + i * 4096), i + 1);
    check_books();
    assert_int_equal(unmap(again, 40 * 4096), 0);
    check_books();
    assert_int_equal(check_pages(), 0);
    assert_int_equal(hl__sys_mremap((const uint64_t[]){(uint64_t)map(0, 4096, PROT_READ, 0), 0,
                                                       4096, MREMAP_MAYMOVE, 0}),
                     -EINVAL);
}

static void behind_the_end_of_a_file_is_nothing(void **state)
{
    struct fake_file *file;
    uint64_t at, private;

    (void)state;
    file = fake_image_file(FILE_RW, 10, 8, O_RDWR);
    at = (uint64_t)map_fd(FILE_RW, 0, 16 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    private = (uint64_t)map_fd(FILE_RW, 0, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
    assert_int_equal(hl__memory_fault(at + 8 * 4096, 0, 1), HL__FAULT_BEYOND);
    put_byte(at + 7 * 4096, 1);
    put_byte(private + 6 * 4096, 2);
    fake_truncate(file, 4 * 4096 + 1);
    assert_int_equal(hl__memory_fault(at + 7 * 4096, HL__ACCESS_WRITE, 1), HL__FAULT_BEYOND);
    assert_int_equal(hl__memory_fault(private + 6 * 4096, 0, 1), HL__FAULT_BEYOND);
    assert_int_equal(byte_at(at + 4 * 4096), image_byte(14));
    file->inode.size = 16 * 4096;
    assert_int_equal(byte_at(at + 15 * 4096), 0); /* a hole */
    put_byte(at + 15 * 4096, 5);
    assert_int_equal(byte_at(at + 15 * 4096), 5);
    check_books();
}

/* A library as a dynamic linker maps it: one fault brings all of it. */
static void a_library_costs_one_fault(void **state)
{
    uint64_t at;

    (void)state;
    fake_image_file(FILE_RO, 10, 60, 0);
    fake_image_file(OTHER_RO, 100, 60, 0);
    at = (uint64_t)map_fd(FILE_RO, 0, 64 * 4096, PROT_READ, MAP_PRIVATE, 0);
    assert_int_equal(map_fd(FILE_RO, at + 10 * 4096, 30 * 4096, PROT_READ | PROT_EXEC,
                            MAP_PRIVATE | MAP_FIXED, 10 * 4096),
                     at + 10 * 4096);
    assert_int_equal(map_fd(FILE_RO, at + 50 * 4096, 10 * 4096, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_FIXED, 50 * 4096),
                     at + 50 * 4096);
    assert_int_equal(map(at + 60 * 4096, 4 * 4096, PROT_READ | PROT_WRITE, MAP_FIXED),
                     at + 60 * 4096);
    assert_int_equal(edit_calls, 0);
    put_byte(at + 59 * 4096, 0);
    assert_int_equal(edit_calls, 1);
    for (unsigned i = 0; i < 59; i++)
        assert_int_equal(byte_at(at + i * 4096), image_byte(10 + i));
    for (unsigned i = 50; i < 59; i++)
        put_byte(at + i * 4096, 1);
    assert_int_equal(edit_calls, 1);
    check_books();
}

static void refused_edits_leave_files_right(void **state)
{
    (void)state;
    fake_image_file(FILE_RW, 10, 64, O_RDWR);
    for (int after = 0; after < 8; after++) {
        uint64_t at =
            (uint64_t)map_fd(FILE_RW, 0, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
        uint64_t shared =
            (uint64_t)map_fd(FILE_RW, 0, 64 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

        edits_fail_after = after;
        for (unsigned i = 0; i < 64; i += 20) {
            hl__memory_fault(at + i * 4096, 0, 1);
            hl__memory_fault(at + i * 4096, HL__ACCESS_WRITE, 1);
            hl__memory_fault(shared + i * 4096, HL__ACCESS_WRITE, 1);
        }
        edits_fail_after = -1;
        check_books();
        unmap_all();
        check_books();
    }
}

static void advice_and_locks(void **state)
{
    uint64_t at = (uint64_t)map(0, 8 * 4096, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    uint8_t present[8];

    (void)state;
    assert_int_equal(unmap(at + 4 * 4096, 4096), 0);
    put_byte(at, 3);
    assert_int_equal(hl__sys_mincore((const uint64_t[]){at, 8 * 4096, (uint64_t)present}), -ENOMEM);
    assert_int_equal(hl__sys_mincore((const uint64_t[]){at, 4 * 4096, (uint64_t)present}), 0);
    assert_int_equal(present[0], 1);
    /* What is mapped is dropped although a part of the range is not. */
    assert_int_equal(hl__sys_madvise((const uint64_t[]){at, 8 * 4096, MADV_DONTNEED}), -ENOMEM);
    assert_int_equal(byte_at(at), 0);
    assert_int_equal(hl__sys_madvise((const uint64_t[]){at, 4096, 77}), -EINVAL);
    assert_int_equal(hl__sys_madvise((const uint64_t[]){at, 4096, MADV_HWPOISON}), -EPERM);
    assert_int_equal(hl__sys_madvise((const uint64_t[]){at, 4096, MADV_REMOVE}), -EINVAL);
    assert_int_equal(hl__sys_mlock((const uint64_t[]){at + 1, 4095}), 0);
    assert_int_equal(hl__sys_mlock((const uint64_t[]){at, 8 * 4096}), -ENOMEM);
    assert_int_equal(hl__sys_msync((const uint64_t[]){at, 4096, MS_SYNC | MS_ASYNC}), -EINVAL);
    assert_int_equal(hl__sys_msync((const uint64_t[]){at, 4096, MS_SYNC}), 0);
    check_books();
}

static void remaps_that_keep_the_old_mapping(void **state)
{
    uint64_t at = (uint64_t)map(0, 4 * 4096, PROT_READ | PROT_WRITE, 0), moved;

    (void)state;
    put_byte(at, 3);
    moved = (uint64_t)remap_call(at, 4 * 4096, 4 * 4096, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
    assert_true((int64_t)moved > 0 && moved != at);
    assert_int_equal(byte_at(moved), 3);
    assert_int_equal(byte_at(at), 0);
    assert_int_equal(remap_call(at, 4 * 4096, 8 * 4096, MREMAP_MAYMOVE | MREMAP_DONTUNMAP),
                     -EINVAL);
    check_books();
}

static void mappings_are_listed(void **state)
{
    struct hl__mapping mapping;
    struct fake_file *file;
    uint64_t at;

    (void)state;
    assert_false(hl__memory_mapping(0, &mapping));
    file = fake_image_file(FILE_RW, 10, 8, O_RDWR);
    at = (uint64_t)map_fd(FILE_RW, 0, 2 * 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, 3 * 4096);
    set_break(TEST_BREAK + 4096);
    assert_true(hl__memory_mapping(0, &mapping));
    assert_int_equal(mapping.start, at);
    assert_int_equal(mapping.end, at + 2 * 4096);
    assert_int_equal(mapping.rights, HL_ABI_RIGHT_READ | HL_ABI_RIGHT_EXECUTE);
    assert_false(mapping.shared);
    assert_int_equal(mapping.offset, 3 * 4096);
    assert_ptr_equal(mapping.inode, &file->inode);
    assert_true(hl__memory_mapping(mapping.end, &mapping));
    assert_string_equal(mapping.name, "[heap]");
    assert_false(hl__memory_mapping(mapping.end, &mapping));
}

static void refused_edits_leave_the_books_right(void **state)
{
    (void)state;
    for (int after = 0; after < 6; after++) {
        int64_t at;

        edits_fail_after = after;
        at = map(0, 8192, PROT_READ | PROT_WRITE, 0);
        if (at > 0)
            at = map(0x10000000, 4ull << 20, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_POPULATE);
        set_break(hl__memory.space->break_start + 20000);
        edits_fail_after = -1;
        check_books();
        unmap_all();
        hl__memory.space->break_end = hl__memory.space->break_start;
        check_books();
    }
}

static void many_mappings(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 5000; i++)
        assert_int_equal(map(0x10000000 + i * 8192, 4096, PROT_READ, MAP_FIXED | MAP_NORESERVE),
                         0x10000000 + i * 8192);
    assert_int_equal(hl__memory.vmas.count, 5000);
    check_books();
    assert_int_equal(unmap(0x10000000, 5000 * 8192), 0);
    assert_int_equal(hl__memory.vmas.count, 0);
}

/* Who has as many mappings as there may be can still give each of them back, but split none. */
static void the_last_mapping_can_go(void **state)
{
    const uint64_t start = 0x10000000, stride = 4 * 4096;
    uint64_t count = 0;

    (void)state;
    while (map(start + count * stride, 3 * 4096, PROT_READ, MAP_FIXED | MAP_NORESERVE) > 0)
        count++;
    assert_in_range(count, 65000, 65536);
    assert_int_equal(unmap(start + 4096, 4096), -ENOMEM);
    for (uint64_t i = count; i-- > count / 2;)
        assert_int_equal(unmap(start + i * stride, stride), 0);
    assert_int_equal(unmap(start + 4096, 4096), 0);
    assert_int_equal(unmap(start, count * stride), 0);
    assert_int_equal(hl__memory.vmas.count, 0);
    check_books();
}

/* Maps `count` pieces of 8 KiB one behind the other and fills them. */
static uint64_t map_pieces(unsigned count)
{
    uint64_t start = (uint64_t)map(0, 8192, PROT_READ | PROT_WRITE, 0);

    memset((void *)start, 0xaa, 8192);
    for (unsigned i = 1; i < count; i++) {
        assert_int_equal(map(0, 8192, PROT_READ | PROT_WRITE, 0), start + i * 8192);
        memset((void *)(start + i * 8192), 0xaa, 8192);
    }
    return start;
}

static void looking_ahead_stops_at_mappings(void **state)
{
    uint64_t start = map_pieces(3);

    (void)state;
    assert_int_equal(unmap(start + 8192, 8192), 0);
    hl__memory_drop_ahead(0, HL_ABI_USER_END);
    assert_int_equal(map(0, 8192, PROT_READ | PROT_WRITE, 0), start + 8192);
    check_books();
}

/* Uses up the unmappings that take effect at once. */
static void wear_out(void)
{
    for (unsigned i = 0; i < UNMAPS_AT_ONCE; i++) {
        uint64_t at = (uint64_t)map(0, 4096, PROT_READ | PROT_WRITE, 0);

        assert_int_equal(unmap(at, 4096), 0);
        assert_int_equal(hl__table_get(&hl__memory.table, at), 0);
        assert_int_equal(hl__memory.retired.count, 0);
    }
    hl__memory_drop_ahead(0, HL_ABI_USER_END);
    edit_calls = 0;
}

static void unmappings_are_batched(void **state)
{
    uint64_t start;

    (void)state;
    wear_out();
    start = map_pieces(500);
    edit_calls = 0;
    for (unsigned i = 0; i < 500; i += 2)
        assert_int_equal(unmap(start + i * 8192, 8192), 0);
    assert_in_range(edit_calls, 250 / HL__RETIRED_MAX, 250 / HL__RETIRED_MAX + 2);
    check_books();
    assert_false(touch(start + 498 * 8192, false));
    for (unsigned i = 1; i < 500; i += 2)
        assert_int_equal(unmap(start + i * 8192, 8192), 0);
    assert_in_range(edit_calls, 500 / HL__RETIRED_MAX - 1, 500 / HL__RETIRED_MAX + 2);
    check_books();
}

static void neighbours_retire_as_one(void **state)
{
    uint64_t start;

    (void)state;
    wear_out();
    start = map_pieces(500);
    edit_calls = 0;
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(unmap(start + i * 8192, 8192), 0);
    assert_int_equal(edit_calls, 0);
    assert_int_equal(hl__memory.retired.count, 1);
    check_books();
}

static void retired_memory_comes_back_as_zeroes(void **state)
{
    uint64_t start, back;

    (void)state;
    wear_out();
    start = map_pieces(8);
    assert_int_equal(unmap(start + 8192, 6 * 8192), 0);
    assert_int_equal(*(uint8_t *)(start + 8192), 0xaa);
    edit_calls = 0;
    back = (uint64_t)map(0, 2 * 8192, PROT_READ | PROT_WRITE, 0);
    assert_int_equal(back, start + 8192);
    for (uint64_t i = 0; i < 2 * 8192; i++)
        assert_int_equal(*(uint8_t *)(back + i), 0);
    assert_int_equal(*(uint8_t *)(back - 1), 0xaa);
    assert_int_equal(edit_calls, 0);
    check_books();
    /* Out of the middle of what is left. */
    assert_int_equal(map(start + 4 * 8192, 8192, PROT_READ | PROT_WRITE, MAP_FIXED),
                     start + 4 * 8192);
    assert_int_equal(edit_calls, 0);
    assert_int_equal(hl__memory.retired.count, 2);
    assert_int_equal(*(uint8_t *)(start + 4 * 8192), 0);
    check_books();
}

static void other_mappings_drop_retired_memory(void **state)
{
    uint64_t start;

    (void)state;
    wear_out();
    start = map_pieces(8);
    assert_int_equal(unmap(start + 8192, 4 * 8192), 0);
    edit_calls = 0;
    assert_int_equal(map(start + 8192, 4096, PROT_READ, MAP_FIXED), start + 8192);
    assert_int_equal(edit_calls, 1);
    assert_int_equal(hl__memory.retired.size, 4 * 8192 - 4096);
    assert_true(touch(start + 8192, false));
    assert_int_equal(*(uint8_t *)(start + 8192), 0);
    check_books();
}

static void retired_memory_is_given_up_for_need(void **state)
{
    uint64_t start, big;

    (void)state;
    wear_out();
    start = map_pieces(500);
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(unmap(start + i * 8192, 8192), 0);
    big = (uint64_t)map(0, (RAM_PAGES - 100) * 4096ull, PROT_READ | PROT_WRITE, 0);
    assert_true((int64_t)big > 0);
    assert_int_equal(hl__memory.retired.count, 0);
    for (uint64_t at = big; at < big + (RAM_PAGES - 100) * 4096ull; at += 4096) {
        assert_true(touch(at, true));
        assert_int_equal(*(uint8_t *)at, 0);
    }
    check_books();
}

/* The break shrinks and grows over what it gave back; nothing is mapped ahead there. */
static void the_break_revives(void **state)
{
    uint64_t start = set_break(0);

    (void)state;
    wear_out();
    assert_int_equal(set_break(start + 65536), start + 65536);
    memset((void *)start, 0xaa, 65536);
    assert_int_equal(set_break(start + 4096), start + 4096);
    assert_int_equal(hl__memory.retired.count, 1);
    edit_calls = 0;
    for (uint64_t end = start + 8192; end <= start + 65536; end += 4096) {
        assert_int_equal(set_break(end), end);
        assert_int_equal(*(uint8_t *)(end - 1), 0);
        check_books();
    }
    assert_int_equal(edit_calls, 0);
    assert_int_equal(*(uint8_t *)(start + 4095), 0xaa);
}

/* The host refuses more mapped pages than there are, so a large move first takes them away. */
static void more_than_half_of_memory_moves(void **state)
{
    uint64_t size = 12ull << 20, at = (uint64_t)map(0, size, PROT_READ | PROT_WRITE, 0), moved;

    (void)state;
    for (uint64_t i = 0; i < size; i += 4096) {
        assert_true(touch(at + i, true));
        memset((void *)(at + i), 0xaa, 4096);
    }
    assert_true(map(at + size, 4096, PROT_READ, MAP_FIXED) > 0);
    mapped_pages_max = RAM_PAGES;
    moved = (uint64_t)remap_call(at, size, size + 4096, MREMAP_MAYMOVE);
    mapped_pages_max = UINT64_MAX;
    assert_true((int64_t)moved > 0 && moved != at);
    for (uint64_t i = 0; i < size; i += 4096)
        assert_int_equal(*(uint8_t *)(moved + i), 0xaa);
    check_books();
}

/* The model: 256 pages of address space, what each should hold and allow. */
enum { MODEL_PAGES = 256, MODEL_STEPS = 40000 };
#define MODEL_START TEST_MAP_BASE

struct model_page {
    bool mapped;
    uint8_t protection, value;
};

static struct model_page model[MODEL_PAGES];

static void model_check(unsigned page)
{
    uint64_t at = MODEL_START + page * 4096ull;
    bool readable = model[page].mapped && model[page].protection;
    bool writable = model[page].mapped && model[page].protection & PROT_WRITE;

    assert_int_equal(touch(at, false), readable);
    if (readable) {
        assert_int_equal(*(volatile uint8_t *)at, model[page].value);
        assert_int_equal(*(volatile uint8_t *)(at + 4095), model[page].value);
    }
    assert_int_equal(touch(at, true), writable);
}

static void model_fill(unsigned page, uint8_t value)
{
    if (!model[page].mapped || !(model[page].protection & PROT_WRITE))
        return;
    assert_true(touch(MODEL_START + page * 4096ull, true));
    memset((void *)(MODEL_START + page * 4096ull), value, 4096);
    model[page].value = value;
}

static void model_map(unsigned page, unsigned count, uint8_t protection, uint64_t flags)
{
    assert_int_equal(
        map(MODEL_START + page * 4096ull, count * 4096ull, protection, MAP_FIXED | flags),
        MODEL_START + page * 4096ull);
    for (unsigned i = page; i < page + count; i++)
        model[i] = (struct model_page){true, protection, 0};
}

static void model_unmap(unsigned page, unsigned count)
{
    assert_int_equal(unmap(MODEL_START + page * 4096ull, count * 4096ull), 0);
    for (unsigned i = page; i < page + count; i++)
        model[i].mapped = false;
}

static void model_protect(unsigned page, unsigned count, uint8_t protection)
{
    bool all = true;

    for (unsigned i = page; i < page + count && all; i++) {
        all = model[i].mapped;
        model[i].protection = protection;
    }
    assert_int_equal(protect(MODEL_START + page * 4096ull, count * 4096ull, protection),
                     all ? 0 : -ENOMEM);
}

static void model_drop(unsigned page, unsigned count)
{
    const uint64_t arg[] = {MODEL_START + page * 4096ull, count * 4096ull, MADV_DONTNEED};
    bool all = true;

    for (unsigned i = page; i < page + count; i++)
        all &= model[i].mapped;
    assert_int_equal(hl__sys_madvise(arg), all ? 0 : -ENOMEM);
    for (unsigned i = page; i < page + count; i++)
        model[i].value = 0;
}

/* Moves a range out and back in, which must change nothing. */
static void model_remap(unsigned page, unsigned count)
{
    uint64_t at = MODEL_START + page * 4096ull, size = count * 4096ull;
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, at);
    int64_t moved;

    if (!vma || vma->end < at + size)
        return;
    moved = remap_call(at, size, size + (64ull << 20), MREMAP_MAYMOVE);
    if (moved == -ENOMEM)
        moved = hl__sys_mremap(
            (const uint64_t[]){at, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, 0x500000000000ull});
    assert_true(moved > 0);
    if ((uint64_t)moved != at)
        assert_int_equal(hl__sys_mremap((const uint64_t[]){(uint64_t)moved, size, size,
                                                           MREMAP_MAYMOVE | MREMAP_FIXED, at}),
                         at);
    unmap((uint64_t)moved + size, 64ull << 20);
}

/* Small pieces come, change, grow and go. */
static void churn(void **state)
{
    enum { COUNT = 64, STEPS = 40000 };
    static uint64_t pieces[COUNT], sizes[COUNT];

    (void)state;
    memset(pieces, 0, sizeof pieces);
    srand(2);
    for (int step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)rand() % COUNT;
        uint64_t at = pieces[i], size = sizes[i];

        if (!at) {
            sizes[i] = size = (1 + (uint64_t)rand() % 6) * 4096;
            pieces[i] = at = (uint64_t)map(0, size, PROT_READ | PROT_WRITE, 0);
            assert_true((int64_t)at > 0);
            fill_new(at, size, i);
            continue;
        }
        assert_int_equal(*(uint8_t *)at, i + 1);
        assert_int_equal(*(uint8_t *)(at + size - 1), i + 1);
        switch (rand() % 8) {
        case 0:
            assert_int_equal(protect(at, size, PROT_READ), 0);
            assert_int_equal(protect(at, size, PROT_READ | PROT_WRITE), 0);
            break;
        case 1:
            pieces[i] = (uint64_t)remap_call(at, size, size + 4096, MREMAP_MAYMOVE);
            assert_true((int64_t)pieces[i] > 0);
            fill_new(pieces[i] + size, 4096, i);
            sizes[i] += 4096;
            break;
        case 2:
            assert_int_equal(map(at, size, PROT_READ | PROT_WRITE, MAP_FIXED), at);
            fill_new(at, size, i);
            break;
        default:
            assert_int_equal(unmap(at, size), 0);
            pieces[i] = 0;
        }
        check_books();
    }
}

static void random_operations(void **state)
{
    static const uint8_t protections[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
                                          PROT_READ | PROT_WRITE};

    (void)state;
    memset(model, 0, sizeof model);
    srand(1);
    for (unsigned step = 0; step < MODEL_STEPS; step++) {
        unsigned page = (unsigned)rand() % MODEL_PAGES;
        unsigned count = 1 + (unsigned)rand() % (rand() % 4 ? 8 : MODEL_PAGES);
        uint8_t protection = protections[rand() % 4];

        if (count > MODEL_PAGES - page)
            count = MODEL_PAGES - page;
        switch (rand() % 8) {
        case 0:
            model_map(page, count, protection, rand() % 3 ? 0 : MAP_NORESERVE);
            break;
        case 1:
            model_unmap(page, count);
            break;
        case 2:
            model_protect(page, count, protection);
            break;
        case 3:
            model_drop(page, count);
            break;
        case 4:
            model_remap(page, count);
            break;
        default:
            model_fill(page, (uint8_t)(1 + step % 255));
        }
        model_check((unsigned)rand() % MODEL_PAGES);
        if (step % 64 == 0)
            check_books();
    }
    for (unsigned page = 0; page < MODEL_PAGES; page++)
        model_check(page);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(small_growth_is_mapped_ahead),
        TEST(look_ahead_is_given_up_for_need),
        TEST(requests_that_cannot_come_true_are_refused),
        TEST(reservations_are_free),
        TEST(unpromised_memory_runs_out),
        TEST(returned_pages_are_zero),
        TEST(faults_are_told_apart),
        TEST(stack_grows_down),
        TEST(stacks_keep_their_gap),
        TEST(files_are_shown_where_they_lie),
        TEST(private_pages_are_copied_when_they_are_written),
        TEST(pages_that_are_not_written_show_the_file),
        TEST(copies_keep_their_content_through_changes_of_rights),
        TEST(shared_mappings_write_the_file),
        TEST(rights_of_shared_mappings_follow_the_file),
        TEST(shared_memory_outlives_one_of_its_mappings),
        TEST(behind_the_end_of_a_file_is_nothing),
        TEST(a_library_costs_one_fault),
        TEST(refused_edits_leave_files_right),
        TEST(advice_and_locks),
        TEST(remaps_that_keep_the_old_mapping),
        TEST(mappings_are_listed),
        TEST(refused_edits_leave_the_books_right),
        TEST(many_mappings),
        TEST(the_last_mapping_can_go),
        TEST(looking_ahead_stops_at_mappings),
        TEST(unmappings_are_batched),
        TEST(neighbours_retire_as_one),
        TEST(retired_memory_comes_back_as_zeroes),
        TEST(other_mappings_drop_retired_memory),
        TEST(retired_memory_is_given_up_for_need),
        TEST(the_break_revives),
        TEST(more_than_half_of_memory_moves),
        TEST(churn),
        TEST(random_operations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
