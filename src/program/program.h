/* Inside of a program: one sealed memory file with the shim's image in front and the guest binary
 * behind it, mapped once, read-only. */
#ifndef HL_PROGRAM_INTERNAL_H
#define HL_PROGRAM_INTERNAL_H

#include "context/context.h"
#include "program/image.h"
#include <hyperlight/program.h>

struct hl_program {
    atomic_uint references;
    hl_context *context;
    char *name; /* for messages; escaped */
    /* argv, environment, path and directory, each NUL-terminated */
    char *strings;
    uint32_t strings_size, argument_count, environment_count;
    uint32_t path_size, directory_size; /* with NUL; 0: there is none */
    hl_image *root;                     /* NULL: none */
    void *image;                        /* shared read-only mapping of the whole file */
    uint64_t image_size;                /* page multiple */
    uint64_t program_offset; /* 2 MiB multiple: where the guest binary starts in the image */
    uint64_t program_size;   /* bytes; 0: the program is in the root image */
    uint64_t number;         /* of this program in this process */
    /* `number` of the last other program that was found to be the same */
    _Atomic uint64_t twin;
};

void hl__program_ref(hl_program *program);

/* Whether two programs are the same: binary, arguments and environment. They may belong to different
 * contexts. Compares everything the first time, and remembers. */
bool hl__program_same(const hl_program *program, const hl_program *other);

/* The shim's flat image, linked into the library (struct hl_abi_shim_image at its start). */
extern const unsigned char hl__shim_image[];
extern const unsigned char hl__shim_image_end[];

#endif
