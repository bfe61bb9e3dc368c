/*
 * The shim's files against Linux's: random system calls run on both, on the shim's tree and on a
 * directory of this machine's tmpfs, and must come to the same.
 *
 * test-libraries: hl_shim_files
 * test-timeout: 300
 */
#include "files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Linux's own headers would clash with the shim's. */
long syscall(long number, ...);
int *__errno_location(void);
char *mkdtemp(char *template);
int chdir(const char *path);
unsigned umask(unsigned mask);

enum {
    READ = 0,
    WRITE = 1,
    OPEN = 2,
    CLOSE = 3,
    FSTAT = 5,
    LSTAT = 6,
    LSEEK = 8,
    PREAD = 17,
    PWRITE = 18,
    ACCESS = 21,
    DUP = 32,
    FCNTL = 72,
    FLOCK = 73,
    TRUNCATE = 76,
    FTRUNCATE = 77,
    GETCWD = 79,
    CHDIR = 80,
    RENAME = 82,
    MKDIR = 83,
    RMDIR = 84,
    LINK = 86,
    UNLINK = 87,
    SYMLINK = 88,
    READLINK = 89,
    CHMOD = 90,
    GETDENTS = 217,
    OPENAT = 257,
    MKDIRAT = 258,
    STATAT = 262,
    UNLINKAT = 263,
    LINKAT = 265,
    UTIMENSAT = 280,
    FALLOCATE = 285,
    RENAMEAT2 = 316
};

#ifndef STEPS
#define STEPS 20000
#endif
#define FILES_MAX 8
#define BUFFER 20000
#define TREE_TEXT (1u << 20)

static uint64_t state;

static uint32_t random_below(uint32_t limit)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(state >> 33) % limit;
}

/* One side of each call */

static int64_t host(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
    long result = syscall(number, a, b, c, d, e);

    return result == -1 ? -*__errno_location() : result;
}

static int64_t shim(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
    const uint64_t arg[6] = {a, b, c, d, e};

    return files_call((unsigned)number, arg);
}

typedef int64_t call_of(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e);

static char doing[800]; /* what both sides do, for messages */

static int64_t both(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
    int64_t expected = host(number, a, b, c, d, e), got = shim(number, a, b, c, d, e);

    if (expected != got)
        fail_msg("%s: Linux says %lld, the shim %lld", doing, (long long)expected, (long long)got);
    return got;
}

#define P(pointer) ((uint64_t)(pointer))

/* Open files of both sides */

static struct {
    int64_t host, shim;
} files[FILES_MAX];

static void close_file(uint32_t index)
{
    if (files[index].host < 0)
        return;
    assert_int_equal(host(CLOSE, P(files[index].host), 0, 0, 0, 0), 0);
    assert_int_equal(shim(CLOSE, P(files[index].shim), 0, 0, 0, 0), 0);
    files[index].host = -1;
}

static int64_t both_files(long number, uint32_t index, uint64_t b, uint64_t c, uint64_t d)
{
    int64_t expected = host(number, P(files[index].host), b, c, d, 0);
    int64_t got = shim(number, P(files[index].shim), b, c, d, 0);

    if (expected != got)
        fail_msg("%s: Linux says %lld, the shim %lld", doing, (long long)expected, (long long)got);
    return got;
}

/* A path that stays below the start: as deep as it goes up, links lead down only. */
static void random_path(char *path)
{
    static const char *const names[] = {"a", "b", "c", "d", "sub", "lib"};
    uint32_t parts = 1 + random_below(3);
    int depth = 0;

    *path = 0;
    for (uint32_t i = 0; i < parts; i++) {
        uint32_t kind = random_below(20);

        if (i)
            strcat(path, random_below(20) ? "/" : "//");
        if (kind == 0) {
            strcat(path, ".");
        } else if (kind == 1 && depth > 0) {
            strcat(path, "..");
            depth--;
        } else {
            strcat(path, names[random_below(6)]);
            depth++;
        }
    }
    if (!random_below(15))
        strcat(path, "/");
}

static uint64_t random_size(void)
{
    static const uint32_t sizes[] = {0, 1, 100, 4095, 4096, 4097, 8192, 12288, 300000, 16800000};
    uint64_t size = sizes[random_below(10)];

    return random_below(2) ? size : size + random_below(5000);
}

static void compare_stat(const struct linux_stat *expected, const struct linux_stat *got)
{
    bool directory = (expected->mode & S_IFMT) == S_IFDIR;

    if (expected->mode != got->mode || expected->link_count != got->link_count ||
        (!directory && expected->size != got->size))
        fail_msg("%s: Linux says mode %o, links %llu, size %lld; the shim %o, %llu, %lld", doing,
                 expected->mode, (unsigned long long)expected->link_count,
                 (long long)expected->size, got->mode, (unsigned long long)got->link_count,
                 (long long)got->size);
}

/* Both trees as text: paths, attributes, contents */

struct tree {
    call_of *side;
    char *text;
    size_t size;
};

static void tree_add(struct tree *tree, const char *text)
{
    size_t size = strlen(text);

    assert_true(tree->size + size < TREE_TEXT);
    memcpy(tree->text + tree->size, text, size + 1);
    tree->size += size;
}

static uint64_t content_hash(struct tree *tree, const char *path)
{
    static uint64_t words[8192];
    int64_t file = tree->side(OPEN, P(path), O_RDONLY, 0, 0, 0), size;
    uint64_t hash = 14695981039346656037ull;

    if (file < 0)
        return (uint64_t)file;
    for (;;) {
        memset(words, 0, sizeof words);
        size = tree->side(READ, P(file), P(words), sizeof words, 0, 0);
        if (size <= 0)
            break;
        for (int64_t i = 0; i < size; i += 8)
            hash = (hash ^ words[i / 8]) * 1099511628211ull;
    }
    assert_int_equal(size, 0);
    tree->side(CLOSE, P(file), 0, 0, 0, 0);
    return hash;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void tree_walk(struct tree *tree, const char *path, int depth);

static void tree_entry(struct tree *tree, const char *path, int depth)
{
    struct linux_stat stat;
    char line[1500], target[300] = "";

    assert_int_equal(tree->side(LSTAT, P(path), P(&stat), 0, 0, 0), 0);
    if ((stat.mode & S_IFMT) == S_IFLNK)
        assert_int_equal(tree->side(READLINK, P(path), P(target), 299, 0, 0), stat.size);
    if ((stat.mode & S_IFMT) == S_IFDIR)
        stat.size = 0;
    snprintf(line, sizeof line, "%s %o %d %lld %s %llx\n", path, stat.mode, (int)stat.link_count,
             (long long)stat.size, target,
             (stat.mode & S_IFMT) == S_IFREG ? (unsigned long long)content_hash(tree, path) : 0);
    tree_add(tree, line);
    if ((stat.mode & S_IFMT) == S_IFDIR && depth < 30)
        tree_walk(tree, path, depth + 1);
}

static void tree_walk(struct tree *tree, const char *path, int depth)
{
    int64_t file = tree->side(OPEN, P(path), O_RDONLY | O_DIRECTORY, 0, 0, 0), size;
    char *names[2000], child[900];
    uint64_t buffer[256];
    int count = 0, dots = 0;

    assert_true(file >= 0);
    while ((size = tree->side(GETDENTS, P(file), P(buffer), sizeof buffer, 0, 0)) > 0) {
        for (int64_t at = 0; at < size;) {
            struct linux_dirent *entry = (struct linux_dirent *)((char *)buffer + at);
            const char *name = (char *)entry + 19;

            at += entry->size;
            if (!strcmp(name, ".") || !strcmp(name, ".."))
                dots++;
            else
                names[count++] = strdup(name);
        }
    }
    assert_int_equal(size, 0);
    assert_int_equal(dots, 2);
    tree->side(CLOSE, P(file), 0, 0, 0, 0);
    qsort(names, (size_t)count, sizeof *names, compare_strings);
    for (int i = 0; i < count; i++) {
        snprintf(child, sizeof child, "%s/%s", path, names[i]);
        tree_entry(tree, child, depth);
        free(names[i]);
    }
}

static void compare_trees(void)
{
    static char host_text[TREE_TEXT], shim_text[TREE_TEXT];
    struct tree trees[] = {{host, host_text, 0}, {shim, shim_text, 0}};

    tree_walk(&trees[0], ".", 0);
    tree_walk(&trees[1], ".", 0);
    if (trees[0].size != trees[1].size || memcmp(host_text, shim_text, trees[0].size))
        fail_msg("after %s the trees differ; Linux:\n%s\nthe shim:\n%s", doing, host_text,
                 shim_text);
}

/* The steps */

static void step_open(const char *path)
{
    static const uint32_t flags[] = {O_CREAT,
                                     O_CREAT | O_EXCL,
                                     O_TRUNC,
                                     O_CREAT | O_TRUNC,
                                     O_DIRECTORY,
                                     O_NOFOLLOW,
                                     O_APPEND | O_CREAT,
                                     O_PATH,
                                     0,
                                     O_TMPFILE};
    uint32_t index = random_below(FILES_MAX), flag = flags[random_below(10)] | random_below(3);
    uint32_t mode = 0600 | random_below(0100);

    close_file(index);
    snprintf(doing, sizeof doing, "open %s %o", path, flag);
    files[index].host = host(OPEN, P(path), flag, mode, 0, 0);
    files[index].shim = shim(OPEN, P(path), flag, mode, 0, 0);
    if ((files[index].host < 0 || files[index].shim < 0) && files[index].host != files[index].shim)
        fail_msg("%s: Linux says %lld, the shim %lld", doing, (long long)files[index].host,
                 (long long)files[index].shim);
    if (files[index].host < 0)
        files[index].host = -1;
}

static void step_transfer(uint32_t index)
{
    static uint8_t mine[BUFFER], theirs[BUFFER];
    uint64_t size = random_below(3) ? random_below(300) : random_below(BUFFER);
    uint64_t at = random_size();
    bool positioned = random_below(2);

    snprintf(doing, sizeof doing, "transfer %llu bytes, %s%llu", (unsigned long long)size,
             positioned ? "at " : "not at ", (unsigned long long)at);
    if (random_below(2)) {
        for (uint64_t i = 0; i < size; i++)
            mine[i] = (uint8_t)random_below(256);
        both_files(positioned ? PWRITE : WRITE, index, P(mine), size, at);
        return;
    }
    memset(mine, 1, sizeof mine);
    memset(theirs, 1, sizeof theirs);
    int64_t expected =
        host(positioned ? PREAD : READ, P(files[index].host), P(theirs), size, at, 0);
    int64_t got = shim(positioned ? PREAD : READ, P(files[index].shim), P(mine), size, at, 0);

    if (expected != got || memcmp(mine, theirs, sizeof mine))
        fail_msg("%s: reading gives %lld, and %lld in the shim, or other bytes", doing,
                 (long long)expected, (long long)got);
}

static void step_file(void)
{
    uint32_t index = random_below(FILES_MAX);
    struct linux_stat expected, got;

    if (files[index].host < 0)
        return;
    switch (random_below(10)) {
    case 0:
        snprintf(doing, sizeof doing, "ftruncate");
        both_files(FTRUNCATE, index, random_size(), 0, 0);
        break;
    case 1:
        snprintf(doing, sizeof doing, "fallocate");
        both_files(FALLOCATE, index, random_below(4), random_below(40000), random_below(40000));
        break;
    case 2:
    case 3: {
        uint64_t offset = random_size(),
                 whence = random_below(3) ? random_below(5) : random_below(6);
        struct linux_stat type;

        /* Positions of directories are a file system's own, but for the first. */
        host(FSTAT, P(files[index].host), P(&type), 0, 0, 0);
        if ((type.mode & S_IFMT) == S_IFDIR)
            offset = whence = 0;
        snprintf(doing, sizeof doing, "lseek %llu %llu", (unsigned long long)offset,
                 (unsigned long long)whence);
        both_files(LSEEK, index, offset, whence, 0);
        break;
    }
    case 4:
        snprintf(doing, sizeof doing, "fstat");
        assert_int_equal(host(FSTAT, P(files[index].host), P(&expected), 0, 0, 0), 0);
        assert_int_equal(shim(FSTAT, P(files[index].shim), P(&got), 0, 0, 0), 0);
        compare_stat(&expected, &got);
        break;
    case 5:
        close_file(index);
        break;
    case 6:
        snprintf(doing, sizeof doing, "flock");
        both_files(FLOCK, index, (1u << random_below(4)) | LOCK_NB, 0, 0);
        break;
    default:
        step_transfer(index);
    }
}

static void step_stat(const char *path)
{
    struct linux_stat expected, got;
    uint32_t flags = random_below(2) ? AT_SYMLINK_NOFOLLOW : 0;

    snprintf(doing, sizeof doing, "stat %s %x", path, flags);
    memset(&expected, 0, sizeof expected);
    memset(&got, 0, sizeof got);
    int64_t result = host(STATAT, P(AT_FDCWD), P(path), P(&expected), flags, 0);

    if (result != shim(STATAT, P(AT_FDCWD), P(path), P(&got), flags, 0))
        fail_msg("%s: Linux says %lld", doing, (long long)result);
    if (!result)
        compare_stat(&expected, &got);
}

static void step_link_target(const char *path)
{
    char expected[300], got[300];
    int64_t size = host(READLINK, P(path), P(expected), 299, 0, 0);

    snprintf(doing, sizeof doing, "readlink %s", path);
    if (size != shim(READLINK, P(path), P(got), 299, 0, 0) ||
        (size > 0 && memcmp(expected, got, (size_t)size)))
        fail_msg("%s: Linux says %lld", doing, (long long)size);
}

static void step_name(void)
{
    static const char *const targets[] = {"a", "b", "a/b", "sub/c", "lib", "d/"};
    char path[300], other[300];
    const char *target = targets[random_below(6)];
    uint32_t what = random_below(16), flags;

    random_path(path);
    random_path(other);
    snprintf(doing, sizeof doing, "call %u of %s, %s", what, path, other);
    switch (what) {
    case 0:
    case 1:
        both(MKDIR, P(path), 0700 | random_below(0100), 0, 0, 0);
        break;
    case 2:
        both(RMDIR, P(path), 0, 0, 0, 0);
        break;
    case 3:
        both(UNLINK, P(path), 0, 0, 0, 0);
        break;
    case 4:
    case 5:
        both(RENAME, P(path), P(other), 0, 0, 0);
        break;
    case 6:
        flags = random_below(4);
        both(RENAMEAT2, P(AT_FDCWD), P(path), P(AT_FDCWD), P(other), flags);
        break;
    case 7:
        both(LINK, P(path), P(other), 0, 0, 0);
        break;
    case 8:
        both(SYMLINK, P(target), P(path), 0, 0, 0);
        break;
    case 9:
        step_link_target(path);
        break;
    case 10:
        both(CHMOD, P(path), 0700 | random_below(0100), 0, 0, 0);
        break;
    case 11:
        both(TRUNCATE, P(path), random_size(), 0, 0, 0);
        break;
    case 12:
        both(ACCESS, P(path), random_below(8), 0, 0, 0);
        break;
    case 13:
        both(UNLINKAT, P(AT_FDCWD), P(path), random_below(2) ? AT_REMOVEDIR : 0, 0, 0);
        break;
    default:
        step_stat(path);
    }
}

static void steps(int count)
{
    char path[300];

    for (int i = 0; i < FILES_MAX; i++)
        files[i].host = -1;
    for (int i = 0; i < count; i++) {
        switch (random_below(4)) {
        case 0:
            random_path(path);
            step_open(path);
            break;
        case 1:
            step_file();
            break;
        default:
            step_name();
        }
        if (i % 1000 == 999)
            compare_trees();
    }
    for (uint32_t i = 0; i < FILES_MAX; i++)
        close_file(i);
    compare_trees();
}

/* Removes what is in a directory. */
static void remove_all(call_of *side, const char *path)
{
    char child[1000];
    uint64_t buffer[256];
    int64_t file, size;

    do {
        file = side(OPEN, P(path), O_RDONLY | O_DIRECTORY, 0, 0, 0);
        assert_true(file >= 0);
        size = side(GETDENTS, P(file), P(buffer), sizeof buffer, 0, 0);
        side(CLOSE, P(file), 0, 0, 0, 0);
        bool any = false;

        for (int64_t at = 0; at < size;) {
            struct linux_dirent *entry = (struct linux_dirent *)((char *)buffer + at);
            const char *name = (char *)entry + 19;

            at += entry->size;
            if (!strcmp(name, ".") || !strcmp(name, ".."))
                continue;
            any = true;
            snprintf(child, sizeof child, "%s/%s", path, name);
            if (side(UNLINK, P(child), 0, 0, 0, 0) == 0)
                continue;
            remove_all(side, child);
            assert_int_equal(side(RMDIR, P(child), 0, 0, 0, 0), 0);
        }
        if (!any)
            return;
    } while (true);
}

static char place[64];

static void enter_host(void)
{
    strcpy(place, "/dev/shm/hl-files-XXXXXX");
    assert_non_null(mkdtemp(place));
    assert_int_equal(chdir(place), 0);
    assert_int_equal(host(CHMOD, P(place), 0755, 0, 0, 0), 0);
    umask(022);
}

static void leave_host(void)
{
    remove_all(host, ".");
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(host(RMDIR, P(place), 0, 0, 0, 0), 0);
}

/* The tree is empty: the shim gives everything back, but for the table of inodes of images. */
static void leave_shim(void)
{
    files_leave();
    assert_int_equal(files_pages(), 0);
    assert_true(files_objects() <= 1);
}

static void empty_tree(void **unused)
{
    (void)unused;
    for (int round = 0; round < 5; round++) {
        state = 1000 + (uint64_t)round;
        enter_host();
        assert_true(files_enter(NULL, 0));
        steps(STEPS / 5);
        remove_all(shim, ".");
        leave_host();
        leave_shim();
    }
}

static const struct files_spec specs[] = {
    {-1, "a", S_IFDIR | 0755, NULL, 0, 0},    {-1, "sub", S_IFDIR | 0755, NULL, 0, 0},
    {0, "a", S_IFREG | 0644, NULL, 5, 0},     {0, "b", S_IFREG | 0644, NULL, 3000, 0},
    {0, "c", S_IFREG | 0755, NULL, 20000, 0}, {0, "lib", S_IFDIR | 0755, NULL, 0, 0},
    {5, "a", S_IFREG | 0644, NULL, 4096, 0},  {5, "d", S_IFLNK | 0777, "a", 0, 0},
    {1, "a", S_IFREG | 0644, NULL, 0, 0},     {1, "b", S_IFREG | 0644, NULL, 3000, 4},
    {1, "lib", S_IFLNK | 0777, "c", 0, 0},    {1, "c", S_IFDIR | 0755, NULL, 0, 0},
    {11, "sub", S_IFDIR | 0755, NULL, 0, 0},  {12, "a", S_IFREG | 0644, NULL, 70000, 0},
    {-1, "d", S_IFLNK | 0777, "sub/c", 0, 0}, {-1, "lib", S_IFREG | 0600, NULL, 8192, 0},
};
#define SPEC_COUNT ((int)(sizeof specs / sizeof specs[0]))

static void spec_path(char *path, int index)
{
    if (specs[index].parent >= 0) {
        spec_path(path, specs[index].parent);
        strcat(path, "/");
    } else {
        *path = 0;
    }
    strcat(path, specs[index].name);
}

/* The same tree as the image's, on the host. */
static void make_on_host(void)
{
    char path[300], old[300];

    for (int i = 0; i < SPEC_COUNT; i++) {
        const struct files_spec *spec = &specs[i];
        int64_t file;

        spec_path(path, i);
        if (spec->link) {
            spec_path(old, spec->link - 1);
            assert_int_equal(host(LINK, P(old), P(path), 0, 0, 0), 0);
        } else if ((spec->mode & S_IFMT) == S_IFDIR) {
            assert_int_equal(host(MKDIR, P(path), spec->mode & 0777, 0, 0, 0), 0);
        } else if ((spec->mode & S_IFMT) == S_IFLNK) {
            assert_int_equal(host(SYMLINK, P(spec->content), P(path), 0, 0, 0), 0);
        } else {
            file = host(OPEN, P(path), O_CREAT | O_WRONLY, spec->mode & 0777, 0, 0);
            assert_true(file >= 0);
            for (uint64_t at = 0; at < spec->size; at++) {
                uint8_t byte = files_pattern(i, at);

                assert_int_equal(host(WRITE, P(file), P(&byte), 1, 0, 0), 1);
            }
            host(CLOSE, P(file), 0, 0, 0, 0);
        }
    }
}

static void over_image(void **unused)
{
    size_t size;
    uint8_t *image = files_image(specs, SPEC_COUNT, &size);

    (void)unused;
    for (int round = 0; round < 10; round++) {
        state = 77 + (uint64_t)round;
        enter_host();
        make_on_host();
        assert_true(files_enter(image, size));
        snprintf(doing, sizeof doing, "nothing");
        compare_trees();
        steps(STEPS / 10);
        remove_all(shim, ".");
        leave_host();
        leave_shim();
    }
    free(image);
}

/* Memory runs out in the middle: what was there before is there afterwards, and calls fail cleanly. */
static void no_memory(void **unused)
{
    size_t size;
    uint8_t *image = files_image(specs, SPEC_COUNT, &size);
    static char text[TREE_TEXT];
    char path[300], other[300];
    uint8_t bytes[5000] = {0};

    (void)unused;
    for (uint64_t left = 0; left < 400; left++) {
        struct tree tree = {shim, text, 0};
        int64_t file;

        state = left;
        assert_true(files_enter(image, size));
        files_memory_left(left, left / 4);
        for (int i = 0; i < 60; i++) {
            random_path(path);
            random_path(other);
            switch (random_below(7)) {
            case 0:
                shim(MKDIR, P(path), 0755, 0, 0, 0);
                break;
            case 1:
                shim(RENAME, P(path), P(other), 0, 0, 0);
                break;
            case 2:
                shim(LINK, P(path), P(other), 0, 0, 0);
                break;
            case 3:
                shim(UNLINK, P(path), 0, 0, 0, 0);
                break;
            case 4:
                shim(RMDIR, P(path), 0, 0, 0, 0);
                break;
            case 5:
                shim(SYMLINK, P("a"), P(path), 0, 0, 0);
                break;
            default:
                file = shim(OPEN, P(path), O_CREAT | O_RDWR, 0644, 0, 0);
                shim(PWRITE, P(file), P(bytes), sizeof bytes, random_below(30000), 0);
                shim(FALLOCATE, P(file), 0, 0, random_below(100000), 0);
                shim(FALLOCATE, P(file), 3, random_below(10000), random_below(10000), 0);
                shim(FTRUNCATE, P(file), random_below(10000), 0, 0, 0);
                shim(CLOSE, P(file), 0, 0, 0, 0);
            }
        }
        files_memory_left(UINT64_MAX, UINT64_MAX);
        tree_walk(&tree, ".", 0);
        remove_all(shim, ".");
        leave_shim();
    }
    free(image);
}

static void full_file_keeps_its_content(void **unused)
{
    uint8_t bytes[4096], back[4096];
    int64_t file;

    (void)unused;
    assert_true(files_enter(NULL, 0));
    file = shim(OPEN, P("a"), O_CREAT | O_RDWR, 0644, 0, 0);
    memset(bytes, 7, sizeof bytes);
    assert_int_equal(shim(WRITE, P(file), P(bytes), sizeof bytes, 0, 0), sizeof bytes);
    files_memory_left(UINT64_MAX, 0);
    assert_int_equal(shim(PWRITE, P(file), P(bytes), 100, 4090, 0), 6);
    assert_int_equal(shim(PWRITE, P(file), P(bytes), 100, 4096, 0), -ENOSPC);
    assert_int_equal(shim(FALLOCATE, P(file), 0, 0, 8192, 0), -ENOSPC);
    assert_int_equal(shim(PREAD, P(file), P(back), sizeof back, 0, 0), sizeof back);
    assert_memory_equal(bytes, back, sizeof back);
    files_memory_left(UINT64_MAX, UINT64_MAX);
    shim(CLOSE, P(file), 0, 0, 0, 0);
    assert_int_equal(shim(UNLINK, P("a"), 0, 0, 0, 0), 0);
    leave_shim();
}

/* A listing that is read while its entries go, and while they are renamed: each comes once. */
static void listing_under_change(void **unused)
{
    char name[30], renamed[40];
    uint64_t buffer[30];
    int64_t directory, size;
    int seen = 0;

    (void)unused;
    assert_true(files_enter(NULL, 0));
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "file%d", i);
        assert_int_equal(
            shim(CLOSE, P(shim(OPEN, P(name), O_CREAT | O_RDWR, 0644, 0, 0)), 0, 0, 0, 0), 0);
    }
    directory = shim(OPEN, P("."), O_RDONLY, 0, 0, 0);
    while ((size = shim(GETDENTS, P(directory), P(buffer), sizeof buffer, 0, 0)) > 0) {
        for (int64_t at = 0; at < size;) {
            struct linux_dirent *entry = (struct linux_dirent *)((char *)buffer + at);
            const char *found = (char *)entry + 19;

            at += entry->size;
            if (found[0] == '.')
                continue;
            seen++;
            snprintf(renamed, sizeof renamed, "%s.new", found);
            assert_int_equal(seen % 2 ? shim(UNLINK, P(found), 0, 0, 0, 0)
                                      : shim(RENAME, P(found), P(renamed), 0, 0, 0),
                             0);
        }
    }
    assert_int_equal(size, 0);
    assert_int_equal(seen, 500);
    shim(CLOSE, P(directory), 0, 0, 0, 0);
    remove_all(shim, ".");
    leave_shim();
}

static void deep_tree_goes(void **unused)
{
    uint64_t objects;

    (void)unused;
    assert_true(files_enter(NULL, 0));
    objects = files_objects();
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(shim(MKDIR, P("deep"), 0755, 0, 0, 0), 0);
        assert_int_equal(shim(CHDIR, P("deep"), 0, 0, 0, 0), 0);
    }
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(shim(CHDIR, P(".."), 0, 0, 0, 0), 0);
        assert_int_equal(shim(RMDIR, P("deep"), 0, 0, 0, 0), 0);
    }
    assert_true(files_objects() <= objects + 2);
    leave_shim();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_tree),
        cmocka_unit_test(over_image),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(full_file_keeps_its_content),
        cmocka_unit_test(listing_under_change),
        cmocka_unit_test(deep_tree_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
