/* The tool's own streams and arguments on Windows: UTF-8 everywhere, and bytes as they are. */
#include "system.h"
#include "windows/console.h"

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdlib.h>
#include <wchar.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <shellapi.h>

static char *to_utf8(const wchar_t *text)
{
    int size = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
    char *converted = size > 0 ? malloc((size_t)size) : NULL;
    if (converted)
        WideCharToMultiByte(CP_UTF8, 0, text, -1, converted, size, NULL, NULL);
    return converted;
}

/* They live as long as the process. */
static bool take_arguments(int *argc, char ***argv)
{
    int count;
    wchar_t **wide = CommandLineToArgvW(GetCommandLineW(), &count);
    char **arguments = wide ? calloc((size_t)count + 1, sizeof *arguments) : NULL;
    bool taken = arguments != NULL;
    for (int i = 0; taken && i < count; i++)
        taken = (arguments[i] = to_utf8(wide[i])) != NULL;
    LocalFree(wide);
    if (taken) {
        *argc = count;
        *argv = arguments;
    }
    return taken;
}

/* The variables as the rest of the tool looks for them, in UTF-8; they live as long as the process,
 * too. */
static bool take_environment(void)
{
    wchar_t *block = GetEnvironmentStringsW();
    size_t count = 0, taken = 0;
    for (const wchar_t *at = block; at && *at; at += wcslen(at) + 1)
        count++;
    char **variables = block ? calloc(count + 1, sizeof *variables) : NULL;
    for (const wchar_t *at = block; variables && taken < count; at += wcslen(at) + 1)
        if (!(variables[taken++] = to_utf8(at)))
            break;
    bool complete = variables && (count == 0 || variables[count - 1]);
    if (block)
        FreeEnvironmentStringsW(block);
    if (complete)
        _environ = variables;
    return complete;
}

static UINT console_before;

/* The console is the user's, and so is what it had. */
void console_restore(void)
{
    if (console_before)
        SetConsoleOutputCP(console_before);
}

static void console_prepare(void)
{
    console_before = GetConsoleOutputCP();
    SetConsoleOutputCP(CP_UTF8);
    atexit(console_restore);
}

bool system_prepare(int *argc, char ***argv)
{
    console_prepare();
    for (int descriptor = 0; descriptor <= 2; descriptor++)
        (void)_setmode(descriptor, _O_BINARY);
    setvbuf(stderr, NULL, _IONBF, 0);
    return take_arguments(argc, argv) && take_environment();
}

bool system_file_exists(const char *path)
{
    int length = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, NULL, 0);
    wchar_t *wide = length > 0 ? malloc((size_t)length * sizeof *wide) : NULL;
    bool exists = wide && MultiByteToWideChar(CP_UTF8, 0, path, -1, wide, length) > 0 &&
                  GetFileAttributesW(wide) != INVALID_FILE_ATTRIBUTES;
    free(wide);
    return exists;
}

FILE *system_take_stdout(void)
{
    fflush(stdout);
    int descriptor = _dup(1);
    FILE *out = descriptor < 0 ? NULL : _fdopen(descriptor, "wb");
    return out && _dup2(2, 1) >= 0 ? out : NULL;
}
