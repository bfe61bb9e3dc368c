/* `hyperlight image`: makes images and says what is in them. */
#define _GNU_SOURCE
#include "cli.h"

#include "image.h"

#include <errno.h>
#include <hyperlight/prepare.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int print_help(void)
{
    printf(
        "Usage: hyperlight image create [OPTION]... -o IMAGE INPUT\n"
        "       hyperlight image list IMAGE\n"
        "       hyperlight image show IMAGE\n"
        "\n"
        "Makes images, which programs in micro VMs see as their root directory.\n"
        "\n"
        "  create  from a tar archive (ustar, pax or GNU, also compressed; as 'docker export'\n"
        "          writes it), an OCI image layout (a directory or a tar; also as 'docker save'\n"
        "          writes it), or a directory\n"
        "  list    the files in an image, one a line, as 'ls -l' writes them\n"
        "  show    how big it is, what is in it, and what it runs\n"
        "\n"
        "  -o, --output IMAGE     file to make\n"
        "      --size-limit SIZE  most bytes of the image (default 16G)\n"
        "      --files-limit N    most files, directories and links (default %u)\n"
        "      --depth-limit N    most directories in one another (default %u)\n"
        "      --timeout TIME     most time it may take (default 10m)\n"
        "  -h, --help             print this help\n"
        "\n"
        "SIZE: bytes, or with K, M, G. TIME: seconds, or with ms, s, m, h.\n"
        "\n"
        "Exit status: 0; 1 if it failed; 2 after wrong usage.\n",
        HL_PREPARE_FILES_DEFAULT, HL_PREPARE_DEPTH_DEFAULT);
    return report_finish(STATUS_OK, STATUS_USAGE);
}

enum { OPTION_SIZE = 256, OPTION_FILES, OPTION_DEPTH, OPTION_TIME };

static const struct option image_options[] = {
    {"output", required_argument, NULL, 'o'},
    {"size-limit", required_argument, NULL, OPTION_SIZE},
    {"files-limit", required_argument, NULL, OPTION_FILES},
    {"depth-limit", required_argument, NULL, OPTION_DEPTH},
    {"timeout", required_argument, NULL, OPTION_TIME},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0}};

struct image_wishes {
    hl_prepare_options options;
    const char *output;
    bool limited; /* an option that is for `create` was given */
};

static bool take_count(const char *option, uint32_t most, uint32_t *count)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(optarg, &end, 10);
    if (*optarg < '0' || *optarg > '9' || *end || errno || value == 0 || value > most) {
        report_error("%s: '%s' is no number from 1 to %u", option, optarg, most);
        return false;
    }
    *count = (uint32_t)value;
    return true;
}

static bool take_scaled(const char *option, const char *what,
                        bool (*parse)(const char *text, uint64_t *value), uint64_t *value)
{
    if (parse(optarg, value))
        return true;
    report_error("%s: '%s' is no %s", option, optarg, what);
    return false;
}

static bool take_option(struct image_wishes *wishes, int option, char **argv)
{
    wishes->limited = true;
    switch (option) {
    case 'o':
        wishes->output = optarg;
        return true;
    case OPTION_SIZE:
        return take_scaled("--size-limit", "size", parse_size, &wishes->options.size_max);
    case OPTION_TIME:
        return take_scaled("--timeout", "time", parse_duration, &wishes->options.timeout_ns);
    case OPTION_FILES:
        return take_count("--files-limit", HL_PREPARE_FILES_MAX, &wishes->options.files_max);
    case OPTION_DEPTH:
        return take_count("--depth-limit", HL_PREPARE_DEPTH_MAX, &wishes->options.depth_max);
    default:
        option_refused(option, argv);
        return false;
    }
}

static int create_image(const struct image_wishes *wishes, const char *input)
{
    hl_error err = HL_ERROR_INIT;
    if (!wishes->output) {
        report_error("no -o IMAGE given; see 'hyperlight image --help'");
        return STATUS_USAGE;
    }
    if (hl_prepare_file(input, wishes->output, &wishes->options, &err) == HL_OK)
        return STATUS_OK;
    report_error("%s", err.message);
    return err.status == HL_INVALID_ARGUMENT && wishes->options.size_max ? STATUS_USAGE
                                                                         : STATUS_FAILED;
}

static int read_image(const char *path, void (*print)(const struct image_tables *tables))
{
    struct image_tables tables;
    if (!image_read(path, &tables))
        return STATUS_FAILED;
    print(&tables);
    image_free(&tables);
    return report_finish(STATUS_OK, STATUS_FAILED);
}

static int do_action(const char *action, const struct image_wishes *wishes, const char *argument)
{
    bool create = strcmp(action, "create") == 0;
    if (!argument) {
        report_error("image %s takes one %s; see 'hyperlight image --help'", action,
                     create ? "INPUT" : "IMAGE");
        return STATUS_USAGE;
    }
    if (create)
        return create_image(wishes, argument);
    if (wishes->limited) {
        report_error("image %s takes no options; see 'hyperlight image --help'", action);
        return STATUS_USAGE;
    }
    return read_image(argument, strcmp(action, "list") == 0 ? image_list : image_show);
}

static bool print_cached(const hl_image_cache_entry *entry, void *user)
{
    char used[32] = "?";
    struct tm parts;
    time_t seconds = (time_t)entry->used_s;
    (void)user;
    if (gmtime_r(&seconds, &parts))
        strftime(used, sizeof used, "%Y-%m-%d %H:%M:%S", &parts);
    printf("%12" PRIu64 " %s %s\n", entry->bytes, used, entry->path);
    return true;
}

static int cache_action(const char *action)
{
    hl_error err = HL_ERROR_INIT;
    hl_status status;
    if (strcmp(action, "clear") == 0) {
        status = hl_image_cache_clear(NULL, &err);
    } else if (strcmp(action, "list") == 0) {
        status = hl_image_cache_visit(NULL, print_cached, NULL, &err);
    } else {
        report_error("image cache: unknown action '%s'; they are list and clear", action);
        return STATUS_USAGE;
    }
    if (status != HL_OK)
        report_error("%s", err.message);
    return report_finish(status == HL_OK ? STATUS_OK : STATUS_FAILED, STATUS_FAILED);
}

static bool is_action(const char *word)
{
    return strcmp(word, "create") == 0 || strcmp(word, "list") == 0 || strcmp(word, "show") == 0;
}

int verb_image(int argc, char **argv)
{
    struct image_wishes wishes = {.options = {.size = sizeof wishes.options}};
    int option;
    while ((option = getopt_long(argc, argv, ":o:h", image_options, NULL)) != -1) {
        if (option == 'h')
            return print_help();
        if (!take_option(&wishes, option, argv))
            return STATUS_USAGE;
    }
    const char *action = optind < argc ? argv[optind] : "";
    if (strcmp(action, "cache") == 0 && !wishes.limited && argc - optind <= 2)
        return cache_action(argc - optind == 2 ? argv[optind + 1] : "list");
    if (is_action(action))
        return do_action(action, &wishes, argc - optind == 2 ? argv[optind + 1] : NULL);
    if (*action)
        report_error("image: unknown action '%s'; see 'hyperlight image --help'", action);
    else
        report_error("image: no action given; see 'hyperlight image --help'");
    return STATUS_USAGE;
}
