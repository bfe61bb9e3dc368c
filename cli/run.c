/* `hyperlight run`: a program in a micro VM, as if it ran natively. */
#include "cli.h"

static const struct option run_options[] = {LIMIT_OPTIONS, {NULL, 0, NULL, 0}};

static int print_help(void)
{
    printf(
        "Usage: hyperlight run [OPTION]... PROGRAM [ARGUMENT]...\n"
        "       hyperlight run [OPTION]... --root IMAGE [PROGRAM [ARGUMENT]...]\n"
        "\n"
        "Runs a static Linux program, or a program of an image, in a micro VM of its own. Its\n"
        "standard input, output and error and its exit status are as if it ran natively; of the\n"
        "machine it sees no files and no environment other than what is passed on.\n"
        "\n" LIMIT_OPTIONS_HELP "\n"
        "Exit status: the program's own; 128+n if it died of signal n or this tool was stopped\n"
        "by it (130 after Ctrl-C); 124 if it ran out of time; 137 if it went over another limit;\n"
        "125 if it could not be run.\n",
        "none", "none");
    return report_finish(STATUS_OK, STATUS_TOOL);
}

/* The status of a program that is finished, or why it is not. */
static int run_program(struct session *session, const char *name)
{
    hl_error err = HL_ERROR_INIT;
    int exit_code = 0;
    hl_status status = hl_sandbox_run(session->sandbox, &exit_code, &err);
    if (status == HL_OK)
        return exit_code;
    if (status == HL_INVALID_ARGUMENT && hl_sandbox_status(session->sandbox) == HL_SANDBOX_READY) {
        report_error(
            "'%s' serves calls instead of running to an end; see 'hyperlight call --list %s'", name,
            name);
        return STATUS_TOOL;
    }
    return session_failed(&err);
}

static int run_arguments(const struct limits *limits, char **arguments)
{
    struct session session = {0};
    hl_error err = HL_ERROR_INIT;
    int status;
    if (session_open(&session, limits, arguments, &err) == HL_OK)
        status = run_program(&session, arguments[0] ? arguments[0] : "the image's program");
    else
        status = session_failed(&err);
    if (limits->stats)
        session_print_stats(&session);
    session_close(&session);
    return status;
}

static int run_with(struct limits *limits, int argc, char **argv)
{
    int option;
    while ((option = getopt_long(argc, argv, "+:h", run_options, NULL)) != -1) {
        if (option == 'h')
            return print_help();
        if (!limits_take(limits, option, argv))
            return STATUS_TOOL;
    }
    if (optind == argc && (!limits->root || limits->host_program)) {
        report_error("no program given; see 'hyperlight run --help'");
        return STATUS_TOOL;
    }
    return run_arguments(limits, argv + optind);
}

int verb_run(int argc, char **argv)
{
    struct limits limits;
    if (!limits_init(&limits, argc, HL_UNLIMITED, HL_UNLIMITED))
        return STATUS_TOOL;
    int status = run_with(&limits, argc, argv);
    limits_free(&limits);
    return status;
}
