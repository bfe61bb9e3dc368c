/**
 * @file guest.h
 * @brief The guest SDK: what a program inside a micro VM uses to serve calls from its host application.
 *
 * Plain C over any libc, single-threaded. Link with libhyperlight-guest.a (pkg-config hyperlight-guest). Outside of a
 * micro VM hl_guest_serve() prints a message and returns an error; nothing else of the program changes.
 */
#ifndef HYPERLIGHT_GUEST_H
#define HYPERLIGHT_GUEST_H

#include <hyperlight/base.h>
#include <hyperlight/error.h>
#include <hyperlight/value.h>

/**
 * @brief Serves a call of the host. In C++ no exception may leave it.
 * @param arguments  What the host gave; valid until the function returns. Large strings lie in memory shared with the
 *                   host: no copy was made.
 * @param count      Number of arguments.
 * @param reply      Set it to the result; null at the start. What it borrows must live until the next call begins:
 *                   static or heap memory, an argument, or hl_guest_alloc(); not the function's own stack.
 * @param user       As given to hl_guest_export().
 * @return HL_OK, or hl_guest_fail(): the host's call then ends with HL_GUEST_ERROR and that text, and the program
 * goes on serving.
 */
typedef hl_status (*hl_guest_function)(const hl_value *arguments, size_t count, hl_value *reply, void *user);

/** What is new after a restore. */
typedef struct hl_guest_wake {
    size_t size;         /**< sizeof(hl_guest_wake). */
    uint64_t generation; /**< Differs from that of every other sandbox and restore of the same snapshot. */
    uint8_t seed[32];    /**< Fresh randomness (or the host's fixed seed): reseed every generator from it. */
} hl_guest_wake;

HL_BEGIN_DECLS

/** @brief Whether this program runs inside a Hyperlight micro VM. */
HL_API bool hl_guest_inside(void);

/**
 * @brief Offers a function to the host. Before hl_guest_serve().
 * @param name       1 to HL_NAME_MAX bytes of UTF-8, copied.
 * @param function   Serves the calls.
 * @param user       Handed to `function`.
 * @return HL_OK; HL_INVALID_ARGUMENT (bad or taken name, already serving); HL_OUT_OF_MEMORY.
 */
HL_API hl_status hl_guest_export(const char *name, hl_guest_function function, void *user);

/**
 * @brief As hl_guest_export(), with a signature (copied): calls that do not fit get HL_SIGNATURE_MISMATCH on the host
 * and never arrive.
 */
HL_API hl_status hl_guest_export_typed(const char *name, const hl_signature *signature, hl_guest_function function,
                                       void *user);

/**
 * @brief Registers a hook that runs after a restore, before the next call: reseed, reopen, reconnect. Hooks run in
 * order of registration.
 * @return HL_OK; HL_OUT_OF_MEMORY.
 */
HL_API hl_status hl_guest_on_restore(void (*hook)(const hl_guest_wake *wake, void *user), void *user);

/**
 * @brief Serves calls for ever. The program rests here between calls; this is where snapshots are taken.
 * @return Only if it cannot serve: 70 (EX_SOFTWARE) outside of a micro VM, after a message on stderr. End main with
 * `return hl_guest_serve();`.
 */
HL_API int hl_guest_serve(void);

/**
 * @brief Calls a function of the host.
 * @param reply  Receives the result, of whatever type the host function gave; valid until the call being served ends,
 *               or until the next hl_guest_call() (copy what must last longer). NULL: dropped.
 * @return HL_OK; HL_UNKNOWN_FUNCTION, HL_SIGNATURE_MISMATCH, HL_GUEST_ERROR (the host function failed):
 * hl_guest_error() has the text; HL_INVALID_VALUE, HL_REPLY_TOO_LARGE (the request exceeds the host's limit),
 * HL_REQUEST_TOO_LARGE (the host's answer exceeds it), HL_OUT_OF_MEMORY, HL_NOT_SERVING (outside of a micro VM).
 */
HL_API HL_MUST_CHECK hl_status hl_guest_call(const char *name, const hl_value *arguments, size_t count,
                                             hl_value *reply);

/** @brief Text of the last failed hl_guest_call(), or "". Valid until the next one. */
HL_API const char *hl_guest_error(void);

/** @brief Fails the call being served: `return hl_guest_fail("bad date: %s", text);` @return HL_GUEST_ERROR. */
HL_API hl_status hl_guest_fail(const char *format, ...) HL_PRINTF(1, 2);

/**
 * @brief Scratch memory until the next call begins; no freeing.
 * @return Zeroed, 16-byte aligned; NULL if there is none.
 */
HL_API void *hl_guest_alloc(size_t size);

/**
 * @brief Sends a line to the host application's log; it counts as output. At most 1000 bytes, longer ones are cut.
 * @param level  1 error, 2 warning, 3 info, 4 debug, 5 trace.
 */
HL_API void hl_guest_log(int level, const char *format, ...) HL_PRINTF(2, 3);

HL_END_DECLS

#endif
