/*
 * A double of WinHvPlatform.dll, for wine: the Windows Hypervisor Platform, whose guests the engine
 * runs on KVM by Linux system calls of its own.
 *
 * KVM takes memory of the calling process only. A range of a surrogate process is therefore looked up
 * among the views that the calling process has of the same section.
 *
 * Environment: WHP_DOUBLE_TRACE=1 prints what happens.
 */
#include "engine.h"

#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#include <winhvplatform.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __declspec(dllexport) HRESULT WINAPI

#define RESULT(code) ((HRESULT)(0x80370000u | (code)))
#define E_UNKNOWN_CAPABILITY RESULT(0x300u)
#define E_INSUFFICIENT_BUFFER RESULT(0x301u)
#define E_UNKNOWN_PROPERTY RESULT(0x302u)
#define E_INVALID_CONFIG RESULT(0x303u)
#define E_PROPERTY_TOO_LATE RESULT(0x304u)
#define E_NO_SUCH_RANGE RESULT(0x305u)
#define E_VP_EXISTS RESULT(0x307u)
#define E_NO_SUCH_VP RESULT(0x308u)
#define E_VP_STATE RESULT(0x309u)
#define E_BAD_REGISTER RESULT(0x30au)
#define E_OTHER_PARTITION ((HRESULT)0xc0370008)

enum { VPS_MAX = 64, MAGIC = 0x57485044 };

struct partition {
    unsigned magic;
    bool is_set_up;
    uint32_t vp_count;
    bool has_apic;
    uint64_t extended_exits, exception_bitmap;
    struct engine_vm *engine;
    struct engine_vp *vps[VPS_MAX];
};

static void trace(const char *format, ...) __attribute__((format(gnu_printf, 1, 2)));
static void trace(const char *format, ...)
{
    if (!getenv("WHP_DOUBLE_TRACE"))
        return;
    va_list arguments;
    va_start(arguments, format);
    fputs("whp double: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    fflush(stderr);
    va_end(arguments);
}

static struct partition *partition_find(WHV_PARTITION_HANDLE handle)
{
    struct partition *partition = handle;
    return partition && partition->magic == MAGIC ? partition : NULL;
}

static struct engine_vp *vp_find(WHV_PARTITION_HANDLE handle, UINT32 index)
{
    const struct partition *partition = partition_find(handle);
    return partition && index < VPS_MAX ? partition->vps[index] : NULL;
}

static HRESULT give(void *buffer, UINT32 size, UINT32 *written, const void *value,
                    UINT32 value_size)
{
    if (written)
        *written = value_size;
    if (size < value_size)
        return E_INSUFFICIENT_BUFFER;
    memcpy(buffer, value, value_size);
    return S_OK;
}

/* Capabilities */

EXPORTED WHvGetCapability(WHV_CAPABILITY_CODE code, VOID *buffer, UINT32 size, UINT32 *written)
{
    enum { PROCESSOR_AMD = 0, PROCESSOR_INTEL = 1, CACHE_LINE_SHIFT = 6 };
    WHV_CAPABILITY_FEATURES features = {0};
    BOOL present = engine_present();
    uint64_t number = 0;
    BYTE shift = CACHE_LINE_SHIFT;
    switch ((int)code) {
    case WHvCapabilityCodeHypervisorPresent:
        return give(buffer, size, written, &present, sizeof present);
    case WHvCapabilityCodeFeatures:
        features.LocalApicEmulation = features.Xsave = features.DirtyPageTracking = 1;
        return give(buffer, size, written, &features, sizeof features);
    case WHvCapabilityCodeExtendedVmExits:
    case WHvCapabilityCodeExceptionExitBitmap:
        return give(buffer, size, written, &number, sizeof number);
    case WHvCapabilityCodeProcessorVendor:
        return give(buffer, size, written, &number, sizeof(WHV_PROCESSOR_VENDOR));
    case WHvCapabilityCodeProcessorFeatures:
        number = UINT64_MAX >> 4;
        return give(buffer, size, written, &number, sizeof number);
    case WHvCapabilityCodeProcessorClFlushSize:
        return give(buffer, size, written, &shift, sizeof shift);
    case WHvCapabilityCodeProcessorXsaveFeatures:
        number = 0x1f;
        return give(buffer, size, written, &number, sizeof number);
    case WHvCapabilityCodeProcessorClockFrequency:
        number = 2400000000;
        return give(buffer, size, written, &number, sizeof number);
    default:
        return E_UNKNOWN_CAPABILITY;
    }
}

/* Partitions */

EXPORTED WHvCreatePartition(WHV_PARTITION_HANDLE *handle)
{
    struct partition *partition = calloc(1, sizeof *partition);
    if (!partition)
        return E_OUTOFMEMORY;
    partition->magic = MAGIC;
    *handle = partition;
    return S_OK;
}

EXPORTED WHvSetPartitionProperty(WHV_PARTITION_HANDLE handle, WHV_PARTITION_PROPERTY_CODE code,
                                 const VOID *buffer, UINT32 size)
{
    struct partition *partition = partition_find(handle);
    uint64_t value = 0;
    if (!partition || !buffer || size < sizeof(UINT32))
        return E_INVALIDARG;
    memcpy(&value, buffer, size < sizeof value ? size : sizeof value);
    bool early = code == WHvPartitionPropertyCodeProcessorCount ||
                 code == WHvPartitionPropertyCodeLocalApicEmulationMode;
    if (early && partition->is_set_up)
        return E_PROPERTY_TOO_LATE;
    if (code == WHvPartitionPropertyCodeProcessorCount) {
        if (value == 0 || value > VPS_MAX)
            return E_INVALIDARG;
        partition->vp_count = (uint32_t)value;
    } else if (code == WHvPartitionPropertyCodeLocalApicEmulationMode) {
        partition->has_apic = value != 0;
    } else if (code == WHvPartitionPropertyCodeExtendedVmExits) {
        partition->extended_exits = value;
    } else if (code == WHvPartitionPropertyCodeExceptionExitBitmap) {
        partition->exception_bitmap = value;
    }
    return S_OK;
}

EXPORTED WHvGetPartitionProperty(WHV_PARTITION_HANDLE handle, WHV_PARTITION_PROPERTY_CODE code,
                                 VOID *buffer, UINT32 size, UINT32 *written)
{
    const struct partition *partition = partition_find(handle);
    if (!partition)
        return E_INVALIDARG;
    if (code == WHvPartitionPropertyCodeProcessorCount)
        return give(buffer, size, written, &partition->vp_count, sizeof partition->vp_count);
    return E_UNKNOWN_PROPERTY;
}

EXPORTED WHvSetupPartition(WHV_PARTITION_HANDLE handle)
{
    struct partition *partition = partition_find(handle);
    if (!partition || !partition->vp_count || partition->is_set_up)
        return E_INVALID_CONFIG;
    partition->engine = engine_vm_new(partition->has_apic);
    if (!partition->engine)
        return E_FAIL;
    partition->is_set_up = true;
    return engine_track(partition->engine, true) == ENGINE_OK ? S_OK : E_FAIL;
}

/* The partition that the memory of this process belongs to, if any. */
static _Atomic(struct partition *) process_owner;

EXPORTED WHvDeletePartition(WHV_PARTITION_HANDLE handle)
{
    struct partition *partition = partition_find(handle), *owner = partition;
    if (!partition)
        return E_INVALIDARG;
    for (unsigned i = 0; i < VPS_MAX; i++)
        if (partition->vps[i])
            engine_vp_free(partition->vps[i]);
    if (partition->engine)
        engine_vm_free(partition->engine);
    atomic_compare_exchange_strong(&process_owner, &owner, NULL);
    partition->magic = 0;
    free(partition);
    return S_OK;
}

/* Memory */

static HRESULT map(const struct partition *partition, void *host, uint64_t address, uint64_t size,
                   WHV_MAP_GPA_RANGE_FLAGS flags)
{
    if (((uintptr_t)host | address | size) % PAGE_BYTES || !size)
        return E_INVALIDARG;
    if (!partition->is_set_up)
        return E_VP_STATE;
    unsigned access = (flags & WHvMapGpaRangeFlagRead ? ENGINE_READ : 0) |
                      (flags & WHvMapGpaRangeFlagWrite ? ENGINE_WRITE : 0) |
                      (flags & WHvMapGpaRangeFlagExecute ? ENGINE_EXECUTE : 0) |
                      (flags & WHvMapGpaRangeFlagTrackDirtyPages ? ENGINE_TRACKED : 0);
    enum engine_result result = engine_map(partition->engine, address, size, host, access);
    trace("map %llx, %llx bytes at %p: %d", (unsigned long long)address, (unsigned long long)size,
          host, result);
    return result == ENGINE_OK ? S_OK : E_FAIL;
}

EXPORTED WHvMapGpaRange(WHV_PARTITION_HANDLE handle, VOID *host, WHV_GUEST_PHYSICAL_ADDRESS address,
                        UINT64 size, WHV_MAP_GPA_RANGE_FLAGS flags)
{
    struct partition *partition = partition_find(handle), *owner = NULL;
    if (!partition)
        return E_INVALIDARG;
    if (!atomic_compare_exchange_strong(&process_owner, &owner, partition) && owner != partition)
        return E_OTHER_PARTITION;
    return map(partition, host, address, size, flags);
}

#define IS_WRITABLE (PAGE_READWRITE | PAGE_EXECUTE_READWRITE)

/* Whether the place has this word. Other threads unmap what is theirs at any time. */
static bool has_word(const uint8_t *mine, uint64_t word)
{
    uint64_t seen;
    return system_peek(&seen, mine, sizeof seen) && seen == word;
}

/* Whether a mark that is made here is seen there. */
static bool shares_mark(HANDLE process, const void *other, uint8_t *mine, uint64_t mark)
{
    uint64_t seen = 0, before;
    if (!system_peek(&before, mine, sizeof before) || !system_poke(mine, &mark, sizeof mark))
        return false;
    BOOL done = ReadProcessMemory(process, other, &seen, sizeof seen, NULL);
    system_poke(mine, &before, sizeof before);
    return done && seen == mark;
}

/* Whether all of it is equal. */
static bool has_equal_bytes(HANDLE process, const uint8_t *other, const uint8_t *mine, size_t size)
{
    uint8_t page[PAGE_BYTES], own[PAGE_BYTES];
    SIZE_T read = 0;
    for (size_t at = 0; at < size; at += sizeof page)
        if (!system_peek(own, mine + at, sizeof own) ||
            !ReadProcessMemory(process, other + at, page, sizeof page, &read) ||
            memcmp(page, own, sizeof page) != 0)
            return false;
    return true;
}

/* The views of sections that this process has: where each starts, and one past its last. */
struct view {
    uint8_t *start, *end;
};

static size_t list_views(struct view *views, size_t count_max)
{
    MEMORY_BASIC_INFORMATION region;
    size_t count = 0;
    for (uint8_t *at = NULL; VirtualQuery(at, &region, sizeof region);
         at = (uint8_t *)region.BaseAddress + region.RegionSize) {
        uint8_t *end = (uint8_t *)region.BaseAddress + region.RegionSize;
        if (region.Type != MEM_MAPPED || region.State == MEM_FREE)
            continue;
        if (count && views[count - 1].start == region.AllocationBase)
            views[count - 1].end = end;
        else if (count < count_max)
            views[count++] = (struct view){region.AllocationBase, end};
    }
    return count;
}

/* What is looked for: memory of another process. If it can be written to it has a mark. */
struct original {
    HANDLE process;
    uint8_t *address;
    size_t size;
    bool is_marked;
    uint64_t mark;
};

/* Memory that neither may write to and that is equal is as good. */
static bool is_alias(const struct original *original, uint8_t *candidate)
{
    MEMORY_BASIC_INFORMATION region;
    if (original->is_marked)
        return has_word(candidate, original->mark);
    if (!VirtualQuery(candidate, &region, sizeof region) || region.State != MEM_COMMIT ||
        (size_t)((uint8_t *)region.BaseAddress + region.RegionSize - candidate) < original->size ||
        !has_equal_bytes(original->process, original->address, candidate, original->size))
        return false;
    return region.Protect & PAGE_READONLY ||
           (region.Protect & IS_WRITABLE &&
            shares_mark(original->process, original->address, candidate, original->mark));
}

/* Views of one section may start at different places of it, which are multiples of 64 KiB; most do
 * not. `offset`: of the original in its own view. */
static void *search_views(const struct original *original, size_t offset)
{
    enum { VIEWS_MAX = 8192, STEP = 65536 };
    static struct view views[VIEWS_MAX];
    size_t count = list_views(views, VIEWS_MAX);
    for (bool any = true; any; offset += STEP) {
        any = false;
        for (size_t i = 0; i < count; i++) {
            if (offset >= (size_t)(views[i].end - views[i].start))
                continue;
            any = true;
            if (is_alias(original, views[i].start + offset))
                return views[i].start + offset;
        }
    }
    return NULL;
}

/* The place in this process with the memory at `address` of that process; NULL if there is none. The
 * mark is made there where possible, in memory of a partition that does not run: whatever else this
 * process has may be in use. */
static void *find_alias(HANDLE process, uint8_t *address, size_t size)
{
    static uint64_t count;
    MEMORY_BASIC_INFORMATION remote;
    uint64_t before = 0;
    if (!VirtualQueryEx(process, address, &remote, sizeof remote))
        return NULL;
    struct original original = {process, address, size, remote.Protect & IS_WRITABLE,
                                0x9e3779b97f4a7c15ull * ++count ^ (uintptr_t)address};
    if (original.is_marked &&
        (!ReadProcessMemory(process, address, &before, sizeof before, NULL) ||
         !WriteProcessMemory(process, address, &original.mark, sizeof original.mark, NULL)))
        return NULL;
    void *alias = search_views(&original, (size_t)(address - (uint8_t *)remote.AllocationBase));
    if (original.is_marked)
        WriteProcessMemory(process, address, &before, sizeof before, NULL);
    return alias;
}

EXPORTED WHvMapGpaRange2(WHV_PARTITION_HANDLE handle, HANDLE process, VOID *host,
                         WHV_GUEST_PHYSICAL_ADDRESS address, UINT64 size,
                         WHV_MAP_GPA_RANGE_FLAGS flags)
{
    static system_lock one_at_a_time; /* two marks must not mix */
    const struct partition *partition = partition_find(handle);
    if (!partition)
        return E_INVALIDARG;
    if (process == GetCurrentProcess())
        return WHvMapGpaRange(handle, host, address, size, flags);
    lock_take(&one_at_a_time);
    void *alias = find_alias(process, host, size);
    lock_release(&one_at_a_time);
    trace("%p of a surrogate is %p here", host, alias);
    return alias ? map(partition, alias, address, size, flags) : E_INVALIDARG;
}

EXPORTED WHvUnmapGpaRange(WHV_PARTITION_HANDLE handle, WHV_GUEST_PHYSICAL_ADDRESS address,
                          UINT64 size)
{
    const struct partition *partition = partition_find(handle);
    if (!partition || !partition->engine)
        return E_INVALIDARG;
    return engine_unmap(partition->engine, address, size) == ENGINE_OK ? S_OK : E_NO_SUCH_RANGE;
}

EXPORTED WHvQueryGpaRangeDirtyBitmap(WHV_PARTITION_HANDLE handle,
                                     WHV_GUEST_PHYSICAL_ADDRESS address, UINT64 size,
                                     UINT64 *bitmap, UINT32 bitmap_size)
{
    const struct partition *partition = partition_find(handle);
    uint64_t pages = size / PAGE_BYTES;
    struct engine_slot slot;
    if (!partition || !partition->engine || (address | size) % PAGE_BYTES || (uintptr_t)bitmap % 8)
        return E_INVALIDARG;
    if (!engine_find(partition->engine, address, &slot) || !(slot.access & ENGINE_TRACKED) ||
        slot.address + slot.size - address < size)
        return E_NO_SUCH_RANGE;
    if (bitmap && bitmap_size < (pages + 63) / 64 * sizeof *bitmap)
        return E_INSUFFICIENT_BUFFER;
    uint8_t *bits = bitmap ? (uint8_t *)bitmap : calloc((pages + 63) / 64, sizeof *bitmap);
    if (!bits)
        return E_OUTOFMEMORY;
    memset(bits, 0, (pages + 63) / 64 * sizeof *bitmap);
    enum engine_result result =
        engine_dirty(partition->engine, address / PAGE_BYTES, pages, ENGINE_DIRTY_CLEAR, bits);
    if (!bitmap)
        free(bits);
    return result == ENGINE_OK ? S_OK : E_NO_SUCH_RANGE;
}

EXPORTED WHvTranslateGva(WHV_PARTITION_HANDLE handle, UINT32 index,
                         WHV_GUEST_VIRTUAL_ADDRESS address, WHV_TRANSLATE_GVA_FLAGS flags,
                         WHV_TRANSLATE_GVA_RESULT *result, WHV_GUEST_PHYSICAL_ADDRESS *physical)
{
    struct engine_vp *vp = vp_find(handle, index);
    struct engine_slot slot;
    uint64_t found;
    (void)flags;
    if (!vp)
        return E_NO_SUCH_VP;
    *result = (WHV_TRANSLATE_GVA_RESULT){.ResultCode = WHvTranslateGvaResultPageNotPresent};
    if (!engine_translate(vp, address, &found))
        return S_OK;
    *physical = found;
    result->ResultCode = engine_find(vp->vm, found, &slot) ? WHvTranslateGvaResultSuccess
                                                           : WHvTranslateGvaResultGpaUnmapped;
    return S_OK;
}

/* VPs */

EXPORTED WHvCreateVirtualProcessor(WHV_PARTITION_HANDLE handle, UINT32 index, UINT32 flags)
{
    struct partition *partition = partition_find(handle);
    if (!partition || !partition->is_set_up || flags || index >= partition->vp_count)
        return E_INVALIDARG;
    if (partition->vps[index])
        return E_VP_EXISTS;
    partition->vps[index] = engine_vp_new(partition->engine, index);
    return partition->vps[index] ? S_OK : E_FAIL;
}

EXPORTED WHvDeleteVirtualProcessor(WHV_PARTITION_HANDLE handle, UINT32 index)
{
    struct engine_vp *vp = vp_find(handle, index);
    if (!vp)
        return E_NO_SUCH_VP;
    partition_find(handle)->vps[index] = NULL;
    engine_vp_free(vp);
    return S_OK;
}

EXPORTED WHvCancelRunVirtualProcessor(WHV_PARTITION_HANDLE handle, UINT32 index, UINT32 flags)
{
    struct engine_vp *vp = vp_find(handle, index);
    if (!vp || flags)
        return vp ? E_INVALIDARG : E_NO_SUCH_VP;
    engine_cancel(vp);
    return S_OK;
}

/* Registers */

/* The engine's name for one of WHP's. */
static uint32_t name_of(WHV_REGISTER_NAME name)
{
    enum { MSRS_MAX = 0x100 };
    uint32_t number = (uint32_t)name;
    if (number <= WHvX64RegisterRflags)
        return NAME_RAX + number;
    if (number <= WHvX64RegisterTr)
        return NAME_ES + number - WHvX64RegisterEs;
    if (number <= WHvX64RegisterGdtr)
        return NAME_IDTR + number - WHvX64RegisterIdtr;
    if (number <= WHvX64RegisterCr8)
        return NAME_CR0 + number - WHvX64RegisterCr0;
    if (number <= WHvX64RegisterDr7)
        return NAME_DR0 + number - WHvX64RegisterDr0;
    if (number == WHvX64RegisterXCr0)
        return NAME_XCR0;
    if (number >= WHvX64RegisterXmm0 && number <= WHvX64RegisterXmmControlStatus)
        return NAME_XMM0 + number - WHvX64RegisterXmm0;
    if (number >= WHvX64RegisterTsc && number < (uint32_t)WHvX64RegisterTsc + MSRS_MAX)
        return NAME_TSC + number - WHvX64RegisterTsc;
    switch (number) {
    case WHvRegisterPendingInterruption:
    case WHvRegisterInterruptState:
    case WHvRegisterPendingEvent:
        return NAME_PENDING_INTERRUPTION + number - WHvRegisterPendingInterruption;
    case WHvX64RegisterDeliverabilityNotifications:
        return NAME_DELIVERABILITY;
    case WHvRegisterInternalActivityState:
        return NAME_ACTIVITY;
    default:
        return UINT32_MAX; /* no name */
    }
}

EXPORTED WHvGetVirtualProcessorRegisters(WHV_PARTITION_HANDLE handle, UINT32 index,
                                         const WHV_REGISTER_NAME *names, UINT32 count,
                                         WHV_REGISTER_VALUE *values)
{
    struct engine_vp *vp = vp_find(handle, index);
    if (!vp)
        return E_NO_SUCH_VP;
    if ((uintptr_t)values % sizeof *values)
        return E_INVALIDARG;
    for (UINT32 i = 0; i < count; i++) {
        union engine_value value;
        if (engine_get(vp, name_of(names[i]), &value) != ENGINE_OK)
            return E_BAD_REGISTER;
        memcpy((uint8_t *)values + i * sizeof value, &value, sizeof value);
    }
    return S_OK;
}

EXPORTED WHvSetVirtualProcessorRegisters(WHV_PARTITION_HANDLE handle, UINT32 index,
                                         const WHV_REGISTER_NAME *names, UINT32 count,
                                         const WHV_REGISTER_VALUE *values)
{
    struct engine_vp *vp = vp_find(handle, index);
    if (!vp)
        return E_NO_SUCH_VP;
    if ((uintptr_t)values % sizeof *values)
        return E_INVALIDARG;
    for (UINT32 i = 0; i < count; i++) {
        union engine_value value;
        memcpy(&value, (const uint8_t *)values + i * sizeof value, sizeof value);
        enum engine_result result = engine_set(vp, name_of(names[i]), &value);
        if (result != ENGINE_OK) {
            trace("register %x: %d", (unsigned)names[i], result);
            return result == ENGINE_BAD_VALUE ? E_INVALIDARG : E_BAD_REGISTER;
        }
    }
    return S_OK;
}

EXPORTED WHvGetVirtualProcessorXsaveState(WHV_PARTITION_HANDLE handle, UINT32 index, VOID *buffer,
                                          UINT32 size, UINT32 *written)
{
    struct engine_vp *vp = vp_find(handle, index);
    if (!vp)
        return E_NO_SUCH_VP;
    if (written)
        *written = ENGINE_XSAVE_SIZE;
    if (size < ENGINE_XSAVE_SIZE)
        return E_INSUFFICIENT_BUFFER;
    return engine_xsave_get(vp, buffer) == ENGINE_OK ? S_OK : E_FAIL;
}

EXPORTED WHvSetVirtualProcessorXsaveState(WHV_PARTITION_HANDLE handle, UINT32 index,
                                          const VOID *buffer, UINT32 size)
{
    enum { LEGACY_AND_HEADER = 576 };
    struct engine_vp *vp = vp_find(handle, index);
    uint8_t area[ENGINE_XSAVE_SIZE] = {0};
    if (!vp)
        return E_NO_SUCH_VP;
    if (size < LEGACY_AND_HEADER)
        return E_INVALIDARG;
    memcpy(area, buffer, size < sizeof area ? size : sizeof area);
    return engine_xsave_set(vp, area) == ENGINE_OK ? S_OK : E_INVALIDARG;
}

/* Running */

static void fill_vp_context(struct engine_vp *vp, const struct engine_exit *exit,
                            WHV_VP_EXIT_CONTEXT *context)
{
    const struct kvm_sregs *sregs = &vp->run->s.regs.sregs;
    const struct kvm_regs *regs = &vp->run->s.regs.regs;
    union engine_value cs;
    (void)engine_get(vp, NAME_CS, &cs);
    memcpy(&context->Cs, &cs, sizeof context->Cs);
    context->ExecutionState.Cpl = sregs->cs.dpl & 3;
    context->ExecutionState.Cr0Pe = sregs->cr0 & 1;
    context->ExecutionState.EferLma = sregs->efer >> 10 & 1;
    context->InstructionLength = exit->length & 15;
    context->Cr8 = sregs->cr8 & 15;
    context->Rip = regs->rip;
    context->Rflags = regs->rflags;
}

static void fill_port(const struct engine_vp *vp, const struct engine_exit *exit,
                      WHV_RUN_VP_EXIT_CONTEXT *context)
{
    const struct kvm_regs *regs = &vp->run->s.regs.regs;
    WHV_X64_IO_PORT_ACCESS_CONTEXT *port = &context->IoPortAccess;
    context->ExitReason = WHvRunVpExitReasonX64IoPortAccess;
    port->InstructionByteCount = exit->byte_count;
    memcpy(port->InstructionBytes, exit->bytes, sizeof port->InstructionBytes);
    port->AccessInfo.IsWrite = exit->is_write;
    port->AccessInfo.AccessSize = exit->size;
    port->AccessInfo.StringOp = exit->is_string;
    port->AccessInfo.RepPrefix = exit->is_repeated;
    port->PortNumber = exit->port;
    port->Rax = regs->rax;
    port->Rcx = regs->rcx;
    port->Rsi = regs->rsi;
    port->Rdi = regs->rdi;
}

static HRESULT fill_exit(struct engine_vp *vp, const struct engine_exit *exit,
                         WHV_RUN_VP_EXIT_CONTEXT *context)
{
    memset(context, 0, sizeof *context);
    fill_vp_context(vp, exit, &context->VpContext);
    switch (exit->kind) {
    case ENGINE_EXIT_PORT:
        fill_port(vp, exit, context);
        return S_OK;
    case ENGINE_EXIT_MEMORY:
        context->ExitReason = WHvRunVpExitReasonMemoryAccess;
        context->MemoryAccess.AccessInfo.AccessType =
            exit->is_write ? WHvMemoryAccessWrite : WHvMemoryAccessRead;
        context->MemoryAccess.AccessInfo.GpaUnmapped = !exit->is_mapped;
        context->MemoryAccess.Gpa = exit->address;
        return S_OK;
    case ENGINE_EXIT_HALT:
        context->ExitReason = WHvRunVpExitReasonX64Halt;
        return S_OK;
    case ENGINE_EXIT_TRIPLE_FAULT:
        context->ExitReason = WHvRunVpExitReasonUnrecoverableException;
        return S_OK;
    case ENGINE_EXIT_CANCELLED:
        context->ExitReason = WHvRunVpExitReasonCanceled;
        return S_OK;
    case ENGINE_EXIT_BAD_STATE:
        context->ExitReason = WHvRunVpExitReasonInvalidVpRegisterValue;
        return S_OK;
    default:
        trace("KVM gave up: %x", exit->failure);
        return E_FAIL;
    }
}

EXPORTED WHvRunVirtualProcessor(WHV_PARTITION_HANDLE handle, UINT32 index, VOID *buffer,
                                UINT32 size)
{
    struct engine_vp *vp = vp_find(handle, index);
    struct engine_exit exit;
    WHV_RUN_VP_EXIT_CONTEXT context;
    if (!vp)
        return E_NO_SUCH_VP;
    do
        engine_run(vp, &exit);
    while (exit.kind == ENGINE_EXIT_SIGNAL); /* wine's own signals */
    HRESULT result = fill_exit(vp, &exit, &context);
    if (result == S_OK)
        memcpy(buffer, &context, size < sizeof context ? size : sizeof context);
    return result;
}
