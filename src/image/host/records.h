/* Records of a tree, on their way to the helper. */
#ifndef HL_IMAGE_HOST_RECORDS_H
#define HL_IMAGE_HOST_RECORDS_H

#include "image/host/child.h"

#include <sys/stat.h>

#define HL__RECORDS_BUFFER 262144u

struct hl__records {
    struct hl__child *child;
    size_t used;
    char buffer[HL__RECORDS_BUFFER];
};

/* Adds the record and the two texts; a file's bytes, `size` of them, must follow. */
hl_status hl__records_add(struct hl__records *records, uint32_t kind, const char *path,
                          const char *target, const struct stat *attributes, hl_error *err);
hl_status hl__records_bytes(struct hl__records *records, const void *data, size_t size,
                            hl_error *err);
/* Adds `size` bytes of a file, which has to have that many; `path` is for messages. */
hl_status hl__records_file(struct hl__records *records, int file, uint64_t size, const char *path,
                           hl_error *err);
/* Ends the tree. */
hl_status hl__records_end(struct hl__records *records, hl_error *err);

#endif
