/**
 * @file base.h
 * @brief Linkage and attribute macros, version, and the conventions that every other header relies on.
 *
 * Thread rule for the whole library: distinct objects may be used from any threads at the same time; one object from
 * one thread at a time, unless its functions take it as `const` or their documentation says otherwise.
 *
 * Ownership: `_new`, `_open` and `_from_…` give the caller an object, the matching `_free` ends the caller's claim and
 * accepts NULL. Objects hold references to what they need, so they may be freed in any order.
 *
 * Failure: a function that can fail returns an ::hl_status. On failure its outputs are left alone; on success the
 * optional `hl_error` is left alone.
 *
 * Options: structures that end in `_options` start with `size`, which must be `sizeof` that structure. A zero field
 * means its default. NULL instead of a structure means all defaults. A structure larger than this library knows is
 * refused unless its unknown tail is zero.
 */
#ifndef HYPERLIGHT_BASE_H
#define HYPERLIGHT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define HL_API __attribute__((visibility("default")))
#else
#define HL_API
#endif

#if defined(__GNUC__)
#define HL_MUST_CHECK __attribute__((warn_unused_result))
#if defined(__clang__)
#define HL_PRINTF(format_index, first_argument) __attribute__((format(printf, format_index, first_argument)))
#else
#define HL_PRINTF(format_index, first_argument) __attribute__((format(gnu_printf, format_index, first_argument)))
#endif
#else
#define HL_MUST_CHECK
#define HL_PRINTF(format_index, first_argument)
#endif

#ifdef __cplusplus
#define HL_BEGIN_DECLS extern "C" {
#define HL_END_DECLS }
#else
#define HL_BEGIN_DECLS
#define HL_END_DECLS
#endif

/** Version of the headers. Compare with hl_version() to find a mismatch between headers and library. */
#define HL_VERSION_MAJOR 0
#define HL_VERSION_MINOR 1
#define HL_VERSION_PATCH 0
#define HL_VERSION_STRING "0.1.0"

HL_BEGIN_DECLS

/**
 * @brief Version of the library that runs, as "major.minor.patch".
 * @return A static string. Any thread.
 */
HL_API const char *hl_version(void);

HL_END_DECLS

#endif
