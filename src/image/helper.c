/*
 * hyperlight-prepare: makes a prepared image from what the library hands over. Not for people: the
 * library starts it with its descriptors in place. It confines itself before it looks at the input.
 */
#define _GNU_SOURCE
#include "image/archive.h"
#include "image/confine.h"
#include "image/protocol.h"
#include "image/stream.h"
#include "image/writer.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_INTERVAL_NS 100000000

struct helper {
    struct hl__job job;
    char texts[HL__JOB_TEXTS_MAX];
    struct hl__contents contents;
    struct hl__tree tree;
    struct hl__file_source source;
    int64_t reported_ns;
};

static struct helper helper;

static void send_message(const struct hl__message *message, int flags)
{
    ssize_t sent;
    do
        sent = send(HL__HELPER_CONTROL, message, sizeof *message, flags | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* Now and then, and never waiting for a library that does not listen. */
static void report_progress(void *user)
{
    (void)user;
    int64_t now = now_ns();
    if (now - helper.reported_ns < PROGRESS_INTERVAL_NS)
        return;
    helper.reported_ns = now;
    send_message(&(struct hl__message){.kind = HL__MESSAGE_PROGRESS,
                                       .files = helper.tree.inode_count,
                                       .bytes_in = helper.source.offset,
                                       .size = helper.contents.end},
                 MSG_DONTWAIT);
}

static int report_failure(const hl_error *err)
{
    struct hl__message message = {
        .kind = HL__MESSAGE_FAILED, .status = (uint32_t)err->status, .os_error = err->os_error};
    snprintf(message.text, sizeof message.text, "%s", err->message);
    send_message(&message, 0);
    return EXIT_FAILURE;
}

static hl_status read_job(hl_error *err)
{
    struct iovec parts[] = {{&helper.job, sizeof helper.job}, {helper.texts, sizeof helper.texts}};
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};
    struct hl__job *job = &helper.job;
    ssize_t size;
    do
        size = recvmsg(HL__HELPER_CONTROL, &header, 0);
    while (size < 0 && errno == EINTR);
    uint64_t texts =
        (uint64_t)job->arguments_size + job->environment_size + (uint64_t)job->directory_size;
    if (size < (ssize_t)sizeof *job || job->version != HL__PROTOCOL_VERSION ||
        texts != (uint64_t)size - sizeof *job)
        return hl__error_set(err, HL_SYSTEM, NULL,
                             "the helper is of another version than the library");
    return HL_OK;
}

static hl_status read_input(hl_error *err)
{
    static const struct hl__archive_progress progress = {.report = report_progress};
    if (helper.job.kind == HL__INPUT_STREAM)
        return hl__stream_read(HL__HELPER_INPUT, &helper.tree, &progress, err);
    hl_status status = hl__file_source_init(&helper.source, HL__HELPER_INPUT, err);
    if (status == HL_OK)
        status = hl__archive_read(&helper.source.base, &helper.tree, false, &progress, err);
    return status;
}

static hl_status write_image(hl_error *err)
{
    const struct hl__job *job = &helper.job;
    struct hl__image_texts texts = {.arguments = helper.texts,
                                    .arguments_size = job->arguments_size,
                                    .environment = helper.texts + job->arguments_size,
                                    .environment_size = job->environment_size,
                                    .directory =
                                        helper.texts + job->arguments_size + job->environment_size,
                                    .directory_size = job->directory_size};
    struct hl__message message = {.kind = HL__MESSAGE_DONE, .files = helper.tree.inode_count};
    hl_status status = hl__image_write(&helper.tree, &texts, &message.size, err);
    if (status == HL_OK)
        send_message(&message, 0);
    return status;
}

static hl_status prepare(hl_error *err)
{
    const struct hl__tree_limits limits = {.inodes = helper.job.inodes_max,
                                           .depth = helper.job.depth_max};
    hl_status status = hl__contents_init(&helper.contents, HL__HELPER_OUTPUT,
                                         HL__IMAGE_CONTENTS_START, helper.job.size_max, err);
    if (status == HL_OK)
        status = hl__tree_init(&helper.tree, &limits, &helper.contents, err);
    if (status == HL_OK)
        status = read_input(err);
    return status == HL_OK ? write_image(err) : status;
}

int main(void)
{
    hl_error err = HL_ERROR_INIT;
    if (fcntl(HL__HELPER_CONTROL, F_GETFD) < 0) {
        fputs("hyperlight-prepare: libhyperlight-image starts this program; see "
              "hyperlight-image(1)\n",
              stderr);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Names in archives are bytes; libarchive converts those that it knows to be UTF-8. */
    setlocale(LC_CTYPE, "C.UTF-8");
    if (read_job(&err) != HL_OK || hl__confine(&helper.job, &err) != HL_OK ||
        prepare(&err) != HL_OK)
        return report_failure(&err);
    return EXIT_SUCCESS;
}
