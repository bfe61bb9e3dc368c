/* `hyperlight pack`: an image of a program and what it needs of this machine. */
#define _GNU_SOURCE
#include "pack.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct option pack_options[] = {{"output", required_argument, NULL, 'o'},
                                             {"preset", required_argument, NULL, 'p'},
                                             {"verbose", no_argument, NULL, 'v'},
                                             {"help", no_argument, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

static int print_help(void)
{
    printf("Usage: hyperlight pack [OPTION]... -o IMAGE PROGRAM [FILE]...\n"
           "\n"
           "Makes an image of a program of this machine with its interpreter, the libraries that\n"
           "it needs, and the files and directories named, each at its own path or, written\n"
           "FILE:PATH, at another. The image runs the program by default.\n"
           "\n"
           "  -o, --output IMAGE  file to make\n"
           "      --preset NAME   add what a language needs: python (the standard library), node\n"
           "                      or perl\n"
           "  -v, --verbose       print each file with its size\n"
           "  -h, --help          print this help\n"
           "\n"
           "Exit status: 0; 1 if it failed; 2 after wrong usage.\n");
    return report_finish(STATUS_OK, STATUS_USAGE);
}

struct wishes {
    const char *output, *preset, *program;
    char **files;
    bool verbose;
};

/* FILE or FILE:PATH. A file whose name has a colon is meant if it exists. */
static bool take_named(struct pack *pack, const char *text)
{
    struct stat attributes;
    const char *colon = strrchr(text, ':');
    char host[PATH_MAX], image[PATH_MAX];
    if (!colon || lstat(text, &attributes) == 0)
        return pack_take(pack, text);
    if (colon[1] != '/' || colon == text || (size_t)(colon - text) >= sizeof host) {
        report_error("'%s': write FILE, or FILE:PATH with an absolute path in the image", text);
        return false;
    }
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    return pack_absolute(colon + 1, image) && pack_take_as(pack, host, image);
}

static bool take_all(struct pack *pack, const struct wishes *wishes, struct pack_program *program)
{
    bool good = pack_take_program(pack, wishes->program, program);
    for (char **file = wishes->files; good && *file; file++)
        good = take_named(pack, *file);
    if (good && wishes->preset)
        good = pack_take_preset(pack, wishes->preset, program);
    return good && pack_take_libraries(pack) && pack_take_optional_library(pack, "libgcc_s.so.1") &&
           pack_take_defaults(pack) && pack_write_cache(pack);
}

static void print_summary(const struct pack *pack, const struct wishes *wishes)
{
    struct stat attributes;
    double size = stat(wishes->output, &attributes) == 0 ? (double)attributes.st_size : 0;
    printf("%s: %.1f MiB: %s, %zu %s, %zu files of %.1f MiB in all\n", wishes->output,
           size / (1 << 20), wishes->program, pack->libraries_taken,
           pack->libraries_taken == 1 ? "library" : "libraries", pack->files,
           (double)pack->bytes / (1 << 20));
}

static void print_hint(const struct pack *pack, const struct wishes *wishes,
                       const struct pack_program *program)
{
    const char *preset = pack_preset_for(program->path);
    if (preset && !wishes->preset)
        report_text("hyperlight: pack: %s needs more than its libraries to run; '--preset %s' adds "
                    "it",
                    program->path, preset);
    else if (pack->opens && !preset && !*wishes->files)
        report_text("hyperlight: pack: %s can open more libraries as it runs (dlopen); name those "
                    "that it needs as FILEs",
                    program->path);
}

static bool write_image(struct pack *pack, const struct wishes *wishes)
{
    hl_error err = HL_ERROR_INIT;
    if (hl_image_builder_write(pack->builder, wishes->output, &err) == HL_OK)
        return true;
    report_error("%s", err.message);
    return false;
}

static bool set_defaults(struct pack *pack, const struct pack_program *program)
{
    char path[sizeof pack->folders + sizeof "PATH=" PACK_FOLDERS];
    snprintf(path, sizeof path, "PATH=%s" PACK_FOLDERS, pack->folders);
    const char *const environment[] = {path, "LANG=C.UTF-8", NULL};
    hl_error err = HL_ERROR_INIT;
    if (hl_image_builder_set_program(pack->builder, (const char *const *)program->arguments,
                                     environment, "/", &err) == HL_OK)
        return true;
    report_error("%s", err.message);
    return false;
}

static int pack_image(const struct wishes *wishes)
{
    struct pack pack = {.verbose = wishes->verbose, .loader = -1};
    struct pack_program program = {.count = 0};
    hl_error err = HL_ERROR_INIT;
    bool good = hl_image_builder_new(NULL, &pack.builder, &err) == HL_OK;
    if (!good)
        report_error("%s", err.message);
    good = good && take_all(&pack, wishes, &program) && set_defaults(&pack, &program) &&
           write_image(&pack, wishes);
    if (good) {
        print_summary(&pack, wishes);
        print_hint(&pack, wishes, &program);
    }
    pack_program_free(&program);
    pack_libraries_free(&pack);
    pack_tree_free(&pack);
    hl_image_builder_free(pack.builder);
    return report_finish(good ? STATUS_OK : STATUS_FAILED, STATUS_FAILED);
}

static bool take_option(struct wishes *wishes, int option, char **argv)
{
    switch (option) {
    case 'o':
        wishes->output = optarg;
        return true;
    case 'v':
        return wishes->verbose = true;
    case 'p':
        wishes->preset = optarg;
        if (!pack_preset_exists(optarg))
            report_error("--preset: there is none called '%s'; they are python, node and perl",
                         optarg);
        return pack_preset_exists(optarg);
    default:
        option_refused(option, argv);
        return false;
    }
}

int verb_pack(int argc, char **argv)
{
    struct wishes wishes = {0};
    int option;
    while ((option = getopt_long(argc, argv, ":o:vh", pack_options, NULL)) != -1) {
        if (option == 'h')
            return print_help();
        if (!take_option(&wishes, option, argv))
            return STATUS_USAGE;
    }
    if (!wishes.output || optind == argc) {
        report_error("%s; see 'hyperlight pack --help'",
                     wishes.output ? "no program given" : "no -o IMAGE given");
        return STATUS_USAGE;
    }
    wishes.program = argv[optind];
    wishes.files = argv + optind + 1;
    return pack_image(&wishes);
}
