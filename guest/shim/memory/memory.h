/*
 * The program's memory: what is promised to it, which pages back it, and what its system calls
 * change. Nothing here touches memory that may fault, so a fault that interrupts a system call
 * always finds it consistent.
 */
#ifndef HL_SHIM_MEMORY_H
#define HL_SHIM_MEMORY_H

#include "file/inode.h"
#include "hyperlight/abi/hypercall.h"
#include "hyperlight/abi/x86_64.h"
#include "memory/address_space.h"
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
#define HL__VMA_DATA HL__RIGHTS_DATA /* flags of a program's ordinary data */
#define HL__STACK_GAP (1ull << 20)   /* kept free below a stack */
#define HL__STACK_SIZE_MAX (8ull << 20)

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
 * retired: no longer mapped by the books, but until the next batch goes to the host an access to
 * them does not fault. A new mapping of ordinary data there takes the pages
 * over, zeroed. A rest changes nothing of it: retired pages are part of a snapshot like free ones.
 */
struct hl__memory {
    struct hl__pages pages;
    struct hl__table table;
    struct hl__vmas vmas;
    uint64_t total_pages;
    uint64_t zero_page; /* a page of zeroes in reach of the shim: stands for holes of files */
    uint64_t map_base;  /* where mappings without a wish are looked for, upwards */
    struct hl__address_space *space; /* of the program that runs */
    struct hl__lookahead break_ahead, map_ahead;
    struct hl__retired retired;
    uint64_t unmap_count; /* unmappings that could have been put off */
    uint64_t fault_next;  /* where the next fault of a sequential sweep would be */
    uint64_t fault_pages;
    uint64_t spurious_address, spurious_rip, spurious_count;
    uint64_t heap; /* HL_ABI_HEAP_ADDRESS */
    bool refused;  /* an allocation was refused */
};

extern struct hl__memory hl__memory;

/* backing.c: pages behind addresses */

/* Sets up the bookkeeping for RAM pages [first, end). False if they do not suffice even for it. */
bool hl__memory_init(uint64_t first_page, uint64_t end_page, uint64_t heap);
/* Room for a few more mappings. 0 or -ENOMEM. */
int64_t hl__memory_reserve_vmas(void);
/* Room in the table for [start, end). 0 or -ENOMEM. */
int64_t hl__memory_reserve_table(uint64_t start, uint64_t end);
/* Puts pages behind all of [start, end) that has none. 0 or -ENOMEM; then a part may be backed. */
int64_t hl__memory_back(uint64_t start, uint64_t end, uint64_t vma_flags, bool populate);
/* The same, but the pages come with the next hl__memory_back() or hl__memory_back_now(). */
int64_t hl__memory_back_later(uint64_t start, uint64_t end, uint64_t vma_flags, bool populate);
/* Gives the pages [start, end) of a private mapping of a file copies of their own, where they have
 * none; they come with the next hl__memory_back_now(). */
int64_t hl__memory_copy_later(const struct hl__vma *vma, uint64_t start, uint64_t end);
int64_t hl__memory_back_now(void);
/* The same as hl__memory_back(), and looks ahead up to `limit`. */
int64_t hl__memory_back_ahead(struct hl__lookahead *ahead, uint64_t start, uint64_t end,
                              uint64_t limit);
/* Takes the pages behind a range away, without telling the host. */
void hl__memory_unback(uint64_t start, uint64_t end);
/* Gives up what was mapped ahead in or after a range. */
void hl__memory_drop_ahead(uint64_t start, uint64_t end);
/* Retires a range of ordinary data that no mapping holds any more. */
void hl__memory_retire(uint64_t start, uint64_t end);
/* Makes what is retired in a range a new mapping's, as zeroes. */
void hl__memory_revive(uint64_t start, uint64_t end);
/* Unmaps what is retired in a range, perhaps more; leaves the edits to the caller's next flush. */
void hl__memory_drop_retired(uint64_t start, uint64_t end);
/* Takes pages for the shim itself: `count` in one piece, or, with `fewer`, perhaps fewer. False:
 * there are none. */
bool hl__memory_take(uint64_t count, bool fewer, struct hl__page_run *run);
void hl__memory_give(uint64_t page, uint64_t count);
/*
 * Whether so much more private memory may be asked for in one piece. Nothing is promised: memory that
 * is never touched costs nothing, and a program asks for far more than it touches. But a request that
 * cannot come true as things are is refused, since many programs can handle that, and none can handle
 * the end that comes instead. A reservation that is opened (`reserved`) is such a program's that asks
 * for more than it touches; it is refused only if it exceeds all memory by far. 0 or -ENOMEM.
 */
int64_t hl__memory_ask(uint64_t page_count, bool reserved);

/* Whether the process's limits let it map so much more, in a mapping with such flags; what fixed mappings
 * take the place of, [start, end), counts no more. 0 or -ENOMEM. */
int64_t hl__memory_limited(uint64_t size, uint64_t vma_flags, uint64_t start, uint64_t end);

/* mapped.c: pages of files behind addresses */

/* The table's entry for the file's page at an address of a mapping. *failed: memory has run out. */
uint32_t hl__memory_file_entry(const struct hl__vma *vma, uint64_t address, bool *failed);
/* The page of an entry that is not the mapping's own, in reach of the shim. */
const void *hl__memory_entry_bytes(uint32_t entry);
/* The rights with which the host may show an entry in a mapping. */
uint32_t hl__memory_shown_rights(const struct hl__vma *vma, uint64_t entry);
/* Tells the host of everything behind a part of a mapping. */
void hl__memory_show(const struct hl__vma *vma, uint64_t start, uint64_t end);
/* The end of what a mapping shows of its file; an access beyond is SIGBUS. */
uint64_t hl__memory_file_end(const struct hl__vma *vma);
/* Shows the file's pages in [start, end) where nothing is. 0 or -ENOMEM; leaves the edits to the
 * caller's next flush. */
int64_t hl__memory_borrow_later(const struct hl__vma *vma, uint64_t start, uint64_t end);
/* A page of a mapping of a file is touched. 0, -ENOMEM, or -EFAULT behind the file's end. */
int64_t hl__memory_file_fault(const struct hl__vma *vma, uint64_t page, bool write);

/* fault.c */

/* What a page fault came to: resolved, or the si_code of its SIGSEGV, or something else. */
enum hl__fault_result {
    HL__FAULT_RESOLVED = 0,
    HL__FAULT_UNMAPPED = 1, /* SEGV_MAPERR */
    HL__FAULT_DENIED = 2,   /* SEGV_ACCERR */
    HL__FAULT_NO_MEMORY = 3,
    HL__FAULT_BEYOND = 4 /* behind the end of a mapped file: SIGBUS, BUS_ADRERR */
};
enum { HL__ACCESS_WRITE = 2, HL__ACCESS_EXECUTE = 16 }; /* bits of the hardware's error code */

/* What to bring in with a page that is touched: more at a time in a sequential sweep. */
struct hl__fault_window {
    uint64_t start, end;
    bool sequential;
};
struct hl__fault_window hl__memory_window(const struct hl__vma *vma, uint64_t page);

enum hl__fault_result hl__memory_fault(uint64_t address, uint32_t error_code, uint64_t rip);
/* Brings in [start, start + size) for an access from within the shim. */
bool hl__memory_present(uint64_t start, uint64_t size, uint32_t access);

/* memory.c: operations on mappings; results as the system calls' */

/* Private memory of zeroes. */
int64_t hl__memory_map(uint64_t start, uint64_t end, uint64_t flags);
/* A file's pages from `offset` on; leaves the edits to the caller's next flush. */
int64_t hl__memory_map_file(uint64_t start, uint64_t end, uint64_t flags, struct hl__inode *inode,
                            uint64_t offset);
int64_t hl__memory_unmap(uint64_t start, uint64_t end);
/* mmap.c: all of a file's pages, shared; `place`: 0, MAP_FIXED or MAP_FIXED_NOREPLACE. Its address. */
int64_t hl__memory_map_shared(uint64_t address, uint64_t place, uint64_t protection,
                              struct hl__inode *inode);
int64_t hl__memory_protect(uint64_t start, uint64_t end, uint32_t rights);
/* Picks the place of a mapping of `size` bytes; `room` bytes behind it are free, too. 0: none. */
uint64_t hl__memory_place(uint64_t hint, uint64_t size, uint64_t room, uint64_t mmap_flags,
                          bool use_ahead);
bool hl__memory_range_valid(uint64_t start, uint64_t size);
/* Up to where addresses from `address` on are free. */
uint64_t hl__memory_hole_end(uint64_t address);
/* Up to where, below `limit`, pages may be mapped ahead behind `address`. */
uint64_t hl__memory_ahead_limit(uint64_t address, uint64_t limit);

/* advise.c: brings in all of a range that is mapped. 0, -EINVAL where rights lack, -EFAULT where a file ends, or
 * -ENOMEM. */
int64_t hl__memory_populate(uint64_t start, uint64_t end, bool write);

/* The mappings for /proc/self/maps: the first one that ends above `address`. False: there is none. */
struct hl__mapping {
    uint64_t start, end;
    uint32_t rights; /* HL_ABI_RIGHT_* */
    bool shared;
    uint64_t offset;
    struct hl__inode *inode; /* NULL: private memory */
    const char *name;        /* "[heap]", "[stack]", or NULL */
};
bool hl__memory_mapping(uint64_t address, struct hl__mapping *mapping);

#endif
