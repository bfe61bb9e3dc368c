/* Locks on files: flock() and fcntl(). */
#ifndef HL_SHIM_LOCK_H
#define HL_SHIM_LOCK_H

#include "file/file.h"

/* fcntl's F_GETLK ... F_OFD_SETLKW; `address` is the struct flock's. The first three are the current
 * process's. */
int64_t hl__lock_range(struct hl__file *file, uint32_t command, uint64_t address);
/* flock, with a valid operation. */
int64_t hl__lock_file(struct hl__file *file, uint32_t operation);
/* The open file goes: so do its locks. */
void hl__locks_drop(struct hl__file *file);
/* A process closes a descriptor of a file: its locks on that go, whichever descriptor they came by. */
void hl__locks_leave(const struct hl__process *process, struct hl__inode *inode);

#endif
