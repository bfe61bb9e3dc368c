/* VMs of the engine and their memory. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

enum { CPUID_ENTRIES_MAX = 256, SLOTS_MAX = 32000, APIC_PINS = 24 };

int engine_kvm(void)
{
    static atomic_int file;
    int known = atomic_load(&file);
    if (known > 0)
        return known;
    int opened = system_open("/dev/kvm");
    if (opened < 0)
        return opened;
    int expected = 0;
    if (atomic_compare_exchange_strong(&file, &expected, opened))
        return opened;
    system_close(opened);
    return expected;
}

bool engine_present(void)
{
    return engine_kvm() >= 0;
}

/* The processor as KVM offers it. */
static struct kvm_cpuid2 *cpuid_new(void)
{
    struct kvm_cpuid2 *cpuid =
        calloc(1, sizeof *cpuid + CPUID_ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2));
    if (!cpuid)
        return NULL;
    cpuid->nent = CPUID_ENTRIES_MAX;
    if (system_ioctl(engine_kvm(), KVM_GET_SUPPORTED_CPUID, cpuid) == 0)
        return cpuid;
    free(cpuid);
    return NULL;
}

uint64_t engine_xsave_features(void)
{
    enum { XSAVE_LEAF = 0xd };
    static _Atomic uint64_t known;
    uint64_t features = atomic_load(&known);
    if (features)
        return features;
    struct kvm_cpuid2 *cpuid = cpuid_new();
    features = 3;
    for (uint32_t i = 0; cpuid && i < cpuid->nent; i++)
        if (cpuid->entries[i].function == XSAVE_LEAF && cpuid->entries[i].index == 0)
            features = cpuid->entries[i].eax | (uint64_t)cpuid->entries[i].edx << 32;
    free(cpuid);
    atomic_store(&known, features);
    return features;
}

static bool vm_make_apic(const struct engine_vm *vm)
{
    struct kvm_enable_cap capability = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {APIC_PINS}};
    return !vm->has_apic || system_ioctl(vm->file, KVM_ENABLE_CAP, &capability) == 0;
}

struct engine_vm *engine_vm_new(bool has_apic)
{
    struct engine_vm *vm = calloc(1, sizeof *vm);
    if (!vm || !engine_present()) {
        free(vm);
        return NULL;
    }
    vm->has_apic = has_apic;
    vm->cpuid = cpuid_new();
    do
        vm->file = (int)system_ioctl(engine_kvm(), KVM_CREATE_VM, NULL);
    while (vm->file == -SYSTEM_EINTR);
    if (vm->cpuid && vm->file >= 0 && vm_make_apic(vm))
        return vm;
    engine_vm_free(vm);
    return NULL;
}

void engine_vm_free(struct engine_vm *vm)
{
    if (vm->file >= 0)
        system_close(vm->file);
    for (uint32_t i = 0; i < vm->slot_count; i++)
        free(vm->slots[i].dirty);
    free(vm->slots);
    free(vm->cpuid);
    free(vm);
}

/* Memory: with the lock taken */

static bool slot_apply(const struct engine_vm *vm, uint32_t number)
{
    const struct engine_slot *slot = &vm->slots[number];
    uint32_t flags = (slot->access & ENGINE_WRITE ? 0 : KVM_MEM_READONLY) |
                     (vm->tracks ? KVM_MEM_LOG_DIRTY_PAGES : 0);
    struct kvm_userspace_memory_region region = {
        .slot = number,
        .flags = slot->size ? flags : 0,
        .guest_phys_addr = slot->address,
        .memory_size = slot->size,
        .userspace_addr = (uintptr_t)slot->host,
    };
    return system_ioctl(vm->file, KVM_SET_USER_MEMORY_REGION, &region) == 0;
}

static bool slots_overlap(const struct engine_vm *vm, uint64_t address, uint64_t size)
{
    for (uint32_t i = 0; i < vm->slot_count; i++) {
        const struct engine_slot *slot = &vm->slots[i];
        if (slot->size && address < slot->address + slot->size && slot->address < address + size)
            return true;
    }
    return false;
}

/* The number of a free slot, or SLOTS_MAX. */
static uint32_t slot_reserve(struct engine_vm *vm)
{
    uint32_t number = 0;
    while (number < vm->slot_count && vm->slots[number].size)
        number++;
    if (number < vm->slot_count || number >= SLOTS_MAX)
        return number;
    uint32_t count = vm->slot_count ? 2 * vm->slot_count : 8;
    struct engine_slot *slots = realloc(vm->slots, count * sizeof *slots);
    if (!slots)
        return SLOTS_MAX;
    memset(slots + vm->slot_count, 0, (count - vm->slot_count) * sizeof *slots);
    vm->slots = slots;
    vm->slot_count = count;
    return number;
}

static enum engine_result slot_add(struct engine_vm *vm, const struct engine_slot *slot)
{
    if (slots_overlap(vm, slot->address, slot->size))
        return ENGINE_EXISTS;
    uint32_t number = slot_reserve(vm);
    if (number >= SLOTS_MAX)
        return ENGINE_NO_MEMORY;
    vm->slots[number] = *slot;
    if (slot_apply(vm, number))
        return ENGINE_OK;
    vm->slots[number].size = 0;
    return ENGINE_FAILED;
}

enum engine_result engine_map(struct engine_vm *vm, uint64_t address, uint64_t size, void *host,
                              unsigned access)
{
    struct engine_slot slot = {.address = address, .size = size, .host = host, .access = access};
    lock_take(&vm->lock);
    enum engine_result result = slot_add(vm, &slot);
    lock_release(&vm->lock);
    return result;
}

static enum engine_result slot_remove(struct engine_vm *vm, uint64_t address, uint64_t size)
{
    for (uint32_t i = 0; i < vm->slot_count; i++) {
        struct engine_slot *slot = &vm->slots[i];
        if (!slot->size || slot->address != address || slot->size != size)
            continue;
        slot->size = 0;
        free(slot->dirty);
        slot->dirty = NULL;
        return slot_apply(vm, i) ? ENGINE_OK : ENGINE_FAILED;
    }
    return ENGINE_MISSING;
}

enum engine_result engine_unmap(struct engine_vm *vm, uint64_t address, uint64_t size)
{
    lock_take(&vm->lock);
    enum engine_result result = slot_remove(vm, address, size);
    lock_release(&vm->lock);
    return result;
}

bool engine_find(struct engine_vm *vm, uint64_t address, struct engine_slot *slot)
{
    bool found = false;
    lock_take(&vm->lock);
    for (uint32_t i = 0; i < vm->slot_count && !found; i++) {
        found = address - vm->slots[i].address < vm->slots[i].size;
        if (found)
            *slot = vm->slots[i];
    }
    lock_release(&vm->lock);
    return found;
}

bool engine_has_host(struct engine_vm *vm, const uint8_t *host, uint64_t size)
{
    bool found = false;
    lock_take(&vm->lock);
    for (uint32_t i = 0; i < vm->slot_count && !found; i++)
        found = host < vm->slots[i].host + vm->slots[i].size && vm->slots[i].host < host + size;
    lock_release(&vm->lock);
    return found;
}

bool engine_read(struct engine_vm *vm, uint64_t address, void *to, size_t size)
{
    struct engine_slot slot;
    if (!engine_find(vm, address, &slot) || slot.address + slot.size - address < size)
        return false;
    memcpy(to, slot.host + (address - slot.address), size);
    return true;
}

/* Dirtied pages */

enum engine_result engine_track(struct engine_vm *vm, bool on)
{
    bool applied = true;
    lock_take(&vm->lock);
    vm->tracks = on;
    for (uint32_t i = 0; i < vm->slot_count && applied; i++)
        applied = !vm->slots[i].size || slot_apply(vm, i);
    lock_release(&vm->lock);
    return applied ? ENGINE_OK : ENGINE_FAILED;
}

static uint64_t slot_words(const struct engine_slot *slot)
{
    return (slot->size / PAGE_BYTES + 63) / 64;
}

/* Adds KVM's bitmap, which reading clears, to the one of the slot. */
static bool slot_collect(const struct engine_vm *vm, uint32_t number)
{
    struct engine_slot *slot = &vm->slots[number];
    uint64_t words = slot_words(slot), *news = calloc(words, sizeof *news);
    if (!slot->dirty)
        slot->dirty = calloc(words, sizeof *slot->dirty);
    struct kvm_dirty_log log = {.slot = number, .dirty_bitmap = news};
    bool read = news && slot->dirty && system_ioctl(vm->file, KVM_GET_DIRTY_LOG, &log) == 0;
    for (uint64_t word = 0; read && word < words; word++)
        slot->dirty[word] |= news[word];
    free(news);
    return read;
}

static void slot_answer(struct engine_slot *slot, uint64_t first_page, uint64_t pages,
                        enum engine_dirty operation, uint8_t *bitmap)
{
    uint64_t slot_first = slot->address / PAGE_BYTES;
    for (uint64_t page = 0; page < slot->size / PAGE_BYTES; page++) {
        uint64_t number = slot_first + page - first_page, bit = 1ull << page % 64;
        if (number >= pages)
            continue;
        if (slot->dirty[page / 64] & bit)
            bitmap[number / 8] |= (uint8_t)(1u << number % 8);
        if (operation == ENGINE_DIRTY_CLEAR)
            slot->dirty[page / 64] &= ~bit;
        else if (operation == ENGINE_DIRTY_SET)
            slot->dirty[page / 64] |= bit;
    }
}

enum engine_result engine_dirty(struct engine_vm *vm, uint64_t first_page, uint64_t pages,
                                enum engine_dirty operation, uint8_t *bitmap)
{
    enum engine_result result = ENGINE_OK;
    lock_take(&vm->lock);
    for (uint32_t i = 0; i < vm->slot_count && result == ENGINE_OK; i++) {
        struct engine_slot *slot = &vm->slots[i];
        uint64_t first = slot->address / PAGE_BYTES, count = slot->size / PAGE_BYTES;
        if (first_page >= first + count || first >= first_page + pages)
            continue;
        if (vm->tracks && slot_collect(vm, i))
            slot_answer(slot, first_page, pages, operation, bitmap);
        else
            result = ENGINE_FAILED;
    }
    lock_release(&vm->lock);
    return result;
}
