/* Inside of a snapshot: everything that a sandbox is between two calls. It holds no host pointer
 * into a sandbox and nothing of the machine. */
#ifndef HL_SNAPSHOT_INTERNAL_H
#define HL_SNAPSHOT_INTERNAL_H

#include "sandbox/sandbox.h"

struct hl__husk;

/* VMs that a snapshot keeps for its next sandboxes unless it was told to have more: each costs what an idle
 * sandbox does. */
#define HL__HUSKS_DEFAULT 4

struct hl_snapshot {
    atomic_uint references;
    _Atomic(struct hl__husk *) husks[HL_PREWARM_MAX];
    atomic_size_t husks_max; /* places of those that are used */
    hl_context *context;
    hl_program *program;
    /* of the sandbox it was taken of; with a reference to its host functions and a copy of its
     * input */
    hl_sandbox_options options;
    void *stdin_data;
    struct hl__guest_state guest;
    hl__os_file file;      /* RAM, sparse, sealed */
    const uint8_t *memory; /* the file, mapped read-only */
    uint64_t memory_size;
    /* RAM pages that are in the file: one bit each; all others are zero */
    uint64_t *pages;
    /* RAM pages that the guest could have written by then: a sandbox that returns may write them
     * without the host's knowing */
    uint64_t *touched;
    /* hints, see learn.c: pages of RAM that calls write, and leaves of the tables that they use */
    _Atomic uint64_t *hot, *accessed;
    atomic_uint lessons;
    uint64_t page_count;
    uint64_t ram_free_offset;
    /* copies of all tables, with the addresses that their entries are relative to */
    void *tables;
    uint32_t table_count;
    uint64_t tables_gpa, ram_gpa;
};

static inline bool hl__snapshot_has(const hl_snapshot *snapshot, uint64_t page)
{
    return hl__bitmap_get(snapshot->pages, page);
}

/* learn.c */
hl_status hl__snapshot_hints_new(hl_snapshot *snapshot, hl_error *err);
void hl__snapshot_hints_free(hl_snapshot *snapshot);
/* `count` pages are set in `dirty`. */
void hl__snapshot_learn_dirty(const hl_snapshot *snapshot, const uint64_t *dirty, uint64_t count);
/* After the first call of a sandbox in a VM that had touched nothing before. */
void hl__snapshot_learn(hl_sandbox *sandbox);
static inline bool hl__snapshot_hint(const _Atomic uint64_t *bitmap, uint64_t bit)
{
    return atomic_load_explicit(&bitmap[bit / 64], memory_order_relaxed) >> bit % 64 & 1;
}

/* recycle.c */
/* Keeps a sandbox's VM for the next sandbox of its baseline: takes over `vm`, `space` and `dirty` of the
 * sandbox, which is about to be freed. False: it is not fit for that, or there is no place. */
bool hl__husk_keep(hl_sandbox *sandbox);
/* Gives a kept VM of such a configuration to a sandbox that has none. False if there is none. */
bool hl__husk_take(hl_snapshot *snapshot, const hl__vm_config *config, hl_sandbox *sandbox);
size_t hl__husks_count(const hl_snapshot *snapshot);
void hl__husks_free(hl_snapshot *snapshot);

/* restore.c */
/* A sandbox in a VM of its own that nothing ran in. Options must be resolved. */
hl_status hl__sandbox_from_snapshot_fresh(const hl_snapshot *snapshot,
                                          const hl_sandbox_options *options, hl_sandbox **sandbox,
                                          hl_error *err);

#endif
