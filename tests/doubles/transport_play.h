/*
 * A host application that treats sandboxes with hostile guests roughly, as its choices say: it starts, calls, runs, snapshots,
 * restores and frees them, and after every operation judges what must hold. It aborts, with a line on stderr, if something does not.
 */
#ifndef HL_TESTS_TRANSPORT_PLAY_H
#define HL_TESTS_TRANSPORT_PLAY_H

#include "doubles/hostile_guest.h"

#include <hyperlight/hyperlight.h>

#define PLAY_STATUSES 128

/* What errors and answers can say, see transport_play.c; for the histogram. */
extern const char *const transport_play_sayings[];
extern const size_t transport_play_saying_count;

struct transport_play {
    struct choices choices;
    struct hostile_guest guest;
    hl_context *contexts[2]; /* without and with a poke that works */
    hl_program *programs[2];
    hl_host_functions *functions;

    /* Of the session. */
    hl_sandbox *sandbox;
    hl_snapshot *pristine; /* of an honest guest that rests */
    hl_snapshot *later;    /* of a hostile one, or NULL */
    hl_interrupt_handle *handle;
    bool waits;
    bool inherits; /* descriptors 0 and 1, which are others during the session */
    int kept[2];
    bool calling;     /* `sandbox` */
    uint64_t chances; /* to look closely */

    /* What was seen. */
    uint64_t sessions, calls, restores, honest_calls;
    uint64_t statuses[PLAY_STATUSES];
    uint64_t sayings[64];
};

/* Contexts, programs and host functions on the fake driver. Nothing but choices.state or choices.data need be set before. */
void transport_play_open(struct transport_play *play);

/* One session: sandboxes of one kind, until the choices are spent or `exits_max` exits were made. Leaves none. */
void transport_play_session(struct transport_play *play, uint64_t exits_max);

void transport_play_close(struct transport_play *play);

#endif
