/* Memory slots of Hyper-V's drivers, and their dirtied pages. */
#include "driver/hyperv.h"

#include "util/error.h"

#include <stdlib.h>
#include <string.h>

#define WORD_BITS 64u

/* Slots */

static hl_status slots_check_overlap(const struct hl__hyperv_memory *memory, uint64_t address,
                                     uint64_t size, hl_error *err)
{
    for (uint32_t number = 0; number < memory->count; number++) {
        const struct hl__hyperv_slot *slot = &memory->slots[number];
        if (slot->size && address < slot->address + slot->size && slot->address < address + size)
            return hl__error_set(err, HL_SYSTEM, NULL, "memory at 0x%llx overlaps slot %u",
                                 (unsigned long long)address, number);
    }
    return HL_OK;
}

hl_status hl__hyperv_slots_reserve(struct hl__hyperv_memory *memory, uint32_t number,
                                   uint64_t address, uint64_t size, hl_error *err)
{
    hl_status status = slots_check_overlap(memory, address, size, err);
    if (status != HL_OK || number < memory->count)
        return status;
    if (number >= HL__HYPERV_SLOTS_MAX)
        return hl__error_set(err, HL_SYSTEM, NULL, "a VM has at most %u memory slots",
                             HL__HYPERV_SLOTS_MAX);
    uint32_t count = number < 4 ? 8 : 2 * number;
    struct hl__hyperv_slot *slots = realloc(memory->slots, count * sizeof *slots);
    if (!slots)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "realloc", "no memory for %u slots", count);
    memset(slots + memory->count, 0, (count - memory->count) * sizeof *slots);
    memory->slots = slots;
    memory->count = count;
    return HL_OK;
}

struct hl__hyperv_slot *hl__hyperv_slot_find(const struct hl__hyperv_memory *memory,
                                             uint32_t number, hl_error *err)
{
    if (number < memory->count && memory->slots[number].size)
        return &memory->slots[number];
    (void)hl__error_set(err, HL_SYSTEM, NULL, "a VM has no memory slot %u", number);
    return NULL;
}

/* Dirty pages */

static size_t slot_words(const struct hl__hyperv_slot *slot)
{
    return (slot->size / HL__HYPERV_PAGE_SIZE + WORD_BITS - 1) / WORD_BITS;
}

hl_status hl__hyperv_slot_remember(struct hl__hyperv_slot *slot, hl_error *err)
{
    slot->dirty = calloc(2 * slot_words(slot), sizeof *slot->dirty);
    return slot->dirty
               ? HL_OK
               : hl__error_set(err, HL_OUT_OF_MEMORY, "calloc", "no memory for a bitmap of pages");
}

/* Has Hyper-V write what is new behind what the slot remembers. */
static hl_status slot_read_news(const void *vm, const struct hl__hyperv_memory *memory,
                                const struct hl__hyperv_slot *slot, hl_error *err)
{
    size_t words = slot_words(slot);
    memset(slot->dirty + words, 0, words * sizeof *slot->dirty);
    return memory->read_dirty(vm, slot, slot->dirty + words, words, err);
}

hl_status hl__hyperv_slot_forget(const void *vm, const struct hl__hyperv_memory *memory,
                                 const struct hl__hyperv_slot *slot, hl_error *err)
{
    return slot->dirty ? slot_read_news(vm, memory, slot, err) : HL_OK;
}

/* Adds what is new to what the slot remembers. */
static hl_status slot_collect(const void *vm, const struct hl__hyperv_memory *memory,
                              const struct hl__hyperv_slot *slot, hl_error *err)
{
    size_t words = slot_words(slot);
    hl_status status = slot_read_news(vm, memory, slot, err);
    for (size_t word = 0; status == HL_OK && word < words; word++)
        slot->dirty[word] |= slot->dirty[words + word];
    return status;
}

/* The slot if it is tracked and `words` covers it. */
static const struct hl__hyperv_slot *slot_find_tracked(const struct hl__hyperv_memory *memory,
                                                       uint32_t number, size_t words, hl_error *err)
{
    const struct hl__hyperv_slot *slot = hl__hyperv_slot_find(memory, number, err);
    if (!slot || (slot->dirty && words >= slot_words(slot)))
        return slot;
    (void)hl__error_set(err, HL_SYSTEM, NULL, "memory slot %u has no record of %zu words", number,
                        words);
    return NULL;
}

hl_status hl__hyperv_dirty_collect(const void *vm, const struct hl__hyperv_memory *memory,
                                   uint32_t number, uint64_t *bitmap, size_t words, hl_error *err)
{
    const struct hl__hyperv_slot *slot = slot_find_tracked(memory, number, words, err);
    if (!slot)
        return HL_SYSTEM;
    hl_status status = slot_collect(vm, memory, slot, err);
    if (status != HL_OK)
        return status;
    memset(bitmap, 0, words * sizeof *bitmap);
    memcpy(bitmap, slot->dirty, slot_words(slot) * sizeof *bitmap);
    return HL_OK;
}

hl_status hl__hyperv_dirty_rearm(const void *vm, const struct hl__hyperv_memory *memory,
                                 uint32_t number, const uint64_t *bitmap, size_t words,
                                 hl_error *err)
{
    const struct hl__hyperv_slot *slot = slot_find_tracked(memory, number, words, err);
    if (!slot)
        return HL_SYSTEM;
    hl_status status = slot_collect(vm, memory, slot, err);
    for (size_t word = 0; status == HL_OK && word < slot_words(slot); word++)
        slot->dirty[word] &= ~bitmap[word];
    return status;
}

/* Flush */

static hl_status slot_remap(const void *vm, const struct hl__hyperv_memory *memory,
                            const struct hl__hyperv_slot *slot, hl_error *err)
{
    hl_status status = slot->dirty ? slot_collect(vm, memory, slot, err) : HL_OK;
    if (status == HL_OK)
        status = memory->unmap(vm, slot, err);
    if (status == HL_OK)
        status = memory->map(vm, slot, err);
    return status == HL_OK ? hl__hyperv_slot_forget(vm, memory, slot, err) : status;
}

hl_status hl__hyperv_flush(const void *vm, const struct hl__hyperv_memory *memory, hl_error *err)
{
    for (uint32_t number = 0; number < memory->count; number++)
        if (memory->slots[number].size)
            return slot_remap(vm, memory, &memory->slots[number], err);
    return HL_OK;
}
