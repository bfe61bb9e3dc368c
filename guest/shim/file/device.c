/* The devices of memory: null, zero, full, random. */
#include "file/device.h"
#include "base/random.h"
#include "entry/access.h"

#define RANDOM_PIECE 256u

static int64_t null_read(struct hl__file *file, uint64_t address, uint64_t size, uint64_t *position)
{
    (void)file, (void)address, (void)size, (void)position;
    return 0;
}

static int64_t null_write(struct hl__file *file, uint64_t address, uint64_t size,
                          uint64_t *position)
{
    (void)file, (void)address, (void)position;
    return (int64_t)size;
}

static int64_t zero_read(struct hl__file *file, uint64_t address, uint64_t size, uint64_t *position)
{
    (void)file, (void)position;
    if (!hl__user_clear(address, size))
        return (int64_t)size;
    size = hl__user_present(address, size, true);
    return size && !hl__user_clear(address, size) ? (int64_t)size : -EFAULT;
}

static int64_t full_write(struct hl__file *file, uint64_t address, uint64_t size,
                          uint64_t *position)
{
    (void)file, (void)address, (void)size, (void)position;
    return -ENOSPC;
}

static int64_t random_read(struct hl__file *file, uint64_t address, uint64_t size,
                           uint64_t *position)
{
    uint8_t bytes[RANDOM_PIECE];
    uint64_t done = 0;

    (void)file, (void)position;
    while (done < size) {
        uint64_t piece = size - done < sizeof bytes ? size - done : sizeof bytes;

        hl__random_bytes(bytes, piece);
        if (hl__user_write(address + done, bytes, piece) < 0)
            return done ? (int64_t)done : -EFAULT;
        done += piece;
    }
    return (int64_t)done;
}

static int64_t device_seek(struct hl__file *file, int64_t offset, int whence)
{
    (void)offset, (void)whence;
    file->position = 0;
    return 0;
}

static const struct hl__file_ops null_ops = {
    .read = null_read, .write = null_write, .seek = device_seek};
static const struct hl__file_ops zero_ops = {
    .read = zero_read, .write = null_write, .seek = device_seek};
static const struct hl__file_ops full_ops = {
    .read = zero_read, .write = full_write, .seek = device_seek};
static const struct hl__file_ops random_ops = {
    .read = random_read, .write = null_write, .seek = device_seek};

static const struct hl__device devices[] = {
    {HL__DEVICE(1, 3), &null_ops, NULL},   {HL__DEVICE(1, 5), &zero_ops, NULL},
    {HL__DEVICE(1, 7), &full_ops, NULL},   {HL__DEVICE(1, 8), &random_ops, NULL},
    {HL__DEVICE(1, 9), &random_ops, NULL},
};

static const struct hl__device *device_find(uint64_t number)
{
    for (unsigned i = 0; i < sizeof devices / sizeof devices[0]; i++)
        if (devices[i].number == number)
            return &devices[i];
    return number == HL__DEVICE_HYPERLIGHT ? &hl__device_hyperlight : NULL;
}

int64_t hl__device_open(struct hl__inode *inode, uint32_t flags, struct hl__file **file)
{
    const struct hl__device *device =
        (inode->mode & S_IFMT) == S_IFCHR ? device_find(inode->device) : NULL;
    int64_t failure = 0;

    if (!device)
        return -ENXIO;
    *file = hl__file_new(device->ops, flags, inode, NULL);
    if (!*file)
        return -ENOMEM;
    hl__inode_ref(inode);
    if (device->open)
        failure = device->open(*file);
    if (failure)
        hl__file_unref(*file);
    return failure;
}
