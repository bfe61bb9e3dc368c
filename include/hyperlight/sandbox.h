/**
 * @file sandbox.h
 * @brief One micro VM that runs a program: call, run, snapshot, restore, interrupt.
 */
#ifndef HYPERLIGHT_SANDBOX_H
#define HYPERLIGHT_SANDBOX_H

#include <hyperlight/base.h>
#include <hyperlight/context.h>
#include <hyperlight/host_function.h>
#include <hyperlight/program.h>
#include <hyperlight/value.h>

/** A sandbox. One thread at a time; only hl_sandbox_interrupt() (through a handle) and hl_sandbox_status() from any. */
typedef struct hl_sandbox hl_sandbox;

/** A sandbox's state at the moment its guest rests between calls. Immutable: any threads at the same time. */
typedef struct hl_snapshot hl_snapshot;

/** Lets any thread or signal handler stop what a sandbox runs; see hl_sandbox_interrupt_handle(). */
typedef struct hl_interrupt_handle hl_interrupt_handle;

/** What a sandbox can do now. */
typedef enum hl_sandbox_state {
    HL_SANDBOX_READY = 1,    /**< Rests (or was not started yet), calls are possible. */
    HL_SANDBOX_RUNNING = 2,  /**< A call, run, snapshot or restore is under way. */
    HL_SANDBOX_POISONED = 3, /**< Only restore and free work. */
    HL_SANDBOX_FINISHED = 4  /**< The program exited of itself, in hl_sandbox_run(): only restore and free work. */
} hl_sandbox_state;

/** What becomes of one of the guest's standard streams. */
typedef enum hl_stream_mode {
    HL_STREAM_DEFAULT = 0, /**< HL_STREAM_DISCARD. */
    HL_STREAM_DISCARD = 1, /**< Output is thrown away; input is empty. */
    HL_STREAM_INHERIT = 2, /**< The descriptor of the same number of the host process. */
    HL_STREAM_CAPTURE = 3, /**< Output: kept for hl_sandbox_output(), up to `capacity` bytes at a time. Input: not
                                possible. */
    HL_STREAM_CALLBACK = 4,/**< Output: `write` gets it. Input: `read` gives it. */
    HL_STREAM_MEMORY = 5   /**< Input: the `data_size` bytes at `data`, copied. Output: not possible. */
} hl_stream_mode;

/** Default and largest capacity of a captured stream in bytes. */
#define HL_CAPTURE_SIZE_DEFAULT 1048576
#define HL_CAPTURE_SIZE_MAX (UINT64_C(1) << 30)

/** One of stdin (0), stdout (1), stderr (2). Callbacks run on the sandbox's thread and must not use the sandbox. */
typedef struct hl_stream {
    hl_stream_mode mode;
    uint32_t reserved; /**< Zero. */
    /** Takes `size` bytes of output, hostile content. Returns false to stop the guest (HL_OUTPUT_LIMIT). */
    bool (*write)(const char *data, size_t size, void *user);
    /** Gives at most `size` bytes of input. Returns their number; 0 is the end of input, negative an I/O error for
        the guest. */
    ptrdiff_t (*read)(char *data, size_t size, void *user);
    void *user;         /**< Handed to the callbacks. */
    const void *data;   /**< With HL_STREAM_MEMORY. */
    size_t data_size;   /**< With HL_STREAM_MEMORY. */
    uint64_t capacity;  /**< With HL_STREAM_CAPTURE; 0: HL_CAPTURE_SIZE_DEFAULT. More output is an HL_OUTPUT_LIMIT. */
} hl_stream;

/** What the guest's wall clock shows. */
typedef enum hl_clock_policy {
    HL_CLOCK_DEFAULT = 0, /**< HL_CLOCK_HOST. */
    HL_CLOCK_HOST = 1,    /**< The host's time. */
    HL_CLOCK_FIXED = 2    /**< Starts at `clock_start_ns` when the sandbox starts and after each restore, and runs
                               from there. */
} hl_clock_policy;

/** "No limit" for limits that may be switched off. */
#define HL_UNLIMITED UINT64_MAX

#define HL_MEMORY_SIZE_DEFAULT (UINT64_C(64) << 20)
#define HL_MEMORY_SIZE_MIN (UINT64_C(1) << 20)
#define HL_MEMORY_SIZE_MAX (UINT64_C(32) << 30)
#define HL_TIMEOUT_NS_DEFAULT UINT64_C(10000000000)
#define HL_TRANSFER_SIZE_DEFAULT (UINT64_C(64) << 20)
#define HL_TRANSFER_SIZE_MAX (UINT64_C(1) << 30)
#define HL_OUTPUT_SIZE_DEFAULT (UINT64_C(64) << 20)
#define HL_HOST_CALLS_DEFAULT UINT64_C(1000000)

/** Options of a sandbox. Limits per call count afresh with each hl_sandbox_call(), run or start. */
typedef struct hl_sandbox_options {
    size_t size;                 /**< sizeof(hl_sandbox_options). */
    uint64_t memory_size;        /**< Guest memory in bytes, rounded up to pages: program, heap, stack, runtime and
                                      transfer memory. 0: HL_MEMORY_SIZE_DEFAULT. HL_MEMORY_SIZE_MIN to _MAX. Error:
                                      HL_MEMORY_LIMIT. */
    uint64_t timeout_ns;         /**< Wall-clock deadline per call or run. 0: HL_TIMEOUT_NS_DEFAULT (10 s);
                                      HL_UNLIMITED. Error: HL_TIMED_OUT. */
    uint64_t start_timeout_ns;   /**< Deadline for `main` up to its first rest. 0: as the default of timeout_ns;
                                      HL_UNLIMITED. */
    uint64_t cpu_time_ns;        /**< CPU time per call or run. 0: HL_UNLIMITED. Error: HL_CPU_LIMIT. */
    uint64_t request_size_max;   /**< Encoded request, and reply of a host function, in bytes. 0:
                                      HL_TRANSFER_SIZE_DEFAULT; at most HL_TRANSFER_SIZE_MAX. Error:
                                      HL_REQUEST_TOO_LARGE. */
    uint64_t reply_size_max;     /**< Encoded reply, and request to a host function, in bytes. Default, maximum alike.
                                      Error: HL_REPLY_TOO_LARGE. */
    uint64_t output_size_max;    /**< Bytes on stdout, stderr and log together per call or run. 0:
                                      HL_OUTPUT_SIZE_DEFAULT; HL_UNLIMITED. Error: HL_OUTPUT_LIMIT. */
    uint64_t host_calls_max;     /**< Host calls per call. 0: HL_HOST_CALLS_DEFAULT; HL_UNLIMITED. Error:
                                      HL_HOST_CALL_LIMIT. */
    hl_stream stdin_stream;      /**< Default: discard. */
    hl_stream stdout_stream;     /**< Default: discard. */
    hl_stream stderr_stream;     /**< Default: discard. */
    hl_host_functions *host_functions; /**< NULL: none. The sandbox holds a reference, and the set takes no more
                                            functions. */
    hl_clock_policy clock;       /**< 0: HL_CLOCK_HOST. */
    bool trace;                  /**< Log each system call as strace does, to the context's sink
                                      whatever its level. */
    bool seed_fixed;             /**< Use `seed` at the start and after each restore: the guest's randomness then
                                      repeats. */
    uint8_t reserved[2];         /**< Zero. */
    uint64_t clock_start_ns;     /**< With HL_CLOCK_FIXED: ns since 1970-01-01 00:00 UTC. */
    uint8_t seed[32];            /**< With `seed_fixed`. */
} hl_sandbox_options;

/** Counters of a sandbox since it was made. */
typedef struct hl_stats {
    size_t size;                 /**< sizeof(hl_stats), set by the caller. */
    uint64_t calls;              /**< Finished hl_sandbox_call() and hl_sandbox_run(). */
    uint64_t host_calls;         /**< Host functions called by the guest. */
    uint64_t restores;           /**< Finished hl_sandbox_restore(). */
    uint64_t entries;            /**< Times the vCPU was entered. */
    uint64_t hypercalls;         /**< Exits by the call port. */
    uint64_t faults;             /**< Exits by a hardware exception. */
    uint64_t kicks;              /**< Exits by a kick. */
    uint64_t page_table_edits;   /**< Page-table entries changed at the guest's request. */
    uint64_t page_table_flushes; /**< Entries through ring 0 that made removed rights take effect. */
    uint64_t pages_restored;     /**< Pages copied back by restores. */
    uint64_t run_time_ns;        /**< Wall-clock time inside calls and runs. */
    uint64_t memory_size;        /**< Limit in bytes. */
    uint64_t memory_mapped;      /**< Bytes of it that are mapped in the guest now. */
    uint64_t output_size;        /**< Bytes of output taken. */
    uint64_t driver_calls;       /**< Calls to the hypervisor other than entries since it was made, creation
                                      included. */
    uint64_t edits;              /**< Hypercalls that changed the address space; part of `hypercalls`. */
    uint64_t ticks;              /**< Ticks of the guest's timer that were delivered. */
} hl_stats;

HL_BEGIN_DECLS

/**
 * @brief Starts a program in a micro VM of its own and runs it until it rests for its first call, or exits.
 * @param program  Shared; the sandbox holds a reference.
 * @param options  NULL: defaults.
 * @param sandbox  Receives the sandbox; release it with hl_sandbox_free().
 *
 * Its standard streams are discarded unless the options say otherwise. A program that serves calls (hl_guest_serve())
 * is ready afterwards. To run a program that does not, use hl_sandbox_new_stopped() and hl_sandbox_run(). A program
 * that exits before it rests makes this fail with HL_GUEST_EXITED.
 *
 * @return HL_OK; HL_INVALID_ARGUMENT; HL_PROGRAM_INVALID, _WRONG_MACHINE, _NEEDS_INTERPRETER (the message names it),
 * _TOO_LARGE; HL_GUEST_EXITED, HL_GUEST_FAULT, HL_GUEST_ABORTED, HL_GUEST_VIOLATION; HL_TIMED_OUT, HL_CPU_LIMIT,
 * HL_MEMORY_LIMIT, HL_OUTPUT_LIMIT, HL_HOST_CALL_LIMIT; HL_OUT_OF_MEMORY; HL_FORKED; HL_SYSTEM. After an error no VM
 * is left. Any thread.
 */
HL_API HL_MUST_CHECK hl_status hl_sandbox_new(hl_program *program, const hl_sandbox_options *options,
                                              hl_sandbox **sandbox, hl_error *err);

/**
 * @brief As hl_sandbox_new(), but the program does not run yet: continue with hl_sandbox_run(), or with
 * hl_sandbox_call(), which starts it first. Between the two, hl_sandbox_interrupt_handle() can be fetched, so that
 * the start is interruptible.
 */
HL_API HL_MUST_CHECK hl_status hl_sandbox_new_stopped(hl_program *program, const hl_sandbox_options *options,
                                                      hl_sandbox **sandbox, hl_error *err);

/**
 * @brief Runs a program that serves no calls, from its start to its exit.
 * @param exit_code  Receives what the program gave to exit(), 0 to 255.
 * @return HL_OK if it exited of itself, with whatever code: the sandbox is finished. HL_INVALID_ARGUMENT if it ran
 * before or serves calls (it rests then, and is ready). HL_BUSY, HL_POISONED, HL_FORKED, HL_NOT_SERVING (finished),
 * HL_INTERRUPTED. Otherwise as hl_sandbox_new(). The deadline is timeout_ns.
 */
HL_API HL_MUST_CHECK hl_status hl_sandbox_run(hl_sandbox *sandbox, int *exit_code, hl_error *err);

/**
 * @brief Calls a function that the guest exports.
 * @param function   Its name.
 * @param arguments  `count` values, borrowed during the call; NULL if there are none. At most HL_PARAMETERS_MAX.
 * @param reply      Receives the result, which owns its storage: release it with hl_value_free(). NULL: the result is
 *                   dropped. The guest chose its type and content: look at `reply->type` before `reply->as`, whatever
 *                   the function is said to return.
 * @return HL_OK. Nothing happened: HL_INVALID_ARGUMENT, HL_INVALID_VALUE, HL_UNKNOWN_FUNCTION, HL_SIGNATURE_MISMATCH,
 * HL_REQUEST_TOO_LARGE, HL_MEMORY_LIMIT before the guest ran, HL_NOT_SERVING (its program has finished), HL_BUSY,
 * HL_POISONED, HL_FORKED. The sandbox stays ready, but the guest may have run: HL_OUT_OF_MEMORY (also for the reply).
 * The guest ran: HL_GUEST_ERROR (with the guest's message; the sandbox stays ready), HL_GUEST_EXITED, HL_GUEST_FAULT,
 * HL_GUEST_ABORTED, HL_GUEST_BAD_REPLY, HL_GUEST_VIOLATION, HL_REPLY_TOO_LARGE, HL_TIMED_OUT, HL_CPU_LIMIT,
 * HL_INTERRUPTED, HL_MEMORY_LIMIT, HL_OUTPUT_LIMIT, HL_HOST_CALL_LIMIT, HL_SYSTEM: see hl_status_poisons(). If the
 * program had to be started first and that failed, the sandbox is poisoned whatever the status.
 */
HL_API HL_MUST_CHECK hl_status hl_sandbox_call(hl_sandbox *sandbox, const char *function, const hl_value *arguments,
                                               size_t count, hl_value *reply, hl_error *err);

/**
 * @brief Takes a snapshot of a sandbox that is ready.
 * @param snapshot  Receives it; release it with hl_snapshot_free(). It lives independently of the sandbox.
 * @return HL_OK; HL_BUSY, HL_POISONED, HL_NOT_SERVING (finished), HL_INVALID_ARGUMENT (not started), HL_FORKED,
 * HL_OUT_OF_MEMORY, HL_SYSTEM. After an error the sandbox is as it was.
 */
HL_API HL_MUST_CHECK hl_status hl_sandbox_snapshot(hl_sandbox *sandbox, hl_snapshot **snapshot, hl_error *err);

/**
 * @brief Throws a sandbox, poisoned or not, back to a snapshot of the same program (binary, arguments, environment)
 * and memory size, which may have been taken of a sandbox of another context and another hypervisor.
 *
 * Memory and registers are then exactly the snapshot's; time and randomness are fresh (see the options), and nothing
 * of what happened since is left where the guest can look. Costs a copy of the pages that were dirtied if it is the
 * snapshot that the sandbox was last taken to, from or made of; otherwise a copy of all its pages.
 *
 * @return HL_OK: the sandbox is ready. HL_INCOMPATIBLE_SNAPSHOT, HL_BUSY, HL_FORKED, HL_OUT_OF_MEMORY: nothing
 * changed. HL_SYSTEM: it is poisoned.
 */
HL_API HL_MUST_CHECK hl_status hl_sandbox_restore(hl_sandbox *sandbox, const hl_snapshot *snapshot, hl_error *err);

/**
 * @brief Makes a new sandbox that starts where the snapshot was taken: its program, already initialised.
 * @param options  As for hl_sandbox_new(). NULL: those of the sandbox that the snapshot was taken of. `memory_size`
 *                 must be 0 or the same.
 * @return As hl_sandbox_new(), but no guest code runs; HL_INCOMPATIBLE_SNAPSHOT for another `memory_size`. Any thread.
 */
HL_API HL_MUST_CHECK hl_status hl_sandbox_from_snapshot(const hl_snapshot *snapshot, const hl_sandbox_options *options,
                                                        hl_sandbox **sandbox, hl_error *err);

/**
 * @brief Makes VMs ahead for the next sandboxes of a snapshot, until `count` are ready, so that
 * hl_sandbox_from_snapshot() and the first call after it need not wait for that.
 * @param options As for hl_sandbox_from_snapshot(): a VM only suits sandboxes with the same `memory_size` and
 *                `request_size_max`.
 * @param count   At most HL_PREWARM_MAX. 0 gives back all that are ready.
 *
 * In a new VM each page that the program touches first costs a fault in the hypervisor, which for a large program
 * such as a language runtime takes longer than all else. Here the pages are touched without running the program: those
 * that calls of earlier sandboxes of the snapshot touched, so let one make a typical call first. Each VM takes what an
 * idle sandbox takes. From then on hl_sandbox_free() too leaves up to `count` VMs to the snapshot, if that is more than
 * it does by itself.
 *
 * VMs that were taken are not replaced by themselves: call this again, from a thread that has time.
 *
 * @return As hl_sandbox_from_snapshot(); HL_INVALID_ARGUMENT also for a larger `count`. Those made before an error
 * are ready. Any thread, also while others make sandboxes from the snapshot.
 */
HL_API HL_MUST_CHECK hl_status hl_snapshot_prewarm(const hl_snapshot *snapshot, const hl_sandbox_options *options,
                                                   size_t count, hl_error *err);

/** Most VMs that a snapshot has ready. */
#define HL_PREWARM_MAX 256

/**
 * @brief Gives up a snapshot. Sandboxes made from it keep what they need. NULL is fine. Any thread.
 *
 * With it go the VMs that it has ready: when a sandbox is freed whose last snapshot this is, up to four VMs stay for
 * the snapshot's next sandboxes, which saves their making; see also hl_snapshot_prewarm(). Each takes what an idle
 * sandbox takes.
 */
HL_API void hl_snapshot_free(hl_snapshot *snapshot);

/** @brief Bytes of guest memory that a snapshot holds. Any thread. */
HL_API uint64_t hl_snapshot_size(const hl_snapshot *snapshot);

/**
 * @brief A handle with which other threads and signal handlers stop what the sandbox runs. It may outlive the sandbox.
 * @return The handle, counted: release it with hl_interrupt_handle_free(). NULL only if `sandbox` is NULL.
 */
HL_API hl_interrupt_handle *hl_sandbox_interrupt_handle(hl_sandbox *sandbox);

/**
 * @brief Stops the call or run that is under way: it ends with HL_INTERRUPTED and the sandbox is poisoned. If a host
 * function is running, it is told at once (hl_call_cancelled()) and the call ends when it returns. If nothing runs,
 * nothing happens. Any thread; never blocks; async-signal-safe, where there are signals.
 * @return HL_OK if something was stopped, HL_INVALID_ARGUMENT if nothing was running (or `handle` is NULL).
 */
HL_API hl_status hl_sandbox_interrupt(hl_interrupt_handle *handle);

/** @brief Releases a handle. NULL is fine. Any thread, not from signal handlers. */
HL_API void hl_interrupt_handle_free(hl_interrupt_handle *handle);

/** @brief What the sandbox can do now. Any thread. */
HL_API hl_sandbox_state hl_sandbox_status(const hl_sandbox *sandbox);

/** @brief Counters. @param stats Filled in; `stats->size` must be set. @return HL_OK or HL_INVALID_ARGUMENT. */
HL_API HL_MUST_CHECK hl_status hl_sandbox_stats(const hl_sandbox *sandbox, hl_stats *stats, hl_error *err);

/**
 * @brief Names of the functions that the guest exports, in the order in which it exported them.
 * @param names  Receives an array of `*count` strings; it belongs to the sandbox and lives until its next call, run
 *               or restore. The names are the guest's text: control characters are escaped in nothing but messages.
 * @return HL_OK, also with no names: of a guest that serves functions of any name; HL_NOT_SERVING if it has exported
 *         none, or was not started.
 */
HL_API HL_MUST_CHECK hl_status hl_sandbox_exports(const hl_sandbox *sandbox, const char *const **names, size_t *count,
                                                  hl_error *err);

/**
 * @brief Takes what a captured stream holds, in any state of the sandbox but running; the stream is empty afterwards.
 * A restore leaves it alone.
 * @param stream  1 or 2.
 * @param data    Receives `*size` bytes, NUL-terminated, hostile content; release with hl_output_free().
 * @return HL_OK; HL_INVALID_ARGUMENT if the stream is not captured; HL_OUT_OF_MEMORY.
 */
HL_API HL_MUST_CHECK hl_status hl_sandbox_output(hl_sandbox *sandbox, int stream, char **data, size_t *size,
                                                 hl_error *err);

/** @brief Releases what hl_sandbox_output() gave. NULL is fine. */
HL_API void hl_output_free(char *data);

/**
 * @brief Stops and destroys a sandbox. NULL is fine. Not from within its own host functions or callbacks, where it
 * does nothing.
 */
HL_API void hl_sandbox_free(hl_sandbox *sandbox);

HL_END_DECLS

#endif
