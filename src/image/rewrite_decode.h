/* The decoder of instructions, as the rewriter uses it. */
#ifndef HL_IMAGE_REWRITE_DECODE_H
#define HL_IMAGE_REWRITE_DECODE_H

#include "image/rewrite_file.h"

#include <Zydis/Zydis.h>

struct hl__instruction {
    uint64_t address;
    const uint8_t *bytes;
    ZydisDecodedInstruction head;
    ZydisDecodedOperand
        operands[ZYDIS_MAX_OPERAND_COUNT]; /* head.operand_count; unset without operands */
};

/* Decodes what stands at `address` of `code`; false if that is no instruction. */
bool hl__decode(const struct hl__rewrite_code *code, uint64_t address, bool operands,
                struct hl__instruction *instruction);

static inline uint64_t hl__instruction_end(const struct hl__instruction *instruction)
{
    return instruction->address + instruction->head.length;
}

static inline bool hl__instruction_is_syscall(const struct hl__instruction *instruction)
{
    return instruction->head.mnemonic == ZYDIS_MNEMONIC_SYSCALL && instruction->head.length == 2;
}

/* jmp, jcc, call, loop... to a fixed address. */
static inline bool hl__instruction_is_direct(const struct hl__instruction *instruction)
{
    return instruction->head.raw.imm[0].is_relative;
}

static inline uint64_t hl__instruction_target(const struct hl__instruction *instruction)
{
    return hl__instruction_end(instruction) + (uint64_t)instruction->head.raw.imm[0].value.s;
}

/* Whether an operand is in memory at an offset from the next instruction. */
static inline bool hl__instruction_is_rip_relative(const struct hl__instruction *instruction)
{
    const ZydisDecodedInstruction *head = &instruction->head;
    return head->attributes & ZYDIS_ATTRIB_HAS_MODRM && head->raw.modrm.mod == 0 &&
           head->raw.modrm.rm == 5 && head->raw.disp.size == 32;
}

static inline uint64_t hl__instruction_memory(const struct hl__instruction *instruction)
{
    return hl__instruction_end(instruction) + (uint64_t)instruction->head.raw.disp.value;
}

#endif
