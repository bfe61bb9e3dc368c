/* The start of the shim. */
#ifndef HL_SHIM_START_H
#define HL_SHIM_START_H

#include "hyperlight/abi/hypercall.h"

/* The SDK's door, named in the auxiliary vector. */
extern const struct hl_abi_shim hl__door;

/* Called by entry.S; hl__hot.syscall says where the program begins when it returns. */
void hl__start_program(void);

#endif
