/* The trace of system calls, in strace's manner. */
#ifndef HL_SHIM_TRACE_H
#define HL_SHIM_TRACE_H

#include "hyperlight/abi/hypercall.h"

#include <stdbool.h>
#include <stdint.h>

/* Writes a line on a call that came to its end, or (`ended` false) is about to begin and will not return.
 * `registers` hold its arguments; `served`: whether there is a handler or a known refusal. */
void hl__trace(uint64_t number, const struct hl_abi_registers *registers, int64_t result,
               bool ended, bool served);

#endif
