/**
 * @file value.h
 * @brief Typed values that cross the boundary between host and guest. The same header serves both sides.
 *
 * A value is a plain structure. The constructors below borrow: the strings, bytes, items and entries that they name
 * must live as long as the value is used. A value that a call returns owns what it points to: release it with
 * hl_value_free(). Freeing a borrowed value does nothing.
 */
#ifndef HYPERLIGHT_VALUE_H
#define HYPERLIGHT_VALUE_H

#include <hyperlight/base.h>
#include <string.h>

/** Deepest nesting of lists and maps; a scalar has depth 0, a list of scalars 1. */
#define HL_VALUE_DEPTH_MAX 32

/** Most values (counted through all levels) in one request or reply. */
#define HL_VALUE_COUNT_MAX 1048576

/** Type of a value. The numbers are part of the host/guest contract. */
typedef enum hl_type {
    HL_TYPE_NULL = 0,
    HL_TYPE_BOOL = 1,
    HL_TYPE_I32 = 2,
    HL_TYPE_U32 = 3,
    HL_TYPE_I64 = 4,
    HL_TYPE_U64 = 5,
    HL_TYPE_F32 = 6,
    HL_TYPE_F64 = 7,
    HL_TYPE_STRING = 8, /**< UTF-8, checked; may contain U+0000. */
    HL_TYPE_BYTES = 9,
    HL_TYPE_LIST = 10,
    HL_TYPE_MAP = 11,  /**< String keys, in the order given; a key may occur once. */
    HL_TYPE_ANY = 255  /**< In signatures only: any type fits. */
} hl_type;

typedef struct hl_value hl_value;
typedef struct hl_entry hl_entry;

/** Text or bytes: `size` counts bytes without the NUL that follows a received string or byte array. */
typedef struct hl_span {
    const char *data;
    size_t size;
} hl_span;

/** A typed value. */
struct hl_value {
    hl_type type;
    uint32_t reserved; /**< Zero. */
    union {
        bool boolean;
        int32_t i32;
        uint32_t u32;
        int64_t i64;
        uint64_t u64;
        float f32;
        double f64;
        hl_span string;
        hl_span bytes;
        struct {
            const hl_value *items;
            size_t count;
        } list;
        struct {
            const hl_entry *entries;
            size_t count;
        } map;
    } as;
    void *owner; /**< The library's: storage that hl_value_free() releases, or NULL. */
};

/** A key and its value in a map. */
struct hl_entry {
    hl_span key;
    hl_value value;
};

/**
 * Signature of a function: what it takes and gives. Arguments are checked before the function is reached; the result
 * of a host function before the guest gets it, the result of a guest function before the host does (HL_GUEST_BAD_REPLY).
 */
typedef struct hl_signature {
    const hl_type *parameters; /**< `parameter_count` types; may be NULL if that is 0. */
    size_t parameter_count;    /**< At most HL_PARAMETERS_MAX. */
    hl_type result;            /**< HL_TYPE_NULL for a function that returns nothing. */
} hl_signature;

/** Most arguments of one call. */
#define HL_PARAMETERS_MAX 64

/** Longest name of a function in bytes, without the NUL. */
#define HL_NAME_MAX 255

static inline hl_value hl__value_make(hl_type type)
{
    hl_value value;
    memset(&value, 0, sizeof value);
    value.type = type;
    return value;
}

static inline hl_value hl_value_null(void)
{
    return hl__value_make(HL_TYPE_NULL);
}

static inline hl_value hl_value_bool(bool boolean)
{
    hl_value value = hl__value_make(HL_TYPE_BOOL);
    value.as.boolean = boolean;
    return value;
}

static inline hl_value hl_value_i32(int32_t number)
{
    hl_value value = hl__value_make(HL_TYPE_I32);
    value.as.i32 = number;
    return value;
}

static inline hl_value hl_value_u32(uint32_t number)
{
    hl_value value = hl__value_make(HL_TYPE_U32);
    value.as.u32 = number;
    return value;
}

static inline hl_value hl_value_i64(int64_t number)
{
    hl_value value = hl__value_make(HL_TYPE_I64);
    value.as.i64 = number;
    return value;
}

static inline hl_value hl_value_u64(uint64_t number)
{
    hl_value value = hl__value_make(HL_TYPE_U64);
    value.as.u64 = number;
    return value;
}

static inline hl_value hl_value_f32(float number)
{
    hl_value value = hl__value_make(HL_TYPE_F32);
    value.as.f32 = number;
    return value;
}

static inline hl_value hl_value_f64(double number)
{
    hl_value value = hl__value_make(HL_TYPE_F64);
    value.as.f64 = number;
    return value;
}

/** A string of `size` bytes; borrowed. */
static inline hl_value hl_value_string_n(const char *data, size_t size)
{
    hl_value value = hl__value_make(HL_TYPE_STRING);
    value.as.string.data = data;
    value.as.string.size = size;
    return value;
}

/** A NUL-terminated string; borrowed. */
static inline hl_value hl_value_string(const char *text)
{
    return hl_value_string_n(text, strlen(text));
}

/** A byte array; borrowed. */
static inline hl_value hl_value_bytes(const void *data, size_t size)
{
    hl_value value = hl__value_make(HL_TYPE_BYTES);
    value.as.bytes.data = (const char *)data;
    value.as.bytes.size = size;
    return value;
}

/** A list of `count` items; borrowed. */
static inline hl_value hl_value_list(const hl_value *items, size_t count)
{
    hl_value value = hl__value_make(HL_TYPE_LIST);
    value.as.list.items = items;
    value.as.list.count = count;
    return value;
}

/** A map of `count` entries; borrowed. */
static inline hl_value hl_value_map(const hl_entry *entries, size_t count)
{
    hl_value value = hl__value_make(HL_TYPE_MAP);
    value.as.map.entries = entries;
    value.as.map.count = count;
    return value;
}

/** An entry of a map with a NUL-terminated key; borrowed. */
static inline hl_entry hl_value_entry(const char *key, hl_value value)
{
    hl_entry entry;
    entry.key.data = key;
    entry.key.size = strlen(key);
    entry.value = value;
    return entry;
}

HL_BEGIN_DECLS

/** @brief Releases what a received value owns and makes it null. NULL and borrowed values are fine. */
HL_API void hl_value_free(hl_value *value);

/**
 * @brief Finds a key in a map.
 * @return The value, owned by the map; NULL if `map` is not a map or has no such key.
 */
HL_API const hl_value *hl_value_get(const hl_value *map, const char *key);

/** @brief Whether two values have the same type and content (F32 and F64 bit for bit, so that NaN equals itself). */
HL_API bool hl_value_equal(const hl_value *left, const hl_value *right);

/** @brief Name of a type, as in "string". @return A static string; "?" for an unknown number. */
HL_API const char *hl_type_name(hl_type type);

HL_END_DECLS

#endif
