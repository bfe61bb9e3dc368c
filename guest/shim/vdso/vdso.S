/*
 * What programs look for in the kernel's vDSO: the clock calls as functions. Each jumps to the shim as a
 * rewritten system call does (hyperlight/abi/image.h), which costs a few nanoseconds where the `syscall`
 * instruction may cost a microsecond.
 */
#include "hyperlight/abi/x86_64.h"

    .macro CALL name, number
    .globl \name
    .type \name, @function
    .balign 16
\name:
    .cfi_startproc
    mov $\number, %eax
    movabs $HL_ABI_SYSCALL_JUMP, %rcx
    lea 1f(%rip), %r11
    jmp *%rcx
1:  ret
    .cfi_endproc
    .size \name, . - \name
    .endm

    .text
    CALL __vdso_clock_gettime, 228
    CALL __vdso_clock_getres, 229
    CALL __vdso_gettimeofday, 96
    CALL __vdso_time, 201
    CALL __vdso_getcpu, 309

    .section .note.GNU-stack, "", @progbits
