/*
 * The walk along a path. What is left to walk lies at the end of one buffer, so that a link's target is
 * put in front of it.
 */
#include "file/path.h"
#include "base/text.h"
#include "entry/access.h"
#include "file/credentials.h"
#include "thread/thread.h"

#include <string.h>

#define REST_SIZE (4 * HL__PATH_MAX)

static char rest[REST_SIZE];    /* what is left of the path, at the end */
static char text[HL__PATH_MAX]; /* a path or target that just came in */

struct walk {
    uint32_t at; /* in `rest`; REST_SIZE: the end */
    uint32_t links;
    uint32_t options;
    struct hl__inode *current; /* referenced */
    struct hl__place *place;
};

static int64_t rest_put(struct walk *walk, const char *bytes, uint32_t size)
{
    if (size > walk->at)
        return -ENAMETOOLONG;
    walk->at -= size;
    memcpy(rest + walk->at, bytes, size);
    return 0;
}

static void walk_to(struct walk *walk, struct hl__inode *inode)
{
    struct hl__inode *old = walk->current;

    walk->current = inode;
    hl__inode_unref(old);
}

static bool skip_slashes(struct walk *walk)
{
    uint32_t start = walk->at;

    while (walk->at < REST_SIZE && rest[walk->at] == '/')
        walk->at++;
    return walk->at > start;
}

int64_t hl__link_text(struct hl__inode *link, char *bytes, uint64_t size)
{
    const struct hl_image_inode *image;

    if (link->virtual_ops)
        return link->virtual_ops->target ? link->virtual_ops->target(link, bytes, size) : -EINVAL;
    if (link->size >= size)
        return -ENAMETOOLONG;
    if (link->target) {
        memcpy(bytes, link->target, link->size);
        return (int64_t)link->size;
    }
    image = hl__image_inode(&hl__root_image, link->image);
    if (!image || !hl__image_target(&hl__root_image, image))
        return -EIO;
    memcpy(bytes, hl__image_target(&hl__root_image, image), link->size);
    return (int64_t)link->size;
}

/* Follows a link out of the current directory. `jumped`: the walk stands where it leads. */
static int64_t walk_link(struct walk *walk, struct hl__inode *link, bool *jumped)
{
    int64_t size, failure;

    *jumped = false;
    if (++walk->links > HL__LINKS_MAX)
        return -ELOOP;
    if (link->virtual_ops && link->virtual_ops->follow) {
        struct hl__inode *inode = NULL;

        failure = link->virtual_ops->follow(link, &inode, &walk->place->file);
        *jumped = true;
        if (!failure)
            walk_to(walk, inode);
        return failure;
    }
    size = hl__link_text(link, text, sizeof text);
    if (size <= 0)
        return size ? size : -ENOENT;
    if (walk->at < REST_SIZE && rest_put(walk, "/", 1) < 0)
        return -ENAMETOOLONG;
    failure = rest_put(walk, text, (uint32_t)size);
    if (failure)
        return failure;
    if (text[0] == '/') {
        hl__inode_ref(hl__tree_root);
        walk_to(walk, hl__tree_root);
    }
    return 0;
}

static void place_last(struct walk *walk, const char *name, uint32_t size, bool slash)
{
    struct hl__place *place = walk->place;

    place->last = size == 0                                       ? HL__LAST_ROOT
                  : size == 1 && name[0] == '.'                   ? HL__LAST_DOT
                  : size == 2 && name[0] == '.' && name[1] == '.' ? HL__LAST_DOTS
                                                                  : HL__LAST_NAME;
    place->slash = slash;
    place->name_size = size;
    memcpy(place->name, name, size);
}

static int64_t walk_name(struct walk *walk, const char *name, uint32_t size, bool last, bool slash)
{
    struct hl__place *place = walk->place;
    struct hl__inode *inode;
    bool jumped;
    int64_t failure;

    if (last && slash && (walk->options & HL__PLACE_CREATE))
        return -EISDIR;
    failure = hl__directory_find(walk->current, name, size, &inode);

    if (failure == -ENOENT && last && (walk->options & HL__PLACE_MISSING)) {
        place->directory = walk->current;
        walk->current = NULL;
        return 0;
    }
    if (failure)
        return failure;
    if (hl__inode_type(inode) == S_IFLNK && (!last || (walk->options & HL__PLACE_FOLLOW) ||
                                             (slash && !(walk->options & HL__PLACE_NAME)))) {
        /* The slashes belong to what the link leads to. */
        failure = slash && last ? rest_put(walk, "/", 1) : 0;
        if (!failure)
            failure = walk_link(walk, inode, &jumped);
        hl__inode_unref(inode);
        if (failure || !jumped)
            return failure;
        if (walk->current || !last)
            return walk->current ? 0 : -ENOTDIR;
        return 0;
    }
    if (last) {
        hl__inode_ref(walk->current);
        place->directory = walk->current;
    }
    walk_to(walk, inode);
    return 0;
}

/* One part of the path. */
static int64_t walk_step(struct walk *walk)
{
    char name[HL__NAME_MAX + 1];
    uint32_t size = 0;
    bool last, slash;

    if (!walk->current || hl__inode_type(walk->current) != S_IFDIR)
        return -ENOTDIR;
    if (!hl__may(walk->current, X_OK, false))
        return -EACCES;
    while (walk->at + size < REST_SIZE && rest[walk->at + size] != '/')
        if (++size > HL__NAME_MAX)
            return -ENAMETOOLONG;
    memcpy(name, rest + walk->at, size);
    walk->at += size;
    slash = skip_slashes(walk);
    last = walk->at == REST_SIZE;
    if (last)
        place_last(walk, name, size, slash);
    if (size == 1 && name[0] == '.')
        return 0;
    if (size == 2 && name[0] == '.' && name[1] == '.') {
        struct hl__inode *parent = walk->current->parent;

        if (parent && walk->current != hl__tree_root) {
            hl__inode_ref(parent);
            walk_to(walk, parent);
        }
        return 0;
    }
    return walk_name(walk, name, size, last, slash);
}

void hl__place_free(struct hl__place *place)
{
    hl__inode_unref(place->directory);
    hl__inode_unref(place->inode);
    hl__file_unref(place->file);
    place->directory = place->inode = NULL;
    place->file = NULL;
}

int64_t hl__place_find(struct hl__inode *start, const char *path, uint32_t size, uint32_t options,
                       struct hl__place *place)
{
    struct walk walk = {.at = REST_SIZE, .options = options, .place = place};
    int64_t failure;

    place->directory = place->inode = NULL;
    place->file = NULL;
    if (!size)
        return -ENOENT;
    failure = rest_put(&walk, path, size);
    walk.current = path[0] == '/' ? hl__tree_root : start;
    hl__inode_ref(walk.current);
    place_last(&walk, "", 0, true);
    skip_slashes(&walk);
    while (!failure && walk.at < REST_SIZE) {
        hl__inode_unref(place->directory);
        place->directory = NULL;
        failure = walk_step(&walk);
        if (!failure && walk.at < REST_SIZE)
            skip_slashes(&walk);
    }
    place->inode = walk.current;
    if (!failure && place->slash && !(options & HL__PLACE_MISSING) &&
        (place->inode ? hl__inode_type(place->inode) != S_IFDIR : place->file != NULL))
        failure = -ENOTDIR;
    if (failure)
        hl__place_free(place);
    return failure;
}

/* The descriptor itself, for AT_EMPTY_PATH. */
static int64_t place_descriptor(uint64_t descriptor, struct hl__place *place)
{
    struct hl__file *file;

    *place = (struct hl__place){.last = HL__LAST_ROOT};
    if ((int32_t)descriptor == AT_FDCWD) {
        place->inode = hl__process()->directory;
        hl__inode_ref(place->inode);
        return 0;
    }
    file = hl__descriptor_file(descriptor);
    if (!file)
        return -EBADF;
    if (file->inode) {
        hl__inode_ref(file->inode);
        place->inode = file->inode;
    }
    hl__file_ref(file);
    place->file = file;
    return 0;
}

int64_t hl__place_at(uint64_t descriptor, uint64_t path, uint32_t options, struct hl__place *place)
{
    struct hl__inode *start = hl__process()->directory;
    int64_t size;

    if ((options & HL__PLACE_EMPTY) && !path)
        return place_descriptor(descriptor, place);
    size = hl__user_string(text, path, sizeof text);
    if (size < 0)
        return size;
    if (!size && (options & HL__PLACE_EMPTY))
        return place_descriptor(descriptor, place);
    if (size && text[0] != '/' && (int32_t)descriptor != AT_FDCWD) {
        struct hl__file *file = hl__descriptor_file(descriptor);

        if (!file)
            return -EBADF;
        if (!file->inode || hl__inode_type(file->inode) != S_IFDIR)
            return -ENOTDIR;
        start = file->inode;
    }
    return hl__place_find(start, text, (uint32_t)size, options, place);
}

int64_t hl__path_find(const char *path, bool follow, struct hl__inode **inode)
{
    struct hl__place place;
    int64_t failure =
        hl__place_find(hl__thread ? hl__process()->directory : hl__tree_root, path,
                       (uint32_t)hl__string_length(path), follow ? HL__PLACE_FOLLOW : 0, &place);

    if (failure)
        return failure;
    *inode = place.inode;
    if (!place.inode)
        failure = -EACCES;
    place.inode = NULL;
    hl__place_free(&place);
    return failure;
}

/* Written from the end to the front, then moved. */
int64_t hl__path_of(struct hl__inode *inode, char *path, uint64_t size)
{
    uint64_t at = size;

    if (inode->unlinked || !inode->link_count)
        return -ENOENT;
    for (; inode != hl__tree_root; inode = inode->parent) {
        if (!inode->parent || !inode->name)
            return -ENOENT;
        if (at < inode->name_size + 1u)
            return -ERANGE;
        at -= inode->name_size;
        memcpy(path + at, inode->name, inode->name_size);
        path[--at] = '/';
    }
    if (at == size && size)
        path[--at] = '/';
    if (at == size)
        return -ERANGE;
    memmove(path, path + at, size - at);
    return (int64_t)(size - at);
}
