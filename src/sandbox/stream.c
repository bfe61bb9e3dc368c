/* The guest's standard streams: output is counted, input is given, and neither ever blocks beyond
 * the deadline. */
#include "sandbox/sandbox.h"
#include "util/error.h"
#include <errno.h>
#include <stdlib.h>

/* Output is copied out of the guest in pieces of this size. */
enum { PIECE_SIZE = 16384 };

/* How much of `size` bytes the limit leaves room for. */
static uint64_t output_room(const hl_sandbox *sandbox, uint64_t size)
{
    uint64_t limit = sandbox->options.output_size_max, used = sandbox->run.output_size;
    if (limit == HL_UNLIMITED)
        return size;
    uint64_t left = limit > used ? limit - used : 0;
    return left < size ? left : size;
}

bool hl__output_count(hl_sandbox *sandbox, uint64_t size, hl_status *status, hl_error *err)
{
    uint64_t limit = sandbox->options.output_size_max;
    sandbox->run.output_size += size;
    sandbox->stats.output_size += size;
    if (limit == HL_UNLIMITED || sandbox->run.output_size <= limit)
        return true;
    *status = hl__error_set(err, HL_OUTPUT_LIMIT, "hl_sandbox_call",
                            "the guest wrote more than %llu bytes of output; raise output_size_max",
                            (unsigned long long)limit);
    return false;
}

/* False if there is no memory. */
static bool capture_append(struct hl__capture *capture, const char *data, size_t size)
{
    if (capture->size + size + 1 > capture->allocated) {
        size_t wanted = 2 * (capture->size + size + 1);
        char *larger = realloc(capture->data, wanted);
        if (!larger)
            return false;
        capture->data = larger;
        capture->allocated = wanted;
    }
    memcpy(capture->data + capture->size, data, size);
    capture->size += size;
    return true;
}

/* Writes everything unless the descriptor fails or the run is cancelled: then what it takes without
 * waiting. Returns bytes written, or a negated errno if there were none. */
static int64_t write_descriptor(hl_sandbox *sandbox, int descriptor, const char *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        bool cancelled = hl__control_poll(sandbox->control, descriptor, true, UINT64_MAX) != 0;
        int64_t written = hl__os_descriptor_write(descriptor, data + done, size - done, 0);
        if (written > 0)
            done += (size_t)written;
        if (cancelled)
            return done ? (int64_t)done : -EINTR;
        if (written < 0 && written != -EAGAIN)
            return done ? (int64_t)done : written;
    }
    return (int64_t)done;
}

static hl_status output_refused(int stream, const char *what, hl_error *err)
{
    return hl__error_set(err, HL_OUTPUT_LIMIT, "hl_sandbox_call",
                         "the guest's output on stream %d was cut off: %s", stream, what);
}

/* What is lost must not look like silence: the guest ends here, and not with HL_OUT_OF_MEMORY,
 * after which it would have to go on. */
static hl_status capture_output(hl_sandbox *sandbox, int number, uint64_t capacity,
                                const char *data, size_t size, hl_error *err)
{
    struct hl__capture *capture = &sandbox->captures[number - 1];
    if (size > capacity - capture->size)
        return output_refused(number, "the captured stream is full; raise its capacity", err);
    if (!capture_append(capture, data, size))
        return hl__error_os(err, HL_SYSTEM, ENOMEM, "realloc",
                            "no memory for what the guest wrote to stream %d", number);
    return HL_OK;
}

static hl_status emit(hl_sandbox *sandbox, int number, const char *data, size_t size,
                      int64_t *written, hl_error *err)
{
    const hl_stream *stream =
        number == 1 ? &sandbox->options.stdout_stream : &sandbox->options.stderr_stream;
    *written = (int64_t)size;
    switch (stream->mode) {
    case HL_STREAM_INHERIT:
        *written = write_descriptor(sandbox, number, data, size);
        return HL_OK;
    case HL_STREAM_CAPTURE:
        return capture_output(sandbox, number, stream->capacity, data, size, err);
    case HL_STREAM_CALLBACK:
        if (stream->write(data, size, stream->user))
            return HL_OK;
        return output_refused(number, "its callback refused it", err);
    default:
        return HL_OK;
    }
}

/* Gives out what lies in guest memory. Returns bytes taken, or a negated errno if there were none. */
static int64_t give_out(hl_sandbox *sandbox, int number, uint64_t address, uint64_t size,
                        hl_status *status, hl_error *err)
{
    char piece[PIECE_SIZE];
    uint64_t done = 0;
    while (done < size) {
        size_t part = size - done < sizeof piece ? (size_t)(size - done) : sizeof piece;
        int64_t written = -EFAULT;
        if (hl__space_read(sandbox->space, address + done, piece, part))
            *status = emit(sandbox, number, piece, part, &written, err);
        if (*status)
            return 0;
        if (written < 0)
            return done ? (int64_t)done : written;
        done += (uint64_t)written;
        if ((size_t)written < part)
            break;
    }
    return (int64_t)done;
}

/* What exceeds the limit is not given out, what fits is. */
static enum hl__step take_output(hl_sandbox *sandbox, int number, uint64_t address, uint64_t size,
                                 int64_t *result, hl_status *status, hl_error *err)
{
    uint64_t room = output_room(sandbox, size);
    *result = give_out(sandbox, number, address, room, status, err);
    /* Of what was taken in part only that part counts: the guest comes again with the rest. */
    uint64_t counted = *result == (int64_t)room ? size : *result > 0 ? (uint64_t)*result : 0;
    if (*status || !hl__output_count(sandbox, counted, status, err))
        return HL__STEP_FAILED;
    return HL__STEP_CONTINUE;
}

enum hl__step hl__stream_write(hl_sandbox *sandbox, const struct hl_abi_call *call, int64_t *result,
                               hl_status *status, hl_error *err)
{
    bool known = call->arg[0] == 1 || call->arg[0] == 2;
    if (!known || call->arg[2] > HL_ABI_IO_SIZE_MAX) {
        *result = known ? -EINVAL : -EBADF;
        return HL__STEP_CONTINUE;
    }
    return take_output(sandbox, (int)call->arg[0], call->arg[1], call->arg[2], result, status, err);
}

HL__WARM_PATH enum hl__step hl__output_take(hl_sandbox *sandbox, hl_status *status, hl_error *err)
{
    uint64_t offset = hl__space_output_offset(sandbox->space);
    const struct hl_abi_output *waiting =
        (const struct hl_abi_output *)(sandbox->space->ram + offset);
    const uint32_t stream = waiting->stream, size = waiting->size;
    if (size == 0)
        return HL__STEP_CONTINUE;
    struct hl_abi_output *output =
        hl__space_host_write(sandbox->space, offset, offsetof(struct hl_abi_output, bytes));
    const uint64_t address = HL_ABI_OUTPUT_ADDRESS + offsetof(struct hl_abi_output, bytes);
    enum hl__step step = HL__STEP_CONTINUE;
    int64_t result = 0;
    output->size = 0;
    if ((stream != 1 && stream != 2) || size > sizeof output->bytes)
        return hl__guest_violation(status, err, "malformed output");
    /* A part may be taken before the rest fails. */
    for (uint64_t done = 0; done < size; done += (uint64_t)result) {
        step = take_output(sandbox, (int)stream, address + done, size - done, &result, status, err);
        if (step != HL__STEP_CONTINUE || result <= 0)
            break;
    }
    if (result < 0)
        output->stream = HL_ABI_OUTPUT_FAILED | (uint32_t)-result;
    return step;
}

static int64_t read_memory(hl_sandbox *sandbox, char *out, size_t size)
{
    const hl_stream *stream = &sandbox->options.stdin_stream;
    /* The position may be a snapshot's, whose sandbox had more input. */
    if (sandbox->guest.stdin_position >= stream->data_size)
        return 0;
    uint64_t rest = stream->data_size - sandbox->guest.stdin_position;
    size_t part = rest < size ? (size_t)rest : size;
    memcpy(out, (const char *)stream->data + sandbox->guest.stdin_position, part);
    sandbox->guest.stdin_position += part;
    return (int64_t)part;
}

static int64_t read_descriptor(hl_sandbox *sandbox, char *out, size_t size)
{
    int64_t got = -EAGAIN;
    while (got == -EAGAIN) {
        if (hl__control_poll(sandbox->control, 0, false, UINT64_MAX) != 0)
            return -EINTR;
        got = hl__os_descriptor_read(0, out, size, 0);
    }
    return got;
}

static int64_t read_input(hl_sandbox *sandbox, char *out, size_t size)
{
    const hl_stream *stream = &sandbox->options.stdin_stream;
    ptrdiff_t got;
    switch (stream->mode) {
    case HL_STREAM_INHERIT:
        return read_descriptor(sandbox, out, size);
    case HL_STREAM_MEMORY:
        return stream->data_size ? read_memory(sandbox, out, size) : 0;
    case HL_STREAM_CALLBACK:
        got = stream->read(out, size, stream->user);
        return got < 0 || (size_t)got > size ? -EIO : got;
    default:
        return 0;
    }
}

bool hl__input_wait(hl_sandbox *sandbox, uint64_t until_ns)
{
    return sandbox->options.stdin_stream.mode != HL_STREAM_INHERIT ||
           hl__control_poll(sandbox->control, 0, false, until_ns) == 0;
}

enum hl__step hl__stream_read(hl_sandbox *sandbox, const struct hl_abi_call *call, int64_t *result)
{
    char piece[PIECE_SIZE];
    size_t size = call->arg[1] < sizeof piece ? (size_t)call->arg[1] : sizeof piece;
    if (!hl__space_writable(sandbox->space, call->arg[0], size)) {
        *result = -EFAULT;
        return HL__STEP_CONTINUE;
    }
    *result = read_input(sandbox, piece, size);
    if (*result > 0 && !hl__space_write(sandbox->space, call->arg[0], piece, (size_t)*result))
        *result = -EFAULT;
    return HL__STEP_CONTINUE;
}

hl_status hl_sandbox_output(hl_sandbox *sandbox, int stream, char **data, size_t *size,
                            hl_error *err)
{
    if (!sandbox || !data || !size || (stream != 1 && stream != 2))
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_output",
                             "stream must be 1 or 2, and no argument NULL");
    const hl_stream *options =
        stream == 1 ? &sandbox->options.stdout_stream : &sandbox->options.stderr_stream;
    struct hl__capture *capture = &sandbox->captures[stream - 1];
    if (options->mode != HL_STREAM_CAPTURE)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_output",
                             "stream %d is not captured; set its mode to HL_STREAM_CAPTURE",
                             stream);
    char *taken = capture->data ? capture->data : malloc(1);
    if (!taken)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "hl_sandbox_output", "no memory");
    taken[capture->size] = '\0';
    *data = taken;
    *size = capture->size;
    *capture = (struct hl__capture){NULL, 0, 0};
    return HL_OK;
}

void hl_output_free(char *data)
{
    free(data);
}
