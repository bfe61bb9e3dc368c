/*
 * The hypercalls, made past the shim with everything that a guest could put into them: arguments,
 * replies that lie, edits of the address space that nobody may have, declarations, garbage in the
 * mailbox.
 * test-labels: bed
 */
#include "hostile.h"
#include "sandbox/sandbox.h"
#include <errno.h>

enum { SMALL = 8192 };

/* A message in the victim's scratch memory, built by the test. */
struct draft {
    uint8_t bytes[SMALL];
    size_t size;
};

static void put(struct draft *draft, const void *data, size_t size)
{
    assert_true(draft->size + size <= sizeof draft->bytes);
    memcpy(draft->bytes + draft->size, data, size);
    draft->size += size;
}

static void put_value(struct draft *draft, uint8_t type, uint8_t flags, uint64_t data)
{
    const struct hl_wire_value value = {.type = type, .flags = flags, .data = data};
    put(draft, &value, sizeof value);
}

static void put_u64(struct draft *draft, uint64_t number)
{
    put(draft, &number, sizeof number);
}

static void put_reference(struct draft *draft, uint64_t address, uint64_t size)
{
    put_value(draft, HL_TYPE_BYTES, HL_WIRE_REFERENCE, size);
    put_u64(draft, address);
}

static void begin(struct draft *draft, uint32_t kind, uint32_t count)
{
    const struct hl_wire_head head = {kind, count, 0};
    draft->size = 0;
    put(draft, &head, sizeof head);
}

static void finish(struct draft *draft)
{
    uint64_t size = draft->size;
    memcpy(draft->bytes + offsetof(struct hl_wire_head, size), &size, sizeof size);
}

static uint64_t scratch(const struct hostile *hostile)
{
    return hostile->places[PLACE_SCRATCH];
}

/* The victim answers a call with this draft. */
static void reply(struct hostile *hostile, hl_status status, struct draft *draft)
{
    finish(draft);
    hostile_poke(hostile, scratch(hostile), draft->bytes, draft->size);
    hostile_raw(hostile, status, HL_ABI_OP_REST, HL_ABI_OUTCOME_OK, scratch(hostile), draft->size,
                0);
}

/* Operations that are illegal in a call, or do not exist. */
static void wrong_operations(void **state)
{
    static const uint32_t operations[] = {
        0,   HL_ABI_OP_EXPORT, HL_ABI_OP_HELLO, HL_ABI_OP_COUNT, 13,        255,
        256, 0x10001,          0x7fffffff,      0x80000000,      UINT32_MAX};
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        hostile_raw(*state, HL_GUEST_VIOLATION, operations[i], 1, 1, 1, 1);
    for (uint64_t refusal = 0; refusal <= HL_ABI_REFUSAL_COUNT; refusal++)
        hostile_raw(*state, refusal == HL_ABI_REFUSAL_MEMORY ? HL_MEMORY_LIMIT : HL_GUEST_VIOLATION,
                    HL_ABI_OP_REFUSE, refusal, 0, 0, 0);
}

static void outcomes(void **state)
{
    static const uint64_t wrong[] = {HL_ABI_OUTCOME_NONE, HL_ABI_OUTCOME_COUNT,  100,
                                     UINT64_C(1) << 32,   UINT64_C(0x100000001), UINT64_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        hostile_raw(*state, HL_GUEST_VIOLATION, HL_ABI_OP_REST, wrong[i], 0, 0, 0);
    hostile_raw(*state, HL_REPLY_TOO_LARGE, HL_ABI_OP_REST, HL_ABI_OUTCOME_TOO_LARGE, 0, 0, 0);
    hostile_raw(*state, HL_GUEST_BAD_REPLY, HL_ABI_OP_REST, HL_ABI_OUTCOME_ANSWER_TOO_LARGE, 0, 0,
                0);
    hostile_raw(*state, HL_GUEST_BAD_REPLY, HL_ABI_OP_REST, HL_ABI_OUTCOME_INVALID, 0, 0, 0);
}

/* What an exit claims of a fault counts only if the host saw that fault. */
static void exits(void **state)
{
    struct hostile *hostile = *state;
    hostile_raw(hostile, HL_GUEST_EXITED, HL_ABI_OP_EXIT, 7, 0, 0, HL_ABI_NO_VECTOR);
    assert_int_equal(hl_sandbox_status(hostile->victim), HL_SANDBOX_READY);
    hostile_status(
        hostile, HL_GUEST_EXITED, "raw",
        ARGUMENTS(hl_value_u64(HL_ABI_OP_EXIT), hl_value_u64(0xffffff07), hl_value_u64(128)));
    assert_int_equal(fixture_error.exit_code, 7);
    hostile_aftermath(hostile);
    for (uint64_t vector = 0; vector < 40; vector++) {
        if (vector == PF)
            continue; /* memory that is backed on first touch makes some of them */
        hostile_status(hostile, HL_GUEST_FAULT, "raw",
                       ARGUMENTS(hl_value_u64(HL_ABI_OP_EXIT), hl_value_u64(0),
                                 hl_value_u64(LINUX_SIGSEGV), hl_value_u64(0), hl_value_u64(vector),
                                 hl_value_u64(0x1234), hl_value_u64(0x5678)));
        assert_int_equal(fixture_error.fault_vector, HL_NO_VECTOR);
        assert_int_equal(fixture_error.fault_address, 0);
        assert_int_equal(fixture_error.instruction_pointer, 0);
        hostile_aftermath(hostile);
    }
}

/* Where the reply is said to lie. */
static void replies_that_lie(void **state)
{
    struct hostile *hostile = *state;
    uint64_t mailbox = HL_ABI_MAILBOX_ADDRESS;
    const struct {
        uint64_t address, size;
        hl_status status;
    } cases[] = {
        {scratch(hostile), 0, HL_GUEST_BAD_REPLY},
        {scratch(hostile), 1, HL_GUEST_BAD_REPLY},
        {scratch(hostile), 15, HL_GUEST_BAD_REPLY},
        {scratch(hostile), 16, HL_GUEST_BAD_REPLY},
        {scratch(hostile), 65536, HL_GUEST_BAD_REPLY},
        {scratch(hostile), UINT64_C(1) << 63, HL_REPLY_TOO_LARGE},
        {scratch(hostile), UINT64_MAX, HL_REPLY_TOO_LARGE},
        {scratch(hostile), HL_TRANSFER_SIZE_DEFAULT + 1, HL_REPLY_TOO_LARGE},
        {scratch(hostile), HL_TRANSFER_SIZE_DEFAULT, HL_GUEST_BAD_REPLY},
        {0, 32, HL_GUEST_BAD_REPLY},
        {UINT64_MAX, 32, HL_GUEST_BAD_REPLY},
        {UINT64_MAX - 15, 32, HL_GUEST_BAD_REPLY},
        {UINT64_C(1) << 47, 32, HL_GUEST_BAD_REPLY},
        {(UINT64_C(1) << 48) + scratch(hostile), 32, HL_GUEST_BAD_REPLY},
        {UINT64_C(0xffff800000000000), 32, HL_GUEST_BAD_REPLY},
        {HL_ABI_SYSTEM_ADDRESS, 32, HL_GUEST_BAD_REPLY},
        {HL_ABI_SYSTEM_ADDRESS + 8 * HL__PAGE, 4096, HL_GUEST_BAD_REPLY},
        {hl__system_address(HL__SYSTEM_SYSCALL), 32, HL_GUEST_BAD_REPLY},
        {HL_ABI_SHIM_ADDRESS, 32, HL_GUEST_BAD_REPLY},
        {HL_ABI_WAKE_ADDRESS, 32, HL_GUEST_BAD_REPLY},
        {HL_ABI_SYSCALL_ADDRESS, 4096, HL_GUEST_BAD_REPLY},
        {HL_ABI_TRANSFER_ADDRESS, 32, HL_GUEST_BAD_REPLY},
        {HL_ABI_PROGRAM_ADDRESS, 64, HL_GUEST_BAD_REPLY},
        {mailbox + sizeof(struct hl_abi_mailbox) - 16, 32, HL_GUEST_BAD_REPLY},
        {mailbox, 64, HL_GUEST_BAD_REPLY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        hostile_raw(hostile, cases[i].status, HL_ABI_OP_REST, HL_ABI_OUTCOME_OK, cases[i].address,
                    cases[i].size, 0);
}

static void references_that_lie(void **state)
{
    struct hostile *hostile = *state;
    const struct {
        uint64_t address, size;
        hl_status status;
    } cases[] = {
        {0, 1, HL_GUEST_BAD_REPLY},
        {0, 0, HL_OK},
        {scratch(hostile), UINT64_MAX, HL_REPLY_TOO_LARGE},
        {scratch(hostile), UINT64_MAX - 7, HL_REPLY_TOO_LARGE},
        {scratch(hostile), UINT64_C(1) << 63, HL_REPLY_TOO_LARGE},
        {scratch(hostile), UINT64_C(1) << 40, HL_REPLY_TOO_LARGE},
        {scratch(hostile), HL_TRANSFER_SIZE_DEFAULT - 39, HL_REPLY_TOO_LARGE},
        {scratch(hostile), HL_TRANSFER_SIZE_DEFAULT - 40, HL_GUEST_BAD_REPLY},
        {scratch(hostile), 65536, HL_OK},
        {UINT64_MAX - 7, 16, HL_GUEST_BAD_REPLY},
        {HL_ABI_SYSTEM_ADDRESS, 4096, HL_GUEST_BAD_REPLY},
        {HL_ABI_SYSTEM_ADDRESS - 8, 16, HL_GUEST_BAD_REPLY},
        {HL_ABI_SYSCALL_ADDRESS, 4096, HL_OK},
        {HL_ABI_SYSCALL_ADDRESS, 4097, HL_GUEST_BAD_REPLY},
        {HL_ABI_WAKE_ADDRESS, 8192, HL_OK},
        {HL_ABI_MAILBOX_ADDRESS, sizeof(struct hl_abi_mailbox), HL_OK},
        {HL_ABI_MAILBOX_ADDRESS, sizeof(struct hl_abi_mailbox) + 1, HL_GUEST_BAD_REPLY},
        {UINT64_C(0xffffffff81000000), 8, HL_GUEST_BAD_REPLY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct draft draft;
        begin(&draft, HL_WIRE_VALUE, 1);
        put_reference(&draft, cases[i].address, cases[i].size);
        reply(hostile, cases[i].status, &draft);
    }
}

/* Many references to one block are counted one by one. */
/* Readable memory, but too much of it. */
static void references_that_multiply(void **state)
{
    enum { PART = 64 * 4096, COUNT = HL_TRANSFER_SIZE_DEFAULT / PART };
    struct draft draft;
    begin(&draft, HL_WIRE_VALUE, 1);
    put_value(&draft, HL_TYPE_LIST, 0, COUNT);
    for (int i = 0; i < COUNT; i++)
        put_reference(&draft, scratch(*state), PART);
    reply(*state, HL_REPLY_TOO_LARGE, &draft);
}

static void nesting_and_counts(void **state)
{
    struct draft draft;
    static const uint64_t counts[] = {
        1, 2, 1 << 20, UINT32_MAX, UINT64_C(1) << 60, (UINT64_C(1) << 60) + 1, UINT64_MAX};
    for (uint8_t type = HL_TYPE_STRING; type <= HL_TYPE_MAP; type++)
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            begin(&draft, HL_WIRE_VALUE, 1);
            put_value(&draft, type, 0, counts[i]);
            reply(*state, HL_GUEST_BAD_REPLY, &draft);
        }
    for (unsigned depth = HL_VALUE_DEPTH_MAX; depth <= HL_VALUE_DEPTH_MAX + 1; depth++) {
        begin(&draft, HL_WIRE_VALUE, 1);
        for (unsigned i = 0; i < depth; i++)
            put_value(&draft, HL_TYPE_LIST, 0, 1);
        put_value(&draft, HL_TYPE_NULL, 0, 0);
        reply(*state, depth > HL_VALUE_DEPTH_MAX ? HL_GUEST_BAD_REPLY : HL_OK, &draft);
    }
}

/* One field wrong at a time. */
static void malformed_values(void **state)
{
    static const struct {
        uint8_t type, flags;
        uint64_t data;
    } values[] = {{HL_TYPE_NULL, 0, 1},
                  {HL_TYPE_BOOL, 0, 2},
                  {HL_TYPE_I32, 0, UINT64_C(1) << 32},
                  {HL_TYPE_F32, 0, UINT64_MAX},
                  {12, 0, 0},
                  {255, 0, 0},
                  {HL_TYPE_U64, HL_WIRE_REFERENCE, 0},
                  {HL_TYPE_LIST, HL_WIRE_REFERENCE, 0},
                  {HL_TYPE_STRING, 2, 0},
                  {HL_TYPE_BYTES, 0xff, 0}};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct draft draft;
        begin(&draft, HL_WIRE_VALUE, 1);
        put_value(&draft, values[i].type, values[i].flags, values[i].data);
        reply(*state, HL_GUEST_BAD_REPLY, &draft);
    }
    for (size_t byte = 0; byte < 8; byte++) {
        struct draft draft;
        begin(&draft, HL_WIRE_VALUE, 1);
        put_value(&draft, HL_TYPE_NULL, 0, 0);
        draft.bytes[byte] ^= 0x80; /* kind and count */
        reply(*state, HL_GUEST_BAD_REPLY, &draft);
    }
}

/* A reply that lies in the mailbox, over the fields of the very hypercall that sends it, is
 * decoded from a copy. */
static void reply_in_the_mailbox(void **state)
{
    struct hostile *hostile = *state;
    struct draft draft;
    begin(&draft, HL_WIRE_VALUE, 1);
    put_value(&draft, HL_TYPE_U64, 0, 42);
    finish(&draft);
    uint64_t at = HL_ABI_MAILBOX_ADDRESS + offsetof(struct hl_abi_mailbox, fault);
    hostile_poke(hostile, at, draft.bytes, draft.size);
    hostile_raw(hostile, HL_OK, HL_ABI_OP_REST, HL_ABI_OUTCOME_OK, at, draft.size, 0);
    /* The arguments themselves as a reply. */
    hostile_raw(hostile, HL_GUEST_BAD_REPLY, HL_ABI_OP_REST, HL_ABI_OUTCOME_OK,
                HL_ABI_MAILBOX_ADDRESS, 32, 0);
    hostile_raw(hostile, HL_GUEST_BAD_REPLY, HL_ABI_OP_REST, HL_ABI_OUTCOME_OK,
                HL_ABI_MAILBOX_ADDRESS + 8, 32, 0);
}

/* Fills scratch memory with garbage, runs code that makes a hypercall, and accepts whatever
 * blames the guest. */
static void garbage_call(struct hostile *hostile, const uint8_t *code, size_t size, uint64_t seed)
{
    hl_value result = hl_value_null();
    fixture_expect(
        HL_OK, hostile->victim, "garble",
        ARGUMENTS(hl_value_u64(scratch(hostile)), hl_value_u64(4096), hl_value_u64(seed)));
    hl_status status =
        hl_sandbox_call(hostile->victim, "execute",
                        ARGUMENTS(hl_value_bytes(code, size), hl_value_u64(scratch(hostile))),
                        &result, &fixture_error);
    if (!hostile_blames_guest(status))
        fail_msg("seed %llu: %s", (unsigned long long)seed, fixture_error.message);
    hl_value_free(&result);
    hostile_aftermath(hostile);
}

/* All fields of the mailbox are random, and then what is left there by the call before. Random
 * sleeps outlast any deadline. */
static void garbage_in_the_mailbox(void **state)
{
    for (uint8_t op = 0; op <= HL_ABI_OP_COUNT; op++)
        for (uint64_t seed = 0; seed < (op == HL_ABI_OP_WAIT ? 0 : 16); seed++) {
            const uint8_t code[] = {0x48, 0x89, 0xfe, 0x48, 0xbf, 0,    0,  0x40, 0,    0, 0x7f,
                                    0,    0,    0xb9, 0x40, 0x01, 0,    0,  0xf3, 0xa4, /* copy */
                                    0xba, 0x48, 0x51, 0,    0,    0xb8, op, 0,    0,    0, 0xef,
                                    0xc3}; /* out */
            garbage_call(*state, code, sizeof code, seed + 100 * op);
            garbage_call(*state, code + 20, sizeof code - 20, seed);
        }
}

/* The result of an edit made past the shim. */
static int64_t edit_many(struct hostile *hostile, const struct hl_abi_edit *edits, size_t count)
{
    hostile_poke(hostile, scratch(hostile), edits, count * sizeof *edits);
    return hostile_raw_result(hostile, HL_ABI_OP_EDIT, scratch(hostile), count, 0, 0);
}

static int64_t edit(struct hostile *hostile, uint64_t address, uint64_t pages, uint32_t source,
                    uint64_t offset, uint32_t rights)
{
    const struct hl_abi_edit one = {address, pages, offset, source, rights};
    return edit_many(hostile, &one, 1);
}

static void edits_of_forbidden_ranges(void **state)
{
    struct hostile *hostile = *state;
    static const struct {
        uint64_t address, pages;
    } ranges[] = {
        {0, 1},
        {0xf000, 1},
        {0xf000, 2},
        {HL_ABI_USER_START + 1, 1},
        {HL_ABI_USER_START, 0},
        {HL_ABI_USER_END, 1},
        {HL_ABI_USER_END - 0x1000, 2},
        {HL_ABI_USER_START, HL_ABI_USER_END >> 12},
        {HL_ABI_USER_START, UINT64_MAX},
        {HL_ABI_USER_START, UINT64_MAX >> 12},
        {HL_ABI_USER_START, (UINT64_MAX >> 12) + 1},
        {HL_ABI_USER_START, (UINT64_C(1) << 52) + 1},
        {UINT64_MAX - 0xfff, 1},
        {UINT64_MAX - 0xfff, 2},
        {UINT64_C(1) << 47, 1},
        {UINT64_C(0xffff800000000000), 1},
        {HL_ABI_SHIM_ADDRESS, 1},
        {HL_ABI_SHIM_DATA_ADDRESS, 1},
        {HL_ABI_MAILBOX_ADDRESS, 1},
        {HL_ABI_WAKE_ADDRESS, 1},
        {HL_ABI_SYSCALL_ADDRESS, 1},
        {HL_ABI_BOOT_ADDRESS, 1},
        {HL_ABI_HEAP_ADDRESS - 0x1000, 1},
        {HL_ABI_HEAP_ADDRESS - 0x1000, 2},
        {HL_ABI_HEAP_END, 1},
        {HL_ABI_HEAP_END - 0x1000, 2},
        {HL_ABI_TRANSFER_ADDRESS, 1},
        {HL_ABI_PROGRAM_ADDRESS, 1},
        {HL_ABI_SYSTEM_ADDRESS, 1},
        {HL_ABI_SYSTEM_ADDRESS + 0x2000, 1},
        {HL_ABI_USER_START, (HL_ABI_SYSTEM_ADDRESS >> 12) + 8},
        {UINT64_C(0x7ffffffff000), 1},
    };
    static const uint32_t sources[] = {HL_ABI_SOURCE_NONE, HL_ABI_SOURCE_RAM, HL_ABI_SOURCE_PROGRAM,
                                       HL_ABI_SOURCE_KEEP};
    uint64_t free_offset = hostile->victim->space->ram_free_offset;
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        for (size_t j = 0; j < 4; j++)
            assert_int_equal(edit(hostile, ranges[i].address, ranges[i].pages, sources[j],
                                  sources[j] == HL_ABI_SOURCE_RAM ? free_offset : 0,
                                  sources[j] == HL_ABI_SOURCE_NONE ? 0 : HL_ABI_RIGHT_READ),
                             -EINVAL);
    hostile_aftermath(hostile);
}

static void edits_with_forbidden_sources(void **state)
{
    struct hostile *hostile = *state;
    uint64_t at = UINT64_C(0x200000000000), ram = hostile->victim->space->ram_size,
             free_offset = hostile->victim->space->ram_free_offset;
    uint64_t program =
        (hostile->victim->vm->program->program_size + HL__PAGE - 1) & ~(HL__PAGE - 1);
    const struct {
        uint32_t source;
        uint64_t offset, pages;
        uint32_t rights;
    } cases[] = {
        {HL_ABI_SOURCE_RAM, 0, 1, HL_ABI_RIGHT_WRITE},
        {HL_ABI_SOURCE_RAM, free_offset - HL__PAGE, 1, HL_ABI_RIGHT_WRITE},
        {HL_ABI_SOURCE_RAM, free_offset - HL__PAGE, 2, HL_ABI_RIGHT_READ},
        {HL_ABI_SOURCE_RAM, free_offset + 1, 1, HL_ABI_RIGHT_READ},
        {HL_ABI_SOURCE_RAM, ram, 1, HL_ABI_RIGHT_READ},
        {HL_ABI_SOURCE_RAM, ram - HL__PAGE, 2, HL_ABI_RIGHT_READ},
        {HL_ABI_SOURCE_RAM, UINT64_MAX - 0xfff, 2, HL_ABI_RIGHT_READ},
        {HL_ABI_SOURCE_RAM, free_offset, ram / HL__PAGE, HL_ABI_RIGHT_READ},
        {HL_ABI_SOURCE_RAM, free_offset, 1, 0},
        {HL_ABI_SOURCE_RAM, free_offset, 1, 16},
        {HL_ABI_SOURCE_RAM, free_offset, 1, UINT32_MAX},
        {HL_ABI_SOURCE_PROGRAM, 0, 1, HL_ABI_RIGHT_WRITE},
        {HL_ABI_SOURCE_PROGRAM, 0, 1, HL_ABI_RIGHT_READ | HL_ABI_RIGHT_WRITE},
        {HL_ABI_SOURCE_PROGRAM, program, 1, HL_ABI_RIGHT_READ},
        {HL_ABI_SOURCE_PROGRAM, program - HL__PAGE, 2, HL_ABI_RIGHT_READ},
        {HL_ABI_SOURCE_PROGRAM, UINT64_MAX - 0xfff, 1, HL_ABI_RIGHT_READ},
        {HL_ABI_SOURCE_NONE, HL__PAGE, 1, 0},
        {HL_ABI_SOURCE_NONE, 0, 1, HL_ABI_RIGHT_READ},
        {HL_ABI_SOURCE_KEEP, HL__PAGE, 1, HL_ABI_RIGHT_READ},
        {4, 0, 1, HL_ABI_RIGHT_READ},
        {UINT32_MAX, 0, 1, HL_ABI_RIGHT_READ},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(
            edit(hostile, at, cases[i].pages, cases[i].source, cases[i].offset, cases[i].rights),
            -EINVAL);
    hostile_aftermath(hostile);
}

/* The guest binary is shared: no detour makes it writable. */
static void program_stays_read_only(void **state)
{
    struct hostile *hostile = *state;
    uint64_t at = UINT64_C(0x200000000000), free_offset = hostile->victim->space->ram_free_offset;
    const struct hl_abi_edit both[] = {{at, 1, 0, HL_ABI_SOURCE_PROGRAM, HL_ABI_RIGHT_READ},
                                       {at, 1, 0, HL_ABI_SOURCE_KEEP, HL_ABI_RIGHT_WRITE}};
    const struct hl_abi_edit wide[] = {
        {at + 0x1000, 1, 0, HL_ABI_SOURCE_PROGRAM, HL_ABI_RIGHT_READ},
        {at, 8, 0, HL_ABI_SOURCE_KEEP, HL_ABI_RIGHT_WRITE}};
    const struct hl_abi_edit over[] = {
        {at, 1, free_offset, HL_ABI_SOURCE_RAM, HL_ABI_RIGHT_WRITE}, both[0], both[1]};
    assert_int_equal(edit_many(hostile, both, 2), -EINVAL);
    assert_int_equal(edit_many(hostile, wide, 2), -EINVAL);
    assert_int_equal(edit_many(hostile, over, 3), -EINVAL);
    assert_int_equal(edit_many(hostile, both, 1), 0);
    assert_int_equal(edit_many(hostile, both + 1, 1), -EINVAL);
    hostile_status(hostile, HL_GUEST_FAULT, "poke",
                   ARGUMENTS(hl_value_u64(at), hl_value_bytes("x", 1)));
    hostile_check_fault(PF, at, fixture_error.instruction_pointer);
    hostile_aftermath(hostile);
}

/* Number and place of the edits themselves. */
static void edits_from_bad_places(void **state)
{
    struct hostile *hostile = *state;
    static const uint64_t counts[] = {
        0,         HL_ABI_EDITS_MAX + 1, UINT32_MAX, (UINT64_C(1) << 32) + 1, UINT64_C(1) << 59,
        UINT64_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        assert_int_equal(
            hostile_raw_result(hostile, HL_ABI_OP_EDIT, scratch(hostile), counts[i], 0, 0),
            -EINVAL);
    static const uint64_t addresses[] = {
        0,          HL_ABI_SYSTEM_ADDRESS, UINT64_MAX - 31,
        UINT64_MAX, UINT64_C(1) << 47,     HL_ABI_TRANSFER_ADDRESS};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        assert_int_equal(hostile_raw_result(hostile, HL_ABI_OP_EDIT, addresses[i], 1, 0, 0),
                         -EFAULT);
    hostile_aftermath(hostile);
}

/* Thousands of edits in scattered places: page tables run out, which the guest is told, and a
 * restore gives them back. */
static void edit_storm(void **state)
{
    struct hostile *hostile = *state;
    uint64_t offset = hostile->victim->space->ram_free_offset, refused = 0;
    for (unsigned round = 0; round < 64; round++) {
        struct hl_abi_edit edits[HL_ABI_EDITS_MAX];
        for (uint64_t i = 0; i < HL_ABI_EDITS_MAX; i++)
            edits[i] = (struct hl_abi_edit){
                UINT64_C(0x200000000000) + ((round * HL_ABI_EDITS_MAX + i) << 30), 1, offset,
                HL_ABI_SOURCE_RAM, HL_ABI_RIGHT_WRITE | HL_ABI_RIGHT_EXECUTE};
        int64_t result = edit_many(hostile, edits, HL_ABI_EDITS_MAX);
        assert_true(result == 0 || result == -ENOMEM);
        refused += result != 0;
    }
    assert_true(refused > 0);
    for (unsigned round = 0; round < 3; round++)
        hostile_aftermath(hostile);
}

static void unmapping_oneself(void **state)
{
    struct hostile *hostile = *state;
    const struct hl_abi_edit all = {HL_ABI_USER_START,
                                    (HL_ABI_USER_END - HL_ABI_USER_START) / HL__PAGE, 0,
                                    HL_ABI_SOURCE_NONE, 0};
    hostile_poke(hostile, scratch(hostile), &all, sizeof all);
    /* What it unmapped behind the shim's back comes back on a touch, empty: it may fall over
     * that, or get away with it. */
    hl_status status = hl_sandbox_call(
        hostile->victim, "raw",
        ARGUMENTS(hl_value_u64(HL_ABI_OP_EDIT), hl_value_u64(scratch(hostile)), hl_value_u64(1)),
        NULL, &fixture_error);
    assert_true(status == HL_OK || status == HL_GUEST_FAULT);
    hostile_aftermath(hostile);
    const struct hl_abi_edit heap = {HL_ABI_HEAP_ADDRESS,
                                     (HL_ABI_HEAP_END - HL_ABI_HEAP_ADDRESS) / HL__PAGE, 0,
                                     HL_ABI_SOURCE_NONE, 0};
    hostile_poke(hostile, scratch(hostile), &heap, sizeof heap);
    hostile_raw(hostile, HL_OK, HL_ABI_OP_EDIT, scratch(hostile), 1, 0, 0);
}

/* Input, output and log with sizes and places that lie. */
static void streams(void **state)
{
    struct hostile *hostile = *state;
    uint64_t from = scratch(hostile);
    const struct {
        uint32_t op;
        uint64_t arguments[3];
        int64_t result;
    } cases[] = {
        {HL_ABI_OP_WRITE, {0, from, 1}, -EBADF},
        {HL_ABI_OP_WRITE, {3, from, 1}, -EBADF},
        {HL_ABI_OP_WRITE, {UINT64_MAX, from, 1}, -EBADF},
        {HL_ABI_OP_WRITE, {1, from, 0}, 0},
        {HL_ABI_OP_WRITE, {1, from, HL_ABI_IO_SIZE_MAX + 1}, -EINVAL},
        {HL_ABI_OP_WRITE, {1, from, UINT64_MAX}, -EINVAL},
        {HL_ABI_OP_WRITE, {1, 0, 1}, -EFAULT},
        {HL_ABI_OP_WRITE, {1, HL_ABI_SYSTEM_ADDRESS, 1}, -EFAULT},
        {HL_ABI_OP_WRITE, {1, UINT64_MAX, 1}, -EFAULT},
        {HL_ABI_OP_WRITE, {1, UINT64_MAX - 4, 16}, -EFAULT},
        {HL_ABI_OP_READ, {from, 16, 0}, 0},
        {HL_ABI_OP_READ, {from, UINT64_MAX, 0}, 0},
        {HL_ABI_OP_READ, {0, 1, 0}, -EFAULT},
        {HL_ABI_OP_READ, {HL_ABI_SHIM_ADDRESS, 1, 0}, -EFAULT},
        {HL_ABI_OP_READ, {HL_ABI_WAKE_ADDRESS, 1, 0}, -EFAULT},
        {HL_ABI_OP_READ, {HL_ABI_SYSCALL_ADDRESS, 1, 0}, -EFAULT},
        {HL_ABI_OP_READ, {HL_ABI_PROGRAM_ADDRESS, 1, 0}, -EFAULT},
        {HL_ABI_OP_READ, {HL_ABI_SYSTEM_ADDRESS, 1, 0}, -EFAULT},
        {HL_ABI_OP_READ, {UINT64_MAX, 16384, 0}, -EFAULT},
        {HL_ABI_OP_READ, {hostile->places[PLACE_TEXT], 1, 0}, -EFAULT},
        {HL_ABI_OP_LOG, {3, from, HL_ABI_LOG_SIZE_MAX + 1}, -HL_ABI_EMSGSIZE},
        {HL_ABI_OP_LOG, {UINT64_MAX, from, 1}, 0},
        {HL_ABI_OP_LOG, {3, HL_ABI_SYSTEM_ADDRESS, 1}, -EFAULT},
        {HL_ABI_OP_LOG, {3, UINT64_MAX, 2}, -EFAULT},
        {HL_ABI_OP_WAIT, {1}, 0},
    };
    /* The host does not bring pages in that were never touched. */
    fixture_expect(HL_OK, hostile->victim, "garble",
                   ARGUMENTS(hl_value_u64(from), hl_value_u64(65536)));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(hostile_raw_result(hostile, cases[i].op, cases[i].arguments[0],
                                            cases[i].arguments[1], cases[i].arguments[2], 0),
                         cases[i].result);
    hostile_aftermath(hostile);
}

static void sleeps_beyond_the_deadline(void **state)
{
    static const uint64_t times[] = {UINT64_C(10000000000), UINT64_C(1) << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        hostile_raw(*state, HL_TIMED_OUT, HL_ABI_OP_WAIT, times[i], 0, 0, 0);
}

/* Requests to host functions that are none. */
static void host_calls(void **state)
{
    struct hostile *hostile = *state;
    const struct {
        uint64_t address, size;
        int64_t result;
    } cases[] = {
        {scratch(hostile), 0, HL_ABI_OUTCOME_INVALID},
        {scratch(hostile), UINT64_MAX, HL_ABI_OUTCOME_TOO_LARGE},
        {0, 64, HL_ABI_OUTCOME_INVALID},
        {HL_ABI_SYSTEM_ADDRESS, 64, HL_ABI_OUTCOME_INVALID},
        {UINT64_MAX - 7, 64, HL_ABI_OUTCOME_INVALID},
        {HL_ABI_MAILBOX_ADDRESS, 64, HL_ABI_OUTCOME_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(
            hostile_raw_result(hostile, HL_ABI_OP_HOST_CALL, cases[i].address, cases[i].size, 0, 0),
            cases[i].result);
    hostile_aftermath(hostile);
}

/* What a program may get wrong before it serves. */
static void bad_starts(void **state)
{
    static const struct {
        const char *how;
        hl_status status;
    } cases[] = {
        {"export-twice", HL_GUEST_VIOLATION},
        {"export-too-many", HL_GUEST_VIOLATION},
        {"export-same", HL_GUEST_VIOLATION},
        {"export-bad-text", HL_GUEST_VIOLATION},
        {"export-most", HL_GUEST_VIOLATION},
        {"rest-with-outcome", HL_GUEST_VIOLATION},
        {"spin", HL_TIMED_OUT},
        {"fault-loop", HL_TIMED_OUT},
        {"fault", HL_GUEST_FAULT},
        {"privileged", HL_GUEST_FAULT},
    };
    const hl_sandbox_options options = FIXTURE_OPTIONS(.start_timeout_ns = UINT64_C(1000000000));
    struct hostile *hostile = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hl_program *program = fixture_program("hostile_agent.musl", cases[i].how);
        hl_sandbox *sandbox = NULL;
        hl_status status = hl_sandbox_new(program, &options, &sandbox, &fixture_error);
        if (status != cases[i].status)
            fail_msg("%s: %s", cases[i].how, fixture_error.message);
        if (!strcmp(cases[i].how, "fault"))
            hostile_check_fault(PF, 0x123, fixture_error.instruction_pointer);
        if (!strcmp(cases[i].how, "privileged"))
            hostile_check_fault(GP, 0, fixture_error.instruction_pointer);
        assert_null(sandbox);
        hl_program_free(program);
        fixture_honest_call(hostile->neighbour);
    }
}

static int set_up(void **state)
{
    const hl_sandbox_options options = FIXTURE_OPTIONS(.timeout_ns = UINT64_C(2000000000));
    return hostile_set_up_with(state, &options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_operations),
        cmocka_unit_test(outcomes),
        cmocka_unit_test(exits),
        cmocka_unit_test(replies_that_lie),
        cmocka_unit_test(references_that_lie),
        cmocka_unit_test(references_that_multiply),
        cmocka_unit_test(nesting_and_counts),
        cmocka_unit_test(malformed_values),
        cmocka_unit_test(reply_in_the_mailbox),
        cmocka_unit_test(garbage_in_the_mailbox),
        cmocka_unit_test(edits_of_forbidden_ranges),
        cmocka_unit_test(edits_with_forbidden_sources),
        cmocka_unit_test(program_stays_read_only),
        cmocka_unit_test(edits_from_bad_places),
        cmocka_unit_test(edit_storm),
        cmocka_unit_test(unmapping_oneself),
        cmocka_unit_test(streams),
        cmocka_unit_test(sleeps_beyond_the_deadline),
        cmocka_unit_test(host_calls),
        cmocka_unit_test(bad_starts),
    };
    return cmocka_run_group_tests(tests, set_up, hostile_tear_down);
}
