/* What open files without a name have in common: pipes, sockets, eventfds, epolls, ... */
#ifndef HL_SHIM_OBJECT_H
#define HL_SHIM_OBJECT_H

#include "file/file.h"
#include "io/vectors.h"

#define HL__CONTAINER(pointer, type, member)                                                       \
    ((type *)((uint8_t *)(pointer) - __builtin_offsetof(type, member)))

/* Fills in the attributes of a file that lies nowhere. */
int64_t hl__object_stat(struct linux_stat *stat, uint32_t mode, const void *object);
/* A number that the program is given at `address`: FIONREAD and the like. */
int64_t hl__object_count(uint64_t address, uint64_t count);
/* The only piece of a transfer. */
struct hl__vectors hl__vectors_one(struct linux_iovec *item, uint64_t address, uint64_t size);
/* An open file of the object with a descriptor, or -errno: then the object, of `size` bytes on the heap,
 * is gone. O_CLOEXEC in `flags` is the descriptor's. */
int64_t hl__object_open(const struct hl__file_ops *ops, uint32_t flags, void *object,
                        uint64_t size);
/* Two descriptors, written to `address`, or none and -errno; the references are taken over. */
int64_t hl__descriptor_pair(struct hl__file *files[2], bool close_on_exec, uint64_t address);

#endif
