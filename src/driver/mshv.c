/* Partitions of MSHV and their memory: regions, the bitmap of accesses, and the flush. The driver's
 * table is at the end. */
#include "driver/mshv_internal.h"

#include "util/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORD_BITS 64u

/* VMs */

/* No synthetic devices, no hypercalls: the guest sees a bare processor. */
static hl_status mshv_vm_prepare(struct mshv_vm *vm, hl_error *err)
{
    int error = hl__mshv_property_set(vm, MSHV_PROPERTY_SYNTHETIC_FEATURES, 0);
    if (error)
        return hl__error_os(err, HL_SYSTEM, error, "MSHV_ROOT_HVCALL",
                            "cannot set the features of a partition");
    if (hl__mshv_ioctl(vm->fd, vm->counter, MSHV_INITIALIZE_PARTITION, NULL) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "MSHV_INITIALIZE_PARTITION",
                            "cannot initialize a partition");
    return HL_OK;
}

static void mshv_vm_destroy(void *state)
{
    struct mshv_vm *vm = state;
    close(vm->fd);
    (*vm->counter)++;
    free(vm->slots);
    *vm = (struct mshv_vm){.fd = -1};
}

static hl_status mshv_vm_create(void *state, uint32_t vcpu_count, uint64_t *counter, hl_error *err)
{
    struct mshv_vm *vm = state;
    struct mshv_create_partition request = {0};
    (void)vcpu_count;
    *vm = (struct mshv_vm){.counter = counter};
    vm->fd = hl__mshv_ioctl(hl__mshv_host.fd, counter, MSHV_CREATE_PARTITION, &request);
    if (vm->fd < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "MSHV_CREATE_PARTITION",
                            "cannot create a partition");
    hl_status status = mshv_vm_prepare(vm, err);
    if (status != HL_OK)
        mshv_vm_destroy(vm);
    return status;
}

/* Memory */

static int mshv_region_apply(const struct mshv_vm *vm, uint64_t address, const void *host,
                             uint64_t size, unsigned flags)
{
    struct mshv_memory_region region = {
        .size = size,
        .guest_page = address / MSHV_PAGE_SIZE,
        .host_address = (uintptr_t)host,
        .flags = (uint8_t)flags,
    };
    return hl__mshv_ioctl(vm->fd, vm->counter, MSHV_SET_GUEST_MEMORY, &region);
}

/* Makes room to remember slot `number`. */
static hl_status mshv_slots_reserve(struct mshv_vm *vm, uint32_t number, hl_error *err)
{
    if (number < vm->slot_count)
        return HL_OK;
    if (number >= HL__MSHV_SLOTS_MAX)
        return hl__error_set(err, HL_SYSTEM, "MSHV_SET_GUEST_MEMORY",
                             "a VM has at most %u memory slots", HL__MSHV_SLOTS_MAX);
    uint32_t count = number < 4 ? 8 : 2 * number;
    struct mshv_slot *slots = realloc(vm->slots, count * sizeof *slots);
    if (!slots)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "realloc", "no memory for %u slots", count);
    memset(slots + vm->slot_count, 0, (count - vm->slot_count) * sizeof *slots);
    vm->slots = slots;
    vm->slot_count = count;
    return HL_OK;
}

/* Reads the dirtied pages of a slot, or makes some clean; 0 or an errno. */
static int mshv_access(const struct mshv_vm *vm, uint64_t address, uint64_t pages,
                       unsigned operation, uint64_t *bitmap)
{
    struct mshv_access_bitmap request = {
        .type = MSHV_ACCESS_DIRTY,
        .operation = (uint8_t)operation,
        .page_count = pages,
        .guest_page = address / MSHV_PAGE_SIZE,
        .bitmap = (uintptr_t)bitmap,
    };
    return hl__mshv_ioctl(vm->fd, vm->counter, MSHV_GET_ACCESS_BITMAP, &request) < 0 ? errno : 0;
}

static size_t mshv_slot_words(const struct mshv_slot *slot)
{
    return (slot->size / MSHV_PAGE_SIZE + WORD_BITS - 1) / WORD_BITS;
}

/* Hyper-V tracks all memory of a partition or none; from now on this slot's pages count. */
static hl_status mshv_slot_track(struct mshv_vm *vm, struct mshv_slot *slot, hl_error *err)
{
    uint64_t *before = calloc(mshv_slot_words(slot), sizeof *before);
    if (!before)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "calloc", "no memory for a bitmap of pages");
    int error = 0;
    if (!vm->tracking)
        error = hl__mshv_property_set(vm, MSHV_PROPERTY_TRACK_ACCESS, 1);
    vm->tracking |= !error;
    if (!error)
        error =
            mshv_access(vm, slot->address, slot->size / MSHV_PAGE_SIZE, MSHV_ACCESS_CLEAR, before);
    free(before);
    if (error)
        return hl__error_os(err, HL_SYSTEM, error, "MSHV_GET_GPAP_ACCESS_BITMAP",
                            "cannot start to record the dirtied pages of a VM");
    slot->tracked = true;
    return HL_OK;
}

static hl_status mshv_memory_add(void *state, uint32_t number, hl__gpa address, void *host,
                                 size_t size, uint32_t flags, hl_error *err)
{
    struct mshv_vm *vm = state;
    hl_status status = mshv_slots_reserve(vm, number, err);
    if (status != HL_OK)
        return status;
    unsigned rights =
        MSHV_MEMORY_EXECUTABLE | (flags & HL__MEMORY_READ_ONLY ? 0 : MSHV_MEMORY_WRITABLE);
    if (mshv_region_apply(vm, address.value, host, size, rights) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "MSHV_SET_GUEST_MEMORY",
                            "cannot give %zu bytes of memory to a VM", size);
    struct mshv_slot slot = {.address = address.value, .size = size};
    if (flags & HL__MEMORY_TRACKED)
        status = mshv_slot_track(vm, &slot, err);
    if (status == HL_OK)
        vm->slots[number] = slot;
    else
        (void)mshv_region_apply(vm, address.value, host, size, MSHV_MEMORY_UNMAP);
    return status;
}

/* The slot, or NULL and an error if it was never added. */
static struct mshv_slot *mshv_slot_find(const struct mshv_vm *vm, uint32_t number, hl_error *err)
{
    if (number < vm->slot_count && vm->slots[number].size)
        return &vm->slots[number];
    (void)hl__error_set(err, HL_SYSTEM, NULL, "a VM has no memory slot %u", number);
    return NULL;
}

static hl_status mshv_memory_track(void *state, uint32_t number, hl_error *err)
{
    struct mshv_vm *vm = state;
    struct mshv_slot *slot = mshv_slot_find(vm, number, err);
    if (!slot)
        return HL_SYSTEM;
    return slot->tracked ? HL_OK : mshv_slot_track(vm, slot, err);
}

/* Dirty pages */

/* The slot if it is tracked and `words` covers it. */
static const struct mshv_slot *mshv_slot_find_tracked(const struct mshv_vm *vm, uint32_t number,
                                                      size_t words, hl_error *err)
{
    const struct mshv_slot *slot = mshv_slot_find(vm, number, err);
    if (!slot || (slot->tracked && words >= mshv_slot_words(slot)))
        return slot;
    (void)hl__error_set(err, HL_SYSTEM, NULL, "memory slot %u has no record of %zu words", number,
                        words);
    return NULL;
}

static hl_status mshv_dirty_collect(void *state, uint32_t number, uint64_t *bitmap, size_t words,
                                    hl_error *err)
{
    struct mshv_vm *vm = state;
    const struct mshv_slot *slot = mshv_slot_find_tracked(vm, number, words, err);
    if (!slot)
        return HL_SYSTEM;
    uint64_t pages = slot->size / MSHV_PAGE_SIZE;
    memset(bitmap, 0, words * sizeof *bitmap);
    int error = mshv_access(vm, slot->address, pages, MSHV_ACCESS_READ, bitmap);
    if (error)
        return hl__error_os(err, HL_SYSTEM, error, "MSHV_GET_GPAP_ACCESS_BITMAP",
                            "cannot read which pages of a VM are dirty");
    return HL_OK;
}

static bool mshv_bit(const uint64_t *bitmap, uint64_t page)
{
    return bitmap[page / WORD_BITS] >> page % WORD_BITS & 1;
}

/* The end of the run of pages from `page` on whose bits are all `value`. */
static uint64_t mshv_run_end(const uint64_t *bitmap, uint64_t page, uint64_t pages, bool value)
{
    const uint64_t whole = value ? UINT64_MAX : 0;
    while (page < pages && mshv_bit(bitmap, page) == value)
        page += page % WORD_BITS == 0 && bitmap[page / WORD_BITS] == whole ? WORD_BITS : 1;
    return page < pages ? page : pages;
}

/* Hyper-V makes ranges clean: a request for each run of pages. */
static hl_status mshv_dirty_rearm(void *state, uint32_t number, const uint64_t *bitmap,
                                  size_t words, hl_error *err)
{
    struct mshv_vm *vm = state;
    const struct mshv_slot *slot = mshv_slot_find_tracked(vm, number, words, err);
    if (!slot)
        return HL_SYSTEM;
    uint64_t *before = malloc(mshv_slot_words(slot) * sizeof *before);
    if (!before)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "malloc", "no memory for a bitmap of pages");
    uint64_t pages = slot->size / MSHV_PAGE_SIZE;
    int error = 0;
    for (uint64_t first = 0, end; first < pages && !error; first = end) {
        first = mshv_run_end(bitmap, first, pages, false);
        end = mshv_run_end(bitmap, first, pages, true);
        if (end > first)
            error = mshv_access(vm, slot->address + first * MSHV_PAGE_SIZE, end - first,
                                MSHV_ACCESS_CLEAR, before);
    }
    free(before);
    if (error)
        return hl__error_os(err, HL_SYSTEM, error, "MSHV_GET_GPAP_ACCESS_BITMAP",
                            "cannot make pages of a VM clean");
    return HL_OK;
}

/* Unmapping memory drops the translations that went through it. */
static hl_status mshv_flush(void *state, hl_error *err)
{
    static uint8_t spare[MSHV_PAGE_SIZE] __attribute__((aligned(MSHV_PAGE_SIZE)));
    struct mshv_vm *vm = state;
    if (mshv_region_apply(vm, HL__GPA_SPARE, spare, sizeof spare, 0) < 0 ||
        mshv_region_apply(vm, HL__GPA_SPARE, spare, sizeof spare, MSHV_MEMORY_UNMAP) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "MSHV_SET_GUEST_MEMORY",
                            "cannot flush the translations of a VM");
    return HL_OK;
}

const hl__driver hl__mshv_driver = {
    .name = "mshv",
    .vm_size = sizeof(struct mshv_vm),
    .vcpu_size = sizeof(struct mshv_vcpu),
    .probe = hl__mshv_probe,
    .open = hl__mshv_open,
    .close = hl__mshv_close,
    .vm_create = mshv_vm_create,
    .vm_destroy = mshv_vm_destroy,
    .memory_add = mshv_memory_add,
    .memory_track = mshv_memory_track,
    .dirty_collect = mshv_dirty_collect,
    .dirty_rearm = mshv_dirty_rearm,
    .flush = mshv_flush,
    .vcpu_create = hl__mshv_vcpu_create,
    .vcpu_destroy = hl__mshv_vcpu_destroy,
    .state_set = hl__mshv_state_set,
    .state_get = hl__mshv_state_get,
    .retire = hl__mshv_retire,
    .run = hl__mshv_run,
    .kick = hl__mshv_kick,
    .kick_repeats = true, /* RUN_VP looks at signals only once it is in the kernel */
};
