/* What the programs here share: a folder of their own, and the helper that was built with them. */
#ifndef HL_TESTS_IMAGE_SUPPORT_H
#define HL_TESTS_IMAGE_SUPPORT_H

#include <hyperlight/abi/image.h>
#include <stddef.h>
#include <stdint.h>

#define SUPPORT_PATH 512

/* A cmocka set-up and tear-down: an empty folder, and HL_PREPARE and HL_CACHE_DIR of the test's own. */
int support_setup(void **state);
int support_teardown(void **state);

/* A path in the folder; the result lives until the next 8 calls. */
const char *support_path(const char *name);
void support_write(const char *name, const void *data, size_t size);

/* A prepared image in memory. */
struct support_image {
    uint8_t *bytes;
    uint64_t size;
};
void support_load(const char *name, struct support_image *image);
void support_unload(struct support_image *image);
const struct hl_image_head *support_head(const struct support_image *image);
/* NULL: there is no such path. Links are not followed. */
const struct hl_image_inode *support_find(const struct support_image *image, const char *path);

#endif
