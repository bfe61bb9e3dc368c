/* The operating system layer: memory, memory files, descriptors that may block, time. */
#define _GNU_SOURCE
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)
#define MIB ((size_t)1 << 20)

static uint64_t after(uint64_t ns)
{
    return hl__os_monotonic_ns() + ns;
}

static void test_memory_is_zeroed_and_aligned(void **state)
{
    (void)state;
    static const size_t sizes[] = {4096, MIB, 2 * MIB, 2 * MIB + 4096, 64 * MIB};
    void *addresses[50];
    for (size_t round = 0; round < 50; round++) {
        size_t size = sizes[round % 5];
        assert_int_equal(hl__os_memory_map(size, &addresses[round], NULL), HL_OK);
        char *memory = addresses[round];
        assert_int_equal((uintptr_t)memory % (size >= 2 * MIB ? 2 * MIB : 4096), 0);
        assert_int_equal(memory[0] | memory[size - 1], 0);
        memory[0] = memory[size - 1] = (char)round;
    }
    for (size_t round = 0; round < 50; round++) {
        assert_int_equal(*(char *)addresses[round], (char)round);
        hl__os_memory_unmap(addresses[round], sizes[round % 5]);
    }
    hl__os_memory_unmap(NULL, 0);
}

static void test_memory_too_large(void **state)
{
    (void)state;
    hl_error err;
    void *memory = (void *)1;
    size_t size = SIZE_MAX & ~(size_t)4095;
    assert_int_equal(hl__os_memory_map(size, &memory, &err), HL_OUT_OF_MEMORY);
    assert_int_equal(hl__os_memory_map(size / 2, &memory, &err), HL_OUT_OF_MEMORY);
    assert_int_equal(err.os_error, ENOMEM);
    assert_ptr_equal(memory, (void *)1);
}

static void check_zero(size_t size, size_t offset, size_t length)
{
    void *address;
    assert_int_equal(hl__os_memory_map(size, &address, NULL), HL_OK);
    hl__os_memory_populate(address, size);
    char *memory = address;
    memset(memory, 'x', size);
    hl__os_memory_zero(memory + offset, length);
    for (size_t i = 0; i < size; i++)
        if (memory[i] != (i < offset || i >= offset + length ? 'x' : 0))
            fail_msg("byte %zu is %d", i, memory[i]);
    hl__os_memory_unmap(memory, size);
}

static void test_memory_zero(void **state)
{
    (void)state;
    check_zero(4 * MIB, 0, 4096);
    check_zero(4 * MIB, 0, 4 * MIB);
    check_zero(4 * MIB, MIB, 2 * MIB);
    check_zero(4 * MIB, 5000, 2 * MIB + 7);
    check_zero(4 * MIB, 100, 0);
}

/* What a child gets when it reads the address: its signal, or 0. */
static int signal_of_child_reading(const volatile char *address)
{
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        (void)*address;
        _exit(0);
    }
    int result = 0;
    waitpid(child, &result, 0);
    return WIFSIGNALED(result) ? WTERMSIG(result) : WEXITSTATUS(result);
}

static void test_memory_is_kept_from_children(void **state)
{
    (void)state;
    void *memory;
    assert_int_equal(hl__os_memory_map(4096, &memory, NULL), HL_OK);
    assert_int_equal(*(char *)memory, 0);
    assert_int_not_equal(signal_of_child_reading(memory), 0);
    hl__os_memory_unmap(memory, 4096);
}

static void test_file_maps(void **state)
{
    (void)state;
    hl__os_file file;
    void *shared, *own;
    assert_int_equal(hl__os_file_new("test", 8192, &file, NULL), HL_OK);
    assert_true(fcntl(file.descriptor, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(hl__os_file_write(file, 4096, "content", 7, NULL), HL_OK);
    assert_int_equal(hl__os_file_seal(file, NULL), HL_OK);
    assert_int_equal(hl__os_file_map(file, 0, 8192, false, &shared, NULL), HL_OK);
    assert_int_equal(hl__os_file_map(file, 4096, 4096, true, &own, NULL), HL_OK);
    assert_string_equal((char *)shared + 4096, "content");
    memcpy(own, "changed", 7);
    assert_string_equal((char *)shared + 4096, "content");
    assert_int_equal(hl__os_file_write(file, 0, "x", 1, NULL), HL_SYSTEM);
    assert_int_equal(ftruncate(file.descriptor, 0), -1);
    hl__os_file_close(file);
    assert_string_equal((char *)shared + 4096, "content");
    assert_int_equal(mprotect(shared, 4096, PROT_READ), 0);
    hl__os_memory_unmap(shared, 8192);
    hl__os_memory_unmap(own, 4096);
}

/* A file whose size the system invents (0) has more to read than it says. */
static void test_file_that_changes(void **state)
{
    (void)state;
    hl__os_file file;
    hl_error err;
    uint64_t size = 77;
    assert_int_equal(hl__os_file_new("test", 4096, &file, NULL), HL_OK);
    assert_int_equal(hl__os_file_copy_path(file, 4096, "/proc/self/status", MIB, &size, &err),
                     HL_PROGRAM_UNREADABLE);
    assert_non_null(strstr(err.message, "/proc/self/status: the file changed"));
    assert_int_equal(size, 77);
    assert_int_equal(hl__os_file_copy_path(file, 4096, "/proc/self/exe", 100, &size, &err),
                     HL_PROGRAM_TOO_LARGE);
    assert_int_equal(hl__os_file_copy_path(file, 4096, "/proc/self/exe", 64 * MIB, &size, &err),
                     HL_OK);
    assert_true(size > 4096);
    hl__os_file_close(file);
}

static void test_write_to_a_full_pipe(void **state)
{
    (void)state;
    int ends[2];
    static char data[4 * MIB];
    assert_int_equal(pipe(ends), 0);
    uint64_t deadline = after(20 * MS);
    int64_t taken = hl__os_descriptor_write(ends[1], data, sizeof data, deadline);
    assert_in_range(taken, 4096, 1 << 20);
    assert_true(hl__os_monotonic_ns() >= deadline);
    assert_int_equal(hl__os_descriptor_write(ends[1], data, 1, after(5 * MS)), -EAGAIN);
    assert_int_equal(hl__os_descriptor_write(ends[1], data, 1, 0), -EAGAIN);
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    close(ends[0]);
    close(ends[1]);
}

static void test_write_without_a_reader(void **state)
{
    (void)state;
    int ends[2], pair[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    close(ends[0]);
    close(pair[0]);
    sigset_t pending;
    assert_int_equal(hl__os_descriptor_write(ends[1], "x", 1, UINT64_MAX), -EPIPE);
    assert_int_equal(hl__os_descriptor_write(pair[1], "x", 1, UINT64_MAX), -EPIPE);
    sigpending(&pending);
    assert_false(sigismember(&pending, SIGPIPE));
    close(ends[1]);
    close(pair[1]);
    assert_int_equal(hl__os_descriptor_write(ends[1], "x", 1, UINT64_MAX), -EBADF);
}

static void test_write_to_the_wrong_end(void **state)
{
    (void)state;
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(hl__os_descriptor_write(ends[0], "x", 1, after(5 * MS)), -EAGAIN);
    assert_int_equal(hl__os_descriptor_read(ends[1], &byte, 1, after(5 * MS)), -EAGAIN);
    close(ends[0]);
    close(ends[1]);
}

static void test_write_over_the_file_limit(void **state)
{
    (void)state;
    char name[] = "/tmp/hl-os-XXXXXX";
    int file = mkstemp(name);
    unlink(name);
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 4;
    setrlimit(RLIMIT_FSIZE, &small);
    assert_int_equal(hl__os_descriptor_write(file, "123456", 6, UINT64_MAX), 4);
    assert_int_equal(hl__os_descriptor_write(file, "56", 2, UINT64_MAX), -EFBIG);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(hl__os_descriptor_write(file, "56", 2, UINT64_MAX), 2);
    close(file);
}

struct reader {
    int descriptor;
    size_t total;
};

static void *read_slowly(void *user)
{
    struct reader *reader = user;
    static char data[65536];
    ssize_t taken;
    while ((taken = read(reader->descriptor, data, sizeof data)) > 0) {
        reader->total += (size_t)taken;
        nanosleep(&(struct timespec){0, 200000}, NULL);
    }
    return NULL;
}

static void check_everything_arrives(int reading, int writing)
{
    static char data[3 * MIB];
    struct reader reader = {reading, 0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_slowly, &reader), 0);
    assert_int_equal(hl__os_descriptor_write(writing, data, sizeof data, after(20000 * MS)),
                     sizeof data);
    close(writing);
    pthread_join(thread, NULL);
    assert_int_equal(reader.total, sizeof data);
    close(reading);
}

static void test_write_waits_for_the_reader(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    check_everything_arrives(ends[0], ends[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    check_everything_arrives(ends[0], ends[1]);
}

/* A terminal that nobody reads. */
static void test_write_to_a_terminal(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0)
        skip();
    grantpt(master);
    unlockpt(master);
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0);
    static char data[MIB];
    uint64_t deadline = after(20 * MS);
    int64_t taken = hl__os_descriptor_write(terminal, data, sizeof data, deadline);
    assert_in_range(taken, 1, sizeof data - 1);
    assert_true(hl__os_monotonic_ns() < deadline + 2000 * MS);
    close(terminal);
    close(master);
}

static void do_nothing(int signal)
{
    (void)signal;
}

struct signaller {
    pthread_t target;
    atomic_bool stop;
};

static void *signal_often(void *user)
{
    struct signaller *signaller = user;
    while (!atomic_load(&signaller->stop)) {
        nanosleep(&(struct timespec){0, 5000000}, NULL);
        pthread_kill(signaller->target, SIGUSR1);
    }
    return NULL;
}

static void test_a_signal_ends_the_wait(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    int ends[2];
    char data[100000], byte;
    memset(data, 'x', sizeof data);
    assert_int_equal(pipe(ends), 0);
    struct signaller signaller = {.target = pthread_self()};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, signal_often, &signaller), 0);
    int64_t taken = hl__os_descriptor_read(ends[0], &byte, 1, UINT64_MAX);
    assert_int_equal(taken, -EINTR);
    do
        taken = hl__os_descriptor_write(ends[1], data, sizeof data, UINT64_MAX);
    while (taken > 0);
    assert_int_equal(taken, -EINTR);
    atomic_store(&signaller.stop, true);
    pthread_join(thread, NULL);
    signal(SIGUSR1, SIG_DFL);
    close(ends[0]);
    close(ends[1]);
}

static void test_read(void **state)
{
    (void)state;
    int ends[2];
    char data[8];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(hl__os_descriptor_read(ends[0], data, sizeof data, after(5 * MS)), -EAGAIN);
    assert_int_equal(hl__os_descriptor_read(ends[0], data, sizeof data, 0), -EAGAIN);
    assert_int_equal(write(ends[1], "abc", 3), 3);
    assert_int_equal(hl__os_descriptor_read(ends[0], data, sizeof data, UINT64_MAX), 3);
    assert_memory_equal(data, "abc", 3);
    assert_int_equal(hl__os_descriptor_read(ends[0], data, 0, UINT64_MAX), 0);
    close(ends[1]);
    assert_int_equal(hl__os_descriptor_read(ends[0], data, sizeof data, UINT64_MAX), 0);
    assert_int_equal(fcntl(ends[0], F_GETFL) & O_NONBLOCK, 0);
    close(ends[0]);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(hl__os_descriptor_read(null, data, sizeof data, UINT64_MAX), 0);
    assert_int_equal(hl__os_descriptor_write(null, data, sizeof data, UINT64_MAX), sizeof data);
    close(null);
}

static void test_read_from_a_socket_and_a_file(void **state)
{
    (void)state;
    int pair[2];
    char data[8];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(hl__os_descriptor_read(pair[0], data, sizeof data, after(MS)), -EAGAIN);
    assert_int_equal(hl__os_descriptor_write(pair[1], "abc", 3, UINT64_MAX), 3);
    assert_int_equal(hl__os_descriptor_read(pair[0], data, sizeof data, UINT64_MAX), 3);
    close(pair[0]);
    close(pair[1]);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_int_equal(hl__os_descriptor_read(file, data, sizeof data, 0), sizeof data);
    assert_memory_equal(data, "\177ELF", 4);
    close(file);
}

static void test_clocks(void **state)
{
    (void)state;
    uint64_t monotonic = hl__os_monotonic_ns(), tsc = hl__os_tsc();
    assert_true(hl__os_realtime_ns() / 1000000000 > 1700000000);
    assert_true(hl__os_monotonic_ns() >= monotonic);
    assert_true(hl__os_tsc() >= tsc);
}

static void test_random(void **state)
{
    (void)state;
    unsigned char first[64] = {0}, second[64] = {0};
    assert_int_equal(hl__os_random(first, sizeof first, NULL), HL_OK);
    assert_int_equal(hl__os_random(second, sizeof second, NULL), HL_OK);
    assert_memory_not_equal(first, second, sizeof first);
}

static void test_fork_generation(void **state)
{
    (void)state;
    hl__os_forks_watch();
    uint64_t before = hl__os_fork_generation();
    pid_t child = fork();
    if (child == 0)
        _exit(hl__os_fork_generation() != before ? 7 : 0);
    int result = 0;
    waitpid(child, &result, 0);
    assert_int_equal(WEXITSTATUS(result), 7);
    assert_int_equal(hl__os_fork_generation(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_zeroed_and_aligned),
        cmocka_unit_test(test_memory_too_large),
        cmocka_unit_test(test_memory_zero),
        cmocka_unit_test(test_memory_is_kept_from_children),
        cmocka_unit_test(test_file_maps),
        cmocka_unit_test(test_file_that_changes),
        cmocka_unit_test(test_write_to_a_full_pipe),
        cmocka_unit_test(test_write_without_a_reader),
        cmocka_unit_test(test_write_to_the_wrong_end),
        cmocka_unit_test(test_write_over_the_file_limit),
        cmocka_unit_test(test_write_waits_for_the_reader),
        cmocka_unit_test(test_write_to_a_terminal),
        cmocka_unit_test(test_a_signal_ends_the_wait),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_read_from_a_socket_and_a_file),
        cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_fork_generation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
