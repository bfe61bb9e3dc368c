/* What programs need that neither they nor their libraries name: presets, and defaults for all. */
#define _GNU_SOURCE
#include "pack.h"

#include <ctype.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_SIZE 64

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool take_if_there(struct pack *pack, const char *path, const char *const *left_out)
{
    return access(path, F_OK) != 0 || pack_take_without(pack, path, left_out);
}

/* The folder above the one of a program. */
static bool find_prefix(const char *program, char prefix[PATH_MAX])
{
    snprintf(prefix, PATH_MAX, "%s", program);
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(prefix, '/');
        if (!slash)
            return false;
        *slash = '\0';
    }
    return true;
}

/* ---- Python ---- */

/* Tests, programs with windows, files for development, and what was installed beside the library. */
static const char *const python_left_out[] = {
    "test",      "tests",    "idle_test",     "idlelib",       "turtledemo",
    "ensurepip", "config-*", "site-packages", "dist-packages", NULL};
static const char *const zones_left_out[] = {"posix", "right", NULL};

/* "python3.11" of ".../bin/python3.11"; its folder's parent is what all else is relative to. */
static bool python_name(const char *program, char name[NAME_SIZE], char prefix[PATH_MAX])
{
    const char *base = base_name(program);
    size_t size = strlen("python"),
           digits = strspn(base + (strncmp(base, "python", 6) == 0 ? 6 : 0), "0123456789.");
    if (strncmp(base, "python", size) != 0 || !memchr(base + size, '.', digits) ||
        size + digits >= NAME_SIZE)
        return false;
    snprintf(name, NAME_SIZE, "%.*s", (int)(size + digits), base);
    return find_prefix(program, prefix);
}

/* If the interpreter was found in a virtual environment: that, too, with all that is installed in it. */
static bool take_environment(struct pack *pack, const char *found)
{
    static const char *const parts[] = {"pyvenv.cfg", "lib", "lib64"};
    char prefix[PATH_MAX], path[PATH_MAX];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!find_prefix(found, prefix) ||
            snprintf(path, sizeof path, "%s/%s", prefix, parts[i]) >= PATH_MAX)
            return true;
        if (access(path, F_OK) != 0 && i == 0)
            return true; /* it is none */
        if (!take_if_there(pack, path, NULL))
            return false;
    }
    return true;
}

static bool take_python(struct pack *pack, const struct pack_program *program)
{
    static const char *const folders[] = {"lib", "lib64"};
    char name[NAME_SIZE], prefix[PATH_MAX], path[PATH_MAX];
    bool found = false;
    if (!python_name(program->path, name, prefix)) {
        report_error("--preset python: '%s' is not called pythonX.Y, so that its standard library "
                     "cannot be found; name it as a FILE",
                     program->path);
        return false;
    }
    for (size_t i = 0; i < 2; i++) {
        char landmark[PATH_MAX];
        int length = snprintf(path, sizeof path, "%s/%s/%s", prefix, folders[i], name);
        int longer = snprintf(landmark, sizeof landmark, "%s/os.py", path);
        if (length >= PATH_MAX || longer >= PATH_MAX || access(landmark, F_OK) != 0)
            continue;
        found = true;
        if (!pack_take_without(pack, path, python_left_out))
            return false;
    }
    if (!found) {
        report_error("--preset python: there is no %s/lib/%s/os.py; install the standard library "
                     "(Debian: lib%s-stdlib)",
                     prefix, name, name);
        return false;
    }
    return take_environment(pack, program->found) &&
           take_if_there(pack, "/usr/share/zoneinfo", zones_left_out);
}

/* ---- Node ---- */

/* What Debian's node reads from files that others have built in. */
static const char *const node_modules[] = {"/usr/share/nodejs/acorn",
                                           "/usr/share/nodejs/acorn-walk",
                                           "/usr/share/nodejs/undici",
                                           "/usr/share/nodejs/minimatch",
                                           "/usr/share/nodejs/cjs-module-lexer",
                                           "/usr/share/nodejs/corepack",
                                           "/usr/share/icu",
                                           "/usr/lib/ssl/openssl.cnf",
                                           "/usr/share/zoneinfo/Etc/UTC"};

static bool take_list(struct pack *pack, const char *const *paths, size_t count,
                      const char *const *left_out)
{
    for (size_t i = 0; i < count; i++)
        if (!take_if_there(pack, paths[i], left_out))
            return false;
    return true;
}

static bool take_node(struct pack *pack, const struct pack_program *program)
{
    (void)program; /* its libraries come as everybody's do */
    return take_list(pack, node_modules, sizeof node_modules / sizeof *node_modules, NULL);
}

/* ---- Perl ---- */

/* Debian's modules; what other packages install is in perl5 folders and can be named as a FILE. */
static const char *const perl_modules[] = {"/usr/lib/x86_64-linux-gnu/perl-base",
                                           "/usr/lib/x86_64-linux-gnu/perl", "/usr/share/perl",
                                           "/etc/perl"};
static const char *const perl_left_out[] = {"CORE", "CPAN", "pod", NULL};

static bool take_perl(struct pack *pack, const struct pack_program *program)
{
    char prefix[PATH_MAX], path[PATH_MAX];
    if (strncmp(program->path, "/usr/bin/", strlen("/usr/bin/")) == 0)
        return take_list(pack, perl_modules, sizeof perl_modules / sizeof *perl_modules,
                         perl_left_out);
    return !find_prefix(program->path, prefix) ||
           snprintf(path, sizeof path, "%s/lib", prefix) >= PATH_MAX ||
           take_if_there(pack, path, perl_left_out);
}

/* ---- Presets ---- */

static const struct preset {
    const char *name, *prefix; /* of the program's name */
    bool (*take)(struct pack *pack, const struct pack_program *program);
} presets[] = {
    {"python", "python", take_python}, {"node", "node", take_node}, {"perl", "perl", take_perl}};

static const struct preset *find_preset(const char *name)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(presets[i].name, name) == 0)
            return &presets[i];
    return NULL;
}

bool pack_preset_exists(const char *preset)
{
    return find_preset(preset) != NULL;
}

bool pack_take_preset(struct pack *pack, const char *preset, const struct pack_program *program)
{
    return find_preset(preset)->take(pack, program);
}

const char *pack_preset_for(const char *program)
{
    const char *name = base_name(program);
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strncmp(name, presets[i].prefix, strlen(presets[i].prefix)) == 0)
            return presets[i].name;
    return NULL;
}

/* ---- Defaults ---- */

static bool take_directory(struct pack *pack, const char *path, uint32_t mode)
{
    const hl_image_attributes attributes = {.size = sizeof attributes, .mode = mode};
    hl_error err = HL_ERROR_INIT;
    if (pack_has(pack, path) ||
        hl_image_builder_add_directory(pack->builder, path, &attributes, &err) == HL_OK)
        return true;
    report_error("%s", err.message);
    return false;
}

bool pack_take_defaults(struct pack *pack)
{
    static const char *const files[][2] = {
        {"/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"
                        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
        {"/etc/group", "root:x:0:\nnogroup:x:65534:\n"},
        {"/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n"},
        {"/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!pack_default(pack, files[i][0], files[i][1], strlen(files[i][1])))
            return false;
    if (pack->interpreter && !take_if_there(pack, "/usr/lib/locale/C.utf8", NULL))
        return false; /* what LANG says */
    return take_directory(pack, "/tmp", 01777) && take_directory(pack, "/root", 0700);
}
