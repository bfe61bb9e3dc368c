/* What the files of the self-test share: the rig that each test gets, and the lists of tests. */
#ifndef HL_DRIVER_SELFTEST_H
#define HL_DRIVER_SELFTEST_H

#include "driver/tiny_guest.h"

/* A VM with the tiny guest and one vCPU, fresh for each test. */
struct hl__selftest {
    const hl__driver *driver;
    const struct hl__machine *machine;
    struct hl__tiny_guest guest;
    void *vm, *vcpu;
    uint64_t counter;           /* the driver's, of system calls */
    struct hl__cpu_state state; /* what the next start sets */
    struct hl__exit exit;       /* the last one */
    hl_error error;
    bool failed;
    char detail[192]; /* why it failed, why it does not apply, or what it counted */
};

struct hl__selftest_case {
    const char *name;
    void (*run)(struct hl__selftest *t);
    uint32_t flags; /* HL__MEMORY_* of the data slot, HL__SELFTEST_SEVERAL_VMS */
};

/* The test makes more VMs than its own. */
#define HL__SELFTEST_SEVERAL_VMS (1u << 31)

/* What kicks threads while a self-test runs. */
extern int hl__selftest_signal;

/* The lists, each ending with a name of NULL. */
extern const struct hl__selftest_case hl__selftest_exits[];
extern const struct hl__selftest_case hl__selftest_registers[];
extern const struct hl__selftest_case hl__selftest_memory[];
extern const struct hl__selftest_case hl__selftest_process[];
extern const struct hl__selftest_case hl__selftest_limits[];
extern const struct hl__selftest_case hl__selftest_threads[];

/* HL_CAPABILITY_* of the driver under test. */
extern uint64_t hl__selftest_capabilities;

/* Ends the test as failed unless the condition holds. */
#define HL__EXPECT(t, condition)                                                                   \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            hl__selftest_fail(t, __LINE__, #condition);                                            \
            return;                                                                                \
        }                                                                                          \
    } while (0)

void hl__selftest_fail(struct hl__selftest *t, int line, const char *condition);

/* Says that the test does not apply. */
void hl__selftest_skip(struct hl__selftest *t, const char *why);

/* Says what a test that passes counted. */
void hl__selftest_note(struct hl__selftest *t, const char *format, ...) HL_PRINTF(2, 3);

/* Builds and takes down the rig; tests may make more of them. False: t->error says why. */
bool hl__selftest_open(struct hl__selftest *t, const hl__driver *driver,
                       const struct hl__machine *machine, uint32_t data_flags);
void hl__selftest_close(struct hl__selftest *t);
/* One more, on the driver of `t`; t->error says why not. */
bool hl__selftest_another(struct hl__selftest *t, struct hl__selftest *other);

/* Sets t->state to the start of a snippet or stub. */
void hl__selftest_user(struct hl__selftest *t, enum hl__tiny_code code);
void hl__selftest_ring0(struct hl__selftest *t, enum hl__tiny_stub stub);

/* Runs on, past stray signals, to t->exit. */
bool hl__selftest_resume(struct hl__selftest *t);

/* Sets all of t->state and runs. */
bool hl__selftest_start(struct hl__selftest *t);

/* Starts a snippet with rdi and rsi; whether it rings that value. */
bool hl__selftest_rings(struct hl__selftest *t, enum hl__tiny_code code, uint64_t rdi, uint64_t rsi,
                        uint32_t value);

/* Whether t->exit is that doorbell. */
bool hl__selftest_rang(const struct hl__selftest *t, uint32_t value);

#define HL__VECTOR_DE 0u
#define HL__VECTOR_UD 6u
#define HL__VECTOR_GP 13u
#define HL__VECTOR_PF 14u

#endif
