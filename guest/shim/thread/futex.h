/* Futexes: words of the program's memory that threads wait on. */
#ifndef HL_SHIM_FUTEX_H
#define HL_SHIM_FUTEX_H

#include <stdint.h>

struct hl__thread;

void hl__futex_wake_one(uint64_t address);
/* A thread ends: robust mutexes that it holds are marked, and one of their waiters woken. */
void hl__robust_list_leave(struct hl__thread *thread);

#endif
