/* Inside of an image: one mapping, shared by the programs that use it. */
#ifndef HL_PROGRAM_IMAGE_H
#define HL_PROGRAM_IMAGE_H

#include "context/context.h"
#include "os/os.h"
#include <hyperlight/image.h>

struct hl_image {
    atomic_uint references;
    hl_context *context;
    void *memory;  /* read-only for everybody */
    uint64_t size; /* page multiple */
    bool writable; /* mapped so, because the hypervisor pins memory */
    /* what file was mapped; all zero if none was */
    struct hl__os_file_identity file;
};

void hl__image_ref(hl_image *image);

/* Whether two images, which may be NULL, have the same contents. Compares them only if they are neither
 * the same object nor mappings of the same file. */
bool hl__image_same(const hl_image *image, const hl_image *other);

#endif
