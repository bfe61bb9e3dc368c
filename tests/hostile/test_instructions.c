/*
 * Every privileged instruction, and those that are merely odd, in user mode: the exact exception
 * and place of each. Where the two kinds of machine legitimately differ, the case names both.
 * test-labels: bed
 */
#include "hostile.h"
#include "snippet.h"
#include <stdlib.h>

/* Outcomes that depend: either of two, as processors' makers differ; #GP only where there is
 * UMIP; a #DB that PVM reports on the instruction instead of behind it; a page fault on the
 * stack. */
enum { UD_OR_GP = 200, UMIP = 201, DB_NEAR = 202, PF_STACK = 203 };

/* clang-format off */
/* X(name, setup, attack, outcome on hardware, outcome on PVM). rdi: scratch memory, rsi: the
 * start of the snippet. */
#define PRIVILEGED(X) \
    X(i_cli, "", "cli", GP, GP) \
    X(i_sti, "", "sti", GP, GP) \
    X(i_hlt, "", "hlt", GP, GP) \
    X(i_lgdt, "", "lgdt (%rdi)", GP, GP) \
    X(i_lidt, "", "lidt (%rdi)", GP, GP) \
    X(i_lldt, "xor %eax, %eax", "lldt %ax", GP, GP) \
    X(i_ltr, "mov $0x28, %eax", "ltr %ax", GP, GP) \
    X(i_lmsw, "xor %eax, %eax", "lmsw %ax", GP, GP) \
    X(i_clts, "", "clts", GP, GP) \
    X(i_read_cr0, "", "mov %cr0, %rax", GP, GP) \
    X(i_read_cr2, "", "mov %cr2, %rax", GP, GP) \
    X(i_read_cr3, "", "mov %cr3, %rax", GP, GP) \
    X(i_read_cr4, "", "mov %cr4, %rax", GP, GP) \
    X(i_read_cr8, "", "mov %cr8, %rax", GP, GP) \
    X(i_write_cr0, "", "mov %rdi, %cr0", GP, GP) \
    X(i_write_cr2, "", "mov %rdi, %cr2", GP, GP) \
    X(i_write_cr3, "", "mov %rdi, %cr3", GP, GP) \
    X(i_write_cr4, "", "mov %rdi, %cr4", GP, GP) \
    X(i_write_cr8, "", "mov %rdi, %cr8", GP, GP) \
    X(i_read_dr0, "", "mov %dr0, %rax", GP, GP) \
    X(i_read_dr6, "", "mov %dr6, %rax", GP, GP) \
    X(i_read_dr7, "", "mov %dr7, %rax", GP, GP) \
    X(i_write_dr0, "", "mov %rdi, %dr0", GP, GP) \
    X(i_write_dr6, "", "mov %rdi, %dr6", GP, GP) \
    X(i_write_dr7, "", "mov %rdi, %dr7", GP, GP) \
    X(i_rdmsr_efer, "mov $0xc0000080, %ecx", "rdmsr", GP, GP) \
    X(i_rdmsr_lstar, "mov $0xc0000082, %ecx", "rdmsr", GP, GP) \
    X(i_wrmsr_efer, "mov $0xc0000080, %ecx", "wrmsr", GP, GP) \
    X(i_wrmsr_lstar, "mov $0xc0000082, %ecx", "wrmsr", GP, GP) \
    X(i_rdpmc, "xor %ecx, %ecx", "rdpmc", GP, GP) \
    X(i_invd, "", "invd", GP, GP) \
    X(i_wbinvd, "", "wbinvd", GP, GP) \
    X(i_wbnoinvd, "", ".byte 0xf3, 0x0f, 0x09", GP, GP) \
    X(i_invlpg, "", "invlpg (%rdi)", GP, GP) \
    X(i_invlpga, "", ".byte 0x0f, 0x01, 0xdf", UD_OR_GP, UD_OR_GP) \
    X(i_invpcid, "xor %eax, %eax", "invpcid (%rdi), %rax", UD_OR_GP, UD_OR_GP) \
    X(i_swapgs, "", "swapgs", GP, GP) \
    X(i_sysretq, "mov %rsi, %rcx", "sysretq", GP, GP) \
    X(i_sysretl, "mov %rsi, %rcx", "sysretl", GP, GP) \
    X(i_sysexit, "", "sysexitl", UD_OR_GP, UD_OR_GP) \
    X(i_sysenter, "", "sysenter", UD_OR_GP, UD_OR_GP) \
    X(i_xsetbv, "xor %ecx, %ecx; mov $3, %eax; xor %edx, %edx", "xsetbv", GP, GP) \
    X(i_monitor, "mov %rdi, %rax; xor %ecx, %ecx; xor %edx, %edx", "monitor", UD_OR_GP, UD_OR_GP) \
    X(i_mwait, "xor %eax, %eax; xor %ecx, %ecx", "mwait", UD_OR_GP, UD_OR_GP) \
    X(i_stac, "", "stac", UD, UD) \
    X(i_clac, "", "clac", UD, UD) \
    X(i_getsec, "", "getsec", UD, UD) \
    X(i_rsm, "", "rsm", UD, UD) \
    X(i_encls, "", ".byte 0x0f, 0x01, 0xcf", UD, UD) \
    X(i_enclu, "", ".byte 0x0f, 0x01, 0xd7", UD, UD) \
    X(i_vmlaunch, "", "vmlaunch", UD, UD) \
    X(i_vmresume, "", "vmresume", UD, UD) \
    X(i_vmxoff, "", "vmxoff", UD, UD) \
    X(i_vmxon, "", "vmxon (%rdi)", UD, UD) \
    X(i_vmptrld, "", "vmptrld (%rdi)", UD, UD) \
    X(i_vmread, "", "vmread %rax, %rcx", UD, UD) \
    X(i_invept, "", "invept (%rdi), %rax", UD, UD) \
    X(i_vmrun, "", ".byte 0x0f, 0x01, 0xd8", UD_OR_GP, UD_OR_GP) \
    X(i_vmload, "", ".byte 0x0f, 0x01, 0xda", UD_OR_GP, UD_OR_GP) \
    X(i_vmsave, "", ".byte 0x0f, 0x01, 0xdb", UD_OR_GP, UD_OR_GP) \
    X(i_stgi, "", ".byte 0x0f, 0x01, 0xdc", UD_OR_GP, UD_OR_GP) \
    X(i_clgi, "", ".byte 0x0f, 0x01, 0xdd", UD_OR_GP, UD_OR_GP) \
    X(i_skinit, "", ".byte 0x0f, 0x01, 0xde", UD_OR_GP, UD_OR_GP) \
    X(i_sgdt, "", "sgdt (%rdi)", UMIP, UMIP) \
    X(i_sidt, "", "sidt (%rdi)", UMIP, UMIP) \
    X(i_sldt, "", "sldt %eax", UMIP, UMIP) \
    X(i_str, "", "str %eax", UMIP, UMIP) \
    X(i_smsw, "", "smsw %eax", UMIP, UMIP)

/* Ports: all but the call port are closed, and that takes only a plain 32-bit OUT. */
#define PORTS(X) \
    X(p_in_imm8, "", "in $0x80, %al", GP, GP) \
    X(p_in_imm32, "", "in $0x80, %eax", GP, GP) \
    X(p_out_imm8, "", "out %al, $0x51", GP, GP) \
    X(p_out_imm32, "", "out %eax, $0x51", GP, GP) \
    X(p_out_imm_poke, "", "out %eax, $0x55", GP, GP) \
    X(p_below, "mov $0x5147, %edx", "out %eax, %dx", GP, GP) \
    X(p_below2, "mov $0x5146, %edx", "out %eax, %dx", GP, GP) \
    X(p_below4, "mov $0x5144, %edx", "out %eax, %dx", GP, GP) \
    X(p_above1, "mov $0x5149, %edx", "out %eax, %dx", GP, GP) \
    X(p_above3, "mov $0x514b, %edx", "out %eax, %dx", GP, GP) \
    X(p_above4, "mov $0x514c, %edx", "out %eax, %dx", GP, GP) \
    X(p_word_below, "mov $0x5147, %edx", "out %ax, %dx", GP, GP) \
    X(p_word_above, "mov $0x514b, %edx", "out %ax, %dx", GP, GP) \
    X(p_byte_above, "mov $0x514c, %edx", "out %al, %dx", GP, GP) \
    X(p_wrapping, "mov $0xffff, %edx", "out %eax, %dx", GP, GP) \
    X(p_call_byte, "mov $0x5148, %edx", "out %al, %dx", VIOLATES, VIOLATES) \
    X(p_call_word, "mov $0x5148, %edx", "out %ax, %dx", VIOLATES, VIOLATES) \
    X(p_call_byte1, "mov $0x5149, %edx", "out %al, %dx", VIOLATES, VIOLATES) \
    X(p_call_byte3, "mov $0x514b, %edx", "out %al, %dx", VIOLATES, VIOLATES) \
    X(p_call_word2, "mov $0x514a, %edx", "out %ax, %dx", VIOLATES, VIOLATES) \
    X(p_call_in8, "mov $0x5148, %edx", "in %dx, %al", VIOLATES, VIOLATES) \
    X(p_call_in16, "mov $0x5148, %edx", "in %dx, %ax", VIOLATES, VIOLATES) \
    X(p_call_in32, "mov $0x5148, %edx", "in %dx, %eax", VIOLATES, VIOLATES) \
    X(p_call_insb, "mov $0x5148, %edx", "insb", VIOLATES, VIOLATES) \
    X(p_call_insl, "mov $0x5148, %edx", "insl", VIOLATES, VIOLATES) \
    X(p_call_rep_insb, "mov $0x5148, %edx; mov $100000, %ecx", "rep insb", VIOLATES, VIOLATES) \
    X(p_call_rep_insl, "mov $0x5148, %edx; mov $100000, %ecx", "rep insl", VIOLATES, VIOLATES) \
    X(p_call_rep_insl_down, "mov $0x5148, %edx; mov $-1, %rcx; std", "rep insl", VIOLATES, VIOLATES) \
    X(p_call_outsb, "mov $0x5148, %edx; mov %rdi, %rsi", "outsb", VIOLATES, VIOLATES) \
    X(p_call_outsw, "mov $0x5148, %edx; mov %rdi, %rsi", "outsw", VIOLATES, VIOLATES) \
    X(p_call_outsl, "mov $0x5148, %edx; mov %rdi, %rsi", "outsl", VIOLATES, VIOLATES) \
    X(p_call_rep_outsb, "mov $0x5148, %edx; mov %rdi, %rsi; mov $100000, %ecx", "rep outsb", VIOLATES, VIOLATES) \
    X(p_call_rep_outsl, "mov $0x5148, %edx; mov %rdi, %rsi; mov $100000, %ecx", "rep outsl", VIOLATES, VIOLATES) \
    X(p_call_unknown, "mov $0x5148, %edx; mov $-1, %eax", "out %eax, %dx", VIOLATES, VIOLATES) \
    X(p_call_zero, "mov $0x5148, %edx; xor %eax, %eax", "out %eax, %dx", VIOLATES, VIOLATES) \
    X(p_call_hello, "mov $0x5148, %edx; mov $11, %eax", "out %eax, %dx", VIOLATES, VIOLATES) \
    X(p_insb, "mov $0x60, %edx", "insb", GP, GP) \
    X(p_rep_insl, "mov $0x60, %edx; mov $9, %ecx", "rep insl", GP, GP) \
    X(p_outsb, "mov $0x60, %edx; mov %rdi, %rsi", "outsb", GP, GP) \
    X(p_rep_outsl, "mov $0x60, %edx; mov %rdi, %rsi; mov $9, %ecx", "rep outsl", GP, GP)

/* Software interrupts, traps and things that merely look like ways in. PVM turns `int n` into
 * #UD, as it does with what its emulator gives up on after a #GP; and its programs run under
 * the outer kernel's GDT, where selector 0x28 is harmless data. */
#define TRAPS(X) \
    X(t_int3, "", "int3", BP, BP) \
    X(t_int_3, "", ".byte 0xcd, 3", BP, BP) \
    X(t_int_4, "", "int $4", OF, OF) \
    X(t_int_0, "", "int $0", GP, UD) \
    X(t_int_1, "", "int $1", GP, UD) \
    X(t_int_2, "", "int $2", GP, UD) \
    X(t_int_8, "", "int $8", GP, UD) \
    X(t_int_14, "", "int $14", GP, UD) \
    X(t_int_18, "", "int $18", GP, UD) \
    X(t_int_32, "", "int $32", GP, UD) \
    X(t_int_80, "", "int $0x80", GP, UD) \
    X(t_int_ff, "", "int $0xff", GP, UD) \
    X(t_into, "", ".byte 0xce", UD, UD) \
    X(t_icebp, "", ".byte 0xf1", DB, DB_NEAR) \
    X(t_ud2, "", "ud2", UD, UD) \
    X(t_ud1, "", ".byte 0x0f, 0xb9, 0xc0", UD, UD) \
    X(t_ud0, "", ".byte 0x0f, 0xff, 0xc0", UD, UD) \
    X(t_vmcall, "", "vmcall", UD, GP) \
    X(t_vmmcall, "", "vmmcall", RUNS, RUNS) \
    X(t_lock_nop, "", ".byte 0xf0, 0x90", UD, UD) \
    X(t_lock_register, "", ".byte 0xf0, 0x01, 0xc0", UD, UD) \
    X(t_lock_int3, "", ".byte 0xf0, 0xcc", UD, UD) \
    X(t_cmpxchg8b_f00f, "", ".byte 0xf0, 0x0f, 0xc7, 0xc8", UD, UD) \
    X(t_too_long, "", ".fill 15, 1, 0x66\n nop", GP, GP) \
    X(t_divide, "xor %ecx, %ecx; mov $1, %eax; cltd", "div %ecx", DE, DE) \
    X(t_divide_overflow, "mov $0x80000000, %eax; cltd; mov $-1, %ecx", "idiv %ecx", DE, DE) \
    X(t_push_es, "", ".byte 0x06", UD, UD) \
    X(t_far_jump_direct, "", ".byte 0xea, 0, 0, 0, 0, 8, 0", UD, UD) \
    X(t_far_call_direct, "", ".byte 0x9a, 0, 0, 0, 0, 8, 0", UD, UD)

/* Far transfers and segment loads towards the kernel's descriptors, the TSS, and nothing. */
#define FAR_FRAME(cs, ss) "mov %rsp, %rax; push $" ss "; push %rax; pushfq; push $" cs "; lea 1f(%rip), %rax; push %rax; jmp 2f; 1: mov %rax, %rsp; ret; 2:"
#define FAR_POINTER(cs) "lea 1f(%rip), %rax; mov %rax, (%rdi); movw $" cs ", 8(%rdi); jmp 2f; 1: ret; 2:"
#define SEGMENTS(X) \
    X(s_iret_kernel, FAR_FRAME("8", "0x10"), "iretq", GP, GP) \
    X(s_iret_kernel_rpl3, FAR_FRAME("0xb", "0x1b"), "iretq", GP, GP) \
    X(s_iret_kernel_ss, FAR_FRAME("0x23", "0x10"), "iretq", GP, GP) \
    X(s_iret_null, FAR_FRAME("0", "0x1b"), "iretq", GP, GP) \
    X(s_iret_tss, FAR_FRAME("0x2b", "0x1b"), "iretq", GP, GP) \
    X(s_iret_beyond, FAR_FRAME("0x7fb", "0x1b"), "iretq", GP, GP) \
    X(s_iret_ldt, FAR_FRAME("0xf", "0x1b"), "iretq", GP, GP) \
    X(s_lret_kernel, FAR_FRAME("8", "0x10"), "lretq", GP, GP) \
    X(s_lret_tss, FAR_FRAME("0x28", "0x10"), "lretq", GP, GP) \
    X(s_jump_kernel, FAR_POINTER("8"), "rex.W ljmp *(%rdi)", GP, GP) \
    X(s_jump_kernel_rpl3, FAR_POINTER("0xb"), "rex.W ljmp *(%rdi)", GP, GP) \
    X(s_jump_tss, FAR_POINTER("0x28"), "rex.W ljmp *(%rdi)", GP, UD) \
    X(s_jump_tss_rpl3, FAR_POINTER("0x2b"), "rex.W ljmp *(%rdi)", GP, UD) \
    X(s_jump_null, FAR_POINTER("0"), "rex.W ljmp *(%rdi)", GP, GP) \
    X(s_jump_data, FAR_POINTER("0x1b"), "rex.W ljmp *(%rdi)", GP, GP) \
    X(s_call_kernel, FAR_POINTER("8"), "rex.W lcall *(%rdi)", GP, GP) \
    X(s_call_tss, FAR_POINTER("0x28"), "rex.W lcall *(%rdi)", GP, UD) \
    X(s_call_tss_upper, FAR_POINTER("0x30"), "rex.W lcall *(%rdi)", GP, UD) \
    X(s_call_ldt, FAR_POINTER("4"), "rex.W lcall *(%rdi)", GP, GP) \
    X(s_load_ds_kernel, "mov $0x10, %eax", "mov %eax, %ds", GP, GP) \
    X(s_load_ds_kernel_code, "mov $8, %eax", "mov %eax, %ds", GP, GP) \
    X(s_load_es_tss, "mov $0x28, %eax", "mov %eax, %es", GP, RUNS) \
    X(s_load_fs_beyond, "mov $0x7fb, %eax", "mov %eax, %fs", GP, GP) \
    X(s_load_gs_ldt, "mov $4, %eax", "mov %eax, %gs", GP, GP) \
    X(s_load_ss_null, "xor %eax, %eax", "mov %eax, %ss", GP, GP) \
    X(s_load_ss_kernel, "mov $0x10, %eax", "mov %eax, %ss", GP, GP) \
    X(s_load_cs, "mov $0x23, %eax", ".byte 0x8e, 0xc8", UD, UD) \
    X(s_load_ds_null, "xor %eax, %eax", "mov %eax, %ds", RUNS, RUNS) \
    X(s_load_es_null, "xor %eax, %eax", "mov %eax, %es", RUNS, RUNS) \
    X(s_load_gs_null, "xor %eax, %eax", "mov %eax, %gs", RUNS, RUNS) \
    X(s_lar_kernel, "mov $8, %eax", "lar %eax, %eax", RUNS, RUNS) \
    X(s_verr_kernel, "mov $8, %eax", "verr %ax", RUNS, RUNS)

/* Flags that user mode may not have, or that make trouble where it enters the host's code. */
#define SET_FLAGS(flags) "pushfq; orq $" flags ", (%rsp); popfq"
#define FLAGS(X) \
    X(f_interrupts_off, "pushfq; andq $~0x200, (%rsp)", "popfq", RUNS, RUNS) \
    X(f_privilege, "pushfq; orq $0x3000, (%rsp)", "popfq", RUNS, RUNS) \
    X(f_privilege_cli, SET_FLAGS("0x3000"), "cli", GP, GP) \
    X(f_privilege_out, SET_FLAGS("0x3000"), "out %al, $0x80", GP, GP) \
    X(f_nested_iret, SET_FLAGS("0x4000") ";" FAR_FRAME("0x23", "0x1b"), "iretq", GP, GP) \
    X(f_virtual_8086, "pushfq; orq $0x20000, (%rsp)", "popfq", RUNS, RUNS) \
    X(f_step, SET_FLAGS("0x100"), "nop", DB, DB) \
    X(f_step_int3, SET_FLAGS("0x100") "; nop", "", DB, DB) \
    X(f_aligned, SET_FLAGS("0x40000"), "mov 1(%rdi), %eax", RUNS, AC) \
    X(f_syscall_direction, "mov $39, %eax; std", "syscall; cld", RUNS, RUNS) \
    X(f_syscall_nested, "mov $39, %eax;" SET_FLAGS("0x4000"), "syscall; " SET_FLAGS("0"), RUNS, RUNS) \
    X(f_syscall_aligned, "mov $39, %eax;" SET_FLAGS("0x40000"), "syscall; pushfq; andq $~0x40000, (%rsp); popfq", RUNS, RUNS)

/* Numbers and memory: unmasked exceptions and misaligned vectors. */
#define UNMASK "movl $0, (%rdi); ldmxcsr (%rdi);"
#define NUMBERS(X) \
    X(n_sse_divide, UNMASK "pxor %xmm0, %xmm0; pcmpeqd %xmm1, %xmm1; cvtdq2ps %xmm1, %xmm1", "divps %xmm0, %xmm1", XM, XM) \
    X(n_mxcsr_reserved, "movl $-1, (%rdi)", "ldmxcsr (%rdi)", GP, UD) \
    X(n_sse_misaligned, "", "movaps 1(%rdi), %xmm0", GP, GP) \
    X(n_avx_misaligned, "", "vmovaps 1(%rdi), %ymm0", GP, UD) \
    X(n_x87_divide, "fninit; movw $0, (%rdi); fldcw (%rdi); fld1; fldz; fdivrp", "fwait", MF, MF) \
    X(n_fxrstor_garbage, "mov %rdi, %rax; movl $-1, 24(%rdi)", "fxrstor (%rdi)", GP, GP) \
    X(n_xrstor_garbage, "movq $-1, 512(%rdi); mov $-1, %eax; mov %eax, %edx", "xrstor (%rdi)", GP, GP) \
    X(n_xrstor_misaligned, "mov $-1, %eax; mov %eax, %edx", "xrstor 8(%rdi)", GP, GP)
/* clang-format on */

#define ALL(X) PRIVILEGED(X) PORTS(X) TRAPS(X) SEGMENTS(X) FLAGS(X) NUMBERS(X)
#define CODE(name, setup, attack, hardware, pvm) SNIPPET_CODE(name, setup, attack)
ALL(CODE)

#define CASE(name, setup, attack, hardware, pvm) {SNIPPET(name), hardware, pvm},
static const struct attack {
    struct snippet snippet;
    int hardware, pvm;
} attacks[] = {ALL(CASE)};
enum { ATTACKS = sizeof attacks / sizeof attacks[0] };

/* Where QEMU 7.2, which emulates the bed's processor, is unlike one: it reads the frames of far
 * returns with the supervisor's rights, which SMAP then refuses, knows no unmasked SSE
 * exceptions, and takes LOCK for a decoration. */
static const struct {
    const char *name;
    int outcome;
} emulator[] = {
    {"t_icebp", UD},
    {"t_vmcall", GP},
    {"t_lock_int3", BP},
    {"s_iret_kernel", PF_STACK},
    {"s_iret_kernel_rpl3", PF_STACK},
    {"s_iret_kernel_ss", PF_STACK},
    {"s_iret_null", PF_STACK},
    {"s_iret_tss", PF_STACK},
    {"s_iret_beyond", PF_STACK},
    {"s_iret_ldt", PF_STACK},
    {"s_lret_kernel", PF_STACK},
    {"s_lret_tss", PF_STACK},
    {"n_sse_divide", RUNS},
    {"n_mxcsr_reserved", RUNS},
    {"n_fxrstor_garbage", RUNS},
};

static struct hostile *hostile;

/* The group's own state stays empty: each test's is its attack. */
static int set_up(void **state)
{
    void *made;
    (void)state;
    int result = hostile_set_up(&made);
    hostile = made;
    return result;
}

static int tear_down(void **state)
{
    void *made = hostile;
    (void)state;
    return hostile_tear_down(&made);
}

/* Traps leave the instruction pointer behind the instruction, faults on it. ICEBP of PVM does either,
 * as the processor and the kernel below it have it. */
static uint64_t instruction_of(const struct snippet *snippet, int expected)
{
    uint64_t start = hostile->places[PLACE_CODE];
    uint64_t before = start + (uint64_t)(snippet->attack - snippet->start);
    uint64_t behind = start + (uint64_t)(snippet->after - snippet->start);
    if (expected == DB_NEAR)
        return fixture_error.instruction_pointer == before ? before : behind;
    return expected == DB || expected == BP || expected == OF ? behind : before;
}

static int expected_outcome(const struct attack *attack)
{
    for (size_t i = 0; hostile->emulated && i < sizeof emulator / sizeof emulator[0]; i++)
        if (!strcmp(emulator[i].name, attack->snippet.name))
            return emulator[i].outcome;
    return hostile->page_table ? attack->pvm : attack->hardware;
}

static enum outcome settle(int expected)
{
    switch (expected) {
    case UD_OR_GP:
        return fixture_error.fault_vector == UD ? UD : GP;
    case UMIP:
        return hostile->umip ? GP : RUNS;
    case DB_NEAR:
        return DB;
    case PF_STACK:
        return PF;
    default:
        return (enum outcome)expected;
    }
}

static hl_status attack_status(enum outcome outcome)
{
    return outcome == RUNS ? HL_OK : outcome == VIOLATES ? HL_GUEST_VIOLATION : HL_GUEST_FAULT;
}

static void attack(void **state)
{
    const struct attack *attack = *state;
    const struct snippet *snippet = &attack->snippet;
    hl_value reply = hl_value_null();
    fixture_error = (hl_error)HL_ERROR_INIT;
    hl_status status =
        hl_sandbox_call(hostile->victim, "execute",
                        ARGUMENTS(hl_value_bytes(snippet->start, snippet_size(snippet)),
                                  hl_value_u64(hostile->places[PLACE_SCRATCH]),
                                  hl_value_u64(hostile->places[PLACE_CODE])),
                        &reply, &fixture_error);
    int expected = expected_outcome(attack);
    enum outcome outcome = settle(expected);
    hl_value_free(&reply);
    assert_status(attack_status(outcome), status);
    if (status == HL_GUEST_FAULT)
        hostile_check_fault(outcome, fixture_error.fault_address,
                            instruction_of(snippet, expected));
    hostile_aftermath(hostile);
}

static int recover(void **state)
{
    (void)state;
    return hl_sandbox_restore(hostile->victim, hostile->snapshot, &fixture_error) != HL_OK;
}

int main(void)
{
    struct CMUnitTest tests[ATTACKS];
    for (size_t i = 0; i < ATTACKS; i++)
        tests[i] = (struct CMUnitTest){attacks[i].snippet.name, attack, NULL, recover,
                                       (void *)&attacks[i]};
    return _cmocka_run_group_tests("instructions", tests, ATTACKS, set_up, tear_down);
}
