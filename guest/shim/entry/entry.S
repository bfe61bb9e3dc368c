/*
 * The ways into the shim: start, system calls, faults, wake-up after a restore, and the SDK's
 * door. The head of the image tells the host where they are.
 *
 * None of them trusts the program's stack. Leaving restores every register from static memory and
 * jumps through it, so that nothing below the program's stack pointer is touched.
 */
#include "hyperlight/abi/x86_64.h"
#include "entry/state.h"

/* Values of enum hl_abi_op that the door lets through; start.c asserts them. */
#define OP_REST 1
#define OP_LOG 8
#define DOOR_OPS 0x10e /* bits REST, EXPORT, HOST_CALL, LOG */
#define EINVAL 22
#define FLAGS_JUMP 0x202 /* what a program's flags are after a rewritten system call */

    .section .image_head, "a"
    .long 0x494c4831, 1
    .quad shim_text_size
    .quad shim_text_size
    .quad shim_data_size
    .quad shim_data_memory_size
    .quad hl__start
    .quad hl__wakeup
    .quad hl__fault
    .quad hl__syscall_direct
    .quad hl__syscall_stub
    .quad shim_guard_offset
    .quad hl__touch
    .quad 0, 0, 0, 0

/* HL_ABI_SYSCALL_JUMP, right behind the head: a rewritten system call. r11 is the address to return to;
 * rcx is free. The flags are not the program's to keep. */
    .globl hl__syscall_jump
hl__syscall_jump:
    mov %r11, %rcx
    mov $FLAGS_JUMP, %r11d
    jmp hl__syscall_direct

    .section .hot, "aw", @nobits
    .balign 64
    .globl hl__hot
hl__hot:
    .space 512

/* Loads every register from the struct hl_abi_registers at `frame` and continues there. */
    .macro RESUME frame
    lea \frame + REGS_RFLAGS(%rip), %rsp
    popfq
    mov \frame + REGS_RAX(%rip), %rax
    mov \frame + REGS_RBX(%rip), %rbx
    mov \frame + REGS_RCX(%rip), %rcx
    mov \frame + REGS_RDX(%rip), %rdx
    mov \frame + REGS_RSI(%rip), %rsi
    mov \frame + REGS_RDI(%rip), %rdi
    mov \frame + REGS_RBP(%rip), %rbp
    mov \frame + REGS_R8(%rip), %r8
    mov \frame + REGS_R9(%rip), %r9
    mov \frame + REGS_R10(%rip), %r10
    mov \frame + REGS_R11(%rip), %r11
    mov \frame + REGS_R12(%rip), %r12
    mov \frame + REGS_R13(%rip), %r13
    mov \frame + REGS_R14(%rip), %r14
    mov \frame + REGS_R15(%rip), %r15
    mov \frame + REGS_RSP(%rip), %rsp
    jmp *\frame + REGS_RIP(%rip)
    .endm

/* Every vector and x87 register to its initial value. Clobbers rax and rdx. */
    .macro CLEAR_VECTOR_STATE
    cmpq $0, hl__hot + HOT_XCR0(%rip)
    je 1f
    mov $-1, %eax
    mov $-1, %edx
    xrstor64 hl__clean_vector_state(%rip)
    jmp 2f
1:  fxrstor64 hl__clean_vector_state(%rip)
2:
    .endm

/* Segment selectors that a program loaded: not every hypervisor takes them from the host. Clobbers
 * rax; the bases of FS and GS must be set afterwards. */
    .macro CLEAR_SEGMENTS
    xor %eax, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    .endm

    .text
    .globl hl__start
hl__start:
    CLEAR_SEGMENTS
    lea hl__syscall_stack_top(%rip), %rsp
    xor %ebp, %ebp
    cld
    call hl__start_program
    CLEAR_VECTOR_STATE
    RESUME hl__hot + HOT_SYSCALL

/* A system call that came through the host's ring-0 stub: SYSRET needed rcx, the stub left the
 * return address aside. */
    .globl hl__syscall_stub
hl__syscall_stub:
    movabs $HL_ABI_SYSCALL_ADDRESS, %rcx
    mov (%rcx), %rcx

/* A system call: rcx holds the return address, r11 the flags. Both are also what the program sees
 * in them afterwards. */
    .globl hl__syscall_direct
hl__syscall_direct:
    mov %rax, hl__hot + REGS_RAX(%rip)
    mov %rbx, hl__hot + REGS_RBX(%rip)
    mov %rcx, hl__hot + REGS_RCX(%rip)
    mov %rdx, hl__hot + REGS_RDX(%rip)
    mov %rsi, hl__hot + REGS_RSI(%rip)
    mov %rdi, hl__hot + REGS_RDI(%rip)
    mov %rbp, hl__hot + REGS_RBP(%rip)
    mov %rsp, hl__hot + REGS_RSP(%rip)
    mov %r8, hl__hot + REGS_R8(%rip)
    mov %r9, hl__hot + REGS_R9(%rip)
    mov %r10, hl__hot + REGS_R10(%rip)
    mov %r11, hl__hot + REGS_R11(%rip)
    mov %r12, hl__hot + REGS_R12(%rip)
    mov %r13, hl__hot + REGS_R13(%rip)
    mov %r14, hl__hot + REGS_R14(%rip)
    mov %r15, hl__hot + REGS_R15(%rip)
    mov %rcx, hl__hot + REGS_RIP(%rip)
    mov %r11, hl__hot + REGS_RFLAGS(%rip)
    lea hl__syscall_stack_top(%rip), %rsp
    xor %ebp, %ebp
    cld
    call hl__syscall_enter
    RESUME hl__hot + HOT_SYSCALL

/* Leaves a system call or fault whose thread has ended: never returns. */
    .globl hl__leave
hl__leave:
    lea hl__syscall_stack_top(%rip), %rsp
    xor %ebp, %ebp
    call hl__schedule
    RESUME hl__hot + HOT_SYSCALL

/* The host reflects an exception or a tick; it lies in the mailbox. One that interrupted the program is
 * handled like a system call, one in the shim's own text on a stack of its own. */
    .globl hl__fault
hl__fault:
    xor %ebp, %ebp
    cld
    movabs $HL_ABI_MAILBOX_ADDRESS, %rax
    mov MAILBOX_FAULT_RIP(%rax), %rax
    lea shim_text_start(%rip), %rcx
    lea shim_text_end(%rip), %rdx
    sub %rcx, %rax
    sub %rcx, %rdx
    cmp %rdx, %rax
    jb 1f
    lea hl__syscall_stack_top(%rip), %rsp
    call hl__fault_in_program
    RESUME hl__hot + HOT_SYSCALL
1:  lea hl__fault_stack_top(%rip), %rsp
    call hl__fault_in_shim
    RESUME hl__interrupted + FAULT_REGISTERS

/*
 * int64_t call(op, arg0, arg1, arg2, arg3): the SDK's door. A rest saves what a wake-up after a
 * restore needs; a plain continuation finds its registers where they were.
 */
    .globl hl__door_call
hl__door_call:
    cmp $OP_LOG, %rdi
    ja 3f
    mov $DOOR_OPS, %eax
    bt %edi, %eax
    jnc 3f
    movabs $HL_ABI_MAILBOX_ADDRESS, %r9
    mov %rsi, MAILBOX_ARG0(%r9)
    mov %rdx, MAILBOX_ARG1(%r9)
    mov %rcx, MAILBOX_ARG2(%r9)
    mov %r8, MAILBOX_ARG3(%r9)
    movq $0, MAILBOX_ARG4(%r9)
    cmp $OP_REST, %edi
    je 1f
    cmp $OP_LOG, %edi
    jne 2f
    movq $0, MAILBOX_ARG3(%r9)
    jmp 2f
1:  mov %rbx, hl__hot + HOT_REST_RBX(%rip)
    mov %rbp, hl__hot + HOT_REST_RBP(%rip)
    mov %r12, hl__hot + HOT_REST_R12(%rip)
    mov %r13, hl__hot + HOT_REST_R13(%rip)
    mov %r14, hl__hot + HOT_REST_R14(%rip)
    mov %r15, hl__hot + HOT_REST_R15(%rip)
    mov %rsp, hl__hot + HOT_REST_RSP(%rip)
    rdfsbase %rax
    mov %rax, hl__hot + HOT_REST_FS_BASE(%rip)
    rdgsbase %rax
    mov %rax, hl__hot + HOT_REST_GS_BASE(%rip)
    stmxcsr hl__hot + HOT_REST_MXCSR(%rip)
    fnstcw hl__hot + HOT_REST_X87_CONTROL(%rip)
    movq $-1, hl__hot + HOT_TICK(%rip) /* a rest ends the ticks */
    movq $0, hl__hot + HOT_TICK_PERIOD(%rip)
2:  mov %edi, %eax
    mov $HL_ABI_CALL_PORT, %edx
    out %eax, %dx
    movabs $HL_ABI_MAILBOX_ADDRESS, %rax
    mov MAILBOX_RESULT(%rax), %rax
    ret
3:  mov $-EINVAL, %rax
    ret

/* After a restore: no register is what it was, so first of all the last caller's segments and
 * vector state go. */
    .globl hl__wakeup
hl__wakeup:
    CLEAR_SEGMENTS
    CLEAR_VECTOR_STATE
    ldmxcsr hl__hot + HOT_REST_MXCSR(%rip)
    fldcw hl__hot + HOT_REST_X87_CONTROL(%rip)
    mov hl__hot + HOT_REST_FS_BASE(%rip), %rax
    wrfsbase %rax
    mov hl__hot + HOT_REST_GS_BASE(%rip), %rax
    wrgsbase %rax
    mov hl__hot + HOT_REST_RBX(%rip), %rbx
    mov hl__hot + HOT_REST_RBP(%rip), %rbp
    mov hl__hot + HOT_REST_R12(%rip), %r12
    mov hl__hot + HOT_REST_R13(%rip), %r13
    mov hl__hot + HOT_REST_R14(%rip), %r14
    mov hl__hot + HOT_REST_R15(%rip), %r15
    mov hl__hot + HOT_REST_RSP(%rip), %rsp
    xor %edx, %edx
    cld
    movabs $HL_ABI_MAILBOX_ADDRESS, %rax
    mov MAILBOX_RESULT(%rax), %rax
    ret

/* In a new VM, before the program goes on: the host wants pages of it mapped by the hypervisor. */
    .globl hl__touch
hl__touch:
    movabs $HL_ABI_MAILBOX_ADDRESS, %rbx
    mov MAILBOX_ARG0(%rbx), %rcx
    lea MAILBOX_INLINE_MESSAGE(%rbx), %rsi
1:  sub $1, %rcx
    jb 3f
    mov (%rsi), %rdi
    add $8, %rsi
    btr $0, %rdi
    jc 2f
    mov (%rdi), %al
    jmp 1b
2:  lock orb $0, (%rdi)
    jmp 1b
3:  mov $OP_REST, %eax
    mov $HL_ABI_CALL_PORT, %edx
    out %eax, %dx
    ud2

/* An XSAVE area with every component in its initial state: control words, and an empty header. */
    .section .rodata
    .balign 64
    .globl hl__clean_vector_state
hl__clean_vector_state:
    .word 0x37f
    .space 22
    .long 0x1f80, 0xffff
    .space 4096 - 32

    .section .note.GNU-stack, "", @progbits
