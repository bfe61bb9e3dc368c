/*
 * Loading a program: its file and its interpreter are mapped, its stack is built. Checks come first,
 * so that execve can fail while the old program is still there; what fails afterwards ends it.
 */
#ifndef HL_SHIM_LOAD_H
#define HL_SHIM_LOAD_H

#include "file/inode.h"
#include "hyperlight/abi/hypercall.h"
#include "program/elf.h"

#include <stdbool.h>
#include <stdint.h>

#define HL__SCRIPT_DEPTH_MAX 4u
#define HL__STRINGS_SIZE_MAX (2u << 20) /* arguments and environment, as Linux allows at least */

/* Arguments and environment: NUL-terminated strings, one behind the other. */
struct hl__strings {
    char *bytes; /* on the shim's heap, `capacity` bytes */
    uint64_t size, capacity;
    uint32_t argument_count, environment_count;
};

/* Adds a string at the end. 0 or -ENOMEM, -E2BIG. */
int64_t hl__strings_add(struct hl__strings *strings, const char *string);
/* The same from the program's memory; -EFAULT, too. */
int64_t hl__strings_add_user(struct hl__strings *strings, uint64_t address);
void hl__strings_free(struct hl__strings *strings);

struct hl__program {
    char path[HL__ELF_PATH_MAX]; /* as the program is told: AT_EXECFN */
    struct hl__strings strings;
    struct hl__inode *file, *interpreter; /* referenced; the latter NULL if there is none */
    struct hl__elf_plan plan, interpreter_plan;
    uint64_t shift, interpreter_shift;
};

/* Opens the program, unless it is open already, and what it needs, through the interpreters of scripts. 0 or -errno; *refusal and
 * `text` (HL_ABI_REFUSAL_TEXT_MAX bytes) then say more. hl__program_close() in any case. */
int64_t hl__program_open(struct hl__program *program, const char *path,
                         enum hl_abi_refusal *refusal, char *text);
void hl__program_close(struct hl__program *program);
/* Loads it into an empty address space; ends the sandbox if that fails. The registers say where it
 * begins. */
void hl__program_load(struct hl__program *program, struct hl_abi_registers *registers);

#endif
