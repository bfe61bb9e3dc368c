/* Open regular files and directories. */
#include "entry/access.h"
#include "file/credentials.h"
#include "file/open.h"
#include "io/memfd.h"
#include "program/limits.h"
#include "signal/signal.h"
#include "time/clock.h"

#include <stddef.h>
#include <string.h>

#define DIRENT_HEAD 19u     /* bytes before the name */
#define DIRENT_OLD_HEAD 18u /* in getdents's layout: the type is the last byte instead */

static int64_t regular_read(struct hl__file *file, uint64_t address, uint64_t size,
                            uint64_t *position)
{
    int64_t moved = hl__content_read(file->inode, address, size, *position);

    if (moved > 0)
        *position += (uint64_t)moved;
    return moved;
}

/* Writing takes away what lets a file run with its owner's rights. */
static void drop_set_id(struct hl__inode *inode)
{
    if (hl__is_root() || !(inode->mode & (S_ISUID | S_ISGID)))
        return;
    inode->mode &= ~S_ISUID;
    if (inode->mode & 010)
        inode->mode &= ~S_ISGID;
}

static int64_t sealed(const struct hl__inode *inode, uint64_t end)
{
    if (inode->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
        return -EPERM;
    return end > inode->size && (inode->seals & F_SEAL_GROW) ? -EPERM : 0;
}

int64_t hl__size_allowed(const struct hl__inode *inode, uint64_t end)
{
    if (end <= inode->size || end <= hl__limit(RLIMIT_FSIZE))
        return 0;
    hl__signal_raise(SIGXFSZ, SI_USER);
    return -EFBIG;
}

/* Cuts a write off where the process's files must end. 0 or -EFBIG. */
static int64_t cut_write(uint64_t position, uint64_t *size)
{
    uint64_t limit = hl__limit(RLIMIT_FSIZE);

    if (!*size || limit == RLIM_INFINITY)
        return 0;
    if (position >= limit) {
        hl__signal_raise(SIGXFSZ, SI_USER);
        return -EFBIG;
    }
    if (*size > limit - position)
        *size = limit - position;
    return 0;
}

static int64_t regular_write(struct hl__file *file, uint64_t address, uint64_t size,
                             uint64_t *position)
{
    struct hl__inode *inode = file->inode;
    int64_t moved;

    if (file->flags & O_APPEND)
        *position = inode->size;
    if (cut_write(*position, &size) < 0)
        return -EFBIG;
    if (sealed(inode, *position + size) < 0)
        return -EPERM;
    moved = hl__content_write(inode, address, size, *position);
    if (moved > 0) {
        *position += (uint64_t)moved;
        drop_set_id(inode);
    }
    return moved;
}

/* A sum that neither overflows nor is negative, or -EINVAL. */
static int64_t seek_sum(uint64_t base, int64_t offset)
{
    int64_t sum;

    return __builtin_add_overflow((int64_t)base, offset, &sum) || sum < 0 ? -EINVAL : sum;
}

static int64_t regular_seek(struct hl__file *file, int64_t offset, int whence)
{
    int64_t result;

    switch (whence) {
    case SEEK_SET:
        result = seek_sum(0, offset);
        break;
    case SEEK_CUR:
        result = seek_sum(file->position, offset);
        break;
    case SEEK_END:
        result = seek_sum(file->inode->size, offset);
        break;
    case SEEK_DATA:
    case SEEK_HOLE:
        result = offset < 0 ? -ENXIO
                            : hl__content_seek(file->inode, (uint64_t)offset, whence == SEEK_HOLE);
        break;
    default:
        return -EINVAL;
    }
    if (result >= 0)
        file->position = (uint64_t)result;
    return result;
}

static int64_t regular_truncate(struct hl__file *file, uint64_t size)
{
    struct hl__inode *inode = file->inode;

    if (size < inode->size ? inode->seals & (F_SEAL_SHRINK | F_SEAL_WRITE)
                           : size > inode->size && (inode->seals & (F_SEAL_GROW | F_SEAL_WRITE)))
        return -EPERM;
    if (hl__size_allowed(inode, size) < 0)
        return -EFBIG;
    drop_set_id(inode);
    return hl__content_truncate(inode, size);
}

static int64_t regular_ioctl(struct hl__file *file, uint64_t request, uint64_t argument)
{
    int32_t left;

    if (request == FICLONE || request == FICLONERANGE)
        return -EOPNOTSUPP; /* as of a file system that shares no blocks: programs copy, then */
    if (request != FIONREAD)
        return -ENOTTY;
    left = (int32_t)(file->inode->size - file->position);
    return hl__user_write(argument, &left, sizeof left);
}

const struct hl__file_ops hl__regular_ops = {
    .read = regular_read,
    .write = regular_write,
    .seek = regular_seek,
    .truncate = regular_truncate,
    .ioctl = regular_ioctl,
    .control = hl__memfd_control,
};

static int64_t directory_read(struct hl__file *file, uint64_t address, uint64_t size,
                              uint64_t *position)
{
    (void)file, (void)address, (void)size, (void)position;
    return -EISDIR;
}

static int64_t directory_seek(struct hl__file *file, int64_t offset, int whence)
{
    int64_t result = whence == SEEK_SET   ? offset
                     : whence == SEEK_CUR ? seek_sum(file->position, offset)
                                          : -EINVAL;

    if (result < 0)
        return -EINVAL;
    file->position = (uint64_t)result;
    return result;
}

/* One entry in the layout of getdents64, or of getdents: there the type is the last byte. Bytes, or -EINVAL if
 * it does not fit. */
static int64_t entry_put(const struct hl__listed *listed, uint64_t next, bool old, uint64_t address,
                         uint64_t size)
{
    union {
        struct linux_dirent entry;
        char bytes[DIRENT_HEAD + HL__NAME_MAX + 9];
    } put;
    uint64_t head = old ? DIRENT_OLD_HEAD : DIRENT_HEAD;
    uint64_t needed = (head + listed->name_size + (old ? 2 : 1) + 7) & ~7ull;

    if (needed > size)
        return -EINVAL;
    memset(&put, 0, needed);
    put.entry.inode = listed->inode;
    put.entry.next = (int64_t)next;
    put.entry.size = (uint16_t)needed;
    put.bytes[old ? needed - 1 : offsetof(struct linux_dirent, type)] =
        (char)((listed->mode & S_IFMT) >> 12);
    memcpy(put.bytes + head, listed->name, listed->name_size);
    return hl__user_write(address, &put, needed) < 0 ? -EFAULT : (int64_t)needed;
}

static int64_t directory_entries(struct hl__file *file, uint64_t address, uint64_t size, bool old)
{
    struct hl__inode *directory = file->inode;
    uint64_t done = 0;

    if (directory->unlinked)
        return -ENOENT;
    if (!file->position)
        file->object = (void *)hl__directory_limit(directory);
    for (;;) {
        uint64_t next = file->position;
        struct hl__listed listed;
        int64_t put;

        if (!hl__directory_list(directory, &next, (uint64_t)file->object, &listed))
            return (int64_t)done;
        put = entry_put(&listed, next, old, address + done, size - done);
        if (put < 0)
            return done ? (int64_t)done : put;
        done += (uint64_t)put;
        file->position = next;
    }
}

const struct hl__file_ops hl__directory_ops = {
    .read = directory_read,
    .seek = directory_seek,
    .entries = directory_entries,
};
