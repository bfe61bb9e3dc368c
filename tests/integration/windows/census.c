/*
 * Counting what Windows shows of this process. "Descriptors" are handles; "mappings" are views of
 * sections, which everything is that the library maps.
 */
#include "census.h"
#include "fixture.h"

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <tlhelp32.h>

/* Handles are small multiples of four; behind so many that are none there are no more. */
enum { HANDLE_STEP = 4, HANDLE_GAP = 256 };

/* One by one, where the system has no count of them (wine). */
static unsigned walk_handles(void)
{
    unsigned count = 0, gap = 0;
    for (uintptr_t handle = HANDLE_STEP; gap < HANDLE_GAP; handle += HANDLE_STEP, gap++) {
        DWORD flags;
        if (!GetHandleInformation((HANDLE)handle, &flags))
            continue;
        count++;
        gap = 0;
    }
    return count;
}

/* A mutex of winpthreads gets an event when two threads first want it at once. */
const unsigned census_slack = 4;

unsigned census_descriptors(void)
{
    DWORD count = 0;
    bool known = GetProcessHandleCount(GetCurrentProcess(), &count) && count > 0;
    return known ? (unsigned)count : walk_handles();
}

/* A view has several regions where the protection of its pages differs. */
static unsigned count_views(void)
{
    unsigned count = 0;
    MEMORY_BASIC_INFORMATION region;
    for (uint8_t *at = NULL; VirtualQuery(at, &region, sizeof region) == sizeof region;
         at = (uint8_t *)region.BaseAddress + region.RegionSize)
        count += region.State != MEM_FREE && region.Type == MEM_MAPPED &&
                 region.BaseAddress == region.AllocationBase;
    return count;
}

static unsigned count_threads(void)
{
    unsigned count = 0;
    THREADENTRY32 thread = {.dwSize = sizeof thread};
    HANDLE list = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    assert_true(list != INVALID_HANDLE_VALUE);
    for (BOOL more = Thread32First(list, &thread); more; more = Thread32Next(list, &thread))
        count += thread.th32OwnerProcessID == GetCurrentProcessId();
    CloseHandle(list);
    return count;
}

struct census census_take(void)
{
    return (struct census){census_descriptors(), count_views(), count_threads()};
}

void census_raise_limits(void)
{
}
