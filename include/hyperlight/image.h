/**
 * @file image.h
 * @brief A prepared image: the files that a guest finds, read-only and shared by all sandboxes.
 *
 * Images are made beforehand, by `hyperlight image` or hl_prepare_file() (prepare.h, libhyperlight-image), and their
 * layout is described in hyperlight/abi/image.h. The host application parses nothing of an image: it maps the file,
 * and code inside the VM reads it. What a guest writes to such files stays in its own memory.
 */
#ifndef HYPERLIGHT_IMAGE_H
#define HYPERLIGHT_IMAGE_H

#include <hyperlight/base.h>
#include <hyperlight/context.h>
#include <hyperlight/error.h>

/** A prepared image. Immutable: may be used from any threads at the same time. */
typedef struct hl_image hl_image;

/** Largest image in bytes. */
#define HL_IMAGE_FILE_SIZE_MAX (UINT64_C(16) << 30)

/** How an image's file gets into memory. */
typedef enum hl_image_access {
    HL_IMAGE_ACCESS_DEFAULT = 0, /**< HL_IMAGE_ACCESS_MAP if the file is private, else HL_IMAGE_ACCESS_COPY. */
    HL_IMAGE_ACCESS_MAP = 1,     /**< Maps the file itself. It must be private. */
    HL_IMAGE_ACCESS_COPY = 2     /**< Copies it into sealed memory: later changes to the file do not matter. */
} hl_image_access;

/** Options of an image. */
typedef struct hl_image_options {
    size_t size;            /**< sizeof(hl_image_options). */
    hl_image_access access; /**< 0: HL_IMAGE_ACCESS_DEFAULT. */
    uint32_t reserved;      /**< Zero. */
} hl_image_options;

HL_BEGIN_DECLS

/**
 * @brief Gets a prepared image into memory, to be shared by all programs that use it.
 * @param context  NULL: the default context. Programs that use the image belong to this context, or to another one
 *                 of the same hypervisor.
 * @param path     A regular file, whole pages of 4096 bytes, at most HL_IMAGE_FILE_SIZE_MAX.
 * @param options  NULL: defaults.
 * @param image    Receives the image; release it with hl_image_free().
 *
 * A file that is mapped costs no memory of its own, and is read as far as guests look at it. But whoever makes it
 * shorter while it is mapped kills the host application (SIGBUS), and whoever writes to it changes what running guests
 * see. So it is mapped only if it is private: it belongs to this process's user or to root, nobody else may write to
 * it, and its directory is not writable for everybody. Do not change such a file; put a new one in its place with
 * rename(). Any other file is copied. On Windows, and for hypervisors that pin guest memory, every file is copied, the
 * latter by the kernel.
 *
 * Only size and magic number are looked at here: an image that is damaged otherwise is found out, inside the VM, by
 * hl_sandbox_new() (HL_PROGRAM_INVALID).
 *
 * @return HL_OK; HL_IMAGE_UNREADABLE (the message names file and reason; also a file that is not private with
 * HL_IMAGE_ACCESS_MAP); HL_IMAGE_INVALID (no prepared image); HL_IMAGE_TOO_LARGE; HL_INVALID_ARGUMENT; HL_FORKED;
 * HL_OUT_OF_MEMORY; HL_SYSTEM; with the default context also the failures of hl_context_new(). Any thread.
 */
HL_API HL_MUST_CHECK hl_status hl_image_map(hl_context *context, const char *path, const hl_image_options *options,
                                            hl_image **image, hl_error *err);

/**
 * @brief As hl_image_map(), from `size` bytes in memory, which are copied.
 */
HL_API HL_MUST_CHECK hl_status hl_image_from_memory(hl_context *context, const void *data, size_t size,
                                                    hl_image **image, hl_error *err);

/** @brief Size of an image in bytes; 0 if it is NULL. Any thread. */
HL_API uint64_t hl_image_size(const hl_image *image);

/** @brief Gives up an image. Programs made with it keep what they need. NULL is fine. Any thread. */
HL_API void hl_image_free(hl_image *image);

HL_END_DECLS

#endif
