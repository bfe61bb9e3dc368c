/*
 * Finds what in a file's data may refer to its code: symbols, words that may be pointers, tables of
 * offsets. A word that only looks like an address costs at most one window.
 */
#include "image/rewrite_file.h"

static void symbol_note(struct hl__rewrite_file *file, const Elf64_Sym *symbol)
{
    unsigned type = ELF64_ST_TYPE(symbol->st_info);
    struct hl__rewrite_code *code = hl__rewrite_code_at(file, symbol->st_value);

    if (!code || symbol->st_shndx == SHN_UNDEF || symbol->st_shndx == SHN_ABS || type == STT_TLS)
        return;
    hl__rewrite_mark_target(file, symbol->st_value);
    hl__rewrite_mark_target(file, symbol->st_value + symbol->st_size);
    if (type == STT_FUNC || type == STT_GNU_IFUNC)
        hl__rewrite_mark_anchor(file, symbol->st_value);
    if (type == STT_OBJECT)
        for (uint64_t at = symbol->st_value - code->address, end = at + symbol->st_size;
             at < code->size && at < end && hl__rewrite_spend(file, 1); at++)
            hl__bit_set(code->data, at);
}

bool hl__rewrite_read_symbols(struct hl__rewrite_file *file)
{
    for (uint32_t i = 0; i < file->header.e_shnum; i++) {
        Elf64_Shdr section = hl__rewrite_section(file, i);
        const uint8_t *bytes = hl__rewrite_section_bytes(file, &section);
        if (!bytes || (section.sh_type != SHT_SYMTAB && section.sh_type != SHT_DYNSYM))
            continue;
        if (!hl__rewrite_spend(file, section.sh_size / sizeof(Elf64_Sym)))
            return false;
        for (uint64_t at = 0; section.sh_size - at >= sizeof(Elf64_Sym); at += sizeof(Elf64_Sym)) {
            Elf64_Sym symbol;
            memcpy(&symbol, bytes + at, sizeof symbol);
            symbol_note(file, &symbol);
        }
    }
    return true;
}

/*
 * Every word of 8 bytes, at steps of 4: pointers, addends of relative relocations, values of symbols
 * without a table of sections. Outside of code also every word of 4 bytes, as an offset from where it
 * stands.
 */
static void segment_read_pointers(struct hl__rewrite_file *file,
                                  const struct hl__rewrite_segment *segment)
{
    const uint8_t *bytes = file->bytes + segment->offset;

    for (uint64_t at = -segment->address & 3; at < segment->size && segment->size - at >= 4;
         at += 4) {
        int64_t offset = hl__read_offset(bytes + at);
        if (segment->size - at >= 8)
            hl__rewrite_mark_guess(file, hl__read64(bytes + at));
        if (!segment->executable)
            hl__rewrite_mark_guess(file, segment->address + at + (uint64_t)offset);
    }
}

void hl__rewrite_read_pointers(struct hl__rewrite_file *file)
{
    for (uint32_t i = 0; i < file->segment_count; i++)
        segment_read_pointers(file, &file->segments[i]);
}

bool hl__rewrite_read_table(struct hl__rewrite_file *file, uint64_t address)
{
    uint64_t left = 0;
    const uint8_t *bytes = hl__rewrite_bytes_at(file, address, 4, &left);

    for (uint64_t at = 0; bytes && left - at >= 4; at += 4) {
        uint64_t target = address + (uint64_t)(int64_t)hl__read_offset(bytes + at);
        if (!hl__rewrite_code_at(file, target))
            break;
        hl__rewrite_mark_guess(file, target);
        if (!hl__rewrite_spend(file, 1))
            return false;
    }
    return true;
}
