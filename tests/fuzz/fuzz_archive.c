/*
 * Fuzzes what becomes of an archive: whatever the tar, what is made of it is a proper image, or an
 * error. The first byte says whether it is a layer, and how the bytes arrive.
 *
 * test-libraries: hyperlight_reader
 */
#define _GNU_SOURCE
#include "image_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_one(struct image_check *check, const uint8_t *data, size_t size, uint8_t way)
{
    struct memory_source source;
    hl_error err = HL_ERROR_INIT;
    memory_source_init(&source, data, size, way & 2 ? 512 : 65536, &err);
    hl_status status = hl__archive_read(&source.base, &check->tree, way & 1, NULL, &err);
    if (status != HL_OK && (err.status != status || !err.message[0]))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_check check;
    if (size == 0)
        return 0;
    image_check_begin(&check);
    /* What was read before an error is a tree all the same. A layer comes twice. */
    read_one(&check, data + 1, size - 1, data[0]);
    if (data[0] & 1) {
        hl__tree_next_layer(&check.tree);
        read_one(&check, data + 1, size - 1, data[0]);
    }
    image_check_end(&check);
    return 0;
}
