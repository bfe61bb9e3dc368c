/*
 * The n-th allocation or system call of the library fails, for every n of a sandbox's whole life.
 * The functions are wrapped by the linker (CMakeLists.txt), so that only the library's own calls
 * are heard of.
 */
#include "census.h"
#include "scenario.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/types.h>

static atomic_uint_fast64_t calls, fail_at;
static atomic_int_fast64_t blocks; /* allocated and not freed */
static atomic_bool has_fired;
static const char *_Atomic failed_function;

/* Whether this call is the one. */
static bool fails(const char *function, int error)
{
    if (!atomic_load(&fail_at) || atomic_fetch_add(&calls, 1) + 1 != atomic_load(&fail_at))
        return false;
    atomic_store(&has_fired, true);
    atomic_store(&failed_function, function);
    errno = error;
    return true;
}

/* A function with what it answers when it fails, and with which error. */
#define WRAP(type, name, parameters, arguments, failure, error)                                    \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails(#name, error) ? (failure) : __real_##name arguments;                          \
    }

static void *count_block(void *block)
{
    if (block)
        atomic_fetch_add(&blocks, 1);
    return block;
}

/* Allocations are also counted, against what is freed. */
#define WRAP_ALLOCATION(name, parameters, arguments)                                               \
    void *__real_##name parameters;                                                                \
    void *__wrap_##name parameters;                                                                \
    void *__wrap_##name parameters                                                                 \
    {                                                                                              \
        return fails(#name, ENOMEM) ? NULL : count_block(__real_##name arguments);                 \
    }

WRAP_ALLOCATION(malloc, (size_t size), (size))
WRAP_ALLOCATION(calloc, (size_t count, size_t size), (count, size))
WRAP_ALLOCATION(strdup, (const char *text), (text))

void __real_free(void *block);
void __wrap_free(void *block);
void __wrap_free(void *block)
{
    if (block)
        atomic_fetch_sub(&blocks, 1);
    __real_free(block);
}

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size)
{
    if (fails("realloc", ENOMEM))
        return NULL;
    void *block = __real_realloc(old, size);
    return old ? block : count_block(block);
}

WRAP(void *, mmap, (void *hint, size_t size, int rights, int flags, int file, off_t offset),
     (hint, size, rights, flags, file, offset), MAP_FAILED, ENOMEM)
WRAP(int, madvise, (void *address, size_t size, int advice), (address, size, advice), -1, ENOMEM)
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1, EMFILE)
WRAP(int, ftruncate, (int file, off_t size), (file, size), -1, ENOSPC)
WRAP(ssize_t, pwrite, (int file, const void *data, size_t size, off_t offset),
     (file, data, size, offset), -1, ENOSPC)
WRAP(int, fcntl, (int file, int command, long argument), (file, command, argument), -1, EINVAL)
WRAP(ssize_t, getrandom, (void *data, size_t size, unsigned flags), (data, size, flags), -1, EINVAL)
WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*body)(void *), void *user),
     (thread, attributes, body, user), EAGAIN, EAGAIN)
WRAP(int, sigaction, (int number, const struct sigaction *action, struct sigaction *before),
     (number, action, before), -1, EINVAL)

static void disarm(void)
{
    atomic_store(&fail_at, 0);
}

static bool fired(void)
{
    return atomic_load(&has_fired);
}

static bool fits(hl_status status)
{
    return status == HL_OUT_OF_MEMORY || status == HL_SYSTEM;
}

static const struct scenario_fault fault = {disarm, fired, fits};

/* Runs the scenario with the n-th call failing; returns whether there was one. */
static bool run_with_fault(uint64_t n)
{
    const char *step = "";
    atomic_store(&calls, 0);
    atomic_store(&has_fired, false);
    atomic_store(&fail_at, n);
    int64_t before = atomic_load(&blocks);
    hl_status status = scenario_run(&fault, &step);
    if (fired())
        print_message("%3lu %-14s %-20s %s\n", (unsigned long)n, atomic_load(&failed_function),
                      status ? step : "-", hl_status_name(status));
    assert_int_equal(atomic_load(&blocks), before);
    return fired();
}

static void each_allocation_fails(void **state)
{
    (void)state;
    run_with_fault(0);
    run_with_fault(0);
    struct census before = census_take();
    uint64_t n = 1;
    while (run_with_fault(n))
        n++;
    assert_in_range(n, 50, 10000);
    census_expect(&before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
