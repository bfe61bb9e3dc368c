/*
 * The same programs on two drivers: the same exits, registers, memory and dirtied pages. Exit status 77
 * unless there are two drivers, which CMakeLists.txt sees to by preloading the double of MSHV.
 *
 * HL_SEED sets another seed, HL_ROUNDS another number of programs.
 */
#include "driver/selftest.h"

#include <hyperlight/driver.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRIVERS = 2, ROUNDS = 3000, STEPS_MAX = 4, WORDS = (HL__TINY_DATA_PAGES + 63) / 64 };

/* It says whether an instruction is being resumed, which is up to whoever does so. */
#define RESUME_FLAG UINT64_C(0x10000)

static uint64_t seed = 0x5deece66d;

static uint64_t pick(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

/* An address of each kind: data, its edges, code, system, tables, nothing, none at all. */
static uint64_t pick_address(void)
{
    const uint64_t addresses[] = {HL__TINY_DATA + pick(HL__TINY_DATA_SIZE),
                                  HL__TINY_DATA + HL__TINY_PAGE * pick(HL__TINY_DATA_PAGES),
                                  HL__TINY_DATA + HL__TINY_DATA_SIZE - pick(8),
                                  HL__TINY_CODE + pick(64),
                                  HL__TINY_SYSTEM,
                                  hl__tiny_root(0),
                                  0x100000,
                                  0,
                                  UINT64_C(1) << 63};
    return addresses[pick(sizeof addresses / sizeof *addresses)];
}

static void pick_program(struct hl__selftest *t)
{
    static const enum hl__tiny_code codes[] = {
        HL__TINY_COUNT,    HL__TINY_READ, HL__TINY_WRITE,     HL__TINY_TOUCH, HL__TINY_ECHO_STATE,
        HL__TINY_OUT_BYTE, HL__TINY_IN,   HL__TINY_READ_WIDE, HL__TINY_UD2,   HL__TINY_DIVIDE,
        HL__TINY_CLI,      HL__TINY_HLT,  HL__TINY_SYSCALL,   HL__TINY_SGDT};
    hl__selftest_user(t, codes[pick(sizeof codes / sizeof *codes)]);
    struct hl__general_state *general = &t->state.general;
    general->rax = pick(UINT64_MAX);
    general->rbx = pick(UINT64_MAX);
    general->rdi = pick_address();
    general->rsi = pick(UINT64_MAX);
    general->rcx = HL__TINY_PAGE * pick(4) + 8;
    general->r8 = 1 + pick(20);
    general->r9 = pick(UINT64_MAX);
    general->r15 = pick(UINT64_MAX);
    if (pick(8) == 0)
        general->rdx = pick(0x10000); /* a port that is closed, most likely */
}

static int differ(const char *what, const struct hl__selftest *rigs, unsigned round)
{
    fprintf(stderr, "differential: round %u: %s\n", round, what);
    for (int i = 0; i < DRIVERS; i++)
        fprintf(stderr, "  %-5s exit %d, %s, port 0x%x, value 0x%x, address 0x%llx\n",
                rigs[i].driver->name, (int)rigs[i].exit.kind,
                rigs[i].exit.is_write ? "write" : "read", rigs[i].exit.port, rigs[i].exit.value,
                (unsigned long long)rigs[i].exit.address);
    return 1;
}

static bool same_exit(const struct hl__exit *a, const struct hl__exit *b)
{
    return a->kind == b->kind && a->is_write == b->is_write && a->port == b->port &&
           a->value == b->value && a->size == b->size && a->address == b->address;
}

/* Behind the instruction that exited, as the contract has it. */
static bool get_state(struct hl__selftest *t, struct hl__cpu_state *state)
{
    memset(state, 0, sizeof *state);
    return t->driver->retire(t->vcpu, &t->error) == HL_OK &&
           t->driver->state_get(t->vcpu, HL__STATE_GENERAL | HL__STATE_SYSTEM, state, &t->error) ==
               HL_OK;
}

static void print_differences(const struct hl__general_state *a, const struct hl__general_state *b)
{
    static const char *const names[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi",
                                        "rsp", "rbp", "r8",  "r9",  "r10", "r11",
                                        "r12", "r13", "r14", "r15", "rip", "rflags"};
    uint64_t left[sizeof names / sizeof *names], right[sizeof names / sizeof *names];
    _Static_assert(sizeof left == sizeof *a, "one name for each register");
    memcpy(left, a, sizeof left);
    memcpy(right, b, sizeof right);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (left[i] != right[i])
            fprintf(stderr, "  %s: %llx and %llx\n", names[i], (unsigned long long)left[i],
                    (unsigned long long)right[i]);
}

/* The instruction pointer of a doorbell may stand at the OUT or behind it. */
static bool same_general(const struct hl__exit *exit, struct hl__cpu_state *states)
{
    if (exit->kind == HL__EXIT_DOORBELL)
        states[0].general.rip = states[1].general.rip;
    for (int i = 0; i < DRIVERS; i++)
        states[i].general.rflags &= ~RESUME_FLAG;
    bool same = memcmp(&states[0].general, &states[1].general, sizeof states[0].general) == 0;
    if (!same)
        print_differences(&states[0].general, &states[1].general);
    return same;
}

static bool same_system(const struct hl__system_state *a, const struct hl__system_state *b)
{
    return a->cr0 == b->cr0 && a->cr2 == b->cr2 && a->cr3 == b->cr3 && a->cr4 == b->cr4 &&
           a->efer == b->efer && a->cs.selector == b->cs.selector && a->cs.dpl == b->cs.dpl &&
           a->ss.selector == b->ss.selector && a->fs.base == b->fs.base && a->gs.base == b->gs.base;
}

static int compare_step(struct hl__selftest *rigs, unsigned round)
{
    struct hl__cpu_state states[DRIVERS];
    const struct hl__exit *exit = &rigs[0].exit;
    if (!same_exit(exit, &rigs[1].exit))
        return differ("the exits differ", rigs, round);
    if (exit->kind == HL__EXIT_MEMORY)
        return 0;
    if (!get_state(&rigs[0], &states[0]) || !get_state(&rigs[1], &states[1]))
        return differ("registers cannot be read", rigs, round);
    if (!same_general(exit, states))
        return differ("general registers differ", rigs, round);
    if (!same_system(&states[0].system, &states[1].system))
        return differ("system registers differ", rigs, round);
    return 0;
}

/* A page that was read may count as dirty: KVM maps it writable where it could be written. */
static void forget_read(const struct hl__selftest *t, uint64_t *dirty)
{
    enum { WIDEST = 16 };
    uint64_t first = (t->state.general.rdi - HL__TINY_DATA) / HL__TINY_PAGE;
    uint64_t last = (t->state.general.rdi + WIDEST - 1 - HL__TINY_DATA) / HL__TINY_PAGE;
    uint64_t rip = t->state.general.rip;
    if (rip != hl__tiny_code_address(HL__TINY_READ) &&
        rip != hl__tiny_code_address(HL__TINY_READ_WIDE))
        return;
    for (uint64_t page = first; page <= last && page < HL__TINY_DATA_PAGES; page++)
        dirty[page / 64] &= ~(1ull << page % 64);
}

static int compare_memory(struct hl__selftest *rigs, unsigned round)
{
    uint64_t dirty[DRIVERS][WORDS], recorded[DRIVERS][WORDS];
    for (int i = 0; i < DRIVERS; i++)
        if (rigs[i].driver->dirty_collect(rigs[i].vm, HL__TINY_SLOT_DATA, dirty[i], WORDS,
                                          &rigs[i].error) != HL_OK)
            return differ("dirtied pages cannot be read", rigs, round);
        else
            memcpy(recorded[i], dirty[i], sizeof dirty[i]);
    forget_read(&rigs[0], dirty[0]);
    forget_read(&rigs[0], dirty[1]);
    if (memcmp(dirty[0], dirty[1], sizeof dirty[0]) != 0)
        return differ("dirtied pages differ", rigs, round);
    if (memcmp(hl__tiny_guest_at(&rigs[0].guest, HL__TINY_DATA),
               hl__tiny_guest_at(&rigs[1].guest, HL__TINY_DATA), HL__TINY_DATA_SIZE) != 0)
        return differ("memory differs", rigs, round);
    for (int i = 0; i < DRIVERS; i++)
        if (rigs[i].driver->dirty_rearm &&
            rigs[i].driver->dirty_rearm(rigs[i].vm, HL__TINY_SLOT_DATA, recorded[i], WORDS,
                                        &rigs[i].error) != HL_OK)
            return differ("dirtied pages cannot be re-armed", rigs, round);
    return 0;
}

static int compare_round(struct hl__selftest *rigs, unsigned round)
{
    unsigned steps = 1 + (unsigned)pick(STEPS_MAX);
    pick_program(&rigs[0]);
    rigs[1].state = rigs[0].state;
    for (unsigned step = 0; step < steps; step++) {
        for (int i = 0; i < DRIVERS; i++)
            if (!(step ? hl__selftest_resume(&rigs[i]) : hl__selftest_start(&rigs[i])))
                return differ("a run failed", rigs, round);
        if (compare_step(rigs, round))
            return 1;
        if (rigs[0].exit.kind != HL__EXIT_DOORBELL && rigs[0].exit.kind != HL__EXIT_PORT)
            break;
    }
    return compare_memory(rigs, round);
}

static int find_drivers(const hl__driver **drivers, struct hl__machine *machines)
{
    int found = 0;
    for (size_t i = 0; hl__drivers[i] && found < DRIVERS; i++)
        if (hl__driver_find(hl__drivers[i]->name, &drivers[found], NULL, &machines[found], NULL) ==
            HL_OK)
            found++;
    return found;
}

int main(void)
{
    static struct hl__selftest rigs[DRIVERS];
    const hl__driver *drivers[DRIVERS];
    static struct hl__machine machines[DRIVERS];
    if (find_drivers(drivers, machines) < DRIVERS) {
        puts("differential: skipped, there is one driver at most");
        return 77;
    }
    for (int i = 0; i < DRIVERS; i++)
        if (hl__driver_open(drivers[i], NULL) != HL_OK ||
            !hl__selftest_open(&rigs[i], drivers[i], &machines[i], HL__MEMORY_TRACKED)) {
            fprintf(stderr, "differential: %s: %s\n", drivers[i]->name, rigs[i].error.message);
            return 1;
        }
    seed = setting("HL_SEED", seed);
    unsigned rounds = (unsigned)setting("HL_ROUNDS", ROUNDS), round = 0;
    int status = 0;
    while (!status && round < rounds)
        status = compare_round(rigs, round++);
    printf("differential: %u programs on %s and %s\n", round, drivers[0]->name, drivers[1]->name);
    for (int i = 0; i < DRIVERS; i++) {
        hl__selftest_close(&rigs[i]);
        hl__driver_close(drivers[i]);
    }
    return status;
}
