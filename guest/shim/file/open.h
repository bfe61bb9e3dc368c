/* Making files of inodes. */
#ifndef HL_SHIM_OPEN_H
#define HL_SHIM_OPEN_H

#include "file/path.h"

/* Operations of regular files and of directories. */
extern const struct hl__file_ops hl__regular_ops, hl__directory_ops;

/* A file for an inode, of one reference. 0, HL__WAITING or -errno. Looks at rights unless `created`. */
int64_t hl__inode_open(struct hl__inode *inode, uint32_t flags, bool created,
                       struct hl__file **file);
/* An inode for a new entry of a directory, with the owner and rights that it gets there; the caller
 * links it. NULL: memory has run out. */
struct hl__inode *hl__inode_for(const struct hl__inode *directory, uint32_t mode);
/* Gives it its first or another name. 0 or -errno. */
int64_t hl__inode_link(struct hl__inode *inode, struct hl__place *place);
/* Whether an entry of a directory may be added; or taken away: that of `inode`. 0 or -errno. */
int64_t hl__may_add(const struct hl__inode *directory);
int64_t hl__may_remove(const struct hl__inode *directory, const struct hl__inode *inode);

#endif
