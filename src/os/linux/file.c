/* Memory files, and reading a user's file into one. */
#define _GNU_SOURCE
#include "os/linux/mapping.h"
#include "os/os.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_SIZE 16384

static hl_status file_failed(hl_error *err, const char *source, const char *what)
{
    int error = errno;
    bool no_memory = error == ENOMEM || error == ENOSPC;
    return hl__error_os(err, no_memory ? HL_OUT_OF_MEMORY : HL_SYSTEM, error, source, "%s", what);
}

static hl_status file_resize(hl__os_file file, uint64_t size, hl_error *err)
{
    if (ftruncate(file.descriptor, (off_t)size) != 0)
        return file_failed(err, "ftruncate", "cannot grow a memory file");
    return HL_OK;
}

hl_status hl__os_file_new(const char *debug_name, uint64_t size, hl__os_file *file, hl_error *err)
{
    hl__os_file made = {memfd_create(debug_name, MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (made.descriptor < 0)
        return file_failed(err, "memfd_create",
                           "cannot make a memory file; see the limit on open files (ulimit -n)");
    hl_status status = file_resize(made, size, err);
    if (status != HL_OK) {
        hl__os_file_close(made);
        return status;
    }
    *file = made;
    return HL_OK;
}

hl_status hl__os_file_write(hl__os_file file, uint64_t offset, const void *data, size_t size,
                            hl_error *err)
{
    const char *next = data;
    while (size > 0) {
        ssize_t taken = pwrite(file.descriptor, next, size, (off_t)offset);
        if (taken < 0 && errno == EINTR)
            continue;
        if (taken < 0)
            return file_failed(err, "pwrite", "cannot write to a memory file");
        next += taken;
        offset += (uint64_t)taken;
        size -= (size_t)taken;
    }
    return HL_OK;
}

hl_status hl__os_file_seal(hl__os_file file, hl_error *err)
{
    int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (fcntl(file.descriptor, F_ADD_SEALS, seals) != 0)
        return file_failed(err, "fcntl", "cannot seal a memory file");
    return HL_OK;
}

hl_status hl__os_file_map(hl__os_file file, uint64_t offset, size_t size, bool writable,
                          void **address, hl_error *err)
{
    /* MAP_PRIVATE for reading too: it shows the file's own pages, and before Linux 6.7 a sealed
     * file cannot be mapped MAP_SHARED. */
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    return hl__linux_map(size, protection, MAP_PRIVATE | MAP_NORESERVE, file.descriptor, offset,
                         address, err);
}

void hl__os_file_close(hl__os_file file)
{
    close(file.descriptor);
}

/* A file that is being read: what it was at the start tells whether it changed. */
struct source {
    const char *path;
    int descriptor;
    struct stat before;
};

static hl_status source_open(struct source *source, const char *path, hl_error *err)
{
    /* O_NONBLOCK: a FIFO without a writer must not hang. */
    *source = (struct source){path, open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), {0}};
    if (source->descriptor < 0)
        return hl__error_os(err, HL_PROGRAM_UNREADABLE, errno, "open", "%s", path);
    hl_status status = HL_OK;
    if (fstat(source->descriptor, &source->before) != 0)
        status = hl__error_os(err, HL_PROGRAM_UNREADABLE, errno, "fstat", "%s", path);
    else if (S_ISDIR(source->before.st_mode))
        status = hl__error_set(err, HL_PROGRAM_UNREADABLE, "open",
                               "%s: it is a directory; name a file", path);
    else if (!S_ISREG(source->before.st_mode))
        status =
            hl__error_set(err, HL_PROGRAM_UNREADABLE, "open", "%s: it is not a regular file", path);
    if (status != HL_OK)
        close(source->descriptor);
    return status;
}

static hl_status too_large(const struct source *source, uint64_t size_max, hl_error *err)
{
    return hl__error_set(err, HL_PROGRAM_TOO_LARGE, "hl_program_open",
                         "%s: the file is larger than %" PRIu64 " bytes, the most that a program "
                         "may have",
                         source->path, size_max);
}

/* Fills the file from `offset` on with what the source gives, to its end. */
static hl_status source_copy(const struct source *source, hl__os_file file, uint64_t offset,
                             uint64_t size_max, uint64_t *size, hl_error *err)
{
    char buffer[COPY_SIZE];
    uint64_t total = 0;
    for (;;) {
        ssize_t taken = read(source->descriptor, buffer, sizeof buffer);
        if (taken < 0 && errno == EINTR)
            continue;
        if (taken < 0)
            return hl__error_os(err, HL_PROGRAM_UNREADABLE, errno, "read", "%s", source->path);
        if (taken == 0)
            break;
        if ((uint64_t)taken > size_max - total)
            return too_large(source, size_max, err);
        hl_status status = hl__os_file_write(file, offset + total, buffer, (size_t)taken, err);
        if (status != HL_OK)
            return status;
        total += (uint64_t)taken;
    }
    *size = total;
    return HL_OK;
}

static hl_status source_check(const struct source *source, uint64_t size, hl_error *err)
{
    const struct stat *before = &source->before;
    struct stat after;
    if (fstat(source->descriptor, &after) != 0)
        return hl__error_os(err, HL_PROGRAM_UNREADABLE, errno, "fstat", "%s", source->path);
    if ((uint64_t)before->st_size != size || after.st_size != before->st_size ||
        after.st_mtim.tv_sec != before->st_mtim.tv_sec ||
        after.st_mtim.tv_nsec != before->st_mtim.tv_nsec)
        return hl__error_set(err, HL_PROGRAM_UNREADABLE, "read",
                             "%s: the file changed while it was read; try again", source->path);
    return HL_OK;
}

static uint64_t page_round_up(uint64_t size)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) & ~(page - 1);
}

hl_status hl__os_file_copy_path(hl__os_file file, uint64_t offset, const char *path,
                                uint64_t size_max, uint64_t *size, hl_error *err)
{
    struct source source;
    hl_status status = source_open(&source, path, err);
    if (status != HL_OK)
        return status;
    uint64_t copied = 0;
    if ((uint64_t)source.before.st_size > size_max)
        status = too_large(&source, size_max, err);
    else
        status = source_copy(&source, file, offset, size_max, &copied, err);
    if (status == HL_OK)
        status = source_check(&source, copied, err);
    if (status == HL_OK)
        status = file_resize(file, offset + page_round_up(copied), err);
    close(source.descriptor);
    if (status == HL_OK)
        *size = copied;
    return status;
}

/* Whether nobody but the file's owner can put another file in its place. */
static bool directory_is_private(int descriptor)
{
    char link[32], path[PATH_MAX];
    struct stat status;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0 || path[0] != '/')
        return false;
    path[length] = '\0';
    char *slash = strrchr(path, '/');
    slash[slash == path] = '\0';
    return stat(path, &status) == 0 && !(status.st_mode & S_IWOTH);
}

/* Access lists that let others write show in the group's bits. */
static bool source_is_private(const struct source *source)
{
    const struct stat *status = &source->before;
    return (status->st_uid == geteuid() || status->st_uid == 0) &&
           !(status->st_mode & (S_IWGRP | S_IWOTH)) && directory_is_private(source->descriptor);
}

static struct hl__os_file_identity source_identity(const struct source *source)
{
    const struct stat *status = &source->before;
    return (struct hl__os_file_identity){
        (uint64_t)status->st_dev,          (uint64_t)status->st_ino,
        (uint64_t)status->st_size,         (uint64_t)status->st_mtim.tv_sec,
        (uint64_t)status->st_mtim.tv_nsec, (uint64_t)status->st_ctim.tv_sec,
        (uint64_t)status->st_ctim.tv_nsec,
    };
}

hl_status hl__os_file_map_private(const char *path, uint64_t size_max, bool writable,
                                  void **address, uint64_t *size,
                                  struct hl__os_file_identity *identity, hl_error *err)
{
    struct source source;
    hl_status status = source_open(&source, path, err);
    if (status != HL_OK)
        return status;
    uint64_t bytes = (uint64_t)source.before.st_size;
    *address = NULL;
    *size = bytes;
    if (bytes > 0 && bytes == page_round_up(bytes) && bytes <= size_max &&
        source_is_private(&source)) {
        status =
            hl__os_file_map((hl__os_file){source.descriptor}, 0, bytes, writable, address, err);
        *identity = source_identity(&source);
    }
    close(source.descriptor);
    return status;
}
