/*
 * Files, directories, links and devices as such, apart from who has them open. An inode is made when
 * something first looks at a file of the image, and goes when nobody refers to it and nothing was
 * changed; what was changed stays in memory, page by page, over the image.
 *
 * Everything here is bookkeeping over memory of the shim's own: it builds natively, too.
 */
#ifndef HL_SHIM_INODE_H
#define HL_SHIM_INODE_H

#include "base/linux.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hl__directory;  /* file/tree.c: entries that were added and removed */
struct hl__pages_tree; /* file/content.c: which pages of a file are in memory */
struct
    hl__virtual_ops; /* file/tree.h: a directory or link whose content is made when it is looked at */

/* Where a page of a regular file comes from. */
enum hl__page_source {
    HL__PAGE_HOLE,  /* zeroes, or behind the end */
    HL__PAGE_IMAGE, /* HL_ABI_SOURCE_ROOT at `offset` */
    HL__PAGE_PROGRAM, /* HL_ABI_SOURCE_PROGRAM at `offset`: the guest binary that came without an image */
    HL__PAGE_RAM /* page `offset / HL_ABI_PAGE_SIZE` of RAM, in reach of the shim (memory/heap.h) */
};

struct hl__inode {
    uint32_t references; /* open files, mappings, entries of directories, current directories */
    uint32_t mode, uid, gid, link_count;
    uint32_t image;  /* its number in the root image, 0: it exists in memory only */
    uint64_t number; /* st_ino */
    uint64_t size;
    uint64_t device; /* of a device file: st_rdev */
    struct linux_timespec accessed, modified, changed;
    uint32_t seals;         /* F_SEAL_* of a memfd */
    uint32_t mapping_count; /* mappings that show it: told of changes */
    bool changed_here;      /* differs from the image: stays in memory */
    struct hl__inode *next; /* in the table of inodes */
    /* Where it lies, or was found last: the directory is referenced (the root's is the root, without a
     * reference); NULL: it has no name. */
    struct hl__inode *parent;
    const char *name; /* without NUL; its own unless name_in_image */
    uint16_t name_size;
    bool name_in_image;
    bool unlinked; /* a directory that was removed */
    bool linkable; /* O_TMPFILE without O_EXCL: may get a first name */
    /* What a regular file holds where nothing was written: bytes [0, base_size) are those of the image
     * or the guest binary from base_offset on. */
    enum hl__page_source base;
    uint64_t base_offset, base_size;
    const struct hl__virtual_ops *virtual_ops; /* not NULL: directory or link of /proc */
    struct hl__file_lock *locks;               /* file/lock.c */
    union {
        struct hl__directory *directory;
        struct hl__pages_tree *content;
        char *target; /* symbolic link in memory */
        void *object; /* pipe of a fifo, ... */
    };
    const struct hl__file_ops *ops; /* not NULL: device, /proc file, ...: how an open one behaves */
};

struct hl__file_page {
    enum hl__page_source source;
    uint64_t offset;
};

/* The page of a regular file with number `index`. Contents that do not lie on whole pages of the image
 * are HL__PAGE_RAM afterwards (or a hole with *failed set when memory has run out). */
struct hl__file_page hl__inode_page(struct hl__inode *inode, uint64_t index, bool *failed);
/* Makes it a page of RAM of the file's own, with the same content: for shared writable mappings and for
 * writing. 0: memory has run out. */
uint64_t hl__inode_page_own(struct hl__inode *inode, uint64_t index);

void hl__inode_ref(struct hl__inode *inode);
void hl__inode_unref(struct hl__inode *inode); /* NULL is fine */

/* An unnamed regular file: memfd, shared anonymous memory, O_TMPFILE. NULL: memory has run out. */
struct hl__inode *hl__inode_new_file(uint32_t mode);

/* Provided by memory/: mappings of the file must forget pages [first, end): the file became shorter, or
 * its pages are others now. Called only if mapping_count is not 0. */
void hl__memory_file_changed(struct hl__inode *inode, uint64_t first, uint64_t end);

#endif
