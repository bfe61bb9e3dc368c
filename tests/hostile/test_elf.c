/*
 * Malformed programs of every kind: each gets its exact status and one line that names it, and
 * leaves nothing behind.
 * test-labels: bed
 */
#include "census.h"
#include "hostile.h"
#include <elf.h>
#include <stdio.h>

enum { TEXT_OFFSET = 0x800, DATA_OFFSET = 0x1000, FILE_SIZE = 0x1100, EXIT_CODE = 3, SEGMENTS = 3 };
#define TEXT_ADDRESS UINT64_C(0x400000)
#define DATA_ADDRESS UINT64_C(0x402000)

struct image {
    union {
        struct {
            Elf64_Ehdr header;
            Elf64_Phdr segments[SEGMENTS]; /* text, data, stack */
        };
        uint8_t bytes[FILE_SIZE];
    };
    size_t size;
};

/* A program that exits at once. */
static struct image good_image(void)
{
    static const uint8_t code[] = {0xb8, 60, 0, 0, 0, 0xbf, EXIT_CODE, 0, 0, 0, 0x0f, 0x05};
    struct image image = {.size = FILE_SIZE};
    image.header = (Elf64_Ehdr){
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_EXEC,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_entry = TEXT_ADDRESS + TEXT_OFFSET,
        .e_phoff = sizeof(Elf64_Ehdr),
        .e_ehsize = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = SEGMENTS};
    image.segments[0] =
        (Elf64_Phdr){PT_LOAD, PF_R | PF_X, 0, TEXT_ADDRESS, TEXT_ADDRESS, 0x1000, 0x1000, 0x1000};
    image.segments[1] = (Elf64_Phdr){PT_LOAD,      PF_R | PF_W, DATA_OFFSET, DATA_ADDRESS,
                                     DATA_ADDRESS, 0x100,       0x3000,      0x1000};
    image.segments[2] = (Elf64_Phdr){.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W};
    memcpy(image.bytes + TEXT_OFFSET, code, sizeof code);
    memcpy(image.bytes + DATA_OFFSET, "/lib/ld\x1b[31m\n.so", 17);
    return image;
}

static hl_status start(const void *data, size_t size)
{
    hl_program *program = NULL;
    hl_sandbox *sandbox = NULL;
    const hl_program_options options = {.size = sizeof options, .name = "malformed.elf"};
    fixture_error = (hl_error)HL_ERROR_INIT;
    hl_status status = hl_program_from_memory(data, size, &options, &program, &fixture_error);
    if (!status)
        status = hl_sandbox_new(program, NULL, &sandbox, &fixture_error);
    assert_null(sandbox);
    hl_program_free(program);
    return status;
}

static void expect_image(hl_status expected, const struct image *image, const char *what)
{
    unsigned before = census_descriptors();
    hl_status status = start(image->bytes, image->size);
    if (status != expected)
        fail_msg("%s: expected %s, got %s: %s", what, hl_status_name(expected),
                 hl_status_name(status), fixture_error.message);
    assert_int_equal(fixture_error.status, expected);
    assert_non_null(strstr(fixture_error.message, "malformed.elf"));
    for (const char *at = fixture_error.message; *at; at++)
        assert_true((unsigned char)*at >= ' ' && *at != 0x7f);
    census_expect_descriptors(before);
    if (status == HL_GUEST_EXITED)
        assert_int_equal(fixture_error.exit_code, EXIT_CODE);
}

/* clang-format off */
/* One field gets a value. X(field, value, status) */
#define HEADER_CASES(X) \
    X(header.e_ident[0], 0, HL_PROGRAM_INVALID) \
    X(header.e_ident[1], 'e', HL_PROGRAM_INVALID) \
    X(header.e_ident[2], 0xff, HL_PROGRAM_INVALID) \
    X(header.e_ident[3], 0, HL_PROGRAM_INVALID) \
    X(header.e_ident[EI_CLASS], ELFCLASS32, HL_PROGRAM_WRONG_MACHINE) \
    X(header.e_ident[EI_CLASS], 0, HL_PROGRAM_INVALID) \
    X(header.e_ident[EI_CLASS], 3, HL_PROGRAM_INVALID) \
    X(header.e_ident[EI_DATA], ELFDATA2MSB, HL_PROGRAM_WRONG_MACHINE) \
    X(header.e_ident[EI_DATA], 0, HL_PROGRAM_INVALID) \
    X(header.e_ident[EI_DATA], 255, HL_PROGRAM_INVALID) \
    X(header.e_ident[EI_VERSION], 0, HL_PROGRAM_INVALID) \
    X(header.e_ident[EI_VERSION], 2, HL_PROGRAM_INVALID) \
    X(header.e_ident[EI_OSABI], 255, HL_GUEST_EXITED) \
    X(header.e_ident[EI_ABIVERSION], 255, HL_GUEST_EXITED) \
    X(header.e_ident[15], 255, HL_GUEST_EXITED) \
    X(header.e_type, ET_NONE, HL_PROGRAM_INVALID) \
    X(header.e_type, ET_REL, HL_PROGRAM_INVALID) \
    X(header.e_type, ET_CORE, HL_PROGRAM_INVALID) \
    X(header.e_type, 5, HL_PROGRAM_INVALID) \
    X(header.e_type, 0xfe00, HL_PROGRAM_INVALID) \
    X(header.e_type, 0xffff, HL_PROGRAM_INVALID) \
    X(header.e_machine, 0, HL_PROGRAM_WRONG_MACHINE) \
    X(header.e_machine, EM_386, HL_PROGRAM_WRONG_MACHINE) \
    X(header.e_machine, EM_AARCH64, HL_PROGRAM_WRONG_MACHINE) \
    X(header.e_machine, 0xffff, HL_PROGRAM_WRONG_MACHINE) \
    X(header.e_version, 0, HL_PROGRAM_INVALID) \
    X(header.e_version, UINT32_MAX, HL_PROGRAM_INVALID) \
    X(header.e_entry, 0, HL_PROGRAM_INVALID) \
    X(header.e_entry, TEXT_ADDRESS - 1, HL_PROGRAM_INVALID) \
    X(header.e_entry, TEXT_ADDRESS + 0x1000, HL_PROGRAM_INVALID) \
    X(header.e_entry, DATA_ADDRESS, HL_PROGRAM_INVALID) \
    X(header.e_entry, UINT64_MAX, HL_PROGRAM_INVALID) \
    X(header.e_entry, UINT64_C(1) << 47, HL_PROGRAM_INVALID) \
    X(header.e_entry, HL_ABI_SHIM_ADDRESS + 0x400, HL_PROGRAM_INVALID) \
    X(header.e_entry, HL_ABI_SYSTEM_ADDRESS + 0x2000, HL_PROGRAM_INVALID) \
    X(header.e_phoff, 0, HL_PROGRAM_INVALID) \
    X(header.e_phoff, FILE_SIZE, HL_PROGRAM_INVALID) \
    X(header.e_phoff, FILE_SIZE - 1, HL_PROGRAM_INVALID) \
    X(header.e_phoff, FILE_SIZE - 167, HL_PROGRAM_INVALID) \
    X(header.e_phoff, UINT64_MAX, HL_PROGRAM_INVALID) \
    X(header.e_phoff, UINT64_MAX - 55, HL_PROGRAM_INVALID) \
    X(header.e_shoff, UINT64_MAX, HL_GUEST_EXITED) \
    X(header.e_flags, UINT32_MAX, HL_GUEST_EXITED) \
    X(header.e_ehsize, 0, HL_GUEST_EXITED) \
    X(header.e_shnum, 0xffff, HL_GUEST_EXITED) \
    X(header.e_phentsize, 0, HL_PROGRAM_INVALID) \
    X(header.e_phentsize, 55, HL_PROGRAM_INVALID) \
    X(header.e_phentsize, 57, HL_PROGRAM_INVALID) \
    X(header.e_phentsize, 0xffff, HL_PROGRAM_INVALID) \
    X(header.e_phnum, 0, HL_PROGRAM_INVALID) \
    X(header.e_phnum, 256, HL_PROGRAM_INVALID) \
    X(header.e_phnum, 257, HL_PROGRAM_INVALID) \
    X(header.e_phnum, 0xffff, HL_PROGRAM_INVALID)

#define SEGMENT_CASES(X) \
    X(segments[0].p_type, PT_NULL, HL_PROGRAM_INVALID) \
    X(segments[0].p_type, UINT32_MAX, HL_PROGRAM_INVALID) \
    X(segments[1].p_type, PT_NULL, HL_GUEST_EXITED) \
    X(segments[1].p_type, PT_INTERP, HL_PROGRAM_NEEDS_INTERPRETER) \
    X(segments[0].p_flags, PF_R, HL_PROGRAM_INVALID) \
    X(segments[0].p_flags, PF_R | PF_W, HL_PROGRAM_INVALID) \
    X(segments[0].p_flags, 0, HL_PROGRAM_INVALID) \
    X(segments[0].p_flags, PF_X, HL_GUEST_EXITED) \
    X(segments[0].p_flags, PF_R | PF_W | PF_X, HL_GUEST_EXITED) \
    X(segments[0].p_flags, UINT32_MAX, HL_GUEST_EXITED) \
    X(segments[1].p_flags, 0, HL_GUEST_EXITED) \
    X(segments[2].p_flags, PF_R | PF_W | PF_X, HL_GUEST_EXITED) \
    X(segments[0].p_offset, 1, HL_PROGRAM_INVALID) \
    X(segments[0].p_offset, 0x1000, HL_PROGRAM_INVALID) \
    X(segments[1].p_offset, 0x2000, HL_PROGRAM_INVALID) \
    X(segments[1].p_offset, UINT64_MAX - 0xfff, HL_PROGRAM_INVALID) \
    X(segments[1].p_offset, UINT64_MAX - 0xff, HL_PROGRAM_INVALID) \
    X(segments[0].p_vaddr, 0, HL_PROGRAM_INVALID) \
    X(segments[0].p_vaddr, 0xf000, HL_PROGRAM_INVALID) \
    X(segments[0].p_vaddr, TEXT_ADDRESS + 1, HL_PROGRAM_INVALID) \
    X(segments[0].p_vaddr, DATA_ADDRESS, HL_PROGRAM_INVALID) \
    X(segments[1].p_vaddr, TEXT_ADDRESS, HL_PROGRAM_INVALID) \
    X(segments[1].p_vaddr, TEXT_ADDRESS - 0x1000, HL_PROGRAM_INVALID) \
    X(segments[1].p_vaddr, HL_ABI_USER_END, HL_PROGRAM_INVALID) \
    X(segments[1].p_vaddr, HL_ABI_USER_END - 0x1000, HL_PROGRAM_INVALID) \
    X(segments[1].p_vaddr, HL_ABI_SHIM_ADDRESS, HL_PROGRAM_INVALID) \
    X(segments[1].p_vaddr, HL_ABI_SHIM_DATA_ADDRESS, HL_PROGRAM_INVALID) \
    X(segments[1].p_vaddr, HL_ABI_HEAP_ADDRESS, HL_PROGRAM_INVALID) \
    X(segments[1].p_vaddr, HL_ABI_MAILBOX_ADDRESS, HL_PROGRAM_INVALID) \
    X(segments[1].p_vaddr, HL_ABI_SYSTEM_ADDRESS, HL_PROGRAM_INVALID) \
    X(segments[1].p_vaddr, UINT64_C(1) << 47, HL_PROGRAM_INVALID) \
    X(segments[1].p_vaddr, UINT64_C(0xffffffff80000000), HL_PROGRAM_INVALID) \
    X(segments[1].p_vaddr, UINT64_MAX - 0xfff, HL_PROGRAM_INVALID) \
    X(segments[1].p_paddr, UINT64_MAX, HL_GUEST_EXITED) \
    X(segments[0].p_filesz, 0x1001, HL_PROGRAM_INVALID) \
    X(segments[0].p_filesz, UINT64_MAX, HL_PROGRAM_INVALID) \
    X(segments[1].p_filesz, 0x101, HL_PROGRAM_INVALID) \
    X(segments[1].p_filesz, 0x3001, HL_PROGRAM_INVALID) \
    X(segments[1].p_filesz, 0, HL_GUEST_EXITED) \
    X(segments[0].p_memsz, 0, HL_PROGRAM_INVALID) \
    X(segments[0].p_memsz, 0x2001, HL_PROGRAM_INVALID) \
    X(segments[1].p_memsz, 0, HL_GUEST_EXITED) \
    X(segments[1].p_memsz, UINT64_MAX, HL_PROGRAM_INVALID) \
    X(segments[1].p_memsz, UINT64_MAX - DATA_ADDRESS, HL_PROGRAM_INVALID) \
    X(segments[1].p_memsz, UINT64_C(1) << 63, HL_PROGRAM_INVALID) \
    X(segments[1].p_memsz, HL_ABI_USER_END - DATA_ADDRESS + 1, HL_PROGRAM_INVALID) \
    X(segments[1].p_memsz, HL_ABI_USER_END - DATA_ADDRESS, HL_PROGRAM_TOO_LARGE) \
    X(segments[1].p_memsz, UINT64_C(1) << 40, HL_PROGRAM_TOO_LARGE) \
    X(segments[1].p_memsz, UINT64_C(64) << 20, HL_PROGRAM_TOO_LARGE) \
    X(segments[0].p_align, 3, HL_GUEST_EXITED) \
    X(segments[0].p_align, 0x3000, HL_PROGRAM_INVALID) \
    X(segments[0].p_align, UINT64_MAX, HL_PROGRAM_INVALID) \
    X(segments[1].p_align, UINT64_C(1) << 63, HL_PROGRAM_INVALID) \
    X(segments[1].p_align, 0, HL_GUEST_EXITED) \
    X(segments[1].p_align, 1, HL_GUEST_EXITED)
/* clang-format on */

#define RUN(field, value, status)                                                                  \
    {                                                                                              \
        struct image image = good_image();                                                         \
        image.field = (value);                                                                     \
        expect_image((status), &image, #field " = " #value);                                       \
    }

static void good(void **state)
{
    struct image image = good_image();
    (void)state;
    expect_image(HL_GUEST_EXITED, &image, "good");
}

static void header_fields(void **state)
{
    (void)state;
    HEADER_CASES(RUN)
}

static void segment_fields(void **state)
{
    (void)state;
    SEGMENT_CASES(RUN)
}

/* A position-independent program is held to its own range. */
static void movable(void **state)
{
    static const uint64_t ends[] = {UINT64_C(1) << 40, UINT64_C(1) << 46, UINT64_C(1) << 62,
                                    UINT64_MAX - 0xfff};
    (void)state;
    struct image image = good_image();
    image.header.e_type = ET_DYN;
    expect_image(HL_GUEST_EXITED, &image, "movable");
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        image.segments[1].p_vaddr = ends[i];
        expect_image(HL_PROGRAM_INVALID, &image, "movable, far end");
    }
    image = good_image();
    image.header.e_type = ET_DYN;
    image.segments[0].p_align = UINT64_C(1) << 41;
    expect_image(HL_PROGRAM_INVALID, &image, "movable, alignment");
}

static void interpreters(void **state)
{
    struct image image = good_image();
    (void)state;
    image.segments[1].p_type = PT_INTERP;
    image.segments[1].p_filesz = 17;
    expect_image(HL_PROGRAM_NEEDS_INTERPRETER, &image, "interpreter");
    assert_non_null(strstr(fixture_error.message, "/lib/ld"));
    image.segments[1].p_filesz = UINT64_MAX;
    expect_image(HL_PROGRAM_INVALID, &image, "interpreter's size");
    image.segments[1].p_filesz = 16;
    image.segments[1].p_offset = FILE_SIZE - 8;
    expect_image(HL_PROGRAM_INVALID, &image, "interpreter's place");
}

/* More segments than any linker makes. */
static void many_segments(void **state)
{
    struct image image = good_image();
    Elf64_Phdr *segments = (Elf64_Phdr *)(image.bytes + 0x200);
    (void)state;
    image.header.e_phoff = 0x200;
    image.header.e_phnum = 17;
    for (unsigned i = 0; i < 17; i++)
        segments[i] =
            (Elf64_Phdr){PT_LOAD, PF_R, 0, DATA_ADDRESS + i * 0x1000, 0, 0x1000, 0x1000, 0x1000};
    segments[0] = image.segments[0];
    expect_image(HL_GUEST_EXITED, &image, "many segments");
    segments[9] = segments[8];
    expect_image(HL_PROGRAM_INVALID, &image, "the same segment twice");
    segments[9] = segments[16];
    expect_image(HL_PROGRAM_INVALID, &image, "segments out of order");
}

/* Cut at every byte of the headers, and here and there behind them. */
static void truncations(void **state)
{
    struct image image = good_image();
    (void)state;
    for (size_t size = 0; size < FILE_SIZE;
         size += size < sizeof(Elf64_Ehdr) + SEGMENTS * sizeof(Elf64_Phdr) + 8 ? 1 : 331) {
        image.size = size;
        expect_image(HL_PROGRAM_INVALID, &image, "truncated");
    }
}

static void other_files(void **state)
{
    static const char *const files[] = {"#!/bin/sh\nexit 0\n",
                                        "MZ\x90",
                                        "!<arch>\n",
                                        "\x7f",
                                        "\x7f"
                                        "ELF",
                                        "\x1f\x8b\x08",
                                        "\xca\xfe\xba\xbe",
                                        "\n\n\x1b[2J"};
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_status(HL_PROGRAM_INVALID, start(files[i], strlen(files[i])));
        assert_non_null(strstr(fixture_error.message, "malformed.elf"));
    }
}

/* Well-formed, and hostile from the first instruction. */
static void bad_entries(void **state)
{
    struct image image = good_image();
    (void)state;
    image.bytes[TEXT_OFFSET] = 0xf4; /* hlt */
    expect_image(HL_GUEST_FAULT, &image, "hlt");
    hostile_check_fault(GP, 0, TEXT_ADDRESS + TEXT_OFFSET);
    image.bytes[TEXT_OFFSET] = 0xcc;
    expect_image(HL_GUEST_FAULT, &image, "int3");
    hostile_check_fault(BP, 0, TEXT_ADDRESS + TEXT_OFFSET + 1);
    image.header.e_entry = TEXT_ADDRESS + 0xfff;
    image.bytes[0xfff] = 0xe8; /* a call whose end is not there */
    expect_image(HL_GUEST_FAULT, &image, "at the end");
    hostile_check_fault(PF, TEXT_ADDRESS + 0x1000, TEXT_ADDRESS + 0xfff);
}

/* Random damage to the headers: whatever it is, it is the program's fault, and nothing is left. */
static void random_damage(void **state)
{
    uint64_t random = 7, rounds = fixture_number("HL_ROUNDS", 300);
    (void)state;
    for (unsigned i = 0; i < rounds; i++) {
        struct image image = good_image();
        for (unsigned j = 0; j < 1 + i % 4; j++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            image.bytes[(random >> 33) % (sizeof(Elf64_Ehdr) + SEGMENTS * sizeof(Elf64_Phdr))] =
                (uint8_t)(random >> 56);
        }
        hl_status status = start(image.bytes, image.size);
        if (!hostile_blames_guest(status) &&
            !(status >= HL_PROGRAM_INVALID && status <= HL_PROGRAM_TOO_LARGE))
            fail_msg("damage %u: %s: %s", i, hl_status_name(status), fixture_error.message);
    }
}

/* A sandbox that lives through all of it, so that the process's own caches are filled, and what
 * it costs in the end. */
static hl_sandbox *neighbour;
static struct census before_all;

static int set_up(void **state)
{
    (void)state;
    neighbour = fixture_sandbox("hostile_agent.musl", NULL);
    struct image image = good_image();
    (void)start(image.bytes, image.size);
    before_all = census_take();
    return 0;
}

static void nothing_is_left(void **state)
{
    (void)state;
    before_all.mappings += 8; /* malloc's own come and go */
    census_expect(&before_all);
    census_expect_descriptors(before_all.descriptors);
    fixture_honest_call(neighbour);
}

static int tear_down(void **state)
{
    (void)state;
    hl_sandbox_free(neighbour);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(header_fields),
        cmocka_unit_test(segment_fields),
        cmocka_unit_test(movable),
        cmocka_unit_test(interpreters),
        cmocka_unit_test(many_segments),
        cmocka_unit_test(truncations),
        cmocka_unit_test(other_files),
        cmocka_unit_test(bad_entries),
        cmocka_unit_test(random_damage),
        cmocka_unit_test(nothing_is_left),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
