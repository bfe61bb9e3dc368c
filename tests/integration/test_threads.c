/*
 * Threads around sandboxes: many at once, stopped from elsewhere, on small stacks.
 * test-labels: bed
 */
#include "threads.h"
#include <stdatomic.h>
#include <unistd.h>

enum { THREADS = 6, ROUNDS = 150, INTERRUPTED_THREADS = 4, INTERRUPTIONS = 25, RACES = 60 };

/* Load */

/* One life of a sandbox: its count is its own, whatever the others do. */
static void live_once(void)
{
    uint64_t number = 0;
    hl_sandbox *sandbox;
    hl_snapshot *own;
    threads_check(hl_sandbox_from_snapshot(threads_snapshot, NULL, &sandbox, NULL) == HL_OK);
    for (uint64_t i = 1; i <= 5; i++)
        threads_check(threads_call(sandbox, "count_up", &number) == HL_OK && number == i);
    threads_check(hl_sandbox_snapshot(sandbox, &own, NULL) == HL_OK);
    threads_check(hl_sandbox_restore(sandbox, threads_snapshot, NULL) == HL_OK);
    threads_check(threads_call(sandbox, "count_up", &number) == HL_OK && number == 1);
    threads_check(hl_sandbox_restore(sandbox, own, NULL) == HL_OK);
    hl_snapshot_free(own);
    threads_check(threads_call(sandbox, "count_up", &number) == HL_OK && number == 6);
    threads_check(threads_call(sandbox, "abort", NULL) == HL_GUEST_ABORTED);
    hl_sandbox_free(sandbox);
}

static void *live_often(void *user)
{
    (void)user;
    for (int i = 0; i < ROUNDS / THREADS; i++)
        live_once();
    return NULL;
}

/* Makes VMs ahead while others take them, now and then fewer than there are. */
static void *prewarm_often(void *user)
{
    (void)user;
    for (size_t i = 0; i < ROUNDS / THREADS; i++)
        threads_check(hl_snapshot_prewarm(threads_snapshot, NULL, i % 8, NULL) == HL_OK);
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        threads_start(&threads[i], i == 0 ? prewarm_often : live_often, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    threads_all_went_well();
}

/* The default context comes and goes with its users. */
static void *open_and_close(void *user)
{
    (void)user;
    for (int i = 0; i < ROUNDS; i++) {
        hl_context *context;
        threads_check(hl_context_new(NULL, &context, NULL) == HL_OK);
        hl_context_free(context);
    }
    return NULL;
}

static void contexts_on_many_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        threads_start(&threads[i], open_and_close, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    threads_all_went_well();
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
        threads_check(threads_call(spinner->sandbox, "spin", NULL) == HL_INTERRUPTED);
        threads_check(hl_sandbox_status(spinner->sandbox) == HL_SANDBOX_POISONED);
        threads_check(hl_sandbox_restore(spinner->sandbox, threads_snapshot, NULL) == HL_OK);
        threads_check(threads_call(spinner->sandbox, "count_up", NULL) != HL_POISONED);
        if (hl_sandbox_status(spinner->sandbox) != HL_SANDBOX_READY)
            threads_check(hl_sandbox_restore(spinner->sandbox, threads_snapshot, NULL) == HL_OK);
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
        spinners[i].sandbox = threads_sandbox(HL_UNLIMITED);
        spinners[i].handle = hl_sandbox_interrupt_handle(spinners[i].sandbox);
        threads_start(&threads[i], spin_often, &spinners[i]);
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
    threads_all_went_well();
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
        uint64_t start = fixture_now_ns();
        threads_start(&thread, interrupt_soon, handle);
        hl_status status = by_call ? threads_call(sandbox, "echo", NULL)
                                   : hl_sandbox_run(sandbox, &code, &fixture_error);
        pthread_join(thread, NULL);
        assert_status(HL_INTERRUPTED, status);
        assert_int_equal(code, -1);
        assert_int_equal(hl_sandbox_status(sandbox), HL_SANDBOX_POISONED);
        assert_in_range(fixture_now_ns() - start, 0, 50 * MILLISECOND + LATE_MAX);
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
    threads_start(&thread, interrupt_always, &race);
    for (int i = 0; i < RACES; i++) {
        hl_sandbox *sandbox = threads_sandbox(0);
        hl_interrupt_handle_free(
            atomic_exchange(&race.handle, hl_sandbox_interrupt_handle(sandbox)));
        for (int call = 0; call < i % 5; call++) {
            hl_status status = threads_call(sandbox, "count_up", NULL);
            assert_true(status == HL_OK || status == HL_INTERRUPTED || status == HL_POISONED);
        }
        hl_sandbox_free(sandbox);
    }
    atomic_store(&race.done, true);
    pthread_join(thread, NULL);
}

/* Callers in odd circumstances */

static void run_on_small_stack(void *(*body)(void *), size_t size)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    assert_int_equal(pthread_attr_setstacksize(&attributes, size), 0);
    assert_int_equal(pthread_create(&thread, &attributes, body, NULL), 0);
    pthread_attr_destroy(&attributes);
    pthread_join(thread, NULL);
    threads_all_went_well();
}

static void *print_and_map(void *user)
{
    hl_sandbox *sandbox;
    hl_value print[] = {hl_value_i32(1), hl_value_string("text"), hl_value_i32(10)};
    hl_value pages = hl_value_u64(64);
    (void)user;
    threads_check(hl_sandbox_from_snapshot(threads_snapshot, NULL, &sandbox, NULL) == HL_OK);
    threads_check(hl_sandbox_call(sandbox, "print", print, 3, NULL, NULL) == HL_OK);
    threads_check(hl_sandbox_call(sandbox, "map_and_protect", &pages, 1, NULL, NULL) == HL_OK);
    hl_sandbox_free(sandbox);
    threads_expect_deadline();
    return NULL;
}

static void small_stack(void **state)
{
    (void)state;
    run_on_small_stack(print_and_map, SMALL_STACK);
}

/* One sandbox handed from thread to thread. */
static void *call_once(void *sandbox)
{
    threads_check(threads_call(sandbox, "count_up", NULL) == HL_OK);
    return NULL;
}

static void a_sandbox_moves_between_threads(void **state)
{
    (void)state;
    hl_sandbox *sandbox = threads_sandbox(0);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        threads_start(&thread, call_once, sandbox);
        pthread_join(thread, NULL);
        threads_all_went_well();
    }
    assert_int_equal(fixture_call_u64(sandbox, "count_up", NO_ARGUMENTS), 21);
    hl_sandbox_free(sandbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads),
        cmocka_unit_test(contexts_on_many_threads),
        cmocka_unit_test(interrupts_from_another_thread),
        cmocka_unit_test(interrupt_before_the_first_rest),
        cmocka_unit_test(interrupt_races_free),
        cmocka_unit_test(small_stack),
        cmocka_unit_test(a_sandbox_moves_between_threads),
    };
    return cmocka_run_group_tests(tests, threads_set_up, threads_tear_down);
}
