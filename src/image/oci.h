/* Images of containers: OCI layouts, and what `docker save` writes. */
#ifndef HL_IMAGE_OCI_H
#define HL_IMAGE_OCI_H

#include "image/archive.h"

/* The files of a layout, by their names in it. One is open at a time. */
struct hl__oci_files {
    hl_status (*open)(struct hl__oci_files *files, const char *name, struct hl__source **source,
                      hl_error *err);
    void (*close)(struct hl__oci_files *files);
};

/* What the image's configuration says about the program: strings that end with NUL, one after the other. */
struct hl__oci_config {
    char *arguments, *environment, *directory;
    size_t arguments_size, environment_size, directory_size;
};

enum hl__oci_kind { HL__OCI_NONE, HL__OCI_LAYOUT, HL__OCI_DOCKER };

/*
 * Reads the image for Linux on x86-64 into the tree, layer by layer. Every blob that a digest names is
 * held against it. `config` is freed with hl__oci_config_free(), also after a failure.
 */
hl_status hl__oci_read(struct hl__oci_files *files, enum hl__oci_kind kind, struct hl__tree *tree,
                       struct hl__oci_config *config, const struct hl__archive_progress *progress,
                       hl_error *err);
void hl__oci_config_free(struct hl__oci_config *config);

/* Once, before the confinement: needs random numbers. */
void hl__oci_seed(void);

/* A layout in a tar. */
struct hl__oci_archive {
    struct hl__oci_files base;
    int file;
    hl_error *err;
    struct archive *reader;
    struct hl__file_source outer;
    struct hl__source member;
    int64_t offset; /* in the member */
};
void hl__oci_archive_init(struct hl__oci_archive *archive, int file, hl_error *err);

/* What the tar holds; looks no further than the first member that no layout has. */
hl_status hl__oci_detect(int file, enum hl__oci_kind *kind, hl_error *err);

#endif
