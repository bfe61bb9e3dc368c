/* Changes of the address space that the guest asks for: each is checked against what the guest may
 * have, then all are applied. */
#include "vm/x86_64/tables.h"
#include <errno.h>
#include <stdlib.h>

/* Most pages of one edit that are backed at once, whatever the guest hopes for. */
enum { POPULATE_PAGES_MAX = 512 };

/* A batch over gigabytes takes a while. A cancelled run ends with the sandbox poisoned, so that a
 * batch half done does no harm. */
static bool cancelled(const hl__space *space)
{
    return space->control && hl__control_cause(space->control) != HL_OK;
}

static bool range_allowed(uint64_t address, uint64_t page_count)
{
    uint64_t limit = HL_ABI_USER_END / HL__PAGE;
    if (address % HL__PAGE || page_count == 0 || page_count > limit)
        return false;
    uint64_t end = address + page_count * HL__PAGE;
    if (address >= HL_ABI_USER_START && end <= HL_ABI_USER_END && address < end)
        return true;
    if (address >= end)
        return false;
    return (address >= HL_ABI_HEAP_ADDRESS && end <= HL_ABI_HEAP_END) ||
           (address >= HL_ABI_POOL_ADDRESS && end <= HL_ABI_POOL_END);
}

static bool source_contains(uint64_t offset, uint64_t page_count, uint64_t start, uint64_t size)
{
    uint64_t pages = (size + HL__PAGE - 1) / HL__PAGE;
    return offset % HL__PAGE == 0 && offset >= start && offset / HL__PAGE <= pages &&
           page_count <= pages - offset / HL__PAGE;
}

static bool source_allowed(const hl__space *space, const struct hl_abi_edit *edit)
{
    switch (edit->source) {
    case HL_ABI_SOURCE_NONE:
    case HL_ABI_SOURCE_KEEP:
        return edit->offset == 0;
    case HL_ABI_SOURCE_RAM:
        return source_contains(edit->offset, edit->page_count, space->ram_free_offset,
                               space->ram_size);
    case HL_ABI_SOURCE_PROGRAM:
        return !(edit->rights & HL_ABI_RIGHT_WRITE) &&
               source_contains(edit->offset, edit->page_count, 0, space->vm->program->program_size);
    case HL_ABI_SOURCE_ROOT:
        return !(edit->rights & HL_ABI_RIGHT_WRITE) &&
               source_contains(edit->offset, edit->page_count, 0,
                               hl_image_size(space->vm->program->root));
    default:
        return false;
    }
}

static bool rights_allowed(const struct hl_abi_edit *edit)
{
    uint32_t known =
        HL_ABI_RIGHT_READ | HL_ABI_RIGHT_WRITE | HL_ABI_RIGHT_EXECUTE | HL_ABI_RIGHT_POPULATE;
    if (edit->source == HL_ABI_SOURCE_NONE)
        return edit->rights == 0;
    return edit->rights != 0 && !(edit->rights & ~known);
}

struct keep_check {
    bool write, refused;
};

/* Read-only memory stays read-only: the guest binary is shared with other sandboxes. */
static void check_kept(hl__space *space, uint32_t table, uint64_t *entry, uint64_t address,
                       void *user)
{
    struct keep_check *check = user;
    (void)table;
    (void)address;
    if (check->write && !hl__space_owns_ram(space, *entry & HL__PTE_ADDRESS))
        check->refused = true;
}

static bool maps_file(const struct hl_abi_edit *edit)
{
    return edit->source == HL_ABI_SOURCE_PROGRAM || edit->source == HL_ABI_SOURCE_ROOT;
}

static bool overlap(const struct hl_abi_edit *one, const struct hl_abi_edit *other)
{
    return one->address < other->address + other->page_count * HL__PAGE &&
           other->address < one->address + one->page_count * HL__PAGE;
}

/* What is kept is what the tables hold now and what the `before` edits ahead of it in the batch put
 * there. */
static bool keep_allowed(hl__space *space, const struct hl_abi_edit *edits, size_t before)
{
    const struct hl_abi_edit *edit = &edits[before];
    struct keep_check check = {(edit->rights & HL_ABI_RIGHT_WRITE) != 0, false};
    if (edit->source != HL_ABI_SOURCE_KEEP || !check.write)
        return true;
    hl__tables_each(space, edit->address, edit->page_count, check_kept, &check);
    for (size_t i = 0; i < before; i++)
        check.refused |= maps_file(&edits[i]) && overlap(&edits[i], edit);
    return !check.refused;
}

static uint64_t rights_flags(uint32_t rights)
{
    return HL__PTE_LEAF | HL__PTE_USER | (rights & HL_ABI_RIGHT_WRITE ? HL__PTE_WRITE : 0) |
           (rights & HL_ABI_RIGHT_EXECUTE ? 0 : HL__PTE_NO_EXECUTE);
}

/* Makes the tables that an addition needs, so that applying it cannot fail. */
static bool make_tables(hl__space *space, const struct hl_abi_edit *edit)
{
    for (uint64_t page = 0; page < edit->page_count; page++) {
        uint32_t table;
        if (!hl__tables_make(space, edit->address + page * HL__PAGE, 1, &table))
            return false;
    }
    return true;
}

/* Counts the pages of an addition as mapped, or no longer. */
static void count_pages(hl__space *space, const struct hl_abi_edit *edit, bool mapped)
{
    uint64_t first = edit->offset / HL__PAGE;
    for (uint64_t page = first; page < first + edit->page_count; page++)
        if (mapped)
            hl__space_ram_mapped(space, page);
        else
            hl__space_ram_unmapped(space, page);
}

/* Whether all additions fit into the limit at once: counts them, looks, and takes that back. RAM alone
 * always fits. */
static int fits(hl__space *space, const struct hl_abi_edit *edits, size_t count)
{
    size_t counted = 0;
    if (space->transfer_size == 0)
        return 0;
    for (; counted < count && !cancelled(space); counted++)
        if (edits[counted].source == HL_ABI_SOURCE_RAM)
            count_pages(space, &edits[counted], true);
    int result = counted < count                                    ? -EINTR
                 : space->mapped_pages > space->ram_size / HL__PAGE ? -ENOMEM
                                                                    : 0;
    while (counted-- > 0)
        if (edits[counted].source == HL_ABI_SOURCE_RAM)
            count_pages(space, &edits[counted], false);
    return result;
}

static int prepare(hl__space *space, const struct hl_abi_edit *edits, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct hl_abi_edit *edit = &edits[i];
        if (cancelled(space))
            return -EINTR;
        if (!range_allowed(edit->address, edit->page_count) || !source_allowed(space, edit) ||
            !rights_allowed(edit) || !keep_allowed(space, edits, i))
            return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        if (edits[i].source != HL_ABI_SOURCE_RAM && !maps_file(&edits[i]))
            continue;
        if (cancelled(space))
            return -EINTR;
        if (!make_tables(space, &edits[i]))
            return -ENOMEM;
    }
    return fits(space, edits, count);
}

static void remove_page(hl__space *space, uint32_t table, uint64_t *entry, uint64_t address,
                        void *user)
{
    (void)address;
    (void)user;
    hl__tables_set(space, table, entry, 0);
    space->edit_count++;
}

static void keep_page(hl__space *space, uint32_t table, uint64_t *entry, uint64_t address,
                      void *user)
{
    const uint64_t *flags = user;
    (void)address;
    hl__tables_set(space, table, entry, (*entry & HL__PTE_ADDRESS) | *flags);
    space->edit_count++;
}

static uint64_t source_gpa(const hl__space *space, uint32_t source)
{
    switch (source) {
    case HL_ABI_SOURCE_RAM:
        return space->ram_gpa;
    case HL_ABI_SOURCE_ROOT:
        return HL__GPA_ROOT;
    default:
        return HL__GPA_IMAGE + space->vm->program->program_offset;
    }
}

static void add_pages(hl__space *space, const struct hl_abi_edit *edit)
{
    bool ram = edit->source == HL_ABI_SOURCE_RAM;
    uint64_t gpa = edit->offset + source_gpa(space, edit->source);
    uint64_t flags = rights_flags(edit->rights);
    for (uint64_t page = 0; page < edit->page_count; page++) {
        uint32_t table;
        uint64_t *entry = hl__tables_make(space, edit->address + page * HL__PAGE, 1, &table);
        hl__tables_set(space, table, entry, (gpa + page * HL__PAGE) | flags);
        if (ram)
            hl__bitmap_set(space->touched, edit->offset / HL__PAGE + page);
    }
    space->edit_count += edit->page_count;
    if (ram && (edit->rights & HL_ABI_RIGHT_POPULATE)) {
        uint64_t pages =
            edit->page_count < POPULATE_PAGES_MAX ? edit->page_count : POPULATE_PAGES_MAX;
        hl__os_memory_populate(space->ram + edit->offset, pages * HL__PAGE);
    }
}

static void apply(hl__space *space, const struct hl_abi_edit *edit)
{
    uint64_t flags = rights_flags(edit->rights);
    if (edit->source == HL_ABI_SOURCE_NONE)
        hl__tables_each(space, edit->address, edit->page_count, remove_page, NULL);
    else if (edit->source == HL_ABI_SOURCE_KEEP)
        hl__tables_each(space, edit->address, edit->page_count, keep_page, &flags);
    else
        add_pages(space, edit);
}

int hl__space_edit(hl__space *space, const struct hl_abi_edit *edits, size_t count)
{
    int result = prepare(space, edits, count);
    if (result)
        return result;
    for (size_t i = 0; i < count && !cancelled(space); i++)
        apply(space, &edits[i]);
    return 0;
}
