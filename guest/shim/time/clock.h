/* Clocks: the processor's counter against the times in the wake record. */
#ifndef HL_SHIM_CLOCK_H
#define HL_SHIM_CLOCK_H

#include "base/linux.h"

#include <stdbool.h>
#include <stdint.h>

void hl__clock_init(void);
uint64_t hl__clock_monotonic_ns(void);
uint64_t hl__clock_realtime_ns(void);
/* A clock by its number. False: there is none. */
bool hl__clock_read(uint64_t id, uint64_t *ns);
/* False for a malformed time. Saturates. */
bool hl__timespec_ns(const struct linux_timespec *time, uint64_t *ns);
struct linux_timespec hl__timespec(uint64_t ns);
struct linux_timeval hl__timeval(uint64_t ns); /* rounded down */
/* Reads the program's timeout; address 0: *ns stays as it is. 0, -EFAULT or -EINVAL. */
int64_t hl__timeout_read(uint64_t address, uint64_t *ns);

#endif
