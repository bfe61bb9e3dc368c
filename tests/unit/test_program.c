/* Programs: reading files and memory, limits of arguments, the layout of the image. */
#define _GNU_SOURCE
#include "program/program.h"
#include "sleeper_driver.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static char path[128];

static int make_folder(void **state)
{
    strcpy(folder, "/tmp/hl-program-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/guest", folder);
    return sleeper_install(state);
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void write_file(const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

static hl_program *open_with(hl_program_options options)
{
    hl_program *program = NULL;
    options.size = sizeof options;
    assert_int_equal(hl_program_open(path, &options, &program, NULL), HL_OK);
    return program;
}

static void check_refused(const char *name, hl_program_options options, hl_status status,
                          const char *text)
{
    hl_program *program = (void *)1;
    hl_error err;
    options.size = sizeof options;
    assert_int_equal(hl_program_open(name, &options, &program, &err), status);
    assert_int_equal(err.status, status);
    if (!strstr(err.message, text))
        fail_msg("\"%s\" lacks \"%s\"", err.message, text);
    assert_ptr_equal(program, (void *)1);
}

static void test_image(void **state)
{
    (void)state;
    char data[10000];
    memset(data, 'x', sizeof data);
    write_file(data, sizeof data);
    hl_program *program = open_with((hl_program_options){0});
    write_file("changed", 7);

    size_t shim_size = (size_t)(hl__shim_image_end - hl__shim_image);
    const unsigned char *image = program->image;
    assert_int_equal(program->program_size, sizeof data);
    assert_int_equal(program->program_offset % (2 << 20), 0);
    assert_true(program->program_offset >= shim_size);
    assert_int_equal(program->image_size, program->program_offset + 12288);
    assert_memory_equal(image, hl__shim_image, shim_size);
    assert_memory_equal(image + program->program_offset, data, sizeof data);
    assert_int_equal(image[program->program_offset + sizeof data], 0);
    assert_int_equal((uintptr_t)image % (2 << 20), 0);
    hl_program_free(program);
}

static void test_from_memory(void **state)
{
    (void)state;
    char data[] = "a guest";
    hl_program *program = NULL;
    assert_int_equal(hl_program_from_memory(data, sizeof data, NULL, &program, NULL), HL_OK);
    memset(data, 0, sizeof data);
    assert_string_equal((const char *)program->image + program->program_offset, "a guest");
    assert_string_equal(program->name, "program");
    assert_string_equal(program->strings, "program");
    hl__program_ref(program);
    hl_program_free(program);
    hl_program_free(program);
    hl_program_free(NULL);
    hl_error err;
    assert_int_equal(hl_program_from_memory("", 0, NULL, &program, &err), HL_PROGRAM_INVALID);
    assert_string_equal(err.message, "program: the file is empty");
    assert_int_equal(hl_program_from_memory(NULL, 1, NULL, &program, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(
        hl_program_from_memory("x", (size_t)HL_PROGRAM_SIZE_MAX + 1, NULL, &program, &err),
        HL_PROGRAM_TOO_LARGE);
    assert_non_null(strstr(err.message, "4294967296"));
}

static void test_names(void **state)
{
    (void)state;
    write_file("x", 1);
    hl_program *program = open_with((hl_program_options){0});
    assert_string_equal(program->name, "guest");
    assert_int_equal(program->argument_count, 1);
    assert_int_equal(program->environment_count, 0);
    assert_string_equal(program->strings, "guest");
    hl_program_free(program);
    program = open_with((hl_program_options){.name = "a\nb"});
    assert_string_equal(program->name, "a\\x0ab");
    assert_string_equal(program->strings, "a\nb");
    hl_program_free(program);
}

static void test_arguments(void **state)
{
    (void)state;
    write_file("x", 1);
    const char *const arguments[] = {"one", "", "three", NULL};
    const char *const environment[] = {"A=1", "B=", NULL};
    hl_program *program =
        open_with((hl_program_options){.arguments = arguments, .environment = environment});
    static const char expected[] = "one\0\0three\0A=1\0B=";
    assert_int_equal(program->argument_count, 3);
    assert_int_equal(program->environment_count, 2);
    assert_int_equal(program->strings_size, sizeof expected);
    assert_memory_equal(program->strings, expected, sizeof expected);
    hl_program_free(program);

    const char *const none[] = {NULL};
    program = open_with((hl_program_options){.arguments = none});
    assert_int_equal(program->argument_count, 0);
    assert_int_equal(program->strings_size, 0);
    hl_program_free(program);
}

static void test_limits_of_arguments(void **state)
{
    (void)state;
    static const char *many[HL_ARGUMENTS_COUNT_MAX + 2];
    static char longer[HL_ARGUMENTS_SIZE_MAX + 1];
    const char *const one[] = {longer, NULL};
    const char *const pair[] = {"A=1", NULL};
    write_file("x", 1);
    for (size_t i = 0; i < HL_ARGUMENTS_COUNT_MAX; i++)
        many[i] = "";
    hl_program_free(open_with((hl_program_options){.arguments = many}));
    many[HL_ARGUMENTS_COUNT_MAX] = "";
    check_refused(path, (hl_program_options){.arguments = many}, HL_INVALID_ARGUMENT, "4096");

    memset(longer, 'x', sizeof longer - 1);
    check_refused(path, (hl_program_options){.arguments = one}, HL_INVALID_ARGUMENT, "131072");
    longer[sizeof longer - 2] = '\0';
    hl_program_free(open_with((hl_program_options){.arguments = one}));
    check_refused(path, (hl_program_options){.arguments = one, .environment = pair},
                  HL_INVALID_ARGUMENT, "131072");
}

static void test_bad_environment(void **state)
{
    (void)state;
    const char *const plain[] = {"A=1", "HOME", NULL};
    const char *const nameless[] = {"=1", NULL};
    write_file("x", 1);
    check_refused(path, (hl_program_options){.environment = plain}, HL_INVALID_ARGUMENT, "HOME");
    check_refused(path, (hl_program_options){.environment = nameless}, HL_INVALID_ARGUMENT,
                  "NAME=value");
}

static void test_unreadable(void **state)
{
    (void)state;
    hl_program *program;
    const hl_program_options none = {0};
    unlink(path);
    check_refused(path, none, HL_PROGRAM_UNREADABLE, "guest: No such file or directory");
    check_refused(folder, none, HL_PROGRAM_UNREADABLE, "directory");
    check_refused("/dev/null", none, HL_PROGRAM_UNREADABLE, "/dev/null: it is not a regular file");
    check_refused("", none, HL_INVALID_ARGUMENT, "path");
    assert_int_equal(hl_program_open(NULL, NULL, &program, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(mkfifo(path, 0600), 0);
    check_refused(path, none, HL_PROGRAM_UNREADABLE, "not a regular file");
    unlink(path);
    write_file("", 0);
    check_refused(path, none, HL_PROGRAM_INVALID, "guest: the file is empty");
    assert_int_equal(hl_program_open(path, NULL, NULL, NULL), HL_INVALID_ARGUMENT);
}

static void test_too_large(void **state)
{
    (void)state;
    write_file("x", 1);
    assert_int_equal(truncate(path, (off_t)HL_PROGRAM_SIZE_MAX + 1), 0);
    check_refused(path, (hl_program_options){0}, HL_PROGRAM_TOO_LARGE, "4294967296");
}

static void test_no_descriptors(void **state)
{
    (void)state;
    write_file("x", 1);
    struct rlimit before, few;
    getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    few.rlim_cur = (rlim_t)dup(0); /* the lowest free one is out of bounds now */
    close((int)few.rlim_cur);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    check_refused(path, (hl_program_options){0}, HL_SYSTEM, "open files");
    setrlimit(RLIMIT_NOFILE, &before);
    hl_program_free(open_with((hl_program_options){0}));
}

static void test_nothing_is_left(void **state)
{
    (void)state;
    write_file("x", 1);
    int before = dup(0);
    close(before);
    for (int i = 0; i < 20; i++)
        hl_program_free(open_with((hl_program_options){0}));
    check_refused(folder, (hl_program_options){0}, HL_PROGRAM_UNREADABLE, "directory");
    int after = dup(0);
    close(after);
    assert_int_equal(after, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image),
        cmocka_unit_test(test_from_memory),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_limits_of_arguments),
        cmocka_unit_test(test_bad_environment),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
