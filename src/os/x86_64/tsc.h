/* The processor's time-stamp counter. */
#ifndef HL_OS_X86_64_TSC_H
#define HL_OS_X86_64_TSC_H

#include <stdint.h>

static inline uint64_t hl__os_tsc(void)
{
    return __builtin_ia32_rdtsc();
}

#endif
