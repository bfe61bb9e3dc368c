/*
 * Processes. The sandbox's program is the first one. It may have children of the kind that vfork and
 * posix_spawn make: they run in their parent's memory until they execute a program, and then in an address
 * space of their own beside it.
 */
#ifndef HL_SHIM_PROCESS_H
#define HL_SHIM_PROCESS_H

#include "base/linux.h"
#include "file/credentials.h"
#include "hyperlight/abi/hypercall.h"
#include "signal/signal.h"
#include "thread/wait.h"
#include "time/interval.h"

#include <stdbool.h>
#include <stdint.h>

struct hl__address_space;
struct hl__descriptors;
struct hl__inode;
struct hl__thread;

struct hl__process {
    int32_t id, group, session;
    struct hl__process *parent; /* NULL: the first process, or one whose parent ended before it */
    struct hl__process *all_next;
    struct hl__thread *threads; /* linked by all_next */
    uint32_t thread_count;
    uint64_t ended_cpu_ns;    /* CPU time of threads that ended */
    uint64_t children_cpu_ns; /* of children that were waited for, and of theirs */
    int32_t nice;
    int exit_code; /* of the first thread, if that ended before the others */
    struct hl__descriptors *descriptors;
    struct hl__inode *directory; /* current directory, referenced */
    uint32_t file_mask;          /* umask */
    struct hl__address_space *space;
    struct hl__credentials credentials;
    struct linux_rlimit limits[RLIMIT_COUNT];
    struct hl__process_signals signals;
    struct hl__interval *intervals; /* timer_create */
    struct hl__interval classic_intervals[HL__INTERVALS_CLASSIC];
    struct hl__queue waiters;        /* its threads that wait for a child to end */
    struct hl__thread *vfork_waiter; /* of the parent: goes on once this one leaves its memory */
    int32_t exit_signal;             /* what the parent gets when it ends, 0: nothing */
    bool executed;                   /* runs a program of its own */
    bool ended;                      /* its parent has not asked for `status` yet */
    int32_t status;                  /* as wait() gives it */
};

extern struct hl__process
    *const hl__processes; /* all of them, linked by all_next, the first one first */

/* Those that have not been waited for, ended or not. NULL: there is none. */
struct hl__process *hl__process_find(int32_t id);
/* Its parent's number as getppid gives it. */
int32_t hl__process_parent_id(const struct hl__process *process);
/* A child of the current process that is like it, without threads and number. NULL: memory has run
 * out. */
struct hl__process *hl__process_new(void);
/* Forgets one that has no threads: it could not be started, or was waited for. */
void hl__process_free(struct hl__process *process);
/* The current process leaves the memory that it shares with its parent, which goes on. */
void hl__process_release_parent(struct hl__process *process);
/* A thread goes that may wait for a child to leave its memory. */
void hl__process_forget_waiter(const struct hl__thread *thread);

/* Ends the current process; the sandbox, if that is the first one. */
_Noreturn void hl__process_exit(int code, int signal, const struct hl_abi_fault *fault);
/* The current process cannot go on: for the first one that is a refusal, a child is killed. For where
 * the shim's books are in order. */
_Noreturn void hl__process_refuse(enum hl_abi_refusal refusal, const char *text);

/* children.c: what its parent is told when it has ended. */
struct linux_siginfo hl__child_info(const struct hl__process *child);
/* Its CPU time, in ns. */
uint64_t hl__process_cpu_ns(const struct hl__process *process);

#endif
