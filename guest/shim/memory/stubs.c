/* Rewritten code and its stubs, by the records of the image. */
#include "memory/stubs.h"
#include "base/linux.h"
#include "file/image.h"
#include "host/edits.h"
#include "memory/memory.h"
#include "program/elf.h"

#include <string.h>

#define STUB_JUMP_SIZE 5u /* the jump back at a stub's end */

static const struct hl_image_rewrite *rewrite_of(const struct hl__inode *inode)
{
    const struct hl__image *image = &hl__root_image;
    const struct hl_image_inode *file = hl__image_inode(image, inode->image);
    const struct hl_image_rewrite *rewrites;
    struct hl_image_head head;

    if (!file || !file->rewrite)
        return NULL;
    memcpy(&head, image->bytes, sizeof head);
    rewrites = hl__image_at(image, &head.rewrites, sizeof *rewrites, 8);
    return rewrites && file->rewrite <= head.rewrites.count ? &rewrites[file->rewrite - 1] : NULL;
}

/* A rewrite whose every part lies in the image; NULL: there is none. */
static const struct hl_image_rewrite *stubs_of(const struct hl__inode *inode)
{
    const struct hl_image_rewrite *rewrite = rewrite_of(inode);
    struct hl_image_range stubs;

    if (!rewrite)
        return NULL;
    stubs = (struct hl_image_range){rewrite->stubs, rewrite->stubs_pages};
    if (!rewrite->stubs_pages || (rewrite->stubs_address & HL__PAGE_MASK) ||
        rewrite->stubs_address >= HL_ABI_USER_END ||
        !hl__image_at(&hl__root_image, &stubs, HL_ABI_PAGE_SIZE, HL_ABI_PAGE_SIZE) ||
        !hl__image_at(&hl__root_image, &rewrite->patches, sizeof(struct hl_image_patch), 8) ||
        !hl__image_at(&hl__root_image, &rewrite->sites, sizeof(struct hl_image_site), 8))
        return NULL;
    return rewrite;
}

static bool read_content(const struct hl__elf_source *source, void *to, uint64_t size,
                         uint64_t position)
{
    const struct hl_image_inode *file = source->object;

    if (position > file->size || size > file->size - position)
        return false;
    memcpy(to, hl__root_image.bytes + file->data + position, size);
    return true;
}

/* Where the file's segments lie by its own account. */
static const struct hl__elf_plan *layout_of(const struct hl__inode *inode)
{
    static struct hl__elf_plan plan;
    const struct hl_image_inode *file = hl__image_inode(&hl__root_image, inode->image);
    struct hl__elf_source source = {.read = read_content};

    if (!file || !hl__image_has_content(&hl__root_image, file))
        return NULL;
    source.size = file->size;
    source.object = (void *)(uintptr_t)file;
    return hl__elf_layout(&plan, &source) ? &plan : NULL;
}

uint64_t hl__stubs_room(const struct hl__inode *inode, uint64_t size)
{
    const struct hl_image_rewrite *rewrite = stubs_of(inode);
    const struct hl__elf_plan *plan = rewrite ? layout_of(inode) : NULL;
    uint64_t needed;

    if (!plan || rewrite->stubs_address < plan->start)
        return 0;
    needed =
        rewrite->stubs_address - plan->start + rewrite->stubs_pages * (uint64_t)HL_ABI_PAGE_SIZE;
    return needed > size && needed < HL__ELF_SPAN_MAX ? needed - size : 0;
}

/* The address of a file's stubs as its code lies. 0: no place for any. */
static uint64_t stubs_place(const struct hl__vma *code, const struct hl_image_rewrite *rewrite)
{
    const struct hl__elf_plan *plan = layout_of(code->inode);
    uint64_t address, place;

    if (!plan || !hl__elf_code_address(plan, code->offset, &address))
        return 0;
    place = code->start - address + rewrite->stubs_address;
    return hl__memory_range_valid(place, rewrite->stubs_pages * (uint64_t)HL_ABI_PAGE_SIZE) ? place
                                                                                            : 0;
}

static bool is_stubs(const struct hl__vma *vma, const struct hl__inode *inode,
                     const struct hl_image_rewrite *rewrite, uint64_t place)
{
    return vma && vma->flags & HL__VMA_STUBS && vma->inode == inode && vma->start == place &&
           vma->end == place + rewrite->stubs_pages * (uint64_t)HL_ABI_PAGE_SIZE;
}

/* Puts the stubs where they belong, if nothing else is there. */
static bool stubs_insert(const struct hl__vma *code, const struct hl_image_rewrite *rewrite)
{
    struct hl__vma stubs = {.flags = HL_ABI_RIGHT_READ | HL_ABI_RIGHT_EXECUTE | HL__VMA_STUBS,
                            .offset = rewrite->stubs,
                            .inode = code->inode};
    uint64_t place = stubs_place(code, rewrite);

    if (!place)
        return false;
    if (is_stubs(hl__vma_find(&hl__memory.vmas, place), code->inode, rewrite, place))
        return true;
    stubs.start = place;
    stubs.end = place + rewrite->stubs_pages * (uint64_t)HL_ABI_PAGE_SIZE;
    if (hl__vma_any(&hl__memory.vmas, stubs.start, stubs.end) || hl__memory_reserve_vmas() < 0)
        return false;
    hl__memory_drop_ahead(stubs.start, stubs.end);
    hl__memory_drop_retired(stubs.start, stubs.end);
    hl__vma_insert(&hl__memory.vmas, &stubs);
    return true;
}

/* What is shown of the file makes room for the rewritten pages. */
static void forget_shown(uint64_t start, uint64_t end)
{
    struct hl__table_run run;

    for (uint64_t at = start; hl__table_run(&hl__memory.table, at, end, &run);
         at = run.address + run.count * HL_ABI_PAGE_SIZE) {
        if (!(run.page & HL__ENTRY_BORROWED))
            continue;
        hl__memory_unback(run.address, run.address + run.count * HL_ABI_PAGE_SIZE);
        hl__edits_add(run.address, run.count, HL_ABI_SOURCE_NONE, 0, 0);
    }
}

void hl__stubs_map(uint64_t start, uint64_t end)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;

    while (start < end) {
        struct hl__vma *found = hl__vma_find(vmas, start);
        const struct hl_image_rewrite *rewrite;
        struct hl__vma code;

        if (!found)
            return;
        code = *found;
        rewrite = code.inode && code.flags & HL_ABI_RIGHT_EXECUTE &&
                          !(code.flags & (HL__VMA_SHARED | HL__VMA_PATCHED | HL__VMA_STUBS)) &&
                          !code.inode->changed_here
                      ? stubs_of(code.inode)
                      : NULL;
        if (rewrite && stubs_insert(&code, rewrite)) {
            forget_shown(code.start, code.end);
            hl__vma_change(&hl__memory.vmas, code.start, code.end, 0, HL__VMA_PATCHED);
        }
        start = code.end;
    }
}

/* A part of patched code goes: so do the stubs, and the rest of the code keeps its jumps to them; so
 * nothing of it may stay patched. */
static void stubs_remove(const struct hl__vma *code)
{
    const struct hl_image_rewrite *rewrite = stubs_of(code->inode);
    uint64_t place = rewrite ? stubs_place(code, rewrite) : 0;

    if (!place || !is_stubs(hl__vma_find(&hl__memory.vmas, place), code->inode, rewrite, place))
        return;
    for (uint32_t i = 0; i < hl__memory.vmas.count; i++) {
        const struct hl__vma other = hl__memory.vmas.items[i];

        if (other.inode != code->inode || !(other.flags & HL__VMA_PATCHED) ||
            stubs_place(&other, rewrite) != place)
            continue;
        forget_shown(other.start, other.end);
        hl__vma_change(&hl__memory.vmas, other.start, other.end, HL__VMA_PATCHED, 0);
    }
    forget_shown(place, place + rewrite->stubs_pages * (uint64_t)HL_ABI_PAGE_SIZE);
    hl__vma_remove(&hl__memory.vmas, place,
                   place + rewrite->stubs_pages * (uint64_t)HL_ABI_PAGE_SIZE);
}

/* The stubs go: nothing may jump to them any more. */
static void stubs_remove_code(const struct hl__vma *stubs)
{
    const struct hl_image_rewrite *rewrite = stubs_of(stubs->inode);
    const struct hl__vmas *vmas = &hl__memory.vmas;

    for (uint32_t i = 0; i < vmas->count && rewrite; i++) {
        const struct hl__vma code = vmas->items[i];

        if (code.inode == stubs->inode && code.flags & HL__VMA_PATCHED &&
            stubs_place(&code, rewrite) == stubs->start) {
            stubs_remove(&code);
            return;
        }
    }
}

void hl__stubs_unmap(uint64_t start, uint64_t end)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;

    for (uint32_t i = hl__vma_at_or_after(vmas, start);
         i < vmas->count && vmas->items[i].start < end; i++) {
        const struct hl__vma vma = vmas->items[i];

        if (vma.flags & HL__VMA_PATCHED)
            stubs_remove(&vma);
        else if (vma.flags & HL__VMA_STUBS)
            stubs_remove_code(&vma);
        else
            continue;
        i = hl__vma_at_or_after(vmas, vma.start);
        if (i == vmas->count || vmas->items[i].start != vma.start)
            i--; /* the stubs went themselves */
    }
}

bool hl__stubs_patch(const struct hl__inode *inode, uint64_t index, uint64_t *offset)
{
    const struct hl_image_rewrite *rewrite = stubs_of(inode);
    const struct hl_image_patch *patches;
    uint64_t low = 0, high;

    if (!rewrite || inode->changed_here)
        return false;
    patches = hl__image_at(&hl__root_image, &rewrite->patches, sizeof *patches, 8);
    high = rewrite->patches.count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct hl_image_range page = {patches[middle].data, 1};

        if (patches[middle].page == index) {
            *offset = page.offset;
            return hl__image_at(&hl__root_image, &page, HL_ABI_PAGE_SIZE, HL_ABI_PAGE_SIZE);
        }
        if (patches[middle].page < index)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* The last site at or before an address of the file, or before an offset in the stubs. */
static const struct hl_image_site *site_find(const struct hl_image_rewrite *rewrite,
                                             uint64_t position, bool in_stubs)
{
    const struct hl_image_site *sites =
        hl__image_at(&hl__root_image, &rewrite->sites, sizeof *sites, 8);
    uint64_t low = 0, high = rewrite->sites.count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if ((in_stubs ? sites[middle].stub : sites[middle].address) <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &sites[low - 1] : NULL;
}

static unsigned site_count(const struct hl_image_site *site)
{
    return site->count < HL_IMAGE_SITE_INSTRUCTIONS ? site->count : HL_IMAGE_SITE_INSTRUCTIONS;
}

/* What took the place of the syscall stands for the syscall, and the jump at the end for what is behind
 * the window. */
uint64_t hl__file_address(uint64_t rip)
{
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, rip);
    const struct hl_image_rewrite *rewrite =
        vma && vma->flags & HL__VMA_STUBS ? stubs_of(vma->inode) : NULL;
    const struct hl_image_site *site;
    uint64_t bias, at;
    unsigned last = 0;

    if (!rewrite)
        return rip;
    site = site_find(rewrite, rip - vma->start, true);
    if (!site || !site->count || rip - vma->start - site->stub >= site->stub_size)
        return rip;
    at = rip - vma->start - site->stub;
    bias = vma->start - rewrite->stubs_address;
    for (unsigned i = 1; i < site_count(site); i++)
        if (site->stub_at[i] <= at)
            last = i;
    return bias + site->address +
           (at + STUB_JUMP_SIZE >= site->stub_size ? site->size : site->at[last]);
}

/* The stubs of a patched mapping. */
static bool stubs_bias(const struct hl__vma *code, const struct hl_image_rewrite *rewrite,
                       uint64_t *bias)
{
    uint64_t place = stubs_place(code, rewrite);

    if (!place || !is_stubs(hl__vma_find(&hl__memory.vmas, place), code->inode, rewrite, place))
        return false;
    *bias = place - rewrite->stubs_address;
    return true;
}

uint64_t hl__code_address(uint64_t rip)
{
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, rip);
    const struct hl_image_rewrite *rewrite =
        vma && vma->flags & HL__VMA_PATCHED ? stubs_of(vma->inode) : NULL;
    const struct hl_image_site *site;
    uint64_t bias;

    if (!rewrite || !stubs_bias(vma, rewrite, &bias))
        return rip;
    site = site_find(rewrite, rip - bias, false);
    if (!site || rip - bias - site->address >= site->size)
        return rip;
    for (unsigned i = 0; i < site_count(site); i++)
        if (site->address + site->at[i] == rip - bias)
            return bias + rewrite->stubs_address + site->stub + site->stub_at[i];
    return rip;
}
