/* Where the host enters the guest, and where exceptions do. */

    .equ PORT_HALT, 108
    .equ CODE_SELECTOR, 8
    .equ CR4_PGE, 0x80

    .text
    .globl entry
entry:
    and $-16, %rsp
    call memory_prepare
    pushq $CODE_SELECTOR
    lea 1f(%rip), %rax
    push %rax
    lretq
1:  lea stack_end(%rip), %rsp
    call transport_start
    lea stack_end(%rip), %rsp
    lea dispatch(%rip), %rax
    mov $PORT_HALT, %edx
    out %eax, %dx
    hlt

/* Each call of the host starts here, on the same stack; the zero flag says that page tables have changed. */
dispatch:
    jnz 1f
    mov %cr4, %rax
    mov %rax, %rcx
    xor $CR4_PGE, %rax
    mov %rax, %cr4
    mov %rcx, %cr4
1:  call guest_dispatch
    mov $PORT_HALT, %edx
    out %eax, %dx
    hlt

/* A stub of 16 bytes for each vector. All frames have an error code and, below it, the vector. */
    .balign 16
    .globl exception_stubs
exception_stubs:
    .set vector, 0
    .rept 32
    .balign 16
    .if !((0x60227d00 >> vector) & 1)
    pushq $0
    .endif
    pushq $vector
    jmp exception_common
    .set vector, vector + 1
    .endr

/* No exception is to be expected in the handler, so nothing but the registers of a C function is saved. */
exception_common:
    push %rax
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    lea 9*8(%rsp), %rdi
    mov %rsp, %rax
    and $-16, %rsp
    sub $16, %rsp
    mov %rax, (%rsp)
    cld
    call memory_exception
    mov (%rsp), %rsp
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq

    .globl guest_triple_fault
guest_triple_fault:
    pushq $0
    pushq $0
    lidt (%rsp)
    ud2

    .bss
    .balign 4096
    .skip 16384
stack_end:

    .section .note.GNU-stack, "", @progbits
