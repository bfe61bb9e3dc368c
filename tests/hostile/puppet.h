/*
 * A guest whose registers and code the test sets itself, instruction by instruction, and whose
 * every exit it sees: for sweeps that are too long for calls. What it runs is still nothing but
 * user-mode code of a hostile guest.
 */
#ifndef HL_TESTS_PUPPET_H
#define HL_TESTS_PUPPET_H

#include "hostile.h"
#include "sandbox/sandbox.h"

struct puppet {
    struct hostile *hostile;
    hl_sandbox *sandbox;
    uint64_t code;    /* where the last code ran, on a page that may be written and executed */
    uint64_t scratch; /* 256 KiB of data */
    struct hl_abi_registers registers; /* of the next entry */
};

/* Takes over the victim. puppet_close() restores it and proves that all is well. */
void puppet_open(struct puppet *puppet, struct hostile *hostile);
void puppet_close(struct puppet *puppet);

/* Registers that point to the middle of scratch memory, or are harmless counts. */
void puppet_reset(struct puppet *puppet);

/* Runs machine code, followed by int3, until something ends it; asserts that the host can go on. */
void puppet_run(struct puppet *puppet, const void *code, size_t size, struct hl__event *event);

/* The guest cannot do what ring 0 can: its code selector says so, and a privileged instruction
 * faults. */
void puppet_assert_user(struct puppet *puppet);

#endif
