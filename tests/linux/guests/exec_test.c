/* execve: what of a process stays and what goes when another program takes its place. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KEPT = 5, CLOSED = 6, TURNS = 30 };

static void handler(int signal)
{
    (void)signal;
}

static int default_now(int signal, void (*expected)(int))
{
    struct sigaction action;

    sigaction(signal, NULL, &action);
    return action.sa_handler == expected;
}

static void print_line(const char *path)
{
    char line[64] = {0};
    FILE *file = fopen(path, "r");

    if (file && fgets(line, sizeof line, file))
        printf("%s: %s\n", path, strtok(line, "\n"));
    if (file)
        fclose(file);
}

/* In its place, again and again: nothing may be left of the ones before. */
/* musl has no function for it. */
static int execute_at(int folder, const char *path, char **arguments, char **environment, int flags)
{
    return (int)syscall(SYS_execveat, folder, path, arguments, environment, flags);
}

/* In one of the ways to name a program. */
static void run_again(int count, char **arguments)
{
    if (count % 3 == 0)
        execute_at(open("/proc/self/exe", O_RDONLY | O_CLOEXEC), "", arguments, environ,
                   AT_EMPTY_PATH);
    else if (count % 3 == 1)
        execve("/proc/self/exe", arguments, environ);
    else
        execute_at(open("/proc/self", O_PATH | O_CLOEXEC), "exe", arguments, environ, 0);
}

static int second(int count, char **arguments)
{
    static char zeroes[100000];
    char **more = calloc((size_t)count + 2, sizeof *more);
    char *memory = malloc(1 << 20);
    sigset_t mask;

    for (size_t i = 0; i < sizeof zeroes; i++)
        if (zeroes[i])
            return 9;
    memset(zeroes, 1, sizeof zeroes);
    memset(memory, 1, 1 << 20);
    if (count < TURNS) {
        memcpy(more, arguments, (size_t)count * sizeof *more);
        more[count] = "more";
        run_again(count, more);
        return 8;
    }
    sigprocmask(SIG_BLOCK, NULL, &mask);
    printf("arguments %d, environment %s and %s\n", count, getenv("FIRST"), getenv("SECOND"));
    printf("handler is default: %d, ignored stays: %d, blocked stays: %d\n",
           default_now(SIGUSR1, SIG_DFL), default_now(SIGUSR2, SIG_IGN),
           sigismember(&mask, SIGINT));
    printf("kept: %d, closed: %d\n", fcntl(KEPT, F_GETFD), fcntl(CLOSED, F_GETFD));
    printf("name: %s\n", (const char *)getauxval(AT_EXECFN));
    print_line("/proc/self/comm");
    print_line("/proc/self/cmdline");
    return 3;
}

static void fail(const char *path, char **arguments)
{
    int result = execve(path, arguments, environ);

    printf("%s: %d %s\n", path ? path : "nothing", result, strerror(errno));
}

static void fail_at(const char *what, int folder, const char *path, char **arguments, int flags)
{
    int result = execute_at(folder, path, arguments, environ, flags);

    printf("%s: %d %s\n", what, result, strerror(errno));
}

int main(int count, char **arguments)
{
    char *next[] = {"second", "of", NULL};
    char *environment[] = {"FIRST=1", "SECOND=2", NULL};
    int descriptor = open("/", O_RDONLY);
    sigset_t mask;

    if (!strcmp(arguments[0], "second"))
        return second(count, arguments);
    dup2(descriptor, KEPT);
    dup3(descriptor, CLOSED, O_CLOEXEC);
    signal(SIGUSR1, handler);
    signal(SIGUSR2, SIG_IGN);
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    fail("/not/there", next);
    fail("/", next);
    fail("/etc/passwd", next);
    fail(NULL, next);
    fail_at("nothing at all", -1, "", next, AT_EMPTY_PATH);
    fail_at("no program", descriptor, "", next, AT_EMPTY_PATH);
    fail_at("no flag", descriptor, "", next, 0);
    fail_at("wrong flag", descriptor, "proc/self/exe", next, 4);
    fail_at("a link", descriptor, "proc/self/exe", next, AT_SYMLINK_NOFOLLOW);
    fail_at("not there", descriptor, "none", next, 0);
    puts("still here");
    fflush(stdout);
    execve("/proc/self/exe", next, environment);
    return 1;
}
