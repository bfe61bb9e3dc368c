/*
 * Memory as sections, with pages around it that fault. Hyper-V takes memory of another process for each
 * partition, so every range must be one that other processes can be given a view of: whp_surrogate.c
 * asks for its section.
 */
#include "os/windows/section.h"

#include "os/os.h"
#include "util/error.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define PAGE ((size_t)4096)
/* Views start at multiples of this. */
#define GRANULARITY ((uint64_t)65536)
/* Ahead of anonymous memory, and behind it. */
#define GUARD_AHEAD GRANULARITY
#define GUARD_BEHIND PAGE

struct mapping {
    struct mapping *next;
    uint8_t *start;
    size_t size;
    HANDLE section;
    uint64_t offset; /* of `start` */
    void *view;
};

static pthread_mutex_t mappings_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mapping *mappings;

hl_status hl__windows_error(hl_error *err, hl_status status, const char *source, const char *what)
{
    DWORD error = GetLastError();
    bool no_memory = error == ERROR_NOT_ENOUGH_MEMORY || error == ERROR_COMMITMENT_LIMIT ||
                     error == ERROR_OUTOFMEMORY;
    return hl__error_set(err, no_memory ? HL_OUT_OF_MEMORY : status, source, "%s (error %lu)", what,
                         error);
}

hl_status hl__windows_section_new(uint64_t size, void **section, hl_error *err)
{
    *section = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, (DWORD)(size >> 32),
                                  (DWORD)size, NULL);
    if (!*section)
        return hl__windows_error(err, HL_SYSTEM, "CreateFileMapping", "cannot get memory");
    return HL_OK;
}

/* Keeps account of a view. */
static hl_status mapping_add(const struct mapping *mapping, hl_error *err)
{
    struct mapping *added = malloc(sizeof *added);
    if (!added)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "malloc", "no memory for a mapping");
    *added = *mapping;
    pthread_mutex_lock(&mappings_lock);
    added->next = mappings;
    mappings = added;
    pthread_mutex_unlock(&mappings_lock);
    return HL_OK;
}

static hl_status view_map(struct mapping *mapping, size_t ahead, size_t behind, DWORD access,
                          hl_error *err)
{
    uint64_t from = mapping->offset - ahead;
    mapping->view = MapViewOfFile(mapping->section, access, (DWORD)(from >> 32), (DWORD)from,
                                  ahead + mapping->size + behind);
    if (!mapping->view)
        return hl__windows_error(err, HL_SYSTEM, "MapViewOfFile", "cannot map memory");
    mapping->start = (uint8_t *)mapping->view + ahead;
    return HL_OK;
}

static hl_status guard(const struct mapping *mapping, hl_error *err)
{
    DWORD before;
    if (!VirtualProtect(mapping->view, GUARD_AHEAD, PAGE_NOACCESS, &before) ||
        !VirtualProtect(mapping->start + mapping->size, GUARD_BEHIND, PAGE_NOACCESS, &before))
        return hl__windows_error(err, HL_SYSTEM, "VirtualProtect", "cannot guard memory");
    return HL_OK;
}

hl_status hl__os_memory_map(size_t size, void **address, hl_error *err)
{
    struct mapping mapping = {.size = size, .offset = GUARD_AHEAD};
    if (size == 0 || size > SIZE_MAX - GUARD_AHEAD - GUARD_BEHIND)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "CreateFileMapping",
                             "cannot map %zu bytes of memory", size);
    hl_status status =
        hl__windows_section_new(GUARD_AHEAD + size + GUARD_BEHIND, &mapping.section, err);
    if (status != HL_OK)
        return status;
    status = view_map(&mapping, GUARD_AHEAD, GUARD_BEHIND, FILE_MAP_ALL_ACCESS, err);
    if (status == HL_OK) {
        status = guard(&mapping, err);
        if (status == HL_OK)
            status = mapping_add(&mapping, err);
        if (status != HL_OK)
            UnmapViewOfFile(mapping.view);
    }
    if (status != HL_OK)
        CloseHandle(mapping.section);
    else
        *address = mapping.start;
    return status;
}

hl_status hl__windows_section_map(void *section, uint64_t offset, size_t size, void **address,
                                  hl_error *err)
{
    struct mapping mapping = {.size = size, .offset = offset};
    if (!DuplicateHandle(GetCurrentProcess(), section, GetCurrentProcess(), &mapping.section, 0,
                         FALSE, DUPLICATE_SAME_ACCESS))
        return hl__windows_error(err, HL_SYSTEM, "DuplicateHandle", "cannot share memory");
    hl_status status = view_map(&mapping, offset % GRANULARITY, 0, FILE_MAP_READ, err);
    if (status == HL_OK && (status = mapping_add(&mapping, err)) != HL_OK)
        UnmapViewOfFile(mapping.view);
    if (status != HL_OK)
        CloseHandle(mapping.section);
    else
        *address = mapping.start;
    return status;
}

/* The mapping that starts there, which is accounted for no more; NULL if there is none. */
static struct mapping *mapping_take(const void *address)
{
    pthread_mutex_lock(&mappings_lock);
    struct mapping **at = &mappings;
    while (*at && (*at)->start != address)
        at = &(*at)->next;
    struct mapping *taken = *at;
    if (taken)
        *at = taken->next;
    pthread_mutex_unlock(&mappings_lock);
    return taken;
}

void hl__os_memory_unmap(void *address, size_t size)
{
    struct mapping *mapping = address ? mapping_take(address) : NULL;
    (void)size;
    if (!mapping)
        return;
    UnmapViewOfFile(mapping->view);
    CloseHandle(mapping->section);
    free(mapping);
}

bool hl__os_memory_section(const void *address, void **section, uint64_t *offset)
{
    bool found = false;
    pthread_mutex_lock(&mappings_lock);
    for (const struct mapping *at = mappings; at && !found; at = at->next) {
        size_t place = (size_t)((uintptr_t)address - (uintptr_t)at->start);
        found = place < at->size;
        if (found) {
            *section = at->section;
            *offset = at->offset + place;
        }
    }
    pthread_mutex_unlock(&mappings_lock);
    return found;
}

void hl__os_memory_populate(void *address, size_t size)
{
    volatile uint8_t *bytes = address;
    for (size_t at = 0; at < size; at += PAGE)
        bytes[at] = bytes[at];
}

void hl__os_memory_scattered(void *address, size_t size)
{
    (void)address, (void)size;
}

void hl__os_memory_zero(void *address, size_t size)
{
    memset(address, 0, size);
}
