/* Address spaces without a hypervisor: edits that meet in one batch, what counts as memory, transfer memory that runs out of tables. */
#include "context/context.h"
#include "doubles/fake_driver.h"
#include "doubles/space_check.h"
#include "driver/override.h"
#include "vm/x86_64/tables.h"

#include <errno.h>
#include <hyperlight/abi/image.h>
#include <hyperlight/context.h>
#include <hyperlight/program.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MEMORY_SIZE (UINT64_C(8) << 20)
#define TRANSFER_SIZE_MAX (UINT64_C(6) << 20)
#define ADDRESS HL_ABI_USER_START
#define ROOT_SIZE (2 * HL__LARGE_PAGE + 3 * HL__PAGE)

static hl_program *program;

static int setup(void **state)
{
    static const uint8_t binary[20000];
    hl_driver_info info;
    struct hl__machine machine;
    hl_context *context;
    hl__vm *vm;
    fake_driver_describe(true, &info, &machine);
    hl__driver_override(&fake_driver, &info, &machine);
    assert_int_equal(hl_context_new(NULL, &context, NULL), HL_OK);
    static uint64_t image[ROOT_SIZE / sizeof(uint64_t)] = {HL_IMAGE_MAGIC};
    hl_program_options options = {.size = sizeof options, .context = context};
    image[ROOT_SIZE / sizeof *image - 1] = 0x7a11;
    assert_int_equal(hl_image_from_memory(context, image, sizeof image, &options.root, NULL),
                     HL_OK);
    assert_int_equal(hl_program_from_memory(binary, sizeof binary, &options, &program, NULL),
                     HL_OK);
    const hl__vm_config config = {
        .memory_size = MEMORY_SIZE, .transfer_size_max = TRANSFER_SIZE_MAX, .members_max = 1};
    assert_int_equal(hl__vm_new(context, program, &config, &vm, NULL), HL_OK);
    assert_int_equal(hl__space_new(vm, 100, (hl__space **)state, NULL), HL_OK);
    hl__vm_unref(vm);
    hl_image_free(options.root);
    hl_context_free(context);
    return 0;
}

static int teardown(void **state)
{
    hl__space_free(*state);
    hl_program_free(program);
    hl__driver_override(NULL, NULL, NULL);
    return 0;
}

static struct hl_abi_edit edit(uint64_t address, uint32_t source, uint64_t offset, uint32_t rights)
{
    return (struct hl_abi_edit){address, 1, offset, source, rights};
}

static void assert_sound(const hl__space *space)
{
    const char *wrong = space_check(space);
    if (wrong)
        fail_msg("%s", wrong);
}

static bool is_present(const hl__space *space, uint64_t address)
{
    char byte;
    return hl__space_read(space, address, &byte, 1);
}

static void test_keep_does_not_make_the_program_writable(void **state)
{
    const struct hl_abi_edit batch[] = {edit(ADDRESS, HL_ABI_SOURCE_PROGRAM, 0, HL_ABI_RIGHT_READ),
                                        edit(ADDRESS, HL_ABI_SOURCE_KEEP, 0, HL_ABI_RIGHT_WRITE)};
    assert_int_equal(hl__space_edit(*state, batch, 2), -EINVAL);
    assert_false(is_present(*state, ADDRESS));
    assert_int_equal(hl__space_edit(*state, &batch[0], 1), 0);
    assert_int_equal(hl__space_edit(*state, &batch[1], 1), -EINVAL);
    assert_false(hl__space_writable(*state, ADDRESS, 1));
    assert_sound(*state);
}

static void test_keep_changes_memory_of_the_same_batch(void **state)
{
    hl__space *space = *state;
    const struct hl_abi_edit batch[] = {
        edit(ADDRESS, HL_ABI_SOURCE_RAM, space->ram_free_offset, HL_ABI_RIGHT_READ),
        edit(ADDRESS, HL_ABI_SOURCE_KEEP, 0, HL_ABI_RIGHT_WRITE)};
    assert_int_equal(hl__space_edit(space, batch, 2), 0);
    assert_true(hl__space_writable(space, ADDRESS, HL__PAGE));
    assert_sound(space);
}

static struct hl_abi_edit ram(uint64_t address, const hl__space *space, uint64_t page,
                              uint64_t count)
{
    return (struct hl_abi_edit){address, count, space->ram_free_offset + page * HL__PAGE,
                                HL_ABI_SOURCE_RAM, HL_ABI_RIGHT_READ};
}

/* A page counts once, however often it is mapped, and until its last mapping goes. */
static void test_memory_counts_once(void **state)
{
    hl__space *space = *state;
    uint64_t before = space->mapped_pages;
    const struct hl_abi_edit batch[] = {
        edit(ADDRESS, HL_ABI_SOURCE_PROGRAM, 0, HL_ABI_RIGHT_READ), ram(ADDRESS, space, 3, 1),
        ram(ADDRESS + 5 * HL__PAGE, space, 3, 2), ram(HL_ABI_POOL_ADDRESS, space, 0, 10)};
    const struct hl_abi_edit drop[] = {edit(ADDRESS, HL_ABI_SOURCE_NONE, 0, 0),
                                       {HL_ABI_POOL_ADDRESS, 10, 0, HL_ABI_SOURCE_NONE, 0},
                                       {ADDRESS + 5 * HL__PAGE, 2, 0, HL_ABI_SOURCE_NONE, 0}};
    assert_int_equal(hl__space_edit(space, batch, 4), 0);
    assert_int_equal(space->mapped_pages, before + 10);
    assert_sound(space);
    assert_int_equal(hl__space_edit(space, drop, 1), 0);
    assert_int_equal(space->mapped_pages, before + 10);
    assert_int_equal(hl__space_edit(space, drop + 1, 1), 0);
    assert_int_equal(space->mapped_pages, before + 2);
    assert_sound(space);
    assert_int_equal(hl__space_edit(space, drop + 2, 1), 0);
    assert_int_equal(space->mapped_pages, before);
    assert_sound(space);
}

/* Transfer memory and RAM share the limit, to the page. */
static void test_memory_beside_transfer_memory_is_limited(void **state)
{
    hl__space *space = *state;
    assert_int_equal(hl__vm_transfer_add(space->vm, NULL), HL_OK);
    assert_true(hl__space_transfer_grow(space, 1 << 20));
    uint64_t all = space->ram_size / HL__PAGE, rest = all - space->mapped_pages;
    /* Twice the same pages, and pages that replace others. */
    struct hl_abi_edit batch[] = {ram(ADDRESS, space, 0, rest),
                                  ram(ADDRESS + 16 * HL__LARGE_PAGE, space, 0, rest),
                                  ram(HL_ABI_POOL_ADDRESS, space, 0, rest)};
    assert_int_equal(hl__space_edit(space, batch, 3), 0);
    assert_int_equal(space->mapped_pages, all);
    assert_sound(space);
    batch[0] = ram(ADDRESS + 32 * HL__LARGE_PAGE, space, rest, 1);
    assert_int_equal(hl__space_edit(space, batch, 1), -ENOMEM);
    assert_int_equal(space->mapped_pages, all);
    batch[0] = ram(ADDRESS + 32 * HL__LARGE_PAGE, space, rest - 1, 1);
    assert_int_equal(hl__space_edit(space, batch, 1), 0);
    assert_false(hl__space_transfer_grow(space, (1 << 20) + 1));
    assert_sound(space);
}

/* Loses count of a page, which then counts for good, until the tables are loaded. */
static void test_countless_mappings(void **state)
{
    hl__space *space = *state;
    uint64_t before = space->mapped_pages, page = space->ram_free_offset / HL__PAGE;
    void *saved = malloc(space->table_count * HL__PAGE);
    uint32_t saved_count = space->table_count;
    assert_non_null(saved);
    hl__space_tables_save(space, saved);
    const struct hl_abi_edit one = ram(ADDRESS, space, 0, 1);
    space->mappings[page] = HL__MAPPINGS_MAX - 1;
    space->mapped_pages++; /* as if it had been mapped elsewhere */
    assert_int_equal(hl__space_edit(space, &one, 1), 0);
    assert_true(space->mappings_saturated);
    const struct hl_abi_edit drop = edit(ADDRESS, HL_ABI_SOURCE_NONE, 0, 0);
    assert_int_equal(hl__space_edit(space, &drop, 1), 0);
    assert_int_equal(space->mapped_pages, before + 1);
    hl__space_tables_load(space, saved, saved_count, space->tables_gpa, space->ram_gpa,
                          space->tables_gpa - HL__PAGE, space->tables_edited);
    assert_int_equal(space->mapped_pages, before);
    assert_false(space->mappings_saturated);
    assert_sound(space);
    free(saved);
}

static void test_edits_beside_the_pool_are_refused(void **state)
{
    hl__space *space = *state;
    static const uint64_t refused[] = {HL_ABI_POOL_ADDRESS - HL__PAGE, HL_ABI_POOL_END - HL__PAGE,
                                       HL_ABI_OUTPUT_ADDRESS, HL_ABI_ROOT_ADDRESS};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const struct hl_abi_edit one = ram(refused[i], space, 0, 2);
        assert_int_equal(hl__space_edit(space, &one, 1), -EINVAL);
    }
    const struct hl_abi_edit last = ram(HL_ABI_POOL_END - 2 * HL__PAGE, space, 0, 2);
    assert_int_equal(hl__space_edit(space, &last, 1), 0);
    assert_sound(space);
}

/* Leaves `left` tables. */
static void use_up_tables(hl__space *space, uint32_t left)
{
    for (uint64_t i = 0; space->table_count + left < space->tables_max; i++) {
        const struct hl_abi_edit one = edit(ADDRESS + i * HL__LARGE_PAGE, HL_ABI_SOURCE_RAM,
                                            space->ram_free_offset, HL_ABI_RIGHT_READ);
        assert_int_equal(hl__space_edit(space, &one, 1), 0);
    }
}

static void test_transfer_memory_without_tables_leaves_nothing(void **state)
{
    hl__space *space = *state;
    assert_int_equal(hl__vm_transfer_add(space->vm, NULL), HL_OK);
    use_up_tables(space, 2); /* a directory, and a table for the first 2 MiB */
    uint64_t before = space->mapped_pages;
    assert_false(hl__space_transfer_grow(space, 5 << 20));
    assert_int_equal(space->mapped_pages, before);
    assert_int_equal(space->transfer_size, 0);
    assert_false(is_present(space, HL_ABI_TRANSFER_ADDRESS));
    assert_sound(space);
    assert_true(hl__space_transfer_grow(space, 1 << 20));
    assert_true(is_present(space, HL_ABI_TRANSFER_ADDRESS));
    assert_sound(space);
}

static void test_addresses_of_the_other_half_are_not_aliases(void **state)
{
    char byte = 0;
    uint64_t mailbox = HL_ABI_MAILBOX_ADDRESS;
    assert_true(hl__space_read(*state, mailbox, &byte, 1));
    for (int bit = 47; bit < 64; bit++) {
        assert_false(hl__space_read(*state, mailbox | UINT64_C(1) << bit, &byte, 1));
        assert_false(hl__space_write(*state, mailbox | UINT64_C(1) << bit, &byte, 1));
    }
}

static void test_the_root_image_is_there_to_its_last_byte(void **state)
{
    hl__space *space = *state;
    uint64_t word = 0, end = HL_ABI_ROOT_ADDRESS + ROOT_SIZE;
    assert_true(hl__space_read(space, HL_ABI_ROOT_ADDRESS, &word, sizeof word));
    assert_int_equal(word, HL_IMAGE_MAGIC);
    assert_true(hl__space_read(space, end - sizeof word, &word, sizeof word));
    assert_int_equal(word, 0x7a11);
    assert_false(is_present(space, end));
    assert_false(hl__space_writable(space, HL_ABI_ROOT_ADDRESS, 1));
    assert_sound(space);
}

static void test_files_of_the_root_image(void **state)
{
    hl__space *space = *state;
    uint64_t word = 0, last = ROOT_SIZE - HL__PAGE, before = space->mapped_pages;
    const struct hl_abi_edit good =
        edit(ADDRESS, HL_ABI_SOURCE_ROOT, last, HL_ABI_RIGHT_READ | HL_ABI_RIGHT_EXECUTE);
    assert_int_equal(hl__space_edit(space, &good, 1), 0);
    assert_true(hl__space_read(space, ADDRESS + HL__PAGE - sizeof word, &word, sizeof word));
    assert_int_equal(word, 0x7a11);
    assert_int_equal(space->mapped_pages, before); /* it is nobody's memory */
    const struct hl_abi_edit refused[] = {
        edit(ADDRESS, HL_ABI_SOURCE_ROOT, 0, HL_ABI_RIGHT_WRITE),
        edit(ADDRESS, HL_ABI_SOURCE_ROOT, 8, HL_ABI_RIGHT_READ),
        edit(ADDRESS, HL_ABI_SOURCE_ROOT, ROOT_SIZE, HL_ABI_RIGHT_READ),
        edit(ADDRESS, HL_ABI_SOURCE_ROOT, UINT64_MAX - 4095, HL_ABI_RIGHT_READ),
        edit(ADDRESS, HL_ABI_SOURCE_KEEP, 0, HL_ABI_RIGHT_WRITE),
        {ADDRESS, 2, last, HL_ABI_SOURCE_ROOT, HL_ABI_RIGHT_READ},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_int_equal(hl__space_edit(space, &refused[i], 1), -EINVAL);
    const struct hl_abi_edit batch[] = {good, refused[4]};
    assert_int_equal(hl__space_edit(space, batch, 2), -EINVAL);
    assert_sound(space);
}

/* What the ring-0 stub must see to: the entries between the first and the last that lost a right, or whole tables. */
static void test_stale_entries_are_known(void **state)
{
    hl__space *space = *state;
    const unsigned index = ADDRESS / HL__PAGE % HL__TABLE_ENTRIES;
    struct hl_abi_edit map =
        edit(ADDRESS, HL_ABI_SOURCE_RAM, space->ram_free_offset, HL_ABI_RIGHT_WRITE);
    const struct hl_abi_edit changes[] = {
        edit(ADDRESS + 7 * HL__PAGE, HL_ABI_SOURCE_NONE, 0, 0),
        edit(ADDRESS + 3 * HL__PAGE, HL_ABI_SOURCE_KEEP, 0, HL_ABI_RIGHT_READ),
        edit(ADDRESS + 5 * HL__PAGE, HL_ABI_SOURCE_NONE, 0, 0)};
    uint32_t table, taken;
    map.page_count = 16;
    assert_int_equal(hl__space_edit(space, &map, 1), 0);
    assert_int_equal(space->stale_count, 0);
    assert_int_equal(hl__space_edit(space, changes, 3), 0);
    assert_int_equal(space->stale_count, 1);
    assert_int_equal(hl__space_stale_take(space, &taken, 1), 1);
    assert_non_null(hl__tables_make(space, ADDRESS, 1, &table));
    assert_int_equal(taken, table);
    assert_int_equal(space->stale_ranges[table].first, index + 3);
    assert_int_equal(space->stale_ranges[table].last, index + 7);
    /* What was taken is not remembered. */
    map = edit(ADDRESS, HL_ABI_SOURCE_NONE, 0, 0);
    assert_int_equal(hl__space_edit(space, &map, 1), 0);
    assert_int_equal(space->stale_ranges[table].first, index);
    assert_int_equal(space->stale_ranges[table].last, index);
    hl__space_table_stale(space, table);
    assert_int_equal(space->stale_count, 1);
    assert_int_equal(space->stale_ranges[table].first, 0);
    assert_int_equal(space->stale_ranges[table].last, HL__TABLE_ENTRIES - 1);
    assert_sound(space);
}

#define SPACE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPACE_TEST(test_stale_entries_are_known),
        SPACE_TEST(test_keep_does_not_make_the_program_writable),
        SPACE_TEST(test_keep_changes_memory_of_the_same_batch),
        SPACE_TEST(test_memory_counts_once),
        SPACE_TEST(test_memory_beside_transfer_memory_is_limited),
        SPACE_TEST(test_countless_mappings),
        SPACE_TEST(test_edits_beside_the_pool_are_refused),
        SPACE_TEST(test_the_root_image_is_there_to_its_last_byte),
        SPACE_TEST(test_files_of_the_root_image),
        SPACE_TEST(test_transfer_memory_without_tables_leaves_nothing),
        SPACE_TEST(test_addresses_of_the_other_half_are_not_aliases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
