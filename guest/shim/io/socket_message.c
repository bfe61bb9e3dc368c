/* Messages: sending, receiving, and waiting for either. */
#include "io/object.h"
#include "io/socket.h"
#include "memory/heap.h"
#include "thread/thread.h"

#define STREAM_PART 16000u    /* bytes of one message of a stream, at most */
#define MESSAGE_CHARGE 512u   /* of a message, beside its bytes: Linux's is much the same */
#define DATAGRAM_OVERHEAD 32u /* the largest datagram is as much smaller than the sender's buffer */

static uint32_t files_in_flight;

/* Files under way */

struct hl__socket_files *hl__socket_files_new(void)
{
    return hl__heap_new(sizeof(struct hl__socket_files));
}

void hl__socket_files_free(struct hl__socket_files *files)
{
    if (!files)
        return;
    for (uint32_t i = 0; i < files->count; i++)
        hl__file_unref(files->items[i]);
    hl__heap_free(files, sizeof *files);
}

/* Gives up what a message carries, before it goes itself. */
static struct hl__socket_files *message_take_files(struct hl__socket_message *message)
{
    struct hl__socket_files *files = message->files;

    message->files = NULL;
    files_in_flight -= files ? files->count : 0;
    return files;
}

/* For MSG_PEEK: the receiver gets them, and the message keeps them. */
static struct hl__socket_files *files_copy(const struct hl__socket_files *files)
{
    struct hl__socket_files *copy = hl__socket_files_new();

    if (!copy)
        return NULL;
    *copy = *files;
    for (uint32_t i = 0; i < copy->count; i++)
        hl__file_ref(copy->items[i]);
    return copy;
}

/* Messages */

static size_t message_size(uint64_t bytes)
{
    return sizeof(struct hl__socket_message) + bytes;
}

static void message_free(struct hl__socket_message *message)
{
    hl__socket_files_free(message_take_files(message));
    hl__socket_name_unref(message->from);
    hl__heap_free(message, message_size(message->size));
}

/* Takes the first message out, without telling who waits to send. */
static struct hl__socket_message *message_pop(struct hl__socket *socket)
{
    struct hl__socket_message *message = socket->first;

    socket->first = message->next;
    if (!socket->first)
        socket->last = NULL;
    socket->message_count--;
    socket->charge -= message->charge;
    return message;
}

/* There is more room: for those that send here. */
static void socket_drained(struct hl__socket *socket)
{
    hl__wake(&socket->room);
    for (struct hl__socket *sender = socket->senders; sender; sender = sender->next_sender)
        if (hl__socket_writable(sender))
            hl__socket_changed(sender, POLLOUT);
}

/* Closing a file that was under way may close sockets, whose messages may hold files... Their chain is
 * walked, not recursed into. */
void hl__socket_drop_messages(struct hl__socket *socket)
{
    static struct hl__socket_message *doomed;
    static bool busy;

    while (socket->first) {
        struct hl__socket_message *message = message_pop(socket);

        message->next = doomed;
        doomed = message;
    }
    socket->bytes = 0;
    if (busy)
        return;
    busy = true;
    while (doomed) {
        struct hl__socket_message *message = doomed;

        doomed = message->next;
        message_free(message);
    }
    busy = false;
}

/* A message of `size` bytes of the vectors, not in any queue yet. 0, -ENOMEM or -EFAULT. */
static int64_t message_new(const struct hl__vectors *from, uint64_t offset, uint64_t size,
                           struct hl__socket_message **result)
{
    struct hl__socket_message *message = hl__heap_new(message_size(size));
    int64_t copied;

    if (!message)
        return -ENOMEM;
    message->size = (uint32_t)size;
    message->charge = (uint32_t)((size + 255) / 256 * 256 + MESSAGE_CHARGE);
    copied = hl__vectors_read(from, offset, message->bytes, size);
    if (copied != (int64_t)size) {
        hl__heap_free(message, message_size(size));
        return -EFAULT;
    }
    *result = message;
    return 0;
}

static void message_queue(struct hl__socket *to, const struct hl__socket *sender,
                          struct hl__socket_message *message, struct hl__socket_extra *extra)
{
    message->files = extra->files;
    extra->files = NULL;
    files_in_flight += message->files ? message->files->count : 0;
    message->credentials = extra->credentials;
    message->from = sender->name;
    if (message->from)
        hl__socket_name_ref(message->from);
    *(to->last ? &to->last->next : &to->first) = message;
    to->last = message;
    to->message_count++;
    to->charge += message->charge;
    to->bytes += message->size;
    hl__socket_changed(to, POLLIN);
}

static bool files_too_many(const struct hl__socket_extra *extra)
{
    return extra->files && files_in_flight + extra->files->count > HL__SOCKET_FILES_IN_FLIGHT_MAX;
}

/* Sending */

/* Whether `to` takes another message of the socket. Those who send to each other have the sender's
 * buffer between them; a receiver of many takes a few datagrams only. */
static bool socket_has_room(const struct hl__socket *socket, const struct hl__socket *to)
{
    if (socket->type == SOCK_DGRAM && to->peer != socket && to != socket &&
        to->message_count > HL__SOCKET_DATAGRAMS_MAX)
        return false;
    return to->charge < socket->send_buffer;
}

/* Poll says so while three quarters are free, so that who waits does not run for each message. */
bool hl__socket_writable(const struct hl__socket *socket)
{
    const struct hl__socket *to = socket->peer;

    if (!to)
        return true;
    if (socket->type == SOCK_DGRAM && !socket_has_room(socket, to))
        return false;
    return to->charge * 4 <= socket->send_buffer;
}

static int64_t stream_send(struct hl__socket *socket, const struct hl__vectors *from,
                           uint64_t offset, struct hl__socket_extra *extra,
                           struct hl__socket **full)
{
    struct hl__socket *to = socket->peer;
    uint64_t done = 0, left = from->size - offset;
    int64_t status = 0;

    if (!socket->connected)
        return -ENOTCONN;
    if (socket->error)
        return hl__socket_take_error(socket);
    if (!to || socket->shut & HL__SHUT_SEND || to->shut & HL__SHUT_RECEIVE)
        return -EPIPE;
    while (done < left) {
        struct hl__socket_message *message;
        uint64_t part = left - done < STREAM_PART ? left - done : STREAM_PART;

        status = socket_has_room(socket, to) ? message_new(from, offset + done, part, &message)
                                             : -EAGAIN;
        if (status < 0)
            break;
        message_queue(to, socket, message, extra);
        done += part;
    }
    *full = status == -EAGAIN ? to : NULL;
    return done ? (int64_t)done : status;
}

static int64_t datagram_send(struct hl__socket *socket, struct hl__socket *to,
                             const struct hl__vectors *from, struct hl__socket_extra *extra,
                             struct hl__socket **full)
{
    struct hl__socket_message *message;
    int64_t status;

    if (socket->error)
        return hl__socket_take_error(socket);
    if (socket->shut & HL__SHUT_SEND)
        return -EPIPE;
    if (!to && socket->peer_gone) {
        socket->peer_gone = false;
        return -ECONNREFUSED;
    }
    if (!to)
        return -ENOTCONN;
    if (to->type != socket->type)
        return -EPROTOTYPE;
    if (from->size > socket->send_buffer - DATAGRAM_OVERHEAD)
        return -EMSGSIZE;
    if (socket->type == SOCK_DGRAM && to->peer && to->peer != socket)
        return -EPERM;
    if (to->shut & HL__SHUT_RECEIVE)
        return -EPIPE;
    if (!socket_has_room(socket, to)) {
        *full = to;
        return -EAGAIN;
    }
    status = message_new(from, 0, from->size, &message);
    if (status < 0)
        return status;
    message_queue(to, socket, message, extra);
    return (int64_t)from->size;
}

int64_t hl__socket_send(struct hl__socket *socket, struct hl__socket *to,
                        const struct hl__vectors *from, uint64_t offset,
                        struct hl__socket_extra *extra, struct hl__socket **full)
{
    if (files_too_many(extra))
        return -ETOOMANYREFS;
    if (socket->type == SOCK_STREAM)
        return stream_send(socket, from, offset, extra, full);
    if (socket->type == SOCK_SEQPACKET && !socket->connected)
        return -ENOTCONN;
    if (socket->type == SOCK_SEQPACKET && !socket->peer && !socket->error)
        return -EPIPE;
    return datagram_send(socket, to ? to : socket->peer, from, extra, full);
}

/* Receiving */

/* What goes with a message: to the receiver, once. */
static void extra_receive(struct hl__socket_message *message, uint32_t flags,
                          struct hl__socket_extra *extra)
{
    if (!extra->received) {
        extra->credentials = message->credentials;
        extra->name = message->from;
        if (extra->name)
            hl__socket_name_ref(extra->name);
    }
    extra->received = true;
    if (!message->files)
        return;
    extra->files = flags & MSG_PEEK ? files_copy(message->files) : message_take_files(message);
    extra->flags |= extra->files ? 0 : MSG_CTRUNC;
}

static bool credentials_equal(const struct linux_ucred *a, const struct linux_ucred *b)
{
    return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

/* A stream's bytes up to where something ends that the receiver must be able to tell. */
static int64_t stream_take(struct hl__socket *socket, const struct hl__vectors *to, uint64_t offset,
                           uint32_t flags, struct hl__socket_extra *extra)
{
    struct hl__socket_message *message = socket->first;
    uint64_t done = 0, size = to->size - offset;

    while (message && done < size) {
        struct hl__socket_message *next = message->next;
        uint64_t part = message->size - message->start;
        int64_t copied;

        if (extra->received && socket->passes_credentials &&
            !credentials_equal(&extra->credentials, &message->credentials))
            break;
        part = part < size - done ? part : size - done;
        copied = hl__vectors_write(to, offset + done, message->bytes + message->start, part);
        if (copied < 0)
            return done ? (int64_t)done : copied;
        extra_receive(message, flags, extra);
        done += (uint64_t)copied;
        if (!(flags & MSG_PEEK)) {
            message->start += (uint32_t)copied;
            socket->bytes -= (uint64_t)copied;
            if (message->start == message->size)
                message_free(message_pop(socket));
        }
        if (copied != (int64_t)part || extra->files)
            break;
        message = next;
    }
    return (int64_t)done;
}

static int64_t stream_receive(struct hl__socket *socket, const struct hl__vectors *to,
                              uint64_t offset, uint32_t flags, struct hl__socket_extra *extra)
{
    int64_t done;

    if (!socket->connected)
        return -EINVAL;
    if (to->size == offset)
        return 0;
    if (!socket->first) {
        if (socket->error)
            return hl__socket_take_error(socket);
        return socket->shut & HL__SHUT_RECEIVE ? 0 : -EAGAIN;
    }
    done = stream_take(socket, to, offset, flags, extra);
    if (done > 0 && !(flags & MSG_PEEK))
        socket_drained(socket);
    return done;
}

static int64_t datagram_receive(struct hl__socket *socket, const struct hl__vectors *to,
                                uint32_t flags, struct hl__socket_extra *extra)
{
    struct hl__socket_message *message = socket->first;
    uint64_t size;
    int64_t copied;

    if (socket->type == SOCK_SEQPACKET && !socket->connected)
        return -ENOTCONN;
    if (!message) {
        if (socket->error)
            return hl__socket_take_error(socket);
        return socket->shut & HL__SHUT_RECEIVE ? 0 : -EAGAIN;
    }
    size = message->size < to->size ? message->size : to->size;
    copied = hl__vectors_write(to, 0, message->bytes, size);
    if (copied == (int64_t)size) {
        extra_receive(message, flags, extra);
        extra->flags |= size < message->size ? MSG_TRUNC : 0;
        copied = flags & MSG_TRUNC ? (int64_t)message->size : copied;
    } else {
        copied = -EFAULT;
    }
    if (flags & MSG_PEEK)
        return copied;
    socket->bytes -= message->size;
    message_free(message_pop(socket));
    socket_drained(socket);
    return copied;
}

int64_t hl__socket_receive(struct hl__socket *socket, const struct hl__vectors *to, uint64_t offset,
                           uint32_t flags, struct hl__socket_extra *extra)
{
    if (socket->listening && socket->type == SOCK_STREAM)
        return -EINVAL;
    if (socket->type == SOCK_STREAM)
        return stream_receive(socket, to, offset, flags, extra);
    return datagram_receive(socket, to, flags, extra);
}

/* Waiting */

/* Waits on a queue unless the call or the socket does not, or the socket's timeout is over. */
static int64_t socket_sleep(struct hl__socket *socket, struct hl__queue *queue, uint32_t flags,
                            uint64_t timeout_ns)
{
    uint64_t deadline;

    if (flags & MSG_DONTWAIT || socket->file->flags & O_NONBLOCK)
        return -EAGAIN;
    deadline = hl__wait_deadline(timeout_ns);
    if (timeout_ns != UINT64_MAX) {
        if (hl__wait_expired(deadline))
            return -EAGAIN;
        hl__thread->wait.restart = HL__RESTART_NEVER;
    }
    return hl__wait_on(queue, deadline);
}

/* As socket_sleep(), after `done` bytes: those are the result if it does not wait. */
static int64_t socket_sleep_partly(struct hl__socket *socket, struct hl__queue *queue,
                                   uint32_t flags, uint64_t timeout_ns, uint64_t done)
{
    int64_t result = socket_sleep(socket, queue, flags, timeout_ns);

    if (result != HL__WAITING)
        return done ? (int64_t)done : result;
    hl__thread->wait.progress = done;
    hl__thread->wait.partial = true;
    return result;
}

int64_t hl__socket_send_wait(struct hl__socket *socket, struct hl__socket *to,
                             const struct hl__vectors *from, uint32_t flags,
                             struct hl__socket_extra *extra)
{
    uint64_t done = socket->type == SOCK_STREAM ? hl__thread->wait.progress : 0;
    struct hl__socket *full = NULL;
    int64_t result;

    if (done) { /* they went with the first part */
        hl__socket_files_free(extra->files);
        extra->files = NULL;
    }
    result = hl__socket_send(socket, to, from, done, extra, &full);
    if (result > 0)
        done += (uint64_t)result;
    if (result == -EPIPE && !done && socket->type == SOCK_STREAM && !(flags & MSG_NOSIGNAL))
        hl__signal_raise(SIGPIPE, SI_USER);
    if ((result < 0 && result != -EAGAIN) || done == from->size)
        return done ? (int64_t)done : result;
    if (!full)
        return done ? (int64_t)done : result;
    return socket_sleep_partly(socket, &full->room, flags, socket->send_timeout_ns, done);
}

int64_t hl__socket_receive_wait(struct hl__socket *socket, const struct hl__vectors *to,
                                uint32_t flags, struct hl__socket_extra *extra)
{
    bool all = flags & MSG_WAITALL && !(flags & MSG_PEEK) && socket->type == SOCK_STREAM;
    uint64_t done = all ? hl__thread->wait.progress : 0;
    int64_t result = hl__socket_receive(socket, to, done, flags, extra);
    struct hl__queue *queue = socket->file ? &socket->file->queues[HL__FILE_READ] : NULL;

    if (result > 0)
        done += (uint64_t)result;
    if (result == -EAGAIN || (all && result > 0 && done < to->size && !extra->files))
        return socket_sleep_partly(socket, queue, flags, socket->receive_timeout_ns, done);
    if (socket->type != SOCK_STREAM)
        return result;
    return done ? (int64_t)done : result;
}
