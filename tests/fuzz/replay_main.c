/*
 * Runs a fuzz target without a fuzzer: on every file of the given corpus folders, on single files, and on a fixed series of
 * random inputs, so that a target is exercised in ordinary test runs by any compiler.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RANDOM_INPUTS 2000
#define RANDOM_SIZE_MAX 512
#define PATH_SIZE 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static size_t inputs_run;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* Each input lies in a block of its exact size, so that a sanitizer sees the first byte behind it. */
static void run_input(const void *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        fail("malloc");
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    inputs_run++;
}

static void run_file(const char *path, size_t size)
{
    char *data = malloc(size + 1);
    FILE *file = fopen(path, "rb");
    if (!data || !file || fread(data, 1, size, file) != size)
        fail(path);
    fclose(file);
    run_input(data, size);
    free(data);
}

static void run_path(const char *path);

static void run_folder(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0)
        fail(path);
    for (int index = 0; index < count; index++) {
        char child[PATH_SIZE];
        if (snprintf(child, sizeof child, "%s/%s", path, entries[index]->d_name) >= PATH_SIZE)
            fail(path);
        if (entries[index]->d_name[0] != '.')
            run_path(child);
        free(entries[index]);
    }
    free(entries);
}

static void run_path(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        fail(path);
    if (S_ISDIR(status.st_mode))
        run_folder(path);
    else
        run_file(path, (size_t)status.st_size);
}

/* xorshift64: the same inputs in every run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void run_random(void)
{
    uint64_t state = 0x9e3779b97f4a7c15u;
    uint8_t data[RANDOM_SIZE_MAX];
    for (int input = 0; input < RANDOM_INPUTS; input++) {
        size_t size = next_random(&state) % (RANDOM_SIZE_MAX + 1);
        for (size_t index = 0; index < size; index++)
            data[index] = (uint8_t)(next_random(&state) >> 32);
        run_input(data, size);
    }
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    run_input("", 0);
    for (int index = 1; index < argc; index++)
        run_path(argv[index]);
    run_random();
    printf("%zu inputs\n", inputs_run);
    return 0;
}
