/* Partitions of WHP and their memory: ranges, dirty pages, and the flush. The driver's table is at
 * the end. */
#include "driver/whp_internal.h"

#include "util/error.h"

#include <stdlib.h>

/* "The memory of this process belongs to another partition already." */
#define E_SECOND_PARTITION ((HRESULT)0xc0370008)

static const struct whp_functions *const whp = &hl__whp_host.functions;

/* Memory */

static hl_status whp_slot_map(const void *state, const struct hl__hyperv_slot *slot, hl_error *err)
{
    const struct whp_vm *vm = state;
    WHV_MAP_GPA_RANGE_FLAGS flags = (WHV_MAP_GPA_RANGE_FLAGS)slot->flags;
    (*vm->counter)++;
    HRESULT result =
        vm->surrogate
            ? whp->WHvMapGpaRange2(vm->partition, vm->surrogate->process, slot->source,
                                   slot->address, slot->size, flags)
            : whp->WHvMapGpaRange(vm->partition, slot->source, slot->address, slot->size, flags);
    if (result == E_SECOND_PARTITION && !vm->surrogate)
        return hl__error_set(err, HL_SYSTEM, "WHvMapGpaRange",
                             "a process can have one sandbox at a time here: for more, "
                             "hyperlight-surrogate.exe must be in the folder of the library, on "
                             "Windows 11 or Windows Server 2022");
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvMapGpaRange", "cannot give memory to a VM");
    return HL_OK;
}

static hl_status whp_slot_unmap(const void *state, const struct hl__hyperv_slot *slot,
                                hl_error *err)
{
    const struct whp_vm *vm = state;
    (*vm->counter)++;
    HRESULT result = whp->WHvUnmapGpaRange(vm->partition, slot->address, slot->size);
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvUnmapGpaRange", "cannot take memory from a VM");
    return HL_OK;
}

static void whp_slot_free(const struct whp_vm *vm, const struct hl__hyperv_slot *slot)
{
    if (slot->view)
        hl__whp_surrogate_unmap(vm->surrogate, slot->view);
    free(slot->dirty);
}

/* Fills in where the memory is, for Hyper-V. */
static hl_status whp_slot_place(const struct whp_vm *vm, struct hl__hyperv_slot *slot, void *host,
                                hl_error *err)
{
    slot->source = host;
    if (!vm->surrogate)
        return HL_OK;
    bool writable = slot->flags & WHvMapGpaRangeFlagWrite;
    return hl__whp_surrogate_map(vm->surrogate, host, slot->size, writable, &slot->source,
                                 &slot->view, err);
}

/* To be followed by mapping it. */
static hl_status whp_slot_track(struct hl__hyperv_slot *slot, hl_error *err)
{
    hl_status status = hl__hyperv_slot_remember(slot, err);
    if (status == HL_OK)
        slot->flags |= WHvMapGpaRangeFlagTrackDirtyPages;
    return status;
}

static hl_status whp_memory_add(void *state, uint32_t number, hl__gpa address, void *host,
                                size_t size, uint32_t flags, hl_error *err)
{
    struct whp_vm *vm = state;
    hl_status status = hl__hyperv_slots_reserve(&vm->memory, number, address.value, size, err);
    if (status != HL_OK)
        return status;
    struct hl__hyperv_slot slot = {
        .address = address.value,
        .size = size,
        .flags = WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagExecute |
                 (flags & HL__MEMORY_READ_ONLY ? 0 : WHvMapGpaRangeFlagWrite),
    };
    status = whp_slot_place(vm, &slot, host, err);
    if (status == HL_OK && flags & HL__MEMORY_TRACKED)
        status = whp_slot_track(&slot, err);
    if (status == HL_OK)
        status = whp_slot_map(vm, &slot, err);
    if (status == HL_OK) {
        status = hl__hyperv_slot_forget(vm, &vm->memory, &slot, err);
        if (status != HL_OK)
            (void)whp->WHvUnmapGpaRange(vm->partition, slot.address, slot.size);
    }
    if (status == HL_OK)
        vm->memory.slots[number] = slot;
    else
        whp_slot_free(vm, &slot);
    return status;
}

/* Whether a range is tracked is told where it is mapped. */
static hl_status whp_slot_replace(const struct whp_vm *vm, const struct hl__hyperv_slot *old,
                                  const struct hl__hyperv_slot *new, hl_error *err)
{
    hl_status status = whp_slot_unmap(vm, old, err);
    if (status != HL_OK)
        return status;
    status = whp_slot_map(vm, new, err);
    if (status == HL_OK) {
        status = hl__hyperv_slot_forget(vm, &vm->memory, new, err);
        if (status != HL_OK)
            (void)whp_slot_unmap(vm, new, NULL);
    }
    if (status != HL_OK)
        (void)whp_slot_map(vm, old, NULL);
    return status;
}

static hl_status whp_memory_track(void *state, uint32_t number, hl_error *err)
{
    struct whp_vm *vm = state;
    struct hl__hyperv_slot *slot = hl__hyperv_slot_find(&vm->memory, number, err);
    if (!slot)
        return HL_SYSTEM;
    if (slot->dirty)
        return HL_OK;
    struct hl__hyperv_slot tracked = *slot;
    hl_status status = whp_slot_track(&tracked, err);
    if (status == HL_OK)
        status = whp_slot_replace(vm, slot, &tracked, err);
    if (status == HL_OK)
        *slot = tracked;
    else
        free(tracked.dirty);
    return status;
}

/* Dirty pages */

/* Reading clears. */
static hl_status whp_slot_read_dirty(const void *state, const struct hl__hyperv_slot *slot,
                                     uint64_t *bitmap, size_t words, hl_error *err)
{
    const struct whp_vm *vm = state;
    (*vm->counter)++;
    HRESULT result = whp->WHvQueryGpaRangeDirtyBitmap(vm->partition, slot->address, slot->size,
                                                      bitmap, (UINT32)(words * sizeof *bitmap));
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvQueryGpaRangeDirtyBitmap",
                             "cannot read which pages of a VM are dirty");
    return HL_OK;
}

static hl_status whp_dirty_collect(void *state, uint32_t number, uint64_t *bitmap, size_t words,
                                   hl_error *err)
{
    const struct whp_vm *vm = state;
    return hl__hyperv_dirty_collect(vm, &vm->memory, number, bitmap, words, err);
}

static hl_status whp_dirty_rearm(void *state, uint32_t number, const uint64_t *bitmap, size_t words,
                                 hl_error *err)
{
    const struct whp_vm *vm = state;
    return hl__hyperv_dirty_rearm(vm, &vm->memory, number, bitmap, words, err);
}

/* Flush */

static hl_status whp_flush(void *state, hl_error *err)
{
    const struct whp_vm *vm = state;
    return hl__hyperv_flush(vm, &vm->memory, err);
}

/* VMs */

static hl_status whp_vm_prepare(struct whp_vm *vm, uint32_t vcpu_count, hl_error *err)
{
    HRESULT result = whp->WHvSetPartitionProperty(
        vm->partition, WHvPartitionPropertyCodeProcessorCount, &vcpu_count, sizeof vcpu_count);
    if (result == S_OK)
        result = whp->WHvSetupPartition(vm->partition);
    *vm->counter += 2;
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvSetupPartition", "cannot set up a partition");
    return hl__whp_host.surrogates ? hl__whp_surrogate_take(&vm->surrogate, err) : HL_OK;
}

static void whp_vm_destroy(void *state)
{
    struct whp_vm *vm = state;
    whp->WHvDeletePartition(vm->partition);
    (*vm->counter)++;
    for (uint32_t i = 0; i < vm->memory.count; i++)
        whp_slot_free(vm, &vm->memory.slots[i]);
    if (vm->surrogate)
        hl__whp_surrogate_give_back(vm->surrogate);
    free(vm->memory.slots);
    *vm = (struct whp_vm){0};
}

static hl_status whp_vm_create(void *state, uint32_t vcpu_count, uint64_t *counter, hl_error *err)
{
    struct whp_vm *vm = state;
    *vm = (struct whp_vm){.counter = counter,
                          .memory = {.map = whp_slot_map,
                                     .unmap = whp_slot_unmap,
                                     .read_dirty = whp_slot_read_dirty}};
    HRESULT result = whp->WHvCreatePartition(&vm->partition);
    (*counter)++;
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvCreatePartition", "cannot create a partition");
    hl_status status = whp_vm_prepare(vm, vcpu_count, err);
    if (status != HL_OK)
        whp_vm_destroy(vm);
    return status;
}

const hl__driver hl__whp_driver = {
    .name = "whp",
    .vm_size = sizeof(struct whp_vm),
    .vcpu_size = sizeof(struct whp_vcpu),
    .probe = hl__whp_probe,
    .open = hl__whp_open,
    .close = hl__whp_close,
    .vm_create = whp_vm_create,
    .vm_destroy = whp_vm_destroy,
    .memory_add = whp_memory_add,
    .memory_track = whp_memory_track,
    .dirty_collect = whp_dirty_collect,
    .dirty_rearm = whp_dirty_rearm,
    .flush = whp_flush,
    .vcpu_create = hl__whp_vcpu_create,
    .vcpu_destroy = hl__whp_vcpu_destroy,
    .state_set = hl__whp_state_set,
    .state_get = hl__whp_state_get,
    .retire = hl__whp_retire,
    .run = hl__whp_run,
    .kick = hl__whp_kick,
    .kick_repeats = true, /* that a cancel waits for a run to come is promised nowhere */
};
