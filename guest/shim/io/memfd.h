#ifndef HL_SHIM_MEMFD_H
#define HL_SHIM_MEMFD_H

#include "file/file.h"

/* In an inode's seals: it is a memfd. The others are kept by whoever writes, truncates or maps. */
#define HL__SEALABLE (1u << 31)

/* fcntl F_ADD_SEALS and F_GET_SEALS of regular files. */
int64_t hl__memfd_control(struct hl__file *file, uint64_t command, uint64_t argument);

#endif
