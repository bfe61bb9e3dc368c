/*
 * What the hostile tests share: a victim whose guest attacks, a neighbour that lives through it,
 * and the proof after each attack that a restore brings everything of the victim back and that the
 * neighbour noticed nothing.
 */
#ifndef HL_TESTS_HOSTILE_H
#define HL_TESTS_HOSTILE_H

#include "fixture.h"
#include "linux_numbers.h"
#include <hyperlight/abi/hypercall.h>
#include <hyperlight/abi/wire.h>
#include <hyperlight/abi/x86_64.h>
#include <string.h>

/* Results of the guest's function "places", by index. */
enum place {
    PLACE_CODE,
    PLACE_SCRATCH,
    PLACE_TEXT,
    PLACE_CONSTANT,
    PLACE_HEAP,
    PLACE_STACK,
    PLACE_DOOR,
    PLACE_COUNT
};

struct hostile {
    hl_sandbox *victim, *neighbour;
    hl_snapshot *snapshot;
    uint64_t places[PLACE_COUNT];
    char *fingerprint; /* of the victim's processor state, as it is after a restore */
    size_t fingerprint_size;
    bool page_table;    /* PVM, whose exceptions differ from the hardware's here and there */
    bool tells_strings; /* the hypervisor tells string accesses to ports from plain ones */
    bool emulated;      /* QEMU emulates the processor, as in the bed */
    bool umip;          /* user mode may not read the descriptor registers */
};

/* cmocka's group set-up and tear-down; the state is a struct hostile. */
int hostile_set_up(void **state);
int hostile_set_up_with(void **state, const hl_sandbox_options *options);
int hostile_set_up_in(void **state, hl_context *context, const hl_sandbox_options *options);
int hostile_tear_down(void **state);

/* Exception numbers, and what else an attack can come to. */
enum outcome {
    DE = 0,
    DB = 1,
    BP = 3,
    OF = 4,
    BR = 5,
    UD = 6,
    NM = 7,
    NP = 11,
    SS = 12,
    GP = 13,
    PF = 14,
    MF = 16,
    AC = 17,
    XM = 19,
    RUNS = 100,     /* nothing happens */
    VIOLATES = 101, /* HL_GUEST_VIOLATION */
    HANGS = 102     /* HL_TIMED_OUT */
};

/* Calls the victim and asserts what it comes to, to the last field of the error. `address`
 * counts for page faults only. */
void hostile_expect(struct hostile *hostile, enum outcome outcome, uint64_t address,
                    uint64_t instruction, const char *function, const hl_value *arguments,
                    size_t count);
/* As hostile_expect, for outcomes that are a status. */
void hostile_status(struct hostile *hostile, hl_status status, const char *function,
                    const hl_value *arguments, size_t count);
/* Asserts the fields of the last error. */
void hostile_check_fault(enum outcome outcome, uint64_t address, uint64_t instruction);

/* Whether a status is nobody's fault, or the guest's. */
bool hostile_blames_guest(hl_status status);

/* After an attack: restores the victim and proves that all is well. */
void hostile_aftermath(struct hostile *hostile);

/* A hypercall of the victim with these arguments, made past the shim, after which all must be
 * well. */
void hostile_raw(struct hostile *hostile, hl_status status, uint32_t op, uint64_t a0, uint64_t a1,
                 uint64_t a2, uint64_t a3);
/* The same for one that the host answers. No aftermath. */
int64_t hostile_raw_result(struct hostile *hostile, uint32_t op, uint64_t a0, uint64_t a1,
                           uint64_t a2, uint64_t a3);
/* Writes the victim's memory. */
void hostile_poke(struct hostile *hostile, uint64_t address, const void *data, size_t size);

#endif
