/*
 * Restore, as a property: whatever a guest did, afterwards memory, page tables, registers and
 * vector state are the snapshot's. Random runs change all of it; each is taken back and compared
 * byte for byte.
 *
 * HL_SEED sets the seed, HL_ROUNDS the number of runs.
 * test-labels: bed slow
 * test-timeout: 900
 */
#include "doubles/space_check.h"
#include "driver/override.h"
#include "fixture.h"
#include "linux_numbers.h"
#include "snapshot/snapshot.h"
#include "vm/x86_64/system_area.h"
#include "vm/x86_64/tables.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { ROUNDS = 1500, ROUNDS_IN_BED = 300 };
#else
enum { ROUNDS = 10000, ROUNDS_IN_BED = 1000 };
#endif

/* Pages whose rights the host knows: a canvas of neighbours, and places far apart, which need
 * tables of their own. */
enum { CANVAS_PAGES = 40, FAR_PAGES = 20, PLACES = CANVAS_PAGES + FAR_PAGES, UNKNOWN = 0x80 };
#define CANVAS_ADDRESS UINT64_C(0x200000000000)
#define CANVAS_ARGUMENT "0x200000000000,40"
#define FAR_ADDRESS UINT64_C(0x300000000000)
#define FAR_STRIDE (UINT64_C(1) << 30)

#define MEMORY_SIZE (UINT64_C(4) << 20)
#define TRANSFER_SEEN (UINT64_C(1) << 18) /* no message of this test is larger */
enum { SLOTS = 3, NEW_SNAPSHOT_EVERY = 211, SIBLING_EVERY = 607, FAR_EVERY = 13 };

struct model {
    uint8_t rights[PLACES];
};

/* A snapshot, and what must be so after a return to it. */
struct slot {
    hl_snapshot *snapshot;
    struct model model;
    uint64_t digest, mapped_pages;
    uint8_t vector[HL__VECTOR_STATE_SIZE];
};

struct world {
    hl_program *program;
    hl_sandbox *sandbox;
    struct slot slots[SLOTS];
    struct model now;
    uint64_t random;
    bool rests_oddly; /* where the guest itself would not find back: no place for a snapshot */
    hl_interrupt_handle *handle; /* the host function interrupts if set */
    uint8_t *bytes;              /* what host functions answer, and arguments are made of */
    unsigned counts[256];        /* statuses that runs came to */
};

static struct world world;

/* A driver that watches what the core does with the real one. */
static struct {
    hl__driver table;
    const hl__driver *real;
    struct hl__cpu_state last, wake;
    uint32_t last_groups, wake_groups;
    uint64_t wake_address, wakes, rearms;
    uint64_t last_system_call; /* what the ring-0 stub left for the guest, at the wake-up */
} spy;

static uint64_t left_by_system_call(const hl_sandbox *sandbox)
{
    uint64_t address = 0;
    if (sandbox)
        memcpy(&address, sandbox->vm->system + HL__SYSTEM_SYSCALL * HL__PAGE, sizeof address);
    return address;
}

static void spy_state_set(void *vcpu, uint32_t groups, const struct hl__cpu_state *state)
{
    spy.last = *state;
    spy.last_groups = groups;
    spy.real->state_set(vcpu, groups, state);
}

static hl_status spy_run(void *vcpu, struct hl__exit *exit, hl_error *err)
{
    if (spy.last_groups && spy.last.general.rip == spy.wake_address) {
        spy.wake = spy.last;
        spy.wake_groups = spy.last_groups;
        spy.last_system_call = left_by_system_call(world.sandbox);
        spy.wakes++;
    }
    spy.last_groups = 0;
    return spy.real->run(vcpu, exit, err);
}

static hl_status spy_dirty_rearm(void *vm, uint32_t slot, const uint64_t *bitmap, size_t words,
                                 hl_error *err)
{
    spy.rearms++;
    return spy.real->dirty_rearm(vm, slot, bitmap, words, err);
}

static void spy_install(void)
{
    hl_driver_info info = {.size = sizeof info};
    struct hl__machine machine;
    assert_status(HL_OK, hl__driver_find(NULL, &spy.real, &info, &machine, &fixture_error));
    spy.table = *spy.real;
    spy.table.name = "spy";
    spy.table.state_set = spy_state_set;
    spy.table.run = spy_run;
    if (spy.real->dirty_rearm)
        spy.table.dirty_rearm = spy_dirty_rearm;
    hl__driver_override(&spy.table, &info, &machine);
}

static uint64_t next_random(void)
{
    world.random ^= world.random << 13;
    world.random ^= world.random >> 7;
    world.random ^= world.random << 17;
    return world.random >> 11;
}

static uint64_t random_below(uint64_t limit)
{
    return next_random() % limit;
}

static bool one_in(uint64_t count)
{
    return random_below(count) == 0;
}

/* Small ones, about the size of the inline message, and those that need transfer memory. */
static size_t random_size(void)
{
    switch (random_below(4)) {
    case 0:
        return HL_ABI_INLINE_SIZE - 200 + random_below(400);
    case 1:
        return random_below(100000);
    default:
        return random_below(300);
    }
}

/* Comparing */

static const uint8_t *snapshot_page(const hl_snapshot *snapshot, uint64_t page)
{
    static const uint8_t zero[HL__PAGE];
    return hl__snapshot_has(snapshot, page) ? snapshot->memory + page * HL__PAGE : zero;
}

static void check_memory(const hl_sandbox *sandbox, const hl_snapshot *snapshot)
{
    for (uint64_t page = 0; page < snapshot->memory_size / HL__PAGE; page++)
        if (memcmp(sandbox->space->ram + page * HL__PAGE, snapshot_page(snapshot, page),
                   HL__PAGE) != 0)
            fail_msg("page %" PRIu64 " of memory differs from the snapshot", page);
    const uint8_t *transfer = sandbox->vm->transfer;
    for (uint64_t at = 0; transfer && at < TRANSFER_SEEN; at += sizeof(uint64_t))
        if (*(const uint64_t *)(transfer + at))
            fail_msg("transfer memory holds something at %#" PRIx64, at);
}

/* In this test all VMs are laid out alike, so that even the addresses in the tables are equal. */
static void check_tables(const hl_sandbox *sandbox, const struct slot *slot)
{
    const hl__space *space = sandbox->space;
    const hl_snapshot *snapshot = slot->snapshot;
    assert_int_equal(space->tables_gpa, snapshot->tables_gpa);
    assert_int_equal(space->ram_gpa, snapshot->ram_gpa);
    assert_true(space_tables_are(space, snapshot->tables, snapshot->table_count));
    for (uint64_t at = space->table_count * HL__PAGE; at < space->tables_max * HL__PAGE;
         at += sizeof(uint64_t))
        if (*(const uint64_t *)(space->tables + at))
            fail_msg("a page table beyond the snapshot's still has an entry at %#" PRIx64, at);
    for (size_t word = 0; word < hl__bitmap_words(space->tables_max); word++)
        assert_int_equal(space->tables_edited[word], 0);
    assert_int_equal(space->mapped_pages, slot->mapped_pages);
    assert_int_equal(space->transfer_size, 0);
    assert_int_equal(space->ram_free_offset, snapshot->ram_free_offset);
}

static void check_host_state(const hl_sandbox *sandbox, const hl_snapshot *snapshot)
{
    assert_int_equal(hl_sandbox_status(sandbox), HL_SANDBOX_READY);
    assert_int_equal(sandbox->guest.phase, HL__PHASE_RESTING);
    assert_ptr_equal(sandbox->guest.exports, snapshot->guest.exports);
    assert_int_equal(sandbox->guest.stdin_position, snapshot->guest.stdin_position);
    assert_ptr_equal(sandbox->baseline, snapshot);
}

static void check_all(const hl_sandbox *sandbox, const struct slot *slot)
{
    check_memory(sandbox, slot->snapshot);
    check_tables(sandbox, slot);
    check_host_state(sandbox, slot->snapshot);
}

static bool same_segment(const struct hl__segment *a, const struct hl__segment *b)
{
    return a->base == b->base && a->limit == b->limit && a->selector == b->selector &&
           a->type == b->type && a->dpl == b->dpl && a->present == b->present &&
           a->code_or_data == b->code_or_data && a->long_mode == b->long_mode &&
           a->default_big == b->default_big && a->granularity == b->granularity;
}

static void check_system_state(const struct hl__system_state *got,
                               const struct hl__system_state *wanted, uint64_t root)
{
    const struct hl__segment *g = &got->cs, *w = &wanted->cs;
    for (int i = 0; i < 8; i++)
        assert_true(same_segment(&g[i], &w[i]));
    assert_int_equal(got->gdt.base, wanted->gdt.base);
    assert_int_equal(got->gdt.limit, wanted->gdt.limit);
    assert_int_equal(got->idt.base, wanted->idt.base);
    assert_int_equal(got->idt.limit, wanted->idt.limit);
    assert_int_equal(got->cr0, wanted->cr0);
    assert_int_equal(got->cr2, 0);
    assert_int_equal(got->cr3, root);
    assert_int_equal(got->cr4, wanted->cr4);
    assert_int_equal(got->efer, wanted->efer);
}

/* The registers with which the guest was woken last. */
static void check_wake_registers(const hl_sandbox *sandbox)
{
    struct hl__cpu_state constants;
    struct hl__general_state general = {.rip = sandbox->vm->shim->wake, .rflags = 2};
    hl__user_state_build(sandbox->vm, &constants);
    assert_int_equal(spy.wake_groups, HL__STATE_GENERAL | HL__STATE_SYSTEM | HL__STATE_EVENTS);
    assert_memory_equal(&spy.wake.general, &general, sizeof general);
    check_system_state(&spy.wake.system, &constants.system, hl__space_root(sandbox->space));
}

/* Snapshots never change. */
static uint64_t digest(const hl_snapshot *snapshot)
{
    uint64_t sum = UINT64_C(14695981039346656037);
    const uint64_t *words = (const uint64_t *)snapshot->memory, *tables = snapshot->tables;
    for (uint64_t i = 0; i < snapshot->memory_size / sizeof *words; i++)
        sum = (sum ^ words[i]) * UINT64_C(1099511628211);
    for (uint64_t i = 0; i < snapshot->table_count * HL__PAGE / sizeof *tables; i++)
        sum = (sum ^ tables[i]) * UINT64_C(1099511628211);
    return sum;
}

static void vector_state(const hl_sandbox *sandbox, uint8_t *vector)
{
    struct hl__cpu_state state = {.vector = vector};
    memset(vector, 0, HL__VECTOR_STATE_SIZE);
    assert_status(HL_OK, spy.real->state_get(sandbox->vm->vcpu.driver_vcpu, HL__STATE_VECTOR,
                                             &state, &fixture_error));
}

/* Vector registers as they are after the same few instructions of the guest. */
static void vector_after_fixed_call(hl_sandbox *sandbox, uint8_t *vector)
{
    hl_value reply = fixture_call(sandbox, "fixed", NO_ARGUMENTS);
    hl_value_free(&reply);
    vector_state(sandbox, vector);
}

/* What the program chose for its floating point, and keeps over a restore: the control words of x87
 * and SSE, without flags. */
struct control_words {
    uint16_t x87;
    uint32_t mxcsr;
};

static struct control_words control_words(const uint8_t *vector)
{
    struct control_words words;
    memcpy(&words.x87, vector, sizeof words.x87);
    memcpy(&words.mxcsr, vector + 24, sizeof words.mxcsr);
    words.mxcsr &= ~UINT32_C(0x3f);
    return words;
}

static void check_control_words(const uint8_t *vector, const uint8_t *wanted)
{
    assert_int_equal(control_words(vector).x87, control_words(wanted).x87);
    assert_int_equal(control_words(vector).mxcsr, control_words(wanted).mxcsr);
}

static uint64_t place_address(unsigned place)
{
    return place < CANVAS_PAGES ? CANVAS_ADDRESS + place * HL__PAGE
                                : FAR_ADDRESS + (place - CANVAS_PAGES) * FAR_STRIDE;
}

/* The guest itself finds the rights that the model says, at some places and at all that differ from
 * `other`. */
static void probe(hl_sandbox *sandbox, const struct model *model, const struct model *other)
{
    uint64_t addresses[PLACES];
    unsigned places[PLACES], count = 0;
    for (unsigned place = 0; place < PLACES; place++)
        if (model->rights[place] != UNKNOWN &&
            (model->rights[place] != other->rights[place] || one_in(30))) {
            places[count] = place;
            addresses[count++] = place_address(place);
        }
    hl_value reply = fixture_call(
        sandbox, "probe", ARGUMENTS(hl_value_bytes(addresses, count * sizeof addresses[0])));
    assert_int_equal(reply.as.bytes.size, count);
    for (unsigned i = 0; i < count; i++)
        if ((uint8_t)reply.as.bytes.data[i] != model->rights[places[i]])
            fail_msg("%#" PRIx64
                     ": the guest has rights %d, in the snapshot it had %d, in the run %d",
                     addresses[i], reply.as.bytes.data[i], model->rights[places[i]],
                     other->rights[places[i]]);
    hl_value_free(&reply);
}

/* What the guest does */

static hl_status call(const char *function, const hl_value *arguments, size_t count,
                      hl_value *reply)
{
    fixture_error = (hl_error)HL_ERROR_INIT;
    hl_status status =
        hl_sandbox_call(world.sandbox, function, arguments, count, reply, &fixture_error);
    world.counts[status]++;
    if (hl_sandbox_status(world.sandbox) == HL_SANDBOX_READY)
        assert_int_equal(world.sandbox->guest.phase, HL__PHASE_RESTING);
    else
        assert_true(hl_status_poisons(status));
    return status;
}

static hl_status run_random_work(const char *function, uint64_t most)
{
    return call(function,
                ARGUMENTS(hl_value_u64(next_random()), hl_value_u64(1 + random_below(most))), NULL);
}

static hl_status run_scribble(void)
{
    return run_random_work("scribble", 2000);
}

static hl_status run_heap(void)
{
    return run_random_work("heap", 40);
}

static hl_status run_lazy(void)
{
    return run_random_work("lazy", 300);
}

static hl_status run_echo(void)
{
    hl_value reply = hl_value_null();
    size_t size = random_size();
    hl_status status = call("echo", ARGUMENTS(hl_value_bytes(world.bytes, size)), &reply);
    if (status == HL_OK)
        assert_int_equal(reply.as.bytes.size, size);
    hl_value_free(&reply);
    return status;
}

/* The guest calls the host, which answers with something of another size. */
static hl_status run_call_host(void)
{
    return call("call_host",
                ARGUMENTS(hl_value_bytes(world.bytes, random_size()), hl_value_u64(random_size())),
                NULL);
}

/* How the model changes where it worked. */
static void model_change(unsigned first, unsigned count, uint64_t done, const char *function,
                         int rights)
{
    for (unsigned i = 0; i < count; i++) {
        uint8_t *known = &world.now.rights[first + i];
        if (done >> i & 1)
            *known = (uint8_t)rights;
        else if (strcmp(function, "protect") != 0 || *known != LINUX_PROT_NONE)
            *known = UNKNOWN;
    }
}

/* Maps, protects or unmaps some neighbours. */
static hl_status run_pages(const char *function, unsigned first, unsigned count, uint64_t stride)
{
    static const int choices[] = {
        LINUX_PROT_NONE, LINUX_PROT_READ, LINUX_PROT_READ | LINUX_PROT_WRITE,
        LINUX_PROT_READ | LINUX_PROT_EXEC, LINUX_PROT_READ | LINUX_PROT_WRITE | LINUX_PROT_EXEC};
    int rights = strcmp(function, "unmap")
                     ? choices[random_below(sizeof choices / sizeof choices[0])]
                     : LINUX_PROT_NONE;
    hl_value reply = hl_value_null();
    hl_status status = call(function,
                            ARGUMENTS(hl_value_u64(place_address(first)), hl_value_u64(stride),
                                      hl_value_u64(count), hl_value_i32(rights)),
                            &reply);
    model_change(first, count, status == HL_OK ? reply.as.u64 : 0, function, rights);
    hl_value_free(&reply);
    return status;
}

static hl_status run_canvas(void)
{
    static const char *const functions[] = {"map", "protect", "protect", "unmap"};
    unsigned first = (unsigned)random_below(CANVAS_PAGES),
             count = 1 + (unsigned)random_below(CANVAS_PAGES - first);
    return run_pages(functions[random_below(4)], first, count, HL__PAGE);
}

static hl_status run_far(void)
{
    unsigned first = (unsigned)random_below(FAR_PAGES),
             count = 1 + (unsigned)random_below(FAR_PAGES - first);
    return run_pages(one_in(4) ? "unmap" : "map", CANVAS_PAGES + first, count, FAR_STRIDE);
}

static hl_status run_print(void)
{
    return call("print",
                ARGUMENTS(hl_value_i32(1 + (int)random_below(2)), hl_value_u64(random_below(3000))),
                NULL);
}

static hl_status run_read(void)
{
    return call("read_input", ARGUMENTS(hl_value_u64(random_below(200))), NULL);
}

static hl_status run_clocks(void)
{
    return call("clocks", NO_ARGUMENTS, NULL);
}

static hl_status run_vector(void)
{
    return call("vector", ARGUMENTS(hl_value_u64(next_random())), NULL);
}

/* And what it should not */

static hl_status run_hostile_rest(void)
{
    world.rests_oddly = true;
    return call("hostile_rest", ARGUMENTS(hl_value_u64(UINT64_C(0x5ec4e75ec4e75ec4))), NULL);
}

static hl_status run_fault(void)
{
    return call("touch", ARGUMENTS(hl_value_u64(random_below(UINT64_C(1) << 47))), NULL);
}

static hl_status run_leave(void)
{
    return call("leave", NO_ARGUMENTS, NULL);
}

static hl_status run_violation(void)
{
    uint64_t op = random_below(20);
    world.rests_oddly |= op == HL_ABI_OP_REST;
    return call("raw_out", ARGUMENTS(hl_value_u64(op)), NULL);
}

static hl_status run_timeout(void)
{
    uint64_t before = world.sandbox->options.timeout_ns;
    world.sandbox->options.timeout_ns = 200000;
    hl_status status = call("spin", NO_ARGUMENTS, NULL);
    world.sandbox->options.timeout_ns = before;
    return status;
}

static hl_status run_interrupted(void)
{
    world.handle = hl_sandbox_interrupt_handle(world.sandbox);
    hl_status status = run_call_host();
    hl_interrupt_handle_free(world.handle);
    world.handle = NULL;
    return status;
}

static void random_run(void)
{
    static hl_status (*const honest[])(void) = {run_scribble,  run_heap,   run_lazy,   run_echo,
                                                run_call_host, run_canvas, run_canvas, run_far,
                                                run_print,     run_read,   run_clocks, run_vector};
    static hl_status (*const hostile[])(void) = {run_hostile_rest, run_hostile_rest, run_fault,
                                                 run_leave,        run_violation,    run_timeout,
                                                 run_interrupted};
    unsigned steps = 1 + (unsigned)random_below(4);
    for (unsigned step = 0; step < steps && hl_sandbox_status(world.sandbox) == HL_SANDBOX_READY;
         step++)
        (void)honest[random_below(sizeof honest / sizeof honest[0])]();
    if (one_in(5) && hl_sandbox_status(world.sandbox) == HL_SANDBOX_READY)
        (void)hostile[random_below(sizeof hostile / sizeof hostile[0])]();
}

/* Snapshots and sandboxes */

static hl_status host_function(hl_call *call, const hl_value *arguments, size_t count,
                               hl_value *reply, void *user)
{
    (void)call, (void)user;
    if (world.handle)
        hl_sandbox_interrupt(world.handle);
    *reply = hl_value_bytes(world.bytes, count == 2 ? arguments[1].as.u64 : 0);
    return HL_OK;
}

static void take_digest(struct slot *slot)
{
    hl_sandbox *sibling;
    assert_status(HL_OK, hl_sandbox_from_snapshot(slot->snapshot, NULL, &sibling, &fixture_error));
    slot->digest = digest(slot->snapshot);
    check_all(sibling, slot);
    vector_after_fixed_call(sibling, slot->vector);
    hl_sandbox_free(sibling);
}

static void drop_slot(struct slot *slot)
{
    if (slot->snapshot)
        assert_int_equal(digest(slot->snapshot), slot->digest);
    hl_snapshot_free(slot->snapshot);
    slot->snapshot = NULL;
}

static void fill_slot(struct slot *slot)
{
    static uint8_t vector[HL__VECTOR_STATE_SIZE];
    hl_snapshot *snapshot;
    vector_state(world.sandbox, vector);
    assert_status(HL_OK, hl_sandbox_snapshot(world.sandbox, &snapshot, &fixture_error));
    drop_slot(slot);
    slot->snapshot = snapshot;
    slot->model = world.now;
    slot->mapped_pages = world.sandbox->space->mapped_pages;
    check_memory(world.sandbox, snapshot);
    take_digest(slot);
    check_control_words(slot->vector, vector);
}

static void restore(struct slot *slot)
{
    uint64_t generation = world.sandbox->space->wake->generation;
    assert_status(HL_OK, hl_sandbox_restore(world.sandbox, slot->snapshot, &fixture_error));
    assert_int_not_equal(world.sandbox->space->wake->generation, generation);
    check_all(world.sandbox, slot);
}

/* The guest agrees that it is back. */
static void prove(const struct slot *slot, const struct model *run)
{
    static uint8_t vector[HL__VECTOR_STATE_SIZE];
    uint64_t wakes = spy.wakes;
    vector_after_fixed_call(world.sandbox, vector);
    assert_int_equal(spy.wakes, wakes + 1);
    check_wake_registers(world.sandbox);
    assert_int_equal(spy.last_system_call, 0);
    assert_memory_equal(vector, slot->vector, sizeof vector);
    probe(world.sandbox, &slot->model, run);
}

/* The slot that the sandbox is near to, or now and then another. */
static struct slot *choose_slot(void)
{
    struct slot *any = &world.slots[random_below(SLOTS)];
    if (one_in(FAR_EVERY) && any->snapshot)
        return any;
    for (int i = 0; i < SLOTS; i++)
        if (world.slots[i].snapshot == world.sandbox->baseline)
            return &world.slots[i];
    return &world.slots[0];
}

/* The world goes on in a new sandbox; the old one is gone. */
static void move_to_sibling(void)
{
    struct slot *slot = choose_slot();
    hl_sandbox_free(world.sandbox);
    assert_status(HL_OK,
                  hl_sandbox_from_snapshot(slot->snapshot, NULL, &world.sandbox, &fixture_error));
    check_all(world.sandbox, slot);
    world.now = slot->model;
    if (one_in(2))
        restore(slot);
}

static void random_round(uint64_t round)
{
    if (round % SIBLING_EVERY == 0)
        move_to_sibling();
    world.rests_oddly = false;
    random_run();
    if (round % NEW_SNAPSHOT_EVERY == 0 && hl_sandbox_status(world.sandbox) == HL_SANDBOX_READY &&
        !world.rests_oddly)
        fill_slot(&world.slots[1 + random_below(SLOTS - 1)]);
    struct slot *slot = choose_slot();
    struct model run = world.now;
    restore(slot);
    world.now = slot->model;
    if (!one_in(4))
        prove(slot, &run);
}

static void canvas_model(struct model *model)
{
    static const uint8_t rights[] = {LINUX_PROT_READ | LINUX_PROT_WRITE, LINUX_PROT_READ,
                                     LINUX_PROT_READ | LINUX_PROT_EXEC, LINUX_PROT_NONE,
                                     LINUX_PROT_NONE};
    memset(model, LINUX_PROT_NONE, sizeof *model);
    for (unsigned page = 0; page < CANVAS_PAGES; page++)
        model->rights[page] = rights[page % 5];
}

static int set_up(void **state)
{
    static const char input[100000] = "input";
    hl_host_functions *functions;
    (void)state;
    spy_install();
    world.random = fixture_number("HL_SEED", 20261122) | 1;
    world.bytes = malloc(TRANSFER_SEEN);
    memset(world.bytes, 0xa7, TRANSFER_SEEN);
    assert_status(HL_OK, hl_host_functions_new(&functions, &fixture_error));
    assert_status(HL_OK, hl_host_functions_add(functions, "host", NULL, host_function, NULL, NULL,
                                               &fixture_error));
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.memory_size = MEMORY_SIZE, .seed_fixed = true, .host_functions = functions,
                        .stdout_stream = {.mode = HL_STREAM_CAPTURE, .capacity = UINT64_C(1) << 30},
                        .stdin_stream = {
                            .mode = HL_STREAM_MEMORY, .data = input, .data_size = sizeof input});
    world.program = fixture_program("state.musl", CANVAS_ARGUMENT);
    assert_status(HL_OK, hl_sandbox_new(world.program, &options, &world.sandbox, &fixture_error));
    hl_host_functions_free(functions);
    spy.wake_address = world.sandbox->vm->shim->wake;
    canvas_model(&world.now);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < SLOTS; i++)
        drop_slot(&world.slots[i]);
    hl_sandbox_free(world.sandbox);
    hl_program_free(world.program);
    free(world.bytes);
    hl__driver_override(NULL, NULL, NULL);
    return 0;
}

static void print_statuses(void)
{
    for (int status = 0; status < 256; status++)
        if (world.counts[status])
            print_message("  %-24s %u\n", hl_status_name((hl_status)status), world.counts[status]);
}

static void random_runs_are_taken_back(void **state)
{
    (void)state;
    uint64_t rounds = fixture_number("HL_ROUNDS", getenv("BED_INSIDE") ? ROUNDS_IN_BED : ROUNDS);
    print_message("%" PRIu64 " random runs, HL_SEED=%" PRIu64 "\n", rounds, world.random);
    probe(world.sandbox, &world.now, &(struct model){{0}});
    fill_slot(&world.slots[0]);
    for (uint64_t round = 1; round <= rounds; round++) {
        random_round(round);
        char *output;
        size_t size;
        assert_status(HL_OK, hl_sandbox_output(world.sandbox, 1, &output, &size, &fixture_error));
        hl_output_free(output);
    }
    print_statuses();
    if (spy.table.dirty_rearm && rounds > 1000)
        assert_true(spy.rearms > 0);
}

/* Many pages: the hot set is dropped each time, and none of them may be missed afterwards. */
static void a_large_working_set_is_taken_back(void **state)
{
    (void)state;
    enum { PAGES = 1500, TIMES = 12 };
    const hl_sandbox_options options = FIXTURE_OPTIONS(.memory_size = UINT64_C(16) << 20);
    struct slot slot = {.snapshot = NULL};
    uint64_t rearms = spy.rearms;
    hl_sandbox *sandbox = fixture_sandbox("state.musl", &options);
    assert_status(HL_OK, hl_sandbox_snapshot(sandbox, &slot.snapshot, &fixture_error));
    slot.mapped_pages = sandbox->space->mapped_pages;
    for (unsigned i = 0; i < TIMES; i++) {
        uint64_t pages = i % 2 ? PAGES : 20 * i;
        fixture_expect(HL_OK, sandbox, "fill",
                       ARGUMENTS(hl_value_u64(pages), hl_value_i32((int)i)));
        assert_status(HL_OK, hl_sandbox_restore(sandbox, slot.snapshot, &fixture_error));
        check_all(sandbox, &slot);
    }
    if (spy.table.dirty_rearm)
        assert_int_equal(spy.rearms - rearms, TIMES / 2);
    hl_sandbox_free(sandbox);
    hl_snapshot_free(slot.snapshot);
}

/* Sandboxes of one program whose options leave them different room for page tables. */
static void snapshots_of_another_layout(void **state)
{
    (void)state;
    enum { FAR = 50 };
    const uint64_t stride = UINT64_C(1) << 39;
    const hl_sandbox_options narrow =
        FIXTURE_OPTIONS(.memory_size = MEMORY_SIZE, .request_size_max = 4096);
    /* Each page under three tables of its own. */
    hl_value far[] = {hl_value_u64(FAR_ADDRESS), hl_value_u64(stride), hl_value_u64(FAR),
                      hl_value_i32(LINUX_PROT_READ | LINUX_PROT_WRITE)};
    hl_snapshot *few, *many;
    hl_sandbox *wide = world.sandbox, *small, *none;
    assert_status(HL_OK, hl_sandbox_new(world.program, &narrow, &small, &fixture_error));
    assert_status(HL_OK, hl_sandbox_snapshot(small, &few, &fixture_error));
    /* The random runs may have left no memory. */
    assert_status(HL_OK, hl_sandbox_restore(wide, few, &fixture_error));
    assert_int_equal(fixture_call_u64(wide, "map", far, 4), (UINT64_C(1) << FAR) - 1);
    far[0] = hl_value_u64(FAR_ADDRESS + FAR * stride);
    assert_int_equal(fixture_call_u64(wide, "map", far, 4), (UINT64_C(1) << FAR) - 1);
    assert_status(HL_OK, hl_sandbox_snapshot(wide, &many, &fixture_error));
    assert_true(many->table_count > small->space->tables_max);
    assert_status(HL_INCOMPATIBLE_SNAPSHOT, hl_sandbox_restore(small, many, &fixture_error));
    assert_status(HL_INCOMPATIBLE_SNAPSHOT,
                  hl_sandbox_from_snapshot(many, &narrow, &none, &fixture_error));
    assert_int_equal(fixture_call_u64(small, "fixed", NO_ARGUMENTS), 1);
    assert_status(HL_OK, hl_sandbox_restore(wide, few, &fixture_error));
    assert_int_equal(fixture_call_u64(wide, "fixed", NO_ARGUMENTS), 1);
    fixture_expect(HL_GUEST_FAULT, wide, "touch", ARGUMENTS(hl_value_u64(FAR_ADDRESS)));
    assert_status(HL_OK, hl_sandbox_restore(wide, many, &fixture_error));
    fixture_expect(HL_OK, wide, "touch", ARGUMENTS(hl_value_u64(FAR_ADDRESS)));
    hl_sandbox_free(small);
    hl_snapshot_free(few);
    hl_snapshot_free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_runs_are_taken_back),
        cmocka_unit_test(a_large_working_set_is_taken_back),
        cmocka_unit_test(snapshots_of_another_layout),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
