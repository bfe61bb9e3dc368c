/* What an exception comes to: lazily backed memory, a failed access to the program's memory, or a
 * signal. */
#include "entry/fault.h"
#include "entry/access.h"
#include "entry/state.h"
#include "host/host.h"
#include "memory/memory.h"
#include "signal/signal.h"
#include "thread/thread.h"

enum {
    VECTOR_DIVIDE = 0,
    VECTOR_DEBUG = 1,
    VECTOR_BREAKPOINT = 3,
    VECTOR_OPCODE = 6,
    VECTOR_NOT_PRESENT = 11,
    VECTOR_STACK = 12,
    VECTOR_PAGE = 14,
    VECTOR_X87 = 16,
    VECTOR_ALIGNMENT = 17,
    VECTOR_SIMD = 19
};
#define FLAG_TRAP 0x100ull

struct hl_abi_fault hl__interrupted;

extern const char shim_text_start[], shim_text_end[];

/* The si_code for the lowest floating-point exception that is raised and not masked. */
static int32_t float_code(uint32_t raised)
{
    static const struct {
        uint8_t bits, code;
    } codes[] = {{1, FPE_FLTINV},
                 {4, 3},
                 {8, 4},
                 {0x12, 5},
                 {0x20, 6}}; /* FLTINV, FLTDIV, FLTOVF, FLTUND, FLTRES */

    for (unsigned i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (raised & codes[i].bits)
            return codes[i].code;
    return 0;
}

static int32_t x87_code(void)
{
    uint16_t control, status;

    __asm__ volatile("fnstcw %0; fnstsw %1" : "=m"(control), "=m"(status));
    return float_code(status & ~control & 0x3f);
}

static int32_t simd_code(void)
{
    uint32_t mxcsr;

    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    return float_code(mxcsr & ~(mxcsr >> 7) & 0x3f);
}

static struct linux_siginfo signal_of(const struct hl_abi_fault *fault,
                                      enum hl__fault_result page_fault)
{
    uint64_t rip = fault->registers.rip;

    switch (fault->vector) {
    case VECTOR_DIVIDE:
        return (struct linux_siginfo){.signal = SIGFPE, .code = FPE_INTDIV, .address = rip};
    case VECTOR_DEBUG:
        return (struct linux_siginfo){.signal = SIGTRAP, .code = TRAP_TRACE, .address = rip};
    case VECTOR_BREAKPOINT:
        return (struct linux_siginfo){.signal = SIGTRAP, .code = SI_KERNEL};
    case VECTOR_OPCODE:
        return (struct linux_siginfo){.signal = SIGILL, .code = ILL_ILLOPN, .address = rip};
    case VECTOR_NOT_PRESENT:
    case VECTOR_STACK:
        return (struct linux_siginfo){.signal = SIGBUS, .code = SI_KERNEL};
    case VECTOR_PAGE:
        if (page_fault == HL__FAULT_BEYOND)
            return (struct linux_siginfo){
                .signal = SIGBUS, .code = BUS_ADRERR, .address = fault->address};
        return (struct linux_siginfo){
            .signal = SIGSEGV, .code = page_fault, .address = fault->address};
    case VECTOR_X87:
        return (struct linux_siginfo){.signal = SIGFPE, .code = x87_code(), .address = rip};
    case VECTOR_ALIGNMENT:
        return (struct linux_siginfo){.signal = SIGBUS, .code = BUS_ADRALN};
    case VECTOR_SIMD:
        return (struct linux_siginfo){.signal = SIGFPE, .code = simd_code(), .address = rip};
    default:
        return (struct linux_siginfo){.signal = SIGSEGV, .code = SI_KERNEL};
    }
}

static bool in_range(uint64_t rip, const char *start, const char *end)
{
    return rip >= (uint64_t)start && rip < (uint64_t)end;
}

static enum hl__fault_result page_fault(const struct hl_abi_fault *fault, bool in_program)
{
    static const char no_memory[] =
        "out of memory: a page that was touched first could not be backed";
    enum hl__fault_result result =
        hl__memory_fault(fault->address, fault->error_code, fault->registers.rip);

    if (result != HL__FAULT_NO_MEMORY)
        return result;
    if (in_program)
        hl__process_refuse(HL_ABI_REFUSAL_MEMORY, no_memory);
    hl__host_refuse(HL_ABI_REFUSAL_MEMORY, no_memory); /* a call's books may be open */
}

/* In the shim's own text only an access to the program's memory may fail. */
void hl__fault_in_shim(void)
{
    static bool busy; /* another one meanwhile would be a fault of the handling itself */
    struct hl_abi_registers *registers = &hl__interrupted.registers;

    if (busy) {
        struct hl_abi_fault nested = HL__MAILBOX->fault;

        hl__host_exit(0, SIGSEGV, &nested);
    }
    busy = true;
    hl__interrupted = HL__MAILBOX->fault;
    if (hl__interrupted.vector != VECTOR_PAGE ||
        page_fault(&hl__interrupted, false) != HL__FAULT_RESOLVED) {
        if (in_range(registers->rip, hl__access_start, hl__access_end))
            registers->rip = (uint64_t)hl__access_failed;
        else if (hl__interrupted.vector == VECTOR_DEBUG)
            registers->rflags &= ~FLAG_TRAP; /* the program steps itself; it goes on without */
        else
            hl__host_exit(0, SIGSEGV, &hl__interrupted);
    }
    busy = false;
}

void hl__fault_in_program(void)
{
    struct hl_abi_fault fault = HL__MAILBOX->fault;
    enum hl__fault_result result = HL__FAULT_UNMAPPED;
    struct linux_siginfo info;

    hl__hot.syscall = fault.registers;
    if (fault.vector == HL_ABI_VECTOR_TICK) {
        hl__schedule_tick();
    } else {
        if (fault.vector == VECTOR_PAGE)
            result = page_fault(&fault, true);
        if (result != HL__FAULT_RESOLVED) {
            info = signal_of(&fault, result);
            hl__signal_fault(&fault, &info);
        }
    }
    if (hl__schedule_needed())
        hl__schedule();
}
