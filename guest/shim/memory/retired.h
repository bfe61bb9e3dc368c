/*
 * Ranges of addresses that the program unmapped and the host still maps: disjoint, ascending,
 * neighbours joined. Pure bookkeeping.
 */
#ifndef HL_SHIM_RETIRED_H
#define HL_SHIM_RETIRED_H

#include "hyperlight/abi/hypercall.h"

#include <stdbool.h>
#include <stdint.h>

#define HL__RETIRED_MAX HL_ABI_EDITS_MAX

struct hl__range {
    uint64_t start, end;
};

struct hl__retired {
    struct hl__range items[HL__RETIRED_MAX];
    uint32_t count;
    uint64_t size; /* of all ranges together */
};

/* The range must not be in it. False: no room. */
bool hl__retired_add(struct hl__retired *retired, uint64_t start, uint64_t end);
/* Where the first range that ends above `address` starts; UINT64_MAX if none. */
uint64_t hl__retired_next(const struct hl__retired *retired, uint64_t address);
/* Takes out the first part of [start, end) that is in it; false if none is. With HL__RETIRED_MAX
 * ranges [start, end) must not lie within one. */
bool hl__retired_cut(struct hl__retired *retired, uint64_t start, uint64_t end,
                     struct hl__range *part);

#endif
