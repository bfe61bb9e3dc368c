/* Messages in guest memory: where those for the guest go, and private copies of those from it. */
#include "sandbox/sandbox.h"
#include "util/error.h"
#include <stdlib.h>

void *hl__message_place(hl_sandbox *sandbox, uint64_t size, uint64_t transfer_offset,
                        struct hl_abi_place *place, hl_error *err)
{
    hl__space *space = sandbox->space;
    if (size <= HL_ABI_INLINE_SIZE) {
        *place = (struct hl_abi_place){
            HL_ABI_MAILBOX_ADDRESS + offsetof(struct hl_abi_mailbox, inline_message), size};
        return hl__space_mailbox(space, (size_t)size)->inline_message;
    }
    if (hl__vm_transfer_add(sandbox->vm, err) != HL_OK)
        return NULL;
    if (!hl__space_transfer_grow(space, transfer_offset + size)) {
        hl__error_set(err, HL_MEMORY_LIMIT, "hl_sandbox_call",
                      "a message of %llu bytes does not fit beside the %llu bytes that the guest "
                      "uses of its %llu; raise memory_size",
                      (unsigned long long)size,
                      (unsigned long long)(space->mapped_pages * HL__PAGE),
                      (unsigned long long)space->ram_size);
        return NULL;
    }
    *place = (struct hl_abi_place){HL_ABI_TRANSFER_ADDRESS + transfer_offset, size};
    return hl__space_transfer(space) + transfer_offset;
}

hl_status hl__message_fetch(const hl_sandbox *sandbox, uint64_t address, uint64_t size, void **copy)
{
    void *made = malloc(size ? (size_t)size : 1);
    if (!made)
        return HL_OUT_OF_MEMORY;
    if (!hl__space_read(sandbox->space, address, made, (size_t)size)) {
        free(made);
        return HL_GUEST_BAD_REPLY;
    }
    *copy = made;
    return HL_OK;
}

bool hl__message_fetch_reference(void *sandbox, uint64_t address, void *out, size_t size)
{
    return hl__space_read(((hl_sandbox *)sandbox)->space, address, out, size);
}
