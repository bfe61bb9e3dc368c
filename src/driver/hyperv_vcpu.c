/* What vCPUs of Hyper-V's drivers share: registers that wait for an entry, and half-done instructions. */
#include "driver/hyperv.h"

#include <string.h>

/* Registers for one request */

void hl__hyperv_batch_number(struct hl__hyperv_batch *batch, uint32_t name, uint64_t number)
{
    batch->names[batch->count] = name;
    batch->values[batch->count] = (union hl__hyperv_value){.words = {number}};
    batch->count++;
}

void hl__hyperv_batch_system(struct hl__hyperv_batch *batch, const uint32_t *names,
                             const struct hl__system_state *system)
{
    memcpy(batch->names + batch->count, names, HL__HYPERV_SYSTEM_COUNT * sizeof *names);
    hl__hyperv_system_to(system, batch->values + batch->count);
    batch->count += HL__HYPERV_SYSTEM_COUNT;
}

void hl__hyperv_batch_zeroes(struct hl__hyperv_batch *batch, const uint32_t *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        hl__hyperv_batch_number(batch, names[i], 0);
}

/* What waits for the next entry */

void hl__hyperv_state_set(struct hl__hyperv_waiting *waiting, uint32_t groups,
                          const struct hl__cpu_state *state)
{
    if (groups & HL__STATE_GENERAL) {
        waiting->state.general = state->general;
        hl__hyperv_finished(waiting); /* it is abandoned */
    }
    if (groups & HL__STATE_SYSTEM)
        waiting->state.system = state->system;
    waiting->groups |= groups & (HL__STATE_GENERAL | HL__STATE_SYSTEM | HL__STATE_EVENTS);
}

uint32_t hl__hyperv_state_get(const struct hl__hyperv_waiting *waiting, uint32_t groups,
                              struct hl__cpu_state *state)
{
    if (groups & waiting->groups & HL__STATE_GENERAL)
        state->general = waiting->state.general;
    if (groups & waiting->groups & HL__STATE_SYSTEM)
        state->system = waiting->state.system;
    if (groups & waiting->groups & HL__STATE_EVENTS)
        state->event_pending = false;
    return groups & ~waiting->groups;
}

void hl__hyperv_finished(struct hl__hyperv_waiting *waiting)
{
    waiting->length = waiting->read_size = 0;
}

void hl__hyperv_decode_port(struct hl__hyperv_waiting *waiting,
                            const struct hl__hyperv_port_access *access, struct hl__exit *exit)
{
    *exit = (struct hl__exit){
        .kind = HL__EXIT_PORT,
        .is_write = access->is_write,
        .port = access->port,
        .size = access->size,
    };
    if (access->is_string) /* registers are set before the next run */
        return;
    if (!access->length) { /* it would be run for ever */
        *exit = (struct hl__exit){.kind = HL__EXIT_FAILED, .reason = access->reason};
        return;
    }
    if (access->is_write && access->size == sizeof exit->value) {
        exit->kind = HL__EXIT_DOORBELL;
        exit->value = (uint32_t)access->rax;
    }
    waiting->rip = access->rip;
    waiting->rax = access->rax;
    waiting->length = access->length;
    waiting->read_size = access->is_write ? 0 : access->size;
}
