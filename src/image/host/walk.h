/* Directories of the host, for images and for what names them in the cache. */
#ifndef HL_IMAGE_HOST_WALK_H
#define HL_IMAGE_HOST_WALK_H

#include <hyperlight/error.h>
#include <sys/stat.h>

/*
 * What is found, in the order of names, a directory before what is in it. `path` is relative to the
 * start. `name` in `directory` (a descriptor) is the same file. A failure ends the walk.
 */
typedef hl_status hl__walk_visit(int directory, const char *name, const char *path,
                                 const struct stat *attributes, void *user, hl_error *err);

/*
 * Visits everything below the directory, and first itself, as "". Symbolic links are not followed.
 * What kernels make up (/proc, /sys) is left empty. `root`: the directory's path, for messages.
 */
hl_status hl__walk(int directory, const char *root, hl__walk_visit *visit, void *user,
                   hl_error *err);

#endif
