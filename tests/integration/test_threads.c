/*
 * Threads, signals and forks around sandboxes: many at once, stopped from elsewhere, on small
 * stacks, with signals blocked.
 * test-labels: bed
 */
#define _GNU_SOURCE
#include "fixture.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define MILLISECOND UINT64_C(1000000)
#define LATE_MAX (UINT64_C(1000) * MILLISECOND)

enum { THREADS = 6, ROUNDS = 150, INTERRUPTED_THREADS = 4, INTERRUPTIONS = 25, RACES = 60 };

static hl_snapshot *snapshot; /* of the plugin; shared by all tests */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * MILLISECOND + (uint64_t)now.tv_nsec;
}

static int set_up(void **state)
{
    (void)state;
    const hl_sandbox_options options = FIXTURE_OPTIONS(.memory_size = 8 << 20);
    hl_sandbox *sandbox = fixture_sandbox("plugin.musl", &options);
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &snapshot, &fixture_error));
    hl_sandbox_free(sandbox);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hl_snapshot_free(snapshot);
    return 0;
}

static hl_sandbox *make_sandbox(uint64_t timeout_ns)
{
    const hl_sandbox_options options = FIXTURE_OPTIONS(.timeout_ns = timeout_ns);
    hl_sandbox *sandbox;
    assert_status(HL_OK, hl_sandbox_from_snapshot(snapshot, &options, &sandbox, &fixture_error));
    return sandbox;
}

static void start_thread(pthread_t *thread, void *(*body)(void *), void *user)
{
    assert_int_equal(pthread_create(thread, NULL, body, user), 0);
}

/* cmocka's assertions are for the main thread alone; the others count what went wrong. */
static atomic_uint wrong;

static void check(bool good)
{
    if (!good)
        atomic_fetch_add(&wrong, 1);
}

static void nothing_went_wrong(void)
{
    assert_int_equal(atomic_exchange(&wrong, 0), 0);
}

static hl_status quiet_call(hl_sandbox *sandbox, const char *function, uint64_t *number)
{
    hl_value reply = hl_value_null();
    hl_status status = hl_sandbox_call(sandbox, function, NULL, 0, &reply, NULL);
    if (number)
        *number = reply.as.u64;
    hl_value_free(&reply);
    return status;
}

/* Load */

/* One life of a sandbox: its count is its own, whatever the others do. */
static void live_once(void)
{
    uint64_t number = 0;
    hl_sandbox *sandbox;
    hl_snapshot *own;
    check(hl_sandbox_from_snapshot(snapshot, NULL, &sandbox, NULL) == HL_OK);
    for (uint64_t i = 1; i <= 5; i++)
        check(quiet_call(sandbox, "count_up", &number) == HL_OK && number == i);
    check(hl_sandbox_snapshot(sandbox, &own, NULL) == HL_OK);
    check(hl_sandbox_restore(sandbox, snapshot, NULL) == HL_OK);
    check(quiet_call(sandbox, "count_up", &number) == HL_OK && number == 1);
    check(hl_sandbox_restore(sandbox, own, NULL) == HL_OK);
    hl_snapshot_free(own);
    check(quiet_call(sandbox, "count_up", &number) == HL_OK && number == 6);
    check(quiet_call(sandbox, "abort", NULL) == HL_GUEST_ABORTED);
    hl_sandbox_free(sandbox);
}

static void *live_often(void *user)
{
    (void)user;
    for (int i = 0; i < ROUNDS / THREADS; i++)
        live_once();
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        start_thread(&threads[i], live_often, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    nothing_went_wrong();
}

/* The default context comes and goes with its users. */
static void *open_and_close(void *user)
{
    (void)user;
    for (int i = 0; i < ROUNDS; i++) {
        hl_context *context;
        check(hl_context_new(NULL, &context, NULL) == HL_OK);
        hl_context_free(context);
    }
    return NULL;
}

static void contexts_on_many_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        start_thread(&threads[i], open_and_close, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    nothing_went_wrong();
}

/* Interrupts */

struct spinner {
    hl_sandbox *sandbox;
    hl_interrupt_handle *handle;
    atomic_uint ended;
};

/* Spins until it is interrupted, comes back, and starts anew. */
static void *spin_often(void *user)
{
    struct spinner *spinner = user;
    while (atomic_load(&spinner->ended) < INTERRUPTIONS) {
        check(quiet_call(spinner->sandbox, "spin", NULL) == HL_INTERRUPTED);
        check(hl_sandbox_status(spinner->sandbox) == HL_SANDBOX_POISONED);
        check(hl_sandbox_restore(spinner->sandbox, snapshot, NULL) == HL_OK);
        check(quiet_call(spinner->sandbox, "count_up", NULL) != HL_POISONED);
        if (hl_sandbox_status(spinner->sandbox) != HL_SANDBOX_READY)
            check(hl_sandbox_restore(spinner->sandbox, snapshot, NULL) == HL_OK);
        atomic_fetch_add(&spinner->ended, 1);
    }
    return NULL;
}

static void interrupts_from_another_thread(void **state)
{
    (void)state;
    static struct spinner spinners[INTERRUPTED_THREADS];
    pthread_t threads[INTERRUPTED_THREADS];
    for (int i = 0; i < INTERRUPTED_THREADS; i++) {
        spinners[i].sandbox = make_sandbox(HL_UNLIMITED);
        spinners[i].handle = hl_sandbox_interrupt_handle(spinners[i].sandbox);
        start_thread(&threads[i], spin_often, &spinners[i]);
    }
    for (unsigned busy = 1; busy;) {
        busy = 0;
        for (int i = 0; i < INTERRUPTED_THREADS; i++) {
            busy += atomic_load(&spinners[i].ended) < INTERRUPTIONS;
            hl_sandbox_interrupt(spinners[i].handle);
        }
        usleep(500);
    }
    for (int i = 0; i < INTERRUPTED_THREADS; i++) {
        pthread_join(threads[i], NULL);
        hl_sandbox_free(spinners[i].sandbox);
        hl_interrupt_handle_free(spinners[i].handle);
    }
    nothing_went_wrong();
}

/* One interrupt, once something runs. */
static void *interrupt_soon(void *handle)
{
    usleep(50000);
    while (hl_sandbox_interrupt(handle) != HL_OK)
        usleep(1000);
    return NULL;
}

/* `while (1);` in main, before the first rest, through each function that starts a program. */
static void interrupt_before_the_first_rest(void **state)
{
    (void)state;
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.timeout_ns = HL_UNLIMITED, .start_timeout_ns = HL_UNLIMITED);
    hl_program *program = fixture_program("plugin.musl", "spin");
    for (int by_call = 0; by_call < 2; by_call++) {
        pthread_t thread;
        hl_sandbox *sandbox;
        int code = -1;
        assert_status(HL_OK, hl_sandbox_new_stopped(program, &options, &sandbox, &fixture_error));
        hl_interrupt_handle *handle = hl_sandbox_interrupt_handle(sandbox);
        assert_int_equal(hl_sandbox_interrupt(handle), HL_INVALID_ARGUMENT);
        uint64_t start = now_ns();
        start_thread(&thread, interrupt_soon, handle);
        hl_status status = by_call ? quiet_call(sandbox, "echo", NULL)
                                   : hl_sandbox_run(sandbox, &code, &fixture_error);
        pthread_join(thread, NULL);
        assert_status(HL_INTERRUPTED, status);
        assert_int_equal(code, -1);
        assert_int_equal(hl_sandbox_status(sandbox), HL_SANDBOX_POISONED);
        assert_in_range(now_ns() - start, 0, 50 * MILLISECOND + LATE_MAX);
        hl_sandbox_free(sandbox);
        hl_interrupt_handle_free(handle);
    }
    hl_program_free(program);
}

/* Handles that are interrupted at every moment of a sandbox's life, its end included. */
struct race {
    _Atomic(hl_interrupt_handle *) handle;
    atomic_bool done;
};

static void *interrupt_always(void *user)
{
    struct race *race = user;
    hl_interrupt_handle *handle = NULL;
    while (!atomic_load(&race->done)) {
        hl_interrupt_handle *next = atomic_exchange(&race->handle, NULL);
        if (next) {
            hl_interrupt_handle_free(handle);
            handle = next;
        }
        hl_sandbox_interrupt(handle);
    }
    hl_interrupt_handle_free(handle);
    hl_interrupt_handle_free(atomic_load(&race->handle));
    return NULL;
}

static void interrupt_races_free(void **state)
{
    (void)state;
    struct race race = {NULL, false};
    pthread_t thread;
    start_thread(&thread, interrupt_always, &race);
    for (int i = 0; i < RACES; i++) {
        hl_sandbox *sandbox = make_sandbox(0);
        hl_interrupt_handle_free(
            atomic_exchange(&race.handle, hl_sandbox_interrupt_handle(sandbox)));
        for (int call = 0; call < i % 5; call++) {
            hl_status status = quiet_call(sandbox, "count_up", NULL);
            assert_true(status == HL_OK || status == HL_INTERRUPTED || status == HL_POISONED);
        }
        hl_sandbox_free(sandbox);
    }
    atomic_store(&race.done, true);
    pthread_join(thread, NULL);
}

/* From a signal handler on the very thread that runs the sandbox. */
static hl_interrupt_handle *alarm_handle;

static void interrupt_on_alarm(int number)
{
    (void)number;
    hl_sandbox_interrupt(alarm_handle);
}

static void interrupt_from_a_signal_handler(void **state)
{
    (void)state;
    const struct itimerval soon = {{0, 0}, {0, 50000}};
    hl_sandbox *sandbox = make_sandbox(HL_UNLIMITED);
    alarm_handle = hl_sandbox_interrupt_handle(sandbox);
    signal(SIGALRM, interrupt_on_alarm);
    uint64_t start = now_ns();
    setitimer(ITIMER_REAL, &soon, NULL);
    assert_status(HL_INTERRUPTED, quiet_call(sandbox, "spin", NULL));
    assert_in_range(now_ns() - start, 0, 50 * MILLISECOND + LATE_MAX);
    signal(SIGALRM, SIG_DFL);
    hl_sandbox_free(sandbox);
    hl_interrupt_handle_free(alarm_handle);
}

/* A host application whose own signals arrive all the time: calls neither end nor fail. */
static void count_alarm(int number)
{
    (void)number;
}

static void signals_of_the_host_application(void **state)
{
    (void)state;
    const struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    hl_sandbox *sandbox = make_sandbox(0);
    uint64_t start = now_ns();
    signal(SIGALRM, count_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    for (uint64_t i = 1; now_ns() - start < 200 * MILLISECOND; i++)
        assert_int_equal(fixture_call_u64(sandbox, "count_up", NO_ARGUMENTS), i);
    fixture_expect(HL_OK, sandbox, "sleep_ns", ARGUMENTS(hl_value_u64(20 * MILLISECOND)));
    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_DFL);
    hl_sandbox_free(sandbox);
}

/* Callers in odd circumstances */

/* A deadline that must hold, whatever the thread is like. */
static void expect_deadline(void)
{
    hl_sandbox *sandbox;
    const hl_sandbox_options options = FIXTURE_OPTIONS(.timeout_ns = 50 * MILLISECOND);
    check(hl_sandbox_from_snapshot(snapshot, &options, &sandbox, NULL) == HL_OK);
    for (int i = 0; i < 3; i++) {
        uint64_t start = now_ns();
        check(quiet_call(sandbox, "spin", NULL) == HL_TIMED_OUT);
        check(now_ns() - start < 50 * MILLISECOND + LATE_MAX);
        check(hl_sandbox_restore(sandbox, snapshot, NULL) == HL_OK);
        check(quiet_call(sandbox, "count_up", NULL) == HL_OK);
    }
    hl_sandbox_free(sandbox);
}

static void *block_everything(void *user)
{
    sigset_t all, before, after;
    (void)user;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    expect_deadline();
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int number = 1; number <= SIGRTMAX; number++)
        check(sigismember(&before, number) == sigismember(&after, number));
    return NULL;
}

static void caller_blocks_all_signals(void **state)
{
    (void)state;
    pthread_t thread;
    start_thread(&thread, block_everything, NULL);
    pthread_join(thread, NULL);
    nothing_went_wrong();
}

/* The kick arrives on an alternate stack with hardly more room than a signal's frame. */
static void *use_small_signal_stack(void *user)
{
    size_t size = getauxval(AT_MINSIGSTKSZ) + 2048;
    const stack_t small = {.ss_sp = malloc(size), .ss_size = size}, none = {.ss_flags = SS_DISABLE};
    (void)user;
    check(sigaltstack(&small, NULL) == 0);
    expect_deadline();
    check(sigaltstack(&none, NULL) == 0);
    free(small.ss_sp);
    return NULL;
}

static void run_on_small_stack(void *(*body)(void *), size_t size)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    assert_int_equal(pthread_attr_setstacksize(&attributes, size), 0);
    assert_int_equal(pthread_create(&thread, &attributes, body, NULL), 0);
    pthread_attr_destroy(&attributes);
    pthread_join(thread, NULL);
    nothing_went_wrong();
}

/* A sanitizer's frames are large. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SMALL_STACK = 1 << 20 };
#else
enum { SMALL_STACK = 64 << 10 };
#endif

static void *print_and_map(void *user)
{
    hl_sandbox *sandbox;
    hl_value print[] = {hl_value_i32(1), hl_value_string("text"), hl_value_i32(10)};
    hl_value pages = hl_value_u64(64);
    (void)user;
    check(hl_sandbox_from_snapshot(snapshot, NULL, &sandbox, NULL) == HL_OK);
    check(hl_sandbox_call(sandbox, "print", print, 3, NULL, NULL) == HL_OK);
    check(hl_sandbox_call(sandbox, "map_and_protect", &pages, 1, NULL, NULL) == HL_OK);
    hl_sandbox_free(sandbox);
    expect_deadline();
    return NULL;
}

static void small_stacks(void **state)
{
    (void)state;
    pthread_t thread;
    start_thread(&thread, use_small_signal_stack, NULL);
    pthread_join(thread, NULL);
    nothing_went_wrong();
    run_on_small_stack(print_and_map, SMALL_STACK);
}

/* A coroutine: the calling thread is on a stack that is not its own. */
static ucontext_t main_context, coroutine_context;

static void coroutine(void)
{
    expect_deadline();
    swapcontext(&coroutine_context, &main_context);
}

static void call_from_a_coroutine(void **state)
{
    (void)state;
    void *stack = malloc(SMALL_STACK);
    assert_int_equal(getcontext(&coroutine_context), 0);
    coroutine_context.uc_stack = (stack_t){.ss_sp = stack, .ss_size = SMALL_STACK};
    coroutine_context.uc_link = &main_context;
    makecontext(&coroutine_context, coroutine, 0);
    assert_int_equal(swapcontext(&main_context, &coroutine_context), 0);
    free(stack);
    nothing_went_wrong();
}

/* One sandbox handed from thread to thread. */
static void *call_once(void *sandbox)
{
    check(quiet_call(sandbox, "count_up", NULL) == HL_OK);
    return NULL;
}

static void a_sandbox_moves_between_threads(void **state)
{
    (void)state;
    hl_sandbox *sandbox = make_sandbox(0);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        start_thread(&thread, call_once, sandbox);
        pthread_join(thread, NULL);
        nothing_went_wrong();
    }
    assert_int_equal(fixture_call_u64(sandbox, "count_up", NO_ARGUMENTS), 21);
    hl_sandbox_free(sandbox);
}

/* Forks */

/* What was the parent's answers HL_FORKED, and can be freed. */
static bool refuses(hl_sandbox *sandbox, const hl_snapshot *from, hl_interrupt_handle *handle)
{
    hl_snapshot *taken;
    hl_sandbox *made;
    return quiet_call(sandbox, "echo", NULL) == HL_FORKED &&
           hl_sandbox_snapshot(sandbox, &taken, NULL) == HL_FORKED &&
           hl_sandbox_restore(sandbox, from, NULL) == HL_FORKED &&
           hl_sandbox_from_snapshot(from, NULL, &made, NULL) == HL_FORKED &&
           hl_sandbox_interrupt(handle) == HL_INVALID_ARGUMENT;
}

enum { FORKED_SANDBOXES = 4 };

/* What a process has before it forks, and a child makes for itself. */
struct belongings {
    hl_sandbox *sandboxes[FORKED_SANDBOXES];
    hl_snapshot *snapshots[FORKED_SANDBOXES];
};

static bool belongings_make(struct belongings *belongings)
{
    const hl_sandbox_options options = FIXTURE_OPTIONS(.memory_size = 4 << 20);
    hl_program *program;
    bool good = hl_program_open(HL_TEST_GUESTS "/plugin.musl", NULL, &program, NULL) == HL_OK;
    for (int i = 0; i < FORKED_SANDBOXES && good; i++)
        good = !hl_sandbox_new(program, &options, &belongings->sandboxes[i], NULL) &&
               !quiet_call(belongings->sandboxes[i], "count_up", NULL) &&
               !hl_sandbox_snapshot(belongings->sandboxes[i], &belongings->snapshots[i], NULL);
    hl_program_free(program);
    return good;
}

static bool belongings_work(const struct belongings *belongings)
{
    bool good = true;
    for (int i = 0; i < FORKED_SANDBOXES; i++) {
        uint64_t number = 0;
        hl_sandbox *sandbox = belongings->sandboxes[i];
        good = good && !quiet_call(sandbox, "count_up", NULL) &&
               !hl_sandbox_restore(sandbox, belongings->snapshots[i], NULL) &&
               !quiet_call(sandbox, "count_up", &number) && number == 2;
    }
    return good;
}

static void belongings_free(struct belongings *belongings)
{
    for (int i = 0; i < FORKED_SANDBOXES; i++) {
        hl_sandbox_free(belongings->sandboxes[i]);
        hl_snapshot_free(belongings->snapshots[i]);
    }
}

/* The child makes everything anew, and then frees what was the parent's: its own may lie in the
 * same places. */
static int child_life(struct belongings *parents, hl_interrupt_handle *handle)
{
    struct belongings own;
    if (!refuses(parents->sandboxes[0], parents->snapshots[0], handle))
        return 1;
    if (!belongings_make(&own))
        return 2;
    belongings_free(parents);
    hl_interrupt_handle_free(handle);
    hl_snapshot_free(snapshot);
    if (!belongings_work(&own))
        return 3;
    snapshot = own.snapshots[0];
    expect_deadline();
    belongings_free(&own);
    return atomic_load(&wrong) ? 4 : 0;
}

static void fork_and_both_live(void **state)
{
    (void)state;
    struct belongings belongings;
    assert_true(belongings_make(&belongings));
    hl_interrupt_handle *handle = hl_sandbox_interrupt_handle(belongings.sandboxes[0]);
    for (int i = 0; i < 3; i++) {
        int result = -1;
        pid_t child = fork();
        if (child == 0)
            _exit(child_life(&belongings, handle));
        assert_int_equal(waitpid(child, &result, 0), child);
        assert_int_equal(result, 0);
        assert_true(belongings_work(&belongings));
    }
    belongings_free(&belongings);
    hl_interrupt_handle_free(handle);
    expect_deadline();
    nothing_went_wrong();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads),
        cmocka_unit_test(contexts_on_many_threads),
        cmocka_unit_test(interrupts_from_another_thread),
        cmocka_unit_test(interrupt_before_the_first_rest),
        cmocka_unit_test(interrupt_races_free),
        cmocka_unit_test(interrupt_from_a_signal_handler),
        cmocka_unit_test(signals_of_the_host_application),
        cmocka_unit_test(caller_blocks_all_signals),
        cmocka_unit_test(small_stacks),
        cmocka_unit_test(a_sandbox_moves_between_threads),
#if !defined(                                                                                      \
    __SANITIZE_THREAD__) /* which knows no foreign stacks, and allows no threads in a child */
        cmocka_unit_test(call_from_a_coroutine),
        cmocka_unit_test(fork_and_both_live),
#endif
    };
#if defined(__SANITIZE_THREAD__)
    (void)fork_and_both_live;
    (void)call_from_a_coroutine;
#endif
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
