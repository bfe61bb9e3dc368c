/* System calls on pipes, sockets, events and readiness: see entry/syscall_table.h. */
#ifndef HL_SHIM_IO_SYSCALLS_H
#define HL_SHIM_IO_SYSCALLS_H

/* clang-format off */
#define HL__SYSCALLS_IO(DONE, PARTIAL, REFUSED) \
    DONE(7, poll) DONE(22, pipe) DONE(23, select) DONE(40, sendfile) \
    PARTIAL(41, socket, "AF_UNIX only; other families fail with EAFNOSUPPORT") \
    PARTIAL(42, connect, "AF_UNIX only") PARTIAL(43, accept, "AF_UNIX only") \
    PARTIAL(44, sendto, "AF_UNIX only; credentials are always the program's own") \
    DONE(45, recvfrom) PARTIAL(46, sendmsg, "AF_UNIX only; sockets that only their own messages \
still refer to are not collected before the program ends") \
    DONE(47, recvmsg) DONE(48, shutdown) PARTIAL(49, bind, "AF_UNIX only") DONE(50, listen) \
    DONE(51, getsockname) DONE(52, getpeername) \
    PARTIAL(53, socketpair, "AF_UNIX only; buffers count in other steps than Linux's") \
    PARTIAL(54, setsockopt, "SOL_SOCKET's options that mean something between AF_UNIX sockets") \
    PARTIAL(55, getsockopt, "SOL_SOCKET's options that mean something between AF_UNIX sockets") \
    DONE(213, epoll_create) DONE(232, epoll_wait) DONE(233, epoll_ctl) DONE(270, pselect6) \
    DONE(271, ppoll) DONE(275, splice) DONE(276, tee) \
    PARTIAL(278, vmsplice, "the pages are copied") DONE(281, epoll_pwait) DONE(282, signalfd) \
    PARTIAL(283, timerfd_create, "nobody sets the clock, so TFD_TIMER_CANCEL_ON_SET never cancels") \
    DONE(284, eventfd) DONE(286, timerfd_settime) DONE(287, timerfd_gettime) DONE(288, accept4) \
    DONE(289, signalfd4) DONE(290, eventfd2) DONE(291, epoll_create1) \
    PARTIAL(293, pipe2, "O_DIRECT (packets) fails with EINVAL") \
    PARTIAL(299, recvmmsg, "a call that had to wait for its first message forgets its timeout") \
    DONE(307, sendmmsg) \
    PARTIAL(319, memfd_create, "no huge pages; F_SEAL_WRITE fails while anything maps the file") \
    DONE(326, copy_file_range) DONE(441, epoll_pwait2)
/* clang-format on */

#endif
