/* Reads an ELF executable: checks every number before it is used and turns segments into page
 * ranges. */
#include "program/elf.h"
#include "base/text.h"
#include "hyperlight/abi/x86_64.h"

#include <stddef.h>

#define PAGE_MASK (HL_ABI_PAGE_SIZE - 1ull)

struct elf_file_header {
    uint8_t magic[4];
    uint8_t class, byte_order, version, system;
    uint8_t padding[8];
    uint16_t type, machine;
    uint32_t file_version;
    uint64_t entry, program_headers, section_headers;
    uint32_t flags;
    uint16_t header_size, program_header_size, program_header_count;
    uint16_t section_header_size, section_header_count, section_names;
};
HL_ABI_ASSERT(sizeof(struct elf_file_header) == 64);

struct elf_program_header {
    uint32_t type, flags;
    uint64_t offset, address, physical, file_size, memory_size, alignment;
};
HL_ABI_ASSERT(sizeof(struct elf_program_header) == 56);

enum { CLASS_32 = 1, CLASS_64 = 2, ORDER_LITTLE = 1, ORDER_BIG = 2 };
enum { TYPE_RELOCATABLE = 1, TYPE_FIXED = 2, TYPE_MOVABLE = 3, TYPE_CORE = 4, MACHINE_X86_64 = 62 };
enum { SEGMENT_LOAD = 1, SEGMENT_INTERPRETER = 3, SEGMENT_STACK = 0x6474e551 };
enum { FLAG_EXECUTE = 1, FLAG_WRITE = 2, FLAG_READ = 4 };

struct elf_reader {
    struct hl__elf_plan *plan;
    const struct hl__elf_source *source;
    struct elf_file_header header;
    bool entry_found;
};

static bool elf_refuse(struct hl__elf_plan *plan, enum hl_abi_refusal refusal, const char *reason)
{
    struct hl__text text;

    plan->refusal = refusal;
    hl__text_start(&text, plan->text, sizeof plan->text);
    hl__text_add(&text, reason);
    return false;
}

static bool elf_invalid(struct elf_reader *reader, const char *reason)
{
    return elf_refuse(reader->plan, HL_ABI_REFUSAL_INVALID, reason);
}

static bool elf_take(struct elf_reader *reader, void *to, uint64_t size, uint64_t position)
{
    return reader->source->read(reader->source, to, size, position) ||
           elf_invalid(reader, "could not be read");
}

static const char *elf_machine_name(uint16_t machine)
{
    switch (machine) {
    case 3:
        return "i386";
    case 8:
        return "MIPS";
    case 20:
        return "PowerPC";
    case 21:
        return "PowerPC64";
    case 22:
        return "S/390";
    case 40:
        return "Arm";
    case 183:
        return "AArch64";
    case 243:
        return "RISC-V";
    case 258:
        return "LoongArch";
    default:
        return NULL;
    }
}

static bool elf_wrong_machine(struct hl__elf_plan *plan, uint16_t machine)
{
    const char *name = elf_machine_name(machine);
    struct hl__text text;

    plan->refusal = HL_ABI_REFUSAL_MACHINE;
    hl__text_start(&text, plan->text, sizeof plan->text);
    hl__text_add(&text, "built for ");
    if (name) {
        hl__text_add(&text, name);
    } else {
        hl__text_add(&text, "machine ");
        hl__text_add_number(&text, machine);
    }
    hl__text_add(&text, ", not x86-64");
    return false;
}

/* Class and byte order come before the rest of the header, whose layout depends on them. */
static bool elf_check_identity(struct elf_reader *reader)
{
    static const uint8_t magic[4] = {0x7f, 'E', 'L', 'F'};

    uint64_t size = reader->source->size;

    if (size < sizeof magic)
        return elf_invalid(reader, "too short for an ELF file");
    if (!elf_take(reader, &reader->header,
                  size < sizeof reader->header ? sizeof magic : sizeof reader->header, 0))
        return false;
    for (size_t i = 0; i < sizeof magic; i++)
        if (reader->header.magic[i] != magic[i])
            return elf_invalid(reader, "not an ELF file");
    if (size < sizeof reader->header)
        return elf_invalid(reader, "truncated in the ELF header");
    if (reader->header.class == CLASS_32)
        return elf_refuse(reader->plan, HL_ABI_REFUSAL_MACHINE, "a 32-bit program, not x86-64");
    if (reader->header.byte_order == ORDER_BIG)
        return elf_refuse(reader->plan, HL_ABI_REFUSAL_MACHINE, "a big-endian program, not x86-64");
    if (reader->header.class != CLASS_64 || reader->header.byte_order != ORDER_LITTLE)
        return elf_invalid(reader, "unknown ELF class or byte order");
    if (reader->header.machine != MACHINE_X86_64)
        return elf_wrong_machine(reader->plan, reader->header.machine);
    return true;
}

static bool elf_check_header(struct elf_reader *reader)
{
    const struct elf_file_header *header = &reader->header;
    uint64_t table_size =
        (uint64_t)header->program_header_count * sizeof(struct elf_program_header);

    if (header->version != 1 || header->file_version != 1)
        return elf_invalid(reader, "unknown ELF version");
    if (header->type == TYPE_RELOCATABLE)
        return elf_invalid(reader, "an object file, not linked");
    if (header->type == TYPE_CORE)
        return elf_invalid(reader, "a core dump, not a program");
    if (header->type != TYPE_FIXED && header->type != TYPE_MOVABLE)
        return elf_invalid(reader, "unknown ELF type");
    if (header->program_header_size != sizeof(struct elf_program_header))
        return elf_invalid(reader, "program headers of a wrong size");
    if (header->program_header_count == 0 || header->program_header_count > HL__ELF_HEADERS_MAX)
        return elf_invalid(reader, "no program headers, or too many");
    if (header->program_headers > reader->source->size ||
        table_size > reader->source->size - header->program_headers)
        return elf_invalid(reader, "truncated in the program headers");
    return true;
}

static bool elf_interpreter(struct elf_reader *reader, const struct elf_program_header *entry)
{
    struct hl__elf_plan *plan = reader->plan;

    if (entry->offset > reader->source->size ||
        entry->file_size > reader->source->size - entry->offset)
        return elf_invalid(reader, "truncated in the interpreter's path");
    if (entry->file_size < 2 || entry->file_size > sizeof plan->interpreter)
        return elf_invalid(reader, "an interpreter's path that is empty or too long");
    if (!elf_take(reader, plan->interpreter, entry->file_size, entry->offset))
        return false;
    if (!plan->interpreter[0] || plan->interpreter[entry->file_size - 1])
        return elf_invalid(reader, "an interpreter's path without an end");
    return true;
}

static uint32_t elf_rights(uint32_t flags)
{
    return (flags & FLAG_READ ? HL_ABI_RIGHT_READ : 0) |
           (flags & FLAG_WRITE ? HL_ABI_RIGHT_WRITE : 0) |
           (flags & FLAG_EXECUTE ? HL_ABI_RIGHT_EXECUTE : 0);
}

static bool elf_check_segment(struct elf_reader *reader, const struct elf_program_header *entry)
{
    bool movable = reader->plan->movable;
    uint64_t lowest = movable ? 0 : HL_ABI_USER_START;
    uint64_t limit = movable ? HL__ELF_SPAN_MAX : HL_ABI_USER_END;

    if (entry->file_size > entry->memory_size)
        return elf_invalid(reader, "a segment larger in the file than in memory");
    if (entry->offset > reader->source->size ||
        entry->file_size > reader->source->size - entry->offset)
        return elf_invalid(reader, "truncated: a segment lies beyond the end of the file");
    if ((entry->offset ^ entry->address) & PAGE_MASK)
        return elf_invalid(reader, "a segment whose address and offset differ within the page");
    if (entry->address < lowest || entry->address >= limit ||
        entry->memory_size > limit - entry->address)
        return elf_invalid(reader, "a segment outside the program's address range");
    return true;
}

static bool elf_add_segment(struct elf_reader *reader, const struct elf_program_header *entry)
{
    struct hl__elf_plan *plan = reader->plan;
    struct hl__elf_segment *segment = &plan->segments[plan->segment_count];
    uint64_t start = entry->address & ~PAGE_MASK;
    uint64_t end = (entry->address + entry->memory_size + PAGE_MASK) & ~PAGE_MASK;

    if (plan->segment_count == HL__ELF_SEGMENTS_MAX)
        return elf_invalid(reader, "too many segments");
    if (plan->segment_count && start < plan->end)
        return elf_invalid(reader, "segments overlap or are out of order");
    segment->address = start;
    segment->page_count = (end - start) / HL_ABI_PAGE_SIZE;
    segment->rights = elf_rights(entry->flags);
    segment->file_offset = entry->offset & ~PAGE_MASK;
    segment->file_end = entry->address + entry->file_size;
    segment->file_pages = entry->file_size ? (segment->file_end + PAGE_MASK) / HL_ABI_PAGE_SIZE -
                                                 start / HL_ABI_PAGE_SIZE
                                           : 0;
    segment->zeroes = entry->memory_size > entry->file_size;
    plan->private_pages +=
        entry->flags & FLAG_WRITE ? segment->page_count : segment->page_count - segment->file_pages;
    if (plan->segment_count++ == 0)
        plan->start = start;
    plan->end = end;
    return true;
}

static void elf_note_positions(struct elf_reader *reader, const struct elf_program_header *entry)
{
    uint64_t table = reader->header.program_headers;
    uint64_t table_size = (uint64_t)reader->header.program_header_count * sizeof *entry;

    if ((entry->flags & FLAG_EXECUTE) && reader->header.entry >= entry->address &&
        reader->header.entry - entry->address < entry->memory_size)
        reader->entry_found = true;
    if (table >= entry->offset && table_size <= entry->file_size &&
        table - entry->offset <= entry->file_size - table_size)
        reader->plan->headers = entry->address + (table - entry->offset);
    if (entry->alignment > reader->plan->alignment)
        reader->plan->alignment = entry->alignment;
}

static bool elf_load(struct elf_reader *reader, const struct elf_program_header *entry)
{
    if (entry->memory_size == 0)
        return true;
    if (!elf_check_segment(reader, entry) || !elf_add_segment(reader, entry))
        return false;
    elf_note_positions(reader, entry);
    return true;
}

static bool elf_read_program_header(struct elf_reader *reader,
                                    const struct elf_program_header *entry)
{
    switch (entry->type) {
    case SEGMENT_LOAD:
        return elf_load(reader, entry);
    case SEGMENT_INTERPRETER:
        return elf_interpreter(reader, entry);
    case SEGMENT_STACK:
        reader->plan->stack_executable = entry->flags & FLAG_EXECUTE;
        return true;
    default:
        return true;
    }
}

static bool elf_check_whole(struct elf_reader *reader)
{
    const struct hl__elf_plan *plan = reader->plan;

    if (plan->segment_count == 0)
        return elf_invalid(reader, "no segments to load");
    if (plan->alignment & (plan->alignment - 1) || plan->alignment > HL__ELF_SPAN_MAX)
        return elf_invalid(reader, "a segment's alignment is no power of two, or too large");
    return true;
}

static bool elf_read_headers(struct elf_reader *reader)
{
    for (uint32_t i = 0; i < reader->plan->header_count; i++) {
        struct elf_program_header entry;

        if (!elf_take(reader, &entry, sizeof entry,
                      reader->header.program_headers + i * sizeof entry) ||
            !elf_read_program_header(reader, &entry))
            return false;
    }
    return true;
}

static bool elf_plan(struct elf_reader *reader)
{
    struct hl__elf_plan *plan = reader->plan;

    plan->refusal = 0;
    plan->text[0] = plan->interpreter[0] = 0;
    plan->stack_executable = false;
    plan->segment_count = 0;
    plan->start = plan->end = plan->headers = plan->private_pages = 0;
    plan->alignment = HL_ABI_PAGE_SIZE;
    if (!elf_check_identity(reader) || !elf_check_header(reader))
        return false;
    plan->movable = reader->header.type == TYPE_MOVABLE;
    plan->entry = reader->header.entry;
    plan->header_count = reader->header.program_header_count;
    return elf_read_headers(reader) && elf_check_whole(reader);
}

bool hl__elf_layout(struct hl__elf_plan *plan, const struct hl__elf_source *source)
{
    struct elf_reader reader = {.plan = plan, .source = source};

    return elf_plan(&reader);
}

bool hl__elf_read(struct hl__elf_plan *plan, const struct hl__elf_source *source)
{
    struct elf_reader reader = {.plan = plan, .source = source};

    if (!elf_plan(&reader))
        return false;
    return reader.entry_found ||
           elf_invalid(&reader, "the entry point is in no executable segment");
}

bool hl__elf_code_address(const struct hl__elf_plan *plan, uint64_t offset, uint64_t *address)
{
    for (uint32_t i = 0; i < plan->segment_count; i++) {
        const struct hl__elf_segment *segment = &plan->segments[i];

        if (!(segment->rights & HL_ABI_RIGHT_EXECUTE) || offset < segment->file_offset ||
            (offset - segment->file_offset) / HL_ABI_PAGE_SIZE >= segment->file_pages)
            continue;
        *address = segment->address + (offset - segment->file_offset);
        return true;
    }
    return false;
}
