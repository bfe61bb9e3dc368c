/* Paths: an empty file system, a root directory with nothing in it, that cannot be written. */
#include "entry/access.h"
#include "file/io.h"
#include "base/linux.h"
#include "entry/state.h"
#include "entry/syscall.h"
#include "base/text.h"

#include <string.h>

#define PATH_SIZE 512

static bool path_is_root(const char *path)
{
    while (*path == '/' || *path == '.')
        path++;
    return !*path;
}

/* 0 for the root directory, an error for every other path. */
static int64_t path_find(uint64_t address)
{
    char path[PATH_SIZE];
    int64_t length = hl__user_string(path, address, sizeof path);

    if (length < 0)
        return length;
    return length && path_is_root(path) ? 0 : -ENOENT;
}

static int64_t file_open(uint64_t path, uint64_t flags)
{
    int64_t failure = path_find(path);

    if (!failure)
        return -EACCES;
    return failure == -ENOENT && (flags & O_CREAT) ? -EROFS : failure;
}

HL__SYSCALL(open)
{
    return file_open(arg[0], arg[1]);
}

HL__SYSCALL(openat)
{
    return file_open(arg[1], arg[2]);
}

static int64_t path_stat(uint64_t path, struct linux_stat *stat)
{
    int64_t failure = path_find(path);

    *stat = (struct linux_stat){
        .device = 1, .inode = 1, .link_count = 2, .mode = S_IFDIR | 0555, .block_size = 4096};
    return failure;
}

/* The *at calls name a descriptor by an empty path. */
static int64_t stat_at(int descriptor, uint64_t path, uint64_t flags, struct linux_stat *stat)
{
    char first;

    if ((flags & AT_EMPTY_PATH) && descriptor != AT_FDCWD) {
        if (!path)
            return hl__descriptor_stat(descriptor, stat);
        if (hl__user_read(&first, path, 1) < 0)
            return -EFAULT;
        if (!first)
            return hl__descriptor_stat(descriptor, stat);
    }
    return path_stat(path, stat);
}

static int64_t stat_path_to(uint64_t path, uint64_t result)
{
    struct linux_stat stat;
    int64_t failure = path_stat(path, &stat);

    return failure ? failure : hl__user_write(result, &stat, sizeof stat);
}

HL__SYSCALL(stat)
{
    return stat_path_to(arg[0], arg[1]);
}

HL__SYSCALL(lstat)
{
    return stat_path_to(arg[0], arg[1]);
}

HL__SYSCALL(newfstatat)
{
    struct linux_stat stat;
    int64_t failure = stat_at((int)arg[0], arg[1], arg[3], &stat);

    return failure ? failure : hl__user_write(arg[2], &stat, sizeof stat);
}

HL__SYSCALL(statx)
{
    enum { BASIC_STATS = 0x7ff };
    struct linux_stat stat;
    int64_t failure = stat_at((int)arg[0], arg[1], arg[2], &stat);
    struct linux_statx extended;

    if (failure)
        return failure;
    memset(&extended, 0, sizeof extended);
    extended.mask = BASIC_STATS;
    extended.block_size = (uint32_t)stat.block_size;
    extended.link_count = (uint32_t)stat.link_count;
    extended.mode = (uint16_t)stat.mode;
    extended.inode = stat.inode;
    extended.device_minor = (uint32_t)stat.device;
    return hl__user_write(arg[4], &extended, sizeof extended);
}

HL__SYSCALL(access)
{
    enum { WRITE_ACCESS = 2 };
    int64_t failure = path_find(arg[0]);

    return !failure && (arg[1] & WRITE_ACCESS) ? -EROFS : failure;
}

HL__SYSCALL(faccessat)
{
    const uint64_t path_and_mode[] = {arg[1], arg[2]};

    return hl__sys_access(path_and_mode);
}

HL__SYSCALL(faccessat2)
{
    return hl__sys_faccessat(arg);
}

HL__SYSCALL(getcwd)
{
    static const char root[] = "/";

    if (arg[1] < sizeof root)
        return -ERANGE;
    return hl__user_write(arg[0], root, sizeof root) < 0 ? -EFAULT : (int64_t)sizeof root;
}

/* The last part of the program's name, as its path in the root directory. */
static size_t executable_path(char *path, size_t capacity)
{
    const char *name = HL__BOOT->argument_count ? HL__BOOT->strings : "program";
    struct hl__text text;

    for (const char *at = name; *at; at++)
        if (*at == '/' && at[1])
            name = at + 1;
    hl__text_start(&text, path, capacity);
    hl__text_add(&text, "/");
    hl__text_add(&text, name);
    return text.size;
}

static int64_t link_read(uint64_t path_address, uint64_t result, uint64_t capacity)
{
    char path[PATH_SIZE];
    int64_t length = hl__user_string(path, path_address, sizeof path);
    size_t size;

    if (length < 0)
        return length;
    if ((int64_t)capacity <= 0)
        return -EINVAL;
    if (!hl__string_equal(path, "/proc/self/exe"))
        return path_is_root(path) && length ? -EINVAL : -ENOENT;
    size = executable_path(path, sizeof path);
    if (size > capacity)
        size = capacity;
    return hl__user_write(result, path, size) < 0 ? -EFAULT : (int64_t)size;
}

HL__SYSCALL(readlink)
{
    return link_read(arg[0], arg[1], arg[2]);
}

HL__SYSCALL(readlinkat)
{
    return link_read(arg[1], arg[2], arg[3]);
}
