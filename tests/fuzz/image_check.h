/* Trees of hostile input: written as images, and held against abi/image.h. */
#ifndef HL_TESTS_FUZZ_IMAGE_CHECK_H
#define HL_TESTS_FUZZ_IMAGE_CHECK_H

#include "image/archive.h"
#include "image/writer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Limits of a tree that is small enough to be written thousands of times a second. */
#define IMAGE_FILES_MAX 500u
#define IMAGE_DEPTH_MAX 20u
#define IMAGE_SIZE_MAX (UINT64_C(4) << 20)

struct image_check {
    struct hl__contents contents;
    struct hl__tree tree;
};

/* Bytes in memory as an archive, in pieces of at most `piece`. */
struct memory_source {
    struct hl__source base;
    const uint8_t *data;
    size_t size, piece;
};
static void require(bool condition)
{
    if (!condition)
        abort();
}

/* ---- The image ---- */

struct image {
    const uint8_t *bytes;
    uint64_t size;
    const struct hl_image_head *head;
    const struct hl_image_inode *inodes;
    const struct hl_image_entry *entries;
    uint32_t *names; /* of each inode, as they are met */
};

static void check_range(const struct image *image, struct hl_image_range range, size_t element)
{
    require(range.offset % 8 == 0 && range.offset <= image->size);
    require(range.count <= (image->size - range.offset) / element);
}

static void check_name(const struct image *image, const char *name, size_t size)
{
    (void)image;
    require(size > 0 && size <= HL_IMAGE_NAME_MAX);
    require(!memchr(name, '/', size) && !memchr(name, '\0', size));
    require(!(size == 1 && name[0] == '.') && !(size == 2 && memcmp(name, "..", 2) == 0));
}

static void check_order(const char *before, size_t before_size, const char *name, size_t size)
{
    size_t common = before_size < size ? before_size : size;
    int difference = memcmp(before, name, common);
    require(difference < 0 || (difference == 0 && before_size < size));
}

static void check_inode(const struct image *image, uint32_t number, uint32_t above, unsigned depth);

static void check_directory(const struct image *image, uint32_t number, unsigned depth)
{
    const struct hl_image_inode *inode = &image->inodes[number];
    const char *before = NULL;
    size_t before_size = 0;
    uint32_t subdirectories = 0;
    require(depth <= IMAGE_DEPTH_MAX && inode->size <= image->head->entries.count);
    require(inode->data <= image->head->entries.count - inode->size);
    for (uint64_t i = 0; i < inode->size; i++) {
        const struct hl_image_entry *entry = &image->entries[inode->data + i];
        const char *name = (const char *)image->bytes + image->head->names.offset + entry->name;
        require(entry->name <= image->head->names.count &&
                entry->name_size <= image->head->names.count - entry->name);
        check_name(image, name, entry->name_size);
        if (before)
            check_order(before, before_size, name, entry->name_size);
        before = name;
        before_size = entry->name_size;
        check_inode(image, entry->inode, number, depth + 1);
        subdirectories += S_ISDIR(image->inodes[entry->inode].mode);
    }
    require(inode->link_count == 2 + subdirectories);
}

static void check_inode(const struct image *image, uint32_t number, uint32_t above, unsigned depth)
{
    require(number > 0 && number < image->head->inodes.count);
    const struct hl_image_inode *inode = &image->inodes[number];
    image->names[number]++;
    require(inode->modified_ns < 1000000000 && inode->reserved == 0);
    if (S_ISDIR(inode->mode)) {
        require(inode->parent == above && image->names[number] == 1);
        check_directory(image, number, depth);
    } else if (S_ISREG(inode->mode) && inode->size > 0) {
        require(inode->data >= 4096 && inode->data <= image->size &&
                inode->size <= image->size - inode->data);
        require(inode->data % (inode->size < HL_IMAGE_SMALL_MAX ? 16 : 4096) == 0);
    } else if (S_ISLNK(inode->mode)) {
        require(inode->size > 0 && inode->data <= image->head->names.count &&
                inode->size <= image->head->names.count - inode->data);
    }
}

static void check_image(const uint8_t *bytes, uint64_t size)
{
    struct image image = {.bytes = bytes, .size = size, .head = (const void *)bytes};
    const struct hl_image_head *head = image.head;
    require(size >= 4096 && size % 4096 == 0 && head->size == size);
    require(head->magic == HL_IMAGE_MAGIC && head->version == HL_IMAGE_VERSION);
    check_range(&image, head->inodes, sizeof *image.inodes);
    check_range(&image, head->entries, sizeof *image.entries);
    check_range(&image, head->names, 1);
    check_range(&image, head->rewrites, sizeof(struct hl_image_rewrite));
    image.inodes = (const void *)(bytes + head->inodes.offset);
    image.entries = (const void *)(bytes + head->entries.offset);
    image.names = calloc(head->inodes.count, sizeof *image.names);
    require(image.names && head->inodes.count <= IMAGE_FILES_MAX + 1);
    check_inode(&image, HL_IMAGE_ROOT, HL_IMAGE_ROOT, 0);
    for (uint64_t i = 1; i < head->inodes.count; i++)
        require(image.names[i] > 0 &&
                (S_ISDIR(image.inodes[i].mode) || image.inodes[i].link_count == image.names[i]));
    free(image.names);
}

/* ---- The tree ---- */

static int output = -1;

static void image_check_begin(struct image_check *check)
{
    const struct hl__tree_limits limits = {IMAGE_FILES_MAX, IMAGE_DEPTH_MAX};
    if (output < 0)
        output = memfd_create("image", MFD_CLOEXEC);
    require(output >= 0 && ftruncate(output, 0) == 0);
    require(hl__contents_init(&check->contents, output, HL__IMAGE_CONTENTS_START, IMAGE_SIZE_MAX,
                              NULL) == HL_OK);
    require(hl__tree_init(&check->tree, &limits, &check->contents, NULL) == HL_OK);
}

/* Writes what is there, checks it, and frees all. */
static void image_check_end(struct image_check *check)
{
    const struct hl__image_texts texts = {0};
    uint64_t size;
    if (hl__image_write(&check->tree, &texts, &size, NULL) == HL_OK) {
        const uint8_t *bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, output, 0);
        struct stat attributes;
        require(bytes != MAP_FAILED && fstat(output, &attributes) == 0);
        require((uint64_t)attributes.st_size == size);
        check_image(bytes, size);
        munmap((void *)bytes, size);
    }
    hl__tree_free(&check->tree);
    hl__contents_free(&check->contents);
}

/* ---- The source ---- */

static ssize_t memory_read(struct hl__source *base, const void **data)
{
    struct memory_source *source = (struct memory_source *)base;
    size_t size = source->size < source->piece ? source->size : source->piece;
    *data = source->data;
    source->data += size;
    source->size -= size;
    return (ssize_t)size;
}

static void memory_source_init(struct memory_source *source, const uint8_t *data, size_t size,
                               size_t piece, hl_error *err)
{
    *source = (struct memory_source){
        .base = {.read = memory_read, .err = err}, .data = data, .size = size, .piece = piece};
}

#endif
