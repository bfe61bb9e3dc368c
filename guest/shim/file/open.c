/* Opening by path, and what makes new files. */
#include "file/open.h"
#include "base/text.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "file/credentials.h"
#include "file/device.h"
#include "io/pipe.h"
#include "thread/thread.h"

#include <string.h>

#define FLAGS_OF_OPENING (O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)
#define FLAGS_OF_PATH (O_PATH | O_DIRECTORY | O_NOFOLLOW)
#define TMPFILE (O_TMPFILE & ~O_DIRECTORY)

static const struct hl__file_ops path_ops; /* O_PATH: nothing can be done with it */

int64_t hl__may_add(const struct hl__inode *directory)
{
    if (directory->unlinked)
        return -ENOENT;
    if (directory->virtual_ops)
        return -EACCES;
    return hl__may(directory, W_OK | X_OK, false) ? 0 : -EACCES;
}

int64_t hl__may_remove(const struct hl__inode *directory, const struct hl__inode *inode)
{
    if (directory->virtual_ops)
        return -EPERM;
    if (!hl__may(directory, W_OK | X_OK, false))
        return -EACCES;
    if ((directory->mode & S_ISVTX) && !hl__is_owner(inode) && !hl__is_owner(directory))
        return -EPERM;
    return 0;
}

struct hl__inode *hl__inode_for(const struct hl__inode *directory, uint32_t mode)
{
    struct hl__inode *inode = hl__inode_new(mode & ~(hl__process()->file_mask & 0777));

    if (!inode)
        return NULL;
    inode->uid = hl__credentials()->user.file;
    inode->gid = hl__credentials()->group.file;
    if (directory->mode & S_ISGID) {
        inode->gid = directory->gid;
        if (hl__inode_type(inode) == S_IFDIR)
            inode->mode |= S_ISGID;
    }
    return inode;
}

int64_t hl__inode_link(struct hl__inode *inode, struct hl__place *place)
{
    int64_t failure = hl__may_add(place->directory);

    if (failure)
        return failure;
    failure = hl__directory_set(place->directory, place->name, place->name_size, inode);
    if (failure)
        return failure;
    inode->link_count++;
    if (hl__inode_type(inode) == S_IFDIR) {
        inode->link_count++;
        place->directory->link_count++;
    }
    return 0;
}

static uint32_t rights_of(uint32_t flags)
{
    static const uint8_t rights[] = {R_OK, W_OK, R_OK | W_OK, R_OK | W_OK};

    return rights[flags & O_ACCMODE] | (flags & O_TRUNC ? W_OK : 0);
}

static int64_t file_for(struct hl__inode *inode, const struct hl__file_ops *ops, uint32_t flags,
                        struct hl__file **file)
{
    *file = hl__file_new(ops, flags, inode, NULL);
    if (!*file)
        return -ENOMEM;
    hl__inode_ref(inode);
    return 0;
}

static int64_t open_regular(struct hl__inode *inode, uint32_t flags, bool truncate,
                            struct hl__file **file)
{
    int64_t failure = file_for(inode, &hl__regular_ops, flags, file);

    if (!failure && truncate && (inode->size || inode->image)) {
        failure = hl__content_truncate(inode, 0);
        if (failure)
            hl__file_unref(*file);
    }
    return failure;
}

int64_t hl__inode_open(struct hl__inode *inode, uint32_t flags, bool created,
                       struct hl__file **file)
{
    uint32_t kept = (flags & ~(uint32_t)FLAGS_OF_OPENING) | O_LARGEFILE;
    uint32_t type = hl__inode_type(inode);

    if ((flags & O_DIRECTORY) && type != S_IFDIR)
        return -ENOTDIR;
    if (flags & O_PATH)
        return file_for(inode, &path_ops, flags & FLAGS_OF_PATH, file);
    if (type == S_IFLNK)
        return -ELOOP;
    if (type == S_IFDIR && (rights_of(flags) & W_OK || (flags & O_CREAT)))
        return -EISDIR;
    if (!created && !hl__may(inode, rights_of(flags), false))
        return -EACCES;
    if ((flags & O_NOATIME) && !hl__is_owner(inode))
        return -EPERM;
    if (inode->virtual_ops && inode->virtual_ops->open)
        return inode->virtual_ops->open(inode, kept, file);
    switch (type) {
    case S_IFREG:
        return open_regular(inode, kept, (flags & O_TRUNC) && !created, file);
    case S_IFDIR:
        return file_for(inode, &hl__directory_ops, kept, file);
    case S_IFIFO:
        return hl__fifo_open(inode, kept, file);
    case S_IFCHR:
    case S_IFBLK:
        return hl__device_open(inode, kept, file);
    default:
        return -ENXIO;
    }
}

static int64_t open_temporary(struct hl__place *place, uint32_t flags, uint32_t mode,
                              struct hl__file **file)
{
    struct hl__inode *inode;
    int64_t failure;

    if (!place->inode || hl__inode_type(place->inode) != S_IFDIR)
        return -ENOTDIR;
    failure = hl__may_add(place->inode);
    if (failure)
        return failure == -EACCES && place->inode->virtual_ops ? -EOPNOTSUPP : failure;
    inode = hl__inode_for(place->inode, S_IFREG | (mode & 07777));
    if (!inode)
        return -ENOSPC;
    inode->linkable = !(flags & O_EXCL);
    failure = hl__inode_open(inode, flags & ~(uint32_t)(O_DIRECTORY | O_CREAT), true, file);
    hl__inode_unref(inode);
    return failure;
}

static int64_t open_new(struct hl__place *place, uint32_t flags, uint32_t mode,
                        struct hl__file **file)
{
    struct hl__inode *inode;
    int64_t failure;

    failure = hl__may_add(place->directory);
    if (failure)
        return failure;
    inode = hl__inode_for(place->directory, S_IFREG | (mode & 07777));
    if (!inode)
        return -ENOSPC;
    failure = hl__inode_link(inode, place);
    if (!failure)
        failure = hl__inode_open(inode, flags, true, file);
    hl__inode_unref(inode);
    return failure;
}

/* A path through /proc to an open file that has no inode: one like it. */
static int64_t open_again(struct hl__file *from, uint32_t flags, struct hl__file **file)
{
    if (flags & O_PATH)
        return -EACCES;
    if (!from->ops->reopen)
        return -ENXIO;
    return from->ops->reopen(from, (flags & ~(uint32_t)FLAGS_OF_OPENING) | O_LARGEFILE, file);
}

static int64_t open_place(struct hl__place *place, uint32_t flags, uint32_t mode,
                          struct hl__file **file)
{
    if ((flags & TMPFILE) && !(flags & O_PATH))
        return open_temporary(place, flags, mode, file);
    if (!place->inode && !place->file)
        return open_new(place, flags, mode, file);
    if ((flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (!place->inode)
        return open_again(place->file, flags, file);
    return hl__inode_open(place->inode, flags, false, file);
}

static int64_t open_at(uint64_t descriptor, uint64_t path, uint32_t flags, uint32_t mode)
{
    uint32_t options = HL__PLACE_FOLLOW;
    struct hl__place place;
    struct hl__file *file;
    int64_t failure;

    if (flags & O_PATH)
        flags &= FLAGS_OF_PATH | O_CLOEXEC;
    if ((flags & TMPFILE) && ((flags & O_TMPFILE) != O_TMPFILE || !(rights_of(flags) & W_OK)))
        return -EINVAL;
    if ((flags & O_NOFOLLOW) || ((flags & O_CREAT) && (flags & O_EXCL)))
        options = 0;
    if (flags & O_CREAT) {
        if ((flags & O_DIRECTORY) && !(flags & TMPFILE))
            return -EINVAL;
        options |= flags & TMPFILE ? 0 : HL__PLACE_MISSING | HL__PLACE_CREATE;
    }
    failure = hl__place_at(descriptor, path, options, &place);
    if (failure)
        return failure;
    failure = open_place(&place, flags, mode, &file);
    hl__place_free(&place);
    return failure ? failure : hl__descriptor_add(file, 0, flags & O_CLOEXEC);
}

HL__SYSCALL(open)
{
    return open_at((uint64_t)AT_FDCWD, arg[0], (uint32_t)arg[1], (uint32_t)arg[2]);
}

HL__SYSCALL(creat)
{
    return open_at((uint64_t)AT_FDCWD, arg[0], O_CREAT | O_WRONLY | O_TRUNC, (uint32_t)arg[1]);
}

HL__SYSCALL(openat)
{
    return open_at(arg[0], arg[1], (uint32_t)arg[2], (uint32_t)arg[3]);
}
