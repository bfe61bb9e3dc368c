/* Reading and writing through descriptors: what all kinds of files share. */
#include "entry/access.h"
#include "entry/syscall.h"
#include "file/file.h"
#include "file/tree.h"
#include "io/vectors.h"
#include "thread/thread.h"

#define POSITION_OWN UINT64_MAX /* the file's own position */
#define WHENCE_MAX SEEK_HOLE

typedef int64_t transfer_op(struct hl__file *file, uint64_t address, uint64_t size,
                            uint64_t *position);

/* What one call is to do. */
struct transfer {
    struct hl__file *file;
    bool writes;
    uint64_t position;
    uint32_t flags; /* RWF_* */
};

static struct linux_iovec items[HL__VECTORS_MAX]; /* of the call under way */

static int64_t file_for(uint64_t descriptor, bool writes, struct hl__file **file)
{
    *file = hl__descriptor_file(descriptor);
    if (!*file || (*file)->flags & O_PATH ||
        ((*file)->flags & O_ACCMODE) == (writes ? O_RDONLY : O_WRONLY))
        return -EBADF;
    return 0;
}

static int64_t move_pieces(const struct transfer *transfer, const struct hl__vectors *vectors,
                           uint64_t *position)
{
    transfer_op *op = transfer->writes ? transfer->file->ops->write : transfer->file->ops->read;
    int64_t done = 0;

    if (!op)
        return -EINVAL;
    for (uint32_t i = 0; i < vectors->count; i++) {
        const struct linux_iovec *item = &vectors->items[i];
        int64_t moved;

        if (!item->size && vectors->count > 1)
            continue;
        moved = op(transfer->file, item->address, item->size, position);
        if (moved < 0)
            return done ? done : moved;
        done += moved;
        if ((uint64_t)moved < item->size)
            break;
    }
    return done;
}

static int64_t move(const struct transfer *transfer, const struct hl__vectors *vectors)
{
    struct hl__file *file = transfer->file;
    uint64_t position = transfer->position;
    uint32_t flags = file->flags;
    int64_t result;

    if (transfer->flags & RWF_APPEND)
        file->flags |= O_APPEND;
    result = move_pieces(transfer, vectors, position == POSITION_OWN ? &file->position : &position);
    file->flags = flags;
    return result;
}

static int64_t transfer(const struct transfer *transfer, const struct hl__vectors *vectors)
{
    struct hl__file *file = transfer->file;
    int64_t (*whole)(struct hl__file *, const struct hl__vectors *) =
        transfer->writes ? file->ops->write_vectors : file->ops->read_vectors;
    int64_t result;

    if (whole && transfer->position == POSITION_OWN)
        return whole(file, vectors);
    if (transfer->position != POSITION_OWN && !file->ops->seek)
        return -ESPIPE;
    result = move(transfer, vectors);
    if (result != -EAGAIN || file->flags & O_NONBLOCK || transfer->flags & RWF_NOWAIT)
        return result;
    return hl__wait_on(&file->queues[transfer->writes ? HL__FILE_WRITE : HL__FILE_READ],
                       UINT64_MAX);
}

static int64_t transfer_one(const uint64_t *arg, bool writes, uint64_t position)
{
    struct linux_iovec item = {arg[1], arg[2]};
    struct hl__vectors vectors = {&item, 1, 0};
    struct transfer call = {.writes = writes, .position = position};
    int64_t failure = file_for(arg[0], writes, &call.file);

    if (failure)
        return failure;
    if ((int64_t)item.size < 0)
        return -EINVAL;
    if (item.size > HL__TRANSFER_SIZE_MAX)
        item.size = HL__TRANSFER_SIZE_MAX;
    vectors.size = item.size;
    return transfer(&call, &vectors);
}

static int64_t transfer_all(const uint64_t *arg, bool writes, uint64_t position, uint32_t flags)
{
    struct transfer call = {.writes = writes, .position = position, .flags = flags};
    struct hl__vectors vectors;
    int64_t failure = file_for(arg[0], writes, &call.file);

    if (failure)
        return failure;
    if (flags & ~(uint32_t)(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND))
        return -EOPNOTSUPP;
    failure = hl__vectors_get(&vectors, items, arg[1], arg[2]);
    if (failure)
        return failure;
    return vectors.size || !vectors.count ? transfer(&call, &vectors)
                                          : transfer(&call, &(struct hl__vectors){items, 1, 0});
}

/* Positions of pread and the like are not negative. */
static bool position_is_good(uint64_t position)
{
    return (int64_t)position >= 0;
}

HL__SYSCALL(read)
{
    return transfer_one(arg, false, POSITION_OWN);
}

HL__SYSCALL(write)
{
    return transfer_one(arg, true, POSITION_OWN);
}

HL__SYSCALL(pread64)
{
    return position_is_good(arg[3]) ? transfer_one(arg, false, arg[3]) : -EINVAL;
}

HL__SYSCALL(pwrite64)
{
    return position_is_good(arg[3]) ? transfer_one(arg, true, arg[3]) : -EINVAL;
}

HL__SYSCALL(readv)
{
    return transfer_all(arg, false, POSITION_OWN, 0);
}

HL__SYSCALL(writev)
{
    return transfer_all(arg, true, POSITION_OWN, 0);
}

HL__SYSCALL(preadv)
{
    return position_is_good(arg[3]) ? transfer_all(arg, false, arg[3], 0) : -EINVAL;
}

HL__SYSCALL(pwritev)
{
    return position_is_good(arg[3]) ? transfer_all(arg, true, arg[3], 0) : -EINVAL;
}

HL__SYSCALL(preadv2)
{
    if (arg[3] != POSITION_OWN && !position_is_good(arg[3]))
        return -EINVAL;
    return transfer_all(arg, false, arg[3], (uint32_t)arg[5]);
}

HL__SYSCALL(pwritev2)
{
    if (arg[3] != POSITION_OWN && !position_is_good(arg[3]))
        return -EINVAL;
    return transfer_all(arg, true, arg[3], (uint32_t)arg[5]);
}

HL__SYSCALL(lseek)
{
    struct hl__file *file = hl__descriptor_file(arg[0]);

    if (!file || file->flags & O_PATH)
        return -EBADF;
    if ((uint32_t)arg[2] > WHENCE_MAX)
        return -EINVAL;
    return file->ops->seek ? file->ops->seek(file, (int64_t)arg[1], (int)arg[2]) : -ESPIPE;
}

static int64_t entries(const uint64_t *arg, bool old)
{
    struct hl__file *file = hl__descriptor_file(arg[0]);

    if (!file || file->flags & O_PATH)
        return -EBADF;
    return file->ops->entries ? file->ops->entries(file, arg[1], (uint32_t)arg[2], old) : -ENOTDIR;
}

HL__SYSCALL(getdents64)
{
    return entries(arg, false);
}

HL__SYSCALL(getdents)
{
    return entries(arg, true);
}

/* Writing a regular file. 0 or -errno. */
static int64_t writable_file(uint64_t descriptor, struct hl__file **file)
{
    *file = hl__descriptor_file(descriptor);
    if (!*file || (*file)->flags & O_PATH)
        return -EBADF;
    return 0;
}

HL__SYSCALL(ftruncate)
{
    struct hl__file *file;
    int64_t failure = writable_file(arg[0], &file);

    if (failure)
        return failure;
    if ((int64_t)arg[1] < 0 || !file->ops->truncate || (file->flags & O_ACCMODE) == O_RDONLY)
        return -EINVAL;
    return file->ops->truncate(file, arg[1]);
}

/* The modes of fallocate that a tmpfs knows. */
static bool allocation_is_known(uint32_t mode)
{
    return !mode || mode == FALLOC_FL_KEEP_SIZE ||
           mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

static int64_t allocate(struct hl__inode *inode, uint32_t mode, uint64_t start, uint64_t end)
{
    int64_t failure;

    if (mode & FALLOC_FL_PUNCH_HOLE)
        return hl__content_punch(inode, start, end);
    failure = hl__content_allocate(inode, start, end);
    if (failure || mode & FALLOC_FL_KEEP_SIZE || end <= inode->size)
        return failure;
    return hl__content_truncate(inode, end);
}

/* Whether the file is one to allocate for. 0 or -errno. */
static int64_t allocatable(const struct hl__file *file)
{
    if ((file->flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    if (!file->inode)
        return -ESPIPE;
    switch (hl__inode_type(file->inode)) {
    case S_IFREG:
        return file->inode->virtual_ops ? -EOPNOTSUPP : 0;
    case S_IFIFO:
        return -ESPIPE;
    default:
        return -ENODEV;
    }
}

HL__SYSCALL(fallocate)
{
    struct hl__file *file;
    int64_t failure = writable_file(arg[0], &file);
    int64_t end;

    if (failure)
        return failure;
    if ((int64_t)arg[2] < 0 || (int64_t)arg[3] <= 0)
        return -EINVAL;
    if (!allocation_is_known((uint32_t)arg[1]))
        return -EOPNOTSUPP;
    failure = allocatable(file);
    if (failure)
        return failure;
    if (__builtin_add_overflow((int64_t)arg[2], (int64_t)arg[3], &end))
        return -EFBIG;
    if (file->inode->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) ||
        ((uint64_t)end > file->inode->size && file->inode->seals & F_SEAL_GROW))
        return -EPERM;
    if (!(arg[1] & FALLOC_FL_KEEP_SIZE) && hl__size_allowed(file->inode, (uint64_t)end) < 0)
        return -EFBIG;
    return allocate(file->inode, (uint32_t)arg[1], arg[2], (uint64_t)end);
}

/* Everything is where it stays. */
static int64_t synced(uint64_t descriptor)
{
    struct hl__file *file = hl__descriptor_file(descriptor);

    if (!file || file->flags & O_PATH)
        return -EBADF;
    return file->ops->seek ? 0 : -EINVAL;
}

HL__SYSCALL(fsync)
{
    return synced(arg[0]);
}

HL__SYSCALL(fdatasync)
{
    return synced(arg[0]);
}

HL__SYSCALL(syncfs)
{
    return hl__descriptor_file(arg[0]) ? 0 : -EBADF;
}

HL__SYSCALL(sync)
{
    (void)arg;
    return 0;
}

HL__SYSCALL(sync_file_range)
{
    return synced(arg[0]) == -EINVAL ? -ESPIPE : synced(arg[0]);
}

HL__SYSCALL(readahead)
{
    return synced(arg[0]);
}

HL__SYSCALL(fadvise64)
{
    enum { ADVICE_MAX = 5 };
    int64_t result = synced(arg[0]);

    if (result)
        return result == -EINVAL ? -ESPIPE : result;
    return (int64_t)arg[2] < 0 || arg[3] > ADVICE_MAX ? -EINVAL : 0;
}
