/* A VM: its memory slots and its life. */
#include "vm/vm.h"
#include "util/error.h"
#include "vm/space.h"
#include "vm/x86_64/system_area.h"
#include <hyperlight/sandbox.h>
#include <stdlib.h>

#define SCATTERED_CHUNK (UINT64_C(256) << 10)
#define SCATTERED_TABLES_MAX (UINT64_C(1) << 16)

/* The slots of one sandbox never meet. */
_Static_assert(HL__GPA_RAM + HL_MEMORY_SIZE_MAX <= HL__GPA_ROOT, "RAM fits");
_Static_assert(HL__GPA_ROOT + HL_IMAGE_FILE_SIZE_MAX <= HL__GPA_END &&
                   HL_IMAGE_FILE_SIZE_MAX <= HL_ABI_ROOT_SIZE_MAX,
               "the root image fits");
_Static_assert(HL__GPA_TRANSFER + HL_ABI_TRANSFER_SIZE <= HL__GPA_RAM, "transfer memory fits");
_Static_assert(HL__GPA_IMAGE + HL_PROGRAM_SIZE_MAX + (UINT64_C(64) << 20) <= HL__GPA_TRANSFER,
               "the image fits");

/*
 * Page tables of a member. Dense: the leaves of its RAM, which the shim keeps in reach, of transfer
 * memory, of the guest binary, twice, and of the root image, whose files the program maps. Scattered: runtimes such as V8's take memory by
 * chunks of 256 KiB at random addresses, three levels of tables each. Tables cost nothing until they are
 * used. A guest that needs more gets ENOMEM.
 */
static uint64_t tables_per_space(const hl__vm *vm)
{
    uint64_t dense = vm->config.memory_size + vm->config.transfer_size_max +
                     2 * vm->program->program_size + hl_image_size(vm->program->root);
    uint64_t scattered = 3 * (vm->config.memory_size / SCATTERED_CHUNK);
    scattered = scattered < SCATTERED_TABLES_MAX ? scattered : SCATTERED_TABLES_MAX;
    return 256 + dense / HL__LARGE_PAGE + scattered;
}

static uint64_t mappings_size(const hl__vm *vm)
{
    uint64_t size = vm->config.memory_size / HL__PAGE * sizeof(uint16_t);
    return (size + HL__PAGE - 1) & ~(HL__PAGE - 1);
}

static void plan_system_area(hl__vm *vm)
{
    vm->space_pages = 1 + tables_per_space(vm);
    uint64_t members = vm->config.members_max * vm->space_pages;
    uint64_t first = HL__SYSTEM_TABLES + hl__system_table_pages(HL__SYSTEM_TABLES + members);
    first += hl__system_table_pages(first + members) -
             hl__system_table_pages(HL__SYSTEM_TABLES + members);
    vm->system_size = (first + members) * HL__PAGE;
    vm->system_mapped_size = vm->system_size + vm->config.members_max * mappings_size(vm);
}

uint16_t *hl__vm_mappings(const hl__vm *vm, uint32_t member)
{
    return (uint16_t *)(void *)(vm->system + vm->system_size + member * mappings_size(vm));
}

static hl_status map_memory(hl__vm *vm, hl_error *err)
{
    vm->ram_size = vm->config.memory_size * vm->config.members_max;
    hl_status status = hl__os_memory_map(vm->system_mapped_size, (void **)&vm->system, err);
    if (status)
        return status;
    hl__os_memory_scattered(vm->system, vm->system_mapped_size);
    if (vm->config.ram_file)
        return hl__os_file_map(*vm->config.ram_file, 0, vm->ram_size, true, (void **)&vm->ram, err);
    return hl__os_memory_map(vm->ram_size, (void **)&vm->ram, err);
}

static hl_status add_slot(hl__vm *vm, enum hl__slot slot, uint64_t gpa, void *memory, uint64_t size,
                          uint32_t flags, hl_error *err)
{
    return vm->driver->memory_add(vm->driver_vm, slot, (hl__gpa){gpa}, memory, size, flags, err);
}

static hl_status add_slots(hl__vm *vm, hl_error *err)
{
    hl_status status =
        add_slot(vm, HL__SLOT_SYSTEM, HL__GPA_SYSTEM, vm->system, vm->system_size, 0, err);
    if (!status)
        status = add_slot(vm, HL__SLOT_RAM, HL__GPA_RAM, vm->ram, vm->ram_size,
                          vm->config.tracked ? HL__MEMORY_TRACKED : 0, err);
    if (!status)
        status = add_slot(vm, HL__SLOT_IMAGE, HL__GPA_IMAGE, vm->program->image,
                          vm->program->image_size, HL__MEMORY_READ_ONLY, err);
    const hl_image *root = vm->program->root;
    if (!status && root)
        status = add_slot(vm, HL__SLOT_ROOT, HL__GPA_ROOT, root->memory, root->size,
                          HL__MEMORY_READ_ONLY, err);
    return status;
}

hl_status hl__vm_transfer_add(hl__vm *vm, hl_error *err)
{
    uint64_t size = vm->config.transfer_size_max * vm->config.members_max;
    if (vm->transfer)
        return HL_OK;
    hl_status status = hl__os_memory_map(size, (void **)&vm->transfer, err);
    if (!status)
        status = add_slot(vm, HL__SLOT_TRANSFER, HL__GPA_TRANSFER, vm->transfer, size, 0, err);
    if (status) {
        hl__os_memory_unmap(vm->transfer, size);
        vm->transfer = NULL;
    }
    return status;
}

static hl_status create(hl__vm *vm, hl_error *err)
{
    void *driver_vm = calloc(1, vm->driver->vm_size);
    if (!driver_vm)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "hl__vm_new", "no memory for a VM");
    hl_status status = vm->driver->vm_create(driver_vm, 1, &vm->driver_calls, err);
    if (status) {
        free(driver_vm);
        return status;
    }
    vm->driver_vm = driver_vm;
    return HL_OK;
}

static void vm_free(hl__vm *vm)
{
    hl__vcpu_free(vm);
    if (vm->driver_vm)
        vm->driver->vm_destroy(vm->driver_vm);
    free(vm->driver_vm);
    hl__context_unmap(vm->context, vm->system, vm->system_mapped_size);
    hl__context_unmap(vm->context, vm->ram, vm->ram_size);
    hl__context_unmap(vm->context, vm->transfer,
                      vm->config.transfer_size_max * vm->config.members_max);
    hl_program_free(vm->program);
    hl__context_unref(vm->context);
    free(vm);
}

hl_status hl__vm_new(hl_context *context, hl_program *program, const hl__vm_config *config,
                     hl__vm **out, hl_error *err)
{
    hl__vm *vm = calloc(1, sizeof *vm);
    if (!vm)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "hl__vm_new", "no memory for a VM");
    hl_status status = hl__context_get(context, &vm->context, err);
    if (status) {
        free(vm);
        return status;
    }
    hl__program_ref(program);
    vm->program = program;
    vm->driver = vm->context->driver;
    vm->config = *config;
    vm->shim = program->image;
    vm->references = 1;
    plan_system_area(vm);
    if ((status = map_memory(vm, err)) || (status = create(vm, err)) ||
        (status = add_slots(vm, err))) {
        vm_free(vm);
        return status;
    }
    hl__system_area_build(vm);
    if ((status = hl__vcpu_new(vm, err))) {
        vm_free(vm);
        return status;
    }
    vm->config.ram_file = NULL;
    *out = vm;
    return HL_OK;
}

void hl__vm_unref(hl__vm *vm)
{
    if (vm && --vm->references == 0)
        vm_free(vm);
}
