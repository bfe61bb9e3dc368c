/* A driver without a hypervisor for tests of contexts and controls: its vCPU sleeps, spins or returns at once, until it is kicked. */
#ifndef HL_TESTS_SLEEPER_DRIVER_H
#define HL_TESTS_SLEEPER_DRIVER_H

#include "driver/driver.h"
#include "driver/override.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

struct sleeper {
    enum { SLEEPER_SLEEPS, SLEEPER_SPINS, SLEEPER_RETURNS } mode;
    atomic_int kicked;  /* as immediate_exit: makes this or the next run end */
    atomic_int entered; /* runs so far */
    atomic_int under_way;
};

#define SLEEPER_SIGNAL (SIGRTMIN + 8)

static void sleeper_sleep(struct sleeper *sleeper)
{
    sigset_t kick, mask;
    sigemptyset(&kick);
    sigaddset(&kick, SLEEPER_SIGNAL);
    pthread_sigmask(SIG_BLOCK, &kick, &mask);
    while (!atomic_load(&sleeper->kicked))
        ppoll(NULL, 0, NULL, &mask);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

static hl_status sleeper_run(void *vcpu, struct hl__exit *exit, hl_error *err)
{
    (void)err;
    struct sleeper *sleeper = vcpu;
    atomic_fetch_add(&sleeper->entered, 1);
    atomic_store(&sleeper->under_way, 1);
    if (sleeper->mode == SLEEPER_SLEEPS)
        sleeper_sleep(sleeper);
    while (sleeper->mode == SLEEPER_SPINS && !atomic_load(&sleeper->kicked))
        continue;
    atomic_store(&sleeper->under_way, 0);
    bool kicked = atomic_exchange(&sleeper->kicked, 0);
    *exit = (struct hl__exit){.kind = kicked ? HL__EXIT_INTERRUPTED : HL__EXIT_DOORBELL};
    return HL_OK;
}

static void sleeper_kick(void *vcpu)
{
    atomic_store(&((struct sleeper *)vcpu)->kicked, 1);
}

/* There are no VMs, so that the context's self-tests find nothing that works. */
static hl_status sleeper_vm_create(void *vm, uint32_t vcpu_count, uint64_t *counter, hl_error *err)
{
    (void)vm, (void)vcpu_count, (void)counter, (void)err;
    return HL_SYSTEM;
}

static const hl__driver sleeper_driver = {
    .name = "sleeper",
    .vm_size = 1,
    .vcpu_size = sizeof(struct sleeper),
    .vm_create = sleeper_vm_create,
    .run = sleeper_run,
    .kick = sleeper_kick,
};

/* From now on contexts use the driver. For cmocka's group setup. */
static int sleeper_install(void **state)
{
    (void)state;
    static const struct hl__machine machine;
    static const hl_driver_info info = {
        .size = sizeof info, .name = "sleeper", .detail = "a driver for tests"};
    hl__driver_override(&sleeper_driver, &info, &machine);
    return 0;
}

#endif
