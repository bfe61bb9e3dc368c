/**
 * @file host_function.h
 * @brief Functions of the host application that a guest may call.
 */
#ifndef HYPERLIGHT_HOST_FUNCTION_H
#define HYPERLIGHT_HOST_FUNCTION_H

#include <hyperlight/base.h>
#include <hyperlight/error.h>
#include <hyperlight/value.h>

/** A set of host functions, given to sandboxes by their options. */
typedef struct hl_host_functions hl_host_functions;

/**
 * The guest's call that a host function serves; valid until the function returns, on its thread and, for
 * hl_call_cancelled(), any.
 */
typedef struct hl_call hl_call;

/** Most functions in one set. */
#define HL_HOST_FUNCTIONS_MAX 1024

/**
 * @brief Serves a call of the guest, on the thread that runs the sandbox.
 * @param call       The call: deadline, cancellation, scratch memory, failure text.
 * @param arguments  What the guest gave: already copied out of its memory and checked against the signature. Valid
 *                   during the call.
 * @param count      Number of arguments.
 * @param reply      Set it to the result; null at the start. What it borrows must live until the function's caller
 *                   has encoded it, right after the return: static memory, memory of `user`, an argument, or
 *                   hl_call_alloc().
 * @param user       As given to hl_host_functions_add().
 * @return HL_OK, or hl_call_fail(): the guest then sees its host call fail with that text, and goes on. Any other
 * status does the same with the status's meaning as text.
 *
 * A call of hl_sandbox_call(), _run, _snapshot, _restore or _free on the sandbox that is being served answers HL_BUSY
 * (free: does nothing).
 */
typedef hl_status (*hl_host_function)(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                                      void *user);

HL_BEGIN_DECLS

/**
 * @brief Makes an empty set.
 * @return HL_OK or HL_OUT_OF_MEMORY. Any thread.
 */
HL_API HL_MUST_CHECK hl_status hl_host_functions_new(hl_host_functions **functions, hl_error *err);

/**
 * @brief Adds a function to a set.
 * @param name       1 to HL_NAME_MAX bytes of UTF-8, copied.
 * @param signature  Copied; calls that do not fit are refused before `function` is reached. NULL: any arguments.
 * @param function   Serves the calls; with sandboxes on several threads it runs on several threads.
 * @param user       Handed to `function`.
 * @param finalizer  Called with `user` when the last owner of the set is gone, also if adding fails; NULL: none.
 * @return HL_OK; HL_INVALID_ARGUMENT (bad name or signature, name taken, set in use by a sandbox or full);
 * HL_OUT_OF_MEMORY. One thread at a time, before the set's first sandbox.
 */
HL_API HL_MUST_CHECK hl_status hl_host_functions_add(hl_host_functions *functions, const char *name,
                                                     const hl_signature *signature, hl_host_function function,
                                                     void *user, void (*finalizer)(void *user), hl_error *err);

/** @brief Gives up a set. Sandboxes that use it keep it. NULL is fine. */
HL_API void hl_host_functions_free(hl_host_functions *functions);

/**
 * @brief Whether the call was cancelled: its deadline passed, its CPU budget is spent or hl_sandbox_interrupt() was
 * called. The call ends when the host function returns. Any thread while the function runs.
 */
HL_API bool hl_call_cancelled(const hl_call *call);

/** @brief CLOCK_MONOTONIC time in ns at which the call's deadline passes; UINT64_MAX if it has none. */
HL_API uint64_t hl_call_deadline_ns(const hl_call *call);

/**
 * @brief Waits until the call is cancelled or `timeout_ns` passed, whichever is first.
 * @return Whether it was cancelled.
 */
HL_API bool hl_call_wait_cancelled(hl_call *call, uint64_t timeout_ns);

/**
 * @brief Scratch memory that lives until the reply was encoded.
 * @return 16-byte aligned, zeroed; NULL if there is none.
 */
HL_API void *hl_call_alloc(hl_call *call, size_t size);

/**
 * @brief Makes the host call fail with a text that reaches the guest:
 * `return hl_call_fail(call, "no such key '%s'", key);`.
 *
 * Host secrets do not belong in it. At most HL_ERROR_MESSAGE_MAX bytes.
 * @return HL_GUEST_ERROR.
 */
HL_API hl_status hl_call_fail(hl_call *call, const char *format, ...) HL_PRINTF(2, 3);

HL_END_DECLS

#endif
