/*
 * Accesses to memory that the program names. A fault between hl__access_start and hl__access_end
 * that memory management cannot satisfy continues at hl__access_failed: the function returns
 * -EFAULT. So none of these may move the stack.
 */
#define EFAULT 14

    .text
    .globl hl__access_start
hl__access_start:

/* int64_t hl__access_copy(void *to, const void *from, size_t size): 0 or -EFAULT */
    .globl hl__access_copy
hl__access_copy:
    mov %rdx, %rcx
    rep movsb
    xor %eax, %eax
    ret

/* int64_t hl__access_zero(void *to, size_t size) */
    .globl hl__access_zero
hl__access_zero:
    mov %rsi, %rcx
    xor %eax, %eax
    rep stosb
    ret

/* int64_t hl__access_string(char *to, const char *from, size_t size): length without the NUL, or
 * `size` if it has none by then */
    .globl hl__access_string
hl__access_string:
    xor %eax, %eax
1:  cmp %rdx, %rax
    je 2f
    movzbl (%rsi,%rax), %ecx
    mov %cl, (%rdi,%rax)
    test %cl, %cl
    je 2f
    inc %rax
    jmp 1b
2:  ret

/* int64_t hl__access_touch(const void *page) and for writing: the page's contents stay */
    .globl hl__access_touch
hl__access_touch:
    movb (%rdi), %al
    xor %eax, %eax
    ret
    .globl hl__access_touch_write
hl__access_touch_write:
    orb $0, (%rdi)
    xor %eax, %eax
    ret

/* int64_t hl__access_xrstor(const void *area, uint64_t components); a malformed area faults */
    .globl hl__access_xrstor
hl__access_xrstor:
    mov %esi, %eax
    mov %rsi, %rdx
    shr $32, %rdx
    xrstor64 (%rdi)
    xor %eax, %eax
    ret
    .globl hl__access_fxrstor
hl__access_fxrstor:
    fxrstor64 (%rdi)
    xor %eax, %eax
    ret

    .globl hl__access_end
hl__access_end:

    .globl hl__access_failed
hl__access_failed:
    mov $-EFAULT, %rax
    ret

    .section .note.GNU-stack, "", @progbits
