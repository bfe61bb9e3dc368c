/* How much memory files may take, for statfs. */
#ifndef HL_SHIM_SPACE_H
#define HL_SHIM_SPACE_H

#include <stdint.h>

void hl__space(uint64_t *total_pages, uint64_t *free_pages);

#endif
