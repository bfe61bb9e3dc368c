/*
 * vCPUs of MSHV: entering them, decoding exits, kicks, and moving registers.
 *
 * state_set() keeps registers in `waiting` until the next run. General registers then travel in the page
 * that is shared with Hyper-V, so that a run needs no other request; others go by a hypercall.
 * Hyper-V leaves every instruction that exits to us.
 */
#include "driver/mshv_internal.h"

#include "os/os.h"
#include "util/error.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const uint32_t system_names[HL__HYPERV_SYSTEM_COUNT] = {
    [HL__HYPERV_ES] = MSHV_REGISTER_ES,       [HL__HYPERV_CS] = MSHV_REGISTER_ES + 1,
    [HL__HYPERV_SS] = MSHV_REGISTER_ES + 2,   [HL__HYPERV_DS] = MSHV_REGISTER_ES + 3,
    [HL__HYPERV_FS] = MSHV_REGISTER_ES + 4,   [HL__HYPERV_GS] = MSHV_REGISTER_ES + 5,
    [HL__HYPERV_LDTR] = MSHV_REGISTER_ES + 6, [HL__HYPERV_TR] = MSHV_REGISTER_ES + 7,
    [HL__HYPERV_IDTR] = MSHV_REGISTER_IDTR,   [HL__HYPERV_GDTR] = MSHV_REGISTER_GDTR,
    [HL__HYPERV_CR0] = MSHV_REGISTER_CR0,     [HL__HYPERV_CR2] = MSHV_REGISTER_CR2,
    [HL__HYPERV_CR3] = MSHV_REGISTER_CR3,     [HL__HYPERV_CR4] = MSHV_REGISTER_CR4,
    [HL__HYPERV_EFER] = MSHV_REGISTER_EFER,
};

/* All that can be pending; each is nothing if it is 0. */
static const uint32_t event_names[] = {
    MSHV_REGISTER_PENDING_INTERRUPTION, MSHV_REGISTER_INTERRUPT_STATE, MSHV_REGISTER_PENDING_EVENT,
    MSHV_REGISTER_PENDING_EVENT + 1, MSHV_REGISTER_ACTIVITY_STATE};
enum { EVENT_COUNT = sizeof event_names / sizeof *event_names };
static const uint32_t pending_names[] = {MSHV_REGISTER_PENDING_INTERRUPTION,
                                         MSHV_REGISTER_PENDING_EVENT};
enum { PENDING_COUNT = sizeof pending_names / sizeof *pending_names };

/* Creation */

static hl_status mshv_vcpu_open(const struct mshv_vm *vm, struct mshv_vcpu *vcpu, hl_error *err)
{
    struct mshv_create_vp request = {.index = vcpu->index};
    vcpu->fd = hl__mshv_ioctl(vm->fd, vm->counter, MSHV_CREATE_VP, &request);
    if (vcpu->fd < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "MSHV_CREATE_VP", "cannot create a vCPU");
    (*vm->counter)++;
    void *page = mmap(NULL, MSHV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd,
                      (off_t)MSHV_MMAP_REGISTER_PAGE * MSHV_PAGE_SIZE);
    if (page == MAP_FAILED)
        return hl__error_os(err, HL_SYSTEM, errno, "mmap", "cannot map the registers of a vCPU");
    vcpu->page = page;
    return HL_OK;
}

hl_status hl__mshv_vcpu_set_xcr0(const struct mshv_vcpu *vcpu, uint64_t value, hl_error *err)
{
    struct hl__hyperv_batch batch;
    batch.count = 0;
    hl__hyperv_batch_number(&batch, MSHV_REGISTER_XFEM, value);
    return hl__mshv_registers_set(vcpu, &batch, err);
}

/* Gives it what it has from birth: XCR0, the MSRs of `syscall`, and the host's time-stamp counter. */
static hl_status mshv_vcpu_set_birth_state(const struct mshv_vcpu *vcpu,
                                           const struct hl__vcpu_setup *setup, hl_error *err)
{
    struct hl__hyperv_batch batch;
    batch.count = 0;
    if (hl__mshv_host.xcr0)
        hl__hyperv_batch_number(&batch, MSHV_REGISTER_XFEM, hl__mshv_host.xcr0);
    hl__hyperv_batch_number(&batch, MSHV_REGISTER_STAR, setup->star);
    hl__hyperv_batch_number(&batch, MSHV_REGISTER_LSTAR, setup->lstar);
    hl__hyperv_batch_number(&batch, MSHV_REGISTER_SYSCALL_MASK, setup->syscall_mask);
    hl__hyperv_batch_number(&batch, MSHV_REGISTER_TSC, hl__os_tsc());
    return hl__mshv_registers_set(vcpu, &batch, err);
}

hl_status hl__mshv_vcpu_create(void *vm_state, void *vcpu_state, uint32_t index,
                               const struct hl__vcpu_setup *setup, hl_error *err)
{
    const struct mshv_vm *vm = vm_state;
    struct mshv_vcpu *vcpu = vcpu_state;
    *vcpu = (struct mshv_vcpu){.fd = -1, .index = index, .counter = vm->counter};
    hl_status status = mshv_vcpu_open(vm, vcpu, err);
    if (status == HL_OK)
        status = mshv_vcpu_set_birth_state(vcpu, setup, err);
    if (status != HL_OK)
        hl__mshv_vcpu_destroy(vcpu);
    return status;
}

void hl__mshv_vcpu_destroy(void *state)
{
    struct mshv_vcpu *vcpu = state;
    if (vcpu->page) {
        munmap((void *)vcpu->page, MSHV_PAGE_SIZE);
        (*vcpu->counter)++;
    }
    if (vcpu->fd >= 0) {
        close(vcpu->fd);
        (*vcpu->counter)++;
    }
    vcpu->page = NULL;
    vcpu->fd = -1;
}

/* Completing instructions */

bool hl__mshv_page_is_valid(const struct mshv_vcpu *vcpu)
{
    return vcpu->page->is_valid && vcpu->page->version == MSHV_REGISTER_PAGE_VERSION;
}

/* A general register: by the shared page if it can be, which is told with `dirty`. */
static void mshv_send_number(const struct mshv_vcpu *vcpu, struct hl__hyperv_batch *batch,
                             enum hl__hyperv_general index, uint64_t number, uint32_t dirty)
{
    if (!hl__mshv_page_is_valid(vcpu)) {
        hl__hyperv_batch_number(batch, MSHV_REGISTER_RAX + index, number);
        return;
    }
    vcpu->page->general[index] = number;
    vcpu->page->dirty |= dirty;
}

static void mshv_finish(const struct mshv_vcpu *vcpu, struct hl__hyperv_batch *batch)
{
    uint64_t rip, rax;
    hl__hyperv_finish(&vcpu->waiting, &rip, &rax);
    mshv_send_number(vcpu, batch, HL__HYPERV_RIP, rip, MSHV_DIRTY_INSTRUCTION_POINTER);
    if (vcpu->waiting.read_size)
        mshv_send_number(vcpu, batch, HL__HYPERV_RAX, rax, MSHV_DIRTY_GENERAL);
}

hl_status hl__mshv_retire(void *state, hl_error *err)
{
    struct mshv_vcpu *vcpu = state;
    struct hl__hyperv_batch batch;
    batch.count = 0;
    if (!vcpu->waiting.length)
        return HL_OK;
    mshv_finish(vcpu, &batch);
    hl_status status = hl__mshv_registers_set(vcpu, &batch, err);
    if (status == HL_OK)
        hl__hyperv_finished(&vcpu->waiting);
    return status;
}

/* Registers */

void hl__mshv_state_set(void *state, uint32_t groups, const struct hl__cpu_state *from)
{
    struct mshv_vcpu *vcpu = state;
    hl__hyperv_state_set(&vcpu->waiting, groups, from);
}

static hl_status mshv_fetch_general(const struct mshv_vcpu *vcpu, struct hl__general_state *general,
                                    hl_error *err)
{
    uint64_t numbers[HL__HYPERV_GENERAL_COUNT];
    struct hl__hyperv_batch batch;
    batch.count = 0;
    if (hl__mshv_page_is_valid(vcpu)) {
        for (unsigned i = 0; i < HL__HYPERV_GENERAL_COUNT; i++)
            numbers[i] = vcpu->page->general[i];
        hl__hyperv_general_from(numbers, general);
        return HL_OK;
    }
    for (unsigned i = 0; i < HL__HYPERV_GENERAL_COUNT; i++)
        hl__hyperv_batch_number(&batch, MSHV_REGISTER_RAX + i, 0);
    hl_status status = hl__mshv_registers_get(vcpu, &batch, err);
    if (status != HL_OK)
        return status;
    for (unsigned i = 0; i < HL__HYPERV_GENERAL_COUNT; i++)
        numbers[i] = batch.values[i].number;
    hl__hyperv_general_from(numbers, general);
    return HL_OK;
}

static hl_status mshv_fetch_system(const struct mshv_vcpu *vcpu, struct hl__system_state *system,
                                   hl_error *err)
{
    struct hl__hyperv_batch batch;
    batch.count = 0;
    hl__hyperv_batch_zeroes(&batch, system_names, HL__HYPERV_SYSTEM_COUNT);
    hl_status status = hl__mshv_registers_get(vcpu, &batch, err);
    if (status == HL_OK)
        hl__hyperv_system_from(batch.values, system);
    return status;
}

/* Bit 0 of what can be pending says that it is. */
static hl_status mshv_fetch_events(const struct mshv_vcpu *vcpu, bool *pending, hl_error *err)
{
    struct hl__hyperv_batch batch;
    batch.count = 0;
    hl__hyperv_batch_zeroes(&batch, pending_names, PENDING_COUNT);
    hl_status status = hl__mshv_registers_get(vcpu, &batch, err);
    *pending = false;
    for (unsigned i = 0; i < PENDING_COUNT && status == HL_OK; i++)
        *pending |= batch.values[i].number & 1;
    return status;
}

static hl_status mshv_fetch_vector(const struct mshv_vcpu *vcpu, uint8_t *vector, hl_error *err)
{
    uint8_t area[HL__HYPERV_VECTOR_SIZE] __attribute__((aligned(MSHV_PAGE_SIZE)));
    struct mshv_vp_state request = {
        .type = MSHV_VP_STATE_XSAVE, .size = sizeof area, .buffer = (uintptr_t)area};
    if (hl__mshv_ioctl(vcpu->fd, vcpu->counter, MSHV_GET_VP_STATE, &request) < 0)
        return hl__error_os(err, HL_SYSTEM, errno, "MSHV_GET_VP_STATE", "cannot read vector state");
    hl__hyperv_vector_expand(area, sizeof area, vector);
    return HL_OK;
}

hl_status hl__mshv_state_get(void *state, uint32_t groups, struct hl__cpu_state *to, hl_error *err)
{
    const struct mshv_vcpu *vcpu = state;
    uint32_t missing = hl__hyperv_state_get(&vcpu->waiting, groups, to);
    hl_status status = HL_OK;
    if (missing & HL__STATE_GENERAL)
        status = mshv_fetch_general(vcpu, &to->general, err);
    if (missing & HL__STATE_SYSTEM && status == HL_OK)
        status = mshv_fetch_system(vcpu, &to->system, err);
    if (missing & HL__STATE_EVENTS && status == HL_OK)
        status = mshv_fetch_events(vcpu, &to->event_pending, err);
    if (missing & HL__STATE_VECTOR && status == HL_OK)
        status = mshv_fetch_vector(vcpu, to->vector, err);
    return status;
}

static void mshv_send_general(const struct mshv_vcpu *vcpu, struct hl__hyperv_batch *batch)
{
    uint64_t numbers[HL__HYPERV_GENERAL_COUNT];
    hl__hyperv_general_to(&vcpu->waiting.state.general, numbers);
    for (unsigned i = 0; i < HL__HYPERV_GENERAL_COUNT; i++)
        mshv_send_number(vcpu, batch, i, numbers[i],
                         MSHV_DIRTY_GENERAL | MSHV_DIRTY_INSTRUCTION_POINTER | MSHV_DIRTY_FLAGS);
}

/* Hands over the registers that wait, and what is left of an instruction. */
static hl_status mshv_send(struct mshv_vcpu *vcpu, hl_error *err)
{
    struct hl__hyperv_waiting *waiting = &vcpu->waiting;
    struct hl__hyperv_batch batch;
    batch.count = 0;
    if (waiting->length)
        mshv_finish(vcpu, &batch);
    if (waiting->groups & HL__STATE_GENERAL)
        mshv_send_general(vcpu, &batch);
    if (waiting->groups & HL__STATE_SYSTEM)
        hl__hyperv_batch_system(&batch, system_names, &waiting->state.system);
    if (waiting->groups & HL__STATE_EVENTS)
        hl__hyperv_batch_zeroes(&batch, event_names, EVENT_COUNT);
    hl_status status = hl__mshv_registers_set(vcpu, &batch, err);
    if (status == HL_OK) {
        waiting->groups = 0;
        hl__hyperv_finished(waiting);
    }
    return status;
}

/* Running */

void hl__mshv_kick(void *state)
{
    struct mshv_vcpu *vcpu = state;
    vcpu->kicked = 1;
}

/* Consumes a kick. */
static void mshv_interrupted(struct mshv_vcpu *vcpu, struct hl__exit *exit)
{
    vcpu->kicked = 0;
    *exit = (struct hl__exit){.kind = HL__EXIT_INTERRUPTED};
}

static void mshv_decode_port(struct mshv_vcpu *vcpu, const void *message, struct hl__exit *exit)
{
    struct mshv_port_message port;
    memcpy(&port, message, sizeof port);
    const struct hl__hyperv_port_access access = {
        .rip = port.head.rip,
        .rax = port.rax,
        .reason = port.head.type,
        .port = port.port,
        .size = port.access & MSHV_PORT_SIZE,
        .length = port.head.instruction_length & MSHV_INSTRUCTION_LENGTH,
        .is_write = port.head.access == MSHV_ACCESS_IS_WRITE,
        .is_string = port.access & MSHV_PORT_STRING,
    };
    hl__hyperv_decode_port(&vcpu->waiting, &access, exit);
}

static void mshv_decode_memory(const void *message, struct hl__exit *exit)
{
    struct mshv_memory_message memory;
    memcpy(&memory, message, sizeof memory);
    *exit = (struct hl__exit){
        .kind = HL__EXIT_MEMORY,
        .is_write = memory.head.access == MSHV_ACCESS_IS_WRITE,
        .address = memory.guest_physical,
    };
}

static void mshv_decode_exit(struct mshv_vcpu *vcpu, const void *message, struct hl__exit *exit)
{
    uint32_t type;
    memcpy(&type, message, sizeof type);
    switch ((enum mshv_message_type)type) {
    case MSHV_MESSAGE_PORT:
        mshv_decode_port(vcpu, message, exit);
        return;
    case MSHV_MESSAGE_UNMAPPED_ADDRESS:
    case MSHV_MESSAGE_FORBIDDEN_ACCESS:
        mshv_decode_memory(message, exit);
        return;
    case MSHV_MESSAGE_HALT:
        *exit = (struct hl__exit){.kind = HL__EXIT_HALT};
        return;
    case MSHV_MESSAGE_TRIPLE_FAULT:
        *exit = (struct hl__exit){.kind = HL__EXIT_SHUTDOWN};
        return;
    }
    *exit = (struct hl__exit){.kind = HL__EXIT_FAILED, .reason = type};
}

hl_status hl__mshv_run(void *state, struct hl__exit *exit, hl_error *err)
{
    struct mshv_vcpu *vcpu = state;
    struct mshv_run_vp request;
    hl_status status = mshv_send(vcpu, err);
    if (status != HL_OK)
        return status;
    if (vcpu->kicked) {
        mshv_interrupted(vcpu, exit);
        return HL_OK;
    }
    int result;
    do
        result = ioctl(vcpu->fd, MSHV_RUN_VP, &request);
    while (result < 0 && errno == EAGAIN && !vcpu->kicked);
    if (result == 0) {
        mshv_decode_exit(vcpu, request.message, exit);
        return HL_OK;
    }
    if (errno != EINTR && errno != EAGAIN)
        return hl__error_os(err, HL_SYSTEM, errno, "MSHV_RUN_VP", "MSHV cannot run the guest");
    mshv_interrupted(vcpu, exit);
    return HL_OK;
}
