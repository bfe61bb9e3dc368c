/* The shim's ELF reader: what it makes of good files, and how it refuses each kind of bad one. */
#include "../../guest/shim/base/text.c"
#include "../../guest/shim/program/elf.c"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define FILE_SIZE 0x5000u
#define HEADERS_OFFSET 64u

/* A small executable: headers and constants, text, data with zeroes behind it. */
struct image {
    struct elf_file_header header;
    struct elf_program_header segments[6];
    uint8_t bytes[FILE_SIZE];
    uint64_t size;
    struct hl__elf_plan plan;
};

static void start(struct image *image)
{
    static const struct elf_file_header header = {
        .magic = {0x7f, 'E', 'L', 'F'},
        .class = CLASS_64,
        .byte_order = ORDER_LITTLE,
        .version = 1,
        .type = TYPE_FIXED,
        .machine = MACHINE_X86_64,
        .file_version = 1,
        .entry = 0x401010,
        .program_headers = HEADERS_OFFSET,
        .header_size = 64,
        .program_header_size = 56,
        .program_header_count = 4,
    };

    memset(image, 0, sizeof *image);
    image->header = header;
    image->segments[0] =
        (struct elf_program_header){SEGMENT_LOAD, FLAG_READ, 0, 0x400000, 0, 0x800, 0x800, 4096};
    image->segments[1] = (struct elf_program_header){
        SEGMENT_LOAD, FLAG_READ | FLAG_EXECUTE, 0x1000, 0x401000, 0, 0x1800, 0x1800, 4096};
    image->segments[2] = (struct elf_program_header){
        SEGMENT_LOAD, FLAG_READ | FLAG_WRITE, 0x3f00, 0x404f00, 0, 0x200, 0x3000, 4096};
    image->segments[3] =
        (struct elf_program_header){.type = SEGMENT_STACK, .flags = FLAG_READ | FLAG_WRITE};
    image->size = FILE_SIZE;
}

static bool read_bytes(const struct hl__elf_source *source, void *to, uint64_t size,
                       uint64_t position)
{
    assert_true(position <= source->size && size <= source->size - position);
    memcpy(to, (const uint8_t *)source->object + position, size);
    return true;
}

static bool read_plan(struct hl__elf_plan *plan, uint8_t *bytes, uint64_t size, bool program)
{
    const struct hl__elf_source source = {.size = size, .read = read_bytes, .object = bytes};

    return program ? hl__elf_read(plan, &source) : hl__elf_layout(plan, &source);
}

static bool read_image(struct image *image)
{
    memcpy(image->bytes, &image->header, sizeof image->header);
    memcpy(image->bytes + HEADERS_OFFSET, image->segments, sizeof image->segments);
    return read_plan(&image->plan, image->bytes, image->size, true);
}

static void refused(struct image *image, enum hl_abi_refusal refusal, const char *part)
{
    assert_false(read_image(image));
    assert_int_equal(image->plan.refusal, refusal);
    if (!strstr(image->plan.text, part))
        fail_msg("\"%s\" does not say \"%s\"", image->plan.text, part);
}

static void a_good_file_is_planned(void **state)
{
    static struct image image;
    const struct hl__elf_segment *segments = image.plan.segments;

    (void)state;
    start(&image);
    assert_true(read_image(&image));
    assert_int_equal(image.plan.refusal, 0);
    assert_int_equal(image.plan.segment_count, 3);
    assert_false(image.plan.movable);
    assert_false(image.plan.stack_executable);
    assert_int_equal(image.plan.entry, 0x401010);
    assert_int_equal(image.plan.headers, 0x400040);
    assert_int_equal(image.plan.header_count, 4);
    assert_int_equal(image.plan.start, 0x400000);
    assert_int_equal(image.plan.end, 0x408000);
    assert_int_equal(image.plan.private_pages, 4);
    assert_string_equal(image.plan.interpreter, "");
    assert_false(segments[0].zeroes);
    assert_int_equal(segments[0].file_pages, 1);
    assert_int_equal(segments[0].rights, HL_ABI_RIGHT_READ);
    assert_int_equal(segments[1].address, 0x401000);
    assert_int_equal(segments[1].page_count, 2);
    assert_int_equal(segments[1].file_offset, 0x1000);
    assert_int_equal(segments[1].rights, HL_ABI_RIGHT_READ | HL_ABI_RIGHT_EXECUTE);
    assert_true(segments[2].zeroes);
    assert_int_equal(segments[2].address, 0x404000);
    assert_int_equal(segments[2].page_count, 4);
    assert_int_equal(segments[2].file_offset, 0x3000);
    assert_int_equal(segments[2].file_pages, 2);
    assert_int_equal(segments[2].file_end, 0x405100);
}

static void kinds_of_segments(void **state)
{
    static struct image image;

    (void)state;
    start(&image);
    image.header.type = TYPE_MOVABLE;
    image.segments[0].alignment = 0x200000;
    assert_true(read_image(&image));
    assert_true(image.plan.movable);
    assert_int_equal(image.plan.alignment, 0x200000);
    start(&image);
    image.segments[3].flags |= FLAG_EXECUTE;
    assert_true(read_image(&image));
    assert_true(image.plan.stack_executable);
    start(&image); /* zeroes behind constants stay read-only */
    image.segments[0].memory_size = 0x900;
    assert_true(read_image(&image));
    assert_true(image.plan.segments[0].zeroes);
    assert_int_equal(image.plan.segments[0].file_pages, 1);
    assert_int_equal(image.plan.segments[0].rights, HL_ABI_RIGHT_READ);
    start(&image); /* an empty segment is none */
    image.segments[0].memory_size = image.segments[0].file_size = 0;
    assert_true(read_image(&image));
    assert_int_equal(image.plan.segment_count, 2);
    assert_int_equal(image.plan.headers, 0);
    start(&image); /* writable and executable at once is the program's own affair */
    image.segments[1].flags |= FLAG_WRITE;
    assert_true(read_image(&image));
    assert_int_equal(image.plan.segments[1].rights, 7);
    assert_int_equal(image.plan.private_pages, 6);
    start(&image); /* all of a segment may be zeroes */
    image.segments[2].file_size = 0;
    assert_true(read_image(&image));
    assert_int_equal(image.plan.segments[2].file_pages, 0);
    assert_int_equal(image.plan.segments[2].page_count, 4);
}

static void not_a_program(void **state)
{
    static struct image image;

    (void)state;
    for (uint64_t size = 0; size < 64; size++) {
        start(&image);
        image.size = size;
        refused(&image, HL_ABI_REFUSAL_INVALID,
                size < 4 ? "too short" : "truncated in the ELF header");
    }
    start(&image);
    image.header.magic[3] = 'G';
    refused(&image, HL_ABI_REFUSAL_INVALID, "not an ELF file");
    start(&image);
    image.header.class = 3;
    refused(&image, HL_ABI_REFUSAL_INVALID, "class");
    start(&image);
    image.header.version = 2;
    refused(&image, HL_ABI_REFUSAL_INVALID, "version");
    start(&image);
    image.header.type = TYPE_RELOCATABLE;
    refused(&image, HL_ABI_REFUSAL_INVALID, "object file");
    start(&image);
    image.header.type = TYPE_CORE;
    refused(&image, HL_ABI_REFUSAL_INVALID, "core dump");
    start(&image);
    image.header.type = 99;
    refused(&image, HL_ABI_REFUSAL_INVALID, "type");
}

static void for_another_machine(void **state)
{
    static struct image image;

    (void)state;
    start(&image);
    image.header.class = CLASS_32;
    refused(&image, HL_ABI_REFUSAL_MACHINE, "32-bit");
    start(&image);
    image.header.byte_order = ORDER_BIG;
    refused(&image, HL_ABI_REFUSAL_MACHINE, "big-endian");
    start(&image);
    image.header.machine = 183;
    refused(&image, HL_ABI_REFUSAL_MACHINE, "AArch64");
    start(&image);
    image.header.machine = 9999;
    refused(&image, HL_ABI_REFUSAL_MACHINE, "machine 9999");
}

static void bad_program_headers(void **state)
{
    static struct image image;

    (void)state;
    start(&image);
    image.header.program_header_size = 55;
    refused(&image, HL_ABI_REFUSAL_INVALID, "wrong size");
    start(&image);
    image.header.program_header_count = 0;
    refused(&image, HL_ABI_REFUSAL_INVALID, "too many");
    start(&image);
    image.header.program_header_count = 0xffff;
    refused(&image, HL_ABI_REFUSAL_INVALID, "too many");
    start(&image);
    image.header.program_headers = FILE_SIZE - 56;
    refused(&image, HL_ABI_REFUSAL_INVALID, "truncated in the program headers");
    start(&image);
    image.header.program_headers = ~0ull - 10;
    refused(&image, HL_ABI_REFUSAL_INVALID, "truncated in the program headers");
    start(&image);
    image.header.program_header_count = 0;
    image.segments[0].type = image.segments[1].type = image.segments[2].type = 0;
    image.header.program_header_count = 4;
    refused(&image, HL_ABI_REFUSAL_INVALID, "no segments");
}

static void refuse_segment_change(uint64_t *field, uint64_t value, struct image *image,
                                  const char *part)
{
    *field = value;
    refused(image, HL_ABI_REFUSAL_INVALID, part);
    start(image);
}

static void bad_segments(void **state)
{
    static struct image image;
    struct elf_program_header *data = &image.segments[2];

    (void)state;
    start(&image);
    refuse_segment_change(&data->file_size, 0x3001, &image, "larger in the file");
    refuse_segment_change(&data->offset, 0x10003f00, &image, "beyond the end");
    refuse_segment_change(&data->offset, 0xfffffffffffff000, &image, "beyond the end");
    refuse_segment_change(&data->offset, 0x3f01, &image, "differ within the page");
    refuse_segment_change(&data->address, 0xf00, &image, "outside");
    refuse_segment_change(&data->address, HL_ABI_USER_END - 0x100, &image, "outside");
    refuse_segment_change(&data->address, 0xffffffffffffff00, &image, "outside");
    refuse_segment_change(&data->memory_size, ~0ull, &image, "outside");
    refuse_segment_change(&data->memory_size, HL_ABI_USER_END, &image, "outside");
    refuse_segment_change(&data->address, 0x402f00, &image, "overlap");
    refuse_segment_change(&data->address, 0x300f00, &image, "out of order");
    refuse_segment_change(&data->alignment, 0x3000, &image, "power of two");
    refuse_segment_change(&data->alignment, 1ull << 63, &image, "too large");
    image.header.type = TYPE_MOVABLE;
    refuse_segment_change(&data->memory_size, HL__ELF_SPAN_MAX, &image, "outside");
}

static void bad_entry(void **state)
{
    static struct image image;

    (void)state;
    start(&image);
    image.header.entry = 0x400010; /* constants */
    refused(&image, HL_ABI_REFUSAL_INVALID, "entry point");
    image.header.entry = 0x402800;
    refused(&image, HL_ABI_REFUSAL_INVALID, "entry point");
    image.header.entry = 0;
    refused(&image, HL_ABI_REFUSAL_INVALID, "entry point");
    image.header.entry = ~0ull;
    refused(&image, HL_ABI_REFUSAL_INVALID, "entry point");
}

static void interpreters_are_named(void **state)
{
    static struct image image;
    static const char path[] = "/lib64/ld-linux-x86-64.so.2";

    (void)state;
    start(&image);
    image.segments[3] = (struct elf_program_header){
        SEGMENT_INTERPRETER, FLAG_READ, 0x700, 0x400700, 0, sizeof path, sizeof path, 1};
    memcpy(image.bytes + 0x700, path, sizeof path);
    assert_true(read_image(&image));
    assert_string_equal(image.plan.interpreter, path);
    image.segments[3].file_size--; /* the NUL lacks */
    refused(&image, HL_ABI_REFUSAL_INVALID, "without an end");
    image.segments[3].file_size = HL__ELF_PATH_MAX + 1;
    refused(&image, HL_ABI_REFUSAL_INVALID, "too long");
    image.segments[3].file_size = 0;
    refused(&image, HL_ABI_REFUSAL_INVALID, "empty");
    image.segments[3].file_size = ~0ull;
    refused(&image, HL_ABI_REFUSAL_INVALID, "interpreter's path");
}

/* A library is mapped without its entry point being anything. */
static void libraries_have_a_layout(void **state)
{
    static struct image image;
    uint64_t address;

    (void)state;
    start(&image);
    image.header.entry = 0;
    assert_false(read_image(&image));
    assert_true(read_plan(&image.plan, image.bytes, image.size, false));
    assert_true(hl__elf_code_address(&image.plan, 0x2000, &address));
    assert_int_equal(address, 0x402000);
    assert_false(hl__elf_code_address(&image.plan, 0x3000, &address)); /* data */
    assert_false(hl__elf_code_address(&image.plan, 0, &address));
}

static void too_many_segments(void **state)
{
    static uint8_t bytes[0x5000];
    static struct image image;
    static struct hl__elf_plan plan;

    (void)state;
    start(&image);
    image.header.program_header_count = HL__ELF_SEGMENTS_MAX + 1;
    memcpy(bytes, &image.header, sizeof image.header);
    for (uint64_t i = 0; i <= HL__ELF_SEGMENTS_MAX; i++) {
        struct elf_program_header entry = {SEGMENT_LOAD, 7,      0,   0x400000 + i * 0x1000, 0,
                                           0x1000,       0x1000, 4096};

        memcpy(bytes + HEADERS_OFFSET + i * sizeof entry, &entry, sizeof entry);
    }
    assert_false(read_plan(&plan, bytes, sizeof bytes, true));
    assert_non_null(strstr(plan.text, "too many segments"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_is_planned),
        cmocka_unit_test(kinds_of_segments),
        cmocka_unit_test(not_a_program),
        cmocka_unit_test(for_another_machine),
        cmocka_unit_test(bad_program_headers),
        cmocka_unit_test(bad_segments),
        cmocka_unit_test(bad_entry),
        cmocka_unit_test(interpreters_are_named),
        cmocka_unit_test(libraries_have_a_layout),
        cmocka_unit_test(too_many_segments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
