/*
 * Wild pointers: reading, writing and executing every region of the address space that a program
 * has no business in.
 * test-labels: bed
 */
#include "hostile.h"
#include "sandbox/sandbox.h"
#include "snippet.h"

SNIPPET_CODE(read_byte, "", "mov (%rdi), %al")
SNIPPET_CODE(write_byte, "", "movb $1, (%rdi)")
SNIPPET_CODE(locked_write, "", "lock orb $0, (%rdi)")
SNIPPET_CODE(jump_there, "", "jmp *%rdi")
SNIPPET_CODE(return_there, "push %rdi", "ret")
SNIPPET_CODE(read_across, "", "mov -4(%rdi), %rax")
SNIPPET_CODE(prefetch, "", "prefetcht0 (%rdi)")

static const struct snippet reading = SNIPPET(read_byte), writing = SNIPPET(write_byte),
                            locking = SNIPPET(locked_write), jumping = SNIPPET(jump_there),
                            returning = SNIPPET(return_there), crossing = SNIPPET(read_across),
                            prefetching = SNIPPET(prefetch);

/* Runs a snippet with rdi = address. A fault is at the snippet's attack, or where it went. */
static void attack(struct hostile *hostile, const struct snippet *snippet, enum outcome outcome,
                   uint64_t address, bool goes_there)
{
    uint64_t instruction =
        goes_there ? address
                   : hostile->places[PLACE_CODE] + (uint64_t)(snippet->attack - snippet->start);
    hostile_expect(
        hostile, outcome, address, instruction, "execute",
        ARGUMENTS(hl_value_bytes(snippet->start, snippet_size(snippet)), hl_value_u64(address)));
    hostile_aftermath(hostile);
}

static void touch(struct hostile *hostile, uint64_t address, enum outcome read, enum outcome write)
{
    attack(hostile, &reading, read, address, false);
    attack(hostile, &writing, write, address, false);
    attack(hostile, &locking, write, address, false);
    attack(hostile, &prefetching, RUNS, address, false);
}

static void forbidden(struct hostile *hostile, uint64_t address)
{
    touch(hostile, address, PF, PF);
    attack(hostile, &jumping, PF, address, true);
    attack(hostile, &returning, PF, address, true);
}

static void read_only(struct hostile *hostile, uint64_t address)
{
    touch(hostile, address, RUNS, PF);
}

static void not_executable(struct hostile *hostile, uint64_t address)
{
    attack(hostile, &jumping, PF, address, true);
    attack(hostile, &returning, PF, address, true);
}

static void null_pages(void **state)
{
    static const uint64_t addresses[] = {0,      1,      8,      0xfff,
                                         0x1000, 0x8000, 0xfff8, HL_ABI_USER_START - 1};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        forbidden(*state, addresses[i]);
}

static void unmapped_places(void **state)
{
    static const uint64_t addresses[] = {HL_ABI_USER_START,
                                         0x100000,
                                         HL_ABI_USER_END - 1,
                                         HL_ABI_USER_END,
                                         HL_ABI_SHIM_ADDRESS - 1,
                                         HL_ABI_WAKE_ADDRESS - 1,
                                         HL_ABI_SYSCALL_ADDRESS + HL__PAGE,
                                         HL_ABI_HEAP_END - 1,
                                         HL_ABI_TRANSFER_ADDRESS,
                                         HL_ABI_TRANSFER_ADDRESS + HL_ABI_TRANSFER_SIZE - 1,
                                         HL_ABI_PROGRAM_ADDRESS - 1,
                                         HL_ABI_PROGRAM_ADDRESS + HL_ABI_PROGRAM_SIZE_MAX,
                                         HL_ABI_SYSTEM_ADDRESS - 1,
                                         0x7fffffffffff,
                                         HL_ABI_MAILBOX_ADDRESS + sizeof(struct hl_abi_mailbox)};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        forbidden(*state, addresses[i]);
}

/* An address that is none is a general protection fault, without an address. Where a jump to it
 * faults, processors differ. */
static void non_canonical_addresses(void **state)
{
    static const uint64_t addresses[] = {
        UINT64_C(1) << 47, UINT64_C(0x0000ffffffffffff), UINT64_C(0x1234567890abcdef),
        UINT64_C(1) << 63, UINT64_C(0xffff7fffffffffff), UINT64_C(0x8000000000400000)};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        touch(*state, addresses[i], GP, GP);
}

static void kernel_half(void **state)
{
    static const uint64_t addresses[] = {UINT64_C(0xffff800000000000), UINT64_C(0xffff888000000000),
                                         UINT64_C(0xffffc90000000000), UINT64_C(0xffffea0000000000),
                                         UINT64_C(0xfffffe0000000000), UINT64_C(0xffffffff80000000),
                                         UINT64_C(0xffffffff81000000), UINT64_C(0xffffffffff600000),
                                         UINT64_C(0xfffffffffffff000), UINT64_MAX};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        forbidden(*state, addresses[i]);
}

/* The runtime's regions: what the contract says, no more. */
static void runtime_regions(void **state)
{
    struct hostile *hostile = *state;
    const struct hl_abi_shim_image *shim = hostile->victim->vm->shim;
    read_only(hostile, HL_ABI_SHIM_ADDRESS);
    read_only(hostile, HL_ABI_SHIM_ADDRESS + shim->text_size - 1);
    forbidden(hostile, HL_ABI_SHIM_ADDRESS + shim->text_size);
    forbidden(hostile, HL_ABI_SHIM_DATA_ADDRESS + shim->guard_offset);
    forbidden(hostile, HL_ABI_SHIM_DATA_ADDRESS + shim->data_memory_size);
    read_only(hostile, HL_ABI_WAKE_ADDRESS);
    read_only(hostile, HL_ABI_SYSCALL_ADDRESS);
    read_only(hostile, HL_ABI_PROGRAM_ADDRESS);
    static const uint64_t data[] = {HL_ABI_SHIM_DATA_ADDRESS, HL_ABI_MAILBOX_ADDRESS,
                                    HL_ABI_WAKE_ADDRESS,      HL_ABI_SYSCALL_ADDRESS,
                                    HL_ABI_BOOT_ADDRESS,      HL_ABI_HEAP_ADDRESS,
                                    HL_ABI_PROGRAM_ADDRESS};
    for (size_t i = 0; i < sizeof data / sizeof data[0]; i++)
        not_executable(hostile, data[i]);
    touch(hostile, HL_ABI_MAILBOX_ADDRESS + sizeof(struct hl_abi_mailbox) - 1, RUNS, RUNS);
    touch(hostile, HL_ABI_BOOT_ADDRESS, RUNS, RUNS);
}

/* Nothing is mapped behind the guest binary, not even in its last large page. */
static void beyond_the_program(void **state)
{
    struct hostile *hostile = *state;
    uint64_t size = (hostile->victim->vm->program->program_size + HL__PAGE - 1) & ~(HL__PAGE - 1);
    read_only(hostile, HL_ABI_PROGRAM_ADDRESS + size - 1);
    forbidden(hostile, HL_ABI_PROGRAM_ADDRESS + size);
    forbidden(hostile,
              HL_ABI_PROGRAM_ADDRESS + ((size + HL__LARGE_PAGE) & ~(HL__LARGE_PAGE - 1)) - 1);
    forbidden(hostile, HL_ABI_PROGRAM_ADDRESS + ((size + HL__LARGE_PAGE) & ~(HL__LARGE_PAGE - 1)));
}

/* Descriptor tables, TSS, stub, fault stack, page tables: guessed right, of no use. */
static void system_area(void **state)
{
    struct hostile *hostile = *state;
    const hl__vm *vm = hostile->victim->vm;
    uint64_t pages = vm->system_size / HL__PAGE,
             tables = (hostile->victim->space->tables_gpa - HL__GPA_SYSTEM) / HL__PAGE;
    const uint64_t numbers[] = {HL__SYSTEM_GDT,
                                HL__SYSTEM_IDT,
                                HL__SYSTEM_STUB,
                                HL__SYSTEM_SYSCALL,
                                HL__SYSTEM_TSS,
                                HL__SYSTEM_TSS + 1,
                                HL__SYSTEM_TSS + 2,
                                HL__SYSTEM_FAULT_STACK,
                                HL__SYSTEM_TABLES,
                                HL__SYSTEM_TABLES + 1,
                                tables - 1,
                                tables,
                                tables + 1,
                                pages - 1,
                                pages,
                                pages + 511};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        forbidden(hostile, hl__system_address(numbers[i]));
        forbidden(hostile, hl__system_address(numbers[i]) + 0xff0);
    }
}

/* W^X in the program's own memory. */
static void own_memory(void **state)
{
    struct hostile *hostile = *state;
    const uint64_t *places = hostile->places;
    read_only(hostile, places[PLACE_TEXT]);
    read_only(hostile, places[PLACE_CONSTANT]);
    touch(hostile, places[PLACE_SCRATCH], RUNS, RUNS);
    static const enum place data[] = {PLACE_CONSTANT, PLACE_SCRATCH, PLACE_HEAP, PLACE_STACK};
    for (size_t i = 0; i < sizeof data / sizeof data[0]; i++)
        not_executable(hostile, places[data[i]]);
    attack(hostile, &writing, PF, places[PLACE_CODE], false); /* a flipped page of a JIT */
}

static void accesses_across_a_border(void **state)
{
    struct hostile *hostile = *state;
    attack(hostile, &crossing, PF, HL_ABI_MAILBOX_ADDRESS + sizeof(struct hl_abi_mailbox), false);
    attack(hostile, &crossing, PF, hostile->victim->vm->shim->text_size + HL_ABI_SHIM_ADDRESS,
           false);
    attack(hostile, &crossing, PF, HL_ABI_SYSCALL_ADDRESS + HL__PAGE, false);
}

/* An instruction whose end lies on a page that is not executable. */
static void fetch_across_a_border(void **state)
{
    struct hostile *hostile = *state;
    unsigned char page[HL_ABI_PAGE_SIZE];
    memset(page, 0x90, sizeof page);
    page[sizeof page - 2] = 0x48;
    page[sizeof page - 1] = 0xb8; /* movabs: eight more bytes */
    uint64_t end = hostile->places[PLACE_CODE] + sizeof page;
    hostile_expect(hostile, PF, end, end - 2, "execute",
                   ARGUMENTS(hl_value_bytes(page, sizeof page)));
    hostile_aftermath(hostile);
    page[sizeof page - 2] = page[sizeof page - 1] = 0x90;
    hostile_expect(hostile, PF, end, end, "execute", ARGUMENTS(hl_value_bytes(page, sizeof page)));
    hostile_aftermath(hostile);
}

/* The fault is reported where the stack ends; the guard below it is not memory. */
static void stack_overflow(void **state)
{
    struct hostile *hostile = *state;
    for (uint64_t own_stack = 0; own_stack < 2; own_stack++) {
        if (own_stack)
            hl_value_free(&(hl_value[]){fixture_call(
                hostile->victim, "catch",
                ARGUMENTS(hl_value_u64(LINUX_SIGSEGV), hl_value_u64(1), hl_value_u64(1)))}[0]);
        if (own_stack)
            hostile_status(hostile, HL_TIMED_OUT, "overflow", NO_ARGUMENTS);
        else
            hostile_status(hostile, HL_GUEST_FAULT, "overflow", NO_ARGUMENTS);
        if (!own_stack) {
            assert_int_equal(fixture_error.fault_vector, PF);
            assert_int_equal(fixture_error.signal, LINUX_SIGSEGV);
            assert_in_range(fixture_error.fault_address,
                            hostile->places[PLACE_STACK] - (UINT64_C(16) << 20),
                            hostile->places[PLACE_STACK]);
        }
        hostile_aftermath(hostile);
    }
}

static int set_up(void **state)
{
    /* Enough for a stack of 8 MiB to overflow in an emulated machine; one test runs into it. */
    const hl_sandbox_options options = FIXTURE_OPTIONS(.timeout_ns = UINT64_C(2000000000));
    return hostile_set_up_with(state, &options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_pages),
        cmocka_unit_test(unmapped_places),
        cmocka_unit_test(non_canonical_addresses),
        cmocka_unit_test(kernel_half),
        cmocka_unit_test(runtime_regions),
        cmocka_unit_test(beyond_the_program),
        cmocka_unit_test(system_area),
        cmocka_unit_test(own_memory),
        cmocka_unit_test(accesses_across_a_border),
        cmocka_unit_test(fetch_across_a_border),
        cmocka_unit_test(stack_overflow),
    };
    return cmocka_run_group_tests(tests, set_up, hostile_tear_down);
}
