/*
 * Standard input, output and error, as pipes to the host. The first output after a while goes out at
 * once; what follows soon is gathered, and goes out when the buffer is full, when the program waits, or
 * a little later. Large output goes around the buffer, after what is in it.
 */
#include "entry/access.h"
#include "entry/state.h"
#include "file/file.h"
#include "host/host.h"
#include "io/vectors.h"
#include "signal/signal.h"
#include "thread/thread.h"
#include "time/clock.h"

#define QUIET_NS 20000000u /* output that comes sooner after the last is gathered */
#define STREAM_INODE 1u
#define PIPE_DEVICE 13u

static struct hl__file *input; /* the first file of standard input: threads wait there */
static uint32_t input_files;   /* how many there are */
static bool input_is_ready;    /* the host said so, and nobody has read since */
static bool input_is_awaited;  /* somebody looked in vain, and may wait for a change */
static uint64_t last_output_ns;
static struct hl__timer flush_timer;
static struct hl__queue input_waiters; /* shared by all files of standard input */

/* Of standard output and standard error. */
static struct output_state {
    int64_t failure; /* of output that the program believes written: for its next write; 0: none */
    bool direct;     /* it failed before: nothing is gathered until a write succeeds */
} outputs[3];
static uint32_t gathered_stream; /* whose output was gathered last */

static struct hl_abi_output *output(void)
{
    return (struct hl_abi_output *)HL_ABI_OUTPUT_ADDRESS;
}

static void note_failure(uint32_t stream, int64_t failure)
{
    outputs[stream] = (struct output_state){failure, true};
}

/* What became of the output that the host took along with a hypercall. */
static void look_for_failure(void)
{
    struct hl_abi_output *waiting = output();

    if (!(waiting->stream & HL_ABI_OUTPUT_FAILED))
        return;
    note_failure(gathered_stream, -(int64_t)(waiting->stream & ~HL_ABI_OUTPUT_FAILED));
    waiting->stream = gathered_stream;
}

/* The failure that the program has not been told of. */
static int64_t take_failure(uint32_t stream)
{
    int64_t failure;

    look_for_failure();
    failure = outputs[stream].failure;
    outputs[stream].failure = 0;
    return failure;
}

void hl__output_flush(void)
{
    struct hl_abi_output *waiting = output();
    uint32_t size = waiting->size;

    hl__timer_cancel(&flush_timer);
    waiting->size = 0;
    for (uint32_t done = 0; done < size;) {
        int64_t taken =
            hl__host_write(waiting->stream, (uint64_t)waiting->bytes + done, size - done);

        if (taken <= 0) {
            note_failure(gathered_stream, taken ? taken : -EIO);
            break;
        }
        done += (uint32_t)taken;
    }
    if (size)
        last_output_ns = hl__clock_monotonic_ns();
}

static void flush_expired(struct hl__timer *timer)
{
    (void)timer;
    hl__output_flush();
}

static uint32_t stream_of(const struct hl__file *file)
{
    return (uint32_t)(uint64_t)file->object;
}

/* What the program is told of a write at once. */
static int64_t told(uint32_t stream, int64_t result)
{
    outputs[stream].direct = result < 0;
    if (result == -EPIPE)
        hl__signal_raise(SIGPIPE, SI_USER);
    return result;
}

/* One exit per piece; what the program did not map ends the write as it does on Linux. */
static int64_t write_directly(uint32_t stream, uint64_t address, uint64_t size)
{
    uint64_t done = 0;
    int64_t failure;

    hl__output_flush();
    failure = take_failure(stream);
    if (failure)
        return told(stream, failure);
    while (done < size) {
        uint64_t piece = size - done < HL_ABI_IO_SIZE_MAX ? size - done : HL_ABI_IO_SIZE_MAX;
        uint64_t present = hl__user_present(address + done, piece, false);
        int64_t taken = present ? hl__host_write(stream, address + done, present) : -EFAULT;

        if (taken < 0)
            return done ? (int64_t)done : told(stream, taken);
        done += (uint64_t)taken;
        if ((uint64_t)taken < piece)
            break;
    }
    last_output_ns = hl__clock_monotonic_ns();
    return told(stream, (int64_t)done);
}

static int64_t write_pieces(uint32_t stream, const struct hl__vectors *from)
{
    int64_t done = 0;

    for (uint32_t i = 0; i < from->count; i++) {
        const struct linux_iovec *item = &from->items[i];
        int64_t moved = write_directly(stream, item->address, item->size);

        if (moved < 0)
            return done ? done : moved;
        done += moved;
        if ((uint64_t)moved < item->size)
            break;
    }
    return done;
}

/* Hands the buffer over at once: the first output after a while, or nothing could remind of it. */
static int64_t write_buffered_now(int64_t size)
{
    struct hl_abi_output *waiting = output();
    int64_t taken;

    waiting->size = 0;
    taken = hl__host_write(waiting->stream, (uint64_t)waiting->bytes, (uint64_t)size);
    last_output_ns = hl__clock_monotonic_ns();
    return told(waiting->stream, taken);
}

static int64_t output_write_vectors(struct hl__file *file, const struct hl__vectors *from)
{
    struct hl_abi_output *waiting = output();
    uint32_t stream = stream_of(file);
    uint64_t now = hl__clock_monotonic_ns();
    int64_t taken;

    if (!from->size)
        return 0;
    look_for_failure();
    if (from->size > sizeof waiting->bytes / 2 || outputs[stream].direct)
        return write_pieces(stream, from);
    if (waiting->size &&
        (waiting->stream != stream || from->size > sizeof waiting->bytes - waiting->size))
        hl__output_flush();
    if (outputs[stream].failure)
        return told(stream, take_failure(stream));
    taken = hl__vectors_read(from, 0, waiting->bytes + waiting->size, from->size);
    if (taken <= 0)
        return taken;
    waiting->stream = gathered_stream = stream;
    if (!waiting->size && (now - last_output_ns > QUIET_NS ||
                           !hl__timer_set(&flush_timer, now + QUIET_NS, flush_expired)))
        return write_buffered_now(taken);
    hl__hot.attention = true; /* so that a tick comes for the timer */
    waiting->size += (uint32_t)taken;
    return taken;
}

/* Whether reading may wait in the host: nobody else has anything to do meanwhile. */
static bool may_wait_in_host(const struct hl__file *file)
{
    return !(file->flags & O_NONBLOCK) && hl__thread_is_only() && hl__timer_next() == UINT64_MAX;
}

static bool input_there(void)
{
    if (!input_is_ready)
        input_is_ready = hl__host_wait(0, HL_ABI_EVENT_INPUT) & HL_ABI_EVENT_INPUT;
    return input_is_ready;
}

static int64_t input_read(uint64_t address, uint64_t size)
{
    uint64_t piece = size < HL_ABI_IO_SIZE_MAX ? size : HL_ABI_IO_SIZE_MAX;
    uint64_t present = hl__user_present(address, piece, true);

    if (!present)
        return -EFAULT;
    input_is_ready = false;
    return hl__host_read(address, present);
}

/* The first piece with room: a pipe, too, gives what is there and no more. */
static int64_t input_read_vectors(struct hl__file *file, const struct hl__vectors *to)
{
    const struct linux_iovec *item = to->items;

    if (!to->size)
        return 0;
    while (!item->size)
        item++;
    hl__output_flush();
    if (may_wait_in_host(file) || input_there())
        return input_read(item->address, item->size);
    if (file->flags & O_NONBLOCK)
        return -EAGAIN;
    return hl__wait_on(&input_waiters, UINT64_MAX);
}

bool hl__stream_input_wanted(void)
{
    return !input_is_ready && (input_waiters.first || input_is_awaited);
}

void hl__stream_input_ready(void)
{
    input_is_ready = true;
    input_is_awaited = false;
    hl__wake(&input_waiters);
    if (input)
        hl__file_changed(input, POLLIN | POLLRDNORM);
}

static uint32_t input_ready(struct hl__file *file)
{
    (void)file;
    input_is_awaited = !input_there();
    return input_is_awaited ? 0 : POLLIN | POLLRDNORM;
}

static uint32_t output_ready(struct hl__file *file)
{
    look_for_failure();
    return POLLOUT | POLLWRNORM | (outputs[stream_of(file)].direct ? POLLERR : 0);
}

static int64_t stream_stat(struct hl__file *file, struct linux_stat *stat)
{
    /* A pipe: a libc then buffers whole blocks. */
    *stat = (struct linux_stat){.device = PIPE_DEVICE,
                                .inode = STREAM_INODE + stream_of(file),
                                .link_count = 1,
                                .mode = S_IFIFO | 0600,
                                .block_size = HL_ABI_PAGE_SIZE};
    return 0;
}

static void input_close(struct hl__file *file)
{
    if (input == file)
        input = NULL;
    input_files--;
}

static int64_t stream_reopen(struct hl__file *file, uint32_t flags, struct hl__file **opened);

static const struct hl__file_ops input_ops = {
    .name = "pipe",
    .read_vectors = input_read_vectors,
    .ready = input_ready,
    .stat = stream_stat,
    .reopen = stream_reopen,
    .close = input_close,
};

static const struct hl__file_ops output_ops = {
    .name = "pipe",
    .write_vectors = output_write_vectors,
    .ready = output_ready,
    .stat = stream_stat,
    .reopen = stream_reopen,
};

static struct hl__file *stream_new(uint32_t stream, uint32_t flags)
{
    struct hl__file *file =
        hl__file_new(stream ? &output_ops : &input_ops, flags, NULL, (void *)(uint64_t)stream);

    if (file && !stream) {
        input_files++;
        if (!input)
            input = file;
    }
    return file;
}

static int64_t stream_reopen(struct hl__file *file, uint32_t flags, struct hl__file **opened)
{
    uint32_t stream = stream_of(file), access = stream ? O_WRONLY : O_RDONLY;

    /* A pipe's other end is the host's: opening it for both gives the one that is here. */
    if ((flags & O_ACCMODE) != access && (flags & O_ACCMODE) != O_RDWR)
        return -EACCES;
    *opened = stream_new(stream, (flags & ~(uint32_t)O_ACCMODE) | access);
    return *opened ? 0 : -ENOMEM;
}

bool hl__streams_init(struct hl__descriptors *descriptors)
{
    for (uint32_t stream = 0; stream <= 2; stream++) {
        descriptors->items[stream].file = stream_new(stream, stream ? O_WRONLY : O_RDONLY);
        if (!descriptors->items[stream].file)
            return false;
    }
    descriptors->lowest_free = 3;
    return true;
}
