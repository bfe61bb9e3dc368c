/* Ends in the way that its argument names: by the signal that Linux would send, or a status. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile int descend = 1;

static int overflow(volatile char *above)
{
    volatile char frame[3000];

    frame[0] = above ? above[0] : 0;
    return descend ? overflow(frame) + frame[1] : 0;
}

static void segv(void)
{
    volatile int *volatile at = (volatile int *)0x1234;

    *at = 1;
}

static void blocked_segv(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    sigprocmask(SIG_BLOCK, &set, NULL);
    segv();
}

static void ignored_segv(void)
{
    signal(SIGSEGV, SIG_IGN);
    segv();
}

static void stack_overflow(void)
{
    overflow(NULL);
}

static void handler_nowhere(void)
{
    signal(SIGSEGV, (void (*)(int))(uintptr_t)0x1000);
    segv();
}

/* No stack is left for the frame of the handler. */
static void no_stack_for_handler(void)
{
    signal(SIGILL, (void (*)(int))(uintptr_t)abort);
    __asm__ volatile("mov $0x5000, %esp; ud2");
}

static void bad_sigreturn(void)
{
    __asm__ volatile("mov $0x5000, %esp; mov $15, %eax; syscall");
}

static void privileged(void)
{
    __asm__ volatile("hlt");
}

static void single_step(void)
{
    __asm__ volatile("pushf; orl $0x100, (%rsp); popf; nop; nop");
}

static void divide(void)
{
    volatile int zero = 0, result = 1;

    result = result / zero;
}

/* System calls work whatever the stack pointer. */
static void no_stack(void)
{
    __asm__ volatile(
        "xor %esp, %esp; mov $39, %eax; syscall; mov $42, %edi; mov $231, %eax; syscall");
}

static void raise_kill(void)
{
    raise(SIGKILL);
}

/* malloc must say no, and the program goes on. */
static void exhaust(void)
{
    while (malloc(1 << 20))
        ;
    _exit(errno == ENOMEM ? 43 : 1);
}

/* More than there is, by pages that nothing was promised for. */
static void overcommit(void)
{
    const size_t size = 1ul << 32;
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                    -1, 0);

    memset(at, 1, size);
}

static const struct {
    const char *name;
    void (*end)(void);
} ways[] = {
    {"abort", abort},
    {"segv", segv},
    {"blocked_segv", blocked_segv},
    {"ignored_segv", ignored_segv},
    {"stack_overflow", stack_overflow},
    {"handler_nowhere", handler_nowhere},
    {"no_stack_for_handler", no_stack_for_handler},
    {"bad_sigreturn", bad_sigreturn},
    {"privileged", privileged},
    {"single_step", single_step},
    {"divide", divide},
    {"no_stack", no_stack},
    {"raise_kill", raise_kill},
    {"exhaust", exhaust},
    {"overcommit", overcommit},
};

int main(int count, char **arguments)
{
    for (size_t i = 0; count > 1 && i < sizeof ways / sizeof ways[0]; i++)
        if (!strcmp(arguments[1], ways[i].name))
            ways[i].end();
    return 1;
}
