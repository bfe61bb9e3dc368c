/* Addresses of sockets: binding, connecting, listening, accepting. */
#include "entry/access.h"
#include "entry/syscall.h"
#include "io/socket.h"
#include "memory/heap.h"
#include "thread/thread.h"

#define FAMILY_SIZE ((uint32_t)sizeof(uint16_t))
#define AUTOBIND_DIGITS 5u

/* An address as the program gave it. */
struct address {
    uint32_t size;
    struct linux_sockaddr_un un;
    char end; /* a path may fill all of the address */
};

static struct hl__socket_name *abstract_names;

void hl__socket_name_ref(struct hl__socket_name *name)
{
    name->references++;
}

void hl__socket_name_unref(struct hl__socket_name *name)
{
    if (name && --name->references == 0)
        hl__heap_free(name, sizeof *name);
}

static bool address_is_abstract(const struct address *address)
{
    return !address->un.path[0];
}

static struct hl__socket_name *abstract_find(const struct address *address)
{
    struct hl__socket_name *name = abstract_names;

    while (name && (name->size != address->size ||
                    __builtin_memcmp(&name->address, &address->un, address->size) != 0))
        name = name->next;
    return name;
}

static int64_t address_read(uint64_t from, uint64_t size, struct address *address)
{
    uint32_t length = 0;

    if ((int32_t)size < (int32_t)FAMILY_SIZE || (uint32_t)size > sizeof address->un)
        return -EINVAL;
    __builtin_memset(address, 0, sizeof *address);
    address->size = (uint32_t)size;
    if (hl__user_read(&address->un, from, address->size) < 0)
        return -EFAULT;
    if (address->size == FAMILY_SIZE || address_is_abstract(address))
        return 0;
    while (length < UNIX_PATH_SIZE && address->un.path[length])
        length++;
    address->size = FAMILY_SIZE + length + 1;
    return 0;
}

int64_t hl__socket_find(uint64_t from, uint64_t size, struct hl__socket **socket)
{
    struct address address;
    struct hl__socket_name *name;
    struct hl__inode *inode;
    int64_t status = address_read(from, size, &address);

    if (status < 0)
        return status;
    if (address.un.family != AF_UNIX || address.size == FAMILY_SIZE)
        return -EINVAL;
    if (address_is_abstract(&address)) {
        name = abstract_find(&address);
        *socket = name ? name->socket : NULL;
        return name ? 0 : -ECONNREFUSED;
    }
    status = hl__path_find(address.un.path, true, &inode);
    if (status < 0)
        return status;
    *socket = (inode->mode & S_IFMT) == S_IFSOCK ? inode->object : NULL;
    hl__inode_unref(inode);
    return *socket ? 0 : -ECONNREFUSED;
}

int64_t hl__socket_name_write(const struct hl__socket_name *name, uint64_t address,
                              uint64_t size_address)
{
    static const struct linux_sockaddr_un unnamed = {.family = AF_UNIX};
    const struct linux_sockaddr_un *from = name ? &name->address : &unnamed;
    int32_t size = name ? (int32_t)name->size : (int32_t)FAMILY_SIZE, room;

    if (hl__user_read(&room, size_address, sizeof room) < 0)
        return -EFAULT;
    if (room < 0)
        return -EINVAL;
    if (hl__user_write(address, from, (uint64_t)(room < size ? room : size)) < 0)
        return -EFAULT;
    return hl__user_write(size_address, &size, sizeof size);
}

void hl__socket_name_close(struct hl__socket *socket)
{
    struct hl__socket_name *name = socket->name, **link = &abstract_names;

    if (!name || name->socket != socket)
        return;
    name->socket = NULL;
    if (name->inode) {
        name->inode->object = NULL;
        hl__inode_unref(name->inode);
        name->inode = NULL;
        return;
    }
    while (*link && *link != name)
        link = &(*link)->next;
    if (*link)
        *link = name->next;
}

/* Binding */

static int64_t name_give(struct hl__socket *socket, const struct address *address,
                         struct hl__inode *inode)
{
    struct hl__socket_name *name = hl__heap_new(sizeof *name);

    if (!name)
        return -ENOMEM;
    name->references = 1;
    name->size = address->size;
    name->address = address->un;
    name->socket = socket;
    name->inode = inode;
    socket->name = name;
    if (inode) {
        inode->object = socket;
        return 0;
    }
    name->next = abstract_names;
    abstract_names = name;
    return 0;
}

static int64_t bind_path(struct hl__socket *socket, const struct address *address)
{
    struct hl__inode *inode;
    int64_t status = hl__path_make(address->un.path, S_IFSOCK | 0777, &inode);

    if (status < 0)
        return status == -EEXIST ? -EADDRINUSE : status;
    status = name_give(socket, address, inode);
    if (status < 0)
        hl__inode_unref(inode);
    return status;
}

static int64_t bind_abstract(struct hl__socket *socket, const struct address *address)
{
    return abstract_find(address) ? -EADDRINUSE : name_give(socket, address, NULL);
}

/* A name that nobody has: five digits. */
static int64_t bind_automatically(struct hl__socket *socket)
{
    static uint32_t next;
    struct address address = {.size = FAMILY_SIZE + 1 + AUTOBIND_DIGITS, .un.family = AF_UNIX};

    for (uint32_t tries = 1u << 4 * AUTOBIND_DIGITS; tries; tries--) {
        uint32_t number = next++;

        for (uint32_t i = AUTOBIND_DIGITS; i > 0; i--, number >>= 4)
            address.un.path[i] = "0123456789abcdef"[number & 15];
        if (!abstract_find(&address))
            return name_give(socket, &address, NULL);
    }
    return -ENOSPC;
}

HL__SYSCALL(bind)
{
    int64_t error;
    struct hl__socket *socket = hl__socket_of(arg[0], &error);
    struct address address;

    if (!socket)
        return error;
    error = address_read(arg[1], arg[2], &address);
    if (error < 0)
        return error;
    if (address.un.family != AF_UNIX)
        return -EINVAL;
    if (address.size == FAMILY_SIZE)
        return socket->name ? 0 : bind_automatically(socket);
    if (socket->name)
        return -EINVAL;
    return address_is_abstract(&address) ? bind_abstract(socket, &address)
                                         : bind_path(socket, &address);
}

/* Connecting */

static bool is_listener(const struct hl__socket *socket)
{
    return socket->listening && !(socket->shut & HL__SHUT_RECEIVE);
}

/* The other end of a connection, which waits to be accepted. */
static int64_t listener_add(struct hl__socket *listener, struct hl__socket *client)
{
    struct hl__socket *server = hl__socket_new(client->type);

    if (!server)
        return -ENOMEM;
    server->name = client->peer_name = listener->name;
    hl__socket_name_ref(listener->name);
    hl__socket_name_ref(listener->name);
    if (client->name)
        hl__socket_name_ref(client->name);
    server->peer_name = client->name;
    server->peer_credentials = client->peer_credentials = hl__socket_credentials();
    server->passes_credentials = listener->passes_credentials;
    server->connected = client->connected = true;
    hl__socket_set_peer(server, client);
    hl__socket_set_peer(client, server);
    *(listener->pending_last ? &listener->pending_last->pending_next : &listener->pending_first) =
        server;
    listener->pending_last = server;
    listener->pending_count++;
    hl__socket_changed(listener, POLLIN);
    hl__socket_changed(client, POLLOUT);
    return 0;
}

static int64_t connect_stream(struct hl__socket *socket, struct hl__socket *to)
{
    uint64_t deadline;

    if (socket->connected)
        return -EISCONN;
    if (socket->listening)
        return -EINVAL;
    if (to->type != socket->type)
        return -EPROTOTYPE;
    if (!is_listener(to))
        return -ECONNREFUSED;
    if (to->pending_count <= to->backlog)
        return listener_add(to, socket);
    deadline = hl__wait_deadline(socket->send_timeout_ns);
    if (socket->file->flags & O_NONBLOCK || hl__wait_expired(deadline))
        return -EAGAIN;
    return hl__wait_on(&to->room, deadline);
}

static int64_t connect_datagram(struct hl__socket *socket, struct hl__socket *to)
{
    if (to->type != socket->type)
        return -EPROTOTYPE;
    if (to->peer && to->peer != socket)
        return -EPERM;
    hl__socket_set_peer(socket, to);
    hl__socket_name_unref(socket->peer_name);
    socket->peer_name = to->name;
    if (to->name)
        hl__socket_name_ref(to->name);
    socket->connected = true;
    socket->peer_gone = false;
    return 0;
}

static void disconnect_datagram(struct hl__socket *socket)
{
    hl__socket_set_peer(socket, NULL);
    hl__socket_name_unref(socket->peer_name);
    socket->peer_name = NULL;
    socket->connected = socket->peer_gone = false;
}

HL__SYSCALL(connect)
{
    int64_t error;
    struct hl__socket *socket = hl__socket_of(arg[0], &error), *to;
    uint16_t family;

    if (!socket)
        return error;
    if ((int32_t)arg[2] < (int32_t)FAMILY_SIZE)
        return -EINVAL;
    if (hl__user_read(&family, arg[1], sizeof family) < 0)
        return -EFAULT;
    if (family == AF_UNSPEC && socket->type == SOCK_DGRAM) {
        disconnect_datagram(socket);
        return 0;
    }
    error = hl__socket_find(arg[1], arg[2], &to);
    if (error < 0)
        return error;
    return socket->type == SOCK_DGRAM ? connect_datagram(socket, to) : connect_stream(socket, to);
}

/* Listening and accepting */

HL__SYSCALL(listen)
{
    int64_t error;
    struct hl__socket *socket = hl__socket_of(arg[0], &error);

    if (!socket)
        return error;
    if (socket->type == SOCK_DGRAM)
        return -EOPNOTSUPP;
    if (!socket->name || socket->connected)
        return -EINVAL;
    socket->backlog =
        (uint32_t)arg[1] < HL__SOCKET_BACKLOG_MAX ? (uint32_t)arg[1] : HL__SOCKET_BACKLOG_MAX;
    socket->listening = true;
    hl__wake(&socket->room);
    return 0;
}

static int64_t accept_wait(struct hl__socket *socket)
{
    uint64_t deadline = hl__wait_deadline(socket->receive_timeout_ns);

    if (socket->file->flags & O_NONBLOCK || hl__wait_expired(deadline))
        return -EAGAIN;
    if (deadline != UINT64_MAX)
        hl__thread->wait.restart = HL__RESTART_NEVER;
    return hl__wait_on(&socket->file->queues[HL__FILE_READ], deadline);
}

static int64_t socket_accept(const uint64_t *arg, uint32_t flags)
{
    int64_t error, descriptor;
    struct hl__socket *socket = hl__socket_of(arg[0], &error), *server;

    if (flags & ~(uint32_t)(O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    if (!socket)
        return error;
    if (socket->type == SOCK_DGRAM)
        return -EOPNOTSUPP;
    if (!is_listener(socket))
        return -EINVAL;
    server = socket->pending_first;
    if (!server)
        return accept_wait(socket);
    socket->pending_first = server->pending_next;
    if (!socket->pending_first)
        socket->pending_last = NULL;
    server->pending_next = NULL;
    socket->pending_count--;
    hl__wake(&socket->room);
    descriptor = hl__socket_open(server, flags);
    if (descriptor < 0 || !arg[1])
        return descriptor;
    error = hl__socket_name_write(server->peer_name, arg[1], arg[2]);
    if (error < 0)
        hl__descriptor_close((uint64_t)descriptor);
    return error < 0 ? error : descriptor;
}

HL__SYSCALL(accept)
{
    return socket_accept(arg, 0);
}

HL__SYSCALL(accept4)
{
    return socket_accept(arg, (uint32_t)arg[3]);
}

HL__SYSCALL(getsockname)
{
    int64_t error;
    struct hl__socket *socket = hl__socket_of(arg[0], &error);

    return socket ? hl__socket_name_write(socket->name, arg[1], arg[2]) : error;
}

HL__SYSCALL(getpeername)
{
    int64_t error;
    struct hl__socket *socket = hl__socket_of(arg[0], &error);

    if (!socket)
        return error;
    if (!socket->connected || (socket->type == SOCK_DGRAM && !socket->peer))
        return -ENOTCONN;
    return hl__socket_name_write(socket->peer ? socket->peer->name : socket->peer_name, arg[1],
                                 arg[2]);
}
