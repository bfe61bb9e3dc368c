/*
 * Moving bytes between files: sendfile, splice, tee, vmsplice, copy_file_range. They go through a buffer
 * of the shim's, which the files' operations take for the program's memory.
 */
#include "entry/access.h"
#include "entry/syscall.h"
#include "io/object.h"
#include "io/pipe.h"
#include "io/socket.h"
#include "memory/heap.h"
#include "thread/thread.h"

#define BUFFER_SIZE 65536u
enum {
    SPLICE_F_MOVE = 1,
    SPLICE_F_NONBLOCK = 2,
    SPLICE_F_MORE = 4,
    SPLICE_F_GIFT = 8,
    SPLICE_FLAGS = 15
};

/* One end of a transfer. */
struct end {
    struct hl__file *file;
    struct hl__pipe *pipe;     /* NULL: it is none */
    struct hl__socket *socket; /* likewise */
    uint64_t offset_address;   /* where the program keeps the position; 0: it is the file's */
    uint64_t position;
};

struct moving {
    struct end in, out;
    uint8_t *buffer;
    uint64_t buffer_size;
    struct hl__queue *queue; /* to wait on after -EAGAIN */
};

/* Ends */

static int64_t end_open(struct end *end, uint64_t descriptor, uint64_t offset_address, bool writes)
{
    struct hl__file *file = hl__descriptor_file(descriptor);

    if (!file || file->flags & O_PATH ||
        (file->flags & O_ACCMODE) == (writes ? O_RDONLY : O_WRONLY))
        return -EBADF;
    *end = (struct end){.file = file,
                        .pipe = hl__pipe_of(file),
                        .socket = hl__socket_of_file(file),
                        .offset_address = offset_address,
                        .position = file->position};
    if (!offset_address)
        return 0;
    if (!file->ops->seek)
        return -ESPIPE;
    if (hl__user_read(&end->position, offset_address, sizeof end->position) < 0)
        return -EFAULT;
    return (int64_t)end->position < 0 ? -EINVAL : 0;
}

static int64_t end_finish(const struct end *end)
{
    if (end->offset_address)
        return hl__user_write(end->offset_address, &end->position, sizeof end->position);
    if (end->file->ops->seek)
        end->file->position = end->position;
    return 0;
}

static bool end_is_regular(const struct end *end)
{
    return end->file->inode && (end->file->inode->mode & S_IFMT) == S_IFREG && !end->pipe;
}

/* Bytes into the buffer, without taking them out of a pipe. */
static int64_t in_read(struct moving *moving, uint64_t size)
{
    struct end *in = &moving->in;
    uint64_t position = in->position;
    struct linux_iovec item;
    struct hl__vectors to = hl__vectors_one(&item, (uint64_t)moving->buffer, size);
    struct hl__socket_extra extra = {0};
    int64_t result = -EINVAL;

    moving->queue = &in->file->queues[HL__FILE_READ];
    if (in->pipe) {
        result = (int64_t)hl__pipe_peek(in->pipe, 0, moving->buffer, size);
        return result || !hl__pipe_has_writers(in->pipe) ? result : -EAGAIN;
    }
    hl__user_lend(moving->buffer, size);
    if (in->socket)
        result = hl__socket_receive(in->socket, &to, 0, 0, &extra);
    else if (in->file->ops->read)
        result = in->file->ops->read(in->file, item.address, size, &position);
    hl__user_lend(NULL, 0);
    hl__socket_files_free(extra.files);
    hl__socket_name_unref(extra.name);
    return result;
}

static void in_consume(struct moving *moving, uint64_t size)
{
    if (moving->in.pipe)
        hl__pipe_drop(moving->in.pipe, size);
    moving->in.position += size;
}

static int64_t out_pipe(struct end *out, const void *from, uint64_t size)
{
    if (!hl__pipe_has_readers(out->pipe))
        return -EPIPE;
    return hl__pipe_room(out->pipe) ? hl__pipe_append(out->pipe, from, size) : -EAGAIN;
}

static int64_t out_socket(struct moving *moving, const struct hl__vectors *from)
{
    struct hl__socket_extra extra = {.credentials = hl__socket_credentials()};
    struct hl__socket *full = NULL;
    int64_t result = hl__socket_send(moving->out.socket, NULL, from, 0, &extra, &full);

    if (full)
        moving->queue = &full->room;
    return result;
}

static int64_t out_write(struct moving *moving, uint64_t size)
{
    struct end *out = &moving->out;
    struct linux_iovec item;
    struct hl__vectors from = hl__vectors_one(&item, (uint64_t)moving->buffer, size);
    int64_t result = -EINVAL;

    moving->queue = &out->file->queues[HL__FILE_WRITE];
    hl__user_lend(moving->buffer, size);
    if (out->pipe)
        result = out_pipe(out, moving->buffer, size);
    else if (out->socket)
        result = out_socket(moving, &from);
    else if (out->file->ops->write)
        result = out->file->ops->write(out->file, item.address, size, &out->position);
    hl__user_lend(NULL, 0);
    if (result == -EPIPE && (out->pipe || (out->socket && out->socket->type == SOCK_STREAM)))
        hl__signal_raise(SIGPIPE, SI_USER);
    return result;
}

/* What the target takes at once: what is read from something that is no file must find its place. */
static uint64_t out_room(const struct moving *moving, uint64_t size)
{
    uint64_t room = moving->out.pipe ? hl__pipe_room(moving->out.pipe) : size;

    return size < room ? size : room;
}

/* One buffer's worth. Bytes, 0 at the end, -EAGAIN: wait on the queue. */
static int64_t move_once(struct moving *moving, uint64_t size)
{
    int64_t got, put;

    if (moving->out.pipe && !hl__pipe_has_readers(moving->out.pipe)) {
        hl__signal_raise(SIGPIPE, SI_USER);
        return -EPIPE;
    }
    size = out_room(moving, size < moving->buffer_size ? size : moving->buffer_size);
    if (!size) {
        moving->queue = &moving->out.file->queues[HL__FILE_WRITE];
        return -EAGAIN;
    }
    got = in_read(moving, size);
    if (got <= 0)
        return got;
    put = out_write(moving, (uint64_t)got);
    if (put > 0)
        in_consume(moving, (uint64_t)put);
    return put;
}

static bool buffer_new(struct moving *moving, uint64_t size)
{
    moving->buffer_size = size < BUFFER_SIZE ? size : BUFFER_SIZE;
    moving->buffer = moving->buffer_size ? hl__heap_new(moving->buffer_size) : NULL;
    return moving->buffer || !size;
}

/* As much as goes without waiting. Bytes, or the failure of the first piece. */
static int64_t move_all(struct moving *moving, uint64_t size)
{
    uint64_t done = 0;
    int64_t moved = 0;

    while (done < size) {
        moved = move_once(moving, size - done);
        if (moved <= 0)
            break;
        done += (uint64_t)moved;
    }
    return done ? (int64_t)done : moved;
}

/* Moves and tells the program where the ends stand. */
static int64_t move(struct moving *moving, uint64_t size)
{
    int64_t result;

    if (!buffer_new(moving, size))
        return -ENOMEM;
    result = move_all(moving, size);
    hl__heap_free(moving->buffer, moving->buffer_size);
    if (result > 0 && (end_finish(&moving->in) < 0 || end_finish(&moving->out) < 0))
        return -EFAULT;
    return result;
}

static uint64_t size_limited(uint64_t size)
{
    return size < HL__TRANSFER_SIZE_MAX ? size : HL__TRANSFER_SIZE_MAX;
}

/* sendfile goes on until everything is moved; what was moved is in wait.progress meanwhile. */
HL__SYSCALL(sendfile)
{
    struct moving moving = {0};
    uint64_t size = size_limited(arg[3]), done = hl__thread->wait.progress;
    int64_t result = end_open(&moving.in, arg[1], arg[2], false);

    if (result == 0)
        result = end_open(&moving.out, arg[0], 0, true);
    if (result < 0)
        return result;
    if (!end_is_regular(&moving.in) || moving.out.file->flags & O_APPEND)
        return -EINVAL;
    result = move(&moving, size - done);
    if (result > 0)
        done += (uint64_t)result;
    if (result == 0 || done == size || (result < 0 && result != -EAGAIN))
        return done ? (int64_t)done : result;
    if (moving.out.file->flags & O_NONBLOCK || (!moving.out.pipe && !moving.out.socket))
        return done ? (int64_t)done : result;
    result = hl__wait_on(moving.queue, UINT64_MAX);
    hl__thread->wait.progress = done;
    hl__thread->wait.partial = true;
    return result;
}

static bool splice_waits(const struct moving *moving, uint32_t flags)
{
    uint32_t pipes = (moving->in.pipe ? moving->in.file->flags : 0) |
                     (moving->out.pipe ? moving->out.file->flags : 0) |
                     (moving->in.socket ? moving->in.file->flags : 0) |
                     (moving->out.socket ? moving->out.file->flags : 0);

    return !(flags & SPLICE_F_NONBLOCK) && !(pipes & O_NONBLOCK);
}

HL__SYSCALL(splice)
{
    struct moving moving = {0};
    uint32_t flags = (uint32_t)arg[5];
    int64_t result;

    if (!arg[4])
        return 0;
    if (flags & ~(uint32_t)SPLICE_FLAGS)
        return -EINVAL;
    result = end_open(&moving.in, arg[0], arg[1], false);
    if (result == 0)
        result = end_open(&moving.out, arg[2], arg[3], true);
    if (result < 0)
        return result;
    if ((!moving.in.pipe && !moving.out.pipe) || moving.in.pipe == moving.out.pipe ||
        moving.out.file->flags & O_APPEND)
        return -EINVAL;
    result = move(&moving, size_limited(arg[4]));
    if (result != -EAGAIN || !splice_waits(&moving, flags))
        return result;
    return hl__wait_on(moving.queue, UINT64_MAX);
}

static int64_t tee_once(struct hl__pipe *in, struct hl__pipe *out, uint64_t size)
{
    uint64_t room = hl__pipe_room(out), bytes = hl__pipe_bytes(in);
    uint8_t *buffer;
    int64_t result;

    size = size < bytes ? size : bytes;
    size = size < room ? size : room;
    buffer = hl__heap_new(size);
    if (!buffer)
        return -ENOMEM;
    hl__pipe_peek(in, 0, buffer, size);
    result = hl__pipe_append(out, buffer, size);
    hl__heap_free(buffer, size);
    return result;
}

HL__SYSCALL(tee)
{
    struct moving moving = {0};
    uint32_t flags = (uint32_t)arg[3];
    struct hl__queue *queue;
    int64_t result;

    if (flags & ~(uint32_t)SPLICE_FLAGS)
        return -EINVAL;
    if (!arg[2])
        return 0;
    result = end_open(&moving.in, arg[0], 0, false);
    if (result == 0)
        result = end_open(&moving.out, arg[1], 0, true);
    if (result < 0)
        return result;
    if (!moving.in.pipe || !moving.out.pipe || moving.in.pipe == moving.out.pipe)
        return -EINVAL;
    if (!hl__pipe_has_readers(moving.out.pipe)) {
        hl__signal_raise(SIGPIPE, SI_USER);
        return -EPIPE;
    }
    if (!hl__pipe_bytes(moving.in.pipe) && !hl__pipe_has_writers(moving.in.pipe))
        return 0;
    if (hl__pipe_bytes(moving.in.pipe) && hl__pipe_room(moving.out.pipe))
        return tee_once(moving.in.pipe, moving.out.pipe, arg[2]);
    if (!splice_waits(&moving, flags))
        return -EAGAIN;
    queue = hl__pipe_bytes(moving.in.pipe) ? &moving.out.file->queues[HL__FILE_WRITE]
                                           : &moving.in.file->queues[HL__FILE_READ];
    return hl__wait_on(queue, UINT64_MAX);
}

/* The pages are copied, as the program may change them afterwards and Linux's readers would see it. */
HL__SYSCALL(vmsplice)
{
    static struct linux_iovec items[HL__VECTORS_MAX]; /* of the call under way */
    struct hl__file *file = hl__descriptor_file(arg[0]);
    uint32_t flags = (uint32_t)arg[3], kept;
    struct hl__vectors vectors;
    int64_t result;

    if (flags & ~(uint32_t)SPLICE_FLAGS)
        return -EINVAL;
    if (!file || !hl__pipe_of(file))
        return -EBADF;
    result = hl__vectors_get(&vectors, items, arg[1], arg[2]);
    if (result < 0)
        return result;
    kept = file->flags;
    file->flags |= flags & SPLICE_F_NONBLOCK ? O_NONBLOCK : 0;
    result = (kept & O_ACCMODE) == O_RDONLY ? file->ops->read_vectors(file, &vectors)
                                            : file->ops->write_vectors(file, &vectors);
    file->flags = kept;
    return result;
}

static bool ranges_overlap(const struct moving *moving, uint64_t size)
{
    uint64_t in = moving->in.position, out = moving->out.position;

    return moving->in.file->inode == moving->out.file->inode && in < out + size && out < in + size;
}

static int64_t copy_check(const struct moving *moving)
{
    const struct hl__file *files[] = {moving->in.file, moving->out.file};

    for (int i = 0; i < 2; i++)
        if (files[i]->inode && (files[i]->inode->mode & S_IFMT) == S_IFDIR)
            return -EISDIR;
    if (!end_is_regular(&moving->in) || !end_is_regular(&moving->out))
        return -EINVAL;
    return moving->out.file->flags & O_APPEND ? -EBADF : 0;
}

HL__SYSCALL(copy_file_range)
{
    struct moving moving = {0};
    uint64_t size = size_limited(arg[4]);
    int64_t result = end_open(&moving.in, arg[0], arg[1], false);

    if ((uint32_t)arg[5])
        return -EINVAL;
    if (result == 0)
        result = end_open(&moving.out, arg[2], arg[3], true);
    if (result == 0)
        result = copy_check(&moving);
    if (result < 0)
        return result;
    if (moving.in.position >= moving.in.file->inode->size)
        return 0;
    if (size > moving.in.file->inode->size - moving.in.position)
        size = moving.in.file->inode->size - moving.in.position;
    return ranges_overlap(&moving, size) ? -EINVAL : move(&moving, size);
}
