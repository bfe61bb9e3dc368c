/* Folders and images for tests. */
#define _GNU_SOURCE
#include "image_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[SUPPORT_PATH];

int support_setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/hl-image-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    return setenv("HL_PREPARE", HL_TEST_HELPER, 1) ||
           setenv("HL_CACHE_DIR", support_path("cache"), 1);
}

int support_teardown(void **state)
{
    char command[SUPPORT_PATH + 16];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

const char *support_path(const char *name)
{
    static char paths[8][SUPPORT_PATH];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, SUPPORT_PATH, "%.200s/%.200s", folder, name);
    return path;
}

void support_write(const char *name, const void *data, size_t size)
{
    FILE *file = fopen(support_path(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void support_load(const char *name, struct support_image *image)
{
    struct stat attributes;
    FILE *file = fopen(support_path(name), "rb");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &attributes), 0);
    image->size = (uint64_t)attributes.st_size;
    image->bytes = malloc(image->size + 1);
    assert_non_null(image->bytes);
    assert_int_equal(fread(image->bytes, 1, image->size, file), image->size);
    fclose(file);
    assert_int_equal(support_head(image)->magic, HL_IMAGE_MAGIC);
    assert_int_equal(support_head(image)->size, image->size);
}

void support_unload(struct support_image *image)
{
    free(image->bytes);
}

const struct hl_image_head *support_head(const struct support_image *image)
{
    return (const struct hl_image_head *)image->bytes;
}

static uint32_t find_name(const struct support_image *image, const struct hl_image_inode *directory,
                          const char *name, size_t size)
{
    const struct hl_image_head *head = support_head(image);
    const struct hl_image_entry *entries =
        (const struct hl_image_entry *)(image->bytes + head->entries.offset);
    for (uint64_t i = 0; i < directory->size; i++) {
        const struct hl_image_entry *entry = &entries[directory->data + i];
        if (entry->name_size == size &&
            memcmp(image->bytes + head->names.offset + entry->name, name, size) == 0)
            return entry->inode;
    }
    return 0;
}

const struct hl_image_inode *support_find(const struct support_image *image, const char *path)
{
    const struct hl_image_head *head = support_head(image);
    const struct hl_image_inode *inodes =
        (const struct hl_image_inode *)(image->bytes + head->inodes.offset);
    uint32_t number = HL_IMAGE_ROOT;
    for (path += strspn(path, "/"); *path && number; path += strspn(path, "/")) {
        size_t size = strcspn(path, "/");
        if (!S_ISDIR(inodes[number].mode))
            return NULL;
        number = find_name(image, &inodes[number], path, size);
        path += size;
    }
    return number ? &inodes[number] : NULL;
}
