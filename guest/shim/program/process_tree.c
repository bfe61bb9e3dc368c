/* Processes: their making, their end, and who is whose child. */
#include "entry/state.h"
#include "file/file.h"
#include "host/host.h"
#include "memory/heap.h"
#include "memory/memory.h"
#include "program/process.h"
#include "thread/thread.h"

#include <string.h>

_Noreturn void hl__leave(void); /* entry.S */

static struct hl__process first_process;

struct hl__process *const hl__processes = &first_process;

struct hl__process *hl__process_find(int32_t id)
{
    for (struct hl__process *process = hl__processes; process; process = process->all_next)
        if (process->id == id)
            return process;
    return NULL;
}

int32_t hl__process_parent_id(const struct hl__process *process)
{
    enum { OUTSIDE = 1 };

    return process->parent ? process->parent->id : OUTSIDE;
}

static void link_process(struct hl__process *process)
{
    process->all_next = first_process.all_next;
    first_process.all_next = process;
}

static void unlink_process(struct hl__process *process)
{
    struct hl__process *before = &first_process;

    while (before->all_next != process)
        before = before->all_next;
    before->all_next = process->all_next;
}

struct hl__process *hl__process_new(void)
{
    struct hl__process *parent = hl__process(), *process = hl__heap_new(sizeof *process);

    if (!process)
        return NULL;
    process->descriptors = hl__descriptors_copy(parent->descriptors);
    if (!process->descriptors) {
        hl__heap_free(process, sizeof *process);
        return NULL;
    }
    process->parent = parent;
    process->group = parent->group;
    process->session = parent->session;
    process->nice = parent->nice;
    process->file_mask = parent->file_mask;
    process->credentials = parent->credentials;
    process->directory = parent->directory;
    hl__inode_ref(process->directory);
    process->space = parent->space;
    hl__address_space_ref(process->space);
    memcpy(process->limits, parent->limits, sizeof process->limits);
    for (int signal = 1; signal <= SIGNAL_COUNT; signal++)
        process->signals.actions[signal] = parent->signals.actions[signal];
    hl__intervals_init(process);
    link_process(process);
    return process;
}

/* What a process holds as long as it runs. */
static void release(struct hl__process *process)
{
    hl__intervals_end(process);
    hl__descriptors_free(process);
    hl__inode_unref(process->directory);
    hl__signals_drop(&process->signals.waiting);
    hl__process_release_parent(process);
    hl__address_space_unref(process->space);
    process->directory = NULL;
    process->space = NULL;
}

void hl__process_free(struct hl__process *process)
{
    if (!process->ended)
        release(process);
    unlink_process(process);
    hl__heap_free(process, sizeof *process);
}

void hl__process_release_parent(struct hl__process *process)
{
    struct hl__thread *waiter = process->vfork_waiter;

    process->vfork_waiter = NULL;
    if (!waiter)
        return;
    waiter->wait.woken = true;
    hl__wake_thread(waiter);
}

void hl__process_forget_waiter(const struct hl__thread *thread)
{
    for (struct hl__process *process = hl__processes; process; process = process->all_next)
        if (process->vfork_waiter == thread)
            process->vfork_waiter = NULL;
}

/* Children of a process that ends are nobody's; those that had ended are forgotten. */
static void leave_children(const struct hl__process *parent)
{
    struct hl__process *next;

    for (struct hl__process *process = hl__processes; process; process = next) {
        next = process->all_next;
        if (process->parent != parent)
            continue;
        process->parent = NULL;
        if (process->ended)
            hl__process_free(process);
    }
}

/* A parent that ignores the ends of its children need not wait for them. */
static bool is_unmissed(const struct hl__process *process)
{
    const struct linux_sigaction *action;

    if (!process->parent)
        return true;
    action = &process->parent->signals.actions[SIGCHLD];
    return process->exit_signal == SIGCHLD &&
           (action->handler == SIG_IGN || action->flags & SA_NOCLDWAIT);
}

/* The parent learns of it, and may ask for the status. One that nobody misses goes with its last
 * thread. */
static void tell_parent(struct hl__process *process)
{
    struct hl__process *parent = process->parent;
    struct linux_siginfo info = hl__child_info(process);

    info.signal = process->exit_signal;
    if (is_unmissed(process))
        process->parent = NULL;
    if (!parent)
        return;
    if (info.signal)
        hl__signal_process(parent, &info);
    hl__wake(&parent->waiters);
}

static _Noreturn void end(struct hl__process *process, int32_t status)
{
    hl__threads_end_others();
    hl__thread_leave_memory();
    release(process);
    /* Until another thread is chosen, nothing refers to the memory that has gone. */
    hl__address_space_enter(first_process.space);
    leave_children(process);
    hl__thread_end();
    process->ended = true;
    process->status = status;
    tell_parent(process);
    hl__leave();
}

void hl__process_exit(int code, int signal, const struct hl_abi_fault *fault)
{
    if (hl__process() == &first_process)
        hl__host_exit((uint64_t)code & 0xff, (uint64_t)signal, fault);
    end(hl__process(), signal ? signal : (code & 0xff) << 8);
}

void hl__process_refuse(enum hl_abi_refusal refusal, const char *text)
{
    if (hl__process() == &first_process)
        hl__host_refuse(refusal, text);
    hl__memory_back_now(); /* what was on its way to the program's memory would outlive it */
    hl__process_exit(0, SIGKILL, NULL);
}
