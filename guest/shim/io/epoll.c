/*
 * Epolls. Each watched file has a list of the items that watch it; a change of the file puts those that
 * ask for it on their epoll's ready list. Only what stands there is looked at by epoll_wait, and an item
 * that turns out not to be ready leaves the list.
 */
#include "io/epoll.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "io/linux.h"
#include "io/object.h"
#include "io/poll.h"
#include "memory/heap.h"
#include "thread/thread.h"
#include "time/clock.h"

#define NESTING_MAX 5u /* epolls that watch epolls that watch ... */
#define EVENTS_MAX (INT32_MAX / sizeof(struct linux_epoll_event))
#define MODES (EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE)
#define ALWAYS (POLLERR | POLLHUP)
#define EXCLUSIVE_ALLOWED (POLLIN | POLLOUT | ALWAYS | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)

struct epoll {
    struct hl__file *file;
    struct hl__epoll_item *items;                    /* linked by next */
    struct hl__epoll_item *ready_first, *ready_last; /* linked by ready_next */
    uint32_t ready_count;
    uint64_t notified; /* the round of notifications that it last passed on */
    uint64_t measured; /* the check of nesting that it was last seen in */
    uint32_t height;   /* as measured then */
};

struct hl__epoll_item {
    struct epoll *epoll;
    struct hl__epoll_item *next, *previous;
    struct hl__file *file;
    struct hl__epoll_item *file_next, *file_previous; /* others that watch the file */
    struct hl__epoll_item *ready_next, *ready_previous;
    bool is_ready; /* stands in the ready list */
    int32_t descriptor;
    uint32_t events;
    uint64_t data;
};

static const struct hl__file_ops epoll_ops;

uint32_t hl__file_ready(struct hl__file *file)
{
    uint32_t ready = file->ops->ready ? file->ops->ready(file) : POLLIN | POLLOUT;

    ready |= ready & POLLIN ? POLLRDNORM : 0;
    ready |= ready & POLLOUT ? POLLWRNORM : 0;
    return ready;
}

/* The ready list */

static void ready_add(struct hl__epoll_item *item)
{
    struct epoll *epoll = item->epoll;

    if (item->is_ready)
        return;
    item->is_ready = true;
    item->ready_next = NULL;
    item->ready_previous = epoll->ready_last;
    *(epoll->ready_last ? &epoll->ready_last->ready_next : &epoll->ready_first) = item;
    epoll->ready_last = item;
    epoll->ready_count++;
}

static void ready_remove(struct hl__epoll_item *item)
{
    struct epoll *epoll = item->epoll;

    if (!item->is_ready)
        return;
    item->is_ready = false;
    *(item->ready_previous ? &item->ready_previous->ready_next : &epoll->ready_first) =
        item->ready_next;
    *(item->ready_next ? &item->ready_next->ready_previous : &epoll->ready_last) =
        item->ready_previous;
    epoll->ready_count--;
}

/* What of the events that an item asks for holds now. */
static uint32_t item_events(const struct hl__epoll_item *item)
{
    return hl__file_ready(item->file) & item->events & ~MODES;
}

static bool item_asks(const struct hl__epoll_item *item, uint32_t events)
{
    uint32_t asked = item->events & ~MODES;

    events |= events & POLLIN ? POLLRDNORM : 0;
    events |= events & POLLOUT ? POLLWRNORM : 0;
    return asked && (!events || events & asked);
}

void hl__epoll_notify(struct hl__file *file, uint32_t events)
{
    static uint64_t round;
    static uint32_t depth;

    if (!file->watchers)
        return;
    round += depth == 0;
    depth++;
    for (struct hl__epoll_item *item = file->watchers; item; item = item->file_next) {
        if (!item_asks(item, events))
            continue;
        ready_add(item);
        /* Once a round each, so that epolls which watch one another in many ways cost no more. */
        if (item->epoll->notified == round)
            continue;
        item->epoll->notified = round;
        hl__file_changed(item->epoll->file, POLLIN);
    }
    depth--;
}

/* Items */

static struct hl__epoll_item *item_find(const struct epoll *epoll, const struct hl__file *file,
                                        int32_t descriptor)
{
    for (struct hl__epoll_item *item = file->watchers; item; item = item->file_next)
        if (item->epoll == epoll && item->descriptor == descriptor)
            return item;
    return NULL;
}

static void item_link(struct hl__epoll_item *item)
{
    struct epoll *epoll = item->epoll;
    struct hl__file *file = item->file;

    item->next = epoll->items;
    if (epoll->items)
        epoll->items->previous = item;
    epoll->items = item;
    item->file_next = file->watchers;
    if (file->watchers)
        file->watchers->file_previous = item;
    file->watchers = item;
}

static void item_free(struct hl__epoll_item *item)
{
    ready_remove(item);
    *(item->previous ? &item->previous->next : &item->epoll->items) = item->next;
    if (item->next)
        item->next->previous = item->previous;
    *(item->file_previous ? &item->file_previous->file_next : &item->file->watchers) =
        item->file_next;
    if (item->file_next)
        item->file_next->file_previous = item->file_previous;
    hl__heap_free(item, sizeof *item);
}

void hl__epoll_forget(struct hl__file *file)
{
    while (file->watchers)
        item_free(file->watchers);
}

/* New or changed: it may be ready already. */
static void item_set(struct hl__epoll_item *item, const struct linux_epoll_event *event)
{
    item->events = event->events | ALWAYS;
    item->data = event->data;
    if (!item_events(item))
        return;
    ready_add(item);
    hl__file_changed(item->epoll->file, POLLIN);
}

/* Nesting */

static uint64_t nesting_checks;

static struct epoll *file_epoll(const struct hl__file *file)
{
    return file->ops == &epoll_ops ? file->object : NULL;
}

/* Epolls on the longest way down from this one, itself included; more than NESTING_MAX if `above` is
 * among them. */
static uint32_t height_below(struct epoll *epoll, const struct epoll *above)
{
    if (epoll == above)
        return NESTING_MAX + 1;
    if (epoll->measured == nesting_checks)
        return epoll->height;
    epoll->measured = nesting_checks;
    epoll->height = 1;
    for (struct hl__epoll_item *item = epoll->items; item; item = item->next) {
        struct epoll *below = file_epoll(item->file);
        uint32_t height = below ? height_below(below, above) + 1 : 0;

        if (height > epoll->height)
            epoll->height = height;
    }
    return epoll->height;
}

static uint32_t height_above(struct epoll *epoll)
{
    if (epoll->measured == nesting_checks)
        return epoll->height;
    epoll->measured = nesting_checks;
    epoll->height = 1;
    for (struct hl__epoll_item *item = epoll->file->watchers; item; item = item->file_next) {
        uint32_t height = height_above(item->epoll) + 1;

        if (height > epoll->height)
            epoll->height = height;
    }
    return epoll->height;
}

static bool nesting_allowed(struct epoll *epoll, struct epoll *below)
{
    uint32_t height;

    nesting_checks++;
    height = height_below(below, epoll);
    nesting_checks++;
    return height + height_above(epoll) <= NESTING_MAX;
}

/* The operations of the file */

static uint32_t epoll_ready(struct hl__file *file)
{
    struct epoll *epoll = file->object;

    while (epoll->ready_first) {
        if (item_events(epoll->ready_first))
            return POLLIN;
        ready_remove(epoll->ready_first);
    }
    return 0;
}

static int64_t epoll_stat(struct hl__file *file, struct linux_stat *stat)
{
    return hl__object_stat(stat, 0600, file->object);
}

static void epoll_close(struct hl__file *file)
{
    struct epoll *epoll = file->object;

    while (epoll->items)
        item_free(epoll->items);
    hl__heap_free(epoll, sizeof *epoll);
}

static const struct hl__file_ops epoll_ops = {
    .name = "anon_inode:[eventpoll]",
    .ready = epoll_ready,
    .stat = epoll_stat,
    .close = epoll_close,
};

/* System calls */

static int64_t epoll_open(uint32_t flags)
{
    struct epoll *epoll;
    int64_t descriptor;

    if (flags & ~(uint32_t)O_CLOEXEC)
        return -EINVAL;
    epoll = hl__heap_new(sizeof *epoll);
    if (!epoll)
        return -ENOMEM;
    descriptor = hl__object_open(&epoll_ops, O_RDWR | flags, epoll, sizeof *epoll);
    if (descriptor >= 0)
        epoll->file = hl__descriptor_file((uint64_t)descriptor);
    return descriptor;
}

HL__SYSCALL(epoll_create)
{
    return (int32_t)arg[0] > 0 ? epoll_open(0) : -EINVAL;
}

HL__SYSCALL(epoll_create1)
{
    return epoll_open((uint32_t)arg[0]);
}

static int64_t epoll_add(struct epoll *epoll, struct hl__file *file, int32_t descriptor,
                         const struct linux_epoll_event *event)
{
    struct epoll *below = file_epoll(file);
    struct hl__epoll_item *item;

    if (event->events & EPOLLEXCLUSIVE && (below || event->events & ~EXCLUSIVE_ALLOWED))
        return -EINVAL;
    if (below && !nesting_allowed(epoll, below))
        return -ELOOP;
    item = hl__heap_new(sizeof *item);
    if (!item)
        return -ENOMEM;
    item->epoll = epoll;
    item->file = file;
    item->descriptor = descriptor;
    item_link(item);
    item_set(item, event);
    return 0;
}

static int64_t epoll_modify(struct hl__epoll_item *item, const struct linux_epoll_event *event)
{
    if ((item->events | event->events) & EPOLLEXCLUSIVE)
        return -EINVAL;
    item_set(item, event);
    return 0;
}

static int64_t epoll_control(struct epoll *epoll, uint64_t command, struct hl__file *file,
                             int32_t descriptor, const struct linux_epoll_event *event)
{
    struct hl__epoll_item *item = item_find(epoll, file, descriptor);

    switch (command) {
    case EPOLL_CTL_ADD:
        return item ? -EEXIST : epoll_add(epoll, file, descriptor, event);
    case EPOLL_CTL_MOD:
        return item ? epoll_modify(item, event) : -ENOENT;
    case EPOLL_CTL_DEL:
        if (!item)
            return -ENOENT;
        item_free(item);
        return 0;
    default:
        return -EINVAL;
    }
}

HL__SYSCALL(epoll_ctl)
{
    struct hl__file *file = hl__descriptor_file(arg[0]), *target = hl__descriptor_file(arg[2]);
    struct linux_epoll_event event = {0, 0};
    uint32_t command = (uint32_t)arg[1];

    if (command != EPOLL_CTL_DEL && hl__user_read(&event, arg[3], sizeof event) < 0)
        return -EFAULT;
    if (!file || !target)
        return -EBADF;
    if (!target->ops->ready)
        return -EPERM;
    if (file == target || !file_epoll(file))
        return -EINVAL;
    return epoll_control(file_epoll(file), command, target, (int32_t)arg[2], &event);
}

/* Puts an item's events at `address`. 1, 0 if it is not ready, -EFAULT. */
static int64_t item_deliver(struct hl__epoll_item *item, uint64_t address)
{
    struct linux_epoll_event event = {item_events(item), item->data};

    if (!event.events)
        return 0;
    return hl__user_write(address, &event, sizeof event) < 0 ? -EFAULT : 1;
}

static int64_t epoll_collect(struct epoll *epoll, uint64_t address, uint64_t max)
{
    int64_t count = 0;

    for (uint32_t left = epoll->ready_count; left && (uint64_t)count < max; left--) {
        struct hl__epoll_item *item = epoll->ready_first;
        int64_t delivered =
            item_deliver(item, address + (uint64_t)count * sizeof(struct linux_epoll_event));

        if (delivered < 0)
            return count ? count : delivered;
        ready_remove(item);
        count += delivered;
        if (delivered && item->events & EPOLLONESHOT)
            item->events &= MODES;
        else if (delivered && !(item->events & EPOLLET))
            ready_add(item); /* behind the others, so that each has its turn */
    }
    return count;
}

static int64_t epoll_wait(const uint64_t *arg, uint64_t timeout_ns)
{
    struct hl__file *file = hl__descriptor_file(arg[0]);
    int32_t max = (int32_t)arg[2];
    uint64_t deadline;
    int64_t count;

    if (max <= 0 || (uint32_t)max > EVENTS_MAX)
        return -EINVAL;
    if (!file)
        return -EBADF;
    if (!file_epoll(file))
        return -EINVAL;
    count = epoll_collect(file_epoll(file), arg[1], (uint32_t)max);
    if (count || !timeout_ns)
        return count;
    deadline = hl__wait_deadline(timeout_ns);
    if (hl__wait_expired(deadline))
        return 0;
    hl__thread->wait.restart = HL__RESTART_NEVER;
    return hl__wait_on(&file->queues[HL__FILE_READ], deadline);
}

HL__SYSCALL(epoll_wait)
{
    return epoll_wait(arg, hl__timeout_ms((int32_t)arg[3]));
}

HL__SYSCALL(epoll_pwait)
{
    int64_t status = hl__call_mask(arg[4], arg[5]);

    return status < 0 ? status : epoll_wait(arg, hl__timeout_ms((int32_t)arg[3]));
}

HL__SYSCALL(epoll_pwait2)
{
    uint64_t timeout_ns;
    int64_t status = hl__timeout_timespec(arg[3], &timeout_ns);

    if (status == 0)
        status = hl__call_mask(arg[4], arg[5]);
    return status < 0 ? status : epoll_wait(arg, timeout_ns);
}
