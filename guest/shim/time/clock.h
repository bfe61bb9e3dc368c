/* Clocks: the processor's counter against the times in the wake record. */
#ifndef HL_SHIM_CLOCK_H
#define HL_SHIM_CLOCK_H

#include "base/linux.h"

#include <stdbool.h>
#include <stdint.h>

void hl__clock_init(void);
uint64_t hl__clock_monotonic_ns(void);
uint64_t hl__clock_realtime_ns(void);
/* UINT64_MAX: for ever. */
void hl__clock_sleep(uint64_t duration_ns);
/* False for a malformed time. Saturates. */
bool hl__timespec_ns(const struct linux_timespec *time, uint64_t *ns);

#endif
