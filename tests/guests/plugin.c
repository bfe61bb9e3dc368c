/* The guest of the integration tests: one exported function for each thing that a call can come to.
 */
#include <errno.h>
#include <fenv.h>
#include <hyperlight/abi/hypercall.h>
#include <hyperlight/abi/x86_64.h>
#include <hyperlight/guest.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define FUNCTION(name)                                                                             \
    static hl_status name(const hl_value *arguments, size_t count, hl_value *reply, void *user)
#define UNUSED (void)arguments, (void)count, (void)reply, (void)user

enum { PAGE = 4096, SCATTERED_PAGES = 64, SCATTER_STRIDE = 5 };
static unsigned char scattered[SCATTERED_PAGES * SCATTER_STRIDE * PAGE]
    __attribute__((aligned(PAGE)));
static uint64_t counter;
static uint64_t hook_generation;
static uint32_t hook_count;

static uint64_t number(const hl_value *value)
{
    switch (value->type) {
    case HL_TYPE_I32:
        return (uint64_t)(int64_t)value->as.i32;
    case HL_TYPE_U32:
        return value->as.u32;
    case HL_TYPE_I64:
        return (uint64_t)value->as.i64;
    default:
        return value->as.u64;
    }
}

FUNCTION(echo)
{
    UNUSED;
    *reply = count == 1 ? arguments[0] : hl_value_list(arguments, count);
    return HL_OK;
}

FUNCTION(count_up)
{
    UNUSED;
    *reply = hl_value_u64(++counter);
    return HL_OK;
}

FUNCTION(fail)
{
    UNUSED;
    return hl_guest_fail("%.*s", (int)arguments[0].as.string.size, arguments[0].as.string.data);
}

FUNCTION(leave)
{
    UNUSED;
    exit((int)number(&arguments[0]));
}

FUNCTION(abort_now)
{
    UNUSED;
    abort();
}

/* Reads, writes (1) or executes (2) an address. */
FUNCTION(touch)
{
    UNUSED;
    volatile unsigned char *address = (volatile unsigned char *)(uintptr_t)number(&arguments[0]);
    switch (number(&arguments[1])) {
    case 0:
        *reply = hl_value_u64(*address);
        break;
    case 1:
        *address = 1;
        break;
    default:
        ((void (*)(void))(uintptr_t)address)();
    }
    return HL_OK;
}

FUNCTION(spin)
{
    UNUSED;
    for (volatile int i = 0; i >= 0; i = 0)
        continue;
    return HL_OK;
}

FUNCTION(sleep_ns)
{
    UNUSED;
    uint64_t ns = number(&arguments[0]);
    struct timespec time = {.tv_sec = (time_t)(ns / 1000000000),
                            .tv_nsec = (long)(ns % 1000000000)};
    nanosleep(&time, NULL);
    return HL_OK;
}

/* Allocates and fills memory: returns how much it got of `bytes`. */
FUNCTION(allocate)
{
    UNUSED;
    uint64_t wanted = number(&arguments[0]), got = 0;
    for (; got < wanted; got += 1 << 20) {
        void *piece = malloc(1 << 20);
        if (!piece)
            break;
        memset(piece, 0x5a, 1 << 20);
    }
    *reply = hl_value_u64(got);
    return HL_OK;
}

/* Touches memory that was never promised: a reservation larger than RAM. */
FUNCTION(overcommit)
{
    UNUSED;
    uint64_t size = number(&arguments[0]);
    unsigned char *area = mmap(NULL, size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        return hl_guest_fail("mmap: %d", errno);
    for (uint64_t i = 0; i < size; i += PAGE)
        area[i] = 1;
    return HL_OK;
}

FUNCTION(bytes)
{
    UNUSED;
    uint64_t size = number(&arguments[0]);
    char *data = hl_guest_alloc(size);
    if (!data)
        return hl_guest_fail("no memory for %llu bytes", (unsigned long long)size);
    memset(data, 'b', size);
    *reply = hl_value_bytes(data, size);
    return HL_OK;
}

/* Maps and unmaps small pieces; returns how many of their pages were not zero at first. */
FUNCTION(churn)
{
    UNUSED;
    enum { PIECES = 16, PIECE_SIZE = 3 * PAGE };
    static unsigned char *pieces[PIECES];
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < number(&arguments[0]); i++) {
        unsigned char **piece = &pieces[i * 7 % PIECES];
        if (*piece)
            munmap(*piece, PIECE_SIZE);
        *piece = mmap(NULL, PIECE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (int page = 0; page < 3; page++)
            wrong += (*piece)[page * PAGE] != 0;
        memset(*piece, 0xaa, PIECE_SIZE);
    }
    *reply = hl_value_u64(wrong);
    return HL_OK;
}

static char *untouched(uint64_t size)
{
    char *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return area == MAP_FAILED ? NULL : area;
}

/* Replies with memory that was never touched, or with a second argument sends it to the host
 * function "take". */
FUNCTION(lazy_bytes)
{
    UNUSED;
    uint64_t size = number(&arguments[0]);
    hl_value value = hl_value_bytes(untouched(size), size);
    if (count == 1)
        *reply = value;
    else if (hl_guest_call("take", &value, 1, reply) != HL_OK)
        return hl_guest_fail("%s", hl_guest_error());
    return HL_OK;
}

/* Reads into (0) or writes (1, 2) memory that was never touched; returns how much. */
FUNCTION(lazy_stream)
{
    UNUSED;
    int stream = (int)number(&arguments[0]);
    uint64_t size = number(&arguments[1]);
    char *area = untouched(size);
    *reply = hl_value_i64(stream ? write(stream, area, size) : read(stream, area, size));
    return HL_OK;
}

/* Calls the host function named by the first argument with the others. */
FUNCTION(call_host)
{
    UNUSED;
    char name[HL_NAME_MAX + 1] = "";
    memcpy(name, arguments[0].as.string.data, arguments[0].as.string.size);
    hl_status status = hl_guest_call(name, arguments + 1, count - 1, reply);
    if (status != HL_OK)
        return hl_guest_fail("%d: %s", (int)status, hl_guest_error());
    return HL_OK;
}

FUNCTION(call_host_often)
{
    UNUSED;
    char name[HL_NAME_MAX + 1] = "";
    memcpy(name, arguments[0].as.string.data, arguments[0].as.string.size);
    uint64_t failures = 0;
    for (uint64_t i = 0; i < number(&arguments[1]); i++)
        failures += hl_guest_call(name, NULL, 0, NULL) != HL_OK;
    *reply = hl_value_u64(failures);
    return HL_OK;
}

FUNCTION(print)
{
    UNUSED;
    int stream = (int)number(&arguments[0]);
    for (uint64_t i = 0; i < number(&arguments[2]); i++)
        if (write(stream, arguments[1].as.string.data, arguments[1].as.string.size) < 0)
            return hl_guest_fail("write: %d", errno);
    return HL_OK;
}

FUNCTION(read_line)
{
    UNUSED;
    char *line = hl_guest_alloc(256);
    ssize_t size = read(0, line, 256);
    *reply = hl_value_string_n(line, size < 0 ? 0 : (size_t)size);
    return HL_OK;
}

FUNCTION(log_text)
{
    UNUSED;
    hl_guest_log((int)number(&arguments[0]), "%.*s", (int)arguments[1].as.string.size,
                 arguments[1].as.string.data);
    return HL_OK;
}

/* Dirties `count` pages that lie apart, starting with a given one; returns the sum of what was
 * there. */
FUNCTION(scatter)
{
    UNUSED;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < number(&arguments[0]); i++) {
        unsigned char *page = scattered + i % SCATTERED_PAGES * SCATTER_STRIDE * PAGE;
        sum += *page;
        *page = (unsigned char)number(&arguments[1]);
    }
    *reply = hl_value_u64(sum);
    return HL_OK;
}

FUNCTION(map_and_protect)
{
    UNUSED;
    uint64_t pages = number(&arguments[0]);
    unsigned char *area =
        mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        return hl_guest_fail("mmap: %d", errno);
    memset(area, 0x77, pages * PAGE);
    if (mprotect(area, pages * PAGE, PROT_READ) || munmap(area + PAGE, PAGE))
        return hl_guest_fail("mprotect: %d", errno);
    *reply = hl_value_u64((uintptr_t)area);
    return HL_OK;
}

FUNCTION(random_bytes)
{
    UNUSED;
    char *data = hl_guest_alloc(32);
    if (getrandom(data, 32, 0) != 32)
        return hl_guest_fail("getrandom: %d", errno);
    *reply = hl_value_bytes(data, 32);
    return HL_OK;
}

FUNCTION(clocks)
{
    UNUSED;
    struct timespec real, monotonic;
    hl_value *items = hl_guest_alloc(2 * sizeof *items);
    clock_gettime(CLOCK_REALTIME, &real);
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    items[0] = hl_value_u64((uint64_t)real.tv_sec * 1000000000 + (uint64_t)real.tv_nsec);
    items[1] = hl_value_u64((uint64_t)monotonic.tv_sec * 1000000000 + (uint64_t)monotonic.tv_nsec);
    *reply = hl_value_list(items, 2);
    return HL_OK;
}

FUNCTION(hook_report)
{
    UNUSED;
    hl_value *items = hl_guest_alloc(2 * sizeof *items);
    items[0] = hl_value_u64(hook_generation);
    items[1] = hl_value_u32(hook_count);
    *reply = hl_value_list(items, 2);
    return HL_OK;
}

/* Sets the rounding mode, which is the program's until a restore takes it back. */
FUNCTION(rounding)
{
    UNUSED;
    int before = fegetround();
    if (count == 1)
        fesetround(number(&arguments[0]) ? FE_UPWARD : FE_TONEAREST);
    *reply = hl_value_i32(before == FE_UPWARD);
    return HL_OK;
}

/* Searches all of its own writable memory for a pattern whose bytes come one higher, so that the
 * argument itself does not match. */
FUNCTION(find_secret)
{
    UNUSED;
    size_t size = arguments[0].as.bytes.size;
    uint64_t found = 0;
    for (uint64_t i = 1; i < count; i += 2) {
        const unsigned char *start = (const unsigned char *)(uintptr_t)number(&arguments[i]);
        uint64_t length = number(&arguments[i + 1]);
        for (uint64_t offset = 0; offset + size <= length; offset++) {
            size_t same = 0;
            while (same < size &&
                   start[offset + same] == (unsigned char)(arguments[0].as.bytes.data[same] + 1))
                same++;
            found += same == size;
        }
    }
    *reply = hl_value_u64(found);
    return HL_OK;
}

/* Is exported with the promise of a number. */
FUNCTION(lie)
{
    UNUSED;
    *reply = hl_value_string("no number");
    return HL_OK;
}

/* Hypercalls that the SDK would not make. */
FUNCTION(raw_rest)
{
    UNUSED;
    const struct hl_abi_shim *shim = (const struct hl_abi_shim *)getauxval(HL_ABI_AT_SHIM);
    shim->call(HL_ABI_OP_REST, number(&arguments[0]), number(&arguments[1]), number(&arguments[2]),
               0);
    return HL_OK;
}

FUNCTION(raw_rest_text)
{
    UNUSED;
    const struct hl_abi_shim *shim = (const struct hl_abi_shim *)getauxval(HL_ABI_AT_SHIM);
    shim->call(HL_ABI_OP_REST, HL_ABI_OUTCOME_OK, (uintptr_t)arguments[0].as.bytes.data,
               arguments[0].as.bytes.size, 0);
    return HL_OK;
}

FUNCTION(raw_out)
{
    UNUSED;
    uint32_t op = (uint32_t)number(&arguments[0]);
    __asm__ volatile("outl %0, %1" : : "a"(op), "d"((uint16_t)HL_ABI_CALL_PORT) : "memory");
    return HL_OK;
}

static void hook(const hl_guest_wake *wake, void *user)
{
    (void)user;
    hook_generation = wake->generation;
    hook_count++;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        hl_guest_function function;
    } functions[] = {
        {"echo", echo},
        {"count_up", count_up},
        {"fail", fail},
        {"leave", leave},
        {"abort", abort_now},
        {"touch", touch},
        {"spin", spin},
        {"sleep_ns", sleep_ns},
        {"allocate", allocate},
        {"overcommit", overcommit},
        {"bytes", bytes},
        {"call_host", call_host},
        {"call_host_often", call_host_often},
        {"print", print},
        {"read_line", read_line},
        {"log", log_text},
        {"scatter", scatter},
        {"map_and_protect", map_and_protect},
        {"random_bytes", random_bytes},
        {"clocks", clocks},
        {"hook_report", hook_report},
        {"rounding", rounding},
        {"find_secret", find_secret},
        {"raw_rest", raw_rest},
        {"raw_rest_text", raw_rest_text},
        {"raw_out", raw_out},
        {"lazy_bytes", lazy_bytes},
        {"lazy_stream", lazy_stream},
        {"churn", churn},
    };
    static const hl_type text_and_count[] = {HL_TYPE_STRING, HL_TYPE_I32};
    const hl_signature typed = {text_and_count, 2, HL_TYPE_ANY};
    const hl_signature promise = {NULL, 0, HL_TYPE_I32};
    if (argc > 1 && !strcmp(argv[1], "spin"))
        for (volatile int i = 0;; i++)
            continue;
    if (argc > 1 && !strcmp(argv[1], "exit"))
        return 3;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (hl_guest_export(functions[i].name, functions[i].function, NULL))
            return 1;
    if (hl_guest_export_typed("typed", &typed, echo, NULL) ||
        hl_guest_export_typed("lie", &promise, lie, NULL) || hl_guest_on_restore(hook, NULL))
        return 1;
    return hl_guest_serve();
}
