/* Threads, locks, futexes, and time between threads. Prints only what every run gives. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition) printf("%s: %s\n", #condition, (condition) ? "yes" : "NO")

/* musl's compiler does not find the kernel's headers. */
enum {
    FUTEX_WAIT = 0,
    FUTEX_CLOCK_REALTIME = 256,
    FUTEX_WAIT_PRIVATE = 128,
    FUTEX_WAKE_PRIVATE = 129,
    FUTEX_REQUEUE_PRIVATE = 131,
    FUTEX_CMP_REQUEUE_PRIVATE = 132,
    FUTEX_WAKE_OP_PRIVATE = 133,
    FUTEX_WAIT_BITSET_PRIVATE = 137,
    FUTEX_WAKE_BITSET_PRIVATE = 138,
    FUTEX_OP_SET = 0,
    FUTEX_OP_ADD = 1,
    FUTEX_OP_CMP_EQ = 0,
    FUTEX_OP_CMP_GE = 5
};
#define FUTEX_BITSET_MATCH_ANY 0xffffffffu
#define FUTEX_OP(op, argument, compare, value)                                                     \
    ((op) << 28 | (compare) << 24 | (argument) << 12 | (value))

enum { MILLISECOND = 1000000 };

static void begin(const char *name)
{
    printf("== %s\n", name);
    fflush(stdout);
}

static const char *error_name(int error)
{
    static char text[32];
    switch (error) {
    case 0:
        return "ok";
    case EAGAIN:
        return "EAGAIN";
    case EBUSY:
        return "EBUSY";
    case EDEADLK:
        return "EDEADLK";
    case EINTR:
        return "EINTR";
    case EINVAL:
        return "EINVAL";
    case EFAULT:
        return "EFAULT";
    case ENOSYS:
        return "ENOSYS";
    case EOWNERDEAD:
        return "EOWNERDEAD";
    case ENOTRECOVERABLE:
        return "ENOTRECOVERABLE";
    case EPERM:
        return "EPERM";
    case ESRCH:
        return "ESRCH";
    case ETIMEDOUT:
        return "ETIMEDOUT";
    }
    snprintf(text, sizeof text, "error %d", error);
    return text;
}

static void say(const char *what, long value)
{
    printf("%s: %ld\n", what, value);
}
static void tell(const char *what, int error)
{
    printf("%s: %s\n", what, error_name(error));
}
static void result(const char *what, long returned)
{
    if (returned == -1)
        tell(what, errno);
    else
        say(what, returned);
}

static int64_t now_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static struct timespec in_ms(clockid_t clock, int64_t milliseconds)
{
    int64_t at = now_ns(clock) + milliseconds * MILLISECOND;
    return (struct timespec){at / 1000000000, at % 1000000000};
}

static void sleep_ms(long milliseconds)
{
    struct timespec wait = {milliseconds / 1000, milliseconds % 1000 * MILLISECOND};
    while (nanosleep(&wait, &wait) && errno == EINTR)
        ;
}

static pthread_t start(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, run, argument);
    if (error) {
        tell("pthread_create", error);
        exit(1);
    }
    return thread;
}

static void *number(long value)
{
    return (void *)(intptr_t)value;
}

/* 1000 threads */

static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static long shared_sum;
static int arrived;
static bool go;
static __thread long own = 5;
static __thread char own_zeroes[3000];

static void *count_up(void *argument)
{
    long value = (intptr_t)argument;
    own += value;
    pthread_mutex_lock(&plain);
    arrived++;
    pthread_cond_broadcast(&condition);
    while (!go)
        pthread_cond_wait(&condition, &plain);
    shared_sum += own + own_zeroes[value % 3000];
    pthread_mutex_unlock(&plain);
    return number(value * 2);
}

static void test_many(void)
{
    enum { COUNT = 1000 };
    static pthread_t threads[COUNT];
    begin("1000 threads");
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    int failed = 0;
    for (long i = 0; i < COUNT; i++)
        failed += pthread_create(&threads[i], &attributes, count_up, number(i)) != 0;
    say("not started", failed);
    pthread_mutex_lock(&plain);
    while (arrived < COUNT)
        pthread_cond_wait(&condition, &plain);
    go = true;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&plain);
    long sum = 0;
    for (int i = 0; i < COUNT; i++) {
        void *returned;
        pthread_join(threads[i], &returned);
        sum += (intptr_t)returned;
    }
    say("returned", sum);
    say("shared", shared_sum);
    say("own of the main thread", own);
    for (long round = 0; round < 2000; round++)
        pthread_join(start(count_up, number(1)), NULL);
    say("2000 more, one by one", shared_sum);
}

/* Mutexes */

static pthread_mutex_t make_mutex(int type, bool robust)
{
    pthread_mutexattr_t attributes;
    pthread_mutex_t mutex;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, type);
    if (robust)
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex, &attributes);
    return mutex;
}

static void *try_lock(void *mutex)
{
    return number(pthread_mutex_trylock(mutex));
}
static void *unlock(void *mutex)
{
    return number(pthread_mutex_unlock(mutex));
}
static void *lock_and_die(void *mutex)
{
    return number(pthread_mutex_lock(mutex));
}

static int in_thread(void *(*run)(void *), void *argument)
{
    void *returned;
    pthread_join(start(run, argument), &returned);
    return (int)(intptr_t)returned;
}

static pthread_mutex_t contended;
static long contended_count;

static void *contend(void *argument)
{
    (void)argument;
    for (int i = 0; i < 20000; i++) {
        pthread_mutex_lock(&contended);
        contended_count++;
        if (i % 1000 == 0)
            sched_yield();
        pthread_mutex_unlock(&contended);
    }
    return NULL;
}

static void test_mutexes(void)
{
    begin("mutexes");
    pthread_mutex_t checked = make_mutex(PTHREAD_MUTEX_ERRORCHECK, false);
    tell("lock", pthread_mutex_lock(&checked));
    tell("lock again", pthread_mutex_lock(&checked));
    tell("another tries", in_thread(try_lock, &checked));
    tell("another unlocks", in_thread(unlock, &checked));
    tell("unlock", pthread_mutex_unlock(&checked));
    tell("unlock again", pthread_mutex_unlock(&checked));
    pthread_mutex_t recursive = make_mutex(PTHREAD_MUTEX_RECURSIVE, false);
    for (int i = 0; i < 3; i++)
        tell("lock recursive", pthread_mutex_lock(&recursive));
    pthread_mutex_unlock(&recursive);
    pthread_mutex_unlock(&recursive);
    tell("another tries", in_thread(try_lock, &recursive));
    pthread_mutex_unlock(&recursive);
    tell("another tries", in_thread(try_lock, &recursive));

    pthread_mutex_t robust = make_mutex(PTHREAD_MUTEX_NORMAL, true);
    tell("owner", in_thread(lock_and_die, &robust));
    tell("lock after its end", pthread_mutex_lock(&robust));
    tell("make it consistent", pthread_mutex_consistent(&robust));
    tell("unlock", pthread_mutex_unlock(&robust));
    tell("lock", pthread_mutex_lock(&robust));
    tell("unlock", pthread_mutex_unlock(&robust));
    in_thread(lock_and_die, &robust);
    tell("lock after its end", pthread_mutex_lock(&robust));
    tell("unlock, not consistent", pthread_mutex_unlock(&robust));
    tell("lock", pthread_mutex_lock(&robust));

    struct timespec at = in_ms(CLOCK_REALTIME, 20);
    pthread_mutex_lock(&plain);
    pthread_mutex_t *mutex = &plain;
    int64_t before = now_ns(CLOCK_MONOTONIC);
    tell("timed lock", pthread_mutex_timedlock(mutex, &at));
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= 19 * MILLISECOND);
    at.tv_nsec = 1000000000;
    tell("timed lock, wrong time", pthread_mutex_timedlock(mutex, &at));
    pthread_mutex_unlock(&plain);
    for (int type = 0; type < 3; type++) {
        pthread_t threads[8];
        contended = make_mutex(type, false);
        contended_count = 0;
        for (int i = 0; i < 8; i++)
            threads[i] = start(contend, NULL);
        for (int i = 0; i < 8; i++)
            pthread_join(threads[i], NULL);
        say("contended", contended_count);
    }
}

/* Condition variables, read-write locks, barriers, semaphores */

static int queue[16], queue_size;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER, not_full = PTHREAD_COND_INITIALIZER;

static void *produce(void *argument)
{
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&plain);
        while (queue_size == 16)
            pthread_cond_wait(&not_full, &plain);
        queue[queue_size++] = (int)(intptr_t)argument * 500 + i;
        pthread_cond_signal(&not_empty);
        pthread_mutex_unlock(&plain);
    }
    return NULL;
}

static void *consume(void *argument)
{
    long sum = 0;
    for (int i = 0; i < (int)(intptr_t)argument; i++) {
        pthread_mutex_lock(&plain);
        while (queue_size == 0)
            pthread_cond_wait(&not_empty, &plain);
        sum += queue[--queue_size];
        pthread_cond_signal(&not_full);
        pthread_mutex_unlock(&plain);
    }
    return number(sum);
}

static void test_conditions(void)
{
    begin("condition variables");
    pthread_t producers[4], consumers[4];
    for (long i = 0; i < 4; i++) {
        consumers[i] = start(consume, number(500));
        producers[i] = start(produce, number(i));
    }
    long sum = 0;
    for (int i = 0; i < 4; i++) {
        void *returned;
        pthread_join(producers[i], NULL);
        pthread_join(consumers[i], &returned);
        sum += (intptr_t)returned;
    }
    say("consumed", sum);
    for (int monotonic = 0; monotonic < 2; monotonic++) {
        clockid_t clock = monotonic ? CLOCK_MONOTONIC : CLOCK_REALTIME;
        pthread_condattr_t attributes;
        pthread_cond_t timed;
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, clock);
        pthread_cond_init(&timed, &attributes);
        struct timespec at = in_ms(clock, 30);
        int64_t before = now_ns(CLOCK_MONOTONIC);
        pthread_mutex_lock(&plain);
        tell("timed wait", pthread_cond_timedwait(&timed, &plain, &at));
        at = in_ms(clock, -1000);
        tell("timed wait, in the past", pthread_cond_timedwait(&timed, &plain, &at));
        pthread_mutex_unlock(&plain);
        int64_t took = now_ns(CLOCK_MONOTONIC) - before;
        CHECK(took >= 29 * MILLISECOND && took < 5000ll * MILLISECOND);
    }
}

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static long guarded[2], torn;

static void *read_or_write(void *argument)
{
    for (int i = 0; i < 2000; i++) {
        if ((i + (intptr_t)argument) % 5 == 0) {
            pthread_rwlock_wrlock(&rwlock);
            guarded[0]++;
            if (i % 100 == 0)
                sched_yield();
            guarded[1]++;
        } else {
            pthread_rwlock_rdlock(&rwlock);
            if (guarded[0] != guarded[1])
                torn++;
        }
        pthread_rwlock_unlock(&rwlock);
    }
    return NULL;
}

static pthread_barrier_t barrier;
static atomic_int serial, phase_sum, phase_wrong;

static void *meet(void *argument)
{
    (void)argument;
    for (int round = 1; round <= 50; round++) {
        phase_sum++;
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            serial++;
        if (phase_sum != round * 10)
            phase_wrong++;
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static sem_t semaphore, tokens;
static atomic_int inside, most_inside;

static void *use_token(void *argument)
{
    (void)argument;
    for (int i = 0; i < 50; i++) {
        sem_wait(&tokens);
        int count = ++inside, most = most_inside;
        while (count > most && !atomic_compare_exchange_weak(&most_inside, &most, count))
            ;
        sched_yield();
        inside--;
        sem_post(&tokens);
    }
    return NULL;
}

static void test_others(void)
{
    pthread_t threads[10];
    begin("read-write locks");
    for (long i = 0; i < 10; i++)
        threads[i] = start(read_or_write, number(i));
    for (int i = 0; i < 10; i++)
        pthread_join(threads[i], NULL);
    say("written", guarded[0]);
    say("torn", torn);
    pthread_rwlock_rdlock(&rwlock);
    tell("write while it is read", pthread_rwlock_trywrlock(&rwlock));
    tell("read while it is read", pthread_rwlock_tryrdlock(&rwlock));
    struct timespec at = in_ms(CLOCK_REALTIME, 10);
    tell("timed write", pthread_rwlock_timedwrlock(&rwlock, &at));
    pthread_rwlock_unlock(&rwlock);
    pthread_rwlock_unlock(&rwlock);

    begin("barriers");
    pthread_barrier_init(&barrier, NULL, 10);
    for (int i = 0; i < 10; i++)
        threads[i] = start(meet, NULL);
    for (int i = 0; i < 10; i++)
        pthread_join(threads[i], NULL);
    say("serial threads", serial);
    say("wrong phases", phase_wrong);

    begin("semaphores");
    sem_init(&semaphore, 0, 2);
    sem_init(&tokens, 0, 3);
    result("wait", sem_wait(&semaphore));
    result("try", sem_trywait(&semaphore));
    result("try, empty", sem_trywait(&semaphore));
    at = in_ms(CLOCK_REALTIME, 20);
    result("timed, empty", sem_timedwait(&semaphore, &at));
    result("post", sem_post(&semaphore));
    result("timed", sem_timedwait(&semaphore, &at));
    for (int i = 0; i < 10; i++)
        threads[i] = start(use_token, NULL);
    for (int i = 0; i < 10; i++)
        pthread_join(threads[i], NULL);
    CHECK(most_inside >= 1 && most_inside <= 3);
    int value = -1;
    sem_getvalue(&tokens, &value);
    say("tokens left", value);
}

/* Futexes */

static _Atomic uint32_t word, word2;
static atomic_int order[64], order_count, waiting;

static long futex(_Atomic uint32_t *at, int operation, uint32_t value,
                  const struct timespec *timeout, _Atomic uint32_t *second, uint32_t value3)
{
    return syscall(SYS_futex, at, operation, value, timeout, second, value3);
}

struct waiter {
    int id;
    uint32_t mask;
    _Atomic uint32_t *at;
    atomic_int thread;
};

static void *wait_in_line(void *argument)
{
    struct waiter *waiter = argument;
    waiter->thread = (int)syscall(SYS_gettid);
    waiting++;
    while (futex(waiter->at, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, waiter->mask) == -1 &&
           errno == EINTR)
        ;
    order[order_count++] = waiter->id;
    return NULL;
}

/* Starts waiters one after the other, so that each is asleep before the next one comes. */
static void line_up(struct waiter *waiters, pthread_t *threads, int count)
{
    order_count = 0;
    word = word2 = 0;
    for (int i = 0; i < count; i++) {
        int before = waiting;
        threads[i] = start(wait_in_line, &waiters[i]);
        while (waiting == before)
            sched_yield();
        sleep_ms(3);
    }
}

static void await_order(int count)
{
    for (int i = 0; i < 2000 && order_count < count; i++)
        sleep_ms(1);
    sleep_ms(5);
}

static void print_order(const char *what)
{
    printf("%s:", what);
    for (int i = 0; i < order_count; i++)
        printf(" %d", order[i]);
    putchar('\n');
}

static void test_futexes(void)
{
    enum { COUNT = 8 };
    struct waiter waiters[COUNT];
    pthread_t threads[COUNT];
    begin("futexes");
    for (int i = 0; i < COUNT; i++)
        waiters[i] = (struct waiter){.id = i, .mask = FUTEX_BITSET_MATCH_ANY, .at = &word};
    line_up(waiters, threads, COUNT);
    for (int i = 1; i <= COUNT; i++) {
        say("wake 1", futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
        await_order(i);
    }
    print_order("first in, first out");
    for (int i = 0; i < COUNT; i++)
        pthread_join(threads[i], NULL);

    line_up(waiters, threads, COUNT);
    say("wake 3", futex(&word, FUTEX_WAKE_PRIVATE, 3, NULL, NULL, 0));
    await_order(3);
    say("awake", order_count);
    say("wake all", futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0));
    await_order(COUNT);
    say("awake", order_count);
    say("wake nobody", futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0));
    for (int i = 0; i < COUNT; i++)
        pthread_join(threads[i], NULL);

    for (int i = 0; i < COUNT; i++)
        waiters[i].mask = i % 2 ? 2 : 1;
    line_up(waiters, threads, COUNT);
    for (int i = 0; i < COUNT / 2; i++) {
        say("wake one of the odd", futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 2));
        await_order(i + 1);
    }
    say("wake the even", futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 5));
    await_order(COUNT / 2 + 1);
    print_order("order");
    say("wake the rest", futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 100, NULL, NULL, ~0u));
    for (int i = 0; i < COUNT; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < COUNT; i++)
        waiters[i].mask = ~0u;

    line_up(waiters, threads, COUNT);
    say("wake 2, requeue 3", futex(&word, FUTEX_REQUEUE_PRIVATE, 2, (void *)3, &word2, 0));
    await_order(2);
    for (int i = 0; i < 3; i++) {
        say("wake at the second", futex(&word2, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
        await_order(3 + i);
    }
    say("nobody is left there", futex(&word2, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0));
    for (int i = 0; i < 3; i++) {
        say("wake at the first", futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
        await_order(6 + i);
    }
    /* The two that were woken together may run in any order. */
    CHECK(order[0] + order[1] == 1);
    order[0] = 0;
    order[1] = 1;
    print_order("order");
    for (int i = 0; i < COUNT; i++)
        pthread_join(threads[i], NULL);

    line_up(waiters, threads, 4);
    result("compare and requeue, another value",
           futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)9, &word2, 7));
    result("compare and requeue", futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)9, &word2, 0));
    await_order(1);
    word = 5;
    word2 = 6;
    result("wake op: no comparison", futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &word2,
                                           FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 1)));
    say("added", word2);
    result("wake op: comparison", futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &word2,
                                        FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_GE, 9)));
    await_order(2);
    say("set", word2);
    result("wake op: wrong", futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &word2, 0x70000000));
    futex(&word2, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);

    word = 1;
    result("wait, another value", futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0));
    struct timespec timeout = {0, 10 * MILLISECOND}, at = in_ms(CLOCK_MONOTONIC, 10),
                    wall = in_ms(CLOCK_REALTIME, 10);
    result("wait, timeout", futex(&word, FUTEX_WAIT_PRIVATE, 1, &timeout, NULL, 0));
    result("wait, not private", futex(&word, FUTEX_WAIT, 1, &timeout, NULL, 0));
    result("wait until", futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 1, &at, NULL, ~0u));
    result("wait until, again", futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 1, &at, NULL, ~0u));
    result("wait until, real time",
           futex(&word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 1, &wall, NULL, ~0u));
    result("wait, no bits", futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 1, &at, NULL, 0));
    result("wake, no bits", futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 0));
    timeout.tv_nsec = -1;
    result("wrong time", futex(&word, FUTEX_WAIT_PRIVATE, 1, &timeout, NULL, 0));
    result("unaligned", futex((void *)((char *)&word + 1), FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0));
    result("nothing there", futex((void *)8, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0));
    result("wrong operation", futex(&word, 99, 1, NULL, NULL, 0));
}

/* Ends of threads */

static pthread_key_t key;
static atomic_int destroyed, cleaned, detached_ended;

static void destroy(void *value)
{
    destroyed += (int)(intptr_t)value;
}
static void clean(void *value)
{
    cleaned += (int)(intptr_t)value;
}

static void *exit_deep(void *argument)
{
    pthread_setspecific(key, argument);
    pthread_cleanup_push(clean, number(100));
    pthread_exit(number(77));
    pthread_cleanup_pop(0);
    return NULL;
}

static void *be_cancelled(void *argument)
{
    pthread_cleanup_push(clean, number(1000));
    waiting++;
    if (argument) {
        char byte;
        int *fds = argument;
        while (read(fds[0], &byte, 1) != 1)
            ;
    } else {
        for (;;)
            pause();
    }
    pthread_cleanup_pop(1);
    return NULL;
}

static void *be_cancelled_at_once(void *argument)
{
    (void)argument;
    int old;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    waiting++;
    for (volatile long i = 0; i >= 0; i++)
        ;
    return NULL;
}

static void *be_detached(void *argument)
{
    (void)argument;
    sleep_ms(5);
    detached_ended = 1;
    return NULL;
}

static void test_ends(void)
{
    begin("ends of threads");
    pthread_key_create(&key, destroy);
    void *returned;
    pthread_join(start(exit_deep, number(7)), &returned);
    say("pthread_exit", (intptr_t)returned);
    say("destroyed", destroyed);
    say("cleaned", cleaned);
    int fds[2];
    if (pipe(fds))
        return;
    for (int i = 0; i < 3; i++) {
        int before = waiting;
        pthread_t thread = start(i == 2 ? be_cancelled_at_once : be_cancelled, i == 1 ? fds : NULL);
        while (waiting == before)
            sched_yield();
        sleep_ms(5);
        tell("cancel", pthread_cancel(thread));
        pthread_join(thread, &returned);
        CHECK(returned == PTHREAD_CANCELED);
    }
    say("cleaned", cleaned);
    pthread_t thread = start(be_detached, NULL);
    pthread_detach(thread);
    for (int i = 0; i < 1000 && !detached_ended; i++)
        sleep_ms(1);
    say("detached thread ended", detached_ended);

    CHECK(syscall(SYS_gettid) == getpid());
    result("tgkill of nobody", syscall(SYS_tgkill, getpid(), 999999, 0));
    result("tgkill of thread 0", syscall(SYS_tgkill, getpid(), 0, 0));
}

/* Signals */

static atomic_int handled_by[4], handled_signal;
static __thread int my_number;

static void note(int signal_number)
{
    handled_signal = signal_number;
    handled_by[my_number]++;
}

static atomic_int stop_threads, ready_threads;

static void *wait_for_signals(void *argument)
{
    my_number = (int)(intptr_t)argument;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    if (my_number == 2)
        pthread_sigmask(SIG_BLOCK, &set, NULL);
    ready_threads++;
    while (!stop_threads)
        sleep_ms(1);
    return NULL;
}

static void *wait_for_one(void *argument)
{
    sigset_t *set = argument;
    int signal_number = 0;
    int error = sigwait(set, &signal_number);
    return number(error ? -error : signal_number);
}

static void test_signals(void)
{
    begin("signals");
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    pthread_t threads[3];
    for (long i = 0; i < 3; i++)
        threads[i] = start(wait_for_signals, number(i + 1));
    while (ready_threads < 3)
        sleep_ms(1);
    tell("to the first", pthread_kill(threads[0], SIGUSR1));
    tell("to the third", pthread_kill(threads[2], SIGUSR2));
    tell("to the second, blocked", pthread_kill(threads[1], SIGUSR2));
    tell("to the second", pthread_kill(threads[1], SIGUSR1));
    tell("signal 0", pthread_kill(threads[1], 0));
    tell("wrong signal", pthread_kill(threads[1], 99));
    sleep_ms(30);
    printf("handled: %d %d %d %d\n", handled_by[0], handled_by[1], handled_by[2], handled_by[3]);
    stop_threads = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);

    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 3);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    pthread_t thread = start(wait_for_one, &set);
    sleep_ms(5);
    kill(getpid(), SIGRTMIN + 3);
    void *returned;
    pthread_join(thread, &returned);
    say("sigwait, sent to the process", (intptr_t)returned - SIGRTMIN);
    thread = start(wait_for_one, &set);
    pthread_kill(thread, SIGUSR1);
    pthread_join(thread, &returned);
    say("sigwait, sent to the thread", (intptr_t)returned);
    struct timespec timeout = {0, 10 * MILLISECOND};
    siginfo_t info;
    result("sigtimedwait", sigtimedwait(&set, &info, &timeout));
    kill(getpid(), SIGUSR1);
    say("sigtimedwait", sigtimedwait(&set, &info, &timeout));
    CHECK(info.si_code == SI_USER && info.si_pid == getpid());
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Time */

static atomic_long turns[2];
static atomic_int stop;

static void *spin(void *argument)
{
    intptr_t which = (intptr_t)argument;
    while (!stop)
        turns[which]++;
    return NULL;
}

static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static int log_entries[16], log_size;

static void *sleep_and_log(void *argument)
{
    sleep_ms((intptr_t)argument);
    pthread_mutex_lock(&log_mutex);
    log_entries[log_size++] = (int)(intptr_t)argument;
    pthread_mutex_unlock(&log_mutex);
    return NULL;
}

static void test_time(void)
{
    begin("time");
    pthread_t spinners[2];
    spinners[0] = start(spin, number(0));
    spinners[1] = start(spin, number(1));
    int64_t before = now_ns(CLOCK_MONOTONIC);
    sleep_ms(60);
    int64_t took = now_ns(CLOCK_MONOTONIC) - before;
    CHECK(took >= 60 * MILLISECOND && took < 5000ll * MILLISECOND);
    for (int i = 0; i < 500 && (turns[0] == 0 || turns[1] == 0); i++)
        sleep_ms(5);
    stop = 1;
    pthread_join(spinners[0], NULL);
    pthread_join(spinners[1], NULL);
    CHECK(turns[0] > 0 && turns[1] > 0);

    static const long waits[] = {90, 30, 120, 60, 0};
    pthread_t threads[5];
    for (int i = 0; i < 5; i++)
        threads[i] = start(sleep_and_log, number(waits[i]));
    for (int i = 0; i < 5; i++)
        pthread_join(threads[i], NULL);
    printf("woken in order:");
    for (int i = 0; i < log_size; i++)
        printf(" %d", log_entries[i]);
    putchar('\n');

    struct timespec at = in_ms(CLOCK_MONOTONIC, 20), past = in_ms(CLOCK_MONOTONIC, -500),
                    wrong = {0, 1000000000};
    before = now_ns(CLOCK_MONOTONIC);
    tell("until", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL));
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= 19 * MILLISECOND);
    tell("until the past", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL));
    tell("wrong time", clock_nanosleep(CLOCK_MONOTONIC, 0, &wrong, NULL));
    tell("wrong clock", clock_nanosleep(77, 0, &at, NULL));
    at = in_ms(CLOCK_REALTIME, 10);
    tell("until, real time", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &at, NULL));
    int64_t last = 0;
    long backwards = 0;
    for (int i = 0; i < 100000; i++) {
        int64_t now = now_ns(CLOCK_MONOTONIC);
        backwards += now < last;
        last = now;
    }
    say("clock went backwards", backwards);
    before = now_ns(CLOCK_THREAD_CPUTIME_ID);
    sleep_ms(20);
    CHECK(now_ns(CLOCK_THREAD_CPUTIME_ID) - before < 20 * MILLISECOND);
    before = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (volatile long i = 0; i < 3000000; i++)
        ;
    CHECK(now_ns(CLOCK_PROCESS_CPUTIME_ID) > before);
}

static void *ping(void *argument)
{
    int *fds = argument;
    char byte;
    while (read(fds[0], &byte, 1) == 1)
        if (write(fds[1], &byte, 1) != 1)
            break;
    return NULL;
}

static void test_pipes(void)
{
    begin("threads and pipes");
    int there[2], back[2];
    if (pipe(there) || pipe(back))
        return;
    int ends[2] = {there[0], back[1]};
    pthread_t thread = start(ping, ends);
    int wrong = 0;
    for (int i = 0; i < 2000; i++) {
        char byte = (char)i, answer = 0;
        if (write(there[1], &byte, 1) != 1 || read(back[0], &answer, 1) != 1 || answer != byte)
            wrong++;
    }
    say("wrong", wrong);
    close(there[1]);
    pthread_join(thread, NULL);
    close(there[0]);
    close(back[0]);
    close(back[1]);
}

static void *end_process(void *argument)
{
    (void)argument;
    sleep_ms(10);
    puts("a thread ends the process");
    exit(6);
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        {"many", test_many},       {"mutexes", test_mutexes}, {"conditions", test_conditions},
        {"others", test_others},   {"futexes", test_futexes}, {"ends", test_ends},
        {"signals", test_signals}, {"time", test_time},       {"pipes", test_pipes},
    };
    const char *only = getenv("ONLY");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (!only || !strcmp(only, tests[i].name))
            tests[i].run();
    puts("== end");
    start(end_process, NULL);
    pthread_exit(NULL);
}
