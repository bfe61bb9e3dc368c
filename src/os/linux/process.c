/* Time, randomness, open descriptors, and telling a forked child from its parent. */
#define _GNU_SOURCE
#include "os/os.h"
#include "util/error.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

HL__WARM_PATH static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

HL__WARM_PATH uint64_t hl__os_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t hl__os_realtime_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

hl_status hl__os_random(void *data, size_t size, hl_error *err)
{
    char *next = data;
    while (size > 0) {
        ssize_t taken = getrandom(next, size, 0);
        if (taken < 0 && errno == EINTR)
            continue;
        if (taken <= 0)
            return hl__error_os(err, HL_SYSTEM, errno, "getrandom",
                                "the system gives no randomness");
        next += taken;
        size -= (size_t)taken;
    }
    return HL_OK;
}

atomic_uint_fast64_t hl__os_forks = 1;

static void count_fork(void)
{
    atomic_fetch_add_explicit(&hl__os_forks, 1, memory_order_relaxed);
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, count_fork);
}

void hl__os_forks_watch(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
}

void hl__os_error_text(int os_error, char *text, size_t size)
{
    char buffer[128];
    snprintf(text, size, "%s", strerror_r(os_error, buffer, sizeof buffer));
}

size_t hl__os_handle_count(void)
{
    DIR *folder = opendir("/proc/self/fd");
    size_t count = 0;
    if (!folder)
        return 0;
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}
