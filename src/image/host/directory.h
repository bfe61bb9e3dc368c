/* A directory of the host, sent to the helper as records. */
#ifndef HL_IMAGE_HOST_DIRECTORY_H
#define HL_IMAGE_HOST_DIRECTORY_H

#include "image/host/records.h"

/*
 * `root`: the directory's path, for messages; `below`: where it goes in the image, "" for the root.
 * `owned`: files keep their owners, otherwise they become root's.
 */
hl_status hl__directory_send(struct hl__records *records, int directory, const char *root,
                             const char *below, bool owned, hl_error *err);

#endif
