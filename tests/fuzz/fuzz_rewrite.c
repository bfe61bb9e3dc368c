/*
 * Fuzzes the rewriting of `syscall` instructions. Whatever it makes of a file must be as abi/image.h
 * says. Input that is no ELF file is put into one as its code and data, so that a fuzzer without a
 * corpus gets to the instructions at once.
 *
 * test-libraries: hl_image_rewrite
 */
#include "../image/rewrite_check.h"

#define CODE_OFFSET 0x1000u
#define CODE_ADDRESS 0x401000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_file(const uint8_t *bytes, size_t size)
{
    struct hl__rewrite out;

    if (hl__rewrite_elf(bytes, size, &out))
        check_rewrite(bytes, size, &out);
    hl__rewrite_free(&out);
}

static void fuzz_code(const uint8_t *data, size_t size)
{
    uint8_t *file = calloc(1, CODE_OFFSET + size);
    Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                         .e_type = size & 1 ? ET_EXEC : ET_DYN,
                         .e_machine = EM_X86_64,
                         .e_entry = CODE_ADDRESS,
                         .e_phoff = sizeof header,
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = 2};
    size_t code_size = size / 2;
    Elf64_Phdr segments[2] = {
        {.p_type = PT_LOAD,
         .p_flags = PF_R | PF_X,
         .p_offset = CODE_OFFSET,
         .p_vaddr = CODE_ADDRESS},
        {.p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_vaddr = CODE_ADDRESS + 0x10000},
    };

    if (!file)
        return;
    segments[0].p_filesz = segments[0].p_memsz = code_size;
    segments[1].p_offset = CODE_OFFSET + code_size;
    segments[1].p_vaddr += segments[1].p_offset + code_size / CODE_OFFSET * CODE_OFFSET;
    segments[1].p_filesz = segments[1].p_memsz = size - code_size;
    memcpy(file, &header, sizeof header);
    memcpy(file + sizeof header, segments, sizeof segments);
    memcpy(file + CODE_OFFSET, data, size);
    fuzz_file(file, CODE_OFFSET + size);
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= SELFMAG && memcmp(data, ELFMAG, SELFMAG) == 0)
        fuzz_file(data, size);
    else if (size)
        fuzz_code(data, size);
    return 0;
}
