/* Self-tests: what a driver refuses, and that the VM it refused it to still works. */
#include "driver/selftest.h"

#include "os/os.h"

#define FAR_ADDRESS 0x900000u
#define LAST_DATA_PAGE (HL__TINY_DATA + HL__TINY_DATA_SIZE - HL__TINY_PAGE)
#define NO_SLOT 0x7fffffffu
#define BITMAP_WORDS 4

static bool still_works(struct hl__selftest *t)
{
    return hl__selftest_rings(t, HL__TINY_COUNT, 7, 0, 7);
}

/* Whether an operation failed, and said why. */
static bool refused(struct hl__selftest *t, hl_status status)
{
    bool told = status != HL_OK && t->error.status == status && t->error.message[0];
    t->error = (hl_error)HL_ERROR_INIT;
    return told;
}

static bool add_is_refused(struct hl__selftest *t, uint32_t slot, uint64_t address, void *memory)
{
    const hl__gpa place = {address};
    return refused(t,
                   t->driver->memory_add(t->vm, slot, place, memory, HL__TINY_PAGE, 0, &t->error));
}

static void test_bad_memory(struct hl__selftest *t)
{
    struct hl__selftest other; /* its VM must end before the memory does */
    void *memory;
    HL__EXPECT(t, hl__os_memory_map(HL__TINY_PAGE, &memory, &t->error) == HL_OK);
    bool opened = hl__selftest_another(t, &other), right = opened;
    right = right && add_is_refused(&other, HL__TINY_SLOT_FREE, HL__TINY_DATA, memory);
    right = right && add_is_refused(&other, HL__TINY_SLOT_FREE, LAST_DATA_PAGE, memory);
    right = right && add_is_refused(&other, NO_SLOT, FAR_ADDRESS, memory);
    right = right && still_works(&other);
    if (opened)
        hl__selftest_close(&other);
    hl__os_memory_unmap(memory, HL__TINY_PAGE);
    HL__EXPECT(t, right);
}

static void test_bad_dirty(struct hl__selftest *t)
{
    uint64_t bitmap[BITMAP_WORDS] = {0};
    const hl__driver *driver = t->driver;
    HL__EXPECT(t, refused(t, driver->memory_track(t->vm, NO_SLOT, &t->error)));
    HL__EXPECT(t,
               refused(t, driver->dirty_collect(t->vm, NO_SLOT, bitmap, BITMAP_WORDS, &t->error)));
    HL__EXPECT(t, refused(t, driver->dirty_collect(t->vm, HL__TINY_SLOT_DATA, bitmap, BITMAP_WORDS,
                                                   &t->error))); /* it is not tracked */
    HL__EXPECT(t, !driver->dirty_rearm ||
                      refused(t, driver->dirty_rearm(t->vm, HL__TINY_SLOT_DATA, bitmap,
                                                     BITMAP_WORDS, &t->error)));
    HL__EXPECT(t, driver->memory_track(t->vm, HL__TINY_SLOT_DATA, &t->error) == HL_OK);
    HL__EXPECT(t, refused(t, driver->dirty_collect(t->vm, HL__TINY_SLOT_DATA, bitmap, 1,
                                                   &t->error))); /* too few words */
    HL__EXPECT(t, driver->dirty_collect(t->vm, HL__TINY_SLOT_DATA, bitmap, BITMAP_WORDS,
                                        &t->error) == HL_OK);
    HL__EXPECT(t, still_works(t));
}

static void test_bad_vcpu(struct hl__selftest *t)
{
    const struct hl__vcpu_setup setup = hl__tiny_vcpu_setup(t->machine->syscall_stays);
    uint8_t vcpu[4096] __attribute__((aligned(16)));
    HL__EXPECT(t, t->driver->vcpu_size <= sizeof vcpu);
    HL__EXPECT(t, refused(t, t->driver->vcpu_create(t->vm, vcpu, 0, &setup, &t->error)));
    HL__EXPECT(t, refused(t, t->driver->vcpu_create(t->vm, vcpu, 100000, &setup, &t->error)));
    HL__EXPECT(t, still_works(t));
}

/* As many VMs alive at once as there may be; if one cannot be made, the others live on. */
static void test_crowd(struct hl__selftest *t)
{
    enum { CROWD = 64, CROWD_MIN = 8 };
    static struct hl__selftest crowd[CROWD];
    uint32_t count = 0;
    size_t before = hl__os_handle_count();
    while (count < CROWD && hl__selftest_another(t, &crowd[count]))
        count++;
    bool right = count >= CROWD_MIN;
    for (uint32_t i = 0; i < count; i++)
        right = right && hl__selftest_rings(&crowd[i], HL__TINY_COUNT, i, 0, i);
    for (uint32_t i = 0; i < count; i++)
        hl__selftest_close(&crowd[i]);
    HL__EXPECT(t, right && still_works(t));
    HL__EXPECT(t, hl__os_handle_count() <= before + CROWD); /* a driver may keep some for later */
    hl__selftest_note(t, "%u VMs at once", (unsigned)count);
}

const struct hl__selftest_case hl__selftest_limits[] = {
    {"bad-memory", test_bad_memory, HL__SELFTEST_SEVERAL_VMS},
    {"bad-dirty", test_bad_dirty, 0},
    {"bad-vcpu", test_bad_vcpu, 0},
    {"crowd", test_crowd, HL__SELFTEST_SEVERAL_VMS},
    {NULL, NULL, 0},
};
