/* Keys of inputs. */
#define _GNU_SOURCE
#include "image/host/key.h"

#include "image/host/walk.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <hyperlight/abi/image.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_SIZE (1u << 18)
#define TICK_NS 20000000 /* more than the granularity of files' times */

static void hash_text(struct sha256_ctx *hash, const char *text)
{
    sha256_update(hash, text ? strlen(text) + 1 : 0, (const uint8_t *)text);
}

static void hash_strings(struct sha256_ctx *hash, const char *const *strings)
{
    uint64_t count = 0;
    while (strings && strings[count])
        hash_text(hash, strings[count++]);
    sha256_update(hash, sizeof count, (const uint8_t *)&count);
}

/* ---- Archives ---- */

static hl_status hash_file(int file, const char *path, struct sha256_ctx *hash, hl_error *err)
{
    hl_status status = HL_OK;
    uint64_t offset = 0;
    uint8_t *buffer = malloc(BUFFER_SIZE);
    if (!buffer)
        return hl__error_set(err, HL_OUT_OF_MEMORY, NULL, "no memory left to read '%s'", path);
    for (ssize_t size = 1; size != 0 && status == HL_OK;) {
        size = pread(file, buffer, BUFFER_SIZE, (off_t)offset);
        if (size > 0) {
            sha256_update(hash, (size_t)size, buffer);
            offset += (uint64_t)size;
        } else if (size < 0 && errno != EINTR) {
            status =
                hl__error_os(err, HL_IMAGE_UNREADABLE, errno, "pread", "cannot read '%s'", path);
        }
    }
    free(buffer);
    return status;
}

static hl_status hash_archive(const struct hl__input *input, struct hl__cache *cache,
                              struct sha256_ctx *hash, hl_error *err)
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    if (!hl__cache_recall(cache, &input->attributes, digest)) {
        struct sha256_ctx contents;
        sha256_init(&contents);
        hl_status status = hash_file(input->file, input->path, &contents, err);
        if (status != HL_OK)
            return status;
        sha256_digest(&contents, sizeof digest, digest);
        hl__cache_remember(cache, &input->attributes, digest);
    }
    sha256_update(hash, sizeof digest, digest);
    return HL_OK;
}

static hl_status hash_layout(const struct hl__input *input, struct sha256_ctx *hash, hl_error *err)
{
    int index = openat(input->file, "index.json", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (index < 0)
        return hl__error_os(err, HL_IMAGE_UNREADABLE, errno, "openat",
                            "cannot read '%s/index.json'", input->path);
    hl_status status = hash_file(index, input->path, hash, err);
    close(index);
    return status;
}

/* ---- Directories ---- */

struct listing {
    struct sha256_ctx *hash;
    struct timespec newest;
};

static hl_status visit(int directory, const char *name, const char *path,
                       const struct stat *attributes, void *user, hl_error *err)
{
    struct listing *listing = user;
    const struct timespec *changed = &attributes->st_ctim;
    const uint64_t facts[] = {attributes->st_mode,
                              attributes->st_uid,
                              attributes->st_gid,
                              (uint64_t)attributes->st_size,
                              attributes->st_rdev,
                              attributes->st_ino,
                              attributes->st_dev,
                              (uint64_t)attributes->st_mtim.tv_sec,
                              (uint64_t)attributes->st_mtim.tv_nsec,
                              (uint64_t)changed->tv_sec,
                              (uint64_t)changed->tv_nsec};
    (void)directory, (void)name, (void)err;
    hash_text(listing->hash, path);
    sha256_update(listing->hash, sizeof facts, (const uint8_t *)facts);
    if (changed->tv_sec > listing->newest.tv_sec ||
        (changed->tv_sec == listing->newest.tv_sec && changed->tv_nsec > listing->newest.tv_nsec))
        listing->newest = *changed;
    return HL_OK;
}

/* A change in the same tick as the last one would not be seen: it waits until that has passed. */
static void let_settle(const struct timespec *newest)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t age =
        (now.tv_sec - newest->tv_sec) * INT64_C(1000000000) + now.tv_nsec - newest->tv_nsec;
    const struct timespec pause = {.tv_nsec = TICK_NS};
    if (now.tv_sec - newest->tv_sec < 2 && age >= 0 && age < TICK_NS)
        nanosleep(&pause, NULL);
}

static hl_status hash_directory(const struct hl__input *input, struct sha256_ctx *hash,
                                hl_error *err)
{
    struct listing listing = {.hash = hash};
    hl_status status = hl__walk(input->file, input->path, visit, &listing, err);
    if (status == HL_OK)
        let_settle(&listing.newest);
    return status;
}

hl_status hl__input_key(const struct hl__input *input, const hl_prepare_options *options,
                        struct hl__cache *cache, char key[HL__CACHE_KEY_SIZE], hl_error *err)
{
    struct sha256_ctx hash;
    const uint32_t facts[] = {HL_IMAGE_VERSION, input->kind};
    hl_status status;
    sha256_init(&hash);
    hash_text(&hash, "hyperlight image " HL_VERSION_STRING);
    sha256_update(&hash, sizeof facts, (const uint8_t *)facts);
    hash_strings(&hash, options->arguments);
    hash_strings(&hash, options->environment);
    hash_text(&hash, options->directory ? options->directory : "");
    if (input->kind == HL__INPUT_ARCHIVE)
        status = hash_archive(input, cache, &hash, err);
    else if (input->kind == HL__INPUT_LAYOUT)
        status = hash_layout(input, &hash, err);
    else
        status = hash_directory(input, &hash, err);
    if (status == HL_OK)
        hl__cache_key(&hash, key);
    return status;
}
