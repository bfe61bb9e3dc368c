/* How threads are scheduled, as programs ask for it: one processor, turns in order, priorities that are
 * kept and do nothing. */
#include "base/linux.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "thread/thread.h"

#define NS_PER_SLICE 10000000

enum { SCHED_OTHER = 0, SCHED_FIFO = 1, SCHED_RR = 2, SCHED_BATCH = 3, SCHED_IDLE = 5 };
#define SCHED_RESET_ON_FORK 0x40000000u

static const struct hl__thread *thread_named(uint64_t id)
{
    return (int32_t)id ? hl__thread_find((int32_t)id) : hl__thread;
}

static int64_t id_failure(uint64_t id)
{
    return (int32_t)id < 0 ? -EINVAL : thread_named(id) ? 0 : -ESRCH;
}

static bool policy_known(uint32_t policy)
{
    return policy <= SCHED_BATCH || policy == SCHED_IDLE;
}

HL__SYSCALL(sched_getscheduler)
{
    int64_t failure = id_failure(arg[0]);

    return failure ? failure : SCHED_OTHER;
}

/* Real-time turns would starve the others: they are for whoever may have them. */
static int64_t policy_set(uint32_t policy, int32_t priority)
{
    policy &= ~SCHED_RESET_ON_FORK;
    if (!policy_known(policy))
        return -EINVAL;
    if (policy == SCHED_FIFO || policy == SCHED_RR)
        return priority >= 1 && priority <= 99 ? -EPERM : -EINVAL;
    return priority == 0 ? 0 : -EINVAL;
}

HL__SYSCALL(sched_setscheduler)
{
    int64_t failure = id_failure(arg[0]);
    int32_t priority;

    if (failure || !arg[2])
        return failure ? failure : -EINVAL;
    if (hl__user_read(&priority, arg[2], sizeof priority) < 0)
        return -EFAULT;
    return policy_set((uint32_t)arg[1], priority);
}

HL__SYSCALL(sched_setparam)
{
    const uint64_t as_scheduler[] = {arg[0], SCHED_OTHER, arg[1]};

    return hl__sys_sched_setscheduler(as_scheduler);
}

HL__SYSCALL(sched_getparam)
{
    int64_t failure = id_failure(arg[0]);
    const int32_t priority = 0;

    if (failure || !arg[1])
        return failure ? failure : -EINVAL;
    return hl__user_write(arg[1], &priority, sizeof priority);
}

static bool policy_is_real_time(uint64_t policy)
{
    return policy == SCHED_FIFO || policy == SCHED_RR;
}

HL__SYSCALL(sched_get_priority_max)
{
    if (!policy_known((uint32_t)arg[0]))
        return -EINVAL;
    return policy_is_real_time(arg[0]) ? 99 : 0;
}

HL__SYSCALL(sched_get_priority_min)
{
    if (!policy_known((uint32_t)arg[0]))
        return -EINVAL;
    return policy_is_real_time(arg[0]) ? 1 : 0;
}

HL__SYSCALL(sched_rr_get_interval)
{
    const struct linux_timespec slice = {0, NS_PER_SLICE};
    int64_t failure = id_failure(arg[0]);

    return failure ? failure : hl__user_write(arg[1], &slice, sizeof slice);
}

HL__SYSCALL(sched_getaffinity)
{
    static const uint64_t one_cpu = 1;
    int64_t failure = id_failure(arg[0]);

    if (arg[1] < sizeof one_cpu || arg[1] % sizeof one_cpu)
        return -EINVAL;
    if (failure)
        return failure;
    return hl__user_write(arg[2], &one_cpu, sizeof one_cpu) < 0 ? -EFAULT : (int64_t)sizeof one_cpu;
}

HL__SYSCALL(sched_setaffinity)
{
    int64_t failure = id_failure(arg[0]);
    uint64_t mask = 0;

    if (failure)
        return failure;
    if (hl__user_read(&mask, arg[2], arg[1] < sizeof mask ? arg[1] : sizeof mask) < 0)
        return -EFAULT;
    return mask & 1 ? 0 : -EINVAL;
}

enum { PRIO_PROCESS = 0, PRIO_USER = 2, NICE_LEAST = 20, NICE_RANGE = 40 };

HL__SYSCALL(getpriority)
{
    if ((int32_t)arg[0] < PRIO_PROCESS || (int32_t)arg[0] > PRIO_USER)
        return -EINVAL;
    if (arg[0] == PRIO_PROCESS && !thread_named(arg[1]))
        return -ESRCH;
    return NICE_LEAST - hl__process()->nice; /* 1 to 40, so that it is no error */
}

HL__SYSCALL(setpriority)
{
    int32_t nice = (int32_t)arg[2];

    if ((int32_t)arg[0] < PRIO_PROCESS || (int32_t)arg[0] > PRIO_USER)
        return -EINVAL;
    if (arg[0] == PRIO_PROCESS && !thread_named(arg[1]))
        return -ESRCH;
    if (nice >= NICE_LEAST)
        nice = NICE_LEAST - 1;
    hl__process()->nice = nice < NICE_LEAST - NICE_RANGE ? NICE_LEAST - NICE_RANGE : nice;
    return 0;
}
