/* System calls on threads, the process, signals and time: see entry/syscall_table.h. */
#ifndef HL_SHIM_THREAD_SYSCALLS_H
#define HL_SHIM_THREAD_SYSCALLS_H

/* clang-format off */
#define HL__SYSCALLS_THREAD(DONE, PARTIAL, REFUSED) \
    DONE(13, rt_sigaction) DONE(14, rt_sigprocmask) DONE(15, rt_sigreturn) DONE(24, sched_yield) \
    DONE(34, pause) DONE(35, nanosleep) DONE(36, getitimer) DONE(37, alarm) DONE(38, setitimer) \
    DONE(39, getpid) PARTIAL(56, clone, "makes threads; a new process is refused with EPERM") \
    REFUSED(57, fork, EPERM, "a sandbox is one process") \
    REFUSED(58, vfork, EPERM, "a sandbox is one process") \
    DONE(60, exit) DONE(62, kill) DONE(63, uname) \
    DONE(96, gettimeofday) DONE(97, getrlimit) DONE(98, getrusage) DONE(99, sysinfo) \
    DONE(100, times) DONE(102, getuid) DONE(104, getgid) DONE(107, geteuid) DONE(108, getegid) \
    DONE(110, getppid) DONE(111, getpgrp) DONE(121, getpgid) DONE(124, getsid) \
    DONE(127, rt_sigpending) DONE(128, rt_sigtimedwait) \
    DONE(129, rt_sigqueueinfo) DONE(130, rt_sigsuspend) DONE(131, sigaltstack) DONE(157, prctl) DONE(158, arch_prctl) \
    DONE(186, gettid) DONE(200, tkill) DONE(201, time) DONE(202, futex) \
    DONE(204, sched_getaffinity) DONE(218, set_tid_address) DONE(222, timer_create) \
    DONE(223, timer_settime) DONE(224, timer_gettime) DONE(225, timer_getoverrun) \
    DONE(226, timer_delete) \
    REFUSED(227, clock_settime, EPERM, "the clocks are the host's") DONE(228, clock_gettime) \
    DONE(229, clock_getres) DONE(230, clock_nanosleep) DONE(231, exit_group) DONE(234, tgkill) \
    DONE(273, set_robust_list) DONE(274, get_robust_list) DONE(297, rt_tgsigqueueinfo) \
    DONE(302, prlimit64) DONE(309, getcpu) DONE(318, getrandom) \
    PARTIAL(435, clone3, "makes threads; a new process is refused with EPERM") \
    REFUSED(164, settimeofday, EPERM, "the clocks are the host's")
/* clang-format on */

#endif
