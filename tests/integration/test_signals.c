/*
 * Signals, foreign stacks, forks and flags of descriptors around sandboxes: what Linux has and other
 * systems have not.
 * test-labels: bed
 */
#define _GNU_SOURCE
#include "threads.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

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
    hl_sandbox *sandbox = threads_sandbox(HL_UNLIMITED);
    alarm_handle = hl_sandbox_interrupt_handle(sandbox);
    signal(SIGALRM, interrupt_on_alarm);
    uint64_t start = fixture_now_ns();
    setitimer(ITIMER_REAL, &soon, NULL);
    assert_status(HL_INTERRUPTED, threads_call(sandbox, "spin", NULL));
    assert_in_range(fixture_now_ns() - start, 0, 50 * MILLISECOND + LATE_MAX);
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
    hl_sandbox *sandbox = threads_sandbox(0);
    uint64_t start = fixture_now_ns();
    signal(SIGALRM, count_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    for (uint64_t i = 1; fixture_now_ns() - start < 200 * MILLISECOND; i++)
        assert_int_equal(fixture_call_u64(sandbox, "count_up", NO_ARGUMENTS), i);
    fixture_expect(HL_OK, sandbox, "sleep_ns", ARGUMENTS(hl_value_u64(20 * MILLISECOND)));
    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_DFL);
    hl_sandbox_free(sandbox);
}

static void *block_everything(void *user)
{
    sigset_t all, before, after;
    (void)user;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    threads_expect_deadline();
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int number = 1; number <= SIGRTMAX; number++)
        threads_check(sigismember(&before, number) == sigismember(&after, number));
    return NULL;
}

static void caller_blocks_all_signals(void **state)
{
    (void)state;
    pthread_t thread;
    threads_start(&thread, block_everything, NULL);
    pthread_join(thread, NULL);
    threads_all_went_well();
}

/* The kick arrives on an alternate stack with hardly more room than a signal's frame. */
static void *use_small_signal_stack(void *user)
{
    size_t size = getauxval(AT_MINSIGSTKSZ) + 2048;
    const stack_t small = {.ss_sp = malloc(size), .ss_size = size}, none = {.ss_flags = SS_DISABLE};
    (void)user;
    threads_check(sigaltstack(&small, NULL) == 0);
    threads_expect_deadline();
    threads_check(sigaltstack(&none, NULL) == 0);
    free(small.ss_sp);
    return NULL;
}

static void small_signal_stack(void **state)
{
    (void)state;
    pthread_t thread;
    threads_start(&thread, use_small_signal_stack, NULL);
    pthread_join(thread, NULL);
    threads_all_went_well();
}

/* A coroutine: the calling thread is on a stack that is not its own. */
static ucontext_t main_context, coroutine_context;

static void coroutine(void)
{
    threads_expect_deadline();
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
    threads_all_went_well();
}

/* Forks */

/* What was the parent's answers HL_FORKED, and can be freed. */
static bool refuses(hl_sandbox *sandbox, const hl_snapshot *from, hl_interrupt_handle *handle)
{
    hl_snapshot *taken;
    hl_sandbox *made;
    return threads_call(sandbox, "echo", NULL) == HL_FORKED &&
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
               !threads_call(belongings->sandboxes[i], "count_up", NULL) &&
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
        good = good && !threads_call(sandbox, "count_up", NULL) &&
               !hl_sandbox_restore(sandbox, belongings->snapshots[i], NULL) &&
               !threads_call(sandbox, "count_up", &number) && number == 2;
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
    hl_snapshot_free(threads_snapshot);
    if (!belongings_work(&own))
        return 3;
    threads_snapshot = own.snapshots[0];
    threads_expect_deadline();
    belongings_free(&own);
    return threads_wrong() ? 4 : 0;
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
    threads_expect_deadline();
    threads_all_went_well();
}

/* Descriptors */

static hl_sandbox *printing_sandbox(void)
{
    const hl_sandbox_options options = FIXTURE_OPTIONS(.stdout_stream.mode = HL_STREAM_INHERIT);
    return fixture_sandbox("plugin.musl", &options);
}

static hl_status print(hl_sandbox *sandbox)
{
    return hl_sandbox_call(sandbox, "print",
                           ARGUMENTS(hl_value_i32(1), hl_value_string("x"), hl_value_i32(1)), NULL,
                           NULL);
}

static volatile sig_atomic_t pipe_signals;

static void count_pipe_signal(int number)
{
    (void)number;
    pipe_signals = pipe_signals + 1;
}

/* Standard output is a pipe, for one call: its flags stay, which others may share, and where nobody
 * reads any more the host application hears of no signal. */
static hl_status print_to_pipe(bool is_read)
{
    int ends[2], saved = dup(1);
    sigset_t pending;
    hl_sandbox *sandbox = printing_sandbox();
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(dup2(ends[1], 1), 1);
    if (!is_read)
        close(ends[0]);
    int before = fcntl(1, F_GETFL);
    hl_status status = print(sandbox);
    int after = fcntl(1, F_GETFL);
    sigpending(&pending);
    dup2(saved, 1);
    close(saved);
    close(ends[1]);
    if (is_read)
        close(ends[0]);
    hl_sandbox_free(sandbox);
    assert_int_equal(before, after);
    assert_int_equal(pipe_signals, 0);
    assert_false(sigismember(&pending, SIGPIPE));
    return status;
}

static void pipes_and_their_flags(void **state)
{
    (void)state;
    signal(SIGPIPE, count_pipe_signal);
    assert_status(HL_OK, print_to_pipe(true));
    assert_int_not_equal(print_to_pipe(false), HL_OK);
    signal(SIGPIPE, SIG_DFL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interrupt_from_a_signal_handler),
        cmocka_unit_test(signals_of_the_host_application),
        cmocka_unit_test(caller_blocks_all_signals),
        cmocka_unit_test(small_signal_stack),
        cmocka_unit_test(pipes_and_their_flags),
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
    return cmocka_run_group_tests(tests, threads_set_up, threads_tear_down);
}
