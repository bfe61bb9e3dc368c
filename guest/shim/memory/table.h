/*
 * Which page is behind which page of the program's address space: a tree of 1024-way nodes, 4 MiB of
 * addresses per leaf. It holds what the shim gave out, whether or not the program may access it at
 * the moment: pages of RAM that are the mapping's own, and pages that it borrows from a file.
 */
#ifndef HL_SHIM_TABLE_H
#define HL_SHIM_TABLE_H

#include <stdbool.h>
#include <stdint.h>

/* An entry: the number of a page, and whose it is; 0: none. */
#define HL__ENTRY_NUMBER 0x0fffffffu
#define HL__ENTRY_SHARED 0x10000000u /* RAM that belongs to a file, or the page of zeroes */
#define HL__ENTRY_ROOT 0x20000000u   /* of the root image */
#define HL__ENTRY_BINARY 0x40000000u /* of the guest binary */
#define HL__ENTRY_READ_ONLY (HL__ENTRY_ROOT | HL__ENTRY_BINARY)
#define HL__ENTRY_BORROWED (HL__ENTRY_SHARED | HL__ENTRY_READ_ONLY)

#define HL__TABLE_FANOUT 1024u
#define HL__TABLE_LEAF_SPAN (4ull << 20)

struct hl__table {
    uint32_t root[32];   /* 4 TiB each; 0: none, else a node's number */
    uint32_t *nodes;     /* node n starts at nodes[n * HL__TABLE_FANOUT]; number 0 is not used */
    uint32_t node_count; /* numbers below were used once */
    uint32_t node_end;   /* numbers below have memory */
    uint32_t free_node;  /* list through the first entry; 0: empty */
};

/* Consecutive addresses with consecutive pages of one kind. */
struct hl__table_run {
    uint64_t address;
    uint64_t count;
    uint64_t page; /* the first entry */
};

/* The entry of an address, 0 if none. */
uint64_t hl__table_get(const struct hl__table *table, uint64_t address);
/* Nodes that setting [start, end) may need. */
uint64_t hl__table_nodes_needed(uint64_t start, uint64_t end);
/* Nodes that can be had without more memory being mapped. Counts the free list as nothing. */
uint64_t hl__table_nodes_left(const struct hl__table *table);
/* There must be nodes enough. */
void hl__table_set(struct hl__table *table, uint64_t address, uint64_t page, uint64_t count);
/* Clears a range; leaves that lie in it whole go back to the free list. */
void hl__table_clear(struct hl__table *table, uint64_t start, uint64_t end);
/* The first address in [start, end) that has a page; `end` if none. And the other way round. */
uint64_t hl__table_next(const struct hl__table *table, uint64_t start, uint64_t end);
uint64_t hl__table_next_empty(const struct hl__table *table, uint64_t start, uint64_t end);
/* How many addresses in [start, end) have a page. */
uint64_t hl__table_count(const struct hl__table *table, uint64_t start, uint64_t end);
/* The first run in [start, end), false if none. */
bool hl__table_run(const struct hl__table *table, uint64_t start, uint64_t end,
                   struct hl__table_run *run);

#endif
