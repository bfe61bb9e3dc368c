/*
 * A small hypervisor that behaves as Hyper-V does, on KVM: what the doubles of its interfaces share.
 *
 * It knows registers by Hyper-V's names, leaves the instruction pointer at instructions that exit,
 * does nothing of them, and has one bitmap of dirtied pages. Guests run for real, at KVM's speed.
 * Whatever serves one VM or VP at a time is up to the callers; memory may change while VPs run.
 */
#ifndef DOUBLES_HYPERV_ENGINE_H
#define DOUBLES_HYPERV_ENGINE_H

#include "system.h"

#include <linux/kvm.h>
#include <stdbool.h>

#define PAGE_BYTES 4096u

enum engine_result {
    ENGINE_OK,
    ENGINE_EXISTS,    /* overlaps memory that is there */
    ENGINE_MISSING,   /* no such memory */
    ENGINE_FAILED,    /* KVM refused */
    ENGINE_UNKNOWN,   /* no such register */
    ENGINE_BAD_VALUE, /* the register does not take it */
    ENGINE_NO_MEMORY
};

/* VMs */

enum engine_access {
    ENGINE_READ = 1,
    ENGINE_WRITE = 2,
    ENGINE_EXECUTE = 4,
    ENGINE_TRACKED = 8 /* for whoever asks */
};

/* A range of guest-physical memory; of size 0 if the slot is free. */
struct engine_slot {
    uint64_t address, size;
    uint8_t *host;
    unsigned access;
    uint64_t *dirty;
};

struct engine_vm {
    int file;
    bool has_apic, tracks;
    system_lock lock;
    struct engine_slot *slots;
    uint32_t slot_count;
    struct kvm_cpuid2 *cpuid; /* what VPs get; changes count for later ones */
};

/* The descriptor of /dev/kvm; negative if it cannot be opened. */
int engine_kvm(void);
/* Whether VMs can be made at all. */
bool engine_present(void);
struct engine_vm *engine_vm_new(bool has_apic);
/* After its VPs are gone. */
void engine_vm_free(struct engine_vm *vm);

enum engine_result engine_map(struct engine_vm *vm, uint64_t address, uint64_t size, void *host,
                              unsigned access);
/* Exactly one range that was mapped. */
enum engine_result engine_unmap(struct engine_vm *vm, uint64_t address, uint64_t size);
/* The range at an address, NULL if there is none; a copy, valid while the range is mapped. */
bool engine_find(struct engine_vm *vm, uint64_t address, struct engine_slot *slot);
/* Copies memory of one range; false if it is not there. */
bool engine_read(struct engine_vm *vm, uint64_t address, void *to, size_t size);
/* Whether host memory overlaps that of a range. */
bool engine_has_host(struct engine_vm *vm, const uint8_t *host, uint64_t size);

/* Starts and stops to record dirtied pages. */
enum engine_result engine_track(struct engine_vm *vm, bool on);
enum engine_dirty { ENGINE_DIRTY_READ, ENGINE_DIRTY_CLEAR, ENGINE_DIRTY_SET };
/* ORs the bits of dirtied pages into `bitmap`, and then makes them clean, or dirty. */
enum engine_result engine_dirty(struct engine_vm *vm, uint64_t first_page, uint64_t pages,
                                enum engine_dirty operation, uint8_t *bitmap);

/* VPs */

union engine_value {
    uint64_t word[2];
    uint8_t bytes[16];
    struct {
        uint64_t base;
        uint32_t limit;
        uint16_t selector, attributes;
    } segment;
    struct {
        uint16_t padding[3], limit;
        uint64_t base;
    } table;
    struct {
        uint16_t control, status;
        uint8_t tags, reserved;
        uint16_t opcode;
        uint64_t instruction;
    } fp_control;
    struct {
        uint64_t data;
        uint32_t mxcsr, mxcsr_mask;
    } xmm_control;
};
_Static_assert(sizeof(union engine_value) == 16, "layout");

/* Hyper-V's names of registers, of which ranges are in the order of the processor's own numbers. */
enum engine_name {
    NAME_EXPLICIT_SUSPEND = 0x0,
    NAME_INTERCEPT_SUSPEND = 0x1,
    NAME_ACTIVITY = 0x4,
    NAME_PENDING_INTERRUPTION = 0x10002,
    NAME_INTERRUPT_STATE = 0x10003,
    NAME_PENDING_EVENT0 = 0x10004,
    NAME_PENDING_EVENT1 = 0x10005,
    NAME_DELIVERABILITY = 0x10006,
    NAME_RAX = 0x20000,
    NAME_RIP = 0x20010,
    NAME_RFLAGS = 0x20011,
    NAME_XMM0 = 0x30000,
    NAME_ST0 = 0x30010,
    NAME_FP_CONTROL = 0x30018,
    NAME_XMM_CONTROL = 0x30019,
    NAME_CR0 = 0x40000,
    NAME_CR2 = 0x40001,
    NAME_CR3 = 0x40002,
    NAME_CR4 = 0x40003,
    NAME_CR8 = 0x40004,
    NAME_XCR0 = 0x40005,
    NAME_INTERMEDIATE = 0x1000, /* added to CR0, CR3, CR4, CR8: what the guest believes */
    NAME_DR0 = 0x50000,
    NAME_DR6 = 0x50004,
    NAME_DR7 = 0x50005,
    NAME_ES = 0x60000,
    NAME_CS = 0x60001,
    NAME_TR = 0x60007,
    NAME_IDTR = 0x70000,
    NAME_GDTR = 0x70001,
    NAME_TSC = 0x80000, /* MSRs follow */
    NAME_EFER = 0x80001,
    NAME_APIC_BASE = 0x80003
};

/* What a triple fault makes KVM forget. */
struct engine_remembered {
    uint32_t msr;
    uint64_t value;
};

struct engine_vp {
    struct engine_vm *vm;
    uint32_t index;
    int file;
    struct kvm_run *run; /* its page has the registers as of the last exit, or as set since */
    atomic_int cancelled, thread;
    uint64_t internal[8];     /* registers that KVM does not have */
    uint64_t synthetic[0x40]; /* stored, never acted on */
    uint64_t xcr0;
    struct engine_remembered remembered[16];
    unsigned remembered_count;
};

struct engine_vp *engine_vp_new(struct engine_vm *vm, uint32_t index);
void engine_vp_free(struct engine_vp *vp);

/* A general register, RIP or RFLAGS in KVM's structure; NULL if the name is none of them. */
uint64_t *engine_general(struct kvm_regs *regs, uint32_t name);
enum engine_result engine_get(struct engine_vp *vp, uint32_t name, union engine_value *value);
enum engine_result engine_set(struct engine_vp *vp, uint32_t name, const union engine_value *value);
/* Hands all registers to KVM now. */
enum engine_result engine_flush(struct engine_vp *vp);

/* After a triple fault, which makes KVM on SVM forget: gives back what was set. */
void engine_vp_revive(struct engine_vp *vp);

/* The compacted format of XSAVE; `size` is a page. */
#define ENGINE_XSAVE_SIZE PAGE_BYTES
enum engine_result engine_xsave_get(struct engine_vp *vp, uint8_t *area);
enum engine_result engine_xsave_set(struct engine_vp *vp, const uint8_t *area);
uint64_t engine_xsave_features(void);

/* What the page tables say, whatever the rights. */
bool engine_translate(struct engine_vp *vp, uint64_t virtual_address, uint64_t *physical);

enum engine_exit_kind {
    ENGINE_EXIT_PORT,
    ENGINE_EXIT_MEMORY,
    ENGINE_EXIT_HALT,
    ENGINE_EXIT_TRIPLE_FAULT,
    ENGINE_EXIT_CANCELLED,
    ENGINE_EXIT_SIGNAL, /* any other signal of the system */
    ENGINE_EXIT_BAD_STATE,
    ENGINE_EXIT_FAILED
};

#define ENGINE_INSTRUCTION_MAX 15u
struct engine_exit {
    enum engine_exit_kind kind;
    bool is_write;
    bool is_string, is_repeated; /* of port accesses */
    bool is_mapped;              /* there is memory, but not for this access */
    uint16_t port;
    uint8_t size;
    uint8_t length; /* of the instruction */
    uint8_t bytes[ENGINE_INSTRUCTION_MAX + 1];
    uint8_t byte_count;
    uint64_t address;
    uint32_t failure;
};

/* Runs until the guest exits or is cancelled. Registers are then as before the instruction. */
void engine_run(struct engine_vp *vp, struct engine_exit *exit);
/* From any thread: ends the run under way, or the next one. */
void engine_cancel(struct engine_vp *vp);

#endif
