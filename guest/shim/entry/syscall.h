/* System calls: a handler per number, and what handlers share. */
#ifndef HL_SHIM_SYSCALL_H
#define HL_SHIM_SYSCALL_H

#include "entry/syscall_table.h"
#include "hyperlight/abi/hypercall.h"

#include <stdbool.h>
#include <stdint.h>

/* A handler gets the six arguments; it returns a result or a negated error number. */
#define HL__SYSCALL(name) int64_t hl__sys_##name(const uint64_t *arg)

#define HL__SYSCALL_DONE(number, name) HL__SYSCALL(name);
#define HL__SYSCALL_PARTIAL(number, name, difference) HL__SYSCALL(name);
#define HL__SYSCALL_REFUSED(number, name, error, why)
HL__SYSCALLS(HL__SYSCALL_DONE, HL__SYSCALL_PARTIAL, HL__SYSCALL_REFUSED)
#undef HL__SYSCALL_DONE
#undef HL__SYSCALL_PARTIAL
#undef HL__SYSCALL_REFUSED

/* Called by entry.S with the program's registers; they hold the result when it returns. */
void hl__syscall_enter(struct hl_abi_registers *registers);

/* io.c */
bool hl__descriptor_open(int descriptor);

#endif
