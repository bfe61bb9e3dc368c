/* Counts the ioctls of this process. The program must be linked with --wrap=ioctl. */
#ifndef BENCH_IOCTL_COUNT_H
#define BENCH_IOCTL_COUNT_H

#include <stdint.h>

uint64_t ioctl_count(void);

#endif
