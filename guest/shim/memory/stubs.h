/*
 * Where rewritten system calls lie (hyperlight/abi/image.h): from the stubs, which run, to the file's own
 * addresses, which signal handlers, unwinders and restarts see, and back.
 */
#ifndef HL_SHIM_STUBS_H
#define HL_SHIM_STUBS_H

#include <stdint.h>

/* The address in the file that an address in a stub stands for; any other address as it is. */
uint64_t hl__file_address(uint64_t address);
/* The address that must run for an address in the file: another one only inside a window whose bytes were
 * replaced. */
uint64_t hl__code_address(uint64_t address);

#endif
