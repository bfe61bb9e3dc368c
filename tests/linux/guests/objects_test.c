/*
 * Pipes, sockets, events and epolls from a program's view, with threads that wait for each other.
 * It prints what it sees, which must be what Linux shows; times are only compared with what they must
 * at least be.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SHOW(call)                                                                                 \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long long shown_ = (call);                                                                 \
        printf("%s = %lld%s%s\n", #call, shown_, shown_ < 0 ? " " : "",                            \
               shown_ < 0 ? strerror(errno) : "");                                                 \
    } while (0)

#define LARGE 1000000

static unsigned char large[LARGE], copy[LARGE];
static volatile sig_atomic_t signals;

static void on_signal(int signal)
{
    (void)signal;
    signals = signals + 1;
}

static long long now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000ll + time.tv_nsec / 1000000;
}

static void *write_large(void *fd)
{
    ssize_t result = write(*(int *)fd, large, sizeof large);

    printf("written at once: %zd\n", result);
    close(*(int *)fd);
    return NULL;
}

static void read_all(int fd)
{
    size_t got = 0;
    ssize_t result;

    memset(copy, 0, sizeof copy);
    while (got < sizeof copy && (result = read(fd, copy + got, 12345)) > 0)
        got += (size_t)result;
    printf("read %zu, %s, then %zd\n", got, memcmp(copy, large, LARGE) ? "different" : "equal",
           read(fd, copy, 1));
}

static void pipes(void)
{
    int fds[2];
    char bytes[8192] = {0};
    pthread_t thread;

    puts("-- pipes");
    SHOW(pipe(fds));
    pthread_create(&thread, NULL, write_large, &fds[1]);
    read_all(fds[0]);
    pthread_join(thread, NULL);
    close(fds[0]);
    SHOW(pipe2(fds, O_NONBLOCK));
    SHOW(fcntl(fds[0], F_GETPIPE_SZ));
    SHOW(write(fds[1], large, LARGE));
    SHOW(write(fds[1], large, 1));
    SHOW(fcntl(fds[0], F_SETPIPE_SZ, 1 << 20));
    SHOW(write(fds[1], bytes, 8192));
    int count;
    SHOW(ioctl(fds[0], FIONREAD, &count));
    printf("%d bytes wait\n", count);
    SHOW(lseek(fds[0], 0, SEEK_CUR));
    SHOW(pread(fds[0], bytes, 1, 0));
    struct stat status;
    fstat(fds[0], &status);
    printf("a fifo: %d\n", S_ISFIFO(status.st_mode));
    close(fds[0]);
    SHOW(write(fds[1], bytes, 1));
    printf("SIGPIPE: %d\n", (int)signals);
    close(fds[1]);
}

static void *open_fifo(void *path)
{
    int fd = open(path, O_RDONLY);
    char bytes[20] = {0};

    printf("read from the fifo: %zd", read(fd, bytes, sizeof bytes - 1));
    printf(" %s\n", bytes);
    close(fd);
    return NULL;
}

static void fifos(void)
{
    char path[] = "/tmp/objects-fifo-XXXXXX";
    pthread_t thread;
    int fd;

    puts("-- fifos");
    close(mkstemp(path));
    unlink(path);
    SHOW(mkfifo(path, 0600));
    SHOW(open(path, O_WRONLY | O_NONBLOCK));
    pthread_create(&thread, NULL, open_fifo, path);
    fd = open(path, O_WRONLY);
    ssize_t written = write(fd, "through it", 10);
    close(fd);
    pthread_join(thread, NULL);
    printf("written to it: %zd\n", written);
    SHOW(unlink(path));
}

static void *add_later(void *fd)
{
    uint64_t value = 5;

    usleep(20000);
    if (write(*(int *)fd, &value, 8) != 8)
        puts("?");
    return NULL;
}

static void events(void)
{
    int event = eventfd(0, EFD_SEMAPHORE), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event watch = {.events = EPOLLIN | EPOLLET, .data.u64 = 77}, seen[4];
    uint64_t value = 0;
    pthread_t thread;

    puts("-- events");
    SHOW(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &watch));
    SHOW(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &watch));
    SHOW(epoll_wait(epoll, seen, 4, 0));
    long long start = now_ms();
    SHOW(epoll_wait(epoll, seen, 4, 30));
    printf("waited: %d\n", now_ms() - start >= 30);
    pthread_create(&thread, NULL, add_later, &event);
    SHOW(epoll_wait(epoll, seen, 4, -1));
    printf("%#x %d\n", seen[0].events, (int)seen[0].data.u64);
    SHOW(epoll_wait(epoll, seen, 4, 0));
    SHOW(read(event, &value, 8));
    printf("value %d\n", (int)value);
    pthread_join(thread, NULL);
    watch.events = EPOLLIN | EPOLLONESHOT;
    SHOW(epoll_ctl(epoll, EPOLL_CTL_MOD, event, &watch));
    SHOW(epoll_wait(epoll, seen, 4, -1));
    SHOW(epoll_wait(epoll, seen, 4, 0));
    char path[] = "/tmp/objects-file-XXXXXX";
    int file = mkstemp(path);
    unlink(path);
    SHOW(epoll_ctl(epoll, EPOLL_CTL_ADD, file, &watch));
    SHOW(epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, &watch));
    SHOW(epoll_ctl(epoll, EPOLL_CTL_DEL, epoll_create1(0), &watch));
    struct pollfd polls[] = {{file, POLLIN | POLLOUT, 0}, {event, POLLIN, 0}, {epoll, POLLIN, 0}};
    SHOW(poll(polls, 3, 0));
    printf("%#x %#x %#x\n", polls[0].revents, polls[1].revents, polls[2].revents);
    close(file);
    close(event);
    close(epoll);
}

static void timers(void)
{
    int timer = timerfd_create(CLOCK_MONOTONIC, 0), real = timerfd_create(CLOCK_REALTIME, 0);
    struct itimerspec set = {{0, 5000000}, {0, 20000000}}, got;
    struct timeval timeout = {5, 0};
    uint64_t count = 0;
    fd_set in;

    puts("-- timers");
    SHOW(timerfd_settime(timer, 0, &set, NULL));
    long long start = now_ms();
    SHOW(read(timer, &count, 8));
    printf("in time: %d\n", now_ms() - start >= 20);
    usleep(30000);
    SHOW(read(timer, &count, 8));
    printf("several: %d\n", count >= 5);
    SHOW(timerfd_gettime(timer, &got));
    printf("interval %ld\n", got.it_interval.tv_nsec);
    set = (struct itimerspec){{0, 0}, {0, 0}};
    SHOW(timerfd_settime(timer, 0, &set, NULL));
    clock_gettime(CLOCK_REALTIME, &set.it_value);
    set.it_value.tv_nsec += 10000000;
    if (set.it_value.tv_nsec >= 1000000000)
        set.it_value.tv_sec++, set.it_value.tv_nsec -= 1000000000;
    SHOW(timerfd_settime(real, TFD_TIMER_ABSTIME, &set, NULL));
    FD_ZERO(&in);
    FD_SET(real, &in);
    FD_SET(timer, &in);
    SHOW(select((real > timer ? real : timer) + 1, &in, NULL, NULL, &timeout));
    printf("%d %d, time left: %d\n", !!FD_ISSET(real, &in), !!FD_ISSET(timer, &in),
           timeout.tv_sec == 4);
    close(timer);
    close(real);
}

static void waits_end(void)
{
    struct itimerval alarm = {{0, 0}, {0, 20000}};
    struct sigaction action = {.sa_handler = on_signal};
    struct signalfd_siginfo info;
    struct timespec timeout = {0, 1000000};
    sigset_t set;
    int fds[2], descriptor, before;
    char byte;

    puts("-- signals");
    SHOW(pipe(fds));
    sigaction(SIGALRM, &action, NULL);
    before = signals;
    setitimer(ITIMER_REAL, &alarm, NULL);
    SHOW(read(fds[0], &byte, 1));
    printf("%d\n", (int)signals - before);
    setitimer(ITIMER_REAL, &alarm, NULL);
    SHOW(poll(NULL, 0, -1));
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &alarm, NULL);
    SHOW(poll(&(struct pollfd){fds[0], POLLIN, 0}, 1, -1));
    setitimer(ITIMER_REAL, &alarm, NULL);
    SHOW(epoll_wait(epoll_create1(0), &(struct epoll_event){0}, 1, -1));
    action.sa_flags = 0;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &alarm, NULL);
    SHOW(write(fds[1], large, LARGE));

    /* Blocked, but for ppoll. */
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    before = signals;
    SHOW(ppoll(NULL, 0, &timeout, NULL));
    printf("%d\n", (int)signals - before);
    sigset_t none;
    sigemptyset(&none);
    SHOW(ppoll(NULL, 0, NULL, &none));
    printf("%d\n", (int)signals - before);
    descriptor = signalfd(-1, &set, SFD_NONBLOCK);
    SHOW(read(descriptor, &info, sizeof info));
    raise(SIGUSR1);
    struct pollfd poll_it = {descriptor, POLLIN, 0};
    SHOW(poll(&poll_it, 1, 0));
    SHOW(read(descriptor, &info, sizeof info));
    printf("%d %d\n", info.ssi_signo, info.ssi_pid == (unsigned)getpid());
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    close(fds[0]);
    close(fds[1]);
}

static void *serve(void *listener)
{
    int fd = accept(*(int *)listener, NULL, NULL);
    char bytes[100];
    ssize_t size;

    while ((size = recv(fd, bytes, sizeof bytes, 0)) > 0)
        send(fd, bytes, (size_t)size, 0);
    close(fd);
    return NULL;
}

static void listeners(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX}, other;
    socklen_t size = sizeof other;
    char bytes[100] = {0};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    pthread_t thread;
    struct stat status;

    puts("-- listeners");
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/objects-socket-%d", (int)getpid());
    SHOW(bind(listener, (struct sockaddr *)&address, sizeof address));
    SHOW(bind(client, (struct sockaddr *)&address, sizeof address));
    SHOW(connect(client, (struct sockaddr *)&address, sizeof address));
    SHOW(listen(listener, 5));
    stat(address.sun_path, &status);
    printf("a socket: %d\n", S_ISSOCK(status.st_mode));
    pthread_create(&thread, NULL, serve, &listener);
    SHOW(connect(client, (struct sockaddr *)&address, sizeof address));
    SHOW(send(client, "echo", 4, 0));
    SHOW(recv(client, bytes, sizeof bytes, 0));
    printf("%s\n", bytes);
    SHOW(getpeername(client, (struct sockaddr *)&other, &size));
    printf("%d\n", strcmp(other.sun_path, address.sun_path));
    SHOW(shutdown(client, SHUT_WR));
    SHOW(recv(client, bytes, sizeof bytes, 0));
    pthread_join(thread, NULL);
    close(listener);
    SHOW(unlink(address.sun_path));
    SHOW(connect(client, (struct sockaddr *)&address, sizeof address));
    close(client);
}

static void pass_descriptor(int fds[2])
{
    int pipes[2], *got;
    char byte = 'd', control[CMSG_SPACE(2 * sizeof(int))] = {0}, bytes[10] = {0};
    struct iovec item = {&byte, 1};
    struct msghdr header = {.msg_iov = &item,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof control};
    struct cmsghdr *message = CMSG_FIRSTHDR(&header);

    SHOW(pipe(pipes));
    message->cmsg_level = SOL_SOCKET;
    message->cmsg_type = SCM_RIGHTS;
    message->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(message), pipes, sizeof pipes);
    SHOW(sendmsg(fds[0], &header, 0));
    close(pipes[0]);
    close(pipes[1]);
    SHOW(recvmsg(fds[1], &header, 0));
    got = (int *)CMSG_DATA(CMSG_FIRSTHDR(&header));
    SHOW(write(got[1], "passed", 6));
    SHOW(read(got[0], bytes, sizeof bytes));
    printf("%s\n", bytes);
    close(got[0]);
    close(got[1]);
}

static void sockets(void)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    int fds[2], value;
    socklen_t size = sizeof value;
    char bytes[10];
    pthread_t thread;

    puts("-- sockets");
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    pthread_create(&thread, NULL, write_large, &fds[1]);
    read_all(fds[0]);
    pthread_join(thread, NULL);
    close(fds[0]);
    for (int i = 0; i < 3; i++) {
        SHOW(socketpair(AF_UNIX, types[i] | SOCK_NONBLOCK, 0, fds));
        SHOW(send(fds[0], "abcd", 4, 0));
        SHOW(send(fds[0], "ef", 2, 0));
        SHOW(recv(fds[1], bytes, 10, MSG_PEEK));
        SHOW(recv(fds[1], bytes, 3, MSG_TRUNC));
        SHOW(recv(fds[1], bytes, 10, 0));
        SHOW(recv(fds[1], bytes, 10, 0));
        SHOW(getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &value, &size));
        printf("type %d\n", value);
        pass_descriptor(fds);
        SHOW(write(fds[1], "x", 1));
        close(fds[0]);
        struct pollfd polls = {fds[1], POLLIN | POLLOUT | POLLRDHUP, 0};
        SHOW(poll(&polls, 1, 0));
        printf("%#x\n", polls.revents);
        SHOW(recv(fds[1], bytes, 10, 0));
        SHOW(recv(fds[1], bytes, 10, 0));
        SHOW(send(fds[1], "x", 1, MSG_NOSIGNAL));
        SHOW(send(fds[1], "x", 1, MSG_NOSIGNAL));
        close(fds[1]);
    }
    SHOW(socketpair(AF_INET, SOCK_STREAM, 0, fds) < 0);
    SHOW(getsockopt(0, SOL_SOCKET, SO_TYPE, &value, &size));
}

static void movers(void)
{
    char path[] = "/tmp/objects-file-XXXXXX";
    int file = mkstemp(path), fds[2], memory = memfd_create("objects", MFD_ALLOW_SEALING);
    off_t offset = 1000;
    loff_t position = 10;

    puts("-- movers");
    unlink(path);
    memcpy(path + strlen(path) - 6, "XXXXXX", 6);
    int other = mkstemp(path);
    unlink(path);
    SHOW(write(file, large, LARGE));
    SHOW(sendfile(memory, file, &offset, LARGE));
    printf("offset %lld\n", (long long)offset);
    SHOW(pread(memory, copy, LARGE, 0));
    printf("%d\n", memcmp(copy, large + 1000, LARGE - 1000));
    SHOW(pipe2(fds, O_NONBLOCK));
    SHOW(splice(file, &position, fds[1], NULL, 3000, 0));
    printf("position %lld\n", (long long)position);
    SHOW(sendfile(fds[1], file, &offset, 10));
    offset = 0;
    SHOW(sendfile(fds[1], file, &offset, 1000));
    SHOW(splice(fds[0], NULL, memory, NULL, 5000, 0));
    SHOW(lseek(memory, 0, SEEK_CUR));
    SHOW(copy_file_range(file, &(loff_t){1000}, other, &(loff_t){5}, 2 * LARGE, 0));
    SHOW(pread(other, copy, LARGE, 5));
    printf("%d\n", memcmp(copy, large + 1000, LARGE - 1000));
    close(other);
    SHOW(copy_file_range(file, &(loff_t){0}, file, &(loff_t){5}, 100, 0));
    SHOW(fcntl(memory, F_GET_SEALS));
    SHOW(fcntl(memory, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK));
    SHOW(ftruncate(memory, 10));
    SHOW(ftruncate(memory, 10000000));
    SHOW(pwrite(memory, "x", 1, 0));
    SHOW(fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL));
    SHOW(pwrite(memory, "x", 1, 0));
    SHOW(fcntl(memory, F_ADD_SEALS, F_SEAL_GROW));
    SHOW(fcntl(memory, F_GET_SEALS));
    close(file);
    close(memory);
    close(fds[0]);
    close(fds[1]);
}

struct waiter {
    pthread_t thread;
    int descriptor, taken;
    char byte;
};

static void *read_byte(void *argument)
{
    struct waiter *waiter = argument;

    waiter->taken = (int)read(waiter->descriptor, &waiter->byte, 1);
    return NULL;
}

static void *accept_one(void *argument)
{
    struct waiter *waiter = argument;

    waiter->taken = accept(waiter->descriptor, NULL, NULL) >= 0;
    return NULL;
}

static void *lock_file(void *argument)
{
    struct waiter *waiter = argument;

    waiter->taken = flock(waiter->descriptor, LOCK_EX);
    return NULL;
}

static void begin_to_wait(struct waiter *waiter, void *(*wait)(void *), int descriptor)
{
    *waiter = (struct waiter){.descriptor = descriptor, .taken = -2};
    pthread_create(&waiter->thread, NULL, wait, waiter);
    usleep(20000);
}

/* A call that waits goes on with its file when another thread closes the descriptor, or lets it be another. */
static void closing(void)
{
    struct sockaddr_un address = {AF_UNIX, "\0objects-closing"};
    char path[] = "/tmp/objects-lock-XXXXXX";
    struct waiter waiter;
    int fds[2], other[2], eventfd_ = eventfd(0, 0);

    puts("-- closing what is waited for");
    SHOW(pipe(fds));
    SHOW(pipe(other));
    SHOW(write(other[1], "o", 1));
    begin_to_wait(&waiter, read_byte, fds[0]);
    SHOW(close(fds[0]));
    SHOW(write(fds[1], "a", 1));
    pthread_join(waiter.thread, NULL);
    printf("closed: %d %c\n", waiter.taken, waiter.byte);
    SHOW(write(fds[1], "a", 1));
    close(fds[1]);
    SHOW(pipe(fds));
    begin_to_wait(&waiter, read_byte, fds[0]);
    SHOW(dup2(other[0], fds[0]) == fds[0]);
    SHOW(write(fds[1], "b", 1));
    pthread_join(waiter.thread, NULL);
    printf("replaced: %d %c\n", waiter.taken, waiter.byte);
    SHOW(read(fds[0], copy, 10));
    begin_to_wait(&waiter, read_byte, other[0]);
    close(other[0]);
    close(fds[0]);
    close(other[1]);
    pthread_join(waiter.thread, NULL);
    printf("both ends closed: %d\n", waiter.taken);
    close(fds[1]);
    close(eventfd_);

    int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(bind(listener, (struct sockaddr *)&address, sizeof address));
    SHOW(listen(listener, 1));
    begin_to_wait(&waiter, accept_one, listener);
    SHOW(close(listener));
    SHOW(connect(client, (struct sockaddr *)&address, sizeof address));
    pthread_join(waiter.thread, NULL);
    printf("accepted: %d\n", waiter.taken);
    SHOW(connect(client, (struct sockaddr *)&address, sizeof address));
    close(client);

    int file = mkstemp(path), again = open(path, O_RDWR);
    SHOW(flock(file, LOCK_EX));
    begin_to_wait(&waiter, lock_file, again);
    SHOW(flock(file, LOCK_UN));
    pthread_join(waiter.thread, NULL);
    printf("locked: %d\n", waiter.taken);
    SHOW(flock(file, LOCK_EX | LOCK_NB));
    close(again);
    SHOW(flock(file, LOCK_EX | LOCK_NB));
    unlink(path);
    close(file);
}

int main(void)
{
    signal(SIGPIPE, on_signal);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    for (int i = 0; i < LARGE; i++)
        large[i] = (unsigned char)(i * 31 >> 5);
    pipes();
    fifos();
    events();
    timers();
    waits_end();
    sockets();
    listeners();
    movers();
    closing();
    return 0;
}
