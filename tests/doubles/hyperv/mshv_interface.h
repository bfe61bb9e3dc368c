/*
 * The interface of /dev/mshv as the double implements it, from the kernel's header <linux/mshv.h> and
 * Hyper-V's own structures. Written apart from the library's declarations, so that an error in one is
 * not in the other.
 */
#ifndef DOUBLES_HYPERV_MSHV_INTERFACE_H
#define DOUBLES_HYPERV_MSHV_INTERFACE_H

#include <stdint.h>
#include <sys/ioctl.h>

/* Requests: 0xb8 and a number; `size` is what travels. */
#define REQUEST(direction, number, size) _IOC(direction, 0xb8u, number, size)
#define REQUEST_CREATE_PARTITION REQUEST(_IOC_WRITE, 0u, 16u)
#define REQUEST_INITIALIZE REQUEST(_IOC_NONE, 0u, 0u)
#define REQUEST_CREATE_VP REQUEST(_IOC_WRITE, 1u, 4u)
#define REQUEST_SET_MEMORY REQUEST(_IOC_WRITE, 2u, 32u)
#define REQUEST_IRQFD REQUEST(_IOC_WRITE, 3u, 16u)
#define REQUEST_IOEVENTFD REQUEST(_IOC_WRITE, 4u, 32u)
#define REQUEST_MSI_ROUTING REQUEST(_IOC_WRITE, 5u, 8u)
#define REQUEST_ACCESS_BITMAP REQUEST(_IOC_READ | _IOC_WRITE, 6u, 32u)
#define REQUEST_HYPERCALL REQUEST(_IOC_READ | _IOC_WRITE, 7u, 32u)
#define REQUEST_RUN REQUEST(_IOC_READ, 0u, 256u)
#define REQUEST_GET_STATE REQUEST(_IOC_READ | _IOC_WRITE, 1u, 16u)
#define REQUEST_SET_STATE REQUEST(_IOC_READ | _IOC_WRITE, 2u, 16u)

struct partition_request {
    uint64_t flags, isolation;
};
#define PARTITION_HAS_APIC 0x1u
#define PARTITION_HAS_FEATURES 0x8u /* a longer structure follows */
#define PARTITION_FLAGS 0x3fu
struct partition_features {
    uint16_t banks;
    uint8_t reserved[6];
    uint64_t disabled_processor[2];
    uint64_t disabled_xsave;
};

struct memory_request {
    uint64_t size, guest_page, host;
    uint8_t flags, reserved[7];
};
enum { MEMORY_WRITE = 1, MEMORY_EXECUTE = 2, MEMORY_UNMAP = 4, MEMORY_FLAGS = 7 };

struct bitmap_request {
    uint8_t type, operation, reserved[6];
    uint64_t count, guest_page, bitmap;
};

struct state_request {
    uint8_t type, reserved[3];
    uint32_t size;
    uint64_t buffer;
};
enum {
    STATE_APIC,
    STATE_XSAVE,
    STATE_MESSAGES,
    STATE_EVENTS,
    STATE_TIMERS,
    STATE_COUNT,
    STATE_TIMERS_SIZE = 200
};

struct hypercall_request {
    uint16_t code, repetitions, input_size, output_size, status;
    uint8_t reserved[6];
    uint64_t input, output;
};
enum {
    CALL_GET_PROPERTY = 68,
    CALL_SET_PROPERTY = 69,
    CALL_INSTALL_INTERCEPT = 77,
    CALL_GET_REGISTERS = 80,
    CALL_SET_REGISTERS = 81,
    CALL_TRANSLATE = 82,
    CALL_CLEAR_INTERRUPT = 86,
    CALL_REGISTER_INTERCEPT_RESULT = 145,
    CALL_ASSERT_INTERRUPT = 148,
    CALL_SIGNAL_EVENT = 192,
    CALL_POST_MESSAGE = 193,
    CALL_CPUID_VALUES = 244,
    CALL_GET_PROPERTY_EX = 257
};
enum {
    STATUS_INVALID_INPUT = 3,
    STATUS_INVALID_PARAMETER = 5,
    STATUS_STATE = 7,
    STATUS_UNKNOWN_PROPERTY = 9,
    STATUS_NO_MEMORY = 0xb,
    STATUS_VP_INDEX = 0xe,
    STATUS_OPERATION_FAILED = 0x71,
    STATUS_BAD_REGISTER_VALUE = 0x50
};

struct segment_layout {
    uint64_t base;
    uint32_t limit;
    uint16_t selector, attributes;
};

/* The first page of a VP's descriptor. */
struct register_page {
    uint16_t version;
    uint8_t is_valid, reserved0;
    uint32_t dirty;
    uint64_t general[16], rip, rflags, reserved1;
    uint8_t xmm[6][16];
    struct segment_layout segments[6];
    uint64_t control[10]; /* CR0, CR3, CR4, CR8, EFER, DR7, and what is pending */
};
enum { DIRTY_GENERAL = 1, DIRTY_RIP = 2, DIRTY_XMM = 4, DIRTY_SEGMENTS = 8, DIRTY_FLAGS = 16 };

/* Messages: why a VP exited. */
enum message_type {
    MESSAGE_UNMAPPED = (int)0x80000000,
    MESSAGE_NO_ACCESS = (int)0x80000001,
    MESSAGE_BAD_REGISTER = (int)0x80000020,
    MESSAGE_TRIPLE_FAULT = (int)0x80000021,
    MESSAGE_PORT = (int)0x80010000,
    MESSAGE_HALT = (int)0x80010007
};
struct message_head {
    uint32_t type;
    uint8_t size, flags, reserved[2];
    uint64_t sender;
};
struct intercept_head {
    uint32_t vp;
    uint8_t length_and_cr8, access;
    uint16_t execution_state;
    struct segment_layout cs;
    uint64_t rip, rflags;
};
struct port_message {
    struct intercept_head head;
    uint16_t port;
    uint8_t access, byte_count;
    uint32_t reserved;
    uint64_t rax;
    uint8_t bytes[16];
    struct segment_layout ds, es;
    uint64_t rcx, rsi, rdi;
};
struct memory_message {
    struct intercept_head head;
    uint32_t cache_type;
    uint8_t byte_count, access, priority, reserved;
    uint64_t virtual_address, physical_address;
    uint8_t bytes[16];
};
struct message {
    struct message_head head;
    union {
        struct intercept_head intercept;
        struct port_message port;
        struct memory_message memory;
        uint8_t bytes[240];
    } payload;
};
_Static_assert(sizeof(struct intercept_head) == 40, "layout");
_Static_assert(sizeof(struct message) == 256, "layout");
_Static_assert(sizeof(struct bitmap_request) == 32 && sizeof(struct memory_request) == 32,
               "layout");
_Static_assert(sizeof(struct hypercall_request) == 32, "layout");
_Static_assert(sizeof(struct register_page) <= 4096, "layout");
_Static_assert(__builtin_offsetof(struct register_page, control) == 0x160, "layout");

#endif
