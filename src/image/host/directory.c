/* Directories of the host to records. */
#define _GNU_SOURCE
#include "image/host/directory.h"

#include "image/host/walk.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A file with several names, by the first that was met. */
struct linked {
    dev_t device;
    ino_t inode;
    char path[];
};

struct sending {
    struct hl__records *records;
    const char *root, *below;
    bool owned;
    void *linked; /* tsearch() */
};

static int compare_linked(const void *left, const void *right)
{
    const struct linked *a = left, *b = right;
    if (a->device != b->device)
        return a->device < b->device ? -1 : 1;
    return (a->inode > b->inode) - (a->inode < b->inode);
}

/* The first name of a file that has more. NULL: this is the first; *failed: no memory. */
static const char *first_name(struct sending *sending, const char *path,
                              const struct stat *attributes, bool *failed)
{
    size_t size = strlen(path) + 1;
    struct linked *mine = malloc(sizeof *mine + size);
    *failed = true;
    if (!mine)
        return NULL;
    *mine = (struct linked){.device = attributes->st_dev, .inode = attributes->st_ino};
    memcpy(mine->path, path, size);
    struct linked **found = tsearch(mine, &sending->linked, compare_linked);
    *failed = found == NULL;
    if (found && *found == mine)
        return NULL;
    free(mine);
    return found ? (*found)->path : NULL;
}

static hl_status send_node(struct sending *sending, const char *path, const char *target,
                           const struct stat *attributes, hl_error *err)
{
    struct stat changed = *attributes;
    if (!sending->owned)
        changed.st_uid = changed.st_gid = 0;
    return hl__records_add(sending->records, HL__RECORD_NODE, path, target, &changed, err);
}

static hl_status send_file(struct sending *sending, int directory, const char *name,
                           const char *path, hl_error *err)
{
    struct stat attributes;
    int file = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0 || fstat(file, &attributes) != 0 || !S_ISREG(attributes.st_mode)) {
        int error = file < 0 ? errno : ESTALE;
        if (file >= 0)
            close(file);
        return hl__error_os(err, HL_IMAGE_UNREADABLE, error, "openat", "cannot read '%s/%s'",
                            sending->root, path);
    }
    hl_status status = send_node(sending, path, NULL, &attributes, err);
    if (status == HL_OK)
        status = hl__records_file(sending->records, file, (uint64_t)attributes.st_size, path, err);
    close(file);
    return status;
}

static hl_status send_symlink(struct sending *sending, int directory, const char *name,
                              const char *path, const struct stat *attributes, hl_error *err)
{
    char target[PATH_MAX + 1];
    ssize_t size = readlinkat(directory, name, target, sizeof target - 1);
    if (size < 0)
        return hl__error_os(err, HL_IMAGE_UNREADABLE, errno, "readlinkat", "cannot read '%s/%s'",
                            sending->root, path);
    target[size] = '\0';
    return send_node(sending, path, target, attributes, err);
}

static hl_status visit(int directory, const char *name, const char *relative,
                       const struct stat *attributes, void *user, hl_error *err)
{
    struct sending *sending = user;
    bool failed = false;
    char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s%s%s", sending->below, *sending->below ? "/" : "", relative);
    if (S_ISSOCK(attributes->st_mode))
        return HL_OK; /* it is nothing without its process */
    const char *first = NULL;
    if (!S_ISDIR(attributes->st_mode) && attributes->st_nlink > 1)
        first = first_name(sending, path, attributes, &failed);
    if (failed)
        return hl__error_set(err, HL_OUT_OF_MEMORY, NULL, "no memory left for the names of files");
    if (first)
        return hl__records_add(sending->records, HL__RECORD_LINK, path, first, attributes, err);
    if (S_ISREG(attributes->st_mode))
        return send_file(sending, directory, name, path, err);
    if (S_ISLNK(attributes->st_mode))
        return send_symlink(sending, directory, name, path, attributes, err);
    return send_node(sending, path, NULL, attributes, err);
}

hl_status hl__directory_send(struct hl__records *records, int directory, const char *root,
                             const char *below, bool owned, hl_error *err)
{
    struct sending sending = {.records = records, .root = root, .below = below, .owned = owned};
    hl_status status = hl__walk(directory, root, visit, &sending, err);
    tdestroy(sending.linked, free);
    return status;
}
