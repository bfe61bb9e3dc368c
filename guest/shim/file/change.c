/* System calls that change the tree: new, other and removed names. */
#include "base/text.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "file/credentials.h"
#include "file/open.h"
#include "memory/heap.h"
#include "thread/thread.h"

#include <string.h>

#define CWD ((uint64_t)AT_FDCWD)
#define LINKS_OF_FILE_MAX 65000u

/* Whether a place is good for a new name; it is freed if not. */
static int64_t place_check(struct hl__place *place, bool directory)
{
    int64_t failure;

    if (place->inode || place->file || place->last != HL__LAST_NAME)
        failure = -EEXIST;
    else if (place->slash && !directory)
        failure = -ENOENT;
    else
        failure = hl__may_add(place->directory);
    if (failure)
        hl__place_free(place);
    return failure;
}

/* The place of a name that must not be there yet. */
static int64_t place_new(uint64_t descriptor, uint64_t path, bool directory,
                         struct hl__place *place)
{
    int64_t failure = hl__place_at(descriptor, path, HL__PLACE_NAME | HL__PLACE_MISSING, place);

    return failure ? failure : place_check(place, directory);
}

/* Makes an inode of the mode at a new place, which is freed. 0 or -errno; *inode is referenced. */
static int64_t make_at(struct hl__place *place, uint32_t mode, uint64_t device,
                       struct hl__inode **inode)
{
    int64_t failure = -ENOSPC;

    *inode = hl__inode_for(place->directory, mode);
    if (*inode) {
        (*inode)->device = device;
        failure = hl__inode_link(*inode, place);
    }
    hl__place_free(place);
    if (failure)
        hl__inode_unref(*inode);
    return failure;
}

static int64_t make(uint64_t descriptor, uint64_t path, uint32_t mode, uint64_t device)
{
    struct hl__place place;
    struct hl__inode *inode;
    int64_t failure = place_new(descriptor, path, (mode & S_IFMT) == S_IFDIR, &place);

    if (!failure)
        failure = make_at(&place, mode, device, &inode);
    if (!failure)
        hl__inode_unref(inode);
    return failure;
}

int64_t hl__path_make(const char *path, uint32_t mode, struct hl__inode **inode)
{
    struct hl__place place;
    int64_t failure =
        hl__place_find(hl__process()->directory, path, (uint32_t)hl__string_length(path),
                       HL__PLACE_NAME | HL__PLACE_MISSING, &place);

    if (!failure)
        failure = place_check(&place, false);
    return failure ? failure : make_at(&place, mode, 0, inode);
}

HL__SYSCALL(mkdir)
{
    return make(CWD, arg[0], S_IFDIR | (arg[1] & 01777), 0);
}

HL__SYSCALL(mkdirat)
{
    return make(arg[0], arg[1], S_IFDIR | (arg[2] & 01777), 0);
}

static int64_t make_node(uint64_t descriptor, uint64_t path, uint32_t mode)
{
    switch (mode & S_IFMT) {
    case 0:
        mode |= S_IFREG;
        break;
    case S_IFREG:
    case S_IFIFO:
        break;
    case S_IFCHR:
    case S_IFBLK:
    case S_IFSOCK:
        return -EPERM;
    default:
        return -EINVAL;
    }
    return make(descriptor, path, mode & (S_IFMT | 07777), 0);
}

HL__SYSCALL(mknod)
{
    return make_node(CWD, arg[0], (uint32_t)arg[1]);
}

HL__SYSCALL(mknodat)
{
    return make_node(arg[0], arg[1], (uint32_t)arg[2]);
}

static int64_t link_make(struct hl__place *place, const char *target, uint32_t size)
{
    struct hl__inode *inode = hl__inode_for(place->directory, S_IFLNK | 0777);
    int64_t failure = -ENOSPC;

    if (!inode)
        return -ENOSPC;
    inode->mode = S_IFLNK | 0777;
    inode->target = hl__heap_new(size + 1);
    if (inode->target) {
        memcpy(inode->target, target, size);
        inode->size = size;
        failure = hl__inode_link(inode, place);
    }
    hl__inode_unref(inode);
    return failure;
}

static int64_t make_link(uint64_t target_address, uint64_t descriptor, uint64_t path)
{
    static char target[HL__PATH_MAX];
    struct hl__place place;
    int64_t size = hl__user_string(target, target_address, sizeof target), failure;

    if (size <= 0)
        return size ? size : -ENOENT;
    failure = place_new(descriptor, path, false, &place);
    if (failure)
        return failure;
    failure = link_make(&place, target, (uint32_t)size);
    hl__place_free(&place);
    return failure;
}

HL__SYSCALL(symlink)
{
    return make_link(arg[0], CWD, arg[1]);
}

HL__SYSCALL(symlinkat)
{
    return make_link(arg[0], arg[1], arg[2]);
}

static int64_t link_inode(struct hl__inode *inode, uint64_t descriptor, uint64_t path)
{
    struct hl__place place;
    int64_t failure = place_new(descriptor, path, false, &place);

    if (failure)
        return failure;
    if (!inode || inode->virtual_ops)
        failure = -EXDEV;
    else if (hl__inode_type(inode) == S_IFDIR)
        failure = -EPERM;
    else if (!inode->link_count && !inode->linkable)
        failure = -ENOENT;
    else if (inode->link_count >= LINKS_OF_FILE_MAX)
        failure = -EMLINK;
    else
        failure = hl__inode_link(inode, &place);
    if (!failure) {
        inode->linkable = false;
        hl__inode_changed(inode);
    }
    hl__place_free(&place);
    return failure;
}

static int64_t link_at(const uint64_t *arg, uint32_t flags)
{
    uint32_t options = (flags & AT_SYMLINK_FOLLOW ? HL__PLACE_FOLLOW : 0) |
                       (flags & AT_EMPTY_PATH ? HL__PLACE_EMPTY : 0);
    struct hl__place place;
    int64_t failure;

    if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    failure = hl__place_at(arg[0], arg[1], options, &place);
    if (failure)
        return failure;
    failure = link_inode(place.inode, arg[2], arg[3]);
    hl__place_free(&place);
    return failure;
}

HL__SYSCALL(link)
{
    const uint64_t at[] = {CWD, arg[0], CWD, arg[1]};

    return link_at(at, 0);
}

HL__SYSCALL(linkat)
{
    return link_at(arg, (uint32_t)arg[4]);
}

/* Takes the name away. 0 or -errno. */
static int64_t place_remove(struct hl__place *place)
{
    struct hl__inode *inode = place->inode;
    int64_t failure = hl__may_remove(place->directory, inode);

    if (!failure)
        failure = hl__directory_reserve(place->directory, place->name, place->name_size);
    if (failure)
        return failure;
    hl__directory_remove(place->directory, place->name, place->name_size);
    if (hl__inode_type(inode) == S_IFDIR)
        place->directory->link_count--;
    hl__inode_unlinked(inode);
    return 0;
}

static int64_t remove_file(struct hl__place *place)
{
    if (place->last != HL__LAST_NAME)
        return -EISDIR;
    if (!place->inode)
        return -EPERM;
    if (hl__inode_type(place->inode) == S_IFDIR)
        return -EISDIR;
    return place_remove(place);
}

static int64_t remove_directory(struct hl__place *place)
{
    switch (place->last) {
    case HL__LAST_DOT:
        return -EINVAL;
    case HL__LAST_DOTS:
        return -ENOTEMPTY;
    case HL__LAST_ROOT:
        return -EBUSY;
    default:
        break;
    }
    if (!place->inode || hl__inode_type(place->inode) != S_IFDIR)
        return -ENOTDIR;
    if (place->inode->virtual_ops && !place->directory->virtual_ops)
        return -EBUSY;
    if (!hl__directory_empty(place->inode))
        return hl__may_remove(place->directory, place->inode) ?: -ENOTEMPTY;
    return place_remove(place);
}

static int64_t remove_at(uint64_t descriptor, uint64_t path, bool directory)
{
    struct hl__place place;
    int64_t failure = hl__place_at(descriptor, path, HL__PLACE_NAME, &place);

    if (failure)
        return failure;
    failure = directory ? remove_directory(&place) : remove_file(&place);
    hl__place_free(&place);
    return failure;
}

HL__SYSCALL(unlink)
{
    return remove_at(CWD, arg[0], false);
}

HL__SYSCALL(rmdir)
{
    return remove_at(CWD, arg[0], true);
}

HL__SYSCALL(unlinkat)
{
    if (arg[2] & ~(uint64_t)AT_REMOVEDIR)
        return -EINVAL;
    return remove_at(arg[0], arg[1], arg[2] & AT_REMOVEDIR);
}

/* Whether a directory is, or lies below, another. */
static bool lies_in(const struct hl__inode *inode, const struct hl__inode *above)
{
    for (;; inode = inode->parent) {
        if (inode == above)
            return true;
        if (inode == hl__tree_root || !inode->parent)
            return false;
    }
}

static bool is_directory(const struct hl__inode *inode)
{
    return inode && hl__inode_type(inode) == S_IFDIR;
}

static int64_t rename_check(const struct hl__place *from, const struct hl__place *to,
                            uint32_t flags)
{
    if (from->last != HL__LAST_NAME)
        return -EBUSY;
    if (to->last != HL__LAST_NAME)
        return flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
    if (!from->inode || from->file)
        return -ENOENT;
    if ((flags & RENAME_NOREPLACE) && to->inode)
        return -EEXIST;
    if ((flags & RENAME_EXCHANGE) && !to->inode)
        return -ENOENT;
    if ((flags & RENAME_EXCHANGE) && to->slash && !is_directory(to->inode))
        return -ENOTDIR;
    if (!is_directory(from->inode) && (from->slash || (to->slash && !(flags & RENAME_EXCHANGE))))
        return -ENOTDIR;
    if (is_directory(from->inode) && lies_in(to->directory, from->inode))
        return -EINVAL;
    if (is_directory(to->inode) && lies_in(from->directory, to->inode))
        return flags & RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
    return 0;
}

static int64_t rename_rights(const struct hl__place *from, const struct hl__place *to,
                             uint32_t flags)
{
    int64_t failure = hl__may_remove(from->directory, from->inode);

    if (failure)
        return failure;
    failure = to->inode ? hl__may_remove(to->directory, to->inode) : hl__may_add(to->directory);
    if (failure)
        return failure;
    if (to->inode && !(flags & RENAME_EXCHANGE)) {
        if (is_directory(from->inode) && !is_directory(to->inode))
            return -ENOTDIR;
        if (!is_directory(from->inode) && is_directory(to->inode))
            return -EISDIR;
        if (is_directory(to->inode) && !hl__directory_empty(to->inode))
            return -ENOTEMPTY;
    }
    if (is_directory(from->inode) && from->directory != to->directory &&
        !hl__may(from->inode, W_OK, false))
        return -EACCES;
    return 0;
}

static int64_t place_reserve(const struct hl__place *place)
{
    return hl__directory_reserve(place->directory, place->name, place->name_size);
}

static void place_set(const struct hl__place *place, struct hl__inode *inode)
{
    hl__directory_set(place->directory, place->name, place->name_size, inode);
    hl__inode_changed(inode);
}

/* A directory's ".." counts as a link of the one above. */
static void parent_moved(const struct hl__inode *inode, struct hl__inode *from,
                         struct hl__inode *to)
{
    if (!is_directory(inode) || from == to)
        return;
    from->link_count--;
    to->link_count++;
}

static int64_t exchange(struct hl__place *from, struct hl__place *to)
{
    int64_t failure = place_reserve(from);

    if (!failure)
        failure = place_reserve(to);
    if (failure)
        return failure;
    parent_moved(from->inode, from->directory, to->directory);
    parent_moved(to->inode, to->directory, from->directory);
    place_set(to, from->inode);
    place_set(from, to->inode);
    return 0;
}

static int64_t rename_place(struct hl__place *from, struct hl__place *to)
{
    int64_t failure = place_reserve(from);

    if (!failure)
        failure = hl__directory_set(to->directory, to->name, to->name_size, from->inode);
    if (failure)
        return failure;
    parent_moved(from->inode, from->directory, to->directory);
    hl__directory_remove(from->directory, from->name, from->name_size);
    if (to->inode) {
        if (is_directory(to->inode))
            to->directory->link_count--;
        hl__inode_unlinked(to->inode);
    }
    hl__inode_changed(from->inode);
    return 0;
}

static int64_t rename_places(struct hl__place *from, struct hl__place *to, uint32_t flags)
{
    int64_t failure = rename_check(from, to, flags);

    if (failure)
        return failure;
    if (from->inode == to->inode)
        return 0;
    failure = rename_rights(from, to, flags);
    if (failure)
        return failure;
    return flags & RENAME_EXCHANGE ? exchange(from, to) : rename_place(from, to);
}

static int64_t rename_at(const uint64_t *arg, uint32_t flags)
{
    struct hl__place from, to;
    int64_t failure;

    if (flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE) ||
        flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    failure = hl__place_at(arg[0], arg[1], HL__PLACE_NAME | HL__PLACE_MISSING, &from);
    if (failure)
        return failure;
    failure = hl__place_at(arg[2], arg[3], HL__PLACE_NAME | HL__PLACE_MISSING, &to);
    if (!failure) {
        failure = rename_places(&from, &to, flags);
        hl__place_free(&to);
    }
    hl__place_free(&from);
    return failure;
}

HL__SYSCALL(rename)
{
    const uint64_t at[] = {CWD, arg[0], CWD, arg[1]};

    return rename_at(at, 0);
}

HL__SYSCALL(renameat)
{
    return rename_at(arg, 0);
}

HL__SYSCALL(renameat2)
{
    return rename_at(arg, (uint32_t)arg[4]);
}

/* Directories of the process */

static int64_t enter(struct hl__inode *inode)
{
    struct hl__process *process = hl__process();

    if (!is_directory(inode))
        return -ENOTDIR;
    if (!hl__may(inode, X_OK, false))
        return -EACCES;
    hl__inode_ref(inode);
    hl__inode_unref(process->directory);
    process->directory = inode;
    return 0;
}

HL__SYSCALL(chdir)
{
    struct hl__place place;
    int64_t failure = hl__place_at(CWD, arg[0], HL__PLACE_FOLLOW, &place);

    if (failure)
        return failure;
    failure = enter(place.inode);
    hl__place_free(&place);
    return failure;
}

HL__SYSCALL(fchdir)
{
    struct hl__file *file = hl__descriptor_file(arg[0]);

    return file ? enter(file->inode) : -EBADF;
}

HL__SYSCALL(getcwd)
{
    static char path[HL__PATH_MAX];
    int64_t size = hl__path_of(hl__process()->directory, path, sizeof path - 1);

    if (size < 0)
        return size;
    path[size++] = 0;
    if (arg[1] < (uint64_t)size)
        return -ERANGE;
    return hl__user_write(arg[0], path, (uint64_t)size) < 0 ? -EFAULT : size;
}

HL__SYSCALL(umask)
{
    uint32_t old = hl__process()->file_mask;

    hl__process()->file_mask = (uint32_t)arg[0] & 0777;
    return old;
}
