/* Ctrl-C, Ctrl-Break and the closing of the console: they stop what the sandbox runs, and the tool ends
 * with 128 + 2 (Ctrl-C) or 128 + 15, as it does elsewhere. */
#include "cli.h"
#include "windows/console.h"

#include <stdatomic.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

enum { INTERRUPT = 2, TERMINATE = 15 };

/* Under the lock: who ends a session takes the handle from a handler that may be at work. */
static SRWLOCK watched_lock = SRWLOCK_INIT;
static hl_interrupt_handle *watched;
static atomic_int caught;

static bool interrupt_watched(void)
{
    AcquireSRWLockExclusive(&watched_lock);
    hl_status status = hl_sandbox_interrupt(watched);
    ReleaseSRWLockExclusive(&watched_lock);
    return status == HL_OK;
}

static void watch(hl_interrupt_handle *handle)
{
    AcquireSRWLockExclusive(&watched_lock);
    watched = handle;
    ReleaseSRWLockExclusive(&watched_lock);
}

/* Windows calls it on a thread of its own. */
static BOOL WINAPI on_control(DWORD event)
{
    int number = event == CTRL_C_EVENT ? INTERRUPT : TERMINATE;
    bool again = atomic_exchange(&caught, number) != 0;
    if (again || !interrupt_watched()) {
        console_restore();
        ExitProcess((UINT)(STATUS_SIGNAL_BASE + number));
    }
    return TRUE;
}

void interrupt_watch(hl_interrupt_handle *handle)
{
    static bool handled;
    watch(handle);
    if (!handled)
        SetConsoleCtrlHandler(on_control, TRUE);
    handled = true;
}

void interrupt_unwatch(void)
{
    watch(NULL);
}

/* Number of the signal that was caught, or 0. */
int interrupt_signal(void)
{
    return atomic_load(&caught);
}
