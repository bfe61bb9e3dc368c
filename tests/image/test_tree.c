/*
 * The tree and the writer: random trees against a simple model, and what becomes of contents that
 * nobody holds any more.
 *
 * test-libraries: hyperlight_reader
 */
#define _GNU_SOURCE
#include "image/writer.h"
#include "image_support.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE_MAX_BYTES (UINT64_C(64) << 20)

struct building {
    struct hl__contents contents;
    struct hl__tree tree;
    int file;
};

static void begin(struct building *building, uint32_t inodes, uint32_t depth)
{
    const struct hl__tree_limits limits = {inodes, depth};
    building->file = open(support_path("image"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(building->file >= 0);
    assert_int_equal(hl__contents_init(&building->contents, building->file,
                                       HL__IMAGE_CONTENTS_START, SIZE_MAX_BYTES, NULL),
                     HL_OK);
    assert_int_equal(hl__tree_init(&building->tree, &limits, &building->contents, NULL), HL_OK);
}

static void drop(struct building *building)
{
    hl__tree_free(&building->tree);
    hl__contents_free(&building->contents);
    close(building->file);
}

static void finish(struct building *building, struct support_image *image)
{
    const struct hl__image_texts texts = {.arguments = "/a\0b", .arguments_size = 5};
    uint64_t size;
    hl_error err = HL_ERROR_INIT;
    if (hl__image_write(&building->tree, &texts, &size, &err) != HL_OK)
        fail_msg("%s", err.message);
    drop(building);
    support_load("image", image);
    assert_int_equal(image->size, size);
}

static hl_status add(struct building *building, const char *path, uint32_t mode, hl_error *err)
{
    const struct hl__tree_attributes attributes = {.mode = mode};
    uint32_t inode;
    return hl__tree_add(&building->tree, path, &attributes, &inode, err);
}

static void add_file(struct building *building, const char *path, const void *data, size_t size)
{
    const struct hl__tree_attributes attributes = {.mode = S_IFREG | 0644};
    uint32_t inode, number;
    assert_int_equal(hl__tree_add(&building->tree, path, &attributes, &inode, NULL), HL_OK);
    assert_int_equal(hl__contents_begin(&building->contents, size, path, NULL), HL_OK);
    assert_int_equal(hl__contents_write(&building->contents, 0, data, size, NULL), HL_OK);
    assert_int_equal(hl__contents_end(&building->contents, &number, NULL), HL_OK);
    hl__tree_set_contents(&building->tree, inode, number);
}

static void add_symlink(struct building *building, const char *path, const char *target)
{
    const struct hl__tree_attributes attributes = {.mode = S_IFLNK | 0777};
    uint32_t inode;
    assert_int_equal(hl__tree_add(&building->tree, path, &attributes, &inode, NULL), HL_OK);
    assert_int_equal(hl__tree_set_target(&building->tree, inode, path, target, NULL), HL_OK);
}

/* ---- Random trees ---- */

#define PATHS 60
#define STEPS 400

/* What a path has: nothing, or a file whose bytes follow from its seed. */
struct model {
    char path[32];
    bool there;
    uint32_t seed;
    size_t size;
};

static void fill(uint8_t *data, size_t size, uint32_t seed)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
}

/* Sizes around what is packed and what has pages of its own; few seeds, so that many are equal. */
static void choose_contents(struct model *model)
{
    static const size_t sizes[] = {0,    1,    15,   16,   17,   100,  700,   2047,
                                   2048, 2049, 4095, 4096, 4097, 8192, 20000, 70001};
    model->size = sizes[(size_t)random() % (sizeof sizes / sizeof *sizes)];
    model->seed = (uint32_t)random() % 5;
}

static void step_tree(struct building *building, struct model *model)
{
    uint8_t data[70001];
    if (random() % 4 == 0) {
        hl__tree_next_layer(&building->tree);
        hl__tree_hide(&building->tree, model->path);
        model->there = false;
        return;
    }
    choose_contents(model);
    model->there = true;
    fill(data, model->size, model->seed);
    add_file(building, model->path, data, model->size);
}

static void check_model(const struct support_image *image, const struct model *model)
{
    uint8_t data[70001];
    const struct hl_image_inode *inode = support_find(image, model->path);
    assert_int_equal(inode != NULL, model->there);
    if (!inode)
        return;
    fill(data, model->size, model->seed);
    assert_int_equal(inode->size, model->size);
    assert_memory_equal(image->bytes + inode->data, data, model->size);
    if (model->size >= HL_IMAGE_SMALL_MAX)
        assert_int_equal(inode->data % 4096, 0);
}

/* Pages of contents that the live files need at most: no dead one may be left. */
static uint64_t pages_needed(const struct model *models)
{
    uint64_t large = 0, small = 0;
    for (int i = 0; i < PATHS; i++) {
        if (models[i].there && models[i].size >= HL_IMAGE_SMALL_MAX)
            large += (models[i].size + 4095) / 4096;
        else if (models[i].there)
            small += (models[i].size + 15) & ~(size_t)15;
    }
    return large + small / 2048 + 1;
}

static void test_random_trees(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 30; seed++) {
        struct building building;
        struct support_image image;
        struct model models[PATHS] = {{{0}, false, 0, 0}};
        srandom(seed);
        begin(&building, 1000, 16);
        for (int i = 0; i < PATHS; i++)
            snprintf(models[i].path, sizeof models[i].path, "d%d/e%d/f%d", i % 3, i % 7, i);
        for (int i = 0; i < STEPS; i++)
            step_tree(&building, &models[random() % PATHS]);
        finish(&building, &image);
        for (int i = 0; i < PATHS; i++)
            check_model(&image, &models[i]);
        assert_true((support_head(&image)->inodes.offset - 4096) / 4096 <= pages_needed(models));
        support_unload(&image);
    }
}

/* ---- Rules ---- */

static void test_sparse_contents(void **state)
{
    struct building building;
    struct support_image image;
    uint32_t inode, number;
    const struct hl__tree_attributes attributes = {.mode = S_IFREG | 0644};
    (void)state;
    begin(&building, 10, 10);
    /* The space of an equal content is given back; what comes there next has holes in it. */
    uint8_t noise[9000];
    fill(noise, sizeof noise, 1);
    add_file(&building, "a", noise, sizeof noise);
    add_file(&building, "b", noise, sizeof noise);
    assert_int_equal(hl__tree_add(&building.tree, "c", &attributes, &inode, NULL), HL_OK);
    assert_int_equal(hl__contents_begin(&building.contents, 3 << 20, "c", NULL), HL_OK);
    assert_int_equal(hl__contents_write(&building.contents, 2 << 20, "x", 1, NULL), HL_OK);
    assert_int_equal(hl__contents_end(&building.contents, &number, NULL), HL_OK);
    hl__tree_set_contents(&building.tree, inode, number);
    finish(&building, &image);
    const struct hl_image_inode *sparse = support_find(&image, "c");
    for (uint64_t i = 0; i < sparse->size; i++)
        assert_int_equal(image.bytes[sparse->data + i], i == 2 << 20 ? 'x' : 0);
    assert_int_equal(support_find(&image, "a")->data, support_find(&image, "b")->data);
    support_unload(&image);
}

static void test_data_out_of_order(void **state)
{
    struct building building;
    hl_error err = HL_ERROR_INIT;
    (void)state;
    begin(&building, 10, 10);
    assert_int_equal(hl__contents_begin(&building.contents, 10, "name", NULL), HL_OK);
    assert_int_equal(hl__contents_write(&building.contents, 5, "x", 1, NULL), HL_OK);
    assert_int_equal(hl__contents_write(&building.contents, 4, "x", 1, &err), HL_IMAGE_INVALID);
    assert_non_null(strstr(err.message, "'name'"));
    assert_int_equal(hl__contents_write(&building.contents, 8, "xxx", 3, &err), HL_IMAGE_INVALID);
    assert_int_equal(hl__contents_write(&building.contents, UINT64_MAX, "x", 1, &err),
                     HL_IMAGE_INVALID);
    drop(&building);
}

static void test_limits(void **state)
{
    struct building building;
    hl_error err = HL_ERROR_INIT;
    (void)state;
    begin(&building, 4, 3);
    assert_int_equal(add(&building, "a/b/c", S_IFDIR | 0755, NULL), HL_OK);
    assert_int_equal(add(&building, "x", S_IFREG | 0644, &err), HL_IMAGE_TOO_MANY_FILES);
    hl__tree_next_layer(&building.tree);
    hl__tree_hide(&building.tree, "a/b/c");
    assert_int_equal(add(&building, "x", S_IFREG | 0644, NULL), HL_OK);
    hl__tree_next_layer(&building.tree);
    hl__tree_hide(&building.tree, "x");
    assert_int_equal(add(&building, "a/b/c/d", S_IFDIR | 0755, &err), HL_IMAGE_TOO_DEEP);
    assert_int_equal(hl__contents_begin(&building.contents, SIZE_MAX_BYTES, "big", &err),
                     HL_IMAGE_TOO_LARGE);
    assert_int_equal(hl__contents_begin(&building.contents, UINT64_MAX, "big", &err),
                     HL_IMAGE_TOO_LARGE);
    drop(&building);
}

static void test_resolving(void **state)
{
    struct building building;
    struct hl__tree *tree = &building.tree;
    (void)state;
    begin(&building, 100, 20);
    add_file(&building, "usr/bin/tool", "x", 1);
    add_symlink(&building, "bin", "usr/bin");
    add_symlink(&building, "usr/bin/alias", "./tool");
    add_symlink(&building, "usr/bin/far", "../../../../usr/bin/alias");
    add_symlink(&building, "loop", "loop");
    add_symlink(&building, "one", "/two");
    add_symlink(&building, "two", "one");
    uint32_t tool = hl__tree_find(tree, "/usr/bin/tool");
    assert_int_not_equal(tool, 0);
    assert_int_equal(hl__tree_resolve(tree, "/bin/far"), tool);
    assert_int_equal(hl__tree_resolve(tree, "bin/../bin/.//alias"),
                     hl__tree_resolve(tree, "usr/../bin/alias"));
    assert_int_equal(hl__tree_resolve(tree, "/"), HL__TREE_ROOT);
    assert_int_equal(hl__tree_resolve(tree, "/bin/.."), hl__tree_find(tree, "/usr"));
    assert_int_equal(hl__tree_resolve(tree, "/.."), HL__TREE_ROOT);
    assert_int_equal(hl__tree_resolve(tree, "loop"), 0);
    assert_int_equal(hl__tree_resolve(tree, "one/x"), 0);
    assert_int_equal(hl__tree_resolve(tree, "usr/bin/tool/x"), 0);
    assert_int_not_equal(hl__tree_find(tree, "/bin/far"), tool);
    assert_int_equal(hl__tree_find(tree, "/bin/../usr"), 0);
    drop(&building);
}

static void test_links(void **state)
{
    struct building building;
    struct support_image image;
    uint32_t inode;
    (void)state;
    begin(&building, 100, 20);
    add_file(&building, "d/a", "same", 4);
    assert_int_equal(hl__tree_link(&building.tree, "b", "d/a", &inode, NULL), HL_OK);
    assert_int_equal(hl__tree_link(&building.tree, "b", "d/a", &inode, NULL), HL_OK);
    assert_int_equal(hl__tree_link(&building.tree, "b", "b", &inode, NULL), HL_OK);
    /* The directory that has the file goes; the link that takes its place keeps it. */
    assert_int_equal(hl__tree_link(&building.tree, "d", "d/a", &inode, NULL), HL_OK);
    assert_int_equal(hl__tree_link(&building.tree, "/", "b", &inode, NULL), HL_IMAGE_INVALID);
    finish(&building, &image);
    assert_int_equal(support_find(&image, "b")->link_count, 2);
    assert_ptr_equal(support_find(&image, "b"), support_find(&image, "d"));
    assert_memory_equal(image.bytes + support_find(&image, "d")->data, "same", 4);
    const struct hl_image_head *head = support_head(&image);
    assert_int_equal(head->arguments.count, 5);
    assert_memory_equal(image.bytes + head->arguments.offset, "/a\0b", 5);
    support_unload(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_trees),      cmocka_unit_test(test_sparse_contents),
        cmocka_unit_test(test_data_out_of_order), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_resolving),         cmocka_unit_test(test_links)};
    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
