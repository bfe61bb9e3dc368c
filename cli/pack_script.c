/* The program that is packed: found as a shell finds it, and with its interpreter if it is a script. */
#define _GNU_SOURCE
#include "pack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCRIPTS_MAX 4 /* interpreters that are scripts, as Linux allows */
#define LINE_SIZE 256

static bool is_executable(const char *path)
{
    struct stat attributes;
    return stat(path, &attributes) == 0 && S_ISREG(attributes.st_mode) && access(path, X_OK) == 0;
}

/* What the first line of a script says: the interpreter and at most one argument, as Linux reads it. */
struct hash_bang {
    char line[LINE_SIZE];
    char *interpreter, *argument;
};

static bool read_hash_bang(const char *path, struct hash_bang *script);

/*
 * Whether a shell's program of that name is not what is meant: version managers put scripts called
 * "python" or "node" before the interpreters.
 */
static bool is_shim(const char *name, const char *path)
{
    struct hash_bang script;
    return pack_preset_for(name) && read_hash_bang(path, &script);
}

/* The path of a program that is named as in a shell. */
static bool find_program(const char *name, char path[PATH_MAX])
{
    const char *folders = getenv("PATH");
    if (strchr(name, '/')) {
        if (!pack_absolute(name, path))
            return false;
        if (is_executable(path))
            return true;
        report_error("'%s' %s", name,
                     access(path, F_OK) == 0 ? "is no executable file; chmod +x makes it one"
                                             : "does not exist");
        return false;
    }
    for (; folders && *folders; folders += *folders == ':') {
        int size = (int)strcspn(folders, ":");
        int length = snprintf(path, PATH_MAX, "%.*s/%s", size, folders, name);
        if (*folders == '/' && length < PATH_MAX && is_executable(path) && !is_shim(name, path))
            return true;
        folders += size;
    }
    report_error("there is no program '%s' in PATH; write %s", name,
                 access(name, F_OK) == 0 ? "./ before its name for the file here" : "its path");
    return false;
}

/* Whether the file is a script. */
static bool read_hash_bang(const char *path, struct hash_bang *script)
{
    FILE *file = fopen(path, "rbe");
    size_t size = file ? fread(script->line, 1, sizeof script->line - 1, file) : 0;
    if (file)
        fclose(file);
    script->line[size] = '\0';
    script->line[strcspn(script->line, "\n")] = '\0';
    if (strncmp(script->line, "#!", 2) != 0)
        return false;
    script->interpreter = script->line + 2 + strspn(script->line + 2, " \t");
    script->argument = script->interpreter + strcspn(script->interpreter, " \t");
    if (*script->argument)
        *script->argument++ = '\0';
    script->argument += strspn(script->argument, " \t");
    for (size_t end = strlen(script->argument);
         end > 0 && strchr(" \t\r", script->argument[end - 1]);)
        script->argument[--end] = '\0';
    return true;
}

static bool add_argument(struct pack_program *program, const char *text)
{
    char *copy = program->count < PACK_ARGUMENTS_MAX ? strdup(text) : NULL;
    if (!copy)
        report_error("out of memory");
    else
        program->arguments[program->count++] = copy;
    return copy != NULL;
}

/* Whether the folders, with colons between them, have one of this name. */
static bool has_folder(const char *folders, const char *name, size_t size)
{
    while (*folders) {
        size_t next = strcspn(folders, ":");
        if (next == size && memcmp(folders, name, size) == 0)
            return true;
        folders += next + (folders[next] == ':');
    }
    return false;
}

/* So that the image's PATH leads to what was found: `hyperlight run --root IMAGE NAME`. */
static bool note_folder(struct pack *pack, const char *path)
{
    size_t size = (size_t)(strrchr(path, '/') - path), used = strlen(pack->folders);
    if (size == 0 || memchr(path, ':', size) || has_folder(PACK_FOLDERS, path, size) ||
        has_folder(pack->folders, path, size))
        return true;
    if (used + size + sizeof ":" > sizeof pack->folders) {
        report_error("the folder of '%s' does not fit into PATH", path);
        return false;
    }
    memcpy(pack->folders + used, path, size);
    strcpy(pack->folders + used + size, ":");
    return true;
}

/* ---- Scripts of env(1) ---- */

static bool is_env(const struct hash_bang *script)
{
    const char *slash = strrchr(script->interpreter, '/');
    return strcmp(slash ? slash + 1 : script->interpreter, "env") == 0;
}

/* Whether a word of env's is none of its options and no variable; `takes_next` says that the next word is an option's. */
static bool is_program_word(const char *word, size_t size, bool *takes_next)
{
    bool is_value = *takes_next;
    *takes_next = size == 2 && (memcmp(word, "-u", 2) == 0 || memcmp(word, "-C", 2) == 0);
    return !is_value && *word != '-' && !memchr(word, '=', size);
}

/* Where the program is named in what follows "env", or NULL. `plain`: nothing but -S is before it. */
static char *find_env_program(char *text, bool *plain)
{
    bool takes_next = false;
    if (strncmp(text, "-S", 2) == 0)
        text += 2;
    *plain = true;
    for (text += strspn(text, " \t"); *text; text += strspn(text, " \t")) {
        size_t size = strcspn(text, " \t");
        if (is_program_word(text, size, &takes_next))
            return text;
        *plain = false;
        text += size;
    }
    return NULL;
}

static bool take_program(struct pack *pack, const char *name, struct pack_program *program,
                         int depth);

static bool add_words(struct pack_program *program, char *words)
{
    for (char *word; (word = strsep(&words, " \t"));)
        if (*word && !add_argument(program, word))
            return false;
    return true;
}

/* Takes what env would run. The tool looks for it itself, and the image's first argument is no env unless that has more to do. */
static bool take_env_program(struct pack *pack, const struct hash_bang *script, char *words,
                             bool plain, struct pack_program *program, int depth)
{
    struct pack_program inner = {.count = 0};
    char argument[LINE_SIZE];
    strcpy(argument, script->argument);
    char *name = strsep(&words, " \t");
    if (plain)
        return take_program(pack, name, program, depth + 1) &&
               (!words || add_words(program, words));
    bool good = take_program(pack, name, &inner, depth + 1);
    strcpy(program->found, inner.found);
    strcpy(program->path, inner.path);
    pack_program_free(&inner);
    return good && add_argument(program, script->interpreter) && add_argument(program, argument);
}

/* ---- Scripts ---- */

static bool take_interpreter(struct pack *pack, const char *path, struct hash_bang *script,
                             struct pack_program *program, int depth)
{
    bool plain;
    char *words = is_env(script) ? find_env_program(script->argument, &plain) : NULL;
    if (depth == SCRIPTS_MAX || !*script->interpreter) {
        report_error("'%s' is a script %s", path,
                     depth == SCRIPTS_MAX ? "of scripts of scripts, too many of them"
                                          : "whose first line names no interpreter");
        return false;
    }
    if (words)
        return take_env_program(pack, script, words, plain, program, depth) &&
               pack_take(pack, script->interpreter);
    return take_program(pack, script->interpreter, program, depth + 1) &&
           (!*script->argument || add_argument(program, script->argument));
}

/* The interpreter comes before the script: the first thing taken is what is executed. */
static bool take_program(struct pack *pack, const char *name, struct pack_program *program,
                         int depth)
{
    struct hash_bang script;
    char path[PATH_MAX];
    if (!find_program(name, path))
        return false;
    if (read_hash_bang(path, &script)) {
        if (!take_interpreter(pack, path, &script, program, depth))
            return false;
    } else if (!realpath(path, program->path)) {
        report_error("cannot read '%s': %s", path, strerror(errno));
        return false;
    } else {
        strcpy(program->found, path);
    }
    return pack_take(pack, path) && note_folder(pack, path) && add_argument(program, path);
}

bool pack_take_program(struct pack *pack, const char *name, struct pack_program *program)
{
    return take_program(pack, name, program, 0);
}

void pack_program_free(struct pack_program *program)
{
    for (size_t i = 0; i < program->count; i++)
        free(program->arguments[i]);
}
