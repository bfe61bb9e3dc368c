/* The self-test of drivers: runs every test in a rig of its own and reports. The tests are in
 * selftest_*.c. */
#include "driver/selftest.h"

#include "os/kick.h"
#include "util/error.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int hl__selftest_signal;
uint64_t hl__selftest_capabilities;

static const struct hl__selftest_case *const selftest_lists[] = {
    hl__selftest_exits,   hl__selftest_registers, hl__selftest_memory,
    hl__selftest_process, hl__selftest_limits,    hl__selftest_threads};

static const struct hl__selftest_case *selftest_find(size_t index)
{
    for (size_t list = 0; list < sizeof selftest_lists / sizeof *selftest_lists; list++)
        for (const struct hl__selftest_case *test = selftest_lists[list]; test->name; test++)
            if (index-- == 0)
                return test;
    return NULL;
}

const char *hl_driver_selftest_name(size_t index)
{
    const struct hl__selftest_case *test = selftest_find(index);
    return test ? test->name : NULL;
}

/* The rig */

static bool selftest_build(struct hl__selftest *t, uint32_t data_flags)
{
    const struct hl__vcpu_setup setup = hl__tiny_vcpu_setup(t->machine->syscall_stays);
    t->vm = calloc(1, t->driver->vm_size);
    t->vcpu = calloc(1, t->driver->vcpu_size);
    if (!t->vm || !t->vcpu || hl__tiny_guest_new(&t->guest, &t->error) != HL_OK)
        return false;
    if (t->driver->vm_create(t->vm, 2, &t->counter, &t->error) != HL_OK)
        return false;
    if (hl__tiny_guest_add(&t->guest, t->driver, t->vm, data_flags, &t->error) == HL_OK &&
        t->driver->vcpu_create(t->vm, t->vcpu, 0, &setup, &t->error) == HL_OK)
        return true;
    t->driver->vm_destroy(t->vm);
    return false;
}

static void selftest_free(struct hl__selftest *t)
{
    if (t->guest.memory)
        hl__tiny_guest_free(&t->guest);
    free(t->vcpu);
    free(t->vm);
}

bool hl__selftest_open(struct hl__selftest *t, const hl__driver *driver,
                       const struct hl__machine *machine, uint32_t data_flags)
{
    *t = (struct hl__selftest){.driver = driver, .machine = machine};
    if (selftest_build(t, data_flags))
        return true;
    selftest_free(t);
    return false;
}

void hl__selftest_close(struct hl__selftest *t)
{
    t->driver->vcpu_destroy(t->vcpu);
    t->driver->vm_destroy(t->vm);
    selftest_free(t);
}

bool hl__selftest_another(struct hl__selftest *t, struct hl__selftest *other)
{
    if (hl__selftest_open(other, t->driver, t->machine, 0))
        return true;
    t->error = other->error;
    return false;
}

void hl__selftest_fail(struct hl__selftest *t, int line, const char *condition)
{
    t->failed = true;
    snprintf(t->detail, sizeof t->detail, "line %d: %s (exit %d, value 0x%x, address 0x%llx) %.64s",
             line, condition, (int)t->exit.kind, (unsigned)t->exit.value,
             (unsigned long long)t->exit.address, t->error.message);
}

void hl__selftest_skip(struct hl__selftest *t, const char *why)
{
    snprintf(t->detail, sizeof t->detail, "does not apply: %s", why);
}

void hl__selftest_note(struct hl__selftest *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(t->detail, sizeof t->detail, format, arguments);
    va_end(arguments);
}

/* Steps */

void hl__selftest_user(struct hl__selftest *t, enum hl__tiny_code code)
{
    hl__tiny_state_user(t->machine, code, &t->state);
}

void hl__selftest_ring0(struct hl__selftest *t, enum hl__tiny_stub stub)
{
    hl__tiny_state_ring0(t->machine, stub, &t->state);
}

bool hl__selftest_resume(struct hl__selftest *t)
{
    do {
        if (t->driver->run(t->vcpu, &t->exit, &t->error) != HL_OK)
            return false;
    } while (t->exit.kind == HL__EXIT_INTERRUPTED);
    return true;
}

bool hl__selftest_start(struct hl__selftest *t)
{
    t->driver->state_set(t->vcpu, HL__STATE_GENERAL | HL__STATE_SYSTEM | HL__STATE_EVENTS,
                         &t->state);
    return hl__selftest_resume(t);
}

bool hl__selftest_rang(const struct hl__selftest *t, uint32_t value)
{
    return t->exit.kind == HL__EXIT_DOORBELL && t->exit.port == HL__TINY_PORT &&
           t->exit.value == value;
}

bool hl__selftest_rings(struct hl__selftest *t, enum hl__tiny_code code, uint64_t rdi, uint64_t rsi,
                        uint32_t value)
{
    hl__selftest_user(t, code);
    t->state.general.rdi = rdi;
    t->state.general.rsi = rsi;
    return hl__selftest_start(t) && hl__selftest_rang(t, value);
}

/* Running all */

static bool selftest_run_one(const struct hl__selftest_case *test, const hl__driver *driver,
                             const struct hl__machine *machine, struct hl__selftest *t)
{
    bool several_vms = test->flags & HL__SELFTEST_SEVERAL_VMS;
    if (several_vms && machine->one_vm) {
        *t = (struct hl__selftest){.driver = driver, .machine = machine};
        hl__selftest_skip(t, "a process has one VM at a time here");
        return true;
    }
    if (!hl__selftest_open(t, driver, machine, test->flags & ~HL__SELFTEST_SEVERAL_VMS)) {
        hl__selftest_fail(t, __LINE__, "a VM can be made");
        return false;
    }
    test->run(t);
    hl__selftest_close(t);
    return !t->failed;
}

static hl_status selftest_run_all(const hl__driver *driver, const struct hl__machine *machine,
                                  hl_driver_selftest_report report, void *user, hl_error *err)
{
    struct hl__selftest t;
    size_t failures = 0, count = 0;
    const char *first = NULL;
    for (const struct hl__selftest_case *test; (test = selftest_find(count)); count++) {
        bool passed = selftest_run_one(test, driver, machine, &t);
        if (!passed && !failures++)
            first = test->name;
        if (report)
            report(user, test->name, passed, t.detail);
    }
    if (!failures)
        return HL_OK;
    return hl__error_set(err, HL_SYSTEM, "hl_driver_selftest",
                         "%zu of %zu tests of driver \"%s\" failed, the first is %s", failures,
                         count, driver->name, first);
}

/* With the driver open, and a signal that kicks. */
static hl_status selftest_prepare_and_run(const hl__driver *driver,
                                          const struct hl__machine *machine,
                                          hl_driver_selftest_report report, void *user,
                                          hl_error *err)
{
    hl_status status = hl__driver_open(driver, err);
    if (status != HL_OK)
        return status;
    status = hl__kick_borrow(&hl__selftest_signal, err);
    if (status == HL_OK) {
        bool was_blocked = hl__kick_unblock(hl__selftest_signal);
        status = selftest_run_all(driver, machine, report, user, err);
        if (was_blocked)
            hl__kick_block(hl__selftest_signal);
        hl__kick_return(hl__selftest_signal);
    }
    hl__driver_close(driver);
    return status;
}

hl_status hl_driver_selftest(const char *name, hl_driver_selftest_report report, void *user,
                             hl_error *err)
{
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    const hl__driver *driver;
    struct hl__machine machine;
    hl_driver_info info;
    hl_status status = hl__driver_find(name, &driver, &info, &machine, err);
    if (status != HL_OK)
        return status;
    pthread_mutex_lock(&one_at_a_time);
    hl__selftest_capabilities = info.capabilities;
    status = selftest_prepare_and_run(driver, &machine, report, user, err);
    pthread_mutex_unlock(&one_at_a_time);
    return status;
}
