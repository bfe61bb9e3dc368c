/* What the files of the WHP driver share: the state behind the table, and what is known of the
 * Windows Hypervisor Platform. */
#ifndef HL_DRIVER_WHP_INTERNAL_H
#define HL_DRIVER_WHP_INTERNAL_H

#include "driver/hyperv.h"

#include <stdatomic.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#include <winhvplatform.h>

#define HL__WHP_VCPUS_MAX 64u

/* The functions of WinHvPlatform.dll, which not every Windows has. */
#define HL__WHP_FUNCTIONS(F)                                                                       \
    F(WHvGetCapability)                                                                            \
    F(WHvCreatePartition)                                                                          \
    F(WHvSetupPartition)                                                                           \
    F(WHvDeletePartition)                                                                          \
    F(WHvSetPartitionProperty)                                                                     \
    F(WHvMapGpaRange)                                                                              \
    F(WHvUnmapGpaRange)                                                                            \
    F(WHvQueryGpaRangeDirtyBitmap)                                                                 \
    F(WHvCreateVirtualProcessor)                                                                   \
    F(WHvDeleteVirtualProcessor)                                                                   \
    F(WHvRunVirtualProcessor)                                                                      \
    F(WHvCancelRunVirtualProcessor)                                                                \
    F(WHvGetVirtualProcessorRegisters)                                                             \
    F(WHvSetVirtualProcessorRegisters)                                                             \
    F(WHvGetVirtualProcessorXsaveState)

struct whp_functions {
#define F(name) __typeof__(&name) name;
    HL__WHP_FUNCTIONS(F)
#undef F
    __typeof__(&WHvMapGpaRange2) WHvMapGpaRange2; /* NULL on old versions of Windows */
};

/* Facts about the platform, the same for every VM. Written when it is first opened, and by the probe,
 * read-only afterwards. */
struct whp_host {
    struct whp_functions functions;
    bool surrogates; /* VMs live in processes of their own, else there is one VM at a time */
    uint64_t xcr0;   /* every vCPU's */
};
extern struct whp_host hl__whp_host;

/*
 * A process that never runs and only holds the memory of one VM: Hyper-V maps the memory of a
 * process to one partition at most.
 */
struct whp_surrogate {
    HANDLE process;
    struct whp_surrogate *next; /* among those that no VM uses */
};

struct whp_vm {
    WHV_PARTITION_HANDLE partition;
    struct whp_surrogate *surrogate; /* NULL: the memory is our own */
    uint64_t *counter;
    struct hl__hyperv_memory memory;
};

struct whp_vcpu {
    WHV_PARTITION_HANDLE partition;
    uint32_t index;
    uint64_t *counter;
    struct hl__hyperv_waiting waiting;
    atomic_bool running; /* in Hyper-V, or about to be */
    /* A kick that no run has answered yet. Set by any thread. */
    atomic_bool kicked;
};

/* Fills an error of HL_SYSTEM from a failed call. */
hl_status hl__whp_error(hl_error *err, HRESULT result, const char *source, const char *what);

/* Finds the platform, unless it was found. Errors: HL_NO_HYPERVISOR, HL_HYPERVISOR_TOO_OLD; the
 * message says how to get what is missing. Calls nest. The last close ends the surrogates. */
hl_status hl__whp_open(hl_error *err);
void hl__whp_close(void);

/* Fills hl__whp_host and finds out by experiment what the machine does with guests. */
hl_status hl__whp_probe(hl_driver_info *info, struct hl__machine *machine, hl_error *err);

/* Sets XCR0. */
hl_status hl__whp_vcpu_set_xcr0(const struct whp_vcpu *vcpu, uint64_t value, hl_error *err);

/* Whether surrogates can be made: their program is where the library is. */
bool hl__whp_surrogates_available(void);
/* An idle one or a new one. */
hl_status hl__whp_surrogate_take(struct whp_surrogate **surrogate, hl_error *err);
void hl__whp_surrogate_give_back(struct whp_surrogate *surrogate);
/* Ends all that no VM uses. */
void hl__whp_surrogates_end(void);
/* Maps memory of this process, which must be part of a section, into a surrogate: *source is its
 * address there, *view what to unmap. */
hl_status hl__whp_surrogate_map(const struct whp_surrogate *surrogate, const void *memory,
                                size_t size, bool writable, void **source, void **view,
                                hl_error *err);
void hl__whp_surrogate_unmap(const struct whp_surrogate *surrogate, void *view);

hl_status hl__whp_vcpu_create(void *vm, void *vcpu, uint32_t index,
                              const struct hl__vcpu_setup *setup, hl_error *err);
void hl__whp_vcpu_destroy(void *vcpu);
void hl__whp_state_set(void *vcpu, uint32_t groups, const struct hl__cpu_state *state);
hl_status hl__whp_state_get(void *vcpu, uint32_t groups, struct hl__cpu_state *state,
                            hl_error *err);
hl_status hl__whp_retire(void *vcpu, hl_error *err);
hl_status hl__whp_run(void *vcpu, struct hl__exit *exit, hl_error *err);
void hl__whp_kick(void *vcpu);

extern const hl__driver hl__whp_driver;

#endif
