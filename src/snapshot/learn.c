/*
 * What the calls of a snapshot's sandboxes touch, so that later sandboxes have it at hand: pages of RAM that they
 * write, as restores see them, and all that the first call in a new VM uses. Hints: nothing depends on their being
 * right.
 */
#include "snapshot/snapshot.h"
#include "util/error.h"
#include "vm/x86_64/tables.h"
#include <stdlib.h>

/* Calls that touch more say little about others. */
enum { DIRTY_PAGES_MAX = 1024, ACCESSED_PAGES_MAX = 8192 };

/* So many first calls are looked at. */
enum { LESSONS_MAX = 16 };

static size_t page_words(const hl_snapshot *snapshot)
{
    return hl__bitmap_words(snapshot->memory_size / HL__PAGE);
}

static size_t leaf_words(const hl_snapshot *snapshot)
{
    return snapshot->table_count * (size_t)HL__TABLE_WORDS;
}

hl_status hl__snapshot_hints_new(hl_snapshot *snapshot, hl_error *err)
{
    snapshot->hot = calloc(page_words(snapshot), sizeof *snapshot->hot);
    snapshot->accessed = calloc(leaf_words(snapshot), sizeof *snapshot->accessed);
    if (snapshot->hot && snapshot->accessed)
        return HL_OK;
    return hl__error_set(err, HL_OUT_OF_MEMORY, "hl_sandbox_snapshot",
                         "no memory for the bitmaps of a snapshot");
}

void hl__snapshot_hints_free(hl_snapshot *snapshot)
{
    free((void *)snapshot->hot);
    free((void *)snapshot->accessed);
}

static void note(_Atomic uint64_t *hints, const uint64_t *seen, size_t words)
{
    for (size_t word = 0; word < words; word++)
        if (seen[word])
            atomic_fetch_or_explicit(&hints[word], seen[word], memory_order_relaxed);
}

void hl__snapshot_learn_dirty(const hl_snapshot *snapshot, const uint64_t *dirty, uint64_t count)
{
    if (count <= DIRTY_PAGES_MAX)
        note(snapshot->hot, dirty, page_words(snapshot));
}

/* Only where reading the dirty log does not clear it, which is the next restore's. */
static void learn_dirty(hl_sandbox *sandbox)
{
    const hl_snapshot *snapshot = sandbox->baseline;
    const hl__driver *driver = sandbox->vm->driver;
    size_t words = page_words(snapshot);
    uint64_t count = 0;
    if (!driver->dirty_rearm ||
        driver->dirty_collect(sandbox->vm->driver_vm, HL__SLOT_RAM, sandbox->dirty, words, NULL))
        return;
    for (size_t word = 0; word < words; word++)
        count += (unsigned)__builtin_popcountll(sandbox->dirty[word]);
    hl__snapshot_learn_dirty(snapshot, sandbox->dirty, count);
}

static void learn_accessed(const hl_sandbox *sandbox)
{
    const hl_snapshot *snapshot = sandbox->baseline;
    uint64_t *seen = calloc(leaf_words(snapshot), sizeof *seen);
    if (!seen)
        return;
    if (hl__space_tables_accessed(sandbox->space, seen, snapshot->table_count) <=
        ACCESSED_PAGES_MAX)
        note(snapshot->accessed, seen, leaf_words(snapshot));
    free(seen);
}

void hl__snapshot_learn(hl_sandbox *sandbox)
{
    sandbox->learning = false;
    if (atomic_fetch_add(&sandbox->baseline->lessons, 1) >= LESSONS_MAX)
        return;
    learn_dirty(sandbox);
    learn_accessed(sandbox);
}
