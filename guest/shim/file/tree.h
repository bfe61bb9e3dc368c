/*
 * The tree of files: inodes by number, and directories. A directory of the image shows its entries as
 * long as none in memory of the same name hides them; removed ones are hidden by a whiteout.
 */
#ifndef HL_SHIM_TREE_H
#define HL_SHIM_TREE_H

#include "file/image.h"
#include "file/inode.h"

struct hl__file;

extern struct hl__inode *hl__tree_root;

/* What a directory lists. */
struct hl__listed {
    const char *name; /* valid until the directory changes */
    uint32_t name_size;
    uint64_t inode;
    uint32_t mode;  /* the type's bits count */
    char bytes[24]; /* for names that are made */
};

/* Directories and links whose content is made when somebody looks: /proc. */
struct hl__virtual_ops {
    /* 0 and a referenced inode, or -errno. Its name and parent are set by the caller. */
    int64_t (*find)(struct hl__inode *directory, const char *name, uint32_t size,
                    struct hl__inode **inode);
    /* The entry with number *position from 0 on, which moves behind it. False at the end. */
    bool (*list)(struct hl__inode *directory, uint64_t *position, struct hl__listed *listed);
    /* Links: the target as text, bytes without NUL, or -errno. */
    int64_t (*target)(struct hl__inode *link, char *text, uint64_t size);
    /* Links: where they lead if that is no path: an inode, or an open file without one; referenced. */
    int64_t (*follow)(struct hl__inode *link, struct hl__inode **inode, struct hl__file **file);
    /* Files: a file for it, of one reference. */
    int64_t (*open)(struct hl__inode *inode, uint32_t flags, struct hl__file **file);
    void (*free)(struct hl__inode *inode);
};

/* inode.c */

/* In memory, without a name and without links; one reference. NULL: memory has run out. */
struct hl__inode *hl__inode_new(uint32_t mode);
/* That of the image with a number. 0 or -EIO, -ENOMEM; *inode is referenced. */
int64_t hl__inode_of_image(uint32_t number, struct hl__inode **inode);
/* It differs from the image from now on: it stays in memory as long as it has a link. */
void hl__inode_keep(struct hl__inode *inode);
/* A link less; the last one lets it go. */
void hl__inode_unlinked(struct hl__inode *inode);
/* Remembers where it was found. Forgets it when memory has run out. */
void hl__inode_named(struct hl__inode *inode, struct hl__inode *parent, const char *name,
                     uint32_t size, bool in_image);
struct linux_timespec hl__inode_now(void);
/* Content or entries changed: mtime and ctime; an attribute: ctime. */
void hl__inode_modified(struct hl__inode *inode);
void hl__inode_changed(struct hl__inode *inode);
void hl__inode_stat(const struct hl__inode *inode, struct linux_stat *stat);

static inline uint32_t hl__inode_type(const struct hl__inode *inode)
{
    return inode->mode & S_IFMT;
}

/* content.c */

/* Copies to the program's memory from a position on. Bytes, or -EFAULT. */
int64_t hl__content_read(struct hl__inode *inode, uint64_t address, uint64_t size,
                         uint64_t position);
/* Likewise from the program's memory; the file grows. Bytes, -EFAULT, -ENOSPC, -EFBIG. */
int64_t hl__content_write(struct hl__inode *inode, uint64_t address, uint64_t size,
                          uint64_t position);
/* The same from the shim's memory: files that the start makes. */
int64_t hl__content_write_own(struct hl__inode *inode, const void *from, uint64_t size,
                              uint64_t position);
int64_t hl__content_truncate(struct hl__inode *inode, uint64_t size);
/* Makes [start, end) zeroes without pages; the size stays. 0 or -ENOSPC. */
int64_t hl__content_punch(struct hl__inode *inode, uint64_t start, uint64_t end);
/* Gives [start, end) pages of its own. 0, -ENOSPC: then none more than before. */
int64_t hl__content_allocate(struct hl__inode *inode, uint64_t start, uint64_t end);
/* SEEK_DATA and SEEK_HOLE: the position, or -ENXIO. */
int64_t hl__content_seek(struct hl__inode *inode, uint64_t position, bool hole);
uint64_t hl__content_pages(const struct hl__inode *inode); /* that hold data */
void hl__content_free(struct hl__inode *inode);

/* tree.c */

/* 0 and a referenced inode; -ENOENT, -EIO, -ENOMEM. */
int64_t hl__directory_find(struct hl__inode *directory, const char *name, uint32_t size,
                           struct hl__inode **inode);
/* Makes sure that removing or replacing the entry cannot fail. 0 or -errno. */
int64_t hl__directory_reserve(struct hl__inode *directory, const char *name, uint32_t size);
/* The name shows the inode from now on, whatever it showed before. 0 or -ENOSPC; never fails after
 * hl__directory_reserve() of an existing name. */
int64_t hl__directory_set(struct hl__inode *directory, const char *name, uint32_t size,
                          struct hl__inode *inode);
/* The name shows nothing any more. It was reserved. */
void hl__directory_remove(struct hl__inode *directory, const char *name, uint32_t size);
bool hl__directory_empty(struct hl__inode *directory);
/* The next entry from *position on, "." and ".." first. `limit` keeps what is added while somebody reads
 * out of it: hl__directory_limit() at the beginning. False at the end. */
bool hl__directory_list(struct hl__inode *directory, uint64_t *position, uint64_t limit,
                        struct hl__listed *listed);
uint64_t hl__directory_limit(const struct hl__inode *directory);
void hl__directory_free(struct hl__inode *directory);

/* Whether the process's limit lets a regular file end there: 0, or -EFBIG with SIGXFSZ. regular.c. */
int64_t hl__size_allowed(const struct hl__inode *inode, uint64_t end);

#endif
