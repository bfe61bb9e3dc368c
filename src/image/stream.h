/* Trees that the library sends record by record: directories of the host, files from memory. */
#ifndef HL_IMAGE_STREAM_H
#define HL_IMAGE_STREAM_H

#include "image/archive.h"

/* Reads records from the descriptor up to the last. */
hl_status hl__stream_read(int input, struct hl__tree *tree,
                          const struct hl__archive_progress *progress, hl_error *err);

#endif
