/* Page tables of one address space: walking, changing, and the record of what changed. */
#ifndef HL_VM_X86_64_TABLES_H
#define HL_VM_X86_64_TABLES_H

#include "vm/space.h"

#define HL__TABLE_ENTRIES 512
#define HL__TABLE_WORDS (HL__TABLE_ENTRIES / 64) /* of a bitmap over the entries of a table */

/* Span of addresses that one entry of a level covers: level 1 is a page, level 4 an entry of the
 * root. */
static inline uint64_t hl__level_span(int level)
{
    return HL__PAGE << (9 * (level - 1));
}

static inline uint64_t *hl__table_entries(const hl__space *space, uint32_t table)
{
    return (uint64_t *)(space->tables + table * HL__PAGE);
}

/* The leaf that maps an address, whatever its level (*level), or NULL. */
uint64_t *hl__tables_find(const hl__space *space, uint64_t address, int *level);

/* The entry at `level` for an address, with the tables above it made as needed; *table is the
 * number of the table that holds it. NULL: no table left. */
uint64_t *hl__tables_make(hl__space *space, uint64_t address, int level, uint32_t *table);

/* Replaces an entry and keeps the records: edited, stale, mapped pages. */
void hl__tables_set(hl__space *space, uint32_t table, uint64_t *entry, uint64_t value);

/* Maps a table for the supervisor: the poke touches it. */
void hl__space_table_reach(const hl__space *space, uint32_t table);

/* Calls visit for every present page-sized leaf in the range, with the address of its page, skipping what has no
 * tables. */
typedef void (*hl__tables_visit)(hl__space *space, uint32_t table, uint64_t *entry,
                                 uint64_t address, void *user);
void hl__tables_each(hl__space *space, uint64_t address, uint64_t page_count,
                     hl__tables_visit visit, void *user);

/* Whether a guest-physical address lies in the space's RAM or transfer memory. */
bool hl__space_owns_ram(const hl__space *space, uint64_t gpa);
bool hl__space_owns_transfer(const hl__space *space, uint64_t gpa);
/* One more, or one less, mapping of a page of RAM. */
void hl__space_ram_mapped(hl__space *space, uint64_t page);
void hl__space_ram_unmapped(hl__space *space, uint64_t page);
uint64_t hl__space_transfer_gpa(const hl__space *space);

#endif
