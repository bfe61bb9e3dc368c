/* Ctrl-C, Ctrl-Break and the closing of the console: they stop what the sandbox runs, and the tool ends
 * with 128 + 2 (Ctrl-C) or 128 + 15, as it does elsewhere. */
#include "cli.h"

#include <stdatomic.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

enum { INTERRUPT = 2, TERMINATE = 15 };

static hl_interrupt_handle *_Atomic watched;
static atomic_int caught;

/* Windows calls it on a thread of its own. */
static BOOL WINAPI on_control(DWORD event)
{
    int number = event == CTRL_C_EVENT ? INTERRUPT : TERMINATE;
    bool again = atomic_exchange(&caught, number) != 0;
    if (again || hl_sandbox_interrupt(watched) != HL_OK)
        ExitProcess((UINT)(STATUS_SIGNAL_BASE + number));
    return TRUE;
}

void interrupt_watch(hl_interrupt_handle *handle)
{
    static bool handled;
    watched = handle;
    if (!handled)
        SetConsoleCtrlHandler(on_control, TRUE);
    handled = true;
}

void interrupt_unwatch(void)
{
    watched = NULL;
}

/* Number of the signal that was caught, or 0. */
int interrupt_signal(void)
{
    return atomic_load(&caught);
}
