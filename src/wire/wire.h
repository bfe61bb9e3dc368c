/*
 * Encoding and decoding of messages (abi/wire.h). Compiled into the host library and into the guest
 * SDK; uses malloc, string.h and nothing else of libc. Decoders trust nothing: they take a private
 * copy of the message and check everything against it.
 */
#ifndef HL_WIRE_WIRE_H
#define HL_WIRE_WIRE_H

#include <hyperlight/abi/wire.h>
#include <hyperlight/error.h>
#include <hyperlight/value.h>

/* Why a value or message was refused; static text, e.g. "string is not valid UTF-8". */
typedef struct hl__wire_problem {
    /* HL_INVALID_VALUE, HL_REQUEST_TOO_LARGE (over `limit`), HL_OUT_OF_MEMORY, or
     * HL_GUEST_BAD_REPLY for malformed messages */
    hl_status status;
    const char *reason;
} hl__wire_problem;

/* What a message holds. */
typedef struct hl__wire_content {
    const hl_span *function; /* CALL: its name; NULL: a VALUE message */
    const hl_value *values;  /* CALL: arguments; VALUE: one */
    size_t count;
    bool references; /* long strings and bytes are sent as references */
    uint64_t limit;  /* of the message and all referenced bytes */
} hl__wire_content;

/*
 * Checks the values (types, UTF-8, depth, count, duplicate keys) and writes the message to memory
 * that the other side may be reading: write-only. *size is the message's size. If that exceeds
 * `capacity`, only a part was written and checked, and it must be encoded again with room for all.
 */
bool hl__wire_encode(const hl__wire_content *content, void *out, uint64_t capacity, uint64_t *size,
                     hl__wire_problem *problem);

/* Fetches `size` referenced bytes at a guest address into `out`; false if the range is not
 * readable. */
typedef bool (*hl__wire_fetch)(void *user, uint64_t address, void *out, size_t size);

typedef struct hl__wire_message {
    hl_span function; /* CALL: its name, valid UTF-8, 1 to HL_NAME_MAX bytes */
    hl_value *values; /* CALL: arguments; VALUE: `value` below, so that no copy of this is used */
    size_t count;
    hl_value value;
    void *owner; /* what everything decoded lies in: hl__wire_message_free, hl__wire_message_take */
} hl__wire_message;

/* Memory from malloc for a message that is to be decoded; NULL: none left. */
void *hl__wire_buffer_new(uint64_t size);
void hl__wire_buffer_free(void *data); /* NULL is fine */

/*
 * Decodes a CALL or VALUE message. `data` is a private copy in a buffer of hl__wire_buffer_new(),
 * which the message takes over: it is freed with the result or on failure. fetch NULL: references
 * are malformed. `limit` bounds the message plus all referenced bytes: HL_REPLY_TOO_LARGE in
 * problem->status.
 */
bool hl__wire_decode(uint32_t kind, void *data, uint64_t size, uint64_t limit, hl__wire_fetch fetch,
                     void *user, hl__wire_message *message, hl__wire_problem *problem);
void hl__wire_message_free(hl__wire_message *message);
/* Turns the single value of a VALUE message into one that owns everything (hl_value_free). The
 * message is gone afterwards. */
hl_value hl__wire_message_take(hl__wire_message *message);

/* An exported function as declared by the guest. */
typedef struct hl__wire_export {
    hl_span name; /* NUL-terminated */
    bool has_signature;
    hl_signature signature;
} hl__wire_export;

/* Encodes and decodes EXPORTS messages. The decoded array owns everything in one block: free() it.
 * Names are unique, valid, NUL-terminated. */
uint64_t hl__wire_exports_size(const hl__wire_export *exports, size_t count);
void hl__wire_exports_write(void *out, const hl__wire_export *exports, size_t count);
bool hl__wire_exports_decode(const void *data, uint64_t size, hl__wire_export **exports,
                             size_t *count, hl__wire_problem *problem);

#endif
