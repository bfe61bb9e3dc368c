/* Inputs, and making images of them. */
#ifndef HL_IMAGE_HOST_PREPARE_H
#define HL_IMAGE_HOST_PREPARE_H

#include "image/host/child.h"

#include <sys/stat.h>

/* What an image is to be made of. */
struct hl__input {
    const char *path;
    int file; /* or directory */
    uint32_t kind;
    bool prepared; /* it is an image already */
    struct stat attributes;
};

hl_status hl__input_open(const char *path, struct hl__input *input, hl_error *err);
void hl__input_close(struct hl__input *input);

/* Options with the defaults filled in. */
hl_status hl__prepare_options(hl_prepare_options *out, const hl_prepare_options *options,
                              hl_error *err);

/* Makes the image in the empty file `output`. */
hl_status hl__prepare(const struct hl__input *input, int output, const hl_prepare_options *options,
                      hl_error *err);

/* A builder's options, complete, and its image into the empty file `output`. */
const hl_prepare_options *hl__builder_options(const hl_image_builder *builder);
hl_status hl__builder_write(const hl_image_builder *builder, int output, hl_error *err);

#endif
