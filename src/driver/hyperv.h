/*
 * What the drivers for Hyper-V share: the form of its registers and of its vector state, which are
 * the same on Linux (/dev/mshv) and on Windows (WHP).
 */
#ifndef HL_DRIVER_HYPERV_H
#define HL_DRIVER_HYPERV_H

#include "driver/driver.h"

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
 * HL__VECTOR_STATE_SIZE. */
uint64_t hl__hyperv_xcr0(void);

/* Expands vector state from the compacted format of XSAVE, `size` bytes, to the standard one,
 * HL__VECTOR_STATE_SIZE bytes. */
void hl__hyperv_vector_expand(const uint8_t *from, size_t size, uint8_t *to);

/* What is left to do for an instruction that exited: Hyper-V leaves it all to us. */
struct hl__hyperv_unfinished {
    uint8_t length;    /* of the instruction; 0: nothing is left to do */
    uint8_t read_size; /* of a port read, which gives 0; 0: it was none */
};

/* Does it, to the registers of the exit. */
void hl__hyperv_finish(const struct hl__hyperv_unfinished *unfinished, uint64_t *rip,
                       uint64_t *rax);

#endif
