/*
 * What the benchmark of the Linux layer runs natively and in a micro VM, both from the same file:
 *
 *     linux_guest null        the shortest system call: nanoseconds per call, a line per round
 *     linux_guest read FILE   the second pass over a file: MiB per second, a line per round
 *     linux_guest nothing     exits
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 101
#define CALLS_PER_ROUND 1000
#define READ_ROUNDS 5
#define BLOCK_SIZE (256 * 1024)

static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int measure_null(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (int call = 0; call < CALLS_PER_ROUND; call++)
            syscall(SYS_getppid);
        printf("%.3f\n", (now_ns() - start) / CALLS_PER_ROUND);
    }
    return 0;
}

/* Bytes read, or 0 if that failed. */
static uint64_t pass(int file)
{
    static char block[BLOCK_SIZE];
    uint64_t total = 0;
    ssize_t size;
    if (lseek(file, 0, SEEK_SET) < 0)
        return 0;
    while ((size = read(file, block, sizeof block)) > 0)
        total += (uint64_t)size;
    return size < 0 ? 0 : total;
}

static int measure_read(const char *path)
{
    int file = open(path, O_RDONLY);
    if (file < 0 || !pass(file))
        return 1;
    for (int round = 0; round < READ_ROUNDS; round++) {
        double start = now_ns();
        uint64_t size = pass(file);
        printf("%.3f\n", (double)size / (1 << 20) / ((now_ns() - start) / 1e9));
    }
    return close(file) < 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "null") == 0)
        return measure_null();
    if (argc == 3 && strcmp(argv[1], "read") == 0)
        return measure_read(argv[2]);
    return argc == 2 && strcmp(argv[1], "nothing") == 0 ? 0 : 2;
}
