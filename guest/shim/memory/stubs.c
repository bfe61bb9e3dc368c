/* Rewritten system calls: none are mapped so far. */
#include "memory/stubs.h"

uint64_t hl__file_address(uint64_t address)
{
    return address;
}

uint64_t hl__code_address(uint64_t address)
{
    return address;
}
