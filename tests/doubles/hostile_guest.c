/* The guest that the fake driver plays: what it does with each entry. */
#include "doubles/hostile_guest.h"

#include "doubles/hostile_message.h"
#include "vm/x86_64/system_area.h"

#include <string.h>

#define RUNNING                                                                                    \
    0x10000u /* where the instruction pointer stands between an exit and the next entry */
#define STEPS_MAX 24
#define STATE_ADDRESS (HL_ABI_SHIM_DATA_ADDRESS + 64)
#define MESSAGE_ADDRESS (HL_ABI_SHIM_DATA_ADDRESS + 4096)

/* Memory, as user mode sees it */

static bool guest_access(const struct hostile_guest *guest, uint64_t address, void *data,
                         size_t size, bool write)
{
    const uint64_t wanted = HL__PTE_USER | (write ? HL__PTE_WRITE : 0);
    for (size_t done = 0, part; done < size; done += part) {
        uint64_t at = address + done, physical, rights;
        part = (size_t)(HL__PAGE - at % HL__PAGE);
        part = part < size - done ? part : size - done;
        if (!fake_translate(guest->vcpu, at, &physical, &rights) || (rights & wanted) != wanted)
            return false;
        char *bytes = (char *)data + done;
        const void *memory = fake_memory(guest->vcpu->vm, physical, part);
        if (write ? !fake_write(guest->vcpu->vm, physical, bytes, part) : !memory)
            return false;
        if (!write)
            memcpy(bytes, memory, part);
    }
    return true;
}

static bool guest_read(const struct hostile_guest *guest, uint64_t address, void *data, size_t size)
{
    return guest_access(guest, address, data, size, false);
}

static bool guest_write(const struct hostile_guest *guest, uint64_t address, const void *data,
                        size_t size)
{
    return guest_access(guest, address, (void *)data, size, true);
}

static uint64_t guest_word(const struct hostile_guest *guest, uint64_t address)
{
    uint64_t word = 0;
    guest_read(guest, address, &word, sizeof word);
    return word;
}

void hostile_guest_scribble(struct hostile_guest *guest)
{
    uint64_t base = choices_once_in(guest->choices, 2) ? MESSAGE_ADDRESS : HL_ABI_MAILBOX_ADDRESS;
    uint64_t word = choices_word(guest->choices);
    guest_write(guest, base + choices_below(guest->choices, 512) * 8, &word, sizeof word);
}

/* Output that waits to be taken; now and then none that there can be. */
static void leave_output(struct hostile_guest *guest)
{
    struct choices *choices = guest->choices;
    uint32_t head[2] = {1 + (uint32_t)choices_below(choices, 2),
                        (uint32_t)choices_below(choices, 300)};
    if (choices_once_in(choices, 32))
        head[choices_below(choices, 2)] = (uint32_t)choices_word(choices);
    guest_write(guest, HL_ABI_OUTPUT_ADDRESS, head, sizeof head);
}

/* Exits */

static struct hl__exit exit_call(struct hostile_guest *guest, uint32_t op,
                                 const struct hl_abi_call *call)
{
    guest->ops[op < HL_ABI_OP_COUNT ? op : HL_ABI_OP_COUNT]++;
    guest->pending = op;
    guest_write(guest, HL_ABI_MAILBOX_ADDRESS, call, offsetof(struct hl_abi_call, result));
    return (struct hl__exit){.kind = HL__EXIT_DOORBELL, .port = HL_ABI_CALL_PORT, .value = op};
}

/* The entry after a hypercall tells what came of it. */
static void note_result(struct hostile_guest *guest)
{
    int64_t result =
        (int64_t)guest_word(guest, HL_ABI_MAILBOX_ADDRESS + offsetof(struct hl_abi_call, result));
    if (guest->pending == 0 || guest->pending >= HL_ABI_OP_COUNT || result < -155)
        return;
    guest->results[guest->pending][result < 0 ? 100 - result : result > 99 ? 99 : result]++;
    guest->pending = 0;
}

/* The honest guest */

struct honest_state {
    uint64_t step, counter;
};

static struct hl__exit honest_message(struct hostile_guest *guest, uint32_t op, unsigned first,
                                      const struct hostile_message *message)
{
    struct hl_abi_call call = {{0}, 0, 0};
    guest_write(guest, MESSAGE_ADDRESS, message->bytes, message->size);
    call.arg[0] = HL_ABI_OUTCOME_OK;
    call.arg[first] = MESSAGE_ADDRESS;
    call.arg[first + 1] = message->size;
    if (op == HL_ABI_OP_EXPORT)
        call.arg[2] = call.arg[3] = HL_ABI_VERSION_MAX;
    return exit_call(guest, op, &call);
}

static struct hl__exit honest_answer(struct hostile_guest *guest, struct honest_state *state)
{
    struct hostile_message message;
    hostile_message_number(&message, ++state->counter);
    guest_write(guest, STATE_ADDRESS, state, sizeof *state);
    return honest_message(guest, HL_ABI_OP_REST, 1, &message);
}

static struct hl__exit honest_run(struct hostile_guest *guest, bool starts)
{
    struct honest_state state = {0, 0};
    struct hostile_message message;
    guest->well_formed++;
    if (guest->spins && !starts) {
        while (!guest->vcpu->kicked)
            continue;
        return (struct hl__exit){.kind = HL__EXIT_INTERRUPTED};
    }
    if (!starts)
        guest_read(guest, STATE_ADDRESS, &state, sizeof state);
    uint64_t step = state.step;
    state.step += step < 3;
    guest_write(guest, STATE_ADDRESS, &state, sizeof state);
    switch (step) {
    case 0:
        return exit_call(guest, HL_ABI_OP_HELLO,
                         &(struct hl_abi_call){.arg = {HL_ABI_VERSION_MIN, HL_ABI_VERSION_MAX}});
    case 1:
        hostile_message_exports(&message);
        return honest_message(guest, HL_ABI_OP_EXPORT, 0, &message);
    case 2:
        return exit_call(guest, HL_ABI_OP_REST, &(struct hl_abi_call){.arg = {0}});
    default:
        return honest_answer(guest, &state);
    }
}

/* The hostile guest */

static uint64_t any_address(struct hostile_guest *guest)
{
    static const uint64_t bases[] = {
        HL_ABI_USER_START,
        HL_ABI_USER_START + 0x5000,
        HL_ABI_MAILBOX_ADDRESS,
        MESSAGE_ADDRESS,
        HL_ABI_BOOT_ADDRESS,
        HL_ABI_TRANSFER_ADDRESS,
        HL_ABI_WAKE_ADDRESS,
        HL_ABI_SYSCALL_ADDRESS,
        HL_ABI_SHIM_ADDRESS,
        HL_ABI_PROGRAM_ADDRESS,
        HL_ABI_SYSTEM_ADDRESS,
        HL_ABI_HEAP_ADDRESS,
        HL_ABI_POOL_ADDRESS,
        HL_ABI_OUTPUT_ADDRESS,
        HL_ABI_ROOT_ADDRESS,
        0,
        HL_ABI_USER_END,
        UINT64_MAX - 4095,
        HL_ABI_SHIM_DATA_ADDRESS + 0x2fc0, /* before the guard page */
    };
    uint64_t address = bases[choices_below(guest->choices, sizeof bases / sizeof *bases)];
    if (choices_once_in(guest->choices, 16))
        address ^= UINT64_C(1) << choices_below(guest->choices, 64);
    return address + choices_below(guest->choices, 4096);
}

static uint64_t any_size(struct hostile_guest *guest)
{
    switch (choices_below(guest->choices, 16)) {
    case 0:
        return choices_word(guest->choices);
    case 1:
        return choices_below(guest->choices, UINT64_C(1) << 31);
    case 2:
    case 3:
        return choices_below(guest->choices, 1 << 20);
    default:
        return choices_below(guest->choices, 2048);
    }
}

/* A place of `size` bytes or less that is good, most times. */
static void place_bytes(struct hostile_guest *guest, struct hl_abi_call *call, unsigned first)
{
    bool odd = choices_once_in(guest->choices, 4);
    call->arg[first] = odd ? any_address(guest) : MESSAGE_ADDRESS;
    call->arg[first + 1] = odd ? any_size(guest) : choices_below(guest->choices, 1000);
}

static void place_message(struct hostile_guest *guest, struct hl_abi_call *call, unsigned first,
                          const struct hostile_message *message)
{
    bool odd = choices_once_in(guest->choices, 16);
    uint64_t address = odd ? any_address(guest) : MESSAGE_ADDRESS;
    guest_write(guest, address, message->bytes, message->size);
    call->arg[first] = address;
    call->arg[first + 1] = choices_once_in(guest->choices, 16) ? any_size(guest) : message->size;
}

static void plan_rest(struct hostile_guest *guest, struct hl_abi_call *call)
{
    struct hostile_message message;
    bool serving = guest_word(guest, STATE_ADDRESS) >= 3;
    call->arg[0] = choices_below(guest->choices, HL_ABI_OUTCOME_COUNT + 1);
    if (!choices_once_in(guest->choices, 8))
        call->arg[0] = serving ? HL_ABI_OUTCOME_OK + choices_below(guest->choices, 4) : 0;
    if (call->arg[0] == HL_ABI_OUTCOME_OK)
        hostile_message_value(&message, guest->choices);
    else
        hostile_message_text(&message, guest->choices);
    place_message(guest, call, 1, &message);
    guest->steps = 0;
}

static void plan_export(struct hostile_guest *guest, struct hl_abi_call *call)
{
    struct hostile_message message;
    hostile_message_random_exports(&message, guest->choices);
    place_message(guest, call, 0, &message);
    call->arg[2] = choices_once_in(guest->choices, 16) ? 7 : HL_ABI_VERSION_MIN;
    call->arg[3] = choices_once_in(guest->choices, 16) ? 0 : HL_ABI_VERSION_MAX;
    call->arg[4] = choices_below(guest->choices, 16) < 14 ? 0 : choices_below(guest->choices, 3);
}

static void plan_host_call(struct hostile_guest *guest, struct hl_abi_call *call)
{
    struct hostile_message message;
    hostile_message_call(&message, guest->choices);
    place_message(guest, call, 0, &message);
}

static struct hl_abi_edit plan_one_edit(struct hostile_guest *guest)
{
    struct choices *choices = guest->choices;
    uint64_t scale = choices_below(choices, 16) < 12 ? 0 : choices_below(choices, 3);
    uint64_t free_offset =
        guest_word(guest, HL_ABI_BOOT_ADDRESS + offsetof(struct hl_abi_boot, ram_free_offset));
    struct hl_abi_edit edit = {.address = HL_ABI_USER_START +
                                          (choices_below(choices, 64) << (9 * scale)) * HL__PAGE,
                               .page_count = 1 + choices_below(choices, 8),
                               .source = (uint32_t)choices_below(choices, 5),
                               .rights = (uint32_t)choices_below(choices, 16)};
    if (edit.source == HL_ABI_SOURCE_NONE)
        edit.rights = 0;
    if (edit.source == HL_ABI_SOURCE_RAM)
        edit.offset = free_offset + choices_below(choices, 128) * HL__PAGE;
    if (edit.source == HL_ABI_SOURCE_PROGRAM)
        edit.offset = choices_below(choices, 4) * HL__PAGE;
    if (choices_once_in(choices, 16))
        edit.address = any_address(guest);
    if (choices_once_in(choices, 16))
        edit.page_count = choices_below(choices, 3000);
    return edit;
}

static void plan_edit(struct hostile_guest *guest, struct hl_abi_call *call)
{
    struct hl_abi_edit edits[HL_ABI_EDITS_MAX];
    uint64_t most = choices_once_in(guest->choices, 16) ? HL_ABI_EDITS_MAX : 3;
    uint64_t count = 1 + choices_below(guest->choices, most);
    for (uint64_t i = 0; i < count; i++)
        edits[i] = plan_one_edit(guest);
    guest_write(guest, MESSAGE_ADDRESS, edits, count * sizeof *edits);
    call->arg[0] = choices_once_in(guest->choices, 16) ? any_address(guest) : MESSAGE_ADDRESS;
    call->arg[1] = choices_once_in(guest->choices, 16) ? any_size(guest) : count;
}

/* Takes page after page under tables of their own, until there are no more tables; or pairs of pages that
 * share no table but the root. */
static void plan_scatter(struct hostile_guest *guest, struct hl_abi_call *call)
{
    struct hl_abi_edit edits[HL_ABI_EDITS_MAX];
    bool pairs = choices_once_in(guest->choices, 2);
    uint64_t span = pairs ? UINT64_C(1) << 39 : HL__LARGE_PAGE;
    uint64_t start = pairs ? (1 + choices_below(guest->choices, 64)) * span - HL__PAGE
                           : HL_ABI_USER_START + (choices_below(guest->choices, 64) << 30);
    uint64_t free_offset =
        guest_word(guest, HL_ABI_BOOT_ADDRESS + offsetof(struct hl_abi_boot, ram_free_offset));
    uint64_t count = 1 + choices_below(guest->choices, HL_ABI_EDITS_MAX);
    for (uint64_t i = 0; i < count; i++)
        edits[i] = (struct hl_abi_edit){start + i * span, pairs ? 2 : 1, free_offset + i * HL__PAGE,
                                        HL_ABI_SOURCE_RAM, HL_ABI_RIGHT_WRITE};
    guest_write(guest, MESSAGE_ADDRESS, edits, count * sizeof *edits);
    call->arg[0] = MESSAGE_ADDRESS;
    call->arg[1] = count;
}

static void plan_exit(struct hostile_guest *guest, struct hl_abi_call *call)
{
    struct choices *choices = guest->choices;
    uint64_t signal = choices_below(choices, 4);
    call->arg[0] = choices_below(choices, 512);
    call->arg[1] = signal == 0 ? 0 : signal == 1 ? 6 : choices_below(choices, 256);
    call->arg[2] = choices_below(choices, 4);
    call->arg[3] = choices_once_in(choices, 2) ? HL_ABI_NO_VECTOR : choices_below(choices, 32);
    call->arg[4] = choices_word(choices);
}

static void plan_refuse(struct hostile_guest *guest, struct hl_abi_call *call)
{
    place_bytes(guest, call, 1);
    call->arg[0] = choices_below(guest->choices, HL_ABI_REFUSAL_COUNT + 1);
}

static void plan_sleep(struct hostile_guest *guest, struct hl_abi_call *call)
{
    call->arg[0] = 0;
    call->arg[1] = choices_below(guest->choices, 3);
    if (guest->may_wait)
        call->arg[0] = choices_once_in(guest->choices, 2) ? UINT64_MAX : 1000;
}

static void plan_op(struct hostile_guest *guest, uint32_t op, struct hl_abi_call *call)
{
    struct choices *choices = guest->choices;
    *call = (struct hl_abi_call){{0}, 0, 0};
    switch (op) {
    case HL_ABI_OP_REST:
        plan_rest(guest, call);
        break;
    case HL_ABI_OP_EXPORT:
        plan_export(guest, call);
        break;
    case HL_ABI_OP_HOST_CALL:
        plan_host_call(guest, call);
        break;
    case HL_ABI_OP_EXIT:
        plan_exit(guest, call);
        break;
    case HL_ABI_OP_EDIT:
        if (choices_once_in(choices, 16))
            plan_scatter(guest, call);
        else
            plan_edit(guest, call);
        break;
    case HL_ABI_OP_READ:
        place_bytes(guest, call, 0);
        break;
    case HL_ABI_OP_WRITE:
    case HL_ABI_OP_LOG:
        place_bytes(guest, call, 1);
        call->arg[0] =
            choices_once_in(choices, 8) ? choices_word(choices) : 1 + choices_below(choices, 2);
        call->arg[3] = choices_below(choices, 2);
        break;
    case HL_ABI_OP_WAIT:
        plan_sleep(guest, call);
        break;
    case HL_ABI_OP_REFUSE:
        plan_refuse(guest, call);
        break;
    case HL_ABI_OP_TIMER:
        call->arg[0] =
            choices_once_in(choices, 4) ? choices_word(choices) : choices_below(choices, 3000000);
        call->arg[1] =
            choices_once_in(choices, 2) ? choices_word(choices) : choices_below(choices, 3000000);
        break;
    default:
        call->arg[0] = choices_once_in(choices, 32) ? 9 : HL_ABI_VERSION_MIN;
        call->arg[1] = HL_ABI_VERSION_MAX;
    }
}

/* Operations that go on, then those that end a run, by how often they come. */
static uint32_t any_op(struct hostile_guest *guest)
{
    static const uint8_t ops[] = {
        HL_ABI_OP_REST, HL_ABI_OP_HOST_CALL, HL_ABI_OP_HOST_CALL, HL_ABI_OP_EDIT, HL_ABI_OP_EDIT,
        HL_ABI_OP_EDIT, HL_ABI_OP_WRITE,     HL_ABI_OP_WRITE,     HL_ABI_OP_READ, HL_ABI_OP_READ,
        HL_ABI_OP_LOG,  HL_ABI_OP_WAIT,      HL_ABI_OP_HOST_CALL, HL_ABI_OP_REST, HL_ABI_OP_REST,
        HL_ABI_OP_REST, HL_ABI_OP_TIMER,
    };
    static const uint8_t rare[] = {HL_ABI_OP_EXIT, HL_ABI_OP_REFUSE, HL_ABI_OP_EXPORT,
                                   HL_ABI_OP_HELLO};
    if (!guest->greeted && !choices_once_in(guest->choices, 32))
        return HL_ABI_OP_HELLO;
    if (choices_once_in(guest->choices, 12))
        return rare[choices_below(guest->choices, sizeof rare)];
    return ops[choices_below(guest->choices, sizeof ops)];
}

static struct hl__exit run_op(struct hostile_guest *guest)
{
    struct hl_abi_call call;
    uint32_t op = any_op(guest);
    bool damage = choices_once_in(guest->choices, 3);
    plan_op(guest, op, &call);
    if (damage)
        call.arg[choices_below(guest->choices, 6)] ^= choices_word(guest->choices);
    else
        guest->well_formed++;
    if (damage && op == HL_ABI_OP_WAIT && !guest->may_wait)
        call.arg[0] = 0;
    guest->greeted |= op == HL_ABI_OP_HELLO;
    return exit_call(guest, op, &call);
}

/* An exception, as the processor and the stub make an exit of it, or nearly so. */
static struct hl__exit run_fault(struct hostile_guest *guest)
{
    struct choices *choices = guest->choices;
    struct hl__cpu_state *state = &guest->vcpu->state;
    uint64_t frame[6] = {choices_below(choices, 32), choices_word(choices),
                         HL__SELECTOR_USER_CODE,     2,
                         choices_word(choices),      HL__SELECTOR_USER_DATA};
    uint64_t vector = choices_below(choices, HL__STUB_VECTORS);
    guest->faults++;
    hl__stub_segments(&state->system);
    state->general.rip = hl__stub_address(hl__stub_image) + vector * HL__STUB_VECTOR_SIZE + 3;
    state->system.cr2 = choices_word(choices);
    if (choices_once_in(choices, 8))
        state->general.rip = choices_word(choices);
    if (choices_once_in(choices, 8))
        state->system.cs.selector = HL__SELECTOR_USER_CODE;
    if (choices_once_in(choices, 8))
        state->system.cs.dpl = 3;
    if (choices_once_in(choices, 8))
        frame[2] = HL__SELECTOR_KERNEL_CODE;
    fake_write(guest->vcpu->vm, hl__system_gpa(HL__SYSTEM_FAULT_STACK + 1) - sizeof frame, frame,
               sizeof frame);
    return (struct hl__exit){.kind = HL__EXIT_DOORBELL, .port = HL__STUB_FAULT_PORT};
}

/* Exits that no honest guest makes. */
static struct hl__exit run_garbage(struct hostile_guest *guest)
{
    struct choices *choices = guest->choices;
    struct hl__exit exit = {.is_write = choices_once_in(choices, 2),
                            .port = (uint16_t)choices_below(choices, 65536),
                            .size = (uint32_t)choices_below(choices, 9),
                            .address = choices_word(choices)};
    switch (choices_below(choices, 16)) {
    case 0:
        exit.kind = (enum hl__exit_kind)(HL__EXIT_DOORBELL + choices_below(choices, 7));
        return exit;
    case 1:
        exit.kind = HL__EXIT_PORT;
        return exit;
    case 2:
        exit.kind = HL__EXIT_MEMORY;
        return exit;
    case 3:
        return exit_call(guest, (uint32_t)choices_word(choices), &(struct hl_abi_call){{0}, 0, 0});
    case 4:
        exit.kind = HL__EXIT_DOORBELL;
        exit.port = HL__STUB_POKE_PORT;
        return exit;
    case 5:
    case 6:
    case 7:
    case 8:
        exit.kind = HL__EXIT_INTERRUPTED;
        return exit;
    default:
        return run_fault(guest);
    }
}

static struct hl__exit hostile_run(struct hostile_guest *guest)
{
    if (++guest->steps > STEPS_MAX) {
        guest->steps = 0;
        return (struct hl__exit){.kind = HL__EXIT_SHUTDOWN};
    }
    if (choices_once_in(guest->choices, 4))
        hostile_guest_scribble(guest);
    if (choices_once_in(guest->choices, 16))
        leave_output(guest);
    return choices_once_in(guest->choices, 3) ? run_garbage(guest) : run_op(guest);
}

/* The ring-0 stub, which changes nothing that can be seen here. */
static struct hl__exit stub_run(struct hostile_guest *guest)
{
    guest->pokes++;
    if (!guest->honest && choices_once_in(guest->choices, 32))
        return (struct hl__exit){.kind = choices_once_in(guest->choices, 2) ? HL__EXIT_SHUTDOWN
                                                                            : HL__EXIT_MEMORY};
    if (!guest->honest && choices_once_in(guest->choices, 32))
        return (struct hl__exit){.kind = HL__EXIT_INTERRUPTED};
    return (struct hl__exit){.kind = HL__EXIT_DOORBELL, .port = HL__STUB_POKE_PORT};
}

static struct hl__exit guest_run(struct hostile_guest *guest, uint64_t instruction_pointer)
{
    const struct hl_abi_shim_image *shim = NULL;
    uint64_t physical;
    if (instruction_pointer >= hl__stub_address(hl__stub_poke) &&
        instruction_pointer < hl__stub_address(hl__stub_poke_end))
        return stub_run(guest);
    note_result(guest);
    if (fake_translate(guest->vcpu, HL_ABI_SHIM_ADDRESS, &physical, NULL))
        shim = fake_memory(guest->vcpu->vm, physical, sizeof *shim);
    bool starts = shim && instruction_pointer == shim->start;
    bool wakes = shim && instruction_pointer == shim->wake;
    guest->wakes += wakes;
    guest->steps = starts || wakes ? 0 : guest->steps;
    guest->greeted = !starts && (wakes || guest->greeted);
    return guest->honest ? honest_run(guest, starts) : hostile_run(guest);
}

struct hl__exit hostile_guest_run(void *user, struct fake_vcpu *vcpu)
{
    struct hostile_guest *guest = user;
    uint64_t instruction_pointer = vcpu->state.general.rip;
    guest->vcpu = vcpu;
    guest->exits++;
    vcpu->state.general.rip = RUNNING;
    struct hl__exit exit = guest_run(guest, instruction_pointer);
    guest->kinds[exit.kind]++;
    return exit;
}
