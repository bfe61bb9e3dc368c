/* The system calls that the doubles need, and their lock. */
#include "system.h"

/* Of the kernel's interface on x86-64. */
enum {
    CALL_CLOSE = 3,
    CALL_MMAP = 9,
    CALL_MUNMAP = 11,
    CALL_SIGACTION = 13,
    CALL_IOCTL = 16,
    CALL_YIELD = 24,
    CALL_GETPID = 39,
    CALL_GETTID = 186,
    CALL_TGKILL = 234,
    CALL_OPENAT = 257,
    CALL_PROCESS_READ = 310,
    CALL_PROCESS_WRITE = 311
};
#define AT_WORKING_FOLDER (-100)
#define OPEN_READ_WRITE 2
#define OPEN_CLOSE_ON_EXEC 02000000
#define MAP_READ_WRITE 3
#define MAP_IS_SHARED 1

/* SIGSTKFLT, which nobody uses. No real-time signal: those queue up, and are lost where the user's queue is
 * full. */
#define INTERRUPT_SIGNAL 16
#define ACTION_HAS_RESTORER 0x04000000ul

int64_t system_call(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                    uint64_t f)
{
    int64_t result;
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"((int64_t)number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

int system_open(const char *path)
{
    return (int)system_call(CALL_OPENAT, (uint64_t)AT_WORKING_FOLDER, (uintptr_t)path,
                            OPEN_READ_WRITE | OPEN_CLOSE_ON_EXEC, 0, 0, 0);
}

void system_close(int file)
{
    system_call(CALL_CLOSE, (uint64_t)file, 0, 0, 0, 0, 0);
}

int64_t system_ioctl(int file, unsigned long request, void *argument)
{
    return system_call(CALL_IOCTL, (uint64_t)file, request, (uintptr_t)argument, 0, 0, 0);
}

void *system_map(int file, size_t size)
{
    int64_t address =
        system_call(CALL_MMAP, 0, size, MAP_READ_WRITE, MAP_IS_SHARED, (uint64_t)file, 0);
    return address < 0 && address > -4096 ? NULL : (void *)(uintptr_t)address;
}

void system_unmap(void *address, size_t size)
{
    system_call(CALL_MUNMAP, (uintptr_t)address, size, 0, 0, 0, 0);
}

/* To or from this process as if it were another, so that a fault is an error. */
static bool transfer(long number, void *here, void *there, size_t size)
{
    struct {
        uint64_t address, size;
    } local = {(uintptr_t)here, size}, remote = {(uintptr_t)there, size};
    uint64_t process = (uint64_t)system_call(CALL_GETPID, 0, 0, 0, 0, 0, 0);
    return system_call(number, process, (uintptr_t)&local, 1, (uintptr_t)&remote, 1, 0) ==
           (int64_t)size;
}

bool system_peek(void *to, const void *from, size_t size)
{
    return transfer(CALL_PROCESS_READ, to, (void *)(uintptr_t)from, size);
}

bool system_poke(void *to, const void *from, size_t size)
{
    return transfer(CALL_PROCESS_WRITE, (void *)(uintptr_t)from, to, size);
}

int system_thread(void)
{
    return (int)system_call(CALL_GETTID, 0, 0, 0, 0, 0, 0);
}

/* The handler does nothing: that it ran is enough. In assembly, because the kernel calls them by its
 * own rules. */
void interrupt_handler(void);
void interrupt_restorer(void);
__asm__(".text\n"
        ".globl interrupt_handler\n"
        "interrupt_handler: ret\n"
        ".globl interrupt_restorer\n"
        "interrupt_restorer: mov $15, %eax\n syscall\n");

void system_interrupt_prepare(void)
{
    const struct {
        void (*handler)(void);
        uint64_t flags;
        void (*restorer)(void);
        uint64_t mask;
    } action = {interrupt_handler, ACTION_HAS_RESTORER, interrupt_restorer, 0};
    system_call(CALL_SIGACTION, INTERRUPT_SIGNAL, (uintptr_t)&action, 0, sizeof action.mask, 0, 0);
}

void system_interrupt(int thread)
{
    uint64_t process = (uint64_t)system_call(CALL_GETPID, 0, 0, 0, 0, 0, 0);
    system_call(CALL_TGKILL, process, (uint64_t)thread, INTERRUPT_SIGNAL, 0, 0, 0);
}

void lock_take(system_lock *lock)
{
    while (atomic_flag_test_and_set_explicit(&lock->taken, memory_order_acquire))
        system_call(CALL_YIELD, 0, 0, 0, 0, 0, 0);
}

void lock_release(system_lock *lock)
{
    atomic_flag_clear_explicit(&lock->taken, memory_order_release);
}
