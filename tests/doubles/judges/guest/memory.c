/*
 * Page tables, and exceptions. Writable pages of the image start read-only with a mark "copy on write"; the guest itself copies
 * them to scratch memory when it first writes.
 */
#include "guest.h"

enum {
    PTE_PRESENT = 1 << 0,
    PTE_WRITABLE = 1 << 1,
    PTE_ACCESSED = 1 << 5,
    PTE_DIRTY = 1 << 6,
    PTE_COPY_ON_WRITE = 1 << 9,
    PTE_KIND_MASK = 0xE00,
};
#define PTE_ADDRESS_MASK 0x000FFFFFFFFFF000ull
#define PTE_NO_EXECUTE (1ull << 63)

/* The ABI's place for the main stack, which this guest has elsewhere. */
#define WINDOW_GVA 0xFFFFFE0000000000ull

enum { VECTORS = 32, VECTOR_PAGE_FAULT = 14, FAULT_PRESENT = 1, FAULT_WRITE = 2 };
enum { SELECTOR_CODE = 0x08, SELECTOR_TASK = 0x10 };

struct exception_frame {
    uint64_t vector, error, rip, cs, flags, rsp, ss;
};

struct gate {
    uint16_t offset_low, selector;
    uint8_t stack, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};

struct __attribute__((packed)) task_state {
    uint32_t reserved;
    uint64_t stacks[3], reserved2, interrupt_stacks[7], reserved3;
    uint16_t reserved4, io_map;
};

struct __attribute__((packed)) table_register {
    uint16_t limit;
    const void *base;
};

/* One page, so that one copy makes all of it writable. The processor writes to it only in LTR. */
static struct {
    struct gate gates[VECTORS];
    uint64_t segments[4];
    struct task_state task;
} tables __attribute__((aligned(4096)));

extern const uint8_t exception_stubs[VECTORS][16];

uint64_t scratch_word(unsigned distance)
{
    return *(volatile uint64_t *)(SCRATCH_TOP_GVA - distance);
}

void *memory_of_scratch(uint64_t gpa)
{
    return (void *)(SCRATCH_TOP_GVA - (SCRATCH_TOP_GPA - gpa));
}

void copy_bytes(void *to, const void *from, size_t size)
{
    size_t words = size / 8, rest = size % 8;
    __asm__ volatile("rep movsq\n\tmov %3, %0\n\trep movsb"
                     : "+c"(words), "+D"(to), "+S"(from)
                     : "r"(rest)
                     : "memory");
}

static void abort_byte(uint8_t byte)
{
    out32(PORT_ABORT, 1u | (uint32_t)byte << 8);
}

_Noreturn void guest_abort(uint8_t code, struct text text)
{
    abort_byte(code);
    for (uint32_t i = 0; i < text.size; i++) {
        abort_byte((uint8_t)text.bytes[i]);
    }
    abort_byte(0xFF);
    for (;;) {
        __asm__ volatile("cli\n\thlt");
    }
}

/* A page of scratch memory that is zero. */
static uint64_t new_page(void)
{
    uint64_t *next = (uint64_t *)(SCRATCH_TOP_GVA - META_ALLOCATOR);
    uint64_t gpa = __atomic_fetch_add(next, PAGE_BYTES, __ATOMIC_RELAXED);
    if (gpa > SCRATCH_TOP_GPA - (SCRATCH_RESERVED_PAGES + 1) * PAGE_BYTES) {
        guest_abort(ERROR_OUT_OF_MEMORY, TEXT("Out of physical memory"));
    }
    return gpa;
}

static uint64_t *root_table(void)
{
    uint64_t cr3;
    __asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
    return memory_of_scratch(cr3 & PTE_ADDRESS_MASK);
}

/* The last-level entry for an address; NULL if there is none and `create` is false. */
static uint64_t *leaf_entry(uint64_t address, bool create)
{
    uint64_t *table = root_table();
    for (unsigned shift = 39; shift > 12; shift -= 9) {
        uint64_t *entry = &table[address >> shift & 511];
        if (!(*entry & PTE_PRESENT)) {
            if (!create) {
                return NULL;
            }
            *entry = new_page() | PTE_PRESENT | PTE_WRITABLE | PTE_ACCESSED;
        }
        table = memory_of_scratch(*entry & PTE_ADDRESS_MASK);
    }
    return &table[address >> 12 & 511];
}

static void set_leaf(uint64_t *entry, uint64_t address, uint64_t gpa, uint64_t no_execute)
{
    *entry = gpa | PTE_PRESENT | PTE_WRITABLE | PTE_ACCESSED | PTE_DIRTY | no_execute;
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

static bool copy_on_write(uint64_t address)
{
    uint64_t *entry = leaf_entry(address, false);
    uint64_t page = address & ~(PAGE_BYTES - 1), gpa;
    if (!entry || !(*entry & PTE_PRESENT) || (*entry & PTE_KIND_MASK) != PTE_COPY_ON_WRITE) {
        return false;
    }
    gpa = new_page();
    copy_bytes(memory_of_scratch(gpa), (const void *)page, PAGE_BYTES);
    set_leaf(entry, page, gpa, *entry & PTE_NO_EXECUTE);
    return true;
}

volatile uint64_t *memory_window(uint64_t gpa)
{
    uint64_t *entry = leaf_entry(WINDOW_GVA, true);
    set_leaf(entry, WINDOW_GVA, gpa & PTE_ADDRESS_MASK, PTE_NO_EXECUTE);
    return (volatile uint64_t *)(WINDOW_GVA + gpa % PAGE_BYTES);
}

void memory_exception(const struct exception_frame *frame)
{
    uint64_t address;
    char vector = (char)frame->vector;
    __asm__ volatile("mov %%cr2, %0" : "=r"(address));
    if (frame->vector == VECTOR_PAGE_FAULT && frame->error == (FAULT_PRESENT | FAULT_WRITE) &&
        copy_on_write(address)) {
        return;
    }
    guest_abort(ERROR_EXCEPTION, (struct text){&vector, 1});
}

static void set_gate(struct gate *gate, uint64_t handler)
{
    gate->offset_low = (uint16_t)handler;
    gate->offset_middle = (uint16_t)(handler >> 16);
    gate->offset_high = (uint32_t)(handler >> 32);
    gate->selector = SELECTOR_CODE;
    gate->stack = 1;
    gate->type = 0x8E; /* present, interrupt gate */
}

static void set_segments(void)
{
    uint64_t task = (uint64_t)&tables.task, limit = sizeof(tables.task) - 1;
    tables.segments[SELECTOR_CODE / 8] = 0x00209B0000000000; /* 64-bit code, accessed */
    tables.segments[SELECTOR_TASK / 8] =
        limit | (task & 0xFFFFFF) << 16 | 0x89ull << 40 | (task >> 24 & 0xFF) << 56;
    tables.segments[SELECTOR_TASK / 8 + 1] = task >> 32;
    tables.task.interrupt_stacks[0] = EXCEPTION_STACK_TOP;
    tables.task.io_map = sizeof(tables.task);
}

void memory_prepare(void)
{
    struct table_register gates = {sizeof(tables.gates) - 1, tables.gates};
    struct table_register segments = {sizeof(tables.segments) - 1, tables.segments};
    copy_on_write((uint64_t)&tables); /* no handler does it yet */
    for (unsigned i = 0; i < VECTORS; i++) {
        set_gate(&tables.gates[i], (uint64_t)exception_stubs[i]);
    }
    set_segments();
    __asm__ volatile("lgdt %0\n\tlidt %1\n\tltr %w2"
                     :
                     : "m"(segments), "m"(gates), "r"(SELECTOR_TASK)
                     : "memory");
}
