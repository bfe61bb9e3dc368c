/*
 * Turns the `syscall` instructions of an ELF file into jumps, as abi/image.h describes. A pure
 * function of bytes; it runs where an image is prepared, in a confined process, because the file may
 * be hostile.
 */
#ifndef HL_IMAGE_REWRITE_H
#define HL_IMAGE_REWRITE_H

#include "hyperlight/abi/image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HL__REWRITE_PAGE 4096u

struct hl__rewrite {
    uint64_t stubs_address; /* page-aligned, in the file's own addresses */
    uint8_t *stubs;         /* stubs_pages pages */
    uint32_t stubs_pages;
    uint32_t patch_count;
    uint64_t *patch_pages; /* numbers of pages in the file, ascending */
    /* One page for each of patch_pages. What lies behind the file's end is zero. */
    uint8_t *patch_bytes;
    struct hl_image_site *sites; /* ascending */
    uint32_t site_count;
    uint32_t left_count; /* `syscall` instructions that were seen and stay as they are */
};

/*
 * True: `out` holds at least one site; the caller frees it. False: the file stays as it is, because
 * it is no ELF program or library for x86-64, has no `syscall` that may be rewritten, or memory is
 * short. A file that stays as it is works, only slower; so this is no error.
 */
bool hl__rewrite_elf(const uint8_t *bytes, size_t size, struct hl__rewrite *out);

/* Frees what `rewrite` holds; takes a zeroed one too. */
void hl__rewrite_free(struct hl__rewrite *rewrite);

#endif
