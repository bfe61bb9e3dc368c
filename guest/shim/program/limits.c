/* Resource limits: who may set them how. What they limit asks for them where it happens. */
#include "program/limits.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "file/credentials.h"
#include "file/file.h"
#include "memory/memory.h"
#include "thread/thread.h"

void hl__limits_init(struct hl__process *process)
{
    struct linux_rlimit *limits = process->limits;

    for (uint32_t i = 0; i < RLIMIT_COUNT; i++)
        limits[i] = (struct linux_rlimit){RLIM_INFINITY, RLIM_INFINITY};
    limits[RLIMIT_STACK].soft = HL__STACK_SIZE_MAX;
    limits[RLIMIT_CORE] = (struct linux_rlimit){0, 0};
    limits[RLIMIT_NPROC] = (struct linux_rlimit){HL__THREADS_MAX, HL__THREADS_MAX};
    limits[RLIMIT_NOFILE] = (struct linux_rlimit){HL__DESCRIPTORS_SOFT, HL__DESCRIPTORS_MAX};
    limits[RLIMIT_SIGPENDING] =
        (struct linux_rlimit){HL__SIGNALS_WAITING_MAX, HL__SIGNALS_WAITING_MAX};
    limits[RLIMIT_NICE] = limits[RLIMIT_RTPRIO] = (struct linux_rlimit){0, 0};
}

uint64_t hl__limit(uint32_t resource)
{
    return hl__process()->limits[resource].soft;
}

static int64_t limit_set(struct hl__process *process, uint32_t resource,
                         const struct linux_rlimit *wanted)
{
    struct linux_rlimit *limit = &process->limits[resource];

    if (wanted->soft > wanted->hard)
        return -EINVAL;
    if (wanted->hard > limit->hard && !hl__is_root())
        return -EPERM;
    if (resource == RLIMIT_NOFILE && wanted->hard > HL__DESCRIPTORS_MAX)
        return -EPERM;
    *limit = *wanted;
    return 0;
}

/* The addresses, of a limit to set and of one to tell, are the program's, or 0. */
static int64_t limit_serve(struct hl__process *process, uint64_t resource, uint64_t from,
                           uint64_t to)
{
    struct linux_rlimit wanted, before;
    int64_t failure = 0;

    if (from && hl__user_read(&wanted, from, sizeof wanted) < 0)
        return -EFAULT;
    if (!process)
        return -ESRCH;
    if ((uint32_t)resource >= RLIMIT_COUNT)
        return -EINVAL;
    before = process->limits[(uint32_t)resource];
    if (from)
        failure = limit_set(process, (uint32_t)resource, &wanted);
    if (!failure && to && hl__user_write(to, &before, sizeof before) < 0)
        return -EFAULT;
    return failure;
}

HL__SYSCALL(setrlimit)
{
    return arg[1] ? limit_serve(hl__process(), arg[0], arg[1], 0) : -EFAULT;
}

HL__SYSCALL(getrlimit)
{
    int64_t failure = limit_serve(hl__process(), arg[0], 0, arg[1]);

    return failure || arg[1] ? failure : -EFAULT;
}

HL__SYSCALL(prlimit64)
{
    struct hl__process *process =
        (int32_t)arg[0] ? hl__process_find((int32_t)arg[0]) : hl__process();

    return limit_serve(process, arg[1], arg[2], arg[3]);
}
