/* Taking files of this machine into an image, at their own paths and with the links that lead there. */
#define _GNU_SOURCE
#include "pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLLOW_MAX 40

static int compare_paths(const void *left, const void *right)
{
    return strcmp(left, right);
}

bool pack_has(struct pack *pack, const char *image)
{
    return tfind(image, &pack->seen, compare_paths) != NULL;
}

/* Whether the path in the image is new; it then is taken. */
static bool claim(struct pack *pack, const char *image)
{
    if (pack_has(pack, image))
        return false;
    char *copy = strdup(image);
    if (copy && tsearch(copy, &pack->seen, compare_paths))
        return true;
    free(copy);
    report_error("out of memory");
    pack->failed = true;
    return false;
}

void pack_tree_free(struct pack *pack)
{
    tdestroy(pack->seen, free);
    pack->seen = NULL;
}

static bool built(struct pack *pack, hl_status status, const hl_error *err)
{
    if (status == HL_OK)
        return true;
    report_error("%s", err->message);
    pack->failed = true;
    return false;
}

static bool cannot_read(const char *path)
{
    report_error("cannot read '%s': %s", path, strerror(errno));
    return false;
}

bool pack_absolute(const char *path, char out[PATH_MAX])
{
    char folder[PATH_MAX] = "";
    size_t used = 0;
    if (*path != '/' && !getcwd(folder, sizeof folder))
        return cannot_read(".");
    for (const char *part = folder; part; part = part == folder ? path : NULL) {
        for (const char *next = part + strspn(part, "/"); *next; next += strspn(next, "/")) {
            size_t size = strcspn(next, "/");
            if (used + size + 2 > PATH_MAX) {
                errno = ENAMETOOLONG;
                return cannot_read(path);
            }
            if (size != 1 || *next != '.') {
                out[used++] = '/';
                memcpy(out + used, next, size);
                used += size;
            }
            next += size;
        }
    }
    if (used == 0)
        out[used++] = '/';
    out[used] = '\0';
    return true;
}

/* ---- Files ---- */

static bool note_file(struct pack *pack, const char *host, const char *image, uint64_t size)
{
    pack->files++;
    pack->bytes += size;
    if (pack->verbose && strcmp(host, image) == 0)
        printf("%12" PRIu64 " %s\n", size, image);
    else if (pack->verbose)
        printf("%12" PRIu64 " %s (from %s)\n", size, image, host);
    return pack_add_object(pack, host, image);
}

static bool take_file(struct pack *pack, const char *host, const char *image,
                      const struct stat *attributes)
{
    hl_error err = HL_ERROR_INIT;
    if (!claim(pack, image))
        return !pack->failed;
    return built(pack, hl_image_builder_copy(pack->builder, image, host, &err), &err) &&
           note_file(pack, host, image, (uint64_t)attributes->st_size);
}

static bool take_link(struct pack *pack, const char *image, const char *target)
{
    hl_error err = HL_ERROR_INIT;
    if (!claim(pack, image))
        return !pack->failed;
    return built(pack, hl_image_builder_add_symlink(pack->builder, image, target, &err), &err);
}

bool pack_default(struct pack *pack, const char *image, const char *text, size_t size)
{
    hl_error err = HL_ERROR_INIT;
    if (!claim(pack, image))
        return !pack->failed;
    if (pack->verbose)
        printf("%12zu %s (made here)\n", size, image);
    pack->files++;
    pack->bytes += size;
    return built(pack, hl_image_builder_add_file(pack->builder, image, text, size, NULL, &err),
                 &err);
}

/* ---- Paths with links in them ---- */

/* The way from the root to a file: `at` is real so far, `rest` is what comes. */
struct way {
    char at[PATH_MAX], rest[PATH_MAX];
    int follows;
};

/* Puts a link's target before what is left of the way. */
static bool follow(struct way *way, const char *target)
{
    char rest[PATH_MAX];
    int length = snprintf(rest, sizeof rest, "%s/%s", target, way->rest);
    if (++way->follows > FOLLOW_MAX || length >= (int)sizeof rest) {
        errno = ELOOP;
        return false;
    }
    memcpy(way->rest, rest, (size_t)length + 1);
    if (*target == '/')
        way->at[0] = '\0';
    return true;
}

static void go_up(struct way *way)
{
    char *slash = strrchr(way->at, '/');
    if (slash)
        *slash = '\0';
}

/* One component further. False: errno says why, or it was reported. */
static bool step(struct pack *pack, struct way *way)
{
    struct stat attributes;
    char target[PATH_MAX];
    size_t before = strlen(way->at), start = strspn(way->rest, "/");
    size_t size = strcspn(way->rest + start, "/");
    char name[NAME_MAX + 1];
    if (size > NAME_MAX || before + 1 + size >= sizeof way->at) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(name, way->rest + start, size);
    name[size] = '\0';
    memmove(way->rest, way->rest + start + size, strlen(way->rest + start + size) + 1);
    if (size == 0 || strcmp(name, ".") == 0)
        return true;
    if (strcmp(name, "..") == 0) {
        go_up(way);
        return true;
    }
    sprintf(way->at + before, "/%s", name);
    if (lstat(way->at, &attributes) != 0)
        return false;
    if (!S_ISLNK(attributes.st_mode))
        return true;
    ssize_t length = readlink(way->at, target, sizeof target - 1);
    if (length < 0)
        return false;
    target[length] = '\0';
    if (!take_link(pack, way->at, target))
        return false;
    way->at[before] = '\0';
    return follow(way, target);
}

/* Takes the links on the way to a path; `out` receives where it leads. */
static bool take_way(struct pack *pack, const char *path, char out[PATH_MAX])
{
    struct way way = {.at = ""};
    if (snprintf(way.rest, sizeof way.rest, "%s", path) >= (int)sizeof way.rest) {
        errno = ENAMETOOLONG;
        return cannot_read(path);
    }
    while (way.rest[0]) {
        if (!step(pack, &way))
            return pack->failed ? false : cannot_read(path);
    }
    snprintf(out, PATH_MAX, "%s", way.at[0] ? way.at : "/");
    return true;
}

/* ---- Directories ---- */

struct folder {
    struct pack *pack;
    const char *const *left_out;
    bool moved; /* the image has it at another path */
};

static bool is_left_out(const struct folder *folder, const char *name)
{
    for (const char *const *left = folder->left_out; left && *left; left++)
        if (fnmatch(*left, name, 0) == 0)
            return true;
    return false;
}

static bool take_folder(const struct folder *folder, const char *host, const char *image);

/* A link in a directory: what it names comes along if that is a file. */
static bool take_inner_link(const struct folder *folder, const char *host, const char *image)
{
    struct stat attributes;
    char target[PATH_MAX], real[PATH_MAX];
    ssize_t length = readlink(host, target, sizeof target - 1);
    if (length < 0)
        return cannot_read(host);
    target[length] = '\0';
    if (!folder->moved && stat(host, &attributes) == 0 && S_ISREG(attributes.st_mode))
        return take_way(folder->pack, host, real) &&
               take_file(folder->pack, real, real, &attributes);
    return take_link(folder->pack, image, target);
}

static bool take_entry(const struct folder *folder, const char *host, const char *image,
                       const char *name)
{
    struct stat attributes;
    if (lstat(host, &attributes) != 0)
        return cannot_read(host);
    if (S_ISREG(attributes.st_mode))
        return take_file(folder->pack, host, image, &attributes);
    if (S_ISLNK(attributes.st_mode))
        return take_inner_link(folder, host, image);
    if (S_ISDIR(attributes.st_mode))
        return is_left_out(folder, name) || take_folder(folder, host, image);
    return true; /* sockets, pipes, devices: nothing that another machine could use */
}

static bool take_entries(const struct folder *folder, DIR *stream, const char *host,
                         const char *image)
{
    const struct dirent *entry;
    char inner_host[PATH_MAX], inner_image[PATH_MAX];
    bool good = true;
    while (good && (entry = readdir(stream))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (snprintf(inner_host, PATH_MAX, "%s/%s", host, entry->d_name) >= PATH_MAX ||
            snprintf(inner_image, PATH_MAX, "%s/%s", image, entry->d_name) >= PATH_MAX) {
            errno = ENAMETOOLONG;
            return cannot_read(host);
        }
        good = take_entry(folder, inner_host, inner_image, entry->d_name);
    }
    return good;
}

static bool take_folder(const struct folder *folder, const char *host, const char *image)
{
    hl_error err = HL_ERROR_INIT;
    struct stat attributes;
    DIR *stream = opendir(host);
    if (!stream || stat(host, &attributes) != 0) {
        cannot_read(host);
        if (stream)
            closedir(stream);
        return false;
    }
    hl_image_attributes wanted = {.size = sizeof wanted,
                                  .mode = attributes.st_mode & 07777,
                                  .modified_s = attributes.st_mtim.tv_sec,
                                  .modified_ns = (uint32_t)attributes.st_mtim.tv_nsec};
    claim(folder->pack, image);
    hl_status status = hl_image_builder_add_directory(folder->pack->builder, image, &wanted, &err);
    bool good = built(folder->pack, status, &err) &&
                take_entries(folder, stream, host, strcmp(image, "/") == 0 ? "" : image);
    closedir(stream);
    return good;
}

/* ---- Whole things ---- */

static bool take_at(struct folder *folder, const char *host, const char *image)
{
    struct stat attributes;
    if (stat(host, &attributes) != 0)
        return cannot_read(host);
    if (S_ISDIR(attributes.st_mode))
        return take_folder(folder, host, image);
    if (S_ISREG(attributes.st_mode))
        return take_file(folder->pack, host, image, &attributes);
    report_error("'%s' is neither a file nor a directory", host);
    return false;
}

bool pack_take_without(struct pack *pack, const char *path, const char *const *left_out)
{
    struct folder folder = {.pack = pack, .left_out = left_out};
    char absolute[PATH_MAX], real[PATH_MAX];
    return pack_absolute(path, absolute) && take_way(pack, absolute, real) &&
           take_at(&folder, real, real);
}

bool pack_take(struct pack *pack, const char *path)
{
    return pack_take_without(pack, path, NULL);
}

bool pack_take_as(struct pack *pack, const char *path, const char *image)
{
    struct folder folder = {.pack = pack, .moved = true};
    char absolute[PATH_MAX];
    return pack_absolute(path, absolute) && take_at(&folder, absolute, image);
}
