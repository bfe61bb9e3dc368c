/* The program's memory as one call names it: pieces that are read or written as if they lay one behind
 * the other. */
#ifndef HL_SHIM_VECTORS_H
#define HL_SHIM_VECTORS_H

#include "base/linux.h"

#include <stdint.h>

#define HL__VECTORS_MAX 1024u               /* UIO_MAXIOV */
#define HL__TRANSFER_SIZE_MAX 0x7ffff000ull /* of one call, as in Linux */

struct hl__vectors {
    const struct linux_iovec *items; /* in the shim's memory */
    uint32_t count;
    uint64_t size; /* of all together, at most HL__TRANSFER_SIZE_MAX */
};

/* Copies between the shim's memory and bytes [offset, offset + size) of the pieces. Bytes that were
 * copied: fewer than `size` if the pieces end, or the program's memory does; -EFAULT if that were 0. */
int64_t hl__vectors_read(const struct hl__vectors *from, uint64_t offset, void *to, uint64_t size);
int64_t hl__vectors_write(const struct hl__vectors *to, uint64_t offset, const void *from,
                          uint64_t size);
/* Reads the pieces' addresses from the program's memory to `items` (room for `count`), cuts them to
 * HL__TRANSFER_SIZE_MAX. 0, -EINVAL, -EFAULT. */
int64_t hl__vectors_get(struct hl__vectors *vectors, struct linux_iovec *items, uint64_t address,
                        uint64_t count);

#endif
