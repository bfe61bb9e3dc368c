/* System calls: a handler per number, and what handlers share. */
#ifndef HL_SHIM_SYSCALL_H
#define HL_SHIM_SYSCALL_H

#include "hyperlight/abi/hypercall.h"

#include <stdbool.h>
#include <stdint.h>

/* A handler gets the six arguments; it returns a result or a negated error number. */
#define HL__SYSCALL(name) int64_t hl__sys_##name(const uint64_t *arg)

/* clang-format off */
#define HL__SYSCALLS_SERVED(SERVED) \
    SERVED(0, read) SERVED(1, write) SERVED(2, open) SERVED(3, close) SERVED(4, stat) \
    SERVED(5, fstat) SERVED(6, lstat) SERVED(7, poll) SERVED(8, lseek) SERVED(9, mmap) \
    SERVED(10, mprotect) SERVED(11, munmap) SERVED(12, brk) SERVED(13, rt_sigaction) \
    SERVED(14, rt_sigprocmask) SERVED(15, rt_sigreturn) SERVED(16, ioctl) SERVED(17, pread64) \
    SERVED(18, pwrite64) SERVED(19, readv) SERVED(20, writev) SERVED(21, access) \
    SERVED(24, sched_yield) SERVED(25, mremap) SERVED(26, msync) SERVED(28, madvise) \
    SERVED(32, dup) SERVED(33, dup2) SERVED(35, nanosleep) SERVED(39, getpid) SERVED(60, exit) \
    SERVED(62, kill) SERVED(63, uname) SERVED(72, fcntl) SERVED(79, getcwd) SERVED(89, readlink) \
    SERVED(96, gettimeofday) SERVED(97, getrlimit) SERVED(98, getrusage) SERVED(99, sysinfo) \
    SERVED(100, times) SERVED(102, getuid) SERVED(104, getgid) SERVED(107, geteuid) \
    SERVED(108, getegid) SERVED(110, getppid) SERVED(111, getpgrp) SERVED(121, getpgid) \
    SERVED(124, getsid) SERVED(127, rt_sigpending) SERVED(131, sigaltstack) SERVED(157, prctl) \
    SERVED(158, arch_prctl) SERVED(186, gettid) SERVED(200, tkill) SERVED(201, time) \
    SERVED(202, futex) SERVED(204, sched_getaffinity) SERVED(218, set_tid_address) \
    SERVED(228, clock_gettime) SERVED(229, clock_getres) SERVED(230, clock_nanosleep) \
    SERVED(231, exit_group) SERVED(234, tgkill) SERVED(257, openat) SERVED(262, newfstatat) \
    SERVED(267, readlinkat) SERVED(269, faccessat) SERVED(271, ppoll) \
    SERVED(273, set_robust_list) SERVED(292, dup3) SERVED(302, prlimit64) SERVED(318, getrandom) \
    SERVED(332, statx) SERVED(439, faccessat2)
/* clang-format on */

#define HL__SYSCALL_DECLARE(number, name) HL__SYSCALL(name);
HL__SYSCALLS_SERVED(HL__SYSCALL_DECLARE)
#undef HL__SYSCALL_DECLARE

/* Called by entry.S with the program's registers; they hold the result when it returns. */
void hl__syscall_enter(struct hl_abi_registers *registers);

/* io.c */
bool hl__descriptor_open(int descriptor);

#endif
