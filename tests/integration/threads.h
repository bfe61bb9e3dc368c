/* What the tests of threads share: a snapshot, sandboxes of it, and calls from threads where cmocka's
 * assertions must not be used. */
#ifndef HL_TESTS_THREADS_H
#define HL_TESTS_THREADS_H

#include "fixture.h"
#include <pthread.h>

/* A sanitizer's frames are large. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SMALL_STACK = 1 << 20 };
#else
enum { SMALL_STACK = 64 << 10 };
#endif

/* Of the plugin; from set-up to tear-down. */
extern hl_snapshot *threads_snapshot;
int threads_set_up(void **state);
int threads_tear_down(void **state);

hl_sandbox *threads_sandbox(uint64_t timeout_ns);
void threads_start(pthread_t *thread, void *(*body)(void *), void *user);

/* Any thread counts what went wrong; the main thread then fails the test. */
void threads_check(bool good);
unsigned threads_wrong(void);
void threads_all_went_well(void);

/* Calls a function without arguments; the reply's number goes to `number` unless that is NULL. */
hl_status threads_call(hl_sandbox *sandbox, const char *function, uint64_t *number);

/* A deadline that must hold, whatever the thread is like. */
void threads_expect_deadline(void);

#endif
