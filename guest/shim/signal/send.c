/* The system calls that raise signals. */
#include "entry/access.h"
#include "entry/syscall.h"
#include "thread/thread.h"

static bool number_valid(uint64_t signal)
{
    return signal <= SIGNAL_COUNT;
}

static struct linux_siginfo info_of(uint64_t signal, int code)
{
    return (struct linux_siginfo){
        .signal = (int32_t)signal, .code = code, .sender = {hl__process()->id, 0}};
}

/* Whether kill's number means a process. */
static bool is_meant(const struct hl__process *process, int32_t id)
{
    if (id > 0)
        return process->id == id;
    if (id == -1)
        return process != hl__process();
    return process->group == (id ? -id : hl__process()->group);
}

/* To every process that is meant, with signal 0 only in appearance. */
static int64_t send_to_processes(int32_t id, const struct linux_siginfo *info)
{
    int64_t result = -ESRCH, failure;

    for (struct hl__process *process = hl__processes; process; process = process->all_next) {
        if (!is_meant(process, id))
            continue;
        failure = info->signal && !process->ended ? hl__signal_process(process, info) : 0;
        if (result)
            result = failure;
    }
    return result;
}

HL__SYSCALL(kill)
{
    struct linux_siginfo info = info_of(arg[1], SI_USER);

    return number_valid(arg[1]) ? send_to_processes((int32_t)arg[0], &info) : -EINVAL;
}

static int64_t send_to_thread(int32_t id, uint64_t signal, const struct linux_siginfo *info)
{
    struct hl__thread *thread = hl__thread_find_any(id);

    if (id <= 0 || !number_valid(signal))
        return -EINVAL;
    if (!thread)
        return -ESRCH;
    return signal ? hl__signal_thread(thread, info) : 0;
}

/* Only if it is of that process. */
static int64_t send_to_thread_of(int32_t process, int32_t id, uint64_t signal,
                                 const struct linux_siginfo *info)
{
    const struct hl__thread *thread = hl__thread_find_any(id);

    if (process <= 0 || id <= 0)
        return -EINVAL;
    if (!thread || thread->process->id != process)
        return -ESRCH;
    return send_to_thread(id, signal, info);
}

HL__SYSCALL(tkill)
{
    struct linux_siginfo info = info_of(arg[1], SI_TKILL);

    return send_to_thread((int32_t)arg[0], arg[1], &info);
}

HL__SYSCALL(tgkill)
{
    struct linux_siginfo info = info_of(arg[2], SI_TKILL);

    return send_to_thread_of((int32_t)arg[0], (int32_t)arg[1], arg[2], &info);
}

/* What sigqueue sends: the program fills in the information, but may not pretend to be the kernel. */
static int64_t queued_info(uint64_t address, uint64_t signal, bool to_itself,
                           struct linux_siginfo *info)
{
    if (hl__user_read(info, address, sizeof *info) < 0)
        return -EFAULT;
    if ((info->code >= 0 || info->code == SI_TKILL) && !to_itself)
        return -EPERM;
    info->signal = (int32_t)signal;
    return 0;
}

HL__SYSCALL(rt_sigqueueinfo)
{
    struct linux_siginfo info;
    int64_t failure = queued_info(arg[2], arg[1], (int32_t)arg[0] == hl__process()->id, &info);

    if (failure)
        return failure;
    if (!number_valid(arg[1]))
        return -EINVAL;
    if ((int32_t)arg[0] <= 0)
        return -ESRCH;
    return send_to_processes((int32_t)arg[0], &info);
}

HL__SYSCALL(rt_tgsigqueueinfo)
{
    struct linux_siginfo info;
    int64_t failure = queued_info(arg[3], arg[2], (int32_t)arg[1] == hl__thread->id, &info);

    if (failure)
        return failure;
    return send_to_thread_of((int32_t)arg[0], (int32_t)arg[1], arg[2], &info);
}
