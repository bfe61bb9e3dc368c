/* The start-up test of the poke, and of its finer sister: a page is written, made read-only by the host, its table
 * poked or its entry written anew, and must fault. */
#include "vm/poke_test.h"
#include "driver/tiny_guest.h"
#include "vm/x86_64/layout.h"
#include <stdatomic.h>
#include <stdlib.h>

enum { PAGE_FAULT = 14, TRIES = 16 };

struct trial {
    const hl__driver *driver;
    const struct hl__machine *machine;
    struct hl__tiny_guest guest;
    void *vm, *vcpu;
};

/* Runs until the next doorbell; its value, or 0. */
static uint32_t run(const struct trial *trial, const struct hl__cpu_state *state)
{
    struct hl__exit exit = {.kind = HL__EXIT_INTERRUPTED};
    trial->driver->state_set(trial->vcpu, HL__STATE_GENERAL | HL__STATE_SYSTEM | HL__STATE_EVENTS,
                             state);
    for (int i = 0; i < TRIES && exit.kind == HL__EXIT_INTERRUPTED; i++)
        if (trial->driver->run(trial->vcpu, &exit, NULL))
            return 0;
    return exit.kind == HL__EXIT_DOORBELL ? exit.value : 0;
}

static uint32_t write_page(const struct trial *trial)
{
    struct hl__cpu_state state;
    hl__tiny_state_user(trial->machine, HL__TINY_WRITE, &state);
    state.general.rdi = HL__TINY_DATA;
    return run(trial, &state);
}

/* Whether the page can no longer be written after the host made it read-only and the stub saw to it. */
static bool takes_effect(const struct trial *trial, enum hl__tiny_stub stub)
{
    struct hl__cpu_state state;
    uint64_t *entry = hl__tiny_guest_entry(&trial->guest, 0, HL__TINY_DATA);
    *entry |= HL__PTE_WRITE;
    if (write_page(trial) != HL__TINY_DONE)
        return false;
    *entry &= ~HL__PTE_WRITE;
    hl__tiny_state_ring0(trial->machine, stub, &state);
    state.general.rdi = (uint64_t)((uint8_t *)entry - trial->guest.memory) + HL__TINY_BASE;
    state.general.rsi = state.general.rdi;
    state.general.rcx = 1;
    return run(trial, &state) == HL__TINY_DONE &&
           write_page(trial) == HL__TINY_EXCEPTION + PAGE_FAULT;
}

static bool with_vcpu(struct trial *trial)
{
    const struct hl__vcpu_setup setup = hl__tiny_vcpu_setup(trial->machine->syscall_stays);
    if (hl__tiny_guest_add(&trial->guest, trial->driver, trial->vm, 0, NULL) ||
        trial->driver->vcpu_create(trial->vm, trial->vcpu, 0, &setup, NULL))
        return false;
    bool works =
        takes_effect(trial, HL__TINY_STUB_POKE) && takes_effect(trial, HL__TINY_STUB_REWRITE);
    trial->driver->vcpu_destroy(trial->vcpu);
    return works;
}

static bool with_vm(struct trial *trial)
{
    uint64_t calls = 0;
    if (trial->driver->vm_create(trial->vm, 1, &calls, NULL))
        return false;
    bool works = with_vcpu(trial);
    trial->driver->vm_destroy(trial->vm);
    return works;
}

static bool try_it(const hl__driver *driver, const struct hl__machine *machine)
{
    struct trial trial = {.driver = driver, .machine = machine};
    if (hl__tiny_guest_new(&trial.guest, NULL))
        return false;
    trial.vm = calloc(1, driver->vm_size);
    trial.vcpu = calloc(1, driver->vcpu_size);
    bool works = trial.vm && trial.vcpu && with_vm(&trial);
    free(trial.vm);
    free(trial.vcpu);
    hl__tiny_guest_free(&trial.guest);
    return works;
}

bool hl__poke_works(const hl__driver *driver, const struct hl__machine *machine)
{
    /* a machine does not change while a process runs */
    static _Atomic(const hl__driver *) known_to_work;
    if (atomic_load(&known_to_work) == driver)
        return true;
    bool works = try_it(driver, machine);
    if (works)
        atomic_store(&known_to_work, driver);
    return works;
}
