/*
 * Judges page tables from the root on, with a walk of its own. User mode may reach the sandbox's RAM, its transfer memory, the image and
 * two read-only pages of the host, each only where and how the contract says; nothing else, and nothing of the supervisor's.
 */
#include "doubles/space_check.h"

#include "vm/x86_64/tables.h"

#include <stdlib.h>

struct check {
    const hl__space *space;
    const char *wrong;
    uint64_t counted;   /* RAM and transfer pages */
    uint16_t *mappings; /* of each page of RAM */
    uint64_t tables;    /* tables of the space that are linked */
};

struct leaf {
    uint64_t address, size, entry, gpa;
    bool user, write, execute;
};

static void check_fail(struct check *check, const char *wrong)
{
    if (!check->wrong)
        check->wrong = wrong;
}

static bool leaf_within(const struct leaf *leaf, uint64_t start, uint64_t end)
{
    return leaf->address >= start && leaf->address + leaf->size <= end;
}

static bool leaf_is_program_area(const struct leaf *leaf)
{
    return leaf_within(leaf, HL_ABI_USER_START, HL_ABI_USER_END) ||
           leaf_within(leaf, HL_ABI_HEAP_ADDRESS, HL_ABI_HEAP_END) ||
           leaf_within(leaf, HL_ABI_POOL_ADDRESS, HL_ABI_POOL_END);
}

/* Below the free part of RAM lie the shim's data, the mailbox, output and the boot block, each at its one address. */
static bool check_reserved_ram(const hl__space *space, const struct leaf *leaf, uint64_t offset)
{
    uint64_t mailbox = space->vm->shim->data_memory_size, boot = hl__space_boot_offset(space);
    uint64_t output = hl__space_output_offset(space);
    if (offset < mailbox)
        return leaf->address == HL_ABI_SHIM_DATA_ADDRESS + offset;
    if (offset < output)
        return leaf->address == HL_ABI_MAILBOX_ADDRESS + (offset - mailbox);
    if (offset < boot)
        return leaf->address == HL_ABI_OUTPUT_ADDRESS + (offset - output);
    return leaf->address == HL_ABI_BOOT_ADDRESS + (offset - boot);
}

static void check_ram(struct check *check, const struct leaf *leaf)
{
    const hl__space *space = check->space;
    uint64_t offset = leaf->gpa - space->ram_gpa;
    uint16_t *mappings = &check->mappings[offset / HL__PAGE];
    check->counted += *mappings == 0;
    *mappings += *mappings < HL__MAPPINGS_MAX;
    if (!hl__bitmap_get(space->touched, offset / HL__PAGE))
        check_fail(check, "RAM is mapped that is not noted as touched");
    if (offset < space->ram_free_offset) {
        if (!check_reserved_ram(space, leaf, offset) || leaf->execute)
            check_fail(check, "reserved RAM is mapped elsewhere, or executable");
    } else if (!leaf_is_program_area(leaf)) {
        check_fail(check, "free RAM is mapped outside of the program's area");
    }
}

static void check_transfer(struct check *check, const struct leaf *leaf)
{
    const hl__space *space = check->space;
    uint64_t offset = leaf->gpa - hl__space_transfer_gpa(space);
    check->counted++;
    if (offset >= space->transfer_size || leaf->address != HL_ABI_TRANSFER_ADDRESS + offset ||
        leaf->execute)
        check_fail(check, "transfer memory is mapped beyond its size, elsewhere, or executable");
    if (!space->vm->transfer)
        check_fail(check, "transfer memory is mapped that does not exist");
}

static void check_image(struct check *check, const struct leaf *leaf)
{
    const hl__vm *vm = check->space->vm;
    uint64_t offset = leaf->gpa - HL__GPA_IMAGE, program = vm->program->program_offset;
    uint64_t end = (vm->program->image_size + HL__LARGE_PAGE - 1) & ~(HL__LARGE_PAGE - 1);
    if (leaf->write)
        check_fail(check, "the image is writable");
    if (offset + leaf->size > end)
        check_fail(check, "the image is mapped beyond its end");
    if (offset < program) {
        if (leaf->address != HL_ABI_SHIM_ADDRESS + offset)
            check_fail(check, "the shim is mapped elsewhere");
    } else if (leaf->address != HL_ABI_PROGRAM_ADDRESS + (offset - program)) {
        if (!leaf_is_program_area(leaf) || leaf->gpa >= HL__GPA_IMAGE + vm->program->image_size)
            check_fail(check, "the guest binary is mapped outside of the program's area");
    } else if (leaf->execute) {
        check_fail(check, "the copy of the guest binary for the shim is executable");
    }
}

static void check_root(struct check *check, const struct leaf *leaf)
{
    uint64_t offset = leaf->gpa - HL__GPA_ROOT;
    if (leaf->write)
        check_fail(check, "the root image is writable");
    if (offset + leaf->size > hl_image_size(check->space->vm->program->root))
        check_fail(check, "the root image is mapped beyond its end");
    if (leaf->address == HL_ABI_ROOT_ADDRESS + offset ? leaf->execute : !leaf_is_program_area(leaf))
        check_fail(check,
                   "the root image is mapped outside of its place and the program's area, or "
                   "its copy for the shim is executable");
}

static void check_host_page(struct check *check, const struct leaf *leaf)
{
    uint64_t wake = check->space->tables_gpa - HL__PAGE;
    bool known = (leaf->address == HL_ABI_WAKE_ADDRESS && leaf->gpa == wake) ||
                 (leaf->address == HL_ABI_SYSCALL_ADDRESS &&
                  leaf->gpa == hl__system_gpa(HL__SYSTEM_SYSCALL));
    if (!known || leaf->write || leaf->execute || leaf->size != HL__PAGE)
        check_fail(check, "user mode reaches a page of the host's");
}

static void check_user_leaf(struct check *check, const struct leaf *leaf)
{
    const hl__space *space = check->space;
    if (!(leaf->entry & HL__PTE_DIRTY)) /* those of a snapshot start out as not accessed */
        check_fail(check, "a leaf without dirty bit");
    if (hl__space_owns_ram(space, leaf->gpa))
        check_ram(check, leaf);
    else if (hl__space_owns_transfer(space, leaf->gpa))
        check_transfer(check, leaf);
    else if (leaf->gpa >= HL__GPA_IMAGE && leaf->gpa < HL__GPA_TRANSFER)
        check_image(check, leaf);
    else if (leaf->gpa >= HL__GPA_ROOT)
        check_root(check, leaf);
    else
        check_host_page(check, leaf);
}

/* The supervisor's mappings: one to one, the system area's own, none of them user memory. */
static void check_system_leaf(struct check *check, const struct leaf *leaf)
{
    uint64_t offset = leaf->address - HL_ABI_SYSTEM_ADDRESS;
    bool code = offset == HL__SYSTEM_STUB * HL__PAGE;
    if (leaf->address < HL_ABI_SYSTEM_ADDRESS || leaf->gpa != HL__GPA_SYSTEM + offset)
        check_fail(check, "the system area is not mapped one to one");
    if (offset >= check->space->vm->system_size || leaf->execute != code || (code && leaf->write))
        check_fail(check, "a page of the system area has wrong rights");
}

static const uint64_t *check_table(struct check *check, uint64_t gpa)
{
    const hl__vm *vm = check->space->vm;
    if (gpa < HL__GPA_SYSTEM || gpa - HL__GPA_SYSTEM >= vm->system_size) {
        check_fail(check, "a page table lies outside of the system slot");
        return NULL;
    }
    return (const uint64_t *)(vm->system + (gpa - HL__GPA_SYSTEM));
}

static void check_leaf(struct check *check, struct leaf *leaf)
{
    leaf->gpa = leaf->entry & HL__PTE_ADDRESS;
    if (leaf->gpa % leaf->size)
        check_fail(check, "a leaf is not aligned");
    if (leaf->user)
        check_user_leaf(check, leaf);
    else
        check_system_leaf(check, leaf);
}

static void check_level(struct check *check, uint64_t table_gpa, int level, struct leaf above)
{
    const uint64_t *entries = check_table(check, table_gpa);
    uint64_t first = check->space->tables_gpa;
    if (table_gpa >= first && table_gpa < first + check->space->tables_max * HL__PAGE) {
        check->tables++;
        if (table_gpa >= first + check->space->table_count * HL__PAGE)
            check_fail(check, "a table is linked that is not counted");
    }
    for (unsigned i = 0; entries && !check->wrong && i < HL__TABLE_ENTRIES; i++) {
        uint64_t entry = entries[i];
        if (!(entry & HL__PTE_PRESENT))
            continue;
        struct leaf leaf = above;
        leaf.size = hl__level_span(level);
        leaf.address += i * leaf.size;
        leaf.entry = entry;
        leaf.user = above.user && entry & HL__PTE_USER;
        leaf.write = above.write && entry & HL__PTE_WRITE;
        leaf.execute = above.execute && !(entry & HL__PTE_NO_EXECUTE);
        if (level == 1 || entry & HL__PTE_LARGE)
            check_leaf(check, &leaf);
        else
            check_level(check, entry & HL__PTE_ADDRESS, level - 1, leaf);
    }
}

static uint32_t count_bits(const uint64_t *bitmap, uint64_t bits)
{
    uint32_t count = 0;
    for (size_t word = 0; word < hl__bitmap_words(bits); word++)
        count += (uint32_t)__builtin_popcountll(bitmap[word]);
    return count;
}

static void check_counts(struct check *check)
{
    const hl__space *space = check->space;
    uint64_t pages = space->ram_size / HL__PAGE;
    size_t size = pages * sizeof *check->mappings;
    if (!space->mappings_saturated && (memcmp(check->mappings, space->mappings, size) != 0 ||
                                       check->counted != space->mapped_pages))
        check_fail(check, "the count of mapped pages is wrong");
    for (uint64_t page = 0; page < pages; page++)
        if (check->mappings[page] && !space->mappings[page])
            check_fail(check, "a page is mapped that does not count");
    if (check->counted > space->mapped_pages)
        check_fail(check, "more pages are mapped than are counted");
    if (space->mapped_pages > pages)
        check_fail(check, "more pages are mapped than the memory limit allows");
}

const char *space_check(const hl__space *space)
{
    struct check check = {.space = space,
                          .mappings = calloc(space->ram_size / HL__PAGE, sizeof(uint16_t))};
    if (!check.mappings)
        return "no memory for a check";
    const struct leaf all = {.user = true, .write = true, .execute = true};
    check_level(&check, space->tables_gpa, 4, all);
    check_counts(&check);
    if (space->table_count > space->tables_max || check.tables > space->table_count)
        check_fail(&check, "the count of tables is wrong");
    if (count_bits(space->tables_stale, space->tables_max) != space->stale_count)
        check_fail(&check, "the count of stale tables is wrong");
    free(check.mappings);
    return check.wrong;
}

bool space_tables_are(const hl__space *space, const void *saved, uint32_t saved_count)
{
    const uint64_t *entries = hl__table_entries(space, 0), *wanted = saved;
    bool same = space->table_count == saved_count;
    for (size_t i = 0; same && i < saved_count * (size_t)HL__TABLE_ENTRIES; i++)
        same = ((entries[i] ^ wanted[i]) & ~HL__PTE_ACCESSED) == 0;
    return same;
}
