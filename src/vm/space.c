/* An address space: its making, and the host's access to its memory. */
#include "vm/space.h"
#include "util/error.h"
#include "vm/x86_64/tables.h"
#include <stdlib.h>

static uint64_t page_round(uint64_t size)
{
    return (size + HL__PAGE - 1) & ~(HL__PAGE - 1);
}

uint64_t hl__space_boot_offset(const hl__space *space)
{
    return hl__space_output_offset(space) + sizeof(struct hl_abi_output);
}

/* Maps pages or large pages one to one from a guest-physical address on. */
static bool map_range(hl__space *space, uint64_t address, uint64_t gpa, uint64_t size,
                      uint64_t flags)
{
    int level = flags & HL__PTE_LARGE ? 2 : 1;
    for (uint64_t done = 0; done < size; done += hl__level_span(level)) {
        uint32_t table;
        uint64_t *entry = hl__tables_make(space, address + done, level, &table);
        if (!entry)
            return false;
        hl__tables_set(space, table, entry, (gpa + done) | HL__PTE_LEAF | flags);
    }
    return true;
}

static bool map_ram(hl__space *space, uint64_t address, uint64_t offset, uint64_t size)
{
    for (uint64_t done = 0; done < size; done += HL__PAGE)
        hl__bitmap_set(space->touched, (offset + done) / HL__PAGE);
    return map_range(space, address, space->ram_gpa + offset, size,
                     HL__PTE_USER | HL__PTE_WRITE | HL__PTE_NO_EXECUTE);
}

/* The shim's data, with a hole under its stacks. */
static bool map_shim_data(hl__space *space)
{
    const struct hl_abi_shim_image *shim = space->vm->shim;
    uint64_t guard = shim->guard_offset, after = guard + HL__PAGE;
    if (guard == 0)
        return map_ram(space, HL_ABI_SHIM_DATA_ADDRESS, 0, shim->data_memory_size);
    return map_ram(space, HL_ABI_SHIM_DATA_ADDRESS, 0, guard) &&
           map_ram(space, HL_ABI_SHIM_DATA_ADDRESS + after, after, shim->data_memory_size - after);
}

/* A file, in large pages as far as it fills them: nothing is mapped that has no memory behind it. */
static bool map_file(hl__space *space, uint64_t address, uint64_t gpa, uint64_t file_size)
{
    uint64_t size = page_round(file_size), large = size & ~(HL__LARGE_PAGE - 1);
    uint64_t flags = HL__PTE_USER | HL__PTE_NO_EXECUTE;
    return map_range(space, address, gpa, large, flags | HL__PTE_LARGE) &&
           map_range(space, address + large, gpa + large, size - large, flags);
}

static bool map_files(hl__space *space)
{
    const hl_program *program = space->vm->program;
    return map_file(space, HL_ABI_PROGRAM_ADDRESS, HL__GPA_IMAGE + program->program_offset,
                    program->program_size) &&
           map_file(space, HL_ABI_ROOT_ADDRESS, HL__GPA_ROOT, hl_image_size(program->root));
}

/* Everything whose place the contract fixes. */
static bool map_runtime(hl__space *space, uint64_t boot_size)
{
    const hl__vm *vm = space->vm;
    uint64_t read_only = HL__PTE_USER | HL__PTE_NO_EXECUTE;
    uint64_t mailbox = hl__space_mailbox_offset(space);
    uint64_t boot = hl__space_boot_offset(space);
    hl__tables_set(space, 0, &hl__table_entries(space, 0)[HL_ABI_SYSTEM_ADDRESS >> 39 & 511],
                   hl__system_gpa(HL__SYSTEM_TABLES) | HL__PTE_LEAF | HL__PTE_WRITE);
    space->ram_free_offset = boot + page_round(boot_size);
    return map_range(space, HL_ABI_SHIM_ADDRESS, HL__GPA_IMAGE, vm->shim->text_size,
                     HL__PTE_USER) &&
           map_shim_data(space) &&
           map_ram(space, HL_ABI_MAILBOX_ADDRESS, mailbox, sizeof(struct hl_abi_mailbox)) &&
           map_ram(space, HL_ABI_OUTPUT_ADDRESS, hl__space_output_offset(space),
                   sizeof(struct hl_abi_output)) &&
           map_ram(space, HL_ABI_BOOT_ADDRESS, boot, page_round(boot_size)) &&
           map_range(space, HL_ABI_WAKE_ADDRESS, space->tables_gpa - HL__PAGE, HL__PAGE,
                     read_only) &&
           map_range(space, HL_ABI_SYSCALL_ADDRESS, hl__system_gpa(HL__SYSTEM_SYSCALL), HL__PAGE,
                     read_only) &&
           map_files(space);
}

static bool bitmaps_new(hl__space *space)
{
    size_t pages = hl__bitmap_words(space->ram_size / HL__PAGE),
           tables = hl__bitmap_words(space->tables_max);
    size_t ranges = (space->tables_max * sizeof *space->stale_ranges + 7) / sizeof(uint64_t);
    uint64_t *words = calloc(2 * pages + 2 * tables + ranges, sizeof *words);
    if (!words)
        return false;
    space->touched = words;
    space->host_dirty = words + pages;
    space->tables_edited = words + 2 * pages;
    space->tables_stale = words + 2 * pages + tables;
    space->stale_ranges = (void *)(words + 2 * pages + 2 * tables);
    return true;
}

void hl__space_forget_changes(hl__space *space)
{
    size_t words = hl__bitmap_words(space->tables_max);
    memset(space->tables_edited, 0, words * sizeof(uint64_t));
    memset(space->tables_stale, 0, words * sizeof(uint64_t));
    space->stale_count = 0;
}

hl_status hl__space_new(hl__vm *vm, uint64_t boot_size, hl__space **out, hl_error *err)
{
    if (vm->member_count == vm->config.members_max)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl__space_new",
                             "the VM holds %u members already", vm->member_count);
    hl__space *space = calloc(1, sizeof *space);
    if (!space)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "hl__space_new",
                             "no memory for an address space");
    uint64_t wake_page =
        vm->system_size / HL__PAGE - (vm->config.members_max - vm->member_count) * vm->space_pages;
    space->vm = vm;
    space->index = vm->member_count;
    space->ram_size = vm->config.memory_size;
    space->ram = vm->ram + space->index * space->ram_size;
    space->ram_gpa = HL__GPA_RAM + space->index * space->ram_size;
    space->wake = (struct hl_abi_wake *)(vm->system + wake_page * HL__PAGE);
    space->tables = vm->system + (wake_page + 1) * HL__PAGE;
    space->tables_gpa = hl__system_gpa(wake_page + 1);
    space->tables_max = (uint32_t)(vm->space_pages - 1);
    space->mappings = hl__vm_mappings(vm, space->index);
    space->table_count = 1;
    if (!bitmaps_new(space)) {
        free(space);
        return hl__error_set(err, HL_OUT_OF_MEMORY, "hl__space_new",
                             "no memory for the bitmaps of %llu bytes of guest memory",
                             (unsigned long long)vm->config.memory_size);
    }
    vm->member_count++;
    vm->references++;
    hl__space_table_reach(space, 0);
    if (!map_runtime(space, boot_size) || space->ram_free_offset >= space->ram_size) {
        hl__space_free(space);
        return hl__error_set(err, HL_PROGRAM_TOO_LARGE, "hl__space_new",
                             "the runtime and the program's arguments do not fit into %llu bytes "
                             "of memory; raise memory_size",
                             (unsigned long long)vm->config.memory_size);
    }
    hl__space_forget_changes(space);
    *out = space;
    return HL_OK;
}

void hl__space_free(hl__space *space)
{
    if (!space)
        return;
    if (space->vm->vcpu.current == space)
        space->vm->vcpu.current = NULL;
    hl__vm_unref(space->vm);
    free(space->touched);
    free(space);
}

/* Host memory behind one page of user memory, NULL if user mode could not access it so. */
HL__WARM_PATH static uint8_t *page_pointer(const hl__space *space, uint64_t address, bool write)
{
    int level;
    uint64_t *entry = hl__tables_find(space, address, &level);
    if (!entry || !(*entry & HL__PTE_USER) || (write && !(*entry & HL__PTE_WRITE)))
        return NULL;
    uint64_t gpa =
        (*entry & HL__PTE_ADDRESS) + (address & (hl__level_span(level) - 1) & ~(HL__PAGE - 1));
    const hl__vm *vm = space->vm;
    if (hl__space_owns_ram(space, gpa))
        return space->ram + (gpa - space->ram_gpa);
    if (hl__space_owns_transfer(space, gpa))
        return vm->transfer + (gpa - HL__GPA_TRANSFER);
    if (gpa >= HL__GPA_IMAGE && gpa - HL__GPA_IMAGE < vm->program->image_size)
        return (uint8_t *)vm->program->image + (gpa - HL__GPA_IMAGE);
    if (gpa >= HL__GPA_ROOT && gpa - HL__GPA_ROOT < hl_image_size(vm->program->root))
        return (uint8_t *)vm->program->root->memory + (gpa - HL__GPA_ROOT);
    if (gpa >= HL__GPA_SYSTEM && gpa - HL__GPA_SYSTEM < vm->system_size)
        return vm->system + (gpa - HL__GPA_SYSTEM);
    return NULL;
}

/* Bytes of the range that lie on its first page. */
static size_t page_part(uint64_t address, size_t size)
{
    size_t rest = (size_t)(HL__PAGE - (address & (HL__PAGE - 1)));
    return rest < size ? rest : size;
}

static bool range_wraps(uint64_t address, size_t size)
{
    return address + size < address;
}

HL__WARM_PATH bool hl__space_read(const hl__space *space, uint64_t address, void *out, size_t size)
{
    if (range_wraps(address, size))
        return false;
    for (size_t done = 0, part; done < size; done += part) {
        part = page_part(address + done, size - done);
        const uint8_t *page = page_pointer(space, address + done, false);
        if (!page)
            return false;
        memcpy((uint8_t *)out + done, page + ((address + done) & (HL__PAGE - 1)), part);
    }
    return true;
}

bool hl__space_writable(const hl__space *space, uint64_t address, size_t size)
{
    if (range_wraps(address, size))
        return false;
    for (size_t done = 0, part; done < size; done += part) {
        part = page_part(address + done, size - done);
        if (!page_pointer(space, address + done, true))
            return false;
    }
    return true;
}

bool hl__space_write(hl__space *space, uint64_t address, const void *data, size_t size)
{
    if (!hl__space_writable(space, address, size))
        return false;
    for (size_t done = 0, part; done < size; done += part) {
        part = page_part(address + done, size - done);
        uint8_t *page = page_pointer(space, address + done, true);
        if (page >= space->ram && page < space->ram + space->ram_size)
            hl__bitmap_set(space->host_dirty, (uint64_t)(page - space->ram) / HL__PAGE);
        memcpy(page + ((address + done) & (HL__PAGE - 1)), (const uint8_t *)data + done, part);
    }
    return true;
}

static void unmap_page(hl__space *space, uint32_t table, uint64_t *entry, uint64_t address,
                       void *user)
{
    (void)address;
    (void)user;
    hl__tables_set(space, table, entry, 0);
}

bool hl__space_transfer_grow(hl__space *space, uint64_t size)
{
    uint64_t wanted = page_round(size), more,
             address = HL_ABI_TRANSFER_ADDRESS + space->transfer_size;
    if (wanted <= space->transfer_size)
        return true;
    more = wanted - space->transfer_size;
    if (wanted > space->vm->config.transfer_size_max ||
        space->mapped_pages + more / HL__PAGE > space->ram_size / HL__PAGE)
        return false;
    if (!map_range(space, address, hl__space_transfer_gpa(space) + space->transfer_size, more,
                   HL__PTE_USER | HL__PTE_WRITE | HL__PTE_NO_EXECUTE)) {
        /* The tables ran out: a guest can bring that about, and must not keep memory that
         * hl__space_transfer_drop does not know of. */
        hl__tables_each(space, address, more / HL__PAGE, unmap_page, NULL);
        return false;
    }
    space->transfer_size = wanted;
    return true;
}

uint8_t *hl__space_transfer(const hl__space *space)
{
    return space->vm->transfer + space->index * space->vm->config.transfer_size_max;
}

/* Pages that the hypervisor holds on to must stay where they are. */
static void zero_transfer(hl__space *space)
{
    if (space->vm->context->machine.memory_pinned)
        memset(hl__space_transfer(space), 0, space->transfer_size);
    else
        hl__os_memory_zero(hl__space_transfer(space), space->transfer_size);
}

void hl__space_transfer_drop(hl__space *space)
{
    if (space->transfer_size == 0)
        return;
    hl__tables_each(space, HL_ABI_TRANSFER_ADDRESS, space->transfer_size / HL__PAGE, unmap_page,
                    NULL);
    zero_transfer(space);
    space->transfer_size = 0;
}
