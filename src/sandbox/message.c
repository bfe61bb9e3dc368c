/* Messages in guest memory: where those for the guest go, and private copies of those from it. */
#include "sandbox/sandbox.h"
#include "util/error.h"

#define INLINE_ADDRESS (HL_ABI_MAILBOX_ADDRESS + offsetof(struct hl_abi_mailbox, inline_message))
/* What fits beside the rest of the mailbox on its first page, which is written anyway. */
#define SMALL (HL__PAGE - offsetof(struct hl_abi_mailbox, inline_message))

/* Where a message goes that is not small: `*out` is where the host writes it, `*place` where the guest
 * reads it. */
static hl_status place_large(hl_sandbox *sandbox, uint64_t size, uint64_t transfer_offset,
                             struct hl_abi_place *place, void **out, hl_error *err)
{
    hl__space *space = sandbox->space;
    if (size <= HL_ABI_INLINE_SIZE) {
        *place = (struct hl_abi_place){INLINE_ADDRESS, size};
        *out = hl__space_mailbox(space, (size_t)size)->inline_message;
        return HL_OK;
    }
    hl_status status = hl__vm_transfer_add(sandbox->vm, err);
    if (status)
        return status;
    if (!hl__space_transfer_grow(space, transfer_offset + size))
        return hl__error_set(
            err, HL_MEMORY_LIMIT, "hl_sandbox_call",
            "a message of %llu bytes does not fit beside the %llu bytes that the guest "
            "uses of its %llu; raise memory_size",
            (unsigned long long)size, (unsigned long long)(space->mapped_pages * HL__PAGE),
            (unsigned long long)space->ram_size);
    *place = (struct hl_abi_place){HL_ABI_TRANSFER_ADDRESS + transfer_offset, size};
    *out = hl__space_transfer(space) + transfer_offset;
    return HL_OK;
}

HL__WARM_PATH hl_status hl__message_send(hl_sandbox *sandbox, const hl__wire_content *content,
                                         uint64_t transfer_offset, uint64_t *size,
                                         hl__wire_problem *problem, hl_error *err)
{
    struct hl_abi_mailbox *mailbox = hl__space_mailbox(sandbox->space, 0);
    struct hl_abi_place place = {INLINE_ADDRESS, 0};
    problem->status = HL_OK;
    if (!hl__wire_encode(content, mailbox->inline_message, SMALL, size, problem))
        return problem->status;
    place.size = *size;
    if (*size > SMALL) {
        void *out = NULL;
        hl_status status = place_large(sandbox, *size, transfer_offset, &place, &out, err);
        if (status)
            return status;
        if (!hl__wire_encode(content, out, *size, size, problem))
            return problem->status;
    }
    mailbox->request = place;
    return HL_OK;
}

HL__WARM_PATH hl_status hl__message_fetch(const hl_sandbox *sandbox, uint64_t address,
                                          uint64_t size, void **copy)
{
    void *made = hl__wire_buffer_new(size);
    if (!made)
        return HL_OUT_OF_MEMORY;
    if (!hl__space_read(sandbox->space, address, made, (size_t)size)) {
        hl__wire_buffer_free(made);
        return HL_GUEST_BAD_REPLY;
    }
    *copy = made;
    return HL_OK;
}

bool hl__message_fetch_reference(void *sandbox, uint64_t address, void *out, size_t size)
{
    return hl__space_read(((hl_sandbox *)sandbox)->space, address, out, size);
}
