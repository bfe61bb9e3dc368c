/*
 * Fuzzes the shim's JSON: any bytes as lines of a program, in pieces, and any bytes as a message to be
 * written. What is accepted must be a message that the host accepts; it is
 * written as JSON again, which must be read as an equal value.
 */
#include "../../guest/shim/functions/decimal.c"
#include "../../guest/shim/functions/json_keys.c"
#include "../../guest/shim/functions/json_line.c"
#include "../../guest/shim/functions/json_read.c"
#include "../../guest/shim/functions/json_write.c"

#include "wire/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void *hl__heap_new(size_t size)
{
    return calloc(1, size);
}

void hl__heap_free(void *object, size_t size)
{
    (void)size;
    free(object);
}

void *hl__heap_resize(void *object, size_t old_size, size_t new_size)
{
    void *moved = calloc(1, new_size);

    memcpy(moved, object, old_size < new_size ? old_size : new_size);
    free(object);
    return moved;
}

static void fuzz_require(bool condition)
{
    if (!condition)
        abort();
}

static bool decode(uint32_t kind, const struct hl__line *line, hl__wire_message *message)
{
    hl__wire_problem problem = {HL_OK, ""};
    void *copy = hl__wire_buffer_new(line->size);

    memcpy(copy, line->message, line->size);
    if (hl__wire_decode(kind, copy, line->size, UINT64_MAX, NULL, NULL, message, &problem))
        return true;
    fuzz_require(false);
    return false;
}

/* Reads a whole text; true if it is one line with a result. */
static bool read_result(struct hl__json_reader *r, const uint8_t *text, size_t size,
                        struct hl__line *line)
{
    size_t taken;

    hl__json_reader_reset(r);
    if (hl__json_read(r, text, size, &taken) != HL__JSON_LINE || taken != size)
        return false;
    *line = hl__json_line(r, HL__JSON_ANY);
    return line->kind == HL__LINE_RESULT;
}

static void write_and_read_again(const struct hl__line *line, hl__wire_message *message)
{
    struct hl__json_reader again = {0};
    struct hl__json_writer w = {0};
    hl__wire_message other;
    struct hl__line same;
    size_t capacity = 8 * line->size + 64, size = 0, got;
    uint8_t *text = malloc(capacity);

    fuzz_require(hl__json_write_start(&w, HL__JSON_RESULT, line->message, line->size, false));
    while ((got = hl__json_write(&w, text + size, capacity - size)) != 0)
        size += got;
    fuzz_require(!w.failed && read_result(&again, text, size, &same));
    fuzz_require(decode(HL_WIRE_VALUE, &same, &other));
    /* Types that JSON cannot tell may have become others: the text must stay the same. */
    if (message->values[0].type == other.values[0].type)
        fuzz_require(same.size <= line->size + 8);
    hl__wire_message_free(&other);
    hl__json_reader_free(&again);
    free(text);
}

static void check_line(const struct hl__line *line)
{
    hl__wire_message message;
    hl__wire_problem problem = {HL_OK, ""};
    hl__wire_export *exports;
    size_t count;

    switch (line->kind) {
    case HL__LINE_INVALID:
        return;
    case HL__LINE_EXPORTS:
        fuzz_require(
            hl__wire_exports_decode(line->message, line->size, &exports, &count, &problem));
        free(exports);
        return;
    case HL__LINE_CALL:
        if (decode(HL_WIRE_CALL, line, &message))
            hl__wire_message_free(&message);
        return;
    default:
        if (!decode(HL_WIRE_VALUE, line, &message))
            return;
        fuzz_require(line->kind == HL__LINE_RESULT || message.values[0].type == HL_TYPE_STRING);
        write_and_read_again(line, &message);
        hl__wire_message_free(&message);
    }
}

/* All lines, in pieces of a size. */
static void fuzz_lines(const uint8_t *data, size_t size, size_t piece)
{
    struct hl__json_reader r = {0};
    struct hl__line line;
    size_t taken;

    hl__json_reader_init(&r);
    while (size) {
        size_t part = size < piece ? size : piece;
        enum hl__json_progress progress = hl__json_read(&r, data, part, &taken);

        if (progress == HL__JSON_REFUSED) {
            fuzz_require(r.problem != NULL);
            break;
        }
        fuzz_require(taken > 0 && taken <= part);
        data += taken;
        size -= taken;
        if (progress == HL__JSON_LINE) {
            line = hl__json_line(&r, HL__JSON_ANY);
            fuzz_require((line.kind == HL__LINE_INVALID) == (r.problem != NULL));
            check_line(&line);
            hl__json_reader_reset(&r);
        }
    }
    hl__json_reader_free(&r);
}

static void fuzz_message(const uint8_t *data, size_t size)
{
    struct hl__json_writer w = {0};
    struct hl_wire_head head = {HL_WIRE_VALUE, 1, size};
    uint8_t *copy, text[64];

    if (size < sizeof head)
        return;
    copy = malloc(size);
    memcpy(copy, data, size);
    head.kind = data[0] & 1 ? HL_WIRE_CALL : HL_WIRE_VALUE;
    head.count = data[1];
    memcpy(copy, &head, sizeof head);
    fuzz_require(hl__json_write_start(&w, data[0] & 1 ? HL__JSON_CALL : HL__JSON_RESULT, copy, size,
                                      data[0] & 2));
    while (hl__json_write(&w, text, 1 + data[2] % sizeof text))
        ;
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    fuzz_lines(data + 1, size - 1, 1 + data[0] % 16);
    fuzz_lines(data + 1, size - 1, SIZE_MAX);
    fuzz_message(data + 1, size - 1);
    return 0;
}
