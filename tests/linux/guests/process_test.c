/* Child processes of the kind that a sandbox serves: vfork and posix_spawn. Prints only what every run
 * gives. Run as `process_test ROLE...` it is the child. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition) printf("%s: %s\n", #condition, (condition) ? "yes" : "NO")

extern char **environ;

static char self[4096];
static volatile sig_atomic_t signals_seen;
static siginfo_t last_info;

static void begin(const char *name)
{
    printf("== %s\n", name);
    fflush(stdout);
}

static void note(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    signals_seen++;
    last_info = *info;
}

static void watch(int signal, int flags)
{
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, NULL);
}

static void sleep_ms(int milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    while (nanosleep(&time, &time) && errno == EINTR)
        ;
}

static void show_status(const char *what, int status)
{
    if (WIFEXITED(status))
        printf("%s: exited with %d\n", what, WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        printf("%s: killed by %d\n", what, WTERMSIG(status));
    else
        printf("%s: status %#x\n", what, status);
    fflush(stdout);
}

static pid_t spawn_with(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes,
                        const char *role, const char *argument)
{
    char *arguments[] = {self, (char *)role, (char *)argument, NULL};
    pid_t id;
    int error = posix_spawn(&id, self, actions, attributes, arguments, environ);
    if (error)
        printf("posix_spawn %s: %s\n", role, strerror(error));
    return error ? -1 : id;
}

static pid_t spawn(const char *role, const char *argument)
{
    return spawn_with(NULL, NULL, role, argument);
}

static void run(const char *role, const char *argument)
{
    int status = -1;
    pid_t id = spawn(role, argument);
    CHECK(waitpid(id, &status, 0) == id);
    show_status(role, status);
}

static void ends(void)
{
    begin("how children end");
    run("exit", "0");
    run("exit", "7");
    run("exit", "255");
    run("die", "6");
    run("die", "9");
    run("die", "11");
    run("thread", "3");
    run("print", "from a child");
    CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    CHECK(waitpid(getpid(), NULL, 0) == -1 && errno == ECHILD);
    CHECK(waitpid(-1, NULL, 64) == -1 && errno == EINVAL);
}

static void failures(void)
{
    char *arguments[] = {"nobody", NULL};
    pid_t id = -7;
    begin("programs that cannot be executed");
    CHECK(posix_spawn(&id, "/nowhere/nobody", NULL, NULL, arguments, environ) == ENOENT);
    CHECK(posix_spawn(&id, "/", NULL, NULL, arguments, environ) == EACCES);
    CHECK(posix_spawnp(&id, "no-such-program-anywhere", NULL, NULL, arguments, environ) == ENOENT);
    id = vfork();
    if (id == 0) {
        execv("/nowhere/nobody", arguments);
        _exit(errno == ENOENT ? 40 : 41);
    }
    int status;
    CHECK(waitpid(id, &status, 0) == id);
    show_status("vfork", status);
}

static void shared_memory(void)
{
    static volatile int shared;
    begin("vfork shares memory, and waits");
    for (int i = 0; i < 3; i++) {
        pid_t id = vfork();
        if (id == 0) {
            shared = shared + 10;
            sleep_ms(10);
            shared = shared + 1;
            _exit(shared);
        }
        printf("shared %d\n", shared);
        int status;
        CHECK(waitpid(id, &status, 0) == id);
        show_status("child", status);
    }
}

static void pipes(void)
{
    int to[2], from[2], status;
    char text[64] = {0};
    begin("pipes to and from a child");
    CHECK(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    pid_t id = spawn_with(&actions, NULL, "upper", NULL);
    posix_spawn_file_actions_destroy(&actions);
    close(to[0]);
    close(from[1]);
    CHECK(write(to[1], "some text\n", 10) == 10);
    CHECK(read(from[0], text, sizeof text) == 10 && !strcmp(text, "SOME TEXT\n"));
    CHECK(write(to[1], "more\n", 5) == 5);
    CHECK(read(from[0], text, sizeof text) == 5);
    struct pollfd poll_end = {from[0], POLLIN, 0};
    CHECK(waitpid(id, &status, WNOHANG) == 0);
    close(to[1]);
    CHECK(poll(&poll_end, 1, 5000) == 1 && poll_end.revents == POLLHUP);
    CHECK(read(from[0], text, sizeof text) == 0);
    CHECK(waitpid(id, &status, 0) == id);
    show_status("upper", status);
    close(from[0]);
}

static void large_pipe(void)
{
    int from[2], status;
    long sum = 0;
    ssize_t size;
    static unsigned char bytes[100000];
    begin("a megabyte from a child");
    CHECK(pipe2(from, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    pid_t id = spawn_with(&actions, NULL, "flood", "1000000");
    posix_spawn_file_actions_destroy(&actions);
    close(from[1]);
    while ((size = read(from[0], bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < size; i++)
            sum += bytes[i];
    printf("sum %ld\n", sum);
    close(from[0]);
    CHECK(waitpid(id, &status, 0) == id);
    show_status("flood", status);
    /* The reader goes first: SIGPIPE. */
    CHECK(pipe2(from, O_CLOEXEC) == 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    id = spawn_with(&actions, NULL, "flood", "1000000");
    posix_spawn_file_actions_destroy(&actions);
    close(from[1]);
    CHECK(read(from[0], bytes, 10) == 10);
    close(from[0]);
    CHECK(waitpid(id, &status, 0) == id);
    show_status("flood without a reader", status);
}

static void children_signal(void)
{
    siginfo_t info = {0};
    begin("SIGCHLD and waitid");
    watch(SIGCHLD, SA_RESTART);
    signals_seen = 0;
    pid_t id = spawn("exit", "5");
    CHECK(waitid(P_PID, id, &info, WEXITED | WNOWAIT) == 0);
    CHECK(info.si_pid == id && info.si_code == CLD_EXITED && info.si_status == 5 &&
          info.si_signo == SIGCHLD && info.si_uid == getuid());
    CHECK(signals_seen == 1 && last_info.si_pid == id && last_info.si_code == CLD_EXITED &&
          last_info.si_status == 5);
    CHECK(waitid(P_ALL, 0, &info, WEXITED) == 0 && info.si_pid == id);
    CHECK(waitid(P_ALL, 0, &info, WEXITED) == -1 && errno == ECHILD);
    CHECK(waitid(P_ALL, 0, &info, 0) == -1 && errno == EINVAL);
    id = spawn("sleep", "10000");
    memset(&info, 1, sizeof info);
    CHECK(waitid(P_PID, id, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0);
    CHECK(kill(id, 0) == 0 && kill(id, SIGTERM) == 0);
    CHECK(waitid(P_PID, id, &info, WEXITED) == 0);
    CHECK(info.si_code == CLD_KILLED && info.si_status == SIGTERM);
    CHECK(signals_seen == 2);
    CHECK(kill(id, 0) == -1 && errno == ESRCH);
    signal(SIGCHLD, SIG_IGN);
    id = spawn("exit", "5");
    CHECK(waitpid(id, NULL, 0) == -1 && errno == ECHILD);
    signal(SIGCHLD, SIG_DFL);
}

static void handed_down(void)
{
    sigset_t set;
    begin("what a child gets from its parent");
    setenv("HANDED", "down", 1);
    CHECK(chdir("/tmp") == 0);
    umask(027);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGHUP, SIG_IGN);
    watch(SIGUSR1, 0);
    int kept = open("/dev/null", O_RDONLY), closed = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char numbers[32];
    sprintf(numbers, "%d %d", kept, closed);
    run("report", numbers);
    close(kept);
    close(closed);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETSIGMASK);
    sigfillset(&set);
    posix_spawnattr_setsigdefault(&attributes, &set);
    posix_spawnattr_setsigmask(&attributes, &set);
    pid_t id = spawn_with(NULL, &attributes, "group", NULL);
    int status;
    CHECK(getpgid(id) == id);
    CHECK(waitpid(-id, &status, 0) == id);
    show_status("group", status);
    posix_spawnattr_destroy(&attributes);
    CHECK(chdir("/") == 0);
}

static void many(void)
{
    enum { COUNT = 50 };
    int sum = 0, status;
    begin("many at a time");
    for (int i = 0; i < COUNT; i++) {
        char number[8];
        sprintf(number, "%d", i);
        spawn("exit", number);
    }
    for (int i = 0; i < COUNT; i++)
        if (wait(&status) > 0 && WIFEXITED(status))
            sum += WEXITSTATUS(status);
    printf("sum of statuses %d\n", sum);
    CHECK(wait(NULL) == -1 && errno == ECHILD);
}

static void grandchildren(void)
{
    begin("children of children");
    run("nest", "4");
    struct tms before, after;
    times(&before);
    run("burn", "60");
    times(&after);
    CHECK(after.tms_cutime + after.tms_cstime > before.tms_cutime + before.tms_cstime);
    struct rusage usage;
    CHECK(getrusage(RUSAGE_CHILDREN, &usage) == 0 &&
          usage.ru_utime.tv_sec + usage.ru_utime.tv_usec > 0);
}

static void *wait_in_thread(void *argument)
{
    int status;
    pid_t id = *(pid_t *)argument;
    if (waitpid(id, &status, 0) != id)
        printf("waitpid in a thread: %s\n", strerror(errno));
    return (void *)(intptr_t)WEXITSTATUS(status);
}

struct counter {
    atomic_long count;
    atomic_bool stop;
};

static void *count_in_thread(void *argument)
{
    struct counter *counter = argument;
    while (!counter->stop)
        counter->count++;
    return NULL;
}

static void threads(void)
{
    pthread_t thread;
    void *result;
    static struct counter counter;
    begin("threads and children");
    pid_t id = spawn("sleep", "20");
    CHECK(pthread_create(&thread, NULL, wait_in_thread, &id) == 0);
    CHECK(pthread_join(thread, &result) == 0 && result == (void *)0);
    /* Other threads go on while one waits for its vfork. */
    CHECK(pthread_create(&thread, NULL, count_in_thread, &counter) == 0);
    long before = counter.count;
    pid_t child = vfork();
    if (child == 0) {
        sleep_ms(50);
        _exit(3);
    }
    CHECK(counter.count > before);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 3);
    counter.stop = true;
    CHECK(pthread_join(thread, NULL) == 0);
}

static void shells(void)
{
    begin("shells and streams");
    CHECK(setvbuf(stdout, NULL, _IOLBF, 0) == 0);
    FILE *stream = popen("/bin/echo through a pipe", "r");
    char line[64] = "";
    CHECK(stream && fgets(line, sizeof line, stream) && !strcmp(line, "through a pipe\n"));
    CHECK(stream && pclose(stream) == 0);
    CHECK(WEXITSTATUS(system("exit 9")) == 9);
    CHECK(system("exec /bin/echo from a shell") == 0);
}

static void memory_returns(void)
{
    begin("memory of children is given back");
    for (int i = 0; i < 60; i++) {
        int status = -1;
        pid_t id = spawn("eat", "30");
        if (waitpid(id, &status, 0) != id || status)
            printf("round %d: %#x\n", i, status);
    }
}

static int report(char *numbers)
{
    struct sigaction action;
    sigset_t mask;
    char path[64];
    int kept, closed;
    printf("HANDED=%s in %s\n", getenv("HANDED"), getcwd(path, sizeof path));
    mode_t old = umask(0);
    printf("umask %o\n", (unsigned)old);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    printf("blocked: %d %d\n", sigismember(&mask, SIGUSR2), sigismember(&mask, SIGUSR1));
    sigaction(SIGHUP, NULL, &action);
    printf("ignored: %d\n", action.sa_handler == SIG_IGN);
    sigaction(SIGUSR1, NULL, &action);
    printf("handler: %d\n", action.sa_handler != SIG_DFL);
    sscanf(numbers, "%d %d", &kept, &closed);
    printf("descriptors: %d %d\n", fcntl(kept, F_GETFD), fcntl(closed, F_GETFD));
    printf("parent: %d, leader: %d\n", getppid() > 1, getpgrp() == getpid());
    char link[4096];
    ssize_t size = readlink("/proc/self/exe", link, sizeof link);
    printf("exe: %d\n", size > 0 && !strncmp(link, self, (size_t)size));
    return 0;
}

static void *end_process(void *code)
{
    _exit(atoi(code));
}

static int play(int count, char **arguments)
{
    const char *role = arguments[1];
    char *argument = count > 2 ? arguments[2] : NULL;
    if (!strcmp(role, "exit"))
        return atoi(argument);
    if (!strcmp(role, "die"))
        raise(atoi(argument));
    if (!strcmp(role, "print"))
        return puts(argument) < 0;
    if (!strcmp(role, "sleep"))
        return sleep_ms(atoi(argument)), 0;
    if (!strcmp(role, "report"))
        return report(argument);
    if (!strcmp(role, "group"))
        return getpgrp() == getpid() ? 0 : 1;
    if (!strcmp(role, "thread")) {
        pthread_t thread;
        pthread_create(&thread, NULL, end_process, argument);
        pause();
    }
    if (!strcmp(role, "upper"))
        for (int byte; (byte = getchar()) != EOF; fflush(stdout))
            for (; byte != EOF; byte = byte == '\n' ? EOF : getchar())
                putchar(byte >= 'a' && byte <= 'z' ? byte - 32 : byte);
    if (!strcmp(role, "flood"))
        for (int i = 0; i < atoi(argument); i++)
            putchar(i % 251);
    if (!strcmp(role, "nest") && atoi(argument) > 0) {
        char next[16];
        printf("level %s\n", argument);
        fflush(stdout);
        sprintf(next, "%d", atoi(argument) - 1);
        run("nest", next);
    }
    if (!strcmp(role, "burn"))
        for (clock_t start = clock(); clock() - start < atoi(argument) * (CLOCKS_PER_SEC / 1000);)
            ;
    if (!strcmp(role, "eat")) {
        size_t size = (size_t)atoi(argument) << 20;
        char *memory = malloc(size);
        for (size_t i = 0; memory && i < size; i += 4096)
            memory[i] = 1;
        return !memory;
    }
    return 0;
}

int main(int count, char **arguments)
{
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    self[size > 0 ? size : 0] = 0;
    if (count > 1)
        return play(count, arguments);
    static const struct {
        const char *name;
        void (*function)(void);
    } parts[] = {{"ends", ends},          {"failures", failures}, {"shared", shared_memory},
                 {"pipes", pipes},        {"large", large_pipe},  {"signals", children_signal},
                 {"handed", handed_down}, {"many", many},         {"nest", grandchildren},
                 {"threads", threads},    {"shells", shells},     {"memory", memory_returns}};
    const char *only = getenv("ONLY");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!only || !strcmp(only, parts[i].name))
            parts[i].function();
    return 0;
}
