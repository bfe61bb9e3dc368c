/* Self-tests with more than one thread: kicks at every moment of a run, and VMs side by side. */
#include "driver/selftest.h"

#include "os/kick.h"
#include "os/os.h"
#include "os/thread.h"

#define BUDGET_NS 20000000000ull
#define BUDGET_MAX_NS 40000000000ull /* where the rest fits in */
#define PATIENCE_NS 20000000000ull   /* a crowded machine may stop a thread for seconds */
#define REPEAT_NS 50000ull

/* Races of kicks with entries and exits */

enum { RACES_MIN = 200, RACES_MAX = 100000 };

/* ThreadSanitizer puts signals off, past the entry that they were for. */
#ifdef __SANITIZE_THREAD__
#define SIGNALS_COME_LATE true
#else
#define SIGNALS_COME_LATE false
#endif

struct race {
    int thread; /* that runs */
    bool repeats;
    atomic_uint started, ended, kicked; /* rounds */
    atomic_bool over, lost;
};

static void wait_a_little(uint64_t ns)
{
    uint64_t until = hl__os_monotonic_ns() + ns;
    while (hl__os_monotonic_ns() < until)
        ;
}

/* Until the run of that round has ended. One kick must do, unless the driver says otherwise. */
static void race_kick(struct race *race, unsigned round)
{
    uint64_t give_up_ns = hl__os_monotonic_ns() + PATIENCE_NS;
    atomic_store(&race->kicked, round);
    while (!hl__kick_send(race->thread, hl__selftest_signal) &&
           hl__os_monotonic_ns() < give_up_ns) /* other processes have filled the user's queue */
        wait_a_little(REPEAT_NS);
    while (atomic_load(&race->ended) != round) {
        if (race->repeats || hl__os_monotonic_ns() > give_up_ns) {
            atomic_store(&race->lost, race->lost || !race->repeats);
            wait_a_little(REPEAT_NS);
            (void)hl__kick_send(race->thread, hl__selftest_signal);
        }
    }
}

static void *race_kicker(void *argument)
{
    struct race *race = argument;
    unsigned round = 0;
    uint64_t random = 88172645463325252u;
    while (!atomic_load(&race->over)) {
        unsigned started = atomic_load(&race->started);
        if (started == round)
            continue;
        round = started;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        wait_a_little(random % 30000);
        race_kick(race, round);
    }
    return NULL;
}

/* One run of a guest that never exits by itself. */
static bool race_run(struct hl__selftest *t, struct race *race, unsigned round)
{
    hl__selftest_user(t, HL__TINY_SPIN);
    t->state.general.rdi = HL__TINY_DATA;
    t->driver->state_set(t->vcpu, HL__STATE_GENERAL | HL__STATE_SYSTEM | HL__STATE_EVENTS,
                         &t->state);
    atomic_store(&race->started, round);
    bool right;
    do /* an earlier kick may have come late */
        right = t->driver->run(t->vcpu, &t->exit, &t->error) == HL_OK &&
                t->exit.kind == HL__EXIT_INTERRUPTED;
    while (right && atomic_load(&race->kicked) != round);
    atomic_store(&race->ended, round);
    return right;
}

/* As many as fit into the budget; where it goes fast enough, all. */
static bool race_goes_on(unsigned round, uint64_t start_ns)
{
    uint64_t elapsed_ns = hl__os_monotonic_ns() - start_ns;
    bool is_fast = round >= RACES_MAX / (BUDGET_MAX_NS / BUDGET_NS);
    return round < RACES_MAX &&
           (round < RACES_MIN || elapsed_ns < BUDGET_NS || (is_fast && elapsed_ns < BUDGET_MAX_NS));
}

static void test_races(struct hl__selftest *t)
{
    struct race race = {.thread = hl__os_thread_id(),
                        .repeats = t->driver->kick_repeats || SIGNALS_COME_LATE};
    struct hl__kick_target target = {.kick = t->driver->kick, .vcpu = t->vcpu};
    uint64_t start_ns = hl__os_monotonic_ns();
    hl__os_thread thread;
    HL__EXPECT(t, hl__os_thread_start(&thread, race_kicker, &race, &t->error) == HL_OK);
    hl__kick_enter(&target);
    unsigned round = 0;
    bool right = true;
    while (right && race_goes_on(round, start_ns))
        right = race_run(t, &race, ++round);
    hl__kick_leave(&target);
    atomic_store(&race.over, true);
    hl__os_thread_join(thread);
    HL__EXPECT(t, right && !race.lost);
    HL__EXPECT(t, round >= RACES_MIN);
    hl__selftest_note(t, "%u kicks, none was lost", round);
}

/* VMs side by side */

enum { RINGS = 2000 };

struct side {
    struct hl__selftest rig;
    uint32_t first;
    bool right;
};

static void *side_run(void *argument)
{
    struct side *side = argument;
    bool right = hl__selftest_rings(&side->rig, HL__TINY_COUNT, side->first, 0, side->first);
    for (uint32_t i = 1; i < RINGS && right; i++)
        right = hl__selftest_resume(&side->rig) && hl__selftest_rang(&side->rig, side->first + i);
    side->right = right;
    return NULL;
}

static void test_side_by_side(struct hl__selftest *t)
{
    static struct side sides[2];
    hl__os_thread threads[2];
    unsigned opened = 0, started = 0;
    while (opened < 2 && hl__selftest_another(t, &sides[opened].rig)) {
        sides[opened].first = 0x1000000u * opened;
        opened++;
    }
    for (; opened == 2 && started < 2; started++)
        if (hl__os_thread_start(&threads[started], side_run, &sides[started], &t->error) != HL_OK)
            break;
    for (unsigned i = 0; i < started; i++)
        hl__os_thread_join(threads[i]);
    for (unsigned i = 0; i < opened; i++)
        hl__selftest_close(&sides[i].rig);
    HL__EXPECT(t, started == 2 && sides[0].right && sides[1].right);
}

const struct hl__selftest_case hl__selftest_threads[] = {
    {"kick-races", test_races, 0},
    {"side-by-side", test_side_by_side, HL__SELFTEST_SEVERAL_VMS},
    {NULL, NULL, 0},
};
