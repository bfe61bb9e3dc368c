/* Hypercalls: fills the mailbox and writes the operation to the call port. */
#include "host/host.h"
#include "base/text.h"
#include "entry/state.h"
#include "memory/memory.h"

static int64_t host_call(enum hl_abi_op op, uint64_t arg0, uint64_t arg1, uint64_t arg2,
                         uint64_t arg3)
{
    volatile struct hl_abi_call *call = &HL__MAILBOX->call;

    call->arg[0] = arg0;
    call->arg[1] = arg1;
    call->arg[2] = arg2;
    call->arg[3] = arg3;
    __asm__ volatile("outl %0, %1"
                     :
                     : "a"((uint32_t)op), "d"((uint16_t)HL_ABI_CALL_PORT)
                     : "memory");
    return call->result;
}

int64_t hl__host_hello(void)
{
    return host_call(HL_ABI_OP_HELLO, HL_ABI_VERSION_MIN, HL_ABI_VERSION_MAX, 0, 0);
}

int64_t hl__host_edit(const struct hl_abi_edit *edits, uint32_t count)
{
    return host_call(HL_ABI_OP_EDIT, (uint64_t)edits, count, 0, 0);
}

int64_t hl__host_write(uint64_t stream, uint64_t address, uint64_t size)
{
    return host_call(HL_ABI_OP_WRITE, stream, address, size, 0);
}

int64_t hl__host_read(uint64_t address, uint64_t size)
{
    return host_call(HL_ABI_OP_READ, address, size, 0, 0);
}

void hl__host_log_at(uint64_t level, const char *text, size_t size)
{
    if (size > HL_ABI_LOG_SIZE_MAX)
        size = HL_ABI_LOG_SIZE_MAX;
    host_call(HL_ABI_OP_LOG, level, (uint64_t)text, size, 1);
}

void hl__host_log(const char *text, size_t size)
{
    enum { LEVEL_TRACE = 5 }; /* hl_log_level of the host API */

    hl__host_log_at(LEVEL_TRACE, text, size);
}

int64_t hl__host_export(const void *message, uint64_t size, uint64_t flags)
{
    HL__MAILBOX->call.arg[4] = flags;
    return host_call(HL_ABI_OP_EXPORT, (uint64_t)message, size, HL_ABI_VERSION_MIN,
                     HL_ABI_VERSION_MAX);
}

int64_t hl__host_wait(uint64_t duration_ns, uint64_t events)
{
    return host_call(HL_ABI_OP_WAIT, duration_ns, events, 0, 0);
}

void hl__host_timer(uint64_t delay_ns, uint64_t period_ns)
{
    host_call(HL_ABI_OP_TIMER, delay_ns, period_ns, 0, 0);
}

_Noreturn void hl__host_exit(uint64_t code, uint64_t signal, const struct hl_abi_fault *fault)
{
    volatile struct hl_abi_call *call = &HL__MAILBOX->call;
    uint64_t flags = hl__memory.refused ? HL_ABI_EXIT_MEMORY_REFUSED : 0;

    call->arg[4] = fault ? fault->address : 0;
    call->arg[5] = fault ? fault->registers.rip : 0;
    for (;;)
        host_call(HL_ABI_OP_EXIT, code, signal, flags, fault ? fault->vector : HL_ABI_NO_VECTOR);
}

_Noreturn void hl__host_refuse(enum hl_abi_refusal refusal, const char *text)
{
    size_t size = hl__string_length(text);

    if (size > HL_ABI_REFUSAL_TEXT_MAX)
        size = HL_ABI_REFUSAL_TEXT_MAX;
    for (;;)
        host_call(HL_ABI_OP_REFUSE, refusal, (uint64_t)text, size, 0);
}
