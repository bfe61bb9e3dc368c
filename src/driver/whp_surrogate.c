/*
 * Surrogates: processes that hold the memory of VMs.
 *
 * Hyper-V gives the memory of a process to one partition at most, so that a process could have one
 * VM. With surrogates it has many: each VM's memory, which is in sections, is mapped once more in a
 * process that is created suspended and never runs. They are made when a VM needs one, used again,
 * and end with this process whatever happens, by way of a job.
 */
#include "driver/whp_internal.h"

#include "os/windows/section.h"
#include "util/error.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <winternl.h>

#define SURROGATE_FILE L"hyperlight-surrogate.exe"
#define PATH_MAX_CHARACTERS 1024u
#define SURROGATES_MAX 512u  /* alive at once */
#define IDLE_MAX 16u         /* kept for later VMs */
#define GRANULARITY 0x10000u /* of the offsets at which sections can be mapped */

static struct {
    pthread_mutex_t lock;
    HANDLE job;
    struct whp_surrogate *idle;
    unsigned idle_count, count;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The program of surrogates is in the folder of the library, or of the program that the library is
 * linked into. */
static bool surrogate_path(wchar_t *path)
{
    HMODULE module;
    if (!GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS |
                                GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                            (const wchar_t *)(const void *)&pool, &module))
        return false;
    DWORD length = GetModuleFileNameW(module, path, PATH_MAX_CHARACTERS);
    if (length == PATH_MAX_CHARACTERS) /* it was cut */
        return false;
    while (length > 0 && path[length - 1] != L'\\' && path[length - 1] != L'/')
        length--;
    if (length + sizeof SURROGATE_FILE / sizeof(wchar_t) > PATH_MAX_CHARACTERS)
        return false;
    memcpy(path + length, SURROGATE_FILE, sizeof SURROGATE_FILE);
    return true;
}

bool hl__whp_surrogates_available(void)
{
    wchar_t path[PATH_MAX_CHARACTERS];
    return surrogate_path(path) && GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES;
}

/* A job that ends its processes with its last handle, which is ours. */
static HANDLE job_new(void)
{
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {.BasicLimitInformation.LimitFlags =
                                                       JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE};
    HANDLE job = CreateJobObjectW(NULL, NULL);
    if (job &&
        !SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits)) {
        CloseHandle(job);
        job = NULL;
    }
    return job;
}

static HANDLE process_new(void)
{
    wchar_t path[PATH_MAX_CHARACTERS];
    STARTUPINFOW startup = {.cb = sizeof startup};
    PROCESS_INFORMATION made;
    if (!surrogate_path(path) ||
        !CreateProcessW(path, NULL, NULL, NULL, FALSE, CREATE_SUSPENDED | DETACHED_PROCESS, NULL,
                        NULL, &startup, &made))
        return NULL;
    CloseHandle(made.hThread);
    if (AssignProcessToJobObject(pool.job, made.hProcess))
        return made.hProcess;
    TerminateProcess(made.hProcess, 0);
    CloseHandle(made.hProcess);
    return NULL;
}

/* Under the lock. */
static struct whp_surrogate *surrogate_new(void)
{
    if (!pool.job)
        pool.job = job_new();
    struct whp_surrogate *surrogate = calloc(1, sizeof *surrogate);
    if (pool.job && surrogate && pool.count < SURROGATES_MAX)
        surrogate->process = process_new();
    if (surrogate && surrogate->process) {
        pool.count++;
        return surrogate;
    }
    free(surrogate);
    return NULL;
}

/* Under the lock. */
static void surrogate_end(struct whp_surrogate *surrogate)
{
    TerminateProcess(surrogate->process, 0);
    CloseHandle(surrogate->process);
    free(surrogate);
    pool.count--;
}

/* Somebody may have ended it: a task manager, say. */
static bool surrogate_lives(const struct whp_surrogate *surrogate)
{
    return WaitForSingleObject(surrogate->process, 0) == WAIT_TIMEOUT;
}

/* Under the lock. */
static struct whp_surrogate *idle_pop(void)
{
    struct whp_surrogate *surrogate = pool.idle;
    if (surrogate) {
        pool.idle = surrogate->next;
        pool.idle_count--;
    }
    return surrogate;
}

hl_status hl__whp_surrogate_take(struct whp_surrogate **surrogate, hl_error *err)
{
    pthread_mutex_lock(&pool.lock);
    while ((*surrogate = idle_pop()) && !surrogate_lives(*surrogate))
        surrogate_end(*surrogate);
    if (!*surrogate)
        *surrogate = surrogate_new();
    DWORD error = GetLastError();
    unsigned count = pool.count;
    pthread_mutex_unlock(&pool.lock);
    if (*surrogate)
        return HL_OK;
    if (count >= SURROGATES_MAX)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "CreateProcess",
                             "a process can have %u VMs at once; free some", SURROGATES_MAX);
    return hl__error_set(err, HL_SYSTEM, "CreateProcess",
                         "cannot start hyperlight-surrogate.exe, which is in the folder of the "
                         "library (error %lu)",
                         error);
}

void hl__whp_surrogate_give_back(struct whp_surrogate *surrogate)
{
    pthread_mutex_lock(&pool.lock);
    if (pool.idle_count < IDLE_MAX) {
        surrogate->next = pool.idle;
        pool.idle = surrogate;
        pool.idle_count++;
    } else {
        surrogate_end(surrogate);
    }
    pthread_mutex_unlock(&pool.lock);
}

void hl__whp_surrogates_end(void)
{
    struct whp_surrogate *surrogate;
    pthread_mutex_lock(&pool.lock);
    while ((surrogate = idle_pop()))
        surrogate_end(surrogate);
    if (pool.count == 0 && pool.job) {
        CloseHandle(pool.job);
        pool.job = NULL;
    }
    pthread_mutex_unlock(&pool.lock);
}

/* Views */

typedef NTSTATUS(NTAPI *nt_map_view)(HANDLE section, HANDLE process, void **address,
                                     ULONG_PTR zero_bits, SIZE_T commit, LARGE_INTEGER *offset,
                                     SIZE_T *size, DWORD inherit, ULONG type, ULONG protection);
typedef NTSTATUS(NTAPI *nt_unmap_view)(HANDLE process, void *address);

static void *nt_function(const char *name)
{
    return (void *)GetProcAddress(GetModuleHandleW(L"ntdll.dll"), name);
}

/* NtMapViewOfSection is what MapViewOfFileNuma2 calls, and every Windows has it. */
static NTSTATUS view_map(HANDLE section, HANDLE process, uint64_t offset, SIZE_T size,
                         bool writable, void **view)
{
    enum { VIEW_UNMAP = 2 /* not inherited */ };
    nt_map_view map = (nt_map_view)nt_function("NtMapViewOfSection");
    LARGE_INTEGER start = {.QuadPart = (LONGLONG)offset};
    *view = NULL;
    return map(section, process, view, 0, 0, &start, &size, VIEW_UNMAP, 0,
               writable ? PAGE_READWRITE : PAGE_READONLY);
}

hl_status hl__whp_surrogate_map(const struct whp_surrogate *surrogate, const void *memory,
                                size_t size, bool writable, void **source, void **view,
                                hl_error *err)
{
    HANDLE section;
    uint64_t offset;
    if (!hl__os_memory_section(memory, &section, &offset))
        return hl__error_set(err, HL_SYSTEM, "MapViewOfFile",
                             "memory of a VM must be part of a section");
    uint64_t ahead = offset % GRANULARITY;
    NTSTATUS status =
        view_map(section, surrogate->process, offset - ahead, size + ahead, writable, view);
    if (status < 0)
        return hl__error_set(err, HL_SYSTEM, "NtMapViewOfSection",
                             "cannot map %zu bytes for a VM (error 0x%08x)", size,
                             (unsigned)status);
    *source = (uint8_t *)*view + ahead;
    return HL_OK;
}

void hl__whp_surrogate_unmap(const struct whp_surrogate *surrogate, void *view)
{
    nt_unmap_view unmap = (nt_unmap_view)nt_function("NtUnmapViewOfSection");
    (void)unmap(surrogate->process, view);
}
