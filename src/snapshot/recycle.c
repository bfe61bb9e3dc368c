/*
 * VMs of sandboxes that are gone, kept for the next sandbox of the same snapshot: taking one back to the
 * snapshot costs a copy of what it dirtied, where a new VM costs its making and a fault for each page that
 * its guest touches. A place in the snapshot holds one, and is taken and filled with a single exchange.
 */
#include "snapshot/snapshot.h"
#include <stdlib.h>

/* What is left of a sandbox: its VM and address space, whose memory is the snapshot's but for what got
 * dirty. */
struct hl__husk {
    hl__vm *vm;
    hl__space *space;
    uint64_t *dirty;
    uint32_t restores_since_rearm;
};

static void husk_free(struct hl__husk *husk)
{
    if (!husk)
        return;
    hl__space_free(husk->space); /* with it goes the VM */
    free(husk->dirty);
    free(husk);
}

/* Only one that came to rest or to its end in good order; a failure of the hypervisor poisons. */
static bool worth_keeping(const hl_sandbox *sandbox)
{
    hl_sandbox_state state = atomic_load(&sandbox->state);
    return sandbox->baseline && sandbox->space && sandbox->dirty && sandbox->vm->config.tracked &&
           sandbox->vm->config.members_max == 1 &&
           (state == HL_SANDBOX_READY || state == HL_SANDBOX_FINISHED) &&
           hl__context_check(sandbox->context, NULL) == HL_OK;
}

bool hl__husk_keep(hl_sandbox *sandbox)
{
    if (!worth_keeping(sandbox))
        return false;
    struct hl__husk *husk = malloc(sizeof *husk);
    if (!husk)
        return false;
    *husk = (struct hl__husk){sandbox->vm, sandbox->space, sandbox->dirty,
                              sandbox->restores_since_rearm};
    husk->space->control = NULL; /* it goes with its sandbox */
    size_t places = atomic_load(&sandbox->baseline->husks_max);
    for (size_t i = 0; i < places; i++) {
        struct hl__husk *none = NULL;
        if (atomic_compare_exchange_strong(&sandbox->baseline->husks[i], &none, husk))
            return true;
    }
    husk->space->control = sandbox->control;
    free(husk);
    return false;
}

static bool fits(const struct hl__husk *husk, const hl__vm_config *config)
{
    return husk->vm->config.memory_size == config->memory_size &&
           husk->vm->config.transfer_size_max == config->transfer_size_max;
}

bool hl__husk_take(hl_snapshot *snapshot, const hl__vm_config *config, hl_sandbox *sandbox)
{
    struct hl__husk *husk = NULL;
    for (size_t i = 0; i < HL_PREWARM_MAX && !husk; i++)
        if (atomic_load_explicit(&snapshot->husks[i], memory_order_relaxed))
            husk = atomic_exchange(&snapshot->husks[i], NULL);
    if (!husk)
        return false;
    if (!fits(husk, config)) {
        husk_free(husk);
        return false;
    }
    husk->vm->driver_calls = 0;
    husk->space->edit_count = husk->space->flush_count = 0;
    husk->space->control = sandbox->control;
    sandbox->vm = husk->vm;
    sandbox->space = husk->space;
    sandbox->dirty = husk->dirty;
    sandbox->restores_since_rearm = husk->restores_since_rearm;
    free(husk);
    return true;
}

size_t hl__husks_count(const hl_snapshot *snapshot)
{
    size_t count = 0;
    for (size_t i = 0; i < HL_PREWARM_MAX; i++)
        count += atomic_load_explicit(&snapshot->husks[i], memory_order_relaxed) != NULL;
    return count;
}

void hl__husks_free(hl_snapshot *snapshot)
{
    for (size_t i = 0; i < HL_PREWARM_MAX; i++)
        husk_free(atomic_exchange(&snapshot->husks[i], NULL));
}
