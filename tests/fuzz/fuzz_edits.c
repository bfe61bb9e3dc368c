/*
 * Fuzzes what changes page tables: batches of edits, transfer memory, and saving and loading of all tables. After each step nothing may
 * be mapped that the contract does not allow, refused batches must have changed nothing, and the counts must be right.
 */
/* fuzz-weight: 3 */
#include "context/context.h"
#include "doubles/choices.h"
#include "doubles/fake_driver.h"
#include "doubles/space_check.h"
#include "driver/override.h"

#include <hyperlight/abi/image.h>
#include <hyperlight/context.h>
#include <hyperlight/program.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 32
#define PROGRAM_SIZE (5 * HL__PAGE + 123)
#define BOOT_SIZE 100
#define ROOT_SIZE (HL__LARGE_PAGE + 5 * HL__PAGE)
#define MEMORY_SIZE (UINT64_C(8) << 20)
#define TRANSFER_SIZE_MAX (UINT64_C(6) << 20)

static hl_program *fuzz_program;

static void fuzz_require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_edits: %s\n", what);
    abort();
}

/* One context and one program for all inputs. */
static void fuzz_setup(void)
{
    static uint8_t binary[PROGRAM_SIZE];
    hl_driver_info info;
    struct hl__machine machine;
    hl_context *context;
    fake_driver_describe(true, &info, &machine);
    hl__driver_override(&fake_driver, &info, &machine);
    fuzz_require(hl_context_new(NULL, &context, NULL) == HL_OK, "no context");
    uint64_t *image = calloc(1, ROOT_SIZE);
    hl_program_options options = {.size = sizeof options, .context = context};
    fuzz_require(image != NULL, "calloc");
    *image = HL_IMAGE_MAGIC;
    fuzz_require(hl_image_from_memory(context, image, ROOT_SIZE, &options.root, NULL) == HL_OK,
                 "no root image");
    free(image);
    fuzz_require(hl_program_from_memory(binary, sizeof binary, &options, &fuzz_program, NULL) ==
                     HL_OK,
                 "no program");
    hl_image_free(options.root);
    hl_context_free(context);
}

struct fuzz {
    struct choices choices;
    hl__space *space;
    uint64_t address; /* of the last edit */
    void *saved;      /* tables, or NULL */
    uint32_t saved_count;
};

/* Mostly in the program's area: where other addresses come in, the whole batch is refused. */
static uint64_t fuzz_address(struct choices *choices)
{
    static const uint64_t odd[] = {
        HL_ABI_USER_END,          HL_ABI_HEAP_END,       0,
        HL_ABI_SHIM_DATA_ADDRESS, HL_ABI_OUTPUT_ADDRESS, HL_ABI_TRANSFER_ADDRESS,
        HL_ABI_SYSTEM_ADDRESS,    HL_ABI_POOL_ADDRESS,   HL_ABI_POOL_END,
        HL_ABI_ROOT_ADDRESS,
    };
    uint64_t scale = choices_below(choices, 4); /* neighbours, or pages under other tables */
    uint64_t pages = choices_below(choices, 64) << (9 * scale);
    switch (choices_below(choices, 32)) {
    case 0:
        return odd[choices_below(choices, sizeof odd / sizeof *odd)] + (pages - 8) * HL__PAGE;
    case 1:
        return choices_word(choices);
    case 2:
    case 3:
    case 4:
        return HL_ABI_HEAP_ADDRESS + pages % 0x3f000 * HL__PAGE;
    case 5:
    case 6:
    case 7:
        return HL_ABI_POOL_ADDRESS + pages * HL__PAGE;
    default:
        return HL_ABI_USER_START + pages * HL__PAGE;
    }
}

static uint64_t fuzz_page_count(struct choices *choices)
{
    switch (choices_below(choices, 32)) {
    case 0:
        return choices_below(choices, UINT64_C(1) << 40);
    case 1:
    case 2:
        return choices_below(choices, 2048);
    default:
        return 1 + choices_below(choices, 4);
    }
}

static uint64_t fuzz_offset(const struct fuzz *fuzz, struct choices *choices, uint32_t source)
{
    uint64_t page = choices_below(choices, 2048);
    if (choices_once_in(choices, 32))
        return choices_word(choices);
    if (source == HL_ABI_SOURCE_RAM)
        return fuzz->space->ram_free_offset + page * HL__PAGE;
    if (source == HL_ABI_SOURCE_ROOT)
        return page % 520 * HL__PAGE;
    return source == HL_ABI_SOURCE_PROGRAM ? page % 8 * HL__PAGE : 0;
}

/* Half of the edits begin where the one before them did: what matters is how they meet. */
static struct hl_abi_edit fuzz_edit(struct fuzz *fuzz)
{
    struct choices *choices = &fuzz->choices;
    if (choices_once_in(choices, 2))
        fuzz->address = fuzz_address(choices);
    struct hl_abi_edit edit = {.address = fuzz->address,
                               .page_count = fuzz_page_count(choices),
                               .source = (uint32_t)choices_below(choices, 6)};
    edit.offset = fuzz_offset(fuzz, choices, edit.source);
    if (edit.source != HL_ABI_SOURCE_NONE || choices_once_in(choices, 32))
        edit.rights = (uint32_t)choices_below(choices, choices_once_in(choices, 32) ? 32 : 16);
    return edit;
}

/* Leaves of user memory, so that a refused batch can be seen to have changed none. */
static uint64_t fuzz_digest(const hl__space *space)
{
    uint64_t digest = space->mapped_pages;
    for (uint32_t table = 0; table < space->table_count; table++) {
        const uint64_t *entries = (const uint64_t *)(space->tables + table * HL__PAGE);
        for (unsigned i = 0; i < HL__PAGE / sizeof *entries; i++) {
            uint64_t gpa = entries[i] & HL__PTE_ADDRESS;
            bool link =
                gpa >= space->tables_gpa && gpa < space->tables_gpa + space->tables_max * HL__PAGE;
            if (entries[i] && !link)
                digest = (digest ^ entries[i] ^ i) * 0x9e3779b97f4a7c15u;
        }
    }
    return digest;
}

static void fuzz_batch(struct fuzz *fuzz)
{
    struct hl_abi_edit edits[HL_ABI_EDITS_MAX];
    size_t count =
        1 + (size_t)choices_below(&fuzz->choices,
                                  choices_once_in(&fuzz->choices, 16) ? HL_ABI_EDITS_MAX : 4);
    for (size_t i = 0; i < count; i++)
        edits[i] = fuzz_edit(fuzz);
    bool look = choices_once_in(&fuzz->choices, 4);
    uint64_t before = look ? fuzz_digest(fuzz->space) : 0;
    if (hl__space_edit(fuzz->space, edits, count) != 0 && look)
        fuzz_require(fuzz_digest(fuzz->space) == before, "a refused batch changed something");
}

static void fuzz_save(struct fuzz *fuzz)
{
    hl__space_transfer_drop(fuzz->space);
    free(fuzz->saved);
    fuzz->saved_count = fuzz->space->table_count;
    fuzz->saved = malloc(fuzz->saved_count * HL__PAGE);
    fuzz_require(fuzz->saved != NULL, "malloc");
    hl__space_tables_save(fuzz->space, fuzz->saved);
    size_t words = hl__bitmap_words(fuzz->space->tables_max);
    memset(fuzz->space->tables_edited, 0, words * sizeof(uint64_t));
}

static void fuzz_load(struct fuzz *fuzz, bool near)
{
    hl__space *space = fuzz->space;
    if (!fuzz->saved)
        return;
    hl__space_transfer_drop(space);
    hl__space_tables_load(space, fuzz->saved, fuzz->saved_count, space->tables_gpa, space->ram_gpa,
                          space->tables_gpa - HL__PAGE, near ? space->tables_edited : NULL);
    fuzz_require(space_tables_are(space, fuzz->saved, fuzz->saved_count),
                 "loaded tables differ from those that were saved");
}

static void fuzz_transfer(struct fuzz *fuzz)
{
    if (choices_once_in(&fuzz->choices, 4))
        hl__space_transfer_drop(fuzz->space);
    else if (hl__vm_transfer_add(fuzz->space->vm, NULL) == HL_OK)
        hl__space_transfer_grow(fuzz->space, choices_below(&fuzz->choices, TRANSFER_SIZE_MAX + 2));
}

/* What the host may do with user memory agrees with the tables. */
static void fuzz_access(struct fuzz *fuzz)
{
    char bytes[64] = {0};
    uint64_t address = fuzz_address(&fuzz->choices) + choices_below(&fuzz->choices, 4096);
    bool readable = hl__space_read(fuzz->space, address, bytes, sizeof bytes);
    bool writable = hl__space_writable(fuzz->space, address, sizeof bytes);
    fuzz_require(!writable || readable, "memory is writable but not readable");
    fuzz_require(hl__space_write(fuzz->space, address, bytes, sizeof bytes) == writable,
                 "a write does what it should not, or not what it should");
}

static void fuzz_step(struct fuzz *fuzz)
{
    uint32_t tables[4];
    switch (choices_below(&fuzz->choices, 16)) {
    case 0:
        fuzz_save(fuzz);
        break;
    case 1:
        fuzz_load(fuzz, choices_once_in(&fuzz->choices, 2));
        break;
    case 2:
        hl__space_stale_take(fuzz->space, tables, 1 + (uint32_t)choices_below(&fuzz->choices, 4));
        break;
    case 3:
    case 4:
        fuzz_transfer(fuzz);
        break;
    case 5:
    case 6:
        fuzz_access(fuzz);
        break;
    default:
        fuzz_batch(fuzz);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!fuzz_program)
        fuzz_setup();
    if (size == 0)
        return 0;
    struct fuzz fuzz = {.choices = {.data = data, .size = size}, .address = HL_ABI_USER_START};
    const hl__vm_config config = {.memory_size = MEMORY_SIZE,
                                  .transfer_size_max = TRANSFER_SIZE_MAX,
                                  .members_max = 1 + (uint32_t)choices_below(&fuzz.choices, 2)};
    hl__vm *vm;
    fuzz_require(hl__vm_new(fuzz_program->context, fuzz_program, &config, &vm, NULL) == HL_OK &&
                     hl__space_new(vm, BOOT_SIZE, &fuzz.space, NULL) == HL_OK,
                 "no address space");
    for (int step = 0; step < STEPS_MAX && !choices_spent(&fuzz.choices); step++) {
        fuzz_step(&fuzz);
        const char *wrong = space_check(fuzz.space);
        fuzz_require(!wrong, wrong);
    }
    hl__space_free(fuzz.space);
    hl__vm_unref(vm);
    free(fuzz.saved);
    return 0;
}
