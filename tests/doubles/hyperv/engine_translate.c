/* Virtual addresses of guests. KVM_TRANSLATE would do it, but KVM on PVM has no answer for user mode. */
#include "engine.h"

#define ENTRY_PRESENT 1ull
#define ENTRY_LARGE 0x80ull
#define ENTRY_ADDRESS 0x000ffffffffff000ull
#define CR0_PAGING (1ull << 31)
#define CR4_PHYSICAL_EXTENSION (1ull << 5)
#define CR4_FIVE_LEVELS (1ull << 12)
#define EFER_LONG_MODE (1ull << 10)

static bool walk(struct engine_vm *vm, uint64_t table, int level, uint64_t address,
                 uint64_t *physical)
{
    for (; level > 0; level--) {
        unsigned shift = 12 + 9 * (unsigned)(level - 1);
        uint64_t entry, inside = (1ull << shift) - 1;
        if (!engine_read(vm, table + (address >> shift & 511) * 8, &entry, sizeof entry) ||
            !(entry & ENTRY_PRESENT))
            return false;
        if (level == 1 || (level < 4 && entry & ENTRY_LARGE)) {
            *physical = (entry & ENTRY_ADDRESS & ~inside) | (address & inside);
            return true;
        }
        table = entry & ENTRY_ADDRESS;
    }
    return false;
}

/* Modes that only KVM is asked about: 32-bit paging. */
static bool translate_by_kvm(struct engine_vp *vp, uint64_t address, uint64_t *physical)
{
    struct kvm_translation translation = {.linear_address = address};
    if (engine_flush(vp) != ENGINE_OK || system_ioctl(vp->file, KVM_TRANSLATE, &translation) < 0 ||
        !translation.valid)
        return false;
    *physical = translation.physical_address;
    return true;
}

bool engine_translate(struct engine_vp *vp, uint64_t address, uint64_t *physical)
{
    const struct kvm_sregs *sregs = &vp->run->s.regs.sregs;
    if (!(sregs->cr0 & CR0_PAGING)) {
        *physical = address;
        return true;
    }
    if (!(sregs->efer & EFER_LONG_MODE) || !(sregs->cr4 & CR4_PHYSICAL_EXTENSION))
        return translate_by_kvm(vp, address, physical);
    return walk(vp->vm, sregs->cr3 & ENTRY_ADDRESS, sregs->cr4 & CR4_FIVE_LEVELS ? 5 : 4, address,
                physical);
}
