/*
 * The shim's memory management against this process's own address space: a pretended host serves
 * its edits with mmap() on a file that plays RAM, so that contents and rights are real. Random
 * operations run beside a model.
 */
#include "../../guest/shim/memory/backing.c"
#include "../../guest/shim/host/edits.c"
#include "../../guest/shim/memory/memory.c"
#include "../../guest/shim/memory/pages.c"
#include "../../guest/shim/memory/retired.c"
#include "../../guest/shim/memory/table.c"
#include "../../guest/shim/memory/vma.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Linux's own headers would clash with the shim's; these few calls are all that is needed. */
void *mmap(void *address, size_t size, int protection, int flags, int descriptor, long offset);
int munmap(void *address, size_t size);
int memfd_create(const char *name, unsigned flags);
int ftruncate(int descriptor, long size);
int close(int descriptor);
#define HOST_MAP_SHARED 1
#define HOST_MAP_FIXED 0x10

#define TEST_HEAP 0x6a0000000000ull /* the real place may hold this process's libraries */
#define TEST_MAP_BASE 0x200000000000ull
#define RAM_PAGES 4096u
#define FIRST_PAGE 16u

static int ram;
static uint8_t *ram_view;
static uint64_t edit_calls;
static int edits_fail_after = -1;
static uint64_t mapped_pages_max = UINT64_MAX; /* the program's, with what a batch adds */
static uint8_t program[16 * HL_ABI_PAGE_SIZE] __attribute__((aligned(4096)));

bool hl__descriptor_open(int descriptor)
{
    return descriptor >= 0 && descriptor <= 2;
}

static int host_protection(uint32_t rights)
{
    return (rights ? PROT_READ : 0) | (rights & HL_ABI_RIGHT_WRITE ? PROT_WRITE : 0);
}

static void host_map(const struct hl_abi_edit *edit)
{
    uint64_t size = edit->page_count * HL_ABI_PAGE_SIZE;
    int protection = host_protection(edit->rights);

    assert_true(edit->offset >= FIRST_PAGE * HL_ABI_PAGE_SIZE);
    assert_true(edit->offset + size <= RAM_PAGES * HL_ABI_PAGE_SIZE);
    assert_ptr_equal(mmap((void *)edit->address, size, protection, HOST_MAP_SHARED | HOST_MAP_FIXED,
                          ram, (long)edit->offset),
                     (void *)edit->address);
}

/* The contract of enum hl_abi_source, as a host would check it. */
static void host_apply(const struct hl_abi_edit *edit)
{
    uint64_t size = edit->page_count * HL_ABI_PAGE_SIZE;

    assert_true(edit->page_count > 0);
    assert_int_equal((edit->address | edit->offset) % HL_ABI_PAGE_SIZE, 0);
    assert_true(edit->source == HL_ABI_SOURCE_NONE ? !edit->rights : (edit->rights & 7u) != 0);
    switch (edit->source) {
    case HL_ABI_SOURCE_NONE:
        munmap((void *)edit->address, size);
        break;
    case HL_ABI_SOURCE_RAM:
        host_map(edit);
        break;
    case HL_ABI_SOURCE_KEEP:
        for (uint64_t at = edit->address; at < edit->address + size; at += HL_ABI_PAGE_SIZE)
            if (hl__table_get(&hl__memory.table, at))
                host_map(&(struct hl_abi_edit){
                    at, 1, hl__table_get(&hl__memory.table, at) * HL_ABI_PAGE_SIZE,
                    HL_ABI_SOURCE_RAM, edit->rights});
        break;
    default:
        fail_msg("edit of source %u", edit->source);
    }
}

/* The host counts a batch's additions, not its removals, before it does anything. */
static bool batch_fits(const struct hl_abi_edit *edits, uint32_t count)
{
    static uint64_t mapped_pages; /* as of the batches before; exact only where a test needs it */
    uint64_t added = 0, removed = 0;

    for (uint32_t i = 0; i < count; i++) {
        added += edits[i].source == HL_ABI_SOURCE_RAM ? edits[i].page_count : 0;
        removed += edits[i].source == HL_ABI_SOURCE_NONE ? edits[i].page_count : 0;
    }
    if (mapped_pages_max == UINT64_MAX)
        mapped_pages = hl__memory.total_pages - hl__pages_free(&hl__memory.pages);
    if (mapped_pages_max != UINT64_MAX && mapped_pages + added > mapped_pages_max)
        return false;
    mapped_pages += added - removed;
    return true;
}

int64_t hl__host_edit(const struct hl_abi_edit *edits, uint32_t count)
{
    assert_true(count >= 1 && count <= HL_ABI_EDITS_MAX);
    if (edits_fail_after == 0)
        return -ENOMEM;
    if (edits_fail_after > 0)
        edits_fail_after--;
    if (!batch_fits(edits, count))
        return -ENOMEM;
    edit_calls++;
    for (uint32_t i = 0; i < count; i++)
        host_apply(&edits[i]);
    return 0;
}

/* One mapping after the other: a sanitizer's own memory may lie between them. */
static void unmap_all(void)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;

    hl__memory_drop_ahead(0, HL_ABI_USER_END);
    while (vmas->count)
        assert_int_equal(hl__memory_unmap(vmas->items[0].start, vmas->items[0].end), 0);
    hl__memory_drop_retired(0, HL_ABI_USER_END);
    hl__edits_send();
}

static int set_up(void **state)
{
    (void)state;
    memset(&hl__memory, 0, sizeof hl__memory);
    edits_fail_after = -1;
    ram = memfd_create("ram", 0);
    assert_int_equal(ftruncate(ram, RAM_PAGES * (long)HL_ABI_PAGE_SIZE), 0);
    ram_view =
        mmap(NULL, RAM_PAGES * HL_ABI_PAGE_SIZE, PROT_READ | PROT_WRITE, HOST_MAP_SHARED, ram, 0);
    assert_true(hl__memory_init(FIRST_PAGE, RAM_PAGES, TEST_HEAP, program));
    hl__memory.map_base = TEST_MAP_BASE;
    hl__memory.break_start = hl__memory.break_end = 0x300000000000ull;
    edit_calls = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unmap_all();
    munmap((void *)TEST_HEAP, 0x40000000);
    munmap(ram_view, RAM_PAGES * HL_ABI_PAGE_SIZE);
    close(ram);
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

/* An access as the processor would make it: a fault first where the page is not there. */
static bool touch(uint64_t address, bool write)
{
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, address);

    if (!vma || !fault_allowed(vma, write ? HL__ACCESS_WRITE : 0))
        return hl__memory_fault(address, write ? HL__ACCESS_WRITE : 0, 1) == HL__FAULT_RESOLVED;
    if (!hl__table_get(&hl__memory.table, address))
        return hl__memory_fault(address, write ? HL__ACCESS_WRITE : 0, 1) == HL__FAULT_RESOLVED;
    return true;
}

static void check_retired(void)
{
    const struct hl__retired *retired = &hl__memory.retired;
    uint64_t size = 0;

    for (uint32_t i = 0; i < retired->count; i++) {
        const struct hl__range *range = &retired->items[i];

        assert_true(range->start < range->end);
        if (i)
            assert_true(range[-1].end < range->start);
        assert_false(hl__vma_any(&hl__memory.vmas, range->start, range->end));
        size += range->end - range->start;
    }
    assert_int_equal(size, retired->size);
    assert_true(size <= RETIRED_SIZE_MAX);
}

static void check_ahead(const struct hl__lookahead *ahead)
{
    assert_true(ahead->start <= ahead->end);
    if (ahead->start < ahead->end)
        assert_false(hl__vma_any(&hl__memory.vmas, ahead->start, ahead->end));
}

/* A page is behind one address at most, and then it is not free. */
static uint64_t check_pages(void)
{
    static bool used[RAM_PAGES];
    uint64_t count = 0;
    struct hl__table_run run;

    memset(used, 0, sizeof used);
    for (uint64_t at = 0; hl__table_run(&hl__memory.table, at, HL_ABI_USER_END, &run);
         at = run.address + run.count * HL_ABI_PAGE_SIZE) {
        for (uint64_t page = run.page; page < run.page + run.count; page++) {
            assert_true(page < hl__memory.pages.fresh);
            assert_false(used[page] || pages_is_returned(&hl__memory.pages, page));
            used[page] = true;
        }
        count += run.count;
    }
    return count;
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

/* What must always hold of the books. */
static void check_books(void)
{
    const struct hl__memory *memory = &hl__memory;
    uint64_t committed = 0, promised_backed = 0, used;

    for (uint32_t i = 0; i < memory->vmas.count; i++) {
        const struct hl__vma *vma = &memory->vmas.items[i];

        assert_true(vma->start < vma->end);
        if (i)
            assert_true(vma[-1].end <= vma->start);
        if (i && vma[-1].end == vma->start)
            assert_true(!vma_can_join(&vma[-1], vma));
        if (vma->flags & HL__VMA_COMMITTED) {
            committed += HL__PAGES(vma->end - vma->start);
            promised_backed += hl__table_count(&memory->table, vma->start, vma->end);
        }
    }
    assert_int_equal(committed, memory->committed);
    assert_true(memory->committed + memory->loose <= memory->total_pages);
    used = memory->total_pages - hl__pages_free(&memory->pages);
    assert_true(used >= check_pages());
    assert_int_equal(memory->loose, used - promised_backed);
    check_ahead(&memory->map_ahead);
    check_ahead(&memory->break_ahead);
    check_retired();
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
    assert_int_equal(hl__memory.committed, 0);
}

static void promises_are_kept(void **state)
{
    int64_t at = map(0, 12ull << 20, PROT_READ | PROT_WRITE, 0);

    (void)state;
    assert_true(at > 0);
    assert_int_equal(map(0, 12ull << 20, PROT_READ | PROT_WRITE, 0), -ENOMEM);
    assert_true(map(0, 12ull << 20, PROT_NONE, 0) > 0);
    for (uint64_t i = 0; i < 12ull << 20; i += 4096)
        assert_true(touch((uint64_t)at + i, true));
    check_books();
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
    assert_int_equal(
        hl__memory_map(start, end, HL__RIGHTS_DATA | HL__VMA_COMMITTED | HL__VMA_STACK), 0);
    for (uint64_t at = end - 8; at > start; at -= 4096)
        assert_true(touch(at, true));
    assert_in_range(edit_calls, 1, 10);
    assert_false(touch(start - 8, true));
    check_books();
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
        set_break(hl__memory.break_start + 20000);
        edits_fail_after = -1;
        check_books();
        unmap_all();
        hl__memory.break_end = hl__memory.break_start;
        check_books();
        assert_int_equal(hl__memory.committed, 0);
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
    assert_int_equal(hl__memory.committed, 500);
    assert_false(touch(start + 498 * 8192, false));
    for (unsigned i = 1; i < 500; i += 2)
        assert_int_equal(unmap(start + i * 8192, 8192), 0);
    assert_in_range(edit_calls, 500 / HL__RETIRED_MAX - 1, 500 / HL__RETIRED_MAX + 2);
    assert_int_equal(hl__memory.committed, 0);
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

    for (unsigned i = page; i < page + count; i++)
        all &= model[i].mapped;
    assert_int_equal(protect(MODEL_START + page * 4096ull, count * 4096ull, protection),
                     all ? 0 : -ENOMEM);
    for (unsigned i = page; all && i < page + count; i++)
        model[i].protection = protection;
}

static void model_drop(unsigned page, unsigned count)
{
    const uint64_t arg[] = {MODEL_START + page * 4096ull, count * 4096ull, MADV_DONTNEED};
    bool all = true;

    for (unsigned i = page; i < page + count; i++)
        all &= model[i].mapped;
    assert_int_equal(hl__sys_madvise(arg), all ? 0 : -ENOMEM);
    for (unsigned i = page; all && i < page + count; i++)
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
        TEST(promises_are_kept),
        TEST(unpromised_memory_runs_out),
        TEST(returned_pages_are_zero),
        TEST(faults_are_told_apart),
        TEST(stack_grows_down),
        TEST(refused_edits_leave_the_books_right),
        TEST(many_mappings),
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
