/*
 * The program's mappings: disjoint ranges of its address space in ascending order. Pure
 * bookkeeping; neighbours that can be one are one.
 */
#ifndef HL_SHIM_VMA_H
#define HL_SHIM_VMA_H

#include "hyperlight/abi/hypercall.h"

#include <stdbool.h>
#include <stdint.h>

#define HL__VMA_RIGHTS 7u    /* HL_ABI_RIGHT_READ, _WRITE, _EXECUTE; none: not accessible */
#define HL__VMA_SHARED 0x10u /* its pages are the file's own */
#define HL__VMA_NO_RESERVE 0x20u
#define HL__VMA_STACK 0x40u     /* touched from the top down; grows downwards into free addresses */
#define HL__VMA_READ_ONLY 0x80u /* shared, of a file that is not open for writing */
#define HL__VMA_PATCHED 0x100u  /* rewritten pages take the place of some of the file's */
#define HL__VMA_STUBS 0x200u    /* stubs of the rewritten file `inode`, at `offset` in the image */

struct hl__inode;

struct hl__vma {
    uint64_t start, end;
    uint64_t flags;
    uint64_t offset;         /* what it shows of its file; 0 without one */
    struct hl__inode *inode; /* its file, referenced by the mapping; NULL: private memory */
    uint64_t owner;          /* the address space that it belongs to */
    uint64_t reserved[2];    /* a whole number of them fill a page */
};
HL_ABI_ASSERT(HL_ABI_PAGE_SIZE % sizeof(struct hl__vma) == 0);

#define HL__VMAS_MAX 65536u

struct hl__vmas {
    struct hl__vma *items;
    uint32_t count;
    uint32_t capacity;
    uint64_t owner; /* of mappings that are inserted */
};

/* Index of the first mapping that ends above `address`; `count` if none. */
uint32_t hl__vma_at_or_after(const struct hl__vmas *vmas, uint64_t address);
/* The mapping that holds `address`, or NULL. */
struct hl__vma *hl__vma_find(const struct hl__vmas *vmas, uint64_t address);
/* Whether anything is mapped in a range; whether all of it is. */
bool hl__vma_any(const struct hl__vmas *vmas, uint64_t start, uint64_t end);
bool hl__vma_all(const struct hl__vmas *vmas, uint64_t start, uint64_t end);

/* The operations below need room for two more mappings. */
void hl__vma_remove(struct hl__vmas *vmas, uint64_t start, uint64_t end);
/* The range must be free. The file, if any, is referenced. */
void hl__vma_insert(struct hl__vmas *vmas, const struct hl__vma *vma);
/* Replaces flags within a range: those in `clear` go, those in `set` come. */
void hl__vma_change(struct hl__vmas *vmas, uint64_t start, uint64_t end, uint64_t clear,
                    uint64_t set);

#endif
