/* Self-tests: kicks, and what VMs leave in the process. */
#include "driver/selftest.h"

#include "os/os.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define PATIENCE_NS 5000000000ull
#define FLAG HL__TINY_DATA /* the spinning guest sets it */

/* The vCPU that the signal handler kicks. */
static struct {
    void (*volatile kick)(void *vcpu);
    void *volatile vcpu;
    volatile sig_atomic_t kicks;
} kick_target;

static void kick_handler(int signal)
{
    (void)signal;
    if (kick_target.vcpu) {
        kick_target.kick(kick_target.vcpu);
        kick_target.kicks++;
    }
}

/* A real-time signal that nobody handles, or 0. */
static int free_signal(void)
{
    for (int number = SIGRTMAX; number >= SIGRTMIN; number--) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) &&
            action.sa_handler == SIG_DFL)
            return number;
    }
    return 0;
}

/* The thread that sends the signal. */
struct kicker {
    pthread_t target;
    int signal;
    const volatile uint32_t *flag; /* once this is set */
};

static void *kicker_run(void *argument)
{
    struct kicker *kicker = argument;
    const struct timespec pause = {.tv_nsec = 100000};
    uint64_t give_up_ns = hl__os_monotonic_ns() + PATIENCE_NS;
    while (!*kicker->flag && hl__os_monotonic_ns() < give_up_ns)
        nanosleep(&pause, NULL);
    nanosleep(&pause, NULL);
    pthread_kill(kicker->target, kicker->signal);
    return NULL;
}

/* Runs the spinning guest until a signal from another thread ends it. */
static bool spin_until_signal(struct hl__selftest *t, int number)
{
    pthread_t thread;
    struct kicker kicker = {
        .target = pthread_self(), .signal = number, .flag = hl__tiny_guest_at(&t->guest, FLAG)};
    hl__selftest_user(t, HL__TINY_SPIN);
    t->state.general.rdi = FLAG;
    t->driver->state_set(t->vcpu, HL__STATE_GENERAL | HL__STATE_SYSTEM | HL__STATE_EVENTS,
                         &t->state);
    if (pthread_create(&thread, NULL, kicker_run, &kicker) != 0)
        return false;
    bool ran = true;
    sig_atomic_t before = kick_target.kicks;
    do /* other signals may end runs, too */
        ran = t->driver->run(t->vcpu, &t->exit, &t->error) == HL_OK;
    while (ran && t->exit.kind == HL__EXIT_INTERRUPTED && kick_target.kicks == before);
    pthread_join(thread, NULL);
    return ran && t->exit.kind == HL__EXIT_INTERRUPTED && *kicker.flag == 1;
}

/* Does that with the handler in place, then puts everything back. */
static bool spin_until_kick(struct hl__selftest *t)
{
    struct sigaction action = {.sa_handler = kick_handler}, before;
    sigset_t kicks, mask;
    int number = free_signal();
    if (!number || sigaction(number, &action, &before) != 0)
        return false;
    sigemptyset(&kicks);
    sigaddset(&kicks, number);
    pthread_sigmask(SIG_UNBLOCK, &kicks, &mask);
    kick_target.kick = t->driver->kick;
    kick_target.vcpu = t->vcpu;
    bool right = spin_until_signal(t, number);
    kick_target.vcpu = NULL;
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    sigaction(number, &before, NULL);
    return right;
}

static bool run_is_interrupted(struct hl__selftest *t)
{
    return t->driver->run(t->vcpu, &t->exit, &t->error) == HL_OK &&
           t->exit.kind == HL__EXIT_INTERRUPTED;
}

static void test_kick_before(struct hl__selftest *t)
{
    hl__selftest_user(t, HL__TINY_WRITE);
    t->state.general.rdi = FLAG;
    t->state.general.rsi = 1;
    t->driver->state_set(t->vcpu, HL__STATE_GENERAL | HL__STATE_SYSTEM | HL__STATE_EVENTS,
                         &t->state);
    t->driver->kick(t->vcpu);
    HL__EXPECT(t, run_is_interrupted(t));
    HL__EXPECT(t, *(uint32_t *)hl__tiny_guest_at(&t->guest, FLAG) == 0); /* it was not entered */
    HL__EXPECT(t, hl__selftest_resume(t) && hl__selftest_rang(t, HL__TINY_DONE));
}

static void test_kick_during(struct hl__selftest *t)
{
    struct hl__cpu_state now;
    for (int round = 0; round < 5; round++) {
        memset(hl__tiny_guest_at(&t->guest, FLAG), 0, 4);
        HL__EXPECT(t, spin_until_kick(t));
        HL__EXPECT(t, t->driver->state_get(t->vcpu, HL__STATE_GENERAL, &now, &t->error) == HL_OK);
        HL__EXPECT(t, now.general.rip > t->state.general.rip); /* in its loop */
        /* Nothing is lost: it goes on from there. */
        t->driver->kick(t->vcpu);
        HL__EXPECT(t, run_is_interrupted(t));
        HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_COUNT, 4, 0, 4));
    }
}

/* A kick after an exit ends the next run, and that one only. */
static void test_kick_stale(struct hl__selftest *t)
{
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_COUNT, 1, 0, 1));
    t->driver->kick(t->vcpu);
    t->driver->kick(t->vcpu);
    HL__EXPECT(t, run_is_interrupted(t));
    HL__EXPECT(t, t->driver->run(t->vcpu, &t->exit, &t->error) == HL_OK);
    HL__EXPECT(t, hl__selftest_rang(t, 2));
}

/* Operations between runs do not swallow a kick. */
static void test_kick_kept(struct hl__selftest *t)
{
    struct hl__cpu_state now;
    hl__selftest_user(t, HL__TINY_IN);
    HL__EXPECT(t, hl__selftest_start(t) && t->exit.kind == HL__EXIT_PORT);
    t->driver->kick(t->vcpu);
    HL__EXPECT(t, t->driver->retire(t->vcpu, &t->error) == HL_OK);
    HL__EXPECT(t, t->driver->state_get(t->vcpu, HL__STATE_GENERAL, &now, &t->error) == HL_OK);
    HL__EXPECT(t, run_is_interrupted(t));
    HL__EXPECT(t, hl__selftest_resume(t) && hl__selftest_rang(t, 0));
}

/* Open descriptors of this process, or 0 where that cannot be told. */
static size_t count_descriptors(void)
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

static void test_many_vms(struct hl__selftest *t)
{
    size_t before = count_descriptors();
    for (uint32_t i = 0; i < 50; i++) {
        struct hl__selftest other;
        HL__EXPECT(t, hl__selftest_open(&other, t->driver, t->machine, 0));
        bool right = hl__selftest_rings(&other, HL__TINY_COUNT, i, 0, i);
        hl__selftest_close(&other);
        HL__EXPECT(t, right);
    }
    HL__EXPECT(t, count_descriptors() == before);
}

/* Two VMs alive at once see nothing of each other. */
static void test_separate_vms(struct hl__selftest *t)
{
    struct hl__selftest other;
    HL__EXPECT(t, hl__selftest_open(&other, t->driver, t->machine, 0));
    bool right = true;
    for (uint32_t i = 0; i < 20 && right; i++)
        right = hl__selftest_rings(t, HL__TINY_WRITE, FLAG, i, HL__TINY_DONE) &&
                hl__selftest_rings(&other, HL__TINY_WRITE, FLAG, ~i, HL__TINY_DONE) &&
                hl__selftest_rings(t, HL__TINY_READ, FLAG, 0, i) &&
                hl__selftest_rings(&other, HL__TINY_READ, FLAG, 0, ~i);
    hl__selftest_close(&other);
    HL__EXPECT(t, right);
}

const struct hl__selftest_case hl__selftest_process[] = {
    {"kick-before-run", test_kick_before, 0},
    {"kick-during-run", test_kick_during, 0},
    {"kick-stale", test_kick_stale, 0},
    {"kick-kept", test_kick_kept, 0},
    {"many-vms", test_many_vms, 0},
    {"separate-vms", test_separate_vms, 0},
    {NULL, NULL, 0},
};
