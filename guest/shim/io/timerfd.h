#ifndef HL_SHIM_TIMERFD_H
#define HL_SHIM_TIMERFD_H

#include <stdint.h>

/* The monotonic clock jumped: what was to come in a while still comes after that while. */
void hl__timerfds_move(int64_t by_ns);

#endif
