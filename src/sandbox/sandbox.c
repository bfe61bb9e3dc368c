/* A sandbox: its making, its end, and what can be asked of it. */
#include "sandbox/sandbox.h"
#include "snapshot/snapshot.h"
#include "util/error.h"
#include <stdlib.h>

void hl__exports_ref(struct hl__exports *exports)
{
    if (exports)
        atomic_fetch_add(&exports->references, 1);
}

void hl__exports_unref(struct hl__exports *exports)
{
    if (!exports || atomic_fetch_sub(&exports->references, 1) != 1)
        return;
    free(exports->functions);
    free(exports->names);
    free(exports);
}

hl__vm_config hl__sandbox_vm_config(const hl_sandbox_options *options)
{
    uint64_t transfer = (options->request_size_max + HL__PAGE - 1) & ~(HL__PAGE - 1);
    return (hl__vm_config){
        .memory_size = options->memory_size,
        .transfer_size_max =
            2 * transfer < HL_ABI_TRANSFER_SIZE ? 2 * transfer : HL_ABI_TRANSFER_SIZE,
        .members_max = 1,
    };
}

hl_status hl__sandbox_vm_new(hl_program *program, const hl_sandbox_options *options,
                             const hl__os_file *ram_file, hl__vm **vm, hl_error *err)
{
    hl__vm_config config = hl__sandbox_vm_config(options);
    config.tracked = ram_file != NULL;
    config.ram_file = ram_file;
    return hl__vm_new(program->context, program, &config, vm, err);
}

/* The boot block and the shim's data: what the host writes before the first entry. */
static void write_boot_block(hl_sandbox *sandbox)
{
    hl__space *space = sandbox->space;
    const hl_program *program = sandbox->vm->program;
    const struct hl_abi_shim_image *shim = sandbox->vm->shim;
    struct hl_abi_boot *boot = hl__space_host_write(space, hl__space_boot_offset(space),
                                                    sizeof *boot + program->strings_size);
    *boot = (struct hl_abi_boot){
        .magic = HL_ABI_BOOT_MAGIC,
        .version = HL_ABI_VERSION_MAX,
        .program_size = program->program_size,
        .ram_size = space->ram_size,
        .ram_free_offset = space->ram_free_offset,
        .argument_count = program->argument_count,
        .environment_count = program->environment_count,
        .strings_size = program->strings_size,
        .flags = sandbox->options.trace ? HL_ABI_BOOT_TRACE : 0,
        .root_size = hl_image_size(program->root),
        .path_size = program->path_size,
        .directory_size = program->directory_size,
    };
    memcpy(boot->strings, program->strings, program->strings_size);
    memcpy(hl__space_host_write(space, 0, shim->data_size),
           (const uint8_t *)program->image + shim->data_offset, shim->data_size);
}

static hl_status copy_input(hl_sandbox *sandbox, hl_error *err)
{
    hl_stream *stream = &sandbox->options.stdin_stream;
    if (stream->mode != HL_STREAM_MEMORY || stream->data_size == 0)
        return HL_OK;
    sandbox->stdin_data = malloc(stream->data_size);
    if (!sandbox->stdin_data)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "hl_sandbox_new",
                             "no memory for %zu bytes of input", stream->data_size);
    memcpy(sandbox->stdin_data, stream->data, stream->data_size);
    stream->data = sandbox->stdin_data;
    return HL_OK;
}

void hl__sandbox_destroy(hl_sandbox *sandbox)
{
    if (hl__husk_keep(sandbox)) {
        sandbox->space = NULL;
        sandbox->dirty = NULL;
    }
    hl_snapshot_free(sandbox->baseline);
    hl__exports_unref(sandbox->guest.exports);
    hl__space_free(sandbox->space);
    hl__control_unref(sandbox->control);
    hl_host_functions_free(sandbox->options.host_functions);
    free(sandbox->captures[0].data);
    free(sandbox->captures[1].data);
    free(sandbox->stdin_data);
    free(sandbox->dirty);
    hl__context_unref(sandbox->context);
    free(sandbox);
}

hl_status hl__sandbox_alloc(hl_context *context, const hl_sandbox_options *options,
                            hl_sandbox **out, hl_error *err)
{
    hl_sandbox *sandbox = calloc(1, sizeof *sandbox);
    if (!sandbox)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "hl_sandbox_new", "no memory for a sandbox");
    sandbox->options = *options;
    sandbox->entry = HL__ENTRY_START;
    atomic_init(&sandbox->state, HL_SANDBOX_READY);
    hl__host_functions_ref(options->host_functions);
    hl_status status = hl__context_get(context, &sandbox->context, err);
    if (!status)
        status = hl__control_new(context, &sandbox->control, err);
    if (!status)
        status = copy_input(sandbox, err);
    if (status) {
        hl__sandbox_destroy(sandbox);
        return status;
    }
    *out = sandbox;
    return HL_OK;
}

hl_status hl__sandbox_new_in(hl__vm *vm, const hl_sandbox_options *options, hl_sandbox **out,
                             hl_error *err)
{
    hl_sandbox *sandbox;
    hl_status status = hl__sandbox_alloc(vm->context, options, &sandbox, err);
    if (status)
        return status;
    sandbox->vm = vm;
    status = hl__space_new(vm, sizeof(struct hl_abi_boot) + vm->program->strings_size,
                           &sandbox->space, err);
    if (status) {
        hl__sandbox_destroy(sandbox);
        return status;
    }
    sandbox->space->control = sandbox->control;
    *out = sandbox;
    return HL_OK;
}

hl_status hl_sandbox_new_stopped(hl_program *program, const hl_sandbox_options *options,
                                 hl_sandbox **out, hl_error *err)
{
    hl_sandbox_options resolved;
    hl__vm *vm;
    hl_status status;
    if (!program || !out)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_new",
                             "program and sandbox must not be NULL");
    if ((status = hl__sandbox_options_resolve(options, &resolved, err)) ||
        (status = hl__context_check(program->context, err)) ||
        (status = hl__sandbox_vm_new(program, &resolved, NULL, &vm, err)))
        return status;
    hl_sandbox *sandbox;
    status = hl__sandbox_new_in(vm, &resolved, &sandbox, err);
    hl__vm_unref(vm);
    if (status)
        return status;
    write_boot_block(sandbox);
    hl__wake_write(sandbox, &status, err);
    if (status) {
        hl__sandbox_destroy(sandbox);
        return status;
    }
    *out = sandbox;
    return HL_OK;
}

hl_status hl_sandbox_new(hl_program *program, const hl_sandbox_options *options, hl_sandbox **out,
                         hl_error *err)
{
    hl_sandbox *sandbox;
    hl_status status = hl_sandbox_new_stopped(program, options, &sandbox, err);
    if (status)
        return status;
    status = hl__sandbox_claim(sandbox, false, "hl_sandbox_new", err);
    if (!status)
        status = hl__sandbox_start(sandbox, sandbox->options.start_timeout_ns, err);
    if (!status && sandbox->run.ending == HL__ENDING_EXITED)
        status = hl__error_set(err, HL_GUEST_EXITED, "hl_sandbox_new",
                               "'%s' exited with %d before it served calls; use "
                               "hl_sandbox_new_stopped and hl_sandbox_run for programs "
                               "that serve none",
                               program->name, sandbox->run.exit_code);
    if (status) {
        if (err && status == HL_GUEST_EXITED)
            err->exit_code = sandbox->run.exit_code;
        hl__sandbox_destroy(sandbox);
        return status;
    }
    hl__sandbox_release(sandbox, HL_SANDBOX_READY);
    *out = sandbox;
    return HL_OK;
}

HL__WARM_PATH hl_status hl__sandbox_claim(hl_sandbox *sandbox, bool poisoned_too,
                                          const char *source, hl_error *err)
{
    hl_status status = hl__context_check(sandbox->context, err);
    hl_sandbox_state state = atomic_load(&sandbox->state);
    if (status)
        return status;
    do {
        if (state == HL_SANDBOX_RUNNING)
            return hl__error_set(err, HL_BUSY, source,
                                 "the sandbox is in use: by another thread, or by a call that this "
                                 "one was made from");
        if (state == HL_SANDBOX_POISONED && !poisoned_too)
            return hl__error_set(err, HL_POISONED, source,
                                 "the sandbox was poisoned by an earlier failure; restore it to a "
                                 "snapshot or free it");
        if (state == HL_SANDBOX_FINISHED && !poisoned_too)
            return hl__error_set(
                err, HL_NOT_SERVING, source,
                "the sandbox's program has exited; restore it to a snapshot or free it");
    } while (!atomic_compare_exchange_weak(&sandbox->state, &state, HL_SANDBOX_RUNNING));
    return HL_OK;
}

hl_interrupt_handle *hl_sandbox_interrupt_handle(hl_sandbox *sandbox)
{
    if (!sandbox)
        return NULL;
    hl__control_ref(sandbox->control);
    return sandbox->control;
}

hl_sandbox_state hl_sandbox_status(const hl_sandbox *sandbox)
{
    return atomic_load(&sandbox->state);
}

hl_status hl_sandbox_stats(const hl_sandbox *sandbox, hl_stats *stats, hl_error *err)
{
    if (!sandbox || !stats ||
        stats->size < offsetof(hl_stats, driver_calls) + sizeof stats->driver_calls)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_stats",
                             "set stats->size to sizeof(hl_stats)");
    hl_stats all = sandbox->stats;
    all.size = stats->size;
    all.page_table_edits = sandbox->space->edit_count;
    all.page_table_flushes = sandbox->space->flush_count;
    all.memory_size = sandbox->options.memory_size;
    all.memory_mapped = sandbox->space->mapped_pages * HL__PAGE;
    all.driver_calls = sandbox->vm->driver_calls;
    memset(stats, 0, all.size);
    memcpy(stats, &all, all.size < sizeof all ? all.size : sizeof all);
    return HL_OK;
}

hl_status hl_sandbox_exports(const hl_sandbox *sandbox, const char *const **names, size_t *count,
                             hl_error *err)
{
    if (!sandbox || !names || !count)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_sandbox_exports",
                             "no argument may be NULL");
    if (!sandbox->guest.exports)
        return hl__error_set(err, HL_NOT_SERVING, "hl_sandbox_exports",
                             "'%s' has declared no functions", sandbox->vm->program->name);
    *names = sandbox->guest.exports->names;
    *count = sandbox->guest.exports->count;
    return HL_OK;
}

void hl_sandbox_free(hl_sandbox *sandbox)
{
    if (!sandbox || atomic_load(&sandbox->state) == HL_SANDBOX_RUNNING)
        return;
    hl__sandbox_destroy(sandbox);
}
