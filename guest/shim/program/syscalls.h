/* System calls that run programs: see entry/syscall_table.h. */
#ifndef HL_SHIM_PROGRAM_SYSCALLS_H
#define HL_SHIM_PROGRAM_SYSCALLS_H

/* clang-format off */
#define HL__NEEDS_PLACE "a program that does not move (no PIE) needs its addresses to be free: in a child \
ENOMEM if the parent is there"

#define HL__SYSCALLS_PROGRAM(DONE, PARTIAL, REFUSED) \
    PARTIAL(59, execve, HL__NEEDS_PLACE) PARTIAL(322, execveat, HL__NEEDS_PLACE)
/* clang-format on */

#endif
