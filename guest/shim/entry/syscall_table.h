/*
 * Which system calls are served and how, as data: the dispatcher and docs/linux.md are made from it.
 * Each topic's list stands beside its code, so that a call and what is said of it change together:
 *
 *     DONE(number, name)                       as on Linux, as far as a program without other
 *                                              processes, a network or a terminal can tell
 *     PARTIAL(number, name, "the difference")  one line, a sentence's end without its full stop
 *     REFUSED(number, name, ERRNO, "why")      has no handler: always fails with that errno
 *
 * Calls that stand in no list fail with ENOSYS.
 */
#ifndef HL_SHIM_SYSCALL_TABLE_H
#define HL_SHIM_SYSCALL_TABLE_H

#include "file/syscalls.h"
#include "io/syscalls.h"
#include "memory/syscalls.h"
#include "program/syscalls.h"
#include "thread/syscalls.h"

#define HL__SYSCALLS(DONE, PARTIAL, REFUSED)                                                       \
    HL__SYSCALLS_FILE(DONE, PARTIAL, REFUSED)                                                      \
    HL__SYSCALLS_IO(DONE, PARTIAL, REFUSED)                                                        \
    HL__SYSCALLS_MEMORY(DONE, PARTIAL, REFUSED)                                                    \
    HL__SYSCALLS_PROGRAM(DONE, PARTIAL, REFUSED)                                                   \
    HL__SYSCALLS_THREAD(DONE, PARTIAL, REFUSED)

#endif
