/* Self-tests: the dirty log, and changes of page tables by the host. */
#include "driver/selftest.h"

#include "os/os.h"

#include <stdlib.h>
#include <string.h>

#define WORDS ((HL__TINY_DATA_PAGES + 63) / 64)
#define SPARE_WORD 0xfeedull /* in a word of the bitmap behind the slot's */
#define FREE_PAGE 0x100000u
#define FAR_PAGE 0x180000u
#define ENTRY_WRITE 2ull

static uint64_t data_page(unsigned page)
{
    return HL__TINY_DATA + (uint64_t)page * HL__TINY_PAGE;
}

static bool guest_writes(struct hl__selftest *t, unsigned page)
{
    return hl__selftest_rings(t, HL__TINY_WRITE, data_page(page) + 8, page, HL__TINY_DONE);
}

static bool guest_reads(struct hl__selftest *t, uint64_t address, uint32_t value)
{
    return hl__selftest_rings(t, HL__TINY_READ, address, 0, value);
}

static bool guest_faults(struct hl__selftest *t, enum hl__tiny_code code, uint64_t address)
{
    return hl__selftest_rings(t, code, address, 0, HL__TINY_EXCEPTION + HL__VECTOR_PF);
}

static void put(struct hl__selftest *t, uint64_t address, uint32_t value)
{
    memcpy(hl__tiny_guest_at(&t->guest, address), &value, sizeof value);
}

/* Whether the log has exactly these pages. A word behind the slot's must become 0. */
static bool dirty_is(struct hl__selftest *t, const unsigned *pages, size_t count)
{
    uint64_t expected[WORDS + 1] = {0}, bitmap[WORDS + 1] = {[WORDS] = SPARE_WORD};
    for (size_t i = 0; i < count; i++)
        expected[pages[i] / 64] |= 1ull << pages[i] % 64;
    return t->driver->dirty_collect(t->vm, HL__TINY_SLOT_DATA, bitmap, WORDS + 1, &t->error) ==
               HL_OK &&
           !memcmp(bitmap, expected, sizeof expected);
}
#define DIRTY_IS(t, ...)                                                                           \
    dirty_is(t, (const unsigned[]){__VA_ARGS__},                                                   \
             sizeof((const unsigned[]){__VA_ARGS__}) / sizeof(unsigned))

/* Whether the log has no page but that one. A page that the guest reads first may count as
 * dirty: KVM maps it writable at once. */
static bool dirty_within(struct hl__selftest *t, unsigned page)
{
    return dirty_is(t, NULL, 0) || dirty_is(t, &page, 1);
}

static bool rearm(struct hl__selftest *t, const unsigned *pages, size_t count)
{
    uint64_t bitmap[WORDS] = {0};
    for (size_t i = 0; i < count; i++)
        bitmap[pages[i] / 64] |= 1ull << pages[i] % 64;
    return t->driver->dirty_rearm(t->vm, HL__TINY_SLOT_DATA, bitmap, WORDS, &t->error) == HL_OK;
}
#define REARM(t, ...)                                                                              \
    rearm(t, (const unsigned[]){__VA_ARGS__},                                                      \
          sizeof((const unsigned[]){__VA_ARGS__}) / sizeof(unsigned))

static void test_dirty_pages(struct hl__selftest *t)
{
    put(t, data_page(3), 1); /* the host's writes do not count */
    HL__EXPECT(t, dirty_is(t, NULL, 0));
    HL__EXPECT(t, guest_reads(t, data_page(3), 1));
    HL__EXPECT(t, dirty_within(t, 3));
    HL__EXPECT(t, !t->driver->dirty_rearm || REARM(t, 3));
    HL__EXPECT(t, guest_reads(t, data_page(3), 1));
    HL__EXPECT(t, dirty_is(t, NULL, 0));
    HL__EXPECT(t, guest_writes(t, 0) && guest_writes(t, 63) && guest_writes(t, 64));
    HL__EXPECT(t, DIRTY_IS(t, 0, 63, 64));
    HL__EXPECT(t, guest_writes(t, 129));
    if (t->driver->dirty_rearm)
        HL__EXPECT(t, DIRTY_IS(t, 0, 63, 64, 129));
    else
        HL__EXPECT(t, DIRTY_IS(t, 129));
}

static bool guest_touches(struct hl__selftest *t, unsigned first, unsigned count)
{
    hl__selftest_user(t, HL__TINY_TOUCH);
    t->state.general.rdi = data_page(first);
    t->state.general.rcx = HL__TINY_PAGE;
    t->state.general.r8 = count;
    return hl__selftest_start(t) && hl__selftest_rang(t, HL__TINY_DONE);
}

/* Pages in a row, across words of the bitmap; and one write to two pages. */
static void test_dirty_ranges(struct hl__selftest *t)
{
    HL__EXPECT(t, guest_touches(t, 62, 5));
    HL__EXPECT(t, DIRTY_IS(t, 62, 63, 64, 65, 66));
    HL__EXPECT(t, !t->driver->dirty_rearm || REARM(t, 62, 63, 64, 65, 66));
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_WRITE, data_page(128) - 2, 0x5a5a, HL__TINY_DONE));
    HL__EXPECT(t, DIRTY_IS(t, 127, 128));
}

static void test_dirty_rearm(struct hl__selftest *t)
{
    if (!t->driver->dirty_rearm) {
        hl__selftest_skip(t, "this driver re-arms everything at once");
        return;
    }
    HL__EXPECT(t, guest_writes(t, 1) && guest_writes(t, 5) && guest_writes(t, 128));
    HL__EXPECT(t, REARM(t, 5, 128));
    HL__EXPECT(t, DIRTY_IS(t, 1)); /* hot: it stays */
    HL__EXPECT(t, guest_writes(t, 1) && guest_writes(t, 5));
    HL__EXPECT(t, DIRTY_IS(t, 1, 5));
    HL__EXPECT(t, guest_writes(t, 129) && guest_writes(t, 64));
    HL__EXPECT(t, DIRTY_IS(t, 1, 5, 64, 129));
    HL__EXPECT(t, REARM(t, 1, 5, 64, 129));
    HL__EXPECT(t, dirty_is(t, NULL, 0));
    HL__EXPECT(t, rearm(t, NULL, 0));
    HL__EXPECT(t, guest_writes(t, 1) && guest_writes(t, 129) && DIRTY_IS(t, 1, 129));
}

/* One entry that writes every page. */
static void test_dirty_all(struct hl__selftest *t)
{
    unsigned pages[HL__TINY_DATA_PAGES];
    for (unsigned i = 0; i < HL__TINY_DATA_PAGES; i++)
        pages[i] = i;
    for (int round = 0; round < 2; round++) {
        HL__EXPECT(t, guest_touches(t, 0, HL__TINY_DATA_PAGES));
        HL__EXPECT(t, dirty_is(t, pages, HL__TINY_DATA_PAGES));
        HL__EXPECT(t, !t->driver->dirty_rearm || rearm(t, pages, HL__TINY_DATA_PAGES));
        HL__EXPECT(t, dirty_is(t, NULL, 0));
    }
}

static void test_track_late(struct hl__selftest *t)
{
    HL__EXPECT(t, guest_writes(t, 2) && guest_writes(t, 7));
    HL__EXPECT(t, t->driver->memory_track(t->vm, HL__TINY_SLOT_DATA, &t->error) == HL_OK);
    HL__EXPECT(t, dirty_is(t, NULL, 0));
    HL__EXPECT(t, guest_writes(t, 7) && guest_writes(t, 100));
    HL__EXPECT(t, DIRTY_IS(t, 7, 100));
}

/* Memory that is added while the guest exists. */
static bool late_memory_is_seen(struct hl__selftest *t, void *memory)
{
    const hl__gpa address = {0x800000};
    if (!hl__selftest_rings(t, HL__TINY_COUNT, 1, 0, 1))
        return false;
    *hl__tiny_guest_entry(&t->guest, 0, FREE_PAGE) = address.value | HL__TINY_ENTRY_USER_DATA;
    return t->driver->memory_add(t->vm, HL__TINY_SLOT_FREE, address, memory, HL__TINY_PAGE, 0,
                                 &t->error) == HL_OK &&
           guest_reads(t, FREE_PAGE, 0x11111111);
}

static void test_memory_late(struct hl__selftest *t)
{
    struct hl__selftest other; /* it must end before the memory does */
    void *memory;
    HL__EXPECT(t, hl__os_memory_map(HL__TINY_PAGE, &memory, &t->error) == HL_OK);
    memset(memory, 0x11, HL__TINY_PAGE);
    bool seen = false;
    if (hl__selftest_another(t, &other)) {
        seen = late_memory_is_seen(&other, memory);
        hl__selftest_close(&other);
    }
    hl__os_memory_unmap(memory, HL__TINY_PAGE);
    HL__EXPECT(t, seen);
}

/* Additions, and rights that are added, need nothing to be seen. */
static void test_mapping_added(struct hl__selftest *t)
{
    uint64_t *entry = hl__tiny_guest_entry(&t->guest, 0, FREE_PAGE);
    put(t, data_page(1), 0xaaaa);
    for (int round = 0; round < 3; round++) {
        uint64_t *next = entry + round;
        uint64_t address = FREE_PAGE + (uint64_t)round * HL__TINY_PAGE;
        HL__EXPECT(t, guest_faults(t, HL__TINY_READ, address));
        *next = (data_page(1) | HL__TINY_ENTRY_USER_DATA) & ~ENTRY_WRITE;
        HL__EXPECT(t, guest_reads(t, address, 0xaaaa));
        HL__EXPECT(t, guest_faults(t, HL__TINY_WRITE, address));
        *next |= ENTRY_WRITE;
        HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_WRITE, address, 0xaaaa, HL__TINY_DONE));
    }
}

/* How the host's removal of mappings and rights becomes effective. */
typedef bool (*make_effective)(struct hl__selftest *t);

static bool by_flush(struct hl__selftest *t)
{
    return t->driver->flush(t->vm, &t->error) == HL_OK;
}

static bool by_poke(struct hl__selftest *t)
{
    hl__selftest_ring0(t, HL__TINY_STUB_POKE);
    t->state.general.rdi = hl__tiny_root(0) + 3 * HL__TINY_PAGE; /* the page table */
    return hl__selftest_start(t) && hl__selftest_rang(t, HL__TINY_DONE);
}

static bool by_rewrite(struct hl__selftest *t)
{
    hl__selftest_ring0(t, HL__TINY_STUB_REWRITE);
    t->state.general.rdi = t->state.general.rsi =
        hl__tiny_root(0) + 3 * HL__TINY_PAGE + FREE_PAGE / HL__TINY_PAGE % 512 * sizeof(uint64_t);
    t->state.general.rcx = 1;
    return hl__selftest_start(t) && hl__selftest_rang(t, HL__TINY_DONE);
}

static bool by_reload(struct hl__selftest *t)
{
    hl__selftest_ring0(t, HL__TINY_STUB_RELOAD);
    return hl__selftest_start(t) && hl__selftest_rang(t, HL__TINY_DONE);
}

/* Each kind of removal, on a translation that was just used. */
static void removal_is_seen(struct hl__selftest *t, make_effective effective)
{
    uint64_t *entry = hl__tiny_guest_entry(&t->guest, 0, FREE_PAGE);
    put(t, data_page(1), 0xaaaa);
    put(t, data_page(2), 0xbbbb);
    for (int round = 0; round < 3; round++) {
        *entry = data_page(1) | HL__TINY_ENTRY_USER_DATA;
        HL__EXPECT(t, effective(t));
        HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_WRITE, FREE_PAGE, 0xaaaa, HL__TINY_DONE));
        *entry &= ~ENTRY_WRITE;
        HL__EXPECT(t, effective(t));
        HL__EXPECT(t, guest_faults(t, HL__TINY_WRITE, FREE_PAGE));
        HL__EXPECT(t, guest_reads(t, FREE_PAGE, 0xaaaa));
        *entry = data_page(2) | HL__TINY_ENTRY_USER_DATA;
        HL__EXPECT(t, effective(t));
        HL__EXPECT(t, guest_reads(t, FREE_PAGE, 0xbbbb));
        *entry = 0;
        HL__EXPECT(t, effective(t));
        HL__EXPECT(t, guest_faults(t, HL__TINY_READ, FREE_PAGE));
    }
}

static void test_removal_flush(struct hl__selftest *t)
{
    removal_is_seen(t, by_flush);
}

static void test_removal_poke(struct hl__selftest *t)
{
    removal_is_seen(t, by_poke);
}

static void test_removal_rewrite(struct hl__selftest *t)
{
    removal_is_seen(t, by_rewrite);
}

static void test_removal_reload(struct hl__selftest *t)
{
    if (t->machine->flush_required)
        hl__selftest_skip(t, "this machine needs more than a reload of CR3");
    else
        removal_is_seen(t, by_reload);
}

static bool system_page_is_dirty(struct hl__selftest *t, unsigned page, bool *is_dirty)
{
    enum { SYSTEM_WORDS = HL__TINY_SYSTEM_SIZE / HL__TINY_PAGE / 64 + 1 };
    uint64_t bitmap[SYSTEM_WORDS];
    if (t->driver->dirty_collect(t->vm, HL__TINY_SLOT_SYSTEM, bitmap, SYSTEM_WORDS, &t->error) !=
        HL_OK)
        return false;
    *is_dirty = bitmap[page / 64] >> page % 64 & 1;
    return true;
}

/* A flush may take memory from the VM and give it back: neither loses what is recorded, nor records. */
static void test_dirty_flush(struct hl__selftest *t)
{
    const unsigned poked = 3; /* a page table, in the system slot */
    bool is_dirty = false;
    HL__EXPECT(t, t->driver->memory_track(t->vm, HL__TINY_SLOT_SYSTEM, &t->error) == HL_OK);
    HL__EXPECT(t, t->driver->flush(t->vm, &t->error) == HL_OK);
    HL__EXPECT(t, dirty_is(t, NULL, 0));
    HL__EXPECT(t, guest_writes(t, 5) && guest_writes(t, 70) && by_poke(t));
    HL__EXPECT(t, t->driver->flush(t->vm, &t->error) == HL_OK);
    HL__EXPECT(t, system_page_is_dirty(t, poked, &is_dirty) && is_dirty);
    HL__EXPECT(t, DIRTY_IS(t, 5, 70));
    HL__EXPECT(t, !t->driver->dirty_rearm || REARM(t, 5, 70));
    HL__EXPECT(t, t->driver->flush(t->vm, &t->error) == HL_OK);
    HL__EXPECT(t, dirty_is(t, NULL, 0));
    HL__EXPECT(t, guest_writes(t, 70) && DIRTY_IS(t, 70));
}

/* The same address in two address spaces is different memory. */
static bool space_reads(struct hl__selftest *t, unsigned space, uint32_t value)
{
    hl__selftest_user(t, HL__TINY_READ);
    t->state.general.rdi = FREE_PAGE;
    t->state.system.cr3 = hl__tiny_root(space);
    return hl__selftest_start(t) && hl__selftest_rang(t, value);
}

static void map_spaces(struct hl__selftest *t)
{
    *hl__tiny_guest_entry(&t->guest, 0, FREE_PAGE) = data_page(1) | HL__TINY_ENTRY_USER_DATA;
    *hl__tiny_guest_entry(&t->guest, 1, FREE_PAGE) = data_page(2) | HL__TINY_ENTRY_USER_DATA;
    put(t, data_page(1), 0xaaaa);
    put(t, data_page(2), 0xbbbb);
}

static void test_address_spaces(struct hl__selftest *t)
{
    map_spaces(t);
    for (int round = 0; round < 200; round++) {
        HL__EXPECT(t, space_reads(t, 0, 0xaaaa));
        HL__EXPECT(t, space_reads(t, 1, 0xbbbb));
    }
    *hl__tiny_guest_entry(&t->guest, 1, FAR_PAGE) = data_page(2) | HL__TINY_ENTRY_USER_DATA;
    HL__EXPECT(t, guest_faults(t, HL__TINY_READ, FAR_PAGE));
}

static void test_two_vcpus(struct hl__selftest *t)
{
    const struct hl__vcpu_setup setup = hl__tiny_vcpu_setup(t->machine->syscall_stays);
    void *first = t->vcpu, *second = calloc(1, t->driver->vcpu_size);
    HL__EXPECT(t, second);
    bool made = t->driver->vcpu_create(t->vm, second, 1, &setup, &t->error) == HL_OK;
    bool right = made;
    map_spaces(t);
    for (int round = 0; round < 20 && right; round++) {
        t->vcpu = first;
        right = space_reads(t, round & 1, round & 1 ? 0xbbbb : 0xaaaa);
        t->vcpu = second;
        right = right && space_reads(t, ~round & 1, round & 1 ? 0xaaaa : 0xbbbb);
    }
    t->vcpu = first;
    if (made)
        t->driver->vcpu_destroy(second);
    free(second);
    HL__EXPECT(t, made && right);
}

const struct hl__selftest_case hl__selftest_memory[] = {
    {"dirty-pages", test_dirty_pages, HL__MEMORY_TRACKED},
    {"dirty-ranges", test_dirty_ranges, HL__MEMORY_TRACKED},
    {"dirty-rearm", test_dirty_rearm, HL__MEMORY_TRACKED},
    {"dirty-all", test_dirty_all, HL__MEMORY_TRACKED},
    {"track-late", test_track_late, 0},
    {"memory-late", test_memory_late, HL__SELFTEST_SEVERAL_VMS},
    {"mapping-added", test_mapping_added, 0},
    {"removal-by-flush", test_removal_flush, 0},
    {"removal-by-poke", test_removal_poke, 0},
    {"removal-by-rewrite", test_removal_rewrite, 0},
    {"removal-by-reload", test_removal_reload, 0},
    {"dirty-kept-by-flush", test_dirty_flush, HL__MEMORY_TRACKED},
    {"address-spaces", test_address_spaces, 0},
    {"two-vcpus", test_two_vcpus, 0},
    {NULL, NULL, 0},
};
