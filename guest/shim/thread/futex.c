/*
 * Futexes. Who waits stands in the queue of its address's bucket, in the order of coming. A word is known
 * by its address: there is one address space.
 */
#include "thread/futex.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "thread/thread.h"
#include "time/clock.h"

#define BUCKETS 256u
#define BITS_ANY 0xffffffffu
#define WORD_WAITERS 0x80000000u
#define WORD_OWNER_DIED 0x40000000u
#define WORD_OWNER 0x3fffffffu
#define ROBUST_ENTRIES_MAX 2048u

enum {
    FUTEX_WAIT = 0,
    FUTEX_WAKE = 1,
    FUTEX_REQUEUE = 3,
    FUTEX_CMP_REQUEUE = 4,
    FUTEX_WAKE_OP = 5,
    FUTEX_LOCK_PI = 6,
    FUTEX_UNLOCK_PI = 7,
    FUTEX_TRYLOCK_PI = 8,
    FUTEX_WAIT_BITSET = 9,
    FUTEX_WAKE_BITSET = 10,
    FUTEX_LOCK_PI2 = 13,
    FUTEX_COMMAND = 0x7f,
    FUTEX_CLOCK_REALTIME = 0x100
};

static struct hl__queue buckets[BUCKETS];

static struct hl__queue *bucket(uint64_t address)
{
    return &buckets[(address >> 2 ^ address >> 10 ^ address >> 18) % BUCKETS];
}

static int64_t word_read(uint64_t address, uint32_t *value)
{
    if (address % sizeof *value)
        return -EINVAL;
    return hl__user_read(value, address, sizeof *value);
}

static int64_t word_write(uint64_t address, uint32_t value)
{
    return hl__user_write(address, &value, sizeof value);
}

static int64_t wake(uint64_t address, uint64_t count, uint32_t bits)
{
    struct hl__thread *next;
    int64_t woken = 0;

    for (struct hl__thread *thread = bucket(address)->first; thread && (uint64_t)woken < count;
         thread = next) {
        next = thread->next;
        if (thread->wait.key != address || !(thread->wait.bits & bits))
            continue;
        hl__wake_thread(thread);
        thread->wait.woken = true;
        woken++;
    }
    return woken;
}

void hl__futex_wake_one(uint64_t address)
{
    wake(address, 1, BITS_ANY);
}

static int64_t wait_for(uint64_t address, uint32_t bits, uint64_t deadline)
{
    struct hl__wait *wait = &hl__thread->wait;

    wait->key = address;
    wait->bits = bits;
    if (deadline != UINT64_MAX)
        wait->restart = HL__RESTART_NEVER;
    return hl__wait_on(bucket(address), deadline);
}

/* The deadline in monotonic ns of a call whose timeout is at `address`. */
static int64_t deadline_read(uint64_t address, bool absolute, bool realtime, uint64_t *deadline)
{
    uint64_t timeout = UINT64_MAX, now;
    int64_t failure = hl__timeout_read(address, &timeout);

    if (failure)
        return failure;
    if (absolute && timeout != UINT64_MAX) {
        now = realtime ? hl__clock_realtime_ns() : hl__clock_monotonic_ns();
        timeout = timeout > now ? timeout - now : 0;
    }
    *deadline = hl__wait_deadline(timeout);
    return 0;
}

static int64_t futex_wait(const uint64_t *arg, uint32_t bits, bool absolute, bool realtime)
{
    struct hl__wait *wait = &hl__thread->wait;
    uint64_t deadline;
    uint32_t value;
    int64_t failure;

    if (!bits)
        return -EINVAL;
    if (wait->woken)
        return 0;
    failure = deadline_read(arg[3], absolute, realtime, &deadline);
    if (failure)
        return failure;
    if (!wait->started) {
        failure = word_read(arg[0], &value);
        if (failure)
            return failure;
        if (value != (uint32_t)arg[2])
            return -EAGAIN;
    }
    return hl__wait_expired(deadline) ? -ETIMEDOUT : wait_for(arg[0], bits, deadline);
}

/* Wakes some waiters of one word and lets others wait for another one instead. */
static int64_t requeue(const uint64_t *arg, bool compare)
{
    uint64_t from = arg[0], to = arg[4];
    int64_t failure, moved = 0, woken;
    struct hl__thread *next;
    uint32_t value;

    if ((int32_t)arg[2] < 0 || (int32_t)arg[3] < 0 || to % sizeof value)
        return -EINVAL;
    failure = word_read(from, &value);
    if (failure)
        return failure;
    if (compare && value != (uint32_t)arg[5])
        return -EAGAIN;
    woken = wake(from, (uint32_t)arg[2], BITS_ANY);
    for (struct hl__thread *thread = bucket(from)->first;
         thread && from != to && moved < (int64_t)(uint32_t)arg[3]; thread = next) {
        next = thread->next;
        if (thread->wait.key != from)
            continue;
        hl__queue_remove(bucket(from), thread);
        thread->wait.key = to;
        thread->wait.queue = bucket(to);
        hl__queue_add(bucket(to), thread);
        moved++;
    }
    return woken + moved;
}

static bool wake_op_change(uint32_t operation, uint32_t old, uint32_t operand, uint32_t *changed)
{
    switch (operation) {
    case 0:
        *changed = operand;
        return true;
    case 1:
        *changed = old + operand;
        return true;
    case 2:
        *changed = old | operand;
        return true;
    case 3:
        *changed = old & ~operand;
        return true;
    case 4:
        *changed = old ^ operand;
        return true;
    default:
        return false;
    }
}

static bool wake_op_compare(uint32_t comparison, int32_t old, int32_t operand, bool *holds)
{
    const bool results[] = {old == operand, old != operand,
                            old<operand, old <= operand, old> operand, old >= operand};

    if (comparison >= sizeof results / sizeof results[0])
        return false;
    *holds = results[comparison];
    return true;
}

static int32_t sign_extend12(uint32_t value)
{
    return (int32_t)(value << 20) >> 20;
}

/* Changes the second word, wakes waiters of the first, and of the second if its old value compares so. */
static int64_t wake_op(const uint64_t *arg)
{
    uint32_t code = (uint32_t)arg[5], old, changed;
    int32_t operand = sign_extend12(code >> 12 & 0xfff), against = sign_extend12(code & 0xfff);
    int64_t failure = word_read(arg[4], &old), woken;
    bool holds;

    if (failure)
        return failure;
    if (code >> 31)
        operand = (int32_t)(1u << (operand & 31));
    if (!wake_op_change(code >> 28 & 7, old, (uint32_t)operand, &changed) ||
        !wake_op_compare(code >> 24 & 15, (int32_t)old, against, &holds))
        return -ENOSYS;
    failure = word_write(arg[4], changed);
    if (failure)
        return failure;
    woken = wake(arg[0], (uint32_t)arg[2], BITS_ANY);
    return holds ? woken + wake(arg[4], (uint32_t)arg[3], BITS_ANY) : woken;
}

static bool has_waiter(uint64_t address)
{
    for (struct hl__thread *thread = bucket(address)->first; thread; thread = thread->next)
        if (thread->wait.key == address)
            return true;
    return false;
}

/* A mutex whose word names its owner. With one processor that goes round, priorities need no care; what
 * matters is that the word is handed over. */
static int64_t lock_owned(const uint64_t *arg, bool only_try, bool realtime)
{
    uint32_t value, id = (uint32_t)hl__thread->id;
    uint64_t deadline = UINT64_MAX;
    int64_t failure = word_read(arg[0], &value);

    if (failure)
        return failure;
    if (hl__thread->wait.woken && (value & WORD_OWNER) == id)
        return 0; /* handed over */
    if (!(value & WORD_OWNER))
        return word_write(arg[0],
                          id | (value & WORD_OWNER_DIED) | (has_waiter(arg[0]) ? WORD_WAITERS : 0));
    if ((value & WORD_OWNER) == id)
        return -EDEADLK;
    if (!hl__thread_find((int32_t)(value & WORD_OWNER)))
        return -ESRCH;
    if (only_try)
        return -EAGAIN;
    failure = deadline_read(arg[3], true, realtime, &deadline);
    if (failure)
        return failure;
    if (hl__wait_expired(deadline))
        return -ETIMEDOUT;
    if (word_write(arg[0], value | WORD_WAITERS) < 0)
        return -EFAULT;
    hl__thread->wait.woken = false;
    return wait_for(arg[0], BITS_ANY, deadline);
}

/* Gives the word to the first waiter, or frees it. */
static int64_t hand_over(uint64_t address, uint32_t keep)
{
    struct hl__thread *thread = bucket(address)->first;

    while (thread && thread->wait.key != address)
        thread = thread->next;
    if (!thread)
        return word_write(address, keep);
    wake(address, 1, BITS_ANY);
    return word_write(address,
                      (uint32_t)thread->id | keep | (has_waiter(address) ? WORD_WAITERS : 0));
}

static int64_t unlock_owned(uint64_t address)
{
    uint32_t value;
    int64_t failure = word_read(address, &value);

    if (failure)
        return failure;
    if ((value & WORD_OWNER) != (uint32_t)hl__thread->id)
        return -EPERM;
    return hand_over(address, 0);
}

HL__SYSCALL(futex)
{
    bool realtime = arg[1] & FUTEX_CLOCK_REALTIME;
    uint32_t value;

    switch (arg[1] & FUTEX_COMMAND) {
    case FUTEX_WAIT:
        return futex_wait(arg, BITS_ANY, false, realtime);
    case FUTEX_WAIT_BITSET:
        return futex_wait(arg, (uint32_t)arg[5], true, realtime);
    case FUTEX_WAKE:
    case FUTEX_WAKE_BITSET:
        if (arg[0] % sizeof value || (arg[1] & FUTEX_COMMAND) == FUTEX_WAKE_BITSET ? !arg[5] : 0)
            return -EINVAL;
        return wake(arg[0], (int32_t)arg[2] > 1 ? (uint32_t)arg[2] : 1,
                    (arg[1] & FUTEX_COMMAND) == FUTEX_WAKE ? BITS_ANY : (uint32_t)arg[5]);
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
        return requeue(arg, (arg[1] & FUTEX_COMMAND) == FUTEX_CMP_REQUEUE);
    case FUTEX_WAKE_OP:
        return wake_op(arg);
    case FUTEX_LOCK_PI:
        return lock_owned(arg, false, true);
    case FUTEX_LOCK_PI2:
        return lock_owned(arg, false, realtime);
    case FUTEX_TRYLOCK_PI:
        return lock_owned(arg, true, true);
    case FUTEX_UNLOCK_PI:
        return unlock_owned(arg[0]);
    default:
        return -ENOSYS;
    }
}

HL__SYSCALL(set_robust_list)
{
    enum { HEAD_SIZE = 24 };

    if (arg[1] != HEAD_SIZE)
        return -EINVAL;
    hl__thread->robust_list = arg[0];
    return 0;
}

HL__SYSCALL(get_robust_list)
{
    struct hl__thread *thread = arg[0] ? hl__thread_find((int32_t)arg[0]) : hl__thread;
    const uint64_t size = 24;

    if (!thread)
        return -ESRCH;
    if (hl__user_write(arg[2], &size, sizeof size) < 0)
        return -EFAULT;
    return hl__user_write(arg[1], &thread->robust_list, sizeof thread->robust_list);
}

static void mark_dead(const struct hl__thread *thread, uint64_t address, bool with_owner)
{
    uint32_t value;

    if (word_read(address, &value) < 0 || (value & WORD_OWNER) != (uint32_t)thread->id)
        return;
    if (with_owner) {
        hand_over(address, WORD_OWNER_DIED);
    } else if (!word_write(address, (value & WORD_WAITERS) | WORD_OWNER_DIED) &&
               value & WORD_WAITERS) {
        hl__futex_wake_one(address);
    }
}

void hl__robust_list_leave(struct hl__thread *thread)
{
    struct {
        uint64_t next;
        int64_t offset;
        uint64_t pending;
    } head;
    uint64_t entry, next, count = 0;

    if (!thread->robust_list || hl__user_read(&head, thread->robust_list, sizeof head) < 0)
        return;
    /* The lowest bit tells mutexes that name their owner for the kernel (LOCK_PI). */
    for (entry = head.next; (entry & ~1ull) != thread->robust_list && count < ROBUST_ENTRIES_MAX;
         entry = next, count++) {
        if (hl__user_read(&next, entry & ~1ull, sizeof next) < 0)
            return;
        if (entry != head.pending)
            mark_dead(thread, (entry & ~1ull) + (uint64_t)head.offset, entry & 1);
    }
    if (head.pending)
        mark_dead(thread, (head.pending & ~1ull) + (uint64_t)head.offset, head.pending & 1);
}
