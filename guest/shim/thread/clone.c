/* New threads, and processes that share memory with their parent: vfork, posix_spawn. Those that would have
 * a copy of it are refused. */
#include "base/machine.h"
#include "entry/access.h"
#include "entry/state.h"
#include "entry/syscall.h"
#include "program/process.h"
#include "thread/thread.h"

#include <string.h>

#define CLONE_VM 0x100ull
#define CLONE_SIGHAND 0x800ull
#define CLONE_VFORK 0x4000ull
#define CLONE_THREAD 0x10000ull
#define CLONE_SETTLS 0x80000ull
#define CLONE_PARENT_SETTID 0x100000ull
#define CLONE_CHILD_CLEARTID 0x200000ull
#define CLONE_CHILD_SETTID 0x1000000ull
#define CLONE_CLEAR_SIGHAND 0x100000000ull
#define CLONE_FOR_PROCESSES                                                                        \
    (CLONE_VM | CLONE_VFORK | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID |          \
     CLONE_CHILD_SETTID | CLONE_CLEAR_SIGHAND)
#define CLONE_FOR_THREADS (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)

/* struct clone_args of clone3. */
struct clone_request {
    uint64_t flags, descriptor, child_id, parent_id, exit_signal, stack, stack_size, tls;
};

static void thread_start(const struct clone_request *request, struct hl__thread *thread)
{
    thread->registers.rax = 0;
    if (request->stack)
        thread->registers.rsp = request->stack + request->stack_size;
    if (request->flags & CLONE_SETTLS)
        thread->fs_base = request->tls;
    if (request->flags & CLONE_CHILD_CLEARTID)
        thread->clear_id_address = request->child_id;
    /* A place that cannot be written is the program's fault; the thread runs nevertheless. */
    if (request->flags & CLONE_PARENT_SETTID)
        hl__user_write(request->parent_id, &thread->id, sizeof thread->id);
    if (request->flags & CLONE_CHILD_SETTID)
        hl__user_write(request->child_id, &thread->id, sizeof thread->id);
    hl__thread_ready(thread);
}

/* Until the child of a vfork leaves the memory of its parent: neither signals nor time end that. */
static int64_t wait_for_child(void)
{
    struct hl__wait *wait = &hl__thread->wait;

    if (wait->woken)
        return (int64_t)wait->key;
    wait->unbreakable = true;
    return hl__wait_on(NULL, UINT64_MAX);
}

static int64_t process_start(const struct clone_request *request)
{
    struct hl__process *child = hl__process_new();
    struct hl__thread *thread = child ? hl__thread_new(child) : NULL;
    int32_t id;

    if (!thread) {
        if (child)
            hl__process_free(child);
        return -EAGAIN;
    }
    id = thread->id;
    thread->signals.stack = hl__thread->signals.stack;
    child->exit_signal = (int32_t)request->exit_signal;
    if (request->flags & CLONE_CLEAR_SIGHAND)
        hl__signals_reset(child);
    thread_start(request, thread);
    if (!(request->flags & CLONE_VFORK))
        return id;
    child->vfork_waiter = hl__thread;
    hl__thread->wait.key = (uint64_t)id;
    return wait_for_child();
}

static int64_t clone_serve(const struct clone_request *request)
{
    uint64_t flags = request->flags;
    struct hl__thread *thread;

    if ((flags & CLONE_THREAD && !(flags & CLONE_SIGHAND)) ||
        (flags & CLONE_SIGHAND && !(flags & CLONE_VM)))
        return -EINVAL;
    if (flags & CLONE_SETTLS && request->tls >= HL_ABI_USER_END)
        return -EPERM;
    if (!(flags & CLONE_THREAD)) {
        if (request->exit_signal > SIGNAL_COUNT)
            return -EINVAL;
        return flags & CLONE_VM && !(flags & ~CLONE_FOR_PROCESSES) ? process_start(request)
                                                                   : -EPERM;
    }
    thread = hl__thread_new(hl__process());
    if (!thread)
        return -EAGAIN;
    thread_start(request, thread);
    return thread->id;
}

HL__SYSCALL(clone)
{
    enum { EXIT_SIGNAL = 0xff };
    const struct clone_request request = {.flags = arg[0] & ~(uint64_t)EXIT_SIGNAL,
                                          .exit_signal = arg[0] & EXIT_SIGNAL,
                                          .stack = arg[1],
                                          .parent_id = arg[2],
                                          .child_id = arg[3],
                                          .tls = arg[4]};

    return hl__thread->wait.started ? wait_for_child() : clone_serve(&request);
}

HL__SYSCALL(vfork)
{
    const struct clone_request request = {.flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD};

    (void)arg;
    return hl__thread->wait.started ? wait_for_child() : clone_serve(&request);
}

HL__SYSCALL(clone3)
{
    enum { SIZE_FIRST = 64, SIZE_MAX_KNOWN = 88 };
    struct {
        struct clone_request request;
        uint64_t later[3]; /* set_tid, set_tid_size, cgroup */
    } given = {0};

    if (hl__thread->wait.started)
        return wait_for_child();
    if (arg[1] < SIZE_FIRST)
        return -EINVAL;
    if (arg[1] > SIZE_MAX_KNOWN)
        return -E2BIG;
    if (hl__user_read(&given, arg[0], arg[1]) < 0)
        return -EFAULT;
    if (given.later[0] || given.later[1])
        return -EPERM;
    if (!given.request.stack != !given.request.stack_size)
        return -EINVAL;
    return clone_serve(&given.request);
}
