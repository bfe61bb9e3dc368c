/*
 * Decodes a file's code from front to back. Compilers put hardly any data between instructions, and
 * a decoder that starts in the wrong place soon is in step again; but "soon" is no certainty.
 * So instructions count only between a known start or a stretch without anything doubtful, and a
 * stretch without anything doubtful behind.
 */
#include "image/rewrite_decode.h"

#include <stdlib.h>

#define SITES_MAX (1u << 18) /* no program has so many; each costs microseconds */
#define DOUBT 64u            /* bytes around something doubtful in which no instruction counts */

bool hl__decode(const struct hl__rewrite_code *code, uint64_t address, bool operands,
                struct hl__instruction *instruction)
{
    uint64_t offset = address - code->address;
    ZydisDecoder decoder;
    ZydisDecoderContext context;

    if (offset >= code->size)
        return false;
    instruction->address = address;
    instruction->bytes = code->bytes + offset;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, &context, instruction->bytes,
                                                    code->size - offset, &instruction->head)))
        return false;
    return !operands || ZYAN_SUCCESS(ZydisDecoderDecodeOperands(
                            &decoder, &context, &instruction->head, instruction->operands,
                            instruction->head.operand_count));
}

/* What programs do not contain, but data often looks like. */
static bool is_doubtful(const struct hl__instruction *instruction)
{
    switch (instruction->head.meta.category) {
    case ZYDIS_CATEGORY_IO:
    case ZYDIS_CATEGORY_IOSTRINGOP:
    case ZYDIS_CATEGORY_SYSRET:
        return true;
    case ZYDIS_CATEGORY_RET:
        return instruction->head.mnemonic != ZYDIS_MNEMONIC_RET;
    default:
        break;
    }
    if (instruction->head.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return true;
    return instruction->head.length == 2 && instruction->bytes[0] == 0 &&
           instruction->bytes[1] == 0;
}

static bool site_add(struct hl__rewrite_file *file, uint64_t address)
{
    if (file->site_count == file->site_capacity) {
        if (file->site_count >= SITES_MAX)
            return false;
        uint32_t capacity = file->site_capacity ? 2 * file->site_capacity : 64;
        uint64_t *sites = realloc(file->sites, capacity * sizeof *sites);
        if (!sites)
            return false;
        file->sites = sites;
        file->site_capacity = capacity;
    }
    file->sites[file->site_count++] = address;
    return true;
}

/* In a program that is not moved, absolute addresses stand in instructions too. */
static void note_absolute(struct hl__rewrite_file *file, const struct hl__instruction *instruction)
{
    const ZydisDecodedInstruction *head = &instruction->head;

    for (unsigned i = 0; i < 2; i++)
        if (head->raw.imm[i].size >= 32 && !head->raw.imm[i].is_relative)
            hl__rewrite_mark_guess(file, head->raw.imm[i].size == 32
                                             ? (uint32_t)head->raw.imm[i].value.u
                                             : head->raw.imm[i].value.u);
    if (head->raw.disp.size >= 32)
        hl__rewrite_mark_guess(file, (uint64_t)head->raw.disp.value);
}

/* Marks what the instruction refers to. */
static bool note_references(struct hl__rewrite_file *file,
                            const struct hl__instruction *instruction)
{
    if (hl__instruction_is_direct(instruction))
        hl__rewrite_mark_target(file, hl__instruction_target(instruction));
    if (hl__instruction_is_rip_relative(instruction)) {
        uint64_t address = hl__instruction_memory(instruction);
        hl__rewrite_mark_target(file, address);
        return instruction->head.mnemonic != ZYDIS_MNEMONIC_LEA ||
               hl__rewrite_read_table(file, address);
    }
    if (file->header.e_type == ET_EXEC)
        note_absolute(file, instruction);
    return true;
}

/* Before `known` there are none already. */
static void forget_starts(struct hl__rewrite_code *code, uint64_t known, uint64_t address)
{
    uint64_t from = address - known > DOUBT ? address - DOUBT : known;

    for (uint64_t at = from; at < address; at++)
        hl__bit_clear(code->starts, at - code->address);
}

/* The first known start inside of the instruction, 0 if there is none. */
static uint64_t anchor_inside(const struct hl__rewrite_code *code,
                              const struct hl__instruction *instruction)
{
    for (uint64_t at = instruction->address + 1; at < hl__instruction_end(instruction); at++)
        if (hl__bit(code->anchors, at - code->address))
            return at;
    return 0;
}

static bool scan_range(struct hl__rewrite_file *file, const struct hl__rewrite_range *range)
{
    struct hl__rewrite_code *code = range->code;
    uint64_t end = range->address + range->size;
    uint64_t clean = range->anchored ? DOUBT : 0; /* bytes without doubt before `address` */
    uint64_t known = range->address;              /* behind the last doubt */
    struct hl__instruction instruction;

    for (uint64_t address = range->address; address < end;) {
        if (hl__bit(code->anchors, address - code->address))
            clean = DOUBT;
        uint64_t anchor = 0;
        bool decoded = !hl__bit(code->data, address - code->address) &&
                       hl__decode(code, address, false, &instruction) &&
                       hl__instruction_end(&instruction) <= end;
        if (decoded)
            anchor = anchor_inside(code, &instruction);
        if (!decoded || anchor || is_doubtful(&instruction)) {
            forget_starts(code, known, address);
            clean = 0;
            address = known = anchor ? anchor : address + 1;
            continue;
        }
        if (!note_references(file, &instruction) ||
            (hl__instruction_is_syscall(&instruction) && !site_add(file, address)))
            return false;
        if (clean >= DOUBT)
            hl__bit_set(code->starts, address - code->address);
        clean += instruction.head.length;
        address += instruction.head.length;
    }
    return true;
}

bool hl__rewrite_scan(struct hl__rewrite_file *file)
{
    for (uint32_t i = 0; i < file->range_count; i++)
        if (!scan_range(file, &file->ranges[i]))
            return false;
    return true;
}
