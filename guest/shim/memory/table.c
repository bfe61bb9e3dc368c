/* The tree from the program's addresses to pages of RAM. */
#include "memory/table.h"
#include "hyperlight/abi/hypercall.h"

#include <stddef.h>

#define LEVEL0_SHIFT 42 /* one root entry: 4 TiB */
#define LEVEL1_SHIFT 32
#define LEVEL2_SHIFT 22
#define LEVEL3_SHIFT 12
#define INDEX(address, shift) ((address) >> (shift) & (HL__TABLE_FANOUT - 1))

static uint32_t *table_node(const struct hl__table *table, uint32_t number)
{
    return table->nodes + (uint64_t)number * HL__TABLE_FANOUT;
}

/* The leaf that holds an address, or NULL and how far the hole reaches. */
static uint32_t *table_leaf(const struct hl__table *table, uint64_t address, uint64_t *hole_end)
{
    uint32_t number = table->root[address >> LEVEL0_SHIFT];

    for (unsigned shift = LEVEL1_SHIFT; shift > LEVEL3_SHIFT; shift -= 10) {
        if (!number) {
            *hole_end = (address >> (shift + 10) << (shift + 10)) + (1ull << (shift + 10));
            return NULL;
        }
        number = table_node(table, number)[INDEX(address, shift)];
    }
    if (!number) {
        *hole_end = (address >> LEVEL2_SHIFT << LEVEL2_SHIFT) + HL__TABLE_LEAF_SPAN;
        return NULL;
    }
    return table_node(table, number);
}

uint64_t hl__table_get(const struct hl__table *table, uint64_t address)
{
    uint64_t hole_end;
    const uint32_t *leaf = table_leaf(table, address, &hole_end);

    return leaf ? leaf[INDEX(address, LEVEL3_SHIFT)] : 0;
}

uint64_t hl__table_nodes_needed(uint64_t start, uint64_t end)
{
    uint64_t last = end - 1;

    return (last >> LEVEL2_SHIFT) - (start >> LEVEL2_SHIFT) + 1 + (last >> LEVEL1_SHIFT) -
           (start >> LEVEL1_SHIFT) + 1 + (last >> LEVEL0_SHIFT) - (start >> LEVEL0_SHIFT) + 1;
}

uint64_t hl__table_nodes_left(const struct hl__table *table)
{
    return table->node_end - table->node_count;
}

static uint32_t table_new_node(struct hl__table *table)
{
    uint32_t number = table->free_node;
    uint32_t *node;

    if (!number)
        return table->node_count++; /* never used: its memory is zero */
    node = table_node(table, number);
    table->free_node = node[0];
    node[0] = 0;
    return number;
}

static uint32_t *table_make_leaf(struct hl__table *table, uint64_t address)
{
    uint32_t *link = &table->root[address >> LEVEL0_SHIFT];

    for (unsigned shift = LEVEL1_SHIFT;; shift -= 10) {
        if (!*link)
            *link = table_new_node(table);
        if (shift == LEVEL3_SHIFT)
            return table_node(table, *link);
        link = &table_node(table, *link)[INDEX(address, shift)];
    }
}

void hl__table_set(struct hl__table *table, uint64_t address, uint64_t page, uint64_t count)
{
    uint32_t *leaf = NULL;

    for (uint64_t i = 0; i < count; i++, address += HL_ABI_PAGE_SIZE) {
        if (!leaf || INDEX(address, LEVEL3_SHIFT) == 0)
            leaf = table_make_leaf(table, address);
        leaf[INDEX(address, LEVEL3_SHIFT)] = (uint32_t)(page + i);
    }
}

/* Takes a leaf out of the tree; all of its entries are zero. */
static void table_drop_leaf(struct hl__table *table, uint64_t address)
{
    uint32_t *node = table_node(table, table->root[address >> LEVEL0_SHIFT]);
    uint32_t number;

    node = table_node(table, node[INDEX(address, LEVEL1_SHIFT)]);
    number = node[INDEX(address, LEVEL2_SHIFT)];
    node[INDEX(address, LEVEL2_SHIFT)] = 0;
    table_node(table, number)[0] = table->free_node;
    table->free_node = number;
}

void hl__table_clear(struct hl__table *table, uint64_t start, uint64_t end)
{
    while (start < end) {
        uint64_t stop = (start / HL__TABLE_LEAF_SPAN + 1) * HL__TABLE_LEAF_SPAN;
        bool whole = start % HL__TABLE_LEAF_SPAN == 0 && stop <= end;
        uint32_t *leaf = table_leaf(table, start, &stop);

        if (stop > end)
            stop = end;
        for (uint64_t at = start; leaf && at < stop; at += HL_ABI_PAGE_SIZE)
            leaf[INDEX(at, LEVEL3_SHIFT)] = 0;
        if (leaf && whole)
            table_drop_leaf(table, start);
        start = stop;
    }
}

uint64_t hl__table_next(const struct hl__table *table, uint64_t start, uint64_t end)
{
    while (start < end) {
        uint64_t stop = (start / HL__TABLE_LEAF_SPAN + 1) * HL__TABLE_LEAF_SPAN;
        const uint32_t *leaf = table_leaf(table, start, &stop);

        for (; leaf && start < stop && start < end; start += HL_ABI_PAGE_SIZE)
            if (leaf[INDEX(start, LEVEL3_SHIFT)])
                return start;
        start = stop;
    }
    return end;
}

uint64_t hl__table_next_empty(const struct hl__table *table, uint64_t start, uint64_t end)
{
    while (start < end && hl__table_get(table, start))
        start += HL_ABI_PAGE_SIZE;
    return start < end ? start : end;
}

bool hl__table_run(const struct hl__table *table, uint64_t start, uint64_t end,
                   struct hl__table_run *run)
{
    uint64_t address = hl__table_next(table, start, end);

    if (address >= end)
        return false;
    run->address = address;
    run->page = hl__table_get(table, address);
    run->count = 0;
    do {
        run->count++;
        address += HL_ABI_PAGE_SIZE;
    } while (address < end && hl__table_get(table, address) == run->page + run->count);
    return true;
}

uint64_t hl__table_count(const struct hl__table *table, uint64_t start, uint64_t end)
{
    struct hl__table_run run;
    uint64_t count = 0;

    for (; hl__table_run(table, start, end, &run);
         start = run.address + run.count * HL_ABI_PAGE_SIZE)
        count += run.count;
    return count;
}
