/* Partitions of MSHV and their memory: regions, dirty pages, and the flush. The driver's
 * table is at the end. */
#include "driver/mshv_internal.h"

#include "util/error.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Memory */

static int mshv_region_apply(const struct mshv_vm *vm, const struct hl__hyperv_slot *slot,
                             unsigned flags)
{
    struct mshv_memory_region region = {
        .size = slot->size,
        .guest_page = slot->address / MSHV_PAGE_SIZE,
        .host_address = (uintptr_t)slot->source,
        .flags = (uint8_t)flags,
    };
    return hl__mshv_ioctl(vm->fd, vm->counter, MSHV_SET_GUEST_MEMORY, &region);
}

static hl_status mshv_slot_map(const void *vm, const struct hl__hyperv_slot *slot, hl_error *err)
{
    if (mshv_region_apply(vm, slot, slot->flags) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "MSHV_SET_GUEST_MEMORY",
                            "cannot give %llu bytes of memory to a VM",
                            (unsigned long long)slot->size);
    return HL_OK;
}

static hl_status mshv_slot_unmap(const void *vm, const struct hl__hyperv_slot *slot, hl_error *err)
{
    if (mshv_region_apply(vm, slot, MSHV_MEMORY_UNMAP) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "MSHV_SET_GUEST_MEMORY",
                            "cannot take memory from a VM");
    return HL_OK;
}

/* Hyper-V tracks all memory of a partition or none; from now on this slot's pages count. */
static hl_status mshv_slot_track(struct mshv_vm *vm, struct hl__hyperv_slot *slot, hl_error *err)
{
    if (!vm->tracking) {
        int error = hl__mshv_property_set(vm, MSHV_PROPERTY_TRACK_ACCESS, 1);
        if (error)
            return hl__error_os(err, HL_SYSTEM, error, "MSHV_ROOT_HVCALL",
                                "cannot start to record the dirtied pages of a VM");
        vm->tracking = true;
    }
    hl_status status = hl__hyperv_slot_remember(slot, err);
    if (status == HL_OK)
        status = hl__hyperv_slot_forget(vm, &vm->memory, slot, err);
    if (status != HL_OK) {
        free(slot->dirty);
        slot->dirty = NULL;
    }
    return status;
}

static hl_status mshv_memory_add(void *state, uint32_t number, hl__gpa address, void *host,
                                 size_t size, uint32_t flags, hl_error *err)
{
    struct mshv_vm *vm = state;
    hl_status status = hl__hyperv_slots_reserve(&vm->memory, number, address.value, size, err);
    if (status != HL_OK)
        return status;
    struct hl__hyperv_slot slot = {
        .address = address.value,
        .size = size,
        .source = host,
        .flags = MSHV_MEMORY_EXECUTABLE | (flags & HL__MEMORY_READ_ONLY ? 0 : MSHV_MEMORY_WRITABLE),
    };
    status = mshv_slot_map(vm, &slot, err);
    if (status == HL_OK && flags & HL__MEMORY_TRACKED) {
        status = mshv_slot_track(vm, &slot, err);
        if (status != HL_OK)
            (void)mshv_region_apply(vm, &slot, MSHV_MEMORY_UNMAP);
    }
    if (status == HL_OK)
        vm->memory.slots[number] = slot;
    return status;
}

static hl_status mshv_memory_track(void *state, uint32_t number, hl_error *err)
{
    struct mshv_vm *vm = state;
    struct hl__hyperv_slot *slot = hl__hyperv_slot_find(&vm->memory, number, err);
    if (!slot)
        return HL_SYSTEM;
    return slot->dirty ? HL_OK : mshv_slot_track(vm, slot, err);
}

/* Dirty pages */

/* Reading clears: a request that only reads makes every page dirty, in the kernels that there are. */
static hl_status mshv_slot_read_dirty(const void *state, const struct hl__hyperv_slot *slot,
                                      uint64_t *bitmap, size_t words, hl_error *err)
{
    const struct mshv_vm *vm = state;
    struct mshv_access_bitmap request = {
        .type = MSHV_ACCESS_DIRTY,
        .operation = MSHV_ACCESS_CLEAR,
        .page_count = slot->size / MSHV_PAGE_SIZE,
        .guest_page = slot->address / MSHV_PAGE_SIZE,
        .bitmap = (uintptr_t)bitmap,
    };
    (void)words;
    if (hl__mshv_ioctl(vm->fd, vm->counter, MSHV_GET_ACCESS_BITMAP, &request) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "MSHV_GET_GPAP_ACCESS_BITMAP",
                            "cannot read which pages of a VM are dirty");
    return HL_OK;
}

static hl_status mshv_dirty_collect(void *state, uint32_t number, uint64_t *bitmap, size_t words,
                                    hl_error *err)
{
    const struct mshv_vm *vm = state;
    return hl__hyperv_dirty_collect(vm, &vm->memory, number, bitmap, words, err);
}

static hl_status mshv_dirty_rearm(void *state, uint32_t number, const uint64_t *bitmap,
                                  size_t words, hl_error *err)
{
    const struct mshv_vm *vm = state;
    return hl__hyperv_dirty_rearm(vm, &vm->memory, number, bitmap, words, err);
}

/* Flush */

static hl_status mshv_flush(void *state, hl_error *err)
{
    const struct mshv_vm *vm = state;
    return hl__hyperv_flush(vm, &vm->memory, err);
}

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
    for (uint32_t i = 0; i < vm->memory.count; i++)
        free(vm->memory.slots[i].dirty);
    free(vm->memory.slots);
    *vm = (struct mshv_vm){.fd = -1};
}

static hl_status mshv_vm_create(void *state, uint32_t vcpu_count, uint64_t *counter, hl_error *err)
{
    struct mshv_vm *vm = state;
    struct mshv_create_partition request = {.flags = MSHV_PARTITION_LARGE_PAGES};
    (void)vcpu_count;
    *vm = (struct mshv_vm){.counter = counter,
                           .memory = {.map = mshv_slot_map,
                                      .unmap = mshv_slot_unmap,
                                      .read_dirty = mshv_slot_read_dirty}};
    vm->fd = hl__mshv_ioctl(hl__mshv_host.fd, counter, MSHV_CREATE_PARTITION, &request);
    if (vm->fd < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "MSHV_CREATE_PARTITION",
                            "cannot create a partition");
    hl_status status = mshv_vm_prepare(vm, err);
    if (status != HL_OK)
        mshv_vm_destroy(vm);
    return status;
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
