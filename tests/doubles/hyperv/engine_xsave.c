/* Vector state: KVM has it in the standard format of XSAVE, Hyper-V's interfaces in the compacted one. */
#include "engine.h"

#include <cpuid.h>
#include <string.h>

#define LEGACY_BYTES 512u
#define HEADER_BYTES 64u
#define PRESENT_AT 512u /* XSTATE_BV: which components differ from their initial state */
#define LAYOUT_AT 520u  /* XCOMP_BV */
#define IS_COMPACTED (1ull << 63)
#define XSAVE_LEAF 0xd

struct component {
    uint32_t size, standard_offset, compacted_offset;
};

/* Where component `number` is in an area that has the components of `layout`. */
static struct component component_at(uint64_t layout, unsigned number)
{
    struct component component = {.compacted_offset = LEGACY_BYTES + HEADER_BYTES};
    uint32_t next = component.compacted_offset;
    for (unsigned i = 2; i <= number; i++) {
        uint32_t size, offset, flags, unused;
        if (!(layout >> i & 1))
            continue;
        __cpuid_count(XSAVE_LEAF, i, size, offset, flags, unused);
        if (flags & 2)
            next = (next + 63) & ~63u;
        component = (struct component){size, offset, next};
        next += size;
    }
    return component;
}

static bool component_fits(const struct component *component)
{
    return component->standard_offset >= LEGACY_BYTES + HEADER_BYTES &&
           component->standard_offset + component->size <= sizeof(struct kvm_xsave) &&
           component->compacted_offset + component->size <= ENGINE_XSAVE_SIZE;
}

static uint64_t word_at(const uint8_t *area, unsigned offset)
{
    uint64_t word;
    memcpy(&word, area + offset, sizeof word);
    return word;
}

enum engine_result engine_xsave_get(struct engine_vp *vp, uint8_t *area)
{
    union {
        struct kvm_xsave kvm;
        uint8_t bytes[sizeof(struct kvm_xsave)];
    } standard;
    uint64_t features = engine_xsave_features(), layout = features | IS_COMPACTED;
    if (system_ioctl(vp->file, KVM_GET_XSAVE, &standard.kvm) < 0)
        return ENGINE_FAILED;
    memset(area, 0, ENGINE_XSAVE_SIZE);
    memcpy(area, standard.bytes, LAYOUT_AT);
    memcpy(area + LAYOUT_AT, &layout, sizeof layout);
    for (unsigned i = 2; i < 63; i++) {
        struct component component = component_at(features, i);
        if (features >> i & 1 && component_fits(&component))
            memcpy(area + component.compacted_offset, standard.bytes + component.standard_offset,
                   component.size);
    }
    return ENGINE_OK;
}

enum engine_result engine_xsave_set(struct engine_vp *vp, const uint8_t *area)
{
    union {
        struct kvm_xsave kvm;
        uint8_t bytes[sizeof(struct kvm_xsave)];
    } standard = {0};
    uint64_t present = word_at(area, PRESENT_AT), layout = word_at(area, LAYOUT_AT);
    if (!(layout & IS_COMPACTED) || present & ~layout)
        return ENGINE_BAD_VALUE;
    layout &= ~IS_COMPACTED;
    memcpy(standard.bytes, area, LAYOUT_AT);
    for (unsigned i = 2; i < 63; i++) {
        struct component component = component_at(layout, i);
        if (present >> i & 1 && component_fits(&component))
            memcpy(standard.bytes + component.standard_offset, area + component.compacted_offset,
                   component.size);
    }
    return system_ioctl(vp->file, KVM_SET_XSAVE, &standard.kvm) < 0 ? ENGINE_BAD_VALUE : ENGINE_OK;
}
