/*
 * The interface of /dev/mshv (Linux 6.15 and newer) and what of Hyper-V's own interface passes
 * through it: numbers and layouts, as far as the driver uses them.
 *
 * Declared here, since few systems have the header <linux/mshv.h>, and none has Hyper-V's
 * structures. tests/doubles/hyperv/check-uapi compares with the header.
 */
#ifndef HL_DRIVER_MSHV_ABI_H
#define HL_DRIVER_MSHV_ABI_H

#include "driver/hyperv.h"

#include <stddef.h>
#include <sys/ioctl.h>

#define MSHV_PAGE_SIZE HL__HYPERV_PAGE_SIZE

/* Requests to /dev/mshv, to partitions, and to virtual processors (VPs). The numbers are those of
 * the kernel's header, whose structures these match. */
#define MSHV_MAGIC 0xb8

struct mshv_create_partition {
    uint64_t flags; /* MSHV_PARTITION_*; no local APIC, so that HLT exits */
    uint64_t isolation;
};
/* The kernel maps large pages of the host as such, which a partition must allow. */
#define MSHV_PARTITION_LARGE_PAGES 0x4
#define MSHV_CREATE_PARTITION _IOW(MSHV_MAGIC, 0x00, struct mshv_create_partition)

#define MSHV_INITIALIZE_PARTITION _IO(MSHV_MAGIC, 0x00)

struct mshv_create_vp {
    uint32_t index;
};
#define MSHV_CREATE_VP _IOW(MSHV_MAGIC, 0x01, struct mshv_create_vp)

struct mshv_memory_region {
    uint64_t size;
    uint64_t guest_page; /* guest-physical address / MSHV_PAGE_SIZE */
    uint64_t host_address;
    uint8_t flags; /* MSHV_MEMORY_* */
    uint8_t reserved[7];
};
#define MSHV_MEMORY_WRITABLE 0x1
#define MSHV_MEMORY_EXECUTABLE 0x2
#define MSHV_MEMORY_UNMAP 0x4
#define MSHV_SET_GUEST_MEMORY _IOW(MSHV_MAGIC, 0x02, struct mshv_memory_region)

struct mshv_access_bitmap {
    uint8_t type;
    uint8_t operation;
    uint8_t reserved[6];
    uint64_t page_count;
    uint64_t guest_page;
    uint64_t bitmap; /* address; a bit for each page */
};
#define MSHV_ACCESS_DIRTY 1
#define MSHV_ACCESS_CLEAR 1 /* after reading */
#define MSHV_GET_ACCESS_BITMAP _IOWR(MSHV_MAGIC, 0x06, struct mshv_access_bitmap)

struct mshv_hypercall {
    uint16_t code;
    uint16_t repetitions; /* in: wanted; out: done */
    uint16_t input_size;
    uint16_t output_size;
    uint16_t status; /* in: 0; out: Hyper-V's */
    uint8_t reserved[6];
    uint64_t input, output; /* addresses; at most a page each */
};
#define MSHV_HYPERCALL _IOWR(MSHV_MAGIC, 0x07, struct mshv_hypercall)

#define MSHV_MESSAGE_SIZE 256
struct mshv_run_vp {
    uint8_t message[MSHV_MESSAGE_SIZE];
};
#define MSHV_RUN_VP _IOR(MSHV_MAGIC, 0x00, struct mshv_run_vp)

struct mshv_vp_state {
    uint8_t type;
    uint8_t reserved[3];
    uint32_t size;
    uint64_t buffer; /* address; both are page-aligned */
};
#define MSHV_VP_STATE_XSAVE 1 /* in the compacted format */
#define MSHV_GET_VP_STATE _IOWR(MSHV_MAGIC, 0x01, struct mshv_vp_state)

#define MSHV_MMAP_REGISTER_PAGE 0 /* offset in the VP's descriptor */

/* Hypercalls that the kernel passes on. It fills in `partition`. */
#define MSHV_HYPERCALL_SET_PROPERTY 69
#define MSHV_HYPERCALL_GET_REGISTERS 80
#define MSHV_HYPERCALL_SET_REGISTERS 81

struct mshv_set_property {
    uint64_t partition;
    uint32_t code;
    uint32_t padding;
    uint64_t value;
};
#define MSHV_PROPERTY_SYNTHETIC_FEATURES 0x10001 /* before the partition is initialized */
#define MSHV_PROPERTY_TRACK_ACCESS 0x50005

struct mshv_register_head {
    uint64_t partition;
    uint32_t vp;
    uint32_t level; /* virtual trust level: 0 */
};

struct mshv_named_register {
    uint32_t name;
    uint32_t padding;
    uint64_t padding2;
    union hl__hyperv_value value;
};

/* One hypercall moves at most a page. */
#define MSHV_REGISTERS_MAX 64
struct mshv_get_registers {
    struct mshv_register_head head;
    uint32_t names[MSHV_REGISTERS_MAX];
};
struct mshv_set_registers {
    struct mshv_register_head head;
    struct mshv_named_register registers[MSHV_REGISTERS_MAX];
};

/* Names of registers. */
#define MSHV_REGISTER_ACTIVITY_STATE 0x00000004
#define MSHV_REGISTER_PENDING_INTERRUPTION 0x00010002
#define MSHV_REGISTER_INTERRUPT_STATE 0x00010003
#define MSHV_REGISTER_PENDING_EVENT 0x00010004 /* and one more */
#define MSHV_REGISTER_RAX 0x00020000           /* then as enum hl__hyperv_general */
#define MSHV_REGISTER_CR0 0x00040000
#define MSHV_REGISTER_CR2 0x00040001
#define MSHV_REGISTER_CR3 0x00040002
#define MSHV_REGISTER_CR4 0x00040003
#define MSHV_REGISTER_XFEM 0x00040005
#define MSHV_REGISTER_ES 0x00060000 /* then CS, SS, DS, FS, GS, LDTR, TR */
#define MSHV_REGISTER_IDTR 0x00070000
#define MSHV_REGISTER_GDTR 0x00070001
#define MSHV_REGISTER_TSC 0x00080000
#define MSHV_REGISTER_EFER 0x00080001
#define MSHV_REGISTER_STAR 0x00080008
#define MSHV_REGISTER_LSTAR 0x00080009
#define MSHV_REGISTER_SYSCALL_MASK 0x0008000b

/* The page of registers that a VP shares, as far as it is used. */
struct mshv_register_page {
    uint16_t version;
    uint8_t is_valid;
    uint8_t reserved;
    uint32_t dirty;                             /* MSHV_DIRTY_*: Hyper-V takes these */
    uint64_t general[HL__HYPERV_GENERAL_COUNT]; /* in the order of the names */
};
#define MSHV_REGISTER_PAGE_VERSION 1
#define MSHV_DIRTY_GENERAL 0x01
#define MSHV_DIRTY_INSTRUCTION_POINTER 0x02
#define MSHV_DIRTY_FLAGS 0x10

/* The message that tells why a VP exited. */
enum mshv_message_type {
    MSHV_MESSAGE_UNMAPPED_ADDRESS = (int)0x80000000,
    MSHV_MESSAGE_FORBIDDEN_ACCESS = (int)0x80000001,
    MSHV_MESSAGE_TRIPLE_FAULT = (int)0x80000021,
    MSHV_MESSAGE_PORT = (int)0x80010000,
    MSHV_MESSAGE_HALT = (int)0x80010007
};

struct mshv_message_head {
    uint32_t type;
    uint8_t size;
    uint8_t flags;
    uint8_t reserved[2];
    uint64_t sender;
    uint32_t vp;
    uint8_t instruction_length; /* lower 4 bits */
    uint8_t access;             /* MSHV_ACCESS_IS_* */
    uint16_t execution_state;
    struct hl__hyperv_segment cs;
    uint64_t rip, rflags;
};
#define MSHV_ACCESS_IS_WRITE 1
#define MSHV_INSTRUCTION_LENGTH 0x0f

struct mshv_port_message {
    struct mshv_message_head head;
    uint16_t port;
    uint8_t access; /* MSHV_PORT_* */
    uint8_t instruction_byte_count;
    uint32_t reserved;
    uint64_t rax;
};
#define MSHV_PORT_SIZE 0x07
#define MSHV_PORT_STRING 0x08

struct mshv_memory_message {
    struct mshv_message_head head;
    uint32_t cache_type;
    uint8_t instruction_byte_count;
    uint8_t access_information;
    uint8_t priority;
    uint8_t reserved;
    uint64_t guest_virtual, guest_physical;
};

_Static_assert(sizeof(struct mshv_memory_region) == 32, "layout");
_Static_assert(sizeof(struct mshv_access_bitmap) == 32, "layout");
_Static_assert(sizeof(struct mshv_hypercall) == 32, "layout");
_Static_assert(sizeof(struct mshv_vp_state) == 16, "layout");
_Static_assert(sizeof(struct mshv_named_register) == 32, "layout");
_Static_assert(sizeof(struct mshv_set_registers) <= MSHV_PAGE_SIZE, "fits into a hypercall");
_Static_assert(offsetof(struct mshv_register_page, general) == 8, "layout");
_Static_assert(sizeof(struct mshv_message_head) == 56, "layout");
_Static_assert(offsetof(struct mshv_port_message, rax) == 64, "layout");
_Static_assert(offsetof(struct mshv_memory_message, guest_physical) == 72, "layout");

#endif
