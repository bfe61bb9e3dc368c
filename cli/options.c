/* Options that `run` and `call` share, and how sizes and durations are written. */
#include "cli.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

struct unit {
    const char *name;
    uint64_t scale;
};

static const struct unit size_units[] = {
    {"", 1},
    {"K", UINT64_C(1) << 10},
    {"M", UINT64_C(1) << 20},
    {"G", UINT64_C(1) << 30},
    {"KiB", UINT64_C(1) << 10},
    {"MiB", UINT64_C(1) << 20},
    {"GiB", UINT64_C(1) << 30},
    {NULL, 0},
};

static const struct unit duration_units[] = {
    {"", UINT64_C(1000000000)},     {"ns", 1},
    {"us", UINT64_C(1000)},         {"ms", UINT64_C(1000000)},
    {"s", UINT64_C(1000000000)},    {"m", UINT64_C(60000000000)},
    {"h", UINT64_C(3600000000000)}, {NULL, 0},
};

/* Digits at *text, at most `digits_max`, as a number; moves *text behind them. */
static bool take_digits(const char **text, int digits_max, uint64_t *number, int *digits)
{
    *number = 0;
    for (*digits = 0; isdigit((unsigned char)**text); ++*digits, ++*text) {
        if (*digits == digits_max)
            return false;
        *number = *number * 10 + (uint64_t)(**text - '0');
    }
    return true;
}

/* A decimal number, with at most six digits behind the point, and a unit. */
static bool parse_scaled(const char *text, const struct unit *unit, uint64_t *result)
{
    uint64_t whole, fraction = 0, divisor = 1;
    int digits;
    if (!take_digits(&text, 18, &whole, &digits) || digits == 0)
        return false;
    if (*text == '.') {
        text++;
        if (!take_digits(&text, 6, &fraction, &digits) || digits == 0)
            return false;
        while (digits-- > 0)
            divisor *= 10;
    }
    while (unit->name && strcmp(unit->name, text) != 0)
        unit++;
    uint64_t product;
    return unit->name && !__builtin_mul_overflow(whole, unit->scale, &product) &&
           !__builtin_add_overflow(product, fraction * unit->scale / divisor, result) &&
           *result != 0 && *result != HL_UNLIMITED;
}

bool parse_size(const char *text, uint64_t *size)
{
    return parse_scaled(text, size_units, size);
}

bool parse_duration(const char *text, uint64_t *duration_ns)
{
    return parse_scaled(text, duration_units, duration_ns);
}

static bool take_memory(const char *text, uint64_t *size)
{
    if (!parse_size(text, size)) {
        report_error("--memory: '%s' is not a size; write bytes, or 512K, 64M, 2G", text);
        return false;
    }
    if (*size < HL_MEMORY_SIZE_MIN || *size > HL_MEMORY_SIZE_MAX) {
        report_error("--memory: '%s' is out of range; it goes from %" PRIu64 "M to %" PRIu64 "G",
                     text, (uint64_t)HL_MEMORY_SIZE_MIN >> 20, (uint64_t)HL_MEMORY_SIZE_MAX >> 30);
        return false;
    }
    return true;
}

static bool take_duration(const char *option, const char *text, uint64_t *duration_ns)
{
    if (strcmp(text, "none") == 0)
        *duration_ns = HL_UNLIMITED;
    else if (!parse_duration(text, duration_ns)) {
        report_error("%s: '%s' is not a time; write seconds, or 200ms, 1.5s, 10m, or 'none'",
                     option, text);
        return false;
    }
    return true;
}

static bool take_output_limit(const char *text, uint64_t *size)
{
    if (strcmp(text, "none") == 0)
        *size = HL_UNLIMITED;
    else if (!parse_size(text, size)) {
        report_error("--output-limit: '%s' is not a size; write bytes, or 64K, 1M, or 'none'",
                     text);
        return false;
    }
    return true;
}

static bool take_log_level(const char *text, hl_log_level *level)
{
    static const struct {
        const char *name;
        hl_log_level level;
    } levels[] = {
        {"none", HL_LOG_NONE}, {"error", HL_LOG_ERROR}, {"warn", HL_LOG_WARN},
        {"info", HL_LOG_INFO}, {"debug", HL_LOG_DEBUG}, {"trace", HL_LOG_TRACE},
    };
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (strcmp(levels[i].name, text) == 0) {
            *level = levels[i].level;
            return true;
        }
    }
    report_error("--log: '%s' is not a level; it is one of none, error, warn, info, debug, trace",
                 text);
    return false;
}

static const char *find_variable(const char *name, size_t length)
{
    for (char **variable = environ; *variable; variable++) {
        if (strncmp(*variable, name, length) == 0 && (*variable)[length] == '=')
            return *variable;
    }
    return NULL;
}

/* A variable that is given twice keeps its place and gets the last value, as in a shell. */
static void set_variable(const char **environment, const char *variable, size_t name_length)
{
    while (*environment && strncmp(*environment, variable, name_length + 1) != 0)
        environment++;
    *environment = variable;
}

/* A variable that is to be passed on and is not set stays unset, as it would natively. */
static bool take_variable(const char **environment, const char *text)
{
    size_t length = strcspn(text, "=");
    if (length == 0) {
        report_error("--env: '%s' has no name; write NAME=VALUE, or NAME to pass it on", text);
        return false;
    }
    const char *variable = text[length] == '=' ? text : find_variable(text, length);
    if (variable)
        set_variable(environment, variable, length);
    return true;
}

bool limits_init(struct limits *limits, int argc, uint64_t timeout_ns, uint64_t output_size_max)
{
    hl_stream inherit = {.mode = HL_STREAM_INHERIT};
    *limits = (struct limits){
        .sandbox = {.size = sizeof limits->sandbox,
                    .timeout_ns = timeout_ns,
                    .start_timeout_ns = timeout_ns,
                    .output_size_max = output_size_max,
                    .stdin_stream = inherit,
                    .stdout_stream = inherit,
                    .stderr_stream = inherit},
        .environment = calloc((size_t)argc + 1, sizeof *limits->environment),
    };
    if (!limits->environment)
        report_error("out of memory");
    return limits->environment != NULL;
}

void limits_free(struct limits *limits)
{
    free(limits->environment);
}

void option_refused(int option, char **argv)
{
    const char *given = argv[optind - 1];
    bool is_long = strncmp(given, "--", 2) == 0;
    char letter[3] = {'-', (char)optopt, '\0'};
    /* Some C libraries answer ':' also where a value is too much. */
    if (option == ':' && !(is_long && strchr(given, '=')))
        report_error("option '%s' needs a value; see 'hyperlight %s --help'", given, argv[0]);
    else if (is_long && optopt != 0)
        report_error("option '%s' takes no value; see 'hyperlight %s --help'", given, argv[0]);
    else
        report_error("unknown option '%s'; see 'hyperlight %s --help'", is_long ? given : letter,
                     argv[0]);
}

bool limits_take(struct limits *limits, int option, char **argv)
{
    hl_sandbox_options *sandbox = &limits->sandbox;
    switch (option) {
    case OPTION_MEMORY:
        return take_memory(optarg, &sandbox->memory_size);
    case OPTION_TIMEOUT:
        if (!take_duration("--timeout", optarg, &sandbox->timeout_ns))
            return false;
        sandbox->start_timeout_ns = sandbox->timeout_ns;
        return true;
    case OPTION_CPU_TIME:
        return take_duration("--cpu-time", optarg, &sandbox->cpu_time_ns);
    case OPTION_OUTPUT_LIMIT:
        return take_output_limit(optarg, &sandbox->output_size_max);
    case OPTION_ENV:
        return take_variable(limits->environment, optarg);
    case OPTION_ROOT:
        limits->root = optarg;
        return true;
    case OPTION_DIRECTORY:
        limits->directory = optarg;
        return true;
    case OPTION_HOST_PROGRAM:
        return limits->host_program = true;
    case OPTION_STATS:
        return limits->stats = true;
    case OPTION_TRACE:
        return sandbox->trace = true;
    case OPTION_DRIVER:
        limits->driver = optarg;
        return true;
    case OPTION_LOG:
        return take_log_level(optarg, &limits->log_level);
    default:
        option_refused(option, argv);
        return false;
    }
}
