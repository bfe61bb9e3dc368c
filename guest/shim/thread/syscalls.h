/* System calls on threads, the process, signals and time: see entry/syscall_table.h. */
#ifndef HL_SHIM_THREAD_SYSCALLS_H
#define HL_SHIM_THREAD_SYSCALLS_H

#define HL__NO_COPIES "memory is not copied; vfork and posix_spawn are served"
#define HL__NO_TRACING "processes are not traced"
#define HL__CHILDREN "threads, and children that share memory until execve; others: EPERM"
#define HL__CLOCKS_OF_HOST "the clocks are the host's"
#define HL__NO_ADMINISTRATION "a sandbox has nothing to administer"

/* clang-format off */
#define HL__LIMITS "DATA, AS, FSIZE and NOFILE are enforced, STACK when the stack grows beyond 8 MiB and for \
programs started by execve; others are kept, and without effect"
#define HL__SYSCALLS_THREAD(DONE, PARTIAL, REFUSED) \
    DONE(13, rt_sigaction) DONE(14, rt_sigprocmask) DONE(15, rt_sigreturn) DONE(24, sched_yield) \
    DONE(34, pause) DONE(35, nanosleep) DONE(36, getitimer) DONE(37, alarm) DONE(38, setitimer) \
    DONE(39, getpid) PARTIAL(56, clone, HL__CHILDREN) \
    REFUSED(57, fork, EPERM, HL__NO_COPIES) DONE(58, vfork) \
    DONE(60, exit) DONE(61, wait4) \
    DONE(62, kill) DONE(63, uname) DONE(96, gettimeofday) \
    DONE(97, getrlimit) PARTIAL(98, getrusage, "tells the CPU time only") DONE(99, sysinfo) \
    DONE(100, times) \
    REFUSED(101, ptrace, EPERM, HL__NO_TRACING) \
    REFUSED(103, syslog, EPERM, HL__NO_ADMINISTRATION) \
    DONE(109, setpgid) DONE(110, getppid) DONE(111, getpgrp) \
    DONE(112, setsid) DONE(121, getpgid) \
    DONE(124, getsid) DONE(127, rt_sigpending) DONE(128, rt_sigtimedwait) \
    DONE(129, rt_sigqueueinfo) DONE(130, rt_sigsuspend) DONE(131, sigaltstack) \
    PARTIAL(135, personality, "knows the default only") \
    PARTIAL(140, getpriority, "kept, and without effect") \
    PARTIAL(141, setpriority, "kept, and without effect") \
    PARTIAL(142, sched_setparam, "priority 0 only") DONE(143, sched_getparam) \
    PARTIAL(144, sched_setscheduler, "real-time policies are refused with EPERM") \
    DONE(145, sched_getscheduler) DONE(146, sched_get_priority_max) \
    DONE(147, sched_get_priority_min) DONE(148, sched_rr_get_interval) \
    PARTIAL(157, prctl, "names threads; settings that would change nothing are accepted, others \
refused with EINVAL") \
    DONE(158, arch_prctl) REFUSED(159, adjtimex, EPERM, HL__CLOCKS_OF_HOST) \
    REFUSED(163, acct, EPERM, HL__NO_ADMINISTRATION) \
    REFUSED(164, settimeofday, EPERM, HL__CLOCKS_OF_HOST) \
    REFUSED(165, mount, EPERM, HL__NO_ADMINISTRATION) \
    REFUSED(166, umount2, EPERM, HL__NO_ADMINISTRATION) \
    REFUSED(167, swapon, EPERM, HL__NO_ADMINISTRATION) \
    REFUSED(168, swapoff, EPERM, HL__NO_ADMINISTRATION) \
    REFUSED(169, reboot, EPERM, HL__NO_ADMINISTRATION) \
    REFUSED(170, sethostname, EPERM, HL__NO_ADMINISTRATION) \
    REFUSED(171, setdomainname, EPERM, HL__NO_ADMINISTRATION) \
    REFUSED(172, iopl, EPERM, HL__NO_ADMINISTRATION) \
    REFUSED(173, ioperm, EPERM, HL__NO_ADMINISTRATION) \
    REFUSED(175, init_module, EPERM, HL__NO_ADMINISTRATION) \
    REFUSED(176, delete_module, EPERM, HL__NO_ADMINISTRATION) \
    DONE(186, gettid) DONE(200, tkill) DONE(201, time) \
    PARTIAL(202, futex, "a word is known by its address, so two mappings of one page are two words; \
priorities are not inherited") \
    PARTIAL(203, sched_setaffinity, "there is one processor") DONE(204, sched_getaffinity) \
    DONE(218, set_tid_address) DONE(222, timer_create) DONE(223, timer_settime) \
    DONE(224, timer_gettime) DONE(225, timer_getoverrun) DONE(226, timer_delete) \
    REFUSED(227, clock_settime, EPERM, HL__CLOCKS_OF_HOST) DONE(228, clock_gettime) \
    DONE(229, clock_getres) DONE(230, clock_nanosleep) DONE(231, exit_group) DONE(234, tgkill) \
    PARTIAL(247, waitid, "pidfds are refused with EINVAL") DONE(273, set_robust_list) \
    REFUSED(272, unshare, EPERM, HL__NO_ADMINISTRATION) DONE(274, get_robust_list) \
    DONE(297, rt_tgsigqueueinfo) \
    PARTIAL(302, prlimit64, HL__LIMITS) \
    PARTIAL(160, setrlimit, HL__LIMITS) \
    REFUSED(305, clock_adjtime, EPERM, HL__CLOCKS_OF_HOST) \
    REFUSED(308, setns, EPERM, HL__NO_ADMINISTRATION) DONE(309, getcpu) DONE(318, getrandom) \
    REFUSED(321, bpf, EPERM, HL__NO_ADMINISTRATION) \
    PARTIAL(435, clone3, HL__CHILDREN)
/* clang-format on */

#endif
