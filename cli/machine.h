/* What `doctor` finds out about the machine itself, without the library. */
#ifndef HYPERLIGHT_CLI_MACHINE_H
#define HYPERLIGHT_CLI_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

enum device_state { DEVICE_USABLE, DEVICE_MISSING, DEVICE_DENIED, DEVICE_BROKEN };

/* A file that a driver needs. */
struct device {
    const char *path; /* Static. */
    enum device_state state;
    int error; /* errno of opening it. */
};

/* A driver that this system has no use for. */
struct foreign_driver {
    const char *name, *system;
};

#define DEVICES_MAX 2

struct machine {
    char system[64]; /* Name of the operating system. */
    char release[64];
    char architecture[64];
    char processor[96]; /* Model; empty if unknown. */
    bool has_vmx;       /* Processor flags: VT-x, SVM, ... */
    bool has_svm;
    bool has_smep;
    bool has_smap;
    bool has_umip;
    bool has_fsgsbase;
    bool is_virtual;       /* This machine is a virtual one itself. */
    uint64_t memory_total; /* Bytes; 0 if unknown. */
    uint64_t memory_available;
    uint64_t files_max; /* Soft limit of open descriptors; 0 if there is none. */
    uint64_t files_hard_max;
    struct device devices[DEVICES_MAX];
    unsigned device_count;
};

/* The drivers of other systems, up to a name of NULL. */
extern const struct foreign_driver machine_foreign_drivers[];

void machine_examine(struct machine *machine);

#endif
