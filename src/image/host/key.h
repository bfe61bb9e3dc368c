/* What names an image in the cache: the content of what it is made from. */
#ifndef HL_IMAGE_HOST_KEY_H
#define HL_IMAGE_HOST_KEY_H

#include "image/host/cache.h"
#include "image/host/prepare.h"

/*
 * An archive: the digest of its bytes. A layout: that of its index, which names the rest by digests. A
 * directory: that of a list of paths, types, owners, sizes, and times of change of what is in it. And
 * the version of this library, and what the options say that goes into the image.
 */
hl_status hl__input_key(const struct hl__input *input, const hl_prepare_options *options,
                        struct hl__cache *cache, char key[HL__CACHE_KEY_SIZE], hl_error *err);

#endif
