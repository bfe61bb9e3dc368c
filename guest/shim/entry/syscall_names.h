/* Names of Linux's x86-64 system calls, for the trace. */
#ifndef HL_SHIM_SYSCALL_NAMES_H
#define HL_SHIM_SYSCALL_NAMES_H

/* clang-format off */
#define HL__SYSCALL_NAMES(NAME) \
    NAME(0, read) NAME(1, write) NAME(2, open) NAME(3, close) NAME(4, stat) NAME(5, fstat) \
    NAME(6, lstat) NAME(7, poll) NAME(8, lseek) NAME(9, mmap) NAME(10, mprotect) NAME(11, munmap) \
    NAME(12, brk) NAME(13, rt_sigaction) NAME(14, rt_sigprocmask) NAME(15, rt_sigreturn) \
    NAME(16, ioctl) NAME(17, pread64) NAME(18, pwrite64) NAME(19, readv) NAME(20, writev) \
    NAME(21, access) NAME(22, pipe) NAME(23, select) NAME(24, sched_yield) NAME(25, mremap) \
    NAME(26, msync) NAME(27, mincore) NAME(28, madvise) NAME(29, shmget) NAME(30, shmat) \
    NAME(31, shmctl) NAME(32, dup) NAME(33, dup2) NAME(34, pause) NAME(35, nanosleep) \
    NAME(36, getitimer) NAME(37, alarm) NAME(38, setitimer) NAME(39, getpid) NAME(40, sendfile) \
    NAME(41, socket) NAME(42, connect) NAME(43, accept) NAME(44, sendto) NAME(45, recvfrom) \
    NAME(46, sendmsg) NAME(47, recvmsg) NAME(48, shutdown) NAME(49, bind) NAME(50, listen) \
    NAME(51, getsockname) NAME(52, getpeername) NAME(53, socketpair) NAME(54, setsockopt) \
    NAME(55, getsockopt) NAME(56, clone) NAME(57, fork) NAME(58, vfork) NAME(59, execve) \
    NAME(60, exit) NAME(61, wait4) NAME(62, kill) NAME(63, uname) NAME(64, semget) \
    NAME(65, semop) NAME(66, semctl) NAME(67, shmdt) NAME(68, msgget) NAME(69, msgsnd) \
    NAME(70, msgrcv) NAME(71, msgctl) NAME(72, fcntl) NAME(73, flock) NAME(74, fsync) \
    NAME(75, fdatasync) NAME(76, truncate) NAME(77, ftruncate) NAME(78, getdents) \
    NAME(79, getcwd) NAME(80, chdir) NAME(81, fchdir) NAME(82, rename) NAME(83, mkdir) \
    NAME(84, rmdir) NAME(85, creat) NAME(86, link) NAME(87, unlink) NAME(88, symlink) \
    NAME(89, readlink) NAME(90, chmod) NAME(91, fchmod) NAME(92, chown) NAME(93, fchown) \
    NAME(94, lchown) NAME(95, umask) NAME(96, gettimeofday) NAME(97, getrlimit) \
    NAME(98, getrusage) NAME(99, sysinfo) NAME(100, times) NAME(101, ptrace) NAME(102, getuid) \
    NAME(103, syslog) NAME(104, getgid) NAME(105, setuid) NAME(106, setgid) NAME(107, geteuid) \
    NAME(108, getegid) NAME(109, setpgid) NAME(110, getppid) NAME(111, getpgrp) NAME(112, setsid) \
    NAME(113, setreuid) NAME(114, setregid) NAME(115, getgroups) NAME(116, setgroups) \
    NAME(117, setresuid) NAME(118, getresuid) NAME(119, setresgid) NAME(120, getresgid) \
    NAME(121, getpgid) NAME(122, setfsuid) NAME(123, setfsgid) NAME(124, getsid) \
    NAME(125, capget) NAME(126, capset) NAME(127, rt_sigpending) NAME(128, rt_sigtimedwait) \
    NAME(129, rt_sigqueueinfo) NAME(130, rt_sigsuspend) NAME(131, sigaltstack) NAME(132, utime) \
    NAME(133, mknod) NAME(134, uselib) NAME(135, personality) NAME(136, ustat) NAME(137, statfs) \
    NAME(138, fstatfs) NAME(139, sysfs) NAME(140, getpriority) NAME(141, setpriority) \
    NAME(142, sched_setparam) NAME(143, sched_getparam) NAME(144, sched_setscheduler) \
    NAME(145, sched_getscheduler) NAME(146, sched_get_priority_max) \
    NAME(147, sched_get_priority_min) NAME(148, sched_rr_get_interval) NAME(149, mlock) \
    NAME(150, munlock) NAME(151, mlockall) NAME(152, munlockall) NAME(153, vhangup) \
    NAME(154, modify_ldt) NAME(155, pivot_root) NAME(156, _sysctl) NAME(157, prctl) \
    NAME(158, arch_prctl) NAME(159, adjtimex) NAME(160, setrlimit) NAME(161, chroot) \
    NAME(162, sync) NAME(163, acct) NAME(164, settimeofday) NAME(165, mount) NAME(166, umount2) \
    NAME(167, swapon) NAME(168, swapoff) NAME(169, reboot) NAME(170, sethostname) \
    NAME(171, setdomainname) NAME(172, iopl) NAME(173, ioperm) NAME(174, create_module) \
    NAME(175, init_module) NAME(176, delete_module) NAME(177, get_kernel_syms) \
    NAME(178, query_module) NAME(179, quotactl) NAME(180, nfsservctl) NAME(181, getpmsg) \
    NAME(182, putpmsg) NAME(183, afs_syscall) NAME(184, tuxcall) NAME(185, security) \
    NAME(186, gettid) NAME(187, readahead) NAME(188, setxattr) NAME(189, lsetxattr) \
    NAME(190, fsetxattr) NAME(191, getxattr) NAME(192, lgetxattr) NAME(193, fgetxattr) \
    NAME(194, listxattr) NAME(195, llistxattr) NAME(196, flistxattr) NAME(197, removexattr) \
    NAME(198, lremovexattr) NAME(199, fremovexattr) NAME(200, tkill) NAME(201, time) \
    NAME(202, futex) NAME(203, sched_setaffinity) NAME(204, sched_getaffinity) \
    NAME(205, set_thread_area) NAME(206, io_setup) NAME(207, io_destroy) NAME(208, io_getevents) \
    NAME(209, io_submit) NAME(210, io_cancel) NAME(211, get_thread_area) \
    NAME(212, lookup_dcookie) NAME(213, epoll_create) NAME(214, epoll_ctl_old) \
    NAME(215, epoll_wait_old) NAME(216, remap_file_pages) NAME(217, getdents64) \
    NAME(218, set_tid_address) NAME(219, restart_syscall) NAME(220, semtimedop) \
    NAME(221, fadvise64) NAME(222, timer_create) NAME(223, timer_settime) \
    NAME(224, timer_gettime) NAME(225, timer_getoverrun) NAME(226, timer_delete) \
    NAME(227, clock_settime) NAME(228, clock_gettime) NAME(229, clock_getres) \
    NAME(230, clock_nanosleep) NAME(231, exit_group) NAME(232, epoll_wait) NAME(233, epoll_ctl) \
    NAME(234, tgkill) NAME(235, utimes) NAME(236, vserver) NAME(237, mbind) \
    NAME(238, set_mempolicy) NAME(239, get_mempolicy) NAME(240, mq_open) NAME(241, mq_unlink) \
    NAME(242, mq_timedsend) NAME(243, mq_timedreceive) NAME(244, mq_notify) \
    NAME(245, mq_getsetattr) NAME(246, kexec_load) NAME(247, waitid) NAME(248, add_key) \
    NAME(249, request_key) NAME(250, keyctl) NAME(251, ioprio_set) NAME(252, ioprio_get) \
    NAME(253, inotify_init) NAME(254, inotify_add_watch) NAME(255, inotify_rm_watch) \
    NAME(256, migrate_pages) NAME(257, openat) NAME(258, mkdirat) NAME(259, mknodat) \
    NAME(260, fchownat) NAME(261, futimesat) NAME(262, newfstatat) NAME(263, unlinkat) \
    NAME(264, renameat) NAME(265, linkat) NAME(266, symlinkat) NAME(267, readlinkat) \
    NAME(268, fchmodat) NAME(269, faccessat) NAME(270, pselect6) NAME(271, ppoll) \
    NAME(272, unshare) NAME(273, set_robust_list) NAME(274, get_robust_list) NAME(275, splice) \
    NAME(276, tee) NAME(277, sync_file_range) NAME(278, vmsplice) NAME(279, move_pages) \
    NAME(280, utimensat) NAME(281, epoll_pwait) NAME(282, signalfd) NAME(283, timerfd_create) \
    NAME(284, eventfd) NAME(285, fallocate) NAME(286, timerfd_settime) NAME(287, timerfd_gettime) \
    NAME(288, accept4) NAME(289, signalfd4) NAME(290, eventfd2) NAME(291, epoll_create1) \
    NAME(292, dup3) NAME(293, pipe2) NAME(294, inotify_init1) NAME(295, preadv) \
    NAME(296, pwritev) NAME(297, rt_tgsigqueueinfo) NAME(298, perf_event_open) \
    NAME(299, recvmmsg) NAME(300, fanotify_init) NAME(301, fanotify_mark) NAME(302, prlimit64) \
    NAME(303, name_to_handle_at) NAME(304, open_by_handle_at) NAME(305, clock_adjtime) \
    NAME(306, syncfs) NAME(307, sendmmsg) NAME(308, setns) NAME(309, getcpu) \
    NAME(310, process_vm_readv) NAME(311, process_vm_writev) NAME(312, kcmp) \
    NAME(313, finit_module) NAME(314, sched_setattr) NAME(315, sched_getattr) \
    NAME(316, renameat2) NAME(317, seccomp) NAME(318, getrandom) NAME(319, memfd_create) \
    NAME(320, kexec_file_load) NAME(321, bpf) NAME(322, execveat) NAME(323, userfaultfd) \
    NAME(324, membarrier) NAME(325, mlock2) NAME(326, copy_file_range) NAME(327, preadv2) \
    NAME(328, pwritev2) NAME(329, pkey_mprotect) NAME(330, pkey_alloc) NAME(331, pkey_free) \
    NAME(332, statx) NAME(333, io_pgetevents) NAME(334, rseq) NAME(424, pidfd_send_signal) \
    NAME(425, io_uring_setup) NAME(426, io_uring_enter) NAME(427, io_uring_register) \
    NAME(428, open_tree) NAME(429, move_mount) NAME(430, fsopen) NAME(431, fsconfig) \
    NAME(432, fsmount) NAME(433, fspick) NAME(434, pidfd_open) NAME(435, clone3) \
    NAME(436, close_range) NAME(437, openat2) NAME(438, pidfd_getfd) NAME(439, faccessat2) \
    NAME(440, process_madvise) NAME(441, epoll_pwait2) NAME(442, mount_setattr) \
    NAME(443, quotactl_fd) NAME(444, landlock_create_ruleset) NAME(445, landlock_add_rule) \
    NAME(446, landlock_restrict_self) NAME(447, memfd_secret) NAME(448, process_mrelease) \
    NAME(449, futex_waitv) NAME(450, set_mempolicy_home_node)
/* clang-format on */

#endif
