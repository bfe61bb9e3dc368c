/*
 * What the files of the `hyperlight` tool share: verbs, exit statuses, messages, options, a running
 * sandbox. The tool uses the installed public headers only, as any host application would.
 */
#ifndef HYPERLIGHT_CLI_H
#define HYPERLIGHT_CLI_H

#include <getopt.h>
#include <hyperlight/hyperlight.h>
#include <stdio.h>

/* Exit statuses of the tool; those of a program that ends of itself are passed through. */
enum {
    STATUS_OK = 0,
    STATUS_FAILED = 1, /* The guest function failed; doctor and selftest: it does not work here. */
    STATUS_USAGE = 2,  /* Wrong usage of a verb that runs no program. */
    STATUS_TIMED_OUT = 124,  /* The deadline passed or the CPU time is spent. */
    STATUS_TOOL = 125,       /* The tool's own errors, wrong usage of run and call included. */
    STATUS_SIGNAL_BASE = 128 /* Plus the number of the signal that ended the program or the tool. */
};

/* Signals of Linux, as in the statuses of programs that die of them. */
enum { SIGNAL_KILL = 9, SIGNAL_PIPE = 13 };

/* Verbs: argv[0] is the verb's name. */
int verb_run(int argc, char **argv);
int verb_call(int argc, char **argv);
int verb_image(int argc, char **argv);
int verb_pack(int argc, char **argv);
int verb_doctor(int argc, char **argv);
int verb_selftest(int argc, char **argv);

/* report.c: everything that goes to stderr. Text is escaped, whoever it came from. */
void report_error(const char *format, ...) HL_PRINTF(1, 2);
void report_text(const char *format, ...) HL_PRINTF(1, 2);
void report_log(hl_log_level level, hl_log_source source, const char *line, void *user);
size_t report_escape(char *out, size_t capacity, const char *text);

/* Flushes stdout; a failure (disk full) is reported. Returns `status`, or `failed` in its place. */
int report_finish(int status, int failed);

/* options.c: what `run` and `call` have in common. */
struct limits {
    hl_sandbox_options sandbox;
    const char *driver;
    hl_log_level log_level;
    bool stats;
    const char *root;         /* image, or NULL */
    const char *directory;    /* in it, or NULL */
    bool host_program;        /* the program is a file of this machine all the same */
    const char **environment; /* NULL-terminated; the strings are those of argv and environ. */
};

enum {
    OPTION_MEMORY = 256,
    OPTION_TIMEOUT,
    OPTION_CPU_TIME,
    OPTION_ENV,
    OPTION_STATS,
    OPTION_TRACE,
    OPTION_OUTPUT_LIMIT,
    OPTION_DRIVER,
    OPTION_LOG,
    OPTION_ROOT,
    OPTION_DIRECTORY,
    OPTION_HOST_PROGRAM,
    OPTION_LIST,
    OPTION_JSON
};

/* clang-format off */
#define LIMIT_OPTIONS                                           \
    {"memory", required_argument, NULL, OPTION_MEMORY},         \
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},       \
    {"cpu-time", required_argument, NULL, OPTION_CPU_TIME},     \
    {"env", required_argument, NULL, OPTION_ENV},               \
    {"root", required_argument, NULL, OPTION_ROOT},             \
    {"directory", required_argument, NULL, OPTION_DIRECTORY},   \
    {"host-program", no_argument, NULL, OPTION_HOST_PROGRAM},   \
    {"stats", no_argument, NULL, OPTION_STATS},                 \
    {"trace", no_argument, NULL, OPTION_TRACE},                 \
    {"output-limit", required_argument, NULL, OPTION_OUTPUT_LIMIT}, \
    {"driver", required_argument, NULL, OPTION_DRIVER},         \
    {"log", required_argument, NULL, OPTION_LOG},               \
    {"help", no_argument, NULL, 'h'}
/* clang-format on */

#define LIMIT_OPTIONS_HELP                                                                         \
    "      --memory SIZE        memory of the micro VM (default 64M, the library's)\n"             \
    "      --timeout TIME       stop it after this much time, status 124 (default %s)\n"           \
    "      --cpu-time TIME      stop it after this much CPU time, status 124 (default none)\n"     \
    "      --output-limit SIZE  stop it after this much output, status 137 (default %s)\n"         \
    "      --env NAME=VALUE     set a variable; it gets no others\n"                               \
    "      --env NAME           pass on a variable of this environment\n"                          \
    "      --root IMAGE         its files: an image (see 'hyperlight image'); PROGRAM is one\n"    \
    "                           of them, looked for along the image's PATH if without slash\n"     \
    "      --host-program       PROGRAM is a file of this machine, in spite of --root\n"           \
    "      --directory DIR      its working directory (default the image's, or /)\n"               \
    "      --stats              print what the run cost, on stderr\n"                              \
    "      --trace              print each system call on stderr, as strace does\n"                \
    "      --driver NAME        hypervisor to use (see 'hyperlight doctor')\n"                     \
    "      --log LEVEL          none, error, warn (default), info, debug or trace\n"               \
    "  -h, --help               print this help\n"                                                 \
    "\n"                                                                                           \
    "SIZE: bytes, or with K, M, G (as in 512M). TIME: seconds, or with ns, us, ms, s, m, h (as\n"  \
    "in 200ms). 'none' lifts a limit of time or output.\n"

/* Defaults of a verb; `argc` bounds the number of --env options. False: out of memory, reported. */
bool limits_init(struct limits *limits, int argc, uint64_t timeout_ns, uint64_t output_size_max);
void limits_free(struct limits *limits);

/* Takes one of LIMIT_OPTIONS other than help, or getopt's error. False: reported. */
bool limits_take(struct limits *limits, int option, char **argv);

/* Says what is wrong with the option that getopt_long() answered with '?' or ':'. */
void option_refused(int option, char **argv);

/* "64M" to bytes, "200ms" to nanoseconds. False if it is none, zero or too large. */
bool parse_size(const char *text, uint64_t *size);
bool parse_duration(const char *text, uint64_t *duration_ns);

/* session.c: one sandbox from its options to its end. */
struct session {
    hl_context *context;
    hl_image *root;
    hl_program *program;
    hl_sandbox *sandbox;
    hl_interrupt_handle *handle;
};

/* `arguments`: NULL-terminated, the program's path first; none: what the image says. The program does
 * not run yet. */
hl_status session_open(struct session *session, const struct limits *limits, char **arguments,
                       hl_error *err);
void session_close(struct session *session);
void session_print_stats(const struct session *session);

/* Reports a failure, unless it is one that a native program has in silence; gives the exit status. */
int session_failed(const hl_error *err);

/* interrupt.c: Ctrl-C and its like. */
void interrupt_watch(hl_interrupt_handle *handle);
void interrupt_unwatch(void);
int interrupt_signal(void);

/* json_read.c: one JSON text to a value. */
struct json_argument {
    hl_value value;
    void *root;   /* Owns the strings. */
    void *blocks; /* Owns lists, maps and bytes. */
};

/* False: `why` says what is wrong. Release with json_argument_free() in either case. */
bool json_argument_read(const char *text, struct json_argument *argument, char *why,
                        size_t why_size);
void json_argument_free(struct json_argument *argument);

/* json_write.c: a value as one line of JSON without the newline. */
void json_write(FILE *out, const hl_value *value);

/* base64.c. Sizes: base64_decode() needs 3 bytes for each 4 characters. */
void base64_write(FILE *out, const unsigned char *data, size_t size);
bool base64_decode(const char *text, size_t length, unsigned char *data, size_t *size);

#endif
