/* New threads. New processes are refused: see docs/linux.md. */
#include "base/machine.h"
#include "entry/access.h"
#include "entry/state.h"
#include "entry/syscall.h"
#include "thread/thread.h"

#include <string.h>

#define CLONE_VM 0x100ull
#define CLONE_SIGHAND 0x800ull
#define CLONE_THREAD 0x10000ull
#define CLONE_SETTLS 0x80000ull
#define CLONE_PARENT_SETTID 0x100000ull
#define CLONE_CHILD_CLEARTID 0x200000ull
#define CLONE_CHILD_SETTID 0x1000000ull
#define CLONE_FOR_THREADS (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)

/* struct clone_args of clone3. */
struct clone_request {
    uint64_t flags, descriptor, child_id, parent_id, exit_signal, stack, stack_size, tls;
};

static int64_t thread_start(const struct clone_request *request)
{
    struct hl__thread *thread;

    if (request->flags & CLONE_SETTLS && request->tls >= HL_ABI_USER_END)
        return -EPERM;
    thread = hl__thread_new();
    if (!thread)
        return -EAGAIN;
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
    return thread->id;
}

static int64_t clone_serve(const struct clone_request *request)
{
    uint64_t flags = request->flags;

    if ((flags & CLONE_THREAD && !(flags & CLONE_SIGHAND)) ||
        (flags & CLONE_SIGHAND && !(flags & CLONE_VM)))
        return -EINVAL;
    if ((flags & CLONE_FOR_THREADS) != CLONE_FOR_THREADS)
        return -EPERM;
    return thread_start(request);
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

    return clone_serve(&request);
}

HL__SYSCALL(clone3)
{
    enum { SIZE_FIRST = 64, SIZE_MAX_KNOWN = 88 };
    struct {
        struct clone_request request;
        uint64_t later[3]; /* set_tid, set_tid_size, cgroup */
    } given = {0};

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
