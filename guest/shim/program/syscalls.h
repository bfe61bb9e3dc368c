/* System calls that run programs: see entry/syscall_table.h. */
#ifndef HL_SHIM_PROGRAM_SYSCALLS_H
#define HL_SHIM_PROGRAM_SYSCALLS_H

/* clang-format off */
#define HL__SYSCALLS_PROGRAM(DONE, PARTIAL, REFUSED) \
    PARTIAL(59, execve, "while other threads run it fails with EAGAIN")
/* clang-format on */

#endif
