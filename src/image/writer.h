/* Writes a tree as a prepared image: hyperlight/abi/image.h. */
#ifndef HL_IMAGE_WRITER_H
#define HL_IMAGE_WRITER_H

#include "image/tree.h"

/* What the head says beside the tree: NUL-terminated strings, one after the other. */
struct hl__image_texts {
    const char *arguments, *environment, *directory;
    size_t arguments_size, environment_size, directory_size;
};

/* Contents start behind the head. */
#define HL__IMAGE_CONTENTS_START 4096u

/*
 * Ends the image in tree->contents->output, to which the contents were written. The same tree gives
 * the same image.
 */
hl_status hl__image_write(struct hl__tree *tree, const struct hl__image_texts *texts,
                          uint64_t *size, hl_error *err);

#endif
