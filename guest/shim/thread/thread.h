/*
 * Threads and the process. One vCPU runs them in turn; the shim itself is never interrupted, so
 * nothing here needs a lock.
 */
#ifndef HL_SHIM_THREAD_H
#define HL_SHIM_THREAD_H

#include "base/linux.h"
#include "hyperlight/abi/hypercall.h"
#include "program/process.h"
#include "signal/signal.h"
#include "thread/wait.h"
#include "time/timer.h"

#include <stdbool.h>
#include <stdint.h>

#define HL__THREADS_MAX 4096u
#define HL__THREAD_ID_MAX 4194303
#define HL__THREAD_NAME_SIZE 16u

enum hl__thread_state {
    HL__THREAD_READY,   /* runs, or stands in the run queue */
    HL__THREAD_WAITING, /* in a system call that cannot go on yet */
    HL__THREAD_ENDED    /* its last instruction is behind it */
};

struct hl__thread {
    struct hl_abi_registers registers; /* while it does not run; else they are in hl__hot.syscall */
    uint64_t fs_base, gs_base;         /* likewise */
    uint8_t *vector_state;             /* likewise; NULL as long as it never stopped running */
    void *vector_memory;               /* in which that lies, at an address that XSAVE takes */
    int32_t id;
    enum hl__thread_state state;
    bool in_syscall; /* the call in `registers` is to be tried again before it returns */
    struct hl__process *process;
    struct hl__thread *next, *previous;         /* in the run queue, or in a wait queue */
    struct hl__thread *all_next, *all_previous; /* of its process */
    struct hl__wait wait;
    struct hl__thread_signals signals;
    uint64_t clear_id_address; /* set_tid_address */
    uint64_t robust_list;
    uint64_t cpu_ns, started_ns; /* CPU time used; when it last began to run */
    char name[HL__THREAD_NAME_SIZE];
};

extern struct hl__thread *hl__thread; /* the current one; never NULL once the program runs */

static inline struct hl__process *hl__process(void)
{
    return hl__thread->process;
}

static inline struct hl__credentials *hl__credentials(void)
{
    return &hl__process()->credentials;
}

/* Sets up the first process, without descriptors, and its thread. */
void hl__threads_init(void);
/* A thread of a process, with the current one's registers; it does not run yet. The first one of a process
 * gives that its number. NULL: too many, or memory has run out. */
struct hl__thread *hl__thread_new(struct hl__process *process);
/* Frees one that has ended or never ran; its process, too, if that ended with it and nobody misses it. */
void hl__thread_free(struct hl__thread *thread);
/* Ends the current process's other threads, wherever they are; the current one takes over the process's
 * number. */
void hl__threads_end_others(void);
/* Whether no other thread of any process could run. */
bool hl__thread_is_only(void);
/* A thread of the current process by its number, of any process; NULL if there is none. */
struct hl__thread *hl__thread_find(int32_t id);
struct hl__thread *hl__thread_find_any(int32_t id);

/* schedule.c */

/* A thread that may run again: its wait, if any, is over. */
void hl__thread_ready(struct hl__thread *thread);
/* Chooses who runs when the shim is left, tries waiting calls again and delivers signals; returns with
 * the chosen thread's registers in hl__hot.syscall. Called by the entries only, and only if
 * hl__schedule_needed() or the current thread cannot go on. */
void hl__schedule(void);
bool hl__schedule_needed(void);
/* A tick came from the host: others get their turn. */
void hl__schedule_tick(void);
/* Lets others run first. */
void hl__schedule_yield(void);
/* Takes a thread out of the queue in which it stands. */
void hl__schedule_forget(struct hl__thread *thread);
/* Ends the current thread; its process, if it is the last one. */
void hl__thread_exit(int code);
/* Those who share its memory learn that it leaves that: at its end, and when it executes a program. */
void hl__thread_leave_memory(void);
/* The last step of the current thread's end: it does not run any more. */
void hl__thread_end(void);
/* The monotonic clock was set, by a restore: everything that refers to it moves along. */
void hl__threads_move_clock(int64_t by_ns);
/* A thread's CPU time, in ns. */
uint64_t hl__thread_cpu_ns(const struct hl__thread *thread);

#endif
