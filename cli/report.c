/* Messages of the tool: one place through which everything goes to stderr, one line at a time. */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* Longest escaped line: every byte of a log line or message can become \xNN. */
#define LINE_MAX_SIZE (4 * HL_LOG_LINE_MAX + 64)

/* Length of the valid UTF-8 sequence at `text`, 0 if there is none. */
static size_t utf8_length(const unsigned char *text)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (text[0] < 0x80)
        return 1;
    size_t length = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    if (text[0] < 0xc2 || text[0] > 0xf4)
        return 0;
    uint32_t code = text[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3fu);
    }
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < smallest[length] || code > 0x10ffff || surrogate ? 0 : length;
}

/* Whether a terminal shows the character instead of obeying it: no C0, DEL or C1. */
static bool is_harmless(const unsigned char *text, size_t length)
{
    if (length == 1)
        return text[0] >= 0x20 && text[0] != 0x7f;
    return length != 0 && !(text[0] == 0xc2 && text[1] < 0xa0);
}

/* Copies `text` with control characters and invalid UTF-8 as \xNN. Returns the length. */
size_t report_escape(char *out, size_t capacity, const char *text)
{
    const unsigned char *in = (const unsigned char *)text;
    size_t used = 0;
    while (*in && used + 5 <= capacity) {
        size_t length = utf8_length(in);
        if (is_harmless(in, length)) {
            memcpy(out + used, in, length);
            used += length;
            in += length;
        } else {
            used += (size_t)snprintf(out + used, 5, "\\x%02x", *in++);
        }
    }
    out[used] = '\0';
    return used;
}

/* One write for a line, so that lines of several threads and processes do not mix. */
static void print_line(const char *prefix, const char *text)
{
    char line[LINE_MAX_SIZE];
    size_t used = (size_t)snprintf(line, sizeof line, "%s", prefix);
    used += report_escape(line + used, sizeof line - used - 1, text);
    line[used++] = '\n';
    fwrite(line, 1, used, stderr);
}

void report_error(const char *format, ...)
{
    char text[HL_LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_line("hyperlight: ", text);
}

void report_text(const char *format, ...)
{
    char text[HL_LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_line("", text);
}

void report_log(hl_log_level level, hl_log_source source, const char *line, void *user)
{
    static const char *const levels[] = {"", "error", "warning", "info", "debug", "trace"};
    static const char *const sources[] = {"host", "shim", "guest"};
    char prefix[64];
    bool known = level >= HL_LOG_ERROR && level <= HL_LOG_TRACE && source <= HL_LOG_GUEST;
    (void)user;
    snprintf(prefix, sizeof prefix, "hyperlight: %s: %s: ", known ? sources[source] : "?",
             known ? levels[level] : "?");
    print_line(prefix, line);
}

int report_finish(int status, int failed)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    report_error("cannot write to standard output: %s", strerror(errno));
    return failed;
}
