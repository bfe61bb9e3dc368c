/*
 * A million exits of hostile guests on the fake driver, many of them well-formed hypercalls, through the whole of the library above the
 * driver. transport_play.c judges each; here it is counted that every handler and every refusal was reached, and that nothing is left.
 *
 * HL_SEED sets another seed, HL_EXITS another number of exits, HL_HISTOGRAM prints all counts.
 */
/* test-timeout: 600 */
#include "doubles/transport_play.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EXITS 1000000u
#define WARM_UP_EXITS 20000u
#define SEED UINT64_C(0x1234567890abcdef)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_MAPPINGS 0 /* the sanitizer's own come and go */
#else
#define COUNTS_MAPPINGS 1
#endif

static struct transport_play play;

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static unsigned count_mappings(void)
{
    char line[512];
    unsigned count = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        count++;
    fclose(file);
    return count;
}

static void play_until(uint64_t exits)
{
    transport_play_open(&play);
    while (play.guest.exits < exits)
        transport_play_session(&play, exits);
    transport_play_close(&play);
}

static unsigned missing;

static void expect(const char *what, const char *name, uint64_t count)
{
    if (getenv("HL_HISTOGRAM") || count == 0)
        print_message("%8llu  %s %s%s\n", (unsigned long long)count, what, name,
                      count ? "" : "  <-- never reached");
    missing += count == 0;
}

static void expect_exits(void)
{
    static const char *const kinds[] = {NULL,          "doorbell", "port", "memory",
                                        "interrupted", "shutdown", "halt", "failed"};
    static const char *const ops[] = {NULL,     "rest",  "export", "host call", "exit",
                                      "edit",   "write", "read",   "log",       "wait",
                                      "refuse", "hello", "timer",  "unknown"};
    for (size_t i = 1; i < sizeof kinds / sizeof *kinds; i++)
        expect("exit:", kinds[i], play.guest.kinds[i]);
    for (size_t i = 1; i < sizeof ops / sizeof *ops; i++)
        expect("hypercall:", ops[i], play.guest.ops[i]);
    expect("exit:", "poke", play.guest.pokes);
    expect("exit:", "fault", play.guest.faults);
    expect("entry:", "wake-up", play.guest.wakes);
}

/* Every result that a handler can give. */
static void expect_results(void)
{
    static const struct {
        uint32_t op;
        int result;
        const char *name;
    } results[] = {
        {HL_ABI_OP_HELLO, 0, "hello: welcome"},
        {HL_ABI_OP_EXPORT, 0, "export: taken"},
        {HL_ABI_OP_HOST_CALL, HL_ABI_OUTCOME_OK, "host call: ok"},
        {HL_ABI_OP_HOST_CALL, HL_ABI_OUTCOME_ERROR, "host call: failed"},
        {HL_ABI_OP_HOST_CALL, HL_ABI_OUTCOME_UNKNOWN, "host call: unknown"},
        {HL_ABI_OP_HOST_CALL, HL_ABI_OUTCOME_MISMATCH, "host call: mismatch"},
        {HL_ABI_OP_HOST_CALL, HL_ABI_OUTCOME_TOO_LARGE, "host call: too large"},
        {HL_ABI_OP_HOST_CALL, HL_ABI_OUTCOME_ANSWER_TOO_LARGE, "host call: answer too large"},
        {HL_ABI_OP_HOST_CALL, HL_ABI_OUTCOME_INVALID, "host call: malformed"},
        {HL_ABI_OP_HOST_CALL, -EMSGSIZE, "host call: not even the refusal fits"},
        {HL_ABI_OP_EDIT, 0, "edit: done"},
        {HL_ABI_OP_EDIT, -EINVAL, "edit: refused"},
        {HL_ABI_OP_EDIT, -EFAULT, "edit: unreadable"},
        {HL_ABI_OP_EDIT, -ENOMEM, "edit: no memory"},
        {HL_ABI_OP_WRITE, 99, "write: taken"},
        {HL_ABI_OP_WRITE, -EBADF, "write: no such stream"},
        {HL_ABI_OP_WRITE, -EINVAL, "write: too long"},
        {HL_ABI_OP_WRITE, -EFAULT, "write: unreadable"},
        {HL_ABI_OP_WRITE, -ENOSPC, "write: refused by the host"},
        {HL_ABI_OP_READ, 99, "read: given"},
        {HL_ABI_OP_READ, 0, "read: end of input"},
        {HL_ABI_OP_READ, -EFAULT, "read: not writable"},
        {HL_ABI_OP_READ, -EIO, "read: failed"},
        {HL_ABI_OP_LOG, 0, "log: taken"},
        {HL_ABI_OP_LOG, -EMSGSIZE, "log: too long"},
        {HL_ABI_OP_LOG, -EFAULT, "log: unreadable"},
        {HL_ABI_OP_WAIT, 0, "wait: waited"},
        {HL_ABI_OP_WAIT, HL_ABI_EVENT_INPUT, "wait: input"},
        {HL_ABI_OP_TIMER, 0, "timer: set"},
    };
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        int result = results[i].result;
        expect("result:", results[i].name,
               play.guest.results[results[i].op][result < 0 ? 100 - result : result]);
    }
}

static void expect_statuses(void)
{
    static const hl_status statuses[] = {
        HL_OK,
        HL_INVALID_ARGUMENT,
        HL_INVALID_VALUE,
        HL_UNKNOWN_FUNCTION,
        HL_SIGNATURE_MISMATCH,
        HL_REQUEST_TOO_LARGE,
        HL_NOT_SERVING,
        HL_BUSY,
        HL_POISONED,
        HL_INCOMPATIBLE_SNAPSHOT,
        HL_SYSTEM,
        HL_PROGRAM_INVALID,
        HL_PROGRAM_WRONG_MACHINE,
        HL_PROGRAM_NEEDS_INTERPRETER,
        HL_PROGRAM_TOO_LARGE,
        HL_GUEST_ERROR,
        HL_GUEST_EXITED,
        HL_GUEST_FAULT,
        HL_GUEST_ABORTED,
        HL_GUEST_BAD_REPLY,
        HL_GUEST_VIOLATION,
        HL_REPLY_TOO_LARGE,
        HL_TIMED_OUT,
        HL_CPU_LIMIT,
        HL_INTERRUPTED,
        HL_MEMORY_LIMIT,
        HL_OUTPUT_LIMIT,
        HL_HOST_CALL_LIMIT,
    };
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        expect("status:", hl_status_name(statuses[i]), play.statuses[statuses[i]]);
    for (size_t i = 0; i < transport_play_saying_count; i++)
        expect("message:", transport_play_sayings[i], play.sayings[i]);
}

static void test_million_exits(void **state)
{
    (void)state;
    uint64_t seed = setting("HL_SEED", SEED), exits = setting("HL_EXITS", EXITS);
    print_message("HL_SEED=%#llx\n", (unsigned long long)seed);
    play.choices.state = seed ? seed : 1;
    play_until(WARM_UP_EXITS);
    unsigned descriptors = count_descriptors(), mappings = count_mappings();
    play_until(exits);
    assert_int_equal(count_descriptors(), descriptors);
    if (COUNTS_MAPPINGS)
        assert_int_equal(count_mappings(), mappings);
    print_message("%llu exits, %llu well-formed, %llu sessions, %llu hostile and %llu honest "
                  "calls, %llu restores\n",
                  (unsigned long long)play.guest.exits, (unsigned long long)play.guest.well_formed,
                  (unsigned long long)play.sessions, (unsigned long long)play.calls,
                  (unsigned long long)play.honest_calls, (unsigned long long)play.restores);
    assert_true(play.guest.well_formed >= play.guest.exits / 3);
    expect_exits();
    expect_results();
    expect_statuses();
    if (exits >= EXITS)
        assert_int_equal(missing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_million_exits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
