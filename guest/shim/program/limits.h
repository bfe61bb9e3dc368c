/* Resource limits of processes: setrlimit() and its like. */
#ifndef HL_SHIM_LIMITS_H
#define HL_SHIM_LIMITS_H

#include <stdint.h>

struct hl__process;

/* Those of the first process. */
void hl__limits_init(struct hl__process *process);
/* The current process's soft limit, RLIMIT_*. */
uint64_t hl__limit(uint32_t resource);

#endif
