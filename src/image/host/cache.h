/*
 * Prepared images that are kept on disk, by the content of what they were made from.
 *
 * A private directory with, for each image, KEY.image and KEY.stamp. The stamp says which file that is
 * and when it last changed; the system changes that time with every write, and no program can set it
 * back. So an image that was damaged, or is only half there, does not fit its stamp and is made anew.
 * The stamp's own time is that of the last use. Files KEY.input remember digests of archives by what
 * fstat() says of them. Whoever makes an image locks a byte of the file `lock` that its key chooses.
 */
#ifndef HL_IMAGE_HOST_CACHE_H
#define HL_IMAGE_HOST_CACHE_H

#include "image/host/output.h"

#include <nettle/sha2.h>
#include <sys/stat.h>

#define HL__CACHE_KEY_SIZE (2 * SHA256_DIGEST_SIZE + 1)

struct hl__cache {
    int directory;
    int lock; /* -1: not held */
    char path[PATH_MAX];
};

/* Opens the cache, and makes it if need be. `directory`: NULL for the standard one. */
hl_status hl__cache_open(struct hl__cache *cache, const char *directory, hl_error *err);
void hl__cache_close(struct hl__cache *cache);

void hl__cache_key(struct sha256_ctx *hash, char key[HL__CACHE_KEY_SIZE]);

/* Waits for others that make the same image, at most until `deadline_ns` of the monotonic clock. */
void hl__cache_lock(struct hl__cache *cache, const char *key, int64_t deadline_ns);
void hl__cache_unlock(struct hl__cache *cache);

/* Whether the cache has the image whole; it counts as used. `path` receives where. */
bool hl__cache_find(struct hl__cache *cache, const char *key, char path[PATH_MAX]);

/* The image was put at KEY.image: from now on it is found. */
hl_status hl__cache_stamp(struct hl__cache *cache, const char *key, hl_error *err);
void hl__cache_image_path(const struct hl__cache *cache, const char *key, char path[PATH_MAX]);

/* Digests of archives. A file that changed a moment ago may change unseen: it is not remembered. */
bool hl__cache_recall(struct hl__cache *cache, const struct stat *attributes,
                      uint8_t digest[SHA256_DIGEST_SIZE]);
void hl__cache_remember(struct hl__cache *cache, const struct stat *attributes,
                        const uint8_t digest[SHA256_DIGEST_SIZE]);

/* Removes the images that were not used for the longest time until `size_max` bytes are left, but `keep`. */
void hl__cache_prune(struct hl__cache *cache, uint64_t size_max, const char *keep);

#endif
