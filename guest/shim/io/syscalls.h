/* System calls on pipes, events and readiness: see entry/syscall_table.h. */
#ifndef HL_SHIM_IO_SYSCALLS_H
#define HL_SHIM_IO_SYSCALLS_H

/* clang-format off */
#define HL__SYSCALLS_IO(DONE, PARTIAL, REFUSED) \
    DONE(7, poll) DONE(271, ppoll)
/* clang-format on */

#endif
