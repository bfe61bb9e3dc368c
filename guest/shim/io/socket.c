/* What a socket is: how it begins, what it is ready for, how it ends. */
#include "io/socket.h"
#include "entry/syscall.h"
#include "file/credentials.h"
#include "io/object.h"
#include "memory/heap.h"
#include "thread/thread.h"

struct linux_ucred hl__socket_credentials(void)
{
    return (struct linux_ucred){hl__process()->id, hl__credentials()->user.effective,
                                hl__credentials()->group.effective};
}

void hl__socket_changed(struct hl__socket *socket, uint32_t events)
{
    if (socket->file)
        hl__file_changed(socket->file, events);
}

int64_t hl__socket_take_error(struct hl__socket *socket)
{
    int64_t error = -socket->error;

    socket->error = 0;
    return error;
}

struct hl__socket *hl__socket_new(uint32_t type)
{
    struct hl__socket *socket = hl__heap_new(sizeof *socket);

    if (!socket)
        return NULL;
    socket->type = type;
    socket->send_buffer = socket->receive_buffer = HL__SOCKET_BUFFER;
    socket->send_timeout_ns = socket->receive_timeout_ns = UINT64_MAX;
    return socket;
}

void hl__socket_set_peer(struct hl__socket *socket, struct hl__socket *peer)
{
    struct hl__socket **link;

    if (socket->peer) {
        for (link = &socket->peer->senders; *link != socket;)
            link = &(*link)->next_sender;
        *link = socket->next_sender;
    }
    socket->peer = peer;
    if (!peer)
        return;
    socket->next_sender = peer->senders;
    peer->senders = socket;
}

static bool is_datagram(const struct hl__socket *socket)
{
    return socket->type == SOCK_DGRAM;
}

/* One that sent here learns that nobody is here any more. */
static void sender_lost(struct hl__socket *sender, bool unread)
{
    hl__socket_set_peer(sender, NULL);
    if (is_datagram(sender)) {
        sender->peer_gone = true;
        hl__socket_changed(sender, POLLOUT);
        return;
    }
    sender->shut = HL__SHUT_RECEIVE | HL__SHUT_SEND;
    if (unread)
        sender->error = ECONNRESET;
    hl__socket_changed(sender, POLLIN | POLLOUT | POLLHUP | POLLRDHUP | POLLERR);
}

void hl__socket_free(struct hl__socket *socket)
{
    bool unread = socket->first || !socket->file;

    socket->file = NULL;
    hl__socket_name_close(socket);
    hl__socket_set_peer(socket, NULL);
    while (socket->senders)
        sender_lost(socket->senders, unread);
    while (socket->pending_first) {
        struct hl__socket *pending = socket->pending_first;

        socket->pending_first = pending->pending_next;
        hl__socket_free(pending);
    }
    hl__wake(&socket->room);
    hl__socket_drop_messages(socket);
    hl__socket_name_unref(socket->name);
    hl__socket_name_unref(socket->peer_name);
    hl__heap_free(socket, sizeof *socket);
}

/* The operations of the file */

static int64_t socket_read(struct hl__file *file, const struct hl__vectors *to)
{
    struct hl__socket_extra extra = {0};
    int64_t result = hl__socket_receive_wait(file->object, to, 0, &extra);

    hl__socket_files_free(extra.files);
    hl__socket_name_unref(extra.name);
    return result;
}

static int64_t socket_write(struct hl__file *file, const struct hl__vectors *from)
{
    struct hl__socket_extra extra = {.credentials = hl__socket_credentials()};

    return hl__socket_send_wait(file->object, NULL, from, 0, &extra);
}

static uint32_t socket_ready(struct hl__file *file)
{
    const struct hl__socket *socket = file->object;
    uint32_t ready = socket->error ? POLLERR : 0;

    if (socket->listening)
        return ready | (socket->pending_first ? POLLIN : 0);
    if (socket->shut & HL__SHUT_RECEIVE)
        ready |= POLLRDHUP | POLLIN;
    if (socket->shut == (HL__SHUT_RECEIVE | HL__SHUT_SEND))
        ready |= POLLHUP;
    if (!is_datagram(socket) && !socket->connected)
        ready |= POLLHUP;
    ready |= socket->first ? POLLIN : 0;
    ready |= hl__socket_writable(socket) ? POLLOUT : 0;
    return ready;
}

static int64_t socket_ioctl(struct hl__file *file, uint64_t request, uint64_t argument)
{
    const struct hl__socket *socket = file->object;

    switch (request) {
    case FIONREAD:
        if (socket->listening)
            return -EINVAL;
        if (socket->type == SOCK_DGRAM)
            return hl__object_count(argument, socket->first ? socket->first->size : 0);
        return hl__object_count(argument, socket->bytes);
    case TIOCOUTQ:
        return hl__object_count(argument, socket->peer ? socket->peer->charge : 0);
    default:
        return -ENOTTY;
    }
}

static int64_t socket_stat(struct hl__file *file, struct linux_stat *stat)
{
    return hl__object_stat(stat, S_IFSOCK | 0777, file->object);
}

static void socket_close(struct hl__file *file)
{
    hl__socket_free(file->object);
}

static const struct hl__file_ops socket_ops = {
    .name = "socket",
    .read_vectors = socket_read,
    .write_vectors = socket_write,
    .ready = socket_ready,
    .ioctl = socket_ioctl,
    .stat = socket_stat,
    .close = socket_close,
};

struct hl__socket *hl__socket_of_file(const struct hl__file *file)
{
    return file->ops == &socket_ops ? file->object : NULL;
}

struct hl__socket *hl__socket_of(uint64_t descriptor, int64_t *error)
{
    struct hl__file *file = hl__descriptor_file(descriptor);

    *error = file && !(file->flags & O_PATH) ? -ENOTSOCK : -EBADF;
    return file ? hl__socket_of_file(file) : NULL;
}

/* System calls */

/* 0 or the errno of a socket that there is not. */
static int64_t socket_check(uint64_t family, uint64_t type, uint64_t protocol)
{
    if ((uint32_t)type & ~(uint32_t)(SOCK_TYPE_MASK | O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    if ((uint32_t)family != AF_UNIX)
        return -EAFNOSUPPORT;
    if ((uint32_t)protocol != 0 && (uint32_t)protocol != AF_UNIX)
        return -EPROTONOSUPPORT;
    switch (type & SOCK_TYPE_MASK) {
    case SOCK_STREAM:
    case SOCK_DGRAM:
    case SOCK_RAW: /* another name of datagrams here */
    case SOCK_SEQPACKET:
        return 0;
    default:
        return -ESOCKTNOSUPPORT;
    }
}

static uint32_t socket_type(uint64_t type)
{
    return (type & SOCK_TYPE_MASK) == SOCK_RAW ? SOCK_DGRAM : (uint32_t)type & SOCK_TYPE_MASK;
}

static struct hl__file *socket_file(struct hl__socket *socket, uint32_t flags)
{
    struct hl__file *file = hl__file_new(&socket_ops, O_RDWR | (flags & O_NONBLOCK), NULL, socket);

    socket->file = file;
    if (!file)
        hl__socket_free(socket);
    return file;
}

int64_t hl__socket_open(struct hl__socket *socket, uint32_t flags)
{
    struct hl__file *file = socket_file(socket, flags);

    return file ? hl__descriptor_add(file, 0, flags & O_CLOEXEC) : -ENOMEM;
}

HL__SYSCALL(socket)
{
    int64_t status = socket_check(arg[0], arg[1], arg[2]);
    struct hl__socket *socket;

    if (status < 0)
        return status;
    socket = hl__socket_new(socket_type(arg[1]));
    return socket ? hl__socket_open(socket, (uint32_t)arg[1]) : -ENOMEM;
}

/* Two open files that are connected, or -ENOMEM. */
static int64_t socket_files(uint64_t type, struct hl__file *files[2])
{
    struct hl__socket *sockets[2];

    for (int i = 0; i < 2; i++) {
        sockets[i] = hl__socket_new(socket_type(type));
        files[i] = sockets[i] ? socket_file(sockets[i], (uint32_t)type) : NULL;
        if (!files[i]) {
            hl__file_unref(i ? files[0] : NULL);
            return -ENOMEM;
        }
    }
    for (int i = 0; i < 2; i++) {
        hl__socket_set_peer(sockets[i], sockets[!i]);
        sockets[i]->connected = true;
        sockets[i]->peer_credentials = hl__socket_credentials();
    }
    return 0;
}

HL__SYSCALL(socketpair)
{
    struct hl__file *files[2];
    int64_t status = socket_check(arg[0], arg[1], arg[2]);

    if (status == 0)
        status = socket_files(arg[1], files);
    return status < 0 ? status : hl__descriptor_pair(files, (uint32_t)arg[1] & O_CLOEXEC, arg[3]);
}

HL__SYSCALL(shutdown)
{
    static const uint32_t shuts[] = {HL__SHUT_RECEIVE, HL__SHUT_SEND,
                                     HL__SHUT_RECEIVE | HL__SHUT_SEND};
    int64_t error;
    struct hl__socket *socket = hl__socket_of(arg[0], &error);
    struct hl__socket *peer;
    uint32_t shut;

    if (!socket)
        return error;
    if ((uint32_t)arg[1] > SHUT_RDWR)
        return -EINVAL;
    shut = shuts[(uint32_t)arg[1]];
    socket->shut |= shut;
    peer = is_datagram(socket) ? NULL : socket->peer;
    if (peer) {
        peer->shut |= shut & HL__SHUT_RECEIVE ? HL__SHUT_SEND : 0;
        peer->shut |= shut & HL__SHUT_SEND ? HL__SHUT_RECEIVE : 0;
        hl__wake(&peer->room);
        hl__socket_changed(peer, POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
    }
    hl__wake(&socket->room);
    hl__socket_changed(socket, POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
    return 0;
}
