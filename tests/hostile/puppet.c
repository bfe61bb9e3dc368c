/* A guest whose registers and code the test sets itself. */
#include "puppet.h"

enum { SCRATCH_MIDDLE = 128 * 1024, CODE_MAX = 64 };

void puppet_reset(struct puppet *puppet)
{
    uint64_t middle = puppet->scratch + SCRATCH_MIDDLE;
    puppet->registers = (struct hl_abi_registers){.rax = middle,
                                                  .rbx = middle,
                                                  .rcx = 2,
                                                  .rdx = middle,
                                                  .rsi = middle,
                                                  .rdi = middle,
                                                  .rbp = middle,
                                                  .rsp = middle,
                                                  .r8 = middle,
                                                  .r9 = middle,
                                                  .r10 = middle,
                                                  .r11 = middle,
                                                  .r12 = middle,
                                                  .r13 = middle,
                                                  .r14 = middle,
                                                  .r15 = middle,
                                                  .rflags = 0x202};
}

void puppet_open(struct puppet *puppet, struct hostile *hostile)
{
    assert_status(HL_OK, hl_sandbox_restore(hostile->victim, hostile->snapshot, &fixture_error));
    fixture_expect(HL_OK, hostile->victim, "open_code", NO_ARGUMENTS);
    *puppet = (struct puppet){.hostile = hostile,
                              .sandbox = hostile->victim,
                              .code = hostile->places[PLACE_CODE],
                              .scratch = hostile->places[PLACE_SCRATCH]};
    puppet->sandbox->guest.phase = HL__PHASE_CALL;
    puppet_reset(puppet);
}

void puppet_close(struct puppet *puppet)
{
    hostile_aftermath(puppet->hostile);
}

static void write_code(const struct puppet *puppet, const void *code, size_t size)
{
    unsigned char whole[CODE_MAX];
    assert_true(size <= sizeof whole);
    memset(whole, 0xcc, sizeof whole);
    memcpy(whole, code, size);
    assert_true(hl__space_write(puppet->sandbox->space, puppet->code, whole, sizeof whole));
}

void puppet_run(struct puppet *puppet, const void *code, size_t size, struct hl__event *event)
{
    hl_sandbox *sandbox = puppet->sandbox;
    /* Never twice at one place: an OUT that made the last exit is pending until the instruction
     * pointer is elsewhere. */
    puppet->code ^= CODE_MAX;
    write_code(puppet, code, size);
    puppet->registers.rip = puppet->code;
    do {
        hl__vcpu_resume(sandbox->vm, &puppet->registers);
        assert_status(HL_OK, hl__vcpu_enter(sandbox->vm, sandbox->space, HL__ENTRY_STATE,
                                            sandbox->control, event, &fixture_error));
    } while (event->kind == HL__EVENT_INTERRUPTED);
}

void puppet_assert_user(struct puppet *puppet)
{
    static const unsigned char code[] = {0x8c, 0xc8, 0xfa}; /* mov %cs, %eax; cli */
    struct hl__event event;
    puppet_reset(puppet);
    puppet_run(puppet, code, sizeof code, &event);
    assert_int_equal(event.kind, HL__EVENT_FAULT);
    assert_int_equal(event.fault.vector, GP);
    assert_int_equal(event.fault.registers.rip, puppet->code + 2);
    assert_int_equal(event.fault.registers.rax & 3, 3);
}
