/* Controls: deadlines, CPU budgets, interrupts, and the watchdog's thrift. */
#define _GNU_SOURCE
#include "context/context.h"
#include "context/control_state.h"
#include "context/watchdog.h"
#include "os/os.h"
#include "sleeper_driver.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* Nothing here takes longer, on a machine however busy. */
#define LATE_NS (1000 * MS)

static int set_up(void **state)
{
    hl__control *control;
    assert_int_equal(hl__control_new(NULL, &control, NULL), HL_OK);
    *state = control;
    return 0;
}

static int tear_down(void **state)
{
    hl__control_unref(*state);
    return 0;
}

static uint64_t after(uint64_t ns)
{
    return hl__os_monotonic_ns() + ns;
}

static void begin(hl__control *control, uint64_t deadline_ns, uint64_t budget_ns)
{
    assert_int_equal(hl__control_begin(control, deadline_ns, budget_ns, NULL), HL_OK);
}

/* Runs as the core does: again and again until cancelled or rung. */
static enum hl__exit_kind run(hl__control *control, struct sleeper *sleeper)
{
    struct hl__exit exit = {.kind = HL__EXIT_INTERRUPTED};
    do
        assert_int_equal(hl__control_run(control, &sleeper_driver, sleeper, &exit, NULL), HL_OK);
    while (exit.kind == HL__EXIT_INTERRUPTED && hl__control_cause(control) == HL_OK);
    return exit.kind;
}

static void test_run_without_limits(void **state)
{
    hl__control *control = *state;
    struct sleeper sleeper = {.mode = SLEEPER_RETURNS};
    begin(control, UINT64_MAX, UINT64_MAX);
    assert_int_equal(hl__control_deadline_ns(control), UINT64_MAX);
    assert_int_equal(run(control, &sleeper), HL__EXIT_DOORBELL);
    assert_int_equal(hl__control_end(control), HL_OK);
    assert_false(control->enrolled);
}

static void check_deadline(hl__control *control, struct sleeper *sleeper)
{
    uint64_t deadline = after(20 * MS);
    begin(control, deadline, UINT64_MAX);
    assert_int_equal(hl__control_deadline_ns(control), deadline);
    assert_int_equal(run(control, sleeper), HL__EXIT_INTERRUPTED);
    uint64_t now = hl__os_monotonic_ns();
    assert_true(now >= deadline);
    assert_true(now < deadline + LATE_NS);
    assert_int_equal(hl__control_cause(control), HL_TIMED_OUT);
    assert_int_equal(hl__control_end(control), HL_TIMED_OUT);
}

static void test_deadline_stops_a_sleeper(void **state)
{
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    check_deadline(*state, &sleeper);
    check_deadline(*state, &sleeper);
}

static void test_deadline_stops_a_spinner(void **state)
{
    struct sleeper sleeper = {.mode = SLEEPER_SPINS};
    check_deadline(*state, &sleeper);
}

static void test_deadline_in_the_past(void **state)
{
    hl__control *control = *state;
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    begin(control, 1, UINT64_MAX);
    assert_int_equal(run(control, &sleeper), HL__EXIT_INTERRUPTED);
    assert_int_equal(hl__control_end(control), HL_TIMED_OUT);
}

static int compare(const void *left, const void *right)
{
    uint64_t l = *(const uint64_t *)left, r = *(const uint64_t *)right;
    return (l > r) - (l < r);
}

static void test_lateness(void **state)
{
    hl__control *control = *state;
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    uint64_t late[51];
    for (size_t i = 0; i < 51; i++) {
        uint64_t deadline = after(3 * MS);
        begin(control, deadline, UINT64_MAX);
        run(control, &sleeper);
        late[i] = hl__os_monotonic_ns() - deadline;
        assert_int_equal(hl__control_end(control), HL_TIMED_OUT);
    }
    qsort(late, 51, sizeof *late, compare);
    print_message("lateness p50 %lu us, worst %lu us\n", (unsigned long)(late[25] / 1000),
                  (unsigned long)(late[50] / 1000));
    assert_true(late[25] < LATE_NS);
}

static void test_cpu_budget_stops_a_spinner(void **state)
{
    hl__control *control = *state;
    struct sleeper sleeper = {.mode = SLEEPER_SPINS};
    uint64_t start = hl__os_monotonic_ns();
    struct timespec before, used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    begin(control, after(10000 * MS), 20 * MS);
    assert_int_equal(run(control, &sleeper), HL__EXIT_INTERRUPTED);
    assert_int_equal(hl__control_end(control), HL_CPU_LIMIT);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    int64_t spent = (used.tv_sec - before.tv_sec) * 1000000000LL + used.tv_nsec - before.tv_nsec;
    assert_true(spent >= (int64_t)(20 * MS));
    assert_true(hl__os_monotonic_ns() - start < 9000 * MS);
}

static void test_cpu_budget_does_not_count_sleep(void **state)
{
    hl__control *control = *state;
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    begin(control, after(80 * MS), 20 * MS);
    run(control, &sleeper);
    assert_int_equal(hl__control_end(control), HL_TIMED_OUT);
}

/* The budget of each run counts afresh. */
static void test_cpu_budget_again(void **state)
{
    test_cpu_budget_stops_a_spinner(state);
    test_cpu_budget_does_not_count_sleep(state);
    test_cpu_budget_stops_a_spinner(state);
}

struct canceller {
    hl__control *control;
    struct sleeper *sleeper; /* waits until it is in the run; NULL: `delay_ns` only */
    uint64_t delay_ns;
    bool cancelled;
};

static void pause_ns(uint64_t ns)
{
    struct timespec pause = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    nanosleep(&pause, NULL);
}

static void *cancel_later(void *user)
{
    struct canceller *canceller = user;
    while (canceller->sleeper && !atomic_load(&canceller->sleeper->under_way))
        pause_ns(10000);
    pause_ns(canceller->delay_ns);
    canceller->cancelled = hl__control_cancel(canceller->control, HL_INTERRUPTED);
    return NULL;
}

static pthread_t start(void *(*body)(void *), void *user)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, body, user), 0);
    return thread;
}

static void check_interrupt(hl__control *control)
{
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    struct canceller canceller = {control, &sleeper, MS, false};
    begin(control, after(10000 * MS), UINT64_MAX);
    pthread_t thread = start(cancel_later, &canceller);
    assert_int_equal(run(control, &sleeper), HL__EXIT_INTERRUPTED);
    assert_int_equal(hl__control_end(control), HL_INTERRUPTED);
    pthread_join(thread, NULL);
    assert_true(canceller.cancelled);
}

static void test_interrupt_from_another_thread(void **state)
{
    check_interrupt(*state);
}

static void test_nothing_to_interrupt(void **state)
{
    hl__control *control = *state;
    assert_false(hl__control_cancel(control, HL_INTERRUPTED));
    begin(control, UINT64_MAX, UINT64_MAX);
    assert_int_equal(hl__control_end(control), HL_OK);
    assert_false(hl__control_cancel(control, HL_INTERRUPTED));
    begin(control, UINT64_MAX, UINT64_MAX);
    assert_int_equal(hl__control_cause(control), HL_OK);
    assert_true(hl__control_cancel(control, HL_INTERRUPTED));
    assert_false(hl__control_cancel(control, HL_TIMED_OUT));
    assert_int_equal(hl__control_end(control), HL_INTERRUPTED);
}

static void test_public_handle(void **state)
{
    hl__control *control = *state;
    assert_int_equal(hl_sandbox_interrupt(NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_sandbox_interrupt(control), HL_INVALID_ARGUMENT);
    begin(control, UINT64_MAX, UINT64_MAX);
    assert_int_equal(hl_sandbox_interrupt(control), HL_OK);
    assert_int_equal(hl__control_end(control), HL_INTERRUPTED);
    hl__control_ref(control);
    hl_interrupt_handle_free(control);
    hl_interrupt_handle_free(NULL);
}

/* A run that was cancelled before never enters the guest. */
static void test_cancelled_before_the_run(void **state)
{
    hl__control *control = *state;
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    begin(control, UINT64_MAX, UINT64_MAX);
    assert_true(hl__control_cancel(control, HL_INTERRUPTED));
    assert_int_equal(run(control, &sleeper), HL__EXIT_INTERRUPTED);
    assert_int_equal(atomic_load(&sleeper.entered), 0);
    hl__control_end(control);
}

static hl__control *signalled_control;
static volatile sig_atomic_t signalled_result;

static void interrupt_in_handler(int signal)
{
    (void)signal;
    signalled_result = hl__control_cancel(signalled_control, HL_INTERRUPTED);
}

static void *raise_later(void *user)
{
    pthread_t *runner = user;
    pause_ns(5 * MS);
    pthread_kill(*runner, SIGUSR1);
    return NULL;
}

/* Ctrl-C: the handler runs on the very thread that is in the guest. */
static void test_interrupt_from_a_signal_handler(void **state)
{
    hl__control *control = *state;
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    pthread_t self = pthread_self();
    signalled_control = control;
    signal(SIGUSR1, interrupt_in_handler);
    begin(control, after(10000 * MS), UINT64_MAX);
    pthread_t thread = start(raise_later, &self);
    run(control, &sleeper);
    assert_int_equal(hl__control_end(control), HL_INTERRUPTED);
    pthread_join(thread, NULL);
    signal(SIGUSR1, SIG_DFL);
    assert_true(signalled_result);
}

static bool kick_is_blocked(void)
{
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return sigismember(&mask, SLEEPER_SIGNAL);
}

static void block_kick(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SLEEPER_SIGNAL);
    pthread_sigmask(how, &set, NULL);
}

static void test_caller_blocks_the_signal(void **state)
{
    block_kick(SIG_BLOCK);
    check_interrupt(*state);
    assert_true(kick_is_blocked());
    block_kick(SIG_UNBLOCK);
    check_interrupt(*state);
    assert_false(kick_is_blocked());
}

static void *raise_signal_limit(void *user)
{
    pause_ns(20 * MS);
    setrlimit(RLIMIT_SIGPENDING, user);
    return NULL;
}

/* A real-time signal needs room in a queue that the user may have used up: the kick comes when there is room again. */
static void test_full_signal_queue(void **state)
{
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    struct rlimit before, none;
    getrlimit(RLIMIT_SIGPENDING, &before);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_SIGPENDING, &none), 0);
    pthread_t thread = start(raise_signal_limit, &before);
    check_deadline(*state, &sleeper);
    pthread_join(thread, NULL);
}

static void test_stray_kicks_do_no_harm(void **state)
{
    hl__control *control = *state;
    struct sleeper sleeper = {.mode = SLEEPER_RETURNS};
    raise(SLEEPER_SIGNAL);
    begin(control, UINT64_MAX, UINT64_MAX);
    raise(SLEEPER_SIGNAL);
    assert_int_equal(run(control, &sleeper), HL__EXIT_DOORBELL);
    sleeper_kick(&sleeper); /* arrived late */
    struct hl__exit exit;
    assert_int_equal(hl__control_run(control, &sleeper_driver, &sleeper, &exit, NULL), HL_OK);
    assert_int_equal(exit.kind, HL__EXIT_INTERRUPTED);
    assert_int_equal(hl__control_cause(control), HL_OK);
    assert_int_equal(run(control, &sleeper), HL__EXIT_DOORBELL);
    assert_int_equal(hl__control_end(control), HL_OK);
}

/* A host function between two runs is told, and the next run does not happen. */
static void test_wait_between_runs(void **state)
{
    hl__control *control = *state;
    struct sleeper sleeper = {.mode = SLEEPER_RETURNS};
    begin(control, after(10000 * MS), UINT64_MAX);
    assert_int_equal(run(control, &sleeper), HL__EXIT_DOORBELL);
    assert_false(hl__control_wait(control, after(MS)));
    assert_int_equal(hl__control_end(control), HL_OK);
    begin(control, after(10 * MS), UINT64_MAX);
    assert_true(hl__control_wait(control, UINT64_MAX));
    assert_int_equal(run(control, &sleeper), HL__EXIT_INTERRUPTED);
    assert_int_equal(hl__control_end(control), HL_TIMED_OUT);
}

static void test_wait_ends_with_an_interrupt(void **state)
{
    hl__control *control = *state;
    struct canceller canceller = {control, NULL, 5 * MS, false};
    begin(control, UINT64_MAX, UINT64_MAX);
    pthread_t thread = start(cancel_later, &canceller);
    uint64_t start_ns = hl__os_monotonic_ns();
    assert_true(hl__control_wait(control, after(10000 * MS)));
    assert_true(hl__os_monotonic_ns() - start_ns < LATE_NS);
    hl__control_end(control);
    pthread_join(thread, NULL);
}

static void test_poll(void **state)
{
    hl__control *control = *state;
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    begin(control, after(10000 * MS), UINT64_MAX);
    assert_int_equal(hl__control_poll(control, pipe_ends[1], true, UINT64_MAX), 0);
    assert_int_equal(hl__control_end(control), HL_OK);
    begin(control, after(20 * MS), UINT64_MAX);
    uint64_t start_ns = hl__os_monotonic_ns();
    assert_int_equal(hl__control_poll(control, pipe_ends[0], false, UINT64_MAX), -EINTR);
    assert_true(hl__os_monotonic_ns() - start_ns < LATE_NS);
    assert_int_equal(hl__control_poll(control, pipe_ends[1], true, UINT64_MAX), -EINTR);
    assert_int_equal(hl__control_end(control), HL_TIMED_OUT);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static void test_poll_ends_with_an_interrupt(void **state)
{
    hl__control *control = *state;
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    for (uint64_t i = 0; i < 200; i++) {
        struct canceller canceller = {control, NULL, i * 500, false};
        begin(control, UINT64_MAX, UINT64_MAX);
        pthread_t thread = start(cancel_later, &canceller);
        assert_int_equal(hl__control_poll(control, pipe_ends[0], false, UINT64_MAX), -EINTR);
        assert_int_equal(hl__control_end(control), HL_INTERRUPTED);
        pthread_join(thread, NULL);
    }
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

/* Runs until a tick is due, and tells how late it came. */
static uint64_t await_tick(hl__control *control, struct sleeper *sleeper, uint64_t due_ns)
{
    struct hl__exit exit;
    do
        assert_int_equal(hl__control_run(control, &sleeper_driver, sleeper, &exit, NULL), HL_OK);
    while (!hl__control_tick_take(control));
    assert_int_equal(hl__control_cause(control), HL_OK);
    uint64_t now = hl__os_monotonic_ns();
    assert_true(now >= due_ns);
    return now - due_ns;
}

static void test_ticks_stop_runs(void **state)
{
    static const int modes[] = {SLEEPER_SLEEPS, SLEEPER_SPINS, SLEEPER_RETURNS};
    hl__control *control = *state;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct sleeper sleeper = {.mode = modes[i]};
        begin(control, UINT64_MAX, UINT64_MAX);
        uint64_t due = after(5 * MS);
        assert_true(hl__control_tick_start(control, due, 0));
        assert_true(await_tick(control, &sleeper, due) < LATE_NS);
        assert_false(hl__control_tick_take(control));
        assert_int_equal(atomic_load(&control->tick_ns), UINT64_MAX);
        assert_int_equal(hl__control_end(control), HL_OK);
    }
}

/* One every 2 ms, none twice, and those that were missed are lost. */
static void test_ticks_repeat(void **state)
{
    hl__control *control = *state;
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    begin(control, UINT64_MAX, UINT64_MAX);
    uint64_t start_ns = hl__os_monotonic_ns(), due = start_ns + 2 * MS;
    assert_true(hl__control_tick_start(control, due, 2 * MS));
    for (unsigned i = 0; i < 50; i++, due += 2 * MS)
        await_tick(control, &sleeper, due);
    assert_true(hl__os_monotonic_ns() - start_ns >= 100 * MS);
    pause_ns(20 * MS);
    await_tick(control, &sleeper, due);
    assert_true(atomic_load(&control->tick_ns) > hl__os_monotonic_ns() - 2 * MS);
    assert_int_equal(hl__control_end(control), HL_OK);
}

static void test_ticks_end_with_the_run(void **state)
{
    hl__control *control = *state;
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    begin(control, UINT64_MAX, UINT64_MAX);
    assert_true(hl__control_tick_start(control, after(2 * MS), 1 * MS));
    await_tick(control, &sleeper, 0);
    assert_int_equal(hl__control_end(control), HL_OK);
    begin(control, after(50 * MS), UINT64_MAX);
    assert_int_equal(run(control, &sleeper), HL__EXIT_INTERRUPTED);
    assert_false(hl__control_tick_take(control));
    assert_int_equal(hl__control_end(control), HL_TIMED_OUT);
}

static void test_ticks_do_not_delay_the_deadline(void **state)
{
    hl__control *control = *state;
    struct sleeper sleeper = {.mode = SLEEPER_SPINS};
    struct hl__exit exit;
    uint64_t deadline = after(60 * MS);
    begin(control, deadline, UINT64_MAX);
    assert_true(hl__control_tick_start(control, after(1 * MS), 1 * MS));
    while (hl__control_cause(control) == HL_OK) {
        assert_int_equal(hl__control_run(control, &sleeper_driver, &sleeper, &exit, NULL), HL_OK);
        hl__control_tick_take(control);
    }
    uint64_t now = hl__os_monotonic_ns();
    assert_true(now >= deadline && now - deadline < LATE_NS);
    assert_int_equal(hl__control_end(control), HL_TIMED_OUT);
}

/* Who waits for a descriptor is not disturbed. */
static void test_ticks_leave_waiting_alone(void **state)
{
    hl__control *control = *state;
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    begin(control, UINT64_MAX, UINT64_MAX);
    assert_true(hl__control_tick_start(control, after(1 * MS), 1 * MS));
    uint64_t until = after(30 * MS), before = hl__watchdog_wakeups(control->context->watchdog);
    assert_int_equal(hl__control_poll(control, pipe_ends[0], false, until), -EAGAIN);
    assert_true(hl__os_monotonic_ns() >= until);
    assert_true(hl__watchdog_wakeups(control->context->watchdog) - before <
                30 + (hl__os_monotonic_ns() - until) / MS + 30);
    assert_true(hl__control_tick_take(control));
    assert_int_equal(hl__control_end(control), HL_OK);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

/* A host function that calls another sandbox: the inner run is stopped alone, the outer one goes on. */
static void test_nested_runs(void **state)
{
    hl__control *outer = *state, *inner;
    struct sleeper outer_sleeper = {.mode = SLEEPER_RETURNS};
    assert_int_equal(hl__control_new(outer->context, &inner, NULL), HL_OK);
    begin(outer, after(10000 * MS), UINT64_MAX);
    assert_int_equal(run(outer, &outer_sleeper), HL__EXIT_DOORBELL);
    check_interrupt(inner);
    struct sleeper inner_sleeper = {.mode = SLEEPER_SLEEPS};
    check_deadline(inner, &inner_sleeper);
    assert_int_equal(hl__control_cause(outer), HL_OK);
    assert_int_equal(run(outer, &outer_sleeper), HL__EXIT_DOORBELL);
    assert_int_equal(hl__control_end(outer), HL_OK);
    hl__control_unref(inner);
}

static uint64_t wakeups_of_many_runs(hl__control *control)
{
    struct sleeper sleeper = {.mode = SLEEPER_RETURNS};
    uint64_t before = hl__watchdog_wakeups(control->context->watchdog);
    for (int i = 0; i < 20000; i++) {
        begin(control, after(60000 * MS), UINT64_MAX);
        assert_int_equal(run(control, &sleeper), HL__EXIT_DOORBELL);
        assert_int_equal(hl__control_end(control), HL_OK);
    }
    return hl__watchdog_wakeups(control->context->watchdog) - before;
}

/* The watchdog wakes for deadlines that come earlier than it planned, and never for a call as such. */
static void test_no_wakeups_in_the_steady_state(void **state)
{
    hl__control *control = *state;
    begin(control, after(60000 * MS), UINT64_MAX);
    hl__control_end(control);
    /* On a busy machine it may take a while until the thread has come to its first sleep. */
    uint64_t wakeups = 1;
    for (int i = 0; i < 20 && wakeups > 0; i++) {
        pause_ns(20 * MS);
        wakeups = wakeups_of_many_runs(control);
    }
    assert_int_equal(wakeups, 0);
}

static void test_an_earlier_deadline_wakes(void **state)
{
    hl__control *late = *state, *early;
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    assert_int_equal(hl__control_new(late->context, &early, NULL), HL_OK);
    begin(late, after(60000 * MS), UINT64_MAX);
    pause_ns(10 * MS);
    check_deadline(early, &sleeper);
    assert_int_equal(hl__control_end(late), HL_OK);
    hl__control_unref(early);
}

/* An old deadline that passes must not touch a later run. */
static void test_old_deadlines_do_not_cancel_later_runs(void **state)
{
    hl__control *control = *state;
    unsigned timed_out = 0;
    for (int i = 0; i < 3000; i++) {
        begin(control, after(20000), UINT64_MAX);
        uint64_t until = after(15000 + (uint64_t)i % 10000);
        while (hl__os_monotonic_ns() < until)
            continue;
        timed_out += hl__control_end(control) == HL_TIMED_OUT;
        begin(control, after(60000 * MS), UINT64_MAX);
        for (int spin = 0; spin < 100; spin++)
            assert_int_equal(hl__control_cause(control), HL_OK);
        assert_int_equal(hl__control_end(control), HL_OK);
    }
    print_message("%u of 3000 short runs timed out\n", timed_out);
}

struct storm {
    hl__control *control;
    atomic_bool stop;
};

static void *cancel_all_the_time(void *user)
{
    struct storm *storm = user;
    while (!atomic_load(&storm->stop))
        hl__control_cancel(storm->control, HL_INTERRUPTED);
    return NULL;
}

/* No kick is lost however runs and cancellations meet: each of these sleeps for ever unless it is cancelled. */
static void test_storm_of_interrupts(void **state)
{
    struct storm storm = {.control = *state};
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    pthread_t thread = start(cancel_all_the_time, &storm);
    for (int i = 0; i < (SANITIZED ? 500 : 3000); i++) {
        begin(storm.control, UINT64_MAX, UINT64_MAX);
        assert_int_equal(run(storm.control, &sleeper), HL__EXIT_INTERRUPTED);
        assert_int_equal(hl__control_end(storm.control), HL_INTERRUPTED);
    }
    atomic_store(&storm.stop, true);
    pthread_join(thread, NULL);
}

static void *many_deadlines(void *user)
{
    hl__control *control;
    assert_int_equal(hl__control_new(user, &control, NULL), HL_OK);
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    uintptr_t on_time = 0;
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t deadline = after(i % 7 * 100000);
        begin(control, deadline, i % 3 ? UINT64_MAX : 20 * MS);
        run(control, &sleeper);
        on_time += hl__control_end(control) == HL_TIMED_OUT &&
                   hl__os_monotonic_ns() < deadline + 5 * LATE_NS;
    }
    hl__control_unref(control);
    return (void *)on_time;
}

static void test_many_threads(void **state)
{
    hl__control *control = *state;
    pthread_t threads[16];
    for (size_t i = 0; i < 16; i++)
        threads[i] = start(many_deadlines, control->context);
    for (size_t i = 0; i < 16; i++) {
        void *on_time;
        pthread_join(threads[i], &on_time);
        assert_int_equal((uintptr_t)on_time, 100);
    }
}

/* The thread that runs a control may change, and end. */
static void *one_deadline(void *user)
{
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    check_deadline(user, &sleeper);
    return NULL;
}

static void test_threads_that_end(void **state)
{
    for (int i = 0; i < 5; i++)
        pthread_join(start(one_deadline, *state), NULL);
    assert_false(hl__control_cancel(*state, HL_INTERRUPTED));
}

static int in_child(hl__control *control)
{
    if (hl__control_cancel(control, HL_INTERRUPTED))
        return 1;
    hl__control_unref(control);
    hl__control *own;
    if (hl__control_new(NULL, &own, NULL) != HL_OK)
        return 2;
    struct sleeper sleeper = {.mode = SLEEPER_SLEEPS};
    check_deadline(own, &sleeper);
    hl__control_unref(own);
    return 0;
}

/* A child inherits an armed run that is not its own, and may make contexts and runs of its own. */
static void test_forked_child(void **state)
{
#ifdef __SANITIZE_THREAD__
    skip(); /* it follows no threads of children */
#endif
    hl__control *control = *state;
    begin(control, after(10000 * MS), UINT64_MAX);
    pid_t child = fork();
    if (child == 0)
        _exit(in_child(control));
    int result = -1;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
    assert_int_equal(hl__control_end(control), HL_OK);
}

#define CONTROL_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTROL_TEST(test_run_without_limits),
        CONTROL_TEST(test_deadline_stops_a_sleeper),
        CONTROL_TEST(test_deadline_stops_a_spinner),
        CONTROL_TEST(test_deadline_in_the_past),
        CONTROL_TEST(test_lateness),
        CONTROL_TEST(test_cpu_budget_stops_a_spinner),
        CONTROL_TEST(test_cpu_budget_does_not_count_sleep),
        CONTROL_TEST(test_cpu_budget_again),
        CONTROL_TEST(test_interrupt_from_another_thread),
        CONTROL_TEST(test_nothing_to_interrupt),
        CONTROL_TEST(test_public_handle),
        CONTROL_TEST(test_cancelled_before_the_run),
        CONTROL_TEST(test_interrupt_from_a_signal_handler),
        CONTROL_TEST(test_caller_blocks_the_signal),
        CONTROL_TEST(test_full_signal_queue),
        CONTROL_TEST(test_stray_kicks_do_no_harm),
        CONTROL_TEST(test_wait_between_runs),
        CONTROL_TEST(test_wait_ends_with_an_interrupt),
        CONTROL_TEST(test_poll),
        CONTROL_TEST(test_poll_ends_with_an_interrupt),
        CONTROL_TEST(test_ticks_stop_runs),
        CONTROL_TEST(test_ticks_repeat),
        CONTROL_TEST(test_ticks_end_with_the_run),
        CONTROL_TEST(test_ticks_do_not_delay_the_deadline),
        CONTROL_TEST(test_ticks_leave_waiting_alone),
        CONTROL_TEST(test_nested_runs),
        CONTROL_TEST(test_no_wakeups_in_the_steady_state),
        CONTROL_TEST(test_an_earlier_deadline_wakes),
        CONTROL_TEST(test_old_deadlines_do_not_cancel_later_runs),
        CONTROL_TEST(test_storm_of_interrupts),
        CONTROL_TEST(test_many_threads),
        CONTROL_TEST(test_threads_that_end),
        CONTROL_TEST(test_forked_child),
    };
    return cmocka_run_group_tests(tests, sleeper_install, NULL);
}
