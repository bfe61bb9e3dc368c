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

/* Size of the message, checking the values on the way (types, UTF-8, depth, count, duplicate keys).
 * `references`: long strings and bytes will be sent as references. */
bool hl__wire_call_size(const hl_span *function, const hl_value *arguments, size_t count,
                        bool references, uint64_t limit, uint64_t *size, hl__wire_problem *problem);
bool hl__wire_value_size(const hl_value *value, bool references, uint64_t limit, uint64_t *size,
                         hl__wire_problem *problem);
/* `limit` counts the referenced bytes too; *size does not. */

/* Writes a message of exactly the size computed before, to memory that the other side may be
 * reading: write-only. */
void hl__wire_call_write(void *out, const hl_span *function, const hl_value *arguments,
                         size_t count, bool references);
void hl__wire_value_write(void *out, const hl_value *value, bool references);

/* Fetches `size` referenced bytes at a guest address into `out`; false if the range is not
 * readable. */
typedef bool (*hl__wire_fetch)(void *user, uint64_t address, void *out, size_t size);

typedef struct hl__wire_message {
    hl_span function; /* CALL: its name, valid UTF-8, 1 to HL_NAME_MAX bytes */
    hl_value *values; /* CALL: arguments; VALUE: one */
    size_t count;
    /* one block that holds everything decoded; free() it, or hl__wire_message_take */
    void *owner;
} hl__wire_message;

/*
 * Decodes a CALL or VALUE message. `data` is a private copy, 8-byte aligned, that the result points
 * into: `take_data` says whether the message takes it over (it must come from malloc, and is freed
 * with the result or on failure) or only borrows it. fetch NULL: references are malformed. `limit`
 * bounds the message plus all referenced bytes: HL_REPLY_TOO_LARGE in problem->status.
 */
bool hl__wire_decode(uint32_t kind, void *data, uint64_t size, bool take_data, uint64_t limit,
                     hl__wire_fetch fetch, void *user, hl__wire_message *message,
                     hl__wire_problem *problem);
void hl__wire_message_free(hl__wire_message *message);
/* Turns the single value of a VALUE message into one that owns everything (hl_value_free). The
 * message is empty afterwards. */
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
