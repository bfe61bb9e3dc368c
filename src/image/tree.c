/* The tree of files: names, directories, links, layers. */
#define _GNU_SOURCE
#include "image/tree.h"

#include "image/short_name.h"
#include "util/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define FOLLOW_MAX 40 /* symbolic links in one path, as Linux */
#define TARGET_MAX 4095
#define BUCKETS_FIRST 1024u

static hl_status no_memory(hl_error *err)
{
    return hl__error_set(err, HL_OUT_OF_MEMORY, NULL, "no memory left for the image's files");
}

/* Room for one more element; doubles. */
static bool grow(void **array, uint32_t end, uint32_t *room, size_t element)
{
    if (end < *room)
        return true;
    uint32_t wanted = *room ? *room * 2 : 1024;
    void *moved = wanted > *room ? reallocarray(*array, wanted, element) : NULL;
    if (!moved)
        return false;
    *array = moved;
    *room = wanted;
    return true;
}

/* ---- Names of directories ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)(a ^ 0x9e3779b97f4a7c15u) * (b | 1);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_name(const struct hl__tree *tree, uint32_t directory, const char *name,
                          uint32_t size)
{
    uint64_t hash = mix(directory + ((uint64_t)size << 32), tree->seed);
    while (size > 0) {
        uint64_t word = 0;
        uint32_t taken = size < sizeof word ? size : (uint32_t)sizeof word;
        memcpy(&word, name, taken);
        hash = mix(hash ^ word, tree->seed);
        name += taken;
        size -= taken;
    }
    return hash;
}

static uint32_t *bucket_of(struct hl__tree *tree, uint32_t directory, const char *name,
                           uint32_t size)
{
    return &tree->buckets[hash_name(tree, directory, name, size) & tree->bucket_mask];
}

static uint32_t find_entry(struct hl__tree *tree, uint32_t directory, const char *name,
                           uint32_t size)
{
    uint32_t entry = *bucket_of(tree, directory, name, size);
    for (; entry; entry = tree->entries[entry].chain) {
        const struct hl__tree_entry *candidate = &tree->entries[entry];
        if (candidate->directory == directory && candidate->name_size == size &&
            memcmp(candidate->name, name, size) == 0)
            break;
    }
    return entry;
}

static void chain_entry(struct hl__tree *tree, uint32_t number)
{
    struct hl__tree_entry *entry = &tree->entries[number];
    uint32_t *bucket = bucket_of(tree, entry->directory, entry->name, entry->name_size);
    entry->chain = *bucket;
    *bucket = number;
}

static void unchain_entry(struct hl__tree *tree, uint32_t number)
{
    struct hl__tree_entry *entry = &tree->entries[number];
    uint32_t *at = bucket_of(tree, entry->directory, entry->name, entry->name_size);
    while (*at != number)
        at = &tree->entries[*at].chain;
    *at = entry->chain;
}

static bool grow_buckets(struct hl__tree *tree)
{
    uint32_t count = tree->buckets ? (tree->bucket_mask + 1) * 2 : BUCKETS_FIRST;
    uint32_t *buckets = calloc(count, sizeof *buckets);
    if (!buckets)
        return false;
    free(tree->buckets);
    tree->buckets = buckets;
    tree->bucket_mask = count - 1;
    for (uint32_t i = 1; i < tree->entry_end; i++)
        if (tree->entries[i].name)
            chain_entry(tree, i);
    return true;
}

/* ---- Inodes and entries ---- */

static hl_status new_inode(struct hl__tree *tree, const char *path,
                           const struct hl__tree_attributes *attributes, uint32_t *number,
                           hl_error *err)
{
    if (tree->inode_count >= tree->limits.inodes)
        return hl__error_set(err, HL_IMAGE_TOO_MANY_FILES, NULL,
                             "'%s' would be file %u: the limit is %u", HL__SHORT(path),
                             tree->inode_count + 1, tree->limits.inodes);
    if (tree->inode_free) {
        *number = tree->inode_free;
        tree->inode_free = tree->inodes[*number].next_free;
    } else {
        if (!grow((void **)&tree->inodes, tree->inode_end, &tree->inode_room, sizeof *tree->inodes))
            return no_memory(err);
        *number = tree->inode_end++;
    }
    tree->inode_count++;
    tree->inodes[*number] = (struct hl__tree_inode){.attributes = *attributes};
    return HL_OK;
}

static void drop_inode(struct hl__tree *tree, uint32_t number)
{
    struct hl__tree_inode *inode = &tree->inodes[number];
    if (--inode->links > 0)
        return;
    if (S_ISLNK(inode->attributes.mode))
        free(inode->target.text);
    else if (S_ISREG(inode->attributes.mode))
        hl__contents_release(tree->contents, inode->contents);
    inode->attributes.mode = 0;
    inode->next_free = tree->inode_free;
    tree->inode_free = number;
    tree->inode_count--;
}

static hl_status new_entry(struct hl__tree *tree, uint32_t directory, const char *name,
                           uint32_t size, uint32_t inode, hl_error *err)
{
    uint32_t number = tree->entry_free;
    char *copy = strndup(name, size);
    if (!copy ||
        (!number && !grow((void **)&tree->entries, tree->entry_end, &tree->entry_room,
                          sizeof *tree->entries)) ||
        (tree->entry_end > tree->bucket_mask && !grow_buckets(tree))) {
        free(copy);
        return no_memory(err);
    }
    if (number)
        tree->entry_free = tree->entries[number].next;
    else
        number = tree->entry_end++;
    struct hl__tree_inode *above = &tree->inodes[directory];
    tree->entries[number] = (struct hl__tree_entry){.name = copy,
                                                    .name_size = size,
                                                    .directory = directory,
                                                    .inode = inode,
                                                    .next = above->directory.first,
                                                    .layer = tree->layer};
    if (above->directory.first)
        tree->entries[above->directory.first].previous = number;
    above->directory.first = number;
    above->directory.count++;
    tree->inodes[inode].links++;
    chain_entry(tree, number);
    return HL_OK;
}

/* The entry goes, and with it what is below. Depth is limited, so is the recursion. */
static void remove_entry(struct hl__tree *tree, uint32_t number)
{
    uint32_t inode = tree->entries[number].inode;
    if (S_ISDIR(tree->inodes[inode].attributes.mode)) {
        while (tree->inodes[inode].directory.first)
            remove_entry(tree, tree->inodes[inode].directory.first);
    }
    struct hl__tree_entry *entry = &tree->entries[number];
    struct hl__tree_inode *above = &tree->inodes[entry->directory];
    unchain_entry(tree, number);
    if (entry->previous)
        tree->entries[entry->previous].next = entry->next;
    else
        above->directory.first = entry->next;
    if (entry->next)
        tree->entries[entry->next].previous = entry->previous;
    above->directory.count--;
    free(entry->name);
    *entry = (struct hl__tree_entry){.next = tree->entry_free};
    tree->entry_free = number;
    drop_inode(tree, inode);
}

/* ---- Paths ---- */

/* The next component of *path, "." left out. False at the end. */
static bool next_component(const char **path, const char **name, size_t *size)
{
    for (;;) {
        *path += strspn(*path, "/");
        *name = *path;
        *size = strcspn(*path, "/");
        *path += *size;
        if (*size == 0)
            return false;
        if (*size != 1 || **name != '.')
            return true;
    }
}

static bool is_dots(const char *name, size_t size)
{
    return size == 2 && memcmp(name, "..", 2) == 0;
}

static bool has_dots(const char *path)
{
    const char *name;
    size_t size;
    while (next_component(&path, &name, &size))
        if (is_dots(name, size))
            return true;
    return false;
}

/* Where a path has led to so far. */
struct walk {
    const char *path; /* the whole, for messages */
    uint32_t directory;
    uint32_t follows;
    bool create;
};

static hl_status walk_refused(const struct walk *walk, hl_error *err, const char *why)
{
    return hl__error_set(err, HL_IMAGE_INVALID, NULL, "'%s': %s", HL__SHORT(walk->path), why);
}

static hl_status add_directory(struct hl__tree *tree, const char *path, uint32_t above,
                               const char *name, uint32_t size,
                               const struct hl__tree_attributes *attributes, uint32_t *inode,
                               hl_error *err)
{
    uint32_t depth = tree->inodes[above].directory.depth + 1;
    if (depth > tree->limits.depth)
        return hl__error_set(err, HL_IMAGE_TOO_DEEP, NULL,
                             "'%s' has directories more than %u deep, which is the limit",
                             HL__SHORT(path), tree->limits.depth);
    hl_status status = new_inode(tree, path, attributes, inode, err);
    if (status != HL_OK)
        return status;
    tree->inodes[*inode].directory.parent = above;
    tree->inodes[*inode].directory.depth = depth;
    return new_entry(tree, above, name, size, *inode, err);
}

static hl_status walk_text(struct hl__tree *tree, struct walk *walk, const char *text,
                           hl_error *err);

static hl_status walk_into(struct hl__tree *tree, struct walk *walk, uint32_t number, hl_error *err)
{
    struct hl__tree_entry *entry = &tree->entries[number];
    const struct hl__tree_inode *inode = &tree->inodes[entry->inode];
    if (S_ISDIR(inode->attributes.mode)) {
        if (walk->create)
            entry->layer = tree->layer;
        walk->directory = entry->inode;
        return HL_OK;
    }
    if (!S_ISLNK(inode->attributes.mode))
        return walk_refused(walk, err, "what is above it is no directory");
    if (++walk->follows > FOLLOW_MAX)
        return walk_refused(walk, err, "too many symbolic links are above it");
    if (inode->target.text[0] == '/')
        walk->directory = HL__TREE_ROOT;
    return walk_text(tree, walk, inode->target.text, err);
}

static hl_status walk_name(struct hl__tree *tree, struct walk *walk, const char *name, size_t size,
                           hl_error *err)
{
    static const struct hl__tree_attributes implied = {.mode = S_IFDIR | 0755};
    if (is_dots(name, size)) {
        walk->directory = tree->inodes[walk->directory].directory.parent;
        return HL_OK;
    }
    if (size > HL_IMAGE_NAME_MAX)
        return walk_refused(walk, err, "has a name of more than 255 bytes");
    uint32_t entry = find_entry(tree, walk->directory, name, (uint32_t)size);
    if (entry)
        return walk_into(tree, walk, entry, err);
    if (!walk->create)
        return walk_refused(walk, err, "does not exist");
    return add_directory(tree, walk->path, walk->directory, name, (uint32_t)size, &implied,
                         &walk->directory, err);
}

/* Follows the directories that `text` names. */
static hl_status walk_text(struct hl__tree *tree, struct walk *walk, const char *text,
                           hl_error *err)
{
    const char *name;
    size_t size;
    hl_status status = HL_OK;
    while (status == HL_OK && next_component(&text, &name, &size))
        status = walk_name(tree, walk, name, size, err);
    return status;
}

/* Walks to the directory of walk->path. *name: the last component, NULL if the path is the root's. */
static hl_status walk_above(struct hl__tree *tree, struct walk *walk, const char **name,
                            uint32_t *name_size, hl_error *err)
{
    const char *rest = walk->path, *this_name, *next_name;
    size_t size, next_size;
    hl_status status = HL_OK;
    if (has_dots(rest))
        return walk_refused(walk, err, "leads out of the image by '..'");
    walk->directory = HL__TREE_ROOT;
    *name = NULL;
    if (!next_component(&rest, &this_name, &size))
        return HL_OK;
    while (status == HL_OK && next_component(&rest, &next_name, &next_size)) {
        status = walk_name(tree, walk, this_name, size, err);
        this_name = next_name;
        size = next_size;
    }
    if (status == HL_OK && size > HL_IMAGE_NAME_MAX)
        return walk_refused(walk, err, "has a name of more than 255 bytes");
    *name = this_name;
    *name_size = (uint32_t)size;
    return status;
}

/* The entry of a path, 0 if there is none (or it is the root). */
static uint32_t find_path(struct hl__tree *tree, const char *path)
{
    struct walk walk = {.path = path};
    const char *name;
    uint32_t size;
    if (walk_above(tree, &walk, &name, &size, NULL) != HL_OK || !name)
        return 0;
    return find_entry(tree, walk.directory, name, size);
}

uint32_t hl__tree_find(struct hl__tree *tree, const char *path)
{
    uint32_t entry = find_path(tree, path);
    const char *name;
    size_t size;
    if (entry)
        return tree->entries[entry].inode;
    return has_dots(path) || next_component(&path, &name, &size) ? 0 : HL__TREE_ROOT;
}

/* The last component of a path and what comes before it. */
static size_t split(const char *path, const char **name, size_t *size)
{
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    *name = path + start;
    *size = end - start;
    return start;
}

static uint32_t resolve(struct hl__tree *tree, struct walk *walk, const char *path)
{
    const char *name;
    size_t size;
    char *above = strndup(path, split(path, &name, &size));
    if (!above)
        return 0;
    if (path[0] == '/')
        walk->directory = HL__TREE_ROOT;
    hl_status status = walk_text(tree, walk, above, NULL);
    free(above);
    if (status != HL_OK || size > HL_IMAGE_NAME_MAX)
        return 0;
    if (size == 0 || (size == 1 && *name == '.'))
        return walk->directory;
    uint32_t entry = find_entry(tree, walk->directory, name, (uint32_t)size);
    if (!entry)
        return walk_name(tree, walk, name, size, NULL) == HL_OK ? walk->directory : 0;
    uint32_t inode = tree->entries[entry].inode;
    if (!S_ISLNK(tree->inodes[inode].attributes.mode))
        return inode;
    return ++walk->follows > FOLLOW_MAX ? 0 : resolve(tree, walk, tree->inodes[inode].target.text);
}

uint32_t hl__tree_resolve(struct hl__tree *tree, const char *path)
{
    struct walk walk = {.path = path, .directory = HL__TREE_ROOT};
    return resolve(tree, &walk, path);
}

/* ---- Building ---- */

static hl_status add_named(struct hl__tree *tree, struct walk *walk, const char *name,
                           uint32_t size, const struct hl__tree_attributes *attributes,
                           uint32_t *inode, hl_error *err)
{
    uint32_t entry = find_entry(tree, walk->directory, name, size);
    if (entry) {
        *inode = tree->entries[entry].inode;
        if (S_ISDIR(attributes->mode) && S_ISDIR(tree->inodes[*inode].attributes.mode)) {
            tree->inodes[*inode].attributes = *attributes;
            tree->entries[entry].layer = tree->layer;
            return HL_OK;
        }
        remove_entry(tree, entry);
    }
    if (S_ISDIR(attributes->mode))
        return add_directory(tree, walk->path, walk->directory, name, size, attributes, inode, err);
    hl_status status = new_inode(tree, walk->path, attributes, inode, err);
    return status == HL_OK ? new_entry(tree, walk->directory, name, size, *inode, err) : status;
}

hl_status hl__tree_add(struct hl__tree *tree, const char *path,
                       const struct hl__tree_attributes *attributes, uint32_t *inode, hl_error *err)
{
    struct walk walk = {.path = path, .create = true};
    const char *name;
    uint32_t size;
    hl_status status = walk_above(tree, &walk, &name, &size, err);
    if (status != HL_OK)
        return status;
    if (name)
        return add_named(tree, &walk, name, size, attributes, inode, err);
    if (!S_ISDIR(attributes->mode))
        return walk_refused(&walk, err, "names the root, which is a directory");
    tree->inodes[HL__TREE_ROOT].attributes = *attributes;
    *inode = HL__TREE_ROOT;
    return HL_OK;
}

void hl__tree_set_contents(struct hl__tree *tree, uint32_t inode, uint32_t contents)
{
    hl__contents_hold(tree->contents, contents);
    hl__contents_release(tree->contents, tree->inodes[inode].contents);
    tree->inodes[inode].contents = contents;
}

hl_status hl__tree_set_target(struct hl__tree *tree, uint32_t inode, const char *path,
                              const char *target, hl_error *err)
{
    size_t size = strlen(target);
    if (size == 0 || size > TARGET_MAX)
        return hl__error_set(err, HL_IMAGE_INVALID, NULL, "'%s' is a symbolic link to %s",
                             HL__SHORT(path), size ? "a name of more than 4095 bytes" : "nothing");
    char *copy = strdup(target);
    if (!copy)
        return no_memory(err);
    free(tree->inodes[inode].target.text);
    tree->inodes[inode].target.text = copy;
    tree->inodes[inode].target.size = size;
    return HL_OK;
}

hl_status hl__tree_link(struct hl__tree *tree, const char *path, const char *target,
                        uint32_t *inode, hl_error *err)
{
    struct walk walk = {.path = path, .create = true};
    const char *name;
    uint32_t size;
    uint32_t linked = find_path(tree, target);
    if (!linked)
        return hl__error_set(err, HL_IMAGE_INVALID, NULL,
                             "'%s' is a hard link to '%s', which does not come before it",
                             HL__SHORT(path), HL__SHORT(target));
    *inode = tree->entries[linked].inode;
    if (S_ISDIR(tree->inodes[*inode].attributes.mode))
        return walk_refused(&walk, err, "is a hard link to a directory");
    hl_status status = walk_above(tree, &walk, &name, &size, err);
    if (status != HL_OK)
        return status;
    if (!name)
        return walk_refused(&walk, err, "names the root, which is a directory");
    uint32_t entry = find_entry(tree, walk.directory, name, size);
    if (entry && tree->entries[entry].inode == *inode)
        return HL_OK;
    if (!entry)
        return new_entry(tree, walk.directory, name, size, *inode, err);
    tree->inodes[*inode].links++; /* it may be below what goes */
    remove_entry(tree, entry);
    status = new_entry(tree, walk.directory, name, size, *inode, err);
    drop_inode(tree, *inode);
    return status;
}

/* ---- Layers ---- */

void hl__tree_next_layer(struct hl__tree *tree)
{
    tree->layer++;
}

static void hide_entry(struct hl__tree *tree, uint32_t number);

static void hide_entries(struct hl__tree *tree, uint32_t directory)
{
    uint32_t entry = tree->inodes[directory].directory.first;
    while (entry) {
        uint32_t next = tree->entries[entry].next;
        hide_entry(tree, entry);
        entry = next;
    }
}

/* A directory that this layer has stays, without what earlier layers had in it. */
static void hide_entry(struct hl__tree *tree, uint32_t number)
{
    uint32_t inode = tree->entries[number].inode;
    if (tree->entries[number].layer != tree->layer)
        remove_entry(tree, number);
    else if (S_ISDIR(tree->inodes[inode].attributes.mode))
        hide_entries(tree, inode);
}

void hl__tree_hide(struct hl__tree *tree, const char *path)
{
    uint32_t entry = find_path(tree, path);
    if (entry)
        hide_entry(tree, entry);
}

void hl__tree_hide_below(struct hl__tree *tree, const char *path)
{
    uint32_t inode = hl__tree_find(tree, path);
    if (inode && S_ISDIR(tree->inodes[inode].attributes.mode))
        hide_entries(tree, inode);
}

/* ---- The whole ---- */

hl_status hl__tree_init(struct hl__tree *tree, const struct hl__tree_limits *limits,
                        struct hl__contents *contents, hl_error *err)
{
    static const struct hl__tree_attributes root = {.mode = S_IFDIR | 0755};
    uint32_t number;
    *tree = (struct hl__tree){
        .limits = *limits, .contents = contents, .inode_end = HL__TREE_ROOT, .entry_end = 1};
    if (getrandom(&tree->seed, sizeof tree->seed, 0) != (ssize_t)sizeof tree->seed)
        return hl__error_os(err, HL_SYSTEM, errno, "getrandom", "no random numbers");
    if (!grow_buckets(tree))
        return no_memory(err);
    hl_status status = new_inode(tree, "/", &root, &number, err);
    if (status != HL_OK)
        return status;
    tree->inodes[number].links = 1;
    tree->inodes[number].directory.parent = number;
    return HL_OK;
}

void hl__tree_free(struct hl__tree *tree)
{
    for (uint32_t i = 1; i < tree->entry_end; i++)
        free(tree->entries[i].name);
    for (uint32_t i = 1; i < tree->inode_end; i++)
        if (S_ISLNK(tree->inodes[i].attributes.mode))
            free(tree->inodes[i].target.text);
    free(tree->entries);
    free(tree->inodes);
    free(tree->buckets);
    *tree = (struct hl__tree){0};
}
