/* Threads on Windows: waiting on a word, thread numbers, CPU time. */
#include "os/thread.h"
#include "os/os.h"
#include "util/error.h"

#include <pthread.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

_Static_assert(sizeof(pthread_t) <= sizeof(uintptr_t), "hl__os_thread holds a pthread_t");

/* Rounded up, so that whoever waits does not look too early again and again. */
static DWORD milliseconds_until(uint64_t until_ns)
{
    uint64_t now = hl__os_monotonic_ns();
    if (until_ns == UINT64_MAX)
        return INFINITE;
    if (until_ns <= now)
        return 0;
    uint64_t rest = (until_ns - now + 999999) / 1000000;
    return rest < INFINITE ? (DWORD)rest : INFINITE - 1;
}

void hl__os_word_wait(atomic_uint *word, unsigned expected, uint64_t until_ns)
{
    WaitOnAddress((volatile void *)word, &expected, sizeof expected, milliseconds_until(until_ns));
}

void hl__os_word_wake(atomic_uint *word)
{
    DWORD saved = GetLastError();
    WakeByAddressAll((void *)word);
    SetLastError(saved);
}

int hl__os_thread_id(void)
{
    return (int)GetCurrentThreadId();
}

hl_status hl__os_thread_start(hl__os_thread *thread, void *(*body)(void *), void *user,
                              hl_error *err)
{
    pthread_t handle;
    int error = pthread_create(&handle, NULL, body, user);
    if (error)
        return hl__error_os(err, HL_SYSTEM, error, "pthread_create", "cannot start a thread");
    thread->handle = (uintptr_t)handle;
    return HL_OK;
}

void hl__os_thread_join(hl__os_thread thread)
{
    pthread_join((pthread_t)thread.handle, NULL);
}

void hl__os_thread_keeps_time(const char *name)
{
    (void)name;
    SetThreadPriority(GetCurrentThread(), THREAD_PRIORITY_HIGHEST);
}

/* The number of a thread's clock is that of the thread. */
int hl__os_cpu_clock(void)
{
    return hl__os_thread_id();
}

static uint64_t file_time_ns(const FILETIME *time)
{
    return ((uint64_t)time->dwHighDateTime << 32 | time->dwLowDateTime) * 100;
}

uint64_t hl__os_cpu_clock_ns(int clock)
{
    FILETIME created, exited, in_kernel, in_user;
    HANDLE thread = OpenThread(THREAD_QUERY_LIMITED_INFORMATION, FALSE, (DWORD)clock);
    if (!thread)
        return UINT64_MAX;
    BOOL known = GetThreadTimes(thread, &created, &exited, &in_kernel, &in_user);
    CloseHandle(thread);
    return known ? file_time_ns(&in_kernel) + file_time_ns(&in_user) : UINT64_MAX;
}
