/*
 * An address space: page tables that the host owns, the RAM they map, and the record of what
 * changed since the baseline. The guest never edits tables; it asks (hl_abi_edit), and what it asks
 * for is checked here.
 */
#ifndef HL_VM_SPACE_H
#define HL_VM_SPACE_H

#include "vm/vm.h"

/* Entries of a page table, both inclusive. */
struct hl__stale_range {
    uint16_t first, last;
};

typedef struct hl__space {
    hl__vm *vm;
    /* of the sandbox, whose cancellation ends long edits; may be NULL */
    const hl__control *control;
    uint32_t index; /* member number */
    uint8_t *ram;
    uint64_t ram_gpa, ram_size, ram_free_offset;
    uint8_t *tables; /* table 0 is the root */
    uint64_t tables_gpa;
    uint32_t table_count, tables_max;
    struct hl_abi_wake *wake;
    uint64_t mapped_pages; /* RAM and transfer pages that are in the tables, each once */
    /* How often each RAM page is in the tables. A count that reached HL__MAPPINGS_MAX stays there, so
     * that the page counts as mapped until all tables are loaded. */
    uint16_t *mappings;
    bool mappings_saturated;
    uint64_t transfer_size;  /* bytes of transfer memory that are mapped */
    uint64_t *touched;       /* RAM pages that may hold something: one bit each */
    uint64_t *host_dirty;    /* RAM pages that the host wrote since the last restore */
    uint64_t *tables_edited; /* tables that changed since the baseline: one bit each */
    uint64_t *tables_stale;  /* tables from which rights were removed and not yet flushed */
    struct hl__stale_range *stale_ranges; /* of each stale table: what of it changed */
    uint32_t stale_count;
    uint64_t edit_count, flush_count;
} hl__space;

#define HL__MAPPINGS_MAX UINT16_MAX

/* Words of a bitmap over `bits` bits. */
static inline size_t hl__bitmap_words(uint64_t bits)
{
    return (size_t)((bits + 63) / 64);
}

static inline bool hl__bitmap_get(const uint64_t *bitmap, uint64_t bit)
{
    return bitmap[bit / 64] >> (bit % 64) & 1;
}

static inline void hl__bitmap_set(uint64_t *bitmap, uint64_t bit)
{
    bitmap[bit / 64] |= UINT64_C(1) << (bit % 64);
}

/* Makes the next member of a VM, with the runtime's fixed mappings and its memory as the VM's
 * configuration says. `boot_size`: bytes of the boot block. */
hl_status hl__space_new(hl__vm *vm, uint64_t boot_size, hl__space **space, hl_error *err);
void hl__space_free(hl__space *space); /* NULL is fine; drops its reference to the VM */

/* Offset in RAM of the boot block, and of what comes first: the shim's data at 0. */
uint64_t hl__space_boot_offset(const hl__space *space);
/* And of the mailbox and of struct hl_abi_output. */
static inline uint64_t hl__space_mailbox_offset(const hl__space *space)
{
    return space->vm->shim->data_memory_size;
}

static inline uint64_t hl__space_output_offset(const hl__space *space)
{
    return hl__space_mailbox_offset(space) + sizeof(struct hl_abi_mailbox);
}

/* Does what the guest asks: all of it, or nothing, unless the run is cancelled meanwhile. Returns
 * 0, -EINVAL, -ENOMEM or -EINTR. */
int hl__space_edit(hl__space *space, const struct hl_abi_edit *edits, size_t count);

/* Maps transfer memory up to `size` bytes. Returns false if it does not fit into the memory limit
 * or the tables. */
bool hl__space_transfer_grow(hl__space *space, uint64_t size);

/* Unmaps transfer memory and makes what was used of it zero. */
void hl__space_transfer_drop(hl__space *space);
/* The host's view of it. */
uint8_t *hl__space_transfer(const hl__space *space);

/* Copies from and to guest memory through the space's own tables, as user mode would access it;
 * false if any byte is not accessible. Writes are recorded. */
bool hl__space_read(const hl__space *space, uint64_t address, void *out, size_t size);
bool hl__space_write(hl__space *space, uint64_t address, const void *data, size_t size);
/* Whether user mode could write all of the range. */
bool hl__space_writable(const hl__space *space, uint64_t address, size_t size);

/* The one way for the host to write RAM directly: a pointer to RAM at `offset`, recorded as
 * written. */
static inline void *hl__space_host_write(hl__space *space, uint64_t offset, size_t size)
{
    for (uint64_t page = offset / HL__PAGE; page <= (offset + size - 1) / HL__PAGE; page++)
        hl__bitmap_set(space->host_dirty, page);
    return space->ram + offset;
}

/* The mailbox, to be written, with so many bytes of its inline message; and for reading. */
static inline struct hl_abi_mailbox *hl__space_mailbox(hl__space *space, size_t inline_size)
{
    return (struct hl_abi_mailbox *)hl__space_host_write(
        space, hl__space_mailbox_offset(space),
        offsetof(struct hl_abi_mailbox, inline_message) + inline_size);
}

static inline const struct hl_abi_mailbox *hl__space_mailbox_read(const hl__space *space)
{
    return (const struct hl_abi_mailbox *)(space->ram + hl__space_mailbox_offset(space));
}

/* A table, or some of its entries, changed in a way that removes rights. */
void hl__space_table_stale(hl__space *space, uint32_t table);
void hl__space_entries_stale(hl__space *space, uint32_t table, struct hl__stale_range range);
/* Numbers of at most `max` stale tables, which are then no longer stale; their ranges stay readable until the
 * next change. */
uint32_t hl__space_stale_take(hl__space *space, uint32_t *tables, uint32_t max);

/* Nothing ran in the space yet, so nothing that was derived from its tables can be stale. */
void hl__space_forget_changes(hl__space *space);

/* Tables as of a moment, for snapshots: `table_count` pages with relocatable entries, no leaf of them accessed. */
void hl__space_tables_save(const hl__space *space, void *out);
/* Sets the bits, HL__TABLE_WORDS for each of `count` tables, of leaves that the guest accessed since they were
 * loaded. Returns their number. */
uint64_t hl__space_tables_accessed(const hl__space *space, uint64_t *bitmap, uint32_t count);
/* Sets all tables to a saved state of this or another space, or only those in `edited` (a bitmap
 * over this space's tables). */
void hl__space_tables_load(hl__space *space, const void *saved, uint32_t saved_count,
                           uint64_t saved_tables_gpa, uint64_t saved_ram_gpa,
                           uint64_t saved_wake_gpa, const uint64_t *edited);

static inline uint64_t hl__space_root(const hl__space *space)
{
    return space->tables_gpa;
}

#endif
