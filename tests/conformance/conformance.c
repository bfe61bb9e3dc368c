/* Runs the self-test of a driver. TAP on standard output, or JSON; exit status 1 if a test
 * failed, 2 if no driver ran. */
#include <hyperlight/driver.h>

#include <stdio.h>
#include <string.h>

struct output {
    bool json;
    size_t count;
    size_t failures;
};

static void print_json_string(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        if ((unsigned char)*text >= ' ')
            putchar(*text);
    }
    putchar('"');
}

static void report(void *user, const char *name, bool passed, const char *detail)
{
    struct output *output = user;
    output->count++;
    output->failures += !passed;
    if (output->json) {
        printf("%s\n  {\"name\": \"%s\", \"passed\": %s, \"detail\": ",
               output->count > 1 ? "," : "", name, passed ? "true" : "false");
        print_json_string(detail);
        putchar('}');
        return;
    }
    printf("%s %zu - %s%s%s\n", passed ? "ok" : "not ok", output->count, name,
           !*detail || !passed                          ? ""
           : strncmp(detail, "does not apply", 14) == 0 ? " # SKIP "
                                                        : " # ",
           passed ? detail : "");
    if (!passed)
        printf("# %s\n", detail);
    fflush(stdout);
}

static void list(void)
{
    for (size_t i = 0; hl_driver_selftest_name(i); i++)
        puts(hl_driver_selftest_name(i));
}

static size_t test_count(void)
{
    size_t count = 0;
    while (hl_driver_selftest_name(count))
        count++;
    return count;
}

static int run(const char *driver, bool json)
{
    struct output output = {.json = json};
    hl_error err = HL_ERROR_INIT;
    if (json)
        printf("{\"tests\": [");
    else
        printf("TAP version 13\n1..%zu\n", test_count());
    hl_status status = hl_driver_selftest(driver, report, &output, &err);
    if (json)
        printf("\n], \"failures\": %zu}\n", output.failures);
    if (status != HL_OK)
        fprintf(stderr, "conformance: %s\n", err.message);
    if (!output.count) {
        if (!json)
            printf("Bail out! no driver ran\n");
        return 2;
    }
    return output.failures ? 1 : 0;
}

static int usage(int status)
{
    fprintf(status ? stderr : stdout,
            "usage: conformance [--driver NAME] [--json]\n       conformance --list\n");
    return status;
}

int main(int argc, char **argv)
{
    const char *driver = NULL;
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--driver") && i + 1 < argc) {
            driver = argv[++i];
        } else if (!strcmp(argv[i], "--json")) {
            json = true;
        } else if (!strcmp(argv[i], "--list")) {
            list();
            return 0;
        } else {
            return usage(strcmp(argv[i], "--help") ? 2 : 0);
        }
    }
    return run(driver, json);
}
