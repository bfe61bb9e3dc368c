/* Starting the confined helper, and talking to it. */
#define _GNU_SOURCE
#include "image/host/child.h"

#include "image/host/find.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Above all numbers that the helper has them at. */
#define DESCRIPTOR_MIN 16
#define MESSAGES_AT_ONCE 64

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static hl_status start_failed(hl_error *err, int os_error, const char *source)
{
    return hl__error_os(err, os_error == ENOMEM ? HL_OUT_OF_MEMORY : HL_SYSTEM, os_error, source,
                        "cannot start hyperlight-prepare");
}

/* ---- Starting ---- */

/* The helper's descriptors: it gets these and no others. */
struct handed {
    int control, output, input;
};

static bool move_up(int *descriptor)
{
    int moved = fcntl(*descriptor, F_DUPFD_CLOEXEC, DESCRIPTOR_MIN);
    if (moved < 0)
        return false;
    *descriptor = moved;
    return true;
}

static int add_actions(posix_spawn_file_actions_t *actions, const struct handed *handed)
{
    int result = posix_spawn_file_actions_adddup2(actions, handed->control, HL__HELPER_CONTROL);
    if (result == 0)
        result = posix_spawn_file_actions_adddup2(actions, handed->output, HL__HELPER_OUTPUT);
    if (result == 0 && handed->input >= 0)
        result = posix_spawn_file_actions_adddup2(actions, handed->input, HL__HELPER_INPUT);
    else if (result == 0)
        result = posix_spawn_file_actions_addclose(actions, HL__HELPER_INPUT);
    if (result == 0)
        result = posix_spawn_file_actions_addclosefrom_np(actions, HL__HELPER_INPUT + 1);
#ifdef HL_UNCONFINED /* what a sanitizer has to say goes to standard error */
    int last = STDOUT_FILENO;
#else
    int last = STDERR_FILENO;
#endif
    for (int standard = STDIN_FILENO; result == 0 && standard <= last; standard++)
        result = posix_spawn_file_actions_addclose(actions, standard);
    return result;
}

/* Signals as a new program has them, whatever the host application did with its own. */
static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int result = posix_spawnattr_setsigmask(attributes, &none);
    if (result == 0)
        result = posix_spawnattr_setsigdefault(attributes, &all);
    if (result == 0)
        result =
            posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return result;
}

static hl_status spawn(pid_t *pid, const struct handed *handed, hl_error *err)
{
    char path[PATH_MAX];
    char name[] = "hyperlight-prepare";
    char *arguments[] = {name, NULL}, *environment[] = {NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    hl_status status = hl__find_helper(path, err);
    if (status != HL_OK)
        return status;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int result = add_actions(&actions, handed);
    if (result == 0)
        result = set_attributes(&attributes);
    if (result == 0)
        result = posix_spawn(pid, path, &actions, &attributes, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return result == 0 ? HL_OK : start_failed(err, result, "posix_spawn");
}

/* Spawns with descriptors that are out of the way of those that the helper gets. */
static hl_status spawn_with(struct hl__child *child, struct handed handed, hl_error *err)
{
    struct handed moved = handed;
    hl_status status = HL_OK;
    if (!move_up(&moved.control)) {
        moved.control = -1;
        moved.output = -1;
        moved.input = -1;
    } else if (!move_up(&moved.output)) {
        moved.output = -1;
        moved.input = -1;
    } else if (handed.input >= 0 && !move_up(&moved.input)) {
        moved.input = -1;
    }
    if (moved.output < 0 || (handed.input >= 0 && moved.input < 0))
        status = start_failed(err, errno, "fcntl");
    if (status == HL_OK)
        status = spawn(&child->pid, &moved, err);
    for (size_t i = 0; i < 3; i++)
        if ((&moved.control)[i] >= 0)
            close((&moved.control)[i]);
    return status;
}

static uint32_t join_strings(char *out, size_t room, const char *const *strings)
{
    size_t used = 0;
    for (; strings && *strings; strings++) {
        size_t size = strlen(*strings) + 1;
        if (size > room - used)
            return UINT32_MAX;
        memcpy(out + used, *strings, size);
        used += size;
    }
    return (uint32_t)used;
}

static hl_status send_job(struct hl__child *child, uint32_t kind, hl_error *err)
{
    const hl_prepare_options *options = child->options;
    const char *const directory[] = {options->directory, NULL};
    char texts[HL__JOB_TEXTS_MAX];
    struct hl__job job = {.version = HL__PROTOCOL_VERSION,
                          .kind = kind,
                          .size_max = options->size_max,
                          .inodes_max = options->files_max,
                          .depth_max = options->depth_max,
                          .cpu_time_s = options->timeout_ns / 1000000000 + 1};
    uint32_t *sizes[] = {&job.arguments_size, &job.environment_size, &job.directory_size};
    const char *const *lists[] = {options->arguments, options->environment, directory};
    size_t used = 0;
    for (size_t i = 0; i < 3; i++) {
        *sizes[i] = join_strings(texts + used, sizeof texts - used, lists[i]);
        if (*sizes[i] == UINT32_MAX)
            return hl__error_set(err, HL_INVALID_ARGUMENT, NULL,
                                 "arguments, environment and directory of an image may have %u "
                                 "bytes together",
                                 HL__JOB_TEXTS_MAX);
        used += *sizes[i];
    }
    struct iovec parts[] = {{&job, sizeof job}, {texts, used}};
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(child->control, &header, MSG_NOSIGNAL);
    /* Why a helper is gone already, its end tells. */
    if (sent == (ssize_t)(sizeof job + used) ||
        (sent < 0 && (errno == EPIPE || errno == ECONNRESET)))
        return HL_OK;
    return start_failed(err, errno, "sendmsg");
}

static void close_pair(int pair[2])
{
    if (pair[0] >= 0)
        close(pair[0]);
    if (pair[1] >= 0)
        close(pair[1]);
}

hl_status hl__child_start(struct hl__child *child, uint32_t kind, int input, int output,
                          const hl_prepare_options *options, hl_error *err)
{
    int control[2] = {-1, -1}, bulk[2] = {-1, -1};
    *child = (struct hl__child){.pid = -1,
                                .bulk = -1,
                                .options = options,
                                .deadline_ns = now_ns() + (int64_t)options->timeout_ns};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0 ||
        (kind == HL__INPUT_STREAM &&
         socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, bulk) != 0)) {
        int error = errno;
        close_pair(control);
        return start_failed(err, error, "socketpair");
    }
    struct handed handed = {control[1], output, kind == HL__INPUT_STREAM ? bulk[1] : input};
    hl_status status = spawn_with(child, handed, err);
    close(control[1]);
    control[1] = -1;
    if (bulk[1] >= 0)
        close(bulk[1]);
    bulk[1] = -1;
    if (status != HL_OK) {
        close_pair(control);
        close_pair(bulk);
        return status;
    }
    child->control = control[0];
    child->bulk = bulk[0];
    status = send_job(child, kind, err);
    if (status != HL_OK)
        hl__child_abandon(child);
    return status;
}

/* ---- Ending ---- */

/* The exit status; 0 if the host application took it away. */
static int reap(struct hl__child *child)
{
    int status = 0;
    pid_t result;
    if (child->pid < 0)
        return 0;
    do
        result = waitpid(child->pid, &status, 0);
    while (result < 0 && errno == EINTR);
    child->pid = -1;
    return result < 0 ? 0 : status;
}

static void close_both(struct hl__child *child)
{
    if (child->bulk >= 0)
        close(child->bulk);
    if (child->control >= 0)
        close(child->control);
    child->bulk = child->control = -1;
}

void hl__child_abandon(struct hl__child *child)
{
    if (child->pid >= 0)
        kill(child->pid, SIGKILL);
    reap(child);
    close_both(child);
}

/* The exit status of a helper that closed its socket, which it may outlive a little. */
static int reap_soon(struct hl__child *child)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    int status = 0;
    for (int tries = 0; tries < 100; tries++) {
        pid_t result = waitpid(child->pid, &status, WNOHANG);
        if (result == child->pid) {
            child->pid = -1;
            return status;
        }
        if (result < 0 && errno != EINTR)
            break;
        nanosleep(&pause, NULL);
    }
    kill(child->pid, SIGKILL);
    reap(child);
    return 0;
}

/* A helper that ended without a word. */
static hl_status explain_end(struct hl__child *child, hl_error *err)
{
    int status = reap_soon(child);
    int signal_number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (signal_number == SIGXCPU)
        return hl__error_set(err, HL_CPU_LIMIT, NULL,
                             "preparing the image takes more CPU time than its limit allows");
    if (signal_number == SIGKILL)
        return hl__error_set(err, HL_OUT_OF_MEMORY, NULL,
                             "hyperlight-prepare was killed: the system may be out of memory");
    if (signal_number)
        return hl__error_set(
            err, HL_IMAGE_INVALID, NULL,
            "hyperlight-prepare died of signal %d while it read the input%s", signal_number,
            signal_number == SIGSYS ? ", on a system call that it may not use" : "");
    return hl__error_set(err, HL_SYSTEM, NULL, "hyperlight-prepare ended with status %d",
                         WIFEXITED(status) ? WEXITSTATUS(status) : 0);
}

/* ---- Listening ---- */

static hl_status misbehaved(hl_error *err)
{
    return hl__error_set(err, HL_IMAGE_INVALID, NULL,
                         "hyperlight-prepare said something that makes no sense");
}

static hl_status take_failure(const struct hl__message *message, hl_error *err)
{
    switch (message->status) {
    case HL_OUT_OF_MEMORY:
    case HL_SYSTEM:
    case HL_IMAGE_UNREADABLE:
    case HL_IMAGE_INVALID:
    case HL_IMAGE_TOO_LARGE:
    case HL_IMAGE_TOO_MANY_FILES:
    case HL_IMAGE_TOO_DEEP:
        break;
    default:
        return misbehaved(err);
    }
    hl__error_set(err, (hl_status)message->status, "hyperlight-prepare", "%s", message->text);
    if (err)
        err->os_error = message->os_error;
    return (hl_status)message->status;
}

static hl_status take_progress(struct hl__child *child, const struct hl__message *message,
                               hl_error *err)
{
    const hl_prepare_options *options = child->options;
    hl_prepare_progress progress = {
        .bytes_read = message->bytes_in, .bytes_written = message->size, .files = message->files};
    if (options->progress && !options->progress(&progress, options->progress_user))
        return hl__error_set(err, HL_INTERRUPTED, NULL, "preparing the image was stopped");
    return HL_OK;
}

static hl_status answer(struct hl__child *child, const struct hl__message *message, hl_error *err)
{
    struct hl__answer reply = {0};
    struct iovec part = {&reply, sizeof reply};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (!child->open)
        return misbehaved(err);
    int file = child->open(message->text, child->open_user);
    if (file < 0) {
        reply.os_error = -file;
    } else {
        header.msg_control = control.room;
        header.msg_controllen = sizeof control.room;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        *rights = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof file)};
        memcpy(CMSG_DATA(rights), &file, sizeof file);
    }
    ssize_t sent = sendmsg(child->control, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (file >= 0)
        close(file);
    return sent == (ssize_t)sizeof reply ? HL_OK : misbehaved(err);
}

static hl_status take_message(struct hl__child *child, const struct hl__message *message,
                              hl_error *err)
{
    if (!memchr(message->text, '\0', sizeof message->text))
        return misbehaved(err);
    switch (message->kind) {
    case HL__MESSAGE_PROGRESS:
        return take_progress(child, message, err);
    case HL__MESSAGE_WANT:
        return answer(child, message, err);
    case HL__MESSAGE_FAILED:
        return take_failure(message, err);
    case HL__MESSAGE_DONE:
        child->done = true;
        child->size = message->size;
        child->files = message->files;
        return HL_OK;
    default:
        return misbehaved(err);
    }
}

/* Takes what the helper said, if anything; not for ever, if it does not stop. */
static hl_status listen_now(struct hl__child *child, hl_error *err)
{
    for (int i = 0; i < MESSAGES_AT_ONCE && !child->done; i++) {
        struct hl__message message;
        ssize_t size = recv(child->control, &message, sizeof message, MSG_DONTWAIT | MSG_TRUNC);
        /* A helper that ended before it read all resets the connection, and may have left its reason. */
        if (size < 0 && (errno == EINTR || errno == ECONNRESET))
            continue;
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return HL_OK;
        if (size <= 0)
            return explain_end(child, err);
        if (size != (ssize_t)sizeof message)
            return misbehaved(err);
        hl_status status = take_message(child, &message, err);
        if (status != HL_OK)
            return status;
    }
    return HL_OK;
}

/* Waits until the helper says something, or takes bytes if `sending`. */
static hl_status wait_for(struct hl__child *child, bool sending, hl_error *err)
{
    struct pollfd files[] = {{.fd = child->control, .events = POLLIN},
                             {.fd = sending ? child->bulk : -1, .events = POLLOUT}};
    int64_t left = child->deadline_ns - now_ns();
    if (left <= 0)
        return hl__error_set(err, HL_TIMED_OUT, NULL, "preparing the image took too long");
    struct timespec patience = {left / 1000000000, left % 1000000000};
    if (ppoll(files, 2, &patience, NULL) < 0 && errno != EINTR)
        return hl__error_os(err, HL_SYSTEM, errno, "ppoll", "cannot wait for hyperlight-prepare");
    return files[0].revents ? listen_now(child, err) : HL_OK;
}

/* After a failure the helper is ended by whoever sees it. */
static hl_status child_failed(struct hl__child *child, hl_status status)
{
    child->failed = true;
    hl__child_abandon(child);
    return status;
}

hl_status hl__child_send(struct hl__child *child, const void *data, size_t size, hl_error *err)
{
    const char *next = data;
    while (size > 0) {
        ssize_t sent = send(child->bulk, next, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            next += sent;
            size -= (size_t)sent;
            continue;
        }
        /* A helper that ended has left its reason. */
        bool gone = sent < 0 && (errno == EPIPE || errno == ECONNRESET);
        hl_status status = wait_for(child, !gone, err);
        if (status != HL_OK)
            return child_failed(child, status);
    }
    return HL_OK;
}

hl_status hl__child_finish(struct hl__child *child, hl_error *err)
{
    hl_status status = HL_OK;
    while (!child->done && status == HL_OK)
        status = wait_for(child, false, err);
    if (status != HL_OK)
        return child_failed(child, status);
    hl__child_abandon(child);
    return HL_OK;
}
