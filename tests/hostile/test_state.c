/*
 * A guest that rests, or faults, with the processor in the strangest state it can bring about,
 * that jumps into the runtime, ruins the runtime's memory, or never comes back: a restore makes
 * all of it undone.
 * test-labels: bed
 */
#include "hostile.h"
#include "sandbox/sandbox.h"
#include "snippet.h"

/* Rests with the 32-byte message at rdi as the reply; `state` comes last but for the OUT. */
#define REST_WITH(state)                                                                           \
    "movabs $0x7f0000400000, %rax; movq $1, (%rax); mov %rdi, 8(%rax); movq $32, 16(%rax); mov "   \
    "%rdi, %rbx;" state "; mov $0x5148, %edx; mov $1, %eax"
#define SET_FLAGS(flags) "pushfq; orq $" flags ", (%rsp); popfq"
#define ROOM "lea 64(%rbx), %rcx;" /* 64-byte aligned, 16 KiB */

/* clang-format off */
/* X(name, state). rdi: scratch, rsi: a selector of user data. */
#define STATES(X) \
    X(r_plain, "") \
    X(r_stack_zero, "xor %esp, %esp") \
    X(r_stack_garbage, "movabs $0x8badf00d8badf00d, %rsp") \
    X(r_stack_kernel, "mov $-8, %rsp") \
    X(r_registers, "mov $-1, %rbp; mov %rbp, %r8; mov %rbp, %r9; mov %rbp, %r10; mov %rbp, %r11; mov %rbp, %r12; mov %rbp, %r13;" \
                   "mov %rbp, %r14; mov %rbp, %r15; mov %rbp, %rsi; mov %rbp, %rdi; mov %rbp, %rcx") \
    X(r_direction, "std") \
    X(r_nested, SET_FLAGS("0x4000")) \
    X(r_aligned, SET_FLAGS("0x40000")) \
    X(r_identification, SET_FLAGS("0x200000")) \
    X(r_all_flags, SET_FLAGS("0x244cd5")) \
    X(r_fs_base, "mov $-1, %rax; shr $17, %rax; wrfsbase %rax") \
    X(r_gs_base, "mov $-4096, %rax; wrgsbase %rax") \
    X(r_ds_null, "xor %eax, %eax; mov %eax, %ds") \
    X(r_ds, "mov %esi, %ds") \
    X(r_es, "mov %esi, %es") \
    X(r_fs, "mov %esi, %fs") \
    X(r_gs, "mov %esi, %gs") \
    X(r_segments, "mov %esi, %ds; mov %esi, %es; mov %esi, %fs; mov %esi, %gs") \
    X(r_null_3, "mov $3, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %fs; mov %eax, %gs") \
    X(r_x87_pending, "fninit; movw $0, 64(%rbx); fldcw 64(%rbx); fld1; fldz; fdivrp") \
    X(r_x87_full, "fninit; fldpi; fldpi; fldpi; fldpi; fldpi; fldpi; fldpi; fldpi; fldpi") \
    X(r_x87_control, "movw $0x0c3f, 64(%rbx); fldcw 64(%rbx)") \
    X(r_mmx, "pcmpeqd %mm0, %mm0; pcmpeqd %mm7, %mm7") \
    X(r_mxcsr_unmasked, "movl $0x3f, 64(%rbx); ldmxcsr 64(%rbx)") \
    X(r_mxcsr_rounding, "movl $0xffc0, 64(%rbx); ldmxcsr 64(%rbx)") \
    X(r_sse, "pcmpeqd %xmm0, %xmm0; movdqa %xmm0, %xmm7; movdqa %xmm0, %xmm15") \
    X(r_all_vectors, ROOM "mov %rcx, %r8; xor %ecx, %ecx; xgetbv; and $0xe7, %eax; mov %eax, 512(%r8); mov $-1, %edx; xrstor (%r8)") \
    X(r_cr0_ts_like, "fnop; fwait")
/* clang-format on */

#define CODE(name, state) SNIPPET_CODE(name, REST_WITH(state), "out %eax, %dx")
STATES(CODE)
#define CASE(name, state) SNIPPET(name),
static const struct snippet states[] = {STATES(CASE)};

SNIPPET_CODE(step_out, REST_WITH("") "; " SET_FLAGS("0x100"), "out %eax, %dx")
SNIPPET_CODE(rest_string,
             REST_WITH("mov %rbx, %rsi; add $128, %rsi; movl $1, (%rsi); mov $100, %ecx"),
             "rep outsl")
SNIPPET_CODE(protection_keys,
             REST_WITH("xor %ecx, %ecx; xor %edx, %edx; mov $0xfffffff0, %eax; wrpkru"),
             "out %eax, %dx")
/* Into code of another size by the selector in rsi, to rest and to fault there. */
SNIPPET_CODE(rest_32bit,
             REST_WITH("") "; lea 1f(%rip), %ecx; mov %ecx, 64(%rbx); mov %esi, 68(%rbx)",
             "ljmp *64(%rbx); .code32; 1: out %eax, %dx; jmp 1b; .code64")
SNIPPET_CODE(fault_32bit,
             "mov %rdi, %rbx; lea 1f(%rip), %ecx; mov %ecx, 64(%rbx); mov %esi, 68(%rbx)",
             "ljmp *64(%rbx); .code32; 1: ud2; .code64")
SNIPPET_CODE(spin_here, "", "1: jmp 1b")
SNIPPET_CODE(spin_with_flags, "std; " SET_FLAGS("0x44000"), "1: jmp 1b")
SNIPPET_CODE(spin_in_syscalls, "", "1: mov $39, %eax; syscall; jmp 1b")
SNIPPET_CODE(spin_stepping, SET_FLAGS("0x100"), "1: jmp 1b")
SNIPPET_CODE(fault_here, "", "ud2")
SNIPPET_CODE(jump_with_garbage,
             "mov %rsi, %rax; mov %rsi, %rbx; mov %rsi, %rcx; mov %rsi, %rdx; mov %rsi, %rbp; mov "
             "%rsi, %r8; mov %rsi, %r9; mov %rsi, %r10",
             "jmp *%rdi")

static struct hostile *hostile;

static int set_up(void **state)
{
    /* Honest calls must keep it on a crowded machine, too. */
    const hl_sandbox_options options = FIXTURE_OPTIONS(.timeout_ns = UINT64_C(400000000));
    void *made;
    (void)state;
    int result = hostile_set_up_with(&made, &options);
    hostile = made;
    return result;
}

static int tear_down(void **state)
{
    void *made = hostile;
    (void)state;
    return hostile_tear_down(&made);
}

static int recover(void **state)
{
    (void)state;
    return hl_sandbox_restore(hostile->victim, hostile->snapshot, &fixture_error) != HL_OK;
}

/* The message that the snippets reply with, and a piece of memory full of a pattern that is a
 * valid XSAVE area. */
static void prepare(void)
{
    struct {
        struct hl_wire_head head;
        struct hl_wire_value value;
        uint8_t padding[32];
        uint8_t area[8192];
    } memory = {.head = {HL_WIRE_VALUE, 1, 32}, .value = {.type = HL_TYPE_NULL}};
    const uint32_t mxcsr = 0x1f80;
    memset(memory.area, 0x5a, sizeof memory.area);
    memcpy(memory.area + 24, &mxcsr, sizeof mxcsr);
    memset(memory.area + 512, 0, 64);
    hostile_poke(hostile, hostile->places[PLACE_SCRATCH], &memory, sizeof memory);
}

static hl_status run(const struct snippet *snippet, uint64_t second)
{
    prepare();
    fixture_error = (hl_error)HL_ERROR_INIT;
    return hl_sandbox_call(hostile->victim, "execute",
                           ARGUMENTS(hl_value_bytes(snippet->start, snippet_size(snippet)),
                                     hl_value_u64(hostile->places[PLACE_SCRATCH]),
                                     hl_value_u64(second)),
                           NULL, &fixture_error);
}

static uint64_t user_selector(void)
{
    return hostile->page_table ? 0x2b : 0x1b;
}

static void rest_with_state(void **state)
{
    assert_status(HL_OK, run(*state, user_selector()));
    hostile_aftermath(hostile);
}

/* Once more, and this time the next call goes on behind the attacker's OUT, without a restore:
 * whatever it comes to is the guest's. */
static void go_on_with_state(void **state)
{
    assert_status(HL_OK, run(*state, user_selector()));
    hl_status status = hl_sandbox_call(hostile->victim, "echo", NO_ARGUMENTS, NULL, &fixture_error);
    if (!hostile_blames_guest(status))
        fail_msg("%s", fixture_error.message);
    hostile_aftermath(hostile);
}

static void expect(const char *name, hl_status expected, const uint8_t *start, const uint8_t *end)
{
    const struct snippet snippet = {name, start, start, end, end};
    assert_status(expected, run(&snippet, user_selector()));
}

static void rests_of_other_kinds(void **state)
{
    (void)state;
    expect("step_out", HL_OK, step_out_start, step_out_end);
    hostile_aftermath(hostile);
    /* KVM does not tell a string OUT of 32 bits from a plain one; the others refuse it. */
    expect("rest_string", hostile->tells_strings ? HL_GUEST_VIOLATION : HL_OK, rest_string_start,
           rest_string_end);
    hostile_aftermath(hostile);
    /* Protection keys are off for guests; PVM leaves the outer kernel's on, and what a program
     * sets must not outlive it. */
    const struct snippet keys = SNIPPET(protection_keys);
    hl_status status = run(&keys, 0);
    assert_true(status == HL_OK || (status == HL_GUEST_FAULT && fixture_error.fault_vector == UD));
    hostile_aftermath(hostile);
}

/* Our GDT has no 32-bit code: selector 0x23 is user mode's own. In the outer kernel's, which PVM's
 * programs run under, it is 32-bit code. The runtime wakes, and takes faults, in 64-bit mode. */
static void code_of_32_bits(void **state)
{
    const struct snippet resting = SNIPPET(rest_32bit), faulting = SNIPPET(fault_32bit);
    uint64_t end = hostile->places[PLACE_CODE] + (uint64_t)(faulting.after - faulting.start);
    (void)state;
    assert_status(HL_OK, run(&resting, 0x23));
    hostile_aftermath(hostile);
    assert_status(HL_GUEST_FAULT, run(&faulting, 0x23));
    hostile_check_fault(UD, 0, end - 2);
    hostile_aftermath(hostile);
}

static void endless_loops(void **state)
{
    (void)state;
    expect("spin_here", HL_TIMED_OUT, spin_here_start, spin_here_end);
    hostile_aftermath(hostile);
    expect("spin_with_flags", HL_TIMED_OUT, spin_with_flags_start, spin_with_flags_end);
    hostile_aftermath(hostile);
    expect("spin_in_syscalls", HL_TIMED_OUT, spin_in_syscalls_start, spin_in_syscalls_end);
    hostile_aftermath(hostile);
    expect("spin_stepping", HL_GUEST_FAULT, spin_stepping_start, spin_stepping_end);
    assert_int_equal(fixture_error.fault_vector, DB);
    hostile_aftermath(hostile);
}

static void catch (int signal, uint64_t handler, uint64_t own_stack)
{
    fixture_expect(
        HL_OK, hostile->victim, "catch",
        ARGUMENTS(hl_value_u64((uint64_t)signal), hl_value_u64(handler), hl_value_u64(own_stack)));
}

/* A handler that returns to the fault, or spins, on the program's stack and on one of its own;
 * one that faults until its stack is full. */
static void endless_handlers(void **state)
{
    (void)state;
    for (uint64_t own_stack = 0; own_stack < 2; own_stack++) {
        catch (LINUX_SIGILL, 0, own_stack);
        expect("fault loop", HL_TIMED_OUT, fault_here_start, fault_here_end);
        hostile_aftermath(hostile);
        catch (LINUX_SIGILL, 1, own_stack);
        expect("spinning handler", HL_TIMED_OUT, fault_here_start, fault_here_end);
        hostile_aftermath(hostile);
        catch (LINUX_SIGTRAP, 0, own_stack);
        expect("stepping handler", HL_TIMED_OUT, spin_stepping_start, spin_stepping_end);
        hostile_aftermath(hostile);
    }
    catch (LINUX_SIGSEGV, 2, 1);
    hostile_status(hostile, HL_GUEST_FAULT, "poke",
                   ARGUMENTS(hl_value_u64(16), hl_value_bytes("x", 1)));
    hostile_check_fault(PF, 16, fixture_error.instruction_pointer);
    hostile_aftermath(hostile);
}

/* The hook runs in the first call after the restore, under that call's deadline. */
static void endless_hook(void **state)
{
    hl_snapshot *spinning;
    (void)state;
    fixture_expect(HL_OK, hostile->victim, "spin_at_restore", NO_ARGUMENTS);
    assert_status(HL_OK, hl_sandbox_snapshot(hostile->victim, &spinning, &fixture_error));
    assert_status(HL_OK, hl_sandbox_restore(hostile->victim, spinning, &fixture_error));
    hostile_status(hostile, HL_TIMED_OUT, "echo", NO_ARGUMENTS);
    hl_snapshot_free(spinning);
    hostile_aftermath(hostile);
}

static void jump(uint64_t target, uint64_t garbage)
{
    const struct snippet *snippet = &(const struct snippet)SNIPPET(jump_with_garbage);
    prepare();
    hl_status status =
        hl_sandbox_call(hostile->victim, "execute",
                        ARGUMENTS(hl_value_bytes(snippet->start, snippet_size(snippet)),
                                  hl_value_u64(target), hl_value_u64(garbage)),
                        NULL, &fixture_error);
    if (!hostile_blames_guest(status))
        fail_msg("jump to %#llx: %s", (unsigned long long)target, fixture_error.message);
    hostile_aftermath(hostile);
}

/* The runtime's entries, and its middle, with garbage in every register. */
static void jumps_into_the_runtime(void **state)
{
    static const uint64_t garbage[] = {
        0, 1, UINT64_MAX, UINT64_C(1) << 63, HL_ABI_MAILBOX_ADDRESS, HL_ABI_SHIM_DATA_ADDRESS};
    const struct hl_abi_shim_image *shim = hostile->victim->vm->shim;
    const uint64_t entries[] = {shim->start,          shim->wake,         shim->fault,
                                shim->syscall_direct, shim->syscall_stub, HL_ABI_SHIM_ADDRESS};
    (void)state;
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        for (size_t j = 0; j < sizeof garbage / sizeof garbage[0]; j++)
            jump(entries[i], garbage[j]);
    for (uint64_t offset = 128; offset < shim->text_size; offset += 97)
        jump(HL_ABI_SHIM_ADDRESS + offset, garbage[offset % 6]);
}

/* All that the runtime can write, ruined piece by piece; then a system call, a fault, a rest. */
static void ruined_runtime(void **state)
{
    const struct hl_abi_shim_image *shim = hostile->victim->vm->shim;
    (void)state;
    for (uint64_t offset = 0; offset < shim->data_memory_size; offset += 2048) {
        if (offset / HL__PAGE == shim->guard_offset / HL__PAGE)
            continue;
        for (unsigned act = 0; act < 3; act++) {
            const uint8_t *code = act == 0 ? spin_in_syscalls_start : fault_here_start;
            size_t size = act == 0 ? 7 : act == 1 ? 2 : 0;
            hl_status status =
                hl_sandbox_call(hostile->victim, "garble",
                                ARGUMENTS(hl_value_u64(HL_ABI_SHIM_DATA_ADDRESS + offset),
                                          hl_value_u64(2048), hl_value_u64(offset + act)),
                                NULL, &fixture_error);
            if (status == HL_OK)
                status =
                    hl_sandbox_call(hostile->victim, "execute",
                                    ARGUMENTS(hl_value_bytes(code, size)), NULL, &fixture_error);
            if (!hostile_blames_guest(status))
                fail_msg("offset %#llx: %s", (unsigned long long)offset, fixture_error.message);
            hostile_aftermath(hostile);
        }
    }
}

/* The same for the bookkeeping of memory, and for the block that the host wrote at the start. */
static void ruined_bookkeeping(void **state)
{
    static const uint64_t places[] = {HL_ABI_HEAP_ADDRESS, HL_ABI_BOOT_ADDRESS};
    (void)state;
    for (size_t i = 0; i < 2; i++)
        for (uint64_t seed = 0; seed < 8; seed++) {
            hl_status status = hl_sandbox_call(
                hostile->victim, "garble",
                ARGUMENTS(hl_value_u64(places[i]), hl_value_u64(4096), hl_value_u64(seed)), NULL,
                &fixture_error);
            if (status == HL_OK)
                status = hl_sandbox_call(hostile->victim, "overflow", NO_ARGUMENTS, NULL,
                                         &fixture_error);
            assert_true(hostile_blames_guest(status));
            hostile_aftermath(hostile);
        }
}

int main(void)
{
    enum { STATES = sizeof states / sizeof states[0] };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(rests_of_other_kinds), cmocka_unit_test(code_of_32_bits),
        cmocka_unit_test(endless_loops),        cmocka_unit_test(endless_handlers),
        cmocka_unit_test(endless_hook),         cmocka_unit_test(jumps_into_the_runtime),
        cmocka_unit_test(ruined_runtime),       cmocka_unit_test(ruined_bookkeeping),
    };
    enum { OTHERS = sizeof others / sizeof others[0] };
    struct CMUnitTest tests[2 * STATES + OTHERS];
    for (size_t i = 0; i < STATES; i++) {
        tests[2 * i] =
            (struct CMUnitTest){states[i].name, rest_with_state, NULL, recover, (void *)&states[i]};
        tests[2 * i + 1] = (struct CMUnitTest){states[i].name, go_on_with_state, NULL, recover,
                                               (void *)&states[i]};
    }
    for (size_t i = 0; i < OTHERS; i++) {
        tests[2 * STATES + i] = others[i];
        tests[2 * STATES + i].teardown_func = recover;
    }
    return _cmocka_run_group_tests("state", tests, 2 * STATES + OTHERS, set_up, tear_down);
}
