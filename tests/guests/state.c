/*
 * The guest of the restore tests: changes every kind of state that a restore must take back, and
 * says what it finds.
 * guest-variants: musl
 */
#include <cpuid.h>
#include <hyperlight/abi/hypercall.h>
#include <hyperlight/abi/wire.h>
#include <hyperlight/abi/x86_64.h>
#include <hyperlight/guest.h>
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define FUNCTION(name)                                                                             \
    static hl_status name(const hl_value *arguments, size_t count, hl_value *reply, void *user)
#define UNUSED (void)arguments, (void)count, (void)reply, (void)user

enum { PAGE = 4096, STATIC_PAGES = 48, HEAP_PIECES = 64, RET = 0xc3 };

static unsigned char memory[STATIC_PAGES * PAGE] __attribute__((aligned(PAGE)));
static _Thread_local unsigned char thread_memory[256];
static unsigned char *pieces[HEAP_PIECES];
static size_t piece_sizes[HEAP_PIECES];
static uint64_t counter;

static uint64_t number(const hl_value *value)
{
    return value->type == HL_TYPE_U64 ? value->as.u64 : (uint64_t)value->as.i32;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

FUNCTION(echo)
{
    UNUSED;
    *reply = count ? arguments[0] : hl_value_null();
    return HL_OK;
}

/* Deterministic: what it leaves in vector registers depends on the code alone. */
FUNCTION(fixed)
{
    UNUSED;
    *reply = hl_value_u64(++counter);
    return HL_OK;
}

static void stack_dirty(uint64_t random, size_t size)
{
    unsigned char deep[size];
    memset(deep, (int)random, size);
    __asm__ volatile("" : : "r"(deep) : "memory");
}

/* Random words into static, thread and stack memory. */
FUNCTION(scribble)
{
    UNUSED;
    uint64_t random = number(&arguments[0]) | 1;
    for (uint64_t i = 0; i < number(&arguments[1]); i++) {
        uint64_t value = next_random(&random);
        memcpy(memory + value % (sizeof memory - 8), &value, 8);
        thread_memory[value >> 32 & 255] = (unsigned char)value;
    }
    stack_dirty(random, 1024 + random % 30000);
    return HL_OK;
}

/* Allocates, resizes and frees. */
FUNCTION(heap)
{
    UNUSED;
    uint64_t random = number(&arguments[0]) | 1;
    for (uint64_t i = 0; i < number(&arguments[1]); i++) {
        uint64_t value = next_random(&random);
        size_t at = value % HEAP_PIECES, size = value >> 20 & 0x3fff;
        if (value >> 60 == 0)
            size *= 16;
        if (value >> 50 & 1) {
            free(pieces[at]);
            pieces[at] = malloc(size);
        } else {
            unsigned char *larger = realloc(pieces[at], size ? size : 1);
            pieces[at] = larger ? larger : pieces[at];
        }
        piece_sizes[at] = pieces[at] ? malloc_usable_size(pieces[at]) : 0;
        if (pieces[at] && size)
            memset(pieces[at], (int)value, size < piece_sizes[at] ? size : piece_sizes[at]);
    }
    return HL_OK;
}

static void *at_page(const hl_value *base, uint64_t page, const hl_value *stride)
{
    return (void *)(uintptr_t)(number(base) + page * number(stride));
}

/* Maps one page with the given rights; its first byte is a RET, so that executing it tells its
 * rights and nothing else. */
static bool page_map(void *address, int rights)
{
    unsigned char *page =
        mmap(address, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (page == MAP_FAILED)
        return false;
    page[0] = RET;
    return rights == (PROT_READ | PROT_WRITE) || mprotect(page, PAGE, rights) == 0;
}

static bool page_protect(void *address, int rights)
{
    return mprotect(address, PAGE, rights) == 0;
}

static bool page_unmap(void *address, int rights)
{
    (void)rights;
    return munmap(address, PAGE) == 0;
}

/* Does something with `count` pages, `stride` bytes apart; tells for which of them it worked. */
static hl_status each_page(const hl_value *arguments, bool (*change)(void *, int), hl_value *reply)
{
    uint64_t done = 0;
    for (uint64_t page = 0; page < number(&arguments[2]); page++)
        if (change(at_page(&arguments[0], page, &arguments[1]), (int)number(&arguments[3])))
            done |= UINT64_C(1) << page;
    *reply = hl_value_u64(done);
    return HL_OK;
}

FUNCTION(map)
{
    UNUSED;
    return each_page(arguments, page_map, reply);
}

/* In one system call if all pages are there and adjacent. */
FUNCTION(protect)
{
    UNUSED;
    if (number(&arguments[1]) == PAGE)
        mprotect(at_page(&arguments[0], 0, &arguments[1]), number(&arguments[2]) * PAGE,
                 (int)number(&arguments[3]));
    return each_page(arguments, page_protect, reply);
}

FUNCTION(unmap)
{
    UNUSED;
    if (number(&arguments[1]) == PAGE)
        munmap(at_page(&arguments[0], 0, &arguments[1]), number(&arguments[2]) * PAGE);
    return each_page(arguments, page_unmap, reply);
}

/* Memory that is only reserved, then touched here and there. */
FUNCTION(lazy)
{
    UNUSED;
    uint64_t random = number(&arguments[0]) | 1, pages = number(&arguments[1]);
    unsigned char *area =
        mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        return hl_guest_fail("no memory for %llu pages", (unsigned long long)pages);
    for (uint64_t i = 0; i < pages; i += 1 + next_random(&random) % 40)
        area[i * PAGE] = (unsigned char)random;
    return HL_OK;
}

/* Writes to each of many pages. */
FUNCTION(fill)
{
    UNUSED;
    static unsigned char *area;
    static uint64_t area_pages;
    uint64_t pages = number(&arguments[0]);
    if (pages > area_pages) {
        area = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        area_pages = pages;
    }
    for (uint64_t i = 0; i < pages; i++)
        area[i * PAGE + i % PAGE] = (unsigned char)(number(&arguments[1]) + 1);
    return HL_OK;
}

static sigjmp_buf probe_failed;

static void probe_fault(int signal)
{
    (void)signal;
    siglongjmp(probe_failed, 1);
}

static bool probe_one(volatile unsigned char *address, int right)
{
    if (sigsetjmp(probe_failed, 1))
        return false;
    if (right == PROT_READ)
        (void)*address;
    else if (right == PROT_WRITE)
        *address = RET;
    else
        ((void (*)(void))(uintptr_t)address)();
    return true;
}

/* What the program may do with each of the addresses: a byte of PROT_ bits for each. */
FUNCTION(probe)
{
    UNUSED;
    const uint64_t *addresses = (const uint64_t *)arguments[0].as.bytes.data;
    size_t found = arguments[0].as.bytes.size / sizeof *addresses;
    unsigned char *rights = hl_guest_alloc(found + 1);
    signal(SIGSEGV, probe_fault);
    for (size_t i = 0; i < found; i++)
        for (int right = PROT_READ; right <= PROT_EXEC; right <<= 1)
            if (probe_one((volatile unsigned char *)(uintptr_t)addresses[i], right))
                rights[i] |= (unsigned char)right;
    signal(SIGSEGV, SIG_DFL);
    *reply = hl_value_bytes(rights, found);
    return HL_OK;
}

FUNCTION(print)
{
    UNUSED;
    if (write((int)number(&arguments[0]), memory, number(&arguments[1])) < 0)
        return hl_guest_fail("write");
    return HL_OK;
}

FUNCTION(read_input)
{
    UNUSED;
    ssize_t size = read(0, memory, number(&arguments[0]));
    *reply = hl_value_bytes(memory, size < 0 ? 0 : (size_t)size);
    return HL_OK;
}

FUNCTION(call_host)
{
    UNUSED;
    if (hl_guest_call("host", arguments, count, reply) != HL_OK)
        return hl_guest_fail("%s", hl_guest_error());
    return HL_OK;
}

FUNCTION(spin)
{
    UNUSED;
    for (volatile int i = 0; i >= 0; i = 0)
        continue;
    return HL_OK;
}

FUNCTION(touch)
{
    UNUSED;
    *(volatile unsigned char *)(uintptr_t)number(&arguments[0]) = 1;
    return HL_OK;
}

FUNCTION(leave)
{
    UNUSED;
    exit(1);
}

FUNCTION(clocks)
{
    UNUSED;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    memcpy(memory, &now, sizeof now);
    return HL_OK;
}

FUNCTION(raw_out)
{
    UNUSED;
    uint32_t op = (uint32_t)number(&arguments[0]);
    __asm__ volatile("outl %0, %1" : : "a"(op), "d"((uint16_t)HL_ABI_CALL_PORT) : "memory");
    return HL_OK;
}

/* XCR0, or 0 if the processor keeps it to itself. */
static uint64_t vector_components(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (uint64_t)d << 32 | a;
}

#define FILL_SSE(n) "movq %0, %%xmm" #n "\n\tpunpcklqdq %%xmm" #n ", %%xmm" #n "\n\t"
#define FILL_AVX(n) "vinsertf128 $1, %%xmm" #n ", %%ymm" #n ", %%ymm" #n "\n\t"
#define FILL_512(n) "vpbroadcastq %0, %%zmm" #n "\n\t"
#define FILL_MASK(n) "kmovq %0, %%k" #n "\n\t"
#define SIXTEEN(F)                                                                                 \
    F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
#define UPPER(F)                                                                                   \
    F(16) F(17) F(18) F(19) F(20) F(21) F(22) F(23) F(24) F(25) F(26) F(27) F(28) F(29) F(30) F(31)
#define EIGHT(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)

/* Fills all vector, mask and x87 registers that the machine has, and makes the control words
 * unusual. */
static inline __attribute__((always_inline)) void vector_fill(uint64_t pattern)
{
    uint64_t components = vector_components();
    uint32_t control = 0x3f80; /* round up */
    uint16_t x87_control = 0xf7f;
    __asm__ volatile(SIXTEEN(FILL_SSE) : : "r"(pattern) : "memory");
    if (components & 4)
        __asm__ volatile(SIXTEEN(FILL_AVX) : : : "memory");
    if ((components & 0xe0) == 0xe0)
        __asm__ volatile(SIXTEEN(FILL_512) UPPER(FILL_512) EIGHT(FILL_MASK)
                         :
                         : "r"(pattern)
                         : "memory");
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1\n\tfldpi\n\tfldl2e\n\tfldpi"
                     :
                     : "m"(control), "m"(x87_control));
}

FUNCTION(vector)
{
    UNUSED;
    vector_fill(number(&arguments[0]));
    return HL_OK;
}

static struct {
    struct hl_wire_head head;
    struct hl_wire_value value;
} null_reply = {{HL_WIRE_VALUE, 1, sizeof null_reply}, {.type = HL_TYPE_NULL}};

/* Rests, but not in the shim: by an OUT of its own, with the pattern in every register and odd
 * flags. Only a restore finds back. */
FUNCTION(hostile_rest)
{
    UNUSED;
    uint64_t pattern = number(&arguments[0]);
    struct hl_abi_mailbox *mailbox = (struct hl_abi_mailbox *)HL_ABI_MAILBOX_ADDRESS;
    mailbox->call.arg[0] = HL_ABI_OUTCOME_OK;
    mailbox->call.arg[1] = (uintptr_t)&null_reply;
    mailbox->call.arg[2] = sizeof null_reply;
    vector_fill(pattern);
    __asm__ volatile(
        "pushfq\n\t orq $0x40400, (%%rsp)\n\t popfq\n\t"
        "wrfsbase %0\n\t wrgsbase %0\n\t"
        "mov %0, %%rbx\n\t mov %%rbx, %%rcx\n\t mov %%rbx, %%rsi\n\t mov %%rbx, %%rdi\n\t"
        "mov %%rbx, %%rbp\n\t mov %%rbx, %%r8\n\t mov %%rbx, %%r9\n\t mov %%rbx, %%r10\n\t"
        "mov %%rbx, %%r11\n\t mov %%rbx, %%r12\n\t mov %%rbx, %%r13\n\t mov %%rbx, %%r14\n\t"
        "mov %%rbx, %%r15\n\t mov %%rbx, %%rsp\n\t mov %%rbx, %%rax\n\t mov %%rbx, %%rdx\n\t"
        "mov %1, %%eax\n\t mov %2, %%dx\n\t out %%eax, %%dx\n\t ud2"
        :
        : "r"(pattern & 0x7fffffffffff), "i"(HL_ABI_OP_REST), "i"(HL_ABI_CALL_PORT)
        : "memory");
    __builtin_unreachable();
}

/* The canvas: pages whose rights differ from one to the next, every fifth a hole. The argument is
 * ADDRESS,PAGES. */
static bool make_canvas(uint64_t address, uint64_t pages)
{
    static const int rights[] = {PROT_READ | PROT_WRITE, PROT_READ, PROT_READ | PROT_EXEC,
                                 PROT_NONE};
    for (uint64_t page = 0; page < pages; page++)
        if (page % 5 != 4 &&
            !page_map((void *)(uintptr_t)(address + page * PAGE), rights[page % 5]))
            return false;
    return true;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        hl_guest_function function;
    } functions[] = {
        {"echo", echo},
        {"fixed", fixed},
        {"scribble", scribble},
        {"heap", heap},
        {"map", map},
        {"protect", protect},
        {"unmap", unmap},
        {"lazy", lazy},
        {"fill", fill},
        {"probe", probe},
        {"print", print},
        {"read_input", read_input},
        {"call_host", call_host},
        {"spin", spin},
        {"touch", touch},
        {"leave", leave},
        {"clocks", clocks},
        {"raw_out", raw_out},
        {"vector", vector},
        {"hostile_rest", hostile_rest},
    };
    char *end;
    uint64_t canvas = argc > 1 ? strtoull(argv[1], &end, 0) : 0;
    if (canvas && !make_canvas(canvas, strtoull(end + 1, NULL, 0)))
        return 2;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (hl_guest_export(functions[i].name, functions[i].function, NULL))
            return 1;
    return hl_guest_serve();
}
