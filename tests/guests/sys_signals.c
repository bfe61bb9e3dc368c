/* Signals: for faults, from itself; masks, alternate stacks, what handlers see and change. */
#define _GNU_SOURCE
#include "sys_check.h"

#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

static volatile sig_atomic_t count;
static siginfo_t seen;
static greg_t seen_trap, seen_error, seen_cr2;
static sigjmp_buf recover;

static void handle(int signal, int flags, void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

    sigaction(signal, &action, NULL);
}

static void remember(int signal, siginfo_t *info, void *context)
{
    ucontext_t *machine = context;

    (void)signal;
    seen = *info;
    seen_trap = machine->uc_mcontext.gregs[REG_TRAPNO];
    seen_error = machine->uc_mcontext.gregs[REG_ERR];
    seen_cr2 = machine->uc_mcontext.gregs[REG_CR2];
    count++;
}

static void jump_out(int signal, siginfo_t *info, void *context)
{
    remember(signal, info, context);
    siglongjmp(recover, signal);
}

static void skip_two_bytes(int signal, siginfo_t *info, void *context)
{
    remember(signal, info, context);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

static void check_faults(void)
{
    volatile int *volatile near_null = (volatile int *)16;
    volatile int zero = 0, result = 1;
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    handle(SIGSEGV, 0, jump_out);
    handle(SIGFPE, 0, jump_out);
    handle(SIGTRAP, 0, remember);
    handle(SIGILL, 0, skip_two_bytes);
    if (!sigsetjmp(recover, 1))
        *near_null = 1;
    CHECK("segv_unmapped", count == 1 && seen.si_code == SEGV_MAPERR &&
                               seen.si_addr == (void *)16 && seen_trap == 14 && seen_error == 6 &&
                               seen_cr2 == 16);
    if (!sigsetjmp(recover, 1))
        *(volatile char *)page = 1;
    CHECK("segv_denied",
          count == 2 && seen.si_code == SEGV_ACCERR && seen.si_addr == page && seen_trap == 14);
    if (!sigsetjmp(recover, 1))
        (void)*(volatile char *)0x8000000000000000ul;
    CHECK("segv_non_canonical",
          count == 3 && seen.si_code == SI_KERNEL && seen.si_addr == NULL && seen_trap == 13);
    if (!sigsetjmp(recover, 1))
        result = result / zero;
    CHECK("fpe_divide", count == 4 && seen.si_code == FPE_INTDIV && seen_trap == 0);
    __asm__ volatile("ud2");
    CHECK("ill_resumed", count == 5 && seen.si_code == ILL_ILLOPN && seen_trap == 6);
    __asm__ volatile("int3");
    CHECK("trap_resumed", count == 6 && seen.si_code == SI_KERNEL && seen_trap == 3);
    munmap(page, 4096);
}

/* Every register and flag that the interrupted code holds must be there again afterwards. */
static int registers_survive(void)
{
    uint64_t wrong;

    __asm__ volatile(
        "mov $1, %%rbx; mov $2, %%rcx; mov $3, %%rdx; mov $4, %%rsi; mov $5, %%rdi; mov $8, "
        "%%r8\n\t"
        "mov $9, %%r9; mov $10, %%r10; mov $11, %%r11; mov $12, %%r12; mov $13, %%r13; mov $14, "
        "%%r14\n\t"
        "mov $15, %%r15; movq %%r15, %%xmm7; movabs $0x1122334455667788, %%rax; mov %%rax, "
        "-64(%%rsp)\n\t"
        "stc\n\t"
        "ud2\n\t"
        "adc $0, %%rbx\n\t" /* 2 if the carry survived */
        "sub $2, %%rbx; sub $2, %%rcx; or %%rcx, %%rbx; sub $3, %%rdx; or %%rdx, %%rbx; sub $4, "
        "%%rsi\n\t"
        "or %%rsi, %%rbx; sub $5, %%rdi; or %%rdi, %%rbx; sub $8, %%r8; or %%r8, %%rbx; sub $9, "
        "%%r9\n\t"
        "or %%r9, %%rbx; sub $10, %%r10; or %%r10, %%rbx; sub $11, %%r11; or %%r11, %%rbx; sub "
        "$12, %%r12\n\t"
        "or %%r12, %%rbx; sub $13, %%r13; or %%r13, %%rbx; sub $14, %%r14; or %%r14, %%rbx\n\t"
        "sub -64(%%rsp), %%rax; or %%rax, %%rbx; movq %%xmm7, %%rax; sub %%r15, %%rax; or %%rax, "
        "%%rbx\n\t"
        "mov %%rbx, %0"
        : "=r"(wrong)
        :
        : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
          "r15", "xmm7", "cc", "memory");
    return wrong == 0;
}

static void spoil_vectors(int signal, siginfo_t *info, void *context)
{
    skip_two_bytes(signal, info, context);
    __asm__ volatile("pcmpeqd %%xmm7, %%xmm7" : : : "xmm7");
}

static int vectors_survive(void)
{
    uint64_t in[4] = {1, 2, 3, 4}, out[4] = {0};

    if (!__builtin_cpu_supports("avx"))
        return 1;
    __asm__ volatile("vmovdqu %1, %%ymm9; ud2; vmovdqu %%ymm9, %0"
                     : "=m"(out)
                     : "m"(in)
                     : "xmm9", "memory");
    return !memcmp(in, out, sizeof in);
}

static void change_vector(int signal, siginfo_t *info, void *context)
{
    ucontext_t *machine = context;

    skip_two_bytes(signal, info, context);
    machine->uc_mcontext.fpregs->_xmm[3].element[0] = 77;
    machine->uc_mcontext.gregs[REG_RAX] = 55;
}

static void check_frames(void)
{
    uint64_t rax = 1, vector = 1;
    int right = 1;

    CHECK("registers_survive", registers_survive());
    handle(SIGILL, 0, spoil_vectors);
    CHECK("vectors_survive", registers_survive() && vectors_survive());
    handle(SIGILL, 0, change_vector);
    __asm__ volatile("movq %1, %%xmm3; ud2; movq %%xmm3, %1" : "+a"(rax), "+r"(vector) : : "xmm3");
    CHECK("handler_changes_registers", rax == 55 && (uint32_t)vector == 77);
    handle(SIGILL, 0, skip_two_bytes);
    for (int i = 0; i < 1000; i++)
        right &= registers_survive();
    CHECK("thousand_faults", right);
}

static void check_raise(void)
{
    sigset_t set, old, pending;

    count = 0;
    handle(SIGUSR1, 0, remember);
    CHECK("raise",
          raise(SIGUSR1) == 0 && count == 1 && seen.si_code == SI_TKILL && seen.si_pid == getpid());
    CHECK("kill_self", kill(getpid(), SIGUSR1) == 0 && count == 2 && seen.si_code == SI_USER);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    raise(SIGUSR1);
    raise(SIGUSR1);
    CHECK("blocked",
          count == 2 && sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) == 1);
    sigprocmask(SIG_SETMASK, &old, NULL);
    CHECK("unblocked_once",
          count == 3 && sigpending(&pending) == 0 && !sigismember(&pending, SIGUSR1));
    signal(SIGUSR1, SIG_IGN);
    CHECK("ignored", raise(SIGUSR1) == 0 && count == 3);
    signal(SIGCHLD, SIG_DFL);
    CHECK("ignored_by_default", raise(SIGCHLD) == 0);
    errno = 0;
    CHECK("kill_stranger", kill(999999, SIGUSR1) == -1 && errno == ESRCH);
    CHECK("kill_no_signal", kill(getpid(), 0) == 0 && kill(getpid(), 65) == -1 && errno == EINVAL);
    CHECK("action_of_kill", signal(SIGKILL, SIG_IGN) == SIG_ERR && errno == EINVAL);
}

static volatile int depth, masked_inside;

static void nested(int signal, siginfo_t *info, void *context)
{
    sigset_t mask;

    (void)info, (void)context;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    masked_inside = sigismember(&mask, signal);
    if (++depth < 3)
        raise(signal);
}

static void check_flags(void)
{
    struct sigaction action;

    depth = 0;
    handle(SIGUSR2, SA_NODEFER, nested);
    raise(SIGUSR2);
    CHECK("nodefer_nests", depth == 3 && !masked_inside);
    depth = 2;
    handle(SIGUSR2, SA_RESETHAND, nested);
    raise(SIGUSR2);
    sigaction(SIGUSR2, NULL, &action);
    CHECK("resethand", masked_inside && action.sa_handler == SIG_DFL);
}

static char *stack_seen;

static void on_other_stack(int signal, siginfo_t *info, void *context)
{
    char here;

    stack_seen = &here;
    jump_out(signal, info, context);
}

/* Each level takes a page and more; the compiler must not see that it never ends. */
static volatile int descend = 1;

static int overflow(volatile char *above)
{
    volatile char frame[5000];

    frame[0] = above ? above[0] : 0;
    return descend ? overflow(frame) + frame[1] : 0;
}

static void check_stack_overflow(void)
{
    static char memory[65536];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory}, old;

    CHECK("altstack_set", sigaltstack(&stack, NULL) == 0 && sigaltstack(NULL, &old) == 0 &&
                              old.ss_sp == memory && !old.ss_flags);
    handle(SIGSEGV, SA_ONSTACK, on_other_stack);
    for (int i = 0; i < 3; i++) {
        stack_seen = NULL;
        if (!sigsetjmp(recover, 1))
            overflow(NULL);
        CHECK("stack_overflow_caught", stack_seen >= memory && stack_seen < memory + sizeof memory);
    }
    stack.ss_size = 100;
    errno = 0;
    CHECK("altstack_too_small", sigaltstack(&stack, NULL) == -1 && errno == ENOMEM);
    stack.ss_flags = SS_DISABLE;
    CHECK("altstack_off", sigaltstack(&stack, NULL) == 0 && sigaltstack(NULL, &old) == 0 &&
                              old.ss_flags == SS_DISABLE);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOFBF, 16384);
    check_faults();
    check_frames();
    check_raise();
    check_flags();
    check_stack_overflow();
    return sys_result();
}
