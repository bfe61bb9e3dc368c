/**
 * @file prepare.h
 * @brief Making images: from tar archives, OCI image layouts, directories and files in memory (libhyperlight-image).
 *
 * A library of its own, so that the host library needs nothing but libc. What others made is never parsed in the
 * host application's process: a helper program, `hyperlight-prepare`, does it. It has the input, the output and a pipe
 * as its only descriptors, limits on memory, CPU time and output, and may not open, connect or execute anything.
 * Linux only.
 */
#ifndef HYPERLIGHT_PREPARE_H
#define HYPERLIGHT_PREPARE_H

#include <hyperlight/base.h>
#include <hyperlight/context.h>
#include <hyperlight/error.h>
#include <hyperlight/image.h>

/** Defaults and the most of what limits an image. */
#define HL_PREPARE_SIZE_MAX (UINT64_C(16) << 30)         /**< Bytes of the prepared image; the default too. */
#define HL_PREPARE_FILES_DEFAULT 1000000u                /**< Files, directories, links, devices. */
#define HL_PREPARE_FILES_MAX 16777215u
#define HL_PREPARE_DEPTH_DEFAULT 256u                    /**< Directories in one another. */
#define HL_PREPARE_DEPTH_MAX 1024u
#define HL_PREPARE_TIMEOUT_NS_DEFAULT UINT64_C(600000000000)
#define HL_PREPARE_CACHE_SIZE_DEFAULT (UINT64_C(10) << 30)

/** How far it has come. */
typedef struct hl_prepare_progress {
    uint64_t bytes_read;    /**< Of the archive; 0 where there is none. */
    uint64_t bytes_written; /**< Of the image. */
    uint32_t files;         /**< So far. */
    uint32_t reserved;
} hl_prepare_progress;

/** Options for making an image. Everything is copied. */
typedef struct hl_prepare_options {
    size_t size;                    /**< sizeof(hl_prepare_options). */
    const char *const *arguments;   /**< NULL-terminated argv that the image suggests, the program's path first; NULL:
                                         what an OCI image says, else nothing. */
    const char *const *environment; /**< NULL-terminated "NAME=value" strings; NULL: as above. */
    const char *directory;          /**< Working directory; NULL: as above. */
    uint64_t size_max;              /**< Bytes of the image; 0: HL_PREPARE_SIZE_MAX. */
    uint32_t files_max;             /**< 0: HL_PREPARE_FILES_DEFAULT. */
    uint32_t depth_max;             /**< 0: HL_PREPARE_DEPTH_DEFAULT. */
    uint64_t timeout_ns;            /**< For the whole; the helper's CPU time has the same limit. 0:
                                         HL_PREPARE_TIMEOUT_NS_DEFAULT. */
    bool (*progress)(const hl_prepare_progress *progress, void *user); /**< Called now and then on the caller's thread;
                                         false: stop, with HL_INTERRUPTED. May be NULL. */
    void *progress_user;            /**< For `progress`. */
    const char *cache_directory;    /**< Where hl_image_open() keeps images; NULL: $HL_CACHE_DIR, or
                                         $XDG_CACHE_HOME/hyperlight, or ~/.cache/hyperlight. It has to be private. */
    uint64_t cache_size_max;        /**< Bytes of images that are kept there; 0: HL_PREPARE_CACHE_SIZE_DEFAULT. */
} hl_prepare_options;

/** An image that is put together node by node. One thread at a time. */
typedef struct hl_image_builder hl_image_builder;

/** What a node has beside its contents. */
typedef struct hl_image_attributes {
    size_t size;          /**< sizeof(hl_image_attributes). */
    uint32_t mode;        /**< Permissions, 07777 at most; 0: 0755 for directories, 0644 for files. */
    uint32_t uid;         /**< Owner. */
    uint32_t gid;         /**< Group. */
    uint32_t modified_ns; /**< Time of the last change, nanoseconds in the second. */
    int64_t modified_s;   /**< Time of the last change, seconds since 1970. */
} hl_image_attributes;

HL_BEGIN_DECLS

/**
 * @brief Makes a prepared image of `input` and puts it at `output`, in one step when it is complete.
 * @param input   A tar archive (ustar, pax, GNU; plain or compressed with gzip, bzip2, xz or zstd), an OCI image layout
 *                (a directory, or a tar of one), or any other directory. What it is, its contents tell.
 * @param output  File to make or replace.
 * @param options NULL: defaults.
 *
 * Names in archives never leave the image: leading slashes are dropped, names with `..` are refused, symbolic links
 * are followed inside the image.
 *
 * @return HL_OK; HL_IMAGE_UNREADABLE; HL_IMAGE_INVALID (the message names the member); HL_IMAGE_TOO_LARGE,
 * HL_IMAGE_TOO_MANY_FILES, HL_IMAGE_TOO_DEEP; HL_TIMED_OUT; HL_CPU_LIMIT; HL_INTERRUPTED; HL_INVALID_ARGUMENT;
 * HL_OUT_OF_MEMORY; HL_SYSTEM. Any thread.
 */
HL_API HL_MUST_CHECK hl_status hl_prepare_file(const char *input, const char *output, const hl_prepare_options *options,
                                               hl_error *err);

/**
 * @brief Gets whatever an image can be made of into memory: makes the image, unless that was done before.
 * @param context NULL: the default context; see hl_image_map().
 * @param path    What hl_prepare_file() takes, or an image that it made.
 * @param options NULL: defaults.
 * @param image   Receives the image; release it with hl_image_free().
 *
 * Images are kept in a cache on disk, by the content of what they were made from: of an archive its bytes, of an OCI
 * layout its index, of a directory the paths, types, owners, sizes and times of all that is in it, and in each case the
 * library's version. Images that are shared this way are mapped, and lie in memory once. Those that were not used for
 * the longest time are removed when there are more than `cache_size_max` bytes; running programs keep theirs. Any number
 * of processes may use a cache at once. Damaged files in it are noticed and made anew.
 *
 * @return As hl_prepare_file() and hl_image_map().
 */
HL_API HL_MUST_CHECK hl_status hl_image_open(hl_context *context, const char *path, const hl_prepare_options *options,
                                             hl_image **image, hl_error *err);

/**
 * @brief Begins an image that is put together from memory and from files of the host.
 * @param options NULL: defaults. They also limit what the builder holds.
 *
 * Paths in the image need no leading slash; directories above them are made (root's, 0755). What is added later takes
 * the place of what has the name. Release the builder with hl_image_builder_free().
 *
 * @return HL_OK; HL_INVALID_ARGUMENT; HL_OUT_OF_MEMORY. Any thread.
 */
HL_API HL_MUST_CHECK hl_status hl_image_builder_new(const hl_prepare_options *options, hl_image_builder **builder,
                                                    hl_error *err);

/**
 * @brief Adds a regular file with `size` bytes, which are copied.
 * @param attributes NULL: 0644, root's, of the year 1970.
 * @return HL_OK; HL_INVALID_ARGUMENT; HL_OUT_OF_MEMORY; HL_IMAGE_TOO_LARGE; HL_IMAGE_TOO_MANY_FILES.
 */
HL_API HL_MUST_CHECK hl_status hl_image_builder_add_file(hl_image_builder *builder, const char *path, const void *data,
                                                         size_t size, const hl_image_attributes *attributes,
                                                         hl_error *err);

/** @brief Adds a directory. One that is there gets the attributes. Otherwise as hl_image_builder_add_file(). */
HL_API HL_MUST_CHECK hl_status hl_image_builder_add_directory(hl_image_builder *builder, const char *path,
                                                              const hl_image_attributes *attributes, hl_error *err);

/** @brief Adds a symbolic link, whose target need not exist. Otherwise as hl_image_builder_add_file(). */
HL_API HL_MUST_CHECK hl_status hl_image_builder_add_symlink(hl_image_builder *builder, const char *path,
                                                            const char *target, hl_error *err);

/** @brief Adds another name of the file `existing` in the image. Otherwise as hl_image_builder_add_file(). */
HL_API HL_MUST_CHECK hl_status hl_image_builder_add_link(hl_image_builder *builder, const char *path,
                                                         const char *existing, hl_error *err);

/**
 * @brief Adds a file or a directory of the host with all that is in it. Everything becomes root's.
 * @param source Followed if it is a symbolic link; links in a directory stay links. It is read when the image is
 *               written, and has to be there until then.
 * @return As hl_image_builder_add_file(), and HL_IMAGE_UNREADABLE.
 */
HL_API HL_MUST_CHECK hl_status hl_image_builder_copy(hl_image_builder *builder, const char *path, const char *source,
                                                     hl_error *err);

/**
 * @brief Says what the image runs, in place of what the builder's options said. NULL leaves a part as it is.
 * @return HL_OK; HL_OUT_OF_MEMORY; HL_INVALID_ARGUMENT.
 */
HL_API HL_MUST_CHECK hl_status hl_image_builder_set_program(hl_image_builder *builder, const char *const *arguments,
                                                            const char *const *environment, const char *directory,
                                                            hl_error *err);

/** @brief Writes the image to `output`, as hl_prepare_file() does. The builder stays as it is. */
HL_API HL_MUST_CHECK hl_status hl_image_builder_write(hl_image_builder *builder, const char *output, hl_error *err);

/**
 * @brief Gets the image into memory, as hl_image_open() does; it is not kept. The builder stays as it is.
 * @param context NULL: the default context; see hl_image_map().
 */
HL_API HL_MUST_CHECK hl_status hl_image_builder_finish(hl_image_builder *builder, hl_context *context, hl_image **image,
                                                       hl_error *err);

/** @brief Gives up a builder. NULL is fine. */
HL_API void hl_image_builder_free(hl_image_builder *builder);

/** An image in the cache. */
typedef struct hl_image_cache_entry {
    size_t size;      /**< sizeof(hl_image_cache_entry). */
    const char *path; /**< Valid during the call. */
    uint64_t bytes;   /**< That it takes on disk. */
    int64_t used_s;   /**< Last use, seconds since 1970. */
} hl_image_cache_entry;

/** Told of an image; false: no more. */
typedef bool hl_image_cache_visitor(const hl_image_cache_entry *entry, void *user);

/**
 * @brief Visits the images in a cache, those that were not used for the longest time first.
 * @param directory NULL: the standard one, as in hl_prepare_options.
 * @return HL_OK; HL_INVALID_ARGUMENT; HL_OUT_OF_MEMORY; HL_SYSTEM. Any thread.
 */
HL_API HL_MUST_CHECK hl_status hl_image_cache_visit(const char *directory, hl_image_cache_visitor *visit, void *user,
                                                    hl_error *err);

/** @brief Removes all images from a cache; running programs keep theirs. As hl_image_cache_visit(). */
HL_API HL_MUST_CHECK hl_status hl_image_cache_clear(const char *directory, hl_error *err);

HL_END_DECLS

#endif
