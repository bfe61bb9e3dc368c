/* `hyperlight selftest`: what the library relies on, tested on this machine; the result is TAP. */
#include "cli.h"

#include <jansson.h>
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
           "      --driver NAME  test this hypervisor instead of the first usable one\n"
           "      --json         print it for programs\n"
           "  -h, --help         print this help\n"
           "\n"
           "Exit status: 0 if all tests passed, 1 if one failed or no hypervisor is usable,\n"
           "2 for wrong usage.\n");
    return report_finish(STATUS_OK, STATUS_USAGE);
}

/* Printed as it goes on, or gathered for JSON. */
struct results {
    json_t *tests; /* NULL: print TAP. */
    size_t count;
    size_t failed;
};

/* As TAP has it: a test that does not apply was skipped; else it is a remark. */
static const char *remark_mark(const char *detail)
{
    if (!*detail)
        return "";
    return strncmp(detail, "does not apply", strlen("does not apply")) == 0 ? " # SKIP " : " # ";
}

static void print_result(const struct results *results, const char *name, bool passed,
                         const char *detail)
{
    char text[1024];
    report_escape(text, sizeof text, detail);
    if (passed)
        printf("ok %zu - %s%s%s\n", results->count, name, remark_mark(text), text);
    else
        printf("not ok %zu - %s\n# %s\n", results->count, name, text);
    fflush(stdout);
}

static void take_result(void *user, const char *name, bool passed, const char *detail)
{
    struct results *results = user;
    results->count++;
    results->failed += !passed;
    if (results->tests)
        json_array_append_new(results->tests, json_pack("{s:s, s:b, s:s}", "name", name, "passed",
                                                        passed, "detail", detail));
    else
        print_result(results, name, passed, detail);
}

static void print_plan(void)
{
    size_t count = 0;
    while (hl_driver_selftest_name(count))
        count++;
    printf("TAP version 13\n1..%zu\n", count);
}

/* Takes over the reference to the tests. */
static bool print_json(struct results *results, bool passed)
{
    json_t *root = json_pack("{s:s, s:b, s:o}", "version", hl_version(), "passed", passed, "tests",
                             results->tests);
    bool printed = root && json_dumpf(root, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF;
    json_decref(root);
    return printed;
}

static int test_driver(const char *driver, bool as_json)
{
    struct results results = {.tests = as_json ? json_array() : NULL};
    hl_error err = HL_ERROR_INIT;
    if (!as_json)
        print_plan();
    hl_status status = hl_driver_selftest(driver, take_result, &results, &err);
    if (status != HL_OK)
        report_error("%s", err.message);
    /* TAP's word for tests that did not come to an end. */
    if (status != HL_OK && results.failed == 0 && !as_json)
        printf("Bail out! %s\n", err.message);
    if (as_json && !print_json(&results, status == HL_OK))
        return STATUS_USAGE;
    if (status == HL_INVALID_ARGUMENT)
        return STATUS_USAGE;
    return report_finish(status == HL_OK ? STATUS_OK : STATUS_FAILED, STATUS_USAGE);
}

int verb_selftest(int argc, char **argv)
{
    const char *driver = NULL;
    bool as_json = false;
    int option;
    while ((option = getopt_long(argc, argv, ":h", selftest_options, NULL)) != -1) {
        if (option == 'h')
            return print_help();
        if (option == OPTION_DRIVER)
            driver = optarg;
        else if (option == OPTION_JSON)
            as_json = true;
        else {
            option_refused(option, argv);
            return STATUS_USAGE;
        }
    }
    if (optind != argc) {
        report_error("selftest takes no arguments; see 'hyperlight selftest --help'");
        return STATUS_USAGE;
    }
    return test_driver(driver, as_json);
}
