/* Time, random numbers, identity, descriptors, pointers that lead nowhere. */
#define _GNU_SOURCE
#include "sys_check.h"

#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define BAD ((void *)0x20000000)

static uint64_t now_ns(clockid_t clock)
{
    struct timespec time = {0, 0};

    if (syscall(SYS_clock_gettime, clock, &time))
        return 0;
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void check_time(void)
{
    struct timespec nap = {0, 20000000};
    uint64_t last = now_ns(CLOCK_MONOTONIC), start = last, cpu;
    struct timeval day;
    int forward = 1;

    for (int i = 0; i < 10000; i++) {
        uint64_t now = now_ns(CLOCK_MONOTONIC);

        forward &= now >= last;
        last = now;
    }
    CHECK("monotonic", forward && last > start);
    CHECK("realtime", now_ns(CLOCK_REALTIME) > 1700000000ull * 1000000000u);
    CHECK("gettimeofday",
          syscall(SYS_gettimeofday, &day, NULL) == 0 && llabs(day.tv_sec - time(NULL)) <= 1);
    CHECK("cpu_time",
          (cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID)) > 0 && now_ns(CLOCK_THREAD_CPUTIME_ID) > 0);
    start = now_ns(CLOCK_MONOTONIC);
    CHECK("nanosleep", nanosleep(&nap, NULL) == 0 && now_ns(CLOCK_MONOTONIC) - start >= 20000000);
    CHECK("sleep_is_no_cpu_time", now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu < 15000000);
    start = now_ns(CLOCK_MONOTONIC) + 10000000;
    nap = (struct timespec){(time_t)(start / 1000000000), (long)(start % 1000000000)};
    CHECK("sleep_until", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &nap, NULL) == 0 &&
                             now_ns(CLOCK_MONOTONIC) >= start);
    nap.tv_nsec = 1000000000;
    errno = 0;
    CHECK("sleep_malformed", nanosleep(&nap, NULL) == -1 && errno == EINVAL);
    CHECK("clock_unknown", syscall(SYS_clock_gettime, 77, &nap) == -1 && errno == EINVAL);
    CHECK("times", times(&(struct tms){0}) != (clock_t)-1);
}

static void check_random(void)
{
    static unsigned char a[100000], b[100000];
    size_t zeroes = 0;

    CHECK("random", getrandom(a, sizeof a, 0) == sizeof a &&
                        getrandom(b, sizeof b, 0) == sizeof b && memcmp(a, b, sizeof a));
    for (size_t i = 0; i < sizeof a; i++)
        zeroes += a[i] == 0;
    CHECK("random_even", zeroes > 200 && zeroes < 700);
    errno = 0;
    CHECK("random_flags", getrandom(a, 1, 64) == -1 && errno == EINVAL);
    CHECK("random_aux", getauxval(AT_RANDOM) && getauxval(AT_PAGESZ) == 4096);
}

static void check_bad_pointers(void)
{
    struct iovec vector = {BAD, 10};
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    munmap(page + 4096, 4096);
    errno = 0;
    CHECK("write_bad", write(1, BAD, 10) == -1 && errno == EFAULT);
    errno = 0;
    CHECK("write_non_canonical", write(1, (void *)0x8000000000000000, 10) == -1 && errno == EFAULT);
    errno = 0;
    CHECK("writev_bad", writev(1, &vector, 1) == -1 && errno == EFAULT);
    errno = 0;
    CHECK("writev_bad_vector", writev(1, BAD, 3) == -1 && errno == EFAULT);
    errno = 0;
    CHECK("clock_bad", syscall(SYS_clock_gettime, 0, BAD) == -1 && errno == EFAULT);
    errno = 0;
    CHECK("random_bad", syscall(SYS_getrandom, BAD, 10, 0) == -1 && errno == EFAULT);
    errno = 0;
    CHECK("uname_across_end", syscall(SYS_uname, page + 4000) == -1 && errno == EFAULT);
    errno = 0;
    CHECK("open_bad", syscall(SYS_open, BAD, 0) == -1 && errno == EFAULT);
    memset(page, 'a', 4096);
    errno = 0;
    CHECK("open_unterminated", syscall(SYS_open, page + 4000, 0) == -1 && errno == EFAULT);
    munmap(page, 4096);
}

static void check_lazy_pointers(void)
{
    char *big = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK("system_call_backs_memory",
          getrandom(big + (1 << 20), 200000, 0) == 200000 && big[0] == 0);
    CHECK("uname_into_new_page", uname((struct utsname *)(big + (3 << 20) - 100)) == 0);
    munmap(big, 4 << 20);
}

static void check_descriptors(void)
{
    struct pollfd poll_set[3] = {{1, POLLOUT, 0}, {-1, POLLIN, 0}, {700, POLLIN, 0}};
    struct stat status;
    char byte;
    int copy = dup(1);

    CHECK("dup", copy > 2 && write(copy, "", 0) == 0);
    CHECK("fcntl", fcntl(copy, F_GETFD) == 0 && fcntl(copy, F_SETFD, FD_CLOEXEC) == 0 &&
                       fcntl(copy, F_GETFD) == FD_CLOEXEC);
    CHECK("dup2", dup2(copy, 9) == 9 && dup2(9, 9) == 9 && close(9) == 0);
    CHECK("close", close(copy) == 0);
    errno = 0;
    CHECK("closed", write(copy, "x", 1) == -1 && errno == EBADF);
    CHECK("close_twice", close(copy) == -1 && errno == EBADF);
    CHECK("read_closed", read(99, &byte, 1) == -1 && errno == EBADF);
    CHECK("fstat", fstat(1, &status) == 0);
    CHECK("fstat_closed", fstat(99, &status) == -1 && errno == EBADF);
    CHECK("poll", poll(poll_set, 3, 0) == 2 && poll_set[0].revents == POLLOUT &&
                      poll_set[2].revents == POLLNVAL);
    CHECK("poll_only_waits", poll(NULL, 0, 5) == 0);
    CHECK("open_missing", open("/no/such/file", O_RDONLY) == -1 && errno == ENOENT);
    CHECK("stat_missing", stat("/no/such/file", &status) == -1 && errno == ENOENT);
    CHECK("access_missing", access("/no/such/file", R_OK) == -1 && errno == ENOENT);
    CHECK("stat_root", stat("/", &status) == 0 && S_ISDIR(status.st_mode));
}

static void check_process(void)
{
    struct rlimit limit;
    struct rusage usage;
    char path[256], name[16] = {0};
    ssize_t size = readlink("/proc/self/exe", path, sizeof path);
    void *fs = NULL;

    CHECK("process_id", getpid() > 0 && syscall(SYS_gettid) == getpid());
    CHECK("stack_limit", getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur >= 1 << 20);
    CHECK("usage", getrusage(RUSAGE_SELF, &usage) == 0);
    CHECK("own_path", size > 1 && path[0] == '/');
    CHECK("fs_base", syscall(SYS_arch_prctl, 0x1003, &fs) == 0 && fs);
    CHECK("unknown_call", syscall(9999) == -1 && errno == ENOSYS);
    CHECK("thread_name", syscall(SYS_prctl, 15, "checker", 0, 0, 0) == 0 &&
                             syscall(SYS_prctl, 16, name, 0, 0, 0) == 0 &&
                             !strcmp(name, "checker"));
}

/* rcx, r11 and the result change in a system call, nothing else. */
static void check_registers(void)
{
    uint64_t wrong;

    __asm__ volatile(
        "mov $39, %%eax; mov $2, %%rdx; mov $3, %%rsi; mov $4, %%rdi; mov $8, %%r8; mov $9, %%r9; "
        "mov $10, %%r10\n\t"
        "mov $12, %%rbx; movq %%rbx, %%xmm5; movabs $0x1234567812345678, %%r13; mov %%r13, "
        "-72(%%rsp)\n\t"
        "std; stc; syscall; pushfq; pop %%r12; cld\n\t"
        "lea -2(%%rdx), %%r14; lea -3(%%rsi), %%r15; or %%r15, %%r14; lea -4(%%rdi), %%r15; or "
        "%%r15, %%r14\n\t"
        "lea -8(%%r8), %%r15; or %%r15, %%r14; lea -9(%%r9), %%r15; or %%r15, %%r14\n\t"
        "lea -10(%%r10), %%r15; or %%r15, %%r14; movq %%xmm5, %%r15; sub %%rbx, %%r15; or %%r15, "
        "%%r14\n\t"
        "and $0x401, %%r12; xor $0x401, %%r12; or %%r12, %%r14; mov %%r14, %0"
        : "=r"(wrong)
        :
        : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
          "r15", "xmm5", "cc", "memory");
    CHECK("registers_kept", wrong == 0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOFBF, 16384);
    check_time();
    check_random();
    check_bad_pointers();
    check_lazy_pointers();
    check_descriptors();
    check_process();
    check_registers();
    return sys_result();
}
