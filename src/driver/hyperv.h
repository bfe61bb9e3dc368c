/*
 * What the drivers for Hyper-V share, since it is the same on Linux (/dev/mshv) and on Windows (WHP):
 * the form of its registers and of its vector state, what a vCPU is owed before it goes on, and slots
 * of memory.
 */
#ifndef HL_DRIVER_HYPERV_H
#define HL_DRIVER_HYPERV_H

#include "driver/driver.h"

#define HL__HYPERV_PAGE_SIZE 4096u

struct hl__hyperv_segment {
    uint64_t base;
    uint32_t limit;
    uint16_t selector;
    uint16_t attributes; /* as in a descriptor: type, S, DPL, P, 4 bits of nothing, AVL, L, D, G */
};

struct hl__hyperv_table {
    uint16_t padding[3];
    uint16_t limit;
    uint64_t base;
};

union hl__hyperv_value {
    uint64_t number;
    uint64_t words[2];
    struct hl__hyperv_segment segment;
    struct hl__hyperv_table table;
};
_Static_assert(sizeof(union hl__hyperv_value) == 16, "layout");

/* Registers of HL__STATE_GENERAL in Hyper-V's order, which is that of their names too. */
enum hl__hyperv_general {
    HL__HYPERV_RAX,
    HL__HYPERV_RCX,
    HL__HYPERV_RDX,
    HL__HYPERV_RBX,
    HL__HYPERV_RSP,
    HL__HYPERV_RBP,
    HL__HYPERV_RSI,
    HL__HYPERV_RDI,
    HL__HYPERV_R8,
    HL__HYPERV_R9,
    HL__HYPERV_R10,
    HL__HYPERV_R11,
    HL__HYPERV_R12,
    HL__HYPERV_R13,
    HL__HYPERV_R14,
    HL__HYPERV_R15,
    HL__HYPERV_RIP,
    HL__HYPERV_RFLAGS,
    HL__HYPERV_GENERAL_COUNT
};

/* Registers of HL__STATE_SYSTEM: the order in which this code lists them. */
enum hl__hyperv_system {
    HL__HYPERV_ES,
    HL__HYPERV_CS,
    HL__HYPERV_SS,
    HL__HYPERV_DS,
    HL__HYPERV_FS,
    HL__HYPERV_GS,
    HL__HYPERV_LDTR,
    HL__HYPERV_TR,
    HL__HYPERV_IDTR,
    HL__HYPERV_GDTR,
    HL__HYPERV_CR0,
    HL__HYPERV_CR2,
    HL__HYPERV_CR3,
    HL__HYPERV_CR4,
    HL__HYPERV_EFER,
    HL__HYPERV_SYSTEM_COUNT
};

void hl__hyperv_general_to(const struct hl__general_state *from, uint64_t *to);
void hl__hyperv_general_from(const uint64_t *from, struct hl__general_state *to);
void hl__hyperv_system_to(const struct hl__system_state *from, union hl__hyperv_value *to);
void hl__hyperv_system_from(const union hl__hyperv_value *from, struct hl__system_state *to);

/* The components of vector state that vCPUs get: what the processor has of those that fit into
 * HL__VECTOR_STATE_SIZE. Hyper-V may keep some of them from VMs: attempt 0, 1, ... is what to try
 * then, 0 means that nothing is left to try. */
uint64_t hl__hyperv_xcr0(unsigned attempt);

/* The most that a processor has in the compacted format, AMX included, in pages. */
#define HL__HYPERV_VECTOR_SIZE (4 * HL__HYPERV_PAGE_SIZE)

/* Expands vector state from the compacted format of XSAVE, `size` bytes, to the standard one,
 * HL__VECTOR_STATE_SIZE bytes. */
void hl__hyperv_vector_expand(const uint8_t *from, size_t size, uint8_t *to);

/* Registers for one request, with the interface's names. */
#define HL__HYPERV_BATCH_MAX 64u
struct hl__hyperv_batch {
    uint32_t count;
    uint32_t names[HL__HYPERV_BATCH_MAX];
    union hl__hyperv_value values[HL__HYPERV_BATCH_MAX] __attribute__((aligned(16)));
};

void hl__hyperv_batch_number(struct hl__hyperv_batch *batch, uint32_t name, uint64_t number);
/* HL__STATE_SYSTEM; `names` in the order of enum hl__hyperv_system. */
void hl__hyperv_batch_system(struct hl__hyperv_batch *batch, const uint32_t *names,
                             const struct hl__system_state *system);
/* Registers that become 0, or are to be read. */
void hl__hyperv_batch_zeroes(struct hl__hyperv_batch *batch, const uint32_t *names, uint32_t count);

/* What waits for the next entry of a vCPU: registers that were set, and what is left of the
 * instruction that exited, which Hyper-V leaves all to us. */
struct hl__hyperv_waiting {
    uint32_t groups; /* HL__STATE_*, of `state` */
    struct hl__cpu_state state;
    uint8_t length;    /* of the instruction; 0: nothing is left to do */
    uint8_t read_size; /* of a port read, which gives 0; 0: it was none */
    uint64_t rip, rax; /* as of the exit */
};

/* As the driver's function. */
void hl__hyperv_state_set(struct hl__hyperv_waiting *waiting, uint32_t groups,
                          const struct hl__cpu_state *state);
/* Gives the groups that wait, and returns the others. */
uint32_t hl__hyperv_state_get(const struct hl__hyperv_waiting *waiting, uint32_t groups,
                              struct hl__cpu_state *state);

/* The registers as they are behind the instruction. */
void hl__hyperv_finish(const struct hl__hyperv_waiting *waiting, uint64_t *rip, uint64_t *rax);
/* Nothing is left of it: it was finished or abandoned. */
void hl__hyperv_finished(struct hl__hyperv_waiting *waiting);

/* An access to a port, as the interfaces tell it. */
struct hl__hyperv_port_access {
    uint64_t rip, rax;
    uint32_t reason; /* the interface's number for such exits */
    uint16_t port;
    uint8_t size;
    uint8_t length; /* of the instruction */
    bool is_write, is_string;
};

/* The exit that it is; notes what is left of the instruction. */
void hl__hyperv_decode_port(struct hl__hyperv_waiting *waiting,
                            const struct hl__hyperv_port_access *access, struct hl__exit *exit);

/* A slot of memory. */
struct hl__hyperv_slot {
    uint64_t address;
    uint64_t size;  /* 0: not added */
    void *source;   /* where Hyper-V takes the memory from */
    void *view;     /* WHP: what to unmap in the surrogate at the end, or NULL */
    uint32_t flags; /* the interface's */
    /* Dirty since they were last re-armed, since Hyper-V forgets what it told; and behind that as
     * many words for what it tells. NULL: not tracked. */
    uint64_t *dirty;
};

#define HL__HYPERV_SLOTS_MAX 32768u

/* The slots of a VM and what its driver does to one of them. */
struct hl__hyperv_memory {
    struct hl__hyperv_slot *slots;
    uint32_t count;
    hl_status (*map)(const void *vm, const struct hl__hyperv_slot *slot, hl_error *err);
    hl_status (*unmap)(const void *vm, const struct hl__hyperv_slot *slot, hl_error *err);
    /* Sets the bits of pages that the guest wrote since the last time. */
    hl_status (*read_dirty)(const void *vm, const struct hl__hyperv_slot *slot, uint64_t *bitmap,
                            size_t words, hl_error *err);
};

/* Makes room for slot `number`. Fails if it would overlap another: WHP would replace that. */
hl_status hl__hyperv_slots_reserve(struct hl__hyperv_memory *memory, uint32_t number,
                                   uint64_t address, uint64_t size, hl_error *err);
/* The slot, or NULL and an error if it was never added. */
struct hl__hyperv_slot *hl__hyperv_slot_find(const struct hl__hyperv_memory *memory,
                                             uint32_t number, hl_error *err);
/* Makes the slot a tracked one, without dirty pages; to be freed by the caller. */
hl_status hl__hyperv_slot_remember(struct hl__hyperv_slot *slot, hl_error *err);
/* Of a tracked slot that was just mapped: nothing that Hyper-V says of it counts. */
hl_status hl__hyperv_slot_forget(const void *vm, const struct hl__hyperv_memory *memory,
                                 const struct hl__hyperv_slot *slot, hl_error *err);

/* As the driver's functions. */
hl_status hl__hyperv_dirty_collect(const void *vm, const struct hl__hyperv_memory *memory,
                                   uint32_t number, uint64_t *bitmap, size_t words, hl_error *err);
hl_status hl__hyperv_dirty_rearm(const void *vm, const struct hl__hyperv_memory *memory,
                                 uint32_t number, const uint64_t *bitmap, size_t words,
                                 hl_error *err);

/* Maps one slot anew. Taking memory from a VM makes the processors drop everything that they know of
 * its translations, since they remember only whole ones. It must be memory that the guest used: the
 * kernel gives Hyper-V other memory, and takes it back, in its books only. No vCPU may run. */
hl_status hl__hyperv_flush(const void *vm, const struct hl__hyperv_memory *memory, hl_error *err);

#endif
