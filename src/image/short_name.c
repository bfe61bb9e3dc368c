/* Shortening names for messages. */
#include "image/short_name.h"

#include <string.h>

const char *hl__short_name(const char *name, struct hl__short_name *space)
{
    size_t size = strlen(name), half = sizeof space->text / 2 - 2;
    if (size < sizeof space->text)
        return name;
    memcpy(space->text, name, half);
    memcpy(space->text + half, "...", 3);
    memcpy(space->text + half + 3, name + size - half, half + 1);
    return space->text;
}
