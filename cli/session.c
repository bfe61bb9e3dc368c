/* One sandbox of the tool: made from its options, its failures and counters told to the user. */
#include "cli.h"

#ifdef HL_TOOL_IMAGES
#include <hyperlight/prepare.h>
#endif
#include <inttypes.h>

static hl_status open_context(struct session *session, const struct limits *limits, hl_error *err)
{
    hl_context_options options = {
        .size = sizeof options,
        .driver = limits->driver,
        .log_sink = report_log,
        .log_level = limits->log_level,
    };
    return hl_context_new(&options, &session->context, err);
}

static hl_status open_root(struct session *session, const struct limits *limits, hl_error *err)
{
    if (!limits->root)
        return HL_OK;
#ifdef HL_TOOL_IMAGES
    return hl_image_open(session->context, limits->root, NULL, &session->root, err);
#else
    return hl_image_map(session->context, limits->root, NULL, &session->root, err);
#endif
}

static hl_status open_program(struct session *session, const struct limits *limits,
                              char **arguments, hl_error *err)
{
    hl_program_options options = {
        .size = sizeof options,
        .context = session->context,
        .arguments = arguments[0] ? (const char *const *)arguments : NULL,
        .environment = limits->environment,
        .root = session->root,
        .directory = limits->directory,
    };
    if (session->root && !limits->host_program)
        return hl_program_from_image(session->root, arguments[0], &options, &session->program, err);
    return hl_program_open(arguments[0], &options, &session->program, err);
}

hl_status session_open(struct session *session, const struct limits *limits, char **arguments,
                       hl_error *err)
{
    interrupt_watch(NULL);
    hl_status status = open_context(session, limits, err);
    if (!status)
        status = open_root(session, limits, err);
    if (!status)
        status = open_program(session, limits, arguments, err);
    if (!status)
        status = hl_sandbox_new_stopped(session->program, &limits->sandbox, &session->sandbox, err);
    if (status)
        return status;
    session->handle = hl_sandbox_interrupt_handle(session->sandbox);
    interrupt_watch(session->handle);
    return HL_OK;
}

void session_close(struct session *session)
{
    interrupt_unwatch();
    hl_interrupt_handle_free(session->handle);
    hl_sandbox_free(session->sandbox);
    hl_program_free(session->program);
    hl_image_free(session->root);
    hl_context_free(session->context);
}

static void print_counts(const hl_stats *stats)
{
    report_text("  VM entries    %" PRIu64 " (%" PRIu64 " hypercalls, %" PRIu64 " faults, %" PRIu64
                " kicks, %" PRIu64 " ticks)",
                stats->entries, stats->hypercalls, stats->faults, stats->kicks, stats->ticks);
    report_text("  driver calls  %" PRIu64, stats->driver_calls);
    report_text("  page tables   %" PRIu64 " edits by %" PRIu64 " hypercalls, %" PRIu64 " flushes",
                stats->page_table_edits, stats->edits, stats->page_table_flushes);
    report_text("  calls         %" PRIu64 " to the guest, %" PRIu64 " to the host", stats->calls,
                stats->host_calls);
}

void session_print_stats(const struct session *session)
{
    hl_stats stats = {.size = sizeof stats};
    if (!session->sandbox || hl_sandbox_stats(session->sandbox, &stats, NULL) != HL_OK)
        return;
    report_error("statistics");
    report_text("  run time      %.3f ms", (double)stats.run_time_ns / 1e6);
    report_text("  memory        %.1f MiB mapped of %.1f MiB",
                (double)stats.memory_mapped / (1 << 20), (double)stats.memory_size / (1 << 20));
    report_text("  output        %" PRIu64 " bytes", stats.output_size);
    print_counts(&stats);
}

static int exit_status(const hl_error *err)
{
    switch (err->status) {
    case HL_TIMED_OUT:
    case HL_CPU_LIMIT:
        return STATUS_TIMED_OUT;
    case HL_INTERRUPTED:
        return STATUS_SIGNAL_BASE + interrupt_signal();
    case HL_GUEST_FAULT:
    case HL_GUEST_ABORTED:
        return STATUS_SIGNAL_BASE + err->signal;
    case HL_MEMORY_LIMIT:
    case HL_OUTPUT_LIMIT:
    case HL_HOST_CALL_LIMIT:
    case HL_GUEST_VIOLATION:
        return STATUS_SIGNAL_BASE + SIGNAL_KILL;
    case HL_GUEST_ERROR:
    case HL_GUEST_EXITED:
    case HL_GUEST_BAD_REPLY:
    case HL_REPLY_TOO_LARGE:
        return STATUS_FAILED;
    default:
        return STATUS_TOOL;
    }
}

/* What the user did himself, and a reader that went away, need no words. */
static bool is_silent(const hl_error *err)
{
    return err->status == HL_INTERRUPTED ||
           (err->status == HL_GUEST_FAULT && err->signal == SIGNAL_PIPE);
}

int session_failed(const hl_error *err)
{
    if (!is_silent(err))
        report_error("%s", err->message[0] ? err->message : hl_status_meaning(err->status));
    return exit_status(err);
}
