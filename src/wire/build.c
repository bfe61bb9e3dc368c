/*
 * Second pass of decoding: makes values of a message that was checked (plan.c). Here only what was
 * not known then can go wrong: referenced bytes, and keys that occur twice.
 */
#include "util/error.h"
#include "wire/codec.h"

struct build {
    struct hl__wire_reader reader;
    unsigned char *free; /* next byte of the block for nodes and fetched bytes: a multiple of 8 */
    hl__wire_fetch fetch;
    void *user;
};

static bool build_refuse(struct build *build, const char *reason)
{
    return hl__wire_refuse(build->reader.problem, HL_GUEST_BAD_REPLY, reason);
}

static void *build_take(struct build *build, size_t size)
{
    void *taken = build->free;
    build->free += size;
    return taken;
}

/* Copies referenced bytes straight to where they stay. */
static bool build_fetch(struct build *build, size_t size, hl_span *span)
{
    uint64_t address;
    memcpy(&address, build->reader.at, sizeof address);
    build->reader.at += sizeof address;
    char *storage = build_take(build, hl__wire_padded(size));
    if (size != 0 && !build->fetch(build->user, address, storage, size))
        return build_refuse(build, "string or bytes refer to memory that is not readable");
    storage[size] = '\0';
    *span = (hl_span){storage, size};
    return true;
}

static bool build_span(struct build *build, const struct hl_wire_value *head, hl_span *span)
{
    if (!(head->flags & HL_WIRE_REFERENCE))
        return hl__wire_read_payload(&build->reader, head->data, span);
    if (!build_fetch(build, (size_t)head->data, span))
        return false;
    return head->type != HL_TYPE_STRING || hl__text_is_utf8(span->data, span->size) ||
           build_refuse(build, "string is not valid UTF-8");
}

static bool build_value(struct build *build, hl_value *value);

static bool build_list(struct build *build, hl_value *list, size_t count)
{
    if (count == 0)
        return true;
    hl_value *items = build_take(build, count * sizeof *items);
    list->as.list.items = items;
    list->as.list.count = count;
    for (size_t i = 0; i < count; i++)
        if (!build_value(build, &items[i]))
            return false;
    return true;
}

static bool build_keys(struct build *build, const hl_entry *entries, size_t count)
{
    switch (hl__wire_keys_check(&entries->key, sizeof *entries, count)) {
    case HL__WIRE_KEYS_UNIQUE:
        return true;
    case HL__WIRE_KEYS_DUPLICATE:
        return build_refuse(build, "a key occurs twice in a map");
    default:
        return hl__wire_refuse(build->reader.problem, HL_OUT_OF_MEMORY, "out of memory");
    }
}

static bool build_entry(struct build *build, hl_entry *entry)
{
    struct hl_wire_value head;
    return hl__wire_read_head(&build->reader, &head) && build_span(build, &head, &entry->key) &&
           build_value(build, &entry->value);
}

static bool build_map(struct build *build, hl_value *map, size_t count)
{
    if (count == 0)
        return true;
    hl_entry *entries = build_take(build, count * sizeof *entries);
    map->as.map.entries = entries;
    map->as.map.count = count;
    for (size_t i = 0; i < count; i++)
        if (!build_entry(build, &entries[i]))
            return false;
    return build_keys(build, entries, count);
}

static bool build_value(struct build *build, hl_value *value)
{
    struct hl_wire_value head;
    if (!hl__wire_read_head(&build->reader, &head))
        return false;
    *value = hl__value_make((hl_type)head.type);
    switch (head.type) {
    case HL_TYPE_NULL:
        return true;
    case HL_TYPE_BOOL:
        value->as.boolean = head.data != 0;
        return true;
    case HL_TYPE_I32:
    case HL_TYPE_U32:
    case HL_TYPE_F32:
        value->as.u32 = (uint32_t)head.data;
        return true;
    case HL_TYPE_STRING:
    case HL_TYPE_BYTES:
        return build_span(build, &head, &value->as.bytes);
    case HL_TYPE_LIST:
        return build_list(build, value, (size_t)head.data);
    case HL_TYPE_MAP:
        return build_map(build, value, (size_t)head.data);
    default:
        value->as.u64 = head.data;
        return true;
    }
}

bool hl__wire_plan_build(const struct hl__wire_plan *plan, struct hl__wire_block *block,
                         hl__wire_fetch fetch, void *user, hl__wire_message *message)
{
    struct build build = {plan->reader, (unsigned char *)(block + 1), fetch, user};
    hl__wire_message result = {.count = plan->count, .owner = block};
    *block = (struct hl__wire_block){0};
    if (plan->kind == HL_WIRE_CALL && !hl__wire_read_name(&build.reader, &result.function))
        return false;
    result.values = build_take(&build, plan->count * sizeof *result.values);
    for (size_t i = 0; i < plan->count; i++)
        if (!build_value(&build, &result.values[i]))
            return false;
    *message = result;
    return true;
}
