/*
 * The kick: what makes the vCPU stop that a thread runs.
 *
 * Where the system has signals, a kick is a real-time signal to the thread, and its handler kicks
 * the vCPU. Elsewhere the thread that kicks does that itself; the signal's number means nothing
 * there.
 */
#ifndef HL_OS_KICK_H
#define HL_OS_KICK_H

#include <hyperlight/error.h>

/* What the calling thread runs now: `kick(vcpu)` stops it, from a signal's handler or from any
 * thread. Runs nest: a signal handler of the host application may run another sandbox. */
struct hl__kick_target {
    void (*kick)(void *vcpu);
    void *vcpu;
    struct hl__kick_target *outer;
    int thread; /* that runs it; where kicks come from other threads */
};

/* From enter to leave a kick of this thread kicks the target's vCPU, and otherwise does nothing. */
void hl__kick_enter(struct hl__kick_target *target);
void hl__kick_leave(struct hl__kick_target *target);

/* Kicks a thread of this process; a thread that is gone is fine. False if it must be tried again,
 * because the user's queue of real-time signals is full. Async-signal-safe; leaves errno alone. */
bool hl__kick_send(int thread, int signal);

/* Signal of the options (0: the default) as a number. HL_INVALID_ARGUMENT if it is no real-time
 * signal. */
hl_status hl__kick_signal(int wanted, int *signal, hl_error *err);

/* Installs the handler with the first user and restores what was there with the last. One thread at
 * a time: the caller's lock. */
hl_status hl__kick_acquire(int signal, hl_error *err);
void hl__kick_release(void);

/* Installs the handler for a signal that nobody handles, for as long as a test needs one. One at a
 * time. HL_SIGNAL_IN_USE if all are taken. */
hl_status hl__kick_borrow(int *signal, hl_error *err);
void hl__kick_return(int signal);

/* Lets the signal through to the calling thread; returns whether it was blocked. And the reverse.
 */
bool hl__kick_unblock(int signal);
void hl__kick_block(int signal);

#endif
