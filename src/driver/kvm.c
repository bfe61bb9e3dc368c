/* VMs of KVM and their memory: slots, dirty pages, and the flush. The driver's table is at the
 * end. */
#include "driver/kvm_internal.h"

#include "util/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PAGE_SIZE 4096u
#define WORD_BITS 64u

/* Memory */

static int kvm_slot_apply(const struct kvm_vm *vm, uint32_t number, const struct kvm_slot *slot)
{
    struct kvm_userspace_memory_region region = {
        .slot = number,
        .flags = slot->flags,
        .guest_phys_addr = slot->address,
        .memory_size = slot->size,
        .userspace_addr = slot->host,
    };
    return hl__kvm_ioctl(vm->fd, vm->counter, KVM_SET_USER_MEMORY_REGION, &region);
}

/* Makes room to remember slot `number`. */
static hl_status kvm_slots_reserve(struct kvm_vm *vm, uint32_t number, hl_error *err)
{
    if (number < vm->slot_count)
        return HL_OK;
    if (number >= hl__kvm_host.slots_max - 1) /* the last one is for flush */
        return hl__error_set(err, HL_SYSTEM, "KVM_SET_USER_MEMORY_REGION",
                             "a VM has at most %u memory slots", hl__kvm_host.slots_max - 1);
    uint32_t count = number < 4 ? 8 : 2 * number;
    struct kvm_slot *slots = realloc(vm->slots, count * sizeof *slots);
    if (!slots)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "realloc", "no memory for %u slots", count);
    memset(slots + vm->slot_count, 0, (count - vm->slot_count) * sizeof *slots);
    vm->slots = slots;
    vm->slot_count = count;
    return HL_OK;
}

static hl_status kvm_memory_add(void *state, uint32_t number, hl__gpa address, void *host,
                                size_t size, uint32_t flags, hl_error *err)
{
    struct kvm_vm *vm = state;
    hl_status status = kvm_slots_reserve(vm, number, err);
    if (status != HL_OK)
        return status;
    struct kvm_slot slot = {
        .address = address.value,
        .host = (uintptr_t)host,
        .size = size,
        .flags = (flags & HL__MEMORY_READ_ONLY ? KVM_MEM_READONLY : 0) |
                 (flags & HL__MEMORY_TRACKED ? KVM_MEM_LOG_DIRTY_PAGES : 0),
    };
    if (kvm_slot_apply(vm, number, &slot) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_SET_USER_MEMORY_REGION",
                            "cannot give %zu bytes of memory to a VM", size);
    vm->slots[number] = slot;
    return HL_OK;
}

/* The slot, or NULL and an error if it was never added. */
static struct kvm_slot *kvm_slot_find(const struct kvm_vm *vm, uint32_t number, hl_error *err)
{
    if (number < vm->slot_count && vm->slots[number].size)
        return &vm->slots[number];
    (void)hl__error_set(err, HL_SYSTEM, NULL, "a VM has no memory slot %u", number);
    return NULL;
}

static hl_status kvm_memory_track(void *state, uint32_t number, hl_error *err)
{
    struct kvm_vm *vm = state;
    struct kvm_slot *slot = kvm_slot_find(vm, number, err);
    if (!slot)
        return HL_SYSTEM;
    struct kvm_slot tracked = *slot;
    tracked.flags |= KVM_MEM_LOG_DIRTY_PAGES;
    if (kvm_slot_apply(vm, number, &tracked) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_SET_USER_MEMORY_REGION",
                            "cannot start the dirty log of a VM");
    *slot = tracked;
    return HL_OK;
}

/* Dirty pages */

static size_t kvm_slot_words(const struct kvm_slot *slot)
{
    return (slot->size / PAGE_SIZE + WORD_BITS - 1) / WORD_BITS;
}

/* The slot if it is tracked and `words` covers it. */
static const struct kvm_slot *kvm_slot_find_tracked(const struct kvm_vm *vm, uint32_t number,
                                                    size_t words, hl_error *err)
{
    const struct kvm_slot *slot = kvm_slot_find(vm, number, err);
    if (!slot || (slot->flags & KVM_MEM_LOG_DIRTY_PAGES && words >= kvm_slot_words(slot)))
        return slot;
    (void)hl__error_set(err, HL_SYSTEM, NULL, "memory slot %u has no dirty log of %zu words",
                        number, words);
    return NULL;
}

static hl_status kvm_dirty_collect(void *state, uint32_t number, uint64_t *bitmap, size_t words,
                                   hl_error *err)
{
    struct kvm_vm *vm = state;
    const struct kvm_slot *slot = kvm_slot_find_tracked(vm, number, words, err);
    if (!slot)
        return HL_SYSTEM;
    struct kvm_dirty_log log = {.slot = number, .dirty_bitmap = bitmap};
    if (hl__kvm_ioctl(vm->fd, vm->counter, KVM_GET_DIRTY_LOG, &log) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_GET_DIRTY_LOG",
                            "cannot read the dirty log of a VM");
    size_t covered = kvm_slot_words(slot);
    memset(bitmap + covered, 0, (words - covered) * sizeof *bitmap);
    return HL_OK;
}

static hl_status kvm_dirty_rearm(void *state, uint32_t number, const uint64_t *bitmap, size_t words,
                                 hl_error *err)
{
    struct kvm_vm *vm = state;
    const struct kvm_slot *slot = kvm_slot_find_tracked(vm, number, words, err);
    if (!slot)
        return HL_SYSTEM;
    size_t first = 0, end = kvm_slot_words(slot);
    while (end > first && !bitmap[end - 1])
        end--;
    while (first < end && !bitmap[first])
        first++;
    if (first == end)
        return HL_OK;

    /* KVM takes whole words only, except at the slot's end. */
    uint64_t first_page = first * WORD_BITS, end_page = end * WORD_BITS;
    if (end_page > slot->size / PAGE_SIZE)
        end_page = slot->size / PAGE_SIZE;
    struct kvm_clear_dirty_log log = {
        .slot = number,
        .num_pages = (uint32_t)(end_page - first_page),
        .first_page = first_page,
        .dirty_bitmap = (void *)(uintptr_t)(bitmap + first),
    };
    if (hl__kvm_ioctl(vm->fd, vm->counter, KVM_CLEAR_DIRTY_LOG, &log) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_CLEAR_DIRTY_LOG",
                            "cannot re-arm the dirty log of a VM");
    return HL_OK;
}

/* Flush */

/* Deleting any slot drops everything that KVM derived from guest page tables. */
static hl_status kvm_flush(void *state, hl_error *err)
{
    static const uint8_t spare[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
    struct kvm_vm *vm = state;
    struct kvm_slot slot = {
        .address = HL__GPA_SPARE,
        .host = (uintptr_t)spare,
        .size = sizeof spare,
        .flags = KVM_MEM_READONLY,
    };
    uint32_t number = hl__kvm_host.slots_max - 1;
    int failed = kvm_slot_apply(vm, number, &slot);
    slot.size = 0;
    if (failed < 0 || kvm_slot_apply(vm, number, &slot) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_SET_USER_MEMORY_REGION",
                            "cannot flush the translations of a VM");
    return HL_OK;
}

/* VMs */

static int kvm_enable(const struct kvm_vm *vm, uint32_t capability, uint64_t argument)
{
    struct kvm_enable_cap request = {.cap = capability, .args = {argument}};
    return hl__kvm_ioctl(vm->fd, vm->counter, KVM_ENABLE_CAP, &request);
}

static hl_status kvm_vm_prepare(const struct kvm_vm *vm, hl_error *err)
{
    /* Reading the dirty log then leaves its pages writable; they are re-armed one by one. */
    if (kvm_enable(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_ENABLE_CAP",
                            "cannot set up the dirty log of a VM");
    if (hl__kvm_host.triple_fault_event && kvm_enable(vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_ENABLE_CAP",
                            "cannot set up the events of a VM");
    return HL_OK;
}

static void kvm_vm_destroy(void *state)
{
    struct kvm_vm *vm = state;
    close(vm->fd);
    (*vm->counter)++;
    free(vm->slots);
    *vm = (struct kvm_vm){.fd = -1};
}

static hl_status kvm_vm_create(void *state, uint32_t vcpu_count, uint64_t *counter, hl_error *err)
{
    struct kvm_vm *vm = state;
    (void)vcpu_count;
    *vm = (struct kvm_vm){.counter = counter};
    vm->fd = hl__kvm_ioctl(hl__kvm_host.fd, counter, KVM_CREATE_VM, NULL);
    if (vm->fd < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "KVM_CREATE_VM", "cannot create a VM");
    hl_status status = kvm_vm_prepare(vm, err);
    if (status != HL_OK)
        kvm_vm_destroy(vm);
    return status;
}

const hl__driver hl__kvm_driver = {
    .name = "kvm",
    .vm_size = sizeof(struct kvm_vm),
    .vcpu_size = sizeof(struct kvm_vcpu),
    .probe = hl__kvm_probe,
    .open = hl__kvm_open,
    .close = hl__kvm_close,
    .vm_create = kvm_vm_create,
    .vm_destroy = kvm_vm_destroy,
    .memory_add = kvm_memory_add,
    .memory_track = kvm_memory_track,
    .dirty_collect = kvm_dirty_collect,
    .dirty_rearm = kvm_dirty_rearm,
    .flush = kvm_flush,
    .vcpu_create = hl__kvm_vcpu_create,
    .vcpu_destroy = hl__kvm_vcpu_destroy,
    .state_set = hl__kvm_state_set,
    .state_get = hl__kvm_state_get,
    .retire = hl__kvm_retire,
    .run = hl__kvm_run,
    .kick = hl__kvm_kick,
};
