/* System calls on memory: see entry/syscall_table.h. */
#ifndef HL_SHIM_MEMORY_SYSCALLS_H
#define HL_SHIM_MEMORY_SYSCALLS_H

/* clang-format off */
#define HL__SYSCALLS_MEMORY(DONE, PARTIAL, REFUSED) \
    DONE(9, mmap) DONE(10, mprotect) DONE(11, munmap) DONE(12, brk) DONE(25, mremap) \
    DONE(26, msync) DONE(28, madvise)
/* clang-format on */

#endif
