/* Inside of a sandbox: an address space in a VM, what its guest told about itself, and what it is
 * doing. */
#ifndef HL_SANDBOX_INTERNAL_H
#define HL_SANDBOX_INTERNAL_H

#include "call/host_functions.h"
#include "util/placement.h"
#include "vm/space.h"
#include "wire/wire.h"
#include <hyperlight/sandbox.h>
#include <stdatomic.h>

/* Exported functions as the guest declared them; immutable, shared by sandboxes and snapshots. */
struct hl__exports {
    atomic_uint references;
    hl__wire_export *functions;
    const char **names;
    size_t count;
    bool any_name; /* a function that is not among them is served, too */
};

void hl__exports_ref(struct hl__exports *exports);   /* NULL is fine */
void hl__exports_unref(struct hl__exports *exports); /* NULL is fine */

/* How far the guest has come. */
enum hl__phase {
    HL__PHASE_NEW = 0,     /* nothing ran yet */
    HL__PHASE_HELLO = 1,   /* the shim started; its first hypercall is awaited */
    HL__PHASE_MAIN = 2,    /* the program runs towards its first rest or exit */
    HL__PHASE_RESTING = 3, /* it waits for a call */
    HL__PHASE_CALL = 4     /* it serves one */
};

/* All host state that derives from the guest; snapshots carry a copy. */
struct hl__guest_state {
    enum hl__phase phase;
    struct hl__exports *exports; /* NULL: none declared */
    uint64_t stdin_position;     /* bytes of HL_STREAM_MEMORY that were read */
};

/* A buffer for captured output; never larger than its stream's capacity. */
struct hl__capture {
    char *data;
    size_t size, allocated;
};

/* How a run ended, beside its status. */
enum hl__ending { HL__ENDING_NONE = 0, HL__ENDING_RESTED = 1, HL__ENDING_EXITED = 2 };

/* What is counted afresh with each start, run or call. */
struct hl__run {
    enum hl__ending ending;
    int exit_code;
    uint64_t output_size;
    uint64_t host_calls;
    /* bytes of transfer memory that the request takes; answers go behind */
    uint64_t transfer_used;
    struct hl_abi_call outcome; /* arguments of the rest that ended the run */
    uint64_t deadline_ns;
    uint64_t started_ns;
};

/* CLOCK_MONOTONIC at a moment, and for how long the processor's counter tells the time from there. */
struct hl__clock {
    uint64_t tsc, ns;
    uint64_t ticks_max;   /* 0: not at all */
    uint64_t ns_per_tick; /* times 2^32 */
};

struct hl_sandbox {
    hl_context *context;
    hl__vm *vm;
    hl__space *space;
    hl__control *control;
    hl_sandbox_options options; /* resolved: no zero that means a default */
    void *stdin_data;           /* copy of HL_STREAM_MEMORY */
    _Atomic(hl_sandbox_state) state;
    struct hl__guest_state guest;
    struct hl__run run;
    struct hl__clock clock;
    struct hl__capture captures[2];
    const hl__wire_export *called;  /* function of the call under way */
    struct hl_abi_fault last_fault; /* the last one that was reflected */
    enum hl__entry entry;           /* how the next entry begins */
    /* memory equals it but for dirtied pages; NULL: nothing is tracked yet */
    hl_snapshot *baseline;
    uint64_t *dirty; /* bitmap for collecting, as long as there is a baseline */
    uint32_t restores_since_rearm;
    bool learning; /* its first call tells the baseline what calls touch */
    hl_stats stats;
};

/* options.c */
hl_status hl__sandbox_options_resolve(const hl_sandbox_options *options,
                                      hl_sandbox_options *resolved, hl_error *err);
/* Options of a snapshot's sandbox, overridden by those given. */
hl_status hl__sandbox_options_inherit(const hl_sandbox_options *given,
                                      const hl_sandbox_options *inherited,
                                      hl_sandbox_options *resolved, hl_error *err);

/* sandbox.c */
/* A sandbox in a VM that exists; takes over nothing, holds references. Options must be resolved. */
hl_status hl__sandbox_new_in(hl__vm *vm, const hl_sandbox_options *options, hl_sandbox **sandbox,
                             hl_error *err);
/* How the VM of a sandbox with such options is made. */
hl__vm_config hl__sandbox_vm_config(const hl_sandbox_options *options);
/* A sandbox without a VM yet, and its end. Options must be resolved. */
hl_status hl__sandbox_alloc(hl_context *context, const hl_sandbox_options *options,
                            hl_sandbox **sandbox, hl_error *err);
void hl__sandbox_destroy(hl_sandbox *sandbox);
/* A VM of its own for a sandbox. */
hl_status hl__sandbox_vm_new(hl_program *program, const hl_sandbox_options *options,
                             const hl__os_file *ram_file, hl__vm **vm, hl_error *err);
/* Marks the sandbox as running if it is in a state that allows it: HL_BUSY, HL_POISONED, HL_FORKED,
 * or HL_OK. */
hl_status hl__sandbox_claim(hl_sandbox *sandbox, bool poisoned_too, const char *source,
                            hl_error *err);
static inline void hl__sandbox_release(hl_sandbox *sandbox, hl_sandbox_state state)
{
    atomic_store(&sandbox->state, state);
}

/* run.c */
/* Runs the guest from sandbox->entry on, serving its hypercalls, until it rests, exits or fails.
 * Armed with deadline and budget. */
hl_status hl__sandbox_serve(hl_sandbox *sandbox, uint64_t timeout_ns, hl_error *err);
/* Starts the program: up to its first rest or exit. */
hl_status hl__sandbox_start(hl_sandbox *sandbox, uint64_t timeout_ns, hl_error *err);

/* hypercall.c */
enum hl__step { HL__STEP_CONTINUE = 0, HL__STEP_ENDED = 1, HL__STEP_FAILED = 2 };
enum hl__step hl__hypercall(hl_sandbox *sandbox, uint32_t op, hl_status *status, hl_error *err);
/* A protocol violation: what the guest did. */
HL__COLD_PATH enum hl__step hl__guest_violation(hl_status *status, hl_error *err,
                                                const char *reason);

/* stream.c */
enum hl__step hl__stream_write(hl_sandbox *sandbox, const struct hl_abi_call *call, int64_t *result,
                               hl_status *status, hl_error *err);
enum hl__step hl__stream_read(hl_sandbox *sandbox, const struct hl_abi_call *call, int64_t *result);
/* Takes the output that waits in hl_abi_output, if any does. */
enum hl__step hl__output_take(hl_sandbox *sandbox, hl_status *status, hl_error *err);
/* Waits until reading standard input would not wait; false if it still would at `until_ns`, or if the
 * run was cancelled. */
bool hl__input_wait(hl_sandbox *sandbox, uint64_t until_ns);
/* Counts output; false once it exceeds the limit. */
bool hl__output_count(hl_sandbox *sandbox, uint64_t size, hl_status *status, hl_error *err);

/* host_call.c */
enum hl__step hl__host_call(hl_sandbox *sandbox, const struct hl_abi_call *call, int64_t *result,
                            hl_status *status, hl_error *err);

/* message.c */
/* Writes a message where the guest will find it: inline, or in transfer memory from `transfer_offset`
 * on. A failure with problem->status set is about what it holds, else *err tells of no memory. */
hl_status hl__message_send(hl_sandbox *sandbox, const hl__wire_content *content,
                           uint64_t transfer_offset, uint64_t *size, hl__wire_problem *problem,
                           hl_error *err);
/* A private copy of a message of the guest, in a hl__wire_buffer_new(). HL_OUT_OF_MEMORY, or
 * HL_GUEST_BAD_REPLY if it is not in readable memory. */
hl_status hl__message_fetch(const hl_sandbox *sandbox, uint64_t address, uint64_t size,
                            void **copy);
bool hl__message_fetch_reference(void *sandbox, uint64_t address, void *out, size_t size);

/* snapshot/restore.c */
/* Starts to record dirtied pages, once. */
hl_status hl__sandbox_track(hl_sandbox *sandbox, hl_error *err);
void hl__sandbox_set_baseline(hl_sandbox *sandbox, const hl_snapshot *snapshot);
/* A sandbox from a snapshot in a VM whose RAM holds the snapshot's already. */
hl_status hl__sandbox_from_snapshot_in(hl__vm *vm, const hl_snapshot *snapshot,
                                       const hl_sandbox_options *options, hl_sandbox **sandbox,
                                       hl_error *err);

/* wake.c */
void hl__wake_write(hl_sandbox *sandbox, hl_status *status, hl_error *err);
/* Looks at the system's clock, for hl__sandbox_now_ns and, now and then, for a long-lived guest. */
uint64_t hl__clock_look(hl_sandbox *sandbox);

/* CLOCK_MONOTONIC. Asking the system twice in a call would take 0.4 us (util/placement.h). */
static inline uint64_t hl__sandbox_now_ns(hl_sandbox *sandbox)
{
    uint64_t ticks = hl__os_tsc() - sandbox->clock.tsc;
    return ticks < sandbox->clock.ticks_max
               ? sandbox->clock.ns + (ticks * sandbox->clock.ns_per_tick >> 32)
               : hl__clock_look(sandbox);
}

#endif
