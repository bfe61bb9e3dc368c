/*
 * Everything that ever runs in ring 0: the host's own stub, one page, read-only and supervisor-only in every address space.
 * The core copies it into each VM. No SSE, no stack of the guest's, no iretq.
 */
        .section .rodata.hl_stub, "a", @progbits
        .balign 4096
        .hidden hl__stub_image, hl__stub_image_end, hl__stub_poke, hl__stub_rewrite, hl__stub_poke_end, hl__stub_syscall, hl__stub_syscall_target
        .globl  hl__stub_image, hl__stub_image_end, hl__stub_poke, hl__stub_rewrite, hl__stub_poke_end, hl__stub_syscall, hl__stub_syscall_target

/* An exception becomes an exit: the vector is told by the instruction pointer, everything else lies on the fault stack.
 * The host never resumes here. */
hl__stub_image:
.Lstart:
        .rept   32
        .balign 16, 0xf4
        out     %eax, $0x51
        hlt
        .endr
        .balign 16, 0xf4

/* The poke: a locked write into each changed page table makes page-table-based hypervisors drop what they derived from it, the CR3
 * load flushes the TLB of all others. One table per register, six bytes per instruction; entered at the
 * m-th instruction from the end for m tables. */
        .balign 64, 0xf4
hl__stub_poke:
        {disp8} lock orw $0, (%rdx)
        {disp8} lock orw $0, (%rsi)
        {disp8} lock orw $0, (%rdi)
        {disp8} lock orw $0, (%rbx)
        lock orw $0, (%r8)
        lock orw $0, (%r9)
        lock orw $0, (%r10)
        lock orw $0, (%r11)
.Lreload:
        mov     %cr3, %rax
        mov     %rax, %cr3
        out     %eax, $0x55

/* The same for %rcx entries of a table from %rsi = %rdi on: each is written with what it holds, so that what was derived from
 * the table's other entries stays. */
hl__stub_rewrite:
        rep movsq
        jmp     .Lreload
hl__stub_poke_end:
        hlt

/* `syscall` on processors where it enters ring 0: back to user mode at once, into the shim's handler. The return address goes to the page after this
 * one, of which the guest has a read-only alias; the flags stay in r11. The core fills in the handler's address. */
        .balign 64, 0xf4
hl__stub_syscall:
        mov     %rcx, .Lstart + 4096(%rip)
        .byte   0x48, 0xb9 /* movabs $target, %rcx */
hl__stub_syscall_target:
        .quad   0
        sysretq
        .balign 4096, 0xf4
hl__stub_image_end:

        .section .note.GNU-stack, "", @progbits
