/* What the files of the KVM driver share: the state behind the table, and what is known of
 * /dev/kvm. */
#ifndef HL_DRIVER_KVM_INTERNAL_H
#define HL_DRIVER_KVM_INTERNAL_H

#include "driver/driver.h"

#include <linux/kvm.h>
#include <signal.h>

#define HL__KVM_CPUID_ENTRIES 256 /* KVM's own limit */

/* Facts about /dev/kvm, the same for every VM. Written by the probe, read-only afterwards. */
struct kvm_host {
    int fd; /* -1: not open */
    uint32_t api_version;
    uint32_t slots_max;
    uint32_t vcpus_max;
    size_t run_size;         /* of the mapping shared with a vCPU */
    bool triple_fault_event; /* a pending triple fault can be dropped */
    bool cpuid_needed;       /* vCPUs accept our control registers only with their CPUID set */
    uint64_t xcr0;           /* every vCPU's; 0 leaves it alone */
    union {
        struct kvm_cpuid2 head;
        uint8_t bytes[sizeof(struct kvm_cpuid2) +
                      HL__KVM_CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2)];
    } cpuid; /* what KVM can give to guests */
};
extern struct kvm_host hl__kvm_host;

struct kvm_slot {
    uint64_t address;
    uint64_t host;
    uint64_t size;  /* 0: not added */
    uint32_t flags; /* KVM_MEM_* */
};

struct kvm_vm {
    int fd;
    uint64_t *counter;
    struct kvm_slot *slots;
    uint32_t slot_count;
};

struct kvm_vcpu {
    int fd;
    struct kvm_run *run; /* shared with the kernel */
    uint64_t *counter;
    struct hl__vcpu_setup setup;
    uint64_t apic_base; /* SREGS carries it; it must go back as it was */
    bool unfinished;    /* KVM owes the completion of an instruction */
    /* A kick that no run has answered yet. Set on the vCPU's own thread by a signal handler. It
     * is apart from run->immediate_exit, which other operations need for themselves. */
    volatile sig_atomic_t kicked;
};

/* An ioctl that is counted (`counter` may be NULL) and repeated when a signal interrupts it. */
int hl__kvm_ioctl(int fd, uint64_t *counter, unsigned long request, const void *argument);

/* Opens /dev/kvm, unless it is open, and checks what the driver needs of it. Errors:
 * HL_NO_HYPERVISOR, HL_HYPERVISOR_DENIED, HL_HYPERVISOR_TOO_OLD, HL_SYSTEM; the message says how to
 * get what is missing. Calls nest. */
hl_status hl__kvm_open(hl_error *err);
void hl__kvm_close(void);

/* Fills hl__kvm_host and finds out by experiment what the machine does with guests. */
hl_status hl__kvm_probe(hl_driver_info *info, struct hl__machine *machine, hl_error *err);

/* Sets XCR0; 0 or an errno. */
int hl__kvm_vcpu_set_xcr0(const struct kvm_vcpu *vcpu, uint64_t value);

/* Gives a vCPU what it has from birth: XCR0 and the MSRs of `syscall`. */
hl_status hl__kvm_vcpu_set_birth_state(const struct kvm_vcpu *vcpu, hl_error *err);

hl_status hl__kvm_vcpu_create(void *vm, void *vcpu, uint32_t index,
                              const struct hl__vcpu_setup *setup, hl_error *err);
void hl__kvm_vcpu_destroy(void *vcpu);
void hl__kvm_state_set(void *vcpu, uint32_t groups, const struct hl__cpu_state *state);
hl_status hl__kvm_state_get(void *vcpu, uint32_t groups, struct hl__cpu_state *state,
                            hl_error *err);
hl_status hl__kvm_retire(void *vcpu, hl_error *err);
hl_status hl__kvm_run(void *vcpu, struct hl__exit *exit, hl_error *err);
void hl__kvm_kick(void *vcpu);

/* Conversions between the contract's registers and KVM's (kvm_x86_64.c). */
void hl__kvm_general_to(const struct hl__general_state *from, struct kvm_regs *to);
void hl__kvm_general_from(const struct kvm_regs *from, struct hl__general_state *to);
void hl__kvm_system_to(const struct hl__system_state *from, uint64_t apic_base,
                       struct kvm_sregs *to);
void hl__kvm_system_from(const struct kvm_sregs *from, struct hl__system_state *to);
void hl__kvm_events_none(struct kvm_vcpu_events *events);
bool hl__kvm_event_pending(const struct kvm_vcpu_events *events);

extern const hl__driver hl__kvm_driver;

#endif
