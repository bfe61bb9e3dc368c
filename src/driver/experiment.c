/* What a hypervisor does with guests, by experiment. */
#include "driver/experiment.h"

#include "os/os.h"
#include "util/error.h"

#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CR4_PAE (1ull << 5)
#define CR4_OSFXSR (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_UMIP (1ull << 11)
#define CR4_FSGSBASE (1ull << 16)
#define CR4_OSXSAVE (1ull << 18)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)
#define CR4_ALWAYS (CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT)

#define XCR0_X87_SSE 0x3ull

#define VECTOR_GP 13u
#define VECTOR_PF 14u
#define NO_ANSWER UINT32_MAX /* the guest did not ring */

/* What the processor has, by CPUID */

/* Asked of the processor itself: hypervisors do not list all of this for guests, but take it. */
static uint64_t processor_cr4(void)
{
    uint32_t eax, ebx, ecx, edx;
    uint64_t bits = 0;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx))
        bits |= ecx & 1u << 26 ? CR4_OSXSAVE : 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
        bits |= (ebx & 1u << 0 ? CR4_FSGSBASE : 0) | (ebx & 1u << 7 ? CR4_SMEP : 0) |
                (ebx & 1u << 20 ? CR4_SMAP : 0) | (ecx & 1u << 2 ? CR4_UMIP : 0);
    return bits;
}

/* Running the guest */

/* The value of the next doorbell, or NO_ANSWER. */
static uint32_t experiment_run(struct hl__experiment *e, const struct hl__cpu_state *state)
{
    struct hl__exit exit = {0};
    e->driver->state_set(e->vcpu, HL__STATE_GENERAL | HL__STATE_SYSTEM | HL__STATE_EVENTS, state);
    do {
        if (e->driver->run(e->vcpu, &exit, NULL) != HL_OK)
            return NO_ANSWER;
    } while (exit.kind == HL__EXIT_INTERRUPTED);
    return exit.kind == HL__EXIT_DOORBELL ? exit.value : NO_ANSWER;
}

static uint32_t experiment_user(struct hl__experiment *e, enum hl__tiny_code code,
                                uint64_t argument)
{
    struct hl__cpu_state state;
    hl__tiny_state_user(&e->machine, code, &state);
    state.general.rdi = argument;
    return experiment_run(e, &state);
}

static uint32_t experiment_ring0(struct hl__experiment *e, enum hl__tiny_stub stub,
                                 uint64_t argument)
{
    struct hl__cpu_state state;
    hl__tiny_state_ring0(&e->machine, stub, &state);
    state.general.rdi = argument;
    return experiment_run(e, &state);
}

/* Experiments */

/* Which type of TSS lets user mode ring at all. */
static bool finds_doorbell(struct hl__experiment *e)
{
    const uint32_t value = 0x600d;
    for (int available = 0; available < 2; available++) {
        e->machine.tss_available = available;
        if (experiment_user(e, HL__TINY_COUNT, value) == value)
            return true;
    }
    return false;
}

/* Whether the hypervisor takes CR4 bits on top of those that are known to work. */
static bool accepts_cr4(struct hl__experiment *e, uint64_t bits)
{
    e->machine.cr4_wanted |= bits;
    if (experiment_user(e, HL__TINY_COUNT, 1) == 1)
        return true;
    e->machine.cr4_wanted &= ~bits;
    e->refused |= bits;
    return false;
}

/* Ring 0 must not run a user page. */
static bool smep_works(struct hl__experiment *e)
{
    struct hl__cpu_state state;
    hl__tiny_state_ring0(&e->machine, HL__TINY_STUB_RELOAD, &state);
    state.general.rip = hl__tiny_code_address(HL__TINY_COUNT);
    return experiment_run(e, &state) == HL__TINY_EXCEPTION + VECTOR_PF;
}

/* Ring 0 must not read a user page. */
static bool smap_works(struct hl__experiment *e)
{
    return experiment_ring0(e, HL__TINY_STUB_READ, HL__TINY_DATA) == HL__TINY_EXCEPTION + VECTOR_PF;
}

static bool umip_works(struct hl__experiment *e)
{
    return experiment_user(e, HL__TINY_SGDT, 0) == HL__TINY_EXCEPTION + VECTOR_GP;
}

static bool fsgsbase_works(struct hl__experiment *e)
{
    return experiment_user(e, HL__TINY_FSBASE, HL__TINY_DATA) == HL__TINY_DATA;
}

static bool osxsave_works(struct hl__experiment *e)
{
    uint32_t value = experiment_user(e, HL__TINY_XGETBV, 0);
    if (e->xcr0)
        return value == e->xcr0;
    return value != NO_ANSWER && (value & XCR0_X87_SSE) == XCR0_X87_SSE;
}

static void find_cr4(struct hl__experiment *e)
{
    static const struct {
        uint64_t bit;
        bool (*works)(struct hl__experiment *e);
    } features[] = {
        {CR4_SMEP, smep_works},         {CR4_SMAP, smap_works},       {CR4_UMIP, umip_works},
        {CR4_FSGSBASE, fsgsbase_works}, {CR4_OSXSAVE, osxsave_works},
    };
    uint64_t present = processor_cr4();
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (present & features[i].bit && accepts_cr4(e, features[i].bit) && !features[i].works(e))
            e->machine.cr4_wanted &= ~features[i].bit;
}

/* Whether a translation that was used stays in use after the host took it away and ring 0
 * reloaded CR3. */
static bool translations_go_stale(struct hl__experiment *e)
{
    const uint32_t before = 0xaaaa, after = 0xbbbb;
    const uint64_t page = HL__TINY_DATA, other = HL__TINY_DATA + HL__TINY_PAGE;
    uint64_t *entry = hl__tiny_guest_entry(&e->guest, 0, page);
    memcpy(hl__tiny_guest_at(&e->guest, page), &before, sizeof before);
    memcpy(hl__tiny_guest_at(&e->guest, other), &after, sizeof after);
    if (experiment_user(e, HL__TINY_READ, page) != before)
        return true;
    *entry = other | HL__TINY_ENTRY_USER_DATA;
    return experiment_ring0(e, HL__TINY_STUB_RELOAD, 0) != HL__TINY_DONE ||
           experiment_user(e, HL__TINY_READ, page) != after;
}

static uint64_t calibrate_tsc(void)
{
    const uint64_t span_ns = 2000000;
    uint64_t start_ns = hl__os_monotonic_ns(), start = hl__os_tsc(), now_ns;
    do
        now_ns = hl__os_monotonic_ns();
    while (now_ns - start_ns < span_ns);
    return (hl__os_tsc() - start) * 1000000 / (now_ns - start_ns);
}

/* The experiment */

static hl_status experiment_build(struct hl__experiment *e, hl_error *err)
{
    struct hl__vcpu_setup setup = hl__tiny_vcpu_setup(true);
    hl_status status = e->driver->vm_create(e->vm, 1, &e->counter, err);
    if (status != HL_OK)
        return status;
    status = hl__tiny_guest_add(&e->guest, e->driver, e->vm, 0, err);
    if (status == HL_OK)
        status = e->driver->vcpu_create(e->vm, e->vcpu, 0, &setup, err);
    if (status != HL_OK)
        e->driver->vm_destroy(e->vm);
    return status;
}

static void experiment_free(struct hl__experiment *e)
{
    if (e->guest.memory)
        hl__tiny_guest_free(&e->guest);
    free(e->vcpu);
    free(e->vm);
}

hl_status hl__experiment_begin(struct hl__experiment *e, const hl__driver *driver, hl_error *err)
{
    *e = (struct hl__experiment){.driver = driver};
    e->vm = calloc(1, driver->vm_size);
    e->vcpu = calloc(1, driver->vcpu_size);
    hl_status status = HL_OK;
    if (!e->vm || !e->vcpu)
        status = hl__error_set(err, HL_OUT_OF_MEMORY, "calloc", "no memory for a VM");
    if (status == HL_OK)
        status = hl__tiny_guest_new(&e->guest, err);
    if (status == HL_OK)
        status = experiment_build(e, err);
    if (status != HL_OK)
        experiment_free(e);
    return status;
}

void hl__experiment_end(struct hl__experiment *e)
{
    e->driver->vcpu_destroy(e->vcpu);
    e->driver->vm_destroy(e->vm);
    experiment_free(e);
}

static hl_status missing(const struct hl__experiment *e, const char *what, hl_error *err)
{
    return hl__error_set(err, HL_HYPERVISOR_TOO_OLD, "hl_driver_probe",
                         "the hypervisor of driver \"%s\" is here, but its guests %s; a newer "
                         "system or processor may help",
                         e->driver->name, what);
}

/* In this order: each answer is needed for the next question. */
hl_status hl__experiment_ask(struct hl__experiment *e, hl_error *err)
{
    e->machine.cr4_wanted = CR4_ALWAYS;
    if (!finds_doorbell(e))
        return missing(e, "cannot reach the host from user mode", err);
    find_cr4(e);
    if (!(e->machine.cr4_wanted & CR4_SMEP))
        return missing(e, "do not keep ring 0 off user pages (SMEP)", err);
    if (!(e->machine.cr4_wanted & CR4_FSGSBASE))
        return missing(e, "cannot set their thread pointers (FSGSBASE)", err);
    e->machine.syscall_stays = experiment_user(e, HL__TINY_SYSCALL, 0) == HL__TINY_SYSCALL_USER;
    e->machine.flush_required = translations_go_stale(e) || e->machine.syscall_stays;
    e->machine.tsc_khz = calibrate_tsc();
    return HL_OK;
}

/* The public answer */

/* What follows from the machine alone. */
static void experiment_describe(hl_driver_info *info, const struct hl__machine *machine)
{
    info->virtualization =
        machine->syscall_stays ? HL_VIRTUALIZATION_PAGE_TABLE : HL_VIRTUALIZATION_HARDWARE;
    info->syscall_stays_in_user_mode = machine->syscall_stays;
    info->tsc_khz = machine->tsc_khz;
    info->capabilities = (machine->cr4_wanted & CR4_SMAP ? HL_CAPABILITY_SMAP : 0) |
                         (machine->cr4_wanted & CR4_UMIP ? HL_CAPABILITY_UMIP : 0);
}

hl_status hl__experiment_probe(const struct hl__experiment_probe *probe, hl_driver_info *info,
                               struct hl__machine *machine)
{
    hl_error reason = HL_ERROR_INIT;
    *info = (hl_driver_info){.size = sizeof *info, .name = probe->driver->name};
    *machine = (struct hl__machine){0};
    info->status = hl__driver_open(probe->driver, &reason);
    if (info->status == HL_OK) {
        info->status = probe->find_machine(machine, &reason);
        hl__driver_close(probe->driver);
    }
    if (info->status == HL_OK) {
        experiment_describe(info, machine);
        probe->describe(info, machine);
    } else {
        snprintf(info->detail, sizeof info->detail, "%.*s", (int)sizeof info->detail - 1,
                 reason.message);
    }
    return HL_OK;
}
