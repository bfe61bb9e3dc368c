/* Page tables of one address space: walking, changing, and the record of what changed. */
#include "vm/x86_64/tables.h"
#include "util/placement.h"
#include "vm/x86_64/system_area.h"

static unsigned table_index(uint64_t address, int level)
{
    return (unsigned)(address >> (12 + 9 * (level - 1))) & (HL__TABLE_ENTRIES - 1);
}

/* Number of the space's own table that an entry points to; UINT32_MAX for tables that all members
 * share. */
static uint32_t table_below(const hl__space *space, uint64_t entry)
{
    uint64_t gpa = entry & HL__PTE_ADDRESS;
    if (gpa < space->tables_gpa || gpa >= space->tables_gpa + space->table_count * HL__PAGE)
        return UINT32_MAX;
    return (uint32_t)((gpa - space->tables_gpa) / HL__PAGE);
}

HL__WARM_PATH uint64_t *hl__tables_find(const hl__space *space, uint64_t address, int *level)
{
    uint32_t table = 0;
    if (address >> 47)
        /* not user mode's half: the bits above would be ignored here, but fault there */
        return NULL;
    for (*level = 4; table != UINT32_MAX; --*level) {
        uint64_t *entry = &hl__table_entries(space, table)[table_index(address, *level)];
        if (!(*entry & HL__PTE_PRESENT))
            return NULL;
        if (*level == 1 || (*entry & HL__PTE_LARGE))
            return entry;
        table = table_below(space, *entry);
    }
    return NULL;
}

void hl__space_table_reach(const hl__space *space, uint32_t table)
{
    hl__system_area_map(space->vm, (space->tables_gpa - HL__GPA_SYSTEM) / HL__PAGE + table);
}

static bool table_add(hl__space *space, uint32_t parent, uint64_t *entry)
{
    if (space->table_count == space->tables_max)
        return false;
    uint32_t table = space->table_count++;
    memset(hl__table_entries(space, table), 0, HL__PAGE);
    hl__bitmap_set(space->tables_edited, table);
    uint64_t gpa = space->tables_gpa + table * HL__PAGE;
    hl__space_table_reach(space, table);
    hl__tables_set(space, parent, entry, gpa | HL__PTE_LEAF | HL__PTE_WRITE | HL__PTE_USER);
    return true;
}

uint64_t *hl__tables_make(hl__space *space, uint64_t address, int level, uint32_t *table)
{
    *table = 0;
    for (int above = 4; above > level; above--) {
        uint64_t *entry = &hl__table_entries(space, *table)[table_index(address, above)];
        if (!(*entry & HL__PTE_PRESENT) && !table_add(space, *table, entry))
            return NULL;
        *table = table_below(space, *entry);
    }
    return &hl__table_entries(space, *table)[table_index(address, level)];
}

void hl__space_ram_mapped(hl__space *space, uint64_t page)
{
    uint16_t *count = &space->mappings[page];
    space->mapped_pages += *count == 0;
    *count += *count < HL__MAPPINGS_MAX;
    space->mappings_saturated |= *count == HL__MAPPINGS_MAX;
}

void hl__space_ram_unmapped(hl__space *space, uint64_t page)
{
    uint16_t *count = &space->mappings[page];
    *count -= *count < HL__MAPPINGS_MAX;
    space->mapped_pages -= *count == 0;
}

/* Counts a leaf as mapped, or as no longer mapped, if it is RAM or transfer memory. */
static void count_leaf(hl__space *space, uint64_t entry, bool mapped)
{
    uint64_t gpa = entry & HL__PTE_ADDRESS;
    if (!(entry & HL__PTE_PRESENT))
        return;
    if (hl__space_owns_transfer(space, gpa))
        space->mapped_pages += mapped ? 1 : UINT64_MAX;
    else if (!hl__space_owns_ram(space, gpa))
        return;
    else if (mapped)
        hl__space_ram_mapped(space, (gpa - space->ram_gpa) / HL__PAGE);
    else
        hl__space_ram_unmapped(space, (gpa - space->ram_gpa) / HL__PAGE);
}

/* Whether something that the old entry allowed is forbidden, or lies elsewhere, with the new one.
 */
static bool takes_away(uint64_t old, uint64_t value)
{
    if (!(old & HL__PTE_PRESENT))
        return false;
    return !(value & HL__PTE_PRESENT) || ((old ^ value) & HL__PTE_ADDRESS) ||
           (old & ~value & HL__PTE_WRITE) || (value & ~old & HL__PTE_NO_EXECUTE);
}

void hl__tables_set(hl__space *space, uint32_t table, uint64_t *entry, uint64_t value)
{
    uint64_t old = *entry;
    if (old == value)
        return;
    if ((old ^ value) & (HL__PTE_ADDRESS | HL__PTE_PRESENT)) {
        count_leaf(space, value, true);
        count_leaf(space, old, false);
    }
    __atomic_store_n(entry, value, __ATOMIC_RELAXED);
    hl__bitmap_set(space->tables_edited, table);
    uint16_t index = (uint16_t)(entry - hl__table_entries(space, table));
    if (takes_away(old, value))
        hl__space_entries_stale(space, table, (struct hl__stale_range){index, index});
}

static uint64_t range_end(uint64_t address, uint64_t span, uint64_t end)
{
    uint64_t next = (address & ~(span - 1)) + span;
    return next < end ? next : end;
}

static void each_in_table(hl__space *space, uint32_t table, int level, uint64_t address,
                          uint64_t end, hl__tables_visit visit, void *user)
{
    uint64_t span = hl__level_span(level);
    for (uint64_t next; address < end; address = next) {
        next = range_end(address, span, end);
        uint64_t *entry = &hl__table_entries(space, table)[table_index(address, level)];
        if (!(*entry & HL__PTE_PRESENT))
            continue;
        if (level == 1) {
            visit(space, table, entry, address & ~(HL__PAGE - 1), user);
            continue;
        }
        uint32_t below = table_below(space, *entry);
        if (!(*entry & HL__PTE_LARGE) && below != UINT32_MAX)
            each_in_table(space, below, level - 1, address, next, visit, user);
    }
}

void hl__tables_each(hl__space *space, uint64_t address, uint64_t page_count,
                     hl__tables_visit visit, void *user)
{
    each_in_table(space, 0, 4, address, address + page_count * HL__PAGE, visit, user);
}

HL__WARM_PATH bool hl__space_owns_ram(const hl__space *space, uint64_t gpa)
{
    return gpa >= space->ram_gpa && gpa < space->ram_gpa + space->ram_size;
}

uint64_t hl__space_transfer_gpa(const hl__space *space)
{
    return HL__GPA_TRANSFER + space->index * space->vm->config.transfer_size_max;
}

bool hl__space_owns_transfer(const hl__space *space, uint64_t gpa)
{
    uint64_t start = hl__space_transfer_gpa(space);
    return gpa >= start && gpa < start + space->vm->config.transfer_size_max;
}

void hl__space_table_stale(hl__space *space, uint32_t table)
{
    hl__space_entries_stale(space, table, (struct hl__stale_range){0, HL__TABLE_ENTRIES - 1});
}

void hl__space_entries_stale(hl__space *space, uint32_t table, struct hl__stale_range range)
{
    struct hl__stale_range *stale = &space->stale_ranges[table];
    if (!hl__bitmap_get(space->tables_stale, table)) {
        hl__bitmap_set(space->tables_stale, table);
        space->stale_count++;
        *stale = range;
        return;
    }
    stale->first = range.first < stale->first ? range.first : stale->first;
    stale->last = range.last > stale->last ? range.last : stale->last;
}

uint32_t hl__space_stale_take(hl__space *space, uint32_t *tables, uint32_t max)
{
    uint32_t taken = 0;
    for (size_t word = 0; word < hl__bitmap_words(space->tables_max) && taken < max; word++) {
        while (space->tables_stale[word] && taken < max) {
            unsigned bit = (unsigned)__builtin_ctzll(space->tables_stale[word]);
            space->tables_stale[word] &= space->tables_stale[word] - 1;
            tables[taken++] = (uint32_t)(word * 64 + bit);
        }
    }
    space->stale_count -= taken;
    return taken;
}

/* Tables and the system area lie below all that leaves map. */
static bool is_leaf(uint64_t entry)
{
    return (entry & HL__PTE_PRESENT) && (entry & HL__PTE_ADDRESS) >= HL__GPA_IMAGE;
}

void hl__space_tables_save(const hl__space *space, void *out)
{
    uint64_t *entries = out;
    memcpy(out, space->tables, space->table_count * HL__PAGE);
    for (size_t i = 0; i < space->table_count * (size_t)HL__TABLE_ENTRIES; i++)
        if (is_leaf(entries[i]))
            entries[i] &= ~HL__PTE_ACCESSED;
}

uint64_t hl__space_tables_accessed(const hl__space *space, uint64_t *bitmap, uint32_t count)
{
    const uint64_t *entries = hl__table_entries(space, 0);
    uint64_t accessed = 0;
    if (count > space->table_count)
        count = space->table_count;
    for (size_t i = 0; i < count * (size_t)HL__TABLE_ENTRIES; i++)
        if (is_leaf(entries[i]) && (entries[i] & HL__PTE_ACCESSED)) {
            hl__bitmap_set(bitmap, i);
            accessed++;
        }
    return accessed;
}

/* Where saved entries pointed, and where they point in this space. */
struct relocation {
    uint64_t tables, ram, wake;
    uint32_t table_count;
    const hl__space *space;
};

static uint64_t relocate(const struct relocation *from, uint64_t entry)
{
    uint64_t gpa = entry & HL__PTE_ADDRESS, rest = entry & ~HL__PTE_ADDRESS;
    const hl__space *space = from->space;
    if (!(entry & HL__PTE_PRESENT))
        return 0;
    if (gpa >= from->tables && gpa < from->tables + from->table_count * HL__PAGE)
        return (gpa - from->tables + space->tables_gpa) | rest;
    if (gpa >= from->ram && gpa < from->ram + space->ram_size)
        return (gpa - from->ram + space->ram_gpa) | rest;
    if (gpa == from->wake)
        return (space->tables_gpa - HL__PAGE) | rest;
    return entry;
}

static void table_load(hl__space *space, uint32_t table, const uint64_t *saved,
                       const struct relocation *from)
{
    uint64_t *entries = hl__table_entries(space, table);
    for (unsigned i = 0; i < HL__TABLE_ENTRIES; i++)
        hl__tables_set(space, table, &entries[i], saved ? relocate(from, saved[i]) : 0);
}

/* Counts anew what was lost count of. */
static void count_all(hl__space *space)
{
    memset(space->mappings, 0, space->ram_size / HL__PAGE * sizeof *space->mappings);
    space->mappings_saturated = false;
    space->mapped_pages = 0;
    for (uint32_t table = 0; table < space->table_count; table++)
        for (unsigned i = 0; i < HL__TABLE_ENTRIES; i++)
            count_leaf(space, hl__table_entries(space, table)[i], true);
}

void hl__space_tables_load(hl__space *space, const void *saved, uint32_t saved_count,
                           uint64_t saved_tables_gpa, uint64_t saved_ram_gpa,
                           uint64_t saved_wake_gpa, const uint64_t *edited)
{
    struct relocation from = {saved_tables_gpa, saved_ram_gpa, saved_wake_gpa, saved_count, space};
    uint32_t count = space->table_count > saved_count ? space->table_count : saved_count;
    for (uint32_t table = space->table_count; table < count; table++)
        hl__space_table_reach(space, table);
    space->table_count = count;
    for (uint32_t table = 0; table < count; table++) {
        if (edited && !hl__bitmap_get(edited, table))
            continue;
        const uint64_t *source = table < saved_count
                                     ? (const uint64_t *)((const uint8_t *)saved + table * HL__PAGE)
                                     : NULL;
        table_load(space, table, source, &from);
        /* A table that is no longer linked may be linked elsewhere later: what was derived from it
         * must go. */
        if (!source)
            hl__space_table_stale(space, table);
    }
    space->table_count = saved_count;
    if (space->mappings_saturated)
        count_all(space);
    memset(space->tables_edited, 0, hl__bitmap_words(space->tables_max) * sizeof(uint64_t));
}
