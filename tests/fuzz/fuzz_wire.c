/*
 * Fuzzes what reads guest-written messages. Whatever is accepted must encode again, and decode to
 * the same values. References read from the input itself.
 *
 * The first byte of the input chooses: bits 0-1 the kind of message, bit 2 whether the head is
 * repaired (so that mutations get past it), bit 3 whether references are allowed.
 */
#include "wire/codec.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_KIND_MASK 3u
#define FUZZ_REPAIR 4u
#define FUZZ_REFERENCES 8u
#define FUZZ_LIMIT 65536u

struct fuzz_memory {
    const uint8_t *data;
    size_t size;
};

static bool fuzz_fetch(void *user, uint64_t address, void *out, size_t size)
{
    const struct fuzz_memory *memory = user;
    if (address > memory->size || size > memory->size - address)
        return false;
    memcpy(out, memory->data + address, size);
    return true;
}

static void fuzz_require(bool condition)
{
    if (!condition)
        abort();
}

static void *fuzz_allocate(uint64_t size)
{
    void *memory = malloc(size == 0 ? 1 : (size_t)size);
    fuzz_require(memory != NULL);
    return memory;
}

static void fuzz_same_messages(uint32_t kind, const hl__wire_message *left,
                               const hl__wire_message *right)
{
    fuzz_require(left->count == right->count);
    if (kind == HL_WIRE_CALL)
        fuzz_require(left->function.size == right->function.size &&
                     memcmp(left->function.data, right->function.data, left->function.size) == 0);
    for (size_t i = 0; i < left->count; i++)
        fuzz_require(hl_value_equal(&left->values[i], &right->values[i]));
}

/* The name of what is a CALL. */
static const hl_span *fuzz_function(uint32_t kind, const hl__wire_message *message)
{
    return kind == HL_WIRE_CALL ? &message->function : NULL;
}

static void *fuzz_encode(uint32_t kind, const hl__wire_message *message, uint64_t *size)
{
    const hl__wire_content content = {fuzz_function(kind, message), message->values, message->count,
                                      false, UINT64_MAX};
    hl__wire_problem problem;
    uint64_t written;
    fuzz_require(hl__wire_encode(&content, NULL, 0, size, &problem));
    void *out = hl__wire_buffer_new(*size);
    fuzz_require(out != NULL);
    fuzz_require(hl__wire_encode(&content, out, *size, &written, &problem) && written == *size);
    return out;
}

/* Without references an accepted message is the only encoding of what it says. */
static void fuzz_again(uint32_t kind, const hl__wire_message *message, const void *original,
                       uint64_t original_size, bool references)
{
    uint64_t size;
    hl__wire_problem problem;
    hl__wire_message decoded;
    void *encoded = fuzz_encode(kind, message, &size);
    if (!references)
        fuzz_require(size == original_size && memcmp(encoded, original, (size_t)size) == 0);
    fuzz_require(hl__wire_decode(kind, encoded, size, UINT64_MAX, NULL, NULL, &decoded, &problem));
    fuzz_same_messages(kind, message, &decoded);
    hl__wire_message_free(&decoded);
}

/* Every piece has a block of its own, so that a sanitizer sees what goes past it. */
static void fuzz_message(uint32_t kind, void *data, size_t size, bool references)
{
    struct fuzz_memory memory = {data, size};
    struct hl__arena_block *first = fuzz_allocate(sizeof *first);
    struct hl__arena arena;
    hl__wire_message message;
    hl__wire_problem problem = {HL_OK, NULL};
    *first = (struct hl__arena_block){NULL, 0};
    hl__arena_init(&arena, first, 0, 0);
    if (hl__wire_decode_in(&arena, kind, data, size, FUZZ_LIMIT, references ? fuzz_fetch : NULL,
                           &memory, &message, &problem)) {
        fuzz_again(kind, &message, data, size, references);
    } else {
        fuzz_require(problem.reason != NULL);
        fuzz_require(problem.status == HL_GUEST_BAD_REPLY || problem.status == HL_REPLY_TOO_LARGE);
    }
    hl__arena_blocks_free(first);
}

static void fuzz_value(const void *data, size_t size)
{
    hl__wire_message message;
    hl__wire_problem problem;
    void *copy = hl__wire_buffer_new(size);
    fuzz_require(copy != NULL);
    memcpy(copy, data, size);
    if (!hl__wire_decode(HL_WIRE_VALUE, copy, size, FUZZ_LIMIT, NULL, NULL, &message, &problem))
        return;
    hl_value value = hl__wire_message_take(&message);
    fuzz_require(hl_value_equal(&value, &value));
    hl_value_free(&value);
}

static void fuzz_exports(const void *data, size_t size)
{
    hl__wire_export *exports;
    hl__wire_problem problem = {HL_OK, NULL};
    size_t count;
    if (!hl__wire_exports_decode(data, size, &exports, &count, &problem)) {
        fuzz_require(problem.status == HL_GUEST_BAD_REPLY && problem.reason != NULL);
        return;
    }
    fuzz_require(hl__wire_exports_size(exports, count) == size);
    void *encoded = fuzz_allocate(size);
    hl__wire_exports_write(encoded, exports, count);
    fuzz_require(memcmp(encoded, data, size) == 0);
    free(encoded);
    free(exports);
}

static void fuzz_repair(void *message, size_t size, uint32_t kind)
{
    struct hl_wire_head head;
    if (size < sizeof head)
        return;
    memcpy(&head, message, sizeof head);
    head.kind = kind;
    head.size = size;
    memcpy(message, &head, sizeof head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const uint32_t kind = 1 + (data[0] & FUZZ_KIND_MASK) % 3;
    const bool references = (data[0] & FUZZ_REFERENCES) != 0;
    const size_t message_size = (data[0] & FUZZ_REPAIR) ? (size - 1) & ~(size_t)7 : size - 1;
    void *message = fuzz_allocate(message_size);
    memcpy(message, data + 1, message_size);
    if (data[0] & FUZZ_REPAIR)
        fuzz_repair(message, message_size, kind);
    if (kind == HL_WIRE_EXPORTS)
        fuzz_exports(message, message_size);
    else
        fuzz_message(kind, message, message_size, references);
    if (kind == HL_WIRE_VALUE)
        fuzz_value(message, message_size);
    free(message);
    return 0;
}
