/* System calls that look at files from outside, and change what is said of them. */
#include "base/text.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "file/credentials.h"
#include "file/open.h"
#include "file/space.h"
#include "thread/thread.h"

#include <string.h>

#define CWD ((uint64_t)AT_FDCWD)
#define TMPFS_MAGIC 0x01021994
#define PIPEFS_MAGIC 0x50495045
#define PROC_MAGIC 0x9fa0
#define STATX_BASIC_STATS 0x7ffu
#define STATX_RESERVED 0x80000000u
#define NS_PER_SECOND 1000000000

static int64_t file_stat(struct hl__file *file, struct linux_stat *stat)
{
    if (file->ops->stat)
        return file->ops->stat(file, stat);
    if (file->inode) {
        hl__inode_stat(file->inode, stat);
        return 0;
    }
    /* An anonymous object: no type, one link. */
    *stat = (struct linux_stat){
        .device = 14, .inode = 1, .link_count = 1, .mode = 0600, .block_size = HL_ABI_PAGE_SIZE};
    return 0;
}

static int64_t place_stat(const struct hl__place *place, struct linux_stat *stat)
{
    if (place->file && (place->file->ops->stat || !place->inode))
        return file_stat(place->file, stat);
    hl__inode_stat(place->inode, stat);
    return 0;
}

static uint32_t options_of(uint32_t flags)
{
    return (flags & AT_SYMLINK_NOFOLLOW ? 0 : HL__PLACE_FOLLOW) |
           (flags & AT_EMPTY_PATH ? HL__PLACE_EMPTY : 0);
}

static int64_t stat_at(uint64_t descriptor, uint64_t path, uint32_t flags, struct linux_stat *stat)
{
    struct hl__place place;
    int64_t failure = hl__place_at(descriptor, path, options_of(flags), &place);

    if (failure)
        return failure;
    failure = place_stat(&place, stat);
    hl__place_free(&place);
    return failure;
}

static int64_t stat_to(uint64_t descriptor, uint64_t path, uint32_t flags, uint64_t result)
{
    struct linux_stat stat;
    int64_t failure;

    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))
        return -EINVAL;
    if ((flags & AT_EMPTY_PATH) == 0 && !path)
        return -EFAULT;
    failure = stat_at(descriptor, path, flags, &stat);
    return failure ? failure : hl__user_write(result, &stat, sizeof stat);
}

HL__SYSCALL(stat)
{
    return stat_to(CWD, arg[0], 0, arg[1]);
}

HL__SYSCALL(lstat)
{
    return stat_to(CWD, arg[0], AT_SYMLINK_NOFOLLOW, arg[1]);
}

HL__SYSCALL(newfstatat)
{
    return stat_to(arg[0], arg[1], (uint32_t)arg[3], arg[2]);
}

HL__SYSCALL(fstat)
{
    struct hl__file *file = hl__descriptor_file(arg[0]);
    struct linux_stat stat;
    int64_t failure = file ? file_stat(file, &stat) : -EBADF;

    return failure ? failure : hl__user_write(arg[1], &stat, sizeof stat);
}

static struct linux_statx_time statx_time(struct linux_timespec time)
{
    return (struct linux_statx_time){time.seconds, (uint32_t)time.nanoseconds, 0};
}

static uint32_t device_major(uint64_t device)
{
    return (uint32_t)(device >> 8 & 0xfff);
}

static uint32_t device_minor(uint64_t device)
{
    return (uint32_t)((device & 0xff) | (device >> 12 & 0xfff00));
}

HL__SYSCALL(statx)
{
    const uint32_t known =
        AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
    struct linux_statx extended = {.mask = STATX_BASIC_STATS};
    struct linux_stat stat;
    int64_t failure;

    if (arg[2] & ~(uint64_t)known || arg[3] & STATX_RESERVED ||
        (arg[2] & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE)
        return -EINVAL;
    failure = stat_at(arg[0], arg[1], (uint32_t)arg[2], &stat);
    if (failure)
        return failure;
    extended.block_size = (uint32_t)stat.block_size;
    extended.link_count = (uint32_t)stat.link_count;
    extended.uid = stat.uid;
    extended.gid = stat.gid;
    extended.mode = (uint16_t)stat.mode;
    extended.inode = stat.inode;
    extended.size = (uint64_t)stat.size;
    extended.blocks = (uint64_t)stat.blocks;
    extended.accessed = statx_time(stat.accessed);
    extended.changed = statx_time(stat.changed);
    extended.modified = statx_time(stat.modified);
    extended.special_major = device_major(stat.special_device);
    extended.special_minor = device_minor(stat.special_device);
    extended.device_major = device_major(stat.device);
    extended.device_minor = device_minor(stat.device);
    return hl__user_write(arg[4], &extended, sizeof extended);
}

/* Rights */

static int64_t access_at(uint64_t descriptor, uint64_t path, uint32_t rights, uint32_t flags)
{
    struct hl__place place;
    int64_t failure;

    if (rights & ~(uint32_t)(R_OK | W_OK | X_OK) ||
        flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    failure = hl__place_at(descriptor, path, options_of(flags), &place);
    if (failure)
        return failure;
    if (place.inode && !hl__may(place.inode, rights, !(flags & AT_EACCESS)))
        failure = -EACCES;
    hl__place_free(&place);
    return failure;
}

HL__SYSCALL(access)
{
    return access_at(CWD, arg[0], (uint32_t)arg[1], 0);
}

HL__SYSCALL(faccessat)
{
    return access_at(arg[0], arg[1], (uint32_t)arg[2], 0);
}

HL__SYSCALL(faccessat2)
{
    return access_at(arg[0], arg[1], (uint32_t)arg[2], (uint32_t)arg[3]);
}

typedef int64_t change_inode(struct hl__inode *inode, const uint64_t *what);

/* Changes the inode at a path. */
static int64_t change_at(uint64_t descriptor, uint64_t path, uint32_t flags, change_inode *change,
                         const uint64_t *what)
{
    struct hl__place place;
    int64_t failure = hl__place_at(descriptor, path, options_of(flags), &place);

    if (failure)
        return failure;
    if (!place.inode)
        failure = 0; /* a pipe or the like: it keeps no owner and no times */
    else
        failure = place.inode->virtual_ops ? -EPERM : change(place.inode, what);
    hl__place_free(&place);
    return failure;
}

static int64_t change_open(uint64_t descriptor, change_inode *change, const uint64_t *what)
{
    struct hl__file *file = hl__descriptor_file(descriptor);

    if (!file || file->flags & O_PATH)
        return -EBADF;
    if (!file->inode)
        return 0;
    return file->inode->virtual_ops ? -EPERM : change(file->inode, what);
}

static int64_t change_mode(struct hl__inode *inode, const uint64_t *mode)
{
    uint32_t bits = (uint32_t)*mode & 07777;

    if (hl__inode_type(inode) == S_IFLNK)
        return -EOPNOTSUPP;
    if (!hl__is_owner(inode))
        return -EPERM;
    if (!hl__is_root() && !hl__in_group(inode->gid))
        bits &= ~S_ISGID;
    inode->mode = (inode->mode & S_IFMT) | bits;
    hl__inode_changed(inode);
    return 0;
}

HL__SYSCALL(chmod)
{
    return change_at(CWD, arg[0], 0, change_mode, &arg[1]);
}

HL__SYSCALL(fchmod)
{
    return change_open(arg[0], change_mode, &arg[1]);
}

HL__SYSCALL(fchmodat)
{
    return change_at(arg[0], arg[1], 0, change_mode, &arg[2]);
}

static int64_t change_owner(struct hl__inode *inode, const uint64_t *owner)
{
    uint32_t uid = (uint32_t)owner[0], gid = (uint32_t)owner[1];

    if (!hl__is_root() && ((uid != UINT32_MAX && (uid != inode->uid || !hl__is_owner(inode))) ||
                           (gid != UINT32_MAX && (!hl__is_owner(inode) || !hl__in_group(gid)))))
        return -EPERM;
    if (uid != UINT32_MAX)
        inode->uid = uid;
    if (gid != UINT32_MAX)
        inode->gid = gid;
    if (hl__inode_type(inode) != S_IFDIR) {
        inode->mode &= ~S_ISUID;
        if (inode->mode & 010)
            inode->mode &= ~S_ISGID;
    }
    hl__inode_changed(inode);
    return 0;
}

HL__SYSCALL(chown)
{
    return change_at(CWD, arg[0], 0, change_owner, &arg[1]);
}

HL__SYSCALL(lchown)
{
    return change_at(CWD, arg[0], AT_SYMLINK_NOFOLLOW, change_owner, &arg[1]);
}

HL__SYSCALL(fchown)
{
    return change_open(arg[0], change_owner, &arg[1]);
}

HL__SYSCALL(fchownat)
{
    if (arg[4] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    return change_at(arg[0], arg[1], (uint32_t)arg[4], change_owner, &arg[2]);
}

/* Times: `times` are two, or NULL for now. */
static int64_t change_times(struct hl__inode *inode, const uint64_t *what)
{
    const struct linux_timespec *times = (const struct linux_timespec *)what;
    struct linux_timespec now = hl__inode_now();
    bool both_now = times[0].nanoseconds == UTIME_NOW && times[1].nanoseconds == UTIME_NOW;

    if (!hl__is_owner(inode) && !(both_now && hl__may(inode, W_OK, false)))
        return both_now ? -EACCES : -EPERM;
    if (times[0].nanoseconds != UTIME_OMIT)
        inode->accessed = times[0].nanoseconds == UTIME_NOW ? now : times[0];
    if (times[1].nanoseconds != UTIME_OMIT)
        inode->modified = times[1].nanoseconds == UTIME_NOW ? now : times[1];
    hl__inode_changed(inode);
    return 0;
}

static bool time_is_good(const struct linux_timespec *time)
{
    return time->nanoseconds == UTIME_NOW || time->nanoseconds == UTIME_OMIT ||
           (time->nanoseconds >= 0 && time->nanoseconds < NS_PER_SECOND);
}

static int64_t times_at(uint64_t descriptor, uint64_t path, const struct linux_timespec *times,
                        uint32_t flags)
{
    const uint64_t *what = (const uint64_t *)times;

    if (!time_is_good(&times[0]) || !time_is_good(&times[1]))
        return -EINVAL;
    if (!path && (int32_t)descriptor != AT_FDCWD && !flags)
        return change_open(descriptor, change_times, what);
    return change_at(descriptor, path, flags, change_times, what);
}

static const struct linux_timespec times_now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};

HL__SYSCALL(utimensat)
{
    struct linux_timespec times[2];

    if (arg[3] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if (!arg[2])
        return times_at(arg[0], arg[1], times_now, (uint32_t)arg[3]);
    if (hl__user_read(times, arg[2], sizeof times) < 0)
        return -EFAULT;
    if (times[0].nanoseconds == UTIME_OMIT && times[1].nanoseconds == UTIME_OMIT)
        return 0;
    return times_at(arg[0], arg[1], times, (uint32_t)arg[3]);
}

static int64_t timevals_at(uint64_t descriptor, uint64_t path, uint64_t address)
{
    struct linux_timeval values[2];
    struct linux_timespec times[2];

    if (!address)
        return times_at(descriptor, path, times_now, 0);
    if (hl__user_read(values, address, sizeof values) < 0)
        return -EFAULT;
    for (int i = 0; i < 2; i++) {
        if (values[i].microseconds < 0 || values[i].microseconds >= 1000000)
            return -EINVAL;
        times[i] = (struct linux_timespec){values[i].seconds, values[i].microseconds * 1000};
    }
    return times_at(descriptor, path, times, 0);
}

HL__SYSCALL(utimes)
{
    return timevals_at(CWD, arg[0], arg[1]);
}

HL__SYSCALL(futimesat)
{
    return timevals_at(arg[0], arg[1], arg[2]);
}

HL__SYSCALL(utime)
{
    int64_t seconds[2];
    struct linux_timespec times[2];

    if (!arg[1])
        return times_at(CWD, arg[0], times_now, 0);
    if (hl__user_read(seconds, arg[1], sizeof seconds) < 0)
        return -EFAULT;
    times[0] = (struct linux_timespec){seconds[0], 0};
    times[1] = (struct linux_timespec){seconds[1], 0};
    return times_at(CWD, arg[0], times, 0);
}

HL__SYSCALL(truncate)
{
    struct hl__place place;
    struct hl__file *file;
    int64_t failure;

    if ((int64_t)arg[1] < 0)
        return -EINVAL;
    failure = hl__place_at(CWD, arg[0], HL__PLACE_FOLLOW, &place);
    if (failure)
        return failure;
    if (!place.inode || hl__inode_type(place.inode) != S_IFREG)
        failure = place.inode && hl__inode_type(place.inode) == S_IFDIR ? -EISDIR : -EINVAL;
    else
        failure = hl__inode_open(place.inode, O_WRONLY, false, &file);
    hl__place_free(&place);
    if (failure)
        return failure;
    failure = file->ops->truncate ? file->ops->truncate(file, arg[1]) : -EINVAL;
    hl__file_unref(file);
    return failure;
}

static int64_t read_link(uint64_t descriptor, uint64_t path, uint64_t result, uint64_t capacity)
{
    static char target[HL__PATH_MAX];
    struct hl__place place;
    int64_t size;

    if ((int32_t)capacity <= 0)
        return -EINVAL;
    size = hl__place_at(descriptor, path, HL__PLACE_EMPTY, &place);
    if (size)
        return size;
    if (!place.inode || hl__inode_type(place.inode) != S_IFLNK)
        size = place.last == HL__LAST_ROOT && place.file ? -ENOENT : -EINVAL;
    else
        size = hl__link_text(place.inode, target, sizeof target);
    hl__place_free(&place);
    if (size < 0)
        return size;
    if ((uint64_t)size > (uint32_t)capacity)
        size = (int64_t)(uint32_t)capacity;
    return hl__user_write(result, target, (uint64_t)size) < 0 ? -EFAULT : size;
}

HL__SYSCALL(readlink)
{
    char first;

    /* Only readlinkat takes an empty path. */
    if (hl__user_read(&first, arg[0], 1) < 0)
        return -EFAULT;
    return first ? read_link(CWD, arg[0], arg[1], arg[2]) : -ENOENT;
}

HL__SYSCALL(readlinkat)
{
    return arg[1] ? read_link(arg[0], arg[1], arg[2], arg[3]) : -EFAULT;
}

/* The file system as a whole: one of memory, and /proc. */
static int64_t statfs_to(const struct hl__inode *inode, uint64_t address)
{
    struct linux_statfs stat = {.type = TMPFS_MAGIC,
                                .block_size = HL_ABI_PAGE_SIZE,
                                .name_size = HL__NAME_MAX,
                                .fragment_size = HL_ABI_PAGE_SIZE,
                                .flags = 0x20};

    if (!inode)
        stat.type = PIPEFS_MAGIC;
    else if (inode->virtual_ops)
        stat.type = PROC_MAGIC;
    else
        hl__space(&stat.blocks, &stat.blocks_free);
    stat.blocks_available = stat.blocks_free;
    stat.files = stat.blocks;
    stat.files_free = stat.blocks_free;
    return hl__user_write(address, &stat, sizeof stat);
}

HL__SYSCALL(statfs)
{
    struct hl__place place;
    int64_t failure = hl__place_at(CWD, arg[0], HL__PLACE_FOLLOW, &place);

    if (failure)
        return failure;
    failure = statfs_to(place.inode, arg[1]);
    hl__place_free(&place);
    return failure;
}

HL__SYSCALL(fstatfs)
{
    struct hl__file *file = hl__descriptor_file(arg[0]);

    return file ? statfs_to(file->inode, arg[1]) : -EBADF;
}

/* Extended attributes: there are none, and none can be made. */

static int64_t path_exists(uint64_t path, uint32_t options, int64_t then)
{
    struct hl__place place;
    int64_t failure = hl__place_at(CWD, path, options, &place);

    if (failure)
        return failure;
    hl__place_free(&place);
    return then;
}

static int64_t open_exists(uint64_t descriptor, int64_t then)
{
    struct hl__file *file = hl__descriptor_file(descriptor);

    return file && !(file->flags & O_PATH) ? then : -EBADF;
}

HL__SYSCALL(setxattr)
{
    return path_exists(arg[0], HL__PLACE_FOLLOW, -EOPNOTSUPP);
}

HL__SYSCALL(lsetxattr)
{
    return path_exists(arg[0], 0, -EOPNOTSUPP);
}

HL__SYSCALL(fsetxattr)
{
    return open_exists(arg[0], -EOPNOTSUPP);
}

HL__SYSCALL(getxattr)
{
    return path_exists(arg[0], HL__PLACE_FOLLOW, -ENODATA);
}

HL__SYSCALL(lgetxattr)
{
    return path_exists(arg[0], 0, -ENODATA);
}

HL__SYSCALL(fgetxattr)
{
    return open_exists(arg[0], -ENODATA);
}

HL__SYSCALL(listxattr)
{
    return path_exists(arg[0], HL__PLACE_FOLLOW, 0);
}

HL__SYSCALL(llistxattr)
{
    return path_exists(arg[0], 0, 0);
}

HL__SYSCALL(flistxattr)
{
    return open_exists(arg[0], 0);
}

HL__SYSCALL(removexattr)
{
    return path_exists(arg[0], HL__PLACE_FOLLOW, -ENODATA);
}

HL__SYSCALL(lremovexattr)
{
    return path_exists(arg[0], 0, -ENODATA);
}

HL__SYSCALL(fremovexattr)
{
    return open_exists(arg[0], -ENODATA);
}
