/*
 * Waiting. A system call that cannot go on yet puts its thread on a queue and returns; once woken,
 * its handler is called again from the start with the same arguments, until it returns a result. What
 * must survive from one try to the next is in hl__thread->wait.
 *
 *     HL__SYSCALL(read) {
 *         int64_t result = pipe_read(...);                     // takes what is there, or -EAGAIN
 *         if (result == -EAGAIN && !nonblocking)
 *             return hl__wait_on(&pipe->readers, UINT64_MAX);  // tried again when it was woken
 *         return result;
 *     }
 *
 * With a timeout:
 *
 *         uint64_t deadline = hl__wait_deadline(timeout_ns);   // the same at each try
 *         if (hl__wait_expired(deadline)) return -ETIMEDOUT;   // (or 0)
 *         return hl__wait_on(&queue, deadline);
 */
#ifndef HL_SHIM_WAIT_H
#define HL_SHIM_WAIT_H

#include "time/timer.h"

#include <stdbool.h>
#include <stdint.h>

struct hl__file;
struct hl__thread;

/* Threads in the order in which they came. An object that is waited for has one per kind of event; all
 * zero is empty. It must not go away while threads wait on it: wake them first. */
struct hl__queue {
    struct hl__thread *first, *last;
};

/* What handlers return when the current thread was put on a queue. Never seen by a program. */
#define HL__WAITING (-4096)

/* How a wait that a signal ends is to go on. */
enum hl__restart {
    HL__RESTART_ALWAYS, /* the call begins anew if the handler was installed with SA_RESTART: read,
                           write, futex without timeout, wait4... */
    HL__RESTART_NEVER   /* -EINTR whenever a handler ran: poll, select, epoll_wait, nanosleep,
                           sigtimedwait, ... (anew if none ran) */
};

/* A file that a waiting call found behind a descriptor, referenced: the call goes on with it, whatever
 * becomes of the descriptor. */
struct hl__held_file {
    struct hl__file *file;
    uint32_t descriptor;
};
#define HL__HELD_FILES 2u /* calls on more of them look each up again */

struct hl__wait {
    struct hl__queue *queue; /* on which it stands, NULL: none, it only sleeps */
    struct hl__timer timer;  /* its deadline */
    uint64_t deadline_ns;    /* of the whole call, as long as `started` */
    uint64_t progress;       /* the handler's own: bytes already moved, ... ; 0 at the first try */
    uint64_t key;            /* futex: the address; else the handler's own */
    uint32_t bits;           /* futex: the bit set */
    bool started;            /* not the first try */
    bool partial;            /* `progress`, unless 0, is the result if a signal ends the wait */
    bool woken;              /* a wake-up reached it that carries its result (futex, vfork) */
    bool unbreakable;        /* no signal ends it (vfork) */
    struct hl__held_file held[HL__HELD_FILES];
    enum hl__restart restart; /* set before hl__wait_on(); HL__RESTART_ALWAYS (0) at first */
};

/* Puts the current thread on a queue until it is woken, the deadline (monotonic ns, UINT64_MAX: none)
 * passes or a signal comes. NULL: nothing but those. Returns HL__WAITING, to be returned at once. */
int64_t hl__wait_on(struct hl__queue *queue, uint64_t deadline_ns);
/* Until the readiness of any file changes (poll, select, epoll_wait). */
int64_t hl__wait_any(uint64_t deadline_ns);
/* `timeout_ns` from the first try on, in monotonic ns; UINT64_MAX stays so. */
uint64_t hl__wait_deadline(uint64_t timeout_ns);
/* Whether a deadline of hl__wait_deadline() has passed. False at the first try unless it is now. */
bool hl__wait_expired(uint64_t deadline_ns);

/* Something happened to an object: all who wait on the queue try again, and so do those who wait for
 * any change. */
void hl__wake(struct hl__queue *queue);
/* Takes a thread out of its queue and lets it run, without telling others. */
void hl__wake_thread(struct hl__thread *thread);
/* Ends a wait without letting the thread run. */
void hl__wait_leave(struct hl__thread *thread);

void hl__queue_add(struct hl__queue *queue, struct hl__thread *thread);
void hl__queue_remove(struct hl__queue *queue, struct hl__thread *thread);

#endif
