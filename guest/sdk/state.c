/* The SDK's state, the way to the shim, and decoding into an arena. */
#include "sdk.h"

#include <sys/auxv.h>

alignas(HL_ABI_PAGE_SIZE) struct hl__guest hl__guest;

const struct hl_abi_shim *hl__guest_shim(void)
{
    if (hl__guest.shim == NULL) {
        const struct hl_abi_shim *shim =
            (const struct hl_abi_shim *)(uintptr_t)getauxval(HL_ABI_AT_SHIM);
        if (shim != NULL && shim->magic == HL_ABI_SHIM_MAGIC)
            hl__guest.shim = shim;
    }
    return hl__guest.shim;
}

bool hl_guest_inside(void)
{
    return hl__guest_shim() != NULL;
}

void hl__guest_ready(void)
{
    if (hl__guest.call.first != NULL)
        return;
    hl__arena_init(&hl__guest.call, hl__guest.call_memory, sizeof hl__guest.call_memory);
    hl__arena_init(&hl__guest.answer, hl__guest.answer_memory, sizeof hl__guest.answer_memory);
}

void *hl_guest_alloc(size_t size)
{
    hl__guest_ready();
    void *piece = hl__arena_take(&hl__guest.call, size);
    return piece == NULL ? NULL : memset(piece, 0, size);
}

bool hl__guest_decode(struct hl__arena *arena, uint32_t kind, const void *data, uint64_t size,
                      hl__wire_message *message, hl__wire_problem *problem)
{
    struct hl__wire_plan plan;
    if (!hl__wire_plan_make(&plan, kind, data, size, UINT64_MAX, false, problem))
        return false;
    struct hl__wire_block *block = hl__arena_take(arena, (size_t)hl__wire_plan_size(&plan));
    if (block == NULL)
        return hl__wire_refuse(problem, HL_OUT_OF_MEMORY, "out of memory");
    return hl__wire_plan_build(&plan, block, NULL, NULL, message);
}
