/*
 * Rewritten programs and libraries: where one is mapped executable, pages with jumps take the place of
 * those with `syscall`, and the stubs that they jump to appear behind it. See abi/image.h.
 */
#ifndef HL_SHIM_STUBS_H
#define HL_SHIM_STUBS_H

#include "file/inode.h"

#include <stdbool.h>
#include <stdint.h>

/* Bytes to keep free behind a mapping of `size` bytes of the whole file, for its stubs. */
uint64_t hl__stubs_room(const struct hl__inode *inode, uint64_t size);
/* Private mappings of a file in [start, end) became executable: shows the rewritten pages if the stubs
 * find their place. Leaves the edits to the caller's next flush. */
void hl__stubs_map(uint64_t start, uint64_t end);
/* [start, end) is about to be unmapped: the stubs of what is mapped there go, too. */
void hl__stubs_unmap(uint64_t start, uint64_t end);
/* Where in the image the rewritten page with number `index` of a file is; false: it has none. */
bool hl__stubs_patch(const struct hl__inode *inode, uint64_t index, uint64_t *offset);

/* The address in the file that an address in a stub stands for; any other address as it is. */
uint64_t hl__file_address(uint64_t address);
/* The address that must run for an address in the file: another one only inside a window whose bytes were
 * replaced. */
uint64_t hl__code_address(uint64_t address);

#endif
