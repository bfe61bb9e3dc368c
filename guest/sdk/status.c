/* Meanings of statuses, which replies and errors quote. */
#include "sdk.h"

const char *hl_status_meaning(hl_status status)
{
    switch (status) {
#define STATUS_MEANING(name, number, poisons, meaning)                                             \
    case HL_##name:                                                                                \
        return meaning;
        HL_STATUS_LIST(STATUS_MEANING)
#undef STATUS_MEANING
    }
    return "unknown status";
}
