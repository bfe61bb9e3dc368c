/**
 * @file context.h
 * @brief What sandboxes of one host application share: driver, log, kick signal, watchdog.
 */
#ifndef HYPERLIGHT_CONTEXT_H
#define HYPERLIGHT_CONTEXT_H

#include <hyperlight/base.h>
#include <hyperlight/error.h>

/** A context. May be used from any threads at the same time. */
typedef struct hl_context hl_context;

/** How important a log line is. */
typedef enum hl_log_level {
    HL_LOG_DEFAULT = 0, /**< In options: HL_LOG_WARN. */
    HL_LOG_ERROR = 1,
    HL_LOG_WARN = 2,
    HL_LOG_INFO = 3,
    HL_LOG_DEBUG = 4,
    HL_LOG_TRACE = 5, /**< Also the system calls that the shim does not serve; see hl_sandbox_options::trace. */
    HL_LOG_NONE = 6   /**< In options: nothing at all. */
} hl_log_level;

/** Where a log line comes from. */
typedef enum hl_log_source {
    HL_LOG_HOST = 0,  /**< The library. */
    HL_LOG_SHIM = 1,  /**< The runtime inside the VM: hostile, escaped. */
    HL_LOG_GUEST = 2  /**< The guest program (hl_guest_log): hostile, escaped. */
} hl_log_source;

/**
 * @brief Receives log lines.
 * @param level   Importance.
 * @param source  Who says so.
 * @param line    One line without a newline, NUL-terminated, at most HL_LOG_LINE_MAX bytes; valid during the call only.
 * @param user    As given with the sink.
 *
 * Called on whichever thread is in the library, several at a time. It must not call the library. Lines of the guest
 * count as its output (hl_sandbox_options::output_size_max).
 */
typedef void (*hl_log_sink)(hl_log_level level, hl_log_source source, const char *line, void *user);

/** Longest log line in bytes, with the NUL; longer ones are cut. */
#define HL_LOG_LINE_MAX 1024

/** Options of a context. */
typedef struct hl_context_options {
    size_t size;            /**< sizeof(hl_context_options). */
    const char *driver;     /**< Name of the driver; NULL: the first usable one (environment HL_DRIVER is not read). */
    hl_log_sink log_sink;   /**< NULL: no log. */
    void *log_user;         /**< Handed to `log_sink`. */
    hl_log_level log_level; /**< Lines above this level are not made. 0: HL_LOG_WARN. */
    int kick_signal;        /**< Real-time signal that makes a running vCPU stop. 0: SIGRTMIN+8. Its disposition must be
                                 the default when the first context is made; see hl_context_new().
                                 Windows has no signals and ignores it. */
} hl_context_options;

HL_BEGIN_DECLS

/**
 * @brief Makes a context.
 * @param options  NULL: defaults.
 * @param context  Receives the context; release it with hl_context_free().
 *
 * The first context of a process installs a handler for the kick signal, the only process-wide setting that the
 * library touches; it stays until the last context is gone. Contexts that live at the same time share that signal:
 * one that asks for another is refused. A watchdog thread, with all signals blocked, starts with the first call that
 * has a deadline.
 *
 * @return HL_OK; HL_INVALID_ARGUMENT; HL_NO_HYPERVISOR, HL_HYPERVISOR_DENIED, HL_HYPERVISOR_TOO_OLD (the message says
 * what is missing and how to get it); HL_SIGNAL_IN_USE; HL_OUT_OF_MEMORY; HL_SYSTEM. Any thread.
 */
HL_API HL_MUST_CHECK hl_status hl_context_new(const hl_context_options *options, hl_context **context, hl_error *err);

/** @brief Gives up a context. Objects made with it keep it alive as long as they need it. NULL is fine. Any thread. */
HL_API void hl_context_free(hl_context *context);

/** @brief What the context's driver is and can do. @param info As for hl_driver_probe(). Any thread. */
struct hl_driver_info;
HL_API HL_MUST_CHECK hl_status hl_context_driver(const hl_context *context, struct hl_driver_info *info, hl_error *err);

HL_END_DECLS

#endif
