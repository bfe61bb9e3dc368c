/* The shim's image inside the host library, page-aligned so that it can be copied or mapped page
 * by page. */
    .section .rodata.hl_shim, "a"
    .balign 4096
    .globl hl__shim_image
    .hidden hl__shim_image
    .type hl__shim_image, @object
hl__shim_image:
    .incbin HL_SHIM_BIN
    .size hl__shim_image, . - hl__shim_image
    .globl hl__shim_image_end
    .hidden hl__shim_image_end
hl__shim_image_end:
    .byte 0
    .section .note.GNU-stack, "", @progbits
