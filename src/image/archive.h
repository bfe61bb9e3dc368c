/* Archives: what libarchive reads of a tar becomes nodes of a tree. */
#ifndef HL_IMAGE_ARCHIVE_H
#define HL_IMAGE_ARCHIVE_H

#include "image/tree.h"

#include <sys/types.h>

/* Bytes of an archive, from wherever they come. */
struct hl__source {
    /* The next bytes, 0 at the end, -1: `status` and `err` say why. */
    ssize_t (*read)(struct hl__source *source, const void **data);
    /* Leaves out up to `size` bytes, which are there; returns how many. May be NULL. */
    int64_t (*skip)(struct hl__source *source, int64_t size);
    hl_status status;
    hl_error *err;
};

/* A file, from its start. */
#define HL__SOURCE_BUFFER 65536u
struct hl__file_source {
    struct hl__source base;
    int file;
    uint64_t offset, size;
    char buffer[HL__SOURCE_BUFFER];
};
hl_status hl__file_source_init(struct hl__file_source *source, int file, hl_error *err);

/* Told after each member. */
struct hl__archive_progress {
    void (*report)(void *user);
    void *user;
};

/* Adds the members of the tar to the tree; `layer`: names that start with ".wh." hide what was there. */
hl_status hl__archive_read(struct hl__source *source, struct hl__tree *tree, bool layer,
                           const struct hl__archive_progress *progress, hl_error *err);

struct archive;
/* A reader of tars, compressed or not, before its first member; ends with archive_read_free(). */
hl_status hl__archive_open(struct hl__source *source, struct archive **opened, hl_error *err);

/* Why the reader stopped; `name`: the member it was at, or NULL. */
hl_status hl__archive_failed(struct archive *reader, const struct hl__source *source,
                             const char *name, hl_error *err);

#endif
