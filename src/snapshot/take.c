/* Taking a snapshot: a copy of what the guest's memory holds, and the tables that map it. */
#include "snapshot/snapshot.h"
#include "util/error.h"
#include <stdlib.h>

static bool page_is_zero(const uint8_t *page)
{
    const uint64_t *words = (const uint64_t *)page;
    for (size_t i = 0; i < HL__PAGE / sizeof *words; i++)
        if (words[i])
            return false;
    return true;
}

/* Notes which pages hold something, and writes each run of them to the file. */
static hl_status copy_memory(hl_snapshot *snapshot, const hl__space *space, hl_error *err)
{
    uint64_t pages = space->ram_size / HL__PAGE;
    hl_status status = HL_OK;
    for (uint64_t page = 0, run = 0; page <= pages && !status; page++) {
        bool holds = page < pages && hl__bitmap_get(space->touched, page) &&
                     !page_is_zero(space->ram + page * HL__PAGE);
        if (holds) {
            hl__bitmap_set(snapshot->pages, page);
            snapshot->page_count++;
            run++;
        } else if (run) {
            status = hl__os_file_write(snapshot->file, (page - run) * HL__PAGE,
                                       space->ram + (page - run) * HL__PAGE, run * HL__PAGE, err);
            run = 0;
        }
    }
    return status;
}

static hl_status copy_tables(hl_snapshot *snapshot, const hl__space *space, hl_error *err)
{
    snapshot->tables = malloc(space->table_count * HL__PAGE);
    if (!snapshot->tables)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "hl_sandbox_snapshot",
                             "no memory for %u page tables", space->table_count);
    snapshot->table_count = space->table_count;
    snapshot->tables_gpa = space->tables_gpa;
    snapshot->ram_gpa = space->ram_gpa;
    snapshot->ram_free_offset = space->ram_free_offset;
    hl__space_tables_save(space, snapshot->tables);
    return HL_OK;
}

static hl_status copy_options(hl_snapshot *snapshot, const hl_sandbox *sandbox, hl_error *err)
{
    snapshot->options = sandbox->options;
    hl__host_functions_ref(snapshot->options.host_functions);
    snapshot->options.stdin_stream.data = NULL;
    if (!sandbox->stdin_data)
        return HL_OK;
    size_t size = sandbox->options.stdin_stream.data_size;
    snapshot->stdin_data = malloc(size);
    if (!snapshot->stdin_data)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "hl_sandbox_snapshot",
                             "no memory for %zu bytes of input", size);
    memcpy(snapshot->stdin_data, sandbox->stdin_data, size);
    snapshot->options.stdin_stream.data = snapshot->stdin_data;
    return HL_OK;
}

static hl_status make_file(hl_snapshot *snapshot, const hl__space *space, hl_error *err)
{
    hl_status status =
        hl__os_file_new("hyperlight-snapshot", space->ram_size, &snapshot->file, err);
    if (status)
        return status;
    if ((status = copy_memory(snapshot, space, err)) ||
        (status = hl__os_file_seal(snapshot->file, err)))
        return status;
    return hl__os_file_map(snapshot->file, 0, space->ram_size, false, (void **)&snapshot->memory,
                           err);
}

static hl_status fill(hl_snapshot *snapshot, const hl_sandbox *sandbox, hl_error *err)
{
    const hl__space *space = sandbox->space;
    size_t words = hl__bitmap_words(space->ram_size / HL__PAGE);
    hl_status status = hl__context_get(sandbox->context, &snapshot->context, err);
    if (status)
        return status;
    snapshot->memory_size = space->ram_size;
    snapshot->program = sandbox->vm->program;
    hl__program_ref(snapshot->program);
    snapshot->guest = sandbox->guest;
    hl__exports_ref(snapshot->guest.exports);
    snapshot->pages = calloc(words, sizeof *snapshot->pages);
    snapshot->touched = calloc(words, sizeof *snapshot->touched);
    if (!snapshot->pages || !snapshot->touched)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "hl_sandbox_snapshot",
                             "no memory for the bitmaps of a snapshot");
    memcpy(snapshot->touched, space->touched, words * sizeof *snapshot->touched);
    if ((status = copy_options(snapshot, sandbox, err)) ||
        (status = copy_tables(snapshot, space, err)) ||
        (status = hl__snapshot_hints_new(snapshot, err)))
        return status;
    return make_file(snapshot, space, err);
}

static void snapshot_destroy(hl_snapshot *snapshot)
{
    hl__husks_free(snapshot);
    hl__context_unmap(snapshot->context, (void *)snapshot->memory, snapshot->memory_size);
    hl__os_file_close(snapshot->file);
    hl__exports_unref(snapshot->guest.exports);
    hl_host_functions_free(snapshot->options.host_functions);
    hl_program_free(snapshot->program);
    hl__context_unref(snapshot->context);
    free(snapshot->stdin_data);
    free(snapshot->pages);
    free(snapshot->touched);
    free(snapshot->tables);
    hl__snapshot_hints_free(snapshot);
    free(snapshot);
}

/* From now on the sandbox's memory is the snapshot's but for what gets dirty. */
static hl_status make_baseline(hl_sandbox *sandbox, hl_snapshot *snapshot, hl_error *err)
{
    hl__space *space = sandbox->space;
    size_t words = hl__bitmap_words(space->ram_size / HL__PAGE);
    hl_status status = hl__sandbox_track(sandbox, err);
    if (status)
        return status;
    memset(space->host_dirty, 0, words * sizeof(uint64_t));
    memset(space->tables_edited, 0, hl__bitmap_words(space->tables_max) * sizeof(uint64_t));
    hl__sandbox_set_baseline(sandbox, snapshot);
    return HL_OK;
}

hl_status hl_sandbox_snapshot(hl_sandbox *sandbox, hl_snapshot **out, hl_error *err)
{
    if (!sandbox || !out)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_snapshot",
                             "sandbox and snapshot must not be NULL");
    hl_status status = hl__sandbox_claim(sandbox, false, "hl_sandbox_snapshot", err);
    if (status)
        return status;
    if (sandbox->guest.phase != HL__PHASE_RESTING) {
        hl__sandbox_release(sandbox, HL_SANDBOX_READY);
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_snapshot",
                             "the program has not been started");
    }
    hl_snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot) {
        hl__sandbox_release(sandbox, HL_SANDBOX_READY);
        return hl__error_set(err, HL_OUT_OF_MEMORY, "hl_sandbox_snapshot",
                             "no memory for a snapshot");
    }
    atomic_init(&snapshot->references, 1);
    atomic_init(&snapshot->husks_max, HL__HUSKS_DEFAULT);
    snapshot->file.descriptor = -1;
    hl__space_transfer_drop(sandbox->space);
    if ((status = fill(snapshot, sandbox, err)) || (status = make_baseline(sandbox, snapshot, err)))
        snapshot_destroy(snapshot);
    else
        *out = snapshot;
    hl__sandbox_release(sandbox, HL_SANDBOX_READY);
    return status;
}

void hl_snapshot_free(hl_snapshot *snapshot)
{
    if (snapshot && atomic_fetch_sub(&snapshot->references, 1) == 1)
        snapshot_destroy(snapshot);
}

uint64_t hl_snapshot_size(const hl_snapshot *snapshot)
{
    return snapshot ? snapshot->page_count * HL__PAGE : 0;
}
