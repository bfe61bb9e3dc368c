/* The vCPU: entering an address space, telling what ended the entry, and the poke through ring 0.
 */
#include "util/error.h"
#include "vm/space.h"
#include "vm/x86_64/system_area.h"
#include <stdlib.h>

/* Length of one `lock orw` of the stub. */
enum { POKE_SIZE = 6 };

/* Exceptions for which the processor pushes an error code: 8, 10 to 14, 17, 21, 29, 30. */
#define ERROR_CODE_VECTORS UINT32_C(0x60227d00)

hl_status hl__vcpu_new(hl__vm *vm, hl_error *err)
{
    const struct hl__vcpu_setup setup = {
        .star = HL__STAR,
        .lstar = vm->context->machine.syscall_stays ? vm->shim->syscall_direct
                                                    : hl__stub_address(hl__stub_syscall),
        .syscall_mask = HL__SYSCALL_MASK,
    };
    void *driver_vcpu = calloc(1, vm->driver->vcpu_size);
    if (!driver_vcpu)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "hl__vcpu_new", "no memory for a vCPU");
    hl_status status = vm->driver->vcpu_create(vm->driver_vm, driver_vcpu, 0, &setup, err);
    if (status) {
        free(driver_vcpu);
        return status;
    }
    vm->vcpu.driver_vcpu = driver_vcpu;
    hl__user_state_build(vm, &vm->vcpu.user);
    return HL_OK;
}

void hl__vcpu_free(hl__vm *vm)
{
    if (vm->vcpu.driver_vcpu)
        vm->driver->vcpu_destroy(vm->vcpu.driver_vcpu);
    free(vm->vcpu.driver_vcpu);
    vm->vcpu.driver_vcpu = NULL;
}

/* Sets the whole of user-mode state; whatever was pending is gone. */
static void set_user_state(hl__vm *vm, const hl__space *space, const struct hl__cpu_state *state)
{
    struct hl__cpu_state whole = *state;
    whole.system.cr3 = hl__space_root(space);
    vm->driver->state_set(vm->vcpu.driver_vcpu,
                          HL__STATE_GENERAL | HL__STATE_SYSTEM | HL__STATE_EVENTS, &whole);
}

/* What the last exit left half done must not reach whoever runs next. */
static hl_status settle(hl__vm *vm, hl_error *err)
{
    if (vm->vcpu.out_pending || !vm->vcpu.current)
        return HL_OK;
    vm->vcpu.out_pending = true;
    return vm->driver->retire(vm->vcpu.driver_vcpu, err);
}

/* Runs the stub from `part` on, with these registers, to its port. */
static hl_status visit_stub(hl__vm *vm, const hl__space *space, struct hl__cpu_state *state,
                            uint64_t part, hl_error *err)
{
    hl__vcpu *vcpu = &vm->vcpu;
    hl__stub_segments(&state->system);
    state->general.rip = part;
    state->general.rsp = hl__system_address(HL__SYSTEM_FAULT_STACK + 1);
    set_user_state(vm, space, state);
    struct hl__exit exit = {.kind = HL__EXIT_INTERRUPTED};
    while (exit.kind == HL__EXIT_INTERRUPTED) {
        hl_status status = vm->driver->run(vcpu->driver_vcpu, &exit, err);
        if (status)
            return status;
    }
    vcpu->out_pending = exit.kind == HL__EXIT_DOORBELL;
    if (exit.kind != HL__EXIT_DOORBELL || exit.port != HL__STUB_POKE_PORT)
        return hl__error_set(err, HL_SYSTEM, "hl__vcpu_enter",
                             "the ring-0 stub ended with exit %d (reason %u) instead of its port",
                             exit.kind, exit.reason);
    return HL_OK;
}

/* Where the stub sees a table. */
static uint64_t table_address(const hl__space *space, uint32_t table)
{
    return HL_ABI_SYSTEM_ADDRESS + (space->tables_gpa - HL__GPA_SYSTEM) + table * HL__PAGE;
}

/* Runs the stub's poke for at most HL__STUB_POKES_MAX tables. */
static hl_status poke(hl__vm *vm, const hl__space *space, const uint32_t *tables, uint32_t count,
                      hl_error *err)
{
    struct hl__cpu_state state = vm->vcpu.user;
    struct hl__general_state *general = &state.general;
    uint64_t *const registers[HL__STUB_POKES_MAX] = {&general->r11, &general->r10, &general->r9,
                                                     &general->r8,  &general->rbx, &general->rdi,
                                                     &general->rsi, &general->rdx};
    for (uint32_t i = 0; i < count; i++)
        *registers[i] = table_address(space, tables[i]);
    return visit_stub(vm, space, &state,
                      hl__stub_address(hl__stub_poke) + (HL__STUB_POKES_MAX - count) * POKE_SIZE,
                      err);
}

/* Has the stub write the changed entries of a table anew. */
static hl_status rewrite(hl__vm *vm, const hl__space *space, uint32_t table, hl_error *err)
{
    struct hl__stale_range range = space->stale_ranges[table];
    struct hl__cpu_state state = vm->vcpu.user;
    state.general.rsi = state.general.rdi =
        table_address(space, table) + range.first * sizeof(uint64_t);
    state.general.rcx = (uint64_t)range.last - range.first + 1;
    return visit_stub(vm, space, &state, hl__stub_address(hl__stub_rewrite), err);
}

static bool is_narrow(const hl__space *space, uint32_t table)
{
    return space->stale_ranges[table].last - space->stale_ranges[table].first <
           HL__STUB_REWRITE_MAX;
}

/* Tables of which much changed are poked, which drops all that was derived from them; of others a few entries
 * are written. */
static hl_status flush_tables(hl__vm *vm, const hl__space *space, const uint32_t *tables,
                              uint32_t count, hl_error *err)
{
    uint32_t poked[HL__STUB_POKES_MAX], poked_count = 0;
    hl_status status = HL_OK;
    for (uint32_t i = 0; i < count && !status; i++)
        if (is_narrow(space, tables[i]))
            status = rewrite(vm, space, tables[i], err);
        else
            poked[poked_count++] = tables[i];
    if (!status && poked_count)
        status = poke(vm, space, poked, poked_count, err);
    return status;
}

/* Makes removed rights effective, by the stub for few tables; for many, dropping everything is cheaper. Tables
 * stay stale until that has worked. */
static hl_status flush(hl__vm *vm, hl__space *space, hl_error *err)
{
    uint32_t tables[HL__STUB_POKES_MAX], count;
    hl_status status;
    space->flush_count++;
    if (space->stale_count <= HL__STUB_POKES_MAX && vm->context->poke_works) {
        count = hl__space_stale_take(space, tables, HL__STUB_POKES_MAX);
        if ((status = flush_tables(vm, space, tables, count, err)))
            for (uint32_t i = 0; i < count; i++)
                hl__space_table_stale(space, tables[i]);
        return status;
    }
    if (!(status = vm->driver->flush(vm->driver_vm, err)))
        while (hl__space_stale_take(space, tables, HL__STUB_POKES_MAX) != 0)
            continue;
    return status;
}

/* The registers with which to go on after the ring-0 stub ran in between. */
static hl_status save_state(hl__vm *vm, hl_error *err)
{
    hl__vcpu *vcpu = &vm->vcpu;
    hl_status status = vm->driver->retire(vcpu->driver_vcpu, err);
    if (!status)
        status = vm->driver->state_get(vcpu->driver_vcpu, HL__STATE_GENERAL | HL__STATE_SYSTEM,
                                       &vcpu->resume, err);
    if (!status) {
        uint64_t fs_base = vcpu->resume.system.fs.base, gs_base = vcpu->resume.system.gs.base;
        vcpu->resume.system = vcpu->user.system;
        vcpu->resume.system.fs.base = fs_base;
        vcpu->resume.system.gs.base = gs_base;
    }
    return status;
}

static void entry_state(const hl__vm *vm, enum hl__entry entry, struct hl__cpu_state *state)
{
    *state = entry == HL__ENTRY_STATE ? vm->vcpu.resume : vm->vcpu.user;
    if (entry == HL__ENTRY_START)
        state->general.rip = vm->shim->start;
    else if (entry == HL__ENTRY_WAKE)
        state->general.rip = vm->shim->wake;
    else if (entry == HL__ENTRY_TOUCH)
        state->general.rip = vm->shim->touch;
}

/* The guest may read where the last system call was made from: not that of who ran here before. */
static void forget_system_call(const hl__vm *vm)
{
    memset(vm->system + HL__SYSTEM_SYSCALL * HL__PAGE, 0, sizeof(uint64_t));
}

static hl_status prepare(hl__vm *vm, hl__space *space, enum hl__entry entry, hl_error *err)
{
    hl_status status = HL_OK;
    if (space->stale_count) {
        if (entry == HL__ENTRY_CONTINUE) {
            status = save_state(vm, err);
            entry = HL__ENTRY_STATE;
        }
        if (!status)
            status = settle(vm, err);
        if (!status)
            status = flush(vm, space, err);
    }
    if (status || entry == HL__ENTRY_CONTINUE)
        return status;
    if ((status = settle(vm, err)))
        return status;
    if (entry == HL__ENTRY_START || entry == HL__ENTRY_WAKE)
        forget_system_call(vm);
    struct hl__cpu_state state;
    entry_state(vm, entry, &state);
    set_user_state(vm, space, &state);
    return HL_OK;
}

/* What the processor pushed on the fault stack; only the processor writes there. */
struct fault_frame {
    uint64_t error_code, rip, cs, rflags, rsp, ss;
};

static void read_frame(const hl__vm *vm, struct fault_frame *frame)
{
    const uint8_t *top = vm->system + (HL__SYSTEM_FAULT_STACK + 1) * HL__PAGE;
    memcpy(frame, top - sizeof *frame, sizeof *frame);
}

static void copy_registers(struct hl_abi_registers *to, const struct hl__general_state *from)
{
    *to = (struct hl_abi_registers){.rax = from->rax,
                                    .rbx = from->rbx,
                                    .rcx = from->rcx,
                                    .rdx = from->rdx,
                                    .rsi = from->rsi,
                                    .rdi = from->rdi,
                                    .rbp = from->rbp,
                                    .rsp = from->rsp,
                                    .r8 = from->r8,
                                    .r9 = from->r9,
                                    .r10 = from->r10,
                                    .r11 = from->r11,
                                    .r12 = from->r12,
                                    .r13 = from->r13,
                                    .r14 = from->r14,
                                    .r15 = from->r15,
                                    .rip = from->rip,
                                    .rflags = from->rflags};
}

static void violation(struct hl__event *event, const char *reason)
{
    event->kind = HL__EVENT_VIOLATION;
    event->reason = reason;
}

/* An exit by the fault port counts only if the stub itself made it. */
static hl_status decode_fault(hl__vm *vm, struct hl__event *event, hl_error *err)
{
    hl__vcpu *vcpu = &vm->vcpu;
    struct hl__cpu_state *state = &vcpu->resume;
    hl_status status =
        vm->driver->state_get(vcpu->driver_vcpu, HL__STATE_GENERAL | HL__STATE_SYSTEM, state, err);
    if (status)
        return status;
    uint64_t vector =
        (state->general.rip - hl__system_address(HL__SYSTEM_STUB)) / HL__STUB_VECTOR_SIZE;
    struct fault_frame frame;
    read_frame(vm, &frame);
    if ((state->system.cs.selector & 3) != 0 || state->system.cs.dpl != 0 ||
        vector >= HL__STUB_VECTORS) {
        violation(event, "an exit by the fault port that the stub did not make");
        return HL_OK;
    }
    if ((frame.cs & 3) != 3) {
        violation(event, "an exception in ring 0");
        return HL_OK;
    }
    event->kind = HL__EVENT_FAULT;
    event->fault = (struct hl_abi_fault){.vector = (uint32_t)vector};
    if (ERROR_CODE_VECTORS >> vector & 1)
        event->fault.error_code = (uint32_t)frame.error_code;
    if (vector == 14)
        event->fault.address = state->system.cr2;
    copy_registers(&event->fault.registers, &state->general);
    event->fault.registers.rip = frame.rip;
    event->fault.registers.rsp = frame.rsp;
    event->fault.registers.rflags = frame.rflags;
    return HL_OK;
}

HL__WARM_PATH static hl_status decode(hl__vm *vm, const struct hl__exit *exit,
                                      struct hl__event *event, hl_error *err)
{
    switch (exit->kind) {
    case HL__EXIT_DOORBELL:
        if (exit->port == HL__STUB_FAULT_PORT)
            return decode_fault(vm, event, err);
        if (exit->port != HL_ABI_CALL_PORT)
            break;
        event->kind = HL__EVENT_CALL;
        event->op = exit->value;
        return HL_OK;
    case HL__EXIT_INTERRUPTED:
        event->kind = HL__EVENT_INTERRUPTED;
        return HL_OK;
    case HL__EXIT_PORT:
        violation(event, "a port access other than a 32-bit OUT to the call port");
        return HL_OK;
    case HL__EXIT_MEMORY:
        violation(event, "an access to memory that is not there");
        return HL_OK;
    case HL__EXIT_SHUTDOWN:
        violation(event, "a triple fault");
        return HL_OK;
    case HL__EXIT_HALT:
        violation(event, "a halt");
        return HL_OK;
    case HL__EXIT_FAILED:
        violation(event, "an instruction that the hypervisor could not execute");
        return HL_OK;
    }
    violation(event, "an OUT to a closed port");
    return HL_OK;
}

HL__WARM_PATH hl_status hl__vcpu_enter(hl__vm *vm, hl__space *space, enum hl__entry entry,
                                       hl__control *control, struct hl__event *event, hl_error *err)
{
    struct hl__exit exit;
    hl_status status = HL_OK;
    if (space->stale_count || entry != HL__ENTRY_CONTINUE)
        status = prepare(vm, space, entry, err);
    if (!status)
        status = hl__control_run(control, vm->driver, vm->vcpu.driver_vcpu, &exit, err);
    if (status)
        return status;
    vm->vcpu.current = space;
    vm->vcpu.out_pending = exit.kind == HL__EXIT_DOORBELL;
    return decode(vm, &exit, event, err);
}

hl_status hl__vcpu_interrupted(hl__vm *vm, struct hl_abi_registers *registers, bool *possible,
                               hl_error *err)
{
    struct hl__cpu_state *state = &vm->vcpu.resume;
    void *driver_vcpu = vm->vcpu.driver_vcpu;
    hl_status status = vm->driver->retire(driver_vcpu, err);
    if (!status)
        status = vm->driver->state_get(
            driver_vcpu, HL__STATE_GENERAL | HL__STATE_SYSTEM | HL__STATE_EVENTS, state, err);
    if (status)
        return status;
    bool user = (state->system.cs.selector & 3) == 3 && state->system.cs.dpl == 3;
    bool shim = state->general.rip - HL_ABI_SHIM_ADDRESS < vm->shim->text_size;
    *possible = user && !shim && !state->event_pending;
    copy_registers(registers, &state->general);
    return HL_OK;
}

void hl__vcpu_resume(hl__vm *vm, const struct hl_abi_registers *registers)
{
    struct hl__cpu_state *state = &vm->vcpu.resume;
    uint64_t fs_base = state->system.fs.base, gs_base = state->system.gs.base;
    state->general = (struct hl__general_state){.rax = registers->rax,
                                                .rbx = registers->rbx,
                                                .rcx = registers->rcx,
                                                .rdx = registers->rdx,
                                                .rsi = registers->rsi,
                                                .rdi = registers->rdi,
                                                .rbp = registers->rbp,
                                                .rsp = registers->rsp,
                                                .r8 = registers->r8,
                                                .r9 = registers->r9,
                                                .r10 = registers->r10,
                                                .r11 = registers->r11,
                                                .r12 = registers->r12,
                                                .r13 = registers->r13,
                                                .r14 = registers->r14,
                                                .r15 = registers->r15,
                                                .rip = registers->rip,
                                                .rflags = registers->rflags};
    state->system = vm->vcpu.user.system;
    state->system.fs.base = fs_base;
    state->system.gs.base = gs_base;
}

void hl__vcpu_redirect(hl__vm *vm, uint64_t instruction_pointer)
{
    const struct hl_abi_registers registers = {.rip = instruction_pointer, .rflags = 2};
    hl__vcpu_resume(vm, &registers);
}
