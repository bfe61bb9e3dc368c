/* Partitions of WHP and their memory: ranges, dirtied pages, and the flush. The driver's table is at
 * the end. */
#include "driver/whp_internal.h"

#include "util/error.h"

#include <stdlib.h>
#include <string.h>

#define WORD_BITS 64u

/* "The memory of this process belongs to another partition already." */
#define E_SECOND_PARTITION ((HRESULT)0xc0370008)

static const struct whp_functions *const whp = &hl__whp_host.functions;

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

static void whp_slot_free(const struct whp_vm *vm, const struct whp_slot *slot)
{
    if (slot->view)
        hl__whp_surrogate_unmap(vm->surrogate, slot->view);
    free(slot->dirty);
}

static void whp_vm_destroy(void *state)
{
    struct whp_vm *vm = state;
    whp->WHvDeletePartition(vm->partition);
    (*vm->counter)++;
    for (uint32_t i = 0; i < vm->slot_count; i++)
        whp_slot_free(vm, &vm->slots[i]);
    if (vm->surrogate)
        hl__whp_surrogate_give_back(vm->surrogate);
    free(vm->slots);
    *vm = (struct whp_vm){0};
}

static hl_status whp_vm_create(void *state, uint32_t vcpu_count, uint64_t *counter, hl_error *err)
{
    struct whp_vm *vm = state;
    *vm = (struct whp_vm){.counter = counter};
    HRESULT result = whp->WHvCreatePartition(&vm->partition);
    (*counter)++;
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvCreatePartition", "cannot create a partition");
    hl_status status = whp_vm_prepare(vm, vcpu_count, err);
    if (status != HL_OK)
        whp_vm_destroy(vm);
    return status;
}

/* Memory */

static HRESULT whp_range_map(const struct whp_vm *vm, const struct whp_slot *slot)
{
    (*vm->counter)++;
    if (vm->surrogate)
        return whp->WHvMapGpaRange2(vm->partition, vm->surrogate->process, slot->source,
                                    slot->address, slot->size, slot->flags);
    return whp->WHvMapGpaRange(vm->partition, slot->source, slot->address, slot->size, slot->flags);
}

static HRESULT whp_range_unmap(const struct whp_vm *vm, const struct whp_slot *slot)
{
    (*vm->counter)++;
    return whp->WHvUnmapGpaRange(vm->partition, slot->address, slot->size);
}

/* Makes room to remember slot `number`. */
static hl_status whp_slots_reserve(struct whp_vm *vm, uint32_t number, hl_error *err)
{
    if (number < vm->slot_count)
        return HL_OK;
    if (number >= HL__WHP_SLOTS_MAX)
        return hl__error_set(err, HL_SYSTEM, "WHvMapGpaRange", "a VM has at most %u memory slots",
                             HL__WHP_SLOTS_MAX);
    uint32_t count = number < 4 ? 8 : 2 * number;
    struct whp_slot *slots = realloc(vm->slots, count * sizeof *slots);
    if (!slots)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "realloc", "no memory for %u slots", count);
    memset(slots + vm->slot_count, 0, (count - vm->slot_count) * sizeof *slots);
    vm->slots = slots;
    vm->slot_count = count;
    return HL_OK;
}

static size_t whp_slot_words(const struct whp_slot *slot)
{
    return (slot->size / HL__WHP_PAGE_SIZE + WORD_BITS - 1) / WORD_BITS;
}

static hl_status whp_slot_track(struct whp_slot *slot, hl_error *err)
{
    slot->dirty = calloc(2 * whp_slot_words(slot), sizeof *slot->dirty);
    if (!slot->dirty)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "calloc", "no memory for a bitmap of pages");
    slot->flags |= WHvMapGpaRangeFlagTrackDirtyPages;
    return HL_OK;
}

static hl_status whp_slot_map(const struct whp_vm *vm, const struct whp_slot *slot, hl_error *err)
{
    HRESULT result = whp_range_map(vm, slot);
    if (result == E_SECOND_PARTITION && !vm->surrogate)
        return hl__error_set(err, HL_SYSTEM, "WHvMapGpaRange",
                             "a process can have one sandbox at a time here: for more, "
                             "hyperlight-surrogate.exe must be in the folder of the library, on "
                             "Windows 11 or Windows Server 2022");
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvMapGpaRange", "cannot give memory to a VM");
    return HL_OK;
}

/* Fills in where the memory is, for Hyper-V. */
static hl_status whp_slot_place(const struct whp_vm *vm, struct whp_slot *slot, void *host,
                                hl_error *err)
{
    slot->source = host;
    if (!vm->surrogate)
        return HL_OK;
    bool writable = slot->flags & WHvMapGpaRangeFlagWrite;
    return hl__whp_surrogate_map(vm->surrogate, host, slot->size, writable, &slot->source,
                                 &slot->view, err);
}

static hl_status whp_memory_add(void *state, uint32_t number, hl__gpa address, void *host,
                                size_t size, uint32_t flags, hl_error *err)
{
    struct whp_vm *vm = state;
    hl_status status = whp_slots_reserve(vm, number, err);
    if (status != HL_OK)
        return status;
    struct whp_slot slot = {
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
    if (status == HL_OK)
        vm->slots[number] = slot;
    else
        whp_slot_free(vm, &slot);
    return status;
}

/* The slot, or NULL and an error if it was never added. */
static struct whp_slot *whp_slot_find(const struct whp_vm *vm, uint32_t number, hl_error *err)
{
    if (number < vm->slot_count && vm->slots[number].size)
        return &vm->slots[number];
    (void)hl__error_set(err, HL_SYSTEM, NULL, "a VM has no memory slot %u", number);
    return NULL;
}

/* Maps a slot anew, with flags that may have changed. */
static hl_status whp_slot_remap(const struct whp_vm *vm, const struct whp_slot *slot, hl_error *err)
{
    HRESULT result = whp_range_unmap(vm, slot);
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvUnmapGpaRange", "cannot take memory from a VM");
    return whp_slot_map(vm, slot, err);
}

static hl_status whp_memory_track(void *state, uint32_t number, hl_error *err)
{
    struct whp_vm *vm = state;
    struct whp_slot *slot = whp_slot_find(vm, number, err);
    if (!slot)
        return HL_SYSTEM;
    if (slot->dirty)
        return HL_OK;
    hl_status status = whp_slot_track(slot, err);
    return status == HL_OK ? whp_slot_remap(vm, slot, err) : status;
}

/* Dirty pages */

/* The slot if it is tracked and `words` covers it. */
static struct whp_slot *whp_slot_find_tracked(const struct whp_vm *vm, uint32_t number,
                                              size_t words, hl_error *err)
{
    struct whp_slot *slot = whp_slot_find(vm, number, err);
    if (!slot || (slot->dirty && words >= whp_slot_words(slot)))
        return slot;
    (void)hl__error_set(err, HL_SYSTEM, NULL, "memory slot %u has no record of %zu words", number,
                        words);
    return NULL;
}

/* Adds what Hyper-V recorded, which reading clears, to what the slot remembers. */
static hl_status whp_slot_collect(const struct whp_vm *vm, const struct whp_slot *slot,
                                  hl_error *err)
{
    size_t words = whp_slot_words(slot);
    uint64_t *news = slot->dirty + words;
    (*vm->counter)++;
    HRESULT result = whp->WHvQueryGpaRangeDirtyBitmap(vm->partition, slot->address, slot->size,
                                                      news, (UINT32)(words * sizeof *news));
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvQueryGpaRangeDirtyBitmap",
                             "cannot read which pages of a VM are dirty");
    for (size_t word = 0; word < words; word++)
        slot->dirty[word] |= news[word];
    return HL_OK;
}

static hl_status whp_dirty_collect(void *state, uint32_t number, uint64_t *bitmap, size_t words,
                                   hl_error *err)
{
    struct whp_vm *vm = state;
    const struct whp_slot *slot = whp_slot_find_tracked(vm, number, words, err);
    if (!slot)
        return HL_SYSTEM;
    hl_status status = whp_slot_collect(vm, slot, err);
    if (status != HL_OK)
        return status;
    memset(bitmap, 0, words * sizeof *bitmap);
    memcpy(bitmap, slot->dirty, whp_slot_words(slot) * sizeof *bitmap);
    return HL_OK;
}

static hl_status whp_dirty_rearm(void *state, uint32_t number, const uint64_t *bitmap, size_t words,
                                 hl_error *err)
{
    struct whp_vm *vm = state;
    struct whp_slot *slot = whp_slot_find_tracked(vm, number, words, err);
    if (!slot)
        return HL_SYSTEM;
    hl_status status = whp_slot_collect(vm, slot, err);
    for (size_t word = 0; status == HL_OK && word < whp_slot_words(slot); word++)
        slot->dirty[word] &= ~bitmap[word];
    return status;
}

/* Mapping a slot anew drops the translations that went through it; what it recorded is kept. */
static hl_status whp_flush(void *state, hl_error *err)
{
    struct whp_vm *vm = state;
    uint32_t number = 0;
    while (number < vm->slot_count && !vm->slots[number].size)
        number++;
    if (number == vm->slot_count)
        return HL_OK;
    const struct whp_slot *slot = &vm->slots[number];
    hl_status status = slot->dirty ? whp_slot_collect(vm, slot, err) : HL_OK;
    return status == HL_OK ? whp_slot_remap(vm, slot, err) : status;
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
};
