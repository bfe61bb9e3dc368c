/* The one process and its one thread: identity, limits, and the calls that a libc makes at
 * start-up. */
#include "entry/access.h"
#include "host/host.h"
#include "base/linux.h"
#include "base/machine.h"
#include "memory/memory.h"
#include "entry/syscall.h"

HL__SYSCALL(exit)
{
    hl__host_exit(arg[0] & 0xff, 0, NULL);
}

HL__SYSCALL(exit_group)
{
    hl__host_exit(arg[0] & 0xff, 0, NULL);
}

HL__SYSCALL(getpid)
{
    (void)arg;
    return HL__PROCESS_ID;
}

HL__SYSCALL(gettid)
{
    (void)arg;
    return HL__PROCESS_ID;
}

HL__SYSCALL(getppid)
{
    (void)arg;
    return 1;
}

HL__SYSCALL(getpgrp)
{
    (void)arg;
    return HL__PROCESS_ID;
}

HL__SYSCALL(getpgid)
{
    return arg[0] == 0 || arg[0] == HL__PROCESS_ID ? HL__PROCESS_ID : -ESRCH;
}

HL__SYSCALL(getsid)
{
    return arg[0] == 0 || arg[0] == HL__PROCESS_ID ? HL__PROCESS_ID : -ESRCH;
}

HL__SYSCALL(getuid)
{
    (void)arg;
    return 0;
}

HL__SYSCALL(getgid)
{
    (void)arg;
    return 0;
}

HL__SYSCALL(geteuid)
{
    (void)arg;
    return 0;
}

HL__SYSCALL(getegid)
{
    (void)arg;
    return 0;
}

HL__SYSCALL(sched_yield)
{
    (void)arg;
    return 0;
}

HL__SYSCALL(set_tid_address)
{
    (void)arg;
    return HL__PROCESS_ID;
}

HL__SYSCALL(set_robust_list)
{
    enum { HEAD_SIZE = 24 };

    return arg[1] == HEAD_SIZE ? 0 : -EINVAL;
}

HL__SYSCALL(sched_getaffinity)
{
    static const uint64_t one_cpu = 1;

    if (arg[0] != 0 && arg[0] != HL__PROCESS_ID)
        return -ESRCH;
    if (arg[1] < sizeof one_cpu || arg[1] % sizeof one_cpu)
        return -EINVAL;
    return hl__user_write(arg[2], &one_cpu, sizeof one_cpu) < 0 ? -EFAULT : (int64_t)sizeof one_cpu;
}

HL__SYSCALL(prctl)
{
    enum { PR_SET_NAME = 15, PR_GET_NAME = 16, NAME_SIZE = 16 };
    static char name[NAME_SIZE] = "guest";

    if (arg[0] == PR_SET_NAME)
        return hl__user_string(name, arg[1], sizeof name - 1) == -EFAULT ? -EFAULT : 0;
    if (arg[0] == PR_GET_NAME)
        return hl__user_write(arg[1], name, sizeof name);
    return 0;
}

HL__SYSCALL(arch_prctl)
{
    uint64_t base;

    if ((arg[0] == ARCH_SET_FS || arg[0] == ARCH_SET_GS) && arg[1] >= HL_ABI_USER_END)
        return -EPERM;
    switch (arg[0]) {
    case ARCH_SET_FS:
        hl__wrfsbase(arg[1]);
        return 0;
    case ARCH_SET_GS:
        hl__wrgsbase(arg[1]);
        return 0;
    case ARCH_GET_FS:
        base = hl__rdfsbase();
        return hl__user_write(arg[1], &base, sizeof base);
    case ARCH_GET_GS:
        base = hl__rdgsbase();
        return hl__user_write(arg[1], &base, sizeof base);
    default:
        return -EINVAL;
    }
}

HL__SYSCALL(uname)
{
    struct {
        char system[65], node[65], release[65], version[65], machine[65], domain[65];
    } names = {"Linux", "hyperlight", "6.1.0-hyperlight", "#1", "x86_64", "(none)"};

    return hl__user_write(arg[0], &names, sizeof names);
}

static bool limit_get(uint64_t resource, struct linux_rlimit *limit)
{
    limit->soft = limit->hard = RLIM_INFINITY;
    if (resource >= RLIMIT_COUNT)
        return false;
    if (resource == RLIMIT_STACK)
        limit->soft = hl__memory.stack_end - hl__memory.stack_start;
    if (resource == RLIMIT_CORE)
        limit->soft = limit->hard = 0;
    if (resource == RLIMIT_NOFILE)
        limit->soft = limit->hard = 16;
    return true;
}

HL__SYSCALL(getrlimit)
{
    struct linux_rlimit limit;

    return limit_get(arg[0], &limit) ? hl__user_write(arg[1], &limit, sizeof limit) : -EINVAL;
}

HL__SYSCALL(prlimit64)
{
    struct linux_rlimit limit;

    if (arg[0] != 0 && arg[0] != HL__PROCESS_ID)
        return -ESRCH;
    if (!limit_get(arg[1], &limit))
        return -EINVAL;
    return arg[3] ? hl__user_write(arg[3], &limit, sizeof limit) : 0;
}

HL__SYSCALL(sysinfo)
{
    const struct hl__memory *memory = &hl__memory;
    struct linux_sysinfo info = {.processes = 1, .unit = 1};

    info.total_ram = memory->total_pages * HL_ABI_PAGE_SIZE;
    info.free_ram = hl__pages_free(&memory->pages) * HL_ABI_PAGE_SIZE;
    return hl__user_write(arg[0], &info, sizeof info);
}
