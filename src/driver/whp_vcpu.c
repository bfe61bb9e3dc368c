/*
 * vCPUs of WHP: entering them, decoding exits, kicks, and moving registers.
 *
 * state_set() keeps registers here until the next run, which hands them over in one call. Hyper-V
 * leaves every instruction that exits to us: `unfinished` tells what is left of it.
 */
#include "driver/whp_internal.h"

#include "os/os.h"
#include "util/error.h"

#include <string.h>

static const struct whp_functions *const whp = &hl__whp_host.functions;

static const WHV_REGISTER_NAME system_names[HL__HYPERV_SYSTEM_COUNT] = {
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
static const WHV_REGISTER_NAME event_names[] = {WHvRegisterPendingInterruption,
                                                WHvRegisterInterruptState, WHvRegisterPendingEvent,
                                                WHvRegisterInternalActivityState};
enum { EVENT_COUNT = sizeof event_names / sizeof *event_names };

_Static_assert(sizeof(union hl__hyperv_value) == sizeof(WHV_REGISTER_VALUE), "same layout");
_Static_assert(WHvX64RegisterRip == WHvX64RegisterRax + HL__HYPERV_RIP &&
                   WHvX64RegisterRdi == WHvX64RegisterRax + HL__HYPERV_RDI,
               "same order");

/* Registers for one call. */
struct batch {
    uint32_t count;
    WHV_REGISTER_NAME names[64];
    union hl__hyperv_value values[64] __attribute__((aligned(16)));
};

static void batch_add(struct batch *batch, WHV_REGISTER_NAME name, uint64_t value)
{
    batch->names[batch->count] = name;
    batch->values[batch->count] = (union hl__hyperv_value){.words = {value}};
    batch->count++;
}

static hl_status whp_registers_set(const struct whp_vcpu *vcpu, const struct batch *batch,
                                   hl_error *err)
{
    (*vcpu->counter)++;
    HRESULT result = whp->WHvSetVirtualProcessorRegisters(
        vcpu->partition, vcpu->index, batch->names, batch->count,
        (const WHV_REGISTER_VALUE *)(const void *)batch->values);
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvSetVirtualProcessorRegisters",
                             "cannot set registers");
    return HL_OK;
}

static hl_status whp_registers_get(const struct whp_vcpu *vcpu, struct batch *batch, hl_error *err)
{
    (*vcpu->counter)++;
    HRESULT result = whp->WHvGetVirtualProcessorRegisters(
        vcpu->partition, vcpu->index, batch->names, batch->count,
        (WHV_REGISTER_VALUE *)(void *)batch->values);
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvGetVirtualProcessorRegisters",
                             "cannot read registers");
    return HL_OK;
}

/* Creation */

/* What it has from birth: vector state, the MSRs of `syscall`, and the host's time-stamp counter. */
static hl_status whp_vcpu_set_birth_state(const struct whp_vcpu *vcpu,
                                          const struct hl__vcpu_setup *setup, hl_error *err)
{
    hl_status status = HL_SYSTEM;
    for (unsigned attempt = 0; status == HL_SYSTEM; attempt++) {
        struct batch batch = {.count = 0};
        uint64_t xcr0 = hl__hyperv_xcr0(attempt);
        if (!xcr0)
            break;
        batch_add(&batch, WHvX64RegisterXCr0, xcr0);
        batch_add(&batch, WHvX64RegisterStar, setup->star);
        batch_add(&batch, WHvX64RegisterLstar, setup->lstar);
        batch_add(&batch, WHvX64RegisterSfmask, setup->syscall_mask);
        batch_add(&batch, WHvX64RegisterTsc, hl__os_tsc());
        status = whp_registers_set(vcpu, &batch, err);
    }
    return status;
}

hl_status hl__whp_vcpu_create(void *vm_state, void *state, uint32_t index,
                              const struct hl__vcpu_setup *setup, hl_error *err)
{
    const struct whp_vm *vm = vm_state;
    struct whp_vcpu *vcpu = state;
    *vcpu = (struct whp_vcpu){.partition = vm->partition, .index = index, .counter = vm->counter};
    HRESULT result = whp->WHvCreateVirtualProcessor(vm->partition, index, 0);
    (*vcpu->counter)++;
    if (result != S_OK)
        return hl__whp_error(err, result, "WHvCreateVirtualProcessor", "cannot create a vCPU");
    hl_status status = whp_vcpu_set_birth_state(vcpu, setup, err);
    if (status != HL_OK)
        hl__whp_vcpu_destroy(vcpu);
    return status;
}

void hl__whp_vcpu_destroy(void *state)
{
    struct whp_vcpu *vcpu = state;
    whp->WHvDeleteVirtualProcessor(vcpu->partition, vcpu->index);
    (*vcpu->counter)++;
    *vcpu = (struct whp_vcpu){0};
}

/* Registers */

static hl_status whp_general_get(const struct whp_vcpu *vcpu, struct hl__general_state *general,
                                 hl_error *err)
{
    struct batch batch = {.count = 0};
    for (unsigned i = 0; i < HL__HYPERV_GENERAL_COUNT; i++)
        batch_add(&batch, WHvX64RegisterRax + i, 0);
    hl_status status = whp_registers_get(vcpu, &batch, err);
    if (status != HL_OK)
        return status;
    uint64_t numbers[HL__HYPERV_GENERAL_COUNT];
    for (unsigned i = 0; i < HL__HYPERV_GENERAL_COUNT; i++)
        numbers[i] = batch.values[i].number;
    hl__hyperv_general_from(numbers, general);
    return HL_OK;
}

static hl_status whp_system_get(const struct whp_vcpu *vcpu, struct hl__system_state *system,
                                hl_error *err)
{
    struct batch batch = {.count = HL__HYPERV_SYSTEM_COUNT};
    memcpy(batch.names, system_names, sizeof system_names);
    hl_status status = whp_registers_get(vcpu, &batch, err);
    if (status == HL_OK)
        hl__hyperv_system_from(batch.values, system);
    return status;
}

static hl_status whp_vector_get(const struct whp_vcpu *vcpu, uint8_t *vector, hl_error *err)
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
    struct whp_vcpu *vcpu = state;
    hl_status status = HL_OK;
    if (groups & vcpu->waiting & HL__STATE_GENERAL)
        to->general = vcpu->state.general;
    else if (groups & HL__STATE_GENERAL)
        status = whp_general_get(vcpu, &to->general, err);
    if (groups & vcpu->waiting & HL__STATE_SYSTEM)
        to->system = vcpu->state.system;
    else if (groups & HL__STATE_SYSTEM && status == HL_OK)
        status = whp_system_get(vcpu, &to->system, err);
    if (groups & HL__STATE_VECTOR && status == HL_OK)
        status = whp_vector_get(vcpu, to->vector, err);
    return status;
}

void hl__whp_state_set(void *state, uint32_t groups, const struct hl__cpu_state *from)
{
    struct whp_vcpu *vcpu = state;
    if (groups & HL__STATE_GENERAL) {
        vcpu->state.general = from->general;
        vcpu->unfinished = (struct hl__hyperv_unfinished){0}; /* it is abandoned */
    }
    if (groups & HL__STATE_SYSTEM)
        vcpu->state.system = from->system;
    vcpu->waiting |= groups & (HL__STATE_GENERAL | HL__STATE_SYSTEM | HL__STATE_EVENTS);
}

static void whp_finish(struct whp_vcpu *vcpu, struct batch *batch)
{
    uint64_t rip = vcpu->exit_rip, rax = vcpu->exit_rax;
    hl__hyperv_finish(&vcpu->unfinished, &rip, &rax);
    batch_add(batch, WHvX64RegisterRip, rip);
    if (vcpu->unfinished.read_size)
        batch_add(batch, WHvX64RegisterRax, rax);
}

hl_status hl__whp_retire(void *state, hl_error *err)
{
    struct whp_vcpu *vcpu = state;
    struct batch batch = {.count = 0};
    if (vcpu->unfinished.length == 0)
        return HL_OK;
    whp_finish(vcpu, &batch);
    hl_status status = whp_registers_set(vcpu, &batch, err);
    if (status == HL_OK)
        vcpu->unfinished = (struct hl__hyperv_unfinished){0};
    return status;
}

/* Hands over the registers that wait, and what is left of an instruction. */
static hl_status whp_send(struct whp_vcpu *vcpu, hl_error *err)
{
    struct batch batch = {.count = 0};
    uint64_t numbers[HL__HYPERV_GENERAL_COUNT];
    if (vcpu->unfinished.length)
        whp_finish(vcpu, &batch);
    if (vcpu->waiting & HL__STATE_GENERAL) {
        hl__hyperv_general_to(&vcpu->state.general, numbers);
        for (unsigned i = 0; i < HL__HYPERV_GENERAL_COUNT; i++)
            batch_add(&batch, WHvX64RegisterRax + i, numbers[i]);
    }
    if (vcpu->waiting & HL__STATE_SYSTEM) {
        memcpy(batch.names + batch.count, system_names, sizeof system_names);
        hl__hyperv_system_to(&vcpu->state.system, batch.values + batch.count);
        batch.count += HL__HYPERV_SYSTEM_COUNT;
    }
    if (vcpu->waiting & HL__STATE_EVENTS)
        for (unsigned i = 0; i < EVENT_COUNT; i++)
            batch_add(&batch, event_names[i], 0);
    hl_status status = batch.count ? whp_registers_set(vcpu, &batch, err) : HL_OK;
    if (status == HL_OK) {
        vcpu->waiting = 0;
        vcpu->unfinished = (struct hl__hyperv_unfinished){0};
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

static void whp_interrupted(struct whp_vcpu *vcpu, struct hl__exit *exit)
{
    atomic_store(&vcpu->kicked, false);
    *exit = (struct hl__exit){.kind = HL__EXIT_INTERRUPTED};
}

static void whp_decode_port(struct whp_vcpu *vcpu, const WHV_RUN_VP_EXIT_CONTEXT *context,
                            struct hl__exit *exit)
{
    const WHV_X64_IO_PORT_ACCESS_CONTEXT *port = &context->IoPortAccess;
    bool is_string = port->AccessInfo.StringOp;
    *exit = (struct hl__exit){
        .kind = HL__EXIT_PORT,
        .is_write = port->AccessInfo.IsWrite,
        .port = port->PortNumber,
        .size = port->AccessInfo.AccessSize,
    };
    if (exit->is_write && exit->size == sizeof exit->value && !is_string) {
        exit->kind = HL__EXIT_DOORBELL;
        exit->value = (uint32_t)port->Rax;
    }
    if (is_string)
        return;
    if (!context->VpContext.InstructionLength) { /* it would be run for ever */
        *exit = (struct hl__exit){.kind = HL__EXIT_FAILED, .reason = (uint32_t)context->ExitReason};
        return;
    }
    vcpu->exit_rip = context->VpContext.Rip;
    vcpu->exit_rax = port->Rax;
    vcpu->unfinished = (struct hl__hyperv_unfinished){
        .length = context->VpContext.InstructionLength,
        .read_size = exit->is_write ? 0 : (uint8_t)exit->size,
    };
}

static void whp_decode_exit(struct whp_vcpu *vcpu, const WHV_RUN_VP_EXIT_CONTEXT *context,
                            struct hl__exit *exit)
{
    *exit = (struct hl__exit){.kind = HL__EXIT_FAILED, .reason = (uint32_t)context->ExitReason};
    switch (context->ExitReason) {
    case WHvRunVpExitReasonX64IoPortAccess:
        whp_decode_port(vcpu, context, exit);
        break;
    case WHvRunVpExitReasonMemoryAccess:
        *exit = (struct hl__exit){
            .kind = HL__EXIT_MEMORY,
            .is_write = context->MemoryAccess.AccessInfo.AccessType == WHvMemoryAccessWrite,
            .address = context->MemoryAccess.Gpa,
        };
        break;
    case WHvRunVpExitReasonX64Halt:
        exit->kind = HL__EXIT_HALT;
        break;
    case WHvRunVpExitReasonUnrecoverableException:
        exit->kind = HL__EXIT_SHUTDOWN;
        break;
    case WHvRunVpExitReasonCanceled:
        whp_interrupted(vcpu, exit);
        break;
    default:
        break;
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
