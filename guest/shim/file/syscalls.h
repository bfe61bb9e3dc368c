/* System calls on files, descriptors and paths: see entry/syscall_table.h. */
#ifndef HL_SHIM_FILE_SYSCALLS_H
#define HL_SHIM_FILE_SYSCALLS_H

/* clang-format off */
#define HL__SYSCALLS_FILE(DONE, PARTIAL, REFUSED) \
    DONE(0, read) DONE(1, write) DONE(2, open) DONE(3, close) DONE(4, stat) DONE(5, fstat) \
    DONE(6, lstat) DONE(8, lseek) \
    PARTIAL(16, ioctl, "FIOCLEX, FIONCLEX, FIONBIO, FIONREAD; FICLONE is not supported; there is no terminal") \
    DONE(17, pread64) DONE(18, pwrite64) DONE(19, readv) DONE(20, writev) DONE(21, access) \
    DONE(32, dup) DONE(33, dup2) \
    PARTIAL(72, fcntl, "no leases and no notifications of signals; processes that wait for each other's locks are not told EDEADLK") \
    DONE(73, flock) DONE(78, getdents) DONE(74, fsync) DONE(75, fdatasync) DONE(76, truncate) DONE(77, ftruncate) \
    DONE(79, getcwd) DONE(80, chdir) DONE(81, fchdir) DONE(82, rename) DONE(83, mkdir) \
    DONE(84, rmdir) DONE(85, creat) DONE(86, link) DONE(87, unlink) DONE(88, symlink) \
    DONE(89, readlink) DONE(90, chmod) DONE(91, fchmod) DONE(92, chown) DONE(93, fchown) \
    DONE(94, lchown) DONE(95, umask) \
    DONE(102, getuid) DONE(104, getgid) \
    PARTIAL(105, setuid, "user 0 has all rights, others none: there are no capabilities") \
    DONE(106, setgid) DONE(107, geteuid) DONE(108, getegid) DONE(113, setreuid) \
    DONE(114, setregid) DONE(115, getgroups) \
    PARTIAL(116, setgroups, "at most 64 groups") DONE(117, setresuid) DONE(118, getresuid) \
    DONE(119, setresgid) DONE(120, getresgid) DONE(122, setfsuid) DONE(123, setfsgid) \
    DONE(132, utime) \
    PARTIAL(133, mknod, "regular files and fifos; devices and sockets fail with EPERM") \
    DONE(137, statfs) DONE(138, fstatfs) \
    REFUSED(155, pivot_root, EPERM, "there is one tree") \
    REFUSED(161, chroot, EPERM, "there is one tree") DONE(162, sync) \
    DONE(187, readahead) \
    PARTIAL(188, setxattr, "fails with EOPNOTSUPP: files have no extended attributes") \
    PARTIAL(189, lsetxattr, "fails with EOPNOTSUPP: files have no extended attributes") \
    PARTIAL(190, fsetxattr, "fails with EOPNOTSUPP: files have no extended attributes") \
    PARTIAL(191, getxattr, "fails with ENODATA: files have no extended attributes") \
    PARTIAL(192, lgetxattr, "fails with ENODATA: files have no extended attributes") \
    PARTIAL(193, fgetxattr, "fails with ENODATA: files have no extended attributes") \
    PARTIAL(194, listxattr, "empty: files have no extended attributes") \
    PARTIAL(195, llistxattr, "empty: files have no extended attributes") \
    PARTIAL(196, flistxattr, "empty: files have no extended attributes") \
    PARTIAL(197, removexattr, "fails with ENODATA: files have no extended attributes") \
    PARTIAL(198, lremovexattr, "fails with ENODATA: files have no extended attributes") \
    PARTIAL(199, fremovexattr, "fails with ENODATA: files have no extended attributes") \
    DONE(217, getdents64) DONE(221, fadvise64) DONE(235, utimes) \
    REFUSED(253, inotify_init, ENOSYS, "nobody else changes files") \
    REFUSED(254, inotify_add_watch, ENOSYS, "nobody else changes files") \
    REFUSED(255, inotify_rm_watch, ENOSYS, "nobody else changes files") \
    DONE(257, openat) DONE(258, mkdirat) \
    PARTIAL(259, mknodat, "regular files and fifos; devices and sockets fail with EPERM") \
    DONE(260, fchownat) DONE(261, futimesat) DONE(262, newfstatat) DONE(263, unlinkat) \
    DONE(264, renameat) DONE(265, linkat) DONE(266, symlinkat) DONE(267, readlinkat) \
    DONE(268, fchmodat) DONE(269, faccessat) DONE(277, sync_file_range) DONE(280, utimensat) \
    PARTIAL(285, fallocate, "allocates and punches holes, as on a tmpfs") DONE(292, dup3) \
    REFUSED(294, inotify_init1, ENOSYS, "nobody else changes files") \
    DONE(295, preadv) DONE(296, pwritev) \
    REFUSED(300, fanotify_init, ENOSYS, "nobody else changes files") \
    REFUSED(301, fanotify_mark, ENOSYS, "nobody else changes files") \
    REFUSED(303, name_to_handle_at, EOPNOTSUPP, "files have no handles") \
    REFUSED(304, open_by_handle_at, EPERM, "files have no handles") DONE(306, syncfs) \
    PARTIAL(316, renameat2, "no RENAME_WHITEOUT") \
    DONE(327, preadv2) DONE(328, pwritev2) \
    DONE(332, statx) DONE(436, close_range) DONE(439, faccessat2)
/* clang-format on */

#endif
