/* Options of a sandbox: defaults, maxima, and what an error says about them. */
#include "sandbox/sandbox.h"
#include "util/error.h"

static hl_status limit_check(hl_error *err, const char *name, uint64_t value, uint64_t least,
                             uint64_t most)
{
    if (value >= least && value <= most)
        return HL_OK;
    return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_options",
                         "%s is %llu; it must be between %llu and %llu", name,
                         (unsigned long long)value, (unsigned long long)least,
                         (unsigned long long)most);
}

static void default_to(uint64_t *value, uint64_t standard)
{
    if (*value == 0)
        *value = standard;
}

static hl_status output_check(const hl_stream *stream, const char *name, hl_error *err)
{
    if (stream->mode > HL_STREAM_CALLBACK || (int)stream->mode < 0 || stream->reserved)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_options",
                             "%s has mode %d, which no output stream has", name, (int)stream->mode);
    if (stream->mode == HL_STREAM_CALLBACK && !stream->write)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_options",
                             "%s is a callback without `write`", name);
    return limit_check(err, name, stream->capacity, 0, HL_CAPTURE_SIZE_MAX);
}

static hl_status input_check(const hl_stream *stream, hl_error *err)
{
    if (stream->mode == HL_STREAM_CAPTURE || stream->mode > HL_STREAM_MEMORY ||
        (int)stream->mode < 0 || stream->reserved)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_options",
                             "stdin_stream has mode %d, which no input stream has",
                             (int)stream->mode);
    if (stream->mode == HL_STREAM_CALLBACK && !stream->read)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_options",
                             "stdin_stream is a callback without `read`");
    if (stream->mode == HL_STREAM_MEMORY && !stream->data && stream->data_size)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_options",
                             "stdin_stream has a size but no data");
    return HL_OK;
}

static void stream_default(hl_stream *stream)
{
    if (stream->mode == HL_STREAM_DEFAULT)
        stream->mode = HL_STREAM_DISCARD;
    default_to(&stream->capacity, HL_CAPTURE_SIZE_DEFAULT);
}

static hl_status flags_check(const hl_sandbox_options *options, hl_error *err)
{
    if ((int)options->clock < 0 || options->clock > HL_CLOCK_FIXED)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_options",
                             "clock has the unknown value %d", (int)options->clock);
    if (options->reserved[0] || options->reserved[1])
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_options",
                             "a reserved field is not zero");
    return HL_OK;
}

static hl_status resolve(hl_sandbox_options *options, hl_error *err)
{
    hl_status status;
    default_to(&options->memory_size, HL_MEMORY_SIZE_DEFAULT);
    default_to(&options->timeout_ns, HL_TIMEOUT_NS_DEFAULT);
    default_to(&options->start_timeout_ns, HL_TIMEOUT_NS_DEFAULT);
    default_to(&options->cpu_time_ns, HL_UNLIMITED);
    default_to(&options->request_size_max, HL_TRANSFER_SIZE_DEFAULT);
    default_to(&options->reply_size_max, HL_TRANSFER_SIZE_DEFAULT);
    default_to(&options->output_size_max, HL_OUTPUT_SIZE_DEFAULT);
    default_to(&options->host_calls_max, HL_HOST_CALLS_DEFAULT);
    if (options->clock == HL_CLOCK_DEFAULT)
        options->clock = HL_CLOCK_HOST;
    if ((status = limit_check(err, "memory_size", options->memory_size, HL_MEMORY_SIZE_MIN,
                              HL_MEMORY_SIZE_MAX)) ||
        (status = limit_check(err, "request_size_max", options->request_size_max, 1,
                              HL_TRANSFER_SIZE_MAX)) ||
        (status = limit_check(err, "reply_size_max", options->reply_size_max, 1,
                              HL_TRANSFER_SIZE_MAX)) ||
        (status = input_check(&options->stdin_stream, err)) ||
        (status = output_check(&options->stdout_stream, "stdout_stream", err)) ||
        (status = output_check(&options->stderr_stream, "stderr_stream", err)) ||
        (status = flags_check(options, err)))
        return status;
    options->memory_size =
        (options->memory_size + HL_ABI_PAGE_SIZE - 1) & ~(uint64_t)(HL_ABI_PAGE_SIZE - 1);
    stream_default(&options->stdin_stream);
    stream_default(&options->stdout_stream);
    stream_default(&options->stderr_stream);
    return HL_OK;
}

hl_status hl__sandbox_options_resolve(const hl_sandbox_options *options,
                                      hl_sandbox_options *resolved, hl_error *err)
{
    hl_status status = hl__options_copy(resolved, sizeof *resolved, sizeof *resolved, options,
                                        "hl_sandbox_options", err);
    return status ? status : resolve(resolved, err);
}

hl_status hl__sandbox_options_inherit(const hl_sandbox_options *given,
                                      const hl_sandbox_options *inherited,
                                      hl_sandbox_options *resolved, hl_error *err)
{
    if (!given) {
        *resolved = *inherited;
        return HL_OK;
    }
    hl_status status = hl__options_copy(resolved, sizeof *resolved, sizeof *resolved, given,
                                        "hl_sandbox_options", err);
    if (status)
        return status;
    default_to(&resolved->memory_size, inherited->memory_size);
    if ((status = resolve(resolved, err)))
        return status;
    if (resolved->memory_size != inherited->memory_size)
        return hl__error_set(err, HL_INCOMPATIBLE_SNAPSHOT, "hl_sandbox_options",
                             "memory_size is %llu, the snapshot's is %llu; leave it 0",
                             (unsigned long long)resolved->memory_size,
                             (unsigned long long)inherited->memory_size);
    return HL_OK;
}
