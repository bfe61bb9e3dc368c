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

hl_status hl__program_strings_set(hl_program *program, const hl_program_options *options,
                                  const char *path, hl_error *err)
{
    const char *const name_alone[] = {plain_name(options->name, path), NULL};
    const char *const *arguments = options->arguments ? options->arguments : name_alone;
    hl_status status = strings_measure(arguments, "arguments", &program->argument_count,
                                       &program->strings_size, err);
    if (status == HL_OK)
        status = strings_measure(options->environment, "environment", &program->environment_count,
                                 &program->strings_size, err);
    if (status == HL_OK)
        status = environment_check(options->environment, err);
    if (status != HL_OK)
        return status;
    program->strings = malloc(program->strings_size ? program->strings_size : 1);
    if (!program->strings)
        return hl__error_set(err, HL_OUT_OF_MEMORY, "malloc", "no memory for arguments");
    char *next = strings_append(program->strings, arguments, program->argument_count);
    strings_append(next, options->environment, program->environment_count);
    return HL_OK;
}
