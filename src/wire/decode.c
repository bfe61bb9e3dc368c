/* Decoding into memory from malloc, as the host library does it, and ownership of the result. */
#include "wire/codec.h"

#include <stdlib.h>

static struct hl__wire_block *decode_block(const struct hl__wire_plan *plan)
{
    uint64_t size = hl__wire_plan_size(plan);
    struct hl__wire_block *block = size > PTRDIFF_MAX ? NULL : malloc((size_t)size);
    if (block == NULL)
        hl__wire_refuse(plan->reader.problem, HL_OUT_OF_MEMORY, "out of memory");
    return block;
}

static bool decode(uint32_t kind, const void *data, uint64_t size, uint64_t limit,
                   hl__wire_fetch fetch, void *user, hl__wire_message *message,
                   hl__wire_problem *problem)
{
    struct hl__wire_plan plan;
    if (!hl__wire_plan_make(&plan, kind, data, size, limit, fetch != NULL, problem))
        return false;
    struct hl__wire_block *block = decode_block(&plan);
    if (block == NULL)
        return false;
    if (hl__wire_plan_build(&plan, block, fetch, user, message))
        return true;
    free(block);
    return false;
}

bool hl__wire_decode(uint32_t kind, void *data, uint64_t size, bool take_data, uint64_t limit,
                     hl__wire_fetch fetch, void *user, hl__wire_message *message,
                     hl__wire_problem *problem)
{
    if (!decode(kind, data, size, limit, fetch, user, message, problem)) {
        if (take_data)
            free(data);
        return false;
    }
    if (take_data)
        ((struct hl__wire_block *)message->owner)->data = data;
    return true;
}

void hl__wire_message_free(hl__wire_message *message)
{
    struct hl__wire_block *block = message->owner;
    if (block != NULL)
        free(block->data);
    free(block);
    *message = (hl__wire_message){0};
}

hl_value hl__wire_message_take(hl__wire_message *message)
{
    hl_value value = message->values[0];
    if (value.type < HL_TYPE_STRING) {
        hl__wire_message_free(message);
        return value;
    }
    value.owner = message->owner;
    *message = (hl__wire_message){0};
    return value;
}
