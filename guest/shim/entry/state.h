/*
 * The state that a warm call touches, kept together on the page of the system call stack, and its
 * offsets for entry.S.
 */
#ifndef HL_SHIM_STATE_H
#define HL_SHIM_STATE_H

/* struct hl_abi_registers */
#define REGS_RAX 0
#define REGS_RBX 8
#define REGS_RCX 16
#define REGS_RDX 24
#define REGS_RSI 32
#define REGS_RDI 40
#define REGS_RBP 48
#define REGS_RSP 56
#define REGS_R8 64
#define REGS_R9 72
#define REGS_R10 80
#define REGS_R11 88
#define REGS_R12 96
#define REGS_R13 104
#define REGS_R14 112
#define REGS_R15 120
#define REGS_RIP 128
#define REGS_RFLAGS 136
#define REGS_SIZE 144

/* struct hl__hot */
#define HOT_SYSCALL 0
#define HOT_REST REGS_SIZE
#define HOT_REST_RBX (HOT_REST + 0)
#define HOT_REST_RBP (HOT_REST + 8)
#define HOT_REST_R12 (HOT_REST + 16)
#define HOT_REST_R13 (HOT_REST + 24)
#define HOT_REST_R14 (HOT_REST + 32)
#define HOT_REST_R15 (HOT_REST + 40)
#define HOT_REST_RSP (HOT_REST + 48)
#define HOT_REST_FS_BASE (HOT_REST + 56)
#define HOT_REST_GS_BASE (HOT_REST + 64)
#define HOT_REST_MXCSR (HOT_REST + 72)
#define HOT_REST_X87_CONTROL (HOT_REST + 76)
#define HOT_XCR0 (HOT_REST + 80)
#define HOT_TICK (HOT_XCR0 + 8)
#define HOT_TICK_PERIOD (HOT_XCR0 + 16)

/* struct hl_abi_mailbox */
#define MAILBOX_ARG0 0
#define MAILBOX_ARG1 8
#define MAILBOX_ARG2 16
#define MAILBOX_ARG3 24
#define MAILBOX_ARG4 32
#define MAILBOX_RESULT 48
#define MAILBOX_INLINE_MESSAGE 256

/* struct hl_abi_fault */
#define FAULT_REGISTERS 16
#define MAILBOX_FAULT_RIP (80 + FAULT_REGISTERS + REGS_RIP)

#ifndef __ASSEMBLER__
#include "hyperlight/abi/hypercall.h"
#include "hyperlight/abi/x86_64.h"

#include <stdbool.h>
#include <stddef.h>

/* What survives a restore of the sandbox at its resting place, beside memory. */
struct hl__rest_state {
    uint64_t rbx, rbp, r12, r13, r14, r15, rsp;
    uint64_t fs_base, gs_base;
    uint32_t mxcsr;
    uint16_t x87_control;
    uint16_t reserved;
};

struct hl__clock_state {
    uint64_t generation;
    uint64_t last_ns; /* what the monotonic clock showed last within that generation */
};

struct hl__random_state {
    uint64_t generation; /* of the wake record that `key` was seeded from */
    uint64_t block_count;
    uint32_t key[8];
};

struct hl__hot {
    struct hl_abi_registers syscall; /* the program's registers while it is in a system call */
    struct hl__rest_state rest;
    uint64_t xcr0; /* 0: no XSAVE, use FXSAVE */
    /* When the host's next tick is expected, UINT64_MAX: none; how often it comes then, 0: once. */
    uint64_t tick_ns, tick_period_ns;
    bool attention; /* something happened that concerns the scheduler */
    struct hl__clock_state clock;
    struct hl__random_state random;
};

HL_ABI_ASSERT(offsetof(struct hl_abi_registers, rip) == REGS_RIP);
HL_ABI_ASSERT(offsetof(struct hl_abi_registers, r8) == REGS_R8);
HL_ABI_ASSERT(offsetof(struct hl_abi_registers, rsp) == REGS_RSP);
HL_ABI_ASSERT(sizeof(struct hl_abi_registers) == REGS_SIZE);
HL_ABI_ASSERT(offsetof(struct hl__hot, rest) == HOT_REST);
HL_ABI_ASSERT(offsetof(struct hl__hot, rest.mxcsr) == HOT_REST_MXCSR);
HL_ABI_ASSERT(offsetof(struct hl__hot, rest.x87_control) == HOT_REST_X87_CONTROL);
HL_ABI_ASSERT(offsetof(struct hl__hot, xcr0) == HOT_XCR0);
HL_ABI_ASSERT(offsetof(struct hl__hot, tick_ns) == HOT_TICK);
HL_ABI_ASSERT(offsetof(struct hl__hot, tick_period_ns) == HOT_TICK_PERIOD);
HL_ABI_ASSERT(sizeof(struct hl__hot) <= 512);
HL_ABI_ASSERT(offsetof(struct hl_abi_mailbox, call.arg) == MAILBOX_ARG0);
HL_ABI_ASSERT(offsetof(struct hl_abi_mailbox, call.result) == MAILBOX_RESULT);
HL_ABI_ASSERT(offsetof(struct hl_abi_mailbox, inline_message) == MAILBOX_INLINE_MESSAGE);
HL_ABI_ASSERT(offsetof(struct hl_abi_fault, registers) == FAULT_REGISTERS);
HL_ABI_ASSERT(offsetof(struct hl_abi_mailbox, fault.registers.rip) == MAILBOX_FAULT_RIP);

extern struct hl__hot hl__hot;
extern struct hl_abi_fault hl__interrupted; /* the fault being handled */

#define HL__MAILBOX ((struct hl_abi_mailbox *)HL_ABI_MAILBOX_ADDRESS)
#define HL__WAKE ((const struct hl_abi_wake *)HL_ABI_WAKE_ADDRESS)
#define HL__BOOT ((const struct hl_abi_boot *)HL_ABI_BOOT_ADDRESS)
#endif

#endif
