/*
 * Decoding: reads a message once from front to back, checks everything and makes the values on the
 * way. Nothing is allocated that the message's size, or the limit, does not bound.
 */
#include "util/error.h"
#include "wire/read.h"

#include <stdlib.h>

/* Least bytes of an entry in a map: an empty key, and a value without payload. */
#define KEY_SIZE_MIN (sizeof(struct hl_wire_value) + 8)
#define ENTRY_SIZE_MIN (KEY_SIZE_MIN + sizeof(struct hl_wire_value))

struct decode {
    struct hl__wire_reader reader;
    struct hl__arena *arena;
    uint64_t owed;  /* least bytes of the items that were announced and not read yet */
    uint64_t limit; /* bytes that references may still bring */
    size_t value_count;
    hl__wire_fetch fetch;
    void *user;
};

static bool decode_refuse(struct decode *decode, const char *reason)
{
    return hl__wire_read_refuse(&decode->reader, reason);
}

static inline void *decode_take(struct decode *decode, size_t size)
{
    void *taken = hl__arena_take(decode->arena, size);
    if (taken == NULL)
        hl__wire_refuse(decode->reader.problem, HL_OUT_OF_MEMORY, "out of memory");
    return taken;
}

/* Copies referenced bytes straight to where they stay. */
static bool decode_reference(struct decode *decode, uint64_t size, hl_span *span)
{
    uint64_t address;
    if (decode->fetch == NULL)
        return decode_refuse(decode, "references are not allowed here");
    if (hl__wire_left(&decode->reader) < sizeof address)
        return decode_refuse(decode, "message ends inside an item");
    if (size > decode->limit)
        return hl__wire_refuse(decode->reader.problem, HL_REPLY_TOO_LARGE,
                               "the message and what it refers to exceed the limit");
    decode->limit -= size;
    memcpy(&address, decode->reader.at, sizeof address);
    decode->reader.at += sizeof address;
    char *storage = decode_take(decode, size > PTRDIFF_MAX ? SIZE_MAX : (size_t)size + 1);
    if (storage == NULL)
        return false;
    if (size != 0 && !decode->fetch(decode->user, address, storage, (size_t)size))
        return decode_refuse(decode, "string or bytes refer to memory that is not readable");
    storage[size] = '\0';
    *span = (hl_span){storage, (size_t)size};
    return true;
}

static bool decode_bytes(struct decode *decode, const struct hl_wire_value *head, hl_span *span)
{
    return head->flags & HL_WIRE_REFERENCE
               ? decode_reference(decode, head->data, span)
               : hl__wire_read_payload(&decode->reader, head->data, span);
}

HL__WARM_PATH static bool decode_text(struct decode *decode, const struct hl_wire_value *head,
                                      hl_span *span)
{
    if (!decode_bytes(decode, head, span))
        return false;
    if (!hl__text_is_utf8(span->data, span->size))
        return decode_refuse(decode, "string is not valid UTF-8");
    return true;
}

/* Takes note of `count` items that follow; they and those announced before must be there. */
static bool decode_announce(struct decode *decode, uint64_t count, size_t size_min,
                            const char *reason)
{
    uint64_t left = hl__wire_left(&decode->reader);
    if (count > left / size_min || decode->owed > left - count * size_min)
        return decode_refuse(decode, reason);
    decode->owed += count * size_min;
    return true;
}

static bool decode_value(struct decode *decode, hl_value *value, unsigned depth);

static bool decode_list(struct decode *decode, hl_value *list, uint64_t count, unsigned depth)
{
    if (!decode_announce(decode, count, sizeof(struct hl_wire_value),
                         "list reaches past the message's end"))
        return false;
    if (count == 0)
        return true;
    hl_value *items = decode_take(decode, (size_t)count * sizeof *items);
    if (items == NULL)
        return false;
    list->as.list.items = items;
    list->as.list.count = (size_t)count;
    for (uint64_t i = 0; i < count; i++)
        if (!decode_value(decode, &items[i], depth))
            return false;
    return true;
}

static bool decode_entry(struct decode *decode, hl_entry *entry, unsigned depth)
{
    struct hl_wire_value head;
    decode->owed -= KEY_SIZE_MIN;
    if (!hl__wire_read_head(&decode->reader, &head))
        return false;
    if (head.type != HL_TYPE_STRING)
        return decode_refuse(decode, "key of a map is not a string");
    return decode_text(decode, &head, &entry->key) && decode_value(decode, &entry->value, depth);
}

static bool decode_map(struct decode *decode, hl_value *map, uint64_t count, unsigned depth)
{
    if (!decode_announce(decode, count, ENTRY_SIZE_MIN, "map reaches past the message's end"))
        return false;
    if (count == 0)
        return true;
    hl_entry *entries = decode_take(decode, (size_t)count * sizeof *entries);
    if (entries == NULL)
        return false;
    map->as.map.entries = entries;
    map->as.map.count = (size_t)count;
    for (uint64_t i = 0; i < count; i++)
        if (!decode_entry(decode, &entries[i], depth))
            return false;
    return hl__wire_keys_unique(&entries->key, sizeof *entries, (size_t)count,
                                decode->reader.problem, HL_GUEST_BAD_REPLY,
                                "a key occurs twice in a map");
}

static bool decode_container(struct decode *decode, hl_value *value, uint64_t count, unsigned depth)
{
    if (depth >= HL_VALUE_DEPTH_MAX)
        return decode_refuse(decode, "value is nested too deeply");
    return value->type == HL_TYPE_LIST ? decode_list(decode, value, count, depth + 1)
                                       : decode_map(decode, value, count, depth + 1);
}

/* `depth` containers lie around the value. */
HL__WARM_PATH static bool decode_value(struct decode *decode, hl_value *value, unsigned depth)
{
    struct hl_wire_value head;
    decode->owed -= sizeof head;
    if (!hl__wire_read_head(&decode->reader, &head))
        return false;
    if (++decode->value_count > HL_VALUE_COUNT_MAX)
        return decode_refuse(decode, "too many values");
    *value = hl__value_make((hl_type)head.type);
    switch (head.type) {
    case HL_TYPE_NULL:
        return head.data == 0 || decode_refuse(decode, "null is not zero");
    case HL_TYPE_BOOL:
        value->as.boolean = head.data != 0;
        return head.data <= 1 || decode_refuse(decode, "bool is neither 0 nor 1");
    case HL_TYPE_I32:
    case HL_TYPE_U32:
    case HL_TYPE_F32:
        value->as.u32 = (uint32_t)head.data;
        return head.data <= UINT32_MAX ||
               decode_refuse(decode, "32-bit number is not zero-extended");
    case HL_TYPE_I64:
    case HL_TYPE_U64:
    case HL_TYPE_F64:
        value->as.u64 = head.data;
        return true;
    case HL_TYPE_STRING:
        return decode_text(decode, &head, &value->as.string);
    case HL_TYPE_BYTES:
        return decode_bytes(decode, &head, &value->as.bytes);
    case HL_TYPE_LIST:
    case HL_TYPE_MAP:
        return decode_container(decode, value, head.data, depth);
    default:
        return decode_refuse(decode, "value has an unknown type");
    }
}

/* The name and the room for arguments of a CALL. */
static bool decode_call(struct decode *decode, uint32_t count, hl__wire_message *message)
{
    if (count > HL_PARAMETERS_MAX)
        return decode_refuse(decode, "more than 64 arguments");
    if (!hl__wire_read_name(&decode->reader, &message->function))
        return false;
    message->values = decode_take(decode, count * sizeof *message->values);
    return message->values != NULL;
}

HL__WARM_PATH bool hl__wire_decode_in(struct hl__arena *arena, uint32_t kind, const void *data,
                                      uint64_t size, uint64_t limit, hl__wire_fetch fetch,
                                      void *user, hl__wire_message *message,
                                      hl__wire_problem *problem)
{
    struct decode decode = {.reader.problem = problem,
                            .arena = arena,
                            .limit = limit - size,
                            .fetch = fetch,
                            .user = user};
    struct hl_wire_head head;
    if (size > limit)
        return hl__wire_refuse(problem, HL_REPLY_TOO_LARGE, "the message exceeds the limit");
    if (!hl__wire_read_message(&decode.reader, kind, data, size, &head))
        return false;
    if (kind == HL_WIRE_CALL) {
        if (!decode_call(&decode, head.count, message))
            return false;
    } else {
        if (head.count != 1)
            return decode_refuse(&decode, "message does not hold one value");
        message->values = &message->value;
    }
    message->count = head.count;
    decode.owed = head.count * sizeof(struct hl_wire_value);
    for (uint32_t i = 0; i < head.count; i++)
        if (!decode_value(&decode, &message->values[i], 0))
            return false;
    return hl__wire_read_end(&decode.reader);
}

/* Memory from malloc, as the host library decodes into: the message, and behind it what a few
 * values need. */
#define SPARE (4 * sizeof(hl_value))
#define BLOCK_SIZE_MIN 1024

static struct hl__arena_block *block_of(void *data)
{
    return (struct hl__arena_block *)data - 1;
}

HL__WARM_PATH void *hl__wire_buffer_new(uint64_t size)
{
    struct hl__arena_block *block;
    if (size > PTRDIFF_MAX - sizeof *block - SPARE)
        return NULL;
    block = malloc(sizeof *block + (size_t)size + SPARE);
    if (block == NULL)
        return NULL;
    *block = (struct hl__arena_block){NULL, (size_t)size + SPARE};
    return block + 1;
}

void hl__wire_buffer_free(void *data)
{
    if (data != NULL)
        hl__arena_blocks_free(block_of(data));
}

HL__WARM_PATH bool hl__wire_decode(uint32_t kind, void *data, uint64_t size, uint64_t limit,
                                   hl__wire_fetch fetch, void *user, hl__wire_message *message,
                                   hl__wire_problem *problem)
{
    struct hl__arena arena;
    hl__arena_init(&arena, block_of(data), (size_t)size, BLOCK_SIZE_MIN);
    if (!hl__wire_decode_in(&arena, kind, data, size, limit, fetch, user, message, problem)) {
        hl__arena_blocks_free(arena.first);
        return false;
    }
    message->owner = arena.first;
    return true;
}

HL__WARM_PATH void hl__wire_message_free(hl__wire_message *message)
{
    hl__arena_blocks_free(message->owner);
    *message = (hl__wire_message){0};
}

HL__WARM_PATH hl_value hl__wire_message_take(hl__wire_message *message)
{
    hl_value value = message->value;
    if (value.type < HL_TYPE_STRING)
        hl__arena_blocks_free(message->owner);
    else
        value.owner = message->owner;
    return value;
}
