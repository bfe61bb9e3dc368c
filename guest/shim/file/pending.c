/* Weak ones of what lands from elsewhere: goes away with it. */
#include "entry/syscall.h"
#include "file/file.h"

__attribute__((weak)) bool hl__descriptor_open(int descriptor)
{
    return hl__descriptor_file((uint64_t)descriptor) != NULL;
}
