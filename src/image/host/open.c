/* Opening anything that an image can be made of, by way of the cache. */
#define _GNU_SOURCE
#include "image/host/cache.h"
#include "image/host/key.h"
#include "image/host/prepare.h"
#include "util/error.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TRIES 3 /* for an input that changes while it is read */

static int64_t deadline_of(const hl_prepare_options *options)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec + (int64_t)options->timeout_ns;
}

static bool changed_file(const struct hl__input *input)
{
    const struct stat *before = &input->attributes;
    struct stat now;
    return fstat(input->file, &now) != 0 || now.st_size != before->st_size ||
           memcmp(&now.st_mtim, &before->st_mtim, sizeof now.st_mtim) != 0 ||
           memcmp(&now.st_ctim, &before->st_ctim, sizeof now.st_ctim) != 0;
}

/* Whether the key no longer is the input's. What is read is older than what is looked at now. */
static hl_status check_unchanged(const struct hl__input *input, const hl_prepare_options *options,
                                 struct hl__cache *cache, const char *key, bool *changed,
                                 hl_error *err)
{
    char again[HL__CACHE_KEY_SIZE];
    if (input->kind == HL__INPUT_ARCHIVE) {
        *changed = changed_file(input);
        return HL_OK;
    }
    hl_status status = hl__input_key(input, options, cache, again, err);
    *changed = status == HL_OK && strcmp(again, key) != 0;
    return status;
}

/* Makes the image in the cache, unless its input changed meanwhile. */
static hl_status make_image(const struct hl__input *input, const hl_prepare_options *options,
                            struct hl__cache *cache, const char *key, bool *changed, hl_error *err)
{
    struct hl__output output;
    char path[PATH_MAX];
    hl__cache_image_path(cache, key, path);
    hl_status status = hl__output_open(&output, path, 0600, err);
    if (status != HL_OK)
        return status;
    status = hl__prepare(input, output.file, options, err);
    if (status == HL_OK)
        status = check_unchanged(input, options, cache, key, changed, err);
    if (*changed || status != HL_OK) {
        hl__output_discard(&output);
        return status;
    }
    status = hl__output_close(&output, HL_OK, err);
    if (status == HL_OK)
        status = hl__cache_stamp(cache, key, err);
    if (status == HL_OK)
        hl__cache_prune(cache, options->cache_size_max, key);
    return status;
}

/* Finds the image in the cache, or makes it. `path` receives where it is. */
static hl_status get_image(struct hl__input *input, const hl_prepare_options *options,
                           struct hl__cache *cache, char path[PATH_MAX], hl_error *err)
{
    char key[HL__CACHE_KEY_SIZE];
    for (int i = 0; i < TRIES; i++) {
        bool changed = false;
        if (input->kind == HL__INPUT_ARCHIVE && fstat(input->file, &input->attributes) != 0)
            return hl__error_os(err, HL_IMAGE_UNREADABLE, errno, "fstat", "cannot read '%s'",
                                input->path);
        hl_status status = hl__input_key(input, options, cache, key, err);
        if (status != HL_OK || hl__cache_find(cache, key, path))
            return status;
        hl__cache_lock(cache, key, deadline_of(options));
        if (!hl__cache_find(cache, key, path))
            status = make_image(input, options, cache, key, &changed, err);
        hl__cache_unlock(cache);
        hl__cache_image_path(cache, key, path);
        if (status != HL_OK || !changed)
            return status;
    }
    return hl__error_set(err, HL_IMAGE_UNREADABLE, NULL,
                         "'%s' changes while it is read; try again when it does not", input->path);
}

/* The limits hold for an image that others have made, too. */
static hl_status check_limits(const char *path, const hl_prepare_options *options, hl_error *err)
{
    struct hl_image_head head;
    hl_status status = hl__output_head(path, &head, err);
    if (status != HL_OK)
        return status;
    if (head.size > options->size_max)
        return hl__error_set(err, HL_IMAGE_TOO_LARGE, NULL,
                             "the image goes over the limit of %llu bytes",
                             (unsigned long long)options->size_max);
    if (head.inodes.count > (uint64_t)options->files_max + 1)
        return hl__error_set(err, HL_IMAGE_TOO_MANY_FILES, NULL,
                             "the image has more files than the limit of %u", options->files_max);
    return HL_OK;
}

static hl_status open_cached(hl_context *context, struct hl__input *input,
                             const hl_prepare_options *options, hl_image **image, hl_error *err)
{
    struct hl__cache cache;
    char path[PATH_MAX];
    hl_status status = hl__cache_open(&cache, options->cache_directory, err);
    if (status != HL_OK)
        return status;
    /* Another process may remove the image before it is mapped: once more, then. */
    for (int i = 0; i < 2; i++) {
        status = get_image(input, options, &cache, path, err);
        if (status == HL_OK)
            status = check_limits(path, options, err);
        if (status == HL_OK)
            status = hl_image_map(context, path, NULL, image, err);
        if (status != HL_IMAGE_UNREADABLE || access(path, F_OK) == 0)
            break;
    }
    hl__cache_close(&cache);
    return status;
}

hl_status hl_image_open(hl_context *context, const char *path, const hl_prepare_options *options,
                        hl_image **image, hl_error *err)
{
    hl_prepare_options complete;
    struct hl__input input;
    if (!path || !image)
        return hl__error_set(err, HL_INVALID_ARGUMENT, NULL, "%s is NULL", path ? "image" : "path");
    hl_status status = hl__prepare_options(&complete, options, err);
    if (status == HL_OK)
        status = hl__input_open(path, &input, err);
    if (status != HL_OK)
        return status;
    if (input.prepared)
        status = hl_image_map(context, path, NULL, image, err);
    else
        status = open_cached(context, &input, &complete, image, err);
    hl__input_close(&input);
    return status;
}

hl_status hl_image_builder_finish(hl_image_builder *builder, hl_context *context, hl_image **image,
                                  hl_error *err)
{
    struct hl__cache cache;
    char path[PATH_MAX], key[HL__CACHE_KEY_SIZE] = "built";
    struct hl__output output;
    if (!builder || !image)
        return hl__error_set(err, HL_INVALID_ARGUMENT, NULL, "%s is NULL",
                             builder ? "image" : "builder");
    hl_status status = hl__cache_open(&cache, hl__builder_options(builder)->cache_directory, err);
    if (status != HL_OK)
        return status;
    /* A file of its own, which no name is left of once it is mapped. */
    hl__cache_image_path(&cache, key, path);
    status = hl__output_open(&output, path, 0600, err);
    if (status == HL_OK) {
        status = hl__builder_write(builder, output.file, err);
        if (status == HL_OK)
            status = hl__output_name(&output, err);
        if (status == HL_OK)
            status = hl_image_map(context, output.temporary, NULL, image, err);
        hl__output_discard(&output);
    }
    hl__cache_close(&cache);
    return status;
}
