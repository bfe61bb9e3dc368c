/*
 * A secret goes into the guest on every path from the host, and the guest hides copies of it
 * wherever it can. After a restore it is nowhere: not in any byte that the guest can read, nor
 * anywhere in the VM's memory.
 * test-labels: bed
 */
#include "hostile.h"
#include "sandbox/sandbox.h"
#include "snippet.h"
#include "vm/x86_64/tables.h"
#include <stdio.h>
#include <stdlib.h>

enum { SECRET_SIZE = 32, LARGE_SIZE = 1 << 20, RANGES_MAX = 4000, INPUT_SIZE = 4096 };

static uint8_t secret[SECRET_SIZE]; /* of the case at hand */
static uint8_t input[INPUT_SIZE];   /* stdin of all sandboxes: its own secret, over and over */
static char *large;

/* Each case has a secret of its own, so that what one leaves is not taken for another's. */
static void new_secret(void)
{
    static uint64_t random = 0x5ec7e7;
    for (size_t i = 0; i < SECRET_SIZE; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        secret[i] = (uint8_t)('A' + (random >> 59)); /* text, for the paths that want text */
    }
    for (size_t i = 0; i < LARGE_SIZE; i++)
        large[i] = (char)secret[i % SECRET_SIZE];
}

static bool contains(const void *memory, size_t size)
{
    const uint8_t *at = memory, *end = at + size;
    while (at && (at = memchr(at, secret[0], (size_t)(end - at))) != NULL &&
           (size_t)(end - at) >= SECRET_SIZE / 2) {
        if (!memcmp(at++, secret, SECRET_SIZE / 2))
            return true;
    }
    return false;
}

static bool in_vm(const hl__vm *vm)
{
    return contains(vm->ram, vm->ram_size) || contains(vm->system, vm->system_size) ||
           contains(vm->transfer, vm->config.transfer_size_max * vm->config.members_max);
}

static void add_range(hl_value *ranges, size_t *count, uint64_t address, uint64_t size)
{
    if (*count && ranges[*count - 2].as.u64 + ranges[*count - 1].as.u64 == address) {
        ranges[*count - 1].as.u64 += size;
        return;
    }
    assert_true(*count + 2 <= RANGES_MAX);
    ranges[(*count)++] = hl_value_u64(address);
    ranges[(*count)++] = hl_value_u64(size);
}

/* Every range that the page tables let the guest read. */
static void readable(const hl__space *space, uint32_t table, int level, uint64_t base,
                     hl_value *ranges, size_t *count)
{
    const uint64_t *entries = hl__table_entries(space, table);
    for (unsigned i = 0; i < HL__TABLE_ENTRIES; i++) {
        uint64_t address = base + i * hl__level_span(level), gpa = entries[i] & HL__PTE_ADDRESS;
        if (!(entries[i] & HL__PTE_PRESENT) || !(entries[i] & HL__PTE_USER))
            continue;
        if (level == 1 || (entries[i] & HL__PTE_LARGE))
            add_range(ranges, count, address, hl__level_span(level));
        else
            readable(space, (uint32_t)((gpa - space->tables_gpa) / HL__PAGE), level - 1, address,
                     ranges, count);
    }
}

static uint64_t found_by_guest(hl_sandbox *sandbox)
{
    static hl_value ranges[RANGES_MAX];
    uint8_t hidden[SECRET_SIZE / 2];
    size_t count = 0;
    readable(sandbox->space, 0, 4, 0, ranges, &count);
    assert_true(count > 8);
    for (size_t i = 0; i < sizeof hidden; i++)
        hidden[i] = (uint8_t)(secret[i] - 1);
    return fixture_call_u64(
        sandbox, "find",
        ARGUMENTS(hl_value_bytes(hidden, sizeof hidden), hl_value_list(ranges, count)));
}

/* The secret was there, and after the restore it is not. */
static void expect_gone(struct hostile *hostile)
{
    hl_sandbox *fresh;
    assert_true(in_vm(hostile->victim->vm));
    assert_status(HL_OK, hl_sandbox_restore(hostile->victim, hostile->snapshot, &fixture_error));
    assert_false(in_vm(hostile->victim->vm));
    assert_int_equal(found_by_guest(hostile->victim), 0);
    assert_false(in_vm(hostile->neighbour->vm));
    hostile_aftermath(hostile);
    assert_status(HL_OK, hl_sandbox_from_snapshot(hostile->snapshot, NULL, &fresh, &fixture_error));
    assert_int_equal(found_by_guest(fresh), 0);
    hl_sandbox_free(fresh);
}

/* The search itself works: inside, too. */
static void the_search_finds(void **state)
{
    struct hostile *hostile = *state;
    new_secret();
    hostile_poke(hostile, hostile->places[PLACE_SCRATCH], secret, SECRET_SIZE);
    assert_true(found_by_guest(hostile->victim) > 0);
    expect_gone(hostile);
}

static void small_argument(void **state)
{
    struct hostile *hostile = *state;
    new_secret();
    fixture_expect(HL_OK, hostile->victim, "echo", ARGUMENTS(hl_value_bytes(secret, SECRET_SIZE)));
    expect_gone(hostile);
}

static void large_argument(void **state)
{
    struct hostile *hostile = *state;
    new_secret();
    fixture_expect(HL_OK, hostile->victim, "echo", ARGUMENTS(hl_value_bytes(large, LARGE_SIZE)));
    expect_gone(hostile);
}

/* Below and above what fits into the mailbox. */
static void answers_of_host_functions(void **state)
{
    static const char *const names[] = {"tell", "tell_much"};
    struct hostile *hostile = *state;
    for (size_t i = 0; i < 2; i++) {
        new_secret();
        fixture_expect(HL_OK, hostile->victim, "call_host",
                       ARGUMENTS(hl_value_string(names[i]), hl_value_u64(1)));
        expect_gone(hostile);
    }
}

static void input_stream(void **state)
{
    struct hostile *hostile = *state;
    memcpy(secret, input, SECRET_SIZE);
    fixture_expect(
        HL_OK, hostile->victim, "garble",
        ARGUMENTS(hl_value_u64(hostile->places[PLACE_SCRATCH]), hl_value_u64(INPUT_SIZE)));
    assert_int_equal(hostile_raw_result(hostile, HL_ABI_OP_READ, hostile->places[PLACE_SCRATCH],
                                        INPUT_SIZE, 0, 0),
                     INPUT_SIZE);
    expect_gone(hostile);
}

static void copies_everywhere(void **state)
{
    struct hostile *hostile = *state;
    new_secret();
    fixture_expect(HL_OK, hostile->victim, "hoard",
                   ARGUMENTS(hl_value_string_n((const char *)secret, SECRET_SIZE)));
    expect_gone(hostile);
    new_secret();
    fixture_expect(HL_OK, hostile->victim, "hoard", ARGUMENTS(hl_value_string_n(large, 3000)));
    hostile_status(hostile, HL_GUEST_FAULT, "poke",
                   ARGUMENTS(hl_value_u64(16), hl_value_bytes(secret, SECRET_SIZE)));
    expect_gone(hostile);
}

/* All registers hold it when the program dies, or when a handler's frame is pushed. rsi: the
 * secret. */
#define FILL                                                                                       \
    "vmovdqu (%rsi), %ymm0; vmovdqa %ymm0, %ymm1; vmovdqa %ymm0, %ymm7; vmovdqa %ymm0, %ymm15; "   \
    "fldt (%rsi); fldt 10(%rsi);"                                                                  \
    "mov (%rsi), %rax; mov 8(%rsi), %rbx; mov %rax, %rcx; mov %rbx, %rdx; mov %rax, %rbp; mov "    \
    "%rbx, %r8; mov %rax, %r9; mov %rbx, %r10;"                                                    \
    "mov %rax, %r11; mov %rbx, %r12; mov %rax, %r13; mov %rbx, %r14; mov %rax, %r15"
SNIPPET_CODE(fill_registers, FILL, "ud2")
/* Pushed to the runtime's memory by a system call. */
SNIPPET_CODE(fill_system_call, FILL "; mov $-1, %eax; syscall", "ud2")

static void registers(void **state)
{
    struct hostile *hostile = *state;
    static const struct snippet snippets[] = {SNIPPET(fill_registers), SNIPPET(fill_system_call)};
    for (size_t i = 0; i < 2; i++) {
        new_secret();
        hostile_poke(hostile, hostile->places[PLACE_SCRATCH], secret, SECRET_SIZE);
        hostile_status(hostile, HL_GUEST_FAULT, "execute",
                       ARGUMENTS(hl_value_bytes(snippets[i].start, snippet_size(&snippets[i])),
                                 hl_value_u64(0), hl_value_u64(hostile->places[PLACE_SCRATCH])));
        expect_gone(hostile);
    }
}

/* In memory that the runtime knows nothing of. */
static void hidden_pages(void **state)
{
    struct hostile *hostile = *state;
    uint64_t at = UINT64_C(0x300000000000), pages = 16;
    struct hl_abi_edit edit = {at, pages, hostile->victim->space->ram_size - pages * HL__PAGE,
                               HL_ABI_SOURCE_RAM, HL_ABI_RIGHT_WRITE};
    new_secret();
    hostile_poke(hostile, hostile->places[PLACE_SCRATCH], &edit, sizeof edit);
    assert_int_equal(
        hostile_raw_result(hostile, HL_ABI_OP_EDIT, hostile->places[PLACE_SCRATCH], 1, 0, 0), 0);
    for (uint64_t page = 0; page < pages; page++)
        hostile_poke(hostile, at + page * HL__PAGE, secret, SECRET_SIZE);
    const struct hl_abi_edit hide = {at, pages, 0, HL_ABI_SOURCE_NONE, 0};
    hostile_poke(hostile, hostile->places[PLACE_SCRATCH], &hide, sizeof hide);
    assert_int_equal(
        hostile_raw_result(hostile, HL_ABI_OP_EDIT, hostile->places[PLACE_SCRATCH], 1, 0, 0), 0);
    expect_gone(hostile);
}

/* The program's own last system call was its own affair: its address is no hiding place. */
static void address_of_a_system_call(void **state)
{
    struct hostile *hostile = *state;
    static const uint8_t code[] = {0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3};
    fixture_expect(HL_OK, hostile->victim, "execute", ARGUMENTS(hl_value_bytes(code, sizeof code)));
    assert_status(HL_OK, hl_sandbox_restore(hostile->victim, hostile->snapshot, &fixture_error));
    hl_value page = fixture_call(hostile->victim, "peek",
                                 ARGUMENTS(hl_value_u64(HL_ABI_SYSCALL_ADDRESS), hl_value_u64(8)));
    for (size_t i = 0; i < page.as.bytes.size; i++)
        assert_int_equal(page.as.bytes.data[i], 0);
    hl_value_free(&page);
    hostile_aftermath(hostile);
}

/* Without the restore it is all still there, which is what a restore is for. */
static void without_a_restore(void **state)
{
    struct hostile *hostile = *state;
    new_secret();
    fixture_expect(HL_OK, hostile->victim, "hoard",
                   ARGUMENTS(hl_value_string_n((const char *)secret, SECRET_SIZE)));
    fixture_honest_call(hostile->victim);
    assert_true(found_by_guest(hostile->victim) > 0);
    expect_gone(hostile);
}

static hl_status tell(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                      void *user)
{
    (void)call, (void)arguments, (void)count;
    *reply = hl_value_bytes(large, *(const size_t *)user);
    return HL_OK;
}

static hl_host_functions *functions;

static int set_up(void **state)
{
    static size_t small_size = SECRET_SIZE, large_size = LARGE_SIZE;
    large = malloc(LARGE_SIZE);
    new_secret();
    for (size_t i = 0; i < sizeof input; i++)
        input[i] = secret[i % SECRET_SIZE];
    assert_status(HL_OK, hl_host_functions_new(&functions, &fixture_error));
    assert_status(HL_OK, hl_host_functions_add(functions, "tell", NULL, tell, &small_size, NULL,
                                               &fixture_error));
    assert_status(HL_OK, hl_host_functions_add(functions, "tell_much", NULL, tell, &large_size,
                                               NULL, &fixture_error));
    const hl_sandbox_options options =
        FIXTURE_OPTIONS(.memory_size = UINT64_C(16) << 20, .host_functions = functions,
                        .stdin_stream = {
                            .mode = HL_STREAM_MEMORY, .data = input, .data_size = sizeof input});
    return hostile_set_up_with(state, &options);
}

static int tear_down(void **state)
{
    int result = hostile_tear_down(state);
    hl_host_functions_free(functions);
    free(large);
    return result;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_search_finds),
        cmocka_unit_test(small_argument),
        cmocka_unit_test(large_argument),
        cmocka_unit_test(answers_of_host_functions),
        cmocka_unit_test(input_stream),
        cmocka_unit_test(copies_everywhere),
        cmocka_unit_test(registers),
        cmocka_unit_test(hidden_pages),
        cmocka_unit_test(address_of_a_system_call),
        cmocka_unit_test(without_a_restore),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
