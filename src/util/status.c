/* What a status is called and means, and the library's version. */
#include <hyperlight/error.h>

const char *hl_version(void)
{
    return HL_VERSION_STRING;
}

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
