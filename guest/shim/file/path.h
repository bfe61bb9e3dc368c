/* From a path to what it names. */
#ifndef HL_SHIM_PATH_H
#define HL_SHIM_PATH_H

#include "file/file.h"
#include "file/tree.h"

#define HL__LINKS_MAX 40u /* symbolic links on one way */

/* The place that a path's last part names. */
struct hl__place {
    struct hl__inode *directory; /* referenced; that of the last part, NULL: it was no name */
    struct hl__inode *inode;     /* referenced; NULL: there is none, or `file` has none */
    struct hl__file *file;       /* referenced: the path went through a link of /proc to it */
    char name[HL__NAME_MAX + 1];
    uint32_t name_size;
    bool slash; /* slashes follow the last part */
    enum { HL__LAST_NAME, HL__LAST_DOT, HL__LAST_DOTS, HL__LAST_ROOT } last;
};

/* Options of hl__place_find() and hl__place_at(). */
#define HL__PLACE_FOLLOW 1u  /* a link as the last part is followed */
#define HL__PLACE_MISSING 2u /* the last part may be missing */
#define HL__PLACE_NAME                                                                             \
    8u /* the last part is a name to be changed: never followed, slashes or not */
#define HL__PLACE_CREATE 16u /* slashes behind the last part are refused with -EISDIR */
#define HL__PLACE_EMPTY 4u   /* an empty path means the descriptor itself */

/* Finds the place of a path in the shim's memory, from a directory on. 0 or -errno, then nothing is
 * referenced. */
int64_t hl__place_find(struct hl__inode *start, const char *path, uint32_t size, uint32_t options,
                       struct hl__place *place);
/* The same for a path in the program's memory and a descriptor as the *at calls take them. */
int64_t hl__place_at(uint64_t descriptor, uint64_t path, uint32_t options, struct hl__place *place);
void hl__place_free(struct hl__place *place);

/* The target of a symbolic link: bytes without NUL, or -errno. */
int64_t hl__link_text(struct hl__inode *link, char *text, uint64_t size);

/* What of "/proc/self/fd" names an open file: its path, "pipe:[7]", ... Bytes without NUL. */
int64_t hl__file_path(struct hl__file *file, char *path, uint64_t size);

#endif
