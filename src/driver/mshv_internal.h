/* What the files of the MSHV driver share: the state behind the table, and what is known of
 * /dev/mshv. */
#ifndef HL_DRIVER_MSHV_INTERNAL_H
#define HL_DRIVER_MSHV_INTERNAL_H

#include "driver/mshv_abi.h"

#include <signal.h>

#define HL__MSHV_VCPUS_MAX 256u

/* Facts about /dev/mshv. */
struct mshv_host {
    int fd; /* -1: not open */
};
extern struct mshv_host hl__mshv_host;

struct mshv_vm {
    int fd; /* of the partition */
    uint64_t *counter;
    struct hl__hyperv_memory memory;
    bool tracking; /* Hyper-V records accesses to all of the partition's memory */
};

struct mshv_vcpu {
    int fd; /* of the virtual processor */
    uint32_t index;
    uint64_t *counter;
    volatile struct mshv_register_page *page; /* shared with Hyper-V */

    /* Registers that wait for the next entry. */
    uint32_t waiting; /* HL__STATE_* */
    struct hl__cpu_state state;

    struct hl__hyperv_unfinished unfinished;
    uint64_t exit_rip, exit_rax; /* registers that `unfinished` changes */
    /* A kick that no run has answered yet. Set on the vCPU's own thread by a signal handler. */
    volatile sig_atomic_t kicked;
};

/* An ioctl that is counted (`counter` may be NULL) and repeated when a signal interrupts it, or when
 * the kernel has just given Hyper-V the memory that it lacked. */
int hl__mshv_ioctl(int fd, uint64_t *counter, unsigned long request, void *argument);

/* Moves any number of registers of a vCPU. */
hl_status hl__mshv_registers_set(struct mshv_vcpu *vcpu, const uint32_t *names,
                                 const union hl__hyperv_value *values, uint32_t count,
                                 hl_error *err);
hl_status hl__mshv_registers_get(struct mshv_vcpu *vcpu, const uint32_t *names,
                                 union hl__hyperv_value *values, uint32_t count, hl_error *err);

/* Whether the shared page has the registers of the vCPU. */
bool hl__mshv_page_is_valid(const struct mshv_vcpu *vcpu);

/* Sets a property of a partition; 0 or an errno. */
int hl__mshv_property_set(struct mshv_vm *vm, uint32_t code, uint64_t value);

/* Opens /dev/mshv, unless it is open. Errors: HL_NO_HYPERVISOR, HL_HYPERVISOR_DENIED, HL_SYSTEM; the
 * message says how to get what is missing. Calls nest. */
hl_status hl__mshv_open(hl_error *err);
void hl__mshv_close(void);

hl_status hl__mshv_probe(hl_driver_info *info, struct hl__machine *machine, hl_error *err);

hl_status hl__mshv_vcpu_create(void *vm, void *vcpu, uint32_t index,
                               const struct hl__vcpu_setup *setup, hl_error *err);
void hl__mshv_vcpu_destroy(void *vcpu);
void hl__mshv_state_set(void *vcpu, uint32_t groups, const struct hl__cpu_state *state);
hl_status hl__mshv_state_get(void *vcpu, uint32_t groups, struct hl__cpu_state *state,
                             hl_error *err);
hl_status hl__mshv_retire(void *vcpu, hl_error *err);
hl_status hl__mshv_run(void *vcpu, struct hl__exit *exit, hl_error *err);
void hl__mshv_kick(void *vcpu);

extern const hl__driver hl__mshv_driver;

#endif
