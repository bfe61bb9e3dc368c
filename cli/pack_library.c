/*
 * The libraries that programs need, found as their loader will find them in the image: glibc's by
 * DT_RPATH, DT_RUNPATH, its cache and its standard directories; musl's by the first two and its list.
 */
#define _GNU_SOURCE
#include "pack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GLIBC_FOLDERS                                                                              \
    "/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:/lib64:/usr/lib64:/lib:/usr/lib"
#define MUSL_FOLDERS                                                                               \
    "/lib:/usr/local/lib:/usr/lib:/lib/x86_64-linux-musl:/usr/lib/x86_64-linux-musl"
#define MUSL_LIST "/etc/ld-musl-x86_64.path"

/* Names that musl's loader answers itself. */
static const char *const musl_own[] = {
    "libc.so",    "libpthread.so", "librt.so",    "libm.so",      "libdl.so",
    "libutil.so", "libxnet.so",    "libcrypt.so", "libresolv.so", NULL};

/* ---- Objects ---- */

bool pack_add_object(struct pack *pack, const char *host, const char *image)
{
    if (pack->object_count == pack->object_room) {
        size_t room = pack->object_room ? 2 * pack->object_room : 64;
        struct pack_object *objects = reallocarray(pack->objects, room, sizeof *objects);
        if (!objects) {
            report_error("out of memory");
            return false;
        }
        pack->objects = objects;
        pack->object_room = room;
    }
    struct pack_object *object = &pack->objects[pack->object_count];
    *object = (struct pack_object){strdup(host), strdup(image), pack->loader, NULL};
    if (object->host && object->image) {
        pack->object_count++;
        return true;
    }
    free(object->host);
    free(object->image);
    report_error("out of memory");
    return false;
}

void pack_libraries_free(struct pack *pack)
{
    for (size_t i = 0; i < pack->object_count; i++) {
        free(pack->objects[i].host);
        free(pack->objects[i].image);
        free(pack->objects[i].rpath);
    }
    for (size_t i = 0; i < pack->library_count; i++) {
        free(pack->libraries[i].name);
        free(pack->libraries[i].path);
    }
    free(pack->objects);
    free(pack->libraries);
    free(pack->interpreter);
}

/* ---- Where to look ---- */

/* A library on this machine and in the image: the two differ for objects that the image has elsewhere. */
struct place {
    char host[PATH_MAX], image[PATH_MAX];
};

static bool append(char out[PATH_MAX], const char *text, size_t size)
{
    size_t used = strlen(out);
    if (size >= PATH_MAX - used)
        return false;
    memcpy(out + used, text, size);
    out[used + size] = '\0';
    return true;
}

static size_t folder_size(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

/* The size of the variable at `text`, 0 if there is none that `name` is. */
static size_t variable_size(const char *text, const char *name)
{
    size_t size = strlen(name);
    if (strncmp(text + 1, name, size) == 0)
        return size + 1;
    return text[1] == '{' && strncmp(text + 2, name, size) == 0 && text[2 + size] == '}' ? size + 3
                                                                                         : 0;
}

/* Replaces the variables of the loader in a path. */
static bool expand(const char *text, size_t size, const struct pack_object *object,
                   struct place *place)
{
    const char *end = text + size;
    while (text < end) {
        size_t origin = *text == '$' ? variable_size(text, "ORIGIN") : 0;
        size_t library = *text == '$' ? variable_size(text, "LIB") : 0;
        size_t platform = *text == '$' ? variable_size(text, "PLATFORM") : 0;
        bool good;
        if (origin)
            good = append(place->host, object->host, folder_size(object->host)) &&
                   append(place->image, object->image, folder_size(object->image));
        else if (library)
            good = append(place->host, "lib/x86_64-linux-gnu", 20) &&
                   append(place->image, "lib/x86_64-linux-gnu", 20);
        else if (platform)
            good = append(place->host, "x86_64", 6) && append(place->image, "x86_64", 6);
        else
            good = append(place->host, text, 1) && append(place->image, text, 1);
        if (!good)
            return false;
        text += origin ? origin : library ? library : platform ? platform : 1;
    }
    return true;
}

static bool is_library(const char *path)
{
    struct elf_needs needs;
    bool good = elf_read(path, &needs) && needs.is_elf && !needs.is_other;
    elf_free(&needs);
    return good;
}

/* Looks in the folders of a list that colons separate. */
static bool find_in(const char *folders, const struct pack_object *object, const char *name,
                    struct place *place)
{
    for (; folders && *folders; folders += *folders == ':') {
        size_t size = strcspn(folders, ":");
        *place = (struct place){"", ""};
        if (size > 0 && expand(folders, size, object, place) && append(place->host, "/", 1) &&
            append(place->image, "/", 1) && append(place->host, name, strlen(name)) &&
            append(place->image, name, strlen(name)) && is_library(place->host))
            return true;
        folders += size;
    }
    return false;
}

/* DT_RPATH of the object and of those that led to it. What is opened later was led to by the program. */
static bool find_by_rpath(const struct pack *pack, size_t number, const char *name,
                          struct place *place)
{
    for (;;) {
        const struct pack_object *object = &pack->objects[number];
        if (find_in(object->rpath, object, name, place))
            return true;
        if (number == 0)
            return false;
        number = object->loader < 0 ? 0 : (size_t)object->loader;
    }
}

static bool is_musl(const struct pack *pack)
{
    return pack->interpreter && strstr(pack->interpreter, "/ld-musl-");
}

/* musl's list of folders: lines or colons. */
static void read_musl_folders(char folders[PATH_MAX])
{
    FILE *file = fopen(MUSL_LIST, "re");
    size_t size = file ? fread(folders, 1, PATH_MAX - 1, file) : 0;
    if (file)
        fclose(file);
    folders[size] = '\0';
    for (char *end; (end = strchr(folders, '\n'));)
        *end = ':';
    if (size == 0)
        strcpy(folders, MUSL_FOLDERS);
}

static bool find_by_name(const struct pack *pack, const struct pack_object *object,
                         const char *name, struct place *place)
{
    char folders[PATH_MAX] = GLIBC_FOLDERS;
    if (is_musl(pack)) {
        read_musl_folders(folders);
    } else if (cache_find(name, place->host) && is_library(place->host)) {
        strcpy(place->image, place->host);
        return true;
    }
    return find_in(folders, object, name, place);
}

static bool find_library(const struct pack *pack, size_t number, const struct elf_needs *needs,
                         const char *name, struct place *place)
{
    const struct pack_object *object = &pack->objects[number];
    if (strchr(name, '/')) {
        *place = (struct place){"", ""};
        return expand(name, strlen(name), object, place) && place->host[0] == '/' &&
               is_library(place->host);
    }
    if (!needs->runpath && find_by_rpath(pack, number, name, place))
        return true;
    if (find_in(needs->runpath, object, name, place))
        return true;
    return find_by_name(pack, object, name, place);
}

/* ---- Taking ---- */

/* As the loader names it: what is relative to the library starts where it was found. */
static bool rename_object(struct pack *pack, size_t number, const struct place *place)
{
    struct pack_object *object = &pack->objects[number];
    char *host = strdup(place->host), *image = strdup(place->image);
    if (!host || !image) {
        free(host);
        free(image);
        report_error("out of memory");
        return false;
    }
    free(object->host);
    free(object->image);
    object->host = host;
    object->image = image;
    return true;
}

static bool take_place(struct pack *pack, const struct place *place, const char *name)
{
    size_t before = pack->object_count;
    bool same = strcmp(place->host, place->image) == 0;
    bool good = same ? pack_take(pack, place->host) : pack_take_as(pack, place->host, place->image);
    if (good && pack->object_count > before) {
        pack->libraries_taken++;
        good = rename_object(pack, pack->object_count - 1, place);
    }
    if (good && same && !strchr(name, '/') && !is_musl(pack))
        good = pack_note_library(pack, name, place->image);
    return good;
}

/* Whether the program does not start without the object. */
static bool is_vital(const struct pack *pack, size_t number)
{
    while (number != 0 && pack->objects[number].loader >= 0)
        number = (size_t)pack->objects[number].loader;
    return number == 0;
}

/* Whether something of that name is in the image: who loads that first need not say where it is. */
static bool is_taken_elsewhere(const struct pack *pack, const char *name)
{
    for (size_t i = 0; i < pack->object_count; i++) {
        const char *slash = strrchr(pack->objects[i].image, '/');
        if (slash && strcmp(slash + 1, name) == 0)
            return true;
    }
    return false;
}

static bool take_needed(struct pack *pack, size_t number, const struct elf_needs *needs,
                        const char *name)
{
    struct place place;
    for (const char *const *own = musl_own; is_musl(pack) && *own; own++)
        if (strcmp(*own, name) == 0)
            return true;
    if (find_library(pack, number, needs, name, &place))
        return take_place(pack, &place, name);
    if (!is_vital(pack, number)) {
        if (!is_taken_elsewhere(pack, name))
            report_text(
                "hyperlight: pack: '%s' needs the library '%s', which this machine does not "
                "have; it is packed without",
                pack->objects[number].host, name);
        return true;
    }
    report_error("'%s' needs the library '%s', which is not where its loader looks; install it, or "
                 "add its directory with ldconfig",
                 pack->objects[number].host, name);
    return false;
}

static bool set_rpath(struct pack_object *object, const struct elf_needs *needs)
{
    if (!needs->rpath || needs->runpath)
        return true;
    object->rpath = strdup(needs->rpath);
    if (!object->rpath)
        report_error("out of memory");
    return object->rpath != NULL;
}

static bool take_interpreter(struct pack *pack, const char *host, const char *interpreter)
{
    if (!pack->interpreter && !(pack->interpreter = strdup(interpreter))) {
        report_error("out of memory");
        return false;
    }
    if (is_library(interpreter))
        return pack_take(pack, interpreter);
    report_error("'%s' needs the loader '%s', which this machine does not have", host, interpreter);
    return false;
}

static bool take_needs(struct pack *pack, size_t number, const struct elf_needs *needs)
{
    /* Taking adds objects, which moves them. */
    bool good = set_rpath(&pack->objects[number], needs);
    if (number == 0)
        pack->opens = needs->opens;
    if (good && needs->interpreter)
        good = take_interpreter(pack, pack->objects[number].host, needs->interpreter);
    for (char **name = needs->needed; good && name && *name; name++)
        good = take_needed(pack, number, needs, *name);
    return good;
}

bool pack_take_libraries(struct pack *pack)
{
    bool good = true;
    for (; good && pack->next_object < pack->object_count; pack->next_object++) {
        size_t number = pack->next_object;
        struct elf_needs needs;
        if (!elf_read(pack->objects[number].host, &needs)) {
            report_error("cannot read '%s': %s", pack->objects[number].host, strerror(errno));
            return false;
        }
        if (number == 0 && needs.is_other) {
            report_error("'%s' is no well-formed program for x86-64", pack->objects[number].host);
            good = false;
        }
        pack->loader = (ssize_t)number;
        if (good && needs.is_elf && !needs.is_other)
            good = take_needs(pack, number, &needs);
        elf_free(&needs);
    }
    pack->loader = -1;
    return good;
}

bool pack_take_optional_library(struct pack *pack, const char *name)
{
    struct place place;
    if (!pack->interpreter || is_musl(pack) || pack->object_count == 0 ||
        !find_by_name(pack, &pack->objects[0], name, &place))
        return true;
    return take_place(pack, &place, name) && pack_take_libraries(pack);
}
