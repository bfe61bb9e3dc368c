/* What `doctor` finds out about the machine itself, without the library. */
#ifndef HYPERLIGHT_CLI_MACHINE_H
#define HYPERLIGHT_CLI_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/utsname.h>

/* State of the device file that the KVM driver needs. */
enum device_state { DEVICE_USABLE, DEVICE_MISSING, DEVICE_DENIED, DEVICE_BROKEN };

struct machine {
    struct utsname names; /* Kernel, its version, architecture. */
    char processor[96];   /* Model; empty if unknown. */
    bool has_vmx;         /* Processor flags: VT-x, SVM, ... */
    bool has_svm;
    bool has_smep;
    bool has_smap;
    bool has_umip;
    bool has_fsgsbase;
    bool is_virtual;       /* This machine is a virtual one itself. */
    uint64_t memory_total; /* Bytes; 0 if unknown. */
    uint64_t memory_available;
    uint64_t files_max; /* Soft limit of open descriptors. */
    uint64_t files_hard_max;
    enum device_state kvm_device;
    int kvm_error; /* errno of opening it. */
};

void machine_examine(struct machine *machine);

#endif
