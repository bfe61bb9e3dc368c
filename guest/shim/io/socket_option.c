/* getsockopt and setsockopt. */
#include "entry/access.h"
#include "entry/syscall.h"
#include "io/socket.h"
#include "thread/thread.h"

#define NS_PER_SECOND 1000000000ull
#define NS_PER_MICROSECOND 1000
#define US_PER_SECOND 1000000

/* Switches that change nothing between sockets of one program, and are kept for who asks. */
static const uint32_t switches = 1u << SO_REUSEADDR | 1u << SO_DONTROUTE | 1u << SO_BROADCAST |
                                 1u << SO_KEEPALIVE | 1u << SO_OOBINLINE | 1u << SO_TIMESTAMP |
                                 1u << SO_REUSEPORT;

static bool is_switch(uint32_t option)
{
    return option < 32 && switches >> option & 1;
}

/* Timeouts */

static struct linux_timeval timeout_show(uint64_t ns)
{
    if (ns == UINT64_MAX)
        return (struct linux_timeval){0, 0};
    return (struct linux_timeval){(int64_t)(ns / NS_PER_SECOND),
                                  (int64_t)(ns % NS_PER_SECOND / NS_PER_MICROSECOND)};
}

static int64_t timeout_set(uint64_t *ns, uint64_t address, uint64_t size)
{
    struct linux_timeval time;

    if ((uint32_t)size < sizeof time)
        return -EINVAL;
    if (hl__user_read(&time, address, sizeof time) < 0)
        return -EFAULT;
    if (time.microseconds < 0 || time.microseconds >= US_PER_SECOND)
        return -EDOM;
    if (time.seconds < 0)
        *ns = 0;
    else if (time.seconds == 0 && time.microseconds == 0)
        *ns = UINT64_MAX;
    else if ((uint64_t)time.seconds >= UINT64_MAX / NS_PER_SECOND)
        *ns = UINT64_MAX;
    else
        *ns = (uint64_t)time.seconds * NS_PER_SECOND +
              (uint64_t)time.microseconds * NS_PER_MICROSECOND;
    return 0;
}

/* The value of an option: bytes, or -ENOPROTOOPT. */
static int64_t option_value(struct hl__socket *socket, uint32_t option, void *to)
{
    static const struct linux_ucred nobody = {0, UINT32_MAX, UINT32_MAX};
    int32_t *number = to;

    switch (option) {
    case SO_LINGER:
        __builtin_memcpy(to, socket->linger, sizeof socket->linger);
        return sizeof socket->linger;
    case SO_PEERCRED:
        *(struct linux_ucred *)to = socket->connected ? socket->peer_credentials : nobody;
        return sizeof(struct linux_ucred);
    case SO_RCVTIMEO:
        *(struct linux_timeval *)to = timeout_show(socket->receive_timeout_ns);
        return sizeof(struct linux_timeval);
    case SO_SNDTIMEO:
        *(struct linux_timeval *)to = timeout_show(socket->send_timeout_ns);
        return sizeof(struct linux_timeval);
    case SO_TYPE:
        *number = (int32_t)socket->type;
        break;
    case SO_ERROR:
        *number = (int32_t)-hl__socket_take_error(socket);
        break;
    case SO_SNDBUF:
        *number = (int32_t)socket->send_buffer;
        break;
    case SO_RCVBUF:
        *number = (int32_t)socket->receive_buffer;
        break;
    case SO_PASSCRED:
        *number = socket->passes_credentials;
        break;
    case SO_RCVLOWAT:
    case SO_SNDLOWAT:
        *number = 1;
        break;
    case SO_ACCEPTCONN:
        *number = socket->listening;
        break;
    case SO_DOMAIN:
        *number = AF_UNIX;
        break;
    case SO_PROTOCOL:
    case SO_PRIORITY:
    case SO_DEBUG:
        *number = 0;
        break;
    default:
        if (!is_switch(option))
            return -ENOPROTOOPT;
        *number = socket->switches >> option & 1;
    }
    return sizeof *number;
}

HL__SYSCALL(getsockopt)
{
    int64_t error;
    struct hl__socket *socket = hl__socket_of(arg[0], &error);
    uint8_t value[16] __attribute__((aligned(8)));
    int32_t room;
    int64_t size;

    if (!socket)
        return error;
    if ((uint32_t)arg[1] != SOL_SOCKET)
        return -EOPNOTSUPP;
    if (hl__user_read(&room, arg[4], sizeof room) < 0)
        return -EFAULT;
    if (room < 0)
        return -EINVAL;
    size = option_value(socket, (uint32_t)arg[2], value);
    if (size < 0)
        return size;
    if (size < room)
        room = (int32_t)size;
    if (hl__user_write(arg[3], value, (uint64_t)room) < 0)
        return -EFAULT;
    return hl__user_write(arg[4], &room, sizeof room);
}

/* Linux doubles what it is given, for its own overhead, and tells so. */
static uint32_t buffer_size(int32_t asked)
{
    uint32_t size =
        asked < 0 || (uint32_t)asked > HL__SOCKET_BUFFER ? HL__SOCKET_BUFFER : (uint32_t)asked;

    return size * 2 < HL__SOCKET_BUFFER_MIN ? HL__SOCKET_BUFFER_MIN : size * 2;
}

static int64_t option_set(struct hl__socket *socket, uint32_t option, int32_t value)
{
    switch (option) {
    case SO_SNDBUF:
        socket->send_buffer = buffer_size(value);
        hl__socket_changed(socket, POLLOUT);
        return 0;
    case SO_RCVBUF:
        socket->receive_buffer = buffer_size(value);
        return 0;
    case SO_SNDBUFFORCE:
    case SO_RCVBUFFORCE:
        return -EPERM;
    case SO_PASSCRED:
        socket->passes_credentials = value != 0;
        return 0;
    case SO_PRIORITY:
    case SO_DEBUG:
        return value == 0 ? 0 : -EPERM;
    case SO_RCVLOWAT:
        return value <= 1 ? 0 : -EINVAL;
    default:
        if (!is_switch(option))
            return -ENOPROTOOPT;
        socket->switches &= ~(1u << option);
        socket->switches |= value ? 1u << option : 0;
        return 0;
    }
}

HL__SYSCALL(setsockopt)
{
    int64_t error;
    struct hl__socket *socket = hl__socket_of(arg[0], &error);
    int32_t value;

    if (!socket)
        return error;
    if ((uint32_t)arg[1] != SOL_SOCKET)
        return -EOPNOTSUPP;
    if ((int32_t)arg[4] < (int32_t)sizeof value)
        return -EINVAL;
    switch ((uint32_t)arg[2]) {
    case SO_RCVTIMEO:
        return timeout_set(&socket->receive_timeout_ns, arg[3], arg[4]);
    case SO_SNDTIMEO:
        return timeout_set(&socket->send_timeout_ns, arg[3], arg[4]);
    case SO_LINGER:
        if ((uint32_t)arg[4] < sizeof socket->linger)
            return -EINVAL;
        return hl__user_read(socket->linger, arg[3], sizeof socket->linger);
    }
    if (hl__user_read(&value, arg[3], sizeof value) < 0)
        return -EFAULT;
    return option_set(socket, (uint32_t)arg[2], value);
}
