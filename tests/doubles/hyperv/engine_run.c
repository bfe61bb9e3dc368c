/*
 * Running VPs of the engine.
 *
 * KVM wants an instruction that exits to be completed by entering again; Hyper-V leaves it undone. So
 * the engine has KVM complete it without entering the guest, and puts the registers back.
 */
#include "engine.h"

#include <string.h>

/* Canceling */

void engine_cancel(struct engine_vp *vp)
{
    atomic_store(&vp->cancelled, 1);
    __atomic_store_n(&vp->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    int thread = atomic_load(&vp->thread);
    if (thread)
        system_interrupt(thread);
}

/* Lets the next entry run guest code, unless it is cancelled: one of the two sees the other's word, which
 * the processor's and the compiler's order of plain stores would not ensure. */
static void allow_entry(struct engine_vp *vp)
{
    __atomic_store_n(&vp->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    if (atomic_load(&vp->cancelled))
        __atomic_store_n(&vp->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

/* Completing instructions */

/* What a guest reads that nobody answers: zeroes. */
static void answer(struct kvm_run *run)
{
    if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_IN)
        memset((uint8_t *)run + run->io.data_offset, 0, (size_t)run->io.size * run->io.count);
    else if (run->exit_reason == KVM_EXIT_MMIO && !run->mmio.is_write)
        memset(run->mmio.data, 0, sizeof run->mmio.data);
}

/* Makes the element at hand the last of a repeated string instruction. */
static void cut_repetition(struct engine_vp *vp)
{
    struct kvm_regs regs;
    if (system_ioctl(vp->file, KVM_GET_REGS, &regs) < 0)
        return;
    regs.rcx = vp->run->exit_reason == KVM_EXIT_IO ? vp->run->io.count : 1;
    (void)system_ioctl(vp->file, KVM_SET_REGS, &regs);
}

/* Has KVM finish; registers are then as after the instruction. */
static void complete(struct engine_vp *vp)
{
    /* A wide access comes in fragments of eight bytes; what takes longer is a repetition. */
    enum { FRAGMENTS_MAX = 8, ATTEMPTS = 4 * FRAGMENTS_MAX };
    int64_t result = 0;
    for (int attempt = 0; attempt < ATTEMPTS && result == 0; attempt++) {
        if (attempt >= FRAGMENTS_MAX)
            cut_repetition(vp);
        answer(vp->run);
        vp->run->immediate_exit = 1;
        result = system_ioctl(vp->file, KVM_RUN, NULL);
    }
    allow_entry(vp);
}

/* Undoes what an instruction did to registers. One that touches memory may have faulted. */
static void put_back(struct engine_vp *vp, const struct kvm_sync_regs *before, bool touched_memory)
{
    vp->run->s.regs = *before;
    vp->run->kvm_dirty_regs =
        KVM_SYNC_X86_REGS | (touched_memory ? KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS : 0);
}

/* Instructions */

static uint8_t read_code(struct engine_vp *vp, uint64_t address, uint8_t *bytes, unsigned count)
{
    uint64_t physical;
    unsigned read = 0;
    while (read < count && engine_translate(vp, address + read, &physical) &&
           engine_read(vp->vm, physical, bytes + read, 1))
        read++;
    return (uint8_t)read;
}

static bool is_prefix(uint8_t byte)
{
    static const uint8_t prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65};
    return memchr(prefixes, byte, sizeof prefixes) || (byte & 0xf0) == 0x40;
}

struct port_instruction {
    uint8_t length;
    bool is_write, is_string, is_repeated;
};

/* Decodes IN, OUT, INS or OUTS; false if it is none of them. */
static bool decode_port(const uint8_t *bytes, unsigned count, struct port_instruction *found)
{
    unsigned at = 0;
    *found = (struct port_instruction){0};
    while (at < count && is_prefix(bytes[at])) {
        found->is_repeated |= bytes[at] == 0xf2 || bytes[at] == 0xf3;
        at++;
    }
    if (at >= count)
        return false;
    uint8_t opcode = bytes[at];
    bool is_immediate = opcode >= 0xe4 && opcode <= 0xe7, is_dx = opcode >= 0xec && opcode <= 0xef;
    found->is_string = opcode >= 0x6c && opcode <= 0x6f;
    found->is_write = opcode & 2;
    found->length = (uint8_t)(at + (is_immediate ? 2 : 1));
    found->is_repeated &= found->is_string;
    return (is_immediate || is_dx || found->is_string) && found->length <= count;
}

/* The instruction that ends where the VP stands. The shortest that fits: prefixes are rare. */
static uint64_t find_ending_at(struct engine_vp *vp, uint64_t end, bool is_write,
                               struct port_instruction *found)
{
    uint8_t bytes[4];
    for (unsigned length = 1; length <= sizeof bytes; length++)
        if (read_code(vp, end - length, bytes, length) == length &&
            decode_port(bytes, length, found) && found->length == length &&
            found->is_write == is_write)
            return end - length;
    *found = (struct port_instruction){0};
    return end;
}

/* Where the instruction of a port exit is, given where KVM stood before and after completing it. */
static uint64_t find_instruction(struct engine_vp *vp, uint64_t base, uint64_t before,
                                 uint64_t after, bool is_write, struct port_instruction *found)
{
    uint8_t bytes[ENGINE_INSTRUCTION_MAX];
    unsigned count = read_code(vp, base + before, bytes, sizeof bytes);
    bool fits = decode_port(bytes, count, found) && found->is_write == is_write;
    if (fits && (found->is_string || before != after))
        return before;
    /* KVM emulated an OUT and had stepped over it already. */
    return find_ending_at(vp, base + before, is_write, found) - base;
}

/* Exits */

static void exit_port(struct engine_vp *vp, struct engine_exit *exit)
{
    struct kvm_run *run = vp->run;
    struct kvm_sync_regs before = run->s.regs;
    struct port_instruction instruction;
    *exit = (struct engine_exit){.kind = ENGINE_EXIT_PORT,
                                 .port = run->io.port,
                                 .size = run->io.size,
                                 .is_write = run->io.direction == KVM_EXIT_IO_OUT};
    complete(vp);
    before.regs.rip = find_instruction(vp, before.sregs.cs.base, before.regs.rip,
                                       run->s.regs.regs.rip, exit->is_write, &instruction);
    if (instruction.is_string && exit->is_write) { /* KVM had counted the element already */
        before.regs.rsi -= before.regs.rflags & 0x400 ? -(uint64_t)exit->size : exit->size;
        before.regs.rcx += instruction.is_repeated;
    }
    exit->is_string = instruction.is_string;
    exit->is_repeated = instruction.is_repeated;
    exit->length = instruction.length;
    exit->byte_count =
        read_code(vp, before.sregs.cs.base + before.regs.rip, exit->bytes, instruction.length);
    put_back(vp, &before, instruction.is_string);
}

static void exit_memory(struct engine_vp *vp, struct engine_exit *exit)
{
    struct kvm_run *run = vp->run;
    struct kvm_sync_regs before = run->s.regs;
    struct engine_slot slot;
    *exit = (struct engine_exit){.kind = ENGINE_EXIT_MEMORY,
                                 .address = run->mmio.phys_addr,
                                 .is_write = run->mmio.is_write,
                                 .is_mapped = engine_find(vp->vm, run->mmio.phys_addr, &slot)};
    complete(vp);
    put_back(vp, &before, true);
}

static void exit_decode(struct engine_vp *vp, struct engine_exit *exit)
{
    const struct kvm_run *run = vp->run;
    *exit = (struct engine_exit){.kind = ENGINE_EXIT_FAILED, .failure = run->exit_reason};
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        exit_port(vp, exit);
        break;
    case KVM_EXIT_MMIO:
        exit_memory(vp, exit);
        break;
    case KVM_EXIT_HLT:
        *exit = (struct engine_exit){.kind = ENGINE_EXIT_HALT, .length = 1};
        break;
    case KVM_EXIT_SHUTDOWN:
        engine_vp_revive(vp);
        *exit = (struct engine_exit){.kind = ENGINE_EXIT_TRIPLE_FAULT};
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        exit->failure = 0x1000 + run->internal.suberror;
        break;
    case KVM_EXIT_FAIL_ENTRY:
        exit->kind = ENGINE_EXIT_BAD_STATE;
        break;
    default:
        break;
    }
}

/* KVM_RUN gave an error. False if it is to be run again. */
static bool exit_without_reason(struct engine_vp *vp, int64_t result, struct engine_exit *exit)
{
    vp->run->immediate_exit = 0;
    if (atomic_exchange(&vp->cancelled, 0))
        *exit = (struct engine_exit){.kind = ENGINE_EXIT_CANCELLED};
    else if (result == -SYSTEM_EINTR)
        *exit = (struct engine_exit){.kind = ENGINE_EXIT_SIGNAL};
    else if (result == -SYSTEM_EAGAIN)
        return false;
    else
        *exit = (struct engine_exit){.kind = ENGINE_EXIT_BAD_STATE, .failure = (uint32_t)-result};
    allow_entry(vp);
    return true;
}

void engine_run(struct engine_vp *vp, struct engine_exit *exit)
{
    int64_t result;
    vp->internal[0] = vp->internal[1] = 0;
    atomic_store(&vp->thread, system_thread());
    do {
        allow_entry(vp);
        result = system_ioctl(vp->file, KVM_RUN, NULL);
    } while (result == 0 ? vp->run->exit_reason == KVM_EXIT_INTR
                         : !exit_without_reason(vp, result, exit));
    atomic_store(&vp->thread, 0);
    if (result == 0)
        exit_decode(vp, exit);
    vp->internal[1] = exit->kind != ENGINE_EXIT_SIGNAL;
}
