/* Where the helper program is. */
#ifndef HL_IMAGE_HOST_FIND_H
#define HL_IMAGE_HOST_FIND_H

#include <hyperlight/error.h>
#include <limits.h>

/* HL_PREPARE says; or it lies in its place relative to this library, or where it was installed. */
hl_status hl__find_helper(char path[PATH_MAX], hl_error *err);

#endif
