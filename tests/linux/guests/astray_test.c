/* Programs that go astray: at addresses that are none, on stacks that are none, with frames of signals that are none. What each comes
 * to, and that the program, whose SIGSEGV handler has a stack of its own, goes on afterwards. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define NOT_CANONICAL 0x8123456789abcdefull
#define FIRST_NOT_CANONICAL 0x800000000000ull
#define KERNEL_HALF 0xffff888000001000ull
#define UNMAPPED 0x10000000000ull

enum { PAGE = 4096 };

static sigjmp_buf back;
static uint64_t wanted;
static int changed; /* register of the context */
static int trapped =
    1; /* no trap leads to what is tried: the number in the context is an older one's */

static void change(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[changed] = (long)wanted;
}

static void break_vector_state(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    ((ucontext_t *)context)->uc_mcontext.fpregs = (void *)wanted;
}

static void leave_by_no_stack(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    __asm__ volatile("mov %0, %%rsp; mov $15, %%eax; syscall" : : "r"(wanted) : "memory");
}

static void escape(int number, siginfo_t *info, void *context)
{
    const greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

    printf("  signal %d, code %d, address %p", number, info->si_code, info->si_addr);
    if (trapped)
        printf(", trap %lld", registers[REG_TRAPNO]);
    if (registers[REG_RIP] == (long)wanted)
        printf(", at the address meant");
    putchar('\n');
    siglongjmp(back, 1);
}

static void handle(int number, void *handler, int flags)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | flags};

    memcpy(&action.sa_sigaction, &handler, sizeof handler);
    sigaction(number, &action, NULL);
}

/* Raises SIGUSR1 with that handler; what it leads to jumps back. */
static void astray(const char *what, void *handler, int number, uint64_t value)
{
    printf("%s %llx\n", what, (unsigned long long)value);
    fflush(stdout);
    changed = number;
    wanted = value;
    handle(SIGUSR1, handler, SA_NODEFER);
    if (!sigsetjmp(back, 1))
        raise(SIGUSR1);
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    printf("  alive, SIGSEGV blocked: %d\n", sigismember(&mask, SIGSEGV));
}

static void jump(uint64_t address)
{
    printf("jump to %llx\n", (unsigned long long)address);
    wanted = address;
    if (!sigsetjmp(back, 1))
        ((void (*)(void))address)();
}

/* A page with a system call and what follows it, which that takes away. */
static void lose_own_text(const char *what, long call, long argument)
{
    static const uint8_t text[] = {0x0f, 0x05, 0xc3}; /* syscall; ret */
    uint8_t *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    printf("%s\n", what);
    fflush(stdout);
    memcpy(page + 64, text, sizeof text);
    mprotect(page, PAGE, PROT_READ | PROT_EXEC);
    wanted = (uint64_t)page + 66;
    if (!sigsetjmp(back, 1)) {
        __asm__ volatile("call *%4"
                         :
                         : "a"(call), "D"(page), "S"(PAGE), "d"(argument), "r"(page + 64)
                         : "rcx", "r11", "memory");
        puts("  not reached");
    }
    munmap(page, PAGE);
}

static void escape_own_text(int number, siginfo_t *info, void *context)
{
    const greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

    printf("  signal %d, code %d, at the page: %d %d\n", number, info->si_code,
           (uint64_t)info->si_addr == wanted, registers[REG_RIP] == (long)wanted);
    siglongjmp(back, 1);
}

int main(void)
{
    static char stack[64 * 1024];
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    handle(SIGSEGV, escape, SA_ONSTACK);
    handle(SIGBUS, escape, SA_ONSTACK);
    static const uint64_t addresses[] = {NOT_CANONICAL, FIRST_NOT_CANONICAL, UNMAPPED, KERNEL_HALF};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        astray("rip of the context", change, REG_RIP, addresses[i]);
        astray("a handler's address", (void *)addresses[i], 0, addresses[i]);
        jump(addresses[i]);
    }
    astray("rsp of the context", change, REG_RSP, NOT_CANONICAL);
    astray("rsp of the context", change, REG_RSP, UNMAPPED);
    trapped = 0;
    astray("vector state", break_vector_state, 0, UNMAPPED);
    astray("vector state", break_vector_state, 0, NOT_CANONICAL);
    astray("no frame to return by", leave_by_no_stack, 0, UNMAPPED);
    astray("no frame to return by", leave_by_no_stack, 0, NOT_CANONICAL);
    handle(SIGSEGV, escape_own_text, SA_ONSTACK);
    lose_own_text("mprotect of its own text", SYS_mprotect, PROT_NONE);
    lose_own_text("mprotect of its own text: no execution", SYS_mprotect, PROT_READ);
    lose_own_text("munmap of its own text", SYS_munmap, 0);
    handle(SIGSEGV, (void *)NOT_CANONICAL, SA_ONSTACK);
    puts("SIGSEGV's own handler is nowhere");
    fflush(stdout);
    raise(SIGSEGV);
    puts("not reached");
}
