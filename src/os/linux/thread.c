/* Threads on Linux: futexes, thread numbers, signals to a thread, CPU clocks. */
#define _GNU_SOURCE
#include "os/thread.h"
#include "os/os.h"
#include "util/error.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(atomic_uint) == sizeof(uint32_t), "a futex is 32 bits");
_Static_assert(sizeof(pthread_t) <= sizeof(uintptr_t), "hl__os_thread holds a pthread_t");

void hl__os_word_wait(atomic_uint *word, unsigned expected, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                             .tv_nsec = (long)(until_ns % 1000000000)};
    /* FUTEX_WAIT_BITSET, because its timeout is a point in time and not a duration. */
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
            until_ns == UINT64_MAX ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

void hl__os_word_wake(atomic_uint *word)
{
    int saved = errno;
    syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, NULL, NULL, 0);
    errno = saved;
}

HL__WARM_PATH int hl__os_thread_id(void)
{
    static _Thread_local int thread;
    static _Thread_local uint64_t generation;
    if (thread == 0 || generation != hl__os_fork_generation()) {
        hl__os_forks_watch();
        generation = hl__os_fork_generation();
        thread = (int)syscall(SYS_gettid);
    }
    return thread;
}

hl_status hl__os_thread_start(hl__os_thread *thread, void *(*body)(void *), void *user,
                              hl_error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t handle;
    int error = pthread_create(&handle, NULL, body, user);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return hl__error_os(err, HL_SYSTEM, error, "pthread_create",
                            "cannot start a thread; see the limits on processes (ulimit -u)");
    thread->handle = (uintptr_t)handle;
    return HL_OK;
}

void hl__os_thread_join(hl__os_thread thread)
{
    pthread_join((pthread_t)thread.handle, NULL);
}

void hl__os_thread_keeps_time(const char *name)
{
    prctl(PR_SET_NAME, name);
    prctl(PR_SET_TIMERSLACK, 1UL);
}

int hl__os_cpu_clock(void)
{
    clockid_t clock = CLOCK_THREAD_CPUTIME_ID;
    pthread_getcpuclockid(pthread_self(), &clock);
    return (int)clock;
}

uint64_t hl__os_cpu_clock_ns(int clock)
{
    struct timespec used;
    if (clock_gettime((clockid_t)clock, &used) != 0)
        return UINT64_MAX;
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}
