/* Versioned options structures: callers may be built against older or newer headers than the
 * library. */
#include "util/error.h"

#include <string.h>

/* No later version of a structure grows beyond this: a size above it was never set, and its tail is
 * not looked at. */
#define GROWTH_MAX 4096

static bool is_zero(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

hl_status hl__options_copy(void *out, size_t known, size_t least, const void *options,
                           const char *type_name, hl_error *err)
{
    memset(out, 0, known);
    if (!options)
        return HL_OK;
    size_t size;
    memcpy(&size, options, sizeof size);
    if (size < least || size > known + GROWTH_MAX)
        return hl__error_set(err, HL_INVALID_ARGUMENT, NULL, "%s.size is %zu: set it to sizeof(%s)",
                             type_name, size, type_name);
    if (size > known && !is_zero((const unsigned char *)options + known, size - known))
        return hl__error_set(err, HL_INVALID_ARGUMENT, NULL,
                             "%s has options that this library (%s) does not know: update it or "
                             "leave them zero",
                             type_name, HL_VERSION_STRING);
    memcpy(out, options, size < known ? size : known);
    return HL_OK;
}
