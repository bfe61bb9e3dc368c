/*
 * What an ELF file asks for. Pure: its headers in, a checked plan or a refusal out; no hypercall, no
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

#define HL__ELF_PATH_MAX 256 /* of an interpreter, NUL included */

/* A file to read from: all of `size` bytes at `position`, or false. */
struct hl__elf_source {
    uint64_t size;
    bool (*read)(const struct hl__elf_source *source, void *to, uint64_t size, uint64_t position);
    void *object; /* the reader's own */
};

/*
 * A segment: whole pages of the file from `file_offset` on, as many as hold its `file_size` bytes from
 * `file_address` on; zeroes from there to the last page's end. Addresses are the file's own; a movable
 * image is shifted as a whole.
 */
struct hl__elf_segment {
    uint64_t address;
    uint64_t page_count;
    uint64_t file_offset; /* page-aligned */
    uint64_t file_pages;  /* pages that show the file, the first of page_count */
    uint64_t file_end;    /* address behind the file's last byte */
    uint32_t rights;      /* HL_ABI_RIGHT_* */
    bool zeroes;          /* what follows the file's bytes must be made zeroes */
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
    uint64_t private_pages;             /* that do not show the file as it is */
    char interpreter[HL__ELF_PATH_MAX]; /* empty: it needs none */
    struct hl__elf_segment segments[HL__ELF_SEGMENTS_MAX];
};

/* Returns whether the plan is good for a program or an interpreter. */
bool hl__elf_read(struct hl__elf_plan *plan, const struct hl__elf_source *source);
/* The same for any ELF file that is mapped, without an entry point perhaps. */
bool hl__elf_layout(struct hl__elf_plan *plan, const struct hl__elf_source *source);
/* The address of the executable page that shows the file at `offset`; false: there is none. */
bool hl__elf_code_address(const struct hl__elf_plan *plan, uint64_t offset, uint64_t *address);

#endif
