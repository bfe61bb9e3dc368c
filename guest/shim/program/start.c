/* Starts the program: loads its segments, builds its stack and auxiliary vector, and says where it
 * begins. */
#include "program/start.h"
#include "time/clock.h"
#include "host/edits.h"
#include "program/elf.h"
#include "host/host.h"
#include "file/file.h"
#include "base/linux.h"
#include "base/machine.h"
#include "memory/memory.h"
#include "base/random.h"
#include "signal/signal.h"
#include "thread/thread.h"
#include "entry/state.h"
#include "base/text.h"

#include <string.h>

#define IMAGE_BASE 0x550000000000ull /* position-independent programs, plus up to 1 TiB */
#define MAP_BASE 0x100000000000ull   /* mappings without a wish, plus up to 1 TiB */
#define SPREAD_PAGES (1ull << 28)
#define STACK_SPREAD_PAGES (1ull << 22)
#define BREAK_SPREAD_PAGES (1ull << 13) /* as in Linux */
#define STACK_SIZE_MAX (8ull << 20)
#define STACK_GUARD_SIZE (1ull << 20)
#define STACK_BACKED_SIZE (64ull << 10)     /* below what the start writes */
#define ZEROES_EAGER_MAX (4ull << 20)       /* of a segment, and at most an eighth of memory */
#define ZEROES_POPULATED_MAX (256ull << 10) /* the host pays for the rest when it is touched */
#define AUX_ENTRIES_MAX 24
#define FLAGS_START 0x202ull

/* Values that entry.S repeats. */
HL_ABI_ASSERT(HL_ABI_OP_REST == 1 && HL_ABI_OP_EXPORT == 2 && HL_ABI_OP_HOST_CALL == 3 &&
              HL_ABI_OP_LOG == 8);
HL_ABI_ASSERT(HL_ABI_SHIM_IMAGE_MAGIC == 0x494c4831u);

int64_t hl__door_call(uint64_t op, uint64_t arg0, uint64_t arg1, uint64_t arg2, uint64_t arg3);

static const struct hl_abi_shim door = {
    .magic = HL_ABI_SHIM_MAGIC,
    .version_min = HL_ABI_VERSION_MIN,
    .version_max = HL_ABI_VERSION_MAX,
    .call = hl__door_call,
    .request = &((const struct hl_abi_mailbox *)HL_ABI_MAILBOX_ADDRESS)->request,
    .wake = (const struct hl_abi_wake *)HL_ABI_WAKE_ADDRESS,
};

extern const uint8_t hl__vdso[]; /* vdso/image.S */

static struct hl__elf_plan plan;

static _Noreturn void refuse_too_large(const char *what, uint64_t page_count)
{
    char bytes[HL_ABI_REFUSAL_TEXT_MAX];
    struct hl__text text;

    hl__text_start(&text, bytes, sizeof bytes);
    hl__text_add(&text, what);
    hl__text_add(&text, " of ");
    hl__text_add_number(&text, page_count * HL_ABI_PAGE_SIZE / 1024);
    hl__text_add(&text, " KiB; the sandbox has ");
    hl__text_add_number(&text, hl__memory.total_pages * HL_ABI_PAGE_SIZE / 1024);
    hl__text_add(&text, " KiB of memory");
    hl__host_refuse(HL_ABI_REFUSAL_TOO_LARGE, bytes);
}

static _Noreturn void refuse_segment(const struct hl__elf_segment *segment)
{
    refuse_too_large("the program has a segment", segment->page_count);
}

/* How far a position-independent image moves. */
static uint64_t image_shift(void)
{
    uint64_t mask = plan.alignment - 1;

    if (!plan.movable)
        return 0;
    return ((IMAGE_BASE + hl__random_number() % SPREAD_PAGES * HL_ABI_PAGE_SIZE + mask) & ~mask) -
           (plan.start & ~mask);
}

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Backs a segment up to the end of its copied bytes, and zeroes beyond. */
static int64_t back_copied(uint64_t start, uint64_t end, uint64_t copied_end, uint64_t flags)
{
    uint64_t eighth = HL__PAGE_DOWN(hl__memory.total_pages * HL_ABI_PAGE_SIZE / 8);
    uint64_t backed_end = copied_end + lower(eighth, ZEROES_EAGER_MAX);
    uint64_t populated_end = lower(copied_end + ZEROES_POPULATED_MAX, backed_end);

    backed_end = lower(backed_end, end);
    populated_end = lower(populated_end, end);
    if (populated_end < backed_end &&
        hl__memory_back_later(populated_end, backed_end, flags, false) < 0)
        return -ENOMEM;
    return hl__memory_back(start, populated_end, flags, copied_end > start);
}

/* Private memory that starts with the file's bytes: written before its final rights are set. */
static void load_copied(const struct hl__elf_segment *segment, uint64_t shift)
{
    uint64_t start = segment->address + shift, end = start + segment->page_count * HL_ABI_PAGE_SIZE;
    uint64_t copy_to = segment->copy_address + shift;
    uint64_t copied_end = segment->copy_size ? HL__PAGE_UP(copy_to + segment->copy_size) : start;
    uint32_t rights = segment->rights | HL__RIGHTS_DATA;
    uint64_t flags = rights | HL__VMA_COMMITTED;

    if (hl__memory_map(start, end, flags) < 0 || back_copied(start, end, copied_end, flags) < 0)
        refuse_segment(segment);
    memcpy((void *)copy_to, hl__memory.program + segment->copy_offset, segment->copy_size);
    if (rights != (segment->rights ? segment->rights | HL_ABI_RIGHT_READ : 0) &&
        hl__memory_protect(start, end, segment->rights ? segment->rights | HL_ABI_RIGHT_READ : 0) <
            0)
        refuse_segment(segment);
}

static void load_mapped(const struct hl__elf_segment *segment, uint64_t shift)
{
    uint64_t start = segment->address + shift;
    uint32_t rights = segment->rights ? segment->rights | HL_ABI_RIGHT_READ : 0;

    if (hl__memory_map_program(start, start + segment->page_count * HL_ABI_PAGE_SIZE,
                               segment->file_offset, rights) < 0)
        refuse_segment(segment);
}

static void load_image(uint64_t shift)
{
    for (uint32_t i = 0; i < plan.segment_count; i++) {
        const struct hl__elf_segment *segment = &plan.segments[i];

        if (segment->copied)
            load_copied(segment, shift);
        else
            load_mapped(segment, shift);
    }
    hl__memory.break_start = hl__memory.break_end =
        plan.end + shift + hl__random_number() % BREAK_SPREAD_PAGES * HL_ABI_PAGE_SIZE;
}

/* Reserves the stack with unmapped pages below, and backs its top for `start_size` bytes and some
 * more; with the exit that the image costs. */
static void make_stack(uint64_t start_size)
{
    struct hl__memory *memory = &hl__memory;
    uint64_t flags = HL__RIGHTS_DATA | HL__VMA_COMMITTED | HL__VMA_STACK |
                     (plan.stack_executable ? HL_ABI_RIGHT_EXECUTE : 0);
    uint64_t size = HL__PAGE_DOWN(memory->total_pages * HL_ABI_PAGE_SIZE / 8);
    uint64_t backed = HL__PAGE_UP(start_size + STACK_BACKED_SIZE);

    if (size > STACK_SIZE_MAX)
        size = STACK_SIZE_MAX;
    memory->stack_end =
        HL_ABI_USER_END - (1 + hl__random_number() % STACK_SPREAD_PAGES) * HL_ABI_PAGE_SIZE;
    memory->stack_start = memory->stack_end - size;
    if (backed > size / 2)
        backed = HL__PAGE_UP(start_size + HL_ABI_PAGE_SIZE);
    if (backed > size / 2)
        refuse_too_large("arguments and environment take a stack", HL__PAGES(backed));
    if (hl__memory_map(memory->stack_start - STACK_GUARD_SIZE, memory->stack_start, 0) < 0 ||
        hl__memory_map(memory->stack_start, memory->stack_end, flags) < 0 ||
        hl__memory_back_later(memory->stack_end - backed, memory->stack_end, flags, true) < 0)
        refuse_too_large("the program needs a stack", HL__PAGES(size));
}

struct start_texts {
    uint64_t arguments; /* the first string; the environment follows */
    uint64_t platform, random;
};

static uint64_t push(uint64_t *top, const void *bytes, uint64_t size)
{
    *top -= size;
    if (bytes)
        memcpy((void *)*top, bytes, size);
    return *top;
}

static struct start_texts push_texts(uint64_t *top)
{
    const struct hl_abi_boot *boot = HL__BOOT;
    struct start_texts texts;
    uint8_t random[16];

    hl__random_bytes(random, sizeof random);
    *top -= 8; /* the last word of a stack is zero */
    texts.arguments = push(top, boot->strings, boot->strings_size);
    texts.platform = push(top, "x86_64", sizeof "x86_64");
    *top &= ~15ull;
    texts.random = push(top, random, sizeof random);
    return texts;
}

struct aux_entry {
    uint64_t key, value;
};

static uint32_t make_aux(struct aux_entry *aux, const struct start_texts *texts, uint64_t shift)
{
    const struct aux_entry entries[] = {
        {AT_SYSINFO_EHDR, (uint64_t)hl__vdso},
        {AT_PHDR, plan.headers ? plan.headers + shift : 0},
        {AT_PHENT, 56},
        {AT_PHNUM, plan.header_count},
        {AT_PAGESZ, HL_ABI_PAGE_SIZE},
        {AT_BASE, 0},
        {AT_FLAGS, 0},
        {AT_ENTRY, plan.entry + shift},
        {AT_UID, 0},
        {AT_EUID, 0},
        {AT_GID, 0},
        {AT_EGID, 0},
        {AT_SECURE, 0},
        {AT_CLKTCK, 100},
        {AT_RANDOM, texts->random},
        {AT_EXECFN, texts->arguments},
        {AT_PLATFORM, texts->platform},
        {AT_HWCAP, hl__cpuid(1, 0).edx},
        {AT_HWCAP2, HWCAP2_FSGSBASE},
        {AT_MINSIGSTKSZ, hl__vector_state_size() + sizeof(struct linux_sigframe) + 256},
        {HL_ABI_AT_SHIM, (uint64_t)&door},
        {AT_NULL, 0},
    };

    HL_ABI_ASSERT(sizeof entries / sizeof entries[0] <= AUX_ENTRIES_MAX);
    memcpy(aux, entries, sizeof entries);
    return sizeof entries / sizeof entries[0];
}

/* Writes pointers to `count` strings and a null pointer; returns where the strings go on. */
static uint64_t write_pointers(uint64_t **at, uint64_t string, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        *(*at)++ = string;
        string += hl__string_length((const char *)string) + 1;
    }
    *(*at)++ = 0;
    return string;
}

/* Returns the initial stack pointer. */
static uint64_t fill_stack(uint64_t shift)
{
    const struct hl_abi_boot *boot = HL__BOOT;
    uint64_t top = hl__memory.stack_end;
    struct start_texts texts = push_texts(&top);
    struct aux_entry aux[AUX_ENTRIES_MAX];
    uint32_t aux_count = make_aux(aux, &texts, shift);
    uint64_t words = 1 + boot->argument_count + 1 + boot->environment_count + 1 + aux_count * 2ull;
    uint64_t *at = (uint64_t *)((top - words * 8) & ~15ull);
    uint64_t stack_pointer = (uint64_t)at;
    uint64_t string;

    *at++ = boot->argument_count;
    string = write_pointers(&at, texts.arguments, boot->argument_count);
    write_pointers(&at, string, boot->environment_count);
    memcpy(at, aux, aux_count * sizeof aux[0]);
    return stack_pointer;
}

static uint64_t start_size(void)
{
    const struct hl_abi_boot *boot = HL__BOOT;

    return boot->strings_size + 8ull * (boot->argument_count + boot->environment_count) + 4096;
}

static void init(void)
{
    const struct hl_abi_boot *boot = HL__BOOT;

    if (hl__host_hello() < 0 || boot->magic != HL_ABI_BOOT_MAGIC)
        hl__host_refuse(HL_ABI_REFUSAL_INVALID, "the host speaks another version of the contract");
    hl__clock_init();
    if (!hl__memory_init(HL__PAGES(HL__PAGE_UP(boot->ram_free_offset)), HL__PAGES(boot->ram_size),
                         HL_ABI_HEAP_ADDRESS, (const void *)HL_ABI_PROGRAM_ADDRESS))
        refuse_too_large("the runtime needs memory", 32);
    hl__threads_init();
    hl__process()->descriptors = hl__descriptors_new();
    if (!hl__process()->descriptors || !hl__streams_init(hl__process()->descriptors) ||
        !hl__tree_init())
        refuse_too_large("the runtime needs memory", 32);
    hl__memory.map_base = MAP_BASE + hl__random_number() % SPREAD_PAGES * HL_ABI_PAGE_SIZE;
}

void hl__start_program(void)
{
    uint64_t shift;

    init();
    if (!hl__elf_read(&plan, hl__memory.program, HL__BOOT->program_size))
        hl__host_refuse(plan.refusal, plan.text);
    if (plan.copied_pages > hl__memory.total_pages)
        refuse_too_large("the program needs memory", plan.copied_pages);
    shift = image_shift();
    make_stack(start_size());
    load_image(shift);
    if (hl__memory_back_now() < 0)
        refuse_too_large("the program needs page tables for an image",
                         HL__PAGES(plan.end - plan.start));
    hl__hot.syscall = (struct hl_abi_registers){
        .rip = plan.entry + shift, .rsp = fill_stack(shift), .rflags = FLAGS_START};
}
