/* Guest memory is the host memory that the core hands over; the dirty log is a bitmap per slot. */
#include "doubles/fake_driver.h"

#include "util/error.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_SIZE 4096u
#define WORD_BITS 64u
#define SLOTS_MAX 64u

struct fake_slot {
    uint64_t address;
    size_t size; /* 0: not added */
    uint8_t *host;
    uint32_t flags;
    uint64_t *dirty; /* if tracked: pages written since they were last re-armed */
};

struct fake_vm {
    struct fake_slot slots[SLOTS_MAX];
    uint64_t *counter;
};

static fake_script fake_playing;
static void *fake_user;
static atomic_uint_fast64_t fake_vms, fake_vcpus;

void fake_driver_play(fake_script script, void *user)
{
    fake_playing = script;
    fake_user = user;
}

void fake_driver_describe(bool stays, hl_driver_info *info, struct hl__machine *machine)
{
    *info = (hl_driver_info){
        .size = sizeof *info,
        .name = fake_driver.name,
        .virtualization = stays ? HL_VIRTUALIZATION_PAGE_TABLE : HL_VIRTUALIZATION_HARDWARE,
        .syscall_stays_in_user_mode = stays,
        .api_version = 1,
        .capabilities = HL_CAPABILITY_DIRTY_LOG | HL_CAPABILITY_DIRTY_REARM |
                        HL_CAPABILITY_SYNC_REGISTERS | HL_CAPABILITY_READONLY_MEMORY |
                        HL_CAPABILITY_IMMEDIATE_EXIT | HL_CAPABILITY_SMAP | HL_CAPABILITY_UMIP,
        .tsc_khz = 1000000,
        .vcpus_max = 64,
        .memory_slots_max = SLOTS_MAX,
        .detail = "a script plays the guest; nothing runs",
    };
    *machine = (struct hl__machine){
        .syscall_stays = stays,
        .cr4_wanted = 0x350e20, /* PAE, OSFXSR, OSXMMEXCPT, UMIP, FSGSBASE, OSXSAVE, SMEP, SMAP */
        .tsc_khz = 1000000,
        .flush_required = stays,
    };
}

static hl_status fake_probe(hl_driver_info *info, struct hl__machine *machine, hl_error *err)
{
    (void)err;
    fake_driver_describe(true, info, machine);
    return HL_OK;
}

/* VMs */

static hl_status fake_vm_create(void *state, uint32_t vcpu_count, uint64_t *counter, hl_error *err)
{
    struct fake_vm *vm = state;
    (void)vcpu_count, (void)err;
    *vm = (struct fake_vm){.counter = counter};
    ++*counter;
    atomic_fetch_add(&fake_vms, 1);
    return HL_OK;
}

static void fake_vm_destroy(void *state)
{
    struct fake_vm *vm = state;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        free(vm->slots[i].dirty);
    memset(vm, 0, sizeof *vm);
    atomic_fetch_sub(&fake_vms, 1);
}

/* Memory */

static hl_status fake_refuse(hl_error *err, const char *what)
{
    return hl__error_set(err, HL_SYSTEM, "fake driver", "%s", what);
}

static bool fake_overlaps(const struct fake_vm *vm, uint64_t address, size_t size)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        const struct fake_slot *slot = &vm->slots[i];
        if (slot->size && address < slot->address + slot->size && slot->address < address + size)
            return true;
    }
    return false;
}

static size_t fake_words(const struct fake_slot *slot)
{
    return (slot->size / PAGE_SIZE + WORD_BITS - 1) / WORD_BITS;
}

static hl_status fake_memory_track(void *state, uint32_t number, hl_error *err)
{
    struct fake_vm *vm = state;
    struct fake_slot *slot = number < SLOTS_MAX ? &vm->slots[number] : NULL;
    ++*vm->counter;
    if (!slot || !slot->size || slot->dirty)
        return fake_refuse(err, "tracking no slot, or one that is tracked");
    slot->dirty = calloc(fake_words(slot), sizeof *slot->dirty);
    return slot->dirty ? HL_OK : hl__error_set(err, HL_OUT_OF_MEMORY, "calloc", "dirty log");
}

static hl_status fake_memory_add(void *state, uint32_t number, hl__gpa address, void *host,
                                 size_t size, uint32_t flags, hl_error *err)
{
    struct fake_vm *vm = state;
    ++*vm->counter;
    if (number >= SLOTS_MAX || vm->slots[number].size || fake_overlaps(vm, address.value, size))
        return fake_refuse(err, "slots are numbered below 64, never overlap, are added once");
    if (!size || (address.value | size | (uintptr_t)host) % PAGE_SIZE)
        return fake_refuse(err, "memory must be page-aligned and not empty");
    vm->slots[number] =
        (struct fake_slot){.address = address.value, .size = size, .host = host, .flags = flags};
    hl_status status = flags & HL__MEMORY_TRACKED ? fake_memory_track(vm, number, err) : HL_OK;
    if (status != HL_OK)
        vm->slots[number].size = 0;
    return status;
}

static struct fake_slot *fake_slot_of(const struct fake_vm *vm, uint64_t address, size_t size)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        const struct fake_slot *slot = &vm->slots[i];
        if (address >= slot->address && address - slot->address < slot->size &&
            size <= slot->size - (address - slot->address))
            return (struct fake_slot *)slot;
    }
    return NULL;
}

const void *fake_memory(const struct fake_vm *vm, uint64_t address, size_t size)
{
    const struct fake_slot *slot = fake_slot_of(vm, address, size);
    return slot ? slot->host + (address - slot->address) : NULL;
}

bool fake_write(struct fake_vm *vm, uint64_t address, const void *data, size_t size)
{
    struct fake_slot *slot = fake_slot_of(vm, address, size);
    if (!slot || slot->flags & HL__MEMORY_READ_ONLY)
        return false;
    if (!size)
        return true;
    uint64_t offset = address - slot->address;
    memcpy(slot->host + offset, data, size);
    for (uint64_t page = offset / PAGE_SIZE; page <= (offset + size - 1) / PAGE_SIZE; page++)
        if (slot->dirty)
            slot->dirty[page / WORD_BITS] |= 1ull << page % WORD_BITS;
    return true;
}

bool fake_translate(const struct fake_vcpu *vcpu, uint64_t address, uint64_t *physical,
                    uint64_t *rights)
{
    const uint64_t present = 1, large = 0x80, frame = 0x000ffffffffff000;
    uint64_t table = vcpu->state.system.cr3 & frame, all = ~0ull;
    for (unsigned shift = 39;; shift -= 9) {
        const uint64_t *entry =
            fake_memory(vcpu->vm, table + (address >> shift & 511) * 8, sizeof *entry);
        if (!entry || !(*entry & present))
            return false;
        all &= *entry;
        if (shift == 12 || *entry & large) {
            uint64_t offset = address & ((1ull << shift) - 1);
            *physical = (*entry & frame & ~((1ull << shift) - 1)) + offset;
            break;
        }
        table = *entry & frame;
    }
    if (rights)
        *rights = all;
    return true;
}

/* Dirty log */

static hl_status fake_tracked(struct fake_vm *vm, uint32_t number, size_t words,
                              struct fake_slot **slot, hl_error *err)
{
    *slot = number < SLOTS_MAX ? &vm->slots[number] : NULL;
    ++*vm->counter;
    if (!*slot || !(*slot)->dirty || words < fake_words(*slot))
        return fake_refuse(err, "no dirty log of that slot, or a bitmap that is too short");
    return HL_OK;
}

static hl_status fake_dirty_collect(void *state, uint32_t number, uint64_t *bitmap, size_t words,
                                    hl_error *err)
{
    struct fake_slot *slot;
    hl_status status = fake_tracked(state, number, words, &slot, err);
    if (status != HL_OK)
        return status;
    memset(bitmap, 0, words * sizeof *bitmap);
    memcpy(bitmap, slot->dirty, fake_words(slot) * sizeof *bitmap);
    return HL_OK;
}

static hl_status fake_dirty_rearm(void *state, uint32_t number, const uint64_t *bitmap,
                                  size_t words, hl_error *err)
{
    struct fake_slot *slot;
    hl_status status = fake_tracked(state, number, words, &slot, err);
    if (status != HL_OK)
        return status;
    for (size_t word = 0; word < fake_words(slot); word++)
        slot->dirty[word] &= ~bitmap[word];
    return HL_OK;
}

static hl_status fake_flush(void *state, hl_error *err)
{
    struct fake_vm *vm = state;
    (void)err;
    ++*vm->counter;
    return HL_OK;
}

/* vCPUs */

static hl_status fake_vcpu_create(void *vm, void *state, uint32_t index,
                                  const struct hl__vcpu_setup *setup, hl_error *err)
{
    struct fake_vcpu *vcpu = state;
    (void)err;
    memset(vcpu, 0, sizeof *vcpu);
    vcpu->vm = vm;
    vcpu->index = index;
    vcpu->setup = *setup;
    vcpu->state.vector = vcpu->vector;
    ++*vcpu->vm->counter;
    atomic_fetch_add(&fake_vcpus, 1);
    return HL_OK;
}

static void fake_vcpu_destroy(void *state)
{
    struct fake_vcpu *vcpu = state;
    vcpu->vm = NULL;
    atomic_fetch_sub(&fake_vcpus, 1);
}

static void fake_state_set(void *state, uint32_t groups, const struct hl__cpu_state *from)
{
    struct fake_vcpu *vcpu = state;
    if (groups & HL__STATE_GENERAL)
        vcpu->state.general = from->general;
    if (groups & HL__STATE_SYSTEM)
        vcpu->state.system = from->system;
    if (groups & HL__STATE_EVENTS)
        vcpu->state.event_pending = false;
}

static hl_status fake_state_get(void *state, uint32_t groups, struct hl__cpu_state *to,
                                hl_error *err)
{
    struct fake_vcpu *vcpu = state;
    (void)err;
    if (groups & HL__STATE_GENERAL)
        to->general = vcpu->state.general;
    if (groups & HL__STATE_SYSTEM)
        to->system = vcpu->state.system;
    if (groups & HL__STATE_EVENTS)
        to->event_pending = vcpu->state.event_pending;
    if (groups & HL__STATE_VECTOR)
        memcpy(to->vector, vcpu->vector, sizeof vcpu->vector);
    ++*vcpu->vm->counter;
    return HL_OK;
}

static hl_status fake_retire(void *state, hl_error *err)
{
    (void)state, (void)err;
    return HL_OK;
}

static hl_status fake_run(void *state, struct hl__exit *exit, hl_error *err)
{
    struct fake_vcpu *vcpu = state;
    (void)err;
    if (vcpu->kicked) {
        vcpu->kicked = false;
        *exit = (struct hl__exit){.kind = HL__EXIT_INTERRUPTED};
        return HL_OK;
    }
    vcpu->entries++;
    *exit =
        fake_playing ? fake_playing(fake_user, vcpu) : (struct hl__exit){.kind = HL__EXIT_SHUTDOWN};
    if (exit->kind == HL__EXIT_INTERRUPTED)
        vcpu->kicked = false;
    return HL_OK;
}

static void fake_kick(void *state)
{
    struct fake_vcpu *vcpu = state;
    vcpu->kicked = true;
}

const hl__driver fake_driver = {
    .name = "fake",
    .vm_size = sizeof(struct fake_vm),
    .vcpu_size = sizeof(struct fake_vcpu),
    .probe = fake_probe,
    .vm_create = fake_vm_create,
    .vm_destroy = fake_vm_destroy,
    .memory_add = fake_memory_add,
    .memory_track = fake_memory_track,
    .dirty_collect = fake_dirty_collect,
    .dirty_rearm = fake_dirty_rearm,
    .flush = fake_flush,
    .vcpu_create = fake_vcpu_create,
    .vcpu_destroy = fake_vcpu_destroy,
    .state_set = fake_state_set,
    .state_get = fake_state_get,
    .retire = fake_retire,
    .run = fake_run,
    .kick = fake_kick,
};

uint64_t fake_driver_vms(void)
{
    return atomic_load(&fake_vms);
}

uint64_t fake_driver_vcpus(void)
{
    return atomic_load(&fake_vcpus);
}
