/* Maps a program and its interpreter, and builds its stack and auxiliary vector. */
#include "program/load.h"
#include "base/linux.h"
#include "base/machine.h"
#include "base/random.h"
#include "base/text.h"
#include "entry/state.h"
#include "file/credentials.h"
#include "file/file.h"
#include "file/proc.h"
#include "host/edits.h"
#include "host/host.h"
#include "memory/memory.h"
#include "memory/stubs.h"
#include "program/limits.h"
#include "program/start.h"
#include "thread/thread.h"

#include <string.h>

#define IMAGE_BASE 0x550000000000ull /* position-independent programs, plus up to 1 TiB */
#define SPREAD_PAGES (1ull << 28)
/* Mappings without a wish, plus up to 128 GiB: high up as on Linux. Sanitizers and some Lisps count on
 * that, and map other ranges of fixed addresses. */
#define MAP_BASE 0x7e8000000000ull
#define MAP_SPREAD_PAGES (1ull << 25)
#define STACK_SPREAD_PAGES (1ull << 22)
#define BREAK_SPREAD_PAGES (1ull << 13)     /* as in Linux */
#define STACK_BACKED_SIZE (64ull << 10)     /* below what the start writes */
#define SHOWN_EAGER_MAX (2ull << 20)        /* of a segment that shows the file */
#define COPIED_EAGER_MAX (256ull << 10)     /* of one that is written */
#define ZEROES_EAGER_MAX (4ull << 20)       /* of a segment, and at most an eighth of memory */
#define ZEROES_POPULATED_MAX (256ull << 10) /* the host pays for the rest when it is touched */
#define AUX_ENTRIES_MAX 24
#define FLAGS_START 0x202ull

extern const uint8_t hl__vdso[]; /* vdso/image.S */

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
    hl__process_refuse(HL_ABI_REFUSAL_TOO_LARGE, bytes);
}

static _Noreturn void refuse_segment(const struct hl__elf_segment *segment)
{
    refuse_too_large("the program has a segment", segment->page_count);
}

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint32_t segment_rights(const struct hl__elf_segment *segment)
{
    return segment->rights ? segment->rights | HL_ABI_RIGHT_READ : 0;
}

/* Backs the zeroes behind a segment's file, the first of them at once. */
static int64_t back_zeroes(uint64_t start, uint64_t end, uint64_t flags)
{
    uint64_t eighth = HL__PAGE_DOWN(hl__memory.total_pages * HL_ABI_PAGE_SIZE / 8);
    uint64_t backed_end = lower(start + lower(eighth, ZEROES_EAGER_MAX), end);
    uint64_t populated_end = lower(start + ZEROES_POPULATED_MAX, backed_end);

    if (start >= end || !(flags & HL__VMA_RIGHTS))
        return 0;
    if (populated_end < backed_end &&
        hl__memory_back_later(populated_end, backed_end, flags, false) < 0)
        return -ENOMEM;
    return hl__memory_back_later(start, populated_end, flags, true);
}

/* Pages that the program is about to touch come with the exit that its start costs. */
static int64_t bring_file(const struct hl__elf_segment *segment, uint64_t start, uint64_t end)
{
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, start);
    uint64_t last = end - HL_ABI_PAGE_SIZE;

    if (!(vma->flags & HL_ABI_RIGHT_WRITE))
        return segment->rights
                   ? hl__memory_borrow_later(vma, start, lower(end, start + SHOWN_EAGER_MAX))
                   : 0;
    if (hl__memory_copy_later(vma, start, lower(end, start + COPIED_EAGER_MAX)) < 0)
        return -ENOMEM;
    return segment->zeroes && last >= start + COPIED_EAGER_MAX
               ? hl__memory_copy_later(vma, last, end)
               : 0;
}

static void map_segment(const struct hl__elf_segment *segment, struct hl__inode *file,
                        uint64_t shift)
{
    uint64_t start = segment->address + shift, end = start + segment->page_count * HL_ABI_PAGE_SIZE;
    uint64_t file_end = start + segment->file_pages * HL_ABI_PAGE_SIZE;
    uint32_t rights = segment_rights(segment);

    if (file_end > start &&
        (hl__memory_map_file(start, file_end, rights, file, segment->file_offset) < 0 ||
         bring_file(segment, start, file_end) < 0))
        refuse_segment(segment);
    if (end > file_end &&
        (hl__memory_map(file_end, end, rights) < 0 || back_zeroes(file_end, end, rights) < 0))
        refuse_segment(segment);
}

/* What follows the file's bytes on their last page is zero. Whatever rights the segment has, the page
 * is the program's own. */
static void clear_tail(const struct hl__elf_segment *segment, uint64_t shift)
{
    uint64_t at = segment->file_end + shift, page = HL__PAGE_DOWN(at);
    struct hl__vma vma;

    if (!segment->zeroes || !segment->file_pages || !(at & HL__PAGE_MASK))
        return;
    vma = *hl__vma_find(&hl__memory.vmas, page);
    if (!(vma.flags & HL_ABI_RIGHT_WRITE)) {
        vma.flags |= HL__RIGHTS_DATA;
        if (hl__memory_copy_later(&vma, page, page + HL_ABI_PAGE_SIZE) < 0 ||
            hl__memory_back_now() < 0)
            refuse_segment(segment);
    }
    memset((void *)at, 0, HL_ABI_PAGE_SIZE - (at & HL__PAGE_MASK));
    if (segment->rights & HL_ABI_RIGHT_WRITE)
        return;
    if (segment->rights)
        hl__memory_show(hl__vma_find(&hl__memory.vmas, page), page, page + HL_ABI_PAGE_SIZE);
    else
        hl__edits_add(page, 1, HL_ABI_SOURCE_NONE, 0, 0);
}

static void map_image(const struct hl__elf_plan *plan, struct hl__inode *file, uint64_t shift)
{
    for (uint32_t i = 0; i < plan->segment_count; i++)
        map_segment(&plan->segments[i], file, shift);
}

static void clear_tails(const struct hl__elf_plan *plan, uint64_t shift)
{
    for (uint32_t i = 0; i < plan->segment_count; i++)
        clear_tail(&plan->segments[i], shift);
}

/* The first place from `start` on where nothing is mapped, 0: there is none. */
static uint64_t find_free(uint64_t start, uint64_t size)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;

    for (uint32_t i = hl__vma_at_or_after(vmas, start);
         i < vmas->count && vmas->items[i].start < start + size; i++)
        start = vmas->items[i].end;
    return hl__memory_range_valid(start, size) ? start : 0;
}

/* How far a position-independent image moves; `room` bytes behind it are for its stubs. */
static uint64_t program_shift(const struct hl__elf_plan *plan, uint64_t room)
{
    uint64_t mask = plan->alignment - 1, start, place;
    uint64_t size = plan->end - plan->start + BREAK_SPREAD_PAGES * HL_ABI_PAGE_SIZE + room;

    if (!plan->movable)
        return 0;
    start = IMAGE_BASE + hl__random_number() % SPREAD_PAGES * HL_ABI_PAGE_SIZE;
    place = find_free(start, size + mask);
    if (!place)
        refuse_too_large("the program needs addresses", HL__PAGES(size));
    return ((place + mask) & ~mask) - (plan->start & ~mask);
}

/* An interpreter lies among the mappings. */
static uint64_t interpreter_shift(const struct hl__program *program)
{
    const struct hl__elf_plan *plan = &program->interpreter_plan;
    uint64_t mask = plan->alignment - 1, size = plan->end - (plan->start & ~mask), place;
    uint64_t room = hl__stubs_room(program->interpreter, plan->end - plan->start);

    if (!plan->movable)
        return 0;
    place = hl__memory_place(0, size, room + mask + 1 - HL_ABI_PAGE_SIZE, 0, false);
    if (!place)
        refuse_too_large("the program's interpreter needs addresses", HL__PAGES(size));
    return ((place + mask) & ~mask) - (plan->start & ~mask);
}

static void set_break(const struct hl__program *program)
{
    const struct hl__elf_plan *plan = &program->plan;
    uint64_t end = plan->end + hl__stubs_room(program->file, plan->end - plan->start);

    hl__memory.space->break_start = hl__memory.space->break_end =
        end + program->shift + hl__random_number() % BREAK_SPREAD_PAGES * HL_ABI_PAGE_SIZE;
}

/* Reserves the stack, and backs its top for `start_size` bytes and some more; with the exit that the
 * image costs. Nothing is mapped below it unless the program wishes so. */
static void make_stack(const struct hl__elf_plan *plan, uint64_t start_size)
{
    struct hl__memory *memory = &hl__memory;
    struct hl__address_space *space = memory->space;
    uint64_t flags =
        HL__VMA_DATA | HL__VMA_STACK | (plan->stack_executable ? HL_ABI_RIGHT_EXECUTE : 0);
    uint64_t backed = HL__PAGE_UP(start_size + STACK_BACKED_SIZE);
    uint64_t limit = hl__limit(RLIMIT_STACK) & ~HL__PAGE_MASK;
    uint64_t size = limit > HL__STACK_SIZE_MAX ? HL__STACK_SIZE_MAX : limit;

    do
        space->stack_end =
            HL_ABI_USER_END - (1 + hl__random_number() % STACK_SPREAD_PAGES) * HL_ABI_PAGE_SIZE;
    while (hl__vma_any(&memory->vmas, space->stack_end - HL__STACK_SIZE_MAX - HL__STACK_GAP,
                       space->stack_end + HL__STACK_GAP));
    space->stack_start = space->stack_end - (size > backed ? size : backed);
    if (HL__PAGES(backed) > hl__pages_free(&memory->pages) / 2)
        backed = HL__PAGE_UP(start_size + HL_ABI_PAGE_SIZE);
    if (HL__PAGES(backed) > hl__pages_free(&memory->pages) / 2)
        refuse_too_large("arguments and environment take a stack", HL__PAGES(backed));
    if (hl__memory_map(space->stack_start, space->stack_end, flags) < 0 ||
        hl__memory_back_later(space->stack_end - backed, space->stack_end, flags, true) < 0)
        refuse_too_large("the program needs a stack", HL__PAGES(backed));
}

struct start_texts {
    uint64_t strings; /* the arguments; the environment follows */
    uint64_t path, platform, random;
};

static uint64_t push(uint64_t *top, const void *bytes, uint64_t size)
{
    *top -= size;
    if (bytes)
        memcpy((void *)*top, bytes, size);
    return *top;
}

static struct start_texts push_texts(const struct hl__program *program, uint64_t *top)
{
    struct start_texts texts;
    uint8_t random[16];

    hl__random_bytes(random, sizeof random);
    *top -= 8; /* the last word of a stack is zero */
    texts.path = push(top, program->path, hl__string_length(program->path) + 1);
    texts.strings = push(top, program->strings.bytes, program->strings.size);
    texts.platform = push(top, "x86_64", sizeof "x86_64");
    *top &= ~15ull;
    texts.random = push(top, random, sizeof random);
    return texts;
}

struct aux_entry {
    uint64_t key, value;
};

static uint32_t make_aux(const struct hl__program *program, struct aux_entry *aux,
                         const struct start_texts *texts)
{
    const struct hl__elf_plan *plan = &program->plan;
    const struct aux_entry entries[] = {
        {AT_SYSINFO_EHDR, (uint64_t)hl__vdso},
        {AT_PHDR, plan->headers ? plan->headers + program->shift : 0},
        {AT_PHENT, 56},
        {AT_PHNUM, plan->header_count},
        {AT_PAGESZ, HL_ABI_PAGE_SIZE},
        {AT_BASE, program->interpreter ? program->interpreter_shift : 0},
        {AT_FLAGS, 0},
        {AT_ENTRY, plan->entry + program->shift},
        {AT_UID, hl__credentials()->user.real},
        {AT_EUID, hl__credentials()->user.effective},
        {AT_GID, hl__credentials()->group.real},
        {AT_EGID, hl__credentials()->group.effective},
        {AT_SECURE, 0},
        {AT_CLKTCK, 100},
        {AT_RANDOM, texts->random},
        {AT_EXECFN, texts->path},
        {AT_PLATFORM, texts->platform},
        {AT_HWCAP, hl__cpuid(1, 0).edx},
        {AT_HWCAP2, HWCAP2_FSGSBASE},
        {AT_MINSIGSTKSZ, hl__vector_state_size() + sizeof(struct linux_sigframe) + 256},
        {HL_ABI_AT_SHIM, (uint64_t)&hl__door},
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
static uint64_t fill_stack(const struct hl__program *program)
{
    const struct hl__strings *strings = &program->strings;
    struct hl__address_space *space = hl__memory.space;
    uint64_t top = space->stack_end;
    struct start_texts texts = push_texts(program, &top);
    struct aux_entry aux[AUX_ENTRIES_MAX];
    uint32_t aux_count = make_aux(program, aux, &texts);
    uint64_t words =
        1 + strings->argument_count + 1 + strings->environment_count + 1 + aux_count * 2ull;
    uint64_t *at = (uint64_t *)((top - words * 8) & ~15ull);
    uint64_t stack_pointer = (uint64_t)at;
    uint64_t string;

    *at++ = strings->argument_count;
    string = write_pointers(&at, texts.strings, strings->argument_count);
    write_pointers(&at, string, strings->environment_count);
    memcpy(at, aux, aux_count * sizeof aux[0]);
    space->arguments = texts.strings;
    space->environment = string;
    space->environment_end = texts.strings + strings->size;
    space->aux = (uint64_t)at;
    space->aux_end = (uint64_t)(at + aux_count * 2);
    return stack_pointer;
}

static uint64_t start_size(const struct hl__strings *strings)
{
    return strings->size + 8ull * (strings->argument_count + strings->environment_count) + 4096;
}

static void check_size(const struct hl__program *program)
{
    if (program->plan.private_pages > hl__memory.total_pages)
        refuse_too_large("the program needs memory", program->plan.private_pages);
}

void hl__program_load(struct hl__program *program, struct hl_abi_registers *registers)
{
    const struct hl__elf_plan *plan = &program->plan, *first = plan;

    check_size(program);
    if (!hl__memory.vmas.count)
        hl__memory.map_base = MAP_BASE + hl__random_number() % MAP_SPREAD_PAGES * HL_ABI_PAGE_SIZE;
    program->shift = program_shift(plan, hl__stubs_room(program->file, plan->end - plan->start));
    make_stack(plan, start_size(&program->strings));
    map_image(plan, program->file, program->shift);
    set_break(program);
    if (program->interpreter) {
        first = &program->interpreter_plan;
        program->interpreter_shift = interpreter_shift(program);
        map_image(first, program->interpreter, program->interpreter_shift);
    }
    if (hl__memory_back_now() < 0)
        refuse_too_large("the program needs page tables for an image",
                         HL__PAGES(plan->end - plan->start));
    clear_tails(plan, program->shift);
    if (program->interpreter)
        clear_tails(first, program->interpreter_shift);
    hl__edits_flush();
    hl__inode_ref(program->file);
    hl__inode_unref(hl__memory.space->executable);
    hl__memory.space->executable = program->file;
    *registers = (struct hl_abi_registers){
        .rip = first->entry + (program->interpreter ? program->interpreter_shift : program->shift),
        .rsp = fill_stack(program),
        .rflags = FLAGS_START};
}
