/*
 * Fuzzes system calls on the shim's files: any arguments, memory that may run out. The shim's own books
 * are checked by what the double of its heap checks: sizes, and that nothing is used after it was freed.
 *
 * test-libraries: hl_shim_files
 */
#include "files.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BUFFER 70000u

static const struct files_spec specs[] = {
    {-1, "a", S_IFDIR | 0755, NULL, 0, 0},   {0, "b", S_IFREG | 0755, NULL, 9000, 0},
    {0, "c", S_IFREG | 0644, NULL, 70, 0},   {-1, "b", S_IFREG, NULL, 0, 2},
    {-1, "c", S_IFLNK | 0777, "a", 0, 0},    {0, "a", S_IFDIR | 0755, NULL, 0, 0},
    {5, "a", S_IFREG | 0644, NULL, 4096, 0},
};

static const char *const paths[] = {
    "a", "b", "c",  "a/b", "a/c", "a/a", "a/a/a", "c/a", "./a/../b",
    "/", ".", "..", "",    "a/",  "c/",  "d",     "a/d",
};

/* Addresses and numbers as programs pass them, and others. */
static uint64_t argument(uint8_t kind, uint8_t value)
{
    static uint8_t buffer[BUFFER];
    static const uint64_t numbers[] = {0,       1,         2,         4095,       4096,
                                       1 << 20, INT64_MAX, INT64_MIN, UINT64_MAX, 0x7fffffff};

    switch (kind % 6) {
    case 0:
        return (uint64_t)paths[value % (sizeof paths / sizeof paths[0])];
    case 1:
        return (uint64_t)buffer;
    case 2:
        return value % 8; /* descriptors */
    case 3:
        return numbers[value % 10];
    case 4:
        return (uint64_t)value << (value % 3 * 8); /* flags */
    default:
        return value & 1 ? (uint64_t)AT_FDCWD : value % 64u;
    }
}

/* Sizes that stay within the buffer, for calls that take one. */
static void bound(unsigned number, uint64_t *arg)
{
    enum { READ = 0, WRITE = 1, PREAD = 17, PWRITE = 18, READLINK = 89, GETCWD = 79 };
    enum { GETDENTS = 217, READLINKAT = 267, GETGROUPS = 115 };

    if (number == READ || number == WRITE || number == PREAD || number == PWRITE ||
        number == GETDENTS || number == READLINK)
        arg[2] %= BUFFER;
    if (number == READLINKAT)
        arg[3] %= BUFFER;
    if (number == GETCWD)
        arg[1] %= BUFFER;
}

/* Calls whose pointers lead to further pointers are not for garbage without a processor to fault. */
static bool is_safe(unsigned number)
{
    return number < 400 && number != 19 && number != 20 && number != 295 && number != 296 &&
           number != 327 && number != 328;
}

static bool is_buffer_or_null(uint64_t address, uint64_t low)
{
    return address < HL_ABI_PAGE_SIZE || address == low;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *image;
    static size_t image_size;

    if (!image)
        image = files_image(specs, sizeof specs / sizeof specs[0], &image_size);
    if (size < 2 || !files_enter(data[0] & 1 ? image : NULL, image_size))
        return 0;
    if (data[0] & 2)
        files_memory_left(data[1], data[1] / 2);
    for (data += 2, size -= 2; size >= 14; data += 14, size -= 14) {
        unsigned number = data[0] | (unsigned)(data[1] & 1) << 8;
        uint64_t arg[6];

        for (int i = 0; i < 6; i++) {
            arg[i] = argument(data[2 + 2 * i], data[3 + 2 * i]);
            /* Numbers are no addresses here. */
            if (arg[i] >= HL_ABI_PAGE_SIZE && data[2 + 2 * i] % 6 > 2 && i < 4 &&
                !is_buffer_or_null(arg[i], 0))
                arg[i] = data[2 + 2 * i] % 6 == 3 && i >= 2 ? arg[i] : arg[i] % HL_ABI_PAGE_SIZE;
        }
        if (!is_safe(number))
            continue;
        bound(number, arg);
        files_call(number, arg);
    }
    files_leave();
    return 0;
}
