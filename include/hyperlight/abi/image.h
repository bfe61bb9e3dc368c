/*
 * A prepared image: a read-only tree of files, laid out so that a micro VM can use it where it lies.
 *
 * One file of whole pages, mapped into every sandbox at HL_ABI_ROOT_ADDRESS and shared by all. The
 * host application never looks inside; the shim does, and trusts no number in it further than the
 * image's own size. All integers are little-endian; offsets are bytes from the image's start.
 *
 *   head, one page | contents | inodes | entries | names | rewrites, patches, sites | texts of the head
 *
 * in this or any other order: the head says where each begins. Tables are aligned to 8 bytes.
 *
 * Inode 1 is the root directory; 0 is none. A directory's entries are consecutive, sorted by the bytes
 * of their names (as memcmp, a prefix first), without "." and "..". Hard links are entries that name
 * the same inode. A file's contents start on a page, unless they are shorter than HL_IMAGE_SMALL_MAX;
 * what follows them up to the page's end is zero. Equal contents may lie in one place.
 */
#ifndef HYPERLIGHT_ABI_IMAGE_H
#define HYPERLIGHT_ABI_IMAGE_H

#include <stdint.h>

#define HL_IMAGE_MAGIC 0x31474d494c48ull /* "HLIMG1" */
#define HL_IMAGE_VERSION 1u
#define HL_IMAGE_SIZE_MAX 0x400000000ull /* 16 GiB: the guest-physical addresses there are for it */
#define HL_IMAGE_INODES_MAX (1u << 24)
#define HL_IMAGE_NAME_MAX 255u /* bytes of one name */
#define HL_IMAGE_SMALL_MAX 2048u
#define HL_IMAGE_ROOT 1u

/* A table or a text in the image. */
struct hl_image_range {
    uint64_t offset;
    uint64_t count; /* elements; bytes for texts */
};

struct hl_image_head {
    uint64_t magic;
    uint32_t version;
    uint32_t flags; /* zero */
    uint64_t size;  /* of the image, a multiple of pages */
    struct hl_image_range inodes;   /* struct hl_image_inode; [0] is not used */
    struct hl_image_range entries;  /* struct hl_image_entry */
    struct hl_image_range names;    /* bytes: names and targets of symbolic links, without NUL */
    struct hl_image_range rewrites; /* struct hl_image_rewrite */
    /* What to run, if the image says: NUL-terminated strings, one after the other. `count` is bytes. */
    struct hl_image_range arguments;   /* argv, the program's path first */
    struct hl_image_range environment; /* NAME=VALUE */
    struct hl_image_range directory;   /* working directory, one string */
    uint64_t reserved[16];
};
_Static_assert(sizeof(struct hl_image_head) == 264, "size of hl_image_head");

struct hl_image_inode {
    uint32_t mode; /* type and permissions, as Linux's st_mode */
    uint32_t uid, gid;
    uint32_t link_count; /* of a directory: 2 and its subdirectories */
    int64_t modified_s;
    uint32_t modified_ns;
    uint32_t parent; /* of a directory: the inode above it; the root's is itself */
    /* file: bytes; directory: number of entries; link: bytes of the target; device: its number as
     * Linux's st_rdev */
    uint64_t size;
    /* file: offset of the contents; directory: index of its first entry; link: offset in names */
    uint64_t data;
    uint32_t rewrite;  /* file: index in rewrites plus 1, 0 if none */
    uint32_t reserved; /* zero */
};
_Static_assert(sizeof(struct hl_image_inode) == 56, "size of hl_image_inode");

struct hl_image_entry {
    uint32_t name; /* offset in names */
    uint16_t name_size;
    uint16_t reserved; /* zero */
    uint32_t inode;
};
_Static_assert(sizeof(struct hl_image_entry) == 12, "size of hl_image_entry");

/*
 * An executable file whose `syscall` instructions were rewritten into jumps. Reading the file gives
 * its own bytes; where it is mapped executable and private, `patches` take the place of some of its
 * pages, and `stubs` appear at `stubs_address`. Addresses are the file's own (what its program headers
 * say); all of them move with the file. If the place of the stubs is taken, the file is mapped as it
 * is: each `syscall` then traps, which is slower and just as right.
 *
 * Each site is a window of whole instructions, one of them the `syscall`, of which the first five
 * bytes became `jmp rel32` to the site's stub (a window that starts before the syscall: the jump stands
 * at the window's start). The stub holds the instructions of the window, with
 *
 *     movabs $HL_ABI_SYSCALL_JUMP, %rcx; lea 1f(%rip), %r11; jmp *%rcx; 1:
 *
 * in the place of the `syscall`, and ends with a jump behind the window. What is left of the window
 * behind its jump is int3: whoever is to continue at one of its instructions but the first (a signal
 * handler may have looked at the address, and returned there) continues in the stub instead. The
 * program sees other values in rcx, r11 and the status flags than behind a real `syscall`; sites where
 * the code behind reads them first are not rewritten, nor are those of rt_sigreturn, clone, clone3,
 * fork and vfork.
 */
struct hl_image_rewrite {
    uint64_t stubs; /* offset in the image, page-aligned: code, to be mapped read and execute */
    uint32_t stubs_pages;
    uint32_t reserved; /* zero */
    uint64_t stubs_address; /* page-aligned, the end of the last segment or above */
    struct hl_image_range patches; /* struct hl_image_patch, ascending */
    struct hl_image_range sites;   /* struct hl_image_site, ascending */
};
_Static_assert(sizeof(struct hl_image_rewrite) == 56, "size of hl_image_rewrite");

struct hl_image_patch {
    uint64_t page; /* number of the page in the file */
    uint64_t data; /* offset in the image of the page that takes its place, page-aligned */
};

#define HL_IMAGE_SITE_INSTRUCTIONS 8

/* Where the instructions of a window went, so that signals and unwinders see the file's addresses. */
struct hl_image_site {
    uint64_t address; /* of the window */
    uint32_t stub;    /* offset of the site's code in the stubs */
    uint8_t size;     /* of the window in bytes, 5 to 32 */
    uint8_t stub_size;
    uint8_t count;   /* instructions in the window, the syscall included */
    uint8_t syscall; /* which of them it is */
    /* Start of each instruction, in the window and in the stub. The one behind the syscall is where the
     * call returns to. */
    uint8_t at[HL_IMAGE_SITE_INSTRUCTIONS];
    uint8_t stub_at[HL_IMAGE_SITE_INSTRUCTIONS];
};
_Static_assert(sizeof(struct hl_image_site) == 32, "size of hl_image_site");

#endif
