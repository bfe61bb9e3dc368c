/* System calls on threads, the process, signals and time: see entry/syscall_table.h. */
#ifndef HL_SHIM_THREAD_SYSCALLS_H
#define HL_SHIM_THREAD_SYSCALLS_H

/* clang-format off */
#define HL__SYSCALLS_THREAD(DONE, PARTIAL, REFUSED) \
    DONE(13, rt_sigaction) DONE(14, rt_sigprocmask) DONE(15, rt_sigreturn) DONE(24, sched_yield) \
    DONE(35, nanosleep) DONE(39, getpid) DONE(60, exit) DONE(62, kill) DONE(63, uname) \
    DONE(96, gettimeofday) DONE(97, getrlimit) DONE(98, getrusage) DONE(99, sysinfo) \
    DONE(100, times) DONE(102, getuid) DONE(104, getgid) DONE(107, geteuid) DONE(108, getegid) \
    DONE(110, getppid) DONE(111, getpgrp) DONE(121, getpgid) DONE(124, getsid) \
    DONE(127, rt_sigpending) DONE(131, sigaltstack) DONE(157, prctl) DONE(158, arch_prctl) \
    DONE(186, gettid) DONE(200, tkill) DONE(201, time) DONE(202, futex) \
    DONE(204, sched_getaffinity) DONE(218, set_tid_address) DONE(228, clock_gettime) \
    DONE(229, clock_getres) DONE(230, clock_nanosleep) DONE(231, exit_group) DONE(234, tgkill) \
    DONE(273, set_robust_list) DONE(302, prlimit64) DONE(318, getrandom)
/* clang-format on */

#endif
