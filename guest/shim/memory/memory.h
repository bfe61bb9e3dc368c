/*
 * The program's memory: what is promised to it, which pages back it, and what its system calls
 * change. Nothing here touches memory that may fault, so a fault that interrupts a system call
 * always finds it consistent.
 */
#ifndef HL_SHIM_MEMORY_H
#define HL_SHIM_MEMORY_H

#include "hyperlight/abi/hypercall.h"
#include "hyperlight/abi/x86_64.h"
#include "memory/pages.h"
#include "memory/retired.h"
#include "memory/table.h"
#include "memory/vma.h"

#include <stdbool.h>
#include <stdint.h>

#define HL__PAGE_MASK (HL_ABI_PAGE_SIZE - 1ull)
#define HL__PAGE_DOWN(address) ((address) & ~HL__PAGE_MASK)
#define HL__PAGE_UP(address) (((address) + HL__PAGE_MASK) & ~HL__PAGE_MASK)
#define HL__PAGES(size) ((size) / HL_ABI_PAGE_SIZE)

#define HL__RIGHTS_DATA (HL_ABI_RIGHT_READ | HL_ABI_RIGHT_WRITE)
#define HL__VMA_DATA (HL__RIGHTS_DATA | HL__VMA_COMMITTED) /* flags of a program's ordinary data */

/*
 * Mapped memory ahead of need, behind the break and behind small mappings: it belongs to no
 * mapping yet, and the next growth takes it without an exit.
 */
struct hl__lookahead {
    uint64_t start, end;
    uint64_t page_count; /* how far to look ahead next time */
};

/*
 * Unmapping takes a right away, which costs far more than an exit. So only the first unmappings of
 * a program take effect at once; from then on the program's small pieces of ordinary data are
 * retired: no longer mapped by the books, and no longer promised, but until the next batch goes to
 * the host an access to them does not fault. A new mapping of ordinary data there takes the pages
 * over, zeroed. A rest changes nothing of it: retired pages are part of a snapshot like free ones.
 */
struct hl__memory {
    struct hl__pages pages;
    struct hl__table table;
    struct hl__vmas vmas;
    uint64_t total_pages;
    uint64_t committed; /* pages promised to mappings with HL__VMA_COMMITTED */
    /* pages in use beside those: look-ahead, retired, mappings without a promise, bookkeeping */
    uint64_t loose;
    uint64_t break_start, break_end;
    uint64_t map_base; /* where mappings without a wish are looked for, upwards */
    uint64_t stack_start, stack_end;
    struct hl__lookahead break_ahead, map_ahead;
    struct hl__retired retired;
    uint64_t unmap_count; /* unmappings that could have been put off */
    uint64_t fault_next;  /* where the next fault of a sequential sweep would be */
    uint64_t fault_pages;
    uint64_t spurious_address, spurious_rip, spurious_count;
    const uint8_t *program; /* the guest binary */
    uint64_t heap;          /* HL_ABI_HEAP_ADDRESS */
    bool refused;           /* an allocation was refused */
};

extern struct hl__memory hl__memory;

/* backing.c: pages behind addresses */

/* Sets up the bookkeeping for RAM pages [first, end). False if they do not suffice even for it. */
bool hl__memory_init(uint64_t first_page, uint64_t end_page, uint64_t heap, const void *program);
/* Room for a few more mappings. 0 or -ENOMEM. */
int64_t hl__memory_reserve_vmas(void);
/* Room in the table for [start, end). 0 or -ENOMEM. */
int64_t hl__memory_reserve_table(uint64_t start, uint64_t end);
/* Puts pages behind all of [start, end) that has none. 0 or -ENOMEM; then a part may be backed. */
int64_t hl__memory_back(uint64_t start, uint64_t end, uint64_t vma_flags, bool populate);
/* The same, but the pages come with the next hl__memory_back() or hl__memory_back_now(). */
int64_t hl__memory_back_later(uint64_t start, uint64_t end, uint64_t vma_flags, bool populate);
int64_t hl__memory_back_now(void);
/* The same, and looks ahead up to `limit`. */
int64_t hl__memory_back_ahead(struct hl__lookahead *ahead, uint64_t start, uint64_t end,
                              uint64_t limit);
/* Takes the pages behind a range away, without telling the host. `promised`: they belong to a
 * promise that stays or is accounted for by the caller. */
void hl__memory_unback(uint64_t start, uint64_t end, bool promised);
/* Gives up what was mapped ahead in or after a range. */
void hl__memory_drop_ahead(uint64_t start, uint64_t end);
/* Retires a range of ordinary data that no mapping holds any more. */
void hl__memory_retire(uint64_t start, uint64_t end);
/* Makes what is retired in a range a new mapping's, as zeroes. */
void hl__memory_revive(uint64_t start, uint64_t end);
/* Unmaps what is retired in a range, perhaps more; leaves the edits to the caller's next flush. */
void hl__memory_drop_retired(uint64_t start, uint64_t end);
/* Takes pages for the shim itself, in use until they are given back: `count` in one piece, or, with
 * `fewer`, perhaps fewer. False: there are none. */
bool hl__memory_take_loose(uint64_t count, bool fewer, struct hl__page_run *run);
void hl__memory_give_loose(uint64_t page, uint64_t count);
/* Promises pages to a mapping. 0 or -ENOMEM. */
int64_t hl__memory_commit(uint64_t page_count);

/* What a page fault came to: resolved, or the si_code of its SIGSEGV, or out of memory. */
enum hl__fault_result {
    HL__FAULT_RESOLVED = 0,
    HL__FAULT_UNMAPPED = 1, /* SEGV_MAPERR */
    HL__FAULT_DENIED = 2,   /* SEGV_ACCERR */
    HL__FAULT_NO_MEMORY = 3
};
enum { HL__ACCESS_WRITE = 2, HL__ACCESS_EXECUTE = 16 }; /* bits of the hardware's error code */

enum hl__fault_result hl__memory_fault(uint64_t address, uint32_t error_code, uint64_t rip);
/* Brings in [start, start + size) for an access from within the shim. */
bool hl__memory_present(uint64_t start, uint64_t size, uint32_t access);

/* memory.c: operations on mappings; results as the system calls' */

int64_t hl__memory_map(uint64_t start, uint64_t end, uint64_t flags);
/* Leaves the edit to the caller's next flush. */
int64_t hl__memory_map_program(uint64_t start, uint64_t end, uint64_t offset, uint32_t rights);
int64_t hl__memory_unmap(uint64_t start, uint64_t end);
int64_t hl__memory_protect(uint64_t start, uint64_t end, uint32_t rights);

#endif
