/*
 * VMs made ahead. The hypervisor maps a page of a new VM when the guest first touches it, by a fault
 * that costs microseconds, and only the guest can bring that about: so a routine of the shim touches what
 * calls of earlier sandboxes touched, in a sandbox whose program does not run and which is then freed, to
 * leave its VM.
 */
#include "snapshot/snapshot.h"
#include "util/error.h"
#include "vm/x86_64/tables.h"

/* How many pages are touched at once, and how long all of it may take. */
enum { BATCH_MAX = HL_ABI_INLINE_SIZE / sizeof(uint64_t) };
#define TIMEOUT_NS UINT64_C(10000000000)

struct touching {
    hl_sandbox *sandbox;
    const hl_snapshot *snapshot;
    uint64_t addresses[BATCH_MAX];
    size_t count;
    hl_status status;
    hl_error *err;
};

/* Enters the guest until it has touched what the mailbox lists, or out of time. */
static hl_status enter(hl_sandbox *sandbox, hl_error *err)
{
    enum hl__entry entry = HL__ENTRY_TOUCH;
    struct hl__event event = {.kind = HL__EVENT_INTERRUPTED};
    hl_status status = HL_OK;
    while (!status && event.kind == HL__EVENT_INTERRUPTED && !hl__control_cause(sandbox->control)) {
        status = hl__vcpu_enter(sandbox->vm, sandbox->space, entry, sandbox->control, &event, err);
        entry = HL__ENTRY_CONTINUE;
    }
    if (!status && event.kind != HL__EVENT_CALL && event.kind != HL__EVENT_INTERRUPTED)
        status = hl__error_set(err, HL_SYSTEM, "hl_snapshot_prewarm",
                               "a page that the snapshot maps cannot be touched in a new VM");
    return status;
}

static void touch_batch(struct touching *touching)
{
    struct hl_abi_mailbox *mailbox =
        hl__space_mailbox(touching->sandbox->space, touching->count * sizeof(uint64_t));
    mailbox->call.arg[0] = touching->count;
    memcpy(mailbox->inline_message, touching->addresses, touching->count * sizeof(uint64_t));
    touching->count = 0;
    touching->status = enter(touching->sandbox, touching->err);
}

static bool is_written(const hl_snapshot *snapshot, const hl__space *space, uint64_t entry)
{
    uint64_t gpa = entry & HL__PTE_ADDRESS;
    return (entry & HL__PTE_WRITE) && hl__space_owns_ram(space, gpa) &&
           hl__snapshot_hint(snapshot->hot, (gpa - space->ram_gpa) / HL__PAGE);
}

static void touch(hl__space *space, uint32_t table, uint64_t *entry, uint64_t address, void *user)
{
    struct touching *touching = user;
    const hl_snapshot *snapshot = touching->snapshot;
    (void)table;
    if (touching->status || hl__control_cause(touching->sandbox->control) ||
        !hl__snapshot_hint(snapshot->accessed, (uint64_t)(entry - hl__table_entries(space, 0))))
        return;
    touching->addresses[touching->count++] = address | is_written(snapshot, space, *entry);
    if (touching->count == BATCH_MAX)
        touch_batch(touching);
}

/* What is not touched in time is left to the program. */
static hl_status touch_pages(hl_sandbox *sandbox, const hl_snapshot *snapshot, hl_error *err)
{
    struct touching touching = {.sandbox = sandbox, .snapshot = snapshot, .err = err};
    hl_status status =
        hl__control_begin(sandbox->control, hl__os_monotonic_ns() + TIMEOUT_NS, HL_UNLIMITED, err);
    if (status)
        return status;
    hl__tables_each(sandbox->space, 0, HL_ABI_SYSTEM_ADDRESS / HL__PAGE, touch, &touching);
    if (!touching.status && touching.count > 0)
        touch_batch(&touching);
    (void)hl__control_end(sandbox->control);
    return touching.status;
}

/* Leaves the VM of a sandbox that did nothing but touch its pages. */
static hl_status make_ready(const hl_snapshot *snapshot, const hl_sandbox_options *options,
                            hl_error *err)
{
    hl_sandbox *sandbox;
    hl_status status = hl__sandbox_from_snapshot_fresh(snapshot, options, &sandbox, err);
    if (status)
        return status;
    status = touch_pages(sandbox, snapshot, err);
    if (status)
        hl__sandbox_release(sandbox, HL_SANDBOX_POISONED);
    hl_sandbox_free(sandbox);
    return status;
}

hl_status hl_snapshot_prewarm(const hl_snapshot *snapshot, const hl_sandbox_options *options,
                              size_t count, hl_error *err)
{
    if (!snapshot || count > HL_PREWARM_MAX)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_snapshot_prewarm",
                             "snapshot must not be NULL, count is at most %d", HL_PREWARM_MAX);
    hl_sandbox_options resolved;
    hl_status status = hl__sandbox_options_inherit(options, &snapshot->options, &resolved, err);
    if (status || (status = hl__context_check(snapshot->context, err)))
        return status;
    hl_snapshot *keeper = (hl_snapshot *)snapshot; /* what it keeps is no part of it */
    atomic_store(&keeper->husks_max, count > HL__HUSKS_DEFAULT ? count : HL__HUSKS_DEFAULT);
    if (count == 0)
        hl__husks_free(keeper);
    for (size_t ready = hl__husks_count(snapshot); ready < count && !status; ready++)
        status = make_ready(snapshot, &resolved, err);
    return status;
}
