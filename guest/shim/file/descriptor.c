/* Open files, and the descriptors that refer to them. */
#include "entry/access.h"
#include "entry/syscall.h"
#include "file/file.h"
#include "file/lock.h"
#include "file/path.h"
#include "io/epoll.h"
#include "memory/heap.h"
#include "program/limits.h"
#include "thread/thread.h"

#define CAPACITY_MIN 64u
#define FLAGS_SETTABLE (O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME)
enum { CLOSE_RANGE_UNSHARE = 2, CLOSE_RANGE_CLOEXEC = 4 };
enum { FD_CLOEXEC = 1 };

struct hl__file *hl__file_new(const struct hl__file_ops *ops, uint32_t flags,
                              struct hl__inode *inode, void *object)
{
    struct hl__file *file = hl__heap_new(sizeof *file);

    if (!file)
        return NULL;
    *file = (struct hl__file){
        .references = 1, .flags = flags, .ops = ops, .inode = inode, .object = object};
    return file;
}

void hl__file_ref(struct hl__file *file)
{
    file->references++;
}

void hl__file_unref(struct hl__file *file)
{
    if (!file || --file->references)
        return;
    hl__epoll_forget(file);
    /* Who waits for it finds another file or none when it tries again. */
    hl__wake(&file->queues[HL__FILE_READ]);
    hl__wake(&file->queues[HL__FILE_WRITE]);
    hl__locks_drop(file);
    if (file->ops->close)
        file->ops->close(file);
    hl__inode_unref(file->inode);
    hl__heap_free(file, sizeof *file);
}

void hl__file_changed(struct hl__file *file, uint32_t events)
{
    if (events & ~(uint32_t)(POLLOUT | POLLWRNORM | POLLWRBAND))
        hl__wake(&file->queues[HL__FILE_READ]);
    if (events & ~(uint32_t)(POLLIN | POLLRDNORM | POLLRDBAND | POLLPRI))
        hl__wake(&file->queues[HL__FILE_WRITE]);
    hl__epoll_notify(file, events);
}

struct hl__descriptors *hl__descriptors_new(void)
{
    struct hl__descriptors *descriptors = hl__heap_new(sizeof *descriptors);

    if (!descriptors)
        return NULL;
    descriptors->items = hl__heap_new(CAPACITY_MIN * sizeof(struct hl__descriptor));
    if (!descriptors->items) {
        hl__heap_free(descriptors, sizeof *descriptors);
        return NULL;
    }
    descriptors->capacity = CAPACITY_MIN;
    return descriptors;
}

/* One descriptor less refers to a file. */
static void close_file(const struct hl__process *process, struct hl__file *file)
{
    if (file && file->inode)
        hl__locks_leave(process, file->inode);
    hl__file_unref(file);
}

struct hl__descriptors *hl__descriptors_copy(const struct hl__descriptors *from)
{
    struct hl__descriptors *copy = hl__heap_new(sizeof *copy);
    struct hl__descriptor *items = hl__heap_new(from->capacity * sizeof *items);

    if (!copy || !items) {
        hl__heap_free(copy, sizeof *copy);
        hl__heap_free(items, from->capacity * sizeof *items);
        return NULL;
    }
    *copy = *from;
    copy->items = items;
    for (uint32_t i = 0; i < from->capacity; i++) {
        items[i] = from->items[i];
        if (items[i].file)
            hl__file_ref(items[i].file);
    }
    return copy;
}

void hl__descriptors_free(struct hl__process *process)
{
    struct hl__descriptors *descriptors = process->descriptors;

    process->descriptors = NULL;
    for (uint32_t i = 0; i < descriptors->capacity; i++)
        close_file(process, descriptors->items[i].file);
    hl__heap_free(descriptors->items, descriptors->capacity * sizeof *descriptors->items);
    hl__heap_free(descriptors, sizeof *descriptors);
}

static struct hl__descriptors *table(void)
{
    return hl__process()->descriptors;
}

static struct hl__descriptor *slot(uint64_t descriptor)
{
    struct hl__descriptors *own = table();

    descriptor = (uint32_t)descriptor;
    return descriptor < own->capacity && own->items[descriptor].file ? &own->items[descriptor]
                                                                     : NULL;
}

static struct hl__held_file looked_up[HL__HELD_FILES]; /* by the call under way; not referenced */
static uint32_t looked_up_count;

void hl__files_look_anew(void)
{
    looked_up_count = 0;
}

void hl__files_hold(struct hl__wait *wait)
{
    if (wait->held[0].file)
        return;
    for (uint32_t i = 0; i < looked_up_count; i++) {
        wait->held[i] = looked_up[i];
        hl__file_ref(wait->held[i].file);
    }
}

void hl__files_release(struct hl__wait *wait)
{
    for (uint32_t i = 0; i < HL__HELD_FILES; i++) {
        hl__file_unref(wait->held[i].file);
        wait->held[i].file = NULL;
    }
}

static struct hl__file *held_file(uint32_t descriptor)
{
    const struct hl__wait *wait = &hl__thread->wait;

    for (uint32_t i = 0; i < HL__HELD_FILES && wait->held[i].file; i++)
        if (wait->held[i].descriptor == descriptor)
            return wait->held[i].file;
    return NULL;
}

struct hl__file *hl__descriptor_file(uint64_t descriptor)
{
    struct hl__file *held = held_file((uint32_t)descriptor);
    struct hl__descriptor *found = held ? NULL : slot(descriptor);

    if (!found)
        return held;
    if (looked_up_count < HL__HELD_FILES)
        looked_up[looked_up_count++] = (struct hl__held_file){found->file, (uint32_t)descriptor};
    return found->file;
}

/* The same, but for calls that O_PATH refuses. */
static struct hl__file *usable_file(uint64_t descriptor)
{
    struct hl__file *file = hl__descriptor_file(descriptor);

    return file && !(file->flags & O_PATH) ? file : NULL;
}

/* Room for a descriptor. 0, -EMFILE, -ENOMEM. */
static int64_t table_reach(struct hl__descriptors *own, uint64_t descriptor)
{
    uint32_t capacity = own->capacity;
    struct hl__descriptor *items;

    if (descriptor >= hl__limit(RLIMIT_NOFILE) || descriptor >= HL__DESCRIPTORS_MAX)
        return -EMFILE;
    while (capacity <= descriptor)
        capacity *= 2;
    if (capacity == own->capacity)
        return 0;
    items = hl__heap_resize(own->items, own->capacity * sizeof *items, capacity * sizeof *items);
    if (!items)
        return -ENOMEM;
    own->items = items;
    own->capacity = capacity;
    return 0;
}

int64_t hl__descriptor_add(struct hl__file *file, uint32_t lowest, bool close_on_exec)
{
    struct hl__descriptors *own = table();
    uint32_t descriptor = lowest > own->lowest_free ? lowest : own->lowest_free;
    int64_t failure;

    while (descriptor < own->capacity && own->items[descriptor].file)
        descriptor++;
    failure = table_reach(own, descriptor);
    if (failure) {
        hl__file_unref(file);
        return failure;
    }
    own->items[descriptor] = (struct hl__descriptor){file, close_on_exec};
    if (lowest <= own->lowest_free)
        own->lowest_free = descriptor + 1;
    return descriptor;
}

int64_t hl__descriptor_close(uint64_t descriptor)
{
    struct hl__descriptor *found = slot(descriptor);
    struct hl__file *file;

    if (!found)
        return -EBADF;
    file = found->file;
    *found = (struct hl__descriptor){0};
    if ((uint32_t)descriptor < table()->lowest_free)
        table()->lowest_free = (uint32_t)descriptor;
    close_file(hl__process(), file);
    return 0;
}

HL__SYSCALL(close)
{
    return hl__descriptor_close(arg[0]);
}

HL__SYSCALL(close_range)
{
    struct hl__descriptors *own = table();
    uint32_t first = (uint32_t)arg[0], last = (uint32_t)arg[1];

    if (first > last || arg[2] & ~(uint64_t)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC))
        return -EINVAL;
    for (uint32_t i = first; i <= last && i < own->capacity; i++) {
        if (!own->items[i].file)
            continue;
        if (arg[2] & CLOSE_RANGE_CLOEXEC)
            own->items[i].close_on_exec = true;
        else
            hl__descriptor_close(i);
    }
    return 0;
}

static int64_t copy(uint64_t from, uint64_t lowest, bool close_on_exec)
{
    struct hl__file *file = hl__descriptor_file(from);

    if (!file)
        return -EBADF;
    if (lowest >= hl__limit(RLIMIT_NOFILE))
        return -EINVAL;
    hl__file_ref(file);
    return hl__descriptor_add(file, (uint32_t)lowest, close_on_exec);
}

static int64_t replace(uint64_t from, uint64_t to, bool close_on_exec)
{
    struct hl__file *file = hl__descriptor_file(from);
    int64_t failure;

    to = (uint32_t)to;
    if (!file)
        return -EBADF;
    failure = table_reach(table(), to);
    if (failure)
        return failure == -EMFILE ? -EBADF : failure;
    hl__file_ref(file);
    if (hl__descriptor_close(to) < 0 && to == table()->lowest_free)
        table()->lowest_free++;
    if (table()->lowest_free == to)
        table()->lowest_free++;
    table()->items[to] = (struct hl__descriptor){file, close_on_exec};
    return (int64_t)to;
}

HL__SYSCALL(dup)
{
    return copy(arg[0], 0, false);
}

HL__SYSCALL(dup2)
{
    if ((uint32_t)arg[0] == (uint32_t)arg[1])
        return hl__descriptor_file(arg[0]) ? (int64_t)(uint32_t)arg[0] : -EBADF;
    return replace(arg[0], arg[1], false);
}

HL__SYSCALL(dup3)
{
    if ((uint32_t)arg[0] == (uint32_t)arg[1] || arg[2] & ~(uint64_t)O_CLOEXEC)
        return -EINVAL;
    return replace(arg[0], arg[1], arg[2] & O_CLOEXEC);
}

static int64_t set_flags(struct hl__file *file, uint32_t flags)
{
    int64_t failure = file->ops->set_flags ? file->ops->set_flags(file, flags) : 0;

    if (failure)
        return failure;
    file->flags = (file->flags & ~(uint32_t)FLAGS_SETTABLE) | (flags & FLAGS_SETTABLE);
    return 0;
}

HL__SYSCALL(fcntl)
{
    struct hl__file *file = hl__descriptor_file(arg[0]);
    struct hl__descriptor *found = slot(arg[0]);

    if (!file)
        return -EBADF;
    switch ((uint32_t)arg[1]) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return copy(arg[0], (uint32_t)arg[2], arg[1] == F_DUPFD_CLOEXEC);
    case F_GETFD:
        return found->close_on_exec ? FD_CLOEXEC : 0;
    case F_SETFD:
        found->close_on_exec = arg[2] & FD_CLOEXEC;
        return 0;
    case F_GETFL:
        return file->flags;
    }
    if (file->flags & O_PATH)
        return -EBADF;
    switch ((uint32_t)arg[1]) {
    case F_SETFL:
        return set_flags(file, (uint32_t)arg[2]);
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return hl__lock_range(file, (uint32_t)arg[1], arg[2]);
    case F_GETOWN:
    case F_GETSIG:
        return 0;
    case F_GETLEASE:
        return F_UNLCK;
    case F_SETOWN:
    case F_SETSIG:
        return 0;
    default:
        return file->ops->control ? file->ops->control(file, arg[1], arg[2]) : -EINVAL;
    }
}

HL__SYSCALL(flock)
{
    uint32_t kind = (uint32_t)arg[1] & ~(uint32_t)LOCK_NB;
    struct hl__file *file = usable_file(arg[0]);

    if (kind != LOCK_SH && kind != LOCK_EX && kind != LOCK_UN)
        return -EINVAL;
    return file ? hl__lock_file(file, (uint32_t)arg[1]) : -EBADF;
}

HL__SYSCALL(ioctl)
{
    struct hl__descriptor *found = slot(arg[0]);
    int32_t on;

    if (!found || found->file->flags & O_PATH)
        return -EBADF;
    switch ((uint32_t)arg[1]) {
    case FIOCLEX:
    case FIONCLEX:
        found->close_on_exec = arg[1] == FIOCLEX;
        return 0;
    case FIONBIO:
        if (hl__user_read(&on, arg[2], sizeof on) < 0)
            return -EFAULT;
        return set_flags(found->file,
                         (found->file->flags & ~(uint32_t)O_NONBLOCK) | (on ? O_NONBLOCK : 0));
    default:
        return found->file->ops->ioctl
                   ? found->file->ops->ioctl(found->file, (uint32_t)arg[1], arg[2])
                   : -ENOTTY;
    }
}
