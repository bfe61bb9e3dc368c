/* Signals that are read. */
#include "io/signalfd.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "io/linux.h"
#include "io/object.h"
#include "memory/heap.h"
#include "thread/thread.h"

struct signalfd {
    struct hl__file *file;
    uint64_t set;
    struct signalfd *next,
        **link; /* of all that are open; what points to it, NULL: it is not open yet */
};

static struct signalfd *signalfds; /* all that are open */

void hl__signalfd_notify(int signal)
{
    for (struct signalfd *descriptor = signalfds; descriptor; descriptor = descriptor->next)
        if (descriptor->set & HL__SIGNAL_BIT(signal))
            hl__file_changed(descriptor->file, POLLIN);
}

static struct linux_signalfd_siginfo siginfo_convert(const struct linux_siginfo *info)
{
    struct linux_signalfd_siginfo converted = {
        .signal = (uint32_t)info->signal,
        .error = info->error,
        .code = info->code,
    };

    switch (info->signal) {
    case SIGILL:
    case SIGTRAP:
    case SIGBUS:
    case SIGFPE:
    case SIGSEGV:
        if (info->code > 0) {
            converted.address = info->address;
            return converted;
        }
        break;
    }
    converted.pid = (uint32_t)info->sender.pid;
    converted.uid = info->sender.uid;
    /* sigval: behind pid and uid; a timer's number and overrun lie where pid and uid do. */
    __builtin_memcpy(&converted.integer, info->reserved + 8, sizeof converted.integer);
    __builtin_memcpy(&converted.pointer, info->reserved + 8, sizeof converted.pointer);
    if (info->code == SI_TIMER) {
        converted.timer = converted.pid;
        converted.overrun = converted.uid;
        converted.pid = converted.uid = 0;
    }
    if (info->signal == SIGCHLD) {
        converted.status = converted.integer;
        converted.integer = 0;
        converted.pointer = 0;
    }
    return converted;
}

static int64_t signalfd_read(struct hl__file *file, uint64_t address, uint64_t size,
                             uint64_t *position)
{
    const struct signalfd *descriptor = file->object;
    struct linux_siginfo info;
    uint64_t done = 0;

    (void)position;
    if (size < sizeof(struct linux_signalfd_siginfo))
        return -EINVAL;
    while (size - done >= sizeof(struct linux_signalfd_siginfo)) {
        struct linux_signalfd_siginfo converted;

        if (!hl__signal_take(hl__thread, descriptor->set, &info))
            break;
        converted = siginfo_convert(&info);
        if (hl__user_write(address + done, &converted, sizeof converted) < 0)
            return done ? (int64_t)done : -EFAULT;
        done += sizeof converted;
    }
    return done ? (int64_t)done : -EAGAIN;
}

/* Of the thread that asks: which signals a descriptor has depends on who reads it. */
static uint32_t signalfd_ready(struct hl__file *file)
{
    const struct signalfd *descriptor = file->object;
    uint64_t waiting = hl__thread->signals.waiting.set | hl__process()->signals.waiting.set;

    return waiting & descriptor->set ? POLLIN : 0;
}

static int64_t signalfd_stat(struct hl__file *file, struct linux_stat *stat)
{
    return hl__object_stat(stat, 0600, file->object);
}

static void signalfd_close(struct hl__file *file)
{
    struct signalfd *descriptor = file->object;

    if (descriptor->link)
        *descriptor->link = descriptor->next;
    if (descriptor->next)
        descriptor->next->link = descriptor->link;
    hl__heap_free(descriptor, sizeof *descriptor);
}

static const struct hl__file_ops signalfd_ops = {
    .name = "anon_inode:[signalfd]",
    .read = signalfd_read,
    .ready = signalfd_ready,
    .stat = signalfd_stat,
    .close = signalfd_close,
};

static int64_t signalfd_new(uint64_t set, uint32_t flags)
{
    struct signalfd *descriptor = hl__heap_new(sizeof *descriptor);
    int64_t number;

    if (!descriptor)
        return -ENOMEM;
    descriptor->set = set;
    number = hl__object_open(&signalfd_ops, O_RDWR | flags, descriptor, sizeof *descriptor);
    if (number < 0)
        return number;
    descriptor->file = hl__descriptor_file((uint64_t)number);
    descriptor->next = signalfds;
    descriptor->link = &signalfds;
    if (descriptor->next)
        descriptor->next->link = &descriptor->next;
    signalfds = descriptor;
    return number;
}

static int64_t signalfd_open(const uint64_t *arg, uint32_t flags)
{
    struct hl__file *file;
    uint64_t set;

    if (flags & ~(uint32_t)(O_NONBLOCK | O_CLOEXEC) || arg[2] != sizeof set)
        return -EINVAL;
    if (hl__user_read(&set, arg[1], sizeof set) < 0)
        return -EFAULT;
    set &= ~HL__SIGNALS_UNBLOCKABLE;
    if ((int32_t)arg[0] == -1)
        return signalfd_new(set, flags);
    file = hl__descriptor_file(arg[0]);
    if (!file)
        return -EBADF;
    if (file->ops != &signalfd_ops)
        return -EINVAL;
    ((struct signalfd *)file->object)->set = set;
    hl__file_changed(file, POLLIN);
    return (int64_t)(uint32_t)arg[0];
}

HL__SYSCALL(signalfd)
{
    return signalfd_open(arg, 0);
}

HL__SYSCALL(signalfd4)
{
    return signalfd_open(arg, (uint32_t)arg[3]);
}
