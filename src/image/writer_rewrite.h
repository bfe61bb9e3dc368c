/* Programs in an image whose system calls become jumps, while the image is written. */
#ifndef HL_IMAGE_WRITER_REWRITE_H
#define HL_IMAGE_WRITER_REWRITE_H

#include "image/contents.h"

struct hl__rewrites {
    struct hl_image_rewrite *list;
    struct hl_image_patch *patches;
    struct hl_image_site *sites;
    uint32_t count, room;
    uint64_t patch_count, patch_room;
    uint64_t site_count, site_room;
};

/*
 * Rewrites what is an ELF file among the contents, and appends the pages that this makes. The records
 * get their `rewrite`; the ranges in the list count from the start of `patches` and `sites`.
 */
hl_status hl__rewrites_make(struct hl__rewrites *rewrites, struct hl__contents *contents,
                            hl_error *err);
/* Appends the tables. */
hl_status hl__rewrites_write(struct hl__rewrites *rewrites, struct hl__contents *contents,
                             struct hl_image_range *range, hl_error *err);
void hl__rewrites_free(struct hl__rewrites *rewrites);

#endif
