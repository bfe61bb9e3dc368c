/* The kick: a signal that makes the vCPU which its thread runs stop. */
#ifndef HL_CONTEXT_KICK_H
#define HL_CONTEXT_KICK_H

#include "driver/driver.h"

/* What the calling thread runs now. Runs nest: a signal handler of the host application may run
 * another sandbox. */
struct hl__kick_target {
    const hl__driver *driver;
    void *vcpu;
    struct hl__kick_target *outer;
};

/* From enter to leave a kick signal on this thread kicks the target's vCPU, and otherwise does
 * nothing. */
void hl__kick_enter(struct hl__kick_target *target);
void hl__kick_leave(struct hl__kick_target *target);

/* Signal of the options (0: the default) as a number. HL_INVALID_ARGUMENT if it is no real-time
 * signal. */
hl_status hl__kick_signal(int wanted, int *signal, hl_error *err);

/* Installs the handler with the first user and restores what was there with the last. One thread at
 * a time: the caller's lock. */
hl_status hl__kick_acquire(int signal, hl_error *err);
void hl__kick_release(void);

/* Lets the signal through to the calling thread; returns whether it was blocked. And the reverse.
 */
bool hl__kick_unblock(int signal);
void hl__kick_block(int signal);

#endif
