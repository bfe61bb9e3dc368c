/* Programs: a sealed copy of the guest binary with its arguments and environment. Nothing here
 * looks into the binary. */
#include "program/program.h"
#include "context/context.h"
#include "os/os.h"
#include "program/strings.h"
#include "util/error.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PAGE UINT64_C(4096)
#define LARGE_PAGE (UINT64_C(2) << 20)

static uint64_t round_up(uint64_t size, uint64_t multiple)
{
    return (size + multiple - 1) & ~(multiple - 1);
}

/* Where a program's bytes come from: a file, or memory if `path` is NULL, or nowhere: it is at `path` in
 * the root image. */
struct origin {
    const char *path;
    const void *data;
    size_t size;
    bool in_image;
};

static hl_status origin_copy(const struct origin *origin, const char *name, hl__os_file file,
                             uint64_t offset, uint64_t *size, hl_error *err)
{
    if (origin->path)
        return hl__os_file_copy_path(file, offset, origin->path, HL_PROGRAM_SIZE_MAX, size, err);
    if (origin->size > HL_PROGRAM_SIZE_MAX)
        return hl__error_set(err, HL_PROGRAM_TOO_LARGE, "hl_program_from_memory",
                             "%s: the file is larger than %" PRIu64
                             " bytes, the most that a program may have",
                             name, HL_PROGRAM_SIZE_MAX);
    *size = origin->size;
    return hl__os_file_write(file, offset, origin->data, origin->size, err);
}

/* Puts the shim and the guest binary into the file, for good. */
static hl_status image_fill(hl_program *program, const struct origin *origin, hl__os_file file,
                            hl_error *err)
{
    size_t shim_size = (size_t)(hl__shim_image_end - hl__shim_image);
    hl_status status = hl__os_file_write(file, 0, hl__shim_image, shim_size, err);
    if (status == HL_OK && origin->in_image) {
        program->image_size = round_up(shim_size, PAGE);
        return HL_OK;
    }
    if (status == HL_OK)
        status = origin_copy(origin, program->name, file, program->program_offset,
                             &program->program_size, err);
    if (status != HL_OK)
        return status;
    if (program->program_size == 0)
        return hl__error_set(err, HL_PROGRAM_INVALID, "hl_program_open", "%s: the file is empty",
                             origin->path ? origin->path : program->name);
    program->image_size = program->program_offset + round_up(program->program_size, PAGE);
    return HL_OK;
}

static hl_status image_make(hl_program *program, const struct origin *origin, hl_error *err)
{
    size_t shim_size = (size_t)(hl__shim_image_end - hl__shim_image);
    program->program_offset = round_up(shim_size, LARGE_PAGE);
    bool in_memory = !origin->path && !origin->in_image;
    uint64_t size = program->program_offset + (in_memory ? round_up(origin->size, PAGE) : 0);
    hl__os_file file;
    hl_status status = hl__os_file_new("hyperlight-program", size, &file, err);
    if (status != HL_OK)
        return status;
    status = image_fill(program, origin, file, err);
    if (status == HL_OK)
        status = hl__os_file_seal(file, err);
    /* Nobody writes to it, but a hypervisor that pins memory wants it writable. */
    bool writable = program->context->machine.memory_pinned;
    if (status == HL_OK)
        status = hl__os_file_map(file, 0, program->image_size, writable, &program->image, err);
    hl__os_file_close(file);
    return status;
}

static void program_discard(hl_program *program)
{
    hl__context_unmap(program->context, program->image, program->image_size);
    hl_image_free(program->root);
    hl__context_unref(program->context);
    free(program->name);
    free(program->strings);
    free(program);
}

static hl_status root_set(hl_program *program, hl_image *root, hl_error *err)
{
    if (!root)
        return HL_OK;
    if (program->context->machine.memory_pinned && !root->writable)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_program_open",
                             "the image belongs to a context of another hypervisor; map it with "
                             "the program's context");
    hl__image_ref(root);
    program->root = root;
    return hl__context_check(root->context, err);
}

static hl_status program_fill(hl_program *program, const struct origin *origin,
                              const hl_program_options *options, hl_error *err)
{
    static atomic_uint_least64_t count;
    atomic_init(&program->references, 1);
    program->number = atomic_fetch_add(&count, 1) + 1;
    hl_status status = hl__program_name_set(program, options->name, origin->path, err);
    if (status == HL_OK)
        status = hl__program_strings_set(program, options, origin->path, origin->in_image, err);
    if (status == HL_OK)
        status = hl__context_get(options->context, &program->context, err);
    if (status == HL_OK)
        status = hl__context_check(program->context, err);
    if (status == HL_OK)
        status = root_set(program, options->root, err);
    if (status == HL_OK)
        status = image_make(program, origin, err);
    return status;
}

static hl_status options_take(const hl_program_options *options, hl_program_options *known,
                              hl_error *err)
{
    size_t least = offsetof(hl_program_options, name) + sizeof known->name;
    return hl__options_copy(known, sizeof *known, least, options, "hl_program_options", err);
}

static hl_status program_new(const struct origin *origin, const hl_program_options *options,
                             hl_program **program, hl_error *err)
{
    hl_program_options known;
    hl_status status = options_take(options, &known, err);
    if (status != HL_OK)
        return status;
    if (!program)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_program_open",
                             "`program` is NULL: give it a place for the program");
    hl_program *made = calloc(1, sizeof *made);
    if (!made)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "calloc", "no memory for a program");
    status = program_fill(made, origin, &known, err);
    if (status != HL_OK) {
        program_discard(made);
        return status;
    }
    *program = made;
    return HL_OK;
}

hl_status hl_program_open(const char *path, const hl_program_options *options, hl_program **program,
                          hl_error *err)
{
    if (!path || !*path)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_program_open",
                             "`path` is %s: name a file", path ? "empty" : "NULL");
    return program_new(&(struct origin){.path = path}, options, program, err);
}

hl_status hl_program_from_memory(const void *data, size_t size, const hl_program_options *options,
                                 hl_program **program, hl_error *err)
{
    if (!data && size > 0)
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_program_from_memory",
                             "`data` is NULL, but `size` is %zu", size);
    return program_new(&(struct origin){.data = data, .size = size}, options, program, err);
}

hl_status hl_program_from_image(hl_image *image, const char *path,
                                const hl_program_options *options, hl_program **program,
                                hl_error *err)
{
    hl_program_options known;
    hl_status status = options_take(options, &known, err);
    if (status != HL_OK)
        return status;
    if (!image || (known.root && known.root != image))
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_program_from_image",
                             image ? "hl_program_options.root is another image"
                                   : "`image` is NULL: map one with hl_image_map()");
    known.size = sizeof known; /* without options it is 0 */
    known.root = image;
    return program_new(&(struct origin){.path = path, .in_image = true}, &known, program, err);
}

static bool same_content(const hl_program *program, const hl_program *other)
{
    return program->image_size == other->image_size &&
           program->program_offset == other->program_offset &&
           program->program_size == other->program_size &&
           program->strings_size == other->strings_size &&
           program->argument_count == other->argument_count &&
           program->environment_count == other->environment_count &&
           program->path_size == other->path_size &&
           program->directory_size == other->directory_size &&
           memcmp(program->strings, other->strings, program->strings_size) == 0 &&
           memcmp(program->image, other->image, program->image_size) == 0 &&
           hl__image_same(program->root, other->root);
}

bool hl__program_same(const hl_program *program, const hl_program *other)
{
    if (program == other || atomic_load(&program->twin) == other->number)
        return true;
    bool same = same_content(program, other);
    if (same) /* what is remembered is no part of a program */
        atomic_store(&((hl_program *)program)->twin, other->number);
    return same;
}

void hl__program_ref(hl_program *program)
{
    atomic_fetch_add_explicit(&program->references, 1, memory_order_relaxed);
}

void hl_program_free(hl_program *program)
{
    if (program && atomic_fetch_sub(&program->references, 1) == 1)
        program_discard(program);
}
