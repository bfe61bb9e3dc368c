/* Self-tests: kicks, and what VMs leave in the process. */
#include "driver/selftest.h"

#include "os/kick.h"
#include "os/os.h"
#include "os/thread.h"

#include <string.h>

#define PATIENCE_NS 5000000000ull
#define PAUSE_NS 100000ull
#define BUDGET_NS 10000000000ull /* of a test that does as much as fits */
#define FLAG HL__TINY_DATA       /* the spinning guest sets it */

static void selftest_pause(uint64_t ns)
{
    atomic_uint nobody_wakes;
    atomic_init(&nobody_wakes, 0);
    hl__os_word_wait(&nobody_wakes, 0, hl__os_monotonic_ns() + ns);
}

/* The thread that kicks, again and again until the run is over. */
struct kicker {
    int thread; /* its target */
    int signal;
    const volatile uint32_t *flag; /* once this is set */
    atomic_bool over;
};

static void *kicker_run(void *argument)
{
    struct kicker *kicker = argument;
    uint64_t give_up_ns = hl__os_monotonic_ns() + PATIENCE_NS;
    while (!*kicker->flag && hl__os_monotonic_ns() < give_up_ns)
        selftest_pause(PAUSE_NS);
    do {
        selftest_pause(PAUSE_NS);
        (void)hl__kick_send(kicker->thread, kicker->signal);
    } while (!atomic_load(&kicker->over) && hl__os_monotonic_ns() < give_up_ns);
    return NULL;
}

/* Runs the spinning guest until a kick from another thread ends it. */
static bool spin_until_kick(struct hl__selftest *t)
{
    struct hl__kick_target target = {.kick = t->driver->kick, .vcpu = t->vcpu};
    struct kicker kicker = {.thread = hl__os_thread_id(),
                            .signal = hl__selftest_signal,
                            .flag = hl__tiny_guest_at(&t->guest, FLAG)};
    hl__os_thread thread;
    hl__selftest_user(t, HL__TINY_SPIN);
    t->state.general.rdi = FLAG;
    t->driver->state_set(t->vcpu, HL__STATE_GENERAL | HL__STATE_SYSTEM | HL__STATE_EVENTS,
                         &t->state);
    if (hl__os_thread_start(&thread, kicker_run, &kicker, &t->error) != HL_OK)
        return false;
    hl__kick_enter(&target);
    bool ran;
    do /* signals of others end runs, too */
        ran = t->driver->run(t->vcpu, &t->exit, &t->error) == HL_OK;
    while (ran && t->exit.kind == HL__EXIT_INTERRUPTED && *kicker.flag == 0);
    hl__kick_leave(&target);
    atomic_store(&kicker.over, true);
    hl__os_thread_join(thread);
    return ran && t->exit.kind == HL__EXIT_INTERRUPTED && *kicker.flag == 1;
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

/* A kick is for one vCPU. */
static void test_kick_apart(struct hl__selftest *t)
{
    struct hl__selftest other;
    HL__EXPECT(t, hl__selftest_another(t, &other));
    t->driver->kick(t->vcpu);
    hl__selftest_user(&other, HL__TINY_COUNT);
    other.state.general.rdi = 6;
    t->driver->state_set(other.vcpu, HL__STATE_GENERAL | HL__STATE_SYSTEM | HL__STATE_EVENTS,
                         &other.state);
    bool right =
        t->driver->run(other.vcpu, &other.exit, &t->error) == HL_OK && hl__selftest_rang(&other, 6);
    hl__selftest_close(&other);
    HL__EXPECT(t, right && run_is_interrupted(t));
}

/* Who closes the driver closes it for himself only. */
static void test_open_nests(struct hl__selftest *t)
{
    struct hl__selftest other;
    size_t before = hl__os_handle_count();
    HL__EXPECT(t, hl__driver_open(t->driver, &t->error) == HL_OK);
    hl__driver_close(t->driver);
    HL__EXPECT(t, hl__os_handle_count() == before);
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_COUNT, 3, 0, 3));
    HL__EXPECT(t, hl__selftest_another(t, &other));
    bool right = hl__selftest_rings(&other, HL__TINY_COUNT, 4, 0, 4);
    hl__selftest_close(&other);
    HL__EXPECT(t, right);
}

static void test_many_vms(struct hl__selftest *t)
{
    enum { VMS_MIN = 50, VMS_MAX = 1000 };
    uint64_t until_ns = hl__os_monotonic_ns() + BUDGET_NS;
    size_t before = hl__os_handle_count();
    uint32_t i = 0;
    for (; i < VMS_MAX && (i < VMS_MIN || hl__os_monotonic_ns() < until_ns); i++) {
        struct hl__selftest other;
        HL__EXPECT(t, hl__selftest_another(t, &other));
        bool right = hl__selftest_rings(&other, HL__TINY_COUNT, i, 0, i);
        hl__selftest_close(&other);
        HL__EXPECT(t, right);
    }
    HL__EXPECT(t, hl__os_handle_count() == before);
    hl__selftest_note(t, "%u VMs, one after the other", (unsigned)i);
}

/* Two VMs alive at once see nothing of each other. */
static void test_separate_vms(struct hl__selftest *t)
{
    struct hl__selftest other;
    HL__EXPECT(t, hl__selftest_another(t, &other));
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
    {"kick-apart", test_kick_apart, HL__SELFTEST_SEVERAL_VMS},
    {"open-nests", test_open_nests, HL__SELFTEST_SEVERAL_VMS},
    {"many-vms", test_many_vms, HL__SELFTEST_SEVERAL_VMS},
    {"separate-vms", test_separate_vms, HL__SELFTEST_SEVERAL_VMS},
    {NULL, NULL, 0},
};
