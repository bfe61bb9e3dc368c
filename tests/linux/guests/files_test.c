/* Files: opening, positions, holes, names, links, folders, times, locks, and what moves bytes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void begin(const char *name)
{
    printf("== %s\n", name);
    fflush(stdout);
}

static void say(const char *what, long value)
{
    printf("%s: %ld\n", what, value);
}

static const char *error_name(int error)
{
    static const struct {
        int error;
        const char *name;
    } names[] = {
        {EACCES, "EACCES"},
        {EAGAIN, "EAGAIN"},
        {EBADF, "EBADF"},
        {EBUSY, "EBUSY"},
        {EEXIST, "EEXIST"},
        {EFAULT, "EFAULT"},
        {EFBIG, "EFBIG"},
        {EINVAL, "EINVAL"},
        {EISDIR, "EISDIR"},
        {ELOOP, "ELOOP"},
        {EMFILE, "EMFILE"},
        {EMLINK, "EMLINK"},
        {ENAMETOOLONG, "ENAMETOOLONG"},
        {ENODEV, "ENODEV"},
        {ENOENT, "ENOENT"},
        {ENOSPC, "ENOSPC"},
        {ENOSYS, "ENOSYS"},
        {ENOTDIR, "ENOTDIR"},
        {ENOTEMPTY, "ENOTEMPTY"},
        {ENOTTY, "ENOTTY"},
        {ENXIO, "ENXIO"},
        {EOPNOTSUPP, "EOPNOTSUPP"},
        {EPERM, "EPERM"},
        {EPIPE, "EPIPE"},
        {ERANGE, "ERANGE"},
        {EROFS, "EROFS"},
        {ESPIPE, "ESPIPE"},
        {EXDEV, "EXDEV"},
        {EDEADLK, "EDEADLK"},
        {ENODATA, "ENODATA"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].error == error)
            return names[i].name;
    return "another error";
}

static long result(const char *what, long returned)
{
    if (returned == -1)
        printf("%s: %s\n", what, error_name(errno));
    else
        say(what, returned);
    return returned;
}

/* Results that are a descriptor, whose number does not matter. */
static int opened(const char *what, int fd)
{
    printf("%s: %s\n", what, fd < 0 ? error_name(errno) : "open");
    return fd;
}

static int create(const char *path, const char *text)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        printf("%s cannot be written: %s\n", path, error_name(errno));
    return fd;
}

static void put(const char *path, const char *text)
{
    close(create(path, text));
}

static void show(const char *path)
{
    char text[100];
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("%s: %s\n", path, error_name(errno));
        return;
    }
    ssize_t size = read(fd, text, sizeof text - 1);
    text[size < 0 ? 0 : size] = 0;
    printf("%s: %s\n", path, text);
    close(fd);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void list(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, by_name);
    printf("%s:", path);
    for (int i = 0; i < count; i++) {
        char type = entries[i]->d_type == DT_DIR    ? '/'
                    : entries[i]->d_type == DT_LNK  ? '@'
                    : entries[i]->d_type == DT_FIFO ? '|'
                                                    : ' ';
        printf(" %s%c", entries[i]->d_name, type);
        free(entries[i]);
    }
    puts(count < 0 ? error_name(errno) : "");
    if (count >= 0)
        free(entries);
}

static void test_open(void)
{
    begin("opening");
    opened("nothing there", open("none", O_RDONLY));
    close(opened("create", open("a", O_WRONLY | O_CREAT | O_EXCL, 0640)));
    opened("create once more", open("a", O_WRONLY | O_CREAT | O_EXCL, 0640));
    struct stat status;
    stat("a", &status);
    printf("mode %o\n", status.st_mode);
    umask(077);
    close(open("b", O_WRONLY | O_CREAT, 0666));
    stat("b", &status);
    printf("mode with a mask %o\n", status.st_mode);
    say("umask", umask(022));
    mkdir("d", 0755);
    opened("a folder to write", open("d", O_WRONLY));
    opened("a folder that is none", open("a", O_RDONLY | O_DIRECTORY));
    opened("below a file", open("a/x", O_RDONLY));
    opened("a file with a slash", open("a/", O_RDONLY));
    opened("create in nothing", open("none/x", O_WRONLY | O_CREAT, 0600));
    opened("empty name", open("", O_RDONLY));
    symlink("loop2", "loop1");
    symlink("loop1", "loop2");
    opened("links in a circle", open("loop1", O_RDONLY));
    symlink("a", "link");
    opened("a link, not followed", open("link", O_RDONLY | O_NOFOLLOW));
    int fd = opened("a link as such", open("link", O_PATH | O_NOFOLLOW));
    char text[300];
    fstat(fd, &status);
    say("is a link", S_ISLNK(status.st_mode));
    result("readlink of it", readlinkat(fd, "", text, sizeof text));
    result("read of O_PATH", read(fd, text, 1));
    close(fd);
    symlink("made-by-link", "dangling");
    close(opened("create through a link", open("dangling", O_WRONLY | O_CREAT, 0600)));
    show("made-by-link");
    memset(text, 'n', 256);
    text[256] = 0;
    opened("long name", open(text, O_RDONLY | O_CREAT, 0600));
    text[255] = 0;
    close(opened("longest name", open(text, O_RDONLY | O_CREAT, 0600)));
    result("unlink it", unlink(text));
    char *path = malloc(PATH_MAX + 10);
    for (int i = 0; i < PATH_MAX; i += 2)
        memcpy(path + i, "./", 2);
    path[PATH_MAX] = 0;
    opened("long path", open(path, O_RDONLY));
    free(path);
    int fds[3] = {dup(0), dup(0), dup(0)};
    close(fds[1]);
    say("the lowest is taken", dup(0) == fds[1]);
    say("dup2", dup2(fds[0], 100));
    say("dup2 to itself", dup2(100, 100));
    result("dup2 of nothing", dup2(99, 101));
    result("dup3 to itself", dup3(100, 100, 0));
    say("dup3", dup3(100, 101, O_CLOEXEC) == 101 && fcntl(101, F_GETFD) == FD_CLOEXEC);
    say("F_DUPFD", fcntl(0, F_DUPFD, 200));
    result("F_DUPFD, too high", fcntl(0, F_DUPFD, 1 << 30));
    result("dup2, too high", dup2(0, 1 << 30));
    result("close", close(200));
    result("close again", close(200));
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    close(100);
    close(101);
    say("flags", fcntl(open("a", O_RDWR | O_APPEND | O_NONBLOCK), F_GETFL) &
                     (O_ACCMODE | O_APPEND | O_NONBLOCK));
    for (int i = 3; i < 50; i++)
        close(i);
}

static void test_positions(void)
{
    begin("positions");
    char text[64] = "";
    int fd = create("p", "0123456789");
    say("seek", lseek(fd, 3, SEEK_SET));
    say("read", read(fd, text, 4));
    say("tell", lseek(fd, 0, SEEK_CUR));
    result("before the start", lseek(fd, -1, SEEK_SET));
    result("wrong whence", lseek(fd, 0, 77));
    say("behind the end", lseek(fd, 5, SEEK_END));
    say("read there", read(fd, text, 4));
    say("write there", write(fd, "x", 1));
    say("size", lseek(fd, 0, SEEK_END));
    say("pread", pread(fd, text, 20, 8));
    printf("%d %d %c\n", text[1], text[6], text[7]);
    result("pread, negative", pread(fd, text, 1, -1));
    int twin = dup(fd), other = open("p", O_RDWR | O_APPEND);
    lseek(fd, 2, SEEK_SET);
    say("the twin's position", lseek(twin, 0, SEEK_CUR));
    say("another's position", lseek(other, 0, SEEK_CUR));
    say("append", write(other, "END", 3));
    say("position", lseek(other, 0, SEEK_CUR));
    say("pwrite to an appending one", pwrite(other, "!", 1, 0));
    say("size", lseek(fd, 0, SEEK_END));
    struct iovec parts[3] = {{text, 3}, {text + 10, 0}, {text + 20, 4}};
    lseek(fd, 0, SEEK_SET);
    say("readv", readv(fd, parts, 3));
    printf("%.3s %.4s\n", text, text + 20);
    say("writev", writev(fd, parts, 3));
    say("preadv", preadv(fd, parts, 3, 1));
    result("readv of too many", syscall(SYS_readv, fd, parts, 5000ul));
    result("readv of none", readv(fd, parts, 0));
    parts[1] = (struct iovec){(void *)8, 5};
    say("readv with a bad part", preadv(fd, parts, 2, 0));
    result("read into nothing", syscall(SYS_read, fd, 8ul, 5ul));
    result("write from nothing", syscall(SYS_write, fd, 8ul, 5ul));
    result("truncate", ftruncate(fd, 4));
    result("negative", ftruncate(fd, -1));
    result("by name", truncate("p", 2));
    show("p");
    int reader = open("p", O_RDONLY);
    result("write to a reader", write(reader, "x", 1));
    result("truncate a reader", ftruncate(reader, 0));
    result("fsync", fsync(fd));
    result("fallocate", posix_fallocate(fd, 0, 10000) ? -1 : 0);
    say("size", lseek(fd, 0, SEEK_END));
    result("ioctl", syscall(SYS_ioctl, fd, 0x5401, text));
    for (int i = 3; i < 20; i++)
        close(i);
}

static void test_holes(void)
{
    begin("holes");
    int fd = open("holes", O_RDWR | O_CREAT | O_TRUNC, 0600);
    enum { MIB = 1 << 20 };
    ftruncate(fd, 100l * MIB);
    pwrite(fd, "a", 1, 10l * MIB);
    pwrite(fd, "b", 1, 50l * MIB);
    struct stat status;
    fstat(fd, &status);
    say("size", status.st_size);
    say("data", lseek(fd, 0, SEEK_DATA));
    say("hole", lseek(fd, 10l * MIB, SEEK_HOLE));
    say("data", lseek(fd, 11l * MIB, SEEK_DATA));
    result("no more", lseek(fd, 51l * MIB, SEEK_DATA));
    say("last hole", lseek(fd, 60l * MIB, SEEK_HOLE));
    result("behind the end", lseek(fd, 200l * MIB, SEEK_HOLE));
    result("punch", syscall(SYS_fallocate, fd, 3, 10l * MIB, (long)MIB));
    char byte = 'x';
    pread(fd, &byte, 1, 10l * MIB);
    say("punched", byte);
    result("far", ftruncate(fd, 1l << 40));
    say("write far", pwrite(fd, "end", 3, (1l << 40) - 3));
    result("remove", unlink("holes"));
    fstat(fd, &status);
    say("links", status.st_nlink);
    say("still readable", pread(fd, &byte, 1, 50l * MIB) == 1 && byte == 'b');
    close(fd);
}

static void test_names(void)
{
    begin("names");
    mkdir("n", 0755);
    chdir("n");
    put("one", "1");
    put("two", "2");
    mkdir("folder", 0700);
    mkdir("full", 0700);
    put("full/x", "x");
    symlink("one", "link");
    result("rename", rename("one", "three"));
    show("three");
    show("link");
    result("rename over a file", rename("three", "two"));
    show("two");
    result("a file over a folder", rename("two", "folder"));
    result("a folder over a file", rename("folder", "two"));
    result("a folder over a full one", rename("folder", "full"));
    result("a folder into itself", rename("full", "full/sub"));
    result("a full one over an empty one", rename("full", "folder"));
    list("folder");
    result("nothing", rename("none", "x"));
    result("to itself", rename("two", "two"));
    put("a", "A");
    put("b", "B");
    result("not over another", syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "b", 1));
    result("not over another, free", syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "c", 1));
    result("exchange", syscall(SYS_renameat2, AT_FDCWD, "c", AT_FDCWD, "b", 2));
    show("b");
    show("c");
    result("exchange a file and a folder",
           syscall(SYS_renameat2, AT_FDCWD, "c", AT_FDCWD, "folder", 2));
    list("c");
    result("exchange with nothing", syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "none", 2));
    result("wrong flags", syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "none", 3));
    result("link", link("b", "hard"));
    result("link, taken", link("b", "hard"));
    result("link of a folder", link("c", "hard2"));
    struct stat one, two;
    stat("b", &one);
    stat("hard", &two);
    printf("links %d, the same %d\n", (int)one.st_nlink, one.st_ino == two.st_ino);
    result("rename to its hard link", rename("b", "hard"));
    list(".");
    result("unlink", unlink("hard"));
    stat("b", &one);
    say("links", (long)one.st_nlink);
    result("unlink a folder", unlink("c"));
    result("rmdir a file", rmdir("b"));
    result("rmdir a full one", rmdir("c"));
    result("rmdir .", rmdir("."));
    result("rmdir ..", rmdir(".."));
    result("rmdir nothing", rmdir("none"));
    result("unlinkat as rmdir", unlinkat(AT_FDCWD, "c", AT_REMOVEDIR));
    unlink("c/x");
    result("rmdir", rmdir("c"));
    result("mkdir, taken", mkdir("b", 0700));
    result("mkdir below a file", mkdir("b/x", 0700));
    result("mkdir with a slash", mkdir("slash/", 0700));
    result("symlink, taken", symlink("x", "b"));
    result("symlink, empty", symlink("", "empty"));
    char text[20];
    result("readlink of a file", readlink("b", text, sizeof text));
    result("readlink, short", readlink("link", text, 2));
    result("fifo", mkfifo("fifo", 0600));
    stat("fifo", &one);
    printf("mode %o\n", one.st_mode);
    list(".");
    chdir("..");
}

static void test_folders(void)
{
    begin("folders");
    char text[PATH_MAX], name[32];
    mkdir("f", 0755);
    mkdir("f/sub", 0755);
    result("chdir", chdir("f/sub"));
    printf("%s\n", getcwd(text, sizeof text));
    result("getcwd, short", syscall(SYS_getcwd, text, 3ul));
    int up = open("..", O_RDONLY | O_DIRECTORY), here = open(".", O_RDONLY);
    result("fchdir", fchdir(up));
    printf("%s\n", getcwd(text, sizeof text));
    put("x", "x");
    int fd = opened("relative to a folder", openat(here, "../x", O_RDONLY));
    result("fchdir to a file", fchdir(fd));
    opened("relative to a file", openat(fd, "x", O_RDONLY));
    close(fd);
    result("fstatat of an empty path", fstatat(here, "", &(struct stat){0}, AT_EMPTY_PATH));
    fchdir(here);
    result("remove the current folder", rmdir("../sub"));
    result("getcwd there", syscall(SYS_getcwd, text, sizeof text));
    opened("create there", open("y", O_CREAT | O_WRONLY, 0600));
    list(".");
    fchdir(up);
    chdir("..");
    close(up);
    close(here);

    mkdir("many", 0755);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "many/file%04d", i);
        close(open(name, O_CREAT | O_WRONLY, 0600));
    }
    DIR *folder = opendir("many");
    int count = 0, removed = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        snprintf(text, sizeof text, "many/%s", entry->d_name);
        removed += unlink(text) == 0;
    }
    printf("removed while listing: %d of %d\n", removed, count);
    rewinddir(folder);
    count = 0;
    while (readdir(folder))
        count++;
    say("left", count);
    put("many/new", "");
    rewinddir(folder);
    count = 0;
    while (readdir(folder))
        count++;
    say("with a new one", count);
    closedir(folder);
    struct stat status;
    stat("many", &status);
    say("links of a folder", (long)status.st_nlink);
    mkdir("many/a", 0700);
    mkdir("many/b", 0700);
    stat("many", &status);
    say("links with two in it", (long)status.st_nlink);
    result("..", stat("many/a/../b/../new", &status));
    result("through a file", stat("many/new/..", &status));
    char *deep = malloc(PATH_MAX);
    strcpy(deep, "deep");
    mkdir(deep, 0700);
    int depth = 1;
    for (; depth < 100; depth++) {
        strcat(deep, "/d");
        if (mkdir(deep, 0700))
            break;
    }
    say("depth", depth);
    for (int i = 0; i < 41; i++) {
        char target[32];
        snprintf(name, sizeof name, "chain%d", i);
        snprintf(target, sizeof target, i ? "chain%d" : "many/new", i - 1);
        symlink(target, name);
    }
    result("40 links", stat("chain39", &status));
    result("41 links", stat("chain40", &status));
    free(deep);
}

static void test_attributes(void)
{
    begin("attributes");
    put("t", "12345");
    struct stat status;
    struct timespec times[2] = {{1000, 5}, {2000, 999999999}};
    result("utimensat", utimensat(AT_FDCWD, "t", times, 0));
    stat("t", &status);
    printf("%ld.%ld %ld.%ld\n", (long)status.st_atim.tv_sec, status.st_atim.tv_nsec,
           (long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_nsec = UTIME_NOW;
    result("omit and now", utimensat(AT_FDCWD, "t", times, 0));
    stat("t", &status);
    printf("%ld %d\n", (long)status.st_atim.tv_sec, status.st_mtim.tv_sec > 1600000000);
    times[0].tv_nsec = 1000000000;
    result("wrong", utimensat(AT_FDCWD, "t", times, 0));
    result("of nothing", utimensat(AT_FDCWD, "none", NULL, 0));
    symlink("t", "tl");
    times[0] = times[1] = (struct timespec){77, 0};
    result("of a link", utimensat(AT_FDCWD, "tl", times, AT_SYMLINK_NOFOLLOW));
    lstat("tl", &status);
    printf("link %ld size %ld\n", (long)status.st_mtim.tv_sec, (long)status.st_size);
    int fd = open("t", O_RDWR);
    futimens(fd, times);
    pwrite(fd, "x", 1, 0);
    fstat(fd, &status);
    say("writing changes the time", status.st_mtim.tv_sec > 1600000000);
    result("fchmod", fchmod(fd, 04751));
    fstat(fd, &status);
    printf("%o\n", status.st_mode);
    result("chmod through a link", chmod("tl", 0600));
    result("chmod of nothing", chmod("none", 0600));
    result("fchownat", fchownat(AT_FDCWD, "t", 0, 0, 0));
    stat("t", &status);
    printf("%o %d %d %ld %ld\n", status.st_mode, status.st_uid, status.st_gid, (long)status.st_size,
           (long)status.st_blksize);
    result("access", access("t", R_OK | W_OK));
    result("access of nothing", access("none", F_OK));
    result("access, wrong", access("t", 99));
    chmod("t", 0);
    result("execute without a right", access("t", X_OK));
    result("getxattr", syscall(SYS_getxattr, "t", "user.none", NULL, 0ul));
    struct statvfs room;
    result("statvfs", statvfs(".", &room));
    say("block", (long)room.f_bsize);
    say("longest name", (long)room.f_namemax);
    fd = opened("unnamed", open(".", O_TMPFILE | O_RDWR, 0600));
    say("write", write(fd, "unnamed", 7));
    fstat(fd, &status);
    say("links", (long)status.st_nlink);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    result("give it a name", linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    show("named");
    close(fd);
}

/* What the lock of another process, a child that shares memory, tells of a range. */
static struct flock asked_by_child(int fd, short type, long start, long size, int *set)
{
    static struct flock range, asked;
    static int set_error;

    range = (struct flock){.l_type = type, .l_start = start, .l_len = size};
    asked = range;
    set_error = 0;
    pid_t child = vfork();
    if (!child) {
        if (fcntl(fd, F_GETLK, &asked))
            asked.l_type = -1;
        if (fcntl(fd, F_SETLK, &range))
            set_error = errno;
        _exit(0);
    }
    waitpid(child, NULL, 0);
    *set = set_error;
    return asked;
}

static void show_asked(const char *what, int fd, short type, long start, long size)
{
    int set;
    struct flock asked = asked_by_child(fd, type, start, size, &set);

    printf("%s: type %d, %ld + %ld, ours %d, %s\n", what, asked.l_type, (long)asked.l_start,
           (long)asked.l_len, asked.l_type != F_UNLCK && asked.l_pid == getpid(),
           set ? error_name(set) : "set");
}

/* Locks of processes, among them and against those of open files. */
static void test_process_locks(void)
{
    int one = create("locked", "0123456789"), two = open("locked", O_RDWR),
        reader = open("locked", O_RDONLY);
    struct flock range = {.l_type = F_WRLCK, .l_start = 2, .l_len = 4};

    result("lock", fcntl(one, F_SETLK, &range));
    show_asked("another process, inside", one, F_RDLCK, 3, 1);
    show_asked("another process, beside", one, F_WRLCK, 6, 2);
    show_asked("its locks went with it", one, F_WRLCK, 6, 2);
    range = (struct flock){.l_type = F_RDLCK, .l_start = 3, .l_len = 1};
    result("a part is for reading", fcntl(two, F_SETLK, &range));
    show_asked("reading that part", one, F_RDLCK, 3, 1);
    show_asked("writing that part", one, F_WRLCK, 3, 1);
    show_asked("behind it", one, F_RDLCK, 4, 0);
    range = (struct flock){.l_type = F_WRLCK, .l_start = 2, .l_len = 1};
    result("the lock of an open file meets it", fcntl(one, 37, &range));
    range = (struct flock){.l_type = F_RDLCK};
    result("asked by an open file", fcntl(two, 36, &range));
    printf("%d %ld %ld, a process's: %d\n", range.l_type, (long)range.l_start, (long)range.l_len,
           range.l_pid == getpid());
    result("closing any descriptor", close(reader));
    show_asked("gives all up", one, F_WRLCK, 0, 0);
    range = (struct flock){.l_type = F_WRLCK, .l_start = 0, .l_len = 2};
    result("the lock of an open file", fcntl(one, 37, &range));
    range = (struct flock){.l_type = F_RDLCK, .l_len = 1};
    result("meets the process's own", fcntl(one, F_SETLK, &range));
    result("asked by the process", fcntl(one, F_GETLK, &range));
    printf("%d %ld %ld %d\n", range.l_type, (long)range.l_start, (long)range.l_len, range.l_pid);
    close(one);
    close(two);
}

/* The old layout, in which the type is behind the name. */
static void test_old_folders(void)
{
    begin("getdents");
    mkdir("old", 0755);
    close(create("old/a", "1"));
    close(create("old/abcdef", "1"));
    symlink("a", "old/link");
    mkdir("old/folder", 0700);
    static char block[1024];
    int fd = open("old", O_RDONLY | O_DIRECTORY);
    long size = syscall(SYS_getdents, fd, block, sizeof block);
    long types[256] = {0}, count = 0;
    for (long at = 0; at < size;) {
        unsigned short length;
        memcpy(&length, block + at + 16, sizeof length);
        const char *name = block + at + 18;
        types[strcmp(name, "..") ? (unsigned char)name[0] : 255] =
            block[at + length - 1] * 100 + length;
        count++;
        at += length;
    }
    printf("%ld entries: %ld %ld %ld %ld\n", count, types['a'], types['l'], types['f'], types['.']);
    result("at the end", syscall(SYS_getdents, fd, block, sizeof block));
    lseek(fd, 0, SEEK_SET);
    result("too small", syscall(SYS_getdents, fd, block, 10));
    close(fd);
    fd = open("old/a", O_RDONLY);
    result("no folder", syscall(SYS_getdents, fd, block, sizeof block));
    close(fd);
}

static void test_locks(void)
{
    begin("locks");
    int one = create("locked", "0123456789"), two = open("locked", O_RDWR);
    result("flock", flock(one, LOCK_EX | LOCK_NB));
    result("flock again", flock(one, LOCK_SH | LOCK_NB));
    result("flock by another, shared", flock(two, LOCK_SH | LOCK_NB));
    result("flock by another", flock(two, LOCK_EX | LOCK_NB));
    result("unlock", flock(one, LOCK_UN));
    result("flock by another", flock(two, LOCK_EX | LOCK_NB));
    result("flock, wrong", flock(two, 77));
    flock(two, LOCK_UN);
    struct flock range = {.l_type = F_WRLCK, .l_start = 2, .l_len = 3};
    result("process lock", fcntl(one, F_SETLK, &range));
    result("the same process may", fcntl(two, F_SETLK, &range));
    range.l_type = F_WRLCK;
    result("ask", fcntl(two, F_GETLK, &range));
    say("free for us", range.l_type == F_UNLCK);
    range = (struct flock){.l_type = F_UNLCK};
    result("unlock", fcntl(one, F_SETLK, &range));
    range = (struct flock){.l_type = F_WRLCK, .l_start = 0, .l_len = 5};
    result("lock of the open file", fcntl(one, 37, &range));
    range.l_start = 3;
    result("another, overlapping", fcntl(two, 37, &range));
    range.l_start = 5;
    result("another, beside", fcntl(two, 37, &range));
    range = (struct flock){.l_type = F_RDLCK, .l_start = 0, .l_len = 2};
    result("ask", fcntl(two, 36, &range));
    say("taken", range.l_type == F_WRLCK && range.l_start == 0 && range.l_len == 5);
    close(one);
    range = (struct flock){.l_type = F_WRLCK, .l_start = 0, .l_len = 5};
    result("free after close", fcntl(two, 37, &range));
    close(two);
    test_process_locks();
}

static void test_copies(void)
{
    begin("copies");
    int from = create("from", "0123456789"), to = create("to", "");
    off_t at = 2, at2 = 0;
    say("sendfile", sendfile(to, from, &at, 5));
    say("offset", at);
    say("position stays", lseek(from, 0, SEEK_CUR));
    lseek(from, 0, SEEK_SET);
    say("sendfile with the position", sendfile(to, from, NULL, 100));
    say("position", lseek(from, 0, SEEK_CUR));
    show("to");
    at = 0;
    at2 = 20;
    say("copy_file_range", syscall(SYS_copy_file_range, from, &at, to, &at2, 4ul, 0u));
    printf("%ld %ld %ld\n", (long)at, (long)at2, (long)lseek(to, 0, SEEK_END));
    result("at the end", syscall(SYS_copy_file_range, from, NULL, to, NULL, 4ul, 0u));
    result("wrong flags", syscall(SYS_copy_file_range, from, NULL, to, NULL, 4ul, 1u));
    /* Some file systems can. */
    say("a clone, or none",
        !ioctl(to, _IOW(0x94, 9, int), from) || errno == EOPNOTSUPP || errno == EINVAL);
    int reader = open("from", O_RDONLY);
    result("sendfile to a reader", sendfile(reader, to, NULL, 1));
    int pipes[2];
    if (pipe(pipes))
        return;
    at = 0;
    say("sendfile to a pipe", sendfile(pipes[1], from, &at, 6));
    char text[20] = "";
    say("read", read(pipes[0], text, sizeof text));
    printf("%s\n", text);
    for (int i = 3; i < 20; i++)
        close(i);
    size_t size = 3 << 20;
    char *large = malloc(size);
    for (size_t i = 0; i < size; i++)
        large[i] = (char)(i * 7 + i / 4096);
    int fd = open("large", O_RDWR | O_CREAT, 0600);
    say("write 3 MiB", write(fd, large, size));
    memset(large, 0, size);
    say("read 3 MiB", pread(fd, large, size, 0));
    long wrong = 0;
    for (size_t i = 0; i < size; i++)
        wrong += large[i] != (char)(i * 7 + i / 4096);
    say("wrong", wrong);
    for (long i = 0; i < 2000; i++)
        pwrite(fd, &i, sizeof i, i * 1537);
    for (long i = 0, value; i < 2000; i++)
        wrong += pread(fd, &value, sizeof value, i * 1537) != sizeof value || value != i;
    say("wrong after small writes", wrong);
    free(large);
    close(fd);
}

static void test_devices(void)
{
    begin("devices and /proc");
    char text[300];
    int fd = open("/dev/null", O_RDWR);
    result("null, read", read(fd, text, 10));
    result("null, write", write(fd, text, 10));
    close(fd);
    fd = open("/dev/zero", O_RDWR);
    memset(text, 1, sizeof text);
    result("zero, read", read(fd, text, 100));
    printf("%d %d\n", text[99], text[100]);
    close(fd);
    fd = open("/dev/full", O_RDWR);
    result("full, write", write(fd, text, 1));
    result("full, read", read(fd, text, 5));
    close(fd);
    fd = open("/dev/urandom", O_RDONLY);
    result("urandom", read(fd, text, 256));
    int equal = 0;
    for (int i = 0; i < 255; i++)
        equal += text[i] == text[i + 1];
    say("random", equal < 20);
    close(fd);
    result("getrandom", syscall(SYS_getrandom, text, 64ul, 0u));
    result("getrandom, wrong", syscall(SYS_getrandom, text, 64ul, 0x80u));
    fd = open("/dev/shm/x", O_RDWR | O_CREAT, 0600);
    result("shm", write(fd, "abc", 3));
    close(fd);
    show("/dev/shm/x");
    unlink("/dev/shm/x");
    fd = open("/proc/self/exe", O_RDONLY);
    result("own program", read(fd, text, 4));
    say("ELF", !memcmp(text, "\177ELF", 4));
    close(fd);
    ssize_t size = readlink("/proc/self/exe", text, sizeof text);
    say("its name", size > 0 && memmem(text, (size_t)size, "files_test", 10) != NULL);
    fd = open("/proc/self/cmdline", O_RDONLY);
    size = read(fd, text, sizeof text);
    say("command line", size > 0 && text[size - 1] == 0);
    close(fd);
    fd = create("opened", "content");
    snprintf(text, sizeof text, "/proc/self/fd/%d", fd);
    show(text);
    char link[200] = "";
    readlink(text, link, sizeof link - 1);
    printf("%s\n", link);
    close(fd);
    for (size_t i = 0; i < 7; i++) {
        static const char *const names[] = {"maps",   "status", "stat", "statm",
                                            "mounts", "limits", "comm"};
        snprintf(text, sizeof text, "/proc/self/%s", names[i]);
        fd = open(text, O_RDONLY);
        printf("%s: %d\n", text, fd >= 0 && read(fd, link, sizeof link) > 0);
        close(fd);
    }
    for (size_t i = 0; i < 6; i++) {
        static const char *const names[] = {"/proc/cpuinfo", "/proc/meminfo", "/proc/uptime",
                                            "/proc/stat",    "/proc/loadavg", "/proc/version"};
        fd = open(names[i], O_RDONLY);
        printf("%s: %d\n", names[i], fd >= 0 && read(fd, link, sizeof link) > 0);
        close(fd);
    }
    opened("nothing in /proc", open("/proc/self/none", O_RDONLY));
    opened("a thread's threads", open("/proc/thread-self/task", O_RDONLY | O_DIRECTORY));
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        {"open", test_open},
        {"positions", test_positions},
        {"holes", test_holes},
        {"names", test_names},
        {"old folders", test_old_folders},
        {"folders", test_folders},
        {"attributes", test_attributes},
        {"locks", test_locks},
        {"copies", test_copies},
        {"devices", test_devices},
    };
    const char *only = getenv("ONLY");
    if (mkdir("/tmp/files", 0755) || chdir("/tmp/files"))
        return 1;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (!only || !strcmp(only, tests[i].name))
            tests[i].run();
    puts("== end");
}
