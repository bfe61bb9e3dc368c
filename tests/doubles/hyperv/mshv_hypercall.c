/* Hypercalls that the kernel passes on, and Hyper-V's answers. */
#include "mshv_double.h"

#include <errno.h>
#include <string.h>

struct call {
    struct partition *partition;
    struct vp *self;   /* whose descriptor it came by */
    struct vp *target; /* whom the input names */
    struct hypercall_request *request;
    union {
        uint8_t bytes[PAGE_BYTES];
        uint32_t words[PAGE_BYTES / 4];
        uint64_t longs[PAGE_BYTES / 8];
    } input, output;
    unsigned wanted, done; /* repetitions */
};

static unsigned status_of(enum engine_result result)
{
    switch (result) {
    case ENGINE_OK:
        return 0;
    case ENGINE_UNKNOWN:
        return STATUS_INVALID_PARAMETER;
    case ENGINE_BAD_VALUE:
        return STATUS_BAD_REGISTER_VALUE;
    default:
        return STATUS_OPERATION_FAILED;
    }
}

/* Properties */

enum {
    PROPERTY_PRIVILEGES = 0x10000,
    PROPERTY_SYNTHETIC_FEATURES = 0x10001,
    PROPERTY_TRACK_ACCESS = 0x50005,
    PROPERTY_VENDOR = 0x60000,
    PROPERTY_CACHE_LINE = 0x60003,
    PROPERTY_XSAVE_FEATURES = 0x60007,
    PROPERTY_PROCESSOR_FEATURES = 0x60002
};

/* What a property is before it is set; false if there is none of that code. */
static bool property_default(uint32_t code, uint64_t *value)
{
    const struct property known[] = {
        {PROPERTY_PRIVILEGES, 0},
        {PROPERTY_SYNTHETIC_FEATURES, 0},
        {0x50003, 0},
        {PROPERTY_TRACK_ACCESS, 0},
        {0x50010, 0},
        {0x50017, 0},
        {PROPERTY_VENDOR, 0},
        {PROPERTY_PROCESSOR_FEATURES, 0x1f},
        {PROPERTY_CACHE_LINE, 64},
        {0x60006, 48}, /* width of physical addresses */
        {PROPERTY_XSAVE_FEATURES, engine_xsave_features()},
        {0x60008, ENGINE_XSAVE_SIZE},
        {0x60009, 2400000000},      /* frequency of the time stamp counter */
        {0x6000a, UINT64_MAX >> 4}, /* banks of features that are masked */
        {0x6000b, 0},
        {0x80000, 0},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == code) {
            *value = known[i].value;
            return true;
        }
    return false;
}

static struct property *property_find(struct partition *partition, uint32_t code)
{
    for (unsigned i = 0; partition && i < partition->property_count; i++)
        if (partition->properties[i].code == code)
            return &partition->properties[i];
    return NULL;
}

static unsigned call_get_property(struct call *call)
{
    uint32_t code = call->input.words[2];
    const struct property *set = property_find(call->partition, code);
    if (set)
        call->output.longs[0] = set->value;
    else if (!property_default(code, &call->output.longs[0]))
        return STATUS_UNKNOWN_PROPERTY;
    return 0;
}

/* Those that shape a partition are set before it is initialized. */
static bool property_is_early(uint32_t code)
{
    return code == PROPERTY_PRIVILEGES || code == PROPERTY_SYNTHETIC_FEATURES ||
           code == PROPERTY_PROCESSOR_FEATURES || code == 0x6000a || code == 0x6000b;
}

static unsigned call_set_property(struct call *call)
{
    struct partition *partition = call->partition;
    uint32_t code = call->input.words[2];
    uint64_t value = call->input.longs[2], unused;
    struct property *set = property_find(partition, code);
    if (!property_default(code, &unused))
        return STATUS_UNKNOWN_PROPERTY;
    if (partition->initialized && property_is_early(code))
        return STATUS_STATE;
    if (code == PROPERTY_TRACK_ACCESS && engine_track(partition->engine, value & 1) != ENGINE_OK)
        return STATUS_OPERATION_FAILED;
    if (!set && partition->property_count < PROPERTIES_MAX)
        set = &partition->properties[partition->property_count++];
    if (!set)
        return STATUS_OPERATION_FAILED;
    *set = (struct property){code, value};
    return 0;
}

/* Registers */

static bool fits_input(const struct call *call, size_t head, size_t element)
{
    return head + call->wanted * element <= call->request->input_size;
}

static unsigned call_get_registers(struct call *call)
{
    if (!fits_input(call, 16, 4) || call->wanted * 16u > call->request->output_size)
        return STATUS_INVALID_INPUT;
    register_page_take(call->target);
    for (; call->done < call->wanted; call->done++) {
        union engine_value value;
        uint32_t name = call->input.words[4 + call->done];
        enum engine_result result = engine_get(call->target->engine, name, &value);
        if (result != ENGINE_OK)
            return status_of(result);
        memcpy(call->output.bytes + 16 * call->done, &value, sizeof value);
    }
    return 0;
}

static unsigned call_set_registers(struct call *call)
{
    enum { XCR0_AVX = 7 };
    struct named_value {
        uint32_t name, reserved;
        uint64_t reserved2;
        union engine_value value;
    } named;
    unsigned status = 0;
    if (!fits_input(call, 16, sizeof named))
        return STATUS_INVALID_INPUT;
    register_page_take(call->target);
    for (; call->done < call->wanted && !status; call->done += !status) {
        memcpy(&named, call->input.bytes + 16 + call->done * sizeof named, sizeof named);
        status = is_bare() && named.name == NAME_XCR0 && named.value.word[0] > XCR0_AVX
                     ? STATUS_BAD_REGISTER_VALUE
                     : status_of(engine_set(call->target->engine, named.name, &named.value));
        if (status)
            trace("register %x: status %x", named.name, status);
    }
    register_page_fill(call->target);
    return status;
}

static unsigned call_translate(struct call *call)
{
    enum { PAGE_NOT_PRESENT = 1 };
    uint64_t physical;
    register_page_take(call->target);
    if (engine_translate(call->target->engine, call->input.longs[3] * PAGE_BYTES, &physical))
        call->output.longs[1] = physical / PAGE_BYTES;
    else
        call->output.longs[0] = PAGE_NOT_PRESENT;
    return 0;
}

/* CPUID */

static unsigned call_cpuid_values(struct call *call)
{
    const struct kvm_cpuid2 *cpuid = call->partition->engine->cpuid;
    if (24 + call->wanted * 24u > PAGE_BYTES || call->wanted * 16u > PAGE_BYTES)
        return STATUS_INVALID_INPUT;
    for (; call->done < call->wanted; call->done++) {
        const uint32_t *leaf = &call->input.words[6 + 6 * call->done];
        for (uint32_t i = 0; i < cpuid->nent; i++) {
            const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
            bool any_index = !(entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
            if (entry->function == leaf[0] && (any_index || entry->index == leaf[1]))
                memcpy(call->output.bytes + 16 * call->done, &entry->eax, 16);
        }
    }
    return 0;
}

/* Overrides bits of what CPUID tells the guest. */
static unsigned call_register_result(struct call *call)
{
    enum { INTERCEPT_CPUID = 2 };
    struct kvm_cpuid2 *cpuid = call->partition->engine->cpuid;
    const uint32_t *parameters = &call->input.words[4]; /* leaf, index, flags, (value, mask)[4] */
    bool one_index = call->input.bytes[24];
    for (uint32_t i = 0; call->input.words[3] == INTERCEPT_CPUID && i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
        uint32_t *const registers[] = {&entry->eax, &entry->ebx, &entry->ecx, &entry->edx};
        if (entry->function != parameters[0] || (one_index && entry->index != parameters[1]))
            continue;
        for (unsigned r = 0; r < 4; r++) {
            uint32_t value = parameters[3 + 2 * r], mask = parameters[4 + 2 * r];
            *registers[r] = (*registers[r] & ~mask) | (value & mask);
        }
    }
    return system_ioctl(call->target->engine->file, KVM_SET_CPUID2, cpuid) < 0
               ? STATUS_OPERATION_FAILED
               : 0;
}

static unsigned call_assert_interrupt(struct call *call)
{
    struct engine_vm *vm = call->partition->engine;
    struct kvm_msi message = {
        .address_lo = 0xfee00000u | (uint32_t)call->input.longs[2] << 12,
        .data = (call->input.words[6] & 0xff) | (call->input.words[2] & 7) << 8,
    };
    if (!vm->has_apic)
        return STATUS_STATE;
    (void)system_ioctl(vm->file, KVM_SIGNAL_MSI, &message);
    return 0;
}

/* Dispatch */

static bool call_needs_vp(unsigned code)
{
    return code == CALL_GET_REGISTERS || code == CALL_SET_REGISTERS || code == CALL_TRANSLATE ||
           code == CALL_REGISTER_INTERCEPT_RESULT || code == CALL_CPUID_VALUES;
}

/* The codes that the kernel lets through, by kind of descriptor. */
static bool call_is_allowed(const struct call *call)
{
    switch (call->request->code) {
    case CALL_GET_PROPERTY:
    case CALL_GET_PROPERTY_EX:
        return true;
    case CALL_SET_PROPERTY:
        return call->partition && !call->self;
    case CALL_INSTALL_INTERCEPT:
    case CALL_GET_REGISTERS:
    case CALL_SET_REGISTERS:
    case CALL_TRANSLATE:
    case CALL_CLEAR_INTERRUPT:
    case CALL_REGISTER_INTERCEPT_RESULT:
    case CALL_ASSERT_INTERRUPT:
    case CALL_SIGNAL_EVENT:
    case CALL_POST_MESSAGE:
    case CALL_CPUID_VALUES:
        return call->partition;
    default:
        return false;
    }
}

static unsigned call_dispatch(struct call *call)
{
    uint32_t index = call->input.words[2];
    if (call_needs_vp(call->request->code)) {
        call->target = index < VPS_MAX ? call->partition->vps[index] : NULL;
        if (!call->target)
            return STATUS_VP_INDEX;
    }
    switch (call->request->code) {
    case CALL_GET_PROPERTY:
        return call_get_property(call);
    case CALL_SET_PROPERTY:
        return call_set_property(call);
    case CALL_GET_REGISTERS:
        return call_get_registers(call);
    case CALL_SET_REGISTERS:
        return call_set_registers(call);
    case CALL_TRANSLATE:
        return call_translate(call);
    case CALL_CPUID_VALUES:
        return call_cpuid_values(call);
    case CALL_REGISTER_INTERCEPT_RESULT:
        return call_register_result(call);
    case CALL_ASSERT_INTERRUPT:
        return call_assert_interrupt(call);
    case CALL_GET_PROPERTY_EX:
        return STATUS_UNKNOWN_PROPERTY;
    default:
        return 0; /* accepted, never acted on */
    }
}

static int error_of(unsigned status)
{
    switch (status) {
    case 0:
        return 0;
    case STATUS_NO_MEMORY:
        return ENOMEM;
    case STATUS_STATE:
        return EACCES;
    case STATUS_INVALID_INPUT:
    case STATUS_INVALID_PARAMETER:
        return EINVAL;
    default:
        return EIO;
    }
}

static bool request_is_valid(const struct hypercall_request *request)
{
    for (size_t i = 0; i < sizeof request->reserved; i++)
        if (request->reserved[i])
            return false;
    return request->status == 0 && request->input && request->input_size >= 8 &&
           request->input_size <= PAGE_BYTES &&
           (!request->output || (request->output_size && request->output_size <= PAGE_BYTES));
}

int mshv_hypercall(struct partition *partition, struct vp *vp, struct hypercall_request *request)
{
    static _Thread_local struct call call;
    call = (struct call){.partition = partition, .self = vp, .request = request};
    if (!request_is_valid(request) || !call_is_allowed(&call))
        return EINVAL;
    memcpy(call.input.bytes, (const void *)(uintptr_t)request->input, request->input_size);
    bool deposit = deposit_is_due();
    call.wanted = deposit ? request->repetitions / 2 : request->repetitions;
    unsigned status = deposit && !call.wanted ? 0 : call_dispatch(&call);
    if (request->output)
        memcpy((void *)(uintptr_t)request->output, call.output.bytes, request->output_size);
    request->repetitions = (uint16_t)call.done;
    request->status = (uint16_t)(deposit && !status ? STATUS_NO_MEMORY : status);
    trace("hypercall %u: status %x, %u done", request->code, request->status, call.done);
    return deposit && !status ? EAGAIN : error_of(status);
}
