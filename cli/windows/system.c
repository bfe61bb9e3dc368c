/* The tool's own streams and arguments on Windows: UTF-8 everywhere, and bytes as they are. */
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdlib.h>

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

bool system_prepare(int *argc, char ***argv)
{
    SetConsoleOutputCP(CP_UTF8);
    for (int descriptor = 0; descriptor <= 2; descriptor++)
        (void)_setmode(descriptor, _O_BINARY);
    setvbuf(stderr, NULL, _IONBF, 0);
    return take_arguments(argc, argv);
}

bool system_file_exists(const char *path)
{
    return _access(path, 0) == 0;
}

FILE *system_take_stdout(void)
{
    fflush(stdout);
    int descriptor = _dup(1);
    FILE *out = descriptor < 0 ? NULL : _fdopen(descriptor, "wb");
    return out && _dup2(2, 1) >= 0 ? out : NULL;
}
