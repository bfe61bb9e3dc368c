/* Inside of a context: the driver with its probe, the log, the kick signal, the watchdog. */
#ifndef HL_CONTEXT_INTERNAL_H
#define HL_CONTEXT_INTERNAL_H

#include "driver/driver.h"
#include "os/os.h"
#include "util/placement.h"
#include <hyperlight/context.h>
#include <stdatomic.h>

struct hl__watchdog;

struct hl_context {
    atomic_uint references;
    const hl__driver *driver;
    bool driver_open;
    hl_driver_info driver_info;
    struct hl__machine machine;
    /* the ring-0 poke makes removed rights effective here: tested when the context is made */
    bool poke_works;
    hl_log_sink log_sink;
    void *log_user;
    hl_log_level log_level;
    int kick_signal;
    uint64_t fork_generation; /* hl__os_fork_generation() when it was made */
    struct hl__watchdog *watchdog;
};

/* A counted reference to `context`, or to the default context (made if need be) if it is NULL. */
hl_status hl__context_get(hl_context *context, hl_context **reference, hl_error *err);
void hl__context_unref(hl_context *context); /* NULL is fine */

/* HL_OK, or HL_FORKED in a child of the process that made the context. */
HL__COLD_PATH hl_status hl__context_forked(hl_error *err);
static inline hl_status hl__context_check(const hl_context *context, hl_error *err)
{
    return context->fork_generation == hl__os_fork_generation() ? HL_OK : hl__context_forked(err);
}

/* Unmaps memory of an object that belongs to the context. A forked child does not have its parent's
 * memory: something else may be in its place there. NULL is fine. */
void hl__context_unmap(const hl_context *context, void *address, size_t size);

/* Makes a log line if the level is wanted. */
void hl__log(const hl_context *context, hl_log_level level, const char *format, ...)
    HL_PRINTF(3, 4);

/* Logs hostile text: shortened to HL_LOG_LINE_MAX, control characters and invalid UTF-8 escaped.
 * `always`: whatever the level (tracing). */
void hl__log_hostile(const hl_context *context, hl_log_level level, hl_log_source source,
                     const char *text, size_t size, bool always);

#endif
