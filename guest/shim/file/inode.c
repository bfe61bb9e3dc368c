/* Inodes: made when somebody looks at them, freed when nobody does and nothing was changed. */
#include "file/file.h"
#include "file/lock.h"
#include "file/tree.h"
#include "io/pipe.h"
#include "memory/heap.h"
#include "time/clock.h"

#include <string.h>

#define BUCKETS_MIN 256u
#define BUCKETS_MAX (1u << 20)
/* Inodes in memory have numbers that no image has. */
#define NUMBER_FIRST (HL_IMAGE_INODES_MAX + 1ull)
#define DEVICE_NUMBER 24u /* st_dev of everything */
#define NS_PER_SECOND 1000000000ull

static struct {
    struct hl__inode **buckets; /* those of the image by number */
    uint32_t bucket_count, count;
    uint64_t next_number;
} inodes;

static struct hl__inode **bucket_of(uint32_t image)
{
    return &inodes.buckets[image * 2654435761u & (inodes.bucket_count - 1)];
}

/* Doubles the table when it is full. False only if there is none at all. */
static bool table_grow(void)
{
    struct hl__inode **old = inodes.buckets;
    uint32_t old_count = inodes.bucket_count;
    uint32_t count = old_count ? old_count * 2 : BUCKETS_MIN;
    struct hl__inode **buckets;

    if (inodes.count < old_count || count > BUCKETS_MAX)
        return true;
    buckets = hl__heap_new(count * sizeof(struct hl__inode *));
    if (!buckets)
        return old != NULL;
    inodes.buckets = buckets;
    inodes.bucket_count = count;
    for (uint32_t i = 0; i < old_count; i++) {
        for (struct hl__inode *inode = old[i], *next; inode; inode = next) {
            next = inode->next;
            inode->next = *bucket_of(inode->image);
            *bucket_of(inode->image) = inode;
        }
    }
    hl__heap_free(old, old_count * sizeof(struct hl__inode *));
    return true;
}

struct linux_timespec hl__inode_now(void)
{
    uint64_t ns = hl__clock_realtime_ns();

    return (struct linux_timespec){(int64_t)(ns / NS_PER_SECOND), (int64_t)(ns % NS_PER_SECOND)};
}

void hl__inode_modified(struct hl__inode *inode)
{
    inode->modified = inode->changed = hl__inode_now();
    hl__inode_keep(inode);
}

void hl__inode_changed(struct hl__inode *inode)
{
    inode->changed = hl__inode_now();
    hl__inode_keep(inode);
}

struct hl__inode *hl__inode_new(uint32_t mode)
{
    struct hl__inode *inode = hl__heap_new(sizeof *inode);

    if (!inode)
        return NULL;
    inode->references = 1;
    inode->mode = mode;
    inode->number = NUMBER_FIRST + inodes.next_number++;
    inode->accessed = inode->modified = inode->changed = hl__inode_now();
    return inode;
}

struct hl__inode *hl__inode_new_file(uint32_t mode)
{
    return hl__inode_new(S_IFREG | (mode & 07777));
}

static void inode_fill(struct hl__inode *inode, const struct hl_image_inode *from, uint32_t number)
{
    struct linux_timespec time = {from->modified_s, from->modified_ns % NS_PER_SECOND};

    inode->references = 1;
    inode->image = number;
    inode->number = number;
    inode->mode = from->mode & (S_IFMT | 07777);
    inode->uid = from->uid;
    inode->gid = from->gid;
    inode->link_count = from->link_count ? from->link_count : 1;
    inode->accessed = inode->modified = inode->changed = time;
    inode->size = from->size;
}

/* What the kind of a file asks of the image. 0 or -EIO. */
static int64_t inode_fill_kind(struct hl__inode *inode, const struct hl_image_inode *from)
{
    switch (inode->mode & S_IFMT) {
    case S_IFREG:
        if (!hl__image_has_content(&hl__root_image, from))
            return -EIO;
        inode->base = HL__PAGE_IMAGE;
        inode->base_offset = from->data;
        inode->base_size = from->size;
        return 0;
    case S_IFLNK:
        return hl__image_target(&hl__root_image, from) ? 0 : -EIO;
    case S_IFCHR:
    case S_IFBLK:
        inode->device = from->size;
        inode->size = 0;
        return 0;
    case S_IFDIR:
        return from->size <= hl__root_image.entry_count ? 0 : -EIO;
    case S_IFIFO:
    case S_IFSOCK:
        inode->size = 0;
        return 0;
    default:
        return -EIO;
    }
}

int64_t hl__inode_of_image(uint32_t number, struct hl__inode **inode)
{
    const struct hl_image_inode *from = hl__image_inode(&hl__root_image, number);
    struct hl__inode *found;
    int64_t failure;

    if (!from)
        return -EIO;
    if (!table_grow())
        return -ENOMEM;
    for (found = *bucket_of(number); found; found = found->next) {
        if (found->image == number) {
            hl__inode_ref(found);
            *inode = found;
            return 0;
        }
    }
    found = hl__heap_new(sizeof *found);
    if (!found)
        return -ENOMEM;
    inode_fill(found, from, number);
    failure = inode_fill_kind(found, from);
    if (failure) {
        hl__heap_free(found, sizeof *found);
        return failure;
    }
    found->next = *bucket_of(number);
    *bucket_of(number) = found;
    inodes.count++;
    *inode = found;
    return 0;
}

void hl__inode_ref(struct hl__inode *inode)
{
    inode->references++;
}

static void table_remove(struct hl__inode *inode)
{
    struct hl__inode **at = bucket_of(inode->image);

    while (*at != inode)
        at = &(*at)->next;
    *at = inode->next;
    inodes.count--;
}

static void name_drop(struct hl__inode *inode)
{
    if (inode->name && !inode->name_in_image)
        hl__heap_free((void *)inode->name, inode->name_size);
    inode->name = NULL;
}

static void inode_free_kind(struct hl__inode *inode)
{
    if (inode->virtual_ops) {
        if (inode->virtual_ops->free)
            inode->virtual_ops->free(inode);
        return;
    }
    switch (inode->mode & S_IFMT) {
    case S_IFREG:
        hl__content_free(inode);
        break;
    case S_IFDIR:
        hl__directory_free(inode);
        break;
    case S_IFLNK:
        if (inode->target)
            hl__heap_free(inode->target, inode->size + 1);
        break;
    case S_IFIFO:
        hl__fifo_free(inode);
        break;
    }
}

/* Goes upwards by itself: a deep directory must not need a deep stack. */
void hl__inode_unref(struct hl__inode *inode)
{
    while (inode && !--inode->references) {
        struct hl__inode *parent = inode->parent;

        if (inode->image)
            table_remove(inode);
        inode_free_kind(inode);
        name_drop(inode);
        hl__heap_free(inode, sizeof *inode);
        inode = parent;
    }
}

void hl__inode_keep(struct hl__inode *inode)
{
    if (!inode->image || inode->changed_here || !inode->link_count || inode->unlinked)
        return;
    inode->changed_here = true;
    hl__inode_ref(inode);
}

/* The caller holds a reference. */
void hl__inode_unlinked(struct hl__inode *inode)
{
    if ((inode->mode & S_IFMT) == S_IFDIR) {
        inode->unlinked = true;
        inode->link_count = 0;
    } else if (inode->link_count) {
        inode->link_count--;
    }
    hl__inode_changed(inode);
    if (!inode->link_count && inode->changed_here) {
        inode->changed_here = false;
        hl__inode_unref(inode);
    }
}

void hl__inode_named(struct hl__inode *inode, struct hl__inode *parent, const char *name,
                     uint32_t size, bool in_image)
{
    struct hl__inode *old = inode->parent;

    if (inode == hl__tree_root)
        return;
    if (old == parent && inode->name && inode->name_size == size &&
        !memcmp(inode->name, name, size))
        return;
    name_drop(inode);
    if (!in_image) {
        char *copy = hl__heap_new(size);

        if (copy)
            memcpy(copy, name, size);
        name = copy;
    }
    inode->name = name;
    inode->name_size = (uint16_t)size;
    inode->name_in_image = in_image;
    if (old == parent)
        return;
    inode->parent = parent;
    hl__inode_ref(parent);
    hl__inode_unref(old);
}

static uint64_t inode_blocks(const struct hl__inode *inode)
{
    if ((inode->mode & S_IFMT) == S_IFREG && !inode->ops)
        return hl__content_pages(inode) * (HL_ABI_PAGE_SIZE / 512);
    return 0;
}

void hl__inode_stat(const struct hl__inode *inode, struct linux_stat *stat)
{
    *stat = (struct linux_stat){.device = DEVICE_NUMBER,
                                .inode = inode->number,
                                .link_count = inode->link_count,
                                .mode = inode->mode,
                                .uid = inode->uid,
                                .gid = inode->gid,
                                .special_device = inode->virtual_ops ? 0 : inode->device,
                                .size = (int64_t)inode->size,
                                .block_size = HL_ABI_PAGE_SIZE,
                                .blocks = (int64_t)inode_blocks(inode),
                                .accessed = inode->accessed,
                                .modified = inode->modified,
                                .changed = inode->changed};
    if ((inode->mode & S_IFMT) == S_IFDIR &&
        !inode->virtual_ops) { /* as most file systems show it */
        stat->size = HL_ABI_PAGE_SIZE;
        stat->blocks = HL_ABI_PAGE_SIZE / 512;
    }
}
