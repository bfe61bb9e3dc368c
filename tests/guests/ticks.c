/* Asks for ticks past the shim, and looks whether they leave the program's registers alone; leaves output to be taken. */
#include <hyperlight/abi/hypercall.h>
#include <hyperlight/abi/x86_64.h>
#include <hyperlight/guest.h>
#include <string.h>

#define MAILBOX ((volatile struct hl_abi_mailbox *)HL_ABI_MAILBOX_ADDRESS)
#define FUNCTION(name)                                                                             \
    static hl_status name(const hl_value *arguments, size_t count, hl_value *reply, void *user)
#define UNUSED (void)arguments, (void)count, (void)reply, (void)user

static int64_t raw(uint32_t op, uint64_t arg0, uint64_t arg1)
{
    MAILBOX->call.arg[0] = arg0;
    MAILBOX->call.arg[1] = arg1;
    __asm__ volatile("outl %0, %1" : : "a"(op), "d"((uint16_t)HL_ABI_CALL_PORT) : "memory");
    return MAILBOX->call.result;
}

#define EACH(X)                                                                                    \
    X(rax, 0)                                                                                      \
    X(rbx, 1)                                                                                      \
    X(rdx, 2)                                                                                      \
    X(rsi, 3)                                                                                      \
    X(rdi, 4) X(r8, 5) X(r9, 6) X(r10, 7) X(r11, 8) X(r12, 9) X(r13, 10) X(r14, 11) X(r15, 12)
#define EACH_VECTOR(X)                                                                             \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

/* Not static: the assembly names them. */
uint64_t before[16], after[16], vectors_before[32], vectors_after[32];
uint64_t iterations, rsp_before, rsp_after;
uint8_t carry;

static volatile int *volatile nowhere = (volatile int *)8;

#define LOAD(name, index) "movq before+8*" #index "(%%rip), %%" #name "\n\t"
#define STORE(name, index) "movq %%" #name ", after+8*" #index "(%%rip)\n\t"
#define LOAD_VECTOR(n) "movdqu vectors_before+16*" #n "(%%rip), %%xmm" #n "\n\t"
#define STORE_VECTOR(n) "movdqu %%xmm" #n ", vectors_after+16*" #n "(%%rip)\n\t"

/* Counts down with every register set, the carry flag too, and reads them all back. */
__attribute__((noinline)) static void spin(void)
{
    __asm__ volatile(EACH_VECTOR(LOAD_VECTOR) "movq %%rsp, rsp_before(%%rip)\n\t"
                                              "movq iterations(%%rip), %%rcx\n\t" EACH(
                                                  LOAD) "stc\n\t"
                                                        "1: decq %%rcx\n\tjnz 1b\n\t"
                                                        "setc carry(%%rip)\n\t" EACH(
                                                            STORE) "movq %%rsp, "
                                                                   "rsp_after(%%rip)"
                                                                   "\n\t" EACH_VECTOR(STORE_VECTOR)
                     :
                     :
                     : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
                       "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
                       "memory", "cc");
}

/* first, period, rounds of the loop. Replies how many registers were not what they should be. */
FUNCTION(ticked_loop)
{
    UNUSED;
    uint64_t wrong = 0;
    for (int i = 0; i < 16; i++)
        before[i] = UINT64_C(0x0123456789abcdef) * (uint64_t)(i + 1);
    for (int i = 0; i < 32; i++)
        vectors_before[i] = UINT64_C(0xfedcba9876543210) * (uint64_t)(i + 3);
    if (arguments[1].as.u64 && raw(HL_ABI_OP_TIMER, arguments[0].as.u64, arguments[1].as.u64) != 0)
        return hl_guest_fail("no ticks");
    iterations = arguments[2].as.u64;
    spin();
    for (int i = 0; i < 13; i++)
        wrong += before[i] != after[i];
    for (int i = 0; i < 32; i++)
        wrong += vectors_before[i] != vectors_after[i];
    wrong += !carry || rsp_before != rsp_after;
    *reply = hl_value_u64(wrong);
    return HL_OK;
}

/* Waits in the host while a tick comes due there. Replies the flag. */
/* On a busy machine a tick may come before the wait. */
FUNCTION(tick_in_the_host)
{
    UNUSED;
    MAILBOX->tick = 0;
    for (int i = 0; i < 20 && !MAILBOX->tick; i++) {
        raw(HL_ABI_OP_TIMER, 1, 0);
        raw(HL_ABI_OP_WAIT, 100000000, 0);
    }
    *reply = hl_value_u64(MAILBOX->tick);
    return HL_OK;
}

/* Asks for ticks and for none by turns, for ever if count is 0. */
FUNCTION(flood)
{
    UNUSED;
    for (uint64_t i = 0; i < arguments[0].as.u64 || arguments[0].as.u64 == 0; i++)
        raw(HL_ABI_OP_TIMER, i % 3 == 0 ? UINT64_MAX : i % 3 == 1 ? 0 : UINT64_C(1) << 40, 1);
    *reply = hl_value_u64(1);
    return HL_OK;
}

/* duration, events. */
FUNCTION(wait_for)
{
    UNUSED;
    *reply = hl_value_i64(raw(HL_ABI_OP_WAIT, arguments[0].as.u64, arguments[1].as.u64));
    return HL_OK;
}

static void pend(uint64_t stream, const char *text, size_t size)
{
    struct hl_abi_output *output = (struct hl_abi_output *)HL_ABI_OUTPUT_ADDRESS;
    memcpy(output->bytes, text, size);
    output->stream = (uint32_t)stream;
    output->size = (uint32_t)size;
}

/* stream, text, then what to do: 0 return, 1 fault, 2 spin, 3 an illegal hypercall, 4 write as well, 5 ask for input,
 * 6 tell what became of it, 7 write without end. */
FUNCTION(leave_output)
{
    UNUSED;
    uint64_t what = arguments[2].as.u64;
    pend(arguments[0].as.u64, arguments[1].as.string.data, arguments[1].as.string.size);
    if (what == 1)
        *nowhere = 0;
    while (what == 2)
        __asm__ volatile("" : : : "memory");
    if (what == 3)
        raw(12345, 0, 0);
    if (what == 4) {
        MAILBOX->call.arg[2] = 6;
        raw(HL_ABI_OP_WRITE, 1, (uint64_t) "direct");
    }
    if (what == 5)
        raw(HL_ABI_OP_READ, (uint64_t)after, 1);
    if (what == 6)
        raw(HL_ABI_OP_WAIT, 0, 0);
    while (what == 7) {
        raw(HL_ABI_OP_WAIT, 0, 0);
        pend(arguments[0].as.u64, arguments[1].as.string.data, arguments[1].as.string.size);
    }
    *reply = hl_value_u64(((struct hl_abi_output *)HL_ABI_OUTPUT_ADDRESS)->stream);
    return HL_OK;
}

/* stream, size: no output that there can be. */
FUNCTION(malformed_output)
{
    UNUSED;
    struct hl_abi_output *output = (struct hl_abi_output *)HL_ABI_OUTPUT_ADDRESS;
    output->stream = (uint32_t)arguments[0].as.u64;
    output->size = (uint32_t)arguments[1].as.u64;
    raw(HL_ABI_OP_WAIT, 0, 0);
    return HL_OK;
}

FUNCTION(fault)
{
    UNUSED;
    *nowhere = 0;
    return HL_OK;
}

int main(void)
{
    if (hl_guest_export("ticked_loop", ticked_loop, NULL) ||
        hl_guest_export("flood", flood, NULL) ||
        hl_guest_export("tick_in_the_host", tick_in_the_host, NULL) ||
        hl_guest_export("wait_for", wait_for, NULL) || hl_guest_export("fault", fault, NULL) ||
        hl_guest_export("leave_output", leave_output, NULL) ||
        hl_guest_export("malformed_output", malformed_output, NULL))
        return 1;
    return hl_guest_serve();
}
