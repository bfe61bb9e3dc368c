/* send, recv and their relatives, with what goes beside the bytes: addresses and control messages. */
#include "entry/access.h"
#include "entry/syscall.h"
#include "io/object.h"
#include "io/poll.h"
#include "io/socket.h"
#include "memory/heap.h"
#include "thread/thread.h"

#define CONTROL_ALIGN(size) (((size) + 7) & ~(uint64_t)7)
#define CONTROL_HEADER sizeof(struct linux_cmsghdr)
#define MESSAGES_MAX 1024u /* of sendmmsg and recvmmsg */

/* One message of the program's. */
struct call {
    struct hl__socket *socket;
    struct linux_msghdr header;
    struct linux_iovec *items; /* on the heap: too many for the stack */
    struct hl__vectors vectors;
    uint32_t flags;
};

static int64_t call_begin(struct call *call, uint64_t descriptor, uint64_t address, uint64_t flags)
{
    int64_t status;

    call->flags = (uint32_t)flags;
    call->socket = hl__socket_of(descriptor, &status);
    if (!call->socket)
        return status;
    if (hl__user_read(&call->header, address, sizeof call->header) < 0)
        return -EFAULT;
    if ((int32_t)call->header.name_size < 0)
        return -EINVAL;
    if (call->header.vector_count > HL__VECTORS_MAX)
        return -EMSGSIZE;
    call->items = hl__heap_new((call->header.vector_count + 1) * sizeof *call->items);
    if (!call->items)
        return -ENOMEM;
    status = hl__vectors_get(&call->vectors, call->items, call->header.vectors,
                             call->header.vector_count);
    if (status < 0)
        hl__heap_free(call->items, (call->header.vector_count + 1) * sizeof *call->items);
    return status;
}

static void call_end(struct call *call)
{
    hl__heap_free(call->items, (call->header.vector_count + 1) * sizeof *call->items);
}

/* Control messages of what is sent */

static int64_t rights_add(struct hl__socket_extra *extra, const uint8_t *data, uint64_t size)
{
    uint64_t count = size / sizeof(int32_t);

    if (!count)
        return 0;
    if (!extra->files)
        extra->files = hl__socket_files_new();
    if (!extra->files)
        return -ENOMEM;
    if (count > HL__SOCKET_FILES_MAX - extra->files->count)
        return -EINVAL;
    for (uint64_t i = 0; i < count; i++) {
        struct hl__file *file;
        uint32_t descriptor;

        __builtin_memcpy(&descriptor, data + i * sizeof descriptor, sizeof descriptor);
        file = hl__descriptor_file(descriptor);
        if (!file || file->flags & O_PATH)
            return -EBADF;
        hl__file_ref(file);
        extra->files->items[extra->files->count++] = file;
    }
    return 0;
}

/* A program can only say that it is itself. */
static int64_t credentials_check(const uint8_t *data, uint64_t size)
{
    struct linux_ucred own = hl__socket_credentials(), given;

    if (size != sizeof given)
        return -EINVAL;
    __builtin_memcpy(&given, data, sizeof given);
    return given.pid == own.pid && given.uid == own.uid && given.gid == own.gid ? 0 : -EPERM;
}

static int64_t control_parse(const uint8_t *control, uint64_t size, struct hl__socket_extra *extra)
{
    uint64_t at = 0;

    while (size - at >= CONTROL_HEADER) {
        struct linux_cmsghdr header;
        const uint8_t *data = control + at + CONTROL_HEADER;
        int64_t status = 0;

        __builtin_memcpy(&header, control + at, sizeof header);
        if (header.size < CONTROL_HEADER || header.size > size - at)
            return -EINVAL;
        if (header.level == SOL_SOCKET && header.type == SCM_RIGHTS)
            status = rights_add(extra, data, header.size - CONTROL_HEADER);
        else if (header.level == SOL_SOCKET && header.type == SCM_CREDENTIALS)
            status = credentials_check(data, header.size - CONTROL_HEADER);
        else if (header.level == SOL_SOCKET)
            status = -EINVAL;
        if (status < 0)
            return status;
        if (CONTROL_ALIGN(header.size) >= size - at)
            break;
        at += CONTROL_ALIGN(header.size);
    }
    return 0;
}

static int64_t control_get(const struct linux_msghdr *header, struct hl__socket_extra *extra)
{
    uint8_t *control;
    int64_t status;

    if (!header->control || !header->control_size)
        return 0;
    if (header->control_size > HL__SOCKET_CONTROL_MAX)
        return -ENOBUFS;
    control = hl__heap_new(header->control_size);
    if (!control)
        return -ENOMEM;
    status = hl__user_read(control, header->control, header->control_size);
    if (status == 0)
        status = control_parse(control, header->control_size, extra);
    hl__heap_free(control, header->control_size);
    return status;
}

/* Sending */

/* Where a datagram goes: to the peer (NULL) unless the call says. */
static int64_t destination(struct hl__socket *socket, uint64_t address, uint64_t size,
                           struct hl__socket **to)
{
    *to = NULL;
    if (!address || !size || socket->type == SOCK_SEQPACKET)
        return 0;
    if (socket->type == SOCK_STREAM)
        return socket->connected ? -EISCONN : -EOPNOTSUPP;
    return hl__socket_find(address, size, to);
}

static int64_t message_send(struct call *call)
{
    struct hl__socket_extra extra = {.credentials = hl__socket_credentials()};
    struct hl__socket *to;
    int64_t status = call->flags & MSG_OOB ? -EOPNOTSUPP : control_get(&call->header, &extra);

    if (status == 0)
        status = destination(call->socket, call->header.name, call->header.name_size, &to);
    if (status == 0)
        status = hl__socket_send_wait(call->socket, to, &call->vectors, call->flags, &extra);
    hl__socket_files_free(extra.files);
    return status;
}

HL__SYSCALL(sendto)
{
    struct linux_iovec item;
    struct call call = {.vectors = hl__vectors_one(&item, arg[1], arg[2]),
                        .flags = (uint32_t)arg[3],
                        .header = {.name = arg[4], .name_size = (uint32_t)arg[5]}};
    int64_t status;

    call.socket = hl__socket_of(arg[0], &status);
    return call.socket ? message_send(&call) : status;
}

static int64_t socket_sendmsg(uint64_t descriptor, uint64_t address, uint64_t flags)
{
    struct call call;
    int64_t result = call_begin(&call, descriptor, address, flags);

    if (result < 0)
        return result;
    result = message_send(&call);
    call_end(&call);
    return result;
}

HL__SYSCALL(sendmsg)
{
    return socket_sendmsg(arg[0], arg[1], arg[2]);
}

/* Control messages of what is received */

struct control {
    uint64_t address, room, used;
    uint32_t flags; /* MSG_CTRUNC, MSG_CMSG_CLOEXEC */
};

/* Begins a message of `size` bytes; how many of them fit. */
static int64_t control_put(struct control *control, int32_t type, const void *data, uint64_t size)
{
    struct linux_cmsghdr header = {CONTROL_HEADER + size, SOL_SOCKET, type};
    uint64_t left = control->room - control->used;

    if (left < CONTROL_HEADER) {
        control->flags |= MSG_CTRUNC;
        return 0;
    }
    if (header.size > left) {
        control->flags |= MSG_CTRUNC;
        header.size = left;
    }
    if (hl__user_write(control->address + control->used, &header, sizeof header) < 0 ||
        hl__user_write(control->address + control->used + CONTROL_HEADER, data,
                       header.size - CONTROL_HEADER) < 0)
        return -EFAULT;
    control->used += CONTROL_ALIGN(header.size) < left ? CONTROL_ALIGN(header.size) : left;
    return 0;
}

/* Descriptors for the files that came, as many as there is room for. */
static int64_t control_put_files(struct control *control, const struct hl__socket_files *files)
{
    int32_t descriptors[HL__SOCKET_FILES_MAX];
    uint64_t left = control->room - control->used, count = 0;
    uint64_t fits = left > CONTROL_HEADER ? (left - CONTROL_HEADER) / sizeof *descriptors : 0;

    while (count < files->count && count < fits) {
        int64_t descriptor;

        hl__file_ref(files->items[count]);
        descriptor = hl__descriptor_add(files->items[count], 0, control->flags & MSG_CMSG_CLOEXEC);
        if (descriptor < 0)
            break;
        descriptors[count++] = (int32_t)descriptor;
    }
    if (count < files->count)
        control->flags |= MSG_CTRUNC;
    return count ? control_put(control, SCM_RIGHTS, descriptors, count * sizeof *descriptors) : 0;
}

/* Writes what goes beside a received message. 0 or -EFAULT. */
static int64_t header_put(struct call *call, const struct hl__socket_extra *extra, uint64_t address)
{
    struct control control = {call->header.control,
                              call->header.control ? call->header.control_size : 0, 0,
                              call->flags & MSG_CMSG_CLOEXEC};
    struct linux_msghdr *header = &call->header;
    uint32_t room = header->name_size;
    int64_t status = 0;

    if (extra->received && call->socket->passes_credentials)
        status =
            control_put(&control, SCM_CREDENTIALS, &extra->credentials, sizeof extra->credentials);
    if (status == 0 && extra->files)
        status = control_put_files(&control, extra->files);
    header->control_size = control.used;
    header->flags = extra->flags | (control.flags & MSG_CTRUNC) | (call->flags & MSG_CMSG_CLOEXEC);
    if (header->name) {
        header->name_size = extra->name ? extra->name->size : 0;
        if (status == 0 && extra->name)
            status = hl__user_write(header->name, &extra->name->address,
                                    room < extra->name->size ? room : extra->name->size);
    }
    return status < 0 ? status : hl__user_write(address, header, sizeof *header);
}

static void extra_end(struct hl__socket_extra *extra)
{
    hl__socket_files_free(extra->files);
    hl__socket_name_unref(extra->name);
}

static int64_t message_receive(struct call *call, struct hl__socket_extra *extra)
{
    if (call->flags & MSG_OOB)
        return -EOPNOTSUPP;
    return hl__socket_receive_wait(call->socket, &call->vectors, call->flags, extra);
}

static int64_t socket_recvmsg(uint64_t descriptor, uint64_t address, uint64_t flags)
{
    struct call call;
    struct hl__socket_extra extra = {0};
    int64_t result = call_begin(&call, descriptor, address, flags), status = 0;

    if (result < 0)
        return result;
    result = message_receive(&call, &extra);
    if (result >= 0)
        status = header_put(&call, &extra, address);
    extra_end(&extra);
    call_end(&call);
    return status < 0 ? status : result;
}

HL__SYSCALL(recvmsg)
{
    return socket_recvmsg(arg[0], arg[1], arg[2]);
}

HL__SYSCALL(recvfrom)
{
    struct linux_iovec item;
    struct call call = {.vectors = hl__vectors_one(&item, arg[1], arg[2]),
                        .flags = (uint32_t)arg[3]};
    struct hl__socket_extra extra = {0};
    int64_t result, status = 0;
    int32_t none = 0;

    call.socket = hl__socket_of(arg[0], &result);
    if (!call.socket)
        return result;
    result = message_receive(&call, &extra);
    if (result >= 0 && arg[4])
        status = extra.name ? hl__socket_name_write(extra.name, arg[4], arg[5])
                            : hl__user_write(arg[5], &none, sizeof none);
    extra_end(&extra);
    return status < 0 ? status : result;
}

/* Many messages */

typedef int64_t one_message(uint64_t descriptor, uint64_t address, uint64_t flags);

/*
 * Moves messages until one fails or would have to wait after some were moved. A call that waits for
 * more datagrams keeps their number in wait.progress; for streams that counts the bytes of one, so that
 * those only wait for the first.
 */
static int64_t many_messages(const uint64_t *arg, one_message *move, uint32_t flags,
                             uint64_t deadline)
{
    int64_t error;
    struct hl__socket *socket = hl__socket_of(arg[0], &error);
    uint32_t count = (uint32_t)arg[2] < MESSAGES_MAX ? (uint32_t)arg[2] : MESSAGES_MAX;
    bool counts = socket && socket->type != SOCK_STREAM && !(flags & MSG_WAITFORONE);
    uint64_t done = counts ? hl__thread->wait.progress : 0;

    if (!socket)
        return error;
    while (done < count) {
        uint64_t at = arg[1] + done * sizeof(struct linux_mmsghdr);
        uint32_t once = done && !counts ? (uint32_t)MSG_DONTWAIT : 0, size;
        int64_t result = move(arg[0], at, (flags & ~(uint32_t)MSG_WAITFORONE) | once);

        if (result == HL__WAITING && counts)
            hl__thread->wait.progress = done;
        if (result == HL__WAITING || (result < 0 && !done))
            return result;
        if (result < 0)
            break;
        size = (uint32_t)result;
        if (hl__user_write(at + __builtin_offsetof(struct linux_mmsghdr, size), &size,
                           sizeof size) < 0)
            return done ? (int64_t)done : -EFAULT;
        done++;
        if (hl__wait_expired(deadline))
            break;
    }
    return (int64_t)done;
}

HL__SYSCALL(sendmmsg)
{
    return many_messages(arg, socket_sendmsg, (uint32_t)arg[3], UINT64_MAX);
}

/* As on Linux, the time is looked at after each message only. */
HL__SYSCALL(recvmmsg)
{
    uint64_t timeout_ns;
    int64_t status = hl__timeout_timespec(arg[4], &timeout_ns);

    if (status < 0)
        return status;
    return many_messages(arg, socket_recvmsg, (uint32_t)arg[3], hl__wait_deadline(timeout_ns));
}
