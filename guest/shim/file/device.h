/* Device files. Whoever implements one has an entry in file/device.c's table. */
#ifndef HL_SHIM_DEVICE_H
#define HL_SHIM_DEVICE_H

#include "file/file.h"

/* As Linux's makedev(). */
#define HL__DEVICE(major, minor)                                                                   \
    ((uint64_t)((minor)&0xff) | (uint64_t)(major) << 8 | (uint64_t)((minor) & ~0xffu) << 12)
#define HL__DEVICE_HYPERLIGHT HL__DEVICE(10, 200)

struct hl__device {
    uint64_t number;
    const struct hl__file_ops *ops;
    /* NULL, or what opening does beside: 0 or -errno; the file has its inode. */
    int64_t (*open)(struct hl__file *file);
};

/* /dev/hyperlight: functions/device.c. */
extern const struct hl__device hl__device_hyperlight;

/* A file for a device, of one reference. 0 or -errno: -ENXIO if nobody implements it. */
int64_t hl__device_open(struct hl__inode *inode, uint32_t flags, struct hl__file **file);

#endif
