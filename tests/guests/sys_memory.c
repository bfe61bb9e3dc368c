/* mmap, munmap, mprotect, mremap, madvise and brk. */
#define _GNU_SOURCE
#include "sys_check.h"

#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096ul
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static sigjmp_buf recover;
static volatile int fault_code;
static void *volatile fault_address;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    fault_code = info->si_code;
    fault_address = info->si_addr;
    siglongjmp(recover, 1);
}

/* 0 if the access goes through, else the si_code of its fault. */
static int probe(volatile char *at, int write)
{
    fault_code = 0;
    if (!sigsetjmp(recover, 1)) {
        if (write)
            *at = 1;
        else
            (void)*at;
    }
    return fault_address == (void *)at || !fault_code ? fault_code : -1;
}

static int zero(const char *at, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (at[i])
            return 0;
    return 1;
}

static void check_map(void)
{
    char *a = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, ANONYMOUS, -1, 0);
    char *big = mmap(NULL, 32ul << 20, PROT_READ | PROT_WRITE, ANONYMOUS, -1, 0);
    char *reserved = mmap(NULL, 1ul << 40, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);

    CHECK("map_small_zero", a != MAP_FAILED && zero(a, 3 * PAGE));
    CHECK("map_big_zero", big != MAP_FAILED && zero(big, 32ul << 20));
    memset(big, 7, 32ul << 20);
    CHECK("map_big_keeps", big[0] == 7 && big[(32ul << 20) - 1] == 7);
    CHECK("map_reservation", reserved != MAP_FAILED);
    CHECK("map_reservation_faults", probe(reserved + (1ul << 39), 0) == SEGV_ACCERR);
    CHECK("map_reservation_opens",
          mprotect(reserved + (1ul << 39), PAGE, PROT_READ | PROT_WRITE) == 0 &&
              probe(reserved + (1ul << 39), 1) == 0 && reserved[1ul << 39] == 1);
    CHECK("unmap_reservation",
          munmap(reserved, 1ul << 40) == 0 && probe(reserved, 0) == SEGV_MAPERR);
    CHECK("unmap_middle", munmap(a + PAGE, PAGE) == 0 && probe(a + PAGE, 0) == SEGV_MAPERR &&
                              probe(a, 1) == 0 && probe(a + 2 * PAGE, 1) == 0);
    CHECK("map_fixed_fills_hole",
          mmap(a + PAGE, PAGE, PROT_READ | PROT_WRITE, ANONYMOUS | MAP_FIXED, -1, 0) == a + PAGE &&
              zero(a + PAGE, PAGE));
    CHECK("map_fixed_replaces",
          mmap(a, PAGE, PROT_READ | PROT_WRITE, ANONYMOUS | MAP_FIXED, -1, 0) == a && a[0] == 0);
    errno = 0;
    CHECK("map_noreplace",
          mmap(a, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED &&
              errno == EEXIST);
    munmap(big, 32ul << 20);
    CHECK("unmap_big", probe(big + (16ul << 20), 0) == SEGV_MAPERR);
    big = mmap(NULL, 32ul << 20, PROT_READ | PROT_WRITE, ANONYMOUS, -1, 0);
    CHECK("map_again_zero", big != MAP_FAILED && zero(big, 32ul << 20));
    munmap(big, 32ul << 20);
    munmap(a, 3 * PAGE);
}

static void check_map_errors(void)
{
    errno = 0;
    CHECK("map_empty", mmap(NULL, 0, PROT_READ, ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK("map_no_type",
          mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK("map_bad_descriptor",
          mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, 0) == MAP_FAILED && errno == EBADF);
    CHECK("map_too_large",
          mmap(NULL, 1ul << 62, PROT_READ, ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK("unmap_unaligned", munmap((void *)1, PAGE) == -1 && errno == EINVAL);
    CHECK("unmap_nothing", munmap((void *)0x20000000, PAGE) == 0);
    CHECK("protect_nothing",
          mprotect((void *)0x20000000, PAGE, PROT_READ) == -1 && errno == ENOMEM);
    CHECK("null_page", probe(NULL, 0) == SEGV_MAPERR);
}

static void check_protect(void)
{
    static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov $42, %eax; ret */
    char *a = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, ANONYMOUS, -1, 0);
    int (*function)(void) = (int (*)(void))(uintptr_t)a;

    memset(a, 5, 4 * PAGE);
    CHECK("protect_read_only", mprotect(a + PAGE, PAGE, PROT_READ) == 0 &&
                                   probe(a + PAGE, 1) == SEGV_ACCERR && probe(a + PAGE, 0) == 0 &&
                                   probe(a, 1) == 0 && probe(a + 2 * PAGE, 1) == 0);
    CHECK("protect_none",
          mprotect(a + PAGE, PAGE, PROT_NONE) == 0 && probe(a + PAGE, 0) == SEGV_ACCERR);
    CHECK("protect_back_keeps", mprotect(a, 4 * PAGE, PROT_READ | PROT_WRITE) == 0 &&
                                    a[PAGE] == 5 && probe(a + PAGE, 1) == 0);
    memcpy(a, code, sizeof code);
    fault_code = 0;
    if (!sigsetjmp(recover, 1))
        function();
    CHECK("protect_no_execute", fault_code == SEGV_ACCERR && fault_address == (void *)a);
    CHECK("protect_execute", mprotect(a, PAGE, PROT_READ | PROT_EXEC) == 0 && function() == 42);
    CHECK("protect_w_xor_x", probe(a, 1) == SEGV_ACCERR);
    CHECK("protect_partly_unmapped", munmap(a + 2 * PAGE, PAGE) == 0 &&
                                         mprotect(a, 4 * PAGE, PROT_READ) == -1 && errno == ENOMEM);
    munmap(a, 4 * PAGE);
}

static const char constant[2 * PAGE] __attribute__((aligned(4096))) = {1, 2, 3};

static void check_protect_program(void)
{
    volatile char *at = (char *)constant;

    CHECK("constants_read_only", probe((char *)at, 1) == SEGV_ACCERR);
    CHECK("text_read_only", probe((char *)(uintptr_t)check_map, 1) == SEGV_ACCERR);
    CHECK("constants_made_writable",
          mprotect((void *)at, PAGE, PROT_READ | PROT_WRITE) == 0 && at[1] == 2);
    at[0] = 9;
    CHECK("constants_changed", at[0] == 9 && at[2] == 3);
    mprotect((void *)at, PAGE, PROT_READ);
}

static void check_remap(void)
{
    char *a = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, ANONYMOUS, -1, 0);
    char *b;

    for (unsigned i = 0; i < 64; i++)
        a[i * PAGE] = (char)(i + 1);
    munmap(a + 8 * PAGE, 56 * PAGE);
    CHECK("remap_in_place", mremap(a, 8 * PAGE, 16 * PAGE, 0) == a && a[7 * PAGE] == 8 &&
                                zero(a + 8 * PAGE, 8 * PAGE));
    mmap(a + 16 * PAGE, PAGE, PROT_NONE, ANONYMOUS | MAP_FIXED, -1, 0);
    errno = 0;
    CHECK("remap_blocked", mremap(a, 16 * PAGE, 32 * PAGE, 0) == MAP_FAILED && errno == ENOMEM);
    b = mremap(a, 16 * PAGE, 512 * PAGE, MREMAP_MAYMOVE);
    CHECK("remap_moves",
          b != MAP_FAILED && b != a && b[7 * PAGE] == 8 && zero(b + 8 * PAGE, 504 * PAGE));
    CHECK("remap_leaves_nothing", probe(a, 0) == SEGV_MAPERR);
    CHECK("remap_shrinks",
          mremap(b, 512 * PAGE, PAGE, 0) == b && b[0] == 1 && probe(b + PAGE, 0) == SEGV_MAPERR);
    CHECK("remap_unmapped",
          mremap(a, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
    munmap(b, PAGE);
}

static void check_advise(void)
{
    char *a = mmap(NULL, 1024 * PAGE, PROT_READ | PROT_WRITE, ANONYMOUS, -1, 0);

    memset(a, 3, 1024 * PAGE);
    CHECK("drop_few",
          madvise(a, 4 * PAGE, MADV_DONTNEED) == 0 && zero(a, 4 * PAGE) && a[4 * PAGE] == 3);
    CHECK("drop_many", madvise(a + 8 * PAGE, 1000 * PAGE, MADV_DONTNEED) == 0 &&
                           zero(a + 8 * PAGE, 1000 * PAGE) && a[1008 * PAGE] == 3);
    munmap(a, 1024 * PAGE);
}

/* A libc's own brk need not work. */
static char *set_break(char *end)
{
    return (char *)syscall(SYS_brk, end);
}

static void check_break(void)
{
    char *start = set_break(NULL), *end = start;
    int right = 1;

    for (int i = 0; i < 200; i++) {
        right &= set_break(end + 5000) == end + 5000 && zero(end, 5000);
        memset(end, 0x55, 5000);
        end += 5000;
    }
    CHECK("break_grows", right);
    CHECK("break_end_faults",
          probe((char *)(((uintptr_t)end + 4095) & ~4095ul) + (1 << 30), 0) == SEGV_MAPERR);
    CHECK("break_shrinks", set_break(start + 4096) == start + 4096);
    CHECK("break_regrows_zero", set_break(start + 1000000) &&
                                    zero((char *)(((uintptr_t)start + 8191) & ~4095ul), 900000));
    CHECK("break_large", set_break(start + (8 << 20)) == start + (8 << 20) &&
                             probe(start + (8 << 20) - 1, 1) == 0);
    CHECK("break_impossible", set_break(start + (1ul << 46)) == start + (8 << 20));
    set_break(start);
}

static void check_many(void)
{
    enum { COUNT = 4000 };
    static char *maps[COUNT];
    int right = 1;

    for (int i = 0; i < COUNT; i++) {
        maps[i] =
            mmap(NULL, 2 * PAGE, i & 1 ? PROT_READ | PROT_WRITE : PROT_READ, ANONYMOUS, -1, 0);
        right &= maps[i] != MAP_FAILED;
        if (i & 1)
            memset(maps[i], i, PAGE);
    }
    for (int i = 0; i < COUNT; i++) {
        right &= maps[i][0] == (char)(i & 1 ? i : 0);
        right &= munmap(maps[i], 2 * PAGE) == 0;
    }
    CHECK("many_mappings", right);
}

static unsigned churn_random(void)
{
    static uint64_t state = 1;

    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(state >> 33);
}

/* Small pieces come, change, move and go in a random order; each starts as zeroes and keeps what
 * was written. */
static void check_churn(void)
{
    enum { COUNT = 64, STEPS = 20000 };
    static char *pieces[COUNT];
    static size_t sizes[COUNT];
    int right = 1;

    for (int step = 0; step < STEPS && right; step++) {
        unsigned i = churn_random() % COUNT;
        char *old = pieces[i];

        if (!old) {
            sizes[i] = (1 + churn_random() % 6) * PAGE;
            pieces[i] = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE, ANONYMOUS, -1, 0);
            right = pieces[i] != MAP_FAILED && zero(pieces[i], sizes[i]);
            memset(pieces[i], (int)i + 1, sizes[i]);
            continue;
        }
        right = old[0] == (char)(i + 1) && old[sizes[i] - 1] == (char)(i + 1);
        switch (churn_random() % 8) {
        case 0:
            right &= mprotect(old, sizes[i], PROT_READ) == 0 &&
                     mprotect(old, sizes[i], PROT_READ | PROT_WRITE) == 0;
            break;
        case 1:
            pieces[i] = mremap(old, sizes[i], sizes[i] + PAGE, MREMAP_MAYMOVE);
            right &= pieces[i] != MAP_FAILED && pieces[i][0] == (char)(i + 1) &&
                     zero(pieces[i] + sizes[i], PAGE);
            sizes[i] += PAGE;
            memset(pieces[i], (int)i + 1, sizes[i]);
            break;
        case 2:
            right &=
                mmap(old, sizes[i], PROT_READ | PROT_WRITE, ANONYMOUS | MAP_FIXED, -1, 0) == old &&
                zero(old, sizes[i]);
            memset(old, (int)i + 1, sizes[i]);
            break;
        default:
            right &= munmap(old, sizes[i]) == 0;
            pieces[i] = NULL;
        }
    }
    CHECK("churn", right);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    setvbuf(stdout, NULL, _IOFBF, 16384);
    sigaction(SIGSEGV, &action, NULL);
    check_break();
    check_map();
    check_map_errors();
    check_protect();
    check_protect_program();
    check_remap();
    check_advise();
    check_many();
    check_churn();
    return sys_result();
}
