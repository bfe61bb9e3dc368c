/*
 * Pipes and fifos: a ring of bytes over pages that come when they are written and go when they were
 * read.
 */
#include "io/pipe.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "io/linux.h"
#include "io/object.h"
#include "memory/heap.h"
#include "thread/thread.h"

#define PAGE HL_ABI_PAGE_SIZE

/* An open file of a pipe. */
struct pipe_end {
    struct hl__pipe *pipe;
    struct hl__file *file;
    struct pipe_end *next;
    uint32_t
        writers_seen; /* of a fifo that was opened while nobody wrote: no hang-up before one did */
};

struct hl__pipe {
    struct pipe_end *ends;
    uint32_t count[2];  /* open files that read, write */
    uint32_t coming[2]; /* calls of open that may return, but have not yet */
    uint32_t opened[2]; /* how many there ever were */
    struct hl__queue opening[2];
    struct hl__inode *fifo; /* holds the pipe; NULL: its ends do */
    uint8_t **pages;        /* of the ring; NULL: nothing there */
    uint32_t capacity, start, size;
};

static bool end_does(const struct hl__file *file, int side)
{
    uint32_t access = file->flags & O_ACCMODE;

    return access == O_RDWR || access == (side == HL__FILE_READ ? O_RDONLY : O_WRONLY);
}

static void pipe_changed(struct hl__pipe *pipe, int side, uint32_t events)
{
    for (struct pipe_end *end = pipe->ends; end; end = end->next)
        if (end_does(end->file, side))
            hl__file_changed(end->file, events);
}

/* The ring */

static uint32_t ring_pages(uint32_t capacity)
{
    return capacity / PAGE;
}

static uint8_t **ring_new(uint32_t capacity)
{
    return hl__heap_new(ring_pages(capacity) * sizeof(uint8_t *));
}

static void ring_free(uint8_t **pages, uint32_t capacity)
{
    if (!pages)
        return;
    for (uint32_t i = 0; i < ring_pages(capacity); i++)
        hl__heap_free(pages[i], PAGE);
    hl__heap_free(pages, ring_pages(capacity) * sizeof *pages);
}

/* The bytes at `offset` of the ring up to the end of their page; *size is cut to them. */
static uint8_t *ring_piece(const struct hl__pipe *pipe, uint32_t offset, uint64_t *size)
{
    uint32_t at = (uint32_t)(((uint64_t)pipe->start + offset) % pipe->capacity);
    uint64_t rest = PAGE - at % PAGE;

    if (*size > rest)
        *size = rest;
    return pipe->pages[at / PAGE] ? pipe->pages[at / PAGE] + at % PAGE : NULL;
}

/* Makes sure that `size` bytes behind the content have pages; how many have. */
static uint64_t ring_prepare(struct hl__pipe *pipe, uint64_t size)
{
    uint64_t done = 0;

    while (done < size) {
        uint64_t part = size - done;

        if (!ring_piece(pipe, pipe->size + (uint32_t)done, &part)) {
            uint32_t at = (uint32_t)(((uint64_t)pipe->start + pipe->size + done) % pipe->capacity);

            pipe->pages[at / PAGE] = hl__heap_new(PAGE);
            if (!pipe->pages[at / PAGE])
                break;
        }
        done += part;
    }
    return done;
}

uint64_t hl__pipe_bytes(const struct hl__pipe *pipe)
{
    return pipe->size;
}

uint64_t hl__pipe_room(const struct hl__pipe *pipe)
{
    return pipe->capacity - pipe->size;
}

bool hl__pipe_has_readers(const struct hl__pipe *pipe)
{
    return pipe->count[HL__FILE_READ] + pipe->coming[HL__FILE_READ] > 0;
}

bool hl__pipe_has_writers(const struct hl__pipe *pipe)
{
    return pipe->count[HL__FILE_WRITE] + pipe->coming[HL__FILE_WRITE] > 0;
}

uint64_t hl__pipe_peek(const struct hl__pipe *pipe, uint64_t offset, void *to, uint64_t size)
{
    uint64_t done = 0;

    if (offset >= pipe->size)
        return 0;
    if (size > pipe->size - offset)
        size = pipe->size - offset;
    while (done < size) {
        uint64_t part = size - done;
        const uint8_t *from = ring_piece(pipe, (uint32_t)(offset + done), &part);

        __builtin_memcpy((uint8_t *)to + done, from, part);
        done += part;
    }
    return done;
}

/* Removes without telling writers. An empty ring starts at its first page again, so that a few small
 * messages at a time never need a second one. */
static void ring_drop(struct hl__pipe *pipe, uint64_t size)
{
    while (size) {
        uint64_t part = size;
        uint32_t index = pipe->start / PAGE;

        ring_piece(pipe, 0, &part);
        pipe->start = (uint32_t)((pipe->start + part) % pipe->capacity);
        pipe->size -= (uint32_t)part;
        size -= part;
        /* The end of a full ring may lie in the page that its start has just left. */
        if (pipe->start % PAGE == 0 && index != 0 && pipe->size <= pipe->capacity - PAGE) {
            hl__heap_free(pipe->pages[index], PAGE);
            pipe->pages[index] = NULL;
        }
    }
    if (!pipe->size && pipe->start / PAGE != 0 && pipe->start % PAGE) {
        hl__heap_free(pipe->pages[pipe->start / PAGE], PAGE);
        pipe->pages[pipe->start / PAGE] = NULL;
    }
    if (!pipe->size)
        pipe->start = 0;
}

void hl__pipe_drop(struct hl__pipe *pipe, uint64_t size)
{
    ring_drop(pipe, size);
    pipe_changed(pipe, HL__FILE_WRITE, POLLOUT);
}

int64_t hl__pipe_append(struct hl__pipe *pipe, const void *from, uint64_t size)
{
    uint64_t done = 0;

    if (size > hl__pipe_room(pipe))
        size = hl__pipe_room(pipe);
    size = ring_prepare(pipe, size);
    while (done < size) {
        uint64_t part = size - done;
        uint8_t *to = ring_piece(pipe, pipe->size, &part);

        __builtin_memcpy(to, (const uint8_t *)from + done, part);
        pipe->size += (uint32_t)part;
        done += part;
    }
    if (done)
        pipe_changed(pipe, HL__FILE_READ, POLLIN);
    return done ? (int64_t)done : -ENOMEM;
}

/* Reading and writing */

static uint64_t ring_to_vectors(struct hl__pipe *pipe, const struct hl__vectors *to, uint64_t size)
{
    uint64_t done = 0;

    while (done < size) {
        uint64_t part = size - done;
        const uint8_t *from = ring_piece(pipe, (uint32_t)done, &part);
        int64_t copied = hl__vectors_write(to, done, from, part);

        if (copied > 0)
            done += (uint64_t)copied;
        if (copied != (int64_t)part)
            break;
    }
    return done;
}

static int64_t pipe_sleep(struct hl__file *file, int side)
{
    return file->flags & O_NONBLOCK ? -EAGAIN : hl__wait_on(&file->queues[side], UINT64_MAX);
}

static int64_t pipe_read(struct hl__file *file, const struct hl__vectors *to)
{
    struct hl__pipe *pipe = hl__pipe_of(file);
    uint64_t size = to->size < pipe->size ? to->size : pipe->size;
    uint64_t done;

    if (!to->size)
        return 0;
    if (!size)
        return hl__pipe_has_writers(pipe) ? pipe_sleep(file, HL__FILE_READ) : 0;
    done = ring_to_vectors(pipe, to, size);
    if (!done)
        return -EFAULT;
    hl__pipe_drop(pipe, done);
    return (int64_t)done;
}

/* Appends from the vectors' byte `offset` on. Bytes, -EFAULT, -ENOMEM. */
static int64_t ring_from_vectors(struct hl__pipe *pipe, const struct hl__vectors *from,
                                 uint64_t offset, uint64_t size)
{
    uint64_t done = 0;
    int64_t copied = -ENOMEM;

    size = ring_prepare(pipe, size);
    while (done < size) {
        uint64_t part = size - done;
        uint8_t *to = ring_piece(pipe, pipe->size, &part);

        copied = hl__vectors_read(from, offset + done, to, part);
        if (copied > 0) {
            done += (uint64_t)copied;
            pipe->size += (uint32_t)copied;
        }
        if (copied != (int64_t)part)
            break;
    }
    return done ? (int64_t)done : copied;
}

/* What a write of `left` more bytes may bring in now: all or nothing of what is not to be split. */
static uint64_t write_part(const struct hl__pipe *pipe, uint64_t total, uint64_t left)
{
    uint64_t room = hl__pipe_room(pipe);

    if (total <= HL__PIPE_BUF)
        return room >= left ? left : 0;
    return left < room ? left : room;
}

/* No room, after `done` bytes. */
static int64_t pipe_write_on(struct hl__file *file, uint64_t done)
{
    int64_t result = pipe_sleep(file, HL__FILE_WRITE);

    if (result != HL__WAITING)
        return done ? (int64_t)done : result;
    hl__thread->wait.progress = done;
    hl__thread->wait.partial = true;
    return result;
}

static int64_t pipe_write(struct hl__file *file, const struct hl__vectors *from)
{
    struct hl__pipe *pipe = hl__pipe_of(file);
    uint64_t done = hl__thread->wait.progress;
    uint64_t part;
    int64_t copied;

    if (!from->size)
        return 0;
    if (!hl__pipe_has_readers(pipe)) {
        hl__signal_raise(SIGPIPE, SI_USER);
        return done ? (int64_t)done : -EPIPE;
    }
    part = write_part(pipe, from->size, from->size - done);
    if (!part)
        return pipe_write_on(file, done);
    copied = ring_from_vectors(pipe, from, done, part);
    if (copied < 0)
        return done ? (int64_t)done : copied;
    pipe_changed(pipe, HL__FILE_READ, POLLIN);
    done += (uint64_t)copied;
    if (done == from->size || copied != (int64_t)part)
        return (int64_t)done;
    return pipe_write_on(file, done);
}

static uint32_t pipe_ready(struct hl__file *file)
{
    const struct pipe_end *end = file->object;
    const struct hl__pipe *pipe = end->pipe;
    uint32_t ready = 0;

    if (end_does(file, HL__FILE_READ)) {
        ready |= pipe->size ? POLLIN : 0;
        if (!hl__pipe_has_writers(pipe) && pipe->opened[HL__FILE_WRITE] != end->writers_seen)
            ready |= POLLHUP;
    }
    if (end_does(file, HL__FILE_WRITE)) {
        ready |= hl__pipe_room(pipe) >= HL__PIPE_BUF ? POLLOUT : 0;
        ready |= hl__pipe_has_readers(pipe) ? 0 : POLLERR;
    }
    return ready;
}

/* fcntl, ioctl, stat */

static int64_t pipe_resize(struct hl__pipe *pipe, uint64_t size)
{
    uint32_t capacity = PAGE;
    uint8_t **pages;
    struct hl__pipe larger = *pipe;

    if (size > HL__PIPE_SIZE_MAX)
        return size > INT32_MAX ? -EINVAL : -EPERM;
    while (capacity < size)
        capacity *= 2;
    if (capacity < pipe->size)
        return -EBUSY;
    pages = ring_new(capacity);
    if (!pages)
        return -ENOMEM;
    larger.pages = pages;
    larger.capacity = capacity;
    larger.start = larger.size = 0;
    if (ring_prepare(&larger, pipe->size) < pipe->size) {
        ring_free(pages, capacity);
        return -ENOMEM;
    }
    for (larger.size = 0; larger.size < pipe->size;) {
        uint64_t part = pipe->size - larger.size;
        uint8_t *to = ring_piece(&larger, larger.size, &part);

        larger.size += (uint32_t)hl__pipe_peek(pipe, larger.size, to, part);
    }
    ring_free(pipe->pages, pipe->capacity);
    pipe->pages = pages;
    pipe->capacity = capacity;
    pipe->start = 0;
    pipe_changed(pipe, HL__FILE_WRITE, POLLOUT);
    return capacity;
}

static int64_t pipe_control(struct hl__file *file, uint64_t command, uint64_t argument)
{
    struct hl__pipe *pipe = hl__pipe_of(file);

    switch ((uint32_t)command) {
    case F_GETPIPE_SZ:
        return pipe->capacity;
    case F_SETPIPE_SZ:
        return pipe_resize(pipe, (uint32_t)argument);
    default:
        return -EINVAL;
    }
}

static int64_t pipe_ioctl(struct hl__file *file, uint64_t request, uint64_t argument)
{
    return request == FIONREAD ? hl__object_count(argument, hl__pipe_of(file)->size) : -ENOTTY;
}

static int64_t pipe_stat(struct hl__file *file, struct linux_stat *stat)
{
    return hl__object_stat(stat, S_IFIFO | 0600, hl__pipe_of(file));
}

/* Making and ending */

static struct hl__pipe *pipe_new(struct hl__inode *fifo)
{
    struct hl__pipe *pipe = hl__heap_new(sizeof *pipe);

    if (!pipe)
        return NULL;
    pipe->fifo = fifo;
    pipe->capacity = HL__PIPE_SIZE;
    pipe->pages = ring_new(pipe->capacity);
    if (!pipe->pages) {
        hl__heap_free(pipe, sizeof *pipe);
        return NULL;
    }
    return pipe;
}

static void pipe_free(struct hl__pipe *pipe)
{
    ring_free(pipe->pages, pipe->capacity);
    hl__heap_free(pipe, sizeof *pipe);
}

static void end_unlink(struct hl__pipe *pipe, struct pipe_end *end)
{
    struct pipe_end **link = &pipe->ends;

    while (*link != end)
        link = &(*link)->next;
    *link = end->next;
}

/* The other side learns that this one is gone, once its last file is. */
static void pipe_close(struct hl__file *file)
{
    struct pipe_end *end = file->object;
    struct hl__pipe *pipe = end->pipe;

    end_unlink(pipe, end);
    for (int side = 0; side < 2; side++)
        if (end_does(file, side))
            pipe->count[side]--;
    hl__heap_free(end, sizeof *end);
    if (!hl__pipe_has_writers(pipe))
        pipe_changed(pipe, HL__FILE_READ, POLLHUP);
    if (!hl__pipe_has_readers(pipe))
        pipe_changed(pipe, HL__FILE_WRITE, POLLERR | POLLOUT);
    if (pipe->ends)
        return;
    if (!pipe->fifo)
        pipe_free(pipe);
    else if (!hl__pipe_has_readers(pipe))
        ring_drop(pipe, pipe->size);
}

static int64_t pipe_reopen(struct hl__file *file, uint32_t flags, struct hl__file **opened);

static const struct hl__file_ops pipe_ops = {
    .name = "pipe",
    .read_vectors = pipe_read,
    .write_vectors = pipe_write,
    .ready = pipe_ready,
    .ioctl = pipe_ioctl,
    .stat = pipe_stat,
    .control = pipe_control,
    .reopen = pipe_reopen,
    .close = pipe_close,
};

/* A fifo has a path, and its inode tells its attributes. */
static const struct hl__file_ops fifo_ops = {
    .read_vectors = pipe_read,
    .write_vectors = pipe_write,
    .ready = pipe_ready,
    .ioctl = pipe_ioctl,
    .control = pipe_control,
    .close = pipe_close,
};

struct hl__pipe *hl__pipe_of(const struct hl__file *file)
{
    if (file->ops != &pipe_ops && file->ops != &fifo_ops)
        return NULL;
    return ((const struct pipe_end *)file->object)->pipe;
}

/* An open file of the pipe; NULL when memory has run out. */
static struct hl__file *end_new(struct hl__pipe *pipe, uint32_t flags)
{
    struct pipe_end *end = hl__heap_new(sizeof *end);

    if (!end)
        return NULL;
    end->pipe = pipe;
    end->file = hl__file_new(pipe->fifo ? &fifo_ops : &pipe_ops, flags, pipe->fifo, end);
    if (!end->file) {
        hl__heap_free(end, sizeof *end);
        return NULL;
    }
    if (pipe->fifo)
        hl__inode_ref(pipe->fifo);
    end->next = pipe->ends;
    pipe->ends = end;
    for (int side = 0; side < 2; side++)
        if (end_does(end->file, side)) {
            pipe->count[side]++;
            pipe->opened[side]++;
        }
    end->writers_seen = hl__pipe_has_writers(pipe) ? pipe->opened[HL__FILE_WRITE] - 1
                                                   : pipe->opened[HL__FILE_WRITE];
    return end->file;
}

/* By way of /proc/self/fd: the side that is asked for, whichever this one is. */
static int64_t pipe_reopen(struct hl__file *file, uint32_t flags, struct hl__file **opened)
{
    *opened = end_new(hl__pipe_of(file), flags);
    return *opened ? 0 : -ENOMEM;
}

/* Both ends, or neither. */
static int64_t pipe_files(uint32_t flags, struct hl__file *files[2])
{
    struct hl__pipe *pipe = pipe_new(NULL);

    if (!pipe)
        return -ENOMEM;
    files[HL__FILE_READ] = end_new(pipe, O_RDONLY | flags);
    if (!files[HL__FILE_READ]) {
        pipe_free(pipe);
        return -ENOMEM;
    }
    files[HL__FILE_WRITE] = end_new(pipe, O_WRONLY | flags);
    if (!files[HL__FILE_WRITE]) {
        hl__file_unref(files[HL__FILE_READ]);
        return -ENOMEM;
    }
    return 0;
}

static int64_t pipe_open(uint64_t address, uint32_t flags)
{
    struct hl__file *files[2];
    int64_t status;

    if (flags & ~(uint32_t)(O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    status = pipe_files(flags & O_NONBLOCK, files);
    if (status < 0)
        return status;
    return hl__descriptor_pair(files, flags & O_CLOEXEC, address);
}

HL__SYSCALL(pipe)
{
    return pipe_open(arg[0], 0);
}

HL__SYSCALL(pipe2)
{
    return pipe_open(arg[0], (uint32_t)arg[1]);
}

/* Fifos */

/* A side that waits to be opened is there for the other: calls that come back later than their
 * counterpart has begun to write must not see it fail. */
static void fifo_let_in(struct hl__pipe *pipe, int side)
{
    for (struct hl__thread *thread = pipe->opening[side].first; thread; thread = thread->next)
        pipe->coming[side]++;
    hl__wake(&pipe->opening[side]);
}

/* Whether this call of open was let in while it waited. */
static bool fifo_was_let_in(struct hl__pipe *pipe, int side)
{
    if (!hl__thread->wait.started || !pipe->coming[side])
        return false;
    pipe->coming[side]--;
    return true;
}

int64_t hl__fifo_open(struct hl__inode *inode, uint32_t flags, struct hl__file **file)
{
    int side = (flags & O_ACCMODE) == O_WRONLY ? HL__FILE_WRITE : HL__FILE_READ;
    struct hl__pipe *pipe = inode->object;
    bool both = (flags & O_ACCMODE) == O_RDWR, let_in, other_there;

    if (!pipe)
        pipe = inode->object = pipe_new(inode);
    if (!pipe)
        return -ENOMEM;
    let_in = fifo_was_let_in(pipe, side);
    other_there = side == HL__FILE_WRITE
                      ? hl__pipe_has_readers(pipe) || pipe->opening[HL__FILE_READ].first
                      : hl__pipe_has_writers(pipe) || pipe->opening[HL__FILE_WRITE].first;
    if (!both && !let_in && !other_there) {
        if (!(flags & O_NONBLOCK))
            return hl__wait_on(&pipe->opening[side], UINT64_MAX);
        if (side == HL__FILE_WRITE)
            return -ENXIO;
    }
    *file = end_new(pipe, flags);
    if (!*file)
        return -ENOMEM;
    if (both || side == HL__FILE_READ)
        fifo_let_in(pipe, HL__FILE_WRITE);
    if (both || side == HL__FILE_WRITE)
        fifo_let_in(pipe, HL__FILE_READ);
    return 0;
}

void hl__fifo_free(struct hl__inode *inode)
{
    struct hl__pipe *pipe = inode->object;

    if (!pipe)
        return;
    hl__wake(&pipe->opening[HL__FILE_READ]);
    hl__wake(&pipe->opening[HL__FILE_WRITE]);
    inode->object = NULL;
    pipe_free(pipe);
}
