/* The processor's time-stamp counter. */
#include "os/os.h"

#include <x86intrin.h>

uint64_t hl__os_tsc(void)
{
    return __rdtsc();
}
