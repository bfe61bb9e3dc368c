/* poll and select. Both look at all their descriptors at each try; epoll is for many of them. */
#include "io/poll.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "io/epoll.h"
#include "io/linux.h"
#include "program/limits.h"
#include "thread/thread.h"
#include "time/clock.h"

#define NS_PER_SECOND 1000000000ull
#define NS_PER_MILLISECOND 1000000ull
#define US_PER_SECOND 1000000
#define BATCH 64u

uint64_t hl__timeout_ms(int32_t milliseconds)
{
    return milliseconds < 0 ? UINT64_MAX : (uint32_t)milliseconds * NS_PER_MILLISECOND;
}

int64_t hl__timeout_timespec(uint64_t address, uint64_t *timeout_ns)
{
    struct linux_timespec time;

    *timeout_ns = UINT64_MAX;
    if (!address)
        return 0;
    if (hl__user_read(&time, address, sizeof time) < 0)
        return -EFAULT;
    return hl__timespec_ns(&time, timeout_ns) ? 0 : -EINVAL;
}

int64_t hl__call_mask(uint64_t address, uint64_t size)
{
    uint64_t mask;

    if (!address)
        return 0;
    if (size != sizeof mask)
        return -EINVAL;
    if (hl__user_read(&mask, address, sizeof mask) < 0)
        return -EFAULT;
    hl__signal_mask_for_call(mask & ~HL__SIGNALS_UNBLOCKABLE);
    return 0;
}

/* Nothing is ready: 0 if the time is over, else it waits. */
static int64_t poll_sleep(uint64_t timeout_ns)
{
    uint64_t deadline;

    if (!timeout_ns)
        return 0;
    deadline = hl__wait_deadline(timeout_ns);
    if (hl__wait_expired(deadline))
        return 0;
    hl__thread->wait.restart = HL__RESTART_NEVER;
    return hl__wait_any(deadline);
}

/* poll */

static int16_t poll_one(const struct linux_pollfd *poll)
{
    struct hl__file *file;

    if (poll->descriptor < 0)
        return 0;
    file = hl__descriptor_file((uint32_t)poll->descriptor);
    if (!file || file->flags & O_PATH)
        return POLLNVAL;
    return (int16_t)(hl__file_ready(file) & ((uint16_t)poll->events | POLLERR | POLLHUP));
}

/* Only the results are written, and only where they change: another thread may use the rest. */
static int64_t poll_batch(uint64_t address, uint64_t count)
{
    struct linux_pollfd polls[BATCH];
    int64_t ready_count = 0;

    if (hl__user_read(polls, address, count * sizeof *polls) < 0)
        return -EFAULT;
    for (uint64_t i = 0; i < count; i++) {
        int16_t ready = poll_one(&polls[i]);
        uint64_t to = address + i * sizeof *polls + __builtin_offsetof(struct linux_pollfd, ready);

        ready_count += ready != 0;
        if (ready != polls[i].ready && hl__user_write(to, &ready, sizeof ready) < 0)
            return -EFAULT;
    }
    return ready_count;
}

static int64_t poll_all(uint64_t address, uint64_t count, uint64_t timeout_ns)
{
    int64_t ready_count = 0;

    if (count > hl__limit(RLIMIT_NOFILE))
        return -EINVAL;
    for (uint64_t i = 0; i < count; i += BATCH) {
        int64_t ready = poll_batch(address + i * sizeof(struct linux_pollfd),
                                   count - i < BATCH ? count - i : BATCH);
        if (ready < 0)
            return ready;
        ready_count += ready;
    }
    return ready_count ? ready_count : poll_sleep(timeout_ns);
}

/* What is left of a timeout is told where it was read from, and no error comes of it. */
static void timeout_rest(uint64_t address, uint64_t timeout_ns, bool microseconds)
{
    uint64_t deadline, now, rest;
    struct linux_timespec time;

    if (!address)
        return;
    deadline = hl__wait_deadline(timeout_ns);
    now = hl__clock_monotonic_ns();
    rest = deadline > now ? deadline - now : 0;
    time.seconds = (int64_t)(rest / NS_PER_SECOND);
    time.nanoseconds = (int64_t)(rest % NS_PER_SECOND / (microseconds ? 1000 : 1));
    (void)hl__user_write(address, &time, sizeof time);
}

HL__SYSCALL(poll)
{
    return poll_all(arg[0], (uint32_t)arg[1], hl__timeout_ms((int32_t)arg[2]));
}

HL__SYSCALL(ppoll)
{
    uint64_t timeout_ns;
    int64_t result = hl__timeout_timespec(arg[2], &timeout_ns);

    if (result == 0)
        result = hl__call_mask(arg[3], arg[4]);
    if (result == 0)
        result = poll_all(arg[0], (uint32_t)arg[1], timeout_ns);
    if (result >= 0)
        timeout_rest(arg[2], timeout_ns, false);
    return result;
}

/* select */

#define SETS 3u
static const uint32_t set_events[SETS] = {
    POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR,
    POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR,
    POLLPRI,
};

/* 64 descriptors from `first` on. Bits that are ready, -EBADF. */
static int64_t select_word(const uint64_t asked[SETS], uint64_t ready[SETS], uint64_t first)
{
    uint64_t any = asked[0] | asked[1] | asked[2];
    int64_t count = 0;

    for (; any; any &= any - 1) {
        uint32_t bit = (uint32_t)__builtin_ctzll(any);
        struct hl__file *file = hl__descriptor_file(first + bit);
        uint32_t events;

        if (!file)
            return -EBADF;
        events = hl__file_ready(file);
        for (uint32_t set = 0; set < SETS; set++)
            if (asked[set] >> bit & 1 && events & set_events[set]) {
                ready[set] |= 1ull << bit;
                count++;
            }
    }
    return count;
}

/* Looks at all descriptors; with `write` the sets become the result. Until then they stay as they are,
 * because each try reads them anew. */
static int64_t select_scan(const uint64_t *sets, uint64_t count, bool write)
{
    int64_t ready_count = 0;

    for (uint64_t first = 0; first < count; first += 64) {
        uint64_t bytes = first / 8;
        uint64_t mask = count - first < 64 ? (1ull << (count - first)) - 1 : UINT64_MAX;
        uint64_t asked[SETS] = {0}, ready[SETS] = {0};
        int64_t result;

        for (uint32_t set = 0; set < SETS; set++) {
            if (sets[set] && hl__user_read(&asked[set], sets[set] + bytes, sizeof asked[set]) < 0)
                return -EFAULT;
            asked[set] &= mask;
        }
        result = select_word(asked, ready, first);
        if (result < 0)
            return result;
        ready_count += result;
        for (uint32_t set = 0; set < SETS && write; set++)
            if (sets[set] && hl__user_write(sets[set] + bytes, &ready[set], sizeof ready[set]) < 0)
                return -EFAULT;
    }
    return ready_count;
}

static int64_t select_all(const uint64_t *arg, uint64_t timeout_ns)
{
    int32_t count = (int32_t)arg[0];
    int64_t result;

    if (count < 0)
        return -EINVAL;
    if ((uint32_t)count > HL__DESCRIPTORS_MAX)
        count = HL__DESCRIPTORS_MAX;
    result = select_scan(arg + 1, (uint32_t)count, false);
    if (result < 0)
        return result;
    if (result == 0)
        result = poll_sleep(timeout_ns);
    return result < 0 ? result : select_scan(arg + 1, (uint32_t)count, true);
}

static int64_t timeout_timeval(uint64_t address, uint64_t *timeout_ns)
{
    struct linux_timeval time;
    struct linux_timespec same;

    *timeout_ns = UINT64_MAX;
    if (!address)
        return 0;
    if (hl__user_read(&time, address, sizeof time) < 0)
        return -EFAULT;
    if (time.seconds < 0 || time.microseconds < 0)
        return -EINVAL;
    same.seconds = time.seconds + time.microseconds / US_PER_SECOND;
    same.nanoseconds = time.microseconds % US_PER_SECOND * 1000;
    return hl__timespec_ns(&same, timeout_ns) ? 0 : -EINVAL;
}

HL__SYSCALL(select)
{
    uint64_t timeout_ns;
    int64_t result = timeout_timeval(arg[4], &timeout_ns);

    if (result == 0)
        result = select_all(arg, timeout_ns);
    if (result >= 0)
        timeout_rest(arg[4], timeout_ns, true);
    return result;
}

HL__SYSCALL(pselect6)
{
    struct {
        uint64_t address, size;
    } mask = {0, 0};
    uint64_t timeout_ns;
    int64_t result = hl__timeout_timespec(arg[4], &timeout_ns);

    if (result == 0 && arg[5] && hl__user_read(&mask, arg[5], sizeof mask) < 0)
        result = -EFAULT;
    if (result == 0)
        result = hl__call_mask(mask.address, mask.size);
    if (result == 0)
        result = select_all(arg, timeout_ns);
    if (result >= 0)
        timeout_rest(arg[4], timeout_ns, false);
    return result;
}
