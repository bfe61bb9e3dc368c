/* What the hostile tests share. */
#include "hostile.h"
#include <cpuid.h>
#include <hyperlight/driver.h>
#include <stdlib.h>

static void keep_fingerprint(struct hostile *hostile)
{
    assert_status(HL_OK, hl_sandbox_restore(hostile->victim, hostile->snapshot, &fixture_error));
    hl_value print = fixture_call(hostile->victim, "fingerprint", NO_ARGUMENTS);
    assert_int_equal(print.type, HL_TYPE_BYTES);
    hostile->fingerprint_size = print.as.bytes.size;
    hostile->fingerprint = malloc(print.as.bytes.size);
    memcpy(hostile->fingerprint, print.as.bytes.data, print.as.bytes.size);
    hl_value_free(&print);
}

static void learn_places(struct hostile *hostile)
{
    hl_value list = fixture_call(hostile->victim, "places", NO_ARGUMENTS);
    assert_int_equal(list.as.list.count, PLACE_COUNT);
    for (size_t i = 0; i < PLACE_COUNT; i++)
        hostile->places[i] = list.as.list.items[i].as.u64;
    hl_value_free(&list);
}

static bool runs_in_emulator(void)
{
    unsigned eax, name[3];
    __cpuid(0x40000000, eax, name[0], name[1], name[2]);
    return memcmp(name, "TCGTCGTCGTCG", sizeof name) == 0;
}

static hl_sandbox *new_sandbox(hl_context *context, const hl_sandbox_options *options)
{
    hl_program *program;
    hl_sandbox *sandbox;
    const hl_program_options program_options = {.size = sizeof program_options, .context = context};
    assert_status(HL_OK, hl_program_open(HL_TEST_GUESTS "/hostile_agent.musl", &program_options,
                                         &program, &fixture_error));
    assert_status(HL_OK, hl_sandbox_new(program, options, &sandbox, &fixture_error));
    hl_program_free(program);
    return sandbox;
}

/* The driver that sandboxes get here. */
static hl_driver_info probe_driver(void)
{
    hl_driver_info info = {.size = sizeof info};
    for (size_t i = 0; hl_driver_name(i); i++) {
        assert_status(HL_OK, hl_driver_probe(hl_driver_name(i), &info, &fixture_error));
        if (info.status == HL_OK)
            return info;
    }
    fail_msg("no driver is usable");
    return info;
}

int hostile_set_up_in(void **state, hl_context *context, const hl_sandbox_options *options)
{
    static struct hostile hostile;
    hl_driver_info info = probe_driver();
    hostile = (struct hostile){.tells_strings = strcmp(info.name, "kvm") != 0,
                               .page_table = info.virtualization == HL_VIRTUALIZATION_PAGE_TABLE,
                               .emulated = runs_in_emulator(),
                               .umip = (info.capabilities & HL_CAPABILITY_UMIP) != 0};
    hostile.victim = new_sandbox(context, options);
    hostile.neighbour = new_sandbox(context, options);
    learn_places(&hostile);
    assert_status(HL_OK, hl_sandbox_snapshot(hostile.victim, &hostile.snapshot, &fixture_error));
    keep_fingerprint(&hostile);
    *state = &hostile;
    return 0;
}

int hostile_set_up_with(void **state, const hl_sandbox_options *options)
{
    return hostile_set_up_in(state, NULL, options);
}

int hostile_set_up(void **state)
{
    return hostile_set_up_with(state, NULL);
}

int hostile_tear_down(void **state)
{
    struct hostile *hostile = *state;
    hl_sandbox_free(hostile->victim);
    hl_sandbox_free(hostile->neighbour);
    hl_snapshot_free(hostile->snapshot);
    free(hostile->fingerprint);
    return 0;
}

static int signal_of(enum outcome outcome)
{
    switch (outcome) {
    case DE:
    case MF:
    case XM:
        return LINUX_SIGFPE;
    case DB:
    case BP:
        return LINUX_SIGTRAP;
    case UD:
        return LINUX_SIGILL;
    case NP:
    case SS:
    case AC:
        return LINUX_SIGBUS;
    default:
        return LINUX_SIGSEGV;
    }
}

void hostile_check_fault(enum outcome outcome, uint64_t address, uint64_t instruction)
{
    const hl_error *error = &fixture_error;
    uint64_t expected_address = outcome == PF ? address : 0;
    if (error->fault_vector != outcome || error->fault_address != expected_address ||
        error->instruction_pointer != instruction || error->signal != signal_of(outcome))
        fail_msg("expected vector %d, address %#llx, instruction %#llx, signal %d; got '%s'",
                 outcome, (unsigned long long)expected_address, (unsigned long long)instruction,
                 signal_of(outcome), error->message);
}

void hostile_status(struct hostile *hostile, hl_status status, const char *function,
                    const hl_value *arguments, size_t count)
{
    fixture_expect(status, hostile->victim, function, arguments, count);
}

void hostile_expect(struct hostile *hostile, enum outcome outcome, uint64_t address,
                    uint64_t instruction, const char *function, const hl_value *arguments,
                    size_t count)
{
    hl_status status = outcome == RUNS       ? HL_OK
                       : outcome == VIOLATES ? HL_GUEST_VIOLATION
                       : outcome == HANGS    ? HL_TIMED_OUT
                                             : HL_GUEST_FAULT;
    hostile_status(hostile, status, function, arguments, count);
    if (status == HL_GUEST_FAULT)
        hostile_check_fault(outcome, address, instruction);
}

bool hostile_blames_guest(hl_status status)
{
    return status == HL_OK || (status >= HL_GUEST_ERROR && status <= HL_REPLY_TOO_LARGE) ||
           status == HL_TIMED_OUT || status == HL_MEMORY_LIMIT || status == HL_OUTPUT_LIMIT ||
           status == HL_HOST_CALL_LIMIT;
}

void hostile_aftermath(struct hostile *hostile)
{
    assert_status(HL_OK, hl_sandbox_restore(hostile->victim, hostile->snapshot, &fixture_error));
    hl_value print = fixture_call(hostile->victim, "fingerprint", NO_ARGUMENTS);
    assert_int_equal(print.as.bytes.size, hostile->fingerprint_size);
    assert_memory_equal(print.as.bytes.data, hostile->fingerprint, hostile->fingerprint_size);
    hl_value_free(&print);
    fixture_honest_call(hostile->victim);
    fixture_honest_call(hostile->neighbour);
}

int64_t hostile_raw_result(struct hostile *hostile, uint32_t op, uint64_t a0, uint64_t a1,
                           uint64_t a2, uint64_t a3)
{
    hl_value reply = fixture_call(hostile->victim, "raw",
                                  ARGUMENTS(hl_value_u64(op), hl_value_u64(a0), hl_value_u64(a1),
                                            hl_value_u64(a2), hl_value_u64(a3)));
    assert_int_equal(reply.type, HL_TYPE_I64);
    return reply.as.i64;
}

void hostile_raw(struct hostile *hostile, hl_status status, uint32_t op, uint64_t a0, uint64_t a1,
                 uint64_t a2, uint64_t a3)
{
    hostile_status(hostile, status, "raw",
                   ARGUMENTS(hl_value_u64(op), hl_value_u64(a0), hl_value_u64(a1), hl_value_u64(a2),
                             hl_value_u64(a3)));
    hostile_aftermath(hostile);
}

void hostile_poke(struct hostile *hostile, uint64_t address, const void *data, size_t size)
{
    hl_value reply = fixture_call(hostile->victim, "poke",
                                  ARGUMENTS(hl_value_u64(address), hl_value_bytes(data, size)));
    hl_value_free(&reply);
}
