/*
 * Fuzzes the shim's reader of root images: a well-formed image is damaged where the input says, and then
 * everything in it is looked at, changed and removed through system calls.
 *
 * test-libraries: hl_shim_files
 */
#include "files.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    READ = 0,
    OPEN = 2,
    CLOSE = 3,
    STAT = 4,
    PWRITE = 18,
    RENAME = 82,
    RMDIR = 84,
    UNLINK = 87,
    READLINK = 89,
    GETDENTS = 217
};

#define P(pointer) ((uint64_t)(pointer))
#define LOOKS_MAX 400
#define DEPTH_MAX 12

static const struct files_spec specs[] = {
    {-1, "bin", S_IFDIR | 0755, NULL, 0, 0},     {0, "tool", S_IFREG | 0755, NULL, 9000, 0},
    {0, "small", S_IFREG | 0644, NULL, 70, 0},   {0, "tool2", S_IFREG, NULL, 0, 2},
    {-1, "lib", S_IFLNK | 0777, "bin", 0, 0},    {0, "deep", S_IFDIR | 0755, NULL, 0, 0},
    {5, "file", S_IFREG | 0644, NULL, 4096, 0},  {-1, "null", S_IFCHR | 0666, NULL, 0, 0},
    {-1, "loop", S_IFLNK | 0777, "/loop", 0, 0},
};

static int looks;

static int64_t call(unsigned number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    const uint64_t arg[6] = {a, b, c, d, 0, 0};

    return files_call(number, arg);
}

static void look(const char *path, int depth);

static void look_into(const char *path, int64_t directory, int depth)
{
    char child[4096];
    uint64_t buffer[128];
    int64_t size;

    while ((size = call(GETDENTS, P(directory), P(buffer), sizeof buffer, 0)) > 0) {
        for (int64_t at = 0; at < size && looks < LOOKS_MAX;) {
            struct linux_dirent *entry = (struct linux_dirent *)((char *)buffer + at);
            const char *name = (char *)entry + 19;

            at += entry->size;
            if (!strcmp(name, ".") || !strcmp(name, "..") ||
                strlen(path) + strlen(name) + 2 > sizeof child)
                continue;
            strcpy(child, path);
            strcat(child, "/");
            strcat(child, name);
            look(child, depth + 1);
        }
        if (looks >= LOOKS_MAX)
            return;
    }
}

static void look(const char *path, int depth)
{
    static char bytes[65536];
    struct linux_stat stat;
    int64_t file;

    looks++;
    call(STAT, P(path), P(&stat), 0, 0);
    call(READLINK, P(path), P(bytes), sizeof bytes, 0);
    file = call(OPEN, P(path), O_RDWR, 0, 0);
    if (file >= 0) {
        call(READ, P(file), P(bytes), sizeof bytes, 0);
        call(PWRITE, P(file), P("changed"), 7, 5000);
        call(CLOSE, P(file), 0, 0, 0);
    }
    file = call(OPEN, P(path), O_RDONLY | O_DIRECTORY, 0, 0);
    if (file >= 0) {
        if (depth < DEPTH_MAX)
            look_into(path, file, depth);
        call(CLOSE, P(file), 0, 0, 0);
    }
    if (looks % 3 == 0)
        call(RENAME, P(path), P("/bin/moved"), 0, 0);
    if (looks % 5 == 0 && call(UNLINK, P(path), 0, 0, 0) < 0)
        call(RMDIR, P(path), 0, 0, 0);
}

/* Where damage goes: mostly to the tables, which lie behind the contents, sometimes to the head or
 * anywhere. */
static size_t damaged_place(const uint8_t *image, size_t image_size, const uint8_t *data)
{
    const struct hl_image_head *head = (const struct hl_image_head *)image;
    size_t at = (size_t)data[0] | (size_t)data[1] << 8 | (size_t)(data[2] & 15) << 16;
    size_t tables = head->names.offset < image_size ? head->names.offset : 0;

    switch (data[2] >> 4) {
    case 0:
        return at % sizeof *head;
    case 1:
        return at % image_size;
    default:
        return tables + at % (image_size - tables);
    }
}

/* Each four bytes of the input are one damaged byte; a few per input, or nothing is left to look at. */
static void damage(uint8_t *image, size_t image_size, const uint8_t *data, size_t size)
{
    for (int i = 0; i < 8 && size >= 4; i++, data += 4, size -= 4)
        image[damaged_place(image, image_size, data)] = data[3];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *good;
    static size_t image_size;
    uint8_t *image;

    if (!good)
        good = files_image(specs, sizeof specs / sizeof specs[0], &image_size);
    image = aligned_alloc(HL_ABI_PAGE_SIZE, image_size);
    if (!image)
        abort();
    memcpy(image, good, image_size);
    damage(image, image_size, data, size);
    looks = 0;
    if (files_enter(image, image_size))
        look("/", 0);
    files_leave();
    if (files_pages() || files_objects() > 1)
        abort();
    free(image);
    return 0;
}
