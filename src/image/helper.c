/*
 * hyperlight-prepare: makes a prepared image from what the library hands over. Not for people: the
 * library starts it with its descriptors in place. It confines itself before it looks at the input.
 */
#define _GNU_SOURCE
#include "image/archive.h"
#include "image/confine.h"
#include "image/oci.h"
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
    struct hl__oci_archive archive;
    struct hl__oci_config config;
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

/* ---- Layouts in directories: the library opens their files ---- */

static hl_status refused(const char *name, int os_error, hl_error *err)
{
    return hl__error_os(err, HL_IMAGE_UNREADABLE, os_error, NULL,
                        "the container's image lacks '%s'", name);
}

/* The descriptor that comes with the library's answer, or a negative errno. */
static int receive_file(void)
{
    struct hl__answer answer;
    struct iovec part = {&answer, sizeof answer};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.room,
                            .msg_controllen = sizeof control.room};
    ssize_t size;
    int file = -EPROTO;
    do
        size = recvmsg(HL__HELPER_CONTROL, &header, 0);
    while (size < 0 && errno == EINTR);
    if (size != (ssize_t)sizeof answer)
        return -EPROTO;
    const struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    if (answer.os_error != 0)
        return answer.os_error > 0 ? -answer.os_error : -EPROTO;
    if (rights && rights->cmsg_type == SCM_RIGHTS && rights->cmsg_len == CMSG_LEN(sizeof file))
        memcpy(&file, CMSG_DATA(rights), sizeof file);
    return file;
}

static hl_status open_wanted(struct hl__oci_files *files, const char *name,
                             struct hl__source **source, hl_error *err)
{
    struct hl__message message = {.kind = HL__MESSAGE_WANT};
    (void)files;
    snprintf(message.text, sizeof message.text, "%s", name);
    send_message(&message, 0);
    int file = receive_file();
    if (file < 0)
        return refused(name, -file, err);
    *source = &helper.source.base;
    hl_status status = hl__file_source_init(&helper.source, file, err);
    if (status != HL_OK)
        close(file);
    return status;
}

static void close_wanted(struct hl__oci_files *files)
{
    (void)files;
    close(helper.source.file);
}

/* ---- Inputs ---- */

static const struct hl__archive_progress progress = {.report = report_progress};

static hl_status read_archive(hl_error *err)
{
    enum hl__oci_kind kind;
    hl_status status = hl__oci_detect(HL__HELPER_INPUT, &kind, err);
    if (status != HL_OK)
        return status;
    if (kind != HL__OCI_NONE) {
        hl__oci_archive_init(&helper.archive, HL__HELPER_INPUT, err);
        return hl__oci_read(&helper.archive.base, kind, &helper.tree, &helper.config, &progress,
                            err);
    }
    status = hl__file_source_init(&helper.source, HL__HELPER_INPUT, err);
    if (status == HL_OK)
        status = hl__archive_read(&helper.source.base, &helper.tree, false, &progress, err);
    return status;
}

static hl_status read_input(hl_error *err)
{
    static struct hl__oci_files wanted = {.open = open_wanted, .close = close_wanted};
    switch (helper.job.kind) {
    case HL__INPUT_STREAM:
        return hl__stream_read(HL__HELPER_INPUT, &helper.tree, &progress, err);
    case HL__INPUT_LAYOUT:
        return hl__oci_read(&wanted, HL__OCI_LAYOUT, &helper.tree, &helper.config, &progress, err);
    default:
        return read_archive(err);
    }
}

/* What the job says comes before what the container's image says. */
static void choose_texts(struct hl__image_texts *texts)
{
    const struct hl__job *job = &helper.job;
    const struct hl__oci_config *config = &helper.config;
    const char *text = helper.texts;
    bool given = job->arguments_size > 0;
    texts->arguments = given ? text : config->arguments;
    texts->arguments_size = given ? job->arguments_size : config->arguments_size;
    text += job->arguments_size;
    given = job->environment_size > 0;
    texts->environment = given ? text : config->environment;
    texts->environment_size = given ? job->environment_size : config->environment_size;
    text += job->environment_size;
    given = job->directory_size > 0;
    texts->directory = given ? text : config->directory;
    texts->directory_size = given ? job->directory_size : config->directory_size;
}

static hl_status write_image(hl_error *err)
{
    struct hl__image_texts texts;
    struct hl__message message = {.kind = HL__MESSAGE_DONE, .files = helper.tree.inode_count};
    choose_texts(&texts);
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
    hl__oci_seed();
    /* Names in archives are bytes; libarchive converts those that it knows to be UTF-8. */
    setlocale(LC_CTYPE, "C.UTF-8");
    if (read_job(&err) != HL_OK || hl__confine(&helper.job, &err) != HL_OK ||
        prepare(&err) != HL_OK)
        return report_failure(&err);
    return EXIT_SUCCESS;
}
