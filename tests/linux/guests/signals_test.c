/* Signals: handlers, masks, stacks, what siginfo and the context tell, timers, interrupted calls, order and values. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum { MILLISECOND = 1000000 };

static void begin(const char *name)
{
    printf("== %s\n", name);
    fflush(stdout);
}

static void say(const char *what, long value)
{
    printf("%s: %ld\n", what, value);
}

static void result(const char *what, long returned)
{
    if (returned != -1)
        say(what, returned);
    else
        printf("%s: %s\n", what,
               errno == EINTR    ? "EINTR"
               : errno == EINVAL ? "EINVAL"
               : errno == EAGAIN ? "EAGAIN"
               : errno == ENOMEM ? "ENOMEM"
               : errno == EPERM  ? "EPERM"
               : errno == ESRCH  ? "ESRCH"
               : errno == EFAULT ? "EFAULT"
                                 : "another error");
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    if (sigaction(number, &action, NULL))
        printf("sigaction %d failed\n", number);
}

/* What was delivered, in order. */

static volatile int seen_number[64], seen_code[64], seen_value[64], seen;

static void note(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (seen < 64) {
        seen_number[seen] = number;
        seen_code[seen] = info->si_code;
        seen_value[seen] = info->si_value.sival_int;
        seen++;
    }
}

static const char *code_name(int code)
{
    return code == SI_USER     ? "SI_USER"
           : code == SI_QUEUE  ? "SI_QUEUE"
           : code == SI_TKILL  ? "SI_TKILL"
           : code == SI_TIMER  ? "SI_TIMER"
           : code == SI_KERNEL ? "SI_KERNEL"
                               : "?";
}

static void print_seen(const char *what)
{
    printf("%s:", what);
    for (int i = 0; i < seen; i++) {
        int number = seen_number[i];
        printf(number >= SIGRTMIN ? " RT%d" : " %d",
               number >= SIGRTMIN ? number - SIGRTMIN : number);
        printf("/%s", code_name(seen_code[i]));
        if (seen_code[i] == SI_QUEUE)
            printf("/%d", seen_value[i]);
    }
    putchar('\n');
    seen = 0;
}

static sigset_t set_of(int first, int second)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, first);
    if (second)
        sigaddset(&set, second);
    return set;
}

static void test_queue(void)
{
    begin("order and values");
    handle(SIGUSR1, note, 0);
    handle(SIGUSR2, note, 0);
    for (int i = 0; i < 4; i++)
        handle(SIGRTMIN + i, note, 0);
    kill(getpid(), SIGUSR1);
    print_seen("kill");
    raise(SIGUSR2);
    print_seen("raise");
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
    print_seen("tgkill");
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 1});
    sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 2});
    sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 3});
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 4});
    sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 5});
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR1);
    sigset_t pending;
    sigpending(&pending);
    printf("pending: %d %d %d %d\n", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGUSR2),
           sigismember(&pending, SIGRTMIN + 1), sigismember(&pending, SIGRTMIN + 3));
    print_seen("while blocked");
    /* One after the other: a handler is not interrupted by the next. */
    siginfo_t info;
    for (int i = 0; i < 8; i++) {
        int number = sigtimedwait(&all, &info, &(struct timespec){0, 0});
        if (number < 0)
            break;
        printf("taken: %s%d %s %d\n", number >= SIGRTMIN ? "RT" : "",
               number >= SIGRTMIN ? number - SIGRTMIN : number, code_name(info.si_code),
               info.si_code == SI_QUEUE ? info.si_value.sival_int : 0);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    print_seen("nothing is left");
    signal(SIGUSR1, SIG_IGN);
    sigprocmask(SIG_BLOCK, &all, NULL);
    kill(getpid(), SIGUSR1);
    sigpending(&pending);
    say("an ignored one is pending while it is blocked", sigismember(&pending, SIGUSR1));
    sigprocmask(SIG_SETMASK, &old, NULL);
    result("kill with signal 0", kill(getpid(), 0));
    result("kill with a wrong signal", kill(getpid(), 65));
    result("kill of nobody", kill(999999, 0));
    result("sigaction of SIGKILL",
           sigaction(SIGKILL, &(struct sigaction){.sa_handler = SIG_IGN}, NULL));
    result("sigaction, wrong", sigaction(100, NULL, NULL));
    result("sigprocmask, wrong", sigprocmask(77, &all, NULL));
}

/* Handlers within handlers, masks */

static volatile int depth, deepest, raised;

static void nest(int number, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    depth++;
    if (depth > deepest)
        deepest = depth;
    if (raised++ < 4)
        raise(number);
    depth--;
}

static sigset_t mask_inside;

static void look_at_mask(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
    sigprocmask(SIG_BLOCK, NULL, &mask_inside);
}

static void test_nesting(void)
{
    begin("nesting and masks");
    handle(SIGUSR1, nest, SA_NODEFER);
    raise(SIGUSR1);
    say("nested", deepest);
    deepest = raised = 0;
    handle(SIGUSR1, nest, 0);
    raise(SIGUSR1);
    say("without SA_NODEFER", deepest);
    struct sigaction action = {.sa_sigaction = look_at_mask, .sa_flags = SA_SIGINFO | SA_RESETHAND};
    action.sa_mask = set_of(SIGTERM, SIGRTMIN);
    sigaction(SIGUSR2, &action, NULL);
    raise(SIGUSR2);
    printf("mask in the handler: %d %d %d %d\n", sigismember(&mask_inside, SIGUSR2),
           sigismember(&mask_inside, SIGTERM), sigismember(&mask_inside, SIGRTMIN),
           sigismember(&mask_inside, SIGUSR1));
    sigprocmask(SIG_BLOCK, NULL, &mask_inside);
    say("mask afterwards", sigismember(&mask_inside, SIGTERM));
    sigaction(SIGUSR2, NULL, &action);
    say("reset", action.sa_handler == SIG_DFL);
    handle(SIGUSR1, note, 0);
    sigset_t blocked = set_of(SIGUSR1, 0), none;
    sigemptyset(&none);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    raise(SIGUSR1);
    say("blocked", seen);
    result("sigsuspend", sigsuspend(&none));
    say("handled in it", seen);
    sigprocmask(SIG_BLOCK, NULL, &none);
    say("blocked again", sigismember(&none, SIGUSR1));
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
    seen = 0;
}

/* Faults: code, address, and a context that can be changed */

static volatile int fault_code, fault_trap, fault_signal;
static volatile uintptr_t fault_address, fault_rip, skip;
static sigjmp_buf escape;

static void skip_fault(int number, siginfo_t *info, void *context)
{
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
    fault_signal = number;
    fault_code = info->si_code;
    fault_address = (uintptr_t)info->si_addr;
    fault_rip = (uintptr_t)machine->gregs[REG_RIP];
    fault_trap = (int)machine->gregs[REG_TRAPNO];
    machine->gregs[REG_RIP] += (long long)skip;
    machine->gregs[REG_RAX] = 4711;
}

#define FAULT(name, length, code, ...)                                                             \
    do {                                                                                           \
        uintptr_t at, value;                                                                       \
        skip = (length);                                                                           \
        __asm__ volatile("lea 1f(%%rip), %1\n1: " code : "=a"(value), "=&r"(at) : __VA_ARGS__);    \
        printf("%s: signal %d code %d trap %d, rip %s, address %s, rax %ld\n", name, fault_signal, \
               fault_code, fault_trap,                                                             \
               fault_rip == at       ? "right"                                                     \
               : fault_rip == at + 1 ? "behind"                                                    \
                                     : "wrong",                                                    \
               fault_address == at       ? "of the instruction"                                    \
               : fault_address == 0      ? "0"                                                     \
               : fault_address == 0x1234 ? "0x1234"                                                \
                                         : "another",                                              \
               (long)value);                                                                       \
    } while (0)

static void escape_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    fault_signal = number;
    fault_code = info->si_code;
    siglongjmp(escape, 1);
}

static void test_faults(void)
{
    begin("faults");
    static const int numbers[] = {SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        handle(numbers[i], skip_fault, 0);
    FAULT("ud2", 2, "ud2", "a"(0));
    FAULT("division by zero", 2, "divl %%ecx", "a"(1), "d"(0), "c"(0));
    FAULT("overflow of a division", 2, "divl %%ecx", "a"(1), "d"(5), "c"(1));
    FAULT("null", 2, "movl (%%rcx), %%eax", "a"(1), "c"(0));
    FAULT("an address", 2, "movl (%%rcx), %%eax", "a"(1), "c"(0x1234));
    FAULT("write to an address", 2, "movl %%eax, (%%rcx)", "a"(1), "c"(0x1234));
    FAULT("not canonical", 2, "movl (%%rcx), %%eax", "a"(1), "c"(0x8000000000000000ul));
    FAULT("hlt", 1, "hlt", "a"(1));
    FAULT("cli", 1, "cli", "a"(1));
    FAULT("int3", 0, "int3", "a"(1));
    skip = 0;
    static double zero;
    (void)zero;

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        handle(numbers[i], escape_fault, 0);
    volatile int count = 0;
    for (volatile int i = 0; i < 1000; i++) {
        if (sigsetjmp(escape, 1))
            count++;
        else
            __asm__ volatile("ud2");
    }
    say("1000 faults left by siglongjmp", count);
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    say("the mask is whole", !sigismember(&mask, SIGILL));
    char *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!sigsetjmp(escape, 1))
        *(volatile char *)none = 1;
    printf("no rights: signal %d, %s\n", fault_signal,
           fault_code == SEGV_ACCERR ? "SEGV_ACCERR" : "?");
}

/* The alternate stack, and what a handler may not disturb */

static char alternate[64 * 1024];
static volatile int on_alternate, flags_inside;

static void where(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
    char here;
    stack_t stack;
    on_alternate = &here > alternate && &here < alternate + sizeof alternate;
    sigaltstack(NULL, &stack);
    flags_inside = stack.ss_flags;
    /* Uses registers of SSE and AVX, which have to come back. */
    volatile double x = 1.1;
    for (int i = 0; i < 10; i++)
        x = x * 1.5 + 0.1;
}

static void test_stack(void)
{
    begin("alternate stack");
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate}, old;
    result("set", sigaltstack(&stack, &old));
    say("was off", old.ss_flags == SS_DISABLE);
    handle(SIGUSR1, where, SA_ONSTACK);
    raise(SIGUSR1);
    printf("used %d, flags %d\n", on_alternate, flags_inside);
    handle(SIGUSR1, where, 0);
    raise(SIGUSR1);
    printf("used %d, flags %d\n", on_alternate, flags_inside);
    stack.ss_size = 100;
    result("too small", sigaltstack(&stack, NULL));
    stack.ss_flags = 77;
    result("wrong flags", sigaltstack(&stack, NULL));
    stack = (stack_t){.ss_flags = SS_DISABLE};
    result("off", sigaltstack(&stack, NULL));
    handle(SIGUSR1, where, SA_ONSTACK);
    raise(SIGUSR1);
    say("used", on_alternate);
    double kept = 0;
    uint64_t integer = 0;
    long pid = getpid();
    __asm__ volatile("mov $0x3ff8000000000000, %%r15; movq %%r15, %%xmm9; mov $0x1122334455667788, "
                     "%%r15; mov %3, %%rdi; mov $10, %%esi; mov $62, %%eax;"
                     "syscall; movq %%xmm9, %0; mov %%r15, %1"
                     : "=m"(kept), "=m"(integer), "+m"(pid)
                     : "r"(pid)
                     : "rax", "rcx", "rdi", "rsi", "r11", "r15", "xmm9", "memory");
    printf("registers: %.1f %lx\n", kept, (unsigned long)integer);
}

/* Timers */

static long elapsed_ms(struct timespec since)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - since.tv_sec) * 1000 + (now.tv_nsec - since.tv_nsec) / MILLISECOND;
}

static void await_seen(int count)
{
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (seen < count && elapsed_ms(start) < 5000)
        nanosleep(&(struct timespec){0, MILLISECOND}, NULL);
}

static void test_timers(void)
{
    begin("timers");
    struct timespec start;
    handle(SIGALRM, note, 0);
    handle(SIGVTALRM, note, 0);
    handle(SIGPROF, note, 0);
    struct itimerval timer = {.it_value = {0, 20000}}, left;
    clock_gettime(CLOCK_MONOTONIC, &start);
    setitimer(ITIMER_REAL, &timer, NULL);
    getitimer(ITIMER_REAL, &left);
    printf("left: %d\n", left.it_value.tv_sec == 0 && left.it_value.tv_usec > 0 &&
                             left.it_value.tv_usec <= 20000);
    result("pause", pause());
    say("took as long", elapsed_ms(start) >= 19);
    print_seen("setitimer");
    timer.it_interval.tv_usec = 10000;
    setitimer(ITIMER_REAL, &timer, NULL);
    await_seen(3);
    say("again and again", seen >= 3);
    timer = (struct itimerval){0};
    setitimer(ITIMER_REAL, &timer, &left);
    say("interval", left.it_interval.tv_usec);
    seen = 0;
    setitimer(ITIMER_VIRTUAL, &(struct itimerval){.it_value = {0, 10000}}, NULL);
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (!seen && elapsed_ms(start) < 5000)
        ;
    say("virtual", seen == 1 && seen_number[0] == SIGVTALRM);
    seen = 0;
    say("alarm", alarm(100));
    say("alarm again", alarm(1) > 90);
    result("pause", pause());
    print_seen("alarm");
    say("none", alarm(0));
    timer.it_value.tv_usec = 2000000;
    result("wrong time", setitimer(ITIMER_REAL, &timer, NULL));

    timer_t id;
    struct sigevent event = {
        .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 99};
    result("timer_create", timer_create(CLOCK_MONOTONIC, &event, &id));
    struct itimerspec spec = {.it_value = {0, 10 * MILLISECOND}};
    result("timer_settime", timer_settime(id, 0, &spec, NULL));
    result("pause", pause());
    printf("value %d\n", seen_value[0]);
    print_seen("timer");
    result("timer_gettime", timer_gettime(id, &spec));
    say("expired", spec.it_value.tv_nsec == 0);
    say("overrun", timer_getoverrun(id));
    clock_gettime(CLOCK_MONOTONIC, &spec.it_value);
    spec.it_value.tv_nsec += 5 * MILLISECOND;
    if (spec.it_value.tv_nsec >= 1000000000) {
        spec.it_value.tv_sec++;
        spec.it_value.tv_nsec -= 1000000000;
    }
    result("absolute", timer_settime(id, TIMER_ABSTIME, &spec, NULL));
    await_seen(1);
    print_seen("timer");
    result("timer_delete", timer_delete(id));
    result("timer_create, wrong clock", timer_create(77, &event, &id));
}

/* Interrupted calls */

static int fds[2];

static void arm(long milliseconds)
{
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, milliseconds * 1000}}, NULL);
}

static void write_later(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
    seen++;
    if (write(fds[1], "x", 1) != 1)
        _exit(3);
}

static void test_interruption(void)
{
    begin("interrupted calls");
    if (pipe(fds))
        return;
    char byte;
    struct timespec wait = {5, 0}, rest = {0, 0};
    struct pollfd polled = {.fd = fds[0], .events = POLLIN};
    handle(SIGALRM, note, 0);
    arm(10);
    result("read", read(fds[0], &byte, 1));
    arm(10);
    result("nanosleep", nanosleep(&wait, &rest));
    say("rest", rest.tv_sec == 4 && rest.tv_nsec > 0);
    arm(10);
    say("clock_nanosleep", clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, &rest) == EINTR);
    arm(10);
    result("poll", poll(&polled, 1, 5000));
    arm(10);
    result("select", select(0, NULL, NULL, NULL, &(struct timeval){5, 0}));
    arm(10);
    uint32_t word = 0;
    result("futex", syscall(SYS_futex, &word, 128, 0, &wait, NULL, 0));
    say("signals", seen);
    seen = 0;
    handle(SIGALRM, write_later, SA_RESTART);
    arm(10);
    result("read, restarted", read(fds[0], &byte, 1));
    arm(10);
    result("nanosleep is not", nanosleep(&wait, NULL));
    result("what the handler wrote", read(fds[0], &byte, 1));
    arm(10);
    result("poll is not", poll(&polled, 1, 5000));
    say("signals", seen);
    result("drain", read(fds[0], &byte, 1));
    sigset_t blocked = set_of(SIGALRM, 0), old, none;
    sigemptyset(&none);
    sigprocmask(SIG_BLOCK, &blocked, &old);
    handle(SIGALRM, note, 0);
    seen = 0;
    arm(5);
    result("poll, blocked", poll(&polled, 1, 20));
    say("not seen", seen);
    result("ppoll with a mask", ppoll(&polled, 1, &wait, &none));
    say("seen", seen);
    sigprocmask(SIG_SETMASK, &old, NULL);
    seen = 0;
    signal(SIGPIPE, SIG_IGN);
    close(fds[0]);
    say("EPIPE", write(fds[1], "x", 1) == -1 && errno == EPIPE);
    handle(SIGPIPE, note, 0);
    say("EPIPE", write(fds[1], "x", 1) == -1 && errno == EPIPE);
    say("SIGPIPE", seen == 1 && seen_number[0] == SIGPIPE);
    close(fds[1]);
}

static volatile int interrupted_spin;

static void end_spin(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
    interrupted_spin = 1;
    machine->gregs[REG_RBX] = 1;
}

static void test_asynchronous(void)
{
    begin("a loop that makes no calls");
    handle(SIGALRM, end_spin, 0);
    arm(20);
    __asm__ volatile("xor %%ebx, %%ebx; 1: test %%rbx, %%rbx; jz 1b" : : : "rbx", "cc");
    say("ended by a register that the handler changed", interrupted_spin);
    handle(SIGALRM, note, 0);
    seen = 0;
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, 3000}, .it_interval = {0, 3000}},
              NULL);
    double sum = 0;
    for (int i = 1; i < 30000000; i++)
        sum += 1.0 / i;
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    printf("sum %.9f\n", sum);
    seen = 0;
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        {"queue", test_queue},
        {"nesting", test_nesting},
        {"faults", test_faults},
        {"stack", test_stack},
        {"timers", test_timers},
        {"interruption", test_interruption},
        {"asynchronous", test_asynchronous},
    };
    const char *only = getenv("ONLY");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (!only || !strcmp(only, tests[i].name))
            tests[i].run();
    puts("== end");
    fflush(stdout);
    signal(SIGUSR1, SIG_DFL);
    raise(SIGUSR1);
    puts("not reached");
}
