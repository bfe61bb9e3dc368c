/**
 * @file program.h
 * @brief A guest binary with its arguments and environment: immutable, shareable between threads and sandboxes.
 */
#ifndef HYPERLIGHT_PROGRAM_H
#define HYPERLIGHT_PROGRAM_H

#include <hyperlight/base.h>
#include <hyperlight/context.h>

/** A program. Immutable: may be used from any threads at the same time. */
typedef struct hl_program hl_program;

/** Largest guest binary in bytes. */
#define HL_PROGRAM_SIZE_MAX (UINT64_C(1) << 32)

/** Most arguments and environment strings together, in bytes with their NULs; and most strings of each kind. */
#define HL_ARGUMENTS_SIZE_MAX 131072
#define HL_ARGUMENTS_COUNT_MAX 4096

/** Options of a program. Everything is copied. */
typedef struct hl_program_options {
    size_t size;                      /**< sizeof(hl_program_options). */
    hl_context *context;              /**< NULL: the default context, made at first use. */
    const char *const *arguments;     /**< NULL-terminated argv; NULL: the program's name alone. */
    const char *const *environment;   /**< NULL-terminated "NAME=value" strings; NULL: none. The host's is never
                                           passed. */
    const char *name;                 /**< What messages call it, and argv[0] by default; NULL: the path's last part,
                                           or "program". */
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

/** @brief Gives up a program. Sandboxes and snapshots made from it keep what they need. NULL is fine. Any thread. */
HL_API void hl_program_free(hl_program *program);

HL_END_DECLS

#endif
