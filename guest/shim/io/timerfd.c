/*
 * Timers that are read. An interval timer is not set again when it expires but when it is looked at:
 * how often it expired is a division, and a timer that nobody looks at costs one wake-up.
 */
#include "io/timerfd.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "io/linux.h"
#include "io/object.h"
#include "memory/heap.h"
#include "thread/thread.h"
#include "time/clock.h"

struct timerfd {
    struct hl__file *file;
    struct timerfd *next,
        **link; /* of all that are open; what points to it, NULL: it is not open yet */
    struct hl__timer timer;
    uint64_t clock;
    uint64_t deadline_ns; /* monotonic, of the next expiry that was not counted; 0: disarmed */
    uint64_t interval_ns;
    uint64_t count; /* expiries that were not read */
};

static struct timerfd *timerfds;

/* The timers of those that are set move by themselves. */
void hl__timerfds_move(int64_t by_ns)
{
    for (struct timerfd *timer = timerfds; timer; timer = timer->next)
        if (timer->deadline_ns && timer->deadline_ns != UINT64_MAX)
            timer->deadline_ns += (uint64_t)by_ns;
}

static void timerfd_expired(struct hl__timer *timer)
{
    hl__file_changed(HL__CONTAINER(timer, struct timerfd, timer)->file, POLLIN);
}

/* Counts what has expired by now. */
static void timerfd_update(struct timerfd *timer, uint64_t now)
{
    uint64_t count;

    if (!timer->deadline_ns || now < timer->deadline_ns)
        return;
    count = timer->interval_ns ? (now - timer->deadline_ns) / timer->interval_ns + 1 : 1;
    timer->count += count;
    timer->deadline_ns = timer->interval_ns ? timer->deadline_ns + count * timer->interval_ns : 0;
}

/* -ENOMEM: then it is not set. */
static int64_t timerfd_arm(struct timerfd *timer)
{
    if (!timer->deadline_ns || timer->count)
        return 0;
    return hl__timer_set(&timer->timer, timer->deadline_ns, timerfd_expired) ? 0 : -ENOMEM;
}

static int64_t timerfd_read(struct hl__file *file, uint64_t address, uint64_t size,
                            uint64_t *position)
{
    struct timerfd *timer = file->object;

    (void)position;
    if (size < sizeof timer->count)
        return -EINVAL;
    timerfd_update(timer, hl__clock_monotonic_ns());
    if (!timer->count)
        return -EAGAIN;
    if (hl__user_write(address, &timer->count, sizeof timer->count) < 0)
        return -EFAULT;
    timer->count = 0;
    timerfd_arm(timer);
    return sizeof timer->count;
}

static uint32_t timerfd_ready(struct hl__file *file)
{
    const struct timerfd *timer = file->object;
    bool expired = timer->deadline_ns && hl__clock_monotonic_ns() >= timer->deadline_ns;

    return timer->count || expired ? POLLIN : 0;
}

static int64_t timerfd_stat(struct hl__file *file, struct linux_stat *stat)
{
    return hl__object_stat(stat, 0600, file->object);
}

static void timerfd_close(struct hl__file *file)
{
    struct timerfd *timer = file->object;

    if (timer->link)
        *timer->link = timer->next;
    if (timer->next)
        timer->next->link = timer->link;
    hl__timer_cancel(&timer->timer);
    hl__heap_free(timer, sizeof *timer);
}

static const struct hl__file_ops timerfd_ops = {
    .name = "anon_inode:[timerfd]",
    .read = timerfd_read,
    .ready = timerfd_ready,
    .stat = timerfd_stat,
    .close = timerfd_close,
};

HL__SYSCALL(timerfd_create)
{
    struct timerfd *timer;
    uint32_t clock = (uint32_t)arg[0];
    int64_t descriptor;

    if ((uint32_t)arg[1] & ~(uint32_t)(O_NONBLOCK | O_CLOEXEC))
        return -EINVAL;
    if (clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM)
        return -EPERM;
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)
        return -EINVAL;
    timer = hl__heap_new(sizeof *timer);
    if (!timer)
        return -ENOMEM;
    timer->clock = clock;
    descriptor = hl__object_open(&timerfd_ops, O_RDWR | (uint32_t)arg[1], timer, sizeof *timer);
    if (descriptor < 0)
        return descriptor;
    timer->file = hl__descriptor_file((uint64_t)descriptor);
    timer->next = timerfds;
    timer->link = &timerfds;
    if (timer->next)
        timer->next->link = &timer->next;
    timerfds = timer;
    return descriptor;
}

/* The timer of a descriptor, or NULL and *error. */
static struct timerfd *timerfd_of(uint64_t descriptor, int64_t *error)
{
    struct hl__file *file = hl__descriptor_file(descriptor);

    *error = file ? -EINVAL : -EBADF;
    return file && file->ops == &timerfd_ops ? file->object : NULL;
}

static int64_t timerfd_show(struct timerfd *timer, uint64_t now, uint64_t address)
{
    struct linux_itimerspec show;

    timerfd_update(timer, now);
    show.interval = hl__timespec(timer->interval_ns);
    show.value = hl__timespec(timer->deadline_ns ? timer->deadline_ns - now : 0);
    return hl__user_write(address, &show, sizeof show);
}

/* When a time of the timer's clock comes, in monotonic ns; never 0. */
static uint64_t timerfd_deadline(const struct timerfd *timer, uint64_t value, bool absolute,
                                 uint64_t now)
{
    uint64_t clock_now = now, rest = value;

    if (absolute) {
        hl__clock_read(timer->clock, &clock_now);
        /* One that has passed long ago has expired as often as its interval fits since then. */
        if (value < clock_now)
            return clock_now - value < now ? now - (clock_now - value) : 1;
        rest = value - clock_now;
    }
    return rest > UINT64_MAX - now ? UINT64_MAX : now + rest;
}

HL__SYSCALL(timerfd_settime)
{
    int64_t error;
    struct timerfd *timer = timerfd_of(arg[0], &error);
    struct linux_itimerspec new;
    uint64_t now = hl__clock_monotonic_ns(), value, interval;

    if ((uint32_t)arg[1] & ~(uint32_t)(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET))
        return -EINVAL;
    if (hl__user_read(&new, arg[2], sizeof new) < 0)
        return -EFAULT;
    if (!hl__timespec_ns(&new.value, &value) || !hl__timespec_ns(&new.interval, &interval))
        return -EINVAL;
    if (!timer)
        return error;
    if (arg[3] && timerfd_show(timer, now, arg[3]) < 0)
        return -EFAULT;
    hl__timer_cancel(&timer->timer);
    timer->count = 0;
    timer->interval_ns = interval;
    timer->deadline_ns =
        value ? timerfd_deadline(timer, value, arg[1] & TFD_TIMER_ABSTIME, now) : 0;
    return timerfd_arm(timer);
}

HL__SYSCALL(timerfd_gettime)
{
    int64_t error;
    struct timerfd *timer = timerfd_of(arg[0], &error);

    return timer ? timerfd_show(timer, hl__clock_monotonic_ns(), arg[1]) : error;
}
