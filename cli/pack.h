/* What the files of `hyperlight pack` share. */
#ifndef HYPERLIGHT_CLI_PACK_H
#define HYPERLIGHT_CLI_PACK_H

#include "cli.h"

#include <hyperlight/prepare.h>
#include <limits.h>
#include <sys/types.h>

/* A library or program whose own needs are looked for once it is taken. */
struct pack_object {
    char *host;     /* path on this machine */
    char *image;    /* path in the image */
    ssize_t loader; /* who needed it first, -1: it was named */
    char *rpath;    /* its DT_RPATH, for those that it loads; NULL: none, or it has DT_RUNPATH */
};

struct pack_library {
    char *name, *path;
};

struct pack {
    hl_image_builder *builder;
    void *seen; /* tsearch(): paths in the image */
    struct pack_object *objects;
    size_t object_count, object_room, next_object;
    struct pack_library *libraries; /* found by name: for ld.so's cache */
    size_t library_count, library_room;
    bool verbose;
    size_t files, libraries_taken;
    uint64_t bytes;         /* of files, before equal ones are stored once */
    ssize_t loader;         /* the object whose needs are taken just now, -1: none's */
    char *interpreter;      /* the program's loader, NULL: it is static */
    bool opens;             /* the program imports dlopen() */
    char folders[PATH_MAX]; /* of programs, outside of PACK_FOLDERS; each with a colon behind it */
    bool failed;            /* reported */
};

/* pack_tree.c: takes things into the image. Each returns false after it reported why not. */

/* A file of this machine at its own path, with the symbolic links that lead to it. Directories too. */
bool pack_take(struct pack *pack, const char *path);
/* A file or directory at another path. */
bool pack_take_as(struct pack *pack, const char *path, const char *image);
/* Text of the tool's own, unless something has the path already. */
bool pack_default(struct pack *pack, const char *image, const char *text, size_t size);
bool pack_has(struct pack *pack, const char *image);
/* Without the directories below it whose names match one of the patterns. */
bool pack_take_without(struct pack *pack, const char *path, const char *const *left_out);
void pack_tree_free(struct pack *pack);
/* Absolute, without "." and doubled slashes; ".." is kept. False: reported. */
bool pack_absolute(const char *path, char out[PATH_MAX]);

/* pack_elf.c: what an ELF file says about what it needs. */
struct elf_needs {
    bool is_elf, is_other; /* other: for another machine, or damaged */
    char *interpreter;     /* PT_INTERP or NULL */
    char **needed;         /* NULL-terminated */
    char *rpath, *runpath; /* or NULL */
    bool no_default;       /* DF_1_NODEFLIB */
    bool opens;            /* it imports dlopen() */
    char *strings;         /* owns the others */
};
/* False: the file cannot be read (errno), or there is no memory. */
bool elf_read(const char *path, struct elf_needs *needs);
void elf_free(struct elf_needs *needs);

/* pack_library.c: libraries, as the program's loader will find them. */
bool pack_add_object(struct pack *pack, const char *host, const char *image);
/* Takes what all objects need, and what that needs. */
bool pack_take_libraries(struct pack *pack);
/* Takes one that is not named as needed, if it is there. */
bool pack_take_optional_library(struct pack *pack, const char *name);
void pack_libraries_free(struct pack *pack);

/* pack_cache.c: /etc/ld.so.cache. */
/* Looks a name up in this machine's. False: it is not there. */
bool cache_find(const char *name, char path[PATH_MAX]);
bool pack_note_library(struct pack *pack, const char *name, const char *path);
/* Adds one for the libraries that were noted. */
bool pack_write_cache(struct pack *pack);

/* pack_script.c: programs, found as a shell would, and what runs a script. */

/* Where the image's programs are looked for in any case. */
#define PACK_FOLDERS "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

#define PACK_ARGUMENTS_MAX 16
struct pack_program {
    char *arguments[PACK_ARGUMENTS_MAX + 1];
    size_t count;
    char found[PATH_MAX]; /* what is executed: the program, or of a script the last interpreter */
    char path[PATH_MAX];  /* the same, symbolic links resolved */
};
/* Takes the program, and its interpreters if it is a script; adds what runs it to `arguments`. */
bool pack_take_program(struct pack *pack, const char *name, struct pack_program *program);
void pack_program_free(struct pack_program *program);

/* pack_preset.c */
bool pack_take_preset(struct pack *pack, const char *preset, const struct pack_program *program);
/* The preset that a program would need, or NULL. */
const char *pack_preset_for(const char *program);
bool pack_preset_exists(const char *preset);
bool pack_take_defaults(struct pack *pack);

#endif
