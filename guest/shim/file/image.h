/* Reading a root image (abi/image.h) where it lies. Nothing in it is trusted: whatever its numbers say,
 * no byte outside of it is touched. What cannot be right reads as missing or as -EIO. */
#ifndef HL_SHIM_IMAGE_H
#define HL_SHIM_IMAGE_H

#include "hyperlight/abi/image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hl__image {
    const uint8_t *bytes;
    uint64_t size;
    const struct hl_image_inode *inodes;
    uint64_t inode_count;
    const struct hl_image_entry *entries;
    uint64_t entry_count;
    const char *names;
    uint64_t names_size;
};

struct hl__image_name {
    const char *bytes; /* without NUL */
    uint32_t size;
    uint32_t inode;
};

/* The root image of this sandbox; size 0 if it has none. */
extern struct hl__image hl__root_image;

/* False: not an image, or damaged. */
bool hl__image_open(struct hl__image *image, const void *bytes, uint64_t size);
/* `count` elements of `element_size` at a range, aligned to `alignment`; NULL if they do not lie in the
 * image. */
const void *hl__image_at(const struct hl__image *image, const struct hl_image_range *range,
                         size_t element_size, size_t alignment);
/* NULL: there is no such inode. */
const struct hl_image_inode *hl__image_inode(const struct hl__image *image, uint32_t number);
/* The entry of a directory with number `index`. False: behind the end, or damaged. */
bool hl__image_entry(const struct hl__image *image, const struct hl_image_inode *directory,
                     uint64_t index, struct hl__image_name *name);
/* Finds an entry by its name. */
bool hl__image_find(const struct hl__image *image, const struct hl_image_inode *directory,
                    const char *bytes, uint32_t size, struct hl__image_name *name);
/* The target of a symbolic link, without NUL; NULL: damaged. */
const char *hl__image_target(const struct hl__image *image, const struct hl_image_inode *link);
/* Whether a file's contents lie in the image as a whole. */
bool hl__image_has_content(const struct hl__image *image, const struct hl_image_inode *file);

#endif
