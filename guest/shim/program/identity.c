/* Numbers of processes, of their groups and sessions. */
#include "base/linux.h"
#include "entry/syscall.h"
#include "thread/thread.h"

HL__SYSCALL(getpid)
{
    (void)arg;
    return hl__process()->id;
}

HL__SYSCALL(getppid)
{
    (void)arg;
    return hl__process_parent_id(hl__process());
}

static struct hl__process *named(uint64_t id)
{
    return (int32_t)id ? hl__process_find((int32_t)id) : hl__process();
}

static bool group_exists(int32_t group, int32_t session)
{
    for (const struct hl__process *process = hl__processes; process; process = process->all_next)
        if (process->group == group && process->session == session)
            return true;
    return false;
}

HL__SYSCALL(setpgid)
{
    struct hl__process *process = named(arg[0]);
    int32_t group = (int32_t)arg[1];

    if (group < 0)
        return -EINVAL;
    if (!process || (process != hl__process() && process->parent != hl__process()))
        return -ESRCH;
    if (process != hl__process() && process->executed)
        return -EACCES;
    if (!group)
        group = process->id;
    if (process->session == process->id || process->session != hl__process()->session ||
        (group != process->id && !group_exists(group, process->session)))
        return process->session == process->id && group == process->group ? 0 : -EPERM;
    process->group = group;
    return 0;
}

HL__SYSCALL(getpgrp)
{
    (void)arg;
    return hl__process()->group;
}

HL__SYSCALL(getpgid)
{
    const struct hl__process *process = named(arg[0]);

    return process ? process->group : -ESRCH;
}

HL__SYSCALL(getsid)
{
    const struct hl__process *process = named(arg[0]);

    return process ? process->session : -ESRCH;
}

HL__SYSCALL(setsid)
{
    struct hl__process *process = hl__process();

    (void)arg;
    if (process->group == process->id || group_exists(process->id, process->session))
        return -EPERM;
    process->group = process->session = process->id;
    return process->id;
}
