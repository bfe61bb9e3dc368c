/* Registers and vector state of x86-64: between the contract's form and Hyper-V's. */
#include "driver/hyperv.h"

#include <cpuid.h>
#include <string.h>

/* Bits of a segment's attributes. */
#define SEGMENT_TYPE 0x000fu
#define SEGMENT_CODE_OR_DATA 0x0010u
#define SEGMENT_DPL_SHIFT 5
#define SEGMENT_PRESENT 0x0080u
#define SEGMENT_LONG 0x2000u
#define SEGMENT_DEFAULT_BIG 0x4000u
#define SEGMENT_GRANULARITY 0x8000u

#define XCR0_LEAF 0xd
#define XCR0_X87_SSE 0x3ull
#define XCR0_AVX 0x4ull
#define XCR0_AVX512 0xe0ull
/* Components that fit into HL__VECTOR_STATE_SIZE: all up to PKRU, not AMX. */
#define XCR0_USABLE 0x2ffull

/* The XSAVE area: legacy region, header, then components. */
#define XSAVE_LEGACY_SIZE 512u
#define XSAVE_HEADER_SIZE 64u
#define XSAVE_PRESENT 512u   /* XSTATE_BV */
#define XSAVE_COMPACTED 520u /* XCOMP_BV */
#define XSAVE_IS_COMPACTED (1ull << 63)
#define XSAVE_COMPONENTS 63u
#define XSAVE_ALIGNMENT 64u

void hl__hyperv_general_to(const struct hl__general_state *from, uint64_t *to)
{
    to[HL__HYPERV_RAX] = from->rax;
    to[HL__HYPERV_RCX] = from->rcx;
    to[HL__HYPERV_RDX] = from->rdx;
    to[HL__HYPERV_RBX] = from->rbx;
    to[HL__HYPERV_RSP] = from->rsp;
    to[HL__HYPERV_RBP] = from->rbp;
    to[HL__HYPERV_RSI] = from->rsi;
    to[HL__HYPERV_RDI] = from->rdi;
    to[HL__HYPERV_R8] = from->r8;
    to[HL__HYPERV_R9] = from->r9;
    to[HL__HYPERV_R10] = from->r10;
    to[HL__HYPERV_R11] = from->r11;
    to[HL__HYPERV_R12] = from->r12;
    to[HL__HYPERV_R13] = from->r13;
    to[HL__HYPERV_R14] = from->r14;
    to[HL__HYPERV_R15] = from->r15;
    to[HL__HYPERV_RIP] = from->rip;
    to[HL__HYPERV_RFLAGS] = from->rflags;
}

void hl__hyperv_general_from(const uint64_t *from, struct hl__general_state *to)
{
    *to = (struct hl__general_state){
        .rax = from[HL__HYPERV_RAX],
        .rbx = from[HL__HYPERV_RBX],
        .rcx = from[HL__HYPERV_RCX],
        .rdx = from[HL__HYPERV_RDX],
        .rsi = from[HL__HYPERV_RSI],
        .rdi = from[HL__HYPERV_RDI],
        .rsp = from[HL__HYPERV_RSP],
        .rbp = from[HL__HYPERV_RBP],
        .r8 = from[HL__HYPERV_R8],
        .r9 = from[HL__HYPERV_R9],
        .r10 = from[HL__HYPERV_R10],
        .r11 = from[HL__HYPERV_R11],
        .r12 = from[HL__HYPERV_R12],
        .r13 = from[HL__HYPERV_R13],
        .r14 = from[HL__HYPERV_R14],
        .r15 = from[HL__HYPERV_R15],
        .rip = from[HL__HYPERV_RIP],
        .rflags = from[HL__HYPERV_RFLAGS],
    };
}

static union hl__hyperv_value segment_to(const struct hl__segment *from)
{
    unsigned attributes =
        (from->type & SEGMENT_TYPE) | (from->code_or_data ? SEGMENT_CODE_OR_DATA : 0) |
        (from->dpl & 3u) << SEGMENT_DPL_SHIFT | (from->present ? SEGMENT_PRESENT : 0) |
        (from->long_mode ? SEGMENT_LONG : 0) | (from->default_big ? SEGMENT_DEFAULT_BIG : 0) |
        (from->granularity ? SEGMENT_GRANULARITY : 0);
    return (union hl__hyperv_value){.segment = {.base = from->base,
                                                .limit = from->limit,
                                                .selector = from->selector,
                                                .attributes = (uint16_t)attributes}};
}

static struct hl__segment segment_from(const struct hl__hyperv_segment *from)
{
    return (struct hl__segment){
        .base = from->base,
        .limit = from->limit,
        .selector = from->selector,
        .type = from->attributes & SEGMENT_TYPE,
        .dpl = from->attributes >> SEGMENT_DPL_SHIFT & 3,
        .present = from->attributes & SEGMENT_PRESENT,
        .code_or_data = from->attributes & SEGMENT_CODE_OR_DATA,
        .long_mode = from->attributes & SEGMENT_LONG,
        .default_big = from->attributes & SEGMENT_DEFAULT_BIG,
        .granularity = from->attributes & SEGMENT_GRANULARITY,
    };
}

static union hl__hyperv_value table_to(const struct hl__table_register *from)
{
    return (union hl__hyperv_value){.table = {.base = from->base, .limit = from->limit}};
}

static struct hl__table_register table_from(const struct hl__hyperv_table *from)
{
    return (struct hl__table_register){.base = from->base, .limit = from->limit};
}

static union hl__hyperv_value number_to(uint64_t number)
{
    return (union hl__hyperv_value){.words = {number, 0}};
}

void hl__hyperv_system_to(const struct hl__system_state *from, union hl__hyperv_value *to)
{
    to[HL__HYPERV_ES] = segment_to(&from->es);
    to[HL__HYPERV_CS] = segment_to(&from->cs);
    to[HL__HYPERV_SS] = segment_to(&from->ss);
    to[HL__HYPERV_DS] = segment_to(&from->ds);
    to[HL__HYPERV_FS] = segment_to(&from->fs);
    to[HL__HYPERV_GS] = segment_to(&from->gs);
    to[HL__HYPERV_LDTR] = segment_to(&from->ldt);
    to[HL__HYPERV_TR] = segment_to(&from->tr);
    to[HL__HYPERV_IDTR] = table_to(&from->idt);
    to[HL__HYPERV_GDTR] = table_to(&from->gdt);
    to[HL__HYPERV_CR0] = number_to(from->cr0);
    to[HL__HYPERV_CR2] = number_to(from->cr2);
    to[HL__HYPERV_CR3] = number_to(from->cr3);
    to[HL__HYPERV_CR4] = number_to(from->cr4);
    to[HL__HYPERV_EFER] = number_to(from->efer);
}

void hl__hyperv_system_from(const union hl__hyperv_value *from, struct hl__system_state *to)
{
    *to = (struct hl__system_state){
        .es = segment_from(&from[HL__HYPERV_ES].segment),
        .cs = segment_from(&from[HL__HYPERV_CS].segment),
        .ss = segment_from(&from[HL__HYPERV_SS].segment),
        .ds = segment_from(&from[HL__HYPERV_DS].segment),
        .fs = segment_from(&from[HL__HYPERV_FS].segment),
        .gs = segment_from(&from[HL__HYPERV_GS].segment),
        .ldt = segment_from(&from[HL__HYPERV_LDTR].segment),
        .tr = segment_from(&from[HL__HYPERV_TR].segment),
        .idt = table_from(&from[HL__HYPERV_IDTR].table),
        .gdt = table_from(&from[HL__HYPERV_GDTR].table),
        .cr0 = from[HL__HYPERV_CR0].number,
        .cr2 = from[HL__HYPERV_CR2].number,
        .cr3 = from[HL__HYPERV_CR3].number,
        .cr4 = from[HL__HYPERV_CR4].number,
        .efer = from[HL__HYPERV_EFER].number,
    };
}

/* Vector state */

uint64_t hl__hyperv_xcr0(unsigned attempt)
{
    static const uint64_t wishes[] = {XCR0_USABLE, XCR0_X87_SSE | XCR0_AVX | XCR0_AVX512,
                                      XCR0_X87_SSE | XCR0_AVX, XCR0_X87_SSE};
    uint32_t eax = 0, ebx, ecx, edx;
    if (attempt >= sizeof wishes / sizeof *wishes)
        return 0;
    (void)__get_cpuid_count(XCR0_LEAF, 0, &eax, &ebx, &ecx, &edx);
    return (eax & wishes[attempt]) | XCR0_X87_SSE;
}

/* One component of the XSAVE area, as CPUID tells. */
struct component {
    uint32_t size, offset; /* in the standard format */
    bool aligned;          /* in the compacted format */
};

static struct component component_find(unsigned number)
{
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    (void)__get_cpuid_count(XCR0_LEAF, number, &eax, &ebx, &ecx, &edx);
    return (struct component){.size = eax, .offset = ebx, .aligned = ecx & 2};
}

/* Whether it has a place in the standard format: supervisor state has none. */
static bool component_fits(const struct component *component)
{
    return component->offset >= XSAVE_LEGACY_SIZE + XSAVE_HEADER_SIZE &&
           component->offset + component->size <= HL__VECTOR_STATE_SIZE;
}

static uint64_t read_word(const uint8_t *area, size_t offset)
{
    uint64_t word;
    memcpy(&word, area + offset, sizeof word);
    return word;
}

void hl__hyperv_vector_expand(const uint8_t *from, size_t size, uint8_t *to)
{
    memset(to, 0, HL__VECTOR_STATE_SIZE);
    if (size < XSAVE_LEGACY_SIZE + XSAVE_HEADER_SIZE)
        return;
    uint64_t present = read_word(from, XSAVE_PRESENT);
    uint64_t layout = read_word(from, XSAVE_COMPACTED);
    memcpy(to, from, XSAVE_LEGACY_SIZE);
    memcpy(to + XSAVE_PRESENT, &present, sizeof present);
    bool compacted = layout & XSAVE_IS_COMPACTED;
    size_t next = XSAVE_LEGACY_SIZE + XSAVE_HEADER_SIZE;
    for (unsigned number = 2; number < XSAVE_COMPONENTS; number++) {
        uint64_t bit = 1ull << number;
        if (!((compacted ? layout : present) & bit))
            continue;
        struct component component = component_find(number);
        if (compacted && component.aligned)
            next = (next + XSAVE_ALIGNMENT - 1) / XSAVE_ALIGNMENT * XSAVE_ALIGNMENT;
        size_t source = compacted ? next : component.offset;
        next += component.size;
        if (present & bit && source + component.size <= size && component_fits(&component))
            memcpy(to + component.offset, from + source, component.size);
    }
}

/* Half-done instructions */

void hl__hyperv_finish(const struct hl__hyperv_waiting *waiting, uint64_t *rip, uint64_t *rax)
{
    *rip = waiting->rip + waiting->length;
    *rax = waiting->rax;
    if (waiting->read_size == 4)
        *rax = 0; /* a 32-bit result clears the upper half too */
    else if (waiting->read_size)
        *rax &= ~0ull << 8 * waiting->read_size;
}
