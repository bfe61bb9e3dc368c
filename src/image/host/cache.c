/* The cache of prepared images. */
#define _GNU_SOURCE
#include "image/host/cache.h"

#include "image/host/cache_list.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STAMP_MAGIC UINT64_C(0x31504d5453434c48)
#define LOCK_PAUSE_NS 20000000
#define SETTLED_S 2 /* what changed longer ago cannot change within the same tick */
#define LEFTOVER_S (24 * 3600)
#define INPUT_S (30 * 24 * 3600)

/* ---- The directory ---- */

static hl_status cache_failed(hl_error *err, const char *source, const char *path)
{
    return hl__error_os(err, HL_SYSTEM, errno, source,
                        "cannot use '%s' as the cache of images (HL_CACHE_DIR chooses another)",
                        path);
}

/* Where it is, unless somebody says. */
static hl_status find_directory(char path[PATH_MAX], const char *given, hl_error *err)
{
    const char *chosen = given ? given : secure_getenv("HL_CACHE_DIR");
    const char *cache = secure_getenv("XDG_CACHE_HOME"), *home = secure_getenv("HOME");
    int length;
    if (chosen && *chosen)
        length = snprintf(path, PATH_MAX, "%s", chosen);
    else if (cache && *cache == '/')
        length = snprintf(path, PATH_MAX, "%s/hyperlight", cache);
    else if (home && *home == '/')
        length = snprintf(path, PATH_MAX, "%s/.cache/hyperlight", home);
    else
        return hl__error_set(err, HL_SYSTEM, NULL,
                             "there is no place for the cache of images: set HL_CACHE_DIR or HOME");
    if (length >= PATH_MAX - 256)
        return hl__error_set(err, HL_INVALID_ARGUMENT, NULL, "the cache's path is too long");
    return HL_OK;
}

/* Makes the directory and those above it. */
static void make_directories(const char *path)
{
    char part[PATH_MAX];
    for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
        if (slash == path)
            continue;
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        mkdir(part, 0700);
    }
    mkdir(path, 0700);
}

static hl_status check_private(const struct hl__cache *cache, hl_error *err)
{
    struct stat attributes;
    if (fstat(cache->directory, &attributes) != 0)
        return cache_failed(err, "fstat", cache->path);
    if (attributes.st_uid == geteuid() && (attributes.st_mode & 077) == 0)
        return HL_OK;
    return hl__error_set(err, HL_SYSTEM, NULL,
                         "the cache of images '%s' is not private: chmod 700 it, or set "
                         "HL_CACHE_DIR to another directory",
                         cache->path);
}

hl_status hl__cache_open(struct hl__cache *cache, const char *directory, hl_error *err)
{
    cache->directory = cache->lock = -1;
    hl_status status = find_directory(cache->path, directory, err);
    if (status != HL_OK)
        return status;
    make_directories(cache->path);
    cache->directory = open(cache->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (cache->directory < 0)
        return cache_failed(err, "open", cache->path);
    status = check_private(cache, err);
    if (status != HL_OK)
        hl__cache_close(cache);
    return status;
}

void hl__cache_close(struct hl__cache *cache)
{
    hl__cache_unlock(cache);
    if (cache->directory >= 0)
        close(cache->directory);
    cache->directory = -1;
}

/* ---- Keys and their files ---- */

void hl__cache_key(struct sha256_ctx *hash, char key[HL__CACHE_KEY_SIZE])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(hash, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        sprintf(key + 2 * i, "%02x", digest[i]);
}

struct name {
    char text[HL__CACHE_KEY_SIZE + 16];
};

static struct name file_name(const char *key, const char *suffix)
{
    struct name name;
    snprintf(name.text, sizeof name.text, "%s.%s", key, suffix);
    return name;
}

void hl__cache_image_path(const struct hl__cache *cache, const char *key, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%.*s/%s.image", PATH_MAX - 128, cache->path, key);
}

/* ---- The lock ---- */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void hl__cache_lock(struct hl__cache *cache, const char *key, int64_t deadline_ns)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    char start[8] = "";
    memcpy(start, key, 7);
    struct flock range = {.l_type = F_WRLCK,
                          .l_whence = SEEK_SET,
                          .l_start = (off_t)strtoul(start, NULL, 16),
                          .l_len = 1};
    cache->lock = openat(cache->directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    /* Without the lock the image may be made twice, which costs time alone. */
    while (cache->lock >= 0 && fcntl(cache->lock, F_OFD_SETLK, &range) != 0 &&
           (errno == EAGAIN || errno == EACCES || errno == EINTR) && now_ns() < deadline_ns)
        nanosleep(&pause, NULL);
}

void hl__cache_unlock(struct hl__cache *cache)
{
    if (cache->lock >= 0)
        close(cache->lock);
    cache->lock = -1;
}

/* ---- Stamps ---- */

struct stamp {
    uint64_t magic;
    uint64_t size, inode, device;
    int64_t changed_s, changed_ns;
};

static struct stamp stamp_of(const struct stat *attributes)
{
    return (struct stamp){
        STAMP_MAGIC,        (uint64_t)attributes->st_size, attributes->st_ino,
        attributes->st_dev, attributes->st_ctim.tv_sec,    attributes->st_ctim.tv_nsec};
}

/* Puts a small file in the place of `name`, whole or not at all. */
static bool write_small(const struct hl__cache *cache, const char *name, const void *data,
                        size_t size)
{
    char temporary[HL__CACHE_KEY_SIZE + 64];
    snprintf(temporary, sizeof temporary, "%s.%d.%" PRIx64 ".new", name, (int)getpid(),
             (uint64_t)now_ns());
    int file = openat(cache->directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return false;
    bool good = write(file, data, size) == (ssize_t)size;
    close(file);
    good = good && renameat(cache->directory, temporary, cache->directory, name) == 0;
    if (!good) {
        int error = errno;
        unlinkat(cache->directory, temporary, 0);
        errno = error;
    }
    return good;
}

static bool read_small(const struct hl__cache *cache, const char *name, void *data, size_t size)
{
    int file = openat(cache->directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0)
        return false;
    bool good = read(file, data, size) == (ssize_t)size;
    futimens(file, NULL); /* its last use; who cannot set it loses nothing but order */
    close(file);
    return good;
}

hl_status hl__cache_stamp(struct hl__cache *cache, const char *key, hl_error *err)
{
    struct stat attributes;
    if (fstatat(cache->directory, file_name(key, "image").text, &attributes, AT_SYMLINK_NOFOLLOW) !=
        0)
        return cache_failed(err, "fstatat", cache->path);
    struct stamp stamp = stamp_of(&attributes);
    if (!write_small(cache, file_name(key, "stamp").text, &stamp, sizeof stamp))
        return cache_failed(err, "open", cache->path);
    return HL_OK;
}

bool hl__cache_find(struct hl__cache *cache, const char *key, char path[PATH_MAX])
{
    struct stat attributes;
    struct stamp stamp;
    if (fstatat(cache->directory, file_name(key, "image").text, &attributes, AT_SYMLINK_NOFOLLOW) !=
            0 ||
        !S_ISREG(attributes.st_mode) ||
        !read_small(cache, file_name(key, "stamp").text, &stamp, sizeof stamp))
        return false;
    struct stamp wanted = stamp_of(&attributes);
    hl__cache_image_path(cache, key, path);
    return memcmp(&stamp, &wanted, sizeof stamp) == 0;
}

/* ---- Digests of archives ---- */

static struct name input_name(const struct stat *attributes)
{
    struct sha256_ctx hash;
    char key[HL__CACHE_KEY_SIZE];
    struct stamp stamp = stamp_of(attributes);
    int64_t modified[] = {attributes->st_mtim.tv_sec, attributes->st_mtim.tv_nsec};
    sha256_init(&hash);
    sha256_update(&hash, sizeof stamp, (const uint8_t *)&stamp);
    sha256_update(&hash, sizeof modified, (const uint8_t *)modified);
    hl__cache_key(&hash, key);
    return file_name(key, "input");
}

bool hl__cache_recall(struct hl__cache *cache, const struct stat *attributes,
                      uint8_t digest[SHA256_DIGEST_SIZE])
{
    return read_small(cache, input_name(attributes).text, digest, SHA256_DIGEST_SIZE);
}

void hl__cache_remember(struct hl__cache *cache, const struct stat *attributes,
                        const uint8_t digest[SHA256_DIGEST_SIZE])
{
    int64_t age = time(NULL) - attributes->st_ctim.tv_sec;
    if (age > SETTLED_S)
        write_small(cache, input_name(attributes).text, digest, SHA256_DIGEST_SIZE);
}

/* ---- Pruning ---- */

static void remove_image(const struct hl__cache *cache, const char *key)
{
    unlinkat(cache->directory, file_name(key, "stamp").text, 0);
    unlinkat(cache->directory, file_name(key, "image").text, 0);
}

static void prune_images(struct hl__cache *cache, struct hl__cache_list *list, uint64_t size_max,
                         const char *keep)
{
    uint64_t size = 0;
    hl__cache_list_sort(list);
    for (size_t i = 0; i < list->count; i++)
        size += list->items[i].size;
    for (size_t i = 0; i < list->count && size > size_max; i++) {
        if (keep && strcmp(list->items[i].key, keep) == 0)
            continue;
        remove_image(cache, list->items[i].key);
        size -= list->items[i].size;
    }
}

void hl__cache_prune(struct hl__cache *cache, uint64_t size_max, const char *keep)
{
    struct hl__cache_list list = {0};
    if (hl__cache_list_read(&list, cache->directory))
        prune_images(cache, &list, size_max, keep);
    hl__cache_list_free(&list);
    hl__cache_sweep(cache->directory, ".new", time(NULL) - LEFTOVER_S);
    hl__cache_sweep(cache->directory, ".input", time(NULL) - INPUT_S);
}

/* ---- For users ---- */

hl_status hl_image_cache_visit(const char *directory, hl_image_cache_visitor *visit, void *user,
                               hl_error *err)
{
    struct hl__cache cache;
    struct hl__cache_list list = {0};
    if (!visit)
        return hl__error_set(err, HL_INVALID_ARGUMENT, NULL, "visit is NULL");
    hl_status status = hl__cache_open(&cache, directory, err);
    if (status != HL_OK)
        return status;
    if (!hl__cache_list_read(&list, cache.directory))
        status = cache_failed(err, "readdir", cache.path);
    hl__cache_list_sort(&list);
    for (size_t i = 0; i < list.count && status == HL_OK; i++) {
        char path[PATH_MAX];
        hl__cache_image_path(&cache, list.items[i].key, path);
        const hl_image_cache_entry entry = {.size = sizeof entry,
                                            .path = path,
                                            .bytes = list.items[i].size,
                                            .used_s = list.items[i].used_s};
        if (!visit(&entry, user))
            break;
    }
    hl__cache_list_free(&list);
    hl__cache_close(&cache);
    return status;
}

hl_status hl_image_cache_clear(const char *directory, hl_error *err)
{
    struct hl__cache cache;
    hl_status status = hl__cache_open(&cache, directory, err);
    if (status != HL_OK)
        return status;
    hl__cache_prune(&cache, 0, NULL);
    hl__cache_sweep(cache.directory, ".input", INT64_MAX);
    hl__cache_close(&cache);
    return HL_OK;
}
