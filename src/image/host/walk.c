/* Walking over a directory of the host. */
#define _GNU_SOURCE
#include "image/host/walk.h"

#include "util/error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Of the host's directories: each takes a descriptor while it is walked. */
#define DEPTH_MAX 512

struct walker {
    const char *root;
    hl__walk_visit *visit;
    void *user;
    int depth;
    size_t size; /* of the path */
    char path[PATH_MAX];
};

static hl_status walk_failed(const struct walker *walker, const char *source, hl_error *err)
{
    int error = errno;
    return hl__error_os(err, error == ENOMEM ? HL_OUT_OF_MEMORY : HL_IMAGE_UNREADABLE, error,
                        source, "cannot read '%s%s%s'", walker->root, walker->size ? "/" : "",
                        walker->path);
}

struct names {
    char **list;
    size_t count, room;
};

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->list[i]);
    free(names->list);
}

static bool names_add(struct names *names, const char *name)
{
    if (names->count == names->room) {
        size_t room = names->room ? 2 * names->room : 32;
        char **list = reallocarray(names->list, room, sizeof *list);
        if (!list)
            return false;
        names->list = list;
        names->room = room;
    }
    names->list[names->count] = strdup(name);
    return names->list[names->count++] != NULL;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static bool read_names(int directory, struct names *names)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    bool good = true;
    if (!stream) {
        if (copy >= 0)
            close(copy);
        return false;
    }
    errno = 0;
    while (good && (entry = readdir(stream))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            good = names_add(names, entry->d_name);
        if (good)
            errno = 0;
    }
    int error = errno;
    closedir(stream);
    errno = error;
    if (good && error == 0 && names->count > 1)
        qsort(names->list, names->count, sizeof *names->list, compare_names);
    return good && error == 0;
}

/* Whether the kernel makes the files up, so that they have no contents to copy. */
static bool is_made_up(int directory)
{
    struct statfs system;
    if (fstatfs(directory, &system) != 0)
        return false;
    return system.f_type == PROC_SUPER_MAGIC || system.f_type == SYSFS_MAGIC ||
           system.f_type == CGROUP_SUPER_MAGIC || system.f_type == CGROUP2_SUPER_MAGIC ||
           system.f_type == DEBUGFS_MAGIC || system.f_type == TRACEFS_MAGIC;
}

static hl_status walk_directory(struct walker *walker, int directory, hl_error *err);

static hl_status walk_below(struct walker *walker, int above, const char *name, hl_error *err)
{
    if (walker->depth == DEPTH_MAX)
        return hl__error_set(err, HL_IMAGE_TOO_DEEP, NULL,
                             "'%s/%s' has directories more than %d deep", walker->root,
                             walker->path, DEPTH_MAX);
    int directory = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory < 0)
        return walk_failed(walker, "openat", err);
    walker->depth++;
    hl_status status = is_made_up(directory) ? HL_OK : walk_directory(walker, directory, err);
    walker->depth--;
    close(directory);
    return status;
}

static hl_status visit_name(struct walker *walker, int directory, const char *name, hl_error *err)
{
    struct stat attributes;
    size_t before = walker->size, size = strlen(name);
    if (before + 1 + size >= sizeof walker->path)
        return hl__error_set(err, HL_IMAGE_TOO_DEEP, NULL,
                             "'%s/%s' has paths of more than %d bytes", walker->root, walker->path,
                             PATH_MAX - 1);
    if (before > 0)
        walker->path[walker->size++] = '/';
    memcpy(walker->path + walker->size, name, size + 1);
    walker->size += size;
    hl_status status = HL_OK;
    if (fstatat(directory, name, &attributes, AT_SYMLINK_NOFOLLOW) != 0)
        status = walk_failed(walker, "fstatat", err);
    if (status == HL_OK)
        status = walker->visit(directory, name, walker->path, &attributes, walker->user, err);
    if (status == HL_OK && S_ISDIR(attributes.st_mode))
        status = walk_below(walker, directory, name, err);
    walker->size = before;
    walker->path[before] = '\0';
    return status;
}

static hl_status walk_directory(struct walker *walker, int directory, hl_error *err)
{
    struct names names = {0};
    hl_status status = HL_OK;
    if (!read_names(directory, &names))
        status = walk_failed(walker, "readdir", err);
    for (size_t i = 0; i < names.count && status == HL_OK; i++)
        status = visit_name(walker, directory, names.list[i], err);
    names_free(&names);
    return status;
}

hl_status hl__walk(int directory, const char *root, hl__walk_visit *visit, void *user,
                   hl_error *err)
{
    struct walker walker = {.root = root, .visit = visit, .user = user};
    struct stat attributes;
    if (fstat(directory, &attributes) != 0)
        return walk_failed(&walker, "fstat", err);
    hl_status status = visit(directory, ".", "", &attributes, user, err);
    return status == HL_OK ? walk_directory(&walker, directory, err) : status;
}
