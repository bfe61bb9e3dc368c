/* A writer of wire messages that does not mind what it writes. */
#include "doubles/hostile_message.h"

#include <hyperlight/abi/wire.h>
#include <hyperlight/abi/x86_64.h>
#include <hyperlight/value.h>
#include <string.h>

#define DEPTH_MAX 4

static const char *const message_texts[] = {
    "echo",
    "sum",
    "fail",
    "big",
    "bad",
    "wrong",
    "system",
    "reenter",
    "cancel",
    "none",
    "huge",
    "a",
    "",
    "gr\xc3\xbc\xc3\x9f",
    "\xff\xfe",
    "\xc0\x80",
    "two\nlines",
    "a text of more than sixty-four bytes, so that not everything fits into one line of a cache",
};

enum { TEXT_COUNT = sizeof message_texts / sizeof *message_texts, NAME_COUNT = 11 };

static void put(struct hostile_message *message, const void *data, size_t size)
{
    if (size > sizeof message->bytes - message->size)
        return;
    if (size)
        memcpy(message->bytes + message->size, data, size);
    message->size += size;
}

static void put_head(struct hostile_message *message, unsigned type, unsigned flags, uint64_t data)
{
    struct hl_wire_value head = {.type = (uint8_t)type, .flags = (uint8_t)flags, .data = data};
    put(message, &head, sizeof head);
}

static void put_bytes(struct hostile_message *message, unsigned type, const char *data, size_t size)
{
    static const char zeroes[8];
    put_head(message, type, 0, size);
    put(message, data, size);
    put(message, zeroes, 8 - size % 8);
}

static void put_string(struct hostile_message *message, const char *text)
{
    put_bytes(message, HL_TYPE_STRING, text, strlen(text));
}

static void put_reference(struct hostile_message *message, unsigned type, struct choices *choices)
{
    static const uint64_t addresses[] = {
        HL_ABI_SHIM_DATA_ADDRESS, HL_ABI_SHIM_ADDRESS, HL_ABI_USER_START, HL_ABI_SYSTEM_ADDRESS,
        HL_ABI_BOOT_ADDRESS + 64, HL_ABI_WAKE_ADDRESS, HL_ABI_USER_END,   UINT64_MAX - 100,
    };
    uint64_t size = choices_below(choices, choices_once_in(choices, 8) ? 1 << 20 : 8192);
    if (choices_once_in(choices, 32))
        size = choices_word(choices);
    uint64_t address = addresses[choices_below(choices, sizeof addresses / sizeof *addresses)];
    put_head(message, type, HL_WIRE_REFERENCE, size);
    put(message, &address, sizeof address);
}

static const char *any_text(struct choices *choices)
{
    return message_texts[choices_below(choices, TEXT_COUNT)];
}

static void put_value(struct hostile_message *message, struct choices *choices, unsigned depth);

static void put_list(struct hostile_message *message, struct choices *choices, unsigned depth)
{
    uint64_t count = depth < DEPTH_MAX ? choices_below(choices, 4) : 0;
    put_head(message, HL_TYPE_LIST, 0, count);
    for (uint64_t i = 0; i < count; i++)
        put_value(message, choices, depth + 1);
}

/* Now and then with more keys than are compared pair by pair. */
static void put_map(struct hostile_message *message, struct choices *choices, unsigned depth)
{
    uint64_t count = depth < DEPTH_MAX ? choices_below(choices, 4) : 0;
    bool plain = choices_once_in(choices, 8);
    char key[] = "key 00";
    if (plain && depth < DEPTH_MAX)
        count = 30 + choices_below(choices, 12);
    put_head(message, HL_TYPE_MAP, 0, count);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number = choices_once_in(choices, 64) ? 7 : i;
        key[4] = (char)('0' + number / 10);
        key[5] = (char)('0' + number % 10);
        if (choices_once_in(choices, 32))
            put_reference(message, HL_TYPE_STRING, choices);
        else
            put_string(message, key);
        if (plain)
            put_head(message, HL_TYPE_NULL, 0, 0);
        else
            put_value(message, choices, depth + 1);
    }
}

static void put_value(struct hostile_message *message, struct choices *choices, unsigned depth)
{
    unsigned type = (unsigned)choices_below(choices, HL_TYPE_MAP + 1);
    const char *text;
    switch (type) {
    case HL_TYPE_NULL:
        put_head(message, type, 0, 0);
        break;
    case HL_TYPE_BOOL:
        put_head(message, type, 0, choices_below(choices, 2));
        break;
    case HL_TYPE_I32:
    case HL_TYPE_U32:
    case HL_TYPE_F32:
        put_head(message, type, 0, choices_word(choices) & UINT32_MAX);
        break;
    case HL_TYPE_STRING:
    case HL_TYPE_BYTES:
        text = any_text(choices);
        if (choices_once_in(choices, 6))
            put_reference(message, type, choices);
        else
            put_bytes(message, type, text, strlen(text));
        break;
    case HL_TYPE_LIST:
        put_list(message, choices, depth);
        break;
    case HL_TYPE_MAP:
        put_map(message, choices, depth);
        break;
    default:
        put_head(message, type, 0, choices_word(choices));
    }
}

static void begin(struct hostile_message *message)
{
    message->size = sizeof(struct hl_wire_head);
    memset(message->bytes, 0, sizeof(struct hl_wire_head));
}

static void end(struct hostile_message *message, uint32_t kind, uint32_t count)
{
    struct hl_wire_head head = {kind, count, message->size};
    memcpy(message->bytes, &head, sizeof head);
}

/* A value in as many lists as there may be, or one more. */
static void put_nested(struct hostile_message *message, struct choices *choices)
{
    uint64_t depth = HL_VALUE_DEPTH_MAX - 1 + choices_below(choices, 3);
    for (uint64_t i = 0; i < depth; i++)
        put_head(message, HL_TYPE_LIST, 0, 1);
    put_head(message, HL_TYPE_NULL, 0, 0);
}

/* A word in the message becomes another one: a small number, a huge one, or one with a bit flipped. */
static void damage_word(struct hostile_message *message, struct choices *choices)
{
    uint64_t word, at = choices_below(choices, message->size / 8) * 8;
    memcpy(&word, message->bytes + at, sizeof word);
    switch (choices_below(choices, 4)) {
    case 0:
        word = choices_below(choices, 256);
        break;
    case 1:
        word = choices_word(choices);
        break;
    case 2:
        word += choices_below(choices, 3) - 1;
        break;
    default:
        word ^= UINT64_C(1) << choices_below(choices, 64);
    }
    memcpy(message->bytes + at, &word, sizeof word);
}

static void maybe_damage(struct hostile_message *message, struct choices *choices)
{
    if (!choices_once_in(choices, 3))
        return;
    for (uint64_t left = 1 + choices_below(choices, 3); left > 0; left--)
        damage_word(message, choices);
    if (choices_once_in(choices, 8))
        message->size = choices_below(choices, message->size + 1);
}

void hostile_message_number(struct hostile_message *message, uint64_t number)
{
    begin(message);
    put_head(message, HL_TYPE_U64, 0, number);
    end(message, HL_WIRE_VALUE, 1);
}

void hostile_message_exports(struct hostile_message *message)
{
    begin(message);
    put_string(message, "work");
    put_head(message, HL_TYPE_NULL, 0, 0);
    put_string(message, "typed");
    put_bytes(message, HL_TYPE_BYTES, "\x05\x03", 2);
    end(message, HL_WIRE_EXPORTS, 2);
}

void hostile_message_value(struct hostile_message *message, struct choices *choices)
{
    begin(message);
    if (choices_once_in(choices, 32))
        put_nested(message, choices);
    else
        put_value(message, choices, 0);
    end(message, HL_WIRE_VALUE, 1);
    maybe_damage(message, choices);
}

void hostile_message_text(struct hostile_message *message, struct choices *choices)
{
    begin(message);
    put_string(message, any_text(choices));
    end(message, HL_WIRE_VALUE, 1);
    maybe_damage(message, choices);
}

void hostile_message_call(struct hostile_message *message, struct choices *choices)
{
    uint64_t function = choices_below(choices, NAME_COUNT + 1);
    uint32_t count = (uint32_t)choices_below(choices, choices_once_in(choices, 32) ? 70 : 4);
    bool numbers = choices_once_in(choices, 2);
    begin(message);
    put_string(message, function < NAME_COUNT ? message_texts[function] : any_text(choices));
    for (uint32_t i = 0; i < count; i++) {
        if (numbers)
            put_head(message, HL_TYPE_I32, 0, i);
        else
            put_value(message, choices, 1);
    }
    end(message, HL_WIRE_CALL, count);
    maybe_damage(message, choices);
}

void hostile_message_random_exports(struct hostile_message *message, struct choices *choices)
{
    static const char types[] = {0, 1, 5, 8, 9, 11, (char)255, 12, (char)200};
    uint32_t count = (uint32_t)choices_below(choices, 4);
    begin(message);
    for (uint32_t i = 0; i < count; i++) {
        put_string(message, any_text(choices));
        if (choices_once_in(choices, 2))
            put_head(message, HL_TYPE_NULL, 0, 0);
        else
            put_bytes(message, HL_TYPE_BYTES, types,
                      1 + (size_t)choices_below(choices, sizeof types));
    }
    end(message, HL_WIRE_EXPORTS, choices_once_in(choices, 32) ? 1025 : count);
    maybe_damage(message, choices);
}
