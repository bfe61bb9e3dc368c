/* Clocks, sleeping, and the calls that only wait. */
#include "time/clock.h"
#include "entry/access.h"
#include "host/host.h"
#include "base/machine.h"
#include "entry/state.h"
#include "entry/syscall.h"

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
        clock->cpu_ns += clock->last_ns - clock->start_ns - clock->slept_ns;
        clock->start_ns = clock->last_ns = now;
        clock->slept_ns = 0;
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

/* There is one thread and nothing else to run: the processor is used whenever the program does not
 * sleep. */
static uint64_t clock_cpu_ns(void)
{
    const struct hl__clock_state *clock = &hl__hot.clock;
    uint64_t awake = hl__clock_monotonic_ns() - clock->start_ns;

    return clock->cpu_ns + (awake > clock->slept_ns ? awake - clock->slept_ns : 0);
}

static bool clock_read(uint64_t id, uint64_t *ns)
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
    case CLOCK_THREAD_CPUTIME_ID:
        *ns = clock_cpu_ns();
        return true;
    default:
        return false;
    }
}

void hl__clock_sleep(uint64_t duration_ns)
{
    uint64_t start = hl__clock_monotonic_ns();
    uint64_t passed = 0;

    while (passed < duration_ns) {
        hl__host_sleep(duration_ns - passed);
        passed = hl__clock_monotonic_ns() - start;
    }
    hl__hot.clock.slept_ns += passed;
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

static int64_t clock_write(uint64_t address, uint64_t ns)
{
    struct linux_timespec time = {(int64_t)(ns / NS_PER_SECOND), (int64_t)(ns % NS_PER_SECOND)};

    return hl__user_write(address, &time, sizeof time);
}

HL__SYSCALL(clock_gettime)
{
    uint64_t ns;

    return clock_read(arg[0], &ns) ? clock_write(arg[1], ns) : -EINVAL;
}

HL__SYSCALL(clock_getres)
{
    uint64_t ns;

    if (!clock_read(arg[0], &ns))
        return -EINVAL;
    return arg[1] ? clock_write(arg[1], 1) : 0;
}

HL__SYSCALL(gettimeofday)
{
    uint64_t ns = hl__clock_realtime_ns();
    struct linux_timeval time = {(int64_t)(ns / NS_PER_SECOND),
                                 (int64_t)(ns % NS_PER_SECOND / 1000)};

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
    int64_t usage[4] = {(int64_t)(clock_cpu_ns() / (NS_PER_SECOND / TICKS_PER_SECOND))};

    if (arg[0] && hl__user_write(arg[0], usage, sizeof usage) < 0)
        return -EFAULT;
    return (int64_t)(hl__clock_monotonic_ns() / (NS_PER_SECOND / TICKS_PER_SECOND));
}

HL__SYSCALL(getrusage)
{
    enum { RUSAGE_SELF = 0, RUSAGE_CHILDREN = -1, RUSAGE_THREAD = 1 };
    struct linux_rusage usage = {0};
    uint64_t ns = clock_cpu_ns();
    int32_t who = (int32_t)arg[0];

    if (who != RUSAGE_SELF && who != RUSAGE_CHILDREN && who != RUSAGE_THREAD)
        return -EINVAL;
    if (who != RUSAGE_CHILDREN)
        usage.user = (struct linux_timeval){(int64_t)(ns / NS_PER_SECOND),
                                            (int64_t)(ns % NS_PER_SECOND / 1000)};
    return hl__user_write(arg[1], &usage, sizeof usage);
}

/* Sleeps for a time, or until one. */
static int64_t sleep_until(uint64_t clock, bool absolute, uint64_t address)
{
    struct linux_timespec time;
    uint64_t ns, now;

    if (!clock_read(clock, &now))
        return -EINVAL;
    if (hl__user_read(&time, address, sizeof time) < 0)
        return -EFAULT;
    if (!hl__timespec_ns(&time, &ns))
        return -EINVAL;
    if (absolute)
        ns = ns > now ? ns - now : 0;
    hl__clock_sleep(ns);
    return 0;
}

HL__SYSCALL(nanosleep)
{
    return sleep_until(CLOCK_MONOTONIC, false, arg[0]);
}

HL__SYSCALL(clock_nanosleep)
{
    return sleep_until(arg[0], arg[1] & TIMER_ABSTIME, arg[2]);
}

/* With one thread nobody will ever wake it: a wait lasts for its timeout, or until the call is
 * cancelled. */
HL__SYSCALL(futex)
{
    enum {
        FUTEX_WAIT = 0,
        FUTEX_WAKE = 1,
        FUTEX_WAIT_BITSET = 9,
        FUTEX_WAKE_BITSET = 10,
        PRIVATE_OR_REALTIME = 0x180,
        REALTIME = 0x100
    };
    uint64_t operation = arg[1] & ~(uint64_t)PRIVATE_OR_REALTIME;
    bool absolute = operation == FUTEX_WAIT_BITSET;
    uint32_t value;
    int64_t failure;

    if (operation == FUTEX_WAKE || operation == FUTEX_WAKE_BITSET)
        return 0;
    if (operation != FUTEX_WAIT && operation != FUTEX_WAIT_BITSET)
        return -ENOSYS;
    if (hl__user_read(&value, arg[0], sizeof value) < 0)
        return -EFAULT;
    if (value != (uint32_t)arg[2])
        return -EAGAIN;
    if (!arg[3])
        hl__clock_sleep(UINT64_MAX);
    failure = sleep_until(arg[1] & REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC, absolute, arg[3]);
    return failure ? failure : -ETIMEDOUT;
}
