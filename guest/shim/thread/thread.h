/*
 * Threads and the process. One vCPU runs them in turn; the shim itself is never interrupted, so
 * nothing here needs a lock.
 */
#ifndef HL_SHIM_THREAD_H
#define HL_SHIM_THREAD_H

#include "base/linux.h"
#include "hyperlight/abi/hypercall.h"
#include "signal/signal.h"
#include "thread/wait.h"
#include "time/timer.h"

#include <stdbool.h>
#include <stdint.h>

struct hl__descriptors;
struct hl__inode;

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

struct hl__interval; /* time/interval.c */

/* The one program, or a child that shares its address space for a while (vfork). */
struct hl__process {
    int32_t id;
    struct hl__process *parent;
    struct hl__thread *threads; /* linked by all_next */
    uint32_t thread_count;
    uint64_t ended_cpu_ns; /* CPU time of threads that ended */
    int32_t nice;
    int exit_code; /* of the first thread, if that ended before the others */
    struct hl__descriptors *descriptors;
    struct hl__inode *directory; /* current directory, referenced */
    uint32_t file_mask;          /* umask */
    struct hl__process_signals signals;
    struct hl__interval *intervals; /* timer_create; the three of setitimer are time/interval.c's */
};

extern struct hl__thread *hl__thread; /* the current one; never NULL once the program runs */

static inline struct hl__process *hl__process(void)
{
    return hl__thread->process;
}

/* Sets up the first process, without descriptors, and its thread. */
void hl__threads_init(void);
/* A thread of the current process, with the current one's registers; it does not run yet. NULL: too many, or
 * memory has run out. */
struct hl__thread *hl__thread_new(void);
void hl__thread_free(struct hl__thread *thread);
/* A thread of the current process by its number, NULL if there is none. */
struct hl__thread *hl__thread_find(int32_t id);

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
/* Ends the current thread. */
void hl__thread_exit(int code);
/* Ends the program: never returns. */
_Noreturn void hl__process_exit(int code, int signal, const struct hl_abi_fault *fault);
/* The monotonic clock was set, by a restore: everything that refers to it moves along. */
void hl__threads_move_clock(int64_t by_ns);
/* A thread's CPU time and that of all of the process, in ns. */
uint64_t hl__thread_cpu_ns(const struct hl__thread *thread);
uint64_t hl__process_cpu_ns(void);

#endif
