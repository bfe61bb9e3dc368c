/*
 * The x86-64 part of the host/guest contract: ports, the layout of a sandbox's address space, and
 * the head of the shim's image. May be included from assembly.
 *
 *   0x0000_0000_0000  64 KiB never mapped
 *   0x0000_0001_0000  the program's: HL_ABI_OP_EDIT may change it
 *   0x7f00_0000_0000  the runtime's: fixed, no edit may touch it
 *   0x7fff_c000_0000  the system area: page tables, descriptor tables, ring-0 stub; supervisor-only
 */
#ifndef HYPERLIGHT_ABI_X86_64_H
#define HYPERLIGHT_ABI_X86_64_H

/* The only port that user mode may write: hypercalls. Chosen away from ports with side effects in
 * any hypervisor. */
#define HL_ABI_CALL_PORT 0x5148

#define HL_ABI_USER_START 0x000000010000
#define HL_ABI_USER_END 0x7effc0000000

#define HL_ABI_SHIM_ADDRESS 0x7f0000000000      /* shim text and constants: read, execute; shared */
#define HL_ABI_SHIM_DATA_ADDRESS 0x7f0000200000 /* shim data and stacks: read, write */
#define HL_ABI_MAILBOX_ADDRESS 0x7f0000400000   /* struct hl_abi_mailbox: read, write */
#define HL_ABI_WAKE_ADDRESS 0x7f0000500000      /* struct hl_abi_wake: read-only */
/* read-only alias of the page in which the ring-0 syscall stub leaves the return address (first
 * 8 bytes) */
#define HL_ABI_SYSCALL_ADDRESS 0x7f0000501000
#define HL_ABI_BOOT_ADDRESS 0x7f0000600000 /* struct hl_abi_boot: read, write */
/* the shim's own bookkeeping: edits are allowed here, for the shim's use */
#define HL_ABI_HEAP_ADDRESS 0x7f0001000000
#define HL_ABI_HEAP_END 0x7f0040000000
#define HL_ABI_TRANSFER_ADDRESS 0x7f0040000000 /* transfer memory: read, write */
#define HL_ABI_TRANSFER_SIZE 0x40000000
#define HL_ABI_PROGRAM_ADDRESS 0x7f0100000000 /* the guest binary: read-only */
#define HL_ABI_PROGRAM_SIZE_MAX 0x100000000
#define HL_ABI_OUTPUT_ADDRESS 0x7f0000700000 /* struct hl_abi_output: read, write */
#define HL_ABI_ROOT_ADDRESS 0x7f0200000000   /* the root image: read-only */
#define HL_ABI_ROOT_SIZE_MAX 0x400000000
/* pages of RAM that the shim keeps in reach, page n at n * HL_ABI_PAGE_SIZE: edits are allowed here */
#define HL_ABI_POOL_ADDRESS 0x7f1000000000
#define HL_ABI_POOL_END 0x7f1800000000
#define HL_ABI_SYSTEM_ADDRESS 0x7fffc0000000

/* Where rewritten system calls jump to, in the shim's text behind its head: r11 is the address to
 * return to. */
#define HL_ABI_SYSCALL_JUMP 0x7f0000000080

/*
 * The shim is a flat image. Its first bytes are struct hl_abi_shim_image; text and constants are
 * mapped at HL_ABI_SHIM_ADDRESS, and `data_size` bytes from `data_offset` on are copied to
 * HL_ABI_SHIM_DATA_ADDRESS, followed by zeroes up to `data_memory_size`. Entries are addresses. The
 * host enters `start` once; `wake` after a restore; `fault` to reflect an exception; `touch` in a new VM, before
 * anything else, to touch the arg[0] addresses in the mailbox's inline message (bit 0 set: for writing), which ends with
 * a rest. Each sets its own stack or needs none; the host gives zeroed registers, in 64-bit user mode.
 */
#ifndef __ASSEMBLER__
#include <stdint.h>

struct hl_abi_shim_image {
    uint32_t magic; /* HL_ABI_SHIM_IMAGE_MAGIC */
    uint32_t version;
    uint64_t text_size;        /* bytes from the image's start, page-aligned: text and constants */
    uint64_t data_offset;      /* page-aligned, = text_size */
    uint64_t data_size;        /* bytes in the image */
    uint64_t data_memory_size; /* bytes in memory, page-aligned, stacks included */
    uint64_t start;
    uint64_t wake;
    uint64_t fault;
    /* LSTAR where `syscall` keeps user mode: rcx is the return address */
    uint64_t syscall_direct;
    /* where the ring-0 stub returns to: the return address is at HL_ABI_SYSCALL_ADDRESS */
    uint64_t syscall_stub;
    /* offset in data memory of the page that is left unmapped below the stacks */
    uint64_t guard_offset;
    uint64_t touch;
    uint64_t reserved[4];
};
_Static_assert(sizeof(struct hl_abi_shim_image) == 128, "size of hl_abi_shim_image");
#define HL_ABI_SHIM_IMAGE_MAGIC 0x494c4831u /* "1HLI" */
#endif

#endif
