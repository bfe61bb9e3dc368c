/*
 * The rewriting of `syscall` instructions, rule by rule: pieces of code, assembled below, in an ELF
 * file of one segment of code and one of data.
 *
 * test-libraries: hl_image_rewrite
 */
#include "rewrite_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096u
#define CODE 0x1000u /* offset and address */
#define DATA 0x4000u
#define FILE_SIZE 0x5000u
#define PHDRS 3

/* A piece of code. What it is tested for stands at its test. */
#define PIECE(name, text)                                                                          \
    __asm__(".pushsection .rodata\npiece_" #name ":\n" text "\npiece_" #name                       \
            "_end:\n.popsection");                                                                 \
    extern const uint8_t piece_##name[], piece_##name##_end[];

struct image {
    uint8_t bytes[FILE_SIZE];
    Elf64_Ehdr *header;
    Elf64_Phdr *segments;
    uint8_t *code, *data;
    struct hl__rewrite out;
};

static void image_start(struct image *image)
{
    *image = (struct image){0};
    image->header = (Elf64_Ehdr *)image->bytes;
    image->segments = (Elf64_Phdr *)(image->bytes + sizeof(Elf64_Ehdr));
    *image->header = (Elf64_Ehdr){
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_DYN,
        .e_machine = EM_X86_64,
        .e_entry = CODE,
        .e_phoff = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 2,
    };
    image->segments[0] = (Elf64_Phdr){.p_type = PT_LOAD,
                                      .p_flags = PF_R | PF_X,
                                      .p_offset = CODE,
                                      .p_vaddr = CODE,
                                      .p_filesz = DATA - CODE,
                                      .p_memsz = DATA - CODE};
    image->segments[1] = (Elf64_Phdr){.p_type = PT_LOAD,
                                      .p_flags = PF_R | PF_W,
                                      .p_offset = DATA,
                                      .p_vaddr = DATA,
                                      .p_filesz = FILE_SIZE - DATA,
                                      .p_memsz = FILE_SIZE - DATA + 100};
    image->code = image->bytes + CODE;
    image->data = image->bytes + DATA;
    memset(image->code, 0x90, DATA - CODE);
}

static bool image_rewrite(struct image *image)
{
    return hl__rewrite_elf(image->bytes, sizeof image->bytes, &image->out);
}

static void image_end(struct image *image)
{
    if (image->out.site_count)
        check_rewrite(image->bytes, sizeof image->bytes, &image->out);
    hl__rewrite_free(&image->out);
}

static void put_code(struct image *image, const uint8_t *piece, const uint8_t *end)
{
    memcpy(image->code, piece, (size_t)(end - piece));
}

#define START(image, name)                                                                         \
    image_start(image);                                                                            \
    put_code(image, piece_##name, piece_##name##_end)

static void expect_left(struct image *image)
{
    assert_false(image_rewrite(image));
    assert_int_equal(image->out.site_count, 0);
    image_end(image);
}

#define EXPECT_LEFT(name)                                                                          \
    do {                                                                                           \
        struct image left_image;                                                                   \
        START(&left_image, name);                                                                  \
        expect_left(&left_image);                                                                  \
    } while (0)

/* One window, `offset` in the code, `size` long, with the syscall as its instruction `call`. */
static void expect_window(struct image *image, unsigned offset, unsigned size, unsigned call)
{
    assert_true(image_rewrite(image));
    assert_int_equal(image->out.site_count, 1);
    assert_int_equal(image->out.sites[0].address, CODE + offset);
    assert_int_equal(image->out.sites[0].size, size);
    assert_int_equal(image->out.sites[0].syscall, call);
    image_end(image);
}

#define EXPECT_WINDOW(name, offset, size, call)                                                    \
    do {                                                                                           \
        struct image window_image;                                                                 \
        START(&window_image, name);                                                                \
        expect_window(&window_image, offset, size, call);                                          \
    } while (0)

/* ---- Windows ---- */

PIECE(usual, "mov $39, %eax; syscall; cmp $-4095, %rax; jae 1f; ret; 1: or $-1, %rax; ret")

static void the_usual_site_becomes_what_the_abi_says(void **state)
{
    static const uint8_t window[] = {0xe9, 0xf6, 0x4f, 0, 0, 0xcc, 0xcc, 0xcc};
    static const uint8_t stub[] = {0x48, 0xb9, 0x80, 0,    0,    0,    0x00, 0x7f, 0,    0,    0x4c,
                                   0x8d, 0x1d, 2,    0,    0,    0,    0xff, 0xe1, 0x48, 0x3d, 0x01,
                                   0xf0, 0xff, 0xff, 0xe9, 0xef, 0xaf, 0xff, 0xff, 0xcc};
    struct image image;
    (void)state;

    START(&image, usual);
    assert_true(image_rewrite(&image));
    struct hl_image_site *site = image.out.sites;
    assert_int_equal(image.out.stubs_address, 0x6000); /* behind the 100 bytes of bss */
    assert_int_equal(site->address, CODE + 5);
    assert_int_equal(site->size, 8);
    assert_int_equal(site->count, 2);
    assert_int_equal(site->stub_at[1], 19);
    assert_int_equal(image.out.patch_count, 1);
    assert_int_equal(image.out.patch_pages[0], 1);
    assert_int_equal(image.out.left_count, 0);
    /* to 0x6000 from 0x100a, and back to 0x100d from 0x601e */
    assert_memory_equal(image.out.patch_bytes + 5, window, sizeof window);
    assert_memory_equal(image.out.stubs, stub, sizeof stub);
    image_end(&image);
}

PIECE(returns, "syscall; ret; nop; nop; mov $1, %eax")
PIECE(returns_only, "mov $60, %eax; syscall; ret; mov %eax, %edx")
PIECE(halts, "mov $60, %eax; syscall; hlt; int3; int3")
PIECE(jumps, "syscall; jmp 1f; nop; nop; nop; .space 200, 0x90; 1: ret")

static void what_ends_a_function_ends_the_window_and_padding_may_follow(void **state)
{
    (void)state;
    EXPECT_WINDOW(returns, 0, 5, 0);
    EXPECT_WINDOW(returns_only, 0, 7, 1);
    EXPECT_WINDOW(halts, 5, 5, 0);
    EXPECT_WINDOW(jumps, 0, 7, 0);
}

PIECE(short_jcc, "1: syscall; test %eax, %eax; js 1b; ret")
PIECE(jcc, "syscall; test %eax, %eax; nop; jnz 1f; ret; 1: mov %eax, %edx; ret")
PIECE(long_jcc, "mov (%rdi), %esi; 1: syscall; cmp %edx, %edx; ja 1f; .space 500, 0x90; 1: ret")
PIECE(jcc_before, "test %edi, %edi; jz 1f; syscall; call 2f; 1: ret; 2: ret")
PIECE(rip, "syscall; lea piece_usual - piece_rip + 0x3000(%rip), %rdi; ret")
PIECE(rip_immediate, "syscall; movl $0x12345678, 0x2000(%rip); ret")

static void addresses_in_displaced_instructions_stay(void **state)
{
    (void)state; /* check_rewrite compares what each of them refers to */
    EXPECT_WINDOW(short_jcc, 0, 6, 0);
    EXPECT_WINDOW(jcc, 0, 5, 0);
    EXPECT_WINDOW(long_jcc, 2, 10, 0);
    EXPECT_WINDOW(jcc_before, 0, 6, 2);
    EXPECT_WINDOW(rip, 0, 9, 0);
    EXPECT_WINDOW(rip_immediate, 0, 12, 0);
}

PIECE(called, "call 1f; syscall; call 1f; ret; 1: ret")
PIECE(loops, "1: call 1b; syscall; loop 1b; ret")
PIECE(counts, "1: call 1b; syscall; jrcxz 1b; ret")
PIECE(interrupts, "1: call 1b; syscall; int $0x80; ret")
PIECE(hinted, "1: call 1b; syscall; bnd jmp 1b; ret")
PIECE(another, "1: call 1b; syscall; xor %ecx, %ecx; syscall; call 1b; ret")

static void what_cannot_be_moved_is_left(void **state)
{
    (void)state;
    EXPECT_LEFT(called);
    EXPECT_LEFT(loops);
    EXPECT_LEFT(counts);
    EXPECT_LEFT(interrupts);
    EXPECT_LEFT(hinted);
    EXPECT_LEFT(another);
}

PIECE(two, "mov $39, %eax; syscall; mov $39, %eax; syscall; mov %eax, %edx; ret")

static void windows_have_one_syscall_and_are_disjoint(void **state)
{
    struct image image;
    (void)state;

    START(&image, two);
    assert_true(image_rewrite(&image));
    assert_int_equal(image.out.site_count, 2);
    assert_int_equal(image.out.sites[0].size, 7);
    assert_int_equal(image.out.sites[1].address, CODE + 12);
    assert_int_equal(image.out.sites[1].size, 5);
    assert_int_equal(image.out.sites[1].stub, 32); /* 19 + 5 + 5, rounded up */
    image_end(&image);
}

PIECE(at_page_end, ".space 0xffb, 0x90; syscall; cmp $-4095, %rax; ret")

static void a_window_over_two_pages_patches_both(void **state)
{
    struct image image;
    (void)state;

    START(&image, at_page_end);
    assert_true(image_rewrite(&image));
    assert_int_equal(image.out.patch_count, 2);
    assert_int_equal(image.out.patch_pages[1], 2);
    image_end(&image);
}

/* ---- Targets ---- */

PIECE(entered, "mov $1, %eax; syscall; 1: mov %eax, %edx; inc %ecx; ret; jmp 1b")
PIECE(entered_both, "1: mov $1, %eax; 3: syscall; 2: mov %eax, %edx; nop; ret; jmp 2b; loop 3b")
PIECE(start_entered, "1: syscall; mov %eax, %edx; nop; ret; jmp 1b")
PIECE(lea, "mov $1, %eax; syscall; 1: mov %eax, %edx; nop; ret; lea 1b(%rip), %rax")

static void a_window_is_entered_at_its_start_only(void **state)
{
    (void)state;
    EXPECT_LEFT(entered); /* inc reads ecx */
    EXPECT_LEFT(entered_both);
    EXPECT_WINDOW(start_entered, 0, 5, 0);
    EXPECT_WINDOW(lea, 0, 7, 1);
}

PIECE(plain, "call 1f; mov $1, %eax; syscall; mov %eax, %edx; mov %edx, %esi; 1: ret")
#define PLAIN_CALL 10u  /* the syscall */
#define PLAIN_AFTER 12u /* an instruction in its window */

static void expect_backward(struct image *image)
{
    expect_window(image, 5, 7, 1);
}

static void a_pointer_into_a_window_moves_it(void **state)
{
    const uint64_t pointer = CODE + PLAIN_AFTER, between = pointer + 1;
    const int32_t offset = (int32_t)(pointer - (DATA + 84));
    struct image image;
    (void)state;

    EXPECT_WINDOW(plain, PLAIN_CALL, 6, 0);
    START(&image, plain);
    memcpy(image.data + 20, &pointer, sizeof pointer);
    expect_backward(&image);
    START(&image, plain);
    memcpy(image.data + 84, &offset, sizeof offset);
    expect_backward(&image);
    START(&image, plain); /* no instruction starts there */
    memcpy(image.data + 20, &between, sizeof between);
    expect_window(&image, PLAIN_CALL, 6, 0);
    START(&image, plain); /* behind the window is not inside */
    const uint64_t end = CODE + PLAIN_CALL + 6;
    memcpy(image.data + 20, &end, sizeof end);
    expect_window(&image, PLAIN_CALL, 6, 0);
}

PIECE(table, "mov $1, %eax; syscall; mov %eax, %edx; nop; ret; lea 0x3000(%rip), %rdx; 1: ret")

static void entries_of_jump_tables_move_windows(void **state)
{
    /* lea ends at 0x12 */
    const uint32_t table = 0x12 + 0x3000 - (DATA - CODE);
    const int32_t entries[] = {(int32_t)(CODE + 0x12 - (DATA + table)),
                               (int32_t)(CODE + 7 - (DATA + table))};
    struct image image;
    (void)state;

    EXPECT_WINDOW(table, 5, 5, 0);
    START(&image, table);
    memcpy(image.data + table, entries, sizeof entries);
    expect_window(&image, 0, 7, 1);
}

PIECE(absolute, "mov $1, %eax; syscall; mov %eax, %edx; nop; ret; mov $0x1007, %edi; ret")

static void absolute_addresses_count_where_the_program_is_not_moved(void **state)
{
    struct image image;
    (void)state;

    EXPECT_WINDOW(absolute, 5, 5, 0);
    START(&image, absolute);
    image.header->e_type = ET_EXEC;
    expect_window(&image, 0, 7, 1);
}

/* Sections: names, symbols, and those that are given. They lie at the end of the data. */
static void put_sections(struct image *image, const Elf64_Sym *symbol)
{
    static const char names[] = "\0.eh_frame";
    Elf64_Shdr *sections = (Elf64_Shdr *)(image->data + 0x800);
    Elf64_Off symbols = DATA + 0xa00, text = DATA + 0xb00;

    memcpy(image->bytes + symbols, symbol, sizeof *symbol);
    memcpy(image->bytes + text, names, sizeof names);
    sections[1] = (Elf64_Shdr){.sh_type = SHT_PROGBITS,
                               .sh_flags = SHF_ALLOC | SHF_EXECINSTR,
                               .sh_addr = CODE,
                               .sh_offset = CODE,
                               .sh_size = DATA - CODE};
    sections[2] =
        (Elf64_Shdr){.sh_type = SHT_SYMTAB, .sh_offset = symbols, .sh_size = sizeof *symbol};
    sections[3] = (Elf64_Shdr){.sh_type = SHT_STRTAB, .sh_offset = text, .sh_size = sizeof names};
    sections[4] = (Elf64_Shdr){.sh_name = 1,
                               .sh_type = SHT_PROGBITS,
                               .sh_flags = SHF_ALLOC,
                               .sh_addr = DATA + 0x100,
                               .sh_offset = DATA + 0x100,
                               .sh_size = 0x100};
    image->header->e_shoff = DATA + 0x800;
    image->header->e_shentsize = sizeof(Elf64_Shdr);
    image->header->e_shnum = 5;
    image->header->e_shstrndx = 3;
}

static void symbols_move_windows(void **state)
{
    /* odd words, so that no scan of data finds the value instead */
    const Elf64_Sym symbol = {.st_value = CODE + PLAIN_AFTER, .st_shndx = 1};
    const Elf64_Sym undefined = {.st_value = CODE + PLAIN_AFTER, .st_shndx = SHN_UNDEF};
    struct image image;
    (void)state;

    START(&image, plain);
    put_sections(&image, &symbol);
    image.segments[1].p_filesz = 0x800; /* the symbols are in no segment */
    expect_backward(&image);
    START(&image, plain);
    put_sections(&image, &undefined);
    image.segments[1].p_filesz = 0x800;
    expect_window(&image, PLAIN_CALL, 6, 0);
}

/* .eh_frame with one function, `start` long `size`, with the exception table `exceptions`. */
static void put_frames(struct image *image, uint32_t start, uint32_t size, uint32_t exceptions)
{
    static const uint8_t cie[] = {0x14, 0, 0,    0,  0, 0,    0,    0, 1, 'z', 'L', 'R',
                                  0,    1, 0x78, 16, 2, 0x1b, 0x1b, 0, 0, 0,   0,   0};
    uint8_t *frames = image->data + 0x100, *fde = frames + sizeof cie;
    const uint32_t address = DATA + 0x100 + sizeof cie;
    const uint32_t words[] = {20, sizeof cie + 4, start - (address + 8), size};
    const int32_t table = (int32_t)(exceptions - (address + 17));

    memcpy(frames, cie, sizeof cie);
    memcpy(fde, words, sizeof words);
    fde[16] = 4;
    memcpy(fde + 17, &table, sizeof table);
}

static void landing_pads_move_windows(void **state)
{
    /* no base, no types, entries of bytes: one from 0 to 4 with its pad in the window */
    const uint8_t exceptions[] = {0xff, 0xff, 1, 4, 0, 4, PLAIN_AFTER, 0};
    const Elf64_Sym none = {0};
    struct image image;
    (void)state;

    for (int with_header = 0; with_header < 2; with_header++) {
        START(&image, plain);
        if (with_header) {
            const uint8_t header[] = {1,    0x1b, 0xff, 0xff,
                                      0xfc, 0,    0,    0}; /* at 0, frames at 0x100 */
            memcpy(image.data, header, sizeof header);
            image.segments[2] = (Elf64_Phdr){
                .p_type = PT_GNU_EH_FRAME, .p_vaddr = DATA, .p_offset = DATA, .p_filesz = 8};
            image.header->e_phnum = PHDRS;
        } else {
            put_sections(&image, &none);
        }
        put_frames(&image, CODE, 0x40, DATA + 0x301);
        memcpy(image.data + 0x301, exceptions, sizeof exceptions);
        expect_backward(&image);
        image.data[0x301 + 6] = PLAIN_CALL;
        expect_window(&image, PLAIN_CALL, 6, 0);
    }
}

/* ---- Certainty ---- */

PIECE(after_data, "jmp 1f; .space 40, 0x06; 1: mov $1, %eax; syscall; mov %eax, %edx; nop; ret")
#define AFTER_DATA 42u

static void code_behind_data_counts_when_it_is_known_to_start(void **state)
{
    const Elf64_Sym function = {.st_value = CODE + AFTER_DATA, .st_info = STT_FUNC, .st_shndx = 1};
    struct image image;
    (void)state;

    EXPECT_LEFT(after_data);
    START(&image, after_data);
    put_sections(&image, &function);
    expect_window(&image, AFTER_DATA + 5, 5, 0);
}

PIECE(far_data,
      ".space 40, 0x06; .space 100, 0x90; mov $1, %eax; syscall; mov %eax, %edx; nop; ret")
PIECE(hidden, "mov $1, %eax; syscall; mov %eax, %edx; nop; ret; .space 80, 0x90; .space 8, 0x06")

static void code_counts_far_from_data(void **state)
{
    (void)state;
    EXPECT_WINDOW(far_data, 145, 5, 0);
    EXPECT_WINDOW(hidden, 5, 5, 0);
}

static void data_in_code_by_its_symbol_is_no_code(void **state)
{
    const Elf64_Sym object = {
        .st_value = CODE, .st_size = 0x80, .st_info = STT_OBJECT, .st_shndx = 1};
    struct image image;
    (void)state;

    START(&image, usual);
    put_sections(&image, &object);
    expect_left(&image);
}

/* ---- What the program would notice ---- */

PIECE(reads_rcx, "syscall; mov %rcx, %rdx; nop; ret")
PIECE(reads_r11, "syscall; mov $7, %eax; push %r11; ret")
PIECE(reads_flags, "syscall; mov $7, %eax; jc 1f; nop; 1: ret")
PIECE(reads_at_target, "syscall; mov $7, %eax; jmp 1f; .space 90, 0x90; 1: mov (%rcx), %al; ret")
PIECE(reads_in_branch,
      "syscall; test %eax, %eax; mov $7, %eax; jz 1f; ret; 1: lea (,%r11,8), %rax; ret")
PIECE(reads_cl, "syscall; test %eax, %eax; shl %cl, %eax; nop; ret")
PIECE(reads_rest, "syscall; mov $7, %eax; sete %cl; movzwl %cx, %eax; ret")
PIECE(keeps_flags, "syscall; xor %ecx, %ecx; mov %eax, %ecx; nop; setc %al; ret")
PIECE(repeats, "syscall; mov $7, %eax; rep stosb; ret")

PIECE(writes_rcx, "syscall; xor %ecx, %ecx; mov %ecx, %edx; xor %r11, %r11; push %r11; ret")
PIECE(writes_flags, "syscall; cmp $9, %rax; nop; jc 1f; nop; 1: ret")
PIECE(writes_cl, "syscall; cmp %edi, %eax; nop; sete %cl; test %cl, %cl; ret")
PIECE(calls, "syscall; mov $7, %eax; call 1f; mov %rcx, %rdx; 1: ret")

static void what_a_jump_changes_must_not_show(void **state)
{
    (void)state;
    EXPECT_LEFT(reads_rcx);
    EXPECT_LEFT(reads_r11);
    EXPECT_LEFT(reads_flags);
    EXPECT_LEFT(reads_at_target);
    EXPECT_LEFT(reads_in_branch);
    EXPECT_LEFT(reads_cl);
    EXPECT_LEFT(reads_rest);
    EXPECT_LEFT(repeats);
    EXPECT_WINDOW(keeps_flags, 0, 6, 0); /* xor wrote them */
    EXPECT_WINDOW(writes_rcx, 0, 6, 0);
    EXPECT_WINDOW(writes_flags, 0, 6, 0);
    EXPECT_WINDOW(writes_cl, 0, 5, 0);
    EXPECT_WINDOW(calls, 0, 7, 0);
}

PIECE(restorer, "mov $15, %eax; syscall; nop; nop; nop")
PIECE(restorer_long, "mov $15, %rax; syscall; nop; nop; nop")
PIECE(clone, "mov $56, %eax; mov %rdx, %rdi; syscall; test %rax, %rax; nop; ret")
PIECE(clone_byte, "xor %eax, %eax; mov $56, %al; syscall; test %rax, %rax; nop; ret")
PIECE(clone3, "mov $435, %eax; nop; syscall; test %rax, %rax; nop; ret")
PIECE(fork, "mov $57, %eax; syscall; test %rax, %rax; nop; ret")
PIECE(vfork, "mov $58, %eax; syscall; push %rdi; cmp $-4095, %eax; ret")
PIECE(unknown, "mov %rdi, %rax; syscall; test %rax, %rax; nop; ret")

static void sites_that_others_know_by_their_address_are_left(void **state)
{
    (void)state;
    EXPECT_LEFT(restorer);
    EXPECT_LEFT(restorer_long);
    EXPECT_LEFT(clone);
    EXPECT_LEFT(clone_byte);
    EXPECT_LEFT(clone3);
    EXPECT_LEFT(fork);
    EXPECT_LEFT(vfork);
    EXPECT_WINDOW(unknown, 3, 5, 0);
}

/* ---- Files ---- */

static void only_programs_for_x86_64_are_rewritten(void **state)
{
    struct image image;
    (void)state;

    START(&image, usual);
    image.header->e_machine = EM_AARCH64;
    expect_left(&image);
    START(&image, usual);
    image.header->e_ident[EI_CLASS] = ELFCLASS32;
    expect_left(&image);
    START(&image, usual);
    image.header->e_type = ET_REL;
    expect_left(&image);
    START(&image, usual);
    image.bytes[0] = '#';
    expect_left(&image);
}

static void files_that_are_not_what_they_say_are_left(void **state)
{
    struct image image;
    (void)state;

    START(&image, usual); /* segments behind the file's end */
    image.segments[1].p_filesz = image.segments[1].p_memsz = FILE_SIZE;
    expect_left(&image);
    START(&image, usual); /* segments in the wrong order */
    image.segments[1].p_vaddr = 0;
    expect_left(&image);
    START(&image, usual); /* not on its page */
    image.segments[0].p_vaddr = CODE + 8;
    expect_left(&image);
    for (size_t size = 0; size < sizeof image.bytes; size += size < 300 ? 1 : 97) {
        START(&image, usual);
        uint8_t *copy = malloc(size ? size : 1);
        assert_non_null(copy);
        memcpy(copy, image.bytes, size);
        assert_false(hl__rewrite_elf(copy, size, &image.out));
        free(copy);
    }
}

static void code_that_changes_itself_is_left(void **state)
{
    const Elf64_Dyn relocated[] = {{.d_tag = DT_TEXTREL}, {.d_tag = DT_NULL}};
    struct image image;
    (void)state;

    START(&image, usual);
    image.segments[0].p_flags |= PF_W;
    expect_left(&image);
    START(&image, usual);
    memcpy(image.data, relocated, sizeof relocated);
    image.segments[2] = (Elf64_Phdr){.p_type = PT_DYNAMIC,
                                     .p_offset = DATA,
                                     .p_vaddr = DATA,
                                     .p_filesz = sizeof relocated,
                                     .p_memsz = sizeof relocated};
    image.header->e_phnum = PHDRS;
    expect_left(&image);
}

static void code_in_two_places_is_left(void **state)
{
    struct image image;
    (void)state;

    START(&image, usual);
    image.segments[2] = image.segments[0];
    image.segments[2].p_vaddr = DATA * 4;
    image.header->e_phnum = PHDRS;
    expect_left(&image);
}

static void stubs_out_of_reach_are_not_made(void **state)
{
    struct image image;
    (void)state;

    START(&image, usual);
    image.segments[1].p_memsz = 0x7fff0000;
    assert_true(image_rewrite(&image));
    image_end(&image);
    image.segments[1].p_memsz = 0x80000000;
    expect_left(&image);
}

/* ---- The real thing ---- */

/* Plays the shim: makes the system call and leaves other values in rcx, r11 and the flags. */
__asm__(".pushsection .rodata\n"
        "entry: mov %r11, 1f(%rip); syscall; mov 1f(%rip), %r11; mov $0x7777, %ecx; stc; std; cld\n"
        "jmp *%r11\n"
        ".balign 8\n1: .quad 0\n"
        "entry_end: .popsection");
extern const uint8_t entry[], entry_end[];

PIECE(pid, "mov $39, %eax; syscall; cmp $-4095, %rax; jae 1f; lea 1f(%rip), %rdx; sub %rdx, %rdx; "
           "add %rdx, %rax; "
           "ret; 1: xor %eax, %eax; ret")

static void a_rewritten_function_works(void **state)
{
    struct image image;
    uint8_t *base =
        mmap(NULL, 0x10000, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *page = mmap((void *)(HL_ABI_SYSCALL_JUMP & -(uint64_t)PAGE), PAGE,
                      PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    (void)state;

    if (page == MAP_FAILED)
        skip(); /* something else is there */
    assert_ptr_not_equal(base, MAP_FAILED);
    memcpy((void *)HL_ABI_SYSCALL_JUMP, entry, (size_t)(entry_end - entry));
    START(&image, pid);
    assert_true(image_rewrite(&image));
    memcpy(base + CODE, image.out.patch_bytes, PAGE);
    memcpy(base + image.out.stubs_address, image.out.stubs, PAGE);
    assert_int_equal(base[CODE + 5], 0xe9);
    long (*function)(void) = (long (*)(void))(void *)(base + CODE);
    assert_int_equal(function(), getpid());
    image_end(&image);
    munmap(base, 0x10000);
    munmap(page, PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_usual_site_becomes_what_the_abi_says),
        cmocka_unit_test(what_ends_a_function_ends_the_window_and_padding_may_follow),
        cmocka_unit_test(addresses_in_displaced_instructions_stay),
        cmocka_unit_test(what_cannot_be_moved_is_left),
        cmocka_unit_test(windows_have_one_syscall_and_are_disjoint),
        cmocka_unit_test(a_window_over_two_pages_patches_both),
        cmocka_unit_test(a_window_is_entered_at_its_start_only),
        cmocka_unit_test(a_pointer_into_a_window_moves_it),
        cmocka_unit_test(entries_of_jump_tables_move_windows),
        cmocka_unit_test(absolute_addresses_count_where_the_program_is_not_moved),
        cmocka_unit_test(symbols_move_windows),
        cmocka_unit_test(landing_pads_move_windows),
        cmocka_unit_test(code_behind_data_counts_when_it_is_known_to_start),
        cmocka_unit_test(code_counts_far_from_data),
        cmocka_unit_test(data_in_code_by_its_symbol_is_no_code),
        cmocka_unit_test(what_a_jump_changes_must_not_show),
        cmocka_unit_test(sites_that_others_know_by_their_address_are_left),
        cmocka_unit_test(only_programs_for_x86_64_are_rewritten),
        cmocka_unit_test(files_that_are_not_what_they_say_are_left),
        cmocka_unit_test(code_that_changes_itself_is_left),
        cmocka_unit_test(code_in_two_places_is_left),
        cmocka_unit_test(stubs_out_of_reach_are_not_made),
        cmocka_unit_test(a_rewritten_function_works),
    };
    return cmocka_run_group_tests_name("rewrite", tests, NULL, NULL);
}
