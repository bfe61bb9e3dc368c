/* Files that appear under their names when they are complete. */
#ifndef HL_IMAGE_HOST_OUTPUT_H
#define HL_IMAGE_HOST_OUTPUT_H

#include <hyperlight/abi/image.h>
#include <hyperlight/error.h>
#include <limits.h>
#include <stdbool.h>

struct hl__output {
    int file;
    const char *path;
    bool named;
    char temporary[PATH_MAX]; /* in the same directory; if it has a name at all */
};

/* An empty file that becomes `path`, with the permissions that the umask leaves of `mode`. */
hl_status hl__output_open(struct hl__output *output, const char *path, unsigned mode,
                          hl_error *err);

/* Gives it a name of its own, `temporary`, if it has none. */
hl_status hl__output_name(struct hl__output *output, hl_error *err);

/* With HL_OK the file gets its name, with a failure it goes, and the status is returned. */
hl_status hl__output_close(struct hl__output *output, hl_status status, hl_error *err);

/* The file goes. */
void hl__output_discard(struct hl__output *output);

/* Looks whether the file is an image of `size` bytes, as far as the host ever looks. */
hl_status hl__output_check(int file, uint64_t size, hl_error *err);
/* The head of an image. */
hl_status hl__output_head(const char *path, struct hl_image_head *head, hl_error *err);

#endif
