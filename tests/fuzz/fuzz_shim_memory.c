/*
 * Fuzzes the shim's memory management: mappings of every kind come, change, move and go within a window
 * of addresses, files are written and cut, and a model says what each page must hold and allow.
 */
/* fuzz-weight: 3 */
#include <stdint.h>

static void fuzz_require(int condition, const char *text, int line);
#define SHIM_REQUIRE(condition) fuzz_require(!!(condition), #condition, __LINE__)
#include "doubles/shim_memory.h"

#include "doubles/choices.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 200
#define WINDOW_PAGES 128u
#define WINDOW_START TEST_MAP_BASE
#define ELSEWHERE 0x500000000000ull
#define FILES 3u
#define FILE_PAGES 48u /* at first; files grow up to the window's size */

static void fuzz_require(int condition, const char *text, int line)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_shim_memory: line %d: %s\n", line, text);
    abort();
}

struct page {
    bool mapped, shared, written; /* written: a private page that holds `value` */
    bool foreign;                 /* of the child's address space */
    uint8_t protection, value;
    int file; /* -1: private memory */
    unsigned index;
};

struct file {
    struct fake_file *fake;
    unsigned pages;
    uint8_t value[WINDOW_PAGES];
    bool held[WINDOW_PAGES]
             [256]; /* values that a page had: a private mapping may show any of them */
};

static struct page pages[WINDOW_PAGES];
static struct file files[FILES];
static struct choices choices;
static struct hl__address_space *child; /* NULL: there is none */

static uint64_t address_of(unsigned page)
{
    return WINDOW_START + page * (uint64_t)HL_ABI_PAGE_SIZE;
}

static void file_hold(struct file *file, unsigned index, uint8_t value)
{
    file->value[index] = value;
    file->held[index][value] = true;
}

static bool readable(const struct page *page)
{
    return page->mapped && page->protection &&
           (page->file < 0 || page->index < files[page->file].pages);
}

static void check_page(unsigned number)
{
    const struct page *page = &pages[number];
    uint8_t value;

    SHIM_REQUIRE(touch(address_of(number), false) == readable(page));
    if (!readable(page))
        return;
    value = *(volatile uint8_t *)address_of(number);
    if (page->file < 0 || page->written)
        SHIM_REQUIRE(value == page->value);
    else if (page->shared)
        SHIM_REQUIRE(value == files[page->file].value[page->index]);
    else
        SHIM_REQUIRE(files[page->file].held[page->index][value]);
}

static void write_page(unsigned number, uint8_t value)
{
    struct page *page = &pages[number];
    bool writable = readable(page) && page->protection & PROT_WRITE;

    SHIM_REQUIRE(touch(address_of(number), true) == writable);
    if (!writable)
        return;
    *(volatile uint8_t *)address_of(number) = value;
    if (page->shared) {
        file_hold(&files[page->file], page->index, value);
    } else {
        page->written = true;
        page->value = value;
    }
}

static bool any_foreign(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++)
        if (pages[i].mapped && pages[i].foreign)
            return true;
    return false;
}

static void map_pages(unsigned first, unsigned count)
{
    static const uint8_t protections[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
                                          PROT_READ | PROT_EXEC};
    int file = (int)choices_below(&choices, FILES + 2) - 2;
    bool shared = file >= 0 && choices_once_in(&choices, 2);
    uint8_t protection = protections[choices_below(&choices, 4)];
    unsigned offset = file < 0 ? 0 : (unsigned)choices_below(&choices, WINDOW_PAGES - count + 1);
    uint64_t flags = MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE) |
                     (file < 0 ? MAP_ANONYMOUS : 0) |
                     (choices_once_in(&choices, 8) ? MAP_NORESERVE : 0) |
                     (choices_once_in(&choices, 8) ? MAP_POPULATE : 0);

    bool refused = any_foreign(first, count);

    SHIM_REQUIRE(hl__sys_mmap((const uint64_t[]){address_of(first), count * 4096ull, protection,
                                                 flags, (uint64_t)file, offset * 4096ull}) ==
                 (refused ? -ENOMEM : (int64_t)address_of(first)));
    if (refused)
        return;
    for (unsigned i = 0; i < count; i++)
        pages[first + i] = (struct page){.mapped = true,
                                         .shared = shared,
                                         .protection = protection,
                                         .file = file < 0 ? -1 : file,
                                         .index = offset + i};
}

static void unmap_pages(unsigned first, unsigned count)
{
    bool refused = any_foreign(first, count);

    SHIM_REQUIRE(hl__sys_munmap((const uint64_t[]){address_of(first), count * 4096ull}) ==
                 (refused ? -ENOMEM : 0));
    if (refused)
        return;
    for (unsigned i = first; i < first + count; i++)
        pages[i].mapped = false;
}

static void protect_pages(unsigned first, unsigned count)
{
    uint8_t protection = (uint8_t)choices_below(&choices, 8) & (PROT_READ | PROT_WRITE | PROT_EXEC);
    bool refused = any_foreign(first, count), all = !refused;

    for (unsigned i = first; i < first + count && all; i++) {
        all = pages[i].mapped;
        pages[i].protection = protection;
    }
    SHIM_REQUIRE(hl__sys_mprotect((const uint64_t[]){address_of(first), count * 4096ull,
                                                     protection}) == (all ? 0 : -ENOMEM));
}

static void drop_pages(unsigned first, unsigned count)
{
    bool refused = any_foreign(first, count), all = !refused;

    for (unsigned i = first; i < first + count && !refused; i++) {
        all &= pages[i].mapped;
        pages[i].written = false;
        pages[i].value = 0;
    }
    SHIM_REQUIRE(hl__sys_madvise((const uint64_t[]){address_of(first), count * 4096ull,
                                                    MADV_DONTNEED}) == (all ? 0 : -ENOMEM));
}

/* Moves a range out and back in, which must change nothing. */
static void move_pages_away(unsigned first, unsigned count)
{
    uint64_t at = address_of(first), size = count * 4096ull;
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, at);

    if (!vma || vma->end < at + size || any_foreign(first, count))
        return;
    SHIM_REQUIRE(hl__sys_mremap((const uint64_t[]){at, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
                                                   ELSEWHERE}) == (int64_t)ELSEWHERE);
    SHIM_REQUIRE(hl__sys_mremap((const uint64_t[]){
                     ELSEWHERE, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, at}) == (int64_t)at);
}

/* A child maps memory where its parent has none. */
static void map_childs_pages(unsigned first, unsigned count)
{
    int64_t result;
    bool free = true;

    for (unsigned i = first; i < first + count; i++)
        free &= !pages[i].mapped;
    hl__address_space_enter(child);
    result = hl__sys_mmap(
        (const uint64_t[]){address_of(first), count * 4096ull, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, UINT64_MAX, 0});
    hl__address_space_enter(hl__address_space_first());
    SHIM_REQUIRE(result == (free ? (int64_t)address_of(first) : -EEXIST));
    for (unsigned i = first; i < first + count && free; i++)
        pages[i] = (struct page){
            .mapped = true, .foreign = true, .protection = PROT_READ | PROT_WRITE, .file = -1};
}

/* With the child all that it mapped goes, and nothing else. */
static void end_child(void)
{
    if (!child)
        return;
    hl__address_space_unref(child);
    child = NULL;
    for (unsigned i = 0; i < WINDOW_PAGES; i++)
        pages[i].mapped &= !pages[i].foreign;
}

static void live_as_child(unsigned first, unsigned count)
{
    if (child && choices_once_in(&choices, 4)) {
        end_child();
        return;
    }
    if (!child)
        child = hl__address_space_new();
    map_childs_pages(first, count);
}

static void write_file(void)
{
    struct file *file = &files[choices_below(&choices, FILES)];
    unsigned index = (unsigned)choices_below(&choices, WINDOW_PAGES);
    uint8_t value = (uint8_t)choices_below(&choices, 256);
    uint64_t page;

    if (index >= file->pages)
        return;
    page = hl__inode_page_own(&file->fake->inode, index);
    SHIM_REQUIRE(page != 0);
    *(uint8_t *)hl__page_bytes(page) = value;
    file_hold(file, index, value);
}

static void cut_file(void)
{
    unsigned number = (unsigned)choices_below(&choices, FILES);
    struct file *file = &files[number];
    unsigned count = (unsigned)choices_below(&choices, WINDOW_PAGES + 1);

    if (count > file->pages) {
        file->fake->inode.size = count * 4096ull;
    } else {
        fake_truncate(file->fake, count * 4096ull);
        for (unsigned i = count; i < WINDOW_PAGES; i++)
            file_hold(file, i, 0);
        for (unsigned i = 0; i < WINDOW_PAGES; i++)
            if (pages[i].file == (int)number && pages[i].index >= count)
                pages[i].written = false;
    }
    file->pages = count;
}

static void step(void)
{
    unsigned first = (unsigned)choices_below(&choices, WINDOW_PAGES);
    unsigned count =
        1 + (unsigned)choices_below(&choices, choices_once_in(&choices, 4) ? WINDOW_PAGES : 8);

    if (count > WINDOW_PAGES - first)
        count = WINDOW_PAGES - first;
    switch (choices_below(&choices, 11)) {
    case 0:
    case 1:
        map_pages(first, count);
        break;
    case 2:
        unmap_pages(first, count);
        break;
    case 3:
        protect_pages(first, count);
        break;
    case 4:
        drop_pages(first, count);
        break;
    case 5:
        move_pages_away(first, count);
        break;
    case 6:
        write_file();
        break;
    case 7:
        cut_file();
        break;
    case 8:
        live_as_child(first, count);
        break;
    default:
        write_page(first, (uint8_t)choices_below(&choices, 256));
    }
    check_page((unsigned)choices_below(&choices, WINDOW_PAGES));
}

static void start_files(void)
{
    memset(pages, 0, sizeof pages);
    memset(files, 0, sizeof files);
    for (unsigned i = 0; i < FILES; i++) {
        files[i].fake = fake_image_file(i, i * FILE_PAGES, FILE_PAGES, O_RDWR);
        files[i].pages = FILE_PAGES;
        for (unsigned page = 0; page < WINDOW_PAGES; page++)
            file_hold(&files[i], page,
                      page < FILE_PAGES ? root_view[(i * FILE_PAGES + page) * 4096ull] : 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    shim_memory_set_up();
    start_files();
    choices = (struct choices){.data = data, .size = size};
    for (unsigned i = 0; i < STEPS_MAX && !choices_spent(&choices); i++) {
        step();
        check_books();
    }
    for (unsigned page = 0; page < WINDOW_PAGES; page++)
        check_page(page);
    end_child();
    check_books();
    shim_memory_tear_down();
    return 0;
}
