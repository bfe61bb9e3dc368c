/* The system area of a VM: descriptor tables, TSS, stub, and the tables that map them for the
 * supervisor. */
#include "vm/x86_64/system_area.h"

/* Layout of a 64-bit TSS with the I/O permission bitmap behind it. */
enum {
    TSS_IST1 = 36,
    TSS_BITMAP_OFFSET = 102,
    TSS_SIZE = 104,
    IO_BITMAP_SIZE = 8192,
    TSS_LIMIT = TSS_SIZE + IO_BITMAP_SIZE
};

enum { CR0_PE = 1, CR0_MP = 2, CR0_ET = 16, CR0_NE = 32, CR0_WP = 1 << 16 };
#define CR0_PG UINT64_C(0x80000000)
enum { EFER_SCE = 1, EFER_LME = 0x100, EFER_LMA = 0x400, EFER_NXE = 0x800 };

enum {
    DESCRIPTOR_CODE = 0xb,
    DESCRIPTOR_DATA = 0x3,
    DESCRIPTOR_TSS_AVAILABLE = 0x9,
    DESCRIPTOR_TSS_BUSY = 0xb
};

static uint8_t *page(const hl__vm *vm, uint64_t number)
{
    return vm->system + number * HL__PAGE;
}

static void build_gdt(const hl__vm *vm)
{
    uint64_t *gdt = (uint64_t *)page(vm, HL__SYSTEM_GDT);
    uint64_t tss = hl__system_address(HL__SYSTEM_TSS);
    uint64_t type =
        vm->context->machine.tss_available ? DESCRIPTOR_TSS_AVAILABLE : DESCRIPTOR_TSS_BUSY;
    gdt[HL__SELECTOR_KERNEL_CODE / 8] = UINT64_C(0x00af9b000000ffff);
    gdt[HL__SELECTOR_KERNEL_DATA / 8] = UINT64_C(0x00cf93000000ffff);
    gdt[HL__SELECTOR_USER_DATA / 8] = UINT64_C(0x00cff3000000ffff);
    gdt[HL__SELECTOR_USER_CODE / 8] = UINT64_C(0x00affb000000ffff);
    gdt[HL__SELECTOR_TSS / 8] = (TSS_LIMIT & 0xffff) | (tss & 0xffffff) << 16 |
                                (type | 0x80) << 40 | (uint64_t)(TSS_LIMIT >> 16) << 48 |
                                (tss >> 24 & 0xff) << 56;
    gdt[HL__SELECTOR_TSS / 8 + 1] = tss >> 32;
}

/* Every gate is an interrupt gate on the fault stack. int3 and into may be raised by user mode. */
static void build_idt(const hl__vm *vm)
{
    uint64_t *idt = (uint64_t *)page(vm, HL__SYSTEM_IDT);
    for (unsigned vector = 0; vector < HL__STUB_VECTORS; vector++) {
        uint64_t handler = hl__system_address(HL__SYSTEM_STUB) + vector * HL__STUB_VECTOR_SIZE;
        uint64_t privilege = vector == 3 || vector == 4 ? 3 : 0, ist = 1;
        idt[2 * vector] = (handler & 0xffff) | (uint64_t)HL__SELECTOR_KERNEL_CODE << 16 |
                          ist << 32 | (0x8e | privilege << 5) << 40 |
                          (handler >> 16 & 0xffff) << 48;
        idt[2 * vector + 1] = handler >> 32;
    }
}

/* All ports are closed but the four that a 32-bit access to the call port covers. */
static void build_tss(const hl__vm *vm)
{
    uint8_t *tss = page(vm, HL__SYSTEM_TSS), *bitmap = tss + TSS_SIZE;
    uint64_t stack_top = hl__system_address(HL__SYSTEM_FAULT_STACK + 1);
    uint16_t bitmap_offset = TSS_SIZE;
    memcpy(tss + TSS_IST1, &stack_top, sizeof stack_top);
    memcpy(tss + TSS_BITMAP_OFFSET, &bitmap_offset, sizeof bitmap_offset);
    memset(bitmap, 0xff, IO_BITMAP_SIZE + 1);
    for (unsigned port = HL_ABI_CALL_PORT; port < HL_ABI_CALL_PORT + 4; port++)
        bitmap[port / 8] &= (uint8_t) ~(1u << port % 8);
}

static void build_stub(const hl__vm *vm)
{
    uint8_t *stub = page(vm, HL__SYSTEM_STUB);
    uint64_t target = vm->shim->syscall_stub;
    memcpy(stub, hl__stub_image, (size_t)(hl__stub_image_end - hl__stub_image));
    memcpy(stub + (hl__stub_syscall_target - hl__stub_image), &target, sizeof target);
}

/* Rights of a page of the system slot for the supervisor. */
static uint64_t system_flags(uint64_t number)
{
    switch (number) {
    case HL__SYSTEM_STUB:
        return HL__PTE_LEAF;
    case HL__SYSTEM_GDT:
    case HL__SYSTEM_IDT:
    case HL__SYSTEM_TSS:
    case HL__SYSTEM_TSS + 1:
    case HL__SYSTEM_TSS + 2:
        return HL__PTE_LEAF | HL__PTE_NO_EXECUTE;
    default:
        return HL__PTE_LEAF | HL__PTE_WRITE | HL__PTE_NO_EXECUTE;
    }
}

uint64_t hl__system_table_pages(uint64_t pages)
{
    /* one page more, since the tables themselves are mapped too */
    return 2 + (pages + 511) / 512 + 1;
}

void hl__system_area_map(const hl__vm *vm, uint64_t number)
{
    uint64_t *table = (uint64_t *)page(vm, HL__SYSTEM_TABLES + 2 + number / 512);
    table[number % 512] = hl__system_gpa(number) | system_flags(number);
}

/* A directory pointer table, a directory and the page tables under it; every member's root points
 * to the first. Members' pages are mapped as they come into use, so that those that never do cost
 * nothing; their wake pages, which hold seeds, never are. */
static void build_tables(const hl__vm *vm)
{
    uint64_t pages = vm->system_size / HL__PAGE, link = HL__PTE_LEAF | HL__PTE_WRITE;
    uint64_t shared = pages - vm->config.members_max * vm->space_pages;
    uint64_t *pointers = (uint64_t *)page(vm, HL__SYSTEM_TABLES),
             *directory = (uint64_t *)page(vm, HL__SYSTEM_TABLES + 1);
    pointers[HL_ABI_SYSTEM_ADDRESS >> 30 & 511] = hl__system_gpa(HL__SYSTEM_TABLES + 1) | link;
    for (uint64_t table = 0; table < (pages + 511) / 512; table++)
        directory[table] = hl__system_gpa(HL__SYSTEM_TABLES + 2 + table) | link;
    for (uint64_t number = 0; number < shared; number++)
        hl__system_area_map(vm, number);
}

void hl__system_area_build(hl__vm *vm)
{
    build_gdt(vm);
    build_idt(vm);
    build_tss(vm);
    build_stub(vm);
    build_tables(vm);
}

static struct hl__segment segment(uint16_t selector, uint8_t type, uint8_t dpl, bool code)
{
    return (struct hl__segment){.limit = UINT32_MAX,
                                .selector = selector,
                                .type = type,
                                .dpl = dpl,
                                .present = true,
                                .code_or_data = true,
                                .long_mode = code,
                                .default_big = !code,
                                .granularity = true};
}

void hl__user_state_build(const hl__vm *vm, struct hl__cpu_state *state)
{
    struct hl__system_state *system = &state->system;
    memset(state, 0, sizeof *state);
    state->general.rflags = 2;
    system->cs = segment(HL__SELECTOR_USER_CODE, DESCRIPTOR_CODE, 3, true);
    system->ss = segment(HL__SELECTOR_USER_DATA, DESCRIPTOR_DATA, 3, false);
    system->ds = system->es = system->fs = system->gs = system->ss;
    system->tr = (struct hl__segment){.base = hl__system_address(HL__SYSTEM_TSS),
                                      .limit = TSS_LIMIT,
                                      .selector = HL__SELECTOR_TSS,
                                      .type = DESCRIPTOR_TSS_BUSY,
                                      .present = true};
    if (vm->context->machine.tss_available)
        system->tr.type = DESCRIPTOR_TSS_AVAILABLE;
    system->ldt = (struct hl__segment){.type = 2, .present = false};
    system->gdt = (struct hl__table_register){hl__system_address(HL__SYSTEM_GDT), 7 * 8 - 1};
    system->idt =
        (struct hl__table_register){hl__system_address(HL__SYSTEM_IDT), HL__STUB_VECTORS * 16 - 1};
    system->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    system->cr4 = vm->context->machine.cr4_wanted;
    system->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
}

void hl__stub_segments(struct hl__system_state *system)
{
    system->cs = segment(HL__SELECTOR_KERNEL_CODE, DESCRIPTOR_CODE, 0, true);
    system->ss = segment(HL__SELECTOR_KERNEL_DATA, DESCRIPTOR_DATA, 0, false);
}
