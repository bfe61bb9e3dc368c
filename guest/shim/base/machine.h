/* Instructions that C has no words for. */
#ifndef HL_SHIM_MACHINE_H
#define HL_SHIM_MACHINE_H

#include <stdint.h>

struct hl__cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct hl__cpuid hl__cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct hl__cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

static inline uint64_t hl__xgetbv(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static inline uint64_t hl__rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static inline uint64_t hl__rdfsbase(void)
{
    uint64_t base;
    __asm__ volatile("rdfsbase %0" : "=r"(base));
    return base;
}

static inline void hl__wrfsbase(uint64_t base)
{
    __asm__ volatile("wrfsbase %0" : : "r"(base));
}

static inline uint64_t hl__rdgsbase(void)
{
    uint64_t base;
    __asm__ volatile("rdgsbase %0" : "=r"(base));
    return base;
}

static inline void hl__wrgsbase(uint64_t base)
{
    __asm__ volatile("wrgsbase %0" : : "r"(base));
}

static inline void hl__xsave(void *area, uint64_t components)
{
    __asm__ volatile("xsave64 (%0)"
                     :
                     : "r"(area), "a"((uint32_t)components), "d"((uint32_t)(components >> 32))
                     : "memory");
}

static inline void hl__xrstor(const void *area, uint64_t components)
{
    __asm__ volatile("xrstor64 (%0)"
                     :
                     : "r"(area), "a"((uint32_t)components), "d"((uint32_t)(components >> 32))
                     : "memory");
}

static inline void hl__fxrstor(const void *area)
{
    __asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

static inline void hl__fxsave(void *area)
{
    __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

#endif
