/* Finds the helper program. */
#define _GNU_SOURCE
#include "image/host/find.h"

#include "util/error.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* From the folder of a library or program to the helper: when installed, and in the build tree. */
static const char *const places[] = {HL_HELPER_FROM_LIBRARY, HL_HELPER_FROM_PROGRAM,
                                     "libexec/hyperlight/hyperlight-prepare"};

static bool is_program(const char *path)
{
    return access(path, X_OK) == 0;
}

/* The file that this code was loaded from: the library, or a program that has it inside. */
static bool find_self(char file[PATH_MAX])
{
    Dl_info here;
    if (dladdr((const void *)places, &here) && here.dli_fname && realpath(here.dli_fname, file))
        return true;
    return realpath("/proc/self/exe", file) != NULL;
}

static bool find_beside(char path[PATH_MAX])
{
    char file[PATH_MAX];
    if (!find_self(file))
        return false;
    char *slash = strrchr(file, '/');
    if (!slash)
        return false;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int length = snprintf(path, PATH_MAX, "%.*s/%s", (int)(slash - file), file, places[i]);
        if (length < PATH_MAX && is_program(path))
            return true;
    }
    return false;
}

hl_status hl__find_helper(char path[PATH_MAX], hl_error *err)
{
    const char *given = secure_getenv("HL_PREPARE");
    if (given) {
        int length = snprintf(path, PATH_MAX, "%s", given);
        if (length < PATH_MAX && is_program(path))
            return HL_OK;
        return hl__error_set(err, HL_SYSTEM, NULL,
                             "HL_PREPARE is '%s', which is no program that can be started", given);
    }
    if (find_beside(path))
        return HL_OK;
    snprintf(path, PATH_MAX, "%s", HL_HELPER_INSTALLED);
    if (is_program(path))
        return HL_OK;
    return hl__error_set(err, HL_SYSTEM, NULL,
                         "the program hyperlight-prepare, which reads archives, is not at '%s': "
                         "install it, or set HL_PREPARE to its path",
                         HL_HELPER_INSTALLED);
}
