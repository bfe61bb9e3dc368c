/* The Windows Hypervisor Platform: finding it, and what the driver needs of it. */
#include "driver/whp_internal.h"

#include "util/error.h"

#include <pthread.h>
#include <string.h>

struct whp_host hl__whp_host;

hl_status hl__whp_error(hl_error *err, HRESULT result, const char *source, const char *what)
{
    if (result == E_ACCESSDENIED)
        return hl__error_set(err, HL_HYPERVISOR_DENIED, source,
                             "%s: access is denied; run as administrator, or add the user to the "
                             "group \"Hyper-V Administrators\"",
                             what);
    return hl__error_set(err, HL_SYSTEM, source, "%s (error 0x%08x)", what, (unsigned)result);
}

static hl_status whp_missing(const char *what, hl_error *err)
{
    return hl__error_set(err, HL_NO_HYPERVISOR, "LoadLibrary",
                         "%s: switch it on in a PowerShell of an administrator "
                         "(Enable-WindowsOptionalFeature -Online -FeatureName HypervisorPlatform) "
                         "and restart; virtualization must be on in the firmware",
                         what);
}

static bool whp_find_functions(HMODULE library, struct whp_functions *functions)
{
    bool complete = true;
#define F(name)                                                                                    \
    functions->name = (__typeof__(&name))(void *)GetProcAddress(library, #name);                   \
    complete = complete && functions->name;
    HL__WHP_FUNCTIONS(F)
#undef F
    functions->WHvMapGpaRange2 =
        (__typeof__(&WHvMapGpaRange2))(void *)GetProcAddress(library, "WHvMapGpaRange2");
    return complete;
}

/* What a capability says, 0 if it is not known. */
static uint64_t whp_capability(const struct whp_functions *functions, WHV_CAPABILITY_CODE code,
                               uint32_t size)
{
    WHV_CAPABILITY capability = {0};
    UINT32 written = 0;
    uint64_t answer = 0;
    if (functions->WHvGetCapability(code, &capability, sizeof capability, &written) != S_OK)
        return 0;
    memcpy(&answer, &capability, size);
    return answer;
}

/* Fills in the facts if the library has what the driver needs. */
static hl_status whp_check(HMODULE library, hl_error *err)
{
    struct whp_functions functions;
    if (!whp_find_functions(library, &functions))
        return hl__error_set(err, HL_HYPERVISOR_TOO_OLD, "GetProcAddress",
                             "the Hypervisor Platform of this Windows lacks functions; Windows 10 "
                             "1809 and Windows Server 2019 have them");
    if (!whp_capability(&functions, WHvCapabilityCodeHypervisorPresent, sizeof(BOOL)))
        return whp_missing("the Hypervisor Platform is there, but Hyper-V does not run", err);
    WHV_CAPABILITY_FEATURES features = {
        .AsUINT64 = whp_capability(&functions, WHvCapabilityCodeFeatures, sizeof features)};
    if (!features.DirtyPageTracking)
        return hl__error_set(err, HL_HYPERVISOR_TOO_OLD, "WHvGetCapability",
                             "this version of Hyper-V does not tell which pages a VM wrote");
    hl__whp_host.functions = functions;
    hl__whp_host.surrogates = functions.WHvMapGpaRange2 && hl__whp_surrogates_available();
    return HL_OK;
}

/* The library stays loaded once it was found to do. */
static hl_status whp_find(hl_error *err)
{
    /* From the system's folder and nowhere else. */
    HMODULE library = LoadLibraryExW(L"WinHvPlatform.dll", NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);
    if (!library)
        return whp_missing("Windows has no Hypervisor Platform", err);
    hl_status status = whp_check(library, err);
    if (status != HL_OK)
        FreeLibrary(library);
    return status;
}

static pthread_mutex_t whp_users_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned whp_users;

hl_status hl__whp_open(hl_error *err)
{
    hl_status status = HL_OK;
    pthread_mutex_lock(&whp_users_lock);
    if (!hl__whp_host.functions.WHvGetCapability)
        status = whp_find(err);
    whp_users += status == HL_OK;
    pthread_mutex_unlock(&whp_users_lock);
    return status;
}

void hl__whp_close(void)
{
    pthread_mutex_lock(&whp_users_lock);
    if (--whp_users == 0)
        hl__whp_surrogates_end();
    pthread_mutex_unlock(&whp_users_lock);
}
