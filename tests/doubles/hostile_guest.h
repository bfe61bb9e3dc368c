/*
 * A guest for the fake driver, honest or hostile. The honest one greets, exports functions and answers each call with a number that it
 * counts in its own memory, so that a restore shows. The hostile one does what its choices say: hypercalls of every kind, well-formed
 * or damaged, and exits that no honest guest makes. It sees its memory as user mode does, through the page tables that CR3 names.
 */
#ifndef HL_TESTS_HOSTILE_GUEST_H
#define HL_TESTS_HOSTILE_GUEST_H

#include "doubles/choices.h"
#include "doubles/fake_driver.h"

#include <hyperlight/abi/hypercall.h>

#define HOSTILE_RESULTS 256 /* results of 0 and more, 99 at most, then negated errno numbers */

struct hostile_guest {
    struct choices *choices;
    bool honest;
    bool may_wait; /* sleeps and spins until a deadline ends them */
    bool spins;    /* the honest guest computes for ever instead of answering */

    /* What was seen. */
    uint64_t exits, well_formed;
    uint64_t kinds[8];                 /* by hl__exit_kind */
    uint64_t ops[HL_ABI_OP_COUNT + 1]; /* by operation; the last one: unknown */
    uint64_t results[HL_ABI_OP_COUNT][HOSTILE_RESULTS];
    uint64_t pokes, faults, wakes;

    /* Its own. */
    struct fake_vcpu *vcpu; /* while it runs, and in host functions */
    uint32_t pending;       /* operation whose result is awaited, or 0 */
    bool greeted;
    unsigned steps; /* since its start, wake-up or last rest */
};

/* The script for fake_driver_play(). */
struct hl__exit hostile_guest_run(void *guest, struct fake_vcpu *vcpu);

/* Writes to a random place of the memory that messages lie in, as another thread of a guest would. */
void hostile_guest_scribble(struct hostile_guest *guest);

#endif
