/*
 * Input and output of the host application's own descriptors, which may be pipes that nobody reads:
 * never blocks beyond a deadline, raises no signal, and changes no flag of a descriptor, since
 * others share it.
 */
#define _GNU_SOURCE
#include "os/os.h"
#include "os/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A descriptor as this file uses it: how to move bytes without blocking. */
struct channel {
    int descriptor; /* the caller's */
    int own; /* pipes and terminals: the same opened once more, non-blocking; -1: not possible */
    bool is_socket;
    bool never_waits; /* a file or block device: always ready */
};

/* The mode is compared because opening asks for the file's permissions, not for what this
 * descriptor may do. */
static int open_again(int descriptor, int access)
{
    int mode = fcntl(descriptor, F_GETFL) & O_ACCMODE;
    if (mode != access && mode != O_RDWR)
        return -1;
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return open(path, access | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

static int channel_open(struct channel *channel, int descriptor, int access)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return -errno;
    *channel = (struct channel){.descriptor = descriptor, .own = -1};
    channel->is_socket = S_ISSOCK(status.st_mode);
    channel->never_waits = S_ISREG(status.st_mode) || S_ISBLK(status.st_mode);
    if (S_ISFIFO(status.st_mode) || (S_ISCHR(status.st_mode) && isatty(descriptor)))
        channel->own = open_again(descriptor, access);
    return 0;
}

static void channel_close(struct channel *channel)
{
    if (channel->own >= 0)
        close(channel->own);
}

static void time_left(uint64_t until_ns, struct timespec *left)
{
    uint64_t now = hl__os_monotonic_ns();
    uint64_t rest = until_ns > now ? until_ns - now : 0;
    left->tv_sec = (time_t)(rest / 1000000000);
    left->tv_nsec = (long)(rest % 1000000000);
}

/* 0 if the descriptor is ready (or broken, which using it will tell), -EAGAIN if the time is up,
 * -EINTR after a signal. */
static int wait_ready(int descriptor, short events, uint64_t until_ns, const sigset_t *mask)
{
    struct pollfd poll = {.fd = descriptor, .events = events};
    struct timespec left;
    time_left(until_ns, &left);
    int ready = ppoll(&poll, 1, until_ns == UINT64_MAX ? NULL : &left, mask);
    return ready < 0 ? -errno : ready == 0 ? -EAGAIN : 0;
}

static int channel_wait(const struct channel *channel, short events, uint64_t until_ns)
{
    return channel->never_waits ? 0 : wait_ready(channel->descriptor, events, until_ns, NULL);
}

int hl__os_descriptor_wait(int descriptor, bool to_write, int signal, uint64_t until_ns)
{
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    sigdelset(&mask, signal);
    return wait_ready(descriptor, to_write ? POLLOUT : POLLIN, until_ns, &mask);
}

/* Signals that a write may raise on its thread: a reader that is gone, and a file over
 * RLIMIT_FSIZE. */
struct quiet {
    sigset_t signals, before, pending;
};

static void quiet_begin(struct quiet *quiet)
{
    sigemptyset(&quiet->signals);
    sigaddset(&quiet->signals, SIGPIPE);
    sigaddset(&quiet->signals, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &quiet->signals, &quiet->before);
    sigpending(&quiet->pending);
}

static void quiet_end(const struct quiet *quiet, int signal)
{
    static const struct timespec now = {0, 0};
    if (signal != 0 && !sigismember(&quiet->pending, signal)) {
        sigset_t raised;
        sigemptyset(&raised);
        sigaddset(&raised, signal);
        while (sigtimedwait(&raised, NULL, &now) < 0 && errno == EINTR)
            ;
    }
    pthread_sigmask(SIG_SETMASK, &quiet->before, NULL);
}

static ssize_t write_quietly(int descriptor, const void *data, size_t size)
{
    struct quiet quiet;
    quiet_begin(&quiet);
    ssize_t taken = write(descriptor, data, size);
    int error = taken < 0 ? errno : 0;
    quiet_end(&quiet, error == EPIPE ? SIGPIPE : error == EFBIG ? SIGXFSZ : 0);
    errno = error;
    return taken;
}

static ssize_t channel_write(const struct channel *channel, const void *data, size_t size)
{
    if (channel->is_socket)
        return send(channel->descriptor, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (channel->never_waits)
        return write_quietly(channel->descriptor, data, size);
    if (channel->own >= 0)
        return write_quietly(channel->own, data, size);
    /* A pipe that is ready takes this much without blocking, unless someone else fills it in this
     * very moment. */
    return write_quietly(channel->descriptor, data, size < PIPE_BUF ? size : PIPE_BUF);
}

static ssize_t channel_read(const struct channel *channel, void *data, size_t size)
{
    if (channel->is_socket)
        return recv(channel->descriptor, data, size, MSG_DONTWAIT);
    return read(channel->own >= 0 ? channel->own : channel->descriptor, data, size);
}

/* It was ready, and someone else was faster: 0 if there is time to try again, after a pause, since
 * readiness may be wrong for long. */
static int pause_busy(uint64_t until_ns)
{
    static const struct timespec pause = {0, 200000};
    if (hl__os_monotonic_ns() >= until_ns)
        return -EAGAIN;
    return nanosleep(&pause, NULL) == 0 ? 0 : -errno;
}

int64_t hl__os_descriptor_write(int descriptor, const void *data, size_t size, uint64_t until_ns)
{
    struct channel channel;
    int error = channel_open(&channel, descriptor, O_WRONLY);
    if (error)
        return error;
    size_t done = 0;
    while (done < size && error == 0) {
        error = channel_wait(&channel, POLLOUT, until_ns);
        if (error)
            break;
        ssize_t taken = channel_write(&channel, (const char *)data + done, size - done);
        if (taken >= 0)
            done += (size_t)taken;
        else
            error = errno == EAGAIN ? pause_busy(until_ns) : -errno;
    }
    channel_close(&channel);
    return done > 0 ? (int64_t)done : error;
}

int64_t hl__os_descriptor_read(int descriptor, void *data, size_t size, uint64_t until_ns)
{
    if (size == 0)
        return 0;
    struct channel channel;
    int error = channel_open(&channel, descriptor, O_RDONLY);
    if (error)
        return error;
    ssize_t taken = -1;
    while (taken < 0 && error == 0) {
        error = channel_wait(&channel, POLLIN, until_ns);
        if (error)
            break;
        taken = channel_read(&channel, data, size);
        if (taken < 0)
            error = errno == EAGAIN ? pause_busy(until_ns) : -errno;
    }
    channel_close(&channel);
    return taken >= 0 ? taken : error;
}
