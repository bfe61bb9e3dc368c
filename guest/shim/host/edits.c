/* The batch of address space changes. */
#include "host/edits.h"
#include "host/host.h"

#include <stdbool.h>

static struct {
    struct hl_abi_edit edits[HL_ABI_EDITS_MAX];
    uint32_t count;
    int64_t failure;
} batch;

static bool edits_join(struct hl_abi_edit *last, const struct hl_abi_edit *next)
{
    uint64_t size = last->page_count * HL_ABI_PAGE_SIZE;
    bool offsets = next->source != HL_ABI_SOURCE_NONE && next->source != HL_ABI_SOURCE_KEEP;

    if (last->address + size != next->address || last->source != next->source ||
        last->rights != next->rights)
        return false;
    if (offsets && last->offset + size != next->offset)
        return false;
    last->page_count += next->page_count;
    return true;
}

void hl__edits_send(void)
{
    int64_t result;

    if (!batch.count)
        return;
    result = hl__host_edit(batch.edits, batch.count);
    batch.count = 0;
    if (result < 0 && !batch.failure)
        batch.failure = result;
}

void hl__edits_add(uint64_t address, uint64_t page_count, enum hl_abi_source source,
                   uint64_t offset, uint32_t rights)
{
    struct hl_abi_edit edit = {address, page_count, offset, source, rights};

    if (!page_count)
        return;
    if (batch.count && edits_join(&batch.edits[batch.count - 1], &edit))
        return;
    if (batch.count == HL_ABI_EDITS_MAX)
        hl__edits_send();
    batch.edits[batch.count++] = edit;
}

int64_t hl__edits_flush(void)
{
    int64_t failure;

    hl__edits_send();
    failure = batch.failure;
    batch.failure = 0;
    return failure;
}
