/* Where things lie in guest-physical memory, and in the system area of each address space. */
#ifndef HL_VM_X86_64_LAYOUT_H
#define HL_VM_X86_64_LAYOUT_H

#include <hyperlight/abi/hypercall.h>
#include <hyperlight/abi/x86_64.h>

#define HL__PAGE ((uint64_t)HL_ABI_PAGE_SIZE)
#define HL__LARGE_PAGE (UINT64_C(2) << 20)

/* Memory slots and their guest-physical addresses: above 4 GiB, away from everything that
 * hypervisors place by tradition, and below 64 GiB, which a vCPU without CPUID can address. */
enum hl__slot {
    HL__SLOT_SYSTEM = 0,
    HL__SLOT_RAM = 1,
    HL__SLOT_IMAGE = 2,
    HL__SLOT_TRANSFER = 3,
    HL__SLOT_ROOT = 4
};
#define HL__GPA_SYSTEM UINT64_C(0x100000000)
#define HL__GPA_IMAGE UINT64_C(0x180000000)
#define HL__GPA_TRANSFER UINT64_C(0x2c0000000)
#define HL__GPA_RAM UINT64_C(0x400000000)
#define HL__GPA_ROOT UINT64_C(0xc00000000)
#define HL__GPA_END UINT64_C(0x1000000000)

/* Pages of the system slot. Mapped one to one at HL_ABI_SYSTEM_ADDRESS, for the supervisor only,
 * except for the wake pages, which hold seeds. */
enum hl__system_page {
    HL__SYSTEM_GDT = 0,
    HL__SYSTEM_IDT = 1,
    HL__SYSTEM_STUB = 2,
    HL__SYSTEM_SYSCALL = 3, /* guest/stub/stub.S knows that it follows the stub */
    HL__SYSTEM_TSS = 4,
    HL__SYSTEM_FAULT_STACK = 7,
    /* page tables of the system area itself, then per member: its wake page and its tables */
    HL__SYSTEM_TABLES = 8
};
#define HL__TSS_PAGES 3

/* Selectors. The order of the user segments is what sysret wants. */
#define HL__SELECTOR_KERNEL_CODE 0x08
#define HL__SELECTOR_KERNEL_DATA 0x10
#define HL__SELECTOR_USER_DATA 0x1b
#define HL__SELECTOR_USER_CODE 0x23
#define HL__SELECTOR_TSS 0x28
#define HL__STAR (((uint64_t)0x13 << 48) | ((uint64_t)HL__SELECTOR_KERNEL_CODE << 32))
#define HL__SYSCALL_MASK UINT64_C(0x47700) /* TF, IF, DF, IOPL, NT, AC off on entry */

/* Bits of page-table entries. Accessed and dirty are preset, so that no walk writes a table and KVM maps neighbours
 * along with a page; but leaves that come from a snapshot are not accessed yet, which tells what calls need. */
#define HL__PTE_PRESENT UINT64_C(0x1)
#define HL__PTE_WRITE UINT64_C(0x2)
#define HL__PTE_USER UINT64_C(0x4)
#define HL__PTE_ACCESSED UINT64_C(0x20)
#define HL__PTE_DIRTY UINT64_C(0x40)
#define HL__PTE_LARGE UINT64_C(0x80)
#define HL__PTE_NO_EXECUTE (UINT64_C(1) << 63)
#define HL__PTE_ADDRESS UINT64_C(0x000ffffffffff000)
#define HL__PTE_LEAF (HL__PTE_PRESENT | HL__PTE_ACCESSED | HL__PTE_DIRTY)

/* The first page of the stub's image, see guest/stub/stub.S. */
#define HL__STUB_VECTOR_SIZE 16
#define HL__STUB_VECTORS 32
#define HL__STUB_POKES_MAX 8
#define HL__STUB_REWRITE_MAX                                                                       \
    64 /* about 1.3 us for each entry on PVM, where a page that must be derived anew is 7 */
#define HL__STUB_FAULT_PORT 0x51 /* closed to user mode */
#define HL__STUB_POKE_PORT 0x55  /* likewise */

#endif
