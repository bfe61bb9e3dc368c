/*
 * Sockets of AF_UNIX; there are no others. What is sent lies in the receiver's queue as messages until
 * it is received, whatever the type; streams ignore where a message ends.
 */
#ifndef HL_SHIM_SOCKET_H
#define HL_SHIM_SOCKET_H

#include "file/file.h"
#include "io/linux.h"
#include "io/vectors.h"

#define HL__SOCKET_BUFFER 212992u    /* net.core.wmem_default, and wmem_max */
#define HL__SOCKET_BUFFER_MIN 4608u  /* of SO_SNDBUF */
#define HL__SOCKET_DATAGRAMS_MAX 10u /* net.unix.max_dgram_qlen */
#define HL__SOCKET_BACKLOG_MAX 4096u /* net.core.somaxconn */
#define HL__SOCKET_FILES_MAX 253u    /* that one message carries: SCM_MAX_FD */
#define HL__SOCKET_FILES_IN_FLIGHT_MAX 4096u
#define HL__SOCKET_CONTROL_MAX 20480u /* bytes of a message's control data */

enum { HL__SHUT_RECEIVE = 1, HL__SHUT_SEND = 2 };

/* The address of a socket, shared by it and by what it sent. */
struct hl__socket_name {
    uint32_t references;
    uint32_t size; /* of the address, the family included */
    struct linux_sockaddr_un address;
    struct hl__socket *socket;    /* that is bound to it; NULL: gone */
    struct hl__inode *inode;      /* of a path, referenced; NULL: abstract */
    struct hl__socket_name *next; /* in the table of abstract names */
};

/* Open files under way. */
struct hl__socket_files {
    uint32_t count;
    struct hl__file *items[HL__SOCKET_FILES_MAX];
};

struct hl__socket_message {
    struct hl__socket_message *next;
    struct hl__socket_files *files; /* NULL: none */
    struct hl__socket_name *from;   /* referenced; NULL: unnamed */
    struct linux_ucred credentials;
    uint32_t size, start; /* bytes before `start` were received */
    uint32_t charge;      /* against the sender's buffer */
    uint8_t bytes[];
};

struct hl__socket {
    struct hl__file *file; /* NULL: not accepted yet */
    uint32_t type;
    /* Where it sends to. Those that send here are linked by next_sender. */
    struct hl__socket *peer, *senders, *next_sender;
    struct hl__socket_message *first, *last;
    uint32_t message_count;
    uint64_t charge, bytes; /* of the messages */
    uint32_t send_buffer, receive_buffer;
    uint64_t send_timeout_ns, receive_timeout_ns; /* UINT64_MAX: none */
    int32_t error;                                /* SO_ERROR */
    uint32_t shut;                                /* HL__SHUT_* */
    bool listening, connected, passes_credentials;
    bool peer_gone; /* datagrams: the next one to be sent is refused */
    struct linux_ucred peer_credentials;
    struct hl__socket_name *name, *peer_name; /* referenced */
    /* Of a listening socket: connections that wait to be accepted, linked by pending_next. */
    struct hl__socket *pending_first, *pending_last, *pending_next;
    uint32_t pending_count, backlog;
    struct hl__queue room; /* calls that wait until it takes a message or a connection */
    uint32_t switches;     /* options that are only remembered, by their number */
    uint32_t linger[2];
};

/* What goes with a message's bytes. */
struct hl__socket_extra {
    struct hl__socket_files *files; /* sending: taken over if the message is sent */
    struct hl__socket_name *name;   /* receiving: the sender's, referenced */
    struct linux_ucred credentials; /* of the sender */
    uint32_t flags;                 /* receiving: MSG_TRUNC, MSG_CTRUNC */
    bool received;                  /* something was */
};

/* socket.c */

struct hl__socket *hl__socket_of(uint64_t descriptor, int64_t *error); /* NULL: -EBADF, -ENOTSOCK */
struct hl__socket *hl__socket_of_file(const struct hl__file *file);    /* NULL: none */
struct hl__socket *hl__socket_new(uint32_t type);
void hl__socket_free(struct hl__socket *socket); /* it has no file, or that is being closed */
/* A descriptor for the socket; -errno: it is gone. */
int64_t hl__socket_open(struct hl__socket *socket, uint32_t flags);
/* Sends to `peer` from now on; NULL: to nobody. */
void hl__socket_set_peer(struct hl__socket *socket, struct hl__socket *peer);
void hl__socket_changed(struct hl__socket *socket, uint32_t events);
struct linux_ucred hl__socket_credentials(void);
/* The error that is to be told now, negated, which is told once. */
int64_t hl__socket_take_error(struct hl__socket *socket);

/* socket_message.c */

/* Sends without waiting: bytes, or -EAGAIN and the socket in whose `room` to wait. `offset` bytes of
 * the vectors went before (streams). SIGPIPE is the caller's. `to`: of datagrams, NULL: the peer. */
int64_t hl__socket_send(struct hl__socket *socket, struct hl__socket *to,
                        const struct hl__vectors *from, uint64_t offset,
                        struct hl__socket_extra *extra, struct hl__socket **full);
/* Receives without waiting, to the vectors from byte `offset` on. */
int64_t hl__socket_receive(struct hl__socket *socket, const struct hl__vectors *to, uint64_t offset,
                           uint32_t flags, struct hl__socket_extra *extra);
void hl__socket_drop_messages(struct hl__socket *socket);
bool hl__socket_writable(const struct hl__socket *socket);
void hl__socket_files_free(struct hl__socket_files *files); /* NULL is fine */
struct hl__socket_files *hl__socket_files_new(void);        /* NULL: memory has run out */

/* The two with waiting, as read, write, sendmsg and recvmsg do it. */
int64_t hl__socket_send_wait(struct hl__socket *socket, struct hl__socket *to,
                             const struct hl__vectors *from, uint32_t flags,
                             struct hl__socket_extra *extra);
int64_t hl__socket_receive_wait(struct hl__socket *socket, const struct hl__vectors *to,
                                uint32_t flags, struct hl__socket_extra *extra);

/* socket_name.c */

void hl__socket_name_ref(struct hl__socket_name *name);
void hl__socket_name_unref(struct hl__socket_name *name); /* NULL is fine */
/* The socket goes: its name leads nowhere. */
void hl__socket_name_close(struct hl__socket *socket);
/* The socket of an address. 0, -ECONNREFUSED, -ENOENT, -EINVAL, -EFAULT, ... */
int64_t hl__socket_find(uint64_t address, uint64_t size, struct hl__socket **socket);
/* Writes an address (NULL: unnamed) where a call wants it: at `address`, whose room is at
 * `size_address`. */
int64_t hl__socket_name_write(const struct hl__socket_name *name, uint64_t address,
                              uint64_t size_address);

#endif
