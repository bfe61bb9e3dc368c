/*
 * Fuzzes system calls on the shim's files: any arguments, memory that may run out. The double of the
 * shim's heap checks the shim's books: sizes, nothing used after it was freed, all given back.
 *
 * test-libraries: hl_shim_files
 */
#include "file/syscalls.h"
#include "files.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY_SIZE 65536u
#define PATH_SLOT 16u
#define CALL_SIZE 14u

static const struct files_spec specs[] = {
    {-1, "a", S_IFDIR | 0755, NULL, 0, 0},   {0, "b", S_IFREG | 0755, NULL, 9000, 0},
    {0, "c", S_IFREG | 0644, NULL, 70, 0},   {-1, "b", S_IFREG, NULL, 0, 2},
    {-1, "c", S_IFLNK | 0777, "a", 0, 0},    {0, "a", S_IFDIR | 0755, NULL, 0, 0},
    {5, "a", S_IFREG | 0644, NULL, 4096, 0},
};

static const char *const paths[] = {"a",     "b",        "c", "a/b", "a/c", "a/a", "a/a/a", "c/a",
                                    "./a/b", "a/../a/.", "/", ".",   "..",  "a/",  "c/",    "a/d"};
#define PATH_COUNT (sizeof paths / sizeof paths[0])

#define NUMBER(number, name) number,
#define PARTIAL_NUMBER(number, name, difference) number,
#define NO_NUMBER(number, name, error, why)
static const uint16_t numbers[] = {HL__SYSCALLS_FILE(NUMBER, PARTIAL_NUMBER, NO_NUMBER)};
#define NUMBER_COUNT (sizeof numbers / sizeof numbers[0])

/* The program's memory: paths, then what calls write to, then what lies there by chance. */
static uint8_t memory[MEMORY_SIZE];

static uint64_t argument(uint8_t kind, uint8_t value)
{
    static const uint64_t values[] = {
        0, 1, 2, 4095, 4096, 1u << 20, INT64_MAX, (uint64_t)INT64_MIN, UINT64_MAX, 0x7fffffff};

    switch (kind % 8) {
    case 0:
    case 1:
        return (uint64_t)memory + value % PATH_COUNT * PATH_SLOT;
    case 2:
        return (uint64_t)memory + value * 256u;
    case 3:
        return value % 8; /* descriptors */
    case 4:
        return values[value % 10];
    case 5:
        return (uint64_t)value << value % 3 * 8; /* flags */
    case 6:
        return (uint64_t)memory + MEMORY_SIZE - value % 32; /* the end of what is there */
    default:
        return value & 1 ? (uint64_t)AT_FDCWD : value;
    }
}

static void fill_memory(void)
{
    for (uint32_t i = 0; i < MEMORY_SIZE; i++)
        memory[i] = (uint8_t)(i % 7 ? 0 : i >> 8);
    for (uint32_t i = 0; i < PATH_COUNT; i++)
        strcpy((char *)memory + i * PATH_SLOT, paths[i]);
    /* Vectors that lie in it, one of them beyond its end. */
    for (uint32_t i = 0; i < 8; i++) {
        struct linux_iovec item = {(uint64_t)memory + 4096 + i * 8000, i * 1500};

        memcpy(memory + 256 + i * sizeof item, &item, sizeof item);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *image;
    static size_t image_size;

    if (!image)
        image = files_image(specs, sizeof specs / sizeof specs[0], &image_size);
    fill_memory();
    files_program_memory(memory, sizeof memory);
    if (size < 2 || !files_enter(data[0] & 1 ? image : NULL, image_size))
        return 0;
    if (data[0] & 2)
        files_memory_left(data[1], data[1] / 2);
    for (data += 2, size -= 2; size >= CALL_SIZE; data += CALL_SIZE, size -= CALL_SIZE) {
        uint64_t arg[6];

        for (int i = 0; i < 6; i++)
            arg[i] = argument(data[2 + 2 * i], data[3 + 2 * i]);
        files_call(numbers[(data[0] | data[1] << 8) % NUMBER_COUNT], arg);
    }
    files_leave();
    if (files_pages() || files_objects() > 1)
        abort();
    return 0;
}
