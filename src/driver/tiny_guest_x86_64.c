/* The tiny guest on x86-64: its code, its tables and its registers. */
#include "driver/tiny_guest.h"

#include "os/os.h"

#include <string.h>

/* Pages of the system slot. */
enum tiny_page {
    TINY_TABLES,                        /* PML4, PDPT, PD, PT of each address space */
    TINY_DESCRIPTORS = TINY_TABLES + 8, /* GDT and IDT */
    TINY_TSS,
    TINY_STUBS,
    TINY_FAULT_STACK,
    TINY_PAGES
};
_Static_assert(TINY_PAGES *HL__TINY_PAGE <= HL__TINY_SYSTEM_SIZE, "system pages fit");

#define TINY_VECTORS 32u
#define TINY_STUB_SIZE 16u
#define TINY_IDT_OFFSET 0x800u

#define TINY_KERNEL_CODE 0x08
#define TINY_KERNEL_DATA 0x10
#define TINY_USER_DATA 0x1b
#define TINY_USER_CODE 0x23
#define TINY_TSS_SELECTOR 0x28

#define ENTRY_PRESENT 1ull
#define ENTRY_WRITE 2ull
#define ENTRY_USER 4ull
#define ENTRY_SEEN 0x60ull /* accessed and dirty: the processor has nothing to write */
#define ENTRY_NX (1ull << 63)

#define CR0_BITS 0x80010033ull /* PG, WP, NE, ET, MP, PE */
#define EFER_BITS 0xd01ull     /* NXE, LMA, LME, SCE */

/* The code knows these by number: its port is 0x5148, its values are those of the header. */
_Static_assert(HL__TINY_PORT == 0x5148 && HL__TINY_EXCEPTION == 0xe0000000u &&
                   HL__TINY_DONE == 0xd0000000u && HL__TINY_SYSCALL_USER == 0x51000003u &&
                   HL__TINY_SYSCALL_RING0 == 0x51000000u,
               "guest code knows these numbers");

#ifdef _WIN32
#define READ_ONLY_DATA ".section .rdata, \"dr\"\n"
#else
#define READ_ONLY_DATA ".section .rodata\n"
#endif

#define RING "77: out %eax, %dx\n jmp 77b\n"
#define DONE " mov $0xd0000000, %eax\n" RING

extern const uint8_t tiny_code[], tiny_code_end[], tiny_count[], tiny_read[], tiny_write[],
    tiny_touch[], tiny_spin[], tiny_echo_state[], tiny_out_byte[], tiny_out_word[], tiny_in[],
    tiny_in_word[], tiny_in_byte[], tiny_ins[], tiny_read_wide[], tiny_copy[], tiny_ud2[],
    tiny_divide[], tiny_cli[], tiny_hlt[], tiny_syscall[], tiny_syscall_landing[], tiny_sgdt[],
    tiny_fsbase[], tiny_xgetbv[], tiny_vector_load[], tiny_vector_store[], tiny_xrstor[],
    tiny_avx[], tiny_time[];

__asm__(READ_ONLY_DATA
        "tiny_code:\n"
        "tiny_count: mov %edi, %eax\n out %eax, %dx\n inc %edi\n jmp tiny_count\n"
        "tiny_read: mov (%rdi), %eax\n" RING "tiny_write: mov %esi, (%rdi)\n" DONE
        "tiny_touch: mov %esi, (%rdi)\n add %rcx, %rdi\n dec %r8\n jnz tiny_touch\n" DONE
        "tiny_spin: movl $1, (%rdi)\n 1: jmp 1b\n"
        "tiny_echo_state:\n"
        " adc %rbx, %rax\n lea (%rax, %rcx, 2), %rax\n lea (%rax, %rsi, 4), %rax\n"
        " lea (%rax, %rdi, 8), %rax\n add %rbp, %rax\n lea (%rax, %rax, 2), %rax\n"
        " add %rsp, %rax\n lea (%rax, %rax, 2), %rax\n lea (%rax, %r8, 2), %rax\n"
        " lea (%rax, %r9, 4), %rax\n lea (%rax, %r10, 8), %rax\n lea (%rax, %rax, 2), %rax\n"
        " add %r11, %rax\n lea (%rax, %r12, 2), %rax\n lea (%rax, %r13, 4), %rax\n"
        " lea (%rax, %r14, 8), %rax\n lea (%rax, %rax, 2), %rax\n add %r15, %rax\n" RING
        "tiny_out_byte: out %al, %dx\n" DONE "tiny_out_word: out %ax, %dx\n" DONE
        "tiny_in: in %dx, %eax\n" RING "tiny_in_word: in %dx, %ax\n" RING
        "tiny_in_byte: in %dx, %al\n" RING "tiny_ins: rep insb\n mov %ecx, %eax\n" RING
        "tiny_read_wide: movdqu (%rdi), %xmm0\n" DONE "tiny_copy: rep movsb\n mov %ecx, %eax\n" RING
        "tiny_ud2: ud2\n" DONE "tiny_divide: xor %ecx, %ecx\n div %ecx\n" DONE
        "tiny_cli: cli\n" DONE "tiny_hlt: hlt\n" DONE "tiny_syscall: syscall\n" DONE
        "tiny_syscall_landing: mov $0x51000003, %eax\n mov $0x5148, %edx\n" RING
        "tiny_sgdt: sgdt -16(%rsp)\n" DONE "tiny_fsbase: wrfsbase %rdi\n rdfsbase %rax\n" RING
        "tiny_xgetbv: xor %ecx, %ecx\n xgetbv\n mov $0x5148, %edx\n" RING
        "tiny_avx: vmovdqu (%rdi), %ymm5\n mov $0xd0000000, %eax\n out %eax, %dx\n"
        " vmovdqu %ymm5, (%rsi)\n" DONE
        "tiny_vector_load: movdqu (%rdi), %xmm5\n mov $0xd0000000, %eax\n out %eax, %dx\n"
        "tiny_vector_store: movdqu %xmm5, (%rsi)\n" DONE
        "tiny_xrstor: mov $-1, %eax\n mov $-1, %edx\n xrstor (%rdi)\n mov $0x5148, %edx\n" DONE
        "tiny_time: rdtsc\n shl $32, %rdx\n or %rdx, %rax\n mov %rax, (%rdi)\n"
        " mov $0x5148, %edx\n" DONE "tiny_code_end:\n"
        ".text\n");

extern const uint8_t tiny_stubs[], tiny_stubs_end[], tiny_stub_syscall[], tiny_stub_read[],
    tiny_stub_reload[], tiny_stub_poke[], tiny_stub_rewrite[], tiny_stub_hlt[];

__asm__(READ_ONLY_DATA
        "tiny_stubs:\n"
        " vector = 0\n"
        " .rept 32\n"
        " .org tiny_stubs + 16 * vector\n"
        " mov $0xe0000000 + vector, %eax\n mov $0x5148, %edx\n" RING " vector = vector + 1\n"
        " .endr\n"
        " .org tiny_stubs + 16 * vector\n"
        "tiny_stub_syscall: mov $0x51000000, %eax\n mov $0x5148, %edx\n" RING
        "tiny_stub_read: mov (%rdi), %eax\n" RING "tiny_stub_poke: lock orw $0, (%rdi)\n"
        "tiny_stub_reload: mov %cr3, %rax\n mov %rax, %cr3\n" DONE "tiny_stub_hlt: hlt\n" DONE
        "tiny_stub_rewrite: rep movsq\n jmp tiny_stub_reload\n"
        "tiny_stubs_end:\n"
        ".text\n");

static const uint8_t *const tiny_code_places[HL__TINY_CODE_COUNT] = {
    [HL__TINY_COUNT] = tiny_count,
    [HL__TINY_READ] = tiny_read,
    [HL__TINY_WRITE] = tiny_write,
    [HL__TINY_TOUCH] = tiny_touch,
    [HL__TINY_SPIN] = tiny_spin,
    [HL__TINY_ECHO_STATE] = tiny_echo_state,
    [HL__TINY_OUT_BYTE] = tiny_out_byte,
    [HL__TINY_OUT_WORD] = tiny_out_word,
    [HL__TINY_IN] = tiny_in,
    [HL__TINY_IN_WORD] = tiny_in_word,
    [HL__TINY_IN_BYTE] = tiny_in_byte,
    [HL__TINY_INS] = tiny_ins,
    [HL__TINY_READ_WIDE] = tiny_read_wide,
    [HL__TINY_COPY] = tiny_copy,
    [HL__TINY_UD2] = tiny_ud2,
    [HL__TINY_DIVIDE] = tiny_divide,
    [HL__TINY_CLI] = tiny_cli,
    [HL__TINY_HLT] = tiny_hlt,
    [HL__TINY_SYSCALL] = tiny_syscall,
    [HL__TINY_SYSCALL_LANDING] = tiny_syscall_landing,
    [HL__TINY_SGDT] = tiny_sgdt,
    [HL__TINY_FSBASE] = tiny_fsbase,
    [HL__TINY_XGETBV] = tiny_xgetbv,
    [HL__TINY_VECTOR_LOAD] = tiny_vector_load,
    [HL__TINY_AVX] = tiny_avx,
    [HL__TINY_VECTOR_STORE] = tiny_vector_store,
    [HL__TINY_XRSTOR] = tiny_xrstor,
    [HL__TINY_TIME] = tiny_time,
};

static const uint8_t *const tiny_stub_places[HL__TINY_STUB_COUNT] = {
    [HL__TINY_STUB_SYSCALL] = tiny_stub_syscall, [HL__TINY_STUB_READ] = tiny_stub_read,
    [HL__TINY_STUB_RELOAD] = tiny_stub_reload,   [HL__TINY_STUB_POKE] = tiny_stub_poke,
    [HL__TINY_STUB_REWRITE] = tiny_stub_rewrite, [HL__TINY_STUB_HLT] = tiny_stub_hlt,
};

static uint64_t tiny_page_address(unsigned page)
{
    return HL__TINY_SYSTEM + (uint64_t)page * HL__TINY_PAGE;
}

uint64_t hl__tiny_code_address(enum hl__tiny_code code)
{
    return HL__TINY_CODE + (uint64_t)(tiny_code_places[code] - tiny_code);
}

uint64_t hl__tiny_stub_address(enum hl__tiny_stub stub)
{
    return tiny_page_address(TINY_STUBS) + (uint64_t)(tiny_stub_places[stub] - tiny_stubs);
}

uint64_t hl__tiny_root(unsigned space)
{
    return tiny_page_address(TINY_TABLES + 4 * space);
}

void *hl__tiny_guest_at(const struct hl__tiny_guest *guest, uint64_t address)
{
    return guest->memory + (address - HL__TINY_BASE);
}

uint64_t *hl__tiny_guest_entry(const struct hl__tiny_guest *guest, unsigned space, uint64_t address)
{
    uint64_t *table = hl__tiny_guest_at(guest, tiny_page_address(TINY_TABLES + 4 * space + 3));
    return &table[address / HL__TINY_PAGE];
}

/* Tables */

static void tiny_map(const struct hl__tiny_guest *guest, unsigned space, uint64_t address,
                     size_t size, uint64_t flags)
{
    for (uint64_t end = address + size; address < end; address += HL__TINY_PAGE)
        *hl__tiny_guest_entry(guest, space, address) = address | ENTRY_PRESENT | ENTRY_SEEN | flags;
}

static void tiny_build_tables(const struct hl__tiny_guest *guest, unsigned space)
{
    for (unsigned level = 0; level < 3; level++) {
        unsigned page = TINY_TABLES + 4 * space + level;
        uint64_t *table = hl__tiny_guest_at(guest, tiny_page_address(page));
        table[0] =
            tiny_page_address(page + 1) | ENTRY_PRESENT | ENTRY_WRITE | ENTRY_USER | ENTRY_SEEN;
    }
    tiny_map(guest, space, HL__TINY_SYSTEM, HL__TINY_SYSTEM_SIZE, ENTRY_WRITE | ENTRY_NX);
    tiny_map(guest, space, tiny_page_address(TINY_STUBS), HL__TINY_PAGE, 0);
    tiny_map(guest, space, HL__TINY_CODE, HL__TINY_CODE_SIZE, ENTRY_USER);
    tiny_map(guest, space, HL__TINY_DATA, HL__TINY_DATA_SIZE, ENTRY_USER | ENTRY_WRITE | ENTRY_NX);
}

/* A TSS whose I/O bitmap opens the four bytes of the port. */
enum { TINY_IO_BITMAP = 104, TINY_TSS_SIZE = TINY_IO_BITMAP + HL__TINY_PORT / 8 + 2 };
_Static_assert(TINY_TSS_SIZE <= HL__TINY_PAGE, "the TSS fits");

static void tiny_build_tss(const struct hl__tiny_guest *guest)
{
    uint8_t *tss = hl__tiny_guest_at(guest, tiny_page_address(TINY_TSS));
    uint64_t stack = tiny_page_address(TINY_FAULT_STACK + 1);
    uint16_t bitmap = TINY_IO_BITMAP;
    memcpy(tss + 4, &stack, sizeof stack);  /* RSP0 */
    memcpy(tss + 36, &stack, sizeof stack); /* IST 1 */
    memcpy(tss + 102, &bitmap, sizeof bitmap);
    memset(tss + TINY_IO_BITMAP, 0xff, TINY_TSS_SIZE - TINY_IO_BITMAP);
    for (unsigned port = HL__TINY_PORT; port < HL__TINY_PORT + 4; port++)
        tss[TINY_IO_BITMAP + port / 8] &= (uint8_t) ~(1u << port % 8);
}

static void tiny_build_descriptors(const struct hl__tiny_guest *guest)
{
    uint64_t *gdt = hl__tiny_guest_at(guest, tiny_page_address(TINY_DESCRIPTORS));
    uint64_t *idt = gdt + TINY_IDT_OFFSET / sizeof *gdt;
    uint64_t tss = tiny_page_address(TINY_TSS);
    gdt[TINY_KERNEL_CODE / 8] = 0x00af9b000000ffffull;
    gdt[TINY_KERNEL_DATA / 8] = 0x00cf93000000ffffull;
    gdt[TINY_USER_DATA / 8] = 0x00cff3000000ffffull;
    gdt[TINY_USER_CODE / 8] = 0x00affb000000ffffull;
    gdt[TINY_TSS_SELECTOR / 8] = (TINY_TSS_SIZE - 1) | (tss & 0xffffff) << 16 | 0x8bull << 40;
    for (unsigned vector = 0; vector < TINY_VECTORS; vector++) {
        uint64_t stub = tiny_page_address(TINY_STUBS) + vector * TINY_STUB_SIZE;
        /* An interrupt gate on IST 1. */
        idt[2 * vector] = (stub & 0xffff) | (uint64_t)TINY_KERNEL_CODE << 16 | 1ull << 32 |
                          0x8eull << 40 | (stub >> 16 & 0xffff) << 48;
    }
}

hl_status hl__tiny_guest_new(struct hl__tiny_guest *guest, hl_error *err)
{
    void *memory;
    hl_status status = hl__os_memory_map(HL__TINY_SIZE, &memory, err);
    if (status != HL_OK)
        return status;
    guest->memory = memory;
    for (unsigned space = 0; space < 2; space++)
        tiny_build_tables(guest, space);
    tiny_build_tss(guest);
    tiny_build_descriptors(guest);
    memcpy(hl__tiny_guest_at(guest, HL__TINY_CODE), tiny_code, (size_t)(tiny_code_end - tiny_code));
    memcpy(hl__tiny_guest_at(guest, tiny_page_address(TINY_STUBS)), tiny_stubs,
           (size_t)(tiny_stubs_end - tiny_stubs));
    return HL_OK;
}

void hl__tiny_guest_free(struct hl__tiny_guest *guest)
{
    hl__os_memory_unmap(guest->memory, HL__TINY_SIZE);
    guest->memory = NULL;
}

hl_status hl__tiny_guest_add(const struct hl__tiny_guest *guest, const hl__driver *driver, void *vm,
                             uint32_t data_flags, hl_error *err)
{
    const struct {
        uint64_t address;
        size_t size;
        uint32_t flags;
    } slots[] = {
        [HL__TINY_SLOT_SYSTEM] = {HL__TINY_SYSTEM, HL__TINY_SYSTEM_SIZE, 0},
        [HL__TINY_SLOT_CODE] = {HL__TINY_CODE, HL__TINY_CODE_SIZE, HL__MEMORY_READ_ONLY},
        [HL__TINY_SLOT_DATA] = {HL__TINY_DATA, HL__TINY_DATA_SIZE, data_flags},
    };
    for (uint32_t slot = 0; slot < HL__TINY_SLOT_FREE; slot++) {
        hl__gpa address = {slots[slot].address};
        hl_status status =
            driver->memory_add(vm, slot, address, hl__tiny_guest_at(guest, address.value),
                               slots[slot].size, slots[slot].flags, err);
        if (status != HL_OK)
            return status;
    }
    return HL_OK;
}

/* Registers */

struct hl__vcpu_setup hl__tiny_vcpu_setup(bool stays)
{
    return (struct hl__vcpu_setup){
        .star = (uint64_t)(TINY_KERNEL_DATA | 3) << 48 | (uint64_t)TINY_KERNEL_CODE << 32,
        .lstar = stays ? hl__tiny_code_address(HL__TINY_SYSCALL_LANDING)
                       : hl__tiny_stub_address(HL__TINY_STUB_SYSCALL),
        .syscall_mask = 0x47700,
    };
}

static struct hl__segment tiny_segment(uint16_t selector, bool is_code)
{
    return (struct hl__segment){
        .limit = 0xffffffff,
        .selector = selector,
        .type = is_code ? 0xb : 0x3,
        .dpl = selector & 3,
        .present = true,
        .code_or_data = true,
        .long_mode = is_code,
        .default_big = !is_code,
        .granularity = true,
    };
}

static void tiny_state_system(const struct hl__machine *machine, bool is_user,
                              struct hl__system_state *system)
{
    struct hl__segment data = tiny_segment(is_user ? TINY_USER_DATA : TINY_KERNEL_DATA, false);
    *system = (struct hl__system_state){
        .cs = tiny_segment(is_user ? TINY_USER_CODE : TINY_KERNEL_CODE, true),
        .ss = data,
        .ds = data,
        .es = data,
        .fs = data,
        .gs = data,
        .tr = {.base = tiny_page_address(TINY_TSS),
               .limit = TINY_TSS_SIZE - 1,
               .selector = TINY_TSS_SELECTOR,
               .type = machine->tss_available ? 0x9 : 0xb,
               .present = true},
        .gdt = {tiny_page_address(TINY_DESCRIPTORS), TINY_TSS_SELECTOR + 15},
        .idt = {tiny_page_address(TINY_DESCRIPTORS) + TINY_IDT_OFFSET, TINY_VECTORS * 16 - 1},
        .cr0 = CR0_BITS,
        .cr3 = hl__tiny_root(0),
        .cr4 = machine->cr4_wanted,
        .efer = EFER_BITS,
    };
}

void hl__tiny_state_user(const struct hl__machine *machine, enum hl__tiny_code code,
                         struct hl__cpu_state *state)
{
    state->general = (struct hl__general_state){
        .rip = hl__tiny_code_address(code),
        .rsp = HL__TINY_DATA + HL__TINY_DATA_SIZE,
        .rdx = HL__TINY_PORT,
        .rflags = 0x202,
    };
    tiny_state_system(machine, true, &state->system);
}

void hl__tiny_state_ring0(const struct hl__machine *machine, enum hl__tiny_stub stub,
                          struct hl__cpu_state *state)
{
    state->general = (struct hl__general_state){
        .rip = hl__tiny_stub_address(stub),
        .rsp = tiny_page_address(TINY_FAULT_STACK + 1),
        .rdx = HL__TINY_PORT,
        .rflags = 0x2,
    };
    tiny_state_system(machine, false, &state->system);
}

struct hl__tiny_frame hl__tiny_guest_frame(const struct hl__tiny_guest *guest, bool has_error_code)
{
    struct hl__tiny_frame frame;
    const uint8_t *top =
        (const uint8_t *)hl__tiny_guest_at(guest, tiny_page_address(TINY_FAULT_STACK)) +
        HL__TINY_PAGE;
    memcpy(&frame, top - sizeof frame, sizeof frame);
    if (!has_error_code)
        frame.error_code = 0;
    return frame;
}
