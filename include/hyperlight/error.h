/**
 * @file error.h
 * @brief The one list of statuses, and the error object that callers own.
 */
#ifndef HYPERLIGHT_ERROR_H
#define HYPERLIGHT_ERROR_H

#include <hyperlight/base.h>

/**
 * Every status of the library: X(name, number, poisons, meaning).
 *
 * They are grouped by what the caller can do. `poisons` says whether a sandbox that answered with this status is
 * poisoned afterwards: only hl_sandbox_restore() and hl_sandbox_free() work on it then. The exceptions are
 * HL_MEMORY_LIMIT of a call that was refused before the guest ran, because its request is too large for what memory is
 * left, and hl_sandbox_snapshot(), which leaves the sandbox as it was; hl_sandbox_status() tells. Numbers never change.
 */
#define HL_STATUS_LIST(X)                                                                                              \
    X(OK, 0, 0, "success")                                                                                             \
    /* Fix the call. Nothing happened, nothing was lost. */                                                            \
    X(INVALID_ARGUMENT, 1, 0, "an argument or option is invalid")                                                      \
    X(INVALID_VALUE, 2, 0, "a value is not valid UTF-8, is nested too deeply or has an unknown type")                  \
    X(UNKNOWN_FUNCTION, 3, 0, "no function of that name")                                                              \
    X(SIGNATURE_MISMATCH, 4, 0, "the arguments do not fit the function's signature")                                   \
    X(REQUEST_TOO_LARGE, 5, 0, "the encoded request exceeds the request limit")                                        \
    X(NOT_SERVING, 6, 0, "the program serves no calls")                                                                \
    X(BUSY, 7, 0, "the sandbox is in a call already")                                                                  \
    X(POISONED, 8, 0, "the sandbox was poisoned by an earlier failure; restore it or free it")                         \
    X(FORKED, 9, 0, "the object was made by the parent of this process")                                               \
    X(INCOMPATIBLE_SNAPSHOT, 10, 0, "the snapshot belongs to another program or another layout")                       \
    /* Fix the host. */                                                                                                \
    X(OUT_OF_MEMORY, 20, 0, "the host is out of memory")                                                               \
    X(NO_HYPERVISOR, 21, 0, "no hypervisor is available")                                                              \
    X(HYPERVISOR_DENIED, 22, 0, "no permission to use the hypervisor")                                                 \
    X(HYPERVISOR_TOO_OLD, 23, 0, "the hypervisor lacks a capability that is needed")                                   \
    X(SIGNAL_IN_USE, 24, 0, "the host application uses the kick signal itself")                                        \
    X(SYSTEM, 25, 1, "the operating system refused an operation")                                                      \
    /* Fix the program or image that was to be opened. */                                                              \
    X(PROGRAM_UNREADABLE, 40, 0, "the program could not be read")                                                      \
    X(PROGRAM_INVALID, 41, 0, "the program is not a well-formed ELF executable")                                       \
    X(PROGRAM_WRONG_MACHINE, 42, 0, "the program is for another architecture")                                         \
    X(PROGRAM_NEEDS_INTERPRETER, 43, 0, "the program is dynamically linked")                                           \
    X(PROGRAM_TOO_LARGE, 44, 0, "the program does not fit into the sandbox's memory")                                  \
    X(IMAGE_UNREADABLE, 45, 0, "the image, or what it is made from, could not be read")                                \
    X(IMAGE_INVALID, 46, 0, "the image, or what it is made from, is damaged or of a kind that is not supported")       \
    X(IMAGE_TOO_LARGE, 47, 0, "the image would exceed the limit on its bytes")                                         \
    X(IMAGE_TOO_MANY_FILES, 48, 0, "the image would exceed the limit on its files")                                    \
    X(IMAGE_TOO_DEEP, 49, 0, "the image would exceed the limit on the depth of its directories")                       \
    /* Blame the guest. */                                                                                             \
    X(GUEST_ERROR, 60, 0, "the guest function returned an error")                                                      \
    X(GUEST_EXITED, 61, 1, "the guest program exited")                                                                 \
    X(GUEST_FAULT, 62, 1, "the guest program was killed by a fault or signal")                                         \
    X(GUEST_ABORTED, 63, 1, "the guest program aborted")                                                               \
    X(GUEST_BAD_REPLY, 64, 1, "the guest's reply is malformed")                                                        \
    X(GUEST_VIOLATION, 65, 1, "the guest broke the protocol between guest and host")                                   \
    X(REPLY_TOO_LARGE, 66, 1, "the guest's reply exceeds the reply limit")                                             \
    /* Cancelled, or over a limit. */                                                                                  \
    X(TIMED_OUT, 80, 1, "the wall-clock deadline passed")                                                              \
    X(CPU_LIMIT, 81, 1, "the CPU-time budget is spent")                                                                \
    X(INTERRUPTED, 82, 1, "interrupted by hl_sandbox_interrupt")                                                       \
    X(MEMORY_LIMIT, 83, 1, "the sandbox's memory is used up")                                                          \
    X(OUTPUT_LIMIT, 84, 1, "the guest wrote more output than allowed")                                                 \
    X(HOST_CALL_LIMIT, 85, 1, "the guest made more host calls than allowed")

/** Status of an operation. */
typedef enum hl_status {
#define HL_STATUS_ENUM(name, number, poisons, meaning) HL_##name = number,
    HL_STATUS_LIST(HL_STATUS_ENUM)
#undef HL_STATUS_ENUM
} hl_status;

/** Longest error message in bytes, including the terminating NUL. */
#define HL_ERROR_MESSAGE_MAX 512

/**
 * What went wrong, in a structure that the caller owns. It needs no freeing and no initialisation other than
 * HL_ERROR_INIT. Text that came from a guest is shortened and its control characters are escaped.
 */
typedef struct hl_error {
    hl_status status;               /**< What the function returned. */
    int os_error;                   /**< errno of the failed system call, or 0. */
    int exit_code;                  /**< Guest's exit code with HL_GUEST_EXITED, else 0. */
    int signal;                     /**< Linux number of the guest's fatal signal (HL_GUEST_FAULT, HL_GUEST_ABORTED),
                                         else 0. */
    uint32_t fault_vector;          /**< Hardware exception number with HL_GUEST_FAULT; HL_NO_VECTOR if there was
                                         none. */
    uint64_t fault_address;         /**< Address whose access faulted (page faults), else 0. */
    uint64_t instruction_pointer;   /**< Guest instruction that faulted, else 0. */
    const char *source;             /**< Static name of the library function or system call that failed, or NULL. */
    char message[HL_ERROR_MESSAGE_MAX]; /**< One line: what, and the next step where there is one. */
} hl_error;

/** Value of hl_error::fault_vector when no hardware exception is involved. */
#define HL_NO_VECTOR UINT32_MAX

#ifdef __cplusplus
#define HL_ERROR_INIT hl_error()
#else
#define HL_ERROR_INIT { .status = HL_OK }
#endif

HL_BEGIN_DECLS

/** @brief Name of a status, as in "HL_TIMED_OUT". @return A static string; "HL_?" for an unknown number. Any thread. */
HL_API const char *hl_status_name(hl_status status);

/** @brief Meaning of a status in a few words. @return A static string. Any thread. */
HL_API const char *hl_status_meaning(hl_status status);

/** @brief Whether a sandbox that answered with this status is poisoned. Any thread. */
HL_API bool hl_status_poisons(hl_status status);

HL_END_DECLS

#endif
