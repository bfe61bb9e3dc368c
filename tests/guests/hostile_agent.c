/*
 * The guest of the hostile suite: it does whatever the test tells it, by address and by machine
 * code, so that each attack is a line in the test. Its first argument chooses what it does wrong
 * before it serves.
 * guest-variants: musl
 */
#include <cpuid.h>
#include <hyperlight/abi/hypercall.h>
#include <hyperlight/abi/wire.h>
#include <hyperlight/abi/x86_64.h>
#include <hyperlight/guest.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define FUNCTION(name)                                                                             \
    static hl_status name(const hl_value *arguments, size_t count, hl_value *reply, void *user)
#define UNUSED (void)arguments, (void)count, (void)reply, (void)user

enum { PAGE = 4096, CODE_SIZE = 4 * PAGE, SCRATCH_SIZE = 64 * PAGE, VECTOR_SIZE = 4096 };

/* Code of attacks; between pages that nobody executes. */
static unsigned char code[CODE_SIZE] __attribute__((aligned(PAGE)));
static unsigned char scratch[SCRATCH_SIZE] __attribute__((aligned(PAGE)));
static const unsigned char constant[64] = {0xc3};
static unsigned char *heap;

/* A store that the compiler knows nothing of. */
static void store(uintptr_t address)
{
    __asm__ volatile("movb $1, (%0)" : : "r"(address) : "memory");
}

static uint64_t number(const hl_value *arguments, size_t count, size_t index)
{
    return index < count ? arguments[index].as.u64 : 0;
}

FUNCTION(echo)
{
    UNUSED;
    *reply = count == 1 ? arguments[0] : hl_value_list(arguments, count);
    return HL_OK;
}

/* Where things are; enum place of the test names the indices. */
FUNCTION(places)
{
    UNUSED;
    int on_stack = 0;
    const uint64_t all[] = {(uintptr_t)code,          (uintptr_t)scratch, (uintptr_t)echo,
                            (uintptr_t)constant,      (uintptr_t)heap,    (uintptr_t)&on_stack,
                            getauxval(HL_ABI_AT_SHIM)};
    hl_value *items = hl_guest_alloc(sizeof all / sizeof all[0] * sizeof *items);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        items[i] = hl_value_u64(all[i]);
    *reply = hl_value_list(items, sizeof all / sizeof all[0]);
    return HL_OK;
}

FUNCTION(peek)
{
    UNUSED;
    uint64_t size = number(arguments, count, 1);
    void *copy = hl_guest_alloc(size);
    memcpy(copy, (const void *)(uintptr_t)number(arguments, count, 0), size);
    *reply = hl_value_bytes(copy, size);
    return HL_OK;
}

FUNCTION(poke)
{
    UNUSED;
    memcpy((void *)(uintptr_t)number(arguments, count, 0), arguments[1].as.bytes.data,
           arguments[1].as.bytes.size);
    return HL_OK;
}

/* Fills memory with bytes that follow from a seed. */
FUNCTION(garble)
{
    UNUSED;
    unsigned char *at = (unsigned char *)(uintptr_t)number(arguments, count, 0);
    uint64_t state = number(arguments, count, 2) | 1;
    for (uint64_t i = 0; i < number(arguments, count, 1); i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        at[i] = (unsigned char)(state >> 56);
    }
    return HL_OK;
}

/* Makes a hypercall that the shim knows nothing of. Returns its result. */
FUNCTION(raw)
{
    UNUSED;
    volatile struct hl_abi_call *call = &((struct hl_abi_mailbox *)HL_ABI_MAILBOX_ADDRESS)->call;
    for (size_t i = 0; i < 6; i++)
        call->arg[i] = number(arguments, count, 1 + i);
    __asm__ volatile("outl %0, %1"
                     :
                     : "a"((uint32_t)number(arguments, count, 0)), "d"((uint16_t)HL_ABI_CALL_PORT)
                     : "memory");
    *reply = hl_value_i64(call->result);
    return HL_OK;
}

/* Runs machine code with two arguments. The page is never writable and executable at once. */
FUNCTION(execute)
{
    UNUSED;
    uint64_t (*function)(uint64_t, uint64_t) = (uint64_t(*)(uint64_t, uint64_t))(uintptr_t)code;
    mprotect(code, PAGE, PROT_READ | PROT_WRITE);
    memcpy(code, arguments[0].as.bytes.data, arguments[0].as.bytes.size);
    mprotect(code, PAGE, PROT_READ | PROT_EXEC);
    uint64_t result = function(number(arguments, count, 1), number(arguments, count, 2));
    __asm__ volatile("cld");
    *reply = hl_value_u64(result);
    return HL_OK;
}

/* From now on the code page may be written and executed, which the test's host side uses. */
FUNCTION(open_code)
{
    UNUSED;
    if (mprotect(code, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC))
        return hl_guest_fail("mprotect");
    memset(code, 0xcc, PAGE);
    memset(scratch, 0, sizeof scratch);
    return HL_OK;
}

struct fingerprint {
    unsigned char vector[VECTOR_SIZE]; /* in the format of XSAVE, which wants it aligned */
    uint64_t fs_base, gs_base, flags;
    uint16_t segments[6];
    uint16_t x87_control, x87_status;
    uint32_t mxcsr, protection_keys;
};

/* PKRU, where the processor lets user mode have it. */
static uint32_t read_protection_keys(void)
{
    unsigned eax = 0, ebx, ecx = 0, edx;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(ecx & 1u << 4))
        return 0;
    __asm__ volatile(".byte 0x0f, 0x01, 0xee" : "=a"(eax) : "c"(0) : "edx");
    return eax;
}

/* Everything of the processor that a program can see and that must not outlive a restore. */
FUNCTION(fingerprint)
{
    UNUSED;
    static struct fingerprint print __attribute__((aligned(64)));
    memset(&print, 0, sizeof print);
    __asm__ volatile("xsave64 %0" : "=m"(print.vector) : "a"(0xff), "d"(0) : "memory");
    __asm__ volatile("rdfsbase %0" : "=r"(print.fs_base));
    __asm__ volatile("rdgsbase %0" : "=r"(print.gs_base));
    __asm__ volatile("pushfq; popq %0" : "=r"(print.flags));
    print.flags &= ~(uint64_t)0x8d5; /* what arithmetic sets */
    __asm__ volatile("mov %%cs, %0" : "=r"(print.segments[0]));
    __asm__ volatile("mov %%ss, %0" : "=r"(print.segments[1]));
    __asm__ volatile("mov %%ds, %0" : "=r"(print.segments[2]));
    __asm__ volatile("mov %%es, %0" : "=r"(print.segments[3]));
    __asm__ volatile("mov %%fs, %0" : "=r"(print.segments[4]));
    __asm__ volatile("mov %%gs, %0" : "=r"(print.segments[5]));
    __asm__ volatile("fnstcw %0; fnstsw %1; stmxcsr %2"
                     : "=m"(print.x87_control), "=m"(print.x87_status), "=m"(print.mxcsr));
    print.protection_keys = read_protection_keys();
    *reply = hl_value_bytes(&print, sizeof print);
    return HL_OK;
}

/* A signal handler that changes nothing: the instruction faults again and again. */
static void return_to_fault(int signal)
{
    (void)signal;
}

static void spin_in_handler(int signal)
{
    (void)signal;
    for (volatile int i = 0; i >= 0; i = 0)
        continue;
}

static void recurse_in_handler(int signal)
{
    (void)signal;
    store(16);
}

/* Catches a signal in one of these ways; with a third argument, on a stack of its own. */
FUNCTION(catch)
{
    UNUSED;
    static void (*const handlers[])(int) = {return_to_fault, spin_in_handler, recurse_in_handler};
    struct sigaction action = {.sa_handler = handlers[number(arguments, count, 1)],
                               .sa_flags = SA_NODEFER};
    if (number(arguments, count, 2)) {
        const stack_t stack = {.ss_sp = scratch, .ss_size = sizeof scratch};
        action.sa_flags |= SA_ONSTACK;
        sigaltstack(&stack, NULL);
    }
    sigaction((int)number(arguments, count, 0), &action, NULL);
    return HL_OK;
}

static uint64_t recursion(volatile unsigned char *above)
{
    volatile unsigned char room[1000];
    room[0] = *above;
    return *above == 0 ? recursion(room) + room[0] : 0;
}

FUNCTION(overflow)
{
    UNUSED;
    unsigned char first = 0;
    *reply = hl_value_u64(recursion(&first));
    return HL_OK;
}

FUNCTION(log_line)
{
    UNUSED;
    for (uint64_t i = 0; i < number(arguments, count, 1); i++)
        hl_guest_log(3, "%.*s", (int)arguments[0].as.bytes.size, arguments[0].as.bytes.data);
    return HL_OK;
}

FUNCTION(print)
{
    UNUSED;
    uint64_t size = number(arguments, count, 0), written = 0;
    while (written < size) {
        uint64_t part = size - written < sizeof scratch ? size - written : sizeof scratch;
        ssize_t now = write(1, scratch, part);
        if (now < 0)
            return hl_guest_fail("write");
        written += (uint64_t)now;
    }
    return HL_OK;
}

/* Calls the host function of that name, `count` times. */
FUNCTION(call_host)
{
    UNUSED;
    char name[HL_NAME_MAX + 1] = "";
    memcpy(name, arguments[0].as.string.data, arguments[0].as.string.size);
    for (uint64_t i = 0; i < number(arguments, count, 1); i++)
        if (hl_guest_call(name, arguments + 2, count - 2, reply) == HL_OK && count > 2)
            *reply = hl_value_null();
    return HL_OK;
}

/* Whether a pattern, whose bytes come one higher so that the argument itself does not match, is
 * anywhere in these ranges. */
FUNCTION(find)
{
    UNUSED;
    size_t size = arguments[0].as.bytes.size;
    const hl_value *ranges = arguments[1].as.list.items;
    uint64_t found = 0;
    for (size_t i = 0; i < arguments[1].as.list.count; i += 2) {
        const unsigned char *at = (const unsigned char *)(uintptr_t)ranges[i].as.u64,
                            *end = at + ranges[i + 1].as.u64;
        for (; at + size <= end; at++) {
            size_t same = 0;
            while (same < size && at[same] == (unsigned char)(arguments[0].as.bytes.data[same] + 1))
                same++;
            found += same == size;
        }
    }
    *reply = hl_value_u64(found);
    return HL_OK;
}

static void copy_to_stack(int signal)
{
    volatile char room[512];
    (void)signal;
    for (size_t i = 0; i < sizeof room; i++)
        room[i] = (char)heap[i];
}

/* Leaves copies of its argument wherever it can: in every kind of memory, in the runtime, in a
 * signal's frame. */
FUNCTION(hoard)
{
    UNUSED;
    const hl_span *secret = &arguments[0].as.bytes;
    static char *kept;
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *gone = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    kept = malloc(secret->size);
    memcpy(kept, secret->data, secret->size);
    memcpy(heap, secret->data, secret->size);
    memcpy(scratch + SCRATCH_SIZE / 2, secret->data, secret->size);
    memcpy(page, secret->data, secret->size);
    memcpy(gone, secret->data, secret->size);
    munmap(gone, PAGE);
    mprotect(page, PAGE, PROT_NONE);
    memcpy((char *)HL_ABI_MAILBOX_ADDRESS + 3 * PAGE, secret->data, secret->size);
    memcpy((char *)HL_ABI_BOOT_ADDRESS + 1024, secret->data, secret->size);
    prctl(PR_SET_NAME, secret->data);
    if (write(1, secret->data, secret->size) < 0)
        return hl_guest_fail("write");
    hl_guest_log(1, "%.*s", (int)secret->size, secret->data);
    signal(SIGUSR1, copy_to_stack);
    raise(SIGUSR1);
    *reply = arguments[0];
    return HL_OK;
}

static bool spin_in_hook;

static void hook(const hl_guest_wake *wake, void *user)
{
    (void)wake, (void)user;
    while (spin_in_hook)
        __asm__ volatile("");
}

FUNCTION(spin_at_restore)
{
    UNUSED;
    spin_in_hook = true;
    return HL_OK;
}

/* Makes an EXPORTS message of `count` functions named by `name`, which gets their number. */
static uint64_t declare(uint64_t count, void (*name)(char *out, uint64_t number))
{
    unsigned char *message = calloc(1, 16 + count * 64), *at = message + 16;
    struct hl_wire_head head = {HL_WIRE_EXPORTS, (uint32_t)count, 0};
    const struct hl_wire_value null = {.type = HL_TYPE_NULL};
    for (uint64_t i = 0; i < count; i++) {
        char text[24] = "";
        name(text, i);
        struct hl_wire_value string = {.type = HL_TYPE_STRING, .data = strlen(text)};
        memcpy(at, &string, sizeof string);
        memcpy(at + sizeof string, text, string.data);
        at += sizeof string + (string.data + 8) / 8 * 8;
        memcpy(at, &null, sizeof null);
        at += sizeof null;
    }
    head.size = (uint64_t)(at - message);
    memcpy(message, &head, sizeof head);
    const struct hl_abi_shim *shim =
        (const struct hl_abi_shim *)(uintptr_t)getauxval(HL_ABI_AT_SHIM);
    return (uint64_t)shim->call(HL_ABI_OP_EXPORT, (uintptr_t)message, head.size, HL_ABI_VERSION_MIN,
                                HL_ABI_VERSION_MAX);
}

static void name_numbered(char *out, uint64_t number)
{
    out[0] = 'f';
    for (int i = 1; i < 6; i++, number /= 10)
        out[i] = (char)('0' + number % 10);
}

static void name_same(char *out, uint64_t number)
{
    (void)number;
    strcpy(out, "same");
}

static void name_bad(char *out, uint64_t number)
{
    (void)number;
    strcpy(out, "\xff\xfe");
}

static void misbehave(const char *how)
{
    if (!strcmp(how, "spin"))
        for (volatile int i = 0; i >= 0; i = 0)
            continue;
    if (!strcmp(how, "export-twice"))
        declare(3, name_numbered);
    if (!strcmp(how, "export-most"))
        declare(HL_WIRE_EXPORTS_MAX, name_numbered);
    if (!strcmp(how, "export-too-many"))
        declare(HL_WIRE_EXPORTS_MAX + 1, name_numbered);
    if (!strcmp(how, "export-same"))
        declare(2, name_same);
    if (!strcmp(how, "export-bad-text"))
        declare(1, name_bad);
    if (!strcmp(how, "fault"))
        store(0x123);
    if (!strcmp(how, "privileged"))
        __asm__ volatile("cli");
    if (!strcmp(how, "fault-loop")) {
        signal(SIGSEGV, return_to_fault);
        store(0x123);
    }
    if (!strcmp(how, "rest-with-outcome"))
        ((const struct hl_abi_shim *)(uintptr_t)getauxval(HL_ABI_AT_SHIM))
            ->call(HL_ABI_OP_REST, HL_ABI_OUTCOME_OK, 0, 0, 0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        hl_guest_function function;
    } functions[] = {
        {"echo", echo},       {"places", places},       {"peek", peek},
        {"poke", poke},       {"garble", garble},       {"raw", raw},
        {"execute", execute}, {"open_code", open_code}, {"fingerprint", fingerprint},
        {"catch", catch},     {"overflow", overflow},   {"log", log_line},
        {"print", print},     {"call_host", call_host}, {"spin_at_restore", spin_at_restore},
        {"find", find},       {"hoard", hoard},
    };
    heap = malloc(1 << 20);
    memset(heap, 0xc3, 1 << 20);
    if (argc > 1)
        misbehave(argv[1]);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (hl_guest_export(functions[i].name, functions[i].function, NULL))
            return 1;
    return hl_guest_on_restore(hook, NULL) ? 1 : hl_guest_serve();
}
