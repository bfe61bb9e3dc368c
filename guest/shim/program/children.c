/* wait4 and waitid: how children ended. */
#include "entry/access.h"
#include "entry/syscall.h"
#include "thread/thread.h"
#include "time/clock.h"

#define NS_PER_CLOCK_TICK 10000000ull

enum {
    WNOHANG = 1,
    WUNTRACED = 2,
    WEXITED = 4,
    WCONTINUED = 8,
    WNOWAIT = 0x1000000,
    WNOTHREAD = 0x20000000,
    WALL = 0x40000000
};
#define WCLONE 0x80000000u
#define OPTIONS_EVERYWHERE (WNOHANG | WCONTINUED | WNOTHREAD | WALL | WCLONE)

enum id_type { P_ALL = 0, P_PID = 1, P_PGID = 2 };

struct request {
    enum id_type type;
    int32_t id;
    uint32_t options;
};

static bool is_meant(const struct hl__process *child, const struct request *request)
{
    if (child->parent != hl__process())
        return false;
    if (!(request->options & WALL) &&
        (child->exit_signal == SIGCHLD) == !!(request->options & WCLONE))
        return false;
    return request->type == P_ALL || (request->type == P_PID && child->id == request->id) ||
           (request->type == P_PGID && child->group == request->id);
}

/* A child that has ended. 0 and NULL: none has yet, and the caller does not wait; or HL__WAITING, -ECHILD. */
static int64_t find(const struct request *request, struct hl__process **found)
{
    bool any = false;

    *found = NULL;
    for (struct hl__process *child = hl__processes; child; child = child->all_next) {
        if (!is_meant(child, request))
            continue;
        any = true;
        if (child->ended)
            *found = child; /* the oldest one: new ones are put in front */
    }
    if (!any)
        return -ECHILD;
    if (*found || request->options & WNOHANG)
        return 0;
    return hl__wait_on(&hl__process()->waiters, UINT64_MAX);
}

static uint64_t cpu_ns(const struct hl__process *child)
{
    return hl__process_cpu_ns(child) + child->children_cpu_ns;
}

struct linux_siginfo hl__child_info(const struct hl__process *child)
{
    enum { CLD_EXITED = 1, CLD_KILLED = 2 };
    int32_t signal = child->status & 0x7f;

    return (struct linux_siginfo){
        .signal = SIGCHLD,
        .code = signal ? CLD_KILLED : CLD_EXITED,
        .child = {.pid = child->id,
                  .uid = child->credentials.user.real,
                  .status = signal ? signal : child->status >> 8,
                  .user_ticks = (int64_t)(cpu_ns(child) / NS_PER_CLOCK_TICK)}};
}

static int64_t write_usage(const struct hl__process *child, uint64_t address)
{
    struct linux_rusage usage = {.user = hl__timeval(cpu_ns(child))};

    return address ? hl__user_write(address, &usage, sizeof usage) : 0;
}

static void reap(struct hl__process *child)
{
    hl__process()->children_cpu_ns += cpu_ns(child);
    hl__process_free(child);
}

static struct request request_of(int32_t id, uint32_t options)
{
    if (id < -1)
        return (struct request){P_PGID, -id, options};
    if (id == 0)
        return (struct request){P_PGID, hl__process()->group, options};
    return (struct request){id < 0 ? P_ALL : P_PID, id, options};
}

HL__SYSCALL(wait4)
{
    struct request request = request_of((int32_t)arg[0], (uint32_t)arg[2]);
    struct hl__process *child;
    int64_t result;

    if (request.options & ~(OPTIONS_EVERYWHERE | WUNTRACED))
        return -EINVAL;
    if ((int32_t)arg[0] == INT32_MIN)
        return -ESRCH;
    result = find(&request, &child);
    if (!child)
        return result;
    result = child->id;
    if ((arg[1] && hl__user_write(arg[1], &child->status, sizeof child->status) < 0) ||
        write_usage(child, arg[3]) < 0)
        result = -EFAULT;
    reap(child);
    return result;
}

HL__SYSCALL(waitid)
{
    const uint32_t known = OPTIONS_EVERYWHERE | WUNTRACED | WEXITED | WNOWAIT;
    struct request request = {(enum id_type)arg[0], (int32_t)arg[1], (uint32_t)arg[3]};
    struct linux_siginfo info = {0};
    struct hl__process *child;
    int64_t result = 0;

    if (arg[0] > P_PGID || request.options & ~known ||
        !(request.options & (WEXITED | WUNTRACED | WCONTINUED)) ||
        (arg[0] != P_ALL && (request.id < 0 || (arg[0] == P_PID && !request.id))))
        return -EINVAL;
    if (request.type == P_PGID && !request.id)
        request.id = hl__process()->group;
    result = find(&request, &child);
    if (result)
        return result;
    if (child) {
        info = hl__child_info(child);
        if (write_usage(child, arg[4]) < 0)
            result = -EFAULT;
    }
    if (arg[2] && hl__user_write(arg[2], &info, sizeof info) < 0)
        result = -EFAULT;
    if (child && !(request.options & WNOWAIT))
        reap(child);
    return result;
}
