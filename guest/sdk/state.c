/* The SDK's state, the way to the shim, and decoding into an arena. */
#include "sdk.h"

#include <sys/auxv.h>

alignas(HL_ABI_PAGE_SIZE) struct hl__guest hl__guest;

const struct hl_abi_shim *hl__guest_shim(void)
{
    if (hl__guest.shim == NULL) {
        const struct hl_abi_shim *shim =
            (const struct hl_abi_shim *)(uintptr_t)getauxval(HL_ABI_AT_SHIM);
        if (shim != NULL && shim->magic == HL_ABI_SHIM_MAGIC) {
            hl__guest.shim_copy = *shim;
            hl__guest.shim = &hl__guest.shim_copy;
        }
    }
    return hl__guest.shim;
}

bool hl_guest_inside(void)
{
    return hl__guest_shim() != NULL;
}

/* Further blocks are a little less than 64 KiB, with what libc adds. */
#define BLOCK_SIZE_MIN (((size_t)64 << 10) - sizeof(struct hl__arena_block) - 32)

static void ready(struct hl__arena *arena, void *memory, size_t size)
{
    struct hl__arena_block *first = memory;
    *first = (struct hl__arena_block){NULL, size - sizeof *first};
    hl__arena_init(arena, first, 0, BLOCK_SIZE_MIN);
}

void hl__guest_ready(void)
{
    if (hl__guest.call.first != NULL)
        return;
    ready(&hl__guest.call, hl__guest.call_memory, sizeof hl__guest.call_memory);
    ready(&hl__guest.answer, hl__guest.answer_memory, sizeof hl__guest.answer_memory);
}

void *hl_guest_alloc(size_t size)
{
    hl__guest_ready();
    void *piece = hl__arena_take(&hl__guest.call, size);
    return piece == NULL ? NULL : memset(piece, 0, size);
}

/* In what is left of the arena's block, or, if that is too little, once more in another one. */
HL__WARM_PATH bool hl__guest_encode(struct hl__arena *arena, const hl__wire_content *content,
                                    void **message, uint64_t *size, hl__wire_problem *problem)
{
    uint64_t room = arena->current->size - arena->used;
    if (!hl__wire_encode(content, hl__arena_free(arena), room, size, problem))
        return false;
    *message = hl__arena_take(arena, *size > SIZE_MAX ? SIZE_MAX : (size_t)*size);
    if (*message == NULL)
        return hl__wire_refuse(problem, HL_OUT_OF_MEMORY, "out of memory");
    return *size <= room || hl__wire_encode(content, *message, *size, size, problem);
}
