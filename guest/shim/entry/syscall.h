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

struct hl__thread;

/* Called by entry.S when the program's registers are in hl__hot.syscall; returns with those of whoever
 * runs next. */
void hl__syscall_enter(void);
/* Makes the call that the registers say, for the first or the next time. False: the current thread waits
 * now. */
bool hl__syscall_try(struct hl_abi_registers *registers);
/* A call came to its end, or was given up. */
void hl__syscall_forget(struct hl__thread *thread);

#endif
