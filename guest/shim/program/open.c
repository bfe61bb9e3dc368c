/* Finds what a program needs before anything is mapped: its file, the interpreter of a script, the
 * interpreter that a dynamically linked program names. */
#include "base/linux.h"
#include "base/text.h"
#include "entry/access.h"
#include "file/file.h"
#include "file/image.h"
#include "memory/heap.h"
#include "program/load.h"

#include <string.h>

#define SCRIPT_LINE_MAX 256u
#define STRING_SIZE_MAX (128u << 10) /* one argument, as in Linux */

struct opening {
    struct hl__program *program;
    enum hl_abi_refusal *refusal;
    char *text;
};

static int64_t fail(const struct opening *opening, int64_t failure, enum hl_abi_refusal refusal,
                    const char *what, const char *path)
{
    struct hl__text text;

    *opening->refusal = refusal;
    hl__text_start(&text, opening->text, HL_ABI_REFUSAL_TEXT_MAX);
    hl__text_add_escaped(&text, path, HL__ELF_PATH_MAX);
    hl__text_add(&text, what);
    return failure;
}

static void strings_release(struct hl__strings *strings)
{
    hl__heap_free(strings->bytes, strings->capacity);
    *strings = (struct hl__strings){0};
}

void hl__strings_free(struct hl__strings *strings)
{
    strings_release(strings);
}

static int64_t strings_grow(struct hl__strings *strings, uint64_t more)
{
    uint64_t capacity = strings->capacity ? strings->capacity : 4096;
    char *bytes;

    if (more > HL__STRINGS_SIZE_MAX - strings->size)
        return -E2BIG;
    while (capacity < strings->size + more)
        capacity *= 2;
    if (capacity == strings->capacity)
        return 0;
    bytes = hl__heap_resize(strings->bytes, strings->capacity, capacity);
    if (!bytes)
        return -ENOMEM;
    strings->bytes = bytes;
    strings->capacity = capacity;
    return 0;
}

int64_t hl__strings_add(struct hl__strings *strings, const char *string)
{
    uint64_t size = hl__string_length(string) + 1;
    int64_t failure = strings_grow(strings, size);

    if (failure < 0)
        return failure;
    memcpy(strings->bytes + strings->size, string, size);
    strings->size += size;
    return 0;
}

int64_t hl__strings_add_user(struct hl__strings *strings, uint64_t address)
{
    uint64_t room = HL__STRINGS_SIZE_MAX - strings->size;
    int64_t size;

    if (room > STRING_SIZE_MAX)
        room = STRING_SIZE_MAX;
    size = strings_grow(strings, room);
    if (size < 0)
        return size;
    size = hl__user_string(strings->bytes + strings->size, address, room);
    if (size < 0)
        return size == -ENAMETOOLONG ? -E2BIG : size;
    strings->size += (uint64_t)size + 1;
    return 0;
}

/* Puts a string in the place of the first `replaced` bytes. */
static int64_t strings_put_first(struct hl__strings *strings, const char *string, uint64_t replaced)
{
    uint64_t size = hl__string_length(string) + 1;
    int64_t failure = strings_grow(strings, size);

    if (failure < 0)
        return failure;
    memmove(strings->bytes + size, strings->bytes + replaced, strings->size - replaced);
    memcpy(strings->bytes, string, size);
    strings->size += size - replaced;
    return 0;
}

static bool read_file(const struct hl__elf_source *source, void *to, uint64_t size,
                      uint64_t position)
{
    return hl__inode_read(source->object, to, size, position) == (int64_t)size;
}

static bool plan_file(struct hl__elf_plan *plan, struct hl__inode *file)
{
    const struct hl__elf_source source = {.size = file->size, .read = read_file, .object = file};

    return hl__elf_read(plan, &source);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Splits the line behind "#!" into the interpreter and its one argument, NULL if there is none. False: it
 * names no interpreter. */
static bool script_split(char *line, char **interpreter, char **argument)
{
    char *end;

    while (is_blank(*line))
        line++;
    *interpreter = line;
    while (*line && *line != '\n' && !is_blank(*line))
        line++;
    if (line == *interpreter)
        return false;
    *argument = line;
    while (is_blank(**argument))
        (*argument)++;
    for (end = *argument; *end && *end != '\n'; end++)
        ;
    while (end > *argument && is_blank(end[-1]))
        end--;
    *end = 0;
    *line = 0;
    if (!**argument || *argument == line)
        *argument = NULL;
    return true;
}

/* The interpreter runs with its argument and the script's path before the other arguments. */
static int64_t script_arguments(struct hl__program *program, const char *path,
                                const char *interpreter, const char *argument)
{
    struct hl__strings *strings = &program->strings;
    uint64_t first =
        strings->argument_count ? hl__string_length(strings->bytes) + 1 : 0; /* argv[0] goes */
    int64_t failure = strings_put_first(strings, path, first);

    if (failure >= 0 && argument)
        failure = strings_put_first(strings, argument, 0);
    if (failure >= 0)
        failure = strings_put_first(strings, interpreter, 0);
    if (failure < 0)
        return failure;
    strings->argument_count += (strings->argument_count ? 1 : 2) + (argument ? 1 : 0);
    return 0;
}

static int64_t find_file(const struct opening *opening, const char *path, struct hl__inode **file)
{
    int64_t failure = *file ? 0 : hl__path_find(path, true, file);

    if (failure < 0) {
        *file = NULL;
        return fail(opening, failure, HL_ABI_REFUSAL_INVALID,
                    failure == -ENOENT ? ": no such file" : ": cannot be reached", path);
    }
    if (((*file)->mode & S_IFMT) != S_IFREG || !((*file)->mode & 0111))
        return fail(opening, -EACCES, HL_ABI_REFUSAL_INVALID, ": not an executable file", path);
    return 0;
}

/* Without an image there is no interpreter for it. 1: it was a script, and `path` now names its interpreter; 0: it is none; or -errno. */
static int64_t open_script(const struct opening *opening, char *path)
{
    struct hl__program *program = opening->program;
    char line[SCRIPT_LINE_MAX + 1] = {0}, *interpreter, *argument;
    int64_t failure;

    if (!hl__root_image.size || hl__inode_read(program->file, line, SCRIPT_LINE_MAX, 0) < 2 ||
        line[0] != '#' || line[1] != '!')
        return 0;
    if (!script_split(line + 2, &interpreter, &argument))
        return fail(opening, -ENOEXEC, HL_ABI_REFUSAL_INVALID, ": a script without an interpreter",
                    path);
    failure = script_arguments(program, path, interpreter, argument);
    if (failure < 0)
        return failure;
    memcpy(path, interpreter, hl__string_length(interpreter) + 1);
    hl__inode_unref(program->file);
    program->file = NULL;
    return 1;
}

static int64_t open_interpreter(const struct opening *opening)
{
    struct hl__program *program = opening->program;
    const char *path = program->plan.interpreter;

    if (!path[0])
        return 0;
    if (find_file(opening, path, &program->interpreter) < 0)
        return fail(opening, -ENOENT, HL_ABI_REFUSAL_INTERPRETER, "", path);
    if (!plan_file(&program->interpreter_plan, program->interpreter))
        return fail(opening, -ELIBBAD, HL_ABI_REFUSAL_INVALID,
                    ": the program's interpreter is not a program", path);
    if (program->interpreter_plan.interpreter[0])
        return fail(opening, -ELIBBAD, HL_ABI_REFUSAL_INVALID,
                    ": the program's interpreter needs an interpreter", path);
    return 0;
}

static int64_t open_program(const struct opening *opening, char *path)
{
    struct hl__program *program = opening->program;
    int64_t result;

    for (uint32_t depth = 0;; depth++) {
        if (depth > HL__SCRIPT_DEPTH_MAX)
            return fail(opening, -ELOOP, HL_ABI_REFUSAL_INVALID, ": too many scripts in a row",
                        path);
        result = find_file(opening, path, &program->file);
        if (result < 0)
            return result;
        result = open_script(opening, path);
        if (result <= 0)
            break;
    }
    if (result < 0)
        return result;
    if (!plan_file(&program->plan, program->file)) {
        *opening->refusal = program->plan.refusal;
        memcpy(opening->text, program->plan.text, sizeof program->plan.text);
        return -ENOEXEC;
    }
    return open_interpreter(opening);
}

int64_t hl__program_open(struct hl__program *program, const char *path,
                         enum hl_abi_refusal *refusal, char *text)
{
    const struct opening opening = {program, refusal, text};
    char current[HL__ELF_PATH_MAX];
    uint64_t size = hl__string_length(path) + 1;

    *refusal = HL_ABI_REFUSAL_INVALID;
    text[0] = 0;
    if (size > sizeof current) {
        if (!program->file)
            return fail(&opening, -ENAMETOOLONG, HL_ABI_REFUSAL_INVALID, ": too long a path", path);
        path = "program";
        size = sizeof "program";
    }
    memcpy(current, path, size);
    memcpy(program->path, path, size);
    return open_program(&opening, current);
}

void hl__program_close(struct hl__program *program)
{
    hl__inode_unref(program->file);
    hl__inode_unref(program->interpreter);
    hl__strings_free(&program->strings);
    program->file = program->interpreter = NULL;
}
