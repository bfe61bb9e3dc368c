/*
 * Every way into ring 0, and proof after each that the guest is still in ring 3. An exception
 * counts as one of user mode only if the frame that the processor pushed says so (vcpu.c):
 * everything else ends as a violation, which these sweeps would show.
 * test-labels: bed
 */
#include "puppet.h"
#include "snippet.h"

enum {
    FLAG_CARRY = 1,
    FLAG_STEP = 0x100,
    FLAG_IF = 0x200,
    FLAG_DIRECTION = 0x400,
    FLAG_IOPL = 0x3000,
    FLAG_NESTED = 0x4000,
    FLAG_ALIGN = 0x40000
};

static struct puppet puppet;

static int open_puppet(void **state)
{
    puppet_open(&puppet, *state);
    return 0;
}

static int close_puppet(void **state)
{
    (void)state;
    puppet_close(&puppet);
    return 0;
}

/* Flags that user mode can set itself. */
static const uint64_t flags[] = {
    0,           FLAG_STEP,  FLAG_DIRECTION,
    FLAG_NESTED, FLAG_ALIGN, FLAG_STEP | FLAG_NESTED | FLAG_ALIGN | FLAG_DIRECTION};
enum { FLAGS = sizeof flags / sizeof flags[0] };

static void expect_fault(const struct hl__event *event, enum outcome vector, const char *what,
                         unsigned number)
{
    if (event->kind != HL__EVENT_FAULT || event->fault.vector != vector)
        fail_msg("%s %#x: expected vector %d, got event %d (%s), vector %u", what, number, vector,
                 event->kind, event->reason ? event->reason : "", event->fault.vector);
}

/* Every port, in the forms that need no memory. Only the call port's four bytes are open. */
static void every_port(void **state)
{
    static const unsigned char forms[][2] = {{0xee},       {0xec}, {0x66, 0xef},
                                             {0x66, 0xed}, {0xef}, {0xed}};
    static const unsigned sizes[] = {1, 1, 2, 2, 4, 4};
    (void)state;
    for (unsigned form = 0; form < 6; form++) {
        /* The middle forms tell nothing that the others do not: a part of the ports is enough. */
        unsigned step = form == 0 || form == 5 ? 1 : 61;
        for (unsigned port = 0; port < 0x10000;
             port += port >= 0x5140 && port < 0x5150 ? 1 : step) {
            struct hl__event event;
            bool open = port >= HL_ABI_CALL_PORT && port + sizes[form] <= HL_ABI_CALL_PORT + 4;
            puppet_reset(&puppet);
            puppet.registers.rdx = port;
            puppet_run(&puppet, forms[form], forms[form][0] == 0x66 ? 2 : 1, &event);
            if (open) {
                assert_int_equal(event.kind, form == 4 ? HL__EVENT_CALL : HL__EVENT_VIOLATION);
                continue;
            }
            expect_fault(&event, GP, "port", port);
            assert_int_equal(event.fault.registers.rip, puppet.code);
        }
    }
    puppet_assert_user(&puppet);
}

/* #GP for all but 3 and 4, which are for everyone. PVM says #UD to most, and takes 26 for
 * nothing: the int3 behind it ends that. */
static enum outcome interrupt_outcome(const struct hostile *hostile, unsigned n)
{
    if (n == 3 || n == 4)
        return n == 3 ? BP : OF;
    if (hostile->page_table)
        return n == 23 || n == 25 ? GP : n == 26 ? BP : UD;
    return GP;
}

/* int n for all n, with every set of flags. */
static void every_software_interrupt(void **state)
{
    struct hostile *hostile = *state;
    for (unsigned n = 0; n < 256; n++)
        for (unsigned i = 0; i < FLAGS; i++) {
            const unsigned char code[] = {0xcd, (unsigned char)n};
            struct hl__event event;
            puppet_reset(&puppet);
            puppet.registers.rflags |= flags[i];
            puppet_run(&puppet, code, sizeof code, &event);
            expect_fault(&event, interrupt_outcome(hostile, n), "int", n);
        }
    puppet_assert_user(&puppet);
}

/* SYSCALL with return addresses and flags of every kind; the shim serves it, wherever it comes
 * from. */
static void syscalls(void **state)
{
    static const unsigned char code[] = {0x0f, 0x05};
    (void)state;
    for (unsigned i = 0; i < FLAGS; i++) {
        struct hl__event event;
        puppet_reset(&puppet);
        puppet.registers.rax = 39; /* getpid */
        puppet.registers.rcx = UINT64_C(1) << 47;
        puppet.registers.rflags |= flags[i];
        puppet_run(&puppet, code, sizeof code, &event);
        assert_int_equal(event.kind, HL__EVENT_FAULT);
        assert_true(event.fault.vector == BP || event.fault.vector == DB ||
                    event.fault.vector == AC);
        puppet_assert_user(&puppet);
    }
}

/* SYSCALL as the last bytes below the end of user addresses would return to an address that is
 * none. No such page can be had. */
static void no_page_at_the_edge(void **state)
{
    struct hostile *hostile = *state;
    struct hl_abi_edit edit = {.address = UINT64_C(0x7ffffffff000),
                               .page_count = 1,
                               .offset = hostile->victim->space->ram_free_offset,
                               .source = HL_ABI_SOURCE_RAM,
                               .rights = HL_ABI_RIGHT_WRITE | HL_ABI_RIGHT_EXECUTE};
    assert_true(hl__space_edit(hostile->victim->space, &edit, 1) < 0);
}

/* SYSRET, SYSEXIT, IRET and their kind with registers that would suit a kernel. */
static void returns(void **state)
{
    static const unsigned char codes[][3] = {{0x48, 0x0f, 0x07}, {0x0f, 0x07}, {0x48, 0x0f, 0x35},
                                             {0x0f, 0x35},       {0x0f, 0x34}, {0x0f, 0x01, 0xf8}};
    static const uint64_t addresses[] = {0, UINT64_C(1) << 47, UINT64_C(0xffff800000000000),
                                         HL_ABI_SYSTEM_ADDRESS + 0x2000, HL_ABI_SHIM_ADDRESS};
    (void)state;
    for (size_t c = 0; c < sizeof codes / sizeof codes[0]; c++)
        for (size_t a = 0; a < sizeof addresses / sizeof addresses[0]; a++)
            for (unsigned i = 0; i < FLAGS; i++) {
                struct hl__event event;
                puppet_reset(&puppet);
                puppet.registers.rcx = puppet.registers.rdx = addresses[a];
                puppet.registers.r11 = FLAG_IOPL | 0x202;
                puppet.registers.rflags |= flags[i];
                puppet_run(&puppet, codes[c], 3, &event);
                assert_int_equal(event.kind, HL__EVENT_FAULT);
                assert_true(event.fault.vector == GP || event.fault.vector == UD);
            }
    puppet_assert_user(&puppet);
}

/* Frames and far pointers with every selector of the GDT and LDT there could be, in scratch
 * memory. */
static void far_transfers(void **state)
{
    static const unsigned char codes[][3] = {{0x48, 0xcf},       {0x48, 0xcb}, {0x48, 0xff, 0x2f},
                                             {0x48, 0xff, 0x1f}, {0xcf},       {0xcb},
                                             {0xff, 0x2f},       {0xff, 0x1f}};
    static const size_t sizes[] = {2, 2, 3, 3, 1, 1, 2, 2};
    struct hostile *hostile = *state;
    for (unsigned selector = 0; selector < 0x80; selector++)
        for (unsigned c = 0; c < sizeof codes / sizeof codes[0]; c++) {
            struct hl__event event;
            puppet_reset(&puppet);
            uint64_t frame[6] = {puppet.code + 32, selector, 0x3302, puppet.registers.rsp, 0x1b, 0};
            /* PVM runs programs under the outer kernel's GDT, in which some selectors are user
             * code: 32-bit code is for another test. */
            if (hostile->page_table && (selector >> 3) >= 4 && (selector >> 3) <= 6)
                continue;
            assert_true(
                hl__space_write(puppet.sandbox->space, puppet.registers.rsp, frame, sizeof frame));
            puppet_run(&puppet, codes[c], sizes[c], &event);
            if (event.kind != HL__EVENT_FAULT)
                fail_msg("selector %#x, transfer %u: event %d (%s)", selector, c, event.kind,
                         event.reason ? event.reason : "");
        }
    puppet_assert_user(&puppet);
}

static void segment_loads(void **state)
{
    (void)state;
    for (unsigned selector = 0; selector < 0x100; selector++)
        for (unsigned segment = 0; segment < 6; segment++) {
            const unsigned char code[] = {
                0x8e, (unsigned char)(0xc0 | segment << 3)}; /* mov %eax, %segment */
            struct hl__event event;
            puppet_reset(&puppet);
            puppet.registers.rax = selector;
            puppet_run(&puppet, code, sizeof code, &event);
            assert_int_equal(event.kind, HL__EVENT_FAULT);
        }
    puppet_assert_user(&puppet);
}

/* One instruction, stepped: whatever it is, it ends in an exception of user mode, or in a
 * violation that blames the guest. */
static void step(const unsigned char *code, size_t size)
{
    struct hl__event event;
    puppet_reset(&puppet);
    puppet.registers.rflags |= FLAG_STEP;
    puppet_run(&puppet, code, size, &event);
    if (event.kind != HL__EVENT_FAULT && event.kind != HL__EVENT_VIOLATION &&
        event.kind != HL__EVENT_CALL)
        fail_msg("code %02x %02x %02x: event %d", code[0], code[1], code[2], event.kind);
    if (event.kind == HL__EVENT_VIOLATION)
        print_message("code %02x %02x %02x %02x: %s\n", code[0], code[1], code[2], code[3],
                      event.reason);
}

static void every_one_byte_opcode(void **state)
{
    static const unsigned char prefixes[] = {0x90, 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x48, 0x2e, 0x64};
    (void)state;
    for (unsigned opcode = 0; opcode < 256; opcode++)
        for (size_t i = 0; i < sizeof prefixes; i++)
            for (unsigned modrm = 0; modrm < 256; modrm += 51) {
                const unsigned char code[8] = {prefixes[i], (unsigned char)opcode,
                                               (unsigned char)modrm};
                step(code + (i == 0), sizeof code - 1);
            }
    puppet_assert_user(&puppet);
}

/* The second map with every ModR/M byte, where the system instructions are. */
static void every_two_byte_opcode(void **state)
{
    struct hostile *hostile = *state;
    (void)state;
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        bool system = opcode <= 0x09 || opcode == 0xae || opcode == 0xc7 ||
                      (opcode >= 0x20 && opcode <= 0x23) || (opcode >= 0x30 && opcode <= 0x37);
        unsigned stride = system ? 1 : hostile->emulated ? 51 : 17;
        for (unsigned modrm = 0; modrm < 256; modrm += stride) {
            const unsigned char code[8] = {0x0f, (unsigned char)opcode, (unsigned char)modrm};
            step(code, sizeof code);
        }
    }
    puppet_assert_user(&puppet);
}

static void system_opcodes_with_prefixes(void **state)
{
    static const unsigned char opcodes[] = {0x00, 0x01, 0x05, 0x07, 0x09, 0x18,
                                            0x1e, 0x20, 0x22, 0xae, 0xc7},
                               prefixes[] = {0x66, 0xf2, 0xf3, 0x48};
    (void)state;
    for (size_t i = 0; i < sizeof opcodes; i++)
        for (size_t j = 0; j < sizeof prefixes; j++)
            for (unsigned modrm = 0; modrm < 256; modrm++) {
                const unsigned char code[8] = {prefixes[j], 0x0f, opcodes[i], (unsigned char)modrm};
                step(code, sizeof code);
            }
    puppet_assert_user(&puppet);
}

/* Random bytes, stepped; the seed is fixed, so that a failure repeats. */
static void random_code(void **state)
{
    struct hostile *hostile = *state;
    uint64_t random = 1;
    for (unsigned i = 0; i < (hostile->emulated ? 5000u : 30000u); i++) {
        unsigned char code[16];
        for (size_t byte = 0; byte < sizeof code; byte++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            code[byte] = (unsigned char)(random >> 56);
        }
        step(code, sizeof code);
    }
    puppet_assert_user(&puppet);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_puppet, close_puppet)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_port),
        TEST(every_software_interrupt),
        TEST(syscalls),
        TEST(no_page_at_the_edge),
        TEST(returns),
        TEST(far_transfers),
        TEST(segment_loads),
        TEST(every_one_byte_opcode),
        TEST(every_two_byte_opcode),
        TEST(system_opcodes_with_prefixes),
        TEST(random_code),
    };
    return cmocka_run_group_tests(tests, hostile_set_up, hostile_tear_down);
}
