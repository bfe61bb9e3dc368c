/* Mapping memory, shared by anonymous memory and memory files. */
#ifndef HL_OS_LINUX_MAPPING_H
#define HL_OS_LINUX_MAPPING_H

#include <hyperlight/error.h>

/* mmap, at a 2 MiB multiple if it is 2 MiB or more, kept out of children and core dumps. */
hl_status hl__linux_map(size_t size, int protection, int flags, int descriptor, uint64_t offset,
                        void **address, hl_error *err);

#endif
