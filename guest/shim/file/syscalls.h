/* System calls on files, descriptors and paths: see entry/syscall_table.h. */
#ifndef HL_SHIM_FILE_SYSCALLS_H
#define HL_SHIM_FILE_SYSCALLS_H

/* clang-format off */
#define HL__SYSCALLS_FILE(DONE, PARTIAL, REFUSED) \
    DONE(0, read) DONE(1, write) DONE(2, open) DONE(3, close) DONE(4, stat) DONE(5, fstat) \
    DONE(6, lstat) DONE(8, lseek) DONE(16, ioctl) DONE(17, pread64) DONE(18, pwrite64) \
    DONE(19, readv) DONE(20, writev) DONE(21, access) DONE(32, dup) DONE(33, dup2) \
    DONE(72, fcntl) DONE(79, getcwd) DONE(89, readlink) DONE(257, openat) DONE(262, newfstatat) \
    DONE(267, readlinkat) DONE(269, faccessat) DONE(292, dup3) DONE(332, statx) \
    DONE(439, faccessat2)
/* clang-format on */

#endif
