/* Signals: from the program's own faults, from its threads and timers; there is nobody else to send
 * any. */
#ifndef HL_SHIM_SIGNAL_H
#define HL_SHIM_SIGNAL_H

#include "base/linux.h"
#include "hyperlight/abi/hypercall.h"

#include <stdbool.h>
#include <stdint.h>

struct hl__thread;
struct hl__process;

/* A raised signal that was not delivered yet. */
struct hl__signal_waiting {
    struct linux_siginfo info;
    struct hl__signal_waiting *next;
};

/* Signals that wait for a thread or for a process: at most one of each standard signal, any number of
 * real-time ones, in order. */
struct hl__signal_queue {
    uint64_t set; /* bit n - 1: signal n waits */
    struct hl__signal_waiting *first;
};

struct hl__thread_signals {
    uint64_t mask; /* bit n - 1: signal n is blocked */
    /* The mask to put back once a signal was delivered or the call ends (sigsuspend, ppoll, ...). */
    uint64_t saved_mask;
    bool mask_is_saved;
    uint64_t waited_for; /* sigtimedwait takes them although they are blocked */
    struct hl__signal_queue waiting;
    struct linux_stack stack; /* sigaltstack */
};

struct hl__process_signals {
    struct hl__signal_queue waiting;
    struct linux_sigaction actions[SIGNAL_COUNT + 1];
};

/* Signals that may wait at a time, as RLIMIT_SIGPENDING. */
#define HL__SIGNALS_WAITING_MAX 4096u

#define HL__SIGNAL_BIT(signal) (1ull << ((signal)-1))
#define HL__SIGNALS_UNBLOCKABLE (HL__SIGNAL_BIT(SIGKILL) | HL__SIGNAL_BIT(SIGSTOP))

/* Raises a signal for a thread, or for any thread of a process that does not block it. 0, or -EAGAIN:
 * too many real-time signals wait, or memory has run out. */
int64_t hl__signal_thread(struct hl__thread *thread, const struct linux_siginfo *info);
int64_t hl__signal_process(struct hl__process *process, const struct linux_siginfo *info);
/* For the current thread, by the call under way: SIGPIPE. */
void hl__signal_raise(int signal, int code);

/* Whether a raised signal is to be delivered to the thread now: not blocked and not ignored. Drops those
 * that are ignored. */
bool hl__signal_pending(struct hl__thread *thread);
/* Delivers what is pending to the current thread: its registers then lie in a handler, or the program
 * ends. `interrupted`: the thread was in a system call that has not come to its end; it is restarted or
 * ends with -EINTR. */
void hl__signal_deliver(struct hl_abi_registers *registers, bool interrupted);
/* A signal that the interrupted instruction caused; ends the program if it cannot be handled. */
void hl__signal_fault(struct hl_abi_fault *fault, const struct linux_siginfo *info);
/* The same, caused by what the shim found instead: a frame that cannot be written or read. `fault`: what that
 * frame was for, or NULL. */
void hl__signal_force(int signal, struct hl_abi_fault *fault);
/* Takes the first waiting signal of a set, the thread's own before the process's: sigtimedwait,
 * signalfd. */
bool hl__signal_take(struct hl__thread *thread, uint64_t set, struct linux_siginfo *info);
/* Forgets waiting signals of a set; all. */
void hl__signal_forget(struct hl__signal_queue *queue, uint64_t set);
void hl__signals_drop(struct hl__signal_queue *queue);
/* Whether a signal does nothing, be it by its action or by default. */
bool hl__signal_ignored(const struct hl__process *process, int signal);
/* Handlers go; what is ignored stays ignored: execve, and CLONE_CLEAR_SIGHAND. */
void hl__signals_reset(struct hl__process *process);
/* For ppoll, pselect, epoll_pwait, sigsuspend: the mask holds until the call ends, and a handler that
 * ends the wait returns to the old one. At each try of the call. */
void hl__signal_mask_for_call(uint64_t mask);

/* frame.c */

void hl__vector_state_init(void);
uint64_t hl__vector_state_size(void);
/* Saves and loads the vector registers; `area` is hl__vector_state_size() bytes, 64-byte aligned. */
void hl__vector_state_save(uint8_t *area);
void hl__vector_state_load(const uint8_t *area);
extern const uint8_t hl__clean_vector_state[]; /* entry.S: every register in its initial state */
/* Makes the program continue in its handler. False if the frame does not fit on its stack. */
bool hl__frame_push(struct hl_abi_registers *registers, const struct linux_sigaction *action,
                    const struct linux_siginfo *info, const struct hl_abi_fault *fault);
/* Before the program goes on: SIGSEGV if a handler or its frame made it go on at what is no address. */
void hl__frame_refuse_address(void);

#endif
