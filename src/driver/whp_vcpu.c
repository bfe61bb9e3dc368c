/*
 * vCPUs of WHP: entering them, decoding exits, kicks, and moving registers.
 *
 * state_set() keeps registers in `waiting` until the next run, which hands them over in one call.
 * Hyper-V leaves every instruction that exits to us.
 */
#include "driver/whp_internal.h"

#include "os/os.h"
#include "util/error.h"

#include <string.h>

static const struct whp_functions *const whp = &hl__whp_host.functions;

static const uint32_t system_names[HL__HYPERV_SYSTEM_COUNT] = {
    [HL__HYPERV_ES] = WHvX64RegisterEs,     [HL__HYPERV_CS] = WHvX64RegisterCs,
    [HL__HYPERV_SS] = WHvX64RegisterSs,     [HL__HYPERV_DS] = WHvX64RegisterDs,
    [HL__HYPERV_FS] = WHvX64RegisterFs,     [HL__HYPERV_GS] = WHvX64RegisterGs,
    [HL__HYPERV_LDTR] = WHvX64RegisterLdtr, [HL__HYPERV_TR] = WHvX64RegisterTr,
    [HL__HYPERV_IDTR] = WHvX64RegisterIdtr, [HL__HYPERV_GDTR] = WHvX64RegisterGdtr,
    [HL__HYPERV_CR0] = WHvX64RegisterCr0,   [HL__HYPERV_CR2] = WHvX64RegisterCr2,
    [HL__HYPERV_CR3] = WHvX64RegisterCr3,   [HL__HYPERV_CR4] = WHvX64RegisterCr4,
    [HL__HYPERV_EFER] = WHvX64RegisterEfer,
};

/* All that can be pending; each is nothing if it is 0. */
static const uint32_t event_names[] = {WHvRegisterPendingInterruption, WHvRegisterInterruptState,
                                       WHvRegisterPendingEvent, WHvRegisterInternalActivityState};
enum { EVENT_COUNT = sizeof event_names / sizeof *event_names };
static const uint32_t pending_names[] = {WHvRegisterPendingInterruption, WHvRegisterPendingEvent};
enum { PENDING_COUNT = sizeof pending_names / sizeof *pending_names };

_Static_assert(sizeof(union hl__hyperv_value) == sizeof(WHV_REGISTER_VALUE) &&
                   sizeof(uint32_t) == sizeof(WHV_REGISTER_NAME),
               "same layout");
_Static_assert(WHvX64RegisterRip == WHvX64RegisterRax + HL__HYPERV_RIP &&
                   WHvX64RegisterRdi == WHvX64RegisterRax + HL__HYPERV_RDI,
               "same order");

static hl_status whp_registers_set(const struct whp_vcpu *vcpu,
                                   const struct hl__hyperv_batch *batch, hl_error *err)
{
    if (!batch->count)
        return HL_OK;
    (*vcpu->counter)++;
    HRESULT result = whp->WHvSetVirtualProcessorRegisters(
        vcpu->partition, vcpu->index, (const WHV_REGISTER_NAME *)(const void *)batch->names,
        batch->count, (const WHV_REGISTER_VALUE *)(const void *)batch->values);
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvSetVirtualProcessorRegisters",
                             "cannot set registers");
    return HL_OK;
}

static hl_status whp_registers_get(const struct whp_vcpu *vcpu, struct hl__hyperv_batch *batch,
                                   hl_error *err)
{
    (*vcpu->counter)++;
    HRESULT result = whp->WHvGetVirtualProcessorRegisters(
        vcpu->partition, vcpu->index, (const WHV_REGISTER_NAME *)(const void *)batch->names,
        batch->count, (WHV_REGISTER_VALUE *)(void *)batch->values);
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvGetVirtualProcessorRegisters",
                             "cannot read registers");
    return HL_OK;
}

/* Creation */

static hl_status whp_vcpu_open(const struct whp_vm *vm, struct whp_vcpu *vcpu, hl_error *err)
{
    HRESULT result = whp->WHvCreateVirtualProcessor(vm->partition, vcpu->index, 0);
    (*vm->counter)++;
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvCreateVirtualProcessor", "cannot create a vCPU");
    vcpu->partition = vm->partition;
    return HL_OK;
}

hl_status hl__whp_vcpu_set_xcr0(const struct whp_vcpu *vcpu, uint64_t value, hl_error *err)
{
    struct hl__hyperv_batch batch;
    batch.count = 0;
    hl__hyperv_batch_number(&batch, WHvX64RegisterXCr0, value);
    return whp_registers_set(vcpu, &batch, err);
}

/* Gives it what it has from birth: XCR0, the MSRs of `syscall`, and the host's time-stamp counter. */
static hl_status whp_vcpu_set_birth_state(const struct whp_vcpu *vcpu,
                                          const struct hl__vcpu_setup *setup, hl_error *err)
{
    struct hl__hyperv_batch batch;
    batch.count = 0;
    if (hl__whp_host.xcr0)
        hl__hyperv_batch_number(&batch, WHvX64RegisterXCr0, hl__whp_host.xcr0);
    hl__hyperv_batch_number(&batch, WHvX64RegisterStar, setup->star);
    hl__hyperv_batch_number(&batch, WHvX64RegisterLstar, setup->lstar);
    hl__hyperv_batch_number(&batch, WHvX64RegisterSfmask, setup->syscall_mask);
    hl__hyperv_batch_number(&batch, WHvX64RegisterTsc, hl__os_tsc());
    return whp_registers_set(vcpu, &batch, err);
}

hl_status hl__whp_vcpu_create(void *vm_state, void *vcpu_state, uint32_t index,
                              const struct hl__vcpu_setup *setup, hl_error *err)
{
    const struct whp_vm *vm = vm_state;
    struct whp_vcpu *vcpu = vcpu_state;
    *vcpu = (struct whp_vcpu){.index = index, .counter = vm->counter};
    hl_status status = whp_vcpu_open(vm, vcpu, err);
    if (status == HL_OK)
        status = whp_vcpu_set_birth_state(vcpu, setup, err);
    if (status != HL_OK)
        hl__whp_vcpu_destroy(vcpu);
    return status;
}

void hl__whp_vcpu_destroy(void *state)
{
    struct whp_vcpu *vcpu = state;
    if (vcpu->partition) {
        whp->WHvDeleteVirtualProcessor(vcpu->partition, vcpu->index);
        (*vcpu->counter)++;
    }
    vcpu->partition = NULL;
}

/* Completing instructions */

static void whp_finish(const struct whp_vcpu *vcpu, struct hl__hyperv_batch *batch)
{
    uint64_t rip, rax;
    hl__hyperv_finish(&vcpu->waiting, &rip, &rax);
    hl__hyperv_batch_number(batch, WHvX64RegisterRip, rip);
    if (vcpu->waiting.read_size)
        hl__hyperv_batch_number(batch, WHvX64RegisterRax, rax);
}

hl_status hl__whp_retire(void *state, hl_error *err)
{
    struct whp_vcpu *vcpu = state;
    struct hl__hyperv_batch batch;
    batch.count = 0;
    if (!vcpu->waiting.length)
        return HL_OK;
    whp_finish(vcpu, &batch);
    hl_status status = whp_registers_set(vcpu, &batch, err);
    if (status == HL_OK)
        hl__hyperv_finished(&vcpu->waiting);
    return status;
}

/* Registers */

void hl__whp_state_set(void *state, uint32_t groups, const struct hl__cpu_state *from)
{
    struct whp_vcpu *vcpu = state;
    hl__hyperv_state_set(&vcpu->waiting, groups, from);
}

static hl_status whp_fetch_general(const struct whp_vcpu *vcpu, struct hl__general_state *general,
                                   hl_error *err)
{
    uint64_t numbers[HL__HYPERV_GENERAL_COUNT];
    struct hl__hyperv_batch batch;
    batch.count = 0;
    for (unsigned i = 0; i < HL__HYPERV_GENERAL_COUNT; i++)
        hl__hyperv_batch_number(&batch, WHvX64RegisterRax + i, 0);
    hl_status status = whp_registers_get(vcpu, &batch, err);
    if (status != HL_OK)
        return status;
    for (unsigned i = 0; i < HL__HYPERV_GENERAL_COUNT; i++)
        numbers[i] = batch.values[i].number;
    hl__hyperv_general_from(numbers, general);
    return HL_OK;
}

static hl_status whp_fetch_system(const struct whp_vcpu *vcpu, struct hl__system_state *system,
                                  hl_error *err)
{
    struct hl__hyperv_batch batch;
    batch.count = 0;
    hl__hyperv_batch_zeroes(&batch, system_names, HL__HYPERV_SYSTEM_COUNT);
    hl_status status = whp_registers_get(vcpu, &batch, err);
    if (status == HL_OK)
        hl__hyperv_system_from(batch.values, system);
    return status;
}

/* Bit 0 of what can be pending says that it is. */
static hl_status whp_fetch_events(const struct whp_vcpu *vcpu, bool *pending, hl_error *err)
{
    struct hl__hyperv_batch batch;
    batch.count = 0;
    hl__hyperv_batch_zeroes(&batch, pending_names, PENDING_COUNT);
    hl_status status = whp_registers_get(vcpu, &batch, err);
    *pending = false;
    for (unsigned i = 0; i < PENDING_COUNT && status == HL_OK; i++)
        *pending |= batch.values[i].number & 1;
    return status;
}

static hl_status whp_fetch_vector(const struct whp_vcpu *vcpu, uint8_t *vector, hl_error *err)
{
    uint8_t area[HL__HYPERV_VECTOR_SIZE] __attribute__((aligned(64)));
    UINT32 size = 0;
    (*vcpu->counter)++;
    HRESULT result = whp->WHvGetVirtualProcessorXsaveState(vcpu->partition, vcpu->index, area,
                                                           sizeof area, &size);
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvGetVirtualProcessorXsaveState",
                             "cannot read vector state");
    hl__hyperv_vector_expand(area, size < sizeof area ? size : sizeof area, vector);
    return HL_OK;
}

hl_status hl__whp_state_get(void *state, uint32_t groups, struct hl__cpu_state *to, hl_error *err)
{
    const struct whp_vcpu *vcpu = state;
    uint32_t missing = hl__hyperv_state_get(&vcpu->waiting, groups, to);
    hl_status status = HL_OK;
    if (missing & HL__STATE_GENERAL)
        status = whp_fetch_general(vcpu, &to->general, err);
    if (missing & HL__STATE_SYSTEM && status == HL_OK)
        status = whp_fetch_system(vcpu, &to->system, err);
    if (missing & HL__STATE_EVENTS && status == HL_OK)
        status = whp_fetch_events(vcpu, &to->event_pending, err);
    if (missing & HL__STATE_VECTOR && status == HL_OK)
        status = whp_fetch_vector(vcpu, to->vector, err);
    return status;
}

static void whp_send_general(const struct whp_vcpu *vcpu, struct hl__hyperv_batch *batch)
{
    uint64_t numbers[HL__HYPERV_GENERAL_COUNT];
    hl__hyperv_general_to(&vcpu->waiting.state.general, numbers);
    for (unsigned i = 0; i < HL__HYPERV_GENERAL_COUNT; i++)
        hl__hyperv_batch_number(batch, WHvX64RegisterRax + i, numbers[i]);
}

/* Hands over the registers that wait, and what is left of an instruction. */
static hl_status whp_send(struct whp_vcpu *vcpu, hl_error *err)
{
    struct hl__hyperv_waiting *waiting = &vcpu->waiting;
    struct hl__hyperv_batch batch;
    batch.count = 0;
    if (waiting->length)
        whp_finish(vcpu, &batch);
    if (waiting->groups & HL__STATE_GENERAL)
        whp_send_general(vcpu, &batch);
    if (waiting->groups & HL__STATE_SYSTEM)
        hl__hyperv_batch_system(&batch, system_names, &waiting->state.system);
    if (waiting->groups & HL__STATE_EVENTS)
        hl__hyperv_batch_zeroes(&batch, event_names, EVENT_COUNT);
    hl_status status = whp_registers_set(vcpu, &batch, err);
    if (status == HL_OK) {
        waiting->groups = 0;
        hl__hyperv_finished(waiting);
    }
    return status;
}

/* Running */

/* A cancel without a run under way might end a later one. */
void hl__whp_kick(void *state)
{
    struct whp_vcpu *vcpu = state;
    atomic_store(&vcpu->kicked, true);
    if (atomic_load(&vcpu->running))
        (void)whp->WHvCancelRunVirtualProcessor(vcpu->partition, vcpu->index, 0);
}

/* Consumes a kick. */
static void whp_interrupted(struct whp_vcpu *vcpu, struct hl__exit *exit)
{
    atomic_store(&vcpu->kicked, false);
    *exit = (struct hl__exit){.kind = HL__EXIT_INTERRUPTED};
}

static void whp_decode_port(struct whp_vcpu *vcpu, const WHV_RUN_VP_EXIT_CONTEXT *context,
                            struct hl__exit *exit)
{
    const WHV_X64_IO_PORT_ACCESS_CONTEXT *port = &context->IoPortAccess;
    const struct hl__hyperv_port_access access = {
        .rip = context->VpContext.Rip,
        .rax = port->Rax,
        .reason = (uint32_t)context->ExitReason,
        .port = port->PortNumber,
        .size = port->AccessInfo.AccessSize,
        .length = context->VpContext.InstructionLength,
        .is_write = port->AccessInfo.IsWrite,
        .is_string = port->AccessInfo.StringOp,
    };
    hl__hyperv_decode_port(&vcpu->waiting, &access, exit);
}

static void whp_decode_memory(const WHV_MEMORY_ACCESS_CONTEXT *memory, struct hl__exit *exit)
{
    *exit = (struct hl__exit){
        .kind = HL__EXIT_MEMORY,
        .is_write = memory->AccessInfo.AccessType == WHvMemoryAccessWrite,
        .address = memory->Gpa,
    };
}

static void whp_decode_exit(struct whp_vcpu *vcpu, const WHV_RUN_VP_EXIT_CONTEXT *context,
                            struct hl__exit *exit)
{
    switch (context->ExitReason) {
    case WHvRunVpExitReasonX64IoPortAccess:
        whp_decode_port(vcpu, context, exit);
        return;
    case WHvRunVpExitReasonMemoryAccess:
        whp_decode_memory(&context->MemoryAccess, exit);
        return;
    case WHvRunVpExitReasonX64Halt:
        *exit = (struct hl__exit){.kind = HL__EXIT_HALT};
        return;
    case WHvRunVpExitReasonUnrecoverableException:
        *exit = (struct hl__exit){.kind = HL__EXIT_SHUTDOWN};
        return;
    case WHvRunVpExitReasonCanceled:
        whp_interrupted(vcpu, exit);
        return;
    default:
        *exit = (struct hl__exit){.kind = HL__EXIT_FAILED, .reason = (uint32_t)context->ExitReason};
    }
}

hl_status hl__whp_run(void *state, struct hl__exit *exit, hl_error *err)
{
    struct whp_vcpu *vcpu = state;
    WHV_RUN_VP_EXIT_CONTEXT context;
    hl_status status = whp_send(vcpu, err);
    if (status != HL_OK)
        return status;
    atomic_store(&vcpu->running, true);
    if (atomic_load(&vcpu->kicked)) {
        atomic_store(&vcpu->running, false);
        whp_interrupted(vcpu, exit);
        return HL_OK;
    }
    HRESULT result =
        whp->WHvRunVirtualProcessor(vcpu->partition, vcpu->index, &context, sizeof context);
    atomic_store(&vcpu->running, false);
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvRunVirtualProcessor", "WHP cannot run the guest");
    whp_decode_exit(vcpu, &context, exit);
    return HL_OK;
}
