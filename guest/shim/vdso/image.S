/* The vDSO in the shim's image, where programs read and run it. */
    .section .rodata.hl_vdso, "a"
    .balign 4096
    .globl hl__vdso
hl__vdso:
    .incbin HL_VDSO
    .balign 4096

    .section .note.GNU-stack, "", @progbits
