/* Input, output, and the little table of descriptors. Nothing is buffered here: each write is one
 * exit. */
#include "file/io.h"
#include "entry/access.h"
#include "time/clock.h"
#include "host/host.h"
#include "base/linux.h"
#include "file/file.h"
#include "signal/signal.h"
#include "thread/thread.h"
#include "entry/syscall.h"

#define DESCRIPTORS_MAX 16
#define VECTORS_MAX 1024u
#define SIZE_MAX_PER_CALL 0x7ffff000ull /* as in Linux */

enum stream { STREAM_NONE, STREAM_INPUT, STREAM_OUTPUT, STREAM_ERROR };

struct descriptor {
    uint8_t stream;
    bool close_on_exec;
};

/* Reading waits in the host. */
bool hl__stream_input_wanted(void)
{
    return false;
}

void hl__stream_input_ready(void)
{
}

static struct descriptor descriptors[DESCRIPTORS_MAX];

void hl__descriptors_init(void)
{
    descriptors[0].stream = STREAM_INPUT;
    descriptors[1].stream = STREAM_OUTPUT;
    descriptors[2].stream = STREAM_ERROR;
}

static enum stream descriptor_stream(int descriptor)
{
    return descriptor >= 0 && descriptor < DESCRIPTORS_MAX ? descriptors[descriptor].stream
                                                           : STREAM_NONE;
}

bool hl__descriptor_open(int descriptor)
{
    return descriptor_stream(descriptor) != STREAM_NONE;
}

static int64_t descriptor_copy(int from, int lowest, bool close_on_exec)
{
    if (!hl__descriptor_open(from))
        return -EBADF;
    if (lowest < 0 || lowest >= DESCRIPTORS_MAX)
        return -EINVAL;
    for (int to = lowest; to < DESCRIPTORS_MAX; to++) {
        if (hl__descriptor_open(to))
            continue;
        descriptors[to] = (struct descriptor){descriptors[from].stream, close_on_exec};
        return to;
    }
    return -EMFILE;
}

static int64_t descriptor_replace(int from, int to, bool close_on_exec)
{
    if (!hl__descriptor_open(from) || to < 0 || to >= DESCRIPTORS_MAX)
        return -EBADF;
    if (from != to)
        descriptors[to] = (struct descriptor){descriptors[from].stream, close_on_exec};
    return to;
}

HL__SYSCALL(close)
{
    if (!hl__descriptor_open((int)arg[0]))
        return -EBADF;
    descriptors[arg[0]].stream = STREAM_NONE;
    return 0;
}

HL__SYSCALL(dup)
{
    return descriptor_copy((int)arg[0], 0, false);
}

HL__SYSCALL(dup2)
{
    return descriptor_replace((int)arg[0], (int)arg[1], false);
}

HL__SYSCALL(dup3)
{
    if (arg[0] == arg[1] || arg[2] & ~(uint64_t)O_CLOEXEC)
        return -EINVAL;
    return descriptor_replace((int)arg[0], (int)arg[1], arg[2] & O_CLOEXEC);
}

HL__SYSCALL(fcntl)
{
    int descriptor = (int)arg[0];
    enum stream stream = descriptor_stream(descriptor);

    if (stream == STREAM_NONE)
        return -EBADF;
    switch (arg[1]) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return descriptor_copy(descriptor, (int)arg[2], arg[1] == F_DUPFD_CLOEXEC);
    case F_GETFD:
        return descriptors[descriptor].close_on_exec;
    case F_SETFD:
        descriptors[descriptor].close_on_exec = arg[2] & 1;
        return 0;
    case F_GETFL:
        return stream == STREAM_INPUT ? 0 : O_WRONLY;
    case F_SETFL:
        return 0;
    default:
        return -EINVAL;
    }
}

HL__SYSCALL(ioctl)
{
    return hl__descriptor_open((int)arg[0]) ? -ENOTTY : -EBADF;
}

HL__SYSCALL(lseek)
{
    return hl__descriptor_open((int)arg[0]) ? -ESPIPE : -EBADF;
}

/* One exit per piece; what the program did not map ends the write as it does on Linux. */
static int64_t stream_write(enum stream stream, uint64_t address, uint64_t size)
{
    uint64_t done = 0;

    while (done < size) {
        uint64_t piece = size - done < HL_ABI_IO_SIZE_MAX ? size - done : HL_ABI_IO_SIZE_MAX;
        uint64_t present = hl__user_present(address + done, piece, false);
        int64_t taken =
            present ? hl__host_write(stream == STREAM_OUTPUT ? 1 : 2, address + done, present)
                    : -EFAULT;

        if (taken == -EPIPE)
            hl__signal_raise(SIGPIPE, SI_USER);
        if (taken < 0)
            return done ? (int64_t)done : taken;
        done += (uint64_t)taken;
        if ((uint64_t)taken < piece)
            break;
    }
    return (int64_t)done;
}

static int64_t stream_read(uint64_t address, uint64_t size)
{
    uint64_t piece = size < HL_ABI_IO_SIZE_MAX ? size : HL_ABI_IO_SIZE_MAX;
    uint64_t present = hl__user_present(address, piece, true);

    if (!size)
        return 0;
    return present ? hl__host_read(address, present) : -EFAULT;
}

static int64_t descriptor_write(int descriptor, uint64_t address, uint64_t size)
{
    enum stream stream = descriptor_stream(descriptor);

    if (stream != STREAM_OUTPUT && stream != STREAM_ERROR)
        return -EBADF;
    return stream_write(stream, address, size < SIZE_MAX_PER_CALL ? size : SIZE_MAX_PER_CALL);
}

static int64_t descriptor_read(int descriptor, uint64_t address, uint64_t size)
{
    return descriptor_stream(descriptor) == STREAM_INPUT ? stream_read(address, size) : -EBADF;
}

HL__SYSCALL(write)
{
    return descriptor_write((int)arg[0], arg[1], arg[2]);
}

HL__SYSCALL(read)
{
    return descriptor_read((int)arg[0], arg[1], arg[2]);
}

HL__SYSCALL(pread64)
{
    return hl__descriptor_open((int)arg[0]) ? -ESPIPE : -EBADF;
}

HL__SYSCALL(pwrite64)
{
    return hl__descriptor_open((int)arg[0]) ? -ESPIPE : -EBADF;
}

typedef int64_t descriptor_transfer(int descriptor, uint64_t address, uint64_t size);

/* A vector after the other; stops where one is not served whole. */
static int64_t transfer_vectors(const uint64_t *arg, descriptor_transfer *transfer)
{
    int64_t done = 0;

    if (!hl__descriptor_open((int)arg[0]))
        return -EBADF;
    if (arg[2] > VECTORS_MAX)
        return -EINVAL;
    for (uint64_t i = 0; i < arg[2]; i++) {
        struct linux_iovec vector;
        int64_t moved = hl__user_read(&vector, arg[1] + i * sizeof vector, sizeof vector);

        if (!moved && vector.size)
            moved = transfer((int)arg[0], vector.address, vector.size);
        if (moved < 0)
            return done ? done : moved;
        done += moved;
        if (vector.size && (uint64_t)moved < vector.size)
            break;
    }
    return done;
}

/* Small vectors are gathered, so that a buffered line costs one exit. */
static int64_t gather(const uint64_t *arg, uint8_t *bytes, size_t capacity)
{
    size_t size = 0;

    for (uint64_t i = 0; i < arg[2]; i++) {
        struct linux_iovec vector;

        if (hl__user_read(&vector, arg[1] + i * sizeof vector, sizeof vector) < 0 ||
            vector.size > capacity - size)
            return -1;
        if (hl__user_read(bytes + size, vector.address, vector.size) < 0)
            return -1;
        size += vector.size;
    }
    return (int64_t)size;
}

HL__SYSCALL(writev)
{
    enum stream stream = descriptor_stream((int)arg[0]);
    uint8_t bytes[1024];
    int64_t size = -1;

    if (stream != STREAM_OUTPUT && stream != STREAM_ERROR)
        return -EBADF;
    if (arg[2] > 1 && arg[2] <= VECTORS_MAX)
        size = gather(arg, bytes, sizeof bytes);
    if (size < 0)
        return transfer_vectors(arg, descriptor_write);
    if (!size)
        return 0;
    size = hl__host_write(stream == STREAM_OUTPUT ? 1 : 2, (uint64_t)bytes, (uint64_t)size);
    if (size == -EPIPE)
        hl__signal_raise(SIGPIPE, SI_USER);
    return size;
}

HL__SYSCALL(readv)
{
    return transfer_vectors(arg, descriptor_read);
}

/* The streams are always ready: reading waits in the host. */
static int16_t poll_ready(const struct linux_pollfd *entry)
{
    enum stream stream = descriptor_stream(entry->descriptor);

    if (stream == STREAM_NONE)
        return POLLNVAL;
    return entry->events & (stream == STREAM_INPUT ? POLLIN : POLLOUT);
}

static int64_t poll_all(uint64_t address, uint64_t count)
{
    int64_t ready_count = 0;

    if (count > DESCRIPTORS_MAX)
        return -EINVAL;
    for (uint64_t i = 0; i < count; i++) {
        struct linux_pollfd entry;

        if (hl__user_read(&entry, address + i * sizeof entry, sizeof entry) < 0)
            return -EFAULT;
        entry.ready = entry.descriptor < 0 ? 0 : poll_ready(&entry);
        ready_count += entry.ready != 0;
        if (hl__user_write(address + i * sizeof entry, &entry, sizeof entry) < 0)
            return -EFAULT;
    }
    return ready_count;
}

static int64_t poll_wait(uint64_t timeout_ns)
{
    uint64_t deadline = hl__wait_deadline(timeout_ns);

    hl__thread->wait.restart = HL__RESTART_NEVER;
    return hl__wait_expired(deadline) ? 0 : hl__wait_any(deadline);
}

HL__SYSCALL(poll)
{
    int64_t ready_count = poll_all(arg[0], arg[1]);
    int32_t timeout_ms = (int32_t)arg[2];

    return ready_count ? ready_count
                       : poll_wait(timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms * 1000000);
}

HL__SYSCALL(ppoll)
{
    struct linux_timespec timeout;
    uint64_t duration_ns = UINT64_MAX;
    int64_t ready_count;

    if (arg[2]) {
        if (hl__user_read(&timeout, arg[2], sizeof timeout) < 0)
            return -EFAULT;
        if (!hl__timespec_ns(&timeout, &duration_ns))
            return -EINVAL;
    }
    ready_count = poll_all(arg[0], arg[1]);
    return ready_count ? ready_count : poll_wait(duration_ns);
}

static struct linux_stat stream_stat(int descriptor)
{
    /* A pipe: a libc then buffers whole blocks. */
    return (struct linux_stat){.device = 1,
                               .inode = 1 + descriptor_stream(descriptor),
                               .link_count = 1,
                               .mode = S_IFIFO | 0600,
                               .block_size = 65536};
}

int64_t hl__descriptor_stat(int descriptor, struct linux_stat *stat)
{
    if (!hl__descriptor_open(descriptor))
        return -EBADF;
    *stat = stream_stat(descriptor);
    return 0;
}

HL__SYSCALL(fstat)
{
    struct linux_stat stat;
    int64_t failure = hl__descriptor_stat((int)arg[0], &stat);

    return failure ? failure : hl__user_write(arg[1], &stat, sizeof stat);
}
