/* Self-tests: what a run returns for everything that guests do. */
#include "driver/selftest.h"

#include <string.h>

/* Where tests map something of their own: a virtual page that is free, and a guest-physical one
 * without memory. */
#define FREE_PAGE 0x100000u
#define UNBACKED 0x40000000u

static bool raises(struct hl__selftest *t, enum hl__tiny_code code, uint32_t vector)
{
    hl__selftest_user(t, code);
    return hl__selftest_start(t) && hl__selftest_rang(t, HL__TINY_EXCEPTION + vector);
}

/* The faulting instruction is the first one of the snippet that ran in user mode. */
static bool frame_is_at(struct hl__selftest *t, uint64_t rip)
{
    struct hl__tiny_frame frame = hl__tiny_guest_frame(&t->guest, false);
    return frame.rip == rip && (frame.cs & 3) == 3;
}

static void make_unbacked_page(struct hl__selftest *t)
{
    *hl__tiny_guest_entry(&t->guest, 0, FREE_PAGE) = UNBACKED | HL__TINY_ENTRY_USER_DATA;
}

static void test_doorbell(struct hl__selftest *t)
{
    const uint32_t value = 0x89abcdef;
    const uint64_t out = hl__tiny_code_address(HL__TINY_COUNT) + 2; /* behind mov */
    struct hl__cpu_state now;
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_COUNT, value, 0, value));
    HL__EXPECT(t, t->driver->state_get(t->vcpu, HL__STATE_GENERAL, &now, &t->error) == HL_OK);
    HL__EXPECT(t, now.general.rip == out || now.general.rip == out + 1);
    uint64_t calls = t->counter;
    for (uint32_t i = 1; i <= 100; i++)
        HL__EXPECT(t, hl__selftest_resume(t) && hl__selftest_rang(t, value + i));
    /* Entries only; or one call more for each, where registers do not travel with entries, which the
     * hypervisor may ask to repeat. */
    bool travel = hl__selftest_capabilities & HL_CAPABILITY_SYNC_REGISTERS;
    HL__EXPECT(t, t->counter - calls <= (travel ? 0 : 200));
}

static void test_doorbell_ring0(struct hl__selftest *t)
{
    hl__selftest_ring0(t, HL__TINY_STUB_RELOAD);
    HL__EXPECT(t, hl__selftest_start(t) && hl__selftest_rang(t, HL__TINY_DONE));
    struct hl__cpu_state now;
    HL__EXPECT(t, t->driver->state_get(t->vcpu, HL__STATE_SYSTEM, &now, &t->error) == HL_OK);
    HL__EXPECT(t, now.system.cs.dpl == 0);
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_COUNT, 1, 0, 1));
    HL__EXPECT(t, t->driver->state_get(t->vcpu, HL__STATE_SYSTEM, &now, &t->error) == HL_OK);
    HL__EXPECT(t, now.system.cs.dpl == 3);
}

static void test_narrow_out(struct hl__selftest *t)
{
    static const struct {
        enum hl__tiny_code code;
        uint32_t size;
    } cases[] = {{HL__TINY_OUT_BYTE, 1}, {HL__TINY_OUT_WORD, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hl__selftest_user(t, cases[i].code);
        HL__EXPECT(t, hl__selftest_start(t));
        HL__EXPECT(t, t->exit.kind == HL__EXIT_PORT && t->exit.is_write);
        HL__EXPECT(t, t->exit.port == HL__TINY_PORT && t->exit.size == cases[i].size);
        HL__EXPECT(t, hl__selftest_resume(t) && hl__selftest_rang(t, HL__TINY_DONE));
    }
}

/* A port reads as 0, and a narrow read leaves the rest of the register alone. */
static void test_port_read(struct hl__selftest *t)
{
    static const struct {
        enum hl__tiny_code code;
        uint32_t size;
        uint64_t rax; /* afterwards */
    } cases[] = {{HL__TINY_IN, 4, 0},
                 {HL__TINY_IN_WORD, 2, 0x1122334455660000},
                 {HL__TINY_IN_BYTE, 1, 0x1122334455667700}};
    struct hl__cpu_state now;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hl__selftest_user(t, cases[i].code);
        t->state.general.rax = 0x1122334455667788;
        HL__EXPECT(t, hl__selftest_start(t));
        HL__EXPECT(t, t->exit.kind == HL__EXIT_PORT && !t->exit.is_write);
        HL__EXPECT(t, t->exit.port == HL__TINY_PORT && t->exit.size == cases[i].size);
        HL__EXPECT(t, hl__selftest_resume(t) && hl__selftest_rang(t, (uint32_t)cases[i].rax));
        HL__EXPECT(t, t->driver->state_get(t->vcpu, HL__STATE_GENERAL, &now, &t->error) == HL_OK);
        HL__EXPECT(t, now.general.rax == cases[i].rax);
    }
}

static void test_string_port_read(struct hl__selftest *t)
{
    hl__selftest_user(t, HL__TINY_INS);
    t->state.general.rdi = HL__TINY_DATA;
    t->state.general.rcx = 4;
    HL__EXPECT(t, hl__selftest_start(t));
    HL__EXPECT(t, t->exit.kind == HL__EXIT_PORT && !t->exit.is_write);
    HL__EXPECT(t, t->exit.port == HL__TINY_PORT && t->exit.size == 1);
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_COUNT, 6, 0, 6));
}

static void test_closed_port(struct hl__selftest *t)
{
    static const uint16_t ports[] = {0, 0x80, HL__TINY_PORT - 1, HL__TINY_PORT + 1, 0xcf8, 0xffff};
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
        hl__selftest_user(t, HL__TINY_COUNT);
        t->state.general.rdx = ports[i];
        HL__EXPECT(t, hl__selftest_start(t));
        HL__EXPECT(t, hl__selftest_rang(t, HL__TINY_EXCEPTION + HL__VECTOR_GP));
    }
}

static void test_exceptions(struct hl__selftest *t)
{
    HL__EXPECT(t, raises(t, HL__TINY_UD2, HL__VECTOR_UD));
    HL__EXPECT(t, frame_is_at(t, hl__tiny_code_address(HL__TINY_UD2)));
    HL__EXPECT(t, raises(t, HL__TINY_CLI, HL__VECTOR_GP));
    HL__EXPECT(t, frame_is_at(t, hl__tiny_code_address(HL__TINY_CLI)));
    HL__EXPECT(t, raises(t, HL__TINY_HLT, HL__VECTOR_GP));
    HL__EXPECT(t, raises(t, HL__TINY_DIVIDE, HL__VECTOR_DE));
}

/* Accesses that page tables forbid, with the error code that says why. */
static void test_page_faults(struct hl__selftest *t)
{
    enum { WRITES = 2, USER = 4, PRESENT = 1, FETCHES = 0x10 };
    const struct {
        enum hl__tiny_code code;
        uint64_t address, error;
    } cases[] = {
        {HL__TINY_READ, FREE_PAGE + 8, USER},
        {HL__TINY_WRITE, FREE_PAGE, USER | WRITES},
        {HL__TINY_WRITE, HL__TINY_CODE, USER | WRITES | PRESENT},
        {HL__TINY_READ, HL__TINY_SYSTEM, USER | PRESENT},
        {HL__TINY_WRITE, hl__tiny_root(0), USER | WRITES | PRESENT},
        {HL__TINY_READ, 0, USER},
    };
    struct hl__cpu_state now;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        HL__EXPECT(t, hl__selftest_rings(t, cases[i].code, cases[i].address, 0,
                                         HL__TINY_EXCEPTION + HL__VECTOR_PF));
        HL__EXPECT(t, hl__tiny_guest_frame(&t->guest, true).error_code == cases[i].error);
        HL__EXPECT(t, frame_is_at(t, hl__tiny_code_address(cases[i].code)));
        HL__EXPECT(t, t->driver->state_get(t->vcpu, HL__STATE_SYSTEM, &now, &t->error) == HL_OK);
        HL__EXPECT(t, now.system.cr2 == cases[i].address);
    }
    hl__selftest_user(t, HL__TINY_COUNT);
    t->state.general.rip = HL__TINY_DATA;
    HL__EXPECT(t, hl__selftest_start(t));
    HL__EXPECT(t, hl__selftest_rang(t, HL__TINY_EXCEPTION + HL__VECTOR_PF));
    HL__EXPECT(t, hl__tiny_guest_frame(&t->guest, true).error_code == (USER | PRESENT | FETCHES));
}

/* Page tables let the guest write there, the slot does not. */
static void test_read_only_memory(struct hl__selftest *t)
{
    const uint32_t place = 0x18;
    const uint8_t *code = hl__tiny_guest_at(&t->guest, HL__TINY_CODE);
    uint8_t before[HL__TINY_PAGE];
    uint32_t word;
    memcpy(before, code, sizeof before);
    memcpy(&word, code + place, sizeof word);
    *hl__tiny_guest_entry(&t->guest, 0, FREE_PAGE) = HL__TINY_CODE | HL__TINY_ENTRY_USER_DATA;
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_READ, FREE_PAGE + place, 0, word));
    hl__selftest_user(t, HL__TINY_WRITE);
    t->state.general.rdi = FREE_PAGE + place;
    t->state.general.rsi = ~word;
    HL__EXPECT(t, hl__selftest_start(t));
    HL__EXPECT(t, t->exit.kind == HL__EXIT_MEMORY && t->exit.is_write);
    HL__EXPECT(t, t->exit.address == HL__TINY_CODE + place);
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_READ, FREE_PAGE + place, 0, word));
    HL__EXPECT(t, !memcmp(before, code, sizeof before));
}

static void test_unbacked_memory(struct hl__selftest *t)
{
    make_unbacked_page(t);
    hl__selftest_user(t, HL__TINY_READ);
    t->state.general.rdi = FREE_PAGE + 0x10;
    HL__EXPECT(t, hl__selftest_start(t));
    HL__EXPECT(t, t->exit.kind == HL__EXIT_MEMORY && !t->exit.is_write);
    HL__EXPECT(t, t->exit.address == UNBACKED + 0x10);

    hl__selftest_user(t, HL__TINY_WRITE);
    t->state.general.rdi = FREE_PAGE + 0x20;
    HL__EXPECT(t, hl__selftest_start(t));
    HL__EXPECT(t, t->exit.kind == HL__EXIT_MEMORY && t->exit.is_write);
    HL__EXPECT(t, t->exit.address == UNBACKED + 0x20);
}

/* A new start must not be touched by what the exit before left half done. */
static void test_abandon(struct hl__selftest *t)
{
    static const enum hl__tiny_code half_done[] = {
        HL__TINY_COUNT, HL__TINY_OUT_BYTE, HL__TINY_IN,       HL__TINY_INS,
        HL__TINY_READ,  HL__TINY_WRITE,    HL__TINY_READ_WIDE};
    make_unbacked_page(t);
    for (size_t i = 0; i < sizeof half_done / sizeof *half_done; i++) {
        hl__selftest_user(t, half_done[i]);
        t->state.general.rdi = half_done[i] == HL__TINY_INS ? HL__TINY_DATA : FREE_PAGE;
        t->state.general.rcx = 1ull << 40;
        HL__EXPECT(t, hl__selftest_start(t));
        HL__EXPECT(t, t->exit.kind == HL__EXIT_DOORBELL || t->exit.kind == HL__EXIT_PORT ||
                          t->exit.kind == HL__EXIT_MEMORY);
        HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_COUNT, 0x1000 + i, 0, (uint32_t)(0x1000 + i)));
        HL__EXPECT(t, hl__selftest_resume(t) && hl__selftest_rang(t, (uint32_t)(0x1001 + i)));
    }
}

static void test_retire(struct hl__selftest *t)
{
    struct hl__cpu_state now;
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_COUNT, 7, 0, 7));
    HL__EXPECT(t, t->driver->retire(t->vcpu, &t->error) == HL_OK);
    HL__EXPECT(t, hl__selftest_resume(t) && hl__selftest_rang(t, 8));

    hl__selftest_user(t, HL__TINY_IN);
    HL__EXPECT(t, hl__selftest_start(t) && t->exit.kind == HL__EXIT_PORT);
    HL__EXPECT(t, t->driver->retire(t->vcpu, &t->error) == HL_OK);
    HL__EXPECT(t, t->driver->retire(t->vcpu, &t->error) == HL_OK);
    HL__EXPECT(t, t->driver->state_get(t->vcpu, HL__STATE_GENERAL, &now, &t->error) == HL_OK);
    HL__EXPECT(t, now.general.rip == t->state.general.rip + 1 && now.general.rax == 0);
    HL__EXPECT(t, hl__selftest_resume(t) && hl__selftest_rang(t, 0));

    make_unbacked_page(t);
    hl__selftest_user(t, HL__TINY_READ_WIDE);
    t->state.general.rdi = FREE_PAGE;
    HL__EXPECT(t, hl__selftest_start(t) && t->exit.kind == HL__EXIT_MEMORY);
    HL__EXPECT(t, t->driver->retire(t->vcpu, &t->error) == HL_OK);
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_COUNT, 3, 0, 3));
}

/* String instructions that would go on for ever can be retired all the same. */
static void test_retire_endless(struct hl__selftest *t)
{
    static const enum hl__tiny_code endless[] = {HL__TINY_INS, HL__TINY_COPY};
    make_unbacked_page(t);
    for (size_t i = 0; i < sizeof endless / sizeof *endless; i++) {
        hl__selftest_user(t, endless[i]);
        t->state.general.rdi = HL__TINY_DATA;
        t->state.general.rsi = FREE_PAGE;
        t->state.general.rcx = 1ull << 40;
        HL__EXPECT(t, hl__selftest_start(t));
        HL__EXPECT(t, t->exit.kind == HL__EXIT_PORT || t->exit.kind == HL__EXIT_MEMORY);
        HL__EXPECT(t, t->driver->retire(t->vcpu, &t->error) == HL_OK);
        HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_COUNT, 3, 0, 3));
        /* Nothing is left that would answer a later read. */
        hl__selftest_user(t, HL__TINY_READ);
        t->state.general.rdi = FREE_PAGE;
        HL__EXPECT(t, hl__selftest_start(t) && t->exit.kind == HL__EXIT_MEMORY);
    }
}

static void test_halt(struct hl__selftest *t)
{
    hl__selftest_ring0(t, HL__TINY_STUB_HLT);
    HL__EXPECT(t, hl__selftest_start(t) && t->exit.kind == HL__EXIT_HALT);
    HL__EXPECT(t, hl__selftest_resume(t)); /* whether it halts again depends on the hypervisor */
    HL__EXPECT(t, t->exit.kind == HL__EXIT_HALT || hl__selftest_rang(t, HL__TINY_DONE));
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_COUNT, 5, 0, 5));
}

static void test_shutdown(struct hl__selftest *t)
{
    for (int round = 0; round < 3; round++) {
        hl__selftest_user(t, HL__TINY_UD2);
        t->state.system.idt.limit = 0;
        HL__EXPECT(t, hl__selftest_start(t) && t->exit.kind == HL__EXIT_SHUTDOWN);
        HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_COUNT, 9, 0, 9));
        hl__selftest_user(t, HL__TINY_SYSCALL); /* what it has from birth survives */
        HL__EXPECT(t, hl__selftest_start(t));
        HL__EXPECT(t, hl__selftest_rang(t, t->machine->syscall_stays ? HL__TINY_SYSCALL_USER
                                                                     : HL__TINY_SYSCALL_RING0));
    }
}

static void test_syscall(struct hl__selftest *t)
{
    struct hl__cpu_state now;
    hl__selftest_user(t, HL__TINY_SYSCALL);
    HL__EXPECT(t, hl__selftest_start(t));
    HL__EXPECT(t, hl__selftest_rang(t, t->machine->syscall_stays ? HL__TINY_SYSCALL_USER
                                                                 : HL__TINY_SYSCALL_RING0));
    HL__EXPECT(t, t->driver->state_get(t->vcpu, HL__STATE_GENERAL | HL__STATE_SYSTEM, &now,
                                       &t->error) == HL_OK);
    HL__EXPECT(t, now.system.cs.dpl == (t->machine->syscall_stays ? 3 : 0));
    HL__EXPECT(t, now.general.rcx == hl__tiny_code_address(HL__TINY_SYSCALL) + 2);
}

const struct hl__selftest_case hl__selftest_exits[] = {
    {"doorbell", test_doorbell, 0},
    {"doorbell-ring0", test_doorbell_ring0, 0},
    {"narrow-out", test_narrow_out, 0},
    {"port-read", test_port_read, 0},
    {"string-port-read", test_string_port_read, 0},
    {"closed-port", test_closed_port, 0},
    {"exceptions", test_exceptions, 0},
    {"page-faults", test_page_faults, 0},
    {"read-only-memory", test_read_only_memory, 0},
    {"unbacked-memory", test_unbacked_memory, 0},
    {"abandon", test_abandon, 0},
    {"retire", test_retire, 0},
    {"retire-endless", test_retire_endless, 0},
    {"halt", test_halt, 0},
    {"shutdown", test_shutdown, 0},
    {"syscall", test_syscall, 0},
    {NULL, NULL, 0},
};
