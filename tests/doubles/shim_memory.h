/*
 * The shim's memory management within this process's own address space: a pretended host serves its
 * edits with mmap() on files that play RAM, the root image and the guest binary, so that contents and
 * rights are real. Files are pretended, too. Includes the shim's sources; the includer defines
 * SHIM_REQUIRE(condition).
 */
#ifndef DOUBLES_SHIM_MEMORY_H
#define DOUBLES_SHIM_MEMORY_H

#include "hyperlight/abi/x86_64.h"

#include <stdint.h>
#include <stdlib.h>

/* Where the shim reaches what lies elsewhere in a sandbox. */
static uint8_t *ram_view, *root_view, *binary_view;
#undef HL_ABI_POOL_ADDRESS
#define HL_ABI_POOL_ADDRESS ((uint64_t)ram_view)
#undef HL_ABI_ROOT_ADDRESS
#define HL_ABI_ROOT_ADDRESS ((uint64_t)root_view)
#undef HL_ABI_PROGRAM_ADDRESS
#define HL_ABI_PROGRAM_ADDRESS ((uint64_t)binary_view)

#include "../../guest/shim/base/text.c"
#include "../../guest/shim/file/image.c"
#include "../../guest/shim/host/edits.c"
#include "../../guest/shim/memory/address_space.c"
#include "../../guest/shim/memory/advise.c"
#include "../../guest/shim/memory/backing.c"
#include "../../guest/shim/memory/fault.c"
#include "../../guest/shim/memory/mapped.c"
#include "../../guest/shim/memory/memory.c"
#include "../../guest/shim/memory/mmap.c"
#include "../../guest/shim/memory/pages.c"
#include "../../guest/shim/memory/remap.c"
#include "../../guest/shim/memory/retired.c"
#include "../../guest/shim/memory/stubs.c"
#include "../../guest/shim/memory/table.c"
#include "../../guest/shim/memory/vma.c"
#include "../../guest/shim/program/elf.c"

/* Linux's own headers would clash with the shim's; these few calls are all that is needed. */
void *mmap(void *address, size_t size, int protection, int flags, int descriptor, long offset);
int munmap(void *address, size_t size);
int mprotect(void *address, size_t size, int protection);
int memfd_create(const char *name, unsigned flags);
int ftruncate(int descriptor, long size);
int open(const char *path, int flags, ...);
int close(int descriptor);
int snprintf(char *to, size_t size, const char *format, ...);
#define HOST_MAP_SHARED 1
#define HOST_MAP_FIXED 0x10

#define TEST_HEAP 0x6a0000000000ull /* the real place may hold this process's libraries */
#define TEST_MAP_BASE 0x200000000000ull
#define TEST_BREAK 0x300000000000ull
#define RAM_PAGES 4096u
#define FIRST_PAGE 16u
#define ROOT_PAGES 256u
#define BINARY_PAGES 16u

static int ram, root_read_only, binary_read_only;
static uint64_t edit_calls;
static int edits_fail_after = -1;
static uint64_t mapped_pages_max = UINT64_MAX; /* the program's, with what a batch adds */

/* A file of up to so many pages, each of them a hole, of the image, of the binary, or its own. */
#define FAKE_PAGES 512u
#define FAKE_FILES 32u
struct fake_file {
    struct hl__inode inode; /* the first member */
    struct hl__file_page pages[FAKE_PAGES];
};
static struct fake_file fake_files[FAKE_FILES];

/* Open files by descriptor. */
static struct hl__file fake_open[FAKE_FILES];

uint64_t hl__limit(uint32_t resource)
{
    return resource == RLIMIT_STACK ? HL__STACK_SIZE_MAX : RLIM_INFINITY;
}

struct hl__file *hl__descriptor_file(uint64_t descriptor)
{
    return descriptor < FAKE_FILES && fake_open[descriptor].references ? &fake_open[descriptor]
                                                                       : NULL;
}

int64_t hl__user_read(void *to, uint64_t from, size_t size)
{
    memcpy(to, (const void *)from, size);
    return 0;
}

int64_t hl__user_write(uint64_t to, const void *from, size_t size)
{
    memcpy((void *)to, from, size);
    return 0;
}

uint64_t hl__page_new(void)
{
    struct hl__page_run run;

    if (!hl__memory_take(1, false, &run))
        return 0;
    memset(hl__page_bytes(run.page), 0, HL_ABI_PAGE_SIZE);
    return run.page;
}

static void fake_free(struct fake_file *file)
{
    for (unsigned i = 0; i < FAKE_PAGES; i++)
        if (file->pages[i].source == HL__PAGE_RAM)
            hl__memory_give(HL__PAGES(file->pages[i].offset), 1);
    memset(file, 0, sizeof *file);
}

void hl__inode_ref(struct hl__inode *inode)
{
    SHIM_REQUIRE(inode->references > 0);
    inode->references++;
}

static struct hl__process fake_process;
static struct hl__thread fake_thread = {.process = &fake_process};
struct hl__thread *hl__thread = &fake_thread;

void *hl__heap_new(size_t size)
{
    return calloc(1, size);
}

void hl__heap_free(void *object, size_t size)
{
    (void)size;
    free(object);
}

void hl__inode_unref(struct hl__inode *inode)
{
    if (!inode)
        return;
    SHIM_REQUIRE(inode->references > 0);
    if (--inode->references == 0) {
        SHIM_REQUIRE(!inode->mapping_count);
        fake_free((struct fake_file *)inode);
    }
}

struct hl__inode *hl__inode_new_file(uint32_t mode)
{
    for (unsigned i = 0; i < FAKE_FILES; i++)
        if (!fake_files[i].inode.references) {
            fake_files[i].inode.references = 1;
            fake_files[i].inode.mode = mode | S_IFREG;
            return &fake_files[i].inode;
        }
    return NULL;
}

struct hl__file_page hl__inode_page(struct hl__inode *inode, uint64_t index, bool *failed)
{
    (void)failed;
    return index < FAKE_PAGES ? ((struct fake_file *)inode)->pages[index]
                              : (struct hl__file_page){HL__PAGE_HOLE, 0};
}

static const void *fake_bytes(const struct hl__file_page *page)
{
    switch (page->source) {
    case HL__PAGE_IMAGE:
        return root_view + page->offset;
    case HL__PAGE_PROGRAM:
        return binary_view + page->offset;
    case HL__PAGE_RAM:
        return ram_view + page->offset;
    default:
        return NULL;
    }
}

uint64_t hl__inode_page_own(struct hl__inode *inode, uint64_t index)
{
    struct hl__file_page *page;
    uint64_t number;

    if (index >= FAKE_PAGES)
        return 0;
    page = &((struct fake_file *)inode)->pages[index];
    if (page->source == HL__PAGE_RAM)
        return HL__PAGES(page->offset);
    number = hl__page_new();
    if (!number)
        return 0;
    if (fake_bytes(page))
        memcpy(hl__page_bytes(number), fake_bytes(page), HL_ABI_PAGE_SIZE);
    *page = (struct hl__file_page){HL__PAGE_RAM, number * HL_ABI_PAGE_SIZE};
    inode->changed_here = true;
    if (inode->mapping_count)
        hl__memory_file_changed(inode, index, index + 1);
    return number;
}

/* The file ends here from now on; what lies behind is given back. */
static void fake_truncate(struct fake_file *file, uint64_t size)
{
    uint64_t first = HL__PAGES(HL__PAGE_UP(size));

    file->inode.size = size;
    if (file->inode.mapping_count)
        hl__memory_file_changed(&file->inode, first, FAKE_PAGES);
    for (uint64_t i = first; i < FAKE_PAGES; i++) {
        if (file->pages[i].source == HL__PAGE_RAM)
            hl__memory_give(HL__PAGES(file->pages[i].offset), 1);
        file->pages[i] = (struct hl__file_page){HL__PAGE_HOLE, 0};
    }
}

/* A file of `count` pages of the image from `first` on, open as a descriptor. */
static struct fake_file *fake_image_file(unsigned descriptor, uint64_t first, uint64_t count,
                                         uint32_t flags)
{
    struct hl__inode *inode = hl__inode_new_file(0755);
    struct fake_file *file = (struct fake_file *)inode;

    SHIM_REQUIRE(inode && first + count <= ROOT_PAGES);
    for (uint64_t i = 0; i < count; i++)
        file->pages[i] = (struct hl__file_page){HL__PAGE_IMAGE, (first + i) * HL_ABI_PAGE_SIZE};
    inode->size = count * HL_ABI_PAGE_SIZE;
    inode->image = (uint32_t)first + 2; /* no inode of a real image: there is none */
    fake_open[descriptor] = (struct hl__file){.references = 1, .flags = flags, .inode = inode};
    return file;
}

static void fake_close(unsigned descriptor)
{
    hl__inode_unref(fake_open[descriptor].inode);
    memset(&fake_open[descriptor], 0, sizeof fake_open[descriptor]);
}

static int host_protection(uint32_t rights)
{
    return (rights ? PROT_READ : 0) | (rights & HL_ABI_RIGHT_WRITE ? PROT_WRITE : 0);
}

static int host_file(const struct hl_abi_edit *edit)
{
    uint64_t end = HL__PAGES(edit->offset) + edit->page_count;

    switch (edit->source) {
    case HL_ABI_SOURCE_RAM:
        SHIM_REQUIRE(HL__PAGES(edit->offset) >= FIRST_PAGE && end <= RAM_PAGES);
        return ram;
    case HL_ABI_SOURCE_ROOT:
        SHIM_REQUIRE(end <= ROOT_PAGES && !(edit->rights & HL_ABI_RIGHT_WRITE));
        return root_read_only;
    default:
        SHIM_REQUIRE(end <= BINARY_PAGES && !(edit->rights & HL_ABI_RIGHT_WRITE));
        return binary_read_only;
    }
}

static void host_map(const struct hl_abi_edit *edit)
{
    uint64_t size = edit->page_count * HL_ABI_PAGE_SIZE;

    SHIM_REQUIRE(mmap((void *)edit->address, size, host_protection(edit->rights),
                      HOST_MAP_SHARED | HOST_MAP_FIXED, host_file(edit),
                      (long)edit->offset) == (void *)edit->address);
}

/* Pages that are not there stay so. Read-only memory does not become writable. */
static void host_keep(const struct hl_abi_edit *edit)
{
    for (uint64_t at = edit->address; at < edit->address + edit->page_count * HL_ABI_PAGE_SIZE;
         at += HL_ABI_PAGE_SIZE) {
        bool present = !mprotect((void *)at, HL_ABI_PAGE_SIZE, host_protection(edit->rights));

        SHIM_REQUIRE(present || !(edit->rights & HL_ABI_RIGHT_WRITE) ||
                     mprotect((void *)at, HL_ABI_PAGE_SIZE, PROT_READ) != 0);
    }
}

/* The contract of enum hl_abi_source, as a host would check it. */
static void host_apply(const struct hl_abi_edit *edit)
{
    SHIM_REQUIRE(edit->page_count > 0);
    SHIM_REQUIRE((edit->address | edit->offset) % HL_ABI_PAGE_SIZE == 0);
    SHIM_REQUIRE(edit->source == HL_ABI_SOURCE_NONE ? !edit->rights : (edit->rights & 7u) != 0);
    SHIM_REQUIRE(edit->source <= HL_ABI_SOURCE_ROOT);
    if (edit->source == HL_ABI_SOURCE_NONE)
        munmap((void *)edit->address, edit->page_count * HL_ABI_PAGE_SIZE);
    else if (edit->source == HL_ABI_SOURCE_KEEP)
        host_keep(edit);
    else
        host_map(edit);
}

/* The host counts a batch's additions, not its removals, before it does anything. */
static bool batch_fits(const struct hl_abi_edit *edits, uint32_t count)
{
    static uint64_t mapped_pages; /* as of the batches before; exact only where a test needs it */
    uint64_t added = 0, removed = 0;

    for (uint32_t i = 0; i < count; i++) {
        added += edits[i].source == HL_ABI_SOURCE_RAM ? edits[i].page_count : 0;
        removed += edits[i].source == HL_ABI_SOURCE_NONE ? edits[i].page_count : 0;
    }
    if (mapped_pages_max == UINT64_MAX)
        mapped_pages = hl__memory.total_pages - hl__pages_free(&hl__memory.pages);
    if (mapped_pages_max != UINT64_MAX && mapped_pages + added > mapped_pages_max)
        return false;
    mapped_pages += added - removed;
    return true;
}

int64_t hl__host_edit(const struct hl_abi_edit *edits, uint32_t count)
{
    SHIM_REQUIRE(count >= 1 && count <= HL_ABI_EDITS_MAX);
    if (edits_fail_after == 0)
        return -ENOMEM;
    if (edits_fail_after > 0)
        edits_fail_after--;
    if (!batch_fits(edits, count))
        return -ENOMEM;
    edit_calls++;
    for (uint32_t i = 0; i < count; i++)
        host_apply(&edits[i]);
    return 0;
}

/* A file of this process that is written through `view` and mapped elsewhere by the result. */
static int host_memory(const char *name, unsigned pages, uint8_t **view, int *read_only)
{
    enum { HOST_READ_ONLY = 0 };
    char path[64];
    int descriptor = memfd_create(name, 0);
    void *at;

    SHIM_REQUIRE(descriptor >= 0 && !ftruncate(descriptor, pages * (long)HL_ABI_PAGE_SIZE));
    at = mmap(NULL, pages * (size_t)HL_ABI_PAGE_SIZE, PROT_READ | PROT_WRITE, HOST_MAP_SHARED,
              descriptor, 0);
    SHIM_REQUIRE(at != (void *)-1);
    *view = at;
    if (!read_only)
        return descriptor;
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    *read_only = open(path, HOST_READ_ONLY);
    SHIM_REQUIRE(*read_only >= 0);
    close(descriptor);
    return -1;
}

/* One mapping after the other: a sanitizer's own memory may lie between them. */
static void unmap_all(void)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;

    hl__memory_drop_ahead(0, HL_ABI_USER_END);
    while (vmas->count)
        SHIM_REQUIRE(hl__memory_unmap(vmas->items[0].start, vmas->items[0].end) == 0);
    hl__memory_drop_retired(0, HL_ABI_USER_END);
    hl__edits_send();
}

static void shim_memory_set_up(void)
{
    memset(&hl__memory, 0, sizeof hl__memory);
    memset(fake_files, 0, sizeof fake_files);
    memset(fake_open, 0, sizeof fake_open);
    edits_fail_after = -1;
    ram = host_memory("ram", RAM_PAGES, &ram_view, NULL);
    host_memory("root", ROOT_PAGES, &root_view, &root_read_only);
    host_memory("binary", BINARY_PAGES, &binary_view, &binary_read_only);
    for (unsigned i = 0; i < ROOT_PAGES; i++)
        memset(root_view + i * HL_ABI_PAGE_SIZE, (int)(i % 250) + 1, HL_ABI_PAGE_SIZE);
    SHIM_REQUIRE(hl__memory_init(FIRST_PAGE, RAM_PAGES, TEST_HEAP));
    hl__memory.map_base = TEST_MAP_BASE;
    hl__memory.space->break_start = hl__memory.space->break_end = TEST_BREAK;
    edit_calls = 0;
}

static void shim_memory_tear_down(void)
{
    unmap_all();
    for (unsigned i = 0; i < FAKE_FILES; i++)
        if (fake_open[i].references)
            fake_close(i);
    munmap((void *)TEST_HEAP, 0x40000000);
    munmap(ram_view, RAM_PAGES * (size_t)HL_ABI_PAGE_SIZE);
    munmap(root_view, ROOT_PAGES * (size_t)HL_ABI_PAGE_SIZE);
    munmap(binary_view, BINARY_PAGES * (size_t)HL_ABI_PAGE_SIZE);
    close(ram);
    close(root_read_only);
    close(binary_read_only);
}

/* An access as the processor would make it: a fault first where the host does not map it so. True if it
 * may go on. */
static bool touch(uint64_t address, bool write)
{
    uint64_t page = address / HL_ABI_PAGE_SIZE * HL_ABI_PAGE_SIZE;
    uint32_t access = write ? HL__ACCESS_WRITE : 0;
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, address);
    uint64_t entry = hl__table_get(&hl__memory.table, page);
    uint32_t rights = vma && entry ? hl__memory_shown_rights(vma, entry) : 0;

    if (rights && (!write || rights & HL_ABI_RIGHT_WRITE))
        return true;
    if (hl__memory_fault(address, access, 1) != HL__FAULT_RESOLVED)
        return false;
    vma = hl__vma_find(&hl__memory.vmas, address);
    rights = hl__memory_shown_rights(vma, hl__table_get(&hl__memory.table, page));
    SHIM_REQUIRE(rights && (!write || rights & HL_ABI_RIGHT_WRITE));
    return true;
}

/* A page of RAM is one mapping's own, or a file's, or the shim's, and then it is not free. */
static uint64_t check_pages(void)
{
    static bool used[RAM_PAGES];
    uint64_t count = 0;
    struct hl__table_run run;

    memset(used, 0, sizeof used);
    for (uint64_t at = 0; hl__table_run(&hl__memory.table, at, HL_ABI_USER_END, &run);
         at = run.address + run.count * HL_ABI_PAGE_SIZE) {
        for (uint64_t page = run.page; page < run.page + run.count; page++) {
            uint64_t number = page & HL__ENTRY_NUMBER;

            if (page & HL__ENTRY_READ_ONLY)
                continue;
            SHIM_REQUIRE(number < hl__memory.pages.fresh);
            SHIM_REQUIRE(!pages_is_returned(&hl__memory.pages, number));
            if (page & HL__ENTRY_SHARED)
                continue;
            SHIM_REQUIRE(!used[number]);
            used[number] = true;
            count++;
        }
    }
    return count;
}

static void check_retired(void)
{
    const struct hl__retired *retired = &hl__memory.retired;
    uint64_t size = 0;

    for (uint32_t i = 0; i < retired->count; i++) {
        const struct hl__range *range = &retired->items[i];

        SHIM_REQUIRE(range->start < range->end);
        SHIM_REQUIRE(!i || range[-1].end < range->start);
        SHIM_REQUIRE(!hl__vma_any(&hl__memory.vmas, range->start, range->end));
        size += range->end - range->start;
    }
    SHIM_REQUIRE(size == retired->size && size <= RETIRED_SIZE_MAX);
}

static void check_ahead(const struct hl__lookahead *ahead)
{
    SHIM_REQUIRE(ahead->start <= ahead->end);
    if (ahead->start < ahead->end)
        SHIM_REQUIRE(!hl__vma_any(&hl__memory.vmas, ahead->start, ahead->end));
}

/* Files are held by their mappings and count them. */
static void check_files(void)
{
    for (unsigned i = 0; i < FAKE_FILES; i++) {
        const struct hl__inode *inode = &fake_files[i].inode;
        uint32_t count = 0, open = 0;

        for (uint32_t v = 0; v < hl__memory.vmas.count; v++)
            count += hl__memory.vmas.items[v].inode == inode;
        for (unsigned d = 0; d < FAKE_FILES; d++)
            open += fake_open[d].inode == inode;
        SHIM_REQUIRE(inode->mapping_count == count);
        SHIM_REQUIRE(inode->references == count + open);
    }
}

/* What must always hold of the books. */
static void check_books(void)
{
    const struct hl__memory *memory = &hl__memory;
    uint64_t used = memory->total_pages - hl__pages_free(&memory->pages);

    for (uint32_t i = 0; i < memory->vmas.count; i++) {
        const struct hl__vma *vma = &memory->vmas.items[i];

        SHIM_REQUIRE(vma->start < vma->end);
        SHIM_REQUIRE(!i || vma[-1].end <= vma->start);
        SHIM_REQUIRE(!i || !vma_can_join(&vma[-1], vma));
    }
    SHIM_REQUIRE(used >= check_pages());
    check_ahead(&memory->map_ahead);
    check_ahead(&memory->break_ahead);
    check_retired();
    check_files();
}

#endif
