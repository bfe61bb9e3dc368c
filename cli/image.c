/* `hyperlight image`: makes images and says what is in them. */
#include "cli.h"

#include <hyperlight/prepare.h>
#include <string.h>

static int print_help(void)
{
    printf("Usage: hyperlight image create -o IMAGE INPUT\n"
           "\n"
           "Makes an image, which programs in micro VMs see as their root directory.\n"
           "\n"
           "  create  from a tar archive (ustar, pax or GNU, also compressed; as 'docker export'\n"
           "          writes it), an OCI image layout (a directory or a tar), or a directory\n"
           "\n"
           "  -o, --output IMAGE  file to make\n"
           "  -h, --help          print this help\n");
    return report_finish(STATUS_OK, STATUS_USAGE);
}

static const struct option create_options[] = {
    {"output", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};

static int create_image(const char *input, const char *output)
{
    hl_error err = HL_ERROR_INIT;
    if (hl_prepare_file(input, output, NULL, &err) == HL_OK)
        return STATUS_OK;
    report_error("%s", err.message);
    return STATUS_FAILED;
}

static int image_create(int argc, char **argv)
{
    const char *output = NULL;
    int option;
    while ((option = getopt_long(argc, argv, ":o:h", create_options, NULL)) != -1) {
        if (option == 'h')
            return print_help();
        if (option != 'o') {
            option_refused(option, argv);
            return STATUS_USAGE;
        }
        output = optarg;
    }
    if (output && optind == argc - 1)
        return create_image(argv[optind], output);
    report_error("image create takes -o IMAGE and one INPUT; see 'hyperlight image --help'");
    return STATUS_USAGE;
}

int verb_image(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "create") == 0)
        return image_create(argc - 1, argv + 1);
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return print_help();
    report_error("image: unknown action '%s'; see 'hyperlight image --help'", word);
    return STATUS_USAGE;
}
