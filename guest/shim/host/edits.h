/* Changes of the address space, collected so that many cost one exit. */
#ifndef HL_SHIM_EDITS_H
#define HL_SHIM_EDITS_H

#include "hyperlight/abi/hypercall.h"

#include <stdint.h>

/* Adds a change; joins it to the one before where it continues that. Sends what was collected when
 * it is full. */
void hl__edits_add(uint64_t address, uint64_t page_count, enum hl_abi_source source,
                   uint64_t offset, uint32_t rights);
/* Sends what was collected; the next flush tells whether it failed. */
void hl__edits_send(void);
/* The same. 0, or the first failure since the last flush. */
int64_t hl__edits_flush(void);

#endif
