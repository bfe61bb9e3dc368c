/* What else the public headers promise on both sides; linked only into programs that use it. */
#include "sdk.h"

const char *hl_status_name(hl_status status)
{
    switch (status) {
#define STATUS_NAME(name, number, poisons, meaning)                                                \
    case HL_##name:                                                                                \
        return "HL_" #name;
        HL_STATUS_LIST(STATUS_NAME)
#undef STATUS_NAME
    }
    return "HL_?";
}

bool hl_status_poisons(hl_status status)
{
    switch (status) {
#define STATUS_POISONS(name, number, poisons, meaning)                                             \
    case HL_##name:                                                                                \
        return poisons;
        HL_STATUS_LIST(STATUS_POISONS)
#undef STATUS_POISONS
    }
    return false;
}

const char *hl_version(void)
{
    return HL_VERSION_STRING;
}
