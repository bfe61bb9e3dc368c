/* Clocks, sleeping, and the calls that only wait. */
#include "time/clock.h"
#include "base/machine.h"
#include "entry/access.h"
#include "entry/state.h"
#include "entry/syscall.h"
#include "file/space.h"
#include "thread/thread.h"

#define NS_PER_SECOND 1000000000ull
#define TICKS_PER_SECOND 100u /* AT_CLKTCK */

static uint64_t clock_elapsed_ns(void)
{
    const struct hl_abi_wake *wake = HL__WAKE;
    uint64_t now = hl__rdtsc();

    if (now < wake->tsc_base)
        return 0;
    return (uint64_t)(((unsigned __int128)(now - wake->tsc_base) * wake->tsc_multiplier) >>
                      wake->tsc_shift);
}

uint64_t hl__clock_monotonic_ns(void)
{
    struct hl__clock_state *clock = &hl__hot.clock;
    uint64_t now = HL__WAKE->monotonic_ns + clock_elapsed_ns();

    if (clock->generation != HL__WAKE->generation) {
        clock->generation = HL__WAKE->generation;
        if (hl__thread)
            hl__threads_move_clock((int64_t)(now - clock->last_ns));
        clock->last_ns = now;
    }
    if (now > clock->last_ns)
        clock->last_ns = now;
    return clock->last_ns;
}

void hl__clock_init(void)
{
    hl__clock_monotonic_ns();
}

uint64_t hl__clock_realtime_ns(void)
{
    return HL__WAKE->realtime_ns + clock_elapsed_ns();
}

/* CPU clocks of processes and threads carry their number, inverted, above three bits of kind. */
static bool clock_of_thread(uint64_t id, uint64_t *ns)
{
    enum { OF_THREAD = 4, KIND_MASK = 3, KIND_SCHEDULED = 2 };
    int32_t number = ~((int32_t)id >> 3);
    const struct hl__thread *thread = number ? hl__thread_find(number) : hl__thread;
    const struct hl__process *process = number ? hl__process_find(number) : hl__process();

    if ((int32_t)id >= 0 || (id & KIND_MASK) > KIND_SCHEDULED)
        return false;
    if (id & OF_THREAD)
        *ns = thread ? hl__thread_cpu_ns(thread) : 0;
    else
        *ns = process ? hl__process_cpu_ns(process) : 0;
    return id & OF_THREAD ? thread != NULL : process != NULL;
}

bool hl__clock_read(uint64_t id, uint64_t *ns)
{
    switch (id) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_TAI:
        *ns = hl__clock_realtime_ns();
        return true;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        *ns = hl__clock_monotonic_ns();
        return true;
    case CLOCK_PROCESS_CPUTIME_ID:
        *ns = hl__process_cpu_ns(hl__process());
        return true;
    case CLOCK_THREAD_CPUTIME_ID:
        *ns = hl__thread_cpu_ns(hl__thread);
        return true;
    default:
        return clock_of_thread(id, ns);
    }
}

bool hl__timespec_ns(const struct linux_timespec *time, uint64_t *ns)
{
    if (time->seconds < 0 || time->nanoseconds < 0 || (uint64_t)time->nanoseconds >= NS_PER_SECOND)
        return false;
    if ((uint64_t)time->seconds >= UINT64_MAX / NS_PER_SECOND)
        *ns = UINT64_MAX;
    else
        *ns = (uint64_t)time->seconds * NS_PER_SECOND + (uint64_t)time->nanoseconds;
    return true;
}

struct linux_timespec hl__timespec(uint64_t ns)
{
    return (struct linux_timespec){(int64_t)(ns / NS_PER_SECOND), (int64_t)(ns % NS_PER_SECOND)};
}

struct linux_timeval hl__timeval(uint64_t ns)
{
    return (struct linux_timeval){(int64_t)(ns / NS_PER_SECOND),
                                  (int64_t)(ns % NS_PER_SECOND / 1000)};
}

int64_t hl__timeout_read(uint64_t address, uint64_t *ns)
{
    struct linux_timespec time;

    if (!address)
        return 0;
    if (hl__user_read(&time, address, sizeof time) < 0)
        return -EFAULT;
    return hl__timespec_ns(&time, ns) ? 0 : -EINVAL;
}

static int64_t clock_write(uint64_t address, uint64_t ns)
{
    struct linux_timespec time = hl__timespec(ns);

    return hl__user_write(address, &time, sizeof time);
}

HL__SYSCALL(clock_gettime)
{
    uint64_t ns;

    return hl__clock_read(arg[0], &ns) ? clock_write(arg[1], ns) : -EINVAL;
}

HL__SYSCALL(clock_getres)
{
    uint64_t ns;

    if (!hl__clock_read(arg[0], &ns))
        return -EINVAL;
    return arg[1] ? clock_write(arg[1], 1) : 0;
}

HL__SYSCALL(gettimeofday)
{
    struct linux_timeval time = hl__timeval(hl__clock_realtime_ns());

    if (arg[0] && hl__user_write(arg[0], &time, sizeof time) < 0)
        return -EFAULT;
    return arg[1] ? hl__user_clear(arg[1], 8) : 0; /* the time zone: UTC */
}

HL__SYSCALL(time)
{
    int64_t seconds = (int64_t)(hl__clock_realtime_ns() / NS_PER_SECOND);

    return arg[0] && hl__user_write(arg[0], &seconds, sizeof seconds) < 0 ? -EFAULT : seconds;
}

HL__SYSCALL(times)
{
    const uint64_t ns_per_tick = NS_PER_SECOND / TICKS_PER_SECOND;
    int64_t usage[4] = {(int64_t)(hl__process_cpu_ns(hl__process()) / ns_per_tick), 0,
                        (int64_t)(hl__process()->children_cpu_ns / ns_per_tick)};

    if (arg[0] && hl__user_write(arg[0], usage, sizeof usage) < 0)
        return -EFAULT;
    return (int64_t)(hl__clock_monotonic_ns() / ns_per_tick);
}

HL__SYSCALL(getrusage)
{
    enum { RUSAGE_SELF = 0, RUSAGE_CHILDREN = -1, RUSAGE_THREAD = 1 };
    struct linux_rusage usage = {0};
    int32_t who = (int32_t)arg[0];
    uint64_t ns =
        who == RUSAGE_CHILDREN ? hl__process()->children_cpu_ns : hl__process_cpu_ns(hl__process());

    if (who != RUSAGE_SELF && who != RUSAGE_CHILDREN && who != RUSAGE_THREAD)
        return -EINVAL;
    if (who != RUSAGE_CHILDREN) {
        uint64_t total, left;

        hl__space(&total, &left); /* what is in use now: nobody counts the most there was */
        usage.counts[0] = (int64_t)((total - left) * (HL_ABI_PAGE_SIZE / 1024));
    }
    usage.user = hl__timeval(ns);
    return hl__user_write(arg[1], &usage, sizeof usage);
}

/* Sleeps for a time, or until one. What is left goes to `rest` when a signal comes. */
static int64_t sleep_for(uint64_t clock, bool absolute, uint64_t request, uint64_t rest)
{
    uint64_t ns = 0, now, deadline;
    int64_t failure;

    if (!hl__clock_read(clock, &now))
        return -EINVAL;
    if (clock == CLOCK_THREAD_CPUTIME_ID)
        return -EINVAL;
    if (!request)
        return -EFAULT;
    failure = hl__timeout_read(request, &ns);
    if (failure)
        return failure;
    if (absolute)
        ns = ns > now ? ns - now : 0;
    deadline = hl__wait_deadline(ns);
    if (hl__wait_expired(deadline))
        return 0;
    if (rest && !absolute && hl__signal_pending(hl__thread))
        clock_write(rest, deadline - hl__clock_monotonic_ns());
    hl__thread->wait.restart = HL__RESTART_NEVER;
    return hl__wait_on(NULL, deadline);
}

HL__SYSCALL(nanosleep)
{
    return sleep_for(CLOCK_MONOTONIC, false, arg[0], arg[1]);
}

HL__SYSCALL(clock_nanosleep)
{
    return sleep_for(arg[0], arg[1] & TIMER_ABSTIME, arg[2], arg[3]);
}
