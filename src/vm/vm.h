/*
 * A VM is a place where address spaces run: memory slots, the system area, one vCPU. It knows
 * nothing of calls or snapshots. With one member it is a sandbox's own; with several they share
 * vCPU, system area and the guest binary, never memory.
 */
#ifndef HL_VM_VM_H
#define HL_VM_VM_H

#include "context/context.h"
#include "context/control.h"
#include "os/os.h"
#include "program/program.h"
#include "vm/x86_64/layout.h"
#include <stdatomic.h>

struct hl__space;

typedef struct hl__vm_config {
    uint64_t memory_size;       /* RAM of each member, page multiple */
    uint64_t transfer_size_max; /* most transfer memory of a member, page multiple */
    uint32_t members_max;
    bool tracked; /* record dirtied RAM from the start */
    /* members' RAM starts as a private copy of this file's first memory_size bytes (one member
     * only); NULL: zero */
    const hl__os_file *ram_file;
} hl__vm_config;

/* What ended an entry into the guest. */
enum hl__event_kind {
    HL__EVENT_CALL = 1,        /* a hypercall: `op` */
    HL__EVENT_FAULT = 2,       /* an exception in user mode: `fault` */
    HL__EVENT_INTERRUPTED = 3, /* see hl__control_cause */
    HL__EVENT_VIOLATION = 4    /* something the guest must not do: `reason` */
};

struct hl__event {
    enum hl__event_kind kind;
    uint32_t op;
    struct hl_abi_fault fault;
    const char *reason;
};

/* How the next entry into the guest begins. */
enum hl__entry {
    HL__ENTRY_CONTINUE = 0, /* behind the OUT that made the last exit; nothing is set */
    HL__ENTRY_START = 1,    /* at the shim's start */
    /* at the shim's wake-up code: after a restore, or when another member ran meanwhile */
    HL__ENTRY_WAKE = 2,
    HL__ENTRY_STATE = 3, /* with the registers in hl__vcpu::resume */
    HL__ENTRY_TOUCH = 4  /* at the shim's touch, see struct hl_abi_shim_image */
};

typedef struct hl__vcpu {
    void *driver_vcpu;
    struct hl__space *current; /* whose registers it holds */
    /* the last exit was a plain hypercall: setting registers abandons the rest of it */
    bool out_pending;
    /* constant part of user-mode state: segments, control registers */
    struct hl__cpu_state user;
    struct hl__cpu_state resume; /* HL__ENTRY_STATE */
} hl__vcpu;

typedef struct hl__vm {
    hl_context *context;
    const hl__driver *driver;
    hl_program *program;
    void *driver_vm;
    uint64_t driver_calls;
    hl__vm_config config;
    const struct hl_abi_shim_image *shim;
    /* the system slot, and behind it what the host alone uses: a count of mappings for each page of
     * each member's RAM */
    uint8_t *system;
    uint64_t system_size, system_mapped_size;
    uint64_t space_pages; /* pages of the system slot per member: wake page and tables */
    uint8_t *ram;
    uint64_t ram_size;
    uint8_t *transfer; /* NULL until first needed */
    uint32_t member_count;
    /* members, and the maker; a VM and its members belong to one thread at a time */
    uint32_t references;
    hl__vcpu vcpu;
} hl__vm;

hl_status hl__vm_new(hl_context *context, hl_program *program, const hl__vm_config *config,
                     hl__vm **vm, hl_error *err);
void hl__vm_unref(hl__vm *vm); /* NULL is fine */

/* Adds the slot for transfer memory, once. */
hl_status hl__vm_transfer_add(hl__vm *vm, hl_error *err);

/* Size of the guest-physical range of the system slot in pages, and address of page `page`. */
static inline uint64_t hl__system_gpa(uint64_t page)
{
    return HL__GPA_SYSTEM + page * HL__PAGE;
}

static inline uint64_t hl__system_address(uint64_t page)
{
    return HL_ABI_SYSTEM_ADDRESS + page * HL__PAGE;
}

/* Counts of the mappings of a member's RAM, zero at first. */
uint16_t *hl__vm_mappings(const hl__vm *vm, uint32_t member);

/* vcpu.c */
hl_status hl__vcpu_new(hl__vm *vm, hl_error *err);
void hl__vcpu_free(hl__vm *vm);

/* Enters the address space and says what ended it. Makes pending removals of rights effective
 * first. */
hl_status hl__vcpu_enter(hl__vm *vm, struct hl__space *space, enum hl__entry entry,
                         hl__control *control, struct hl__event *event, hl_error *err);

/* After HL__EVENT_INTERRUPTED: the program's registers, if it can be interrupted where it is: in its own
 * code, with nothing under way to the shim. The program goes on where it was with HL__ENTRY_CONTINUE, or
 * as hl__vcpu_resume and hl__vcpu_redirect say. */
hl_status hl__vcpu_interrupted(hl__vm *vm, struct hl_abi_registers *registers, bool *possible,
                               hl_error *err);

/* After HL__EVENT_FAULT or hl__vcpu_interrupted: prepares HL__ENTRY_STATE to go on with `registers`, or at another
 * instruction with zeroed registers. */
void hl__vcpu_resume(hl__vm *vm, const struct hl_abi_registers *registers);
void hl__vcpu_redirect(hl__vm *vm, uint64_t instruction_pointer);

#endif
