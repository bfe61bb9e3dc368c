/* Images: which files are mapped, which are copied, and which are none; what of programs lies in images. */
#include "context/context.h"
#include "doubles/fake_driver.h"
#include "driver/override.h"
#include "program/program.h"

#include <fcntl.h>
#include <hyperlight/abi/image.h>
#include <hyperlight/hyperlight.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE (3 * 4096)

static hl_context *context;
static char directory[64], path[96];
static uint64_t contents[SIZE / sizeof(uint64_t)] = {HL_IMAGE_MAGIC, [SIZE / 8 - 1] = 7};

static void write_file(const void *data, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
    assert_int_equal(chmod(path, 0600), 0);
}

static int set_up(void **state)
{
    hl_driver_info info;
    struct hl__machine machine;
    (void)state;
    fake_driver_describe(true, &info, &machine);
    hl__driver_override(&fake_driver, &info, &machine);
    assert_int_equal(hl_context_new(NULL, &context, NULL), HL_OK);
    strcpy(directory, "/tmp/hl-image-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/image", directory);
    write_file(contents, sizeof contents);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    rmdir(directory);
    hl_context_free(context);
    hl__driver_override(NULL, NULL, NULL);
    return 0;
}

static hl_status map(hl_image_access access, hl_image **image, hl_error *err)
{
    const hl_image_options options = {.size = sizeof options, .access = access};
    return hl_image_map(context, path, &options, image, err);
}

/* A change of the file shows in what was mapped, and not in what was copied. */
static bool shows_changes(const hl_image *image)
{
    const uint64_t mark = 0x3a9, before = contents[100];
    const uint64_t *words = image->memory;
    int file = open(path, O_WRONLY);
    assert_true(file >= 0);
    assert_int_equal(words[100], before);
    assert_int_equal(pwrite(file, &mark, sizeof mark, 100 * sizeof mark), sizeof mark);
    bool shows = *(const volatile uint64_t *)&words[100] == mark;
    assert_int_equal(pwrite(file, &before, sizeof before, 100 * sizeof before), sizeof before);
    close(file);
    return shows;
}

static void expect_access(hl_image_access access, bool mapped)
{
    hl_image *image;
    assert_int_equal(map(access, &image, NULL), HL_OK);
    assert_int_equal(hl_image_size(image), SIZE);
    assert_memory_equal(image->memory, contents, SIZE);
    assert_int_equal(shows_changes(image), mapped);
    hl_image_free(image);
}

static void test_private_files_are_mapped(void **state)
{
    (void)state;
    expect_access(HL_IMAGE_ACCESS_DEFAULT, true);
    expect_access(HL_IMAGE_ACCESS_MAP, true);
    expect_access(HL_IMAGE_ACCESS_COPY, false);
}

static void expect_not_private(void)
{
    hl_image *image = NULL;
    hl_error err = HL_ERROR_INIT;
    expect_access(HL_IMAGE_ACCESS_DEFAULT, false);
    assert_int_equal(map(HL_IMAGE_ACCESS_MAP, &image, &err), HL_IMAGE_UNREADABLE);
    assert_int_equal(err.status, HL_IMAGE_UNREADABLE);
    assert_non_null(strstr(err.message, path));
    assert_null(image);
}

static void test_files_of_others_are_copied(void **state)
{
    (void)state;
    static const mode_t modes[] = {0620, 0602, 0666};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        expect_not_private();
    }
    assert_int_equal(chmod(path, 0644), 0);
    expect_access(HL_IMAGE_ACCESS_MAP, true);
    assert_int_equal(chmod(directory, 0777), 0);
    expect_not_private();
    assert_int_equal(chmod(directory, 01777), 0);
    expect_not_private();
    assert_int_equal(chmod(directory, 0700), 0);
    if (geteuid() != 0)
        return;
    assert_int_equal(chown(path, 12345, 0), 0);
    expect_not_private();
}

/* Whatever leads to it, what counts is where the file is. */
static void test_a_link_is_followed(void **state)
{
    char real[128];
    (void)state;
    snprintf(real, sizeof real, "%s-open", directory);
    assert_int_equal(mkdir(real, 0777), 0);
    assert_int_equal(chmod(real, 0777), 0);
    strcat(real, "/file");
    assert_int_equal(rename(path, real), 0);
    assert_int_equal(symlink(real, path), 0);
    expect_not_private();
    assert_int_equal(unlink(real), 0);
    *strrchr(real, '/') = '\0';
    assert_int_equal(rmdir(real), 0);
}

static void expect_failure(hl_status status, const char *word)
{
    for (int access = HL_IMAGE_ACCESS_DEFAULT; access <= HL_IMAGE_ACCESS_COPY; access++) {
        hl_image *image = NULL;
        hl_error err = HL_ERROR_INIT;
        assert_int_equal(map((hl_image_access)access, &image, &err), status);
        assert_int_equal(err.status, status);
        if (!strstr(err.message, word))
            fail_msg("'%s' is not in: %s", word, err.message);
        assert_null(image);
    }
}

static void test_files_that_are_no_images(void **state)
{
    (void)state;
    write_file(contents, SIZE - 1);
    expect_failure(HL_IMAGE_INVALID, "multiple");
    write_file(contents, 0);
    expect_failure(HL_IMAGE_INVALID, "multiple");
    contents[0]++;
    write_file(contents, SIZE);
    contents[0]--;
    expect_failure(HL_IMAGE_INVALID, "no prepared image");
    assert_int_equal(truncate(path, (off_t)HL_IMAGE_SIZE_MAX + 4096), 0);
    expect_failure(HL_IMAGE_TOO_LARGE, "larger");
    assert_int_equal(unlink(path), 0);
    expect_failure(HL_IMAGE_UNREADABLE, path);
    assert_int_equal(mkdir(path, 0700), 0);
    expect_failure(HL_IMAGE_UNREADABLE, "directory");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_failure(HL_IMAGE_UNREADABLE, "regular");
}

static void test_calls_that_are_wrong(void **state)
{
    hl_image *image = NULL;
    const hl_image_options odd = {.size = sizeof odd, .access = (hl_image_access)3};
    const hl_image_options reserved = {.size = sizeof odd, .reserved = 1};
    (void)state;
    assert_int_equal(hl_image_map(context, path, &odd, &image, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_image_map(context, path, &reserved, &image, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_image_map(context, NULL, NULL, &image, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_image_map(context, "", NULL, &image, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_image_map(context, path, NULL, NULL, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_image_from_memory(context, NULL, SIZE, &image, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_image_from_memory(context, contents, 100, &image, NULL), HL_IMAGE_INVALID);
    assert_null(image);
    assert_int_equal(hl_image_size(NULL), 0);
    hl_image_free(NULL);
}

static hl_image *from_memory(void)
{
    hl_image *image;
    assert_int_equal(hl_image_from_memory(context, contents, SIZE, &image, NULL), HL_OK);
    return image;
}

static void test_which_images_are_the_same(void **state)
{
    hl_image *mapped, *again, *memory = from_memory();
    (void)state;
    assert_int_equal(map(HL_IMAGE_ACCESS_MAP, &mapped, NULL), HL_OK);
    assert_int_equal(map(HL_IMAGE_ACCESS_MAP, &again, NULL), HL_OK);
    assert_true(hl__image_same(mapped, again));
    assert_true(hl__image_same(mapped, memory));
    assert_true(hl__image_same(NULL, NULL));
    assert_false(hl__image_same(NULL, memory));
    assert_false(hl__image_same(memory, NULL));
    contents[200]++;
    hl_image *other = from_memory();
    contents[200]--;
    assert_false(hl__image_same(memory, other));
    hl_image_free(mapped);
    hl_image_free(again);
    hl_image_free(memory);
    hl_image_free(other);
}

static hl_program *program_of(hl_image *image, const char *file, const hl_program_options *options)
{
    hl_program *program;
    hl_program_options all = options ? *options : (hl_program_options){0};
    all.size = sizeof all;
    all.context = context;
    assert_int_equal(hl_program_from_image(image, file, &all, &program, NULL), HL_OK);
    return program;
}

static void expect_strings(const hl_program *program, uint32_t arguments, const char *strings,
                           size_t size)
{
    assert_int_equal(program->argument_count, arguments);
    assert_int_equal(program->strings_size, size);
    assert_memory_equal(program->strings, strings, size);
    assert_int_equal(program->program_size, 0);
}

static void test_programs_in_images(void **state)
{
    static const char *const arguments[] = {"a", "b", NULL}, *const environment[] = {"N=v", NULL};
    const hl_program_options all = {
        .arguments = arguments, .environment = environment, .directory = "/srv"};
    hl_image *image = from_memory();
    (void)state;
    hl_program *plain = program_of(image, "/bin/tool", NULL);
    hl_program *image_s = program_of(image, NULL, NULL), *full = program_of(image, "tool", &all);
    expect_strings(plain, 1, "/bin/tool\0/bin/tool", 20);
    assert_string_equal(plain->name, "tool");
    assert_int_equal(plain->path_size, 10);
    assert_int_equal(plain->directory_size, 0);
    expect_strings(image_s, 0, "", 0);
    expect_strings(full, 2, "a\0b\0N=v\0tool\0/srv", 18);
    assert_int_equal(full->path_size, 5);
    assert_int_equal(full->directory_size, 5);
    assert_ptr_equal(full->root, image);
    hl_image_free(image); /* the programs hold it */
    assert_int_equal(*(uint64_t *)full->root->memory, HL_IMAGE_MAGIC);
    hl_program_free(plain);
    hl_program_free(image_s);
    hl_program_free(full);
}

static void test_programs_differ_by_their_images(void **state)
{
    hl_image *image = from_memory(), *same = from_memory();
    (void)state;
    contents[300]++;
    hl_image *changed = from_memory();
    contents[300]--;
    const hl_program_options there = {.directory = "/tmp"};
    hl_program *programs[] = {program_of(image, "/p", NULL), program_of(same, "/p", NULL),
                              program_of(changed, "/p", NULL), program_of(image, "/q", NULL),
                              program_of(image, "/p", &there)};
    assert_true(hl__program_same(programs[0], programs[1]));
    for (size_t i = 2; i < sizeof programs / sizeof *programs; i++)
        assert_false(hl__program_same(programs[0], programs[i]));
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        hl_program_free(programs[i]);
    hl_image_free(image);
    hl_image_free(same);
    hl_image_free(changed);
}

static void expect_refused(hl_image *image, const char *file, const hl_program_options *options)
{
    hl_program *program = NULL;
    hl_program_options all = *options;
    all.size = sizeof all;
    all.context = context;
    assert_int_equal(hl_program_from_image(image, file, &all, &program, NULL), HL_INVALID_ARGUMENT);
    assert_null(program);
}

static void test_programs_that_are_refused(void **state)
{
    static char long_path[HL_PATH_SIZE_MAX + 1];
    hl_image *image = from_memory(), *other = from_memory();
    const hl_program_options plain = {0}, another = {.root = other}, empty = {.directory = ""},
                             relative = {.directory = "srv"}, far = {.directory = long_path};
    (void)state;
    memset(long_path, '/', HL_PATH_SIZE_MAX);
    expect_refused(NULL, "/p", &plain);
    expect_refused(image, "", &plain);
    expect_refused(image, long_path, &plain);
    expect_refused(image, "/p", &another);
    expect_refused(image, "/p", &empty);
    expect_refused(image, "/p", &relative);
    expect_refused(image, "/p", &far);
    hl_image_free(image);
    hl_image_free(other);
}

#define IMAGE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IMAGE_TEST(test_private_files_are_mapped),
        IMAGE_TEST(test_files_of_others_are_copied),
        IMAGE_TEST(test_a_link_is_followed),
        IMAGE_TEST(test_files_that_are_no_images),
        IMAGE_TEST(test_calls_that_are_wrong),
        IMAGE_TEST(test_which_images_are_the_same),
        IMAGE_TEST(test_programs_in_images),
        IMAGE_TEST(test_programs_differ_by_their_images),
        IMAGE_TEST(test_programs_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
