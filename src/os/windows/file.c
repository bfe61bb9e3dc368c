/*
 * Memory files as sections, and reading a user's file into one.
 *
 * A private, writable mapping of a file is a copy of it in memory of its own: copy-on-write views
 * cannot be given to another process.
 */
#include "os/os.h"
#include "os/windows/section.h"
#include "util/error.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define PAGE UINT64_C(4096)

struct file {
    HANDLE section;
    uint8_t *view; /* all of it, writable until it is sealed */
    uint64_t size;
};

/* Files by the number that a hl__os_file has. */
static struct {
    pthread_mutex_t lock;
    struct file **files;
    int count;
} table = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int table_reserve(void)
{
    int number = 0;
    while (number < table.count && table.files[number])
        number++;
    if (number < table.count)
        return number;
    int count = table.count ? 2 * table.count : 16;
    struct file **files = realloc(table.files, (size_t)count * sizeof *files);
    if (!files)
        return -1;
    memset(files + table.count, 0, (size_t)(count - table.count) * sizeof *files);
    table.files = files;
    table.count = count;
    return number;
}

static int table_add(struct file *file)
{
    pthread_mutex_lock(&table.lock);
    int number = table_reserve();
    if (number >= 0)
        table.files[number] = file;
    pthread_mutex_unlock(&table.lock);
    return number;
}

static struct file *table_find(hl__os_file file, bool remove)
{
    pthread_mutex_lock(&table.lock);
    struct file *found = table.files[file.descriptor];
    if (remove)
        table.files[file.descriptor] = NULL;
    pthread_mutex_unlock(&table.lock);
    return found;
}

/* Files */

static void file_end(struct file *file)
{
    if (file->view)
        UnmapViewOfFile(file->view);
    if (file->section)
        CloseHandle(file->section);
    *file = (struct file){0};
}

/* A section of its own, with what `before` has. */
static hl_status file_make(struct file *file, uint64_t size, const struct file *before,
                           hl_error *err)
{
    *file = (struct file){.size = size};
    if (size == 0)
        return HL_OK;
    hl_status status = hl__windows_section_new(size, &file->section, err);
    if (status != HL_OK)
        return status;
    file->view = MapViewOfFile(file->section, FILE_MAP_ALL_ACCESS, 0, 0, size);
    if (!file->view) {
        status = hl__windows_error(err, HL_SYSTEM, "MapViewOfFile", "cannot map a memory file");
        file_end(file);
        return status;
    }
    if (before && before->view)
        memcpy(file->view, before->view, before->size < size ? before->size : size);
    return HL_OK;
}

static hl_status file_resize(struct file *file, uint64_t size, hl_error *err)
{
    struct file resized;
    if (size == file->size)
        return HL_OK;
    hl_status status = file_make(&resized, size, file, err);
    if (status != HL_OK)
        return status;
    file_end(file);
    *file = resized;
    return HL_OK;
}

hl_status hl__os_file_new(const char *debug_name, uint64_t size, hl__os_file *file, hl_error *err)
{
    (void)debug_name;
    struct file *made = malloc(sizeof *made);
    if (!made)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "malloc", "no memory for a memory file");
    hl_status status = file_make(made, size, NULL, err);
    int number = status == HL_OK ? table_add(made) : -1;
    if (number >= 0) {
        file->descriptor = number;
        return HL_OK;
    }
    if (status == HL_OK)
        status = hl__error_set(err, HL_OUT_OF_MEMORY, "realloc", "no memory for a memory file");
    file_end(made);
    free(made);
    return status;
}

hl_status hl__os_file_write(hl__os_file file, uint64_t offset, const void *data, size_t size,
                            hl_error *err)
{
    const struct file *found = table_find(file, false);
    if (offset > found->size || size > found->size - offset || (!found->view && size))
        return hl__error_set(err, HL_SYSTEM, NULL, "cannot write beyond the end of a memory file");
    if (size)
        memcpy(found->view + offset, data, size);
    return HL_OK;
}

hl_status hl__os_file_seal(hl__os_file file, hl_error *err)
{
    struct file *found = table_find(file, false);
    (void)err;
    if (found->view)
        UnmapViewOfFile(found->view);
    found->view = NULL;
    return HL_OK;
}

hl_status hl__os_file_map(hl__os_file file, uint64_t offset, size_t size, bool writable,
                          void **address, hl_error *err)
{
    const struct file *found = table_find(file, false);
    void *original, *copy;
    hl_status status = hl__windows_section_map(found->section, offset, size, &original, err);
    if (status != HL_OK || !writable) {
        if (status == HL_OK)
            *address = original;
        return status;
    }
    status = hl__os_memory_map(size, &copy, err);
    if (status == HL_OK) {
        memcpy(copy, original, size);
        *address = copy;
    }
    hl__os_memory_unmap(original, size);
    return status;
}

void hl__os_file_close(hl__os_file file)
{
    struct file *closed = table_find(file, true);
    file_end(closed);
    free(closed);
}

/* Reading a user's file */

static hl_status unreadable(const char *path, const char *why, hl_error *err)
{
    return hl__error_set(err, HL_PROGRAM_UNREADABLE, "CreateFile", "%s: %s", path, why);
}

static hl_status unopened(const char *path, hl_error *err)
{
    DWORD error = GetLastError();
    switch (error) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
        return unreadable(path, "No such file or directory", err);
    case ERROR_INVALID_NAME:
    case ERROR_BAD_PATHNAME:
        return unreadable(path, "no file can have this name", err);
    case ERROR_ACCESS_DENIED:
        return unreadable(path, "Permission denied", err);
    case ERROR_SHARING_VIOLATION:
        return unreadable(path, "another program has it open for writing", err);
    default:
        return hl__error_set(err, HL_PROGRAM_UNREADABLE, "CreateFile", "%s: error %lu", path,
                             error);
    }
}

static bool starts_with_two_backslashes(const wchar_t *name)
{
    return name[0] == L'\\' && name[1] == L'\\';
}

/* A long name as Windows takes it, whatever the host application's manifest says; the same name if it
 * is short, has a prefix already, or is on a share. NULL if there is no memory. */
static wchar_t *lengthen(wchar_t *name)
{
    static const wchar_t prefix[] = L"\\\\?\\";
    enum { PREFIX_LENGTH = sizeof prefix / sizeof *prefix - 1 };
    DWORD size = GetFullPathNameW(name, 0, NULL, NULL);
    if (size < MAX_PATH || starts_with_two_backslashes(name))
        return name;
    wchar_t *full = malloc((PREFIX_LENGTH + (size_t)size) * sizeof *full);
    if (!full) {
        free(name);
        return NULL;
    }
    memcpy(full, prefix, sizeof prefix);
    DWORD length = GetFullPathNameW(name, size, full + PREFIX_LENGTH, NULL);
    /* Another thread may have changed the working folder meanwhile. */
    bool fits = length > 0 && length < size;
    if (!fits || starts_with_two_backslashes(full + PREFIX_LENGTH)) {
        free(full);
        return name;
    }
    free(name);
    return full;
}

static hl_status wide_path(const char *path, wchar_t **wide, hl_error *err)
{
    int length = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, NULL, 0);
    if (length <= 0)
        return unreadable(path, "the name is not valid UTF-8", err);
    wchar_t *name = malloc((size_t)length * sizeof *name);
    if (name) {
        MultiByteToWideChar(CP_UTF8, 0, path, -1, name, length);
        name = lengthen(name);
    }
    if (!name)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "malloc", "no memory for a file name");
    *wide = name;
    return HL_OK;
}

/* While it is open nobody can write to it. */
static HANDLE open_for_reading(const wchar_t *name)
{
    return CreateFileW(name, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                       FILE_ATTRIBUTE_NORMAL | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION,
                       NULL);
}

static hl_status source_open(const char *path, HANDLE *source, hl_error *err)
{
    wchar_t *wide = NULL;
    hl_status status = wide_path(path, &wide, err);
    if (status != HL_OK)
        return status;
    DWORD attributes = GetFileAttributesW(wide);
    bool is_folder = attributes != INVALID_FILE_ATTRIBUTES && attributes & FILE_ATTRIBUTE_DIRECTORY;
    *source = is_folder ? INVALID_HANDLE_VALUE : open_for_reading(wide);
    if (is_folder)
        status = unreadable(path, "it is a directory; name a file", err);
    else if (*source == INVALID_HANDLE_VALUE)
        status = unopened(path, err);
    free(wide);
    if (status != HL_OK || GetFileType(*source) == FILE_TYPE_DISK)
        return status;
    CloseHandle(*source);
    return unreadable(path, "it is not a regular file", err);
}

static hl_status source_copy(HANDLE source, const char *path, uint8_t *to, uint64_t size,
                             hl_error *err)
{
    enum { PIECE = 1 << 20 };
    while (size > 0) {
        DWORD taken = 0;
        if (!ReadFile(source, to, size < PIECE ? (DWORD)size : PIECE, &taken, NULL))
            return hl__error_set(err, HL_PROGRAM_UNREADABLE, "ReadFile", "%s: error %lu", path,
                                 GetLastError());
        if (taken == 0)
            return unreadable(path, "the file changed while it was read; try again", err);
        to += taken;
        size -= taken;
    }
    return HL_OK;
}

static hl_status source_append(HANDLE source, const char *path, struct file *file, uint64_t offset,
                               uint64_t size_max, uint64_t *size, hl_error *err)
{
    LARGE_INTEGER length;
    if (!GetFileSizeEx(source, &length))
        return unopened(path, err);
    uint64_t bytes = (uint64_t)length.QuadPart;
    if (bytes > size_max)
        return hl__error_set(err, HL_PROGRAM_TOO_LARGE, "hl_program_open",
                             "%s: the file is larger than %" PRIu64 " bytes, the most that a "
                             "program may have",
                             path, size_max);
    hl_status status = file_resize(file, offset + (bytes + PAGE - 1) / PAGE * PAGE, err);
    if (status == HL_OK && bytes)
        status = source_copy(source, path, file->view + offset, bytes, err);
    if (status == HL_OK)
        *size = bytes;
    return status;
}

hl_status hl__os_file_copy_path(hl__os_file file, uint64_t offset, const char *path,
                                uint64_t size_max, uint64_t *size, hl_error *err)
{
    HANDLE source = INVALID_HANDLE_VALUE;
    hl_status status = source_open(path, &source, err);
    if (status != HL_OK)
        return status;
    status = source_append(source, path, table_find(file, false), offset, size_max, size, err);
    CloseHandle(source);
    return status;
}

/* Memory that other processes get views of is our own: every file is copied. */
hl_status hl__os_file_map_private(const char *path, uint64_t size_max, bool writable,
                                  void **address, uint64_t *size,
                                  struct hl__os_file_identity *identity, hl_error *err)
{
    (void)path, (void)size_max, (void)writable, (void)identity, (void)err;
    *address = NULL;
    *size = PAGE;
    return HL_OK;
}
