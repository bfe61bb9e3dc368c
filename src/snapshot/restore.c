/* Going back to a snapshot, and new sandboxes from it. */
#include "snapshot/snapshot.h"
#include "util/error.h"
#include <stdlib.h>

/* The hot set: pages that were dirtied lately stay writable and are always copied. Above this many,
 * or after that many restores, all are protected anew, so that pages that are no longer written
 * drop out. */
enum { HOT_PAGES_MAX = 1024, REARM_INTERVAL = 256 };

/* Most pages that a new sandbox gets a copy of at once because others wrote them. */
enum { PRETOUCH_PAGES_MAX = 256 };

hl_status hl__sandbox_track(hl_sandbox *sandbox, hl_error *err)
{
    size_t words = hl__bitmap_words(sandbox->vm->ram_size / HL__PAGE);
    if (!sandbox->dirty)
        sandbox->dirty = calloc(words, sizeof *sandbox->dirty);
    if (!sandbox->dirty)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "hl_sandbox_snapshot",
                             "no memory for the bitmap of dirtied pages");
    if (sandbox->vm->config.tracked)
        return HL_OK;
    hl_status status = sandbox->vm->driver->memory_track(sandbox->vm->driver_vm, HL__SLOT_RAM, err);
    sandbox->vm->config.tracked = !status;
    return status;
}

void hl__sandbox_set_baseline(hl_sandbox *sandbox, const hl_snapshot *snapshot)
{
    hl_snapshot *counted = (hl_snapshot *)snapshot; /* only its counters change */
    atomic_fetch_add(&counted->references, 1);
    hl_snapshot_free(sandbox->baseline);
    sandbox->baseline = counted;
}

static void restore_page(hl_sandbox *sandbox, const hl_snapshot *snapshot, uint64_t page)
{
    uint8_t *to = sandbox->space->ram + page * HL__PAGE;
    if (hl__snapshot_has(snapshot, page))
        memcpy(to, snapshot->memory + page * HL__PAGE, HL__PAGE);
    else
        memset(to, 0, HL__PAGE);
}

/* Restores the pages whose bits are set, from `first_bit` of the bitmap on. Returns their number.
 */
static uint64_t restore_pages(hl_sandbox *sandbox, const hl_snapshot *snapshot,
                              const uint64_t *bitmap)
{
    uint64_t count = 0;
    for (size_t word = 0; word < hl__bitmap_words(sandbox->space->ram_size / HL__PAGE); word++)
        for (uint64_t bits = bitmap[word]; bits; bits &= bits - 1, count++)
            restore_page(sandbox, snapshot, word * 64 + (unsigned)__builtin_ctzll(bits));
    return count;
}

/* Lets pages drop out of the hot set. */
static hl_status rearm(hl_sandbox *sandbox, uint64_t dirty_count, size_t words, hl_error *err)
{
    const hl__driver *driver = sandbox->vm->driver;
    if (!driver->dirty_rearm ||
        (dirty_count <= HOT_PAGES_MAX && ++sandbox->restores_since_rearm < REARM_INTERVAL))
        return HL_OK;
    sandbox->restores_since_rearm = 0;
    return driver->dirty_rearm(sandbox->vm->driver_vm, HL__SLOT_RAM, sandbox->dirty, words, err);
}

/* Other members' dirtied pages in the same slot are theirs to restore: their bits are left hot. */
static uint64_t *own_dirty(const hl_sandbox *sandbox)
{
    return sandbox->dirty + sandbox->space->index * sandbox->space->ram_size / HL__PAGE / 64;
}

static hl_status restore_dirty(hl_sandbox *sandbox, const hl_snapshot *snapshot, hl_error *err)
{
    hl__space *space = sandbox->space;
    size_t all_words = hl__bitmap_words(sandbox->vm->ram_size / HL__PAGE),
           words = hl__bitmap_words(space->ram_size / HL__PAGE);
    uint64_t *dirty = own_dirty(sandbox), count;
    hl_status status = sandbox->vm->driver->dirty_collect(sandbox->vm->driver_vm, HL__SLOT_RAM,
                                                          sandbox->dirty, all_words, err);
    if (status)
        return status;
    for (size_t word = 0; word < words; word++)
        dirty[word] |= space->host_dirty[word];
    count = restore_pages(sandbox, snapshot, dirty);
    hl__snapshot_learn_dirty(snapshot, dirty, count);
    sandbox->stats.pages_restored += count;
    return sandbox->vm->config.members_max == 1 ? rearm(sandbox, count, all_words, err) : HL_OK;
}

/* Everything that either of them holds. */
static hl_status restore_all(hl_sandbox *sandbox, const hl_snapshot *snapshot, hl_error *err)
{
    hl__space *space = sandbox->space;
    hl_status status = hl__sandbox_track(sandbox, err);
    if (status)
        return status;
    for (size_t word = 0; word < hl__bitmap_words(space->ram_size / HL__PAGE); word++)
        space->host_dirty[word] = space->touched[word] | snapshot->pages[word];
    sandbox->stats.pages_restored += restore_pages(sandbox, snapshot, space->host_dirty);
    return HL_OK;
}

static void restore_tables(hl_sandbox *sandbox, const hl_snapshot *snapshot, const uint64_t *edited)
{
    hl__space_tables_load(sandbox->space, snapshot->tables, snapshot->table_count,
                          snapshot->tables_gpa, snapshot->ram_gpa, snapshot->tables_gpa - HL__PAGE,
                          edited);
}

static void restore_guest_state(hl_sandbox *sandbox, const hl_snapshot *snapshot)
{
    hl__space *space = sandbox->space;
    size_t words = hl__bitmap_words(space->ram_size / HL__PAGE);
    memcpy(space->touched, snapshot->touched, words * sizeof(uint64_t));
    memset(space->host_dirty, 0, words * sizeof(uint64_t));
    space->ram_free_offset = snapshot->ram_free_offset;
    hl__exports_ref(snapshot->guest.exports);
    hl__exports_unref(sandbox->guest.exports);
    sandbox->guest = snapshot->guest;
    sandbox->entry = HL__ENTRY_WAKE;
}

static hl_status restore(hl_sandbox *sandbox, const hl_snapshot *snapshot, hl_error *err)
{
    bool near = sandbox->baseline == snapshot;
    hl_status status =
        near ? restore_dirty(sandbox, snapshot, err) : restore_all(sandbox, snapshot, err);
    if (status)
        return status;
    hl__space_transfer_drop(sandbox->space);
    restore_tables(sandbox, snapshot, near ? sandbox->space->tables_edited : NULL);
    restore_guest_state(sandbox, snapshot);
    if (!near)
        hl__sandbox_set_baseline(sandbox, snapshot);
    hl__wake_write(sandbox, &status, err);
    return status;
}

/* Room for tables depends on the options of a sandbox. */
static hl_status check_tables(const hl__space *space, const hl_snapshot *snapshot, hl_error *err)
{
    if (snapshot->table_count <= space->tables_max)
        return HL_OK;
    return hl__error_set(err, HL_INCOMPATIBLE_SNAPSHOT, "hl_sandbox_restore",
                         "the snapshot needs %u page tables, the sandbox has room for %u; give it "
                         "the request_size_max of the snapshot's sandbox",
                         snapshot->table_count, space->tables_max);
}

static hl_status check_compatible(const hl_sandbox *sandbox, const hl_snapshot *snapshot,
                                  hl_error *err)
{
    if (!hl__program_same(sandbox->vm->program, snapshot->program))
        return hl__error_set(err, HL_INCOMPATIBLE_SNAPSHOT, "hl_sandbox_restore",
                             "the snapshot is of the program '%s', the sandbox runs '%s'",
                             snapshot->program->name, sandbox->vm->program->name);
    if (snapshot->memory_size != sandbox->space->ram_size)
        return hl__error_set(err, HL_INCOMPATIBLE_SNAPSHOT, "hl_sandbox_restore",
                             "the snapshot has %llu bytes of memory, the sandbox %llu",
                             (unsigned long long)snapshot->memory_size,
                             (unsigned long long)sandbox->space->ram_size);
    return check_tables(sandbox->space, snapshot, err);
}

hl_status hl_sandbox_restore(hl_sandbox *sandbox, const hl_snapshot *snapshot, hl_error *err)
{
    if (!sandbox || !snapshot)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_restore",
                             "sandbox and snapshot must not be NULL");
    hl_status status = check_compatible(sandbox, snapshot, err);
    if (status)
        return status;
    hl_sandbox_state before = hl_sandbox_status(sandbox);
    if ((status = hl__sandbox_claim(sandbox, true, "hl_sandbox_restore", err)))
        return status;
    status = restore(sandbox, snapshot, err);
    sandbox->stats.restores += !status;
    if (status == HL_OUT_OF_MEMORY)
        hl__sandbox_release(sandbox, before);
    else
        hl__sandbox_release(sandbox, status ? HL_SANDBOX_POISONED : HL_SANDBOX_READY);
    return status;
}

/* Gives the sandbox its copies of pages that are likely to be written, while nothing is mapped yet: cheaper
 * than a fault in the guest. */
static void pretouch(const hl_sandbox *sandbox, const hl_snapshot *snapshot)
{
    uint64_t pages = snapshot->memory_size / HL__PAGE, left = PRETOUCH_PAGES_MAX;
    for (uint64_t page = 0; page < pages && left > 0;) {
        uint64_t word =
            atomic_load_explicit(&snapshot->hot[page / 64], memory_order_relaxed) >> page % 64;
        if (!word) {
            page = (page / 64 + 1) * 64;
            continue;
        }
        page += (unsigned)__builtin_ctzll(word);
        word >>= __builtin_ctzll(word);
        uint64_t run = word == UINT64_MAX ? 64 : (unsigned)__builtin_ctzll(~word);
        run = run < left ? run : left;
        hl__os_memory_populate(sandbox->space->ram + page * HL__PAGE, run * HL__PAGE);
        page += run;
        left -= run;
    }
}

hl_status hl__sandbox_from_snapshot_in(hl__vm *vm, const hl_snapshot *snapshot,
                                       const hl_sandbox_options *options, hl_sandbox **out,
                                       hl_error *err)
{
    hl_sandbox *sandbox;
    hl_status status = hl__sandbox_new_in(vm, options, &sandbox, err);
    if (status)
        return status;
    if ((status = check_tables(sandbox->space, snapshot, err))) {
        hl_sandbox_free(sandbox);
        return status;
    }
    hl__os_memory_populate(sandbox->space->tables, snapshot->table_count * HL__PAGE);
    restore_tables(sandbox, snapshot, NULL);
    hl__space_forget_changes(sandbox->space);
    restore_guest_state(sandbox, snapshot);
    if (!(status = hl__sandbox_track(sandbox, err)))
        hl__wake_write(sandbox, &status, err);
    if (status) {
        hl_sandbox_free(sandbox);
        return status;
    }
    hl__sandbox_set_baseline(sandbox, snapshot);
    pretouch(sandbox, snapshot);
    *out = sandbox;
    return HL_OK;
}

/* A sandbox in a VM that an earlier one of the snapshot left. *out stays NULL if there is none that is
 * fit. */
static hl_status recycled(const hl_snapshot *snapshot, const hl_sandbox_options *options,
                          hl_sandbox **out, hl_error *err)
{
    hl_snapshot *keeper = (hl_snapshot *)snapshot; /* what it keeps is no part of it */
    const hl__vm_config config = hl__sandbox_vm_config(options);
    hl_sandbox *sandbox;
    hl_status status = hl__sandbox_alloc(snapshot->context, options, &sandbox, err);
    if (status)
        return status;
    if (hl__husk_take(keeper, &config, sandbox)) {
        hl__sandbox_set_baseline(sandbox, snapshot);
        status = restore(sandbox, snapshot, NULL);
        sandbox->stats.pages_restored = 0;
        if (!status) {
            *out = sandbox;
            return HL_OK;
        }
        /* A hypervisor that failed here may do better with a new VM. */
        atomic_store(&sandbox->state, HL_SANDBOX_POISONED);
    }
    hl__sandbox_destroy(sandbox);
    return HL_OK;
}

hl_status hl__sandbox_from_snapshot_fresh(const hl_snapshot *snapshot,
                                          const hl_sandbox_options *options, hl_sandbox **sandbox,
                                          hl_error *err)
{
    hl__vm *vm;
    hl_status status = hl__sandbox_vm_new(snapshot->program, options, &snapshot->file, &vm, err);
    if (status)
        return status;
    if (!(status = hl__sandbox_from_snapshot_in(vm, snapshot, options, sandbox, err)))
        (*sandbox)->learning = true;
    hl__vm_unref(vm);
    return status;
}

hl_status hl_sandbox_from_snapshot(const hl_snapshot *snapshot, const hl_sandbox_options *options,
                                   hl_sandbox **sandbox, hl_error *err)
{
    hl_sandbox_options resolved;
    hl_status status;
    if (!snapshot || !sandbox)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_from_snapshot",
                             "snapshot and sandbox must not be NULL");
    if ((status = hl__sandbox_options_inherit(options, &snapshot->options, &resolved, err)) ||
        (status = hl__context_check(snapshot->context, err)))
        return status;
    hl_sandbox *made = NULL;
    if ((status = recycled(snapshot, &resolved, &made, err)))
        return status;
    if (made) {
        *sandbox = made;
        return HL_OK;
    }
    return hl__sandbox_from_snapshot_fresh(snapshot, &resolved, sandbox, err);
}
