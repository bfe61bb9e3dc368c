/*
 * Fuzzes the reading of containers' images: index, manifest, configuration, layers. The input is a
 * list of files, each a size of two bytes and its bytes; the first is index.json or, if the input's
 * first byte is odd, manifest.json, and any other name stands for one of them. Digests are not compared.
 *
 * test-libraries: hyperlight_reader
 */
#define FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION 1
#include "../../src/image/oci.c"

#include "image_check.h"

#define FILES_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory_files {
    struct hl__oci_files base;
    const uint8_t *data[FILES_MAX];
    size_t size[FILES_MAX];
    size_t count, opened;
    struct memory_source source;
};

static hl_status open_memory(struct hl__oci_files *base, const char *name,
                             struct hl__source **source, hl_error *err)
{
    struct memory_files *files = (struct memory_files *)base;
    bool first = strcmp(name, "index.json") == 0 || strcmp(name, "manifest.json") == 0;
    size_t number = first ? 0 : (unsigned char)name[strlen(name) - 1] % files->count;
    if (files->opened++ != 0)
        abort(); /* one at a time */
    memory_source_init(&files->source, files->data[number], files->size[number], 4096, err);
    *source = &files->source.base;
    return HL_OK;
}

static void close_memory(struct hl__oci_files *base)
{
    struct memory_files *files = (struct memory_files *)base;
    files->opened--;
}

static void list_files(struct memory_files *files, const uint8_t *data, size_t size)
{
    files->base = (struct hl__oci_files){.open = open_memory, .close = close_memory};
    while (size > 2 && files->count < FILES_MAX) {
        size_t wanted = (size_t)data[0] << 8 | data[1];
        size_t taken = wanted < size - 2 ? wanted : size - 2;
        files->data[files->count] = data + 2;
        files->size[files->count++] = taken;
        data += 2 + taken;
        size -= 2 + taken;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory_files files = {.count = 0};
    struct hl__oci_config config = {0};
    struct image_check check;
    hl_error err = HL_ERROR_INIT;
    if (size < 4)
        return 0;
    list_files(&files, data + 1, size - 1);
    image_check_begin(&check);
    hl_status status = hl__oci_read(&files.base, data[0] & 1 ? HL__OCI_DOCKER : HL__OCI_LAYOUT,
                                    &check.tree, &config, NULL, &err);
    if ((status != HL_OK && (err.status != status || !err.message[0])) || files.opened != 0)
        abort();
    hl__oci_config_free(&config);
    image_check_end(&check);
    return 0;
}
