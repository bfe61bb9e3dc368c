/* Inside of a snapshot: everything that a sandbox is between two calls. It holds no host pointer
 * into a sandbox and nothing of the machine. */
#ifndef HL_SNAPSHOT_INTERNAL_H
#define HL_SNAPSHOT_INTERNAL_H

#include "sandbox/sandbox.h"

struct hl__husk;

/* VMs that a snapshot keeps for its next sandboxes: each costs what an idle sandbox does. */
#define HL__HUSKS_MAX 4

struct hl_snapshot {
    atomic_uint references;
    _Atomic(struct hl__husk *) husks[HL__HUSKS_MAX];
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
    /* hint: pages that sandboxes of this snapshot were seen to write */
    _Atomic uint64_t *hot;
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

/* recycle.c */
/* Keeps a sandbox's VM for the next sandbox of its baseline: takes over `vm`, `space` and `dirty` of the
 * sandbox, which is about to be freed. False: it is not fit for that, or there is no place. */
bool hl__husk_keep(hl_sandbox *sandbox);
/* Gives a kept VM of such a configuration to a sandbox that has none. False if there is none. */
bool hl__husk_take(hl_snapshot *snapshot, const hl__vm_config *config, hl_sandbox *sandbox);
void hl__husks_free(hl_snapshot *snapshot);

#endif
