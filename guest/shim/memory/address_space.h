/*
 * What one program has in memory. All programs live side by side under the same page tables: there is no
 * protection between them, as they are of one sandbox, and nothing is copied. A mapping belongs to the
 * address space that it was made in, so it goes when that does.
 */
#ifndef HL_SHIM_ADDRESS_SPACE_H
#define HL_SHIM_ADDRESS_SPACE_H

#include <stdbool.h>
#include <stdint.h>

struct hl__inode;

struct hl__address_space {
    uint32_t id;         /* owner of its mappings, see memory/vma.h */
    uint32_t references; /* processes that run in it: more than one after vfork */
    uint64_t break_start, break_end;
    uint64_t stack_start, stack_end;
    /* Where the program's arguments, environment and auxiliary vector lie. */
    uint64_t arguments, environment, environment_end, aux, aux_end;
    struct hl__inode *executable; /* that the program was loaded from, referenced: /proc/self/exe */
};

/* The first program's; there is no other one yet. */
struct hl__address_space *hl__address_space_first(void);
/* An empty one, with one reference. NULL: memory has run out. */
struct hl__address_space *hl__address_space_new(void);
void hl__address_space_ref(struct hl__address_space *space);
void hl__address_space_unref(struct hl__address_space *space);
/* Unmaps all that belongs to it. False: memory for that has run out; a part may be gone. */
bool hl__address_space_clear(struct hl__address_space *space);
/* Makes it the one whose program runs: hl__memory.space, and the owner of new mappings. */
void hl__address_space_enter(struct hl__address_space *space);
/* Whether another one has a mapping in a range. */
bool hl__address_space_foreign(uint64_t start, uint64_t end);

#endif
