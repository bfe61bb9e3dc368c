/* Event counters. */
#include "entry/access.h"
#include "entry/syscall.h"
#include "io/linux.h"
#include "io/object.h"
#include "memory/heap.h"

#define COUNT_MAX (UINT64_MAX - 1)

struct eventfd {
    uint64_t count;
    bool semaphore;
};

static int64_t eventfd_read(struct hl__file *file, uint64_t address, uint64_t size,
                            uint64_t *position)
{
    struct eventfd *event = file->object;
    uint64_t value = event->semaphore ? 1 : event->count;

    (void)position;
    if (size < sizeof value)
        return -EINVAL;
    if (!event->count)
        return -EAGAIN;
    if (hl__user_write(address, &value, sizeof value) < 0)
        return -EFAULT;
    event->count -= value;
    hl__file_changed(file, POLLOUT);
    return sizeof value;
}

static int64_t eventfd_write(struct hl__file *file, uint64_t address, uint64_t size,
                             uint64_t *position)
{
    struct eventfd *event = file->object;
    uint64_t value;

    (void)position;
    if (size < sizeof value)
        return -EINVAL;
    if (hl__user_read(&value, address, sizeof value) < 0)
        return -EFAULT;
    if (value == UINT64_MAX)
        return -EINVAL;
    if (value > COUNT_MAX - event->count)
        return -EAGAIN;
    event->count += value;
    hl__file_changed(file, POLLIN);
    return sizeof value;
}

static uint32_t eventfd_ready(struct hl__file *file)
{
    const struct eventfd *event = file->object;

    return (event->count ? POLLIN : 0) | (event->count < COUNT_MAX ? POLLOUT : 0);
}

static int64_t eventfd_stat(struct hl__file *file, struct linux_stat *stat)
{
    return hl__object_stat(stat, 0600, file->object);
}

static void eventfd_close(struct hl__file *file)
{
    hl__heap_free(file->object, sizeof(struct eventfd));
}

static const struct hl__file_ops eventfd_ops = {
    .name = "anon_inode:[eventfd]",
    .read = eventfd_read,
    .write = eventfd_write,
    .ready = eventfd_ready,
    .stat = eventfd_stat,
    .close = eventfd_close,
};

static int64_t eventfd_open(uint32_t count, uint32_t flags)
{
    struct eventfd *event;

    if (flags & ~(uint32_t)(EFD_SEMAPHORE | O_NONBLOCK | O_CLOEXEC))
        return -EINVAL;
    event = hl__heap_new(sizeof *event);
    if (!event)
        return -ENOMEM;
    event->count = count;
    event->semaphore = flags & EFD_SEMAPHORE;
    return hl__object_open(&eventfd_ops, O_RDWR | flags, event, sizeof *event);
}

HL__SYSCALL(eventfd)
{
    return eventfd_open((uint32_t)arg[0], 0);
}

HL__SYSCALL(eventfd2)
{
    return eventfd_open((uint32_t)arg[0], (uint32_t)arg[1]);
}
