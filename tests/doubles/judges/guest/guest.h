/* A guest of the hyperlight 0.18 guest ABI: what its parts know of that ABI and of each other. */
#ifndef JUDGES_GUEST_H
#define JUDGES_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES 4096ull

/* Scratch memory is mapped linearly; it ends at these addresses, and its last words describe it. */
#define SCRATCH_TOP_GPA 0x1000000000ull
#define SCRATCH_TOP_GVA 0xFFFFFFFFFFFFF000ull
#define SCRATCH_RESERVED_PAGES 12
#define EXCEPTION_STACK_TOP (SCRATCH_TOP_GVA - 0x70)

/* Distances of those words from the end. */
enum {
    META_ALLOCATOR = 0x10,
    META_ARENA_GPA = 0x38,
    META_TO_HOST_QUEUE = 0x40,
    META_TO_HOST_PAGES = 0x48,
    META_TO_GUEST_QUEUE = 0x58,
    META_TO_GUEST_PAGES = 0x60,
    META_TO_GUEST_BUFFER = 0x68,
};

enum { PORT_ABORT = 102, PORT_HALT = 108, PORT_NOTIFY = 109 };

enum error_code {
    ERROR_FUNCTION_NOT_FOUND = 4,
    ERROR_PARAMETER_COUNT = 5,
    ERROR_UNKNOWN = 8,
    ERROR_OUT_OF_MEMORY = 13,
    ERROR_PARAMETER_TYPE = 14,
    ERROR_EXCEPTION = 15,
    ERROR_HOST = 17,
};

/* The tags of the unions ParameterValue and ReturnValue that are used here; in the type enums each is one less. */
enum value_type { VALUE_INT = 1, VALUE_ULONG = 4, VALUE_STRING = 7, VALUE_VOID = 9 };

struct text {
    const char *bytes;
    uint32_t size;
};

#define TEXT(literal) ((struct text){literal, sizeof(literal) - 1})

static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "d"(port) : "memory");
}

/* ---- memory.c: page tables, and the exceptions they cause ---- */

void memory_prepare(void);
/* Maps the page of guest physical memory of `gpa` writable at a fixed address, where the result lies. */
volatile uint64_t *memory_window(uint64_t gpa);
void *memory_of_scratch(uint64_t gpa);
uint64_t scratch_word(unsigned distance);

/* Ends the run: the host reports `code` and the text, which must not be empty. */
_Noreturn void guest_abort(uint8_t code, struct text text);
_Noreturn void guest_triple_fault(void);

/* ---- transport.c: messages over the two rings ---- */

enum message_kind { MESSAGE_REQUEST = 1, MESSAGE_RESPONSE = 2, MESSAGE_CHECKPOINT = 7 };

struct message {
    uint8_t kind;
    uint8_t reserved[3];
    uint32_t correlation;
    uint32_t payload_size;
    uint8_t payload[];
};

/* Both rings empty, with buffers for the host in place, and the host told so. */
void transport_prepare(void);
void transport_start(void);
/* A copy of the message the host sent, NULL if there is none; valid until the next one. */
const struct message *transport_receive(void);
/* The message to fill in and then send; `*capacity` is what its payload may have. */
struct message *transport_outgoing(uint32_t *capacity);
void transport_respond(void);
/* Sends the request and returns the host's response. */
const struct message *transport_ask(void);

/* ---- flat.c: FlatBuffers with a size prefix; positions count from that prefix ---- */

/* Reads; an access outside makes the view bad, and gives 0. */
struct view {
    const uint8_t *bytes;
    uint32_t size;
    bool bad;
};

uint8_t view_u8(struct view *view, uint32_t position);
uint32_t view_u32(struct view *view, uint32_t position);
uint64_t view_u64(struct view *view, uint32_t position);
uint32_t view_root(struct view *view);
/* The position of field `slot`, 0 if the table has none. */
uint32_t view_field(struct view *view, uint32_t table, unsigned slot);
/* What the offset in field `slot` leads to, 0 if the table has none. */
uint32_t view_child(struct view *view, uint32_t table, unsigned slot);
struct text view_text(struct view *view, uint32_t position);

struct flat {
    uint8_t *bytes;
    uint32_t size, capacity;
};

void flat_begin(struct flat *flat, uint8_t *bytes, uint32_t capacity);
/* Adds a table whose field N has `sizes[N]` bytes; the fields are zero. */
uint32_t flat_table(struct flat *flat, unsigned count, const uint8_t *sizes);
uint32_t flat_vector(struct flat *flat, uint32_t count);
uint32_t flat_text(struct flat *flat, struct text text);
uint32_t flat_field(struct flat *flat, uint32_t table, unsigned slot);
void flat_set(struct flat *flat, uint32_t position, uint64_t value, unsigned size);
/* Makes the offset at `position` lead to `target`. */
void flat_link(struct flat *flat, uint32_t position, uint32_t target);
void flat_end(struct flat *flat, uint32_t root);

void copy_bytes(void *to, const void *from, size_t size);

#endif
