/*
 * The encoding of messages that cross the boundary. Both sides treat what they receive as hostile.
 *
 * Everything is aligned to 8 bytes, little-endian. A message is a hl_wire_head followed by `count`
 * items; what they are depends on the kind:
 *   CALL     a string (the function's name), then the arguments
 *   VALUE    one value
 * EXPORTS  per function: a string (name), then null (no signature) or bytes (types: result first,
 * then parameters, one byte each)
 *
 * A value is a hl_wire_value followed by its payload, padded with zeroes to 8 bytes:
 *   null, bool, numbers     no payload; `data` holds the bits, zero-extended
 *   string, bytes           `data` = size; the bytes and one NUL
 *   list                    `data` = count; the items
 *   map                     `data` = count; per entry a string (key), then a value
 * with HL_WIRE_REFERENCE  (string and bytes in messages from the guest only) `data` = size;
 * payload: the guest address, 8 bytes. The host copies the
 *                           bytes from there; no NUL is needed there.
 */
#ifndef HYPERLIGHT_ABI_WIRE_H
#define HYPERLIGHT_ABI_WIRE_H

#include <stdint.h>

enum hl_wire_kind { HL_WIRE_CALL = 1, HL_WIRE_VALUE = 2, HL_WIRE_EXPORTS = 3 };

struct hl_wire_head {
    uint32_t kind;
    uint32_t count; /* CALL: arguments, VALUE: 1, EXPORTS: functions */
    uint64_t size;  /* of the whole message, this head included, references excluded */
};
_Static_assert(sizeof(struct hl_wire_head) == 16, "size of hl_wire_head");

struct hl_wire_value {
    uint8_t type;  /* hl_type */
    uint8_t flags; /* HL_WIRE_REFERENCE or 0 */
    uint8_t reserved[6];
    uint64_t data;
};
_Static_assert(sizeof(struct hl_wire_value) == 16, "size of hl_wire_value");

#define HL_WIRE_REFERENCE 1u

/* The SDK sends strings and bytes from this size on as references. */
#define HL_WIRE_REFERENCE_MIN 4096u

/* Most exported functions of a program. */
#define HL_WIRE_EXPORTS_MAX 1024u

#endif
