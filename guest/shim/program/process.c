/* What a process asks for itself: settings, and the calls that a libc makes at start-up. */
#include "base/linux.h"
#include "base/machine.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "host/host.h"
#include "memory/memory.h"
#include "thread/thread.h"

#include "file/file.h"
#include <string.h>

HL__SYSCALL(exit)
{
    hl__thread_exit((int)arg[0]);
    return 0;
}

HL__SYSCALL(exit_group)
{
    hl__process_exit((int)arg[0], 0, NULL);
}

HL__SYSCALL(gettid)
{
    (void)arg;
    return hl__thread->id;
}

HL__SYSCALL(sched_yield)
{
    (void)arg;
    hl__schedule_yield();
    return 0;
}

HL__SYSCALL(set_tid_address)
{
    hl__thread->clear_id_address = arg[0];
    return hl__thread->id;
}

HL__SYSCALL(getcpu)
{
    const uint32_t zero = 0;

    if (arg[0] && hl__user_write(arg[0], &zero, sizeof zero) < 0)
        return -EFAULT;
    return arg[1] ? hl__user_write(arg[1], &zero, sizeof zero) : 0;
}

HL__SYSCALL(personality)
{
    enum { ASK = -1 };

    /* PER_LINUX is what there is; flags of it would change how memory is laid out. */
    return (int32_t)arg[0] == ASK || (arg[0] & 0xff) == 0 ? 0 : -EINVAL;
}

/* Settings that do nothing here but are kept for who asks; anything else is refused. */
static int64_t prctl_setting(const uint64_t *arg)
{
    enum {
        PR_SET_PDEATHSIG = 1,
        PR_GET_DUMPABLE = 3,
        PR_SET_DUMPABLE = 4,
        PR_GET_KEEPCAPS = 7,
        PR_SET_KEEPCAPS = 8,
        PR_GET_SECCOMP = 21,
        PR_CAPBSET_READ = 23,
        PR_SET_TIMERSLACK = 29,
        PR_GET_TIMERSLACK = 30,
        PR_SET_CHILD_SUBREAPER = 36,
        PR_SET_NO_NEW_PRIVS = 38,
        PR_GET_NO_NEW_PRIVS = 39,
        PR_SET_THP_DISABLE = 41,
        PR_GET_THP_DISABLE = 42,
        TIMER_SLACK_NS = 50000
    };

    switch (arg[0]) {
    case PR_SET_PDEATHSIG:
    case PR_SET_DUMPABLE:
    case PR_SET_KEEPCAPS:
    case PR_SET_TIMERSLACK:
    case PR_SET_CHILD_SUBREAPER:
    case PR_SET_NO_NEW_PRIVS:
    case PR_SET_THP_DISABLE:
    case PR_GET_KEEPCAPS:
    case PR_GET_SECCOMP:
    case PR_GET_NO_NEW_PRIVS:
    case PR_GET_THP_DISABLE:
        return 0;
    case PR_GET_DUMPABLE:
    case PR_CAPBSET_READ:
        return 1;
    case PR_GET_TIMERSLACK:
        return TIMER_SLACK_NS;
    default:
        return -EINVAL;
    }
}

HL__SYSCALL(prctl)
{
    enum { PR_SET_NAME = 15, PR_GET_NAME = 16 };
    char name[HL__THREAD_NAME_SIZE] = {0};

    switch (arg[0]) {
    case PR_SET_NAME:
        if (hl__user_string(name, arg[1], sizeof name - 1) == -EFAULT)
            return -EFAULT;
        memcpy(hl__thread->name, name, sizeof name);
        return 0;
    case PR_GET_NAME:
        return hl__user_write(arg[1], hl__thread->name, sizeof hl__thread->name);
    default:
        return prctl_setting(arg);
    }
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

HL__SYSCALL(sysinfo)
{
    const struct hl__memory *memory = &hl__memory;
    struct linux_sysinfo info = {.processes = 1, .unit = 1};

    info.total_ram = memory->total_pages * HL_ABI_PAGE_SIZE;
    info.free_ram = hl__pages_free(&memory->pages) * HL_ABI_PAGE_SIZE;
    return hl__user_write(arg[0], &info, sizeof info);
}
