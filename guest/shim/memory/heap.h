/*
 * The shim's own memory: objects, and whole pages. Both are RAM of the sandbox that the shim can
 * always reach, so that touching it never faults: page n of RAM lies at hl__page_bytes(n). It counts
 * against the memory limit like the program's.
 */
#ifndef HL_SHIM_HEAP_H
#define HL_SHIM_HEAP_H

#include "hyperlight/abi/hypercall.h"
#include "hyperlight/abi/x86_64.h"

#include <stddef.h>
#include <stdint.h>

#define HL__HEAP_SIZE_MAX (64u << 20)

/* A zeroed object, 16-byte aligned (from a page on: page-aligned); NULL when memory has run out.
 * At most HL__HEAP_SIZE_MAX bytes. */
void *hl__heap_new(size_t size);
/* Gives an object back; `size` as it was asked for. NULL is fine. */
void hl__heap_free(void *object, size_t size);
/* A larger or smaller object with the same content, the new part zeroed; NULL: the old one stays. */
void *hl__heap_resize(void *object, size_t old_size, size_t new_size);

/* A zeroed page of RAM by its number, 0 when memory has run out. */
uint64_t hl__page_new(void);
void hl__page_free(uint64_t page);

#ifndef HL__POOL_BASE /* tests have the pool elsewhere */
#define HL__POOL_BASE HL_ABI_POOL_ADDRESS
#endif

/* Where the shim reaches a page that hl__page_new() gave. */
static inline void *hl__page_bytes(uint64_t page)
{
    return (void *)(HL__POOL_BASE + page * HL_ABI_PAGE_SIZE);
}

#endif
