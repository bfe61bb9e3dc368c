/* `hyperlight call`: one function of a program that serves calls; JSON in, JSON out. */
#include "cli.h"
#include "system.h"

#include <errno.h>
#include <string.h>

static const struct option call_options[] = {
    LIMIT_OPTIONS, {"list", no_argument, NULL, OPTION_LIST}, {NULL, 0, NULL, 0}};

struct call_request {
    struct limits limits;
    bool list;
    FILE *out; /* Where the result goes. */
    struct json_argument arguments[HL_PARAMETERS_MAX];
    size_t count;
};

static int print_help(void)
{
    printf(
        "Usage: hyperlight call [OPTION]... PROGRAM FUNCTION [JSON]...\n"
        "       hyperlight call [OPTION]... --list PROGRAM\n"
        "\n"
        "Starts a program that serves calls (see hyperlight/guest.h) in a micro VM of its own,\n"
        "calls one of its functions and prints the result as one line of JSON. What the program\n"
        "itself prints goes to standard error.\n"
        "\n"
        "      --list               print the names of the program's functions\n" LIMIT_OPTIONS_HELP
        "\n"
        "Each JSON argument is one value, strings with their quotes: '\"text\"'. Whole numbers\n"
        "are i32 if they fit, else i64, else u64; others are f64. A type can be named:\n"
        "{\"$u32\": 5}, {\"$i64\": 5}, {\"$u64\": \"5\"}, {\"$f32\": 0.5}, {\"$f64\": \"nan\"},\n"
        "{\"$bytes\": \"aGk=\"} (base64). Results are printed in the same way.\n"
        "\n"
        "Exit status: 0 with a result; 1 if the function failed; 128+n if the program died of\n"
        "signal n or this tool was stopped by it (130 after Ctrl-C); 124 if it ran out of time;\n"
        "137 if it went over another limit; 125 if it could not be called.\n",
        "10s", "64M");
    return report_finish(STATUS_OK, STATUS_TOOL);
}

/* The caller of the tool gets the result alone: what the guest prints to stdout goes to stderr. */
static bool take_stdout(struct call_request *request)
{
    request->out = system_take_stdout();
    if (request->out)
        return true;
    report_error("cannot redirect standard output: %s", strerror(errno));
    return false;
}

static int close_stdout(FILE *out, int status)
{
    bool failed = ferror(out) != 0;
    if (fclose(out) == 0 && !failed)
        return status;
    report_error("cannot write to standard output: %s", strerror(errno));
    return STATUS_TOOL;
}

static bool read_arguments(struct call_request *request, char **texts, size_t count)
{
    char why[256];
    if (count > HL_PARAMETERS_MAX) {
        report_error("%zu arguments are too many; a call takes at most %d", count,
                     HL_PARAMETERS_MAX);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        request->count = i + 1;
        if (json_argument_read(texts[i], &request->arguments[i], why, sizeof why))
            continue;
        report_error("argument %zu (%.60s) is not usable: %s", i + 1, texts[i], why);
        return false;
    }
    return true;
}

static int print_exports(struct call_request *request, hl_sandbox *sandbox, hl_error *err)
{
    const char *const *names;
    size_t count;
    if (hl_sandbox_exports(sandbox, &names, &count, err) != HL_OK)
        return session_failed(err);
    for (size_t i = 0; i < count; i++) {
        char name[4 * HL_NAME_MAX + 8];
        report_escape(name, sizeof name, names[i]);
        fprintf(request->out, "%s\n", name);
    }
    return STATUS_OK;
}

/*
 * A run ends with "invalid argument" and a sandbox that is ready if the program serves calls: that
 * starts it, and Ctrl-C reaches it.
 */
static int list_functions(struct call_request *request, struct session *session, const char *name)
{
    hl_error err = HL_ERROR_INIT;
    int exit_code = 0;
    hl_status status = hl_sandbox_run(session->sandbox, &exit_code, &err);
    if (status == HL_OK) {
        report_error("'%s' serves no calls: it exited with status %d", name, exit_code);
        return STATUS_TOOL;
    }
    if (hl_sandbox_status(session->sandbox) != HL_SANDBOX_READY)
        return session_failed(&err);
    return print_exports(request, session->sandbox, &err);
}

static int call_function(struct call_request *request, struct session *session, char **words)
{
    hl_value arguments[HL_PARAMETERS_MAX];
    hl_value reply = hl_value_null();
    hl_error err = HL_ERROR_INIT;
    for (size_t i = 0; i < request->count; i++)
        arguments[i] = request->arguments[i].value;
    hl_status status =
        hl_sandbox_call(session->sandbox, words[1], arguments, request->count, &reply, &err);
    if (status != HL_OK)
        return session_failed(&err);
    json_write(request->out, &reply);
    fputc('\n', request->out);
    hl_value_free(&reply);
    return STATUS_OK;
}

/* `words`: the program and, unless functions are to be listed, the function and its arguments. */
static int call_words(struct call_request *request, char **words, size_t count)
{
    char *program[] = {words[0], NULL};
    struct session session = {0};
    hl_error err = HL_ERROR_INIT;
    int status;
    if (!request->list && !read_arguments(request, words + 2, count - 2))
        return STATUS_TOOL;
    if (!take_stdout(request))
        return STATUS_TOOL;
    if (session_open(&session, &request->limits, program, &err) != HL_OK)
        status = session_failed(&err);
    else if (request->list)
        status = list_functions(request, &session, words[0]);
    else
        status = call_function(request, &session, words);
    if (request->limits.stats)
        session_print_stats(&session);
    session_close(&session);
    return close_stdout(request->out, status);
}

static int call_with(struct call_request *request, int argc, char **argv)
{
    int option;
    while ((option = getopt_long(argc, argv, "+:h", call_options, NULL)) != -1) {
        if (option == 'h')
            return print_help();
        if (option == OPTION_LIST)
            request->list = true;
        else if (!limits_take(&request->limits, option, argv))
            return STATUS_TOOL;
    }
    int words = argc - optind;
    if (words < 1 || (request->list ? words != 1 : words < 2)) {
        report_error("%s; see 'hyperlight call --help'",
                     words < 1       ? "no program given"
                     : request->list ? "--list takes a program and nothing else"
                                     : "no function given");
        return STATUS_TOOL;
    }
    return call_words(request, argv + optind, (size_t)words);
}

int verb_call(int argc, char **argv)
{
    static struct call_request request;
    if (!limits_init(&request.limits, argc, 0, 0))
        return STATUS_TOOL;
    int status = call_with(&request, argc, argv);
    for (size_t i = 0; i < request.count; i++)
        json_argument_free(&request.arguments[i]);
    limits_free(&request.limits);
    return status;
}
