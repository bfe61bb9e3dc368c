/* The descriptors: standard input, output and error, and copies of them. */
#ifndef HL_SHIM_IO_H
#define HL_SHIM_IO_H

#include "base/linux.h"

void hl__descriptors_init(void);

/* 0 or -EBADF. */
int64_t hl__descriptor_stat(int descriptor, struct linux_stat *stat);

#endif
