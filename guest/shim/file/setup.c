/* The tree as the program finds it: the root image, if there is one, with what every Linux has. */
#include "base/text.h"
#include "entry/state.h"
#include "file/device.h"
#include "file/proc.h"
#include "file/tree.h"
#include "memory/heap.h"
#include "memory/memory.h"
#include "thread/thread.h"

#include <string.h>

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
static const char group[] = "root:x:0:\nnogroup:x:65534:\n";
static const char hosts[] = "127.0.0.1\tlocalhost\n::1\tlocalhost\n";
static const char nsswitch[] = "passwd: files\ngroup: files\nhosts: files\n";

/* Gives an inode its name; takes over the reference. False when memory has run out. */
static bool put(struct hl__inode *directory, const char *name, uint32_t size,
                struct hl__inode *inode)
{
    struct hl__inode *old = NULL;
    bool is_directory;

    if (!inode)
        return false;
    is_directory = hl__inode_type(inode) == S_IFDIR;
    if (!hl__directory_find(directory, name, size, &old) && is_directory &&
        hl__inode_type(old) == S_IFDIR)
        directory->link_count--;
    hl__inode_unref(old);
    if (hl__directory_set(directory, name, size, inode) < 0) {
        hl__inode_unref(inode);
        return false;
    }
    inode->link_count += is_directory ? 2 : 1;
    directory->link_count += is_directory;
    hl__inode_unref(inode);
    return true;
}

static bool put_named(struct hl__inode *directory, const char *name, struct hl__inode *inode)
{
    return put(directory, name, (uint32_t)hl__string_length(name), inode);
}

/* The directory of that name, made unless it is there; not referenced: its entry holds it. */
static struct hl__inode *directory_at(struct hl__inode *parent, const char *name, uint32_t size,
                                      uint32_t mode)
{
    struct hl__inode *inode;

    if (!hl__directory_find(parent, name, size, &inode)) {
        /* What was found in the image stays for what is put into it. */
        hl__inode_keep(inode);
        hl__inode_unref(inode);
        return hl__inode_type(inode) == S_IFDIR ? inode : NULL;
    }
    inode = hl__inode_new(S_IFDIR | mode);
    return put(parent, name, size, inode) ? inode : NULL;
}

static bool exists(struct hl__inode *directory, const char *name)
{
    struct hl__inode *inode;

    if (hl__directory_find(directory, name, (uint32_t)hl__string_length(name), &inode))
        return false;
    hl__inode_unref(inode);
    return true;
}

static bool put_default(struct hl__inode *directory, const char *name, const char *text)
{
    struct hl__inode *inode;
    uint64_t size = hl__string_length(text);

    if (exists(directory, name))
        return true;
    inode = hl__inode_new(S_IFREG | 0644);
    if (inode && size && hl__content_write_own(inode, text, size, 0) != (int64_t)size) {
        hl__inode_unref(inode);
        return false;
    }
    return put_named(directory, name, inode);
}

static bool put_link(struct hl__inode *directory, const char *name, const char *target)
{
    struct hl__inode *inode = hl__inode_new(S_IFLNK | 0777);
    uint64_t size = hl__string_length(target);

    if (!inode)
        return false;
    inode->target = hl__heap_new(size + 1);
    if (!inode->target) {
        hl__inode_unref(inode);
        return false;
    }
    memcpy(inode->target, target, size);
    inode->size = size;
    return put_named(directory, name, inode);
}

static bool put_device(struct hl__inode *directory, const char *name, uint64_t number)
{
    struct hl__inode *inode = hl__inode_new(S_IFCHR | 0666);

    if (inode)
        inode->device = number;
    return put_named(directory, name, inode);
}

static bool setup_dev(void)
{
    static const struct {
        const char *name;
        uint64_t number;
    } devices[] = {
        {"null", HL__DEVICE(1, 3)},
        {"zero", HL__DEVICE(1, 5)},
        {"full", HL__DEVICE(1, 7)},
        {"random", HL__DEVICE(1, 8)},
        {"urandom", HL__DEVICE(1, 9)},
        {"tty", HL__DEVICE(5, 0)},
        {"hyperlight", HL__DEVICE_HYPERLIGHT},
    };
    static const struct {
        const char *name, *target;
    } links[] = {
        {"fd", "/proc/self/fd"},
        {"stdin", "/proc/self/fd/0"},
        {"stdout", "/proc/self/fd/1"},
        {"stderr", "/proc/self/fd/2"},
    };
    struct hl__inode *dev = hl__inode_new(S_IFDIR | 0755);

    if (!put_named(hl__tree_root, "dev", dev))
        return false;
    for (unsigned i = 0; i < sizeof devices / sizeof devices[0]; i++)
        if (!put_device(dev, devices[i].name, devices[i].number))
            return false;
    for (unsigned i = 0; i < sizeof links / sizeof links[0]; i++)
        if (!put_link(dev, links[i].name, links[i].target))
            return false;
    return directory_at(dev, "shm", 3, 01777);
}

/* Only what the image lacks. A file in the place of /etc is the image's wish. */
static bool setup_etc(void)
{
    struct hl__inode *etc = directory_at(hl__tree_root, "etc", 3, 0755);

    if (!etc)
        return exists(hl__tree_root, "etc");
    return put_default(etc, "passwd", passwd) && put_default(etc, "group", group) &&
           put_default(etc, "hosts", hosts) && put_default(etc, "nsswitch.conf", nsswitch) &&
           put_default(etc, "resolv.conf", "");
}

/* The guest binary that came without an image, at its own path, or in the root directory under its last
 * part. */
static bool setup_program(void)
{
    const char *path =
        HL__BOOT->argument_count && HL__BOOT->strings[0] ? HL__BOOT->strings : "program";
    struct hl__inode *directory = hl__tree_root, *inode;

    if (path[0] != '/')
        for (const char *at = path; *at; at++)
            if (*at == '/' && at[1])
                path = at + 1;
    for (;;) {
        uint32_t size = 0;

        while (*path == '/')
            path++;
        while (path[size] && path[size] != '/')
            size++;
        if (size > HL__NAME_MAX)
            size = HL__NAME_MAX;
        if (!path[size]) {
            inode = hl__inode_new(S_IFREG | 0755);
            if (!inode)
                return false;
            inode->base = HL__PAGE_PROGRAM;
            inode->base_size = inode->size = HL__BOOT->program_size;
            hl__inode_ref(inode);
            hl__memory.space->executable = inode;
            return put(directory, size ? path : "program", size ? size : 7, inode);
        }
        directory = directory_at(directory, path, size, 0755);
        if (!directory)
            return false;
        path += size;
    }
}

static bool setup_root(void)
{
    if (HL__BOOT->root_size) {
        if (!hl__image_open(&hl__root_image, (const void *)HL_ABI_ROOT_ADDRESS,
                            HL__BOOT->root_size) ||
            hl__inode_of_image(HL_IMAGE_ROOT, &hl__tree_root) < 0)
            return false;
    } else {
        hl__tree_root = hl__inode_new(S_IFDIR | 0755);
        if (!hl__tree_root)
            return false;
        hl__tree_root->link_count = 2;
    }
    hl__tree_root->parent = hl__tree_root;
    return true;
}

bool hl__tree_init(void)
{
    if (!setup_root() || !setup_dev() || !setup_etc() || !hl__proc_init())
        return false;
    if (!directory_at(hl__tree_root, "tmp", 3, 01777) && !exists(hl__tree_root, "tmp"))
        return false;
    if (HL__BOOT->program_size && !setup_program())
        return false;
    hl__inode_ref(hl__tree_root);
    hl__process()->directory = hl__tree_root;
    return true;
}
