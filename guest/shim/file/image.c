#include "file/image.h"
#include "base/linux.h"

#include <string.h>

struct hl__image hl__root_image;

const void *hl__image_at(const struct hl__image *image, const struct hl_image_range *range,
                         size_t element_size, size_t alignment)
{
    if (range->offset > image->size || range->offset % alignment)
        return NULL;
    return range->count <= (image->size - range->offset) / element_size
               ? image->bytes + range->offset
               : NULL;
}

bool hl__image_open(struct hl__image *image, const void *bytes, uint64_t size)
{
    struct hl__image opened = {.bytes = bytes, .size = size};
    struct hl_image_head head;

    if (size < HL_ABI_PAGE_SIZE || size > HL_IMAGE_SIZE_MAX)
        return false;
    memcpy(&head, bytes, sizeof head);
    if (head.magic != HL_IMAGE_MAGIC || head.version != HL_IMAGE_VERSION || head.size != size ||
        head.inodes.count > HL_IMAGE_INODES_MAX)
        return false;
    opened.inodes = hl__image_at(&opened, &head.inodes, sizeof *opened.inodes, 8);
    opened.entries = hl__image_at(&opened, &head.entries, sizeof *opened.entries, 4);
    opened.names = hl__image_at(&opened, &head.names, 1, 1);
    if (!opened.inodes || !opened.entries || !opened.names)
        return false;
    opened.inode_count = head.inodes.count;
    opened.entry_count = head.entries.count;
    opened.names_size = head.names.count;
    *image = opened;
    return hl__image_inode(image, HL_IMAGE_ROOT) &&
           (opened.inodes[HL_IMAGE_ROOT].mode & S_IFMT) == S_IFDIR;
}

const struct hl_image_inode *hl__image_inode(const struct hl__image *image, uint32_t number)
{
    return number && number < image->inode_count ? &image->inodes[number] : NULL;
}

bool hl__image_entry(const struct hl__image *image, const struct hl_image_inode *directory,
                     uint64_t index, struct hl__image_name *name)
{
    const struct hl_image_entry *entry;

    if (index >= directory->size || directory->data > image->entry_count ||
        index >= image->entry_count - directory->data)
        return false;
    entry = &image->entries[directory->data + index];
    if (entry->name > image->names_size || entry->name_size > image->names_size - entry->name ||
        !entry->name_size || entry->name_size > HL_IMAGE_NAME_MAX)
        return false;
    *name = (struct hl__image_name){image->names + entry->name, entry->name_size, entry->inode};
    return true;
}

static int name_compare(const char *a, uint32_t a_size, const char *b, uint32_t b_size)
{
    int difference = memcmp(a, b, a_size < b_size ? a_size : b_size);

    if (difference || a_size == b_size)
        return difference;
    return a_size < b_size ? -1 : 1;
}

bool hl__image_find(const struct hl__image *image, const struct hl_image_inode *directory,
                    const char *bytes, uint32_t size, struct hl__image_name *name)
{
    uint64_t first = 0, end = directory->size;

    if (end > image->entry_count)
        return false;
    while (first < end) {
        uint64_t middle = first + (end - first) / 2;
        int difference;

        if (!hl__image_entry(image, directory, middle, name))
            return false;
        difference = name_compare(bytes, size, name->bytes, name->size);
        if (!difference)
            return true;
        if (difference < 0)
            end = middle;
        else
            first = middle + 1;
    }
    return false;
}

const char *hl__image_target(const struct hl__image *image, const struct hl_image_inode *link)
{
    if (!link->size || link->size >= HL__PATH_MAX || link->data > image->names_size ||
        link->size > image->names_size - link->data)
        return NULL;
    return image->names + link->data;
}

bool hl__image_has_content(const struct hl__image *image, const struct hl_image_inode *file)
{
    return file->data <= image->size && file->size <= image->size - file->data;
}
