/*
 * The shim's pipes, sockets, events and epolls, natively: system calls as programs make them, from
 * several threads that wait for one another. A call that waits is tried again here, as the scheduler
 * does, once its thread was woken.
 */
#include "../../guest/shim/entry/state.h"
#include "../../guest/shim/file/descriptor.c"
#include "../../guest/shim/io/epoll.c"
#include "../../guest/shim/io/eventfd.c"
#include "../../guest/shim/io/object.c"
#undef PAGE
#include "../../guest/shim/io/pipe.c"
#undef NS_PER_SECOND
#include "../../guest/shim/io/poll.c"
#include "../../guest/shim/io/signalfd.c"
#include "../../guest/shim/io/socket.c"
#include "../../guest/shim/io/socket_call.c"
#include "../../guest/shim/io/socket_message.c"
#include "../../guest/shim/io/socket_name.c"
#undef NS_PER_SECOND
#include "../../guest/shim/io/socket_option.c"
#define move splice_move
#include "../../guest/shim/io/splice.c"
#undef move
#include "../../guest/shim/io/timerfd.c"
#include "../../guest/shim/io/vectors.c"
#include "../../guest/shim/thread/wait.c"
#include "../../guest/shim/time/timer.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 6
#define SECOND 1000000000ull

/* Doubles */

static struct hl__process process;
static struct hl__thread threads[THREADS];
struct hl__thread *hl__thread = &threads[0];
struct hl__hot hl__hot;
static uint64_t now = 5 * SECOND;
static int64_t objects;           /* on the heap */
static int64_t objects_left = -1; /* until memory has run out; -1: it does not */
static int raised;                /* the last signal */
static uint64_t call_mask;
static struct hl__inode *path_inode; /* what all paths name */

uint64_t hl__limit(uint32_t resource)
{
    return resource == RLIMIT_NOFILE ? HL__DESCRIPTORS_SOFT : RLIM_INFINITY;
}

void *hl__heap_new(size_t size)
{
    assert_true(size <= HL__HEAP_SIZE_MAX);
    if (objects_left == 0)
        return NULL;
    objects_left -= objects_left > 0;
    objects++;
    return calloc(1, size ? size : 1);
}

void hl__heap_free(void *object, size_t size)
{
    if (!object)
        return;
    memset(object, 0xd5, size); /* a wrong size is found by ASan */
    objects--;
    free(object);
}

void *hl__heap_resize(void *object, size_t old_size, size_t new_size)
{
    void *new = hl__heap_new(new_size);

    if (!new)
        return NULL;
    if (object)
        memcpy(new, object, old_size < new_size ? old_size : new_size);
    hl__heap_free(object, old_size);
    return new;
}

#define BAD_ADDRESS 0x1000u /* addresses below are not there */

static bool there(uint64_t address)
{
    return address >= BAD_ADDRESS;
}

int64_t hl__user_read(void *to, uint64_t from, size_t size)
{
    if (size && !there(from))
        return -EFAULT;
    memcpy(to, (const void *)from, size);
    return 0;
}

int64_t hl__user_write(uint64_t to, const void *from, size_t size)
{
    if (size && !there(to))
        return -EFAULT;
    memcpy((void *)to, from, size);
    return 0;
}

void hl__user_lend(const void *buffer, uint64_t size)
{
    (void)buffer, (void)size;
}

uint64_t hl__clock_monotonic_ns(void)
{
    return now;
}

bool hl__clock_read(uint64_t id, uint64_t *ns)
{
    *ns = id == CLOCK_REALTIME ? now + 1000 * SECOND : now;
    return true;
}

bool hl__timespec_ns(const struct linux_timespec *time, uint64_t *ns)
{
    if (time->seconds < 0 || time->nanoseconds < 0 || time->nanoseconds >= (int64_t)SECOND)
        return false;
    *ns = (uint64_t)time->seconds * SECOND + (uint64_t)time->nanoseconds;
    return true;
}

struct linux_timespec hl__timespec(uint64_t ns)
{
    return (struct linux_timespec){(int64_t)(ns / SECOND), (int64_t)(ns % SECOND)};
}

void hl__thread_ready(struct hl__thread *thread)
{
    thread->state = HL__THREAD_READY;
}

void hl__signal_raise(int signal, int code)
{
    (void)code;
    raised = signal;
}

void hl__signal_mask_for_call(uint64_t mask)
{
    call_mask = mask;
}

bool hl__signal_take(struct hl__thread *thread, uint64_t set, struct linux_siginfo *info)
{
    uint64_t found = thread->signals.waiting.set & set;

    if (!found)
        return false;
    memset(info, 0, sizeof *info);
    info->signal = __builtin_ctzll(found) + 1;
    info->sender.pid = 42;
    thread->signals.waiting.set &= ~HL__SIGNAL_BIT(info->signal);
    return true;
}

void hl__locks_drop(struct hl__file *file)
{
    (void)file;
}

void hl__locks_leave(const struct hl__process *owner, struct hl__inode *inode)
{
    (void)owner, (void)inode;
}

int64_t hl__lock_range(struct hl__file *file, uint32_t command, uint64_t address)
{
    (void)file, (void)command, (void)address;
    return -EINVAL;
}

int64_t hl__lock_file(struct hl__file *file, uint32_t operation)
{
    (void)file, (void)operation;
    return -EINVAL;
}

void hl__inode_ref(struct hl__inode *inode)
{
    inode->references++;
}

void hl__inode_unref(struct hl__inode *inode)
{
    if (!inode || --inode->references)
        return;
    if ((inode->mode & S_IFMT) == S_IFIFO)
        hl__fifo_free(inode);
    hl__heap_free(inode, sizeof *inode);
}

static struct hl__inode *inode_new(uint32_t mode)
{
    struct hl__inode *inode = hl__heap_new(sizeof *inode);

    inode->references = 1;
    inode->mode = mode;
    return inode;
}

int64_t hl__path_find(const char *path, bool follow, struct hl__inode **inode)
{
    (void)path, (void)follow;
    if (!path_inode)
        return -ENOENT;
    *inode = path_inode;
    hl__inode_ref(path_inode);
    return 0;
}

int64_t hl__path_make(const char *path, uint32_t mode, struct hl__inode **inode)
{
    (void)path;
    if (path_inode)
        return -EEXIST;
    *inode = path_inode = inode_new(mode);
    hl__inode_ref(path_inode);
    return 0;
}

/* Calls */

typedef int64_t handler(const uint64_t *arg);

static struct {
    handler *handler;
    uint64_t arg[6];
} calls[THREADS];

static int64_t try_call(int thread)
{
    int64_t result;

    hl__thread = &threads[thread];
    result = calls[thread].handler(calls[thread].arg);
    if (result != HL__WAITING) {
        assert_null(threads[thread].wait.queue);
        threads[thread].wait = (struct hl__wait){0};
    }
    hl__thread = &threads[0];
    return result;
}

/* Begins a call of a thread. */
static int64_t begin(int thread, handler *call, const uint64_t *arg)
{
    assert_int_equal(threads[thread].state, HL__THREAD_READY);
    calls[thread].handler = call;
    memcpy(calls[thread].arg, arg, sizeof calls[thread].arg);
    return try_call(thread);
}

#define BEGIN(thread, name, ...) begin(thread, hl__sys_##name, (const uint64_t[6]){__VA_ARGS__})
#define CALL(name, ...) BEGIN(0, name, __VA_ARGS__)

static bool waits(int thread)
{
    return threads[thread].state == HL__THREAD_WAITING;
}

/* The call of a thread that was woken goes on. */
static int64_t go_on(int thread)
{
    assert_false(waits(thread));
    return try_call(thread);
}

/* A signal with a handler comes to a thread that waits. */
static int64_t interrupt(int thread)
{
    struct hl__thread *waiting = &threads[thread];
    int64_t result =
        waiting->wait.partial && waiting->wait.progress ? (int64_t)waiting->wait.progress : -EINTR;

    assert_true(waits(thread));
    hl__wait_leave(waiting);
    waiting->state = HL__THREAD_READY;
    waiting->wait = (struct hl__wait){0};
    return result;
}

static void pass(uint64_t ns)
{
    now += ns;
    hl__timers_run(now);
}

#define U(...) ((uint64_t)(__VA_ARGS__))

static int64_t file_op(const uint64_t *arg, bool writes)
{
    struct hl__file *file = hl__descriptor_file(arg[0]);
    struct linux_iovec item;
    struct hl__vectors vectors = hl__vectors_one(&item, arg[1], arg[2]);
    int64_t result;

    if (!file || (file->flags & O_ACCMODE) == (writes ? O_RDONLY : O_WRONLY))
        return -EBADF;
    if (writes ? file->ops->write_vectors != NULL : file->ops->read_vectors != NULL)
        return writes ? file->ops->write_vectors(file, &vectors)
                      : file->ops->read_vectors(file, &vectors);
    if (writes ? !file->ops->write : !file->ops->read)
        return -EINVAL;
    result = (writes ? file->ops->write : file->ops->read)(file, arg[1], arg[2], &file->position);
    if (result != -EAGAIN || file->flags & O_NONBLOCK)
        return result;
    return hl__wait_on(&file->queues[writes], UINT64_MAX);
}

/* As file/transfer.c does it, which brings regular files with it. */
int64_t hl__sys_read(const uint64_t *arg)
{
    return file_op(arg, false);
}

int64_t hl__sys_write(const uint64_t *arg)
{
    return file_op(arg, true);
}

static uint64_t pair_type;

static void make_pair(int32_t fds[2], uint64_t type)
{
    pair_type = type;
    assert_int_equal(CALL(socketpair, AF_UNIX, type, 0, U(fds)), 0);
}

static uint32_t poll_of(int32_t fd, uint32_t events)
{
    struct linux_pollfd poll = {fd, (int16_t)events, 0};

    assert_true(CALL(poll, U(&poll), 1, 0) >= 0);
    return (uint16_t)poll.ready;
}

static int set_up(void **state)
{
    (void)state;
    objects = 0;
    objects_left = -1;
    raised = 0;
    memset(threads, 0, sizeof threads);
    memset(&process, 0, sizeof process);
    process.id = HL__PROCESS_ID;
    for (int i = 0; i < THREADS; i++) {
        threads[i].process = &process;
        threads[i].id = HL__PROCESS_ID + i;
    }
    hl__thread = &threads[0];
    process.descriptors = hl__descriptors_new();
    return 0;
}

/* Everything goes when the descriptors do. */
static int tear_down(void **state)
{
    (void)state;
    objects_left = -1;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(threads[i].state, HL__THREAD_READY);
    CALL(close_range, 0, UINT32_MAX, 0);
    hl__inode_unref(path_inode);
    path_inode = NULL;
    hl__heap_free(process.descriptors->items,
                  process.descriptors->capacity * sizeof(struct hl__descriptor));
    hl__heap_free(process.descriptors, sizeof *process.descriptors);
    hl__heap_free(timers.items, timers.capacity * sizeof *timers.items);
    memset(&timers, 0, sizeof timers);
    assert_int_equal(objects, 0);
    assert_int_equal(files_in_flight, 0);
    return 0;
}

/* Pipes */

static void test_pipe_passes_bytes_in_order(void **state)
{
    uint8_t in[3000], out[3000];
    uint32_t written = 0, read = 0, seed = 1;
    int32_t fds[2];

    (void)state;
    assert_int_equal(CALL(pipe2, U(fds), O_NONBLOCK), 0);
    for (int round = 0; round < 20000; round++) {
        uint32_t size;
        int64_t result;

        seed = seed * 1664525u + 1013904223u;
        size = (seed >> 8) % sizeof in;
        if (seed >> 31) {
            for (uint32_t i = 0; i < size; i++)
                in[i] = (uint8_t)((written + i) * 7u >> 3);
            result = CALL(write, (uint64_t)fds[1], U(in), size);
            assert_true(result == (int64_t)size ||
                        (result == -EAGAIN && written + size - read > HL__PIPE_SIZE));
            written += result > 0 ? (uint32_t)result : 0;
        } else if (size) {
            result = CALL(read, (uint64_t)fds[0], U(out), size);
            assert_true(result == -EAGAIN
                            ? written == read
                            : result == (int64_t)(written - read < size ? written - read : size));
            for (int64_t i = 0; i < result; i++)
                assert_int_equal(out[i], (uint8_t)((read + (uint32_t)i) * 7u >> 3));
            read += result > 0 ? (uint32_t)result : 0;
        }
    }
    assert_true(written > 4 * HL__PIPE_SIZE);
}

static void test_pipe_holds_64_kib_and_resizes(void **state)
{
    static uint8_t bytes[HL__PIPE_SIZE + 5000];
    int32_t fds[2], count;

    (void)state;
    assert_int_equal(CALL(pipe2, U(fds), O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(CALL(fcntl, (uint64_t)fds[0], F_GETFD), 1);
    assert_int_equal(CALL(fcntl, (uint64_t)fds[0], F_GETPIPE_SZ), 65536);
    assert_int_equal(CALL(write, (uint64_t)fds[1], U(bytes), sizeof bytes), HL__PIPE_SIZE);
    assert_int_equal(CALL(write, (uint64_t)fds[1], U(bytes), 1), -EAGAIN);
    assert_int_equal(poll_of(fds[1], POLLOUT), 0);
    assert_int_equal(CALL(fcntl, (uint64_t)fds[0], F_SETPIPE_SZ, 4096), -EBUSY);
    assert_int_equal(CALL(fcntl, (uint64_t)fds[0], F_SETPIPE_SZ, 100000), 131072);
    assert_int_equal(CALL(fcntl, (uint64_t)fds[0], F_SETPIPE_SZ, 2 << 20), -EPERM);
    assert_int_equal(CALL(write, (uint64_t)fds[1], U(bytes), 10), 10);
    assert_int_equal(CALL(ioctl, (uint64_t)fds[0], FIONREAD, U(&count)), 0);
    assert_int_equal(count, HL__PIPE_SIZE + 10);
    assert_int_equal(CALL(read, (uint64_t)fds[0], U(bytes), sizeof bytes), HL__PIPE_SIZE + 10);
}

static void test_pipe_full_ring_keeps_its_end(void **state)
{
    static uint8_t in[HL__PIPE_SIZE], out[HL__PIPE_SIZE];
    int32_t fds[2];

    (void)state;
    assert_int_equal(CALL(pipe2, U(fds), O_NONBLOCK), 0);
    for (uint32_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 13 >> 4);
    assert_int_equal(CALL(write, (uint64_t)fds[1], U(in), 5001), 5001);
    assert_int_equal(CALL(read, (uint64_t)fds[0], U(out), 5000), 5000);
    /* The ring's end now lies in the page in which it starts. */
    assert_int_equal(CALL(write, (uint64_t)fds[1], U(in), HL__PIPE_SIZE - 4096),
                     HL__PIPE_SIZE - 4096);
    assert_int_equal(CALL(write, (uint64_t)fds[1], U(in), 4095), 4095);
    assert_int_equal(CALL(read, (uint64_t)fds[0], U(out), 1), 1);
    for (uint32_t done = 0; done < HL__PIPE_SIZE - 4096; done += 4096) {
        assert_int_equal(CALL(read, (uint64_t)fds[0], U(out), 4096), 4096);
        assert_memory_equal(out, in + done, 4096);
    }
    assert_int_equal(CALL(read, (uint64_t)fds[0], U(out), 5000), 4095);
    assert_memory_equal(out, in, 4095);
}

static void test_pipe_write_waits_and_goes_on(void **state)
{
    static uint8_t in[200000], out[200000];
    uint32_t got = 0;
    int32_t fds[2];
    int64_t result;

    (void)state;
    for (uint32_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 31 >> 5);
    assert_int_equal(CALL(pipe, U(fds)), 0);
    assert_int_equal(BEGIN(1, write, (uint64_t)fds[1], U(in), sizeof in), HL__WAITING);
    do {
        result = CALL(read, (uint64_t)fds[0], U(out + got), 30000);
        assert_true(result > 0);
        got += (uint32_t)result;
        if (!waits(1) && threads[1].wait.started)
            result = go_on(1);
    } while (got < sizeof in);
    assert_memory_equal(in, out, sizeof in);
    assert_int_equal(waits(1), false);
    assert_int_equal(threads[1].wait.started, false);
    /* A signal in the middle: what was written. */
    assert_int_equal(BEGIN(1, write, (uint64_t)fds[1], U(in), sizeof in), HL__WAITING);
    assert_int_equal(interrupt(1), HL__PIPE_SIZE);
    assert_int_equal(BEGIN(1, write, (uint64_t)fds[1], U(in), 1), HL__WAITING);
    assert_int_equal(interrupt(1), -EINTR);
}

static void test_pipe_small_writes_are_whole(void **state)
{
    static uint8_t bytes[HL__PIPE_SIZE];
    int32_t fds[2];

    (void)state;
    assert_int_equal(CALL(pipe2, U(fds), O_NONBLOCK), 0);
    assert_int_equal(CALL(write, (uint64_t)fds[1], U(bytes), HL__PIPE_SIZE - 100),
                     HL__PIPE_SIZE - 100);
    assert_int_equal(CALL(write, (uint64_t)fds[1], U(bytes), 101), -EAGAIN);
    assert_int_equal(CALL(write, (uint64_t)fds[1], U(bytes), 4096), -EAGAIN);
    assert_int_equal(CALL(write, (uint64_t)fds[1], U(bytes), 4097), 100);
}

static void test_pipe_ends(void **state)
{
    char byte;
    int32_t fds[2];

    (void)state;
    assert_int_equal(CALL(pipe, U(fds)), 0);
    assert_int_equal(CALL(read, (uint64_t)fds[1], U(&byte), 1), -EBADF);
    assert_int_equal(BEGIN(1, read, (uint64_t)fds[0], U(&byte), 1), HL__WAITING);
    CALL(close, (uint64_t)fds[1]);
    assert_int_equal(go_on(1), 0);
    assert_int_equal(poll_of(fds[0], POLLIN), POLLHUP);
    CALL(close, (uint64_t)fds[0]);

    assert_int_equal(CALL(pipe, U(fds)), 0);
    CALL(close, (uint64_t)fds[0]);
    assert_int_equal(CALL(write, (uint64_t)fds[1], U(&byte), 1), -EPIPE);
    assert_int_equal(raised, SIGPIPE);
    assert_int_equal(poll_of(fds[1], POLLOUT), POLLOUT | POLLERR);
    assert_int_equal(CALL(pipe2, U(fds), 1), -EINVAL);
    assert_int_equal(CALL(pipe2, 1, 0), -EFAULT);
}

static int64_t fifo_open(const uint64_t *arg)
{
    struct hl__file *file;
    int64_t status = hl__fifo_open((struct hl__inode *)arg[0], (uint32_t)arg[1], &file);

    return status < 0 ? status : hl__descriptor_add(file, 0, false);
}

#define OPEN_FIFO(thread, flags) begin(thread, fifo_open, (const uint64_t[6]){U(path_inode), flags})

static void test_fifo_opens_wait_for_each_other(void **state)
{
    int64_t reader, writer;
    char byte = 'x';

    (void)state;
    path_inode = inode_new(S_IFIFO | 0600);
    assert_int_equal(OPEN_FIFO(0, O_WRONLY | O_NONBLOCK), -ENXIO);
    assert_int_equal(OPEN_FIFO(1, O_RDONLY), HL__WAITING);
    writer = OPEN_FIFO(0, O_WRONLY);
    assert_true(writer >= 0);
    /* The reader is as good as there, though its call has not gone on yet. */
    assert_int_equal(CALL(write, (uint64_t)writer, U(&byte), 1), 1);
    CALL(close, (uint64_t)writer);
    reader = go_on(1);
    assert_true(reader >= 0);
    assert_int_equal(CALL(read, (uint64_t)reader, U(&byte), 1), 1);
    assert_int_equal(CALL(read, (uint64_t)reader, U(&byte), 1), 0);
    CALL(close, (uint64_t)reader);

    reader = OPEN_FIFO(0, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    assert_int_equal(poll_of((int32_t)reader, POLLIN), 0);
    writer = OPEN_FIFO(0, O_WRONLY);
    CALL(close, (uint64_t)writer);
    assert_int_equal(poll_of((int32_t)reader, POLLIN), POLLHUP);
    assert_true(OPEN_FIFO(0, O_RDWR) >= 0);
    assert_int_equal(CALL(read, (uint64_t)reader, U(&byte), 1), -EAGAIN);
}

/* eventfd, timerfd, signalfd */

static void test_eventfd(void **state)
{
    uint64_t value = 7;
    int64_t fd = CALL(eventfd2, 3, O_NONBLOCK);

    (void)state;
    assert_int_equal(CALL(write, (uint64_t)fd, U(&value), 8), 8);
    assert_int_equal(CALL(read, (uint64_t)fd, U(&value), 8), 8);
    assert_int_equal(value, 10);
    assert_int_equal(CALL(read, (uint64_t)fd, U(&value), 8), -EAGAIN);
    assert_int_equal(CALL(read, (uint64_t)fd, U(&value), 7), -EINVAL);
    value = UINT64_MAX;
    assert_int_equal(CALL(write, (uint64_t)fd, U(&value), 8), -EINVAL);
    value = UINT64_MAX - 1;
    assert_int_equal(CALL(write, (uint64_t)fd, U(&value), 8), 8);
    assert_int_equal(poll_of((int32_t)fd, POLLIN | POLLOUT), POLLIN);
    value = 1;
    assert_int_equal(CALL(write, (uint64_t)fd, U(&value), 8), -EAGAIN);
    assert_int_equal(CALL(eventfd2, 0, 2), -EINVAL);

    fd = CALL(eventfd2, 0, EFD_SEMAPHORE);
    assert_int_equal(BEGIN(1, read, (uint64_t)fd, U(&value), 8), HL__WAITING);
    value = 2;
    assert_int_equal(CALL(write, (uint64_t)fd, U(&value), 8), 8);
    assert_int_equal(go_on(1), 8);
    assert_int_equal(value, 1);
    assert_int_equal(CALL(read, (uint64_t)fd, U(&value), 8), 8);
    assert_int_equal(value, 1);
    assert_int_equal(poll_of((int32_t)fd, POLLIN), 0);
}

static void test_timerfd(void **state)
{
    struct linux_itimerspec set = {{0, 100000000}, {1, 0}}, old;
    int64_t fd = CALL(timerfd_create, CLOCK_MONOTONIC, 0), other;
    uint64_t count;

    (void)state;
    assert_int_equal(CALL(timerfd_settime, (uint64_t)fd, 0, U(&set), 0), 0);
    assert_int_equal(BEGIN(1, read, (uint64_t)fd, U(&count), 8), HL__WAITING);
    pass(SECOND - 1);
    assert_true(waits(1));
    pass(1);
    assert_int_equal(go_on(1), 8);
    assert_int_equal(count, 1);
    pass(SECOND);
    assert_int_equal(poll_of((int32_t)fd, POLLIN), POLLIN);
    assert_int_equal(CALL(timerfd_gettime, (uint64_t)fd, U(&old)), 0);
    assert_int_equal(old.value.nanoseconds, 100000000);
    assert_int_equal(CALL(read, (uint64_t)fd, U(&count), 8), 8);
    assert_int_equal(count, 10);
    set = (struct linux_itimerspec){{0, 0}, {0, 0}};
    assert_int_equal(CALL(timerfd_settime, (uint64_t)fd, 0, U(&set), U(&old)), 0);
    assert_int_equal(old.interval.nanoseconds, 100000000);
    pass(SECOND);
    assert_int_equal(poll_of((int32_t)fd, POLLIN), 0);
    set.value.nanoseconds = 1000000000;
    assert_int_equal(CALL(timerfd_settime, (uint64_t)fd, 0, U(&set), 0), -EINVAL);

    /* Absolute, of the time of day, which is 1000 s ahead here. */
    other = CALL(timerfd_create, CLOCK_REALTIME, O_NONBLOCK);
    set = (struct linux_itimerspec){{0, 0}, {(int64_t)(now / SECOND) + 1002, 0}};
    assert_int_equal(CALL(timerfd_settime, (uint64_t)other, TFD_TIMER_ABSTIME, U(&set), 0), 0);
    pass(SECOND);
    assert_int_equal(CALL(read, (uint64_t)other, U(&count), 8), -EAGAIN);
    pass(SECOND);
    assert_int_equal(CALL(read, (uint64_t)other, U(&count), 8), 8);
    assert_int_equal(count, 1);
    assert_int_equal(CALL(timerfd_settime, (uint64_t)CALL(eventfd2, 0, 0), 0, U(&set), 0), -EINVAL);
    assert_int_equal(CALL(timerfd_create, 99, 0), -EINVAL);
}

static void test_timerfd_moves_with_the_clock(void **state)
{
    struct linux_itimerspec set = {{0, 0}, {2, 0}};
    int64_t fd = CALL(timerfd_create, CLOCK_MONOTONIC, O_NONBLOCK);
    uint64_t count;

    (void)state;
    assert_int_equal(CALL(timerfd_settime, (uint64_t)fd, 0, U(&set), 0), 0);
    now += 100 * SECOND;
    hl__timers_move(100 * SECOND);
    hl__timerfds_move(100 * SECOND);
    pass(SECOND);
    assert_int_equal(CALL(read, (uint64_t)fd, U(&count), 8), -EAGAIN);
    pass(SECOND);
    assert_int_equal(CALL(read, (uint64_t)fd, U(&count), 8), 8);
}

static void test_signalfd(void **state)
{
    struct linux_signalfd_siginfo info[2];
    uint64_t set = HL__SIGNAL_BIT(10);
    int64_t fd = CALL(signalfd4, UINT64_MAX, U(&set), 8, 0);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(poll_of((int32_t)fd, POLLIN), 0);
    assert_int_equal(BEGIN(1, read, (uint64_t)fd, U(info), sizeof info), HL__WAITING);
    threads[1].signals.waiting.set = HL__SIGNAL_BIT(12);
    hl__signalfd_notify(12);
    assert_true(waits(1));
    threads[1].signals.waiting.set = HL__SIGNAL_BIT(10);
    hl__signalfd_notify(10);
    assert_int_equal(go_on(1), sizeof info[0]);
    assert_int_equal(info[0].signal, 10);
    assert_int_equal(info[0].pid, 42);
    set = HL__SIGNAL_BIT(12);
    assert_int_equal(CALL(signalfd4, (uint64_t)fd, U(&set), 8, 0), fd);
    assert_int_equal(CALL(signalfd4, UINT64_MAX, U(&set), 4, 0), -EINVAL);
}

/* epoll */

static int64_t control(int64_t epoll, int op, int32_t fd, uint32_t events)
{
    struct linux_epoll_event event = {events, (uint64_t)fd * 1000};

    return CALL(epoll_ctl, (uint64_t)epoll, (uint64_t)op, (uint64_t)fd, U(&event));
}

static struct linux_epoll_event events[16];

static int64_t epoll_now(int64_t epoll)
{
    memset(events, 0, sizeof events);
    return CALL(epoll_wait, (uint64_t)epoll, U(events), 16, 0);
}

static void test_epoll_level_edge_oneshot(void **state)
{
    int64_t epoll = CALL(epoll_create1, 0), level = CALL(eventfd2, 0, 0),
            edge = CALL(eventfd2, 0, 0), once = CALL(eventfd2, 0, 0);
    uint64_t value = 1;

    (void)state;
    assert_int_equal(control(epoll, EPOLL_CTL_ADD, (int32_t)level, POLLIN), 0);
    assert_int_equal(control(epoll, EPOLL_CTL_ADD, (int32_t)edge, POLLIN | EPOLLET), 0);
    assert_int_equal(control(epoll, EPOLL_CTL_ADD, (int32_t)once, POLLIN | EPOLLONESHOT), 0);
    assert_int_equal(control(epoll, EPOLL_CTL_ADD, (int32_t)once, POLLIN), -EEXIST);
    assert_int_equal(epoll_now(epoll), 0);
    CALL(write, (uint64_t)once, U(&value), 8);
    CALL(write, (uint64_t)level, U(&value), 8);
    CALL(write, (uint64_t)edge, U(&value), 8);
    assert_int_equal(epoll_now(epoll), 3);
    assert_int_equal(events[0].data, once * 1000); /* in the order in which they came */
    assert_int_equal(events[1].data, level * 1000);
    assert_int_equal(events[2].data, edge * 1000);
    assert_int_equal(events[2].events, POLLIN);
    assert_int_equal(epoll_now(epoll), 1);
    assert_int_equal(events[0].data, level * 1000);
    CALL(write, (uint64_t)edge, U(&value), 8); /* still readable, but there is news */
    CALL(write, (uint64_t)once, U(&value), 8);
    assert_int_equal(epoll_now(epoll), 2);
    assert_int_equal(control(epoll, EPOLL_CTL_MOD, (int32_t)once, POLLIN | EPOLLONESHOT), 0);
    CALL(read, (uint64_t)level, U(&value), 8);
    assert_int_equal(epoll_now(epoll), 1);
    assert_int_equal(events[0].data, once * 1000);
    assert_int_equal(control(epoll, EPOLL_CTL_DEL, (int32_t)once, 0), 0);
    assert_int_equal(control(epoll, EPOLL_CTL_DEL, (int32_t)once, 0), -ENOENT);
    assert_int_equal(control(epoll, EPOLL_CTL_ADD, (int32_t)epoll, POLLIN), -EINVAL);
    assert_int_equal(control(epoll, EPOLL_CTL_ADD, 99, POLLIN), -EBADF);
}

static void test_epoll_waits(void **state)
{
    int64_t epoll = CALL(epoll_create, 1), event = CALL(eventfd2, 0, 0);
    struct linux_timespec timeout = {0, 500};
    uint64_t value = 1, mask = 5;

    (void)state;
    assert_int_equal(control(epoll, EPOLL_CTL_ADD, (int32_t)event, POLLIN), 0);
    assert_int_equal(BEGIN(1, epoll_wait, (uint64_t)epoll, U(events), 16, 10), HL__WAITING);
    assert_int_equal(BEGIN(2, epoll_wait, (uint64_t)epoll, U(events), 16, UINT64_MAX), HL__WAITING);
    pass(9999999);
    assert_true(waits(1));
    pass(1);
    assert_int_equal(go_on(1), 0);
    CALL(write, (uint64_t)event, U(&value), 8);
    assert_int_equal(go_on(2), 1);
    CALL(read, (uint64_t)event, U(&value), 8);
    assert_int_equal(
        BEGIN(1, epoll_pwait2, (uint64_t)epoll, U(events), 16, U(&timeout), U(&mask), 8),
        HL__WAITING);
    assert_int_equal(call_mask, 5);
    pass(500);
    assert_int_equal(go_on(1), 0);
    assert_int_equal(CALL(epoll_wait, (uint64_t)epoll, U(events), 0, 0), -EINVAL);
    /* Something that is watched goes while somebody waits. */
    assert_int_equal(BEGIN(1, epoll_wait, (uint64_t)epoll, U(events), 16, UINT64_MAX), HL__WAITING);
    CALL(close, (uint64_t)event);
    assert_int_equal(interrupt(1), -EINTR);
}

static void test_epoll_watches_epolls(void **state)
{
    int64_t epolls[7], event = CALL(eventfd2, 0, 0);
    uint64_t value = 1;

    (void)state;
    for (int i = 0; i < 7; i++)
        epolls[i] = CALL(epoll_create1, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(control(epolls[i], EPOLL_CTL_ADD, (int32_t)epolls[i + 1], POLLIN), 0);
    assert_int_equal(control(epolls[4], EPOLL_CTL_ADD, (int32_t)event, POLLIN), 0);
    assert_int_equal(control(epolls[4], EPOLL_CTL_ADD, (int32_t)epolls[0], POLLIN), -ELOOP);
    assert_int_equal(control(epolls[4], EPOLL_CTL_ADD, (int32_t)epolls[5], POLLIN), -ELOOP);
    assert_int_equal(control(epolls[5], EPOLL_CTL_ADD, (int32_t)epolls[0], POLLIN), -ELOOP);
    assert_int_equal(BEGIN(1, epoll_wait, (uint64_t)epolls[0], U(events), 1, UINT64_MAX),
                     HL__WAITING);
    CALL(write, (uint64_t)event, U(&value), 8);
    assert_int_equal(go_on(1), 1);
    CALL(read, (uint64_t)event, U(&value), 8);
    assert_int_equal(epoll_now(epolls[0]), 0);
    CALL(write, (uint64_t)event, U(&value), 8);
    CALL(close, (uint64_t)epolls[2]); /* the chain breaks */
    assert_int_equal(epoll_now(epolls[0]), 0);
    assert_int_equal(epoll_now(epolls[3]), 1);
}

static void test_epoll_takes_turns(void **state)
{
    int64_t epoll = CALL(epoll_create1, 0), fds[5];
    uint32_t seen = 0;

    (void)state;
    for (int i = 0; i < 5; i++) {
        fds[i] = CALL(eventfd2, 1, 0);
        assert_int_equal(control(epoll, EPOLL_CTL_ADD, (int32_t)fds[i], POLLIN), 0);
    }
    for (int i = 0; i < 5; i++) {
        assert_int_equal(CALL(epoll_wait, (uint64_t)epoll, U(events), 1, 0), 1);
        seen |= 1u << (events[0].data / 1000);
    }
    assert_int_equal(__builtin_popcount(seen), 5);
}

/* poll and select */

static void test_poll(void **state)
{
    int32_t fds[2];
    struct linux_pollfd polls[3];
    struct linux_timespec timeout = {1, 0};
    char byte = 0;

    (void)state;
    assert_int_equal(CALL(pipe, U(fds)), 0);
    polls[0] = (struct linux_pollfd){fds[0], POLLIN, 77};
    polls[1] = (struct linux_pollfd){-1, POLLIN, 77};
    polls[2] = (struct linux_pollfd){fds[0], POLLOUT, 77};
    assert_int_equal(BEGIN(1, poll, U(polls), 3, 1000), HL__WAITING);
    CALL(write, (uint64_t)fds[1], U(&byte), 1);
    assert_int_equal(go_on(1), 1);
    assert_int_equal(polls[0].ready, POLLIN);
    assert_int_equal(polls[1].ready, 0);
    assert_int_equal(polls[2].ready, 0);
    CALL(read, (uint64_t)fds[0], U(&byte), 1);
    assert_int_equal(BEGIN(1, ppoll, U(polls), 1, U(&timeout), 0, 8), HL__WAITING);
    pass(SECOND / 4);
    CALL(write, (uint64_t)fds[1], U(&byte), 1);
    assert_int_equal(go_on(1), 1);
    assert_int_equal(timeout.seconds, 0);
    assert_int_equal(timeout.nanoseconds, 750000000);
    polls[0].descriptor = 99;
    assert_int_equal(CALL(poll, U(polls), 1, 0), 1);
    assert_int_equal(polls[0].ready, POLLNVAL);
    assert_int_equal(BEGIN(1, poll, U(polls), 0, 5), HL__WAITING);
    pass(5000000);
    assert_int_equal(go_on(1), 0);
    assert_int_equal(CALL(poll, U(polls), 2000, 0), -EINVAL);
    assert_int_equal(CALL(poll, 8, 1, 0), -EFAULT);
}

static void test_select(void **state)
{
    int32_t fds[2];
    uint64_t in[2] = {0}, out[2] = {0};
    struct linux_timeval timeout = {2, 500000};
    char byte = 0;

    (void)state;
    assert_int_equal(CALL(pipe, U(fds)), 0);
    assert_int_equal(CALL(dup2, (uint64_t)fds[0], 70), 70);
    in[1] = 1ull << 6;
    assert_int_equal(BEGIN(1, select, 71, U(in), 0, 0, U(&timeout)), HL__WAITING);
    pass(SECOND);
    CALL(write, (uint64_t)fds[1], U(&byte), 1);
    out[0] = 1ull << fds[1];
    assert_int_equal(go_on(1), 1);
    assert_int_equal(in[1], 1ull << 6);
    assert_int_equal(timeout.seconds, 1);
    assert_int_equal(timeout.microseconds, 500000);
    assert_int_equal(CALL(select, 71, U(in), U(out), 0, 0), 2);
    CALL(read, (uint64_t)fds[0], U(&byte), 1);
    assert_int_equal(BEGIN(1, pselect6, 71, U(in), 0, 0, U(&(struct linux_timespec){1, 0}), 0),
                     HL__WAITING);
    pass(SECOND);
    assert_int_equal(go_on(1), 0);
    assert_int_equal(in[1], 0);
    in[1] = 1ull << 7;
    assert_int_equal(CALL(select, 72, U(in), 0, 0, 0), -EBADF);
    assert_int_equal(CALL(select, UINT32_MAX, 0, 0, 0, 0), -EINVAL);
}

/* Sockets */

static void test_stream_passes_bytes(void **state)
{
    static uint8_t in[1 << 20], out[1 << 20];
    uint32_t got = 0;
    int32_t fds[2];

    (void)state;
    for (uint32_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 31 >> 5);
    make_pair(fds, SOCK_STREAM);
    assert_int_equal(BEGIN(1, write, (uint64_t)fds[0], U(in), sizeof in), HL__WAITING);
    while (got < sizeof in) {
        int64_t result = CALL(read, (uint64_t)fds[1], U(out + got), 50000);

        assert_true(result > 0);
        got += (uint32_t)result;
        if (threads[1].wait.started && !waits(1)) {
            result = go_on(1);
            assert_true(result == HL__WAITING || result == sizeof in);
        }
    }
    assert_memory_equal(in, out, sizeof in);
    assert_false(threads[1].wait.started);
    assert_int_equal(CALL(recvfrom, (uint64_t)fds[1], U(out), 1, MSG_DONTWAIT, 0, 0), -EAGAIN);
}

static void test_stream_flags(void **state)
{
    char bytes[10] = {0};
    int32_t fds[2], count;

    (void)state;
    make_pair(fds, SOCK_STREAM | O_NONBLOCK);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U("abc"), 3), 3);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U("def"), 3), 3);
    assert_int_equal(CALL(recvfrom, (uint64_t)fds[1], U(bytes), 5, MSG_PEEK, 0, 0), 5);
    assert_memory_equal(bytes, "abcde", 5);
    assert_int_equal(CALL(ioctl, (uint64_t)fds[1], FIONREAD, U(&count)), 0);
    assert_int_equal(count, 6);
    assert_int_equal(CALL(read, (uint64_t)fds[1], U(bytes), 10), 6);
    assert_memory_equal(bytes, "abcdef", 6);
    CALL(close, (uint64_t)fds[0]);
    CALL(close, (uint64_t)fds[1]);

    make_pair(fds, SOCK_STREAM);
    assert_int_equal(BEGIN(1, recvfrom, (uint64_t)fds[1], U(bytes), 6, MSG_WAITALL, 0, 0),
                     HL__WAITING);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U("gh"), 2), 2);
    assert_int_equal(go_on(1), HL__WAITING);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U("ijklm"), 5), 5);
    assert_int_equal(go_on(1), 6);
    assert_memory_equal(bytes, "ghijkl", 6);
    assert_int_equal(CALL(read, (uint64_t)fds[1], U(bytes), 6), 1);
}

static void test_stream_ends(void **state)
{
    char byte = 0;
    int32_t fds[2], error;
    int32_t size = sizeof error;

    (void)state;
    make_pair(fds, SOCK_STREAM);
    assert_int_equal(poll_of(fds[0], POLLIN | POLLOUT | POLLRDHUP), POLLOUT);
    assert_int_equal(CALL(shutdown, (uint64_t)fds[0], SHUT_WR), 0);
    assert_int_equal(CALL(read, (uint64_t)fds[1], U(&byte), 1), 0);
    assert_int_equal(poll_of(fds[1], POLLIN | POLLRDHUP), POLLIN | POLLRDHUP);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U(&byte), 1), -EPIPE);
    assert_int_equal(raised, SIGPIPE);
    assert_int_equal(CALL(write, (uint64_t)fds[1], U(&byte), 1), 1);
    CALL(close, (uint64_t)fds[0]); /* with something unread */
    assert_int_equal(poll_of(fds[1], POLLIN | POLLOUT), POLLIN | POLLOUT | POLLERR | POLLHUP);
    assert_int_equal(CALL(getsockopt, (uint64_t)fds[1], SOL_SOCKET, SO_ERROR, U(&error), U(&size)),
                     0);
    assert_int_equal(error, ECONNRESET);
    raised = 0;
    assert_int_equal(CALL(sendto, (uint64_t)fds[1], U(&byte), 1, MSG_NOSIGNAL, 0, 0), -EPIPE);
    assert_int_equal(raised, 0);
    assert_int_equal(CALL(read, (uint64_t)fds[1], U(&byte), 1), 0);
}

static void test_close_wakes_who_waits(void **state)
{
    static uint8_t bytes[1 << 20];
    int32_t fds[2];

    (void)state;
    make_pair(fds, SOCK_STREAM);
    assert_int_equal(BEGIN(1, read, (uint64_t)fds[1], U(bytes), 1), HL__WAITING);
    assert_int_equal(BEGIN(2, write, (uint64_t)fds[1], U(bytes), sizeof bytes), HL__WAITING);
    CALL(close, (uint64_t)fds[0]);
    assert_int_equal(go_on(1), -ECONNRESET);
    assert_true(go_on(2) > 0);
    assert_int_equal(CALL(read, (uint64_t)fds[1], U(bytes), 1), 0);
}

static void test_own_descriptor_is_closed_while_waiting(void **state)
{
    int64_t epoll = CALL(epoll_create1, 0);
    int32_t fds[2];
    char byte;

    (void)state;
    assert_int_equal(CALL(pipe, U(fds)), 0);
    assert_int_equal(BEGIN(1, read, (uint64_t)fds[0], U(&byte), 1), HL__WAITING);
    assert_int_equal(BEGIN(2, epoll_wait, (uint64_t)epoll, U(events), 16, UINT64_MAX), HL__WAITING);
    CALL(close, (uint64_t)fds[0]);
    CALL(close, (uint64_t)epoll);
    assert_int_equal(go_on(1), -EBADF);
    assert_int_equal(go_on(2), -EBADF);
}

static void test_datagrams(void **state)
{
    static uint8_t large[300000];
    char bytes[10];
    int32_t fds[2];
    struct linux_iovec items[2] = {{U("ab"), 2}, {U("cd"), 2}};
    struct linux_msghdr header = {.vectors = U(items), .vector_count = 2};
    int64_t count = 0;

    (void)state;
    make_pair(fds, SOCK_DGRAM);
    assert_int_equal(CALL(sendmsg, (uint64_t)fds[0], U(&header), 0), 4);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U("efg"), 3), 3);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U("efg"), 0), 0);
    assert_int_equal(CALL(recvfrom, (uint64_t)fds[1], U(bytes), 10, MSG_PEEK, 0, 0), 4);
    assert_int_equal(CALL(recvfrom, (uint64_t)fds[1], U(bytes), 2, MSG_TRUNC, 0, 0), 4);
    items[0] = (struct linux_iovec){U(bytes), 2};
    header.vector_count = 1;
    assert_int_equal(CALL(recvmsg, (uint64_t)fds[1], U(&header), 0), 2);
    assert_int_equal(header.flags, MSG_TRUNC);
    assert_int_equal(CALL(read, (uint64_t)fds[1], U(bytes), 10), 0);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U(large), sizeof large), -EMSGSIZE);
    while (CALL(sendto, (uint64_t)fds[0], U(large), 1000, MSG_DONTWAIT, 0, 0) == 1000)
        count++;
    assert_in_range(count, 100, 400);
    assert_int_equal(poll_of(fds[0], POLLOUT), 0);
    assert_int_equal(BEGIN(1, write, (uint64_t)fds[0], U(large), 1000), HL__WAITING);
    CALL(read, (uint64_t)fds[1], U(bytes), 10);
    assert_int_equal(go_on(1), 1000);
    CALL(close, (uint64_t)fds[1]);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U(bytes), 1), -ECONNREFUSED);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U(bytes), 1), -ENOTCONN);
}

static void test_sequenced_packets(void **state)
{
    char bytes[10];
    int32_t fds[2];

    (void)state;
    make_pair(fds, SOCK_SEQPACKET);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U("abc"), 3), 3);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U("d"), 1), 1);
    assert_int_equal(CALL(read, (uint64_t)fds[1], U(bytes), 10), 3);
    CALL(close, (uint64_t)fds[0]);
    assert_int_equal(CALL(read, (uint64_t)fds[1], U(bytes), 10), 1);
    assert_int_equal(CALL(read, (uint64_t)fds[1], U(bytes), 10), 0);
    assert_int_equal(CALL(write, (uint64_t)fds[1], U(bytes), 10), -EPIPE);
    assert_int_equal(raised, 0);
}

static void test_many_messages(void **state)
{
    char bytes[4][10];
    int32_t fds[2];
    struct linux_iovec items[4];
    struct linux_mmsghdr messages[4];

    (void)state;
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < 4; i++) {
        items[i] = (struct linux_iovec){U(bytes[i]), (uint64_t)i + 1};
        messages[i].header = (struct linux_msghdr){.vectors = U(&items[i]), .vector_count = 1};
    }
    make_pair(fds, SOCK_DGRAM);
    assert_int_equal(CALL(sendmmsg, (uint64_t)fds[0], U(messages), 2, 0), 2);
    assert_int_equal(messages[1].size, 2);
    for (int i = 0; i < 4; i++)
        items[i].size = 10;
    assert_int_equal(CALL(recvmmsg, (uint64_t)fds[1], U(messages), 4, MSG_WAITFORONE, 0), 2);
    assert_int_equal(CALL(sendmmsg, (uint64_t)fds[0], U(messages), 3, 0), 3);
    assert_int_equal(BEGIN(1, recvmmsg, (uint64_t)fds[1], U(messages), 4, 0, 0), HL__WAITING);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U("abc"), 3), 3);
    assert_int_equal(go_on(1), 4);
    assert_int_equal(messages[3].size, 3);
}

/* A control message with descriptors. */
struct rights {
    struct linux_cmsghdr header;
    int32_t descriptors[4];
};

static int64_t send_rights(int32_t socket, const int32_t *descriptors, uint32_t count)
{
    struct rights rights = {{16 + 4 * count, SOL_SOCKET, SCM_RIGHTS}, {0}};
    struct linux_iovec item = {U("x"), 1};
    struct linux_msghdr header = {.vectors = U(&item),
                                  .vector_count = 1,
                                  .control = U(&rights),
                                  .control_size = (16 + 4 * count + 7) / 8 * 8};

    memcpy(rights.descriptors, descriptors, 4 * count);
    return CALL(sendmsg, (uint64_t)socket, U(&header), 0);
}

static void test_descriptors_travel(void **state)
{
    int32_t fds[2], pipes[2], bad = 99;
    char byte;
    struct linux_iovec item = {U(&byte), 1};
    struct rights rights;
    struct linux_msghdr header = {.vectors = U(&item),
                                  .vector_count = 1,
                                  .control = U(&rights),
                                  .control_size = sizeof rights};
    uint8_t text[] = "through the pipe";

    (void)state;
    make_pair(fds, SOCK_STREAM);
    assert_int_equal(CALL(pipe, U(pipes)), 0);
    assert_int_equal(send_rights(fds[0], &bad, 1), -EBADF);
    assert_int_equal(send_rights(fds[0], pipes, 2), 1);
    CALL(close, (uint64_t)pipes[0]);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U("y"), 1), 1);
    assert_int_equal(CALL(recvmsg, (uint64_t)fds[1], U(&header), MSG_CMSG_CLOEXEC), 1);
    assert_int_equal(header.control_size, 24);
    assert_int_equal(rights.header.size, 24);
    assert_int_equal(CALL(fcntl, (uint64_t)rights.descriptors[0], F_GETFD), 1);
    assert_int_equal(CALL(write, (uint64_t)pipes[1], U(text), sizeof text), sizeof text);
    assert_int_equal(CALL(read, (uint64_t)rights.descriptors[0], U(text), sizeof text),
                     sizeof text);
    /* Room for one of two, and for none. */
    assert_int_equal(send_rights(fds[0], (int32_t[]){pipes[1], fds[0]}, 2), 1);
    header.control_size = 20;
    assert_int_equal(CALL(read, (uint64_t)fds[1], U(text), 1), 1);
    assert_int_equal(CALL(recvmsg, (uint64_t)fds[1], U(&header), 0), 1);
    assert_int_equal(rights.header.size, 20);
    assert_int_equal(header.flags, MSG_CTRUNC);
    assert_int_equal(send_rights(fds[0], pipes + 1, 1), 1);
    header.control = 0;
    assert_int_equal(CALL(recvmsg, (uint64_t)fds[1], U(&header), 0), 1);
    assert_int_equal(header.flags, MSG_CTRUNC);
    /* What nobody receives goes with the socket, be it a long chain of sockets. */
    for (int i = 0; i < 300; i++) {
        int32_t next[2];

        make_pair(next, SOCK_STREAM);
        assert_int_equal(send_rights(next[0], fds, 2), 1);
        CALL(close, (uint64_t)fds[0]);
        CALL(close, (uint64_t)fds[1]);
        memcpy(fds, next, sizeof fds);
    }
}

static void test_credentials_travel(void **state)
{
    int32_t fds[2], on = 1, size;
    char byte;
    struct linux_iovec item = {U(&byte), 1};
    struct {
        struct linux_cmsghdr header;
        struct linux_ucred credentials;
        int32_t padding;
    } control;
    struct linux_msghdr header = {.vectors = U(&item),
                                  .vector_count = 1,
                                  .control = U(&control),
                                  .control_size = sizeof control};
    struct linux_ucred peer;

    (void)state;
    make_pair(fds, SOCK_DGRAM);
    assert_int_equal(CALL(setsockopt, (uint64_t)fds[1], SOL_SOCKET, SO_PASSCRED, U(&on), 4), 0);
    assert_int_equal(CALL(write, (uint64_t)fds[0], U("x"), 1), 1);
    assert_int_equal(CALL(recvmsg, (uint64_t)fds[1], U(&header), 0), 1);
    assert_int_equal(control.header.type, SCM_CREDENTIALS);
    assert_int_equal(control.credentials.pid, HL__PROCESS_ID);
    control.credentials.pid++;
    assert_int_equal(CALL(sendmsg, (uint64_t)fds[0], U(&header), 0), -EPERM);
    size = sizeof peer;
    assert_int_equal(
        CALL(getsockopt, (uint64_t)fds[0], SOL_SOCKET, SO_PEERCRED, U(&peer), U(&size)), 0);
    assert_int_equal(peer.pid, HL__PROCESS_ID);
}

static uint64_t address_of(struct linux_sockaddr_un *address, const char *name, uint32_t size)
{
    memset(address, 0, sizeof *address);
    address->family = AF_UNIX;
    memcpy(address->path, name, size);
    return 2 + size;
}

static void test_listeners(void **state)
{
    struct linux_sockaddr_un address, other;
    uint64_t size = address_of(&address, "\0name", 5);
    int64_t listener = CALL(socket, AF_UNIX, SOCK_STREAM, 0),
            client = CALL(socket, AF_UNIX, SOCK_STREAM, 0), server, more;
    int32_t room = sizeof other;
    char bytes[5];

    (void)state;
    assert_int_equal(CALL(connect, (uint64_t)client, U(&address), size), -ECONNREFUSED);
    assert_int_equal(CALL(bind, (uint64_t)listener, U(&address), size), 0);
    assert_int_equal(CALL(bind, (uint64_t)client, U(&address), size), -EADDRINUSE);
    assert_int_equal(CALL(connect, (uint64_t)client, U(&address), size), -ECONNREFUSED);
    assert_int_equal(CALL(accept, (uint64_t)listener, 0, 0), -EINVAL);
    assert_int_equal(CALL(listen, (uint64_t)listener, 0), 0);
    assert_int_equal(BEGIN(1, accept4, (uint64_t)listener, U(&other), U(&room), O_CLOEXEC),
                     HL__WAITING);
    assert_int_equal(CALL(connect, (uint64_t)client, U(&address), size), 0);
    assert_int_equal(CALL(connect, (uint64_t)client, U(&address), size), -EISCONN);
    server = go_on(1);
    assert_true(server >= 0);
    assert_int_equal(room, 2);
    assert_int_equal(CALL(write, (uint64_t)client, U("hello"), 5), 5);
    assert_int_equal(CALL(read, (uint64_t)server, U(bytes), 5), 5);
    room = sizeof other;
    assert_int_equal(CALL(getpeername, (uint64_t)client, U(&other), U(&room)), 0);
    assert_int_equal(room, size);
    assert_memory_equal(&other, &address, size);

    /* One may wait to be accepted, a second not, and it fails when the listener goes. */
    more = CALL(socket, AF_UNIX, SOCK_STREAM | O_NONBLOCK, 0);
    assert_int_equal(CALL(connect, (uint64_t)more, U(&address), size), 0);
    client = CALL(socket, AF_UNIX, SOCK_STREAM | O_NONBLOCK, 0);
    assert_int_equal(CALL(connect, (uint64_t)client, U(&address), size), -EAGAIN);
    client = CALL(socket, AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(BEGIN(1, connect, (uint64_t)client, U(&address), size), HL__WAITING);
    CALL(close, (uint64_t)listener);
    assert_int_equal(go_on(1), -ECONNREFUSED);
    assert_int_equal(CALL(read, (uint64_t)more, U(bytes), 5), -ECONNRESET);
}

static void test_datagrams_by_address(void **state)
{
    struct linux_sockaddr_un address, from;
    uint64_t size = address_of(&address, "/tmp/receiver", 13);
    int64_t receiver = CALL(socket, AF_UNIX, SOCK_DGRAM, 0),
            sender = CALL(socket, AF_UNIX, SOCK_DGRAM, 0), count = 0;
    int32_t room = sizeof from;
    char byte;

    (void)state;
    assert_int_equal(CALL(bind, (uint64_t)receiver, U(&address), size), 0);
    assert_int_equal(CALL(write, (uint64_t)sender, U("x"), 1), -ENOTCONN);
    assert_int_equal(CALL(sendto, (uint64_t)sender, U("x"), 1, 0, U(&address), size), 1);
    assert_int_equal(CALL(recvfrom, (uint64_t)receiver, U(&byte), 1, 0, U(&from), U(&room)), 1);
    assert_int_equal(room, 0);
    room = sizeof from;
    assert_int_equal(CALL(bind, (uint64_t)sender, U(&(uint16_t){AF_UNIX}), 2), 0);
    assert_int_equal(CALL(connect, (uint64_t)sender, U(&address), size), 0);
    while (CALL(sendto, (uint64_t)sender, U("x"), 1, MSG_DONTWAIT, 0, 0) == 1)
        count++;
    assert_int_equal(count, HL__SOCKET_DATAGRAMS_MAX + 1);
    assert_int_equal(poll_of((int32_t)sender, POLLOUT), 0);
    assert_int_equal(BEGIN(1, write, (uint64_t)sender, U("x"), 1), HL__WAITING);
    assert_int_equal(CALL(recvfrom, (uint64_t)receiver, U(&byte), 1, 0, U(&from), U(&room)), 1);
    assert_int_equal(room, 8); /* the family, a NUL and five digits */
    assert_int_equal(go_on(1), 1);
    assert_int_equal(BEGIN(1, write, (uint64_t)sender, U("x"), 1), HL__WAITING);
    CALL(close, (uint64_t)receiver);
    assert_int_equal(go_on(1), -ECONNREFUSED);
    assert_int_equal(CALL(sendto, (uint64_t)sender, U("x"), 1, 0, U(&address), size),
                     -ECONNREFUSED);
}

static void test_socket_options(void **state)
{
    int32_t fds[2], value = 0, size = sizeof value;
    struct linux_timeval timeout = {0, 50000};
    char byte;

    (void)state;
    make_pair(fds, SOCK_SEQPACKET);
    assert_int_equal(CALL(getsockopt, (uint64_t)fds[0], SOL_SOCKET, SO_TYPE, U(&value), U(&size)),
                     0);
    assert_int_equal(value, SOCK_SEQPACKET);
    value = 10000;
    assert_int_equal(CALL(setsockopt, (uint64_t)fds[0], SOL_SOCKET, SO_SNDBUF, U(&value), 4), 0);
    assert_int_equal(CALL(getsockopt, (uint64_t)fds[0], SOL_SOCKET, SO_SNDBUF, U(&value), U(&size)),
                     0);
    assert_int_equal(value, 20000);
    assert_int_equal(CALL(setsockopt, (uint64_t)fds[0], SOL_SOCKET, SO_RCVTIMEO, U(&timeout), 16),
                     0);
    assert_int_equal(BEGIN(1, read, (uint64_t)fds[0], U(&byte), 1), HL__WAITING);
    pass(50000000);
    assert_int_equal(go_on(1), -EAGAIN);
    assert_int_equal(CALL(setsockopt, (uint64_t)fds[0], 6, 1, U(&value), 4), -EOPNOTSUPP);
    assert_int_equal(CALL(setsockopt, (uint64_t)fds[0], SOL_SOCKET, 999, U(&value), 4),
                     -ENOPROTOOPT);
    assert_int_equal(CALL(socket, 2, SOCK_STREAM, 0), -EAFNOSUPPORT);
    assert_int_equal(CALL(socket, AF_UNIX, 4, 0), -ESOCKTNOSUPPORT);
    assert_int_equal(CALL(getsockname, (uint64_t)CALL(eventfd2, 0, 0), U(&value), U(&size)),
                     -ENOTSOCK);
}

/* splice and tee */

static void test_splice_and_tee(void **state)
{
    static uint8_t in[100000], out[100000];
    int32_t a[2], b[2], sockets[2];
    uint32_t got = 0;

    (void)state;
    for (uint32_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 31 >> 5);
    assert_int_equal(CALL(pipe, U(a)), 0);
    assert_int_equal(CALL(pipe, U(b)), 0);
    make_pair(sockets, SOCK_STREAM);
    assert_int_equal(BEGIN(1, splice, (uint64_t)a[0], 0, (uint64_t)b[1], 0, 1000, 0), HL__WAITING);
    assert_int_equal(CALL(write, (uint64_t)a[1], U(in), 50000), 50000);
    assert_int_equal(go_on(1), 1000);
    assert_int_equal(CALL(read, (uint64_t)b[0], U(out), 2000), 1000);
    assert_memory_equal(in, out, 1000);
    assert_int_equal(CALL(tee, (uint64_t)a[0], (uint64_t)b[1], 1 << 20, 0), 49000);
    assert_int_equal(CALL(splice, (uint64_t)a[0], 0, (uint64_t)sockets[0], 0, 1 << 20, 0), 49000);
    while (got < 49000) {
        int64_t result = CALL(read, (uint64_t)sockets[1], U(out + got), sizeof out);

        assert_true(result > 0);
        got += (uint32_t)result;
    }
    assert_memory_equal(out, in + 1000, 49000);
    assert_int_equal(CALL(read, (uint64_t)b[0], U(out), sizeof out), 49000);
    assert_memory_equal(out, in + 1000, 49000);
    assert_int_equal(CALL(write, (uint64_t)sockets[1], U("abc"), 3), 3);
    assert_int_equal(CALL(splice, (uint64_t)sockets[0], 0, (uint64_t)b[1], 0, 100, 0), 3);
    assert_int_equal(CALL(vmsplice, (uint64_t)b[1], U(&(struct linux_iovec){U("def"), 3}), 1, 0),
                     3);
    assert_int_equal(CALL(read, (uint64_t)b[0], U(out), 100), 6);
    assert_memory_equal(out, "abcdef", 6);
    assert_int_equal(CALL(splice, (uint64_t)a[0], 0, (uint64_t)b[1], 0, 1, SPLICE_F_NONBLOCK),
                     -EAGAIN);
    assert_int_equal(CALL(splice, (uint64_t)a[0], 0, (uint64_t)a[1], 0, 1, 0), -EINVAL);
    assert_int_equal(CALL(splice, (uint64_t)a[0], U(out), (uint64_t)b[1], 0, 1, 0), -ESPIPE);
    CALL(close, (uint64_t)a[1]);
    assert_int_equal(CALL(splice, (uint64_t)a[0], 0, (uint64_t)b[1], 0, 1, 0), 0);
    CALL(close, (uint64_t)b[0]);
    assert_int_equal(CALL(splice, (uint64_t)sockets[0], 0, (uint64_t)b[1], 0, 1, 0), -EPIPE);
}

/* When memory runs out anywhere, calls fail and nothing is lost or kept. */
static void test_out_of_memory(void **state)
{
    static uint8_t bytes[30000];
    int64_t failed = 0;

    (void)state;
    for (int n = 0; n < 60; n++) {
        int32_t fds[2] = {-1, -1}, pipes[2] = {-1, -1};
        int64_t epoll, listener;
        struct linux_sockaddr_un address;
        uint64_t size = address_of(&address, "\0memory", 7);

        objects_left = n;
        failed += CALL(socketpair, AF_UNIX, SOCK_STREAM, 0, U(fds)) < 0;
        failed += CALL(pipe, U(pipes)) < 0;
        epoll = CALL(epoll_create1, 0);
        control(epoll, EPOLL_CTL_ADD, pipes[0], POLLIN);
        send_rights(fds[0], pipes, 2);
        CALL(sendto, (uint64_t)fds[0], U(bytes), sizeof bytes, MSG_DONTWAIT, 0, 0);
        CALL(write, (uint64_t)pipes[1], U(bytes), sizeof bytes);
        CALL(eventfd2, 0, 0);
        CALL(timerfd_create, CLOCK_MONOTONIC, 0);
        listener = CALL(socket, AF_UNIX, SOCK_STREAM, 0);
        CALL(bind, (uint64_t)listener, U(&address), size);
        CALL(listen, (uint64_t)listener, 5);
        CALL(connect, (uint64_t)CALL(socket, AF_UNIX, SOCK_STREAM, 0), U(&address), size);
        CALL(accept, (uint64_t)listener, 0, 0) == HL__WAITING ? interrupt(0) : 0;
        objects_left = -1;
        CALL(close_range, 0, UINT32_MAX, 0);
        assert_int_equal(files_in_flight, 0);
    }
    assert_true(failed > 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pipe_passes_bytes_in_order),
        TEST(test_pipe_holds_64_kib_and_resizes),
        TEST(test_pipe_full_ring_keeps_its_end),
        TEST(test_pipe_write_waits_and_goes_on),
        TEST(test_pipe_small_writes_are_whole),
        TEST(test_pipe_ends),
        TEST(test_fifo_opens_wait_for_each_other),
        TEST(test_eventfd),
        TEST(test_timerfd),
        TEST(test_timerfd_moves_with_the_clock),
        TEST(test_signalfd),
        TEST(test_epoll_level_edge_oneshot),
        TEST(test_epoll_waits),
        TEST(test_epoll_watches_epolls),
        TEST(test_epoll_takes_turns),
        TEST(test_poll),
        TEST(test_select),
        TEST(test_stream_passes_bytes),
        TEST(test_stream_flags),
        TEST(test_stream_ends),
        TEST(test_close_wakes_who_waits),
        TEST(test_own_descriptor_is_closed_while_waiting),
        TEST(test_datagrams),
        TEST(test_sequenced_packets),
        TEST(test_many_messages),
        TEST(test_descriptors_travel),
        TEST(test_credentials_travel),
        TEST(test_listeners),
        TEST(test_datagrams_by_address),
        TEST(test_socket_options),
        TEST(test_splice_and_tee),
        TEST(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
