/* What the files of the MSHV driver share: the state behind the table, and what is known of
 * /dev/mshv. */
#ifndef HL_DRIVER_MSHV_INTERNAL_H
#define HL_DRIVER_MSHV_INTERNAL_H

#include "driver/mshv_abi.h"

#include <signal.h>

#define HL__MSHV_VCPUS_MAX 256u

/* Facts about /dev/mshv, the same for every VM. Written by the probe, read-only afterwards. */
struct mshv_host {
    int fd;                /* -1: not open */
    uint64_t xcr0;         /* every vCPU's */
    bool shares_registers; /* in a page: general registers travel with entries */
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
    struct hl__hyperv_waiting waiting;
    /* A kick that no run has answered yet. Set on the vCPU's own thread by a signal handler. */
    volatile sig_atomic_t kicked;
};

/* An ioctl that is counted (`counter` may be NULL) and repeated when a signal interrupts it, or when
 * the kernel has just given Hyper-V the memory that it lacked. */
int hl__mshv_ioctl(int fd, uint64_t *counter, unsigned long request, void *argument);

/* Moves registers of a vCPU. */
hl_status hl__mshv_registers_set(const struct mshv_vcpu *vcpu, const struct hl__hyperv_batch *batch,
                                 hl_error *err);
hl_status hl__mshv_registers_get(const struct mshv_vcpu *vcpu, struct hl__hyperv_batch *batch,
                                 hl_error *err);

/* Sets a property of a partition; 0 or an errno. */
int hl__mshv_property_set(const struct mshv_vm *vm, uint32_t code, uint64_t value);

/* Whether the shared page has the registers of the vCPU. */
bool hl__mshv_page_is_valid(const struct mshv_vcpu *vcpu);

/* Sets XCR0. */
hl_status hl__mshv_vcpu_set_xcr0(const struct mshv_vcpu *vcpu, uint64_t value, hl_error *err);

/* Opens /dev/mshv, unless it is open. Errors: HL_NO_HYPERVISOR, HL_HYPERVISOR_DENIED, HL_SYSTEM; the
 * message says how to get what is missing. Calls nest. */
hl_status hl__mshv_open(hl_error *err);
void hl__mshv_close(void);

/* Fills hl__mshv_host and finds out by experiment what the machine does with guests. */
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
