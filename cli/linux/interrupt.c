/*
 * Ctrl-C, SIGTERM and SIGHUP: they stop what the sandbox runs, and the tool ends with 128 + n.
 *
 * When nothing runs there is nothing to clean up that the kernel does not clean up itself, so the
 * handler ends the process on the spot; no signal can fall between "not yet" and "running".
 */
#include "cli.h"

#include <signal.h>
#include <unistd.h>

static hl_interrupt_handle *_Atomic watched;
static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    bool again = caught != 0;
    caught = number;
    if (again || hl_sandbox_interrupt(watched) != HL_OK)
        _exit(STATUS_SIGNAL_BASE + number);
}

/* A signal that was ignored when the tool was started (nohup, background jobs) stays ignored. */
static void handle_signal(int number)
{
    struct sigaction action;
    if (sigaction(number, NULL, &action) != 0 || action.sa_handler == SIG_IGN)
        return;
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGINT);
    sigaddset(&action.sa_mask, SIGTERM);
    sigaddset(&action.sa_mask, SIGHUP);
    sigaction(number, &action, NULL);
}

void interrupt_watch(hl_interrupt_handle *handle)
{
    watched = handle;
    handle_signal(SIGINT);
    handle_signal(SIGTERM);
    handle_signal(SIGHUP);
}

void interrupt_unwatch(void)
{
    watched = NULL;
}

/* Number of the signal that was caught, or 0. */
int interrupt_signal(void)
{
    return caught;
}
