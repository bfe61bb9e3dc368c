/* Chooses what is moved out of the way around one `syscall`, and writes the code that takes its place. */
#ifndef HL_IMAGE_REWRITE_WINDOW_H
#define HL_IMAGE_REWRITE_WINDOW_H

#include "hyperlight/abi/image.h"
#include "image/rewrite_decode.h"

#define HL__STUB_SIZE_MAX 255u

/* A window and its stub, in the making. */
struct hl__window {
    struct hl_image_site site; /* `stub` is not set */
    uint8_t code[HL__STUB_SIZE_MAX];
};

/*
 * Finds the window for the `syscall` at `address`, not before `from`, and makes its stub for
 * `stub_address`. False: the site stays as it is.
 */
bool hl__window_make(struct hl__rewrite_file *file, uint64_t address, uint64_t from,
                     uint64_t stub_address, struct hl__window *window);

/* Whether a program may notice, behind the `syscall`, that a jump leaves other values in rcx, r11 and the flags. */
bool hl__clobbers_show(struct hl__rewrite_file *file, uint64_t address);

/* Whether the `syscall` must stay because of the call that it makes. */
bool hl__syscall_is_special(const struct hl__rewrite_code *code, uint64_t address);

#endif
