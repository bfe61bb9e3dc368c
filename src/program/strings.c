/* Copies a program's name, arguments and environment, and holds them to their limits. */
#include "program/strings.h"
#include "util/error.h"

#include <stdlib.h>
#include <string.h>

/* Longest escaped name; messages have room for it and more. */
#define NAME_SIZE 256

static const char *plain_name(const char *name, const char *path)
{
    if (name && *name)
        return name;
    if (!path)
        return "program";
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

hl_status hl__program_name_set(hl_program *program, const char *name, const char *path,
                               hl_error *err)
{
    const char *plain = plain_name(name, path);
    program->name = malloc(NAME_SIZE);
    if (!program->name)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "malloc", "no memory for a program's name");
    hl__text_escape(program->name, NAME_SIZE, plain, strlen(plain));
    return HL_OK;
}

/* Counts strings and adds up their bytes with their NULs. */
static hl_status strings_measure(const char *const *strings, const char *what, uint32_t *count,
                                 uint32_t *size, hl_error *err)
{
    for (*count = 0; strings && strings[*count]; ++*count) {
        if (*count == HL_ARGUMENTS_COUNT_MAX)
            return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_program_open",
                                 "hl_program_options.%s has more than %d strings", what,
                                 HL_ARGUMENTS_COUNT_MAX);
        size_t more = strnlen(strings[*count], HL_ARGUMENTS_SIZE_MAX) + 1;
        if (more > HL_ARGUMENTS_SIZE_MAX - *size)
            return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_program_open",
                                 "arguments and environment together have more than %d bytes",
                                 HL_ARGUMENTS_SIZE_MAX);
        *size += (uint32_t)more;
    }
    return HL_OK;
}

static hl_status environment_check(const char *const *environment, hl_error *err)
{
    for (; environment && *environment; environment++) {
        const char *equals = strchr(*environment, '=');
        if (!equals || equals == *environment)
            return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_program_open",
                                 "\"%.80s\" in hl_program_options.environment is not NAME=value",
                                 *environment);
    }
    return HL_OK;
}

static char *strings_append(char *out, const char *const *strings, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t size = strlen(strings[i]) + 1;
        memcpy(out, strings[i], size);
        out += size;
    }
    return out;
}

/* Bytes of a path with its NUL; 0 if there is none. */
static hl_status path_measure(const char *path, const char *what, uint32_t *path_size,
                              uint32_t *size, hl_error *err)
{
    *path_size = path ? (uint32_t)strnlen(path, HL_PATH_SIZE_MAX) + 1 : 0;
    if (path && (*path_size == 1 || *path_size > HL_PATH_SIZE_MAX))
        return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_program_open",
                             "`%s` is empty or has more than %d bytes", what, HL_PATH_SIZE_MAX - 1);
    *size += *path_size;
    return HL_OK;
}

static hl_status directory_check(const char *directory, hl_error *err)
{
    if (!directory || directory[0] == '/')
        return HL_OK;
    return hl__error_set(err, HL_INVALID_ARGUMENT, "hl_program_open",
                         "hl_program_options.directory is \"%.80s\": it must begin with '/'",
                         directory);
}

hl_status hl__program_strings_set(hl_program *program, const hl_program_options *options,
                                  const char *path, bool in_image, hl_error *err)
{
    const char *const name_alone[] = {in_image ? path : plain_name(options->name, path), NULL};
    const char *const *arguments = options->arguments ? options->arguments : name_alone;
    hl_status status = strings_measure(arguments, "arguments", &program->argument_count,
                                       &program->strings_size, err);
    if (status == HL_OK)
        status = strings_measure(options->environment, "environment", &program->environment_count,
                                 &program->strings_size, err);
    if (status == HL_OK)
        status = environment_check(options->environment, err);
    if (status == HL_OK)
        status = path_measure(in_image ? path : NULL, "path", &program->path_size,
                              &program->strings_size, err);
    if (status == HL_OK)
        status = path_measure(options->directory, "directory", &program->directory_size,
                              &program->strings_size, err);
    if (status == HL_OK)
        status = directory_check(options->directory, err);
    if (status != HL_OK)
        return status;
    program->strings = malloc(program->strings_size ? program->strings_size : 1);
    if (!program->strings)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "malloc", "no memory for arguments");
    char *next = strings_append(program->strings, arguments, program->argument_count);
    next = strings_append(next, options->environment, program->environment_count);
    next = strings_append(next, &path, program->path_size ? 1 : 0);
    strings_append(next, &options->directory, program->directory_size ? 1 : 0);
    return HL_OK;
}
