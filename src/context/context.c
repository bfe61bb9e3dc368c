/* Contexts, the default one among them, and the lock over what the process has but once: the
 * default context and the kick signal. */
#include "context/context.h"
#include "context/watchdog.h"
#include "os/kick.h"
#include "os/os.h"
#include "util/error.h"
#include "vm/poke_test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t process_lock = PTHREAD_MUTEX_INITIALIZER;
static hl_context *default_context; /* uncounted: the last reference clears it */

static void process_leave(void)
{
    pthread_mutex_unlock(&process_lock);
}

static void process_lock_over_fork(void);

static void process_enter(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, process_lock_over_fork);
    pthread_mutex_lock(&process_lock);
}

/* A child must not find the lock held by a thread that it does not have. */
static void process_lock_over_fork(void)
{
    pthread_atfork(process_enter, process_leave, process_leave);
}

static hl_status options_check(const hl_context_options *options, hl_error *err)
{
    if ((unsigned)options->log_level > HL_LOG_NONE)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_context_new",
                             "hl_context_options.log_level is %d: it must be one of hl_log_level",
                             (int)options->log_level);
    return HL_OK;
}

static hl_status context_fill(hl_context *context, const hl_context_options *options, hl_error *err)
{
    atomic_init(&context->references, 1);
    context->log_sink = options->log_sink;
    context->log_user = options->log_user;
    context->log_level = options->log_level ? options->log_level : HL_LOG_WARN;
    hl__os_forks_watch();
    context->fork_generation = hl__os_fork_generation();
    context->driver_info.size = sizeof context->driver_info;
    hl_status status = hl__kick_signal(options->kick_signal, &context->kick_signal, err);
    if (status == HL_OK)
        status = hl__driver_find(options->driver, &context->driver, &context->driver_info,
                                 &context->machine, err);
    if (status != HL_OK)
        return status;
    if ((status = hl__driver_open(context->driver, err)) != HL_OK)
        return status;
    context->driver_open = true;
    context->poke_works = hl__poke_works(context->driver, &context->machine);
    return hl__watchdog_new(&context->watchdog, err);
}

/* Last, because nothing can fail behind it: a context that exists has the signal. */
static hl_status context_take_signal(hl_context *context, hl_error *err)
{
    process_enter();
    hl_status status = hl__kick_acquire(context->kick_signal, err);
    process_leave();
    return status;
}

static void context_discard(hl_context *context)
{
    hl__watchdog_free(context->watchdog);
    if (context->driver_open)
        hl__driver_close(context->driver);
    free(context);
}

hl_status hl_context_new(const hl_context_options *options, hl_context **context, hl_error *err)
{
    hl_context_options known;
    size_t least = offsetof(hl_context_options, kick_signal) + sizeof known.kick_signal;
    hl_status status =
        hl__options_copy(&known, sizeof known, least, options, "hl_context_options", err);
    if (status == HL_OK)
        status = options_check(&known, err);
    if (status != HL_OK)
        return status;
    if (!context)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_context_new",
                             "`context` is NULL: give it a place for the context");
    hl_context *made = calloc(1, sizeof *made);
    if (!made)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "calloc", "no memory for a context");
    status = context_fill(made, &known, err);
    if (status == HL_OK)
        status = context_take_signal(made, err);
    if (status != HL_OK) {
        context_discard(made);
        return status;
    }
    hl__log(made, HL_LOG_INFO, "driver %s: %s", made->driver_info.name, made->driver_info.detail);
    *context = made;
    return HL_OK;
}

static hl_context *context_ref(hl_context *context)
{
    atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

/* The default context of this process, not of its parent. Under the lock. */
static hl_context *default_find(void)
{
    bool usable = default_context && default_context->fork_generation == hl__os_fork_generation();
    return usable ? context_ref(default_context) : NULL;
}

static hl_context *default_get(void)
{
    process_enter();
    hl_context *found = default_find();
    process_leave();
    return found;
}

/* Makes `made` the default context, unless another thread was faster. */
static hl_context *default_offer(hl_context *made)
{
    process_enter();
    hl_context *winner = default_find();
    if (!winner)
        winner = default_context = made;
    process_leave();
    if (winner != made)
        hl__context_unref(made);
    return winner;
}

hl_status hl__context_get(hl_context *context, hl_context **reference, hl_error *err)
{
    if (context) {
        *reference = context_ref(context);
        return HL_OK;
    }
    hl_context *found = default_get();
    if (!found) {
        hl_context *made = NULL;
        hl_status status = hl_context_new(NULL, &made, err);
        if (status != HL_OK)
            return status;
        found = default_offer(made);
    }
    *reference = found;
    return HL_OK;
}

/* Drops a reference that is not the last one. */
static bool context_drop_shared(hl_context *context)
{
    unsigned references = atomic_load(&context->references);
    while (references > 1)
        if (atomic_compare_exchange_weak(&context->references, &references, references - 1))
            return true;
    return false;
}

/* Drops a reference under the lock, so that nobody takes one from `default_context` meanwhile.
 * Returns whether it was the last. */
static bool context_drop_last(hl_context *context)
{
    process_enter();
    bool last = atomic_fetch_sub(&context->references, 1) == 1;
    if (last && default_context == context)
        default_context = NULL;
    process_leave();
    return last;
}

void hl__context_unref(hl_context *context)
{
    if (!context || context_drop_shared(context) || !context_drop_last(context))
        return;
    context_discard(context);
    process_enter();
    hl__kick_release();
    process_leave();
}

void hl_context_free(hl_context *context)
{
    hl__context_unref(context);
}

hl_status hl__context_forked(hl_error *err)
{
    return hl__error_set(err, HL_FORKED, NULL,
                         "the object was made before fork(): make a new one in this process");
}

void hl__context_unmap(const hl_context *context, void *address, size_t size)
{
    if (address && context->fork_generation == hl__os_fork_generation())
        hl__os_memory_unmap(address, size);
}

hl_status hl_context_driver(const hl_context *context, hl_driver_info *info, hl_error *err)
{
    size_t least = offsetof(hl_driver_info, detail) + sizeof info->detail;
    if (!context || !info)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_context_driver", "`%s` is NULL",
                             context ? "info" : "context");
    size_t size = info->size;
    if (size < least)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_context_driver",
                             "hl_driver_info.size is %zu: set it to sizeof(hl_driver_info)", size);
    size_t known = size < sizeof *info ? size : sizeof *info;
    memcpy(info, &context->driver_info, known);
    info->size = size;
    return HL_OK;
}
