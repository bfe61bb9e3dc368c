/* Weak ones of what lands from elsewhere: goes away with it. */
#include "entry/access.h"
#include "entry/syscall.h"
#include "file/device.h"
#include "file/file.h"
#include "io/epoll.h"
#include "io/pipe.h"
#include "thread/thread.h"
#include "time/clock.h"

__attribute__((weak)) bool hl__descriptor_open(int descriptor)
{
    return hl__descriptor_file((uint64_t)descriptor) != NULL;
}

__attribute__((weak)) void hl__epoll_notify(struct hl__file *file, uint32_t events)
{
    (void)file, (void)events;
}

__attribute__((weak)) void hl__epoll_forget(struct hl__file *file)
{
    (void)file;
}

__attribute__((weak)) uint32_t hl__file_ready(struct hl__file *file)
{
    return file->ops->ready ? file->ops->ready(file) : POLLIN | POLLOUT;
}

__attribute__((weak)) int64_t hl__fifo_open(struct hl__inode *inode, uint32_t flags,
                                            struct hl__file **file)
{
    (void)inode, (void)flags, (void)file;
    return -ENXIO;
}

__attribute__((weak)) void hl__fifo_free(struct hl__inode *inode)
{
    (void)inode;
}

__attribute__((weak)) const struct hl__device hl__device_hyperlight;

static int16_t poll_ready(const struct linux_pollfd *entry)
{
    struct hl__file *file = hl__descriptor_file((uint64_t)entry->descriptor);

    if (!file)
        return POLLNVAL;
    return (int16_t)(hl__file_ready(file) & ((uint16_t)entry->events | POLLERR | POLLHUP));
}

static int64_t poll_all(uint64_t address, uint64_t count)
{
    int64_t ready_count = 0;

    if (count > HL__DESCRIPTORS_SOFT)
        return -EINVAL;
    for (uint64_t i = 0; i < count; i++) {
        struct linux_pollfd entry;

        if (hl__user_read(&entry, address + i * sizeof entry, sizeof entry) < 0)
            return -EFAULT;
        entry.ready = entry.descriptor < 0 ? 0 : poll_ready(&entry);
        ready_count += entry.ready != 0;
        if (hl__user_write(address + i * sizeof entry, &entry, sizeof entry) < 0)
            return -EFAULT;
    }
    return ready_count;
}

static int64_t poll_wait(uint64_t timeout_ns)
{
    uint64_t deadline = hl__wait_deadline(timeout_ns);

    hl__thread->wait.restart = HL__RESTART_NEVER;
    return hl__wait_expired(deadline) ? 0 : hl__wait_any(deadline);
}

__attribute__((weak)) HL__SYSCALL(poll)
{
    int64_t ready_count = poll_all(arg[0], arg[1]);
    int32_t timeout_ms = (int32_t)arg[2];

    return ready_count ? ready_count
                       : poll_wait(timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms * 1000000);
}

__attribute__((weak)) HL__SYSCALL(ppoll)
{
    struct linux_timespec timeout;
    uint64_t duration_ns = UINT64_MAX;
    int64_t ready_count;

    if (arg[2]) {
        if (hl__user_read(&timeout, arg[2], sizeof timeout) < 0)
            return -EFAULT;
        if (!hl__timespec_ns(&timeout, &duration_ns))
            return -EINVAL;
    }
    ready_count = poll_all(arg[0], arg[1]);
    return ready_count ? ready_count : poll_wait(duration_ns);
}
