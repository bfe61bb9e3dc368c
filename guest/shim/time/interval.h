/* Timers that raise signals: alarm, setitimer, timer_create. */
#ifndef HL_SHIM_INTERVAL_H
#define HL_SHIM_INTERVAL_H

#include "time/timer.h"

struct hl__process;

enum { HL__INTERVALS_CLASSIC = 3 }; /* those of setitimer */

struct hl__interval {
    struct hl__timer timer;
    struct hl__interval *next;
    struct hl__process *process;
    int32_t id;
    int32_t thread_id; /* 0: the process */
    int32_t signal;    /* 0: none */
    int32_t code;      /* si_code */
    uint64_t value;    /* sigev_value */
    uint64_t clock;
    uint64_t due; /* on its clock, 0: not armed */
    uint64_t period_ns;
    uint64_t overruns; /* expirations since the one that was signalled */
};

/* A new process has none that is armed. */
void hl__intervals_init(struct hl__process *process);
/* Its timers of timer_create go: at execve. */
void hl__intervals_delete(struct hl__process *process);
/* All of them: at its end. */
void hl__intervals_end(struct hl__process *process);

#endif
