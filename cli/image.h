/* A prepared image, as far as `hyperlight image` looks into it. */
#ifndef HYPERLIGHT_CLI_IMAGE_H
#define HYPERLIGHT_CLI_IMAGE_H

#include <hyperlight/abi/image.h>
#include <stdbool.h>
#include <stddef.h>

/* The tables, each inside the file; what they refer to is checked where it is used. */
struct image_tables {
    struct hl_image_head head;
    struct hl_image_inode *inodes;
    struct hl_image_entry *entries;
    struct hl_image_rewrite *rewrites;
    char *names, *arguments, *environment, *directory;
};

/* False: reported. */
bool image_read(const char *path, struct image_tables *tables);
void image_free(struct image_tables *tables);

void image_list(const struct image_tables *tables);
void image_show(const struct image_tables *tables);

#endif
