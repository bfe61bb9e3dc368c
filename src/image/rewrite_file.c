/* Reads an ELF file's headers for the rewriter. Every number is checked before it is used. */
#include "image/rewrite_file.h"
#include "image/rewrite.h"

#include <stdlib.h>

#define PAGE_MASK (HL__REWRITE_PAGE - 1ull)
#define ADDRESS_MAX (1ull << 47)
#define FILE_SIZE_MAX (2ull << 30) /* offsets of 32 bits reach all of it */
#define BUDGET_BASE (1u << 20)
#define BUDGET_PER_BYTE 4u

static bool header_read(struct hl__rewrite_file *file)
{
    const Elf64_Ehdr *header = &file->header;

    if (file->size < sizeof file->header || file->size > FILE_SIZE_MAX)
        return false;
    memcpy(&file->header, file->bytes, sizeof file->header);
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
           header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_ident[EI_DATA] == ELFDATA2LSB &&
           header->e_machine == EM_X86_64 &&
           (header->e_type == ET_EXEC || header->e_type == ET_DYN) &&
           header->e_phentsize == sizeof(Elf64_Phdr) && header->e_phoff <= file->size &&
           header->e_phnum <= (file->size - header->e_phoff) / sizeof(Elf64_Phdr);
}

static bool segment_valid(const struct hl__rewrite_file *file, const Elf64_Phdr *segment)
{
    return segment->p_offset <= file->size && segment->p_filesz <= file->size - segment->p_offset &&
           segment->p_filesz <= segment->p_memsz && segment->p_vaddr < ADDRESS_MAX &&
           segment->p_memsz <= ADDRESS_MAX - segment->p_vaddr &&
           (segment->p_offset & PAGE_MASK) == (segment->p_vaddr & PAGE_MASK);
}

static uint8_t *bits_new(uint64_t count)
{
    return calloc(count / 8 + 1, 1);
}

static bool code_add(struct hl__rewrite_file *file, const struct hl__rewrite_segment *segment)
{
    struct hl__rewrite_code *code = &file->codes[file->code_count];

    if (file->code_count == HL__REWRITE_CODES_MAX)
        return false;
    file->code_count++;
    code->address = segment->address;
    code->offset = segment->offset;
    code->size = segment->size;
    code->bytes = file->bytes + segment->offset;
    code->starts = bits_new(code->size);
    code->targets = bits_new(code->size);
    code->guesses = bits_new(code->size);
    code->anchors = bits_new(code->size);
    code->data = bits_new(code->size);
    return code->starts && code->targets && code->guesses && code->anchors && code->data;
}

/* The same bytes of code at two addresses could not both have right jumps. */
static bool code_shares_bytes(const struct hl__rewrite_file *file,
                              const struct hl__rewrite_segment *segment)
{
    for (uint32_t i = 0; i < file->code_count; i++) {
        const struct hl__rewrite_code *code = &file->codes[i];
        if (segment->offset < code->offset + code->size &&
            code->offset < segment->offset + segment->size)
            return true;
    }
    return false;
}

static bool segment_add(struct hl__rewrite_file *file, const Elf64_Phdr *header)
{
    struct hl__rewrite_segment *segment = &file->segments[file->segment_count];

    if (!segment_valid(file, header) || file->segment_count == HL__REWRITE_SEGMENTS_MAX)
        return false;
    if (file->segment_count && header->p_vaddr < file->end)
        return false; /* ascending and disjoint, as the loader wants them */
    file->end = header->p_vaddr + header->p_memsz;
    if (header->p_filesz == 0)
        return true;
    file->segment_count++;
    *segment = (struct hl__rewrite_segment){.address = header->p_vaddr,
                                            .offset = header->p_offset,
                                            .size = header->p_filesz,
                                            .executable = header->p_flags & PF_X};
    /* Code that can be written changes itself, perhaps. */
    if (!segment->executable || header->p_flags & PF_W)
        return true;
    return !code_shares_bytes(file, segment) && code_add(file, segment);
}

/* Text that the dynamic linker writes to: a relocation may lie in any window. */
static bool relocates_text(const struct hl__rewrite_file *file, const Elf64_Phdr *dynamic)
{
    for (uint64_t at = 0; dynamic->p_filesz - at >= sizeof(Elf64_Dyn); at += sizeof(Elf64_Dyn)) {
        Elf64_Dyn entry;
        memcpy(&entry, file->bytes + dynamic->p_offset + at, sizeof entry);
        if (entry.d_tag == DT_TEXTREL || (entry.d_tag == DT_FLAGS && entry.d_un.d_val & DF_TEXTREL))
            return true;
        if (entry.d_tag == DT_NULL)
            break;
    }
    return false;
}

static bool segments_read(struct hl__rewrite_file *file)
{
    for (uint32_t i = 0; i < file->header.e_phnum; i++) {
        Elf64_Phdr header;
        memcpy(&header, file->bytes + file->header.e_phoff + i * sizeof header, sizeof header);
        if (header.p_type == PT_LOAD && !segment_add(file, &header))
            return false;
        if (header.p_type == PT_DYNAMIC &&
            (!segment_valid(file, &header) || relocates_text(file, &header)))
            return false;
        if (header.p_type == PT_GNU_EH_FRAME)
            file->frame_header = header.p_vaddr;
    }
    file->end = (file->end + PAGE_MASK) & ~PAGE_MASK;
    return file->code_count > 0;
}

Elf64_Shdr hl__rewrite_section(const struct hl__rewrite_file *file, uint32_t index)
{
    const Elf64_Ehdr *header = &file->header;
    Elf64_Shdr section = {0};

    if (header->e_shentsize == sizeof section && header->e_shoff <= file->size &&
        index < header->e_shnum && index < (file->size - header->e_shoff) / sizeof section)
        memcpy(&section, file->bytes + header->e_shoff + index * sizeof section, sizeof section);
    return section;
}

const uint8_t *hl__rewrite_section_bytes(const struct hl__rewrite_file *file,
                                         const Elf64_Shdr *section)
{
    if (section->sh_type == SHT_NULL || section->sh_type == SHT_NOBITS ||
        section->sh_offset > file->size || section->sh_size > file->size - section->sh_offset)
        return NULL;
    return file->bytes + section->sh_offset;
}

static bool range_add(struct hl__rewrite_file *file, struct hl__rewrite_code *code,
                      uint64_t address, uint64_t size, bool anchored)
{
    if (file->range_count % 16 == 0) {
        struct hl__rewrite_range *ranges =
            realloc(file->ranges, (file->range_count + 16) * sizeof *ranges);
        if (!ranges)
            return false;
        file->ranges = ranges;
    }
    file->ranges[file->range_count++] = (struct hl__rewrite_range){code, address, size, anchored};
    return true;
}

static bool range_add_section(struct hl__rewrite_file *file, const Elf64_Shdr *section)
{
    struct hl__rewrite_code *code = hl__rewrite_code_at(file, section->sh_addr);
    uint64_t offset = code ? section->sh_addr - code->address : 0;

    if (!code || section->sh_size > code->size - offset ||
        section->sh_offset != code->offset + offset)
        return true; /* not what is going to be executed */
    return range_add(file, code, section->sh_addr, section->sh_size, true);
}

static int range_compare(const void *a, const void *b)
{
    const struct hl__rewrite_range *left = a, *right = b;
    return (left->address > right->address) - (left->address < right->address);
}

static bool ranges_overlap(const struct hl__rewrite_file *file)
{
    for (uint32_t i = 1; i < file->range_count; i++)
        if (file->ranges[i].address < file->ranges[i - 1].address + file->ranges[i - 1].size)
            return true;
    return false;
}

/* What to decode: the sections with code, or the whole segments of a file without a usable table of sections. */
static bool ranges_read(struct hl__rewrite_file *file)
{
    for (uint32_t i = 0; i < file->header.e_shnum; i++) {
        Elf64_Shdr section = hl__rewrite_section(file, i);
        if (section.sh_type == SHT_PROGBITS && section.sh_flags & SHF_EXECINSTR &&
            section.sh_size && !range_add_section(file, &section))
            return false;
    }
    if (file->range_count) {
        qsort(file->ranges, file->range_count, sizeof *file->ranges, range_compare);
        if (!ranges_overlap(file))
            return true;
        file->range_count = 0;
    }
    for (uint32_t i = 0; i < file->code_count; i++) {
        struct hl__rewrite_code *code = &file->codes[i];
        if (!range_add(file, code, code->address, code->size, false))
            return false;
    }
    return true;
}

bool hl__rewrite_file_read(struct hl__rewrite_file *file, const uint8_t *bytes, size_t size)
{
    *file = (struct hl__rewrite_file){.bytes = bytes, .size = size};
    file->budget = BUDGET_BASE + (uint64_t)size * BUDGET_PER_BYTE;
    if (!header_read(file) || !segments_read(file) || !ranges_read(file))
        return false;
    hl__rewrite_mark_anchor(file, file->header.e_entry);
    return true;
}

void hl__rewrite_file_free(struct hl__rewrite_file *file)
{
    for (uint32_t i = 0; i < file->code_count; i++) {
        free(file->codes[i].starts);
        free(file->codes[i].targets);
        free(file->codes[i].guesses);
        free(file->codes[i].anchors);
        free(file->codes[i].data);
    }
    free(file->ranges);
    free(file->sites);
}

const uint8_t *hl__rewrite_bytes_at(const struct hl__rewrite_file *file, uint64_t address,
                                    uint64_t size, uint64_t *left)
{
    for (uint32_t i = 0; i < file->segment_count; i++) {
        const struct hl__rewrite_segment *segment = &file->segments[i];
        if (address - segment->address < segment->size) {
            *left = segment->size - (address - segment->address);
            return *left >= size ? file->bytes + segment->offset + (address - segment->address)
                                 : NULL;
        }
    }
    return NULL;
}

struct hl__rewrite_code *hl__rewrite_code_at(struct hl__rewrite_file *file, uint64_t address)
{
    for (uint32_t i = 0; i < file->code_count; i++)
        if (address - file->codes[i].address < file->codes[i].size)
            return &file->codes[i];
    return NULL;
}

bool hl__rewrite_spend(struct hl__rewrite_file *file, uint64_t steps)
{
    if (file->budget < steps)
        return false;
    file->budget -= steps;
    return true;
}
