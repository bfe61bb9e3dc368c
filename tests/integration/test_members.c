/*
 * Two address spaces in one VM: the same addresses with different memory. The API offers one VM per
 * sandbox only; inside, VM, vCPU and sandbox are separate, and this holds them apart.
 * test-labels: bed
 */
#include "fixture.h"
#include "sandbox/sandbox.h"
#include "snapshot/snapshot.h"
#include <pthread.h>
#include <unistd.h>

enum { ROUNDS = 10000, MEMBERS = 2 };

struct pair {
    hl__vm *vm;
    hl_snapshot *snapshot;
    hl_sandbox *members[MEMBERS];
};

/* Both members start from one snapshot, whose memory is copied into each. */
static hl_sandbox *make_member(struct pair *pair)
{
    hl_sandbox_options options = pair->snapshot->options;
    hl_sandbox *sandbox;
    uint8_t *ram = pair->vm->ram + pair->vm->member_count * pair->snapshot->memory_size;
    for (uint64_t page = 0; page < pair->snapshot->memory_size / HL__PAGE; page++)
        if (hl__snapshot_has(pair->snapshot, page))
            memcpy(ram + page * HL__PAGE, pair->snapshot->memory + page * HL__PAGE, HL__PAGE);
    assert_status(HL_OK, hl__sandbox_from_snapshot_in(pair->vm, pair->snapshot, &options, &sandbox,
                                                      &fixture_error));
    return sandbox;
}

static int set_up(void **state)
{
    static struct pair pair;
    const hl_sandbox_options options = FIXTURE_OPTIONS(.timeout_ns = UINT64_C(2000000000));
    hl_sandbox *first = fixture_sandbox("plugin.musl", &options);
    assert_status(HL_OK, hl_sandbox_snapshot(first, &pair.snapshot, &fixture_error));
    const hl__vm_config config = {.memory_size = pair.snapshot->memory_size,
                                  .transfer_size_max = 1 << 20,
                                  .members_max = MEMBERS,
                                  .tracked = true};
    assert_status(
        HL_OK, hl__vm_new(first->context, first->vm->program, &config, &pair.vm, &fixture_error));
    hl_sandbox_free(first);
    for (int i = 0; i < MEMBERS; i++)
        pair.members[i] = make_member(&pair);
    *state = &pair;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *pair = *state;
    for (int i = 0; i < MEMBERS; i++)
        hl_sandbox_free(pair->members[i]);
    hl__vm_unref(pair->vm);
    hl_snapshot_free(pair->snapshot);
    return 0;
}

/* Each member counts for itself; now and then one of them is taken back, and the other must not
 * notice. */
static void alternating_calls_keep_apart(void **state)
{
    struct pair *pair = *state;
    uint64_t counts[MEMBERS] = {0, 0};
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned member = round % MEMBERS;
        if (round % 97 == 0) {
            assert_status(
                HL_OK, hl_sandbox_restore(pair->members[member], pair->snapshot, &fixture_error));
            counts[member] = 0;
        }
        assert_int_equal(fixture_call_u64(pair->members[member], "count_up", NO_ARGUMENTS),
                         ++counts[member]);
    }
}

static void *interrupt_soon(void *handle)
{
    while (hl_sandbox_interrupt(handle) != HL_OK)
        usleep(1000);
    return NULL;
}

static void a_fault_stays_with_its_member(void **state)
{
    struct pair *pair = *state;
    uint64_t before = fixture_call_u64(pair->members[1], "count_up", NO_ARGUMENTS);
    fixture_expect(HL_GUEST_FAULT, pair->members[0], "touch",
                   ARGUMENTS(hl_value_u64(16), hl_value_i32(1)));
    assert_int_equal(fixture_call_u64(pair->members[1], "count_up", NO_ARGUMENTS), before + 1);
    assert_status(HL_OK, hl_sandbox_restore(pair->members[0], pair->snapshot, &fixture_error));
    assert_int_equal(fixture_call_u64(pair->members[0], "count_up", NO_ARGUMENTS), 1);
    assert_int_equal(fixture_call_u64(pair->members[1], "count_up", NO_ARGUMENTS), before + 2);
}

static void a_cancellation_stays_with_its_member(void **state)
{
    struct pair *pair = *state;
    pthread_t thread;
    uint64_t before = fixture_call_u64(pair->members[0], "count_up", NO_ARGUMENTS);
    hl_interrupt_handle *handle = hl_sandbox_interrupt_handle(pair->members[1]);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, handle), 0);
    fixture_expect(HL_INTERRUPTED, pair->members[1], "spin", NO_ARGUMENTS);
    pthread_join(thread, NULL);
    hl_interrupt_handle_free(handle);
    assert_int_equal(fixture_call_u64(pair->members[0], "count_up", NO_ARGUMENTS), before + 1);
    assert_status(HL_OK, hl_sandbox_restore(pair->members[1], pair->snapshot, &fixture_error));
    assert_int_equal(fixture_call_u64(pair->members[1], "count_up", NO_ARGUMENTS), 1);
    assert_int_equal(fixture_call_u64(pair->members[0], "count_up", NO_ARGUMENTS), before + 2);
}

static void edits_stay_with_their_member(void **state)
{
    struct pair *pair = *state;
    uint64_t area =
        fixture_call_u64(pair->members[0], "map_and_protect", ARGUMENTS(hl_value_u64(512)));
    uint64_t last = area + 511 * HL__PAGE;
    fixture_expect(HL_GUEST_FAULT, pair->members[1], "touch",
                   ARGUMENTS(hl_value_u64(last), hl_value_i32(0)));
    assert_int_equal(fixture_error.fault_address, last);
    assert_int_equal(
        fixture_call_u64(pair->members[0], "touch", ARGUMENTS(hl_value_u64(last), hl_value_i32(0))),
        0x77);
    fixture_expect(HL_GUEST_FAULT, pair->members[0], "touch",
                   ARGUMENTS(hl_value_u64(last), hl_value_i32(1)));
    for (int i = 0; i < MEMBERS; i++) {
        assert_status(HL_OK, hl_sandbox_restore(pair->members[i], pair->snapshot, &fixture_error));
        fixture_honest_call(pair->members[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alternating_calls_keep_apart),
        cmocka_unit_test(a_fault_stays_with_its_member),
        cmocka_unit_test(a_cancellation_stays_with_its_member),
        cmocka_unit_test(edits_stay_with_their_member),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
