/* What the code around a `syscall` does with registers: which call it makes, and what it reads afterwards. */
#include "image/rewrite_window.h"

#define WALK_STEPS 32u
#define WALK_BRANCHES 3u
#define WALK_COST                                                                                  \
    16u /* of the budget: an instruction with operands takes longer than an entry of a table */
#define NUMBER_STEPS 24u
#define STATUS_FLAGS                                                                               \
    (ZYDIS_CPUFLAG_CF | ZYDIS_CPUFLAG_PF | ZYDIS_CPUFLAG_AF | ZYDIS_CPUFLAG_ZF |                   \
     ZYDIS_CPUFLAG_SF | ZYDIS_CPUFLAG_OF)

enum { CALL_SIGRETURN = 15, CALL_CLONE = 56, CALL_FORK = 57, CALL_VFORK = 58, CALL_CLONE3 = 435 };

/* What has another value than it would have behind a real `syscall`. */
struct lost {
    unsigned rcx_known, r11_known; /* low bits that were written since: 0, 8, 16 or 64 */
    ZydisAccessedFlagsMask flags;
};

static ZydisRegister whole_register(ZydisRegister part)
{
    return ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, part);
}

/* `xor %ecx, %ecx` does not depend on what was in ecx. */
static bool is_zeroing(const struct hl__instruction *instruction)
{
    const ZydisDecodedOperand *operands = instruction->operands;

    return (instruction->head.mnemonic == ZYDIS_MNEMONIC_XOR ||
            instruction->head.mnemonic == ZYDIS_MNEMONIC_SUB) &&
           operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
           operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
           operands[0].reg.value == operands[1].reg.value && operands[0].size >= 32;
}

/* Whether it reads more of the register than the `known` low bits. */
static bool reads_register(const struct hl__instruction *instruction, ZydisRegister whole,
                           unsigned known)
{
    for (unsigned i = 0; i < instruction->head.operand_count; i++) {
        const ZydisDecodedOperand *operand = &instruction->operands[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY && known < 64 &&
            (whole_register(operand->mem.base) == whole ||
             whole_register(operand->mem.index) == whole))
            return true;
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            whole_register(operand->reg.value) == whole &&
            operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ && operand->size > known &&
            !is_zeroing(instruction))
            return true;
    }
    return false;
}

/* How many low bits of the register it writes. Writes of 32 bits clear the upper half. */
static unsigned written_bits(const struct hl__instruction *instruction, ZydisRegister whole)
{
    unsigned bits = 0;

    for (unsigned i = 0; i < instruction->head.operand_count; i++) {
        const ZydisDecodedOperand *operand = &instruction->operands[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER && operand->size > bits &&
            whole_register(operand->reg.value) == whole &&
            operand->reg.value != ZYDIS_REGISTER_CH &&
            operand->actions & ZYDIS_OPERAND_ACTION_WRITE)
            bits = operand->size >= 32 ? 64 : operand->size;
    }
    return bits;
}

/* Shifts by cl and repeated comparisons leave the flags alone where the count is zero. */
static bool writes_flags_always(const struct hl__instruction *instruction)
{
    if (instruction->head.attributes &
        (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE))
        return false;
    switch (instruction->head.meta.category) {
    case ZYDIS_CATEGORY_SHIFT:
    case ZYDIS_CATEGORY_ROTATE:
        return !reads_register(instruction, ZYDIS_REGISTER_RCX, 0);
    default:
        return true;
    }
}

static unsigned larger(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

static bool is_lost(const struct lost *lost)
{
    return lost->rcx_known < 64 || lost->r11_known < 64 || lost->flags;
}

/* Follows one instruction. True: it reads what is lost. */
static bool lost_step(struct lost *lost, const struct hl__instruction *instruction)
{
    const ZydisAccessedFlags *flags = instruction->head.cpu_flags;

    if (reads_register(instruction, ZYDIS_REGISTER_RCX, lost->rcx_known) ||
        reads_register(instruction, ZYDIS_REGISTER_R11, lost->r11_known) ||
        (flags && flags->tested & lost->flags))
        return true;
    lost->rcx_known = larger(lost->rcx_known, written_bits(instruction, ZYDIS_REGISTER_RCX));
    lost->r11_known = larger(lost->r11_known, written_bits(instruction, ZYDIS_REGISTER_R11));
    if (flags && writes_flags_always(instruction))
        lost->flags &= ~(flags->modified | flags->set_0 | flags->set_1 | flags->undefined);
    return false;
}

/* Calls, returns and indirect jumps end the walk: calling conventions keep neither of the three. */
static bool walk(struct hl__rewrite_file *file, uint64_t address, struct lost lost,
                 unsigned branches)
{
    struct hl__instruction instruction;

    for (unsigned step = 0; step < WALK_STEPS && is_lost(&lost); step++) {
        struct hl__rewrite_code *code = hl__rewrite_code_at(file, address);
        if (!code || !hl__rewrite_spend(file, WALK_COST) ||
            !hl__decode(code, address, true, &instruction))
            return true;
        if (hl__instruction_is_syscall(&instruction)) {
            lost.rcx_known = lost.r11_known = 64;
        } else if (lost_step(&lost, &instruction)) {
            return true;
        }
        address = hl__instruction_end(&instruction);
        switch (instruction.head.meta.category) {
        case ZYDIS_CATEGORY_CALL:
        case ZYDIS_CATEGORY_RET:
        case ZYDIS_CATEGORY_INTERRUPT:
            return false;
        case ZYDIS_CATEGORY_UNCOND_BR:
            if (!hl__instruction_is_direct(&instruction))
                return false;
            address = hl__instruction_target(&instruction);
            break;
        case ZYDIS_CATEGORY_COND_BR:
            if (branches && walk(file, hl__instruction_target(&instruction), lost, branches - 1))
                return true;
            break;
        default:
            if (instruction.head.mnemonic == ZYDIS_MNEMONIC_HLT ||
                instruction.head.mnemonic == ZYDIS_MNEMONIC_UD2)
                return false;
        }
    }
    return false;
}

bool hl__clobbers_show(struct hl__rewrite_file *file, uint64_t address)
{
    return walk(file, address + 2, (struct lost){.flags = STATUS_FLAGS}, WALK_BRANCHES);
}

/* The instruction that ends at `address`, if that is certain. */
static bool decode_before(const struct hl__rewrite_code *code, uint64_t address,
                          struct hl__instruction *instruction)
{
    uint64_t offset = address - code->address;

    for (unsigned size = 1; size <= ZYDIS_MAX_INSTRUCTION_LENGTH && size <= offset; size++)
        if (hl__bit(code->starts, offset - size))
            return hl__decode(code, address - size, true, instruction) &&
                   instruction->head.length == size;
    return false;
}

/* The number of the call, -1 if it is not plain to see. */
static int64_t call_number(const struct hl__rewrite_code *code, uint64_t address)
{
    struct hl__instruction instruction;

    for (unsigned step = 0; step < NUMBER_STEPS; step++) {
        if (!decode_before(code, address, &instruction) ||
            instruction.head.meta.category == ZYDIS_CATEGORY_CALL ||
            instruction.head.meta.category == ZYDIS_CATEGORY_UNCOND_BR ||
            instruction.head.meta.category == ZYDIS_CATEGORY_RET)
            return -1;
        address = instruction.address;
        if (!written_bits(&instruction, ZYDIS_REGISTER_RAX))
            continue;
        if (is_zeroing(&instruction))
            return 0;
        return instruction.head.mnemonic == ZYDIS_MNEMONIC_MOV &&
                       instruction.operands[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE
                   ? (int64_t)(uint32_t)instruction.operands[1].imm.value.u
                   : -1;
    }
    return -1;
}

/* The bytes by which unwinders and debuggers know where a signal handler returns to. */
static bool is_restorer(const struct hl__rewrite_code *code, uint64_t address)
{
    static const uint8_t short_form[] = {0xb8, 0x0f, 0, 0, 0};
    static const uint8_t long_form[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0};
    uint64_t offset = address - code->address;
    const uint8_t *end = code->bytes + offset;

    return (offset >= sizeof short_form &&
            memcmp(end - sizeof short_form, short_form, sizeof short_form) == 0) ||
           (offset >= sizeof long_form &&
            memcmp(end - sizeof long_form, long_form, sizeof long_form) == 0);
}

bool hl__syscall_is_special(const struct hl__rewrite_code *code, uint64_t address)
{
    if (is_restorer(code, address))
        return true;
    switch (call_number(code, address)) {
    case CALL_SIGRETURN:
    case CALL_CLONE:
    case CALL_FORK:
    case CALL_VFORK:
    case CALL_CLONE3:
        return true;
    default:
        return false;
    }
}
