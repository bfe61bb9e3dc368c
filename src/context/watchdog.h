/*
 * The watchdog of a context: one thread that cancels runs whose deadline passed or whose CPU budget
 * is spent. It starts with the first run that has either, sleeps until the earliest time at which
 * one could be over, and never polls.
 */
#ifndef HL_CONTEXT_WATCHDOG_H
#define HL_CONTEXT_WATCHDOG_H

#include "context/control.h"

struct hl__watchdog;

hl_status hl__watchdog_new(struct hl__watchdog **watchdog, hl_error *err);

/* Ends the thread and waits for it. No control is enrolled any more. NULL is fine. */
void hl__watchdog_free(struct hl__watchdog *watchdog);

/* Has the watchdog look after a control, until it is removed. */
hl_status hl__watchdog_enroll(struct hl__watchdog *watchdog, hl__control *control, hl_error *err);
void hl__watchdog_remove(struct hl__watchdog *watchdog, hl__control *control);

/* Tells that a run was armed which can be over at `look_ns`. Costs a system call only if the
 * watchdog meant to sleep longer. */
void hl__watchdog_expect(struct hl__watchdog *watchdog, uint64_t look_ns);

/* How often the thread woke up so far. */
uint64_t hl__watchdog_wakeups(const struct hl__watchdog *watchdog);

#endif
