/*
 * The tree of files that becomes an image: built in memory, node by node, where what comes later takes
 * the place of what was there. Names come from hostile archives; nothing here reaches a file system.
 */
#ifndef HL_IMAGE_TREE_H
#define HL_IMAGE_TREE_H

#include "image/contents.h"

#include <hyperlight/error.h>

#define HL__TREE_ROOT 1u /* the root's inode; 0 is none, for inodes and entries */

struct hl__tree_limits {
    uint32_t inodes;
    uint32_t depth; /* directories above one another; also bounds recursion */
};

struct hl__tree_attributes {
    uint32_t mode; /* type and permissions */
    uint32_t uid, gid;
    uint32_t modified_ns;
    int64_t modified_s;
    uint64_t device;
};

struct hl__tree_inode {
    struct hl__tree_attributes attributes;
    uint32_t links;  /* names, 0: not in use */
    uint32_t number; /* in the image, given by the writer */
    union {
        struct {
            uint32_t first, count; /* of its entries */
            uint32_t parent;
            uint32_t depth;
        } directory;
        uint32_t contents; /* of a file, 0: empty */
        struct {
            char *text; /* NUL-terminated */
            size_t size;
        } target; /* of a symbolic link */
        uint32_t next_free;
    };
};

struct hl__tree_entry {
    char *name;
    uint32_t name_size;
    uint32_t directory, inode;
    uint32_t previous, next; /* in the directory */
    uint32_t chain;          /* in the table of names */
    uint32_t layer;          /* the last one that had it, or something below it */
};

struct hl__tree {
    struct hl__contents *contents;
    struct hl__tree_limits limits;
    struct hl__tree_inode *inodes;
    uint32_t inode_end, inode_room, inode_free, inode_count;
    struct hl__tree_entry *entries;
    uint32_t entry_end, entry_room, entry_free;
    uint32_t *buckets;
    uint32_t bucket_mask;
    uint64_t seed; /* of the hashes: archives are not to choose who collides */
    uint32_t layer;
};

hl_status hl__tree_init(struct hl__tree *tree, const struct hl__tree_limits *limits,
                        struct hl__contents *contents, hl_error *err);
void hl__tree_free(struct hl__tree *tree);

/*
 * Makes the node `path` of the type that `attributes` say, with directories above it where they are
 * missing. An existing directory stays, with the new attributes; anything else that has the name goes.
 * Symbolic links on the way are followed inside the tree. A path with ".." is refused.
 */
hl_status hl__tree_add(struct hl__tree *tree, const char *path,
                       const struct hl__tree_attributes *attributes, uint32_t *inode,
                       hl_error *err);

/* What hl__tree_add() made: a file's contents (which it holds from now on), a link's target. */
void hl__tree_set_contents(struct hl__tree *tree, uint32_t inode, uint32_t contents);
hl_status hl__tree_set_target(struct hl__tree *tree, uint32_t inode, const char *path,
                              const char *target, hl_error *err);

/* Makes `path` another name of `target`, which must be there and be no directory. */
hl_status hl__tree_link(struct hl__tree *tree, const char *path, const char *target,
                        uint32_t *inode, hl_error *err);

/* Inode of a path, 0 if there is none. Symbolic links on the way are followed, the last is not. */
uint32_t hl__tree_find(struct hl__tree *tree, const char *path);

/* As hl__tree_find(), with the last one followed too, and ".." as in a file system. */
uint32_t hl__tree_resolve(struct hl__tree *tree, const char *path);

/* Layers: what earlier ones had at a path, or in a directory, goes. */
void hl__tree_next_layer(struct hl__tree *tree);
void hl__tree_hide(struct hl__tree *tree, const char *path);
void hl__tree_hide_below(struct hl__tree *tree, const char *path);

#endif
