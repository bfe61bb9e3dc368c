/*
 * Images from memory, the cache, and a helper that fails in all the ways that it can.
 *
 * test-libraries: hyperlight_image_static hl_confinement
 */
#define _GNU_SOURCE
#include "context/context.h"
#include "doubles/fake_driver.h"
#include "driver/override.h"
#include "image_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <hyperlight/prepare.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static hl_context *context;

static int set_up(void **state)
{
    hl_driver_info info;
    struct hl__machine machine;
    if (support_setup(state) != 0)
        return -1;
    fake_driver_describe(true, &info, &machine);
    hl__driver_override(&fake_driver, &info, &machine);
    return hl_context_new(NULL, &context, NULL);
}

static int tear_down(void **state)
{
    hl_context_free(context);
    hl__driver_override(NULL, NULL, NULL);
    return support_teardown(state);
}

static void check(hl_status status, const hl_error *err)
{
    if (status != HL_OK)
        fail_msg("%s: %s", hl_status_name(status), err->message);
}

static hl_image_builder *new_builder(void)
{
    hl_image_builder *builder = NULL;
    hl_error err = HL_ERROR_INIT;
    check(hl_image_builder_new(NULL, &builder, &err), &err);
    return builder;
}

static void add_text(hl_image_builder *builder, const char *path, const char *text)
{
    hl_error err = HL_ERROR_INIT;
    check(hl_image_builder_add_file(builder, path, text, strlen(text), NULL, &err), &err);
}

/* ---- Builders ---- */

static void test_build(void **state)
{
    const char *const arguments[] = {"/bin/x", "y", NULL}, *const environment[] = {"A=b", NULL};
    const hl_image_attributes attributes = {.size = sizeof attributes,
                                            .mode = 04750,
                                            .uid = 7,
                                            .gid = 8,
                                            .modified_s = -5,
                                            .modified_ns = 6};
    struct support_image image;
    hl_error err = HL_ERROR_INIT;
    hl_image_builder *builder = new_builder();
    (void)state;
    support_write("source", "from a file", 11);
    check(hl_image_builder_add_file(builder, "/bin/x", "#!x", 3, &attributes, &err), &err);
    add_text(builder, "gone", "replaced");
    check(hl_image_builder_add_directory(builder, "gone", NULL, &err), &err);
    check(hl_image_builder_add_symlink(builder, "gone/soft", "../bin/x", &err), &err);
    check(hl_image_builder_add_link(builder, "gone/hard", "bin/x", &err), &err);
    check(hl_image_builder_copy(builder, "copied", support_path("source"), &err), &err);
    check(hl_image_builder_set_program(builder, arguments, environment, "/gone", &err), &err);
    check(hl_image_builder_write(builder, support_path("built"), &err), &err);
    check(hl_image_builder_write(builder, support_path("built"), &err), &err);
    hl_image_builder_free(builder);
    support_load("built", &image);
    const struct hl_image_inode *program = support_find(&image, "/bin/x");
    assert_int_equal(program->mode, S_IFREG | 04750);
    assert_int_equal(program->uid, 7);
    assert_int_equal(program->gid, 8);
    assert_true(program->modified_s == -5 && program->modified_ns == 6);
    assert_int_equal(program->link_count, 2);
    assert_ptr_equal(program, support_find(&image, "/gone/hard"));
    assert_int_equal(support_find(&image, "/gone/soft")->size, 8);
    const struct hl_image_inode *copied = support_find(&image, "copied");
    assert_memory_equal(image.bytes + copied->data, "from a file", 11);
    assert_int_equal(copied->uid, 0);
    const struct hl_image_head *head = support_head(&image);
    assert_memory_equal(image.bytes + head->arguments.offset, "/bin/x\0y", 9);
    assert_memory_equal(image.bytes + head->environment.offset, "A=b", 4);
    assert_memory_equal(image.bytes + head->directory.offset, "/gone", 6);
    support_unload(&image);
}

static void test_refused(void **state)
{
    const hl_prepare_options few = {.size = sizeof few, .files_max = 3, .size_max = 65536};
    hl_image_builder *builder = NULL;
    hl_error err = HL_ERROR_INIT;
    (void)state;
    check(hl_image_builder_new(&few, &builder, &err), &err);
    assert_int_equal(hl_image_builder_copy(builder, "x", support_path("none"), &err),
                     HL_IMAGE_UNREADABLE);
    assert_int_equal(hl_image_builder_copy(builder, "x", "/dev/null", &err), HL_IMAGE_UNREADABLE);
    assert_int_equal(hl_image_builder_add_file(builder, NULL, "", 0, NULL, &err),
                     HL_INVALID_ARGUMENT);
    char *large = calloc(1, 65537);
    assert_int_equal(hl_image_builder_add_file(builder, "x", large, 65537, NULL, &err),
                     HL_IMAGE_TOO_LARGE);
    free(large);
    add_text(builder, "a", "1");
    add_text(builder, "b", "1");
    add_text(builder, "c", "1");
    assert_int_equal(hl_image_builder_add_symlink(builder, "d", "a", &err),
                     HL_IMAGE_TOO_MANY_FILES);
    /* With the root there is one too many. */
    assert_int_equal(hl_image_builder_write(builder, support_path("never"), &err),
                     HL_IMAGE_TOO_MANY_FILES);
    assert_int_not_equal(access(support_path("never"), F_OK), 0);
    hl_image_builder_free(builder);
    builder = new_builder();
    check(hl_image_builder_add_link(builder, "l", "nowhere", &err), &err);
    assert_int_equal(hl_image_builder_write(builder, support_path("never"), &err),
                     HL_IMAGE_INVALID);
    assert_non_null(strstr(err.message, "'nowhere'"));
    hl_image_builder_free(builder);
    builder = new_builder();
    add_text(builder, "a/../b", "1");
    assert_int_equal(hl_image_builder_write(builder, support_path("never"), &err),
                     HL_IMAGE_INVALID);
    hl_image_builder_free(builder);
    hl_image_builder_free(NULL);
}

static void test_options(void **state)
{
    hl_prepare_options options[] = {
        {.size = 1},
        {.size = sizeof *options, .size_max = 1},
        {.size = sizeof *options, .size_max = HL_PREPARE_SIZE_MAX + 1},
        {.size = sizeof *options, .files_max = HL_PREPARE_FILES_MAX + 1},
        {.size = sizeof *options, .depth_max = HL_PREPARE_DEPTH_MAX + 1}};
    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        hl_image_builder *builder = (void *)1;
        assert_int_equal(hl_image_builder_new(&options[i], &builder, NULL), HL_INVALID_ARGUMENT);
        assert_ptr_equal(builder, (void *)1);
    }
    assert_int_equal(hl_prepare_file(NULL, "x", NULL, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_prepare_file("x", NULL, NULL, NULL), HL_INVALID_ARGUMENT);
}

/* What the system says of the only child of this process. */
static void read_child(const char *file, char text[8192])
{
    char path[64];
    int child = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)gettid());
    FILE *stream = fopen(path, "r");
    assert_non_null(stream);
    assert_int_equal(fscanf(stream, "%d", &child), 1);
    fclose(stream);
    snprintf(path, sizeof path, "/proc/%d/%s", child, file);
    stream = fopen(path, "r");
    assert_non_null(stream);
    text[fread(text, 1, 8191, stream)] = '\0';
    fclose(stream);
}

static void check_confined(void)
{
    char text[8192];
    read_child("status", text);
    assert_non_null(strstr(text, "NoNewPrivs:\t1"));
#ifndef HL_UNCONFINED
    assert_non_null(strstr(text, "Seccomp:\t2"));
    read_child("limits", text);
    assert_null(strstr(text, "Max address space         unlimited"));
#endif
    read_child("limits", text);
    assert_null(strstr(text, "Max cpu time              unlimited"));
    assert_null(strstr(text, "Max file size             unlimited"));
    assert_non_null(strstr(text, "Max core file size        0  "));
    assert_non_null(strstr(text, "Max open files            7  "));
}

/* It is told while the helper works: this is the place to look at that. */
static bool stop(const hl_prepare_progress *progress, void *user)
{
    assert_true(progress->files > 0);
    check_confined();
    ++*(int *)user;
    return false;
}

static void test_progress_stops(void **state)
{
    int calls = 0;
    const hl_prepare_options options = {
        .size = sizeof options, .progress = stop, .progress_user = &calls};
    hl_image_builder *builder = NULL;
    hl_error err = HL_ERROR_INIT;
    char name[32];
    (void)state;
    check(hl_image_builder_new(&options, &builder, &err), &err);
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof name, "%d", i);
        add_text(builder, name, name);
    }
    assert_int_equal(hl_image_builder_write(builder, support_path("never"), &err), HL_INTERRUPTED);
    assert_int_equal(calls, 1);
    hl_image_builder_free(builder);
}

/* ---- The helper ---- */

/* A helper of our own, written in shell. */
static hl_status with_helper(const char *script, uint64_t timeout_ns, hl_error *err)
{
    const hl_prepare_options options = {.size = sizeof options, .timeout_ns = timeout_ns};
    support_write("input", "x", 1);
    support_write("helper", script, strlen(script));
    assert_int_equal(chmod(support_path("helper"), 0755), 0);
    setenv("HL_PREPARE", support_path("helper"), 1);
    hl_status status = hl_prepare_file(support_path("input"), support_path("never"), &options, err);
    setenv("HL_PREPARE", HL_TEST_HELPER, 1);
    assert_int_not_equal(access(support_path("never"), F_OK), 0);
    return status;
}

static void test_helpers_that_fail(void **state)
{
    hl_error err = HL_ERROR_INIT;
    (void)state;
    assert_int_equal(with_helper("#!/bin/sh\nexit 3\n", 0, &err), HL_SYSTEM);
    assert_non_null(strstr(err.message, "status 3"));
    assert_int_equal(with_helper("#!/bin/sh\nkill -SEGV $$\n", 0, &err), HL_IMAGE_INVALID);
    assert_non_null(strstr(err.message, "signal 11"));
    assert_int_equal(with_helper("#!/bin/sh\nkill -XCPU $$\n", 0, &err), HL_CPU_LIMIT);
    assert_int_equal(with_helper("#!/bin/sh\nkill -KILL $$\n", 0, &err), HL_OUT_OF_MEMORY);
    assert_int_equal(with_helper("#!/bin/sh\nprintf 'strange words' >&3\n", 0, &err),
                     HL_IMAGE_INVALID);
    assert_non_null(strstr(err.message, "no sense"));
    /* A thousand zeros are no message; neither is one of a size that fits. */
    assert_int_equal(with_helper("#!/bin/sh\nhead -c 544 /dev/zero >&3\n", 0, &err),
                     HL_IMAGE_INVALID);
    assert_int_equal(with_helper("#!/bin/sh\nsleep 100\n", 100000000, &err), HL_TIMED_OUT);
    assert_int_equal(with_helper("#!/nowhere/to/be/found\n", 0, &err), HL_SYSTEM);
    setenv("HL_PREPARE", "/nonexistent", 1);
    assert_int_equal(hl_prepare_file(support_path("input"), support_path("never"), NULL, &err),
                     HL_SYSTEM);
    assert_non_null(strstr(err.message, "/nonexistent"));
    setenv("HL_PREPARE", HL_TEST_HELPER, 1);
}

/* It has the descriptors it needs and no others, no environment, and signals as a new program has them. */
static void test_helper_is_alone(void **state)
{
    static const char script[] =
        "#!/bin/sh\n"
        "set -- $(echo /proc/$$/fd/*)\n"
        "exec 9>&-\n"
        "{ for f; do echo ${f##*/}; done; env; grep SigBlk /proc/self/status; } "
        ">%s 2>&1\n"
        "exit 3\n";
    char text[1024], seen[4096] = "";
    hl_error err = HL_ERROR_INIT;
    sigset_t all, before;
    (void)state;
    int open_one = open("/dev/null", O_RDONLY);
    snprintf(text, sizeof text, script, support_path("seen"));
    setenv("SECRET", "secret", 1);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    assert_int_equal(with_helper(text, 0, &err), HL_SYSTEM);
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(open_one);
    FILE *file = fopen(support_path("seen"), "r");
    assert_non_null(file);
    size_t size = fread(seen, 1, sizeof seen - 1, file);
    fclose(file);
    seen[size] = '\0';
    assert_null(strstr(seen, "SECRET"));
    assert_non_null(strstr(seen, "SigBlk:\t0000000000000000"));
    for (char *line = strtok(seen, "\n"); line; line = strtok(NULL, "\n")) {
        int number = atoi(line);
        /* The shell reads its script by one of its own. */
        if (line[0] >= '0' && line[0] <= '9' && number != 10 && number != 255)
            assert_true(number <= 5);
    }
}

/* ---- The cache ---- */

static size_t count_cached(void)
{
    size_t count = 0;
    DIR *stream = opendir(support_path("cache"));
    const struct dirent *entry;
    while (stream && (entry = readdir(stream)))
        count += strstr(entry->d_name, ".image") != NULL;
    if (stream)
        closedir(stream);
    return count;
}

static void make_tree(const char *text)
{
    mkdir(support_path("tree"), 0755);
    support_write("tree/file", text, strlen(text));
}

static uint64_t open_tree(const hl_prepare_options *options)
{
    hl_image *image = NULL;
    hl_error err = HL_ERROR_INIT;
    check(hl_image_open(context, support_path("tree"), options, &image, &err), &err);
    uint64_t size = hl_image_size(image);
    hl_image_free(image);
    return size;
}

static bool note_path(const hl_image_cache_entry *entry, void *user)
{
    assert_int_equal(entry->size, sizeof *entry);
    assert_true(entry->bytes > 0 && entry->used_s > 0);
    snprintf(user, SUPPORT_PATH, "%s", entry->path);
    return true;
}

/* The path of the image that was used last. */
static void last_cached(char path[SUPPORT_PATH])
{
    hl_error err = HL_ERROR_INIT;
    *path = '\0';
    check(hl_image_cache_visit(NULL, note_path, path, &err), &err);
    assert_true(*path);
}

static ino_t inode_of(const char *path)
{
    struct stat attributes;
    assert_int_equal(stat(path, &attributes), 0);
    return attributes.st_ino;
}

static void clear_cache(void)
{
    hl_error err = HL_ERROR_INIT;
    check(hl_image_cache_clear(NULL, &err), &err);
    assert_int_equal(count_cached(), 0);
}

static void test_cache_keeps(void **state)
{
    char path[SUPPORT_PATH];
    struct stat attributes;
    (void)state;
    clear_cache();
    make_tree("one");
    assert_true(open_tree(NULL) > 4096);
    last_cached(path);
    ino_t first = inode_of(path);
    open_tree(NULL);
    assert_int_equal(count_cached(), 1);
    assert_int_equal(inode_of(path), first);
    assert_int_equal(stat(support_path("cache"), &attributes), 0);
    assert_int_equal(attributes.st_mode & 07777, 0700);
    make_tree("two"); /* as long as before */
    open_tree(NULL);
    assert_int_equal(count_cached(), 2);
    const char *const arguments[] = {"/x", NULL};
    const hl_prepare_options options = {.size = sizeof options, .arguments = arguments};
    open_tree(&options);
    assert_int_equal(count_cached(), 3);
}

/* What was damaged is made anew: bytes changed in the middle, cut, emptied, or replaced by a link. */
static void test_cache_damaged(void **state)
{
    static const char *const damages[] = {
        "printf x | dd of='%s' bs=1 seek=5000 conv=notrunc status=none",
        "truncate -s 4096 '%s'",
        ": >'%s'",
        "cp '%s' '%s.copy'; mv '%s.copy' '%s'",
        "rm '%s'",
        "ln -sf /etc/passwd '%s'"};
    char path[SUPPORT_PATH], command[6 * SUPPORT_PATH];
    struct support_image image;
    (void)state;
    clear_cache();
    make_tree("content");
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        open_tree(NULL);
        last_cached(path);
        snprintf(command, sizeof command, damages[i], path, path, path, path);
        assert_int_equal(system(command), 0);
        open_tree(NULL);
        last_cached(path);
        assert_int_equal(count_cached(), 1);
        snprintf(command, sizeof command, "cache/%s", strrchr(path, '/') + 1);
        support_load(command, &image);
        assert_memory_equal(image.bytes + support_find(&image, "file")->data, "content", 7);
        support_unload(&image);
    }
}

static void test_cache_is_bounded(void **state)
{
    const hl_prepare_options options = {.size = sizeof options, .cache_size_max = 100000};
    char text[32];
    (void)state;
    clear_cache();
    for (int i = 0; i < 12; i++) {
        snprintf(text, sizeof text, "text %d", i);
        make_tree(text);
        open_tree(&options);
    }
    size_t kept = count_cached();
    assert_true(kept >= 1 && kept < 8);
}

static void test_cache_is_private(void **state)
{
    hl_image *image = NULL;
    hl_error err = HL_ERROR_INIT;
    hl_prepare_options options = {.size = sizeof options,
                                  .cache_directory = support_path("public")};
    (void)state;
    make_tree("x");
    assert_int_equal(mkdir(support_path("public"), 0755), 0);
    assert_int_equal(hl_image_open(context, support_path("tree"), &options, &image, &err),
                     HL_SYSTEM);
    assert_non_null(strstr(err.message, "chmod 700"));
}

static void test_limits_hold_for_what_is_cached(void **state)
{
    const hl_prepare_options options = {.size = sizeof options, .files_max = 1};
    hl_image *image = NULL;
    (void)state;
    make_tree("limited");
    open_tree(NULL);
    assert_int_equal(hl_image_open(context, support_path("tree"), &options, &image, NULL),
                     HL_IMAGE_TOO_MANY_FILES);
}

static void *open_in_thread(void *user)
{
    *(uint64_t *)user = open_tree(NULL);
    return NULL;
}

/* Many at once that want the same image get it, and it is made once. */
static void test_cache_is_shared(void **state)
{
    pthread_t threads[6];
    uint64_t sizes[6];
    (void)state;
    clear_cache();
    make_tree("shared");
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_in_thread, &sizes[i]), 0);
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 6; i++)
        assert_int_equal(sizes[i], sizes[0]);
    assert_int_equal(count_cached(), 1);
}

static void test_finish(void **state)
{
    hl_image *image = NULL;
    hl_error err = HL_ERROR_INIT;
    hl_image_builder *builder = new_builder();
    (void)state;
    clear_cache();
    add_text(builder, "a", "text");
    check(hl_image_builder_finish(builder, context, &image, &err), &err);
    assert_true(hl_image_size(image) >= 8192);
    hl_image_free(image);
    hl_image_builder_free(builder);
    assert_int_equal(count_cached(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_build),
                                       cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_options),
                                       cmocka_unit_test(test_progress_stops),
                                       cmocka_unit_test(test_helpers_that_fail),
                                       cmocka_unit_test(test_helper_is_alone),
                                       cmocka_unit_test(test_cache_keeps),
                                       cmocka_unit_test(test_cache_damaged),
                                       cmocka_unit_test(test_cache_is_bounded),
                                       cmocka_unit_test(test_cache_is_private),
                                       cmocka_unit_test(test_cache_is_shared),
                                       cmocka_unit_test(test_limits_hold_for_what_is_cached),
                                       cmocka_unit_test(test_finish)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
