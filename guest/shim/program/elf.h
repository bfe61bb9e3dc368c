/*
 * What an ELF file asks for. Pure: bytes in, a checked plan or a refusal out; no hypercall, no
 * memory but its arguments. The bytes are hostile.
 */
#ifndef HL_SHIM_ELF_H
#define HL_SHIM_ELF_H

#include "hyperlight/abi/hypercall.h"

#include <stdbool.h>
#include <stdint.h>

#define HL__ELF_SEGMENTS_MAX 64
#define HL__ELF_HEADERS_MAX 256
#define HL__ELF_SPAN_MAX 0x10000000000ull /* largest image that may be moved */

/* A segment in whole pages. Addresses are the file's own; a movable image is shifted as a whole. */
struct hl__elf_segment {
    uint64_t address;
    uint64_t page_count;
    uint64_t file_offset;                          /* page-aligned; of a mapped segment */
    uint64_t copy_address, copy_offset, copy_size; /* of a copied segment: the file's bytes */
    uint32_t rights;                               /* HL_ABI_RIGHT_* */
    bool copied; /* private memory that starts with the file's bytes; else the file's own pages */
};

struct hl__elf_plan {
    enum hl_abi_refusal refusal;        /* 0: the plan is good */
    char text[HL_ABI_REFUSAL_TEXT_MAX]; /* why not */
    bool movable;
    bool stack_executable;
    uint32_t header_count;
    uint32_t segment_count; /* ascending, disjoint */
    uint64_t alignment;     /* of a movable image, at least a page */
    uint64_t entry;
    uint64_t headers;    /* address of the program headers, 0 if none of the segments holds them */
    uint64_t start, end; /* of all segments */
    uint64_t copied_pages;
    struct hl__elf_segment segments[HL__ELF_SEGMENTS_MAX];
};

/* Returns whether the plan is good. */
bool hl__elf_read(struct hl__elf_plan *plan, const uint8_t *bytes, uint64_t size);

#endif
