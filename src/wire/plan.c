/* First pass of decoding: checks a CALL or VALUE message and counts what its values need. */
#include "util/error.h"
#include "wire/codec.h"

/* Least bytes of an entry in a map: an empty key, and a value without payload. */
#define PLAN_ENTRY_SIZE_MIN (2 * sizeof(struct hl_wire_value) + 8)

static bool plan_refuse(struct hl__wire_plan *plan, const char *reason)
{
    return hl__wire_refuse(plan->reader.problem, HL_GUEST_BAD_REPLY, reason);
}

/* The bound comes before any allocation: `limit` shrinks by what is referenced. */
static bool plan_reference(struct hl__wire_plan *plan, uint64_t size)
{
    if (!plan->references)
        return plan_refuse(plan, "references are not allowed here");
    if (hl__wire_left(&plan->reader) < sizeof(uint64_t))
        return plan_refuse(plan, "message ends inside an item");
    if (size > plan->limit)
        return hl__wire_refuse(plan->reader.problem, HL_REPLY_TOO_LARGE,
                               "the message and what it refers to exceed the limit");
    plan->limit -= size;
    plan->reader.at += sizeof(uint64_t);
    if (size > SIZE_MAX - 8 ||
        __builtin_add_overflow(plan->fetch_size, hl__wire_padded(size), &plan->fetch_size))
        return hl__wire_refuse(plan->reader.problem, HL_OUT_OF_MEMORY, "out of memory");
    return true;
}

static bool plan_bytes(struct hl__wire_plan *plan, const struct hl_wire_value *head)
{
    hl_span span;
    return head->flags & HL_WIRE_REFERENCE
               ? plan_reference(plan, head->data)
               : hl__wire_read_payload(&plan->reader, head->data, &span);
}

/* Referenced text is checked when it was fetched. */
static bool plan_text(struct hl__wire_plan *plan, const struct hl_wire_value *head)
{
    hl_span span;
    if (head->flags & HL_WIRE_REFERENCE)
        return plan_reference(plan, head->data);
    if (!hl__wire_read_payload(&plan->reader, head->data, &span))
        return false;
    return hl__text_is_utf8(span.data, span.size) || plan_refuse(plan, "string is not valid UTF-8");
}

static bool plan_key(struct hl__wire_plan *plan)
{
    struct hl_wire_value head;
    if (!hl__wire_read_head(&plan->reader, &head))
        return false;
    if (head.type != HL_TYPE_STRING)
        return plan_refuse(plan, "key of a map is not a string");
    return plan_text(plan, &head);
}

static bool plan_value(struct hl__wire_plan *plan, unsigned depth);

static bool plan_list(struct hl__wire_plan *plan, uint64_t count, unsigned depth)
{
    if (count > hl__wire_left(&plan->reader) / sizeof(struct hl_wire_value))
        return plan_refuse(plan, "list reaches past the message's end");
    for (uint64_t i = 0; i < count; i++)
        if (!plan_value(plan, depth))
            return false;
    return true;
}

static bool plan_map(struct hl__wire_plan *plan, uint64_t count, unsigned depth)
{
    if (count > hl__wire_left(&plan->reader) / PLAN_ENTRY_SIZE_MIN)
        return plan_refuse(plan, "map reaches past the message's end");
    plan->entry_count += (size_t)count;
    for (uint64_t i = 0; i < count; i++)
        if (!plan_key(plan) || !plan_value(plan, depth))
            return false;
    return true;
}

static bool plan_container(struct hl__wire_plan *plan, const struct hl_wire_value *head,
                           unsigned depth)
{
    if (depth >= HL_VALUE_DEPTH_MAX)
        return plan_refuse(plan, "value is nested too deeply");
    return head->type == HL_TYPE_LIST ? plan_list(plan, head->data, depth + 1)
                                      : plan_map(plan, head->data, depth + 1);
}

/* `depth` containers lie around the value. */
static bool plan_value(struct hl__wire_plan *plan, unsigned depth)
{
    struct hl_wire_value head;
    if (!hl__wire_read_head(&plan->reader, &head))
        return false;
    if (++plan->value_count > HL_VALUE_COUNT_MAX)
        return plan_refuse(plan, "too many values");
    switch (head.type) {
    case HL_TYPE_NULL:
        return head.data == 0 || plan_refuse(plan, "null is not zero");
    case HL_TYPE_BOOL:
        return head.data <= 1 || plan_refuse(plan, "bool is neither 0 nor 1");
    case HL_TYPE_I32:
    case HL_TYPE_U32:
    case HL_TYPE_F32:
        return head.data <= UINT32_MAX || plan_refuse(plan, "32-bit number is not zero-extended");
    case HL_TYPE_I64:
    case HL_TYPE_U64:
    case HL_TYPE_F64:
        return true;
    case HL_TYPE_STRING:
        return plan_text(plan, &head);
    case HL_TYPE_BYTES:
        return plan_bytes(plan, &head);
    case HL_TYPE_LIST:
    case HL_TYPE_MAP:
        return plan_container(plan, &head, depth);
    default:
        return plan_refuse(plan, "value has an unknown type");
    }
}

/* The number of values that the head promises, and the name that comes before them. */
static bool plan_head(struct hl__wire_plan *plan, const struct hl_wire_head *head)
{
    hl_span name;
    if (head->kind == HL_WIRE_VALUE)
        return head->count == 1 || plan_refuse(plan, "message does not hold one value");
    if (head->count > HL_PARAMETERS_MAX)
        return plan_refuse(plan, "more than 64 arguments");
    return hl__wire_read_name(&plan->reader, &name);
}

bool hl__wire_plan_make(struct hl__wire_plan *plan, uint32_t kind, const void *data, uint64_t size,
                        uint64_t limit, bool references, hl__wire_problem *problem)
{
    struct hl_wire_head head;
    *plan = (struct hl__wire_plan){.kind = kind, .references = references};
    plan->reader.problem = problem;
    if (size > limit)
        return hl__wire_refuse(problem, HL_REPLY_TOO_LARGE, "the message exceeds the limit");
    if (!hl__wire_read_message(&plan->reader, kind, data, size, &head))
        return false;
    plan->limit = limit - size;
    plan->count = head.count;
    const unsigned char *start = plan->reader.at;
    if (!plan_head(plan, &head))
        return false;
    for (uint32_t i = 0; i < head.count; i++)
        if (!plan_value(plan, 0))
            return false;
    if (!hl__wire_read_end(&plan->reader))
        return false;
    plan->reader.at = start;
    return true;
}

uint64_t hl__wire_plan_size(const struct hl__wire_plan *plan)
{
    uint64_t size = sizeof(struct hl__wire_block);
    size += (plan->value_count - plan->entry_count) * sizeof(hl_value);
    size += plan->entry_count * sizeof(hl_entry);
    return __builtin_add_overflow(size, plan->fetch_size, &size) ? UINT64_MAX : size;
}
