/*
 * The contract between the core and a hypervisor driver.
 *
 * A driver is a const table of functions. It knows nothing of calls, sandboxes or guests, holds no
 * policy, and logs nothing; exits come back as data. The core allocates the state of VMs and vCPUs,
 * `vm_size` and `vcpu_size` bytes of zeroed memory, and owns all guest memory. Every function that
 * can fail fills `err` and leaves nothing behind. Different VMs may be used from different threads
 * at once; functions that take a VM or vCPU are called by one thread at a time, except `kick`.
 *
 * docs/drivers.md tells how to write one.
 */
#ifndef HL_DRIVER_DRIVER_H
#define HL_DRIVER_DRIVER_H

#include <hyperlight/driver.h>
#include <hyperlight/error.h>

/* A guest-physical address: a type of its own, so that nobody dereferences it or mixes it with
 * other numbers by accident. */
typedef struct hl__gpa {
    uint64_t value;
} hl__gpa;

/* A page that no slot covers, whatever the caller; drivers may use it for `flush`. */
#define HL__GPA_SPARE UINT64_C(0xf0000000)

struct hl__segment {
    uint64_t base;
    uint32_t limit;
    uint16_t selector;
    uint8_t type; /* 4 bits of the descriptor's type */
    uint8_t dpl;
    bool present, code_or_data, long_mode, default_big, granularity;
};

struct hl__table_register {
    uint64_t base;
    uint16_t limit;
};

/* HL__STATE_GENERAL */
struct hl__general_state {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rip, rflags;
};

/* HL__STATE_SYSTEM */
struct hl__system_state {
    struct hl__segment cs, ds, es, fs, gs, ss, tr, ldt;
    struct hl__table_register gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, efer;
};

/* Size of the vector state in the format of XSAVE (standard, not compacted), HL__STATE_VECTOR. */
#define HL__VECTOR_STATE_SIZE 4096

enum hl__state_group {
    HL__STATE_GENERAL = 1,
    HL__STATE_SYSTEM = 2,
    /* set: drops every pending exception, interrupt and shadow; get: hl__cpu_state::event_pending */
    HL__STATE_EVENTS = 4,
    /* get only; slow, for tests and debugging; its XSTATE_BV says what of it the hypervisor tells */
    HL__STATE_VECTOR = 8
};

struct hl__cpu_state {
    struct hl__general_state general;
    struct hl__system_state system;
    /* HL__STATE_EVENTS: an exception or interrupt is yet to be delivered to the guest */
    bool event_pending;
    uint8_t *vector; /* HL__VECTOR_STATE_SIZE bytes of the caller's, with HL__STATE_VECTOR */
};

enum hl__exit_kind {
    HL__EXIT_DOORBELL = 1, /* a 32-bit OUT: `port`, `value` */
    HL__EXIT_PORT = 2,     /* any other port access: `port`, `size`, `is_write` */
    /* access to a guest-physical address without memory, or a write to read-only memory:
     * `address`, `is_write` */
    HL__EXIT_MEMORY = 3,
    /* kicked, or a signal arrived; nothing is lost, the next run goes on */
    HL__EXIT_INTERRUPTED = 4,
    HL__EXIT_SHUTDOWN = 5, /* triple fault */
    HL__EXIT_HALT = 6,
    HL__EXIT_FAILED = 7 /* the hypervisor gave up on this guest: `reason`, `detail` */
};

/* After HL__EXIT_MEMORY, and after a string instruction (INS, OUTS) exited, registers are set before
 * the next run: where the guest would go on otherwise depends on the hypervisor. After any other exit
 * it can be run on; a port reads as 0. */
struct hl__exit {
    enum hl__exit_kind kind;
    bool is_write;
    uint16_t port;
    uint32_t value;
    uint32_t size;
    uint64_t address;
    uint32_t reason; /* the hypervisor's number for what happened */
    uint32_t detail;
};

/* What a vCPU has from birth; only HL__STATE_* groups change later. */
struct hl__vcpu_setup {
    uint64_t star, lstar, syscall_mask; /* MSRs of `syscall` */
};

/* Facts about a machine that the core needs; valid after a successful probe. */
struct hl__machine {
    bool syscall_stays; /* `syscall` keeps user mode (PVM): LSTAR must be a user-mode address */
    /* the TSS must be loaded as "available" (type 9): QEMU TCG's nested SVM honours the I/O
     * bitmap only then */
    bool tss_available;
    /* CR4 bits that work here out of SMEP, SMAP, UMIP, FSGSBASE, OSXSAVE, OSFXSR, OSXMMEXCPT,
     * PAE */
    uint64_t cr4_wanted;
    uint64_t tsc_khz;
    /* taking rights away needs `flush` or the ring-0 poke even after a CR3 load (PVM); the core
     * always pokes, so that only tests ask */
    bool flush_required;
    /* The hypervisor holds on to the pages that a slot had when it was added: host memory must be
     * writable, even for slots that are read-only to the guest, and keeps its pages. */
    bool memory_pinned;
    bool one_vm; /* a process has one VM at a time */
};

enum hl__memory_flag {
    HL__MEMORY_READ_ONLY = 1,
    /* dirtied pages are recorded from now on; pages written by the host are not */
    HL__MEMORY_TRACKED = 2
};

typedef struct hl__driver {
    const char *name;
    size_t vm_size, vcpu_size;

    /* MANDATORY. Finds out whether the hypervisor is usable, what it is and can do, by experiment
     * where there is no other way. Fills both structures whenever it returns HL_OK; info->status
     * says whether the driver is usable. The registry calls it until it is, and keeps that. */
    hl_status (*probe)(hl_driver_info *info, struct hl__machine *machine, hl_error *err);

    /* OPTIONAL, both or none. Whoever makes VMs opens the driver first and closes it when it makes no
     * more; calls nest, from any threads. In between the hypervisor's device stays open, so that the
     * host application may give up the right to open it. Nothing stays open after the last close. */
    hl_status (*open)(hl_error *err);
    void (*close)(void);

    /* MANDATORY. Makes an empty VM for at most `vcpu_count` vCPUs. `counter` is incremented with
     * each system call made for this VM or its vCPUs other than entries, and outlives the VM. */
    hl_status (*vm_create)(void *vm, uint32_t vcpu_count, uint64_t *counter, hl_error *err);

    /* MANDATORY. Destroys a VM without vCPUs; cannot fail; memory that was added may be unmapped
     * afterwards. */
    void (*vm_destroy)(void *vm);

    /* MANDATORY. Backs `size` bytes of guest-physical memory with the host memory at `host`;
     * everything is page-aligned. Slots are numbered by the caller from 0 and are only ever added;
     * one that overlaps another is refused. The host memory must outlive the VM. */
    hl_status (*memory_add)(void *vm, uint32_t slot, hl__gpa address, void *host, size_t size,
                            uint32_t flags, hl_error *err);

    /* MANDATORY. Starts recording dirtied pages of a slot that was added untracked. No page counts
     * as dirty at first. */
    hl_status (*memory_track)(void *vm, uint32_t slot, hl_error *err);

    /* MANDATORY. Sets the bit (page p: bit p % 64 of word p / 64) of every page of the slot that
     * the guest wrote since it was last re-armed; all other bits become 0. Re-arms nothing if
     * HL_CAPABILITY_DIRTY_REARM is there; else everything. `words` covers the slot. */
    hl_status (*dirty_collect)(void *vm, uint32_t slot, uint64_t *bitmap, size_t words,
                               hl_error *err);

    /* OPTIONAL (HL_CAPABILITY_DIRTY_REARM). Re-arms the pages whose bits are set: they are clean
     * and their next write is recorded. */
    hl_status (*dirty_rearm)(void *vm, uint32_t slot, const uint64_t *bitmap, size_t words,
                             hl_error *err);

    /* MANDATORY. Makes every earlier change of guest page tables by the host effective, whatever
     * the hypervisor cached. Slow: about 0.1 ms. */
    hl_status (*flush)(void *vm, hl_error *err);

    /* MANDATORY. Makes vCPU number `index`. Its state groups are undefined until set. XCR0 enables
     * all vector state the machine has. Its time-stamp counter is the host's, behind that by the
     * time that setting it takes at most, and never ahead. */
    hl_status (*vcpu_create)(void *vm, void *vcpu, uint32_t index,
                             const struct hl__vcpu_setup *setup, hl_error *err);

    /* MANDATORY. */
    void (*vcpu_destroy)(void *vcpu);

    /* MANDATORY. Sets groups of registers; takes effect with the next run. Cheap: no system call
     * where the hypervisor can take registers with an entry. Setting the instruction pointer away
     * from an instruction that exited abandons what was left of it. */
    void (*state_set)(void *vcpu, uint32_t groups, const struct hl__cpu_state *state);

    /* MANDATORY. Registers as of the last exit, or as set since. Not cheap. After HL__EXIT_DOORBELL
     * the instruction pointer may stand at the OUT or behind it. */
    hl_status (*state_get)(void *vcpu, uint32_t groups, struct hl__cpu_state *state, hl_error *err);

    /* MANDATORY. Completes or abandons what the last exit left half done (a port read, a memory
     * access) without running guest code, so that any state can be set. */
    hl_status (*retire)(void *vcpu, hl_error *err);

    /* MANDATORY. Enters the guest and returns at its next exit. HL_OK with `exit` filled in, or
     * HL_SYSTEM. Exactly one system call, where registers travel with entries
     * (HL_CAPABILITY_SYNC_REGISTERS). */
    hl_status (*run)(void *vcpu, struct hl__exit *exit, hl_error *err);

    /* MANDATORY. Makes a run that is under way, or else the next one, return HL__EXIT_INTERRUPTED
     * at once. Where the system has signals it is called on the thread that runs the vCPU, by the
     * kick signal's handler, and the signal is what ends a run that is under way; elsewhere it is
     * called from any thread while the vCPU exists (os/kick.h). */
    void (*kick)(void *vcpu);

    /* A kick in the very moment of an entry may come too early to end that run, though it ends the
     * next one: who kicks does so again until the run has returned. */
    bool kick_repeats;
} hl__driver;

static inline hl_status hl__driver_open(const hl__driver *driver, hl_error *err)
{
    return driver->open ? driver->open(err) : HL_OK;
}

static inline void hl__driver_close(const hl__driver *driver)
{
    if (driver->close)
        driver->close();
}

/* Registry: the drivers of this build in order of preference, NULL at the end. */
extern const hl__driver *const hl__drivers[];

/* Finds a driver by name, or the first usable one if name is NULL, with its cached probe. Errors:
 * HL_INVALID_ARGUMENT (unknown name), or why none is usable (HL_NO_HYPERVISOR,
 * HL_HYPERVISOR_DENIED, HL_HYPERVISOR_TOO_OLD; the message is the probe's detail). */
hl_status hl__driver_find(const char *name, const hl__driver **driver, hl_driver_info *info,
                          struct hl__machine *machine, hl_error *err);

#endif
