/* The `hyperlight` tool: finds the verb and hands over to it. */
#include "cli.h"
#include "system.h"

#include <string.h>

struct verb {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
};

static const struct verb verbs[] = {
    {"run", "run a program in a micro VM, as if it ran natively", verb_run},
    {"call", "call a function of a program that serves calls", verb_call},
#ifdef HL_TOOL_IMAGES
    {"image", "make images of files that programs see", verb_image},
    {"pack", "make an image of a program of this machine", verb_pack},
#endif
    {"doctor", "find out what this machine can do", verb_doctor},
    {"selftest", "test the hypervisor and the library on this machine", verb_selftest},
};

#define VERB_COUNT (sizeof verbs / sizeof *verbs)

static int print_help(void)
{
    printf("Usage: hyperlight VERB [OPTION]... [ARGUMENT]...\n"
           "\n"
           "Runs untrusted programs in hypervisor-isolated micro virtual machines.\n"
           "\n");
    for (size_t i = 0; i < VERB_COUNT; i++)
        printf("  %-10s %s\n", verbs[i].name, verbs[i].summary);
    printf("\n"
           "  -h, --help     print this help; 'hyperlight VERB --help' for a verb\n"
           "      --version  print the version\n");
    return report_finish(STATUS_OK, STATUS_USAGE);
}

static int print_version(void)
{
    printf("hyperlight %s\n", hl_version());
    return report_finish(STATUS_OK, STATUS_USAGE);
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    }
    return NULL;
}

static int refuse_word(const char *word)
{
    if (word[0] == '-')
        report_error("unknown option '%s'; see 'hyperlight --help'", word);
    else if (system_file_exists(word))
        report_error("unknown verb '%s'; to run that program: 'hyperlight run %s'", word, word);
    else
        report_error("unknown verb '%s'; see 'hyperlight --help'", word);
    return STATUS_USAGE;
}

/* `hyperlight help VERB`. */
static int print_help_of(const char *name)
{
    char help[] = "--help";
    char word[16];
    const struct verb *verb = find_verb(name);
    if (!verb)
        return refuse_word(name);
    snprintf(word, sizeof word, "%s", name);
    return verb->run(2, (char *[]){word, help, NULL});
}

int main(int argc, char **argv)
{
    if (!system_prepare(&argc, &argv))
        return STATUS_TOOL;
    const char *word = argc > 1 ? argv[1] : "";
    const struct verb *verb = find_verb(word);
    if (verb)
        return verb->run(argc - 1, argv + 1);
    if (strcmp(word, "--version") == 0)
        return print_version();
    if (strcmp(word, "help") == 0 && argc > 2)
        return print_help_of(argv[2]);
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
        return print_help();
    if (argc > 1)
        return refuse_word(word);
    report_error("no verb given; see 'hyperlight --help'");
    return STATUS_USAGE;
}
