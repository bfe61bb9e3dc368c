/*
 * Messages of the boundary (hyperlight/abi/wire.h) as JSON text, and back. Both run piece by piece, in
 * bounded memory beside the message itself: lines may be as long as messages.
 *
 * The conventions are those of the command line tool: integers are the smallest of i32, i64 and u64
 * that holds them, numbers with a point or an exponent are f64, and a map with one key tells what JSON
 * cannot: {"$bytes": BASE64}, {"$u64": "NUMBER"}, {"$f64": "nan"}, {"$map": {...}}.
 */
#ifndef HL_SHIM_JSON_H
#define HL_SHIM_JSON_H

#include "functions/decimal.h"
#include "hyperlight/abi/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* hl_type of the host API: the numbers are part of the contract. */
enum hl__json_type {
    HL__JSON_NULL = 0,
    HL__JSON_BOOL = 1,
    HL__JSON_I32 = 2,
    HL__JSON_U32 = 3,
    HL__JSON_I64 = 4,
    HL__JSON_U64 = 5,
    HL__JSON_F32 = 6,
    HL__JSON_F64 = 7,
    HL__JSON_STRING = 8,
    HL__JSON_BYTES = 9,
    HL__JSON_LIST = 10,
    HL__JSON_MAP = 11,
    HL__JSON_ANY = 255
};

#define HL__JSON_DEPTH_MAX 32u       /* of a value, HL_VALUE_DEPTH_MAX */
#define HL__JSON_VALUES_MAX 1048576u /* HL_VALUE_COUNT_MAX */
#define HL__JSON_ARGUMENTS_MAX 64u   /* HL_PARAMETERS_MAX */
#define HL__JSON_NAME_MAX 255u       /* HL_NAME_MAX */

/*
 * Reading. A line is one object, {"result": VALUE} and the like; its value is written as a wire map
 * behind some room for the head of the message that it will become.
 */

/* Objects and arrays around a value while it is read: those of the value, each of which may be written
 * {"$map": ...}, and those of the line. */
#define HL__JSON_NESTING_MAX (2 * HL__JSON_DEPTH_MAX + 4)
/* Before the line's value: a message's head and the longest name. */
#define HL__JSON_ROOM 512u

struct hl__json_open {
    uint64_t at;    /* of the container's head in the buffer */
    uint64_t count; /* values so far */
    bool map;
};

#define HL__JSON_KEYS_MAX 4u /* of a line's object */

struct hl__json_reader {
    uint8_t *bytes; /* the wire value, from HL__JSON_ROOM on */
    uint64_t size, capacity;
    const char *problem; /* why a line was refused; static text */
    bool no_memory;      /* the problem was that */
    bool started;        /* something of a line was read */
    uint8_t state;
    uint8_t nesting;
    struct hl__json_open open[HL__JSON_NESTING_MAX];
    /* where the keys of the line's object and their values start */
    uint8_t key_count;
    uint64_t keys[HL__JSON_KEYS_MAX], values[HL__JSON_KEYS_MAX];
    /* the string or word under way */
    uint64_t string_at;
    bool is_key;
    const char *word; /* what is left of it */
    uint8_t word_type;
    uint64_t word_data;
    uint8_t hex_left, utf8_left, utf8_least, utf8_greatest;
    uint16_t unit, high_surrogate; /* 0: none */
    /* the number under way */
    bool negative, whole_overflow;
    uint64_t whole;
    int32_t exponent;
    bool exponent_negative;
    struct hl__decimal decimal;
};

/* Must be called before the first line, with a zeroed reader, and frees nothing. */
void hl__json_reader_init(struct hl__json_reader *reader);
/* Forgets the line under way; keeps the buffer. */
void hl__json_reader_reset(struct hl__json_reader *reader);
/* Gives the buffer back. */
void hl__json_reader_free(struct hl__json_reader *reader);

enum hl__json_progress { HL__JSON_MORE, HL__JSON_LINE, HL__JSON_REFUSED };

/* Room for `size` more bytes in the buffer. */
bool hl__json_reserve(struct hl__json_reader *reader, uint64_t size);

/* Reads on, up to the end of a line: HL__JSON_LINE; *taken tells how far. Empty lines are skipped. After
 * HL__JSON_REFUSED and before a new line the reader must be reset. */
enum hl__json_progress hl__json_read(struct hl__json_reader *reader, const uint8_t *bytes,
                                     size_t size, size_t *taken);

enum hl__line_kind {
    HL__LINE_INVALID, /* reader->problem tells why */
    HL__LINE_RESULT,  /* a VALUE message */
    HL__LINE_ERROR,   /* a VALUE message: a string */
    HL__LINE_CALL,    /* a CALL message: to a host function */
    HL__LINE_EXPORTS  /* an EXPORTS message; `notify_restored` is set */
};

struct hl__line {
    enum hl__line_kind kind;
    const uint8_t *message; /* in the reader's buffer, until it is reset */
    uint64_t size;
    bool any_name;        /* EXPORTS: no list was given */
    bool notify_restored; /* EXPORTS */
};

/* What a line says that was read whole. `result_type`: what the function that is served promises, which
 * numbers follow if they can; HL__JSON_ANY otherwise. json_line.c. */
struct hl__line hl__json_line(struct hl__json_reader *reader, enum hl__json_type result_type);

/*
 * Writing.
 */

enum hl__json_form {
    HL__JSON_CALL,   /* {"call":NAME,"args":[...]} from a CALL message */
    HL__JSON_RESULT, /* {"result":VALUE} from a VALUE message */
    HL__JSON_ERROR   /* {"error":VALUE} */
};

struct hl__json_level {
    uint64_t left; /* values */
    bool map, wrapped, first;
};

/* All zero: nothing to write. */
struct hl__json_writer {
    const uint8_t *at, *end;        /* the message; must stay where it is */
    const uint8_t *body, *body_end; /* the string or bytes under way */
    uint8_t state;
    bool body_is_base64, body_is_key, restored, failed;
    uint8_t form;
    uint8_t depth;
    uint8_t token_size, token_at;
    char token[96]; /* text that waits */
    struct hl__json_level levels[HL__JSON_DEPTH_MAX + 2];
};

/* `restored`: a call's line says so. False: not such a message. */
bool hl__json_write_start(struct hl__json_writer *writer, enum hl__json_form form,
                          const void *message, uint64_t size, bool restored);
/* The next piece of text, 0 when there is no more. A message that is malformed ends early, with `failed`. */
size_t hl__json_write(struct hl__json_writer *writer, uint8_t *to, size_t capacity);

/* Nothing more will come. */
static inline bool hl__json_write_done(const struct hl__json_writer *writer)
{
    return !writer->state && writer->token_at == writer->token_size;
}

#endif
