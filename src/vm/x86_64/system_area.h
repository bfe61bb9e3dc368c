/* The system area of a VM: descriptor tables, TSS, stub, and the tables that map them for the
 * supervisor. */
#ifndef HL_VM_X86_64_SYSTEM_AREA_H
#define HL_VM_X86_64_SYSTEM_AREA_H

#include "vm/vm.h"

/* The stub's image (guest/stub/stub.S). */
extern const uint8_t hl__stub_image[], hl__stub_image_end[];
extern const uint8_t hl__stub_poke[], hl__stub_rewrite[], hl__stub_poke_end[];
extern const uint8_t hl__stub_syscall[], hl__stub_syscall_target[];

/* Address of a part of the stub in the system area. */
static inline uint64_t hl__stub_address(const uint8_t *part)
{
    return hl__system_address(HL__SYSTEM_STUB) + (uint64_t)(part - hl__stub_image);
}

/* Pages that the tables of the system area take, for a system slot of `pages` pages. */
uint64_t hl__system_table_pages(uint64_t pages);

/* Fills in everything. */
void hl__system_area_build(hl__vm *vm);
/* Maps a page of the system slot for the supervisor. */
void hl__system_area_map(const hl__vm *vm, uint64_t number);

/* The constant part of user-mode state. */
void hl__user_state_build(const hl__vm *vm, struct hl__cpu_state *state);
/* Turns user-mode segments into those of the stub. */
void hl__stub_segments(struct hl__system_state *system);

#endif
