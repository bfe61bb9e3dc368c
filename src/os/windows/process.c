/* Time, randomness, error texts and handles. */
#include "os/os.h"
#include "util/error.h"

#include <string.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <bcrypt.h>

#define NS_PER_SECOND UINT64_C(1000000000)

uint64_t hl__os_monotonic_ns(void)
{
    LARGE_INTEGER now, rate;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&rate);
    uint64_t ticks = (uint64_t)now.QuadPart, per_second = (uint64_t)rate.QuadPart;
    return ticks / per_second * NS_PER_SECOND + ticks % per_second * NS_PER_SECOND / per_second;
}

uint64_t hl__os_realtime_ns(void)
{
    /* From 1601, where Windows starts to count, to 1970, in units of 100 ns. */
    const uint64_t before_1970 = UINT64_C(116444736000000000);
    FILETIME now;
    GetSystemTimePreciseAsFileTime(&now);
    return (((uint64_t)now.dwHighDateTime << 32 | now.dwLowDateTime) - before_1970) * 100;
}

hl_status hl__os_random(void *data, size_t size, hl_error *err)
{
    NTSTATUS status = BCryptGenRandom(NULL, data, (ULONG)size, BCRYPT_USE_SYSTEM_PREFERRED_RNG);
    if (status < 0)
        return hl__error_set(err, HL_SYSTEM, "BCryptGenRandom",
                             "the system gives no randomness (error 0x%08x)", (unsigned)status);
    return HL_OK;
}

atomic_uint_fast64_t hl__os_forks = 1;

void hl__os_forks_watch(void)
{
}

void hl__os_error_text(int os_error, char *text, size_t size)
{
    if (strerror_s(text, size, os_error) != 0 && size)
        *text = '\0';
}

size_t hl__os_handle_count(void)
{
    DWORD count = 0;
    return GetProcessHandleCount(GetCurrentProcess(), &count) ? count : 0;
}
