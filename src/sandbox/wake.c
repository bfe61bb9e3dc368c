/* The wake record: generation, time and seed that the host gives a guest, the one thing that
 * differs after a restore. */
#include "sandbox/sandbox.h"

/* How old the clock's base may get, in ns, before a call brings it up to date. */
#define REFRESH_AFTER_NS UINT64_C(1000000000)

static uint64_t next_generation(hl_status *status, hl_error *err)
{
    static _Atomic uint64_t counter;
    uint64_t start = atomic_load(&counter);
    if (start == 0) {
        uint64_t random = 0;
        *status = hl__os_random(&random, sizeof random, err);
        atomic_compare_exchange_strong(&counter, &start, random | 1);
    }
    return atomic_fetch_add(&counter, 1);
}

static void write_times(hl_sandbox *sandbox, uint64_t realtime_ns)
{
    struct hl_abi_wake *wake = sandbox->space->wake;
    wake->sequence++;
    wake->tsc_base = hl__os_tsc();
    wake->monotonic_ns = hl__os_monotonic_ns();
    wake->realtime_ns = realtime_ns;
    wake->sequence++;
}

/* Ticks to ns as a multiplication and a shift, as exact as 32 bits allow. */
static void write_rate(struct hl_abi_wake *wake, uint64_t tsc_khz)
{
    uint32_t shift = 32;
    uint64_t multiplier = (UINT64_C(1000000) << shift) / tsc_khz;
    while (multiplier > UINT32_MAX) {
        multiplier >>= 1;
        shift--;
    }
    wake->tsc_multiplier = (uint32_t)multiplier;
    wake->tsc_shift = shift;
}

void hl__wake_write(hl_sandbox *sandbox, hl_status *status, hl_error *err)
{
    struct hl_abi_wake *wake = sandbox->space->wake;
    const hl_sandbox_options *options = &sandbox->options;
    *status = HL_OK;
    wake->generation = next_generation(status, err);
    wake->syscall_stays = sandbox->context->machine.syscall_stays;
    write_rate(wake, sandbox->context->machine.tsc_khz);
    write_times(sandbox,
                options->clock == HL_CLOCK_FIXED ? options->clock_start_ns : hl__os_realtime_ns());
    if (options->seed_fixed)
        memcpy(wake->seed, options->seed, sizeof wake->seed);
    else if (!*status)
        *status = hl__os_random(wake->seed, sizeof wake->seed, err);
}

/* Brings the clock of a long-lived sandbox up to date. */
static void refresh(hl_sandbox *sandbox)
{
    const struct hl_abi_wake *wake = sandbox->space->wake;
    uint64_t ticks = hl__os_tsc() - wake->tsc_base;
    if (sandbox->options.clock == HL_CLOCK_HOST &&
        ticks / 1000 > sandbox->context->machine.tsc_khz * (REFRESH_AFTER_NS / 1000000) / 1000)
        write_times(sandbox, hl__os_realtime_ns());
}

/* How long the counter is believed after a look at the clock, and how much time the look may take. */
#define BELIEVED_MS 100
#define LOOK_US 20

uint64_t hl__clock_look(hl_sandbox *sandbox)
{
    uint64_t khz = sandbox->context->machine.tsc_khz, before = hl__os_tsc();
    struct hl__clock *clock = &sandbox->clock;
    clock->ns = hl__os_monotonic_ns();
    clock->tsc = hl__os_tsc();
    clock->ns_per_tick = (UINT64_C(1000000) << 32) / khz;
    clock->ticks_max = clock->tsc - before < khz * LOOK_US / 1000 ? khz * BELIEVED_MS : 0;
    refresh(sandbox);
    return clock->ns;
}
