/* Directories: entries in memory over those of the image. */
#include "file/tree.h"
#include "memory/heap.h"

#include <string.h>

#define BUCKETS_MIN 8u
#define BUCKETS_MAX (1u << 22)
/* Positions: 0 ".", 1 "..", then the image's entries, then those in memory by their age. */
#define POSITION_IMAGE 2ull
#define POSITION_MEMORY (1ull << 32)

struct entry {
    struct entry *hash_next;
    struct entry *next, *previous; /* by age */
    struct hl__inode *inode;       /* referenced; NULL: a whiteout */
    uint64_t cookie;               /* ascending by age */
    uint32_t hash;
    uint16_t name_size;
    bool over_image; /* the image has an entry of that name */
    char name[];
};

struct hl__directory {
    struct entry **buckets;
    uint32_t bucket_count, count;
    uint32_t shown; /* entries that are no whiteouts */
    struct entry *first, *last;
    uint64_t next_cookie;
};

struct hl__inode *hl__tree_root;

static uint32_t name_hash(const char *name, uint32_t size)
{
    uint32_t hash = 2166136261u;

    for (uint32_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    return hash ^ hash >> 15;
}

static struct entry *entry_find(const struct hl__inode *directory, const char *name, uint32_t size)
{
    const struct hl__directory *own = directory->directory;
    uint32_t hash = name_hash(name, size);

    if (!own)
        return NULL;
    for (struct entry *entry = own->buckets[hash & (own->bucket_count - 1)]; entry;
         entry = entry->hash_next)
        if (entry->hash == hash && entry->name_size == size && !memcmp(entry->name, name, size))
            return entry;
    return NULL;
}

static const struct hl_image_inode *image_of(const struct hl__inode *directory)
{
    return directory->image ? hl__image_inode(&hl__root_image, directory->image) : NULL;
}

static bool image_find(const struct hl__inode *directory, const char *name, uint32_t size,
                       struct hl__image_name *found)
{
    const struct hl_image_inode *image = image_of(directory);

    return image && hl__image_find(&hl__root_image, image, name, size, found);
}

int64_t hl__directory_find(struct hl__inode *directory, const char *name, uint32_t size,
                           struct hl__inode **inode)
{
    struct hl__image_name found;
    struct entry *entry;
    int64_t failure;

    if (directory->virtual_ops) {
        failure = directory->virtual_ops->find(directory, name, size, inode);
        if (!failure)
            hl__inode_named(*inode, directory, name, size, false);
        return failure;
    }
    entry = entry_find(directory, name, size);
    if (entry) {
        if (!entry->inode)
            return -ENOENT;
        hl__inode_ref(entry->inode);
        *inode = entry->inode;
        hl__inode_named(*inode, directory, name, size, false);
        return 0;
    }
    if (!image_find(directory, name, size, &found))
        return -ENOENT;
    failure = hl__inode_of_image(found.inode, inode);
    if (failure)
        return failure;
    /* A damaged image may hang a directory in several places, or above itself. */
    if (hl__inode_type(*inode) == S_IFDIR &&
        (*inode == hl__tree_root || ((*inode)->parent && (*inode)->parent != directory))) {
        hl__inode_unref(*inode);
        return -EIO;
    }
    hl__inode_named(*inode, directory, found.bytes, found.size, true);
    return 0;
}

static void table_grow(struct hl__directory *own)
{
    uint32_t count = own->bucket_count * 2;
    struct entry **buckets;

    if (own->count < own->bucket_count || count > BUCKETS_MAX)
        return;
    buckets = hl__heap_new(count * sizeof(struct entry *));
    if (!buckets)
        return;
    for (struct entry *entry = own->first; entry; entry = entry->next) {
        entry->hash_next = buckets[entry->hash & (count - 1)];
        buckets[entry->hash & (count - 1)] = entry;
    }
    hl__heap_free(own->buckets, own->bucket_count * sizeof(struct entry *));
    own->buckets = buckets;
    own->bucket_count = count;
}

static struct hl__directory *directory_own(struct hl__inode *directory)
{
    struct hl__directory *own = directory->directory;

    if (own)
        return own;
    own = hl__heap_new(sizeof *own);
    if (!own)
        return NULL;
    own->bucket_count = BUCKETS_MIN;
    own->buckets = hl__heap_new(BUCKETS_MIN * sizeof(struct entry *));
    if (!own->buckets) {
        hl__heap_free(own, sizeof *own);
        return NULL;
    }
    directory->directory = own;
    return own;
}

/* A whiteout of that name, the youngest entry. NULL: memory has run out. */
static struct entry *entry_new(struct hl__inode *directory, const char *name, uint32_t size)
{
    struct hl__directory *own = directory_own(directory);
    struct entry *entry = own ? hl__heap_new(sizeof *entry + size) : NULL;
    struct hl__image_name found;
    struct entry **bucket;

    if (!entry)
        return NULL;
    hl__inode_keep(directory);
    memcpy(entry->name, name, size);
    entry->name_size = (uint16_t)size;
    entry->hash = name_hash(name, size);
    entry->over_image = image_find(directory, name, size, &found);
    own->count++;
    table_grow(own);
    bucket = &own->buckets[entry->hash & (own->bucket_count - 1)];
    entry->hash_next = *bucket;
    *bucket = entry;
    entry->cookie = own->next_cookie++;
    entry->previous = own->last;
    *(own->last ? &own->last->next : &own->first) = entry;
    own->last = entry;
    return entry;
}

static void entry_unhash(struct hl__directory *own, struct entry *entry)
{
    struct entry **at = &own->buckets[entry->hash & (own->bucket_count - 1)];

    while (*at != entry)
        at = &(*at)->hash_next;
    *at = entry->hash_next;
}

static void entry_free(struct hl__directory *own, struct entry *entry)
{
    entry_unhash(own, entry);
    *(entry->previous ? &entry->previous->next : &own->first) = entry->next;
    *(entry->next ? &entry->next->previous : &own->last) = entry->previous;
    own->count--;
    hl__heap_free(entry, sizeof *entry + entry->name_size);
}

static void entry_show(struct hl__directory *own, struct entry *entry, struct hl__inode *inode)
{
    struct hl__inode *old = entry->inode;

    own->shown += (inode != NULL) - (old != NULL);
    entry->inode = inode;
    if (inode)
        hl__inode_ref(inode);
    hl__inode_unref(old);
}

int64_t hl__directory_reserve(struct hl__inode *directory, const char *name, uint32_t size)
{
    struct hl__inode *inode;
    struct entry *entry;
    int64_t failure;

    if (entry_find(directory, name, size))
        return 0;
    failure = hl__directory_find(directory, name, size, &inode);
    if (failure)
        return failure;
    entry = entry_new(directory, name, size);
    if (entry)
        entry_show(directory->directory, entry, inode);
    hl__inode_unref(inode);
    return entry ? 0 : -ENOSPC;
}

int64_t hl__directory_set(struct hl__inode *directory, const char *name, uint32_t size,
                          struct hl__inode *inode)
{
    struct entry *entry = entry_find(directory, name, size);

    if (!entry)
        entry = entry_new(directory, name, size);
    if (!entry)
        return -ENOSPC;
    entry_show(directory->directory, entry, inode);
    hl__inode_named(inode, directory, name, size, false);
    hl__inode_modified(directory);
    return 0;
}

void hl__directory_remove(struct hl__inode *directory, const char *name, uint32_t size)
{
    struct entry *entry = entry_find(directory, name, size);

    if (!entry)
        return;
    entry_show(directory->directory, entry, NULL);
    if (!entry->over_image)
        entry_free(directory->directory, entry);
    hl__inode_modified(directory);
}

/* The next entry of the image that is not hidden. */
static bool list_image(struct hl__inode *directory, uint64_t *position, struct hl__listed *listed)
{
    const struct hl_image_inode *image = image_of(directory);
    struct hl__image_name name;

    while (image && *position < POSITION_MEMORY &&
           hl__image_entry(&hl__root_image, image, *position - POSITION_IMAGE, &name)) {
        const struct hl_image_inode *inode = hl__image_inode(&hl__root_image, name.inode);

        ++*position;
        if (!inode || entry_find(directory, name.bytes, name.size))
            continue;
        listed->name = name.bytes;
        listed->name_size = name.size;
        listed->inode = name.inode;
        listed->mode = inode->mode;
        return true;
    }
    return false;
}

static bool list_memory(const struct hl__inode *directory, uint64_t *position, uint64_t limit,
                        struct hl__listed *listed)
{
    const struct hl__directory *own = directory->directory;

    for (const struct entry *entry = own ? own->first : NULL; entry; entry = entry->next) {
        uint64_t at = POSITION_MEMORY + entry->cookie;

        if (at < *position || !entry->inode)
            continue;
        if (at >= limit)
            break;
        *position = at + 1;
        listed->name = entry->name;
        listed->name_size = entry->name_size;
        listed->inode = entry->inode->number;
        listed->mode = entry->inode->mode;
        return true;
    }
    return false;
}

static bool list_dots(struct hl__inode *directory, uint64_t *position, struct hl__listed *listed)
{
    struct hl__inode *inode = *position && directory->parent ? directory->parent : directory;

    listed->name = "..";
    listed->name_size = (uint32_t)++ * position;
    listed->inode = inode->number;
    listed->mode = S_IFDIR;
    return true;
}

uint64_t hl__directory_limit(const struct hl__inode *directory)
{
    return POSITION_MEMORY + (directory->directory && !directory->virtual_ops
                                  ? directory->directory->next_cookie
                                  : 0);
}

bool hl__directory_list(struct hl__inode *directory, uint64_t *position, uint64_t limit,
                        struct hl__listed *listed)
{
    if (directory->unlinked)
        return false;
    if (*position < POSITION_IMAGE)
        return list_dots(directory, position, listed);
    if (directory->virtual_ops) {
        uint64_t at = *position - POSITION_IMAGE;
        bool there = directory->virtual_ops->list(directory, &at, listed);

        *position = at + POSITION_IMAGE;
        return there;
    }
    if (*position < POSITION_MEMORY && list_image(directory, position, listed))
        return true;
    return list_memory(directory, position, limit, listed);
}

bool hl__directory_empty(struct hl__inode *directory)
{
    uint64_t position = POSITION_IMAGE;
    struct hl__listed listed;

    if (directory->virtual_ops)
        return false;
    return (!directory->directory || !directory->directory->shown) &&
           !list_image(directory, &position, &listed);
}

void hl__directory_free(struct hl__inode *directory)
{
    struct hl__directory *own = directory->directory;

    if (!own)
        return;
    while (own->first) {
        entry_show(own, own->first, NULL);
        entry_free(own, own->first);
    }
    hl__heap_free(own->buckets, own->bucket_count * sizeof(struct entry *));
    hl__heap_free(own, sizeof *own);
    directory->directory = NULL;
}
