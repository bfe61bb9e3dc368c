/* Linux's numbers and layouts of pipes, sockets, epolls and their like. */
#ifndef HL_SHIM_IO_LINUX_H
#define HL_SHIM_IO_LINUX_H

#include "base/linux.h"

/* eventfd2, timerfd_create, signalfd4 and epoll_create1 take O_NONBLOCK and O_CLOEXEC, too. */
#define EFD_SEMAPHORE 1u
#define TFD_TIMER_ABSTIME 1u
#define TFD_TIMER_CANCEL_ON_SET 2u

#define F_SEAL_EXEC 32u
enum {
    MFD_CLOEXEC = 1,
    MFD_ALLOW_SEALING = 2,
    MFD_HUGETLB = 4,
    MFD_NOEXEC_SEAL = 8,
    MFD_EXEC = 16
};
#define TIOCOUTQ 0x5411u
enum { CLOCK_REALTIME_ALARM = 8, CLOCK_BOOTTIME_ALARM = 9 };

enum { EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL = 2, EPOLL_CTL_MOD = 3 };
#define EPOLLEXCLUSIVE (1u << 28)
#define EPOLLWAKEUP (1u << 29)
#define EPOLLONESHOT (1u << 30)
#define EPOLLET (1u << 31)

struct linux_epoll_event {
    uint32_t events;
    uint64_t data;
} __attribute__((packed));
HL_ABI_ASSERT(sizeof(struct linux_epoll_event) == 12);

struct linux_itimerspec {
    struct linux_timespec interval, value;
};

struct linux_signalfd_siginfo {
    uint32_t signal;
    int32_t error, code;
    uint32_t pid, uid;
    int32_t descriptor;
    uint32_t timer, band, overrun, trap;
    int32_t status, integer;
    uint64_t pointer, user_time, system_time, address;
    uint16_t address_lsb, padding;
    int32_t syscall;
    uint64_t call_address;
    uint32_t architecture;
    uint8_t reserved[28];
};
HL_ABI_ASSERT(sizeof(struct linux_signalfd_siginfo) == 128);

/* Sockets */
enum { AF_UNSPEC = 0, AF_UNIX = 1 };
enum { SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_SEQPACKET = 5, SOCK_TYPE_MASK = 15 };
enum {
    MSG_OOB = 1,
    MSG_PEEK = 2,
    MSG_CTRUNC = 8,
    MSG_TRUNC = 0x20,
    MSG_DONTWAIT = 0x40,
    MSG_EOR = 0x80,
    MSG_WAITALL = 0x100,
    MSG_NOSIGNAL = 0x4000,
    MSG_WAITFORONE = 0x10000,
    MSG_CMSG_CLOEXEC = 0x40000000
};
enum { SHUT_RD = 0, SHUT_WR = 1, SHUT_RDWR = 2 };
enum { SOL_SOCKET = 1 };
enum {
    SO_DEBUG = 1,
    SO_REUSEADDR = 2,
    SO_TYPE = 3,
    SO_ERROR = 4,
    SO_DONTROUTE = 5,
    SO_BROADCAST = 6,
    SO_SNDBUF = 7,
    SO_RCVBUF = 8,
    SO_KEEPALIVE = 9,
    SO_OOBINLINE = 10,
    SO_PRIORITY = 12,
    SO_LINGER = 13,
    SO_REUSEPORT = 15,
    SO_PASSCRED = 16,
    SO_PEERCRED = 17,
    SO_RCVLOWAT = 18,
    SO_SNDLOWAT = 19,
    SO_RCVTIMEO = 20,
    SO_SNDTIMEO = 21,
    SO_TIMESTAMP = 29,
    SO_ACCEPTCONN = 30,
    SO_PEERSEC = 31,
    SO_SNDBUFFORCE = 32,
    SO_RCVBUFFORCE = 33,
    SO_PROTOCOL = 38,
    SO_DOMAIN = 39,
    SO_PEERGROUPS = 59
};
enum { SCM_RIGHTS = 1, SCM_CREDENTIALS = 2 };

struct linux_msghdr {
    uint64_t name;
    uint32_t name_size, padding;
    uint64_t vectors, vector_count;
    uint64_t control, control_size;
    uint32_t flags, padding2;
};
HL_ABI_ASSERT(sizeof(struct linux_msghdr) == 56);

struct linux_mmsghdr {
    struct linux_msghdr header;
    uint32_t size, padding;
};

struct linux_cmsghdr {
    uint64_t size;
    int32_t level, type;
};

struct linux_ucred {
    int32_t pid;
    uint32_t uid, gid;
};

#define UNIX_PATH_SIZE 108u
struct linux_sockaddr_un {
    uint16_t family;
    char path[UNIX_PATH_SIZE];
};
HL_ABI_ASSERT(sizeof(struct linux_sockaddr_un) == 110);

#endif
