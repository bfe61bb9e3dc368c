/* Self-tests: registers go in and come out, and protections that control registers switch on are
 * in force. */
#include "driver/selftest.h"

#include "os/os.h"

#include <cpuid.h>
#include <string.h>

#define CR4_UMIP (1ull << 11)
#define CR4_FSGSBASE (1ull << 16)
#define CR4_OSXSAVE (1ull << 18)
#define CR4_SMAP (1ull << 21)

#define TIME_LAG_MAX_MS 100 /* setting it takes microseconds; more in an emulated machine */

#define XSAVE_XMM5 (160 + 5 * 16) /* offset in the legacy region */
#define XSAVE_PRESENT 512         /* XSTATE_BV: the components that an area has */

#define XSAVE_AREA (HL__TINY_DATA + 0x1000)
#define SOURCE HL__TINY_DATA
#define DESTINATION (HL__TINY_DATA + 0x100)

static bool get(struct hl__selftest *t, uint32_t groups, struct hl__cpu_state *state)
{
    return t->driver->state_get(t->vcpu, groups, state, &t->error) == HL_OK;
}

/* A value in every register that the snippet sums up. */
static void fill_general(struct hl__general_state *general)
{
    uint64_t *const registers[] = {&general->rax, &general->rbx, &general->rcx, &general->rsi,
                                   &general->rdi, &general->rsp, &general->rbp, &general->r8,
                                   &general->r9,  &general->r10, &general->r11, &general->r12,
                                   &general->r13, &general->r14, &general->r15};
    for (size_t i = 0; i < sizeof registers / sizeof *registers; i++)
        *registers[i] = 0x9e3779b97f4a7c15ull * (i + 1);
    general->rflags |= 1; /* carry */
}

/* What the snippet ECHO_STATE makes of them. */
static uint64_t sum_general(const struct hl__general_state *g)
{
    uint64_t sum = g->rax + g->rbx + (g->rflags & 1) + 2 * g->rcx + 4 * g->rsi + 8 * g->rdi;
    sum = 3 * (sum + g->rbp);
    sum = 3 * (sum + g->rsp) + 2 * g->r8 + 4 * g->r9 + 8 * g->r10;
    sum = 3 * sum + g->r11 + 2 * g->r12 + 4 * g->r13 + 8 * g->r14;
    return 3 * sum + g->r15;
}

static void test_general(struct hl__selftest *t)
{
    struct hl__cpu_state now;
    hl__selftest_user(t, HL__TINY_ECHO_STATE);
    fill_general(&t->state.general);
    HL__EXPECT(t, hl__selftest_start(t));
    uint64_t sum = sum_general(&t->state.general);
    HL__EXPECT(t, hl__selftest_rang(t, (uint32_t)sum));
    HL__EXPECT(t, get(t, HL__STATE_GENERAL, &now));
    HL__EXPECT(t, now.general.rax == sum);
    now.general.rax = t->state.general.rax;
    now.general.rip = t->state.general.rip;
    now.general.rflags = t->state.general.rflags;
    HL__EXPECT(t, !memcmp(&now.general, &t->state.general, sizeof now.general));
}

/* Registers that were set and did not run yet are the ones that are read. */
static void test_pending(struct hl__selftest *t)
{
    struct hl__cpu_state now;
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_COUNT, 1, 0, 1));
    hl__selftest_user(t, HL__TINY_COUNT);
    t->state.general.rdi = 0x77;
    t->driver->state_set(t->vcpu, HL__STATE_GENERAL, &t->state);
    HL__EXPECT(t, get(t, HL__STATE_GENERAL, &now));
    HL__EXPECT(t, !memcmp(&now.general, &t->state.general, sizeof now.general));
    /* So they are beside a group that was not set; and reading loses nothing. */
    HL__EXPECT(t, get(t, HL__STATE_GENERAL | HL__STATE_SYSTEM, &now));
    HL__EXPECT(t, !memcmp(&now.general, &t->state.general, sizeof now.general));
    HL__EXPECT(t, now.system.cr3 == t->state.system.cr3);
    HL__EXPECT(t, hl__selftest_resume(t) && hl__selftest_rang(t, 0x77));
}

static bool same_segment(const struct hl__segment *a, const struct hl__segment *b)
{
    return a->base == b->base && a->limit == b->limit && a->selector == b->selector &&
           a->type == b->type && a->dpl == b->dpl && a->present == b->present &&
           a->code_or_data == b->code_or_data && a->long_mode == b->long_mode &&
           a->default_big == b->default_big && a->granularity == b->granularity;
}

static bool same_system(const struct hl__system_state *a, const struct hl__system_state *b)
{
    return same_segment(&a->cs, &b->cs) && same_segment(&a->ss, &b->ss) &&
           same_segment(&a->ds, &b->ds) && same_segment(&a->es, &b->es) &&
           same_segment(&a->fs, &b->fs) && same_segment(&a->gs, &b->gs) &&
           a->tr.base == b->tr.base && a->tr.limit == b->tr.limit &&
           a->tr.selector == b->tr.selector && a->gdt.base == b->gdt.base &&
           a->gdt.limit == b->gdt.limit && a->idt.base == b->idt.base &&
           a->idt.limit == b->idt.limit && a->cr0 == b->cr0 && a->cr2 == b->cr2 &&
           a->cr3 == b->cr3 && a->cr4 == b->cr4 && a->efer == b->efer;
}

static void test_system(struct hl__selftest *t)
{
    struct hl__cpu_state now;
    hl__selftest_user(t, HL__TINY_COUNT);
    t->state.system.fs.base = 0x123456789000;
    t->state.system.gs.base = 0x7edcba987000;
    t->state.system.cr2 = 0x1234567;
    t->state.system.gs.limit = 0x12345; /* every attribute unlike those of the others */
    t->state.system.gs.type = 1;
    t->state.system.gs.granularity = t->state.system.gs.default_big = false;
    t->driver->state_set(t->vcpu, HL__STATE_SYSTEM, &t->state);
    HL__EXPECT(t, get(t, HL__STATE_SYSTEM, &now));
    HL__EXPECT(t, same_system(&now.system, &t->state.system));
    HL__EXPECT(t, hl__selftest_start(t) && hl__selftest_rang(t, 0));
    HL__EXPECT(t, get(t, HL__STATE_SYSTEM, &now));
    HL__EXPECT(t, same_system(&now.system, &t->state.system));
}

/* Amid an instruction, the registers are those before it. */
static void test_amid(struct hl__selftest *t)
{
    struct hl__cpu_state now;
    hl__selftest_user(t, HL__TINY_IN);
    t->state.general.rax = 0x4444;
    HL__EXPECT(t, hl__selftest_start(t) && t->exit.kind == HL__EXIT_PORT);
    HL__EXPECT(t, get(t, HL__STATE_GENERAL | HL__STATE_SYSTEM, &now));
    HL__EXPECT(t, now.general.rip == t->state.general.rip && now.general.rax == 0x4444);
    HL__EXPECT(t, now.system.cr3 == t->state.system.cr3);
    HL__EXPECT(t, hl__selftest_resume(t) && hl__selftest_rang(t, 0));
}

/* Ring 0 must not run a user page: a wrong turn faults. */
static void test_smep(struct hl__selftest *t)
{
    hl__selftest_ring0(t, HL__TINY_STUB_RELOAD);
    t->state.general.rip = hl__tiny_code_address(HL__TINY_COUNT);
    HL__EXPECT(t, hl__selftest_start(t));
    HL__EXPECT(t, hl__selftest_rang(t, HL__TINY_EXCEPTION + HL__VECTOR_PF));
}

static void test_smap(struct hl__selftest *t)
{
    if (!(t->machine->cr4_wanted & CR4_SMAP)) {
        hl__selftest_skip(t, "no SMAP here");
        return;
    }
    hl__selftest_ring0(t, HL__TINY_STUB_READ);
    t->state.general.rdi = HL__TINY_DATA;
    HL__EXPECT(t, hl__selftest_start(t));
    HL__EXPECT(t, hl__selftest_rang(t, HL__TINY_EXCEPTION + HL__VECTOR_PF));
}

/* CR0.WP: ring 0 may not write what is read-only. */
static void test_write_protection(struct hl__selftest *t)
{
    uint64_t *entry = hl__tiny_guest_entry(&t->guest, 0, HL__TINY_SYSTEM);
    *entry &= ~2ull;
    hl__selftest_ring0(t, HL__TINY_STUB_POKE);
    t->state.general.rdi = HL__TINY_SYSTEM;
    HL__EXPECT(t, hl__selftest_start(t));
    HL__EXPECT(t, hl__selftest_rang(t, HL__TINY_EXCEPTION + HL__VECTOR_PF));
}

static void test_umip(struct hl__selftest *t)
{
    if (!(t->machine->cr4_wanted & CR4_UMIP)) {
        hl__selftest_skip(t, "no UMIP here");
        return;
    }
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_SGDT, 0, 0, HL__TINY_EXCEPTION + HL__VECTOR_GP));
}

/* The guest's time-stamp counter is the host's, or behind that by what setting it took. */
static void test_time(struct hl__selftest *t)
{
    const uint64_t lag = t->machine->tsc_khz * TIME_LAG_MAX_MS;
    uint64_t now, first = 0;
    for (int round = 0; round < 3; round++) {
        uint64_t before = hl__os_tsc();
        HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_TIME, HL__TINY_DATA, 0, HL__TINY_DONE));
        uint64_t after = hl__os_tsc();
        memcpy(&now, hl__tiny_guest_at(&t->guest, HL__TINY_DATA), sizeof now);
        HL__EXPECT(t, now + lag >= before && now <= after);
        HL__EXPECT(t, now > first);
        first = now;
    }
}

static void test_fsgsbase(struct hl__selftest *t)
{
    struct hl__cpu_state now;
    if (!(t->machine->cr4_wanted & CR4_FSGSBASE)) {
        hl__selftest_skip(t, "no FSGSBASE here");
        return;
    }
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_FSBASE, 0x12345678, 0, 0x12345678));
    HL__EXPECT(t, get(t, HL__STATE_SYSTEM, &now) && now.system.fs.base == 0x12345678);
}

static void test_vector(struct hl__selftest *t)
{
    static const char pattern[16] = "vector register";
    static uint8_t area[HL__VECTOR_STATE_SIZE];
    struct hl__cpu_state now = {.vector = area};
    memcpy(hl__tiny_guest_at(&t->guest, SOURCE), pattern, sizeof pattern);
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_VECTOR_LOAD, SOURCE, DESTINATION, HL__TINY_DONE));
    HL__EXPECT(t, get(t, HL__STATE_VECTOR, &now));
    HL__EXPECT(t, !memcmp(area + XSAVE_XMM5, pattern, sizeof pattern));
    HL__EXPECT(t, hl__selftest_resume(t) && hl__selftest_rang(t, HL__TINY_DONE));
    HL__EXPECT(t, !memcmp(hl__tiny_guest_at(&t->guest, DESTINATION), pattern, sizeof pattern));
}

/* Vector state beyond the legacy region: the upper halves of the registers of AVX. */
static void test_avx(struct hl__selftest *t)
{
    enum { AVX = 4, XSAVE_LEAF = 0xd, AVX_COMPONENT = 2, HALF = 16 };
    static uint8_t area[HL__VECTOR_STATE_SIZE];
    struct hl__cpu_state now = {.vector = area};
    uint32_t size = 0, offset = 0, flags, unused;
    hl__selftest_user(t, HL__TINY_XGETBV);
    HL__EXPECT(t, hl__selftest_start(t));
    if (t->exit.kind != HL__EXIT_DOORBELL || !(t->exit.value & AVX) ||
        !__get_cpuid_count(XSAVE_LEAF, AVX_COMPONENT, &size, &offset, &flags, &unused)) {
        hl__selftest_skip(t, "no AVX here");
        return;
    }
    uint8_t *pattern = hl__tiny_guest_at(&t->guest, SOURCE);
    for (uint8_t i = 0; i < 2 * HALF; i++)
        pattern[i] = (uint8_t)(0x80 + i);
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_AVX, SOURCE, DESTINATION, HL__TINY_DONE));
    HL__EXPECT(t, get(t, HL__STATE_VECTOR, &now));
    HL__EXPECT(t, !memcmp(area + XSAVE_XMM5, pattern, HALF));
    if (area[XSAVE_PRESENT] & AVX) {
        HL__EXPECT(t, offset + 6 * HALF <= sizeof area && size >= 6 * HALF);
        HL__EXPECT(t, !memcmp(area + offset + 5 * HALF, pattern + HALF, HALF));
    } else {
        hl__selftest_note(t, "it is kept, but the hypervisor does not tell it");
    }
    HL__EXPECT(t, hl__selftest_resume(t) && hl__selftest_rang(t, HL__TINY_DONE));
    HL__EXPECT(t, !memcmp(hl__tiny_guest_at(&t->guest, DESTINATION), pattern, 2 * HALF));
}

static void test_xrstor(struct hl__selftest *t)
{
    static const char zeroes[16];
    if (!(t->machine->cr4_wanted & CR4_OSXSAVE)) {
        hl__selftest_skip(t, "no XSAVE here");
        return;
    }
    memset(hl__tiny_guest_at(&t->guest, SOURCE), 0x5a, 16);
    memset(hl__tiny_guest_at(&t->guest, DESTINATION), 0x5a, 16);
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_VECTOR_LOAD, SOURCE, 0, HL__TINY_DONE));
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_XRSTOR, XSAVE_AREA, 0, HL__TINY_DONE));
    HL__EXPECT(t, hl__selftest_rings(t, HL__TINY_VECTOR_STORE, 0, DESTINATION, HL__TINY_DONE));
    HL__EXPECT(t, !memcmp(hl__tiny_guest_at(&t->guest, DESTINATION), zeroes, sizeof zeroes));
    /* x87 and SSE at least are on. */
    hl__selftest_user(t, HL__TINY_XGETBV);
    HL__EXPECT(t, hl__selftest_start(t) && t->exit.kind == HL__EXIT_DOORBELL);
    HL__EXPECT(t, (t->exit.value & 3) == 3);
}

const struct hl__selftest_case hl__selftest_registers[] = {
    {"general-registers", test_general, 0},
    {"pending-registers", test_pending, 0},
    {"system-registers", test_system, 0},
    {"registers-amid-instruction", test_amid, 0},
    {"smep", test_smep, 0},
    {"smap", test_smap, 0},
    {"write-protection", test_write_protection, 0},
    {"umip", test_umip, 0},
    {"time", test_time, 0},
    {"fsgsbase", test_fsgsbase, 0},
    {"vector-registers", test_vector, 0},
    {"vector-registers-avx", test_avx, 0},
    {"xrstor", test_xrstor, 0},
    {NULL, NULL, 0},
};
