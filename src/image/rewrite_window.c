/* Windows around `syscall` instructions and the stubs that take their place. */
#include "image/rewrite_window.h"
#include "hyperlight/abi/x86_64.h"

#define JUMP_SIZE 5u
#define WINDOW_SIZE_MAX 32u
#define COUNT_MAX HL_IMAGE_SITE_INSTRUCTIONS

/* The instructions around a `syscall` that could be moved. */
struct neighbours {
    struct hl__instruction before[COUNT_MAX - 1]; /* [0] ends at the `syscall` */
    struct hl__instruction call;
    struct hl__instruction after[COUNT_MAX - 1]; /* [0] starts behind it */
    unsigned before_count, after_count;
};

/* Where the stub is written. */
struct writer {
    struct hl__window *window;
    uint64_t address; /* of the stub */
    unsigned size;
    bool failed;
};

static bool is_start(const struct hl__rewrite_code *code, uint64_t address)
{
    return address - code->address < code->size && hl__bit(code->starts, address - code->address);
}

/* Whether nothing that follows is reached from this instruction. */
static bool is_end(const struct hl__instruction *instruction)
{
    switch (instruction->head.mnemonic) {
    case ZYDIS_MNEMONIC_RET:
    case ZYDIS_MNEMONIC_JMP:
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_UD2:
        return true;
    default:
        return false;
    }
}

static bool is_padding(const struct hl__instruction *instruction)
{
    return instruction->head.mnemonic == ZYDIS_MNEMONIC_NOP ||
           instruction->head.mnemonic == ZYDIS_MNEMONIC_INT3;
}

/* jcc and jmp have a form with 32 bits; loop and jrcxz do not. */
static bool is_movable_branch(const struct hl__instruction *instruction)
{
    uint8_t opcode = instruction->bytes[0];

    if (instruction->head.raw.prefix_count)
        return false;
    return (opcode >= 0x70 && opcode <= 0x7f) || opcode == 0xeb || opcode == 0xe9 ||
           (opcode == 0x0f && instruction->bytes[1] >= 0x80 && instruction->bytes[1] <= 0x8f);
}

/* Whether the instruction does the same in another place. */
static bool is_movable(const struct hl__instruction *instruction)
{
    switch (instruction->head.meta.category) {
    case ZYDIS_CATEGORY_CALL: /* would push another return address */
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_SYSTEM:
        return instruction->head.mnemonic == ZYDIS_MNEMONIC_HLT;
    case ZYDIS_CATEGORY_INTERRUPT:
        return instruction->head.mnemonic == ZYDIS_MNEMONIC_INT3;
    default:
        break;
    }
    if (instruction->head.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return false;
    if (hl__instruction_is_direct(instruction))
        return is_movable_branch(instruction);
    return !hl__instruction_is_rip_relative(instruction) || instruction->head.address_width == 64;
}

static void find_after(const struct hl__rewrite_code *code, struct neighbours *near)
{
    uint64_t address = hl__instruction_end(&near->call);
    bool ended = false;

    while (near->after_count < COUNT_MAX - 1) {
        struct hl__instruction *next = &near->after[near->after_count];
        if (!is_start(code, address) || !hl__decode(code, address, false, next) ||
            !is_movable(next) || (ended && !is_padding(next)))
            return;
        ended |= is_end(next);
        near->after_count++;
        address = hl__instruction_end(next);
    }
}

static void find_before(const struct hl__rewrite_code *code, struct neighbours *near)
{
    uint64_t address = near->call.address;

    while (near->before_count < COUNT_MAX - 1) {
        struct hl__instruction *next = &near->before[near->before_count];
        uint64_t offset = address - code->address;
        unsigned size = 1;
        while (size <= ZYDIS_MAX_INSTRUCTION_LENGTH && size <= offset &&
               !hl__bit(code->starts, offset - size))
            size++;
        if (size > ZYDIS_MAX_INSTRUCTION_LENGTH || size > offset ||
            !hl__decode(code, address - size, false, next) || next->head.length != size ||
            !is_movable(next) || is_end(next))
            return;
        near->before_count++;
        address = next->address;
    }
}

/* Whether only the window's first byte may be jumped to. */
static bool is_closed(const struct hl__rewrite_code *code, uint64_t address, uint64_t end)
{
    for (uint64_t at = address - code->address + 1; at < end - code->address; at++)
        if (hl__bit(code->targets, at) || (hl__bit(code->guesses, at) && hl__bit(code->starts, at)))
            return false;
    return true;
}

static void put(struct writer *writer, const void *bytes, unsigned size)
{
    if (size > HL__STUB_SIZE_MAX - writer->size) {
        writer->failed = true;
        return;
    }
    memcpy(writer->window->code + writer->size, bytes, size);
    writer->size += size;
}

/* The distance from `end` to `target`, where an instruction takes it. */
static void put_distance(struct writer *writer, uint64_t target, uint64_t end)
{
    int64_t distance = (int64_t)(target - end);
    int32_t value = (int32_t)distance;

    if (value != distance)
        writer->failed = true;
    put(writer, &value, sizeof value);
}

/* An instruction of `opcode_size` bytes and 4 of distance. */
static void put_branch(struct writer *writer, const uint8_t *opcode, unsigned opcode_size,
                       uint64_t target)
{
    put(writer, opcode, opcode_size);
    put_distance(writer, target, writer->address + writer->size + 4);
}

static void put_jump(struct writer *writer, uint64_t target)
{
    put_branch(writer, (const uint8_t[]){0xe9}, 1, target);
}

static void put_call(struct writer *writer)
{
    static const uint64_t entry = HL_ABI_SYSCALL_JUMP;

    put(writer, (const uint8_t[]){0x48, 0xb9}, 2); /* movabs $entry, %rcx */
    put(writer, &entry, sizeof entry);
    put(writer, (const uint8_t[]){0x4c, 0x8d, 0x1d, 2, 0, 0, 0}, 7); /* lea 2(%rip), %r11 */
    put(writer, (const uint8_t[]){0xff, 0xe1}, 2);                   /* jmp *%rcx */
}

static void put_moved_branch(struct writer *writer, const struct hl__instruction *instruction)
{
    uint8_t opcode = instruction->bytes[0];
    uint64_t target = hl__instruction_target(instruction);

    if (instruction->head.mnemonic == ZYDIS_MNEMONIC_JMP)
        put_jump(writer, target);
    else if (opcode == 0x0f)
        put_branch(writer, instruction->bytes, 2, target);
    else
        put_branch(writer, (const uint8_t[]){0x0f, (uint8_t)(0x80 | (opcode & 0xf))}, 2, target);
}

static void put_moved(struct writer *writer, const struct hl__instruction *instruction)
{
    const ZydisDecodedInstruction *head = &instruction->head;
    unsigned rest = head->raw.disp.offset + 4u;

    if (hl__instruction_is_syscall(instruction)) {
        put_call(writer);
    } else if (hl__instruction_is_direct(instruction)) {
        put_moved_branch(writer, instruction);
    } else if (hl__instruction_is_rip_relative(instruction)) {
        uint64_t end = writer->address + writer->size + head->length;
        put(writer, instruction->bytes, head->raw.disp.offset);
        put_distance(writer, hl__instruction_memory(instruction), end);
        put(writer, instruction->bytes + rest, head->length - rest);
    } else {
        put(writer, instruction->bytes, head->length);
    }
}

static const struct hl__instruction *neighbour(const struct neighbours *near, unsigned before,
                                               unsigned index)
{
    if (index < before)
        return &near->before[before - 1 - index];
    return index == before ? &near->call : &near->after[index - before - 1];
}

static bool window_write(const struct neighbours *near, unsigned before, unsigned after,
                         uint64_t stub_address, struct hl__window *window)
{
    struct hl_image_site *site = &window->site;
    struct writer writer = {.window = window, .address = stub_address};
    uint64_t end = 0;

    *site = (struct hl_image_site){.address = neighbour(near, before, 0)->address,
                                   .count = (uint8_t)(before + 1 + after),
                                   .syscall = (uint8_t)before};
    for (unsigned i = 0; i < site->count; i++) {
        const struct hl__instruction *instruction = neighbour(near, before, i);
        site->at[i] = (uint8_t)(instruction->address - site->address);
        site->stub_at[i] = (uint8_t)writer.size;
        put_moved(&writer, instruction);
        end = hl__instruction_end(instruction);
    }
    put_jump(&writer, end);
    site->size = (uint8_t)(end - site->address);
    site->stub_size = (uint8_t)writer.size;
    int64_t distance = (int64_t)(stub_address - (site->address + JUMP_SIZE));
    return !writer.failed && distance == (int32_t)distance;
}

static uint64_t end_of(const struct neighbours *near, unsigned after)
{
    return hl__instruction_end(after ? &near->after[after - 1] : &near->call);
}

/* Tries the window with `before` instructions before the `syscall` and as few as possible behind. */
static bool window_try(const struct hl__rewrite_code *code, const struct neighbours *near,
                       unsigned before, uint64_t from, uint64_t stub_address,
                       struct hl__window *window)
{
    uint64_t address = before ? near->before[before - 1].address : near->call.address;
    unsigned after = 0;

    while (end_of(near, after) - address < JUMP_SIZE && after < near->after_count)
        after++;
    uint64_t end = end_of(near, after);
    return address >= from && end - address >= JUMP_SIZE && end - address <= WINDOW_SIZE_MAX &&
           before + 1 + after <= COUNT_MAX && is_closed(code, address, end) &&
           window_write(near, before, after, stub_address, window);
}

bool hl__window_make(struct hl__rewrite_file *file, uint64_t address, uint64_t from,
                     uint64_t stub_address, struct hl__window *window)
{
    struct hl__rewrite_code *code = hl__rewrite_code_at(file, address);
    struct neighbours near = {0};

    if (address < from || !is_start(code, address) ||
        !hl__decode(code, address, false, &near.call) || hl__syscall_is_special(code, address) ||
        hl__clobbers_show(file, address))
        return false;
    find_after(code, &near);
    find_before(code, &near);
    for (unsigned before = 0; before <= near.before_count; before++)
        if (window_try(code, &near, before, from, stub_address, window))
            return true;
    return false;
}
