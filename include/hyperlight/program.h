/**
 * @file program.h
 * @brief A guest binary with its arguments and environment: immutable, shareable between threads and sandboxes.
 */
#ifndef HYPERLIGHT_PROGRAM_H
#define HYPERLIGHT_PROGRAM_H

#include <hyperlight/base.h>
#include <hyperlight/context.h>
#include <hyperlight/image.h>

/** A program. Immutable: may be used from any threads at the same time. */
typedef struct hl_program hl_program;

/** Largest guest binary in bytes. */
#define HL_PROGRAM_SIZE_MAX (UINT64_C(1) << 32)

/** Most arguments and environment strings together, in bytes with their NULs; and most strings of each kind. */
#define HL_ARGUMENTS_SIZE_MAX 131072
#define HL_ARGUMENTS_COUNT_MAX 4096

/** Longest path in an image, in bytes with its NUL. */
#define HL_PATH_SIZE_MAX 4096

/** Options of a program. Everything is copied. */
typedef struct hl_program_options {
    size_t size;                      /**< sizeof(hl_program_options). */
    hl_context *context;              /**< NULL: the default context, made at first use. */
    const char *const *arguments;     /**< NULL-terminated argv; NULL: the program's name alone, or what
                                           hl_program_from_image() says. */
    const char *const *environment;   /**< NULL-terminated "NAME=value" strings; NULL: none. The host's is never
                                           passed. With an image they add to the image's, and take the place of those
                                           of the same name. */
    const char *name;                 /**< What messages call it, and argv[0] by default; NULL: the path's last part,
                                           or "program". */
    hl_image *root;                   /**< Files that the guest finds, from `/` on; NULL: none. The program holds a
                                           reference. */
    const char *directory;            /**< Working directory, from `/` on; NULL: the image's, else `/`. */
} hl_program_options;

HL_BEGIN_DECLS

/**
 * @brief Reads a guest binary: any static or static-pie Linux ELF executable for this machine's architecture.
 * @param path     File to read. It is copied into sealed memory: later changes to the file do not matter.
 * @param options  NULL: defaults.
 * @param program  Receives the program; release it with hl_program_free().
 *
 * The host application parses nothing of it: a file that is no good is found out, inside the VM, by hl_sandbox_new().
 *
 * @return HL_OK; HL_PROGRAM_UNREADABLE (the message names the file and the reason); HL_PROGRAM_TOO_LARGE;
 * HL_INVALID_ARGUMENT; HL_OUT_OF_MEMORY; HL_SYSTEM; with the default context also the failures of hl_context_new().
 * Any thread.
 */
HL_API HL_MUST_CHECK hl_status hl_program_open(const char *path, const hl_program_options *options,
                                               hl_program **program, hl_error *err);

/**
 * @brief As hl_program_open(), from `size` bytes in memory, which are copied.
 */
HL_API HL_MUST_CHECK hl_status hl_program_from_memory(const void *data, size_t size, const hl_program_options *options,
                                                      hl_program **program, hl_error *err);

/**
 * @brief As hl_program_open(), but the program is a file in an image: a static or dynamic executable, or a script.
 * @param image    The program holds a reference. `options->root` must be NULL or the same.
 * @param path     The program's path in the image; without a slash it is looked for in the directories of the image's
 *                 PATH, or of the one in `options->environment`. NULL: the program that the image says.
 * @param options  NULL: defaults. With `arguments` NULL, argv is the path alone; if that is NULL too, the image's.
 *
 * Whether there is such a file is found out, inside the VM, by hl_sandbox_new().
 */
HL_API HL_MUST_CHECK hl_status hl_program_from_image(hl_image *image, const char *path,
                                                     const hl_program_options *options, hl_program **program,
                                                     hl_error *err);

/** @brief Gives up a program. Sandboxes and snapshots made from it keep what they need. NULL is fine. Any thread. */
HL_API void hl_program_free(hl_program *program);

HL_END_DECLS

#endif
