/*
 * A guest of a few instructions, for probes and self-tests: memory with page tables, descriptor
 * tables, a TSS that opens one port, ring-0 stubs that turn exceptions into doorbells, and snippets
 * of user-mode code.
 *
 * Its memory is one block of host memory, mapped in the guest at equal guest-physical and virtual
 * addresses. It comes in three slots: system (supervisor-only), code (user, read-only) and data
 * (user, no-execute).
 */
#ifndef HL_DRIVER_TINY_GUEST_H
#define HL_DRIVER_TINY_GUEST_H

#include "driver/driver.h"

#define HL__TINY_PAGE 4096u
#define HL__TINY_PORT 0x5148u

#define HL__TINY_BASE 0x10000u
#define HL__TINY_SYSTEM 0x10000u
#define HL__TINY_SYSTEM_SIZE 0x10000u
#define HL__TINY_CODE 0x20000u
#define HL__TINY_CODE_SIZE 0x1000u
#define HL__TINY_DATA 0x40000u
#define HL__TINY_DATA_PAGES 130u /* two words of a dirty bitmap, and a bit */
#define HL__TINY_DATA_SIZE (HL__TINY_DATA_PAGES * HL__TINY_PAGE)
#define HL__TINY_SIZE (HL__TINY_DATA + HL__TINY_DATA_SIZE - HL__TINY_BASE)

enum hl__tiny_slot {
    HL__TINY_SLOT_SYSTEM,
    HL__TINY_SLOT_CODE,
    HL__TINY_SLOT_DATA,
    HL__TINY_SLOT_FREE /* first one that is left to tests */
};

/* Values of doorbells. */
#define HL__TINY_EXCEPTION 0xe0000000u /* + vector: rung by the ring-0 stub of that exception */
#define HL__TINY_SYSCALL_USER 0x51000003u
#define HL__TINY_SYSCALL_RING0 0x51000000u
#define HL__TINY_DONE 0xd0000000u

/* Snippets of user-mode code. Each starts with dx = HL__TINY_PORT and ends ringing the doorbell. */
enum hl__tiny_code {
    HL__TINY_COUNT,      /* rings edi, edi + 1, ... */
    HL__TINY_READ,       /* rings the word at rdi */
    HL__TINY_WRITE,      /* writes esi at rdi, rings DONE */
    HL__TINY_TOUCH,      /* writes esi at rdi, rdi + rcx, ... r8 times, rings DONE */
    HL__TINY_SPIN,       /* writes 1 at rdi and loops for ever */
    HL__TINY_ECHO_STATE, /* rings a sum over rax...r15 and carry */
    HL__TINY_OUT_BYTE,   /* al, then rings DONE */
    HL__TINY_OUT_WORD,   /* ax, then rings DONE */
    HL__TINY_IN,         /* eax, then rings it */
    HL__TINY_IN_WORD,    /* ax, then rings eax */
    HL__TINY_IN_BYTE,    /* al, then rings eax */
    HL__TINY_INS,        /* rcx bytes to rdi, then rings ecx */
    HL__TINY_READ_WIDE,  /* 16 bytes at rdi, then rings DONE */
    HL__TINY_COPY,       /* rep movsb from rsi to rdi, then rings ecx */
    HL__TINY_UD2,
    HL__TINY_DIVIDE, /* by zero */
    HL__TINY_CLI,
    HL__TINY_HLT,
    HL__TINY_SYSCALL,
    HL__TINY_SYSCALL_LANDING, /* LSTAR where `syscall` stays in user mode: rings SYSCALL_USER */
    HL__TINY_SGDT,            /* rings DONE unless UMIP forbids it */
    HL__TINY_FSBASE,          /* puts rdi into the FS base and rings what it reads back there */
    HL__TINY_XGETBV,          /* rings the low half of XCR0 */
    HL__TINY_VECTOR_LOAD,     /* 16 bytes from rdi to xmm5, then rings DONE, then falls into: */
    HL__TINY_AVX,             /* ymm5 from rdi, rings DONE, then ymm5 to rsi, rings DONE */
    HL__TINY_VECTOR_STORE,    /* xmm5 to rsi, then rings DONE */
    HL__TINY_XRSTOR,          /* everything from the area at rdi, then rings DONE */
    HL__TINY_TIME,            /* the time-stamp counter to rdi, then rings DONE */
    HL__TINY_CODE_COUNT
};

/* Stubs in ring 0. */
enum hl__tiny_stub {
    HL__TINY_STUB_SYSCALL, /* LSTAR where `syscall` arrives in ring 0: rings SYSCALL_RING0 */
    HL__TINY_STUB_READ,    /* rings the word at rdi */
    HL__TINY_STUB_RELOAD,  /* reloads CR3, rings DONE */
    HL__TINY_STUB_POKE,    /* touches the page table at rdi, reloads CR3, rings DONE */
    HL__TINY_STUB_REWRITE, /* copies rcx entries of a page table from rsi to rdi, reloads CR3, rings DONE */
    HL__TINY_STUB_HLT,
    HL__TINY_STUB_COUNT
};

struct hl__tiny_guest {
    uint8_t *memory; /* HL__TINY_SIZE bytes, the page at HL__TINY_BASE first */
};

/* What the processor left on the fault stack. */
struct hl__tiny_frame {
    uint64_t error_code; /* of the exceptions that have one; else undefined */
    uint64_t rip, cs, rflags, rsp, ss;
};

/* Maps the memory and builds everything. Errors: HL_OUT_OF_MEMORY. */
hl_status hl__tiny_guest_new(struct hl__tiny_guest *guest, hl_error *err);
void hl__tiny_guest_free(struct hl__tiny_guest *guest);

/* Gives the three slots to a VM; `data_flags`: HL__MEMORY_* of the data slot. */
hl_status hl__tiny_guest_add(const struct hl__tiny_guest *guest, const hl__driver *driver, void *vm,
                             uint32_t data_flags, hl_error *err);

/* Host address of guest memory of the three slots. */
void *hl__tiny_guest_at(const struct hl__tiny_guest *guest, uint64_t address);

/* The page-table entry of a virtual address below 2 MiB, in address space 0 or 1. They differ in
 * their tables only. */
uint64_t *hl__tiny_guest_entry(const struct hl__tiny_guest *guest, unsigned space,
                               uint64_t address);
/* present, writable, user, accessed, dirty, NX */
#define HL__TINY_ENTRY_USER_DATA 0x8000000000000067u

uint64_t hl__tiny_code_address(enum hl__tiny_code code);
uint64_t hl__tiny_stub_address(enum hl__tiny_stub stub);

/* What LSTAR, STAR and the mask should be; `stays`: whether `syscall` keeps user mode. */
struct hl__vcpu_setup hl__tiny_vcpu_setup(bool stays);

/* Registers that start a snippet, or a stub, in address space 0. */
void hl__tiny_state_user(const struct hl__machine *machine, enum hl__tiny_code code,
                         struct hl__cpu_state *state);
void hl__tiny_state_ring0(const struct hl__machine *machine, enum hl__tiny_stub stub,
                          struct hl__cpu_state *state);
uint64_t hl__tiny_root(unsigned space);

struct hl__tiny_frame hl__tiny_guest_frame(const struct hl__tiny_guest *guest, bool has_error_code);

#endif
