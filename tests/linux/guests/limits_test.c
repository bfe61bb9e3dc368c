/* Resource limits: what may be set, what of it holds, and that they stay over execve. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MIB = 1 << 20, PAGE = 4096 };

static volatile int signals;
static sigjmp_buf back;

static void count(int number)
{
    signals += number == SIGXFSZ;
}

static void escape(int number)
{
    siglongjmp(back, number);
}

static void result(const char *what, long returned)
{
    printf("%s: %s", what, returned == -1 ? strerror(errno) : "");
    if (returned != -1)
        printf("%ld", returned);
    printf("%s\n", signals ? ", SIGXFSZ" : "");
    signals = 0;
}

static void show(const char *name, int resource)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit))
        printf("%s: %s\n", name, strerror(errno));
    else
        printf("%s: %lld\n", name,
               limit.rlim_cur == RLIM_INFINITY ? -1 : (long long)limit.rlim_cur);
}

static int set_soft(int resource, rlim_t soft)
{
    struct rlimit limit;

    getrlimit(resource, &limit);
    limit.rlim_cur = soft;
    return setrlimit(resource, &limit);
}

static void books(void)
{
    static const int kept[] = {RLIMIT_CPU,     RLIMIT_DATA,  RLIMIT_RSS,     RLIMIT_NPROC,
                               RLIMIT_MEMLOCK, RLIMIT_LOCKS, RLIMIT_MSGQUEUE};
    struct rlimit limit, old;

    puts("== books");
    show("stack", RLIMIT_STACK);
    show("core", RLIMIT_CORE);
    show("files", RLIMIT_NOFILE);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        getrlimit(kept[i], &old);
        limit = (struct rlimit){500, old.rlim_max};
        result("set", setrlimit(kept[i], &limit));
        limit = (struct rlimit){0};
        result("ask", syscall(SYS_prlimit64, 0, kept[i], NULL, &limit));
        printf("%ld, hard as it was: %d\n", (long)limit.rlim_cur, limit.rlim_max == old.rlim_max);
        setrlimit(kept[i], &old);
    }
    limit = (struct rlimit){100, 50};
    result("soft above hard", setrlimit(RLIMIT_NOFILE, &limit));
    result("no such limit", setrlimit((__typeof__(RLIMIT_CPU))16, &(struct rlimit){0, 0}));
    result("no such limit to ask for", syscall(SYS_getrlimit, 16, &limit));
    result("no such process", syscall(SYS_prlimit64, 999999, RLIMIT_CORE, NULL, &limit));
    result("nowhere to write", syscall(SYS_getrlimit, RLIMIT_CORE, 8));
    result("nothing to read", syscall(SYS_setrlimit, RLIMIT_CORE, 8));
    limit = (struct rlimit){0, 0};
    result("oneself by number", syscall(SYS_prlimit64, getpid(), RLIMIT_MSGQUEUE, &limit, &old));
    limit = (struct rlimit){20, 30};
    result("fewer files", setrlimit(RLIMIT_NOFILE, &limit));
    int last = 0;
    for (int fd; (fd = open("/", O_RDONLY)) >= 0;)
        last = fd;
    printf("last file %d, %s\n", last, strerror(errno));
    for (int fd = 3; fd <= last; fd++)
        close(fd);
}

static void file_size(void)
{
    static char bytes[2000];
    int fd = open("/tmp/limited", O_RDWR | O_CREAT | O_TRUNC, 0644),
        other = open("/tmp/larger", O_RDWR | O_CREAT, 0644), ends[2];

    puts("== file size");
    ftruncate(other, 5000);
    signal(SIGXFSZ, count);
    result("set", set_soft(RLIMIT_FSIZE, 1000));
    result("write", write(fd, bytes, 600));
    result("write over it", write(fd, bytes, 600));
    result("write behind it", write(fd, bytes, 600));
    result("write nothing", write(fd, bytes, 0));
    result("pwrite over it", pwrite(fd, bytes, 50, 990));
    result("pwrite behind it", pwrite(fd, bytes, 50, 4000));
    result("ftruncate", ftruncate(fd, 1001));
    result("ftruncate", ftruncate(fd, 1000));
    result("truncate", truncate("/tmp/limited", 2000));
    result("posix_fallocate", fallocate(fd, 0, 900, 200));
    result("a file that is larger: inside", pwrite(other, bytes, 10, 500));
    result("behind the limit", pwrite(other, bytes, 10, 4500));
    result("shorter, still larger", ftruncate(other, 4000));
    result("longer", ftruncate(other, 4500));
    result("pipe", pipe(ends));
    result("to a pipe", write(ends[1], bytes, 2000));
    unlink("/tmp/limited");
    unlink("/tmp/larger");
    for (int i = 0; i < 2; i++)
        close(ends[i]);
    close(fd);
    close(other);
    set_soft(RLIMIT_FSIZE, RLIM_INFINITY);
}

static long mapped_size(void)
{
    char text[100] = "";
    int fd = open("/proc/self/statm", O_RDONLY);

    read(fd, text, sizeof text - 1);
    close(fd);
    return atol(text) * PAGE;
}

static void *map(size_t size, int rights, int flags)
{
    return mmap(NULL, size, rights, MAP_ANONYMOUS | flags, -1, 0);
}

static void maps(const char *what, void *mapped)
{
    result(what, mapped == MAP_FAILED ? -1 : 0);
}

static void memory(void)
{
    const int both = PROT_READ | PROT_WRITE;

    puts("== memory");
    result("address space", set_soft(RLIMIT_AS, (rlim_t)mapped_size() + 16 * MIB));
    char *place = map(4 * MIB, both, MAP_PRIVATE);
    maps("inside", place);
    maps("beyond", map(64 * MIB, both, MAP_PRIVATE));
    maps("beyond, without rights", map(64 * MIB, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE));
    maps("beyond, shared", map(64 * MIB, both, MAP_SHARED));
    maps("in place of another",
         mmap(place, 4 * MIB, PROT_READ, MAP_ANONYMOUS | MAP_PRIVATE | MAP_FIXED, -1, 0));
    maps("growth", mremap(place, 4 * MIB, 64 * MIB, MREMAP_MAYMOVE));
    result("break",
           syscall(SYS_brk, syscall(SYS_brk, 0) + 64 * MIB) == syscall(SYS_brk, 0) ? 0 : 1);
    munmap(place, 4 * MIB);
    set_soft(RLIMIT_AS, RLIM_INFINITY);
    maps("without limit", map(64 * MIB, both, MAP_PRIVATE));
    result("data", set_soft(RLIMIT_DATA, 80 * MIB));
    maps("beyond", map(64 * MIB, both, MAP_PRIVATE));
    maps("only to read", map(64 * MIB, PROT_READ, MAP_PRIVATE));
    maps("shared", map(64 * MIB, both, MAP_SHARED));
    long end = syscall(SYS_brk, 0);
    result("break", syscall(SYS_brk, end + 64 * MIB) - end);
    set_soft(RLIMIT_DATA, RLIM_INFINITY);
}

/* Every call needs its block until it returns, so that none becomes a loop. */
__attribute__((noinline)) static int dig(int depth, volatile char *before)
{
    volatile char block[PAGE];

    block[0] = (char)depth;
    if (depth)
        *before = (char)(dig(depth - 1, block) + block[0]);
    return block[0];
}

static void try_stack(const char *what, int mib)
{
    int signal = sigsetjmp(back, 1);

    volatile char block = 0;

    if (!signal)
        dig(mib * (MIB / PAGE), &block);
    printf("%s, %d MiB of it: %s\n", what, mib, signal ? strsignal(signal) : "fine");
}

int main(int argc, char **argv)
{
    static char stack[64 * 1024];
    struct sigaction action = {.sa_handler = escape, .sa_flags = SA_ONSTACK};

    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    sigaction(SIGSEGV, &action, NULL);
    if (argc > 1) {
        puts("== another program");
        show("stack", RLIMIT_STACK);
        show("file size", RLIMIT_FSIZE);
        show("files", RLIMIT_NOFILE);
        try_stack("small stack", 4);
        set_soft(RLIMIT_FSIZE, 10);
        fflush(stdout);
        int fd = open("/tmp/limited", O_RDWR | O_CREAT | O_TRUNC, 0644);
        ftruncate(fd, 100);
        puts("not reached");
        return 1;
    }
    books();
    file_size();
    memory();
    puts("== stack");
    try_stack("stack", 6);
    set_soft(RLIMIT_STACK, 24 * MIB);
    try_stack("larger stack", 20);
    set_soft(RLIMIT_STACK, 2 * MIB);
    set_soft(RLIMIT_FSIZE, 123456);
    signal(SIGXFSZ, SIG_DFL);
    fflush(stdout);
    execl("/proc/self/exe", argv[0], "second", NULL);
    return 1;
}
