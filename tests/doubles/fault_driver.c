/* The wrapper's state is the inner driver's, so it hands everything on unchanged. */
#include "doubles/fault_driver.h"

#include "util/error.h"

#include <stdatomic.h>

static const hl__driver *fault_inner;
static hl__driver fault_table;
static atomic_uint_fast64_t fault_operations, fault_at, fault_vms, fault_vcpus;
static atomic_bool fault_has_fired;

/* Counts an operation; HL_SYSTEM if it is the one to fail. */
static hl_status fault_check(const char *operation, hl_error *err)
{
    uint64_t number = atomic_fetch_add(&fault_operations, 1) + 1;
    if (number != atomic_load(&fault_at))
        return HL_OK;
    atomic_store(&fault_has_fired, true);
    return hl__error_set(err, HL_SYSTEM, operation, "fault injected into operation %llu: %s",
                         (unsigned long long)number, operation);
}

static hl_status fault_probe(hl_driver_info *info, struct hl__machine *machine, hl_error *err)
{
    hl_status status = fault_check("probe", err);
    return status ? status : fault_inner->probe(info, machine, err);
}

static hl_status fault_vm_create(void *vm, uint32_t vcpu_count, uint64_t *counter, hl_error *err)
{
    hl_status status = fault_check("vm_create", err);
    if (status == HL_OK)
        status = fault_inner->vm_create(vm, vcpu_count, counter, err);
    if (status == HL_OK)
        atomic_fetch_add(&fault_vms, 1);
    return status;
}

static void fault_vm_destroy(void *vm)
{
    atomic_fetch_sub(&fault_vms, 1);
    fault_inner->vm_destroy(vm);
}

static hl_status fault_memory_add(void *vm, uint32_t slot, hl__gpa address, void *host, size_t size,
                                  uint32_t flags, hl_error *err)
{
    hl_status status = fault_check("memory_add", err);
    return status ? status : fault_inner->memory_add(vm, slot, address, host, size, flags, err);
}

static hl_status fault_memory_track(void *vm, uint32_t slot, hl_error *err)
{
    hl_status status = fault_check("memory_track", err);
    return status ? status : fault_inner->memory_track(vm, slot, err);
}

static hl_status fault_dirty_collect(void *vm, uint32_t slot, uint64_t *bitmap, size_t words,
                                     hl_error *err)
{
    hl_status status = fault_check("dirty_collect", err);
    return status ? status : fault_inner->dirty_collect(vm, slot, bitmap, words, err);
}

static hl_status fault_dirty_rearm(void *vm, uint32_t slot, const uint64_t *bitmap, size_t words,
                                   hl_error *err)
{
    hl_status status = fault_check("dirty_rearm", err);
    return status ? status : fault_inner->dirty_rearm(vm, slot, bitmap, words, err);
}

static hl_status fault_flush(void *vm, hl_error *err)
{
    hl_status status = fault_check("flush", err);
    return status ? status : fault_inner->flush(vm, err);
}

static hl_status fault_vcpu_create(void *vm, void *vcpu, uint32_t index,
                                   const struct hl__vcpu_setup *setup, hl_error *err)
{
    hl_status status = fault_check("vcpu_create", err);
    if (status == HL_OK)
        status = fault_inner->vcpu_create(vm, vcpu, index, setup, err);
    if (status == HL_OK)
        atomic_fetch_add(&fault_vcpus, 1);
    return status;
}

static void fault_vcpu_destroy(void *vcpu)
{
    atomic_fetch_sub(&fault_vcpus, 1);
    fault_inner->vcpu_destroy(vcpu);
}

static hl_status fault_state_get(void *vcpu, uint32_t groups, struct hl__cpu_state *state,
                                 hl_error *err)
{
    hl_status status = fault_check("state_get", err);
    return status ? status : fault_inner->state_get(vcpu, groups, state, err);
}

static hl_status fault_retire(void *vcpu, hl_error *err)
{
    hl_status status = fault_check("retire", err);
    return status ? status : fault_inner->retire(vcpu, err);
}

static hl_status fault_run(void *vcpu, struct hl__exit *exit, hl_error *err)
{
    hl_status status = fault_check("run", err);
    return status ? status : fault_inner->run(vcpu, exit, err);
}

const hl__driver *fault_driver_wrap(const hl__driver *inner)
{
    fault_inner = inner;
    fault_table = (hl__driver){
        .name = "fault",
        .vm_size = inner->vm_size,
        .vcpu_size = inner->vcpu_size,
        .probe = fault_probe,
        .open = inner->open,
        .close = inner->close,
        .vm_create = fault_vm_create,
        .vm_destroy = fault_vm_destroy,
        .memory_add = fault_memory_add,
        .memory_track = fault_memory_track,
        .dirty_collect = fault_dirty_collect,
        .dirty_rearm = inner->dirty_rearm ? fault_dirty_rearm : NULL,
        .flush = fault_flush,
        .vcpu_create = fault_vcpu_create,
        .vcpu_destroy = fault_vcpu_destroy,
        .state_set = inner->state_set,
        .state_get = fault_state_get,
        .retire = fault_retire,
        .run = fault_run,
        .kick = inner->kick,
    };
    atomic_store(&fault_vms, 0);
    atomic_store(&fault_vcpus, 0);
    fault_driver_arm(0);
    return &fault_table;
}

void fault_driver_arm(uint64_t n)
{
    atomic_store(&fault_operations, 0);
    atomic_store(&fault_has_fired, false);
    atomic_store(&fault_at, n);
}

bool fault_driver_fired(void)
{
    return atomic_load(&fault_has_fired);
}

uint64_t fault_driver_operations(void)
{
    return atomic_load(&fault_operations);
}

uint64_t fault_driver_vms(void)
{
    return atomic_load(&fault_vms);
}

uint64_t fault_driver_vcpus(void)
{
    return atomic_load(&fault_vcpus);
}
