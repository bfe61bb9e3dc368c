/* Things that are to happen at a time: deadlines of waits, interval timers, timer descriptors. */
#ifndef HL_SHIM_TIMER_H
#define HL_SHIM_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct hl__timer;
typedef void hl__timer_expired(struct hl__timer *timer);

struct hl__timer {
    uint64_t deadline_ns; /* monotonic */
    hl__timer_expired *expired;
    uint32_t place; /* in the heap of timers plus 1; 0: not set */
};

/* Sets a timer, or moves it. False when memory has run out: it is not set then. */
bool hl__timer_set(struct hl__timer *timer, uint64_t deadline_ns, hl__timer_expired *expired);
/* Cancels a timer; fine if it is not set. */
void hl__timer_cancel(struct hl__timer *timer);
/* The earliest deadline, UINT64_MAX if none. */
uint64_t hl__timer_next(void);
/* Calls what has expired by now. */
void hl__timers_run(uint64_t now_ns);
/* The monotonic clock was set: all deadlines move with it. */
void hl__timers_move(int64_t by_ns);

#endif
