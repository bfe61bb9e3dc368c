/*
 * The program's mappings: disjoint ranges of its address space in ascending order. Pure
 * bookkeeping; neighbours that can be one are one.
 */
#ifndef HL_SHIM_VMA_H
#define HL_SHIM_VMA_H

#include "hyperlight/abi/hypercall.h"

#include <stdbool.h>
#include <stdint.h>

#define HL__VMA_RIGHTS 7u       /* HL_ABI_RIGHT_READ, _WRITE, _EXECUTE; none: not accessible */
#define HL__VMA_PROGRAM 0x10u   /* shows the program file from `offset` on; else private memory */
#define HL__VMA_COMMITTED 0x20u /* its pages are promised */
#define HL__VMA_NO_RESERVE 0x40u
#define HL__VMA_STACK 0x80u /* touched from the top down */

struct hl__vma {
    uint64_t start, end;
    uint64_t offset; /* 0 without HL__VMA_PROGRAM */
    uint64_t flags;
};

#define HL__VMAS_MAX 65536u

struct hl__vmas {
    struct hl__vma *items;
    uint32_t count;
    uint32_t capacity;
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
/* The range must be free. */
void hl__vma_insert(struct hl__vmas *vmas, const struct hl__vma *vma);
/* Replaces flags within a range: those in `clear` go, those in `set` come. */
void hl__vma_change(struct hl__vmas *vmas, uint64_t start, uint64_t end, uint64_t clear,
                    uint64_t set);

#endif
