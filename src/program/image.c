/* Prepared images: mapped or copied, with a look at their size and magic number, and none at the rest. */
#include "program/image.h"
#include "util/error.h"

#include <hyperlight/abi/hypercall.h>
#include <hyperlight/abi/image.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(HL_IMAGE_FILE_SIZE_MAX == HL_IMAGE_SIZE_MAX, "the largest image");

static hl_status size_check(const char *name, uint64_t size, hl_error *err)
{
    if (size > HL_IMAGE_SIZE_MAX)
        return hl__error_set(err, HL_IMAGE_TOO_LARGE, "hl_image_map",
                             "%s: the file is larger than %" PRIu64
                             " bytes, the most that an image may have",
                             name, (uint64_t)HL_IMAGE_SIZE_MAX);
    if (size == 0 || size % HL_ABI_PAGE_SIZE)
        return hl__error_set(err, HL_IMAGE_INVALID, "hl_image_map",
                             "%s is no prepared image: its size is not a multiple of %u; see "
                             "'hyperlight image'",
                             name, HL_ABI_PAGE_SIZE);
    return HL_OK;
}

static hl_status magic_check(const hl_image *image, const char *name, hl_error *err)
{
    uint64_t magic;
    memcpy(&magic, image->memory, sizeof magic);
    if (magic == HL_IMAGE_MAGIC)
        return HL_OK;
    return hl__error_set(err, HL_IMAGE_INVALID, "hl_image_map",
                         "%s is no prepared image; see 'hyperlight image'", name);
}

/* What a failure to read a file is called where it is about images. */
static hl_status image_failed(hl_status status, const char *name, hl_error *err)
{
    if (status == HL_PROGRAM_TOO_LARGE)
        return size_check(name, UINT64_MAX, err);
    if (status != HL_PROGRAM_UNREADABLE)
        return status;
    if (err)
        err->status = HL_IMAGE_UNREADABLE;
    return HL_IMAGE_UNREADABLE;
}

/* The file's contents, and no change of them behind that. */
static hl_status image_seal(hl_image *image, hl__os_file file, const char *name, hl_error *err)
{
    hl_status status = size_check(name, image->size, err);
    if (status == HL_OK)
        status = hl__os_file_seal(file, err);
    if (status == HL_OK)
        status = hl__os_file_map(file, 0, image->size, image->writable, &image->memory, err);
    return status;
}

static hl_status image_copy_path(hl_image *image, const char *path, hl_error *err)
{
    hl__os_file file;
    hl_status status = hl__os_file_new("hyperlight-image", 0, &file, err);
    if (status != HL_OK)
        return status;
    status = hl__os_file_copy_path(file, 0, path, HL_IMAGE_SIZE_MAX, &image->size, err);
    if (status == HL_OK)
        status = image_seal(image, file, path, err);
    hl__os_file_close(file);
    return image_failed(status, path, err);
}

static hl_status image_copy_memory(hl_image *image, const void *data, size_t size, hl_error *err)
{
    hl__os_file file;
    hl_status status = size_check("the data", size, err);
    if (status == HL_OK)
        status = hl__os_file_new("hyperlight-image", size, &file, err);
    if (status != HL_OK)
        return status;
    image->size = size;
    status = hl__os_file_write(file, 0, data, size, err);
    if (status == HL_OK)
        status = image_seal(image, file, "the data", err);
    hl__os_file_close(file);
    return status;
}

static hl_status image_open(hl_image *image, const char *path, hl_image_access access,
                            hl_error *err)
{
    if (access == HL_IMAGE_ACCESS_COPY)
        return image_copy_path(image, path, err);
    hl_status status = hl__os_file_map_private(path, HL_IMAGE_SIZE_MAX, image->writable,
                                               &image->memory, &image->size, &image->file, err);
    if (status != HL_OK)
        return image_failed(status, path, err);
    if ((status = size_check(path, image->size, err)) != HL_OK || image->memory)
        return status;
    if (access == HL_IMAGE_ACCESS_MAP)
        return hl__error_set(err, HL_IMAGE_UNREADABLE, "hl_image_map",
                             "%s cannot be mapped: others may change it; make it and its directory "
                             "writable for its owner only",
                             path);
    return image_copy_path(image, path, err);
}

static hl_status image_new(hl_context *context, hl_image **image, hl_error *err)
{
    hl_image *made = calloc(1, sizeof *made);
    if (!made)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "calloc", "no memory for an image");
    atomic_init(&made->references, 1);
    hl_status status = hl__context_get(context, &made->context, err);
    if (status == HL_OK)
        status = hl__context_check(made->context, err);
    if (status != HL_OK) {
        hl_image_free(made);
        return status;
    }
    made->writable = made->context->machine.memory_pinned;
    *image = made;
    return HL_OK;
}

static hl_status image_finish(hl_image *made, hl_status status, const char *name, hl_image **image,
                              hl_error *err)
{
    if (status == HL_OK)
        status = magic_check(made, name, err);
    if (status != HL_OK)
        hl_image_free(made);
    else
        *image = made;
    return status;
}

hl_status hl_image_map(hl_context *context, const char *path, const hl_image_options *options,
                       hl_image **image, hl_error *err)
{
    hl_image_options known;
    hl_image *made;
    hl_status status =
        hl__options_copy(&known, sizeof known, sizeof known, options, "hl_image_options", err);
    if (status != HL_OK)
        return status;
    if (!image || !path || !*path)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_image_map",
                             "`%s` is NULL or empty: name a file and give it a place for the image",
                             image ? "path" : "image");
    if ((int)known.access < 0 || known.access > HL_IMAGE_ACCESS_COPY || known.reserved)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_image_map",
                             "hl_image_options.access is %d, or `reserved` is not zero",
                             (int)known.access);
    if ((status = image_new(context, &made, err)) != HL_OK)
        return status;
    status = image_open(made, path, known.access, err);
    return image_finish(made, status, path, image, err);
}

hl_status hl_image_from_memory(hl_context *context, const void *data, size_t size, hl_image **image,
                               hl_error *err)
{
    hl_image *made;
    if (!image || !data)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_image_from_memory", "`%s` is NULL",
                             image ? "data" : "image");
    hl_status status = image_new(context, &made, err);
    if (status != HL_OK)
        return status;
    status = image_copy_memory(made, data, size, err);
    return image_finish(made, status, "the data", image, err);
}

uint64_t hl_image_size(const hl_image *image)
{
    return image ? image->size : 0;
}

void hl__image_ref(hl_image *image)
{
    atomic_fetch_add_explicit(&image->references, 1, memory_order_relaxed);
}

void hl_image_free(hl_image *image)
{
    if (!image || atomic_fetch_sub(&image->references, 1) != 1)
        return;
    if (image->context)
        hl__context_unmap(image->context, image->memory, image->size);
    hl__context_unref(image->context);
    free(image);
}

static bool same_file(const hl_image *image, const hl_image *other)
{
    static const struct hl__os_file_identity none;
    return memcmp(&image->file, &none, sizeof none) != 0 &&
           memcmp(&image->file, &other->file, sizeof none) == 0;
}

bool hl__image_same(const hl_image *image, const hl_image *other)
{
    if (image == other)
        return true;
    return image && other && image->size == other->size &&
           (same_file(image, other) || memcmp(image->memory, other->memory, image->size) == 0);
}
