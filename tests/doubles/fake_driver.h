/*
 * A driver without a hypervisor: a script, a function of the test, plays the guest. It sees
 * registers and guest memory, and returns the exits. The dirty log is emulated: it records what the
 * script writes.
 */
#ifndef HL_TESTS_FAKE_DRIVER_H
#define HL_TESTS_FAKE_DRIVER_H

#include "driver/driver.h"

struct fake_vm;

/* What a script sees of the vCPU that was entered. */
struct fake_vcpu {
    struct fake_vm *vm;
    uint32_t index;
    struct hl__vcpu_setup setup;
    struct hl__cpu_state state; /* to be changed at will; state.vector is `vector` below */
    uint8_t vector[HL__VECTOR_STATE_SIZE];
    uint64_t entries; /* runs so far, this one included */
    volatile bool kicked;
};

/* The guest's answer to an entry. */
typedef struct hl__exit (*fake_script)(void *user, struct fake_vcpu *vcpu);

/* The driver, named "fake". */
extern const hl__driver fake_driver;

/* Sets the script of all fake vCPUs. Without one, every run ends with HL__EXIT_SHUTDOWN. */
void fake_driver_play(fake_script script, void *user);

/* Facts as of a usable driver, for the registry's override. `stays`: the kind of machine, as
 * hl__machine::syscall_stays. */
void fake_driver_describe(bool stays, hl_driver_info *info, struct hl__machine *machine);

/* Guest memory that lies in one slot, or NULL. For reading; writes through it are not logged. */
const void *fake_memory(const struct fake_vm *vm, uint64_t address, size_t size);

/* Writes guest memory as the guest does: logged, and refused (false) without memory or if it is
 * read-only. */
bool fake_write(struct fake_vm *vm, uint64_t address, const void *data, size_t size);

/* Guest-physical address of a virtual one, by the page tables that CR3 names; false if it is not
 * mapped. `rights`: the AND of the entries on the way, may be NULL. */
bool fake_translate(const struct fake_vcpu *vcpu, uint64_t address, uint64_t *physical,
                    uint64_t *rights);

/* VMs and vCPUs alive. */
uint64_t fake_driver_vms(void);
uint64_t fake_driver_vcpus(void);

#endif
