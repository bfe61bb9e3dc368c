/* What a program can do with its address space. Prints neither addresses nor times: the output is the same wherever memory works as
 * Linux says. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096ul
#define TIB (1ul << 40)
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 3
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#endif

static const char *section = "";

static void begin(const char *name)
{
    section = name;
    printf("== %s\n", name);
    fflush(stdout);
}

static void say(const char *what, long value)
{
    printf("%s: %ld\n", what, value);
}

/* Names of errors that are expected; a number otherwise. */
static const char *error_name(int error)
{
    static char text[32];
    switch (error) {
    case 0:
        return "ok";
    case EINVAL:
        return "EINVAL";
    case ENOMEM:
        return "ENOMEM";
    case EACCES:
        return "EACCES";
    case EPERM:
        return "EPERM";
    case EEXIST:
        return "EEXIST";
    case EFAULT:
        return "EFAULT";
    case EBADF:
        return "EBADF";
    case ENODEV:
        return "ENODEV";
    case EAGAIN:
        return "EAGAIN";
    case EOPNOTSUPP:
        return "EOPNOTSUPP";
    case EBUSY:
        return "EBUSY";
    case ETXTBSY:
        return "ETXTBSY";
    case EOVERFLOW:
        return "EOVERFLOW";
    }
    snprintf(text, sizeof text, "error %d", error);
    return text;
}

static void result(const char *what, long returned)
{
    printf("%s: %s\n", what, error_name(returned == -1 ? errno : 0));
}

static void *map_or_die(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    void *memory = mmap(at, size, protection, flags, fd, offset);
    if (memory == MAP_FAILED) {
        printf("%s: mmap of %zu bytes failed: %s\n", section, size, error_name(errno));
        exit(1);
    }
    return memory;
}

static char *map(size_t pages, int protection)
{
    return map_or_die(NULL, pages * PAGE, protection, PRIVATE, -1, 0);
}

/* mmap that is expected to fail or whose success is the question. */
static void try_map(const char *what, void *at, size_t size, int protection, int flags, int fd,
                    off_t offset)
{
    void *memory = mmap(at, size, protection, flags, fd, offset);
    result(what, memory == MAP_FAILED ? -1 : 0);
    if (memory != MAP_FAILED)
        munmap(memory, size);
}

/* Faults */

static sigjmp_buf escape;
static volatile bool armed; /* somebody is ready for a fault */
static volatile sig_atomic_t fault_signal, fault_code;
static void *volatile fault_address;
static bool (*volatile fixer)(void *address);

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    fault_signal = number;
    fault_code = info->si_code;
    fault_address = info->si_addr;
    if (fixer && fixer(info->si_addr))
        return;
    if (!armed) {
        static const char text[] = "a fault where none was expected\n";
        _exit(write(1, text, sizeof text - 1) > 0 ? 99 : 98);
    }
    siglongjmp(escape, 1);
}

static const char *fault_name(void)
{
    static char text[64];
    const char *code = "?";
    if (fault_signal == SIGSEGV)
        code = fault_code == SEGV_MAPERR   ? "SEGV_MAPERR"
               : fault_code == SEGV_ACCERR ? "SEGV_ACCERR"
                                           : "?";
    else if (fault_signal == SIGBUS)
        code = fault_code == BUS_ADRERR ? "BUS_ADRERR" : "?";
    snprintf(text, sizeof text, "%s%s", code, code[0] == '?' ? " unexpected" : "");
    return text;
}

enum access { READ, WRITE, EXECUTE };

/* Whether the access works; else fault_* tell. */
static bool access_works(volatile char *at, enum access kind)
{
    armed = true;
    if (sigsetjmp(escape, 1)) {
        armed = false;
        return false;
    }
    if (kind == READ)
        (void)*at;
    else if (kind == WRITE)
        *at = *at + 1; /* reads, too */
    else
        ((void (*)(void))(uintptr_t)at)();
    armed = false;
    return true;
}

static void poke(const char *what, char *at, enum access kind)
{
    if (access_works(at, kind))
        printf("%s: fine\n", what);
    else
        printf("%s: %s, address %s\n", what, fault_name(), fault_address == at ? "right" : "wrong");
}

static void install_handlers(void)
{
    static char stack[64 * 1024];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaltstack(&alternate, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

/* A string of the protections of `pages` pages as /proc/self/maps tells them, one letter each. Maps nothing while it looks. */
static const char *seen_in_maps(char *start, size_t pages)
{
    static char text[512], maps[1 << 20];
    memset(text, '-', pages);
    text[pages] = 0;
    int fd = open("/proc/self/maps", O_RDONLY);
    size_t size = 0;
    for (ssize_t got = 1; got > 0; size += (size_t)got) {
        got = read(fd, maps + size, sizeof maps - 1 - size);
        if (got < 0)
            return "no /proc/self/maps";
    }
    close(fd);
    maps[size] = 0;
    uintptr_t last = 0;
    for (char *line = maps; *line; line = strchr(line, '\n') + 1) {
        unsigned long from, to;
        char rights[8];
        if (!strchr(line, '\n') || sscanf(line, "%lx-%lx %7s", &from, &to, rights) != 3 ||
            from >= to || from < last)
            return "malformed or unordered";
        last = to;
        for (size_t i = 0; i < pages; i++) {
            uintptr_t address = (uintptr_t)start + i * PAGE;
            if (address < from || address >= to)
                continue;
            text[i] = rights[1] == 'w'   ? (rights[2] == 'x' ? 'W' : 'w')
                      : rights[2] == 'x' ? 'x'
                      : rights[0] == 'r' ? 'r'
                                         : 'n';
        }
    }
    return text;
}

static void test_protections(void)
{
    begin("protections");
    char *memory = map(8, RW);
    memset(memory, 7, 8 * PAGE);
    result("mprotect none", mprotect(memory + PAGE, PAGE, PROT_NONE));
    result("mprotect read", mprotect(memory + 2 * PAGE, PAGE, PROT_READ));
    poke("before the guard", memory + PAGE - 1, WRITE);
    poke("guard, read", memory + PAGE, READ);
    poke("guard, write at its end", memory + 2 * PAGE - 1, WRITE);
    poke("read-only, read", memory + 2 * PAGE + 5, READ);
    poke("read-only, write", memory + 2 * PAGE + 5, WRITE);
    poke("data, execute", memory + 3 * PAGE, EXECUTE);
    result("mprotect back", mprotect(memory + PAGE, 2 * PAGE, RW));
    poke("guard, again writable", memory + PAGE + 9, WRITE);
    say("contents kept", memory[PAGE] == 7 && memory[PAGE + 9] == 8 && memory[2 * PAGE + 5] == 7);
    result("munmap of a hole", munmap(memory + 4 * PAGE, PAGE));
    poke("hole", memory + 4 * PAGE, READ);
    poke("behind the hole", memory + 5 * PAGE, READ);
    printf("maps: %s\n", seen_in_maps(memory, 8));
    result("munmap over the hole", munmap(memory + 3 * PAGE, 3 * PAGE));
    printf("maps: %s\n", seen_in_maps(memory, 8));
    result("mprotect over a hole", mprotect(memory, 8 * PAGE, PROT_READ));
    poke("before the hole, now read-only", memory, WRITE);
    poke("null", NULL, READ);
    poke("not canonical", (char *)0x7ffffffff000, READ);
    result("munmap", munmap(memory, 8 * PAGE));
    result("munmap twice", munmap(memory, 8 * PAGE));
    poke("unmapped", memory + 7 * PAGE, WRITE);

    for (int protection = 0; protection < 8; protection++) {
        char *page = map(1, RW);
        page[0] = (char)0xc3; /* ret */
        mprotect(page, PAGE, protection);
        /* Memory that can be executed and not read needs keys of protection, which not every processor has. */
        printf("protection %d: read %d write %d execute %d\n", protection,
               protection == PROT_EXEC ? -1 : access_works(page, READ),
               access_works(page + 1, WRITE),
               protection & PROT_EXEC ? access_works(page, EXECUTE) : -1);
        munmap(page, PAGE);
    }
}

static void test_flips(void)
{
    enum { COUNT = 64 };
    begin("flips");
    char *memory = map(COUNT, RW);
    int wrong = 0;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < COUNT; i++)
            mprotect(memory + (size_t)i * PAGE, PAGE,
                     (i + round) % 3 == 0   ? PROT_NONE
                     : (i + round) % 3 == 1 ? PROT_READ
                                            : RW);
        for (int i = 0; i < COUNT; i += 5) {
            char *page = memory + (size_t)i * PAGE;
            wrong += access_works(page, READ) != ((i + round) % 3 != 0);
            wrong += access_works(page, WRITE) != ((i + round) % 3 == 2);
        }
    }
    say("wrong rights", wrong);
    mprotect(memory, COUNT * PAGE, PROT_READ);
    long sum = 0;
    for (int i = 0; i < COUNT; i++)
        sum += memory[(size_t)i * PAGE];
    say("sum", sum);
    munmap(memory, COUNT * PAGE);

    enum { MANY = 2000 };
    memory = map(MANY, PROT_NONE);
    for (int i = 0; i < MANY; i += 2)
        mprotect(memory + (size_t)i * PAGE, PAGE, RW);
    for (int i = 0; i < MANY; i += 2)
        memory[(size_t)i * PAGE] = (char)i;
    wrong = 0;
    for (int i = 0; i < MANY; i += 2)
        wrong += memory[(size_t)i * PAGE] != (char)i;
    for (int i = 1; i < MANY; i += 200)
        wrong += access_works(memory + (size_t)i * PAGE, READ);
    say("islands wrong", wrong);
    result("one mprotect over all", mprotect(memory, MANY * PAGE, PROT_READ));
    poke("in the middle", memory + 1001 * PAGE, READ);
    poke("in the middle, write", memory + 1000 * PAGE, WRITE);
    munmap(memory, MANY * PAGE);
}

static void test_errors(void)
{
    begin("errors");
    char *memory = map(4, RW);
    try_map("length 0", NULL, 0, RW, PRIVATE, -1, 0);
    try_map("neither private nor shared", NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0);
    try_map("bad descriptor", NULL, PAGE, RW, MAP_PRIVATE, 99, 0);
    try_map("fixed, unaligned", memory + 1, PAGE, RW, PRIVATE | MAP_FIXED, -1, 0);
    try_map("too large", NULL, 1ul << 62, RW, PRIVATE | MAP_NORESERVE, -1, 0);
    try_map("larger than the address space", NULL, 1ul << 47, PROT_NONE, PRIVATE | MAP_NORESERVE,
            -1, 0);
    try_map("fixed above the address space", (void *)(1ul << 47), PAGE, RW, PRIVATE | MAP_FIXED, -1,
            0);
    try_map("the length wraps", NULL, ~0ul - 100, RW, PRIVATE, -1, 0);
    try_map("no replacement, taken", memory + PAGE, PAGE, RW, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0);
    munmap(memory + PAGE, PAGE);
    try_map("no replacement, free", memory + PAGE, PAGE, RW, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0);
    try_map("no replacement, partly taken", memory + PAGE, 2 * PAGE, RW,
            PRIVATE | MAP_FIXED_NOREPLACE, -1, 0);
    result("munmap unaligned", munmap(memory + 1, PAGE));
    result("munmap length 0", munmap(memory, 0));
    result("munmap above the address space", munmap((void *)(1ul << 47), PAGE));
    result("mprotect unaligned",
           syscall(SYS_mprotect, memory + 1, PAGE, PROT_READ)); /* musl aligns */
    result("mprotect length 0", mprotect(memory, 0, PROT_READ));
    result("mprotect of nothing", mprotect(memory + PAGE, PAGE, PROT_READ));
    result("mprotect with a wrong right", mprotect(memory, PAGE, 0x100));
    result("madvise unaligned", madvise(memory + 1, PAGE, MADV_DONTNEED));
    result("madvise wrong", madvise(memory, PAGE, 12345));
    result("madvise over a hole", madvise(memory, 4 * PAGE, MADV_DONTNEED));
    result("madvise length 0", madvise(memory, 0, MADV_DONTNEED));
    result("msync unaligned", msync(memory + 1, PAGE, MS_SYNC));
    result("msync wrong flags", msync(memory, PAGE, MS_SYNC | MS_ASYNC));
    result("msync over a hole", msync(memory, 4 * PAGE, MS_SYNC));
    unsigned char vector[4];
    result("mincore over a hole", mincore(memory, 4 * PAGE, vector));
    result("mincore unaligned", mincore(memory + 1, PAGE, vector));
    memory[0] = 1;
    result("mincore", mincore(memory, PAGE, vector));
    say("resident", vector[0] & 1);
    munmap(memory, 4 * PAGE);
}

static void test_reservations(void)
{
    begin("reservations");
    char *huge = mmap(NULL, TIB, PROT_NONE, PRIVATE | MAP_NORESERVE, -1, 0);
    result("1 TiB without rights", huge == MAP_FAILED ? -1 : 0);
    poke("in it", huge + TIB / 2, READ);
    for (unsigned long i = 0; i < 16; i++) {
        char *island = huge + i * (TIB / 16) + i * 7 * PAGE;
        if (mprotect(island, 4 * PAGE, RW))
            result("mprotect of an island", -1);
        memset(island, (int)i + 1, 4 * PAGE);
    }
    long sum = 0;
    for (unsigned long i = 0; i < 16; i++)
        sum += huge[i * (TIB / 16) + i * 7 * PAGE + 3 * PAGE + 17];
    say("islands", sum);
    poke("beside an island", huge + 3 * (TIB / 16) + 25 * PAGE, WRITE);
    poke("at its end", huge + 3 * (TIB / 16) + 25 * PAGE - 1, WRITE);
    result("a mapping into it", mmap(huge + TIB / 3 / PAGE * PAGE, 2 * PAGE, RW,
                                     PRIVATE | MAP_FIXED, -1, 0) == MAP_FAILED
                                    ? -1
                                    : 0);
    poke("there", huge + TIB / 3 / PAGE * PAGE + PAGE, WRITE);
    result("a hole of half of it", munmap(huge + TIB / 4, TIB / 2));
    poke("in the hole", huge + TIB / 2, READ);
    poke("behind the hole", huge + TIB / 4 * 3 + 10 * PAGE, READ);
    result("unmap", munmap(huge, TIB));

    char *lazy = mmap(NULL, TIB, RW, PRIVATE | MAP_NORESERVE, -1, 0);
    result("1 TiB, writable", lazy == MAP_FAILED ? -1 : 0);
    sum = 0;
    for (unsigned long i = 0; i < 100; i++)
        lazy[i * (TIB / 100)] = 1;
    for (unsigned long i = 0; i < 100; i++)
        sum += lazy[i * (TIB / 100)] + lazy[i * (TIB / 100) + PAGE - 1];
    say("touched", sum);
    result("shrink to 1 GiB", mremap(lazy, TIB, 1ul << 30, 0) == MAP_FAILED ? -1 : 0);
    poke("behind it", lazy + (1ul << 30), READ);
    result("unmap", munmap(lazy, 1ul << 30));

    char *many[20];
    int mapped = 0;
    for (int i = 0; i < 20; i++) {
        many[i] = mmap(NULL, TIB, PROT_NONE, PRIVATE | MAP_NORESERVE, -1, 0);
        mapped += many[i] != MAP_FAILED;
    }
    say("20 times 1 TiB", mapped);
    for (int i = 0; i < 20; i++)
        munmap(many[i], TIB);

    /* What allocators do: more than is needed, then the ends are given back. */
    size_t alignment = 64ul << 20;
    char *raw = map_or_die(NULL, 2 * alignment, PROT_NONE, PRIVATE, -1, 0);
    char *aligned = (char *)(((uintptr_t)raw + alignment - 1) / alignment * alignment);
    if (aligned > raw)
        munmap(raw, (size_t)(aligned - raw));
    munmap(aligned + alignment, (size_t)(raw + alignment - aligned));
    result("aligned heap", mprotect(aligned, 33 * PAGE, RW));
    memset(aligned, 1, 33 * PAGE);
    poke("its guard", aligned + 33 * PAGE, WRITE);
    munmap(aligned, alignment);
}

/* Sanitizers and language runtimes divide the address space by what Linux puts where, and map the rest at fixed addresses. */
static void test_places(void)
{
    static const struct {
        const char *what;
        unsigned long start, end;
    } ranges[] = {{"TSan's traces", 0x600000000000, 0x620000000000},
                  {"between TSan's heap and its mappings", 0x7c0000000000, 0x7e8000000000},
                  {"the heap of CLISP", 0x100000000000, 0x200000000000}};
    int local = 0;

    begin("places");
    say("a mapping's",
        (long)((uintptr_t)map_or_die(NULL, 8 * PAGE, RW, PRIVATE, -1, 0) >> 39) >= 0x7e8 / 8);
    say("a large mapping's",
        (long)((uintptr_t)map_or_die(NULL, 1ul << 30, PROT_NONE, PRIVATE, -1, 0) >> 39) >=
            0x7e8 / 8);
    say("the stack's", (long)((uintptr_t)&local >> 39) >= 0x7e8 / 8);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        size_t size = ranges[i].end - ranges[i].start;
        void *at = mmap((void *)ranges[i].start, size, PROT_NONE,
                        PRIVATE | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        result(ranges[i].what, at == MAP_FAILED ? -1 : 0);
        if (at != MAP_FAILED)
            munmap(at, size);
    }
}

static bool all(const char *memory, size_t size, char value)
{
    for (size_t i = 0; i < size; i++)
        if (memory[i] != value)
            return false;
    return true;
}

static void fill(char *memory, size_t pages)
{
    for (size_t i = 0; i < pages; i++)
        memset(memory + i * PAGE, (int)i + 1, PAGE);
}

static bool filled(const char *memory, size_t pages)
{
    for (size_t i = 0; i < pages; i++)
        if (!all(memory + i * PAGE, PAGE, (char)(i + 1)))
            return false;
    return true;
}

static void test_remaps(void)
{
    begin("remaps");
    char *base = map(64, PROT_NONE);
    char *memory = map_or_die(base, 4 * PAGE, RW, PRIVATE | MAP_FIXED, -1, 0);
    fill(memory, 4);
    result("shrink", mremap(memory, 4 * PAGE, 2 * PAGE, 0) == memory ? 0 : -1);
    say("kept", filled(memory, 2));
    poke("cut off", memory + 2 * PAGE, READ);
    result("grow in place", mremap(memory, 2 * PAGE, 4 * PAGE, 0) == memory ? 0 : -1);
    say("kept", filled(memory, 2));
    say("new is zero", all(memory + 2 * PAGE, 2 * PAGE, 0));
    fill(memory, 4);
    result("grow without room", mremap(memory, 4 * PAGE, 16 * PAGE, 0) == MAP_FAILED ? -1 : 0);
    char *moved = mremap(memory, 4 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
    result("grow and move", moved == MAP_FAILED ? -1 : 0);
    say("moved", moved != memory);
    say("kept", filled(moved, 4) && all(moved + 4 * PAGE, 12 * PAGE, 0));
    poke("old place", memory, READ);
    char *target = base + 40 * PAGE;
    result("move to a place",
           mremap(moved, 16 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target
               ? 0
               : -1);
    say("kept", filled(target, 4) && all(target + 4 * PAGE, 4 * PAGE, 0));
    poke("old place, end", moved + 15 * PAGE, READ);
    result("move onto itself", mremap(target, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                                      target + PAGE) == MAP_FAILED
                                   ? -1
                                   : 0);
    result("move, unaligned",
           mremap(target, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, base + 1) == MAP_FAILED
               ? -1
               : 0);
    result("fixed without maymove",
           mremap(target, 8 * PAGE, 8 * PAGE, MREMAP_FIXED, base) == MAP_FAILED ? -1 : 0);
    result("new size 0", mremap(target, 8 * PAGE, 0, 0) == MAP_FAILED ? -1 : 0);
    result("unaligned", mremap(target + 1, PAGE, 2 * PAGE, 0) == MAP_FAILED ? -1 : 0);
    result("wrong flags", mremap(target, PAGE, 2 * PAGE, 64) == MAP_FAILED ? -1 : 0);
    munmap(base + 30 * PAGE, 2 * PAGE);
    result("of nothing",
           mremap(base + 30 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
    result("too large", mremap(target, 8 * PAGE, 1ul << 60, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
    mprotect(target + 4 * PAGE, PAGE, PROT_READ);
    result("grow over two kinds",
           mremap(target, 8 * PAGE, 9 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
    char *part = mremap(target + 4 * PAGE, PAGE, 3 * PAGE, MREMAP_MAYMOVE);
    result("a part that is read-only", part == MAP_FAILED ? -1 : 0);
    poke("stays read-only", part + 2 * PAGE, WRITE);
    poke("left a hole", target + 4 * PAGE, READ);
    munmap(part, 3 * PAGE);
    char *left = mremap(target, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
    result("move without unmapping", left == MAP_FAILED ? -1 : 0);
    if (left != MAP_FAILED)
        say("moved, and zero in the old place", filled(left, 4) && all(target, 4 * PAGE, 0));

    int fd = memfd_create("m", 0);
    if (ftruncate(fd, 4 * (off_t)PAGE))
        perror("ftruncate");
    char *shared = map_or_die(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0);
    shared[0] = 'A';
    char *again = mremap(shared, 0, 2 * PAGE, MREMAP_MAYMOVE);
    result("old size 0 of a shared mapping", again == MAP_FAILED ? -1 : 0);
    if (again != MAP_FAILED) {
        again[1] = 'B';
        say("the same memory", again[0] == 'A' && shared[1] == 'B');
    }
    char *longer = mremap(shared, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
    result("a longer part of the file", longer == MAP_FAILED ? -1 : 0);
    longer[3 * PAGE] = 'C';
    char byte = 0;
    say("written", pread(fd, &byte, 1, 3 * PAGE) == 1 && byte == 'C');
    close(fd);

    /* A growing vector. */
    size_t pages = 1;
    char *vector = map(pages, RW);
    vector[0] = 1;
    for (; pages < 4096; pages *= 2) {
        char *next = mremap(vector, pages * PAGE, 2 * pages * PAGE, MREMAP_MAYMOVE);
        if (next == MAP_FAILED)
            break;
        vector = next;
        memset(vector + pages * PAGE, (int)(pages & 0x7f), pages * PAGE);
    }
    say("vector pages", (long)pages);
    say("vector", vector[0] == 1 && vector[PAGE] == 1 && vector[5 * PAGE] == 4 &&
                      vector[2047 * PAGE] == (char)(1024 & 0x7f));
    munmap(vector, pages * PAGE);
    munmap(base, 64 * PAGE);
}

static void test_advice(void)
{
    begin("advice");
    char *memory = map(16, RW);
    fill(memory, 16);
    result("dontneed", madvise(memory + 4 * PAGE, 4 * PAGE, MADV_DONTNEED));
    say("zero there", all(memory + 4 * PAGE, 4 * PAGE, 0));
    say("kept elsewhere", filled(memory, 4) && memory[8 * PAGE] == 9);
    memory[5 * PAGE] = 3;
    say("writable again", memory[5 * PAGE]);
    result("willneed", madvise(memory, 16 * PAGE, MADV_WILLNEED));
    result("normal", madvise(memory, 16 * PAGE, MADV_NORMAL));
    result("random", madvise(memory, 16 * PAGE, MADV_RANDOM));
    result("sequential", madvise(memory, 16 * PAGE, MADV_SEQUENTIAL));
    result("dontdump", madvise(memory, 16 * PAGE, MADV_DONTDUMP));
    result("dodump", madvise(memory, 16 * PAGE, MADV_DODUMP));
    result("dontfork", madvise(memory, 16 * PAGE, MADV_DONTFORK));
    result("dofork", madvise(memory, 16 * PAGE, MADV_DOFORK));
    result("nohugepage", madvise(memory, 16 * PAGE, MADV_NOHUGEPAGE));
    result("hugepage", madvise(memory, 16 * PAGE, MADV_HUGEPAGE));
    result("free", madvise(memory + 8 * PAGE, PAGE, MADV_FREE));
    say("freed or kept", memory[8 * PAGE] == 9 || memory[8 * PAGE] == 0);
    memory[8 * PAGE] = 44;
    say("written after free", memory[8 * PAGE]);
    result("cold", madvise(memory, 16 * PAGE, 20));
    result("pageout", madvise(memory, 16 * PAGE, 21));
    result("populate, read", madvise(memory, 16 * PAGE, MADV_POPULATE_READ));
    result("populate, write", madvise(memory, 16 * PAGE, MADV_POPULATE_WRITE));
    mprotect(memory, PAGE, PROT_READ);
    result("populate, write, read-only", madvise(memory, PAGE, MADV_POPULATE_WRITE));
    result("dontneed of read-only", madvise(memory, PAGE, MADV_DONTNEED));
    say("zero", memory[0]);
    mprotect(memory, PAGE, PROT_NONE);
    result("dontneed without rights", madvise(memory, PAGE, MADV_DONTNEED));
    poke("still no rights", memory, READ);
    result("remove of private memory", madvise(memory + PAGE, PAGE, MADV_REMOVE));
    result("mlock", mlock(memory + PAGE, PAGE));
    result("munlock", munlock(memory + PAGE, PAGE));
    munmap(memory, 16 * PAGE);

    char *shared = map_or_die(NULL, 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fill(shared, 4);
    result("dontneed of shared memory", madvise(shared, 4 * PAGE, MADV_DONTNEED));
    say("kept", filled(shared, 4));
    result("remove of shared memory", madvise(shared + PAGE, PAGE, MADV_REMOVE));
    say("zero there", all(shared + PAGE, PAGE, 0) && shared[0] == 1 && shared[2 * PAGE] == 3);
    munmap(shared, 4 * PAGE);

    /* The same memory again and again: nothing leaks. */
    size_t size = 16ul << 20;
    memory = map(size / PAGE, RW);
    long bad = 0;
    for (int round = 0; round < 30; round++) {
        for (size_t i = 0; i < size; i += PAGE)
            bad += memory[i] != 0;
        for (size_t i = 0; i < size; i += PAGE)
            memory[i] = 1;
        madvise(memory, size, MADV_DONTNEED);
    }
    say("480 MiB through 16 MiB, wrong", bad);
    munmap(memory, size);
    for (int round = 0; round < 30; round++) {
        memory = map(size / PAGE, RW);
        for (size_t i = 0; i < size; i += PAGE) {
            bad += memory[i] != 0;
            memory[i] = 1;
        }
        munmap(memory, size);
    }
    say("mapped and unmapped, wrong", bad);
}

static int make_file(const char *path, size_t pages)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    char page[PAGE];
    for (size_t i = 0; i < pages; i++) {
        memset(page, (int)('a' + i), PAGE);
        if (write(fd, page, PAGE) != (ssize_t)PAGE)
            perror("write");
    }
    return fd;
}

static char byte_at(int fd, off_t at)
{
    char byte = '!';
    return pread(fd, &byte, 1, at) == 1 ? byte : '!';
}

static void test_files(void)
{
    begin("files");
    int fd = make_file("/tmp/mapped", 4);
    char *shared = map_or_die(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
    char *private = map_or_die(NULL, 4 * PAGE, RW, MAP_PRIVATE, fd, 0);
    printf("shared %c%c, private %c%c\n", shared[0], shared[3 * PAGE], private[0],
           private[3 * PAGE]);
    shared[0] = 'S';
    printf("written to shared: file %c, private %c\n", byte_at(fd, 0), private[0]);
    private[1] = 'P';
    printf("written to private: file %c, shared %c\n", byte_at(fd, 1), shared[1]);
    if (pwrite(fd, "WXYZ", 4, 0) != 4 || pwrite(fd, "W", 1, 2 * PAGE) != 1)
        perror("pwrite");
    printf("written to the file: shared %.4s, private's own page %.4s, private's other page %c\n",
           shared, private, private[2 * PAGE]);
    result("msync", msync(shared, 4 * PAGE, MS_SYNC));
    result("msync invalidate", msync(shared, PAGE, MS_ASYNC | MS_INVALIDATE));
    result("dontneed of private", madvise(private, PAGE, MADV_DONTNEED));
    printf("private shows the file again: %.4s\n", private);
    char *second = map_or_die(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 2 * PAGE);
    shared[2 * PAGE + 9] = '#';
    printf("second mapping: %c\n", second[9]);
    poke("second mapping, write", second, WRITE);
    munmap(second, PAGE);

    result("truncate", ftruncate(fd, PAGE + 100));
    poke("in the file", shared + PAGE + 99, READ);
    say("behind its end, same page", shared[PAGE + 100] | shared[2 * PAGE - 1]);
    poke("behind its last page, read", shared + 2 * PAGE, READ);
    poke("behind its last page, write", shared + 3 * PAGE + 7, WRITE);
    poke("private, behind its last page", private + 2 * PAGE, READ);
    char buffer[8];
    int pipes[2];
    result("pipe", pipe(pipes));
    result("system call behind the end", write(pipes[1], shared + 2 * PAGE, 8));
    close(pipes[0]);
    close(pipes[1]);
    shared[PAGE + 200] = 'x';
    result("make it longer", ftruncate(fd, 3 * PAGE));
    poke("again in the file", shared + 2 * PAGE, WRITE);
    say("zero where it grew", byte_at(fd, 2 * PAGE + 1));
    poke("behind its end", shared + 3 * PAGE, READ);
    result("unlink", unlink("/tmp/mapped"));
    shared[5] = 'U';
    close(fd);
    printf("after unlink and close: %c\n", shared[5]);
    munmap(private, 4 * PAGE);
    munmap(shared, 4 * PAGE);

    fd = make_file("/tmp/mapped", 1);
    result("a size within a page", ftruncate(fd, 10));
    shared = map_or_die(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0);
    say("rest of the page is zero", all(shared + 10, PAGE - 10, 0));
    memset(shared, 'y', PAGE);
    struct stat status;
    fstat(fd, &status);
    say("size stays", status.st_size);
    poke("second page", shared + PAGE, READ);
    munmap(shared, 2 * PAGE);
    result("grow", ftruncate(fd, 20));
    say("what was written behind the end is gone", byte_at(fd, 15) == 0 || byte_at(fd, 15) == 'y');
    close(fd);

    int reader = open("/tmp/mapped", O_RDONLY), writer = open("/tmp/mapped", O_WRONLY),
        folder = open("/tmp", O_RDONLY);
    try_map("shared and writable, read-only file", NULL, PAGE, RW, MAP_SHARED, reader, 0);
    try_map("private and writable, read-only file", NULL, PAGE, RW, MAP_PRIVATE, reader, 0);
    try_map("of a write-only file", NULL, PAGE, PROT_READ, MAP_PRIVATE, writer, 0);
    try_map("of a folder", NULL, PAGE, PROT_READ, MAP_PRIVATE, folder, 0);
    try_map("unaligned offset", NULL, PAGE, PROT_READ, MAP_PRIVATE, reader, 100);
    try_map("far behind the end", NULL, PAGE, PROT_READ, MAP_PRIVATE, reader, 1 << 20);
    try_map("validate", NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE, reader, 0);
    shared = map_or_die(NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
    result("make a read-only file's mapping writable", mprotect(shared, PAGE, RW));
    munmap(shared, PAGE);
    private = map_or_die(NULL, PAGE, PROT_READ, MAP_PRIVATE, reader, 0);
    result("make a private one writable", mprotect(private, PAGE, RW));
    poke("write", private, WRITE);
    result("read into it", pread(reader, private, 5, 0));
    munmap(private, PAGE);
    int full = open("/dev/zero", O_RDWR);
    char *zero = map_or_die(NULL, 2 * PAGE, RW, MAP_PRIVATE, full, 0);
    say("/dev/zero", zero[5]);
    zero[5] = 1;
    munmap(zero, 2 * PAGE);
    close(full);
    close(reader);
    close(writer);
    close(folder);
    unlink("/tmp/mapped");

    char *guard = map(2, RW);
    mprotect(guard + PAGE, PAGE, PROT_NONE);
    fd = make_file("/tmp/mapped", 2);
    say("read until the guard", pread(fd, guard + PAGE - 100, 500, 0));
    result("read into the guard", pread(fd, guard + PAGE, 10, 0));
    result("write from the guard", pwrite(fd, guard + PAGE, 10, 0));
    result("stat into the guard", syscall(SYS_fstat, fd, guard + PAGE));
    result("open a name in the guard", open(guard + PAGE, O_RDONLY));
    mprotect(guard, PAGE, PROT_READ);
    result("read into read-only", pread(fd, guard, 10, 0));
    result("read into nothing", syscall(SYS_pread64, fd, 8ul, 10ul, 0ul));
    result("read to the shim's end of the address space",
           syscall(SYS_pread64, fd, ~0xffful, 10ul, 0ul));
    close(fd);
    unlink("/tmp/mapped");
    munmap(guard, 2 * PAGE);
    (void)buffer;
}

static void test_image(void)
{
    begin("executable file");
    int fd = open("/proc/self/exe", O_RDONLY);
    result("open", fd);
    char *text = map_or_die(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    say("ELF", !memcmp(text, "\177ELF", 4));
    mprotect(text, PAGE, RW);
    text[0] = 'x';
    char first = 0;
    say("the file keeps its byte", pread(fd, &first, 1, 0) == 1 && first == 0177);
    munmap(text, PAGE);
    close(fd);
    char *own = (char *)((uintptr_t)test_image / PAGE * PAGE);
    poke("own text, read", own, READ);
    poke("own text, write", own, WRITE);
    result("make own text writable", mprotect(own, PAGE, RW | PROT_EXEC));
    poke("own text, write", own, READ);
    result("and back", mprotect(own, PAGE, PROT_READ | PROT_EXEC));
    static const char constant[] = "constant";
    poke("constant, write", (char *)(uintptr_t)constant, WRITE);
}

static void test_memfd(void)
{
    begin("memfd");
    int fd = memfd_create("name", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    result("create", fd);
    result("truncate", ftruncate(fd, 1 << 20));
    char *one = map_or_die(NULL, 1 << 20, RW, MAP_SHARED, fd, 0);
    char *two = map_or_die(NULL, 1 << 20, PROT_READ, MAP_SHARED, fd, 0);
    int wrong = 0;
    for (size_t i = 0; i < 1 << 20; i += PAGE)
        one[i] = (char)(i / PAGE);
    for (size_t i = 0; i < 1 << 20; i += PAGE)
        wrong += two[i] != (char)(i / PAGE);
    say("wrong through the second mapping", wrong);
    munmap(two, 1 << 20);
    say("seals", fcntl(fd, F_GET_SEALS));
    result("seal writes while mapped", fcntl(fd, F_ADD_SEALS, 8));
    munmap(one, 1 << 20);
    result("seal shrinking and growing", fcntl(fd, F_ADD_SEALS, 2 | 4));
    result("shrink", ftruncate(fd, PAGE));
    result("grow", ftruncate(fd, 2 << 20));
    result("seal writes", fcntl(fd, F_ADD_SEALS, 8));
    result("write", pwrite(fd, "x", 1, 0));
    try_map("map it writable", NULL, PAGE, RW, MAP_SHARED, fd, 0);
    try_map("map it read-only", NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    result("seal seals", fcntl(fd, F_ADD_SEALS, 1));
    result("one more", fcntl(fd, F_ADD_SEALS, 8));
    say("seals", fcntl(fd, F_GET_SEALS));
    close(fd);
    fd = memfd_create("unsealable", 0);
    result("seal", fcntl(fd, F_ADD_SEALS, 2));
    say("seals", fcntl(fd, F_GET_SEALS));
    close(fd);
    result("wrong flags", memfd_create("x", 0x8000));
}

static void *program_break(void *to)
{
    return (void *)syscall(SYS_brk, to);
}

static void show_segment(int id)
{
    struct shmid_ds state;

    result("stat", shmctl(id, IPC_STAT, &state));
    say("size", (long)state.shm_segsz);
    say("attachments", (long)state.shm_nattch);
    say("mode", state.shm_perm.mode);
    say("made here", state.shm_cpid == getpid());
    say("last used here", state.shm_lpid == getpid());
}

static void test_segments(void)
{
    key_t key = 0x68790000 + getpid();
    struct shmid_ds state;

    begin("segments");
    result("none yet", shmget(key, 0, 0));
    result("without size", shmget(key, 0, IPC_CREAT | 0600));
    int id = shmget(key, 3 * PAGE - 5, IPC_CREAT | IPC_EXCL | 0640);
    show_segment(id);
    result("once more", shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0600));
    result("larger", shmget(key, 4 * PAGE, 0));
    say("the same", shmget(key, PAGE, 0) == id);
    char *first = shmat(id, NULL, 0);
    char *second = shmat(id, NULL, SHM_RDONLY);
    first[PAGE + 3] = 'x';
    say("shown twice", second[PAGE + 3]);
    poke("write where it is read only", second, WRITE);
    poke("the last page", first + 3 * PAGE - 1, WRITE);
    show_segment(id);
    result("at a place that is taken", shmat(id, first, 0) == (void *)-1 ? -1 : 0);
    result("at no page", shmat(id, first + 1, 0) == (void *)-1 ? -1 : 0);
    result("instead", shmat(id, second + 17, SHM_REMAP | SHM_RND) == second ? 0 : -1);
    second[0] = 'y';
    say("written there", first[0]);
    result("a hole", munmap(first + PAGE, PAGE));
    result("detach", shmdt(first));
    poke("behind the hole", first + 2 * PAGE, READ);
    result("detach again", shmdt(first));
    result("detach at an end", shmdt(second + PAGE));
    memset(&state, 0, sizeof state);
    state.shm_perm.mode = 0604;
    result("set", shmctl(id, IPC_SET, &state));
    result("remove", shmctl(id, IPC_RMID, NULL));
    result("its key", shmget(key, 0, 0));
    say("still there", second[0]);
    show_segment(id);
    result("detach the last", shmdt(second));
    result("stat", shmctl(id, IPC_STAT, &state));
    result("attach", shmat(id, NULL, 0) == (void *)-1 ? -1 : 0);
    int other = shmget(IPC_PRIVATE, PAGE, 0600), another = shmget(IPC_PRIVATE, PAGE, 0600);
    say("private ones differ", other != another);
    result("remove", shmctl(other, IPC_RMID, NULL));
    result("remove", shmctl(another, IPC_RMID, NULL));
    result("remove again", shmctl(another, IPC_RMID, NULL));
}

static void test_break(void)
{
    begin("brk");
    char *start = program_break(NULL);
    char *base = (char *)(((uintptr_t)start + PAGE - 1) / PAGE * PAGE);
    say("grow", program_break(base + 100 * PAGE) == base + 100 * PAGE);
    say("zero", all(base, 100 * PAGE, 0));
    memset(base, 5, 100 * PAGE);
    say("shrink", program_break(base + 10 * PAGE) == base + 10 * PAGE);
    poke("cut off", base + 10 * PAGE, READ);
    say("kept", all(base, 10 * PAGE, 5));
    say("grow again", program_break(base + 20 * PAGE) == base + 20 * PAGE);
    say("zero again", all(base + 10 * PAGE, 10 * PAGE, 0));
    say("below the start", program_break((void *)PAGE) == base + 20 * PAGE);
    say("too far", program_break((void *)(1ul << 46)) == base + 20 * PAGE);
    say("by bytes", program_break(base + 20 * PAGE + 5) == base + 20 * PAGE + 5);
    base[20 * PAGE + 4000] = 1;
    say("back", program_break(start) == start);
}

static bool grant_page(void *address)
{
    char *page = (char *)((uintptr_t)address / PAGE * PAGE);
    return mprotect(page, PAGE, RW) == 0;
}

static volatile int granted;

static bool grant_and_count(void *address)
{
    granted++;
    return grant_page(address);
}

static void test_handlers(void)
{
    begin("faults that are mended");
    char *memory = map(32, PROT_NONE);
    fixer = grant_and_count;
    for (int i = 0; i < 32; i++)
        memory[(size_t)i * PAGE + (size_t)i] = (char)i;
    say("granted", granted);
    mprotect(memory, 32 * PAGE, PROT_NONE);
    granted = 0;
    memset(memory, 3, 32 * PAGE);
    say("granted by memset", granted);
    mprotect(memory, 32 * PAGE, PROT_READ);
    granted = 0;
    char *other = map(32, PROT_NONE);
    memcpy(other, memory, 32 * PAGE);
    say("granted by memcpy", granted);
    say("copied", all(other, 32 * PAGE, 3));
    mprotect(memory, 32 * PAGE, PROT_NONE);
    granted = 0;
    char *to = memory + 100;
    const char *from = other + 50;
    size_t count = 20 * PAGE;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    say("granted by rep movsb", granted);
    say("its registers", (long)(to - memory - 100) == 20 * (long)PAGE && count == 0);
    mprotect(memory, PAGE, PROT_NONE);
    long flags_kept = 0;
    double real = 1.5;
    __asm__ volatile("stc; movb $1, (%1); sbb %0, %0"
                     : "=r"(flags_kept)
                     : "r"(memory)
                     : "memory", "cc");
    say("the carry flag", flags_kept);
    mprotect(memory, PAGE, PROT_NONE);
    __asm__ volatile("movsd %2, %%xmm7; movb $1, (%1); movsd %%xmm7, %0"
                     : "=m"(real)
                     : "r"(memory), "m"(real)
                     : "memory", "xmm7");
    say("a register of SSE", real == 1.5);
    fixer = NULL;
    munmap(memory, 32 * PAGE);
    munmap(other, 32 * PAGE);

    begin("faulting context");
    poke("call to an address without rights", map(1, PROT_NONE), EXECUTE);
    poke("call to nothing", (char *)0x123000, EXECUTE);
}

static void test_code(void)
{
    static const unsigned char answer[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov $42, %eax; ret */
    begin("code");
    unsigned char *code = map_or_die(NULL, 4 * PAGE, RW, PRIVATE, -1, 0);
    int wrong = 0;
    for (int round = 0; round < 50; round++) {
        memcpy(code + 64, answer, sizeof answer);
        code[65] = (unsigned char)round;
        mprotect(code, 4 * PAGE, PROT_READ | PROT_EXEC);
        wrong += ((int (*)(void))(uintptr_t)(code + 64))() != round;
        wrong += access_works((char *)code, WRITE);
        mprotect(code, 4 * PAGE, RW);
        wrong += access_works((char *)code + 64, EXECUTE);
    }
    say("flipped 50 times, wrong", wrong);
    result("all rights", mprotect(code, 4 * PAGE, RW | PROT_EXEC));
    for (int round = 0; round < 50; round++) {
        code[65] = (unsigned char)(round + 1);
        wrong += ((int (*)(void))(uintptr_t)(code + 64))() != round + 1;
    }
    say("changed in place, wrong", wrong);
    /* A system call in code that was made just now. */
    static const unsigned char call[] = {0xb8, 39,   0,    0,
                                         0,    0x0f, 0x05, 0xc3}; /* mov $39, %eax; syscall; ret */
    memcpy(code + 256, call, sizeof call);
    say("getpid from it", ((int (*)(void))(uintptr_t)(code + 256))() == getpid());
    munmap(code, 4 * PAGE);

    int fd = memfd_create("code", 0);
    if (ftruncate(fd, PAGE))
        perror("ftruncate");
    unsigned char *writable = map_or_die(NULL, PAGE, RW, MAP_SHARED, fd, 0);
    unsigned char *runnable = map_or_die(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    for (int round = 0; round < 50; round++) {
        memcpy(writable, answer, sizeof answer);
        writable[1] = (unsigned char)(3 * round);
        wrong += ((int (*)(void))(uintptr_t)runnable)() != 3 * round;
    }
    say("mapped twice, wrong", wrong);
    munmap(writable, PAGE);
    munmap(runnable, PAGE);
    close(fd);
}

static volatile char sink;

__attribute__((noinline)) static int use_stack(int kilobytes)
{
    volatile char room[1024];
    room[0] = (char)kilobytes;
    room[1023] = 1;
    sink = room[0];
    return kilobytes == 0 ? 0 : use_stack(kilobytes - 1) + room[1023];
}

static volatile bool forever = true;

__attribute__((noinline)) static int endless(volatile char *last)
{
    volatile char room[4096];
    room[0] = last ? *last : 0;
    return forever ? endless(room) + room[0] : 0;
}

static void test_stacks(void)
{
    begin("stacks");
    say("6 MiB of the main stack", use_stack(6000));
    armed = true;
    if (!sigsetjmp(escape, 1)) {
        endless(NULL);
        puts("not reached");
    } else {
        printf("overflow: %s\n", fault_signal == SIGSEGV ? "SIGSEGV" : "?");
    }
    armed = false;
    say("the stack works afterwards", use_stack(100));

    char *room = map(1024, PROT_NONE);
    munmap(room, 1024 * PAGE);
    char *stack = map_or_die(room + 1000 * PAGE, 4 * PAGE, RW,
                             PRIVATE | MAP_GROWSDOWN | MAP_STACK | MAP_FIXED, -1, 0);
    stack[0] = 1;
    poke("growing, one page below", stack - 1, WRITE);
    poke("growing, some pages below", stack - 9 * PAGE, WRITE);
    munmap(stack - 16 * PAGE, 20 * PAGE);

    char *alternate = map(16, RW);
    mprotect(alternate, PAGE, PROT_NONE);
    stack_t old, own = {.ss_sp = alternate + PAGE, .ss_size = 15 * PAGE};
    result("alternate stack", sigaltstack(&own, &old));
    char *nothing = map(1, PROT_NONE);
    poke("a fault on it", nothing, READ);
    munmap(nothing, PAGE);
    result("back", sigaltstack(&old, NULL));
    munmap(alternate, 16 * PAGE);
}

static void test_limits(void)
{
    begin("limits");
    struct rlimit limit = {0, 0}, old;
    getrlimit(RLIMIT_AS, &old);
    say("no limit of the address space", old.rlim_cur == RLIM_INFINITY);
    getrlimit(RLIMIT_STACK, &limit);
    say("stack", (long)limit.rlim_cur);
    say("page", sysconf(_SC_PAGESIZE));
    enum { COUNT = 3000 };
    char **pieces = malloc(COUNT * sizeof *pieces);
    for (int i = 0; i < COUNT; i++) {
        pieces[i] = map((size_t)(i % 7 + 1), i % 2 ? RW : PROT_READ);
        if (i % 2)
            pieces[i][0] = (char)i;
    }
    int wrong = 0;
    for (int i = 0; i < COUNT; i++)
        wrong += pieces[i][0] != (i % 2 ? (char)i : 0);
    for (int i = 0; i < COUNT; i += 3)
        munmap(pieces[i], (size_t)(i % 7 + 1) * PAGE);
    for (int i = 1; i < COUNT; i += 3)
        wrong += pieces[i][0] != (i % 2 ? (char)i : 0);
    for (int i = 0; i < COUNT; i++)
        if (i % 3)
            munmap(pieces[i], (size_t)(i % 7 + 1) * PAGE);
    say("3000 mappings, wrong", wrong);
    free(pieces);
    size_t size = 64ul << 20;
    uint64_t *large = (void *)map(size / PAGE, RW);
    uint64_t sum = 0;
    for (size_t i = 0; i < size / 8; i++)
        large[i] = i * 0x9e3779b97f4a7c15ull;
    for (size_t i = 0; i < size / 8; i++)
        sum ^= large[i] + i;
    printf("64 MiB: %016lx\n", (unsigned long)sum);
    munmap(large, size);
}

/* Random operations on a window of pages against a model of it. */

enum { WINDOW = 96 };

struct page {
    bool mapped, shared;
    int protection;
    uint64_t value;
};

static uint64_t random_state = 88172645463325252ull;

static unsigned next_random(unsigned below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state >> 11) % below);
}

static bool check_page(char *base, struct page *pages, size_t i, long *faults)
{
    volatile uint64_t *at = (volatile uint64_t *)(base + i * PAGE + 8 * (i % 500));
    struct page *page = &pages[i];
    const volatile bool readable = page->mapped && page->protection != PROT_NONE;
    const volatile bool writable = page->mapped && page->protection & PROT_WRITE;
    volatile uint64_t got = 0;
    volatile bool worked = false;
    armed = true;
    if (!sigsetjmp(escape, 1)) {
        got = *at;
        worked = true;
    }
    armed = false;
    *faults += !worked;
    if (worked != readable || (worked && got != page->value))
        return false;
    if (!worked &&
        (fault_code != (page->mapped ? SEGV_ACCERR : SEGV_MAPERR) || fault_address != (void *)at))
        return false;
    if (next_random(2)) {
        worked = false;
        armed = true;
        if (!sigsetjmp(escape, 1)) {
            *at = got + 1;
            worked = true;
        }
        armed = false;
        *faults += !worked;
        if (worked != writable)
            return false;
        if (worked)
            page->value = got + 1;
    }
    return true;
}

static void test_model(void)
{
    begin("random operations");
    static struct page pages[WINDOW];
    char *base = map(WINDOW, PROT_NONE);
    munmap(base, WINDOW * PAGE);
    /* Nothing else may be put into the window: it stays in the middle of what is ours. */
    char *frame = map(3 * WINDOW, PROT_NONE);
    base = frame + WINDOW * PAGE;
    munmap(base, WINDOW * PAGE);
    long wrong = 0, faults = 0;
    for (int step = 0; step < 4000 && wrong < 5; step++) {
        size_t first = next_random(WINDOW),
               count = 1 + next_random(next_random(4) ? 4 : WINDOW / 2);
        if (first + count > WINDOW)
            count = WINDOW - first;
        char *at = base + first * PAGE;
        int protection = (int[]){PROT_NONE, PROT_READ, RW, RW}[next_random(4)];
        bool whole = true;
        for (size_t i = first; i < first + count; i++)
            whole = whole && pages[i].mapped;
        switch (next_random(8)) {
        case 0:
        case 1: {
            bool shared = next_random(4) == 0;
            if (mmap(at, count * PAGE, protection,
                     (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at)
                wrong++;
            for (size_t i = first; i < first + count; i++)
                pages[i] = (struct page){true, shared, protection, 0};
            break;
        }
        case 2:
            if (count > 8)
                count = 8;
            wrong += munmap(at, count * PAGE) != 0;
            for (size_t i = first; i < first + count; i++)
                pages[i] = (struct page){0};
            break;
        case 3:
        case 4:
            if (!whole)
                break;
            wrong += mprotect(at, count * PAGE, protection) != 0;
            for (size_t i = first; i < first + count; i++)
                pages[i].protection = protection;
            break;
        case 5:
            if (!whole)
                break;
            wrong += madvise(at, count * PAGE, MADV_DONTNEED) != 0;
            for (size_t i = first; i < first + count; i++)
                if (!pages[i].shared)
                    pages[i].value = 0;
            break;
        case 6: {
            size_t target = next_random(WINDOW);
            if (count > 6)
                count = 6;
            bool alike = true;
            for (size_t i = first; i < first + count; i++)
                alike = alike && pages[i].mapped && !pages[i].shared;
            if (!alike || count != 1 || target + count > WINDOW ||
                (target < first + count && first < target + count))
                break;
            /* What a page holds lies where its number says: one that moves starts anew. */
            *(volatile int *)&protection = pages[first].protection;
            char *to = base + target * PAGE;
            wrong += mremap(at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to;
            wrong += madvise(to, PAGE, MADV_DONTNEED) != 0;
            pages[target] = (struct page){true, false, pages[first].protection, 0};
            pages[first] = (struct page){0};
            break;
        }
        default:
            for (size_t i = first; i < first + (count > 4 ? 4 : count); i++)
                if (!check_page(base, pages, i, &faults)) {
                    printf("step %d: page %zu is wrong: mapped %d shared %d protection %d value "
                           "%ld; last fault's code %d\n",
                           step, i, pages[i].mapped, pages[i].shared, pages[i].protection,
                           (long)pages[i].value, (int)fault_code);
                    wrong++;
                }
        }
    }
    for (size_t i = 0; i < WINDOW; i++)
        wrong += !check_page(base, pages, i, &faults);
    say("wrong", wrong);
    say("faults", faults);
    munmap(frame, 3 * WINDOW * PAGE);
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        {"protections", test_protections},
        {"flips", test_flips},
        {"errors", test_errors},
        {"reservations", test_reservations},
        {"places", test_places},
        {"remaps", test_remaps},
        {"advice", test_advice},
        {"files", test_files},
        {"image", test_image},
        {"memfd", test_memfd},
        {"segments", test_segments},
        {"break", test_break},
        {"handlers", test_handlers},
        {"code", test_code},
        {"stacks", test_stacks},
        {"limits", test_limits},
        {"model", test_model},
    };
    const char *only = getenv("ONLY");
    install_handlers();
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (!only || !strcmp(only, tests[i].name))
            tests[i].run();
    puts("== end");
    return 0;
}
