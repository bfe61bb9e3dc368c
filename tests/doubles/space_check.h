/* What must hold for the page tables of an address space, whatever its guest asked for. */
#ifndef HL_TESTS_SPACE_CHECK_H
#define HL_TESTS_SPACE_CHECK_H

#include "vm/space.h"

/* Walks everything that CR3 reaches. NULL if all is well, else what is wrong, in static text. */
const char *space_check(const hl__space *space);

/* Whether the tables are those that hl__space_tables_save() saved, but for the note that a leaf was accessed,
 * which is not saved. */
bool space_tables_are(const hl__space *space, const void *saved, uint32_t saved_count);

#endif
