/* Dispatch of system calls, and access to the memory that they name. */
#include "entry/syscall.h"
#include "base/linux.h"
#include "entry/access.h"
#include "entry/state.h"
#include "entry/trace.h"
#include "file/file.h"
#include "memory/memory.h"
#include "thread/thread.h"

typedef int64_t hl__syscall_handler(const uint64_t *arg);

#define SYSCALL_HANDLER(number, name) [number] = hl__sys_##name,
#define SYSCALL_PARTIAL_HANDLER(number, name, difference) [number] = hl__sys_##name,
#define SYSCALL_NOTHING(number, name, ...)
static hl__syscall_handler *const handlers[] = {
    HL__SYSCALLS(SYSCALL_HANDLER, SYSCALL_PARTIAL_HANDLER, SYSCALL_NOTHING)};

/* The last one keeps the table from being empty. */
#define SYSCALL_REFUSAL(number, name, error, why) [number] = error,
static const uint8_t refusals[] = {
    HL__SYSCALLS(SYSCALL_NOTHING, SYSCALL_NOTHING, SYSCALL_REFUSAL)[461] = ENOSYS};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* What a call without a handler comes to. */
static int64_t syscall_refusal(uint64_t number)
{
    return number < COUNT(refusals) && refusals[number] ? -refusals[number] : -ENOSYS;
}

static bool syscall_known(uint64_t number)
{
    return (number < COUNT(handlers) && handlers[number]) ||
           (number < COUNT(refusals) && refusals[number]);
}

/* These do not come back, or with other registers. */
static bool syscall_leaves(uint64_t number)
{
    enum { RT_SIGRETURN = 15, EXIT = 60, EXIT_GROUP = 231 };

    return number == RT_SIGRETURN || number == EXIT || number == EXIT_GROUP;
}

static int64_t syscall_call(const struct hl_abi_registers *registers)
{
    uint64_t arg[6] = {registers->rdi, registers->rsi, registers->rdx,
                       registers->r10, registers->r8,  registers->r9};
    uint64_t number = registers->rax;

    if (number < COUNT(handlers) && handlers[number])
        return handlers[number](arg);
    return syscall_refusal(number);
}

void hl__syscall_forget(struct hl__thread *thread)
{
    thread->in_syscall = false;
    hl__files_release(&thread->wait);
    thread->wait = (struct hl__wait){0};
    if (thread->signals.mask_is_saved) {
        thread->signals.mask = thread->signals.saved_mask;
        thread->signals.mask_is_saved = false;
    }
}

bool hl__syscall_try(struct hl_abi_registers *registers)
{
    struct hl__thread *thread = hl__thread;
    bool trace = HL__BOOT->flags & HL_ABI_BOOT_TRACE;
    uint64_t number = registers->rax;
    int64_t result;

    if (trace && syscall_leaves(number))
        hl__trace(number, registers, 0, false, true);
    hl__files_look_anew();
    result = syscall_call(registers);
    if (result == HL__WAITING) {
        hl__files_hold(&thread->wait);
        thread->in_syscall = true;
        return false;
    }
    if (trace && !syscall_leaves(number))
        hl__trace(number, registers, result, true, syscall_known(number));
    registers->rax = (uint64_t)result;
    if (thread->wait.started || thread->signals.mask_is_saved)
        hl__syscall_forget(thread);
    return true;
}

void hl__syscall_enter(void)
{
    bool done = hl__syscall_try(&hl__hot.syscall);

    if (!done && hl__signal_pending(hl__thread))
        hl__wake_thread(hl__thread);
    if (!done || hl__schedule_needed())
        hl__schedule();
}

static uint64_t lent_start, lent_end;

void hl__user_lend(const void *buffer, uint64_t size)
{
    lent_start = (uint64_t)buffer;
    lent_end = lent_start + size;
}

bool hl__user_range(uint64_t address, uint64_t size)
{
    static const struct {
        uint64_t start, end;
    } ranges[] = {
        {0, HL_ABI_USER_END},
        {HL_ABI_MAILBOX_ADDRESS, HL_ABI_MAILBOX_ADDRESS + sizeof(struct hl_abi_mailbox)},
        {HL_ABI_TRANSFER_ADDRESS, HL_ABI_TRANSFER_ADDRESS + HL_ABI_TRANSFER_SIZE},
    };

    for (uint32_t i = 0; i < COUNT(ranges); i++)
        if (address >= ranges[i].start && address <= ranges[i].end &&
            size <= ranges[i].end - address)
            return true;
    return address >= lent_start && address < lent_end && size <= lent_end - address;
}

int64_t hl__user_read(void *to, uint64_t from, size_t size)
{
    return hl__user_range(from, size) ? hl__access_copy(to, (const void *)from, size) : -EFAULT;
}

int64_t hl__user_write(uint64_t to, const void *from, size_t size)
{
    return hl__user_range(to, size) ? hl__access_copy((void *)to, from, size) : -EFAULT;
}

int64_t hl__user_clear(uint64_t to, size_t size)
{
    return hl__user_range(to, size) ? hl__access_zero((void *)to, size) : -EFAULT;
}

int64_t hl__user_string(char *to, uint64_t from, size_t size)
{
    int64_t length;

    if (!hl__user_range(from, 1))
        return -EFAULT;
    length = hl__access_string(to, (const char *)from, size);
    return length == (int64_t)size ? -ENAMETOOLONG : length;
}

uint64_t hl__user_present(uint64_t address, uint64_t size, bool write)
{
    uint64_t present = 0;

    while (present < size && hl__user_range(address + present, 1)) {
        uint64_t at = address + present;

        if ((write ? hl__access_touch_write((void *)at) : hl__access_touch((const void *)at)) < 0)
            break;
        present = HL__PAGE_DOWN(at) + HL_ABI_PAGE_SIZE - address;
    }
    return present < size ? present : size;
}
