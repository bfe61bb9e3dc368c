/* What calls that wait for readiness have in common: timeouts and signal masks. */
#ifndef HL_SHIM_POLL_H
#define HL_SHIM_POLL_H

#include <stdint.h>

/* Negative: for ever, which is UINT64_MAX. */
uint64_t hl__timeout_ms(int32_t milliseconds);
/* The timespec at `address`, 0: for ever. 0, -EFAULT, -EINVAL. */
int64_t hl__timeout_timespec(uint64_t address, uint64_t *timeout_ns);
/* Sets the mask at `address`, of `size` bytes, for the call; 0: none. 0, -EFAULT, -EINVAL. */
int64_t hl__call_mask(uint64_t address, uint64_t size);

#endif
