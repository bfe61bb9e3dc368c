/* What the context needs of the operating system's threads: waiting on a word and on a descriptor,
 * identity, starting one, and CPU time. */
#ifndef HL_OS_THREAD_H
#define HL_OS_THREAD_H

#include <hyperlight/error.h>
#include <stdatomic.h>

/* Sleeps while *word is `expected`, at most until CLOCK_MONOTONIC reaches `until_ns` (UINT64_MAX:
 * for ever). May return early for no reason. */
void hl__os_word_wait(atomic_uint *word, unsigned expected, uint64_t until_ns);

/* Wakes all who wait on *word. Async-signal-safe; leaves errno alone. */
void hl__os_word_wake(atomic_uint *word);

/* The calling thread's number, never 0. Cheap, right in forked children too. */
int hl__os_thread_id(void);

/* Waits until a descriptor can be read (written) or is broken, which using it tells, at most until
 * CLOCK_MONOTONIC reaches `until_ns` (UINT64_MAX: for ever). `signal`, which the caller blocked before,
 * is let through during the wait only, so that none is missed. 0, or a negated errno: -EAGAIN if the
 * time is up, -EINTR after any signal, or now and then. */
int hl__os_descriptor_wait(int descriptor, bool to_write, int signal, uint64_t until_ns);

/* A thread with every signal blocked. */
typedef struct hl__os_thread {
    uintptr_t handle;
} hl__os_thread;

hl_status hl__os_thread_start(hl__os_thread *thread, void *(*body)(void *), void *user,
                              hl_error *err);
void hl__os_thread_join(hl__os_thread thread);

/* For a thread that keeps time: names it, and has its waits end on time rather than in batches. */
void hl__os_thread_keeps_time(const char *name);

/* CPU time that a thread used: number of the calling thread's clock, and reading it from any
 * thread. UINT64_MAX if the thread is gone. */
int hl__os_cpu_clock(void);
uint64_t hl__os_cpu_clock_ns(int clock);

#endif
