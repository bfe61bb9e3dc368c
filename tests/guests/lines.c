/*
 * Serves calls through /dev/hyperlight as lines of JSON, without any JSON of its own: it looks for words
 * and moves text. Argument: lines that it writes before its first read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int device;
static char *line;
static size_t line_capacity;
static unsigned counter, vectors_lost;

/* A read whose vector registers must be what they were afterwards, wherever the sandbox wakes up. */
static ssize_t read_device(char *to, size_t size)
{
    static const uint64_t pattern[2] = {0x0123456789abcdef, 0xfedcba9876543210};
    uint64_t after[2];
    long result;

    __asm__ volatile("movdqu %2, %%xmm13\n\t"
                     "syscall\n\t"
                     "movdqu %%xmm13, %1"
                     : "=a"(result), "=m"(after)
                     : "m"(pattern), "0"(0L), "D"((long)device), "S"(to), "d"(size)
                     : "rcx", "r11", "xmm13", "memory");
    vectors_lost += memcmp(pattern, after, sizeof pattern) != 0;
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

/* One line without its newline, in reads of a size. */
static void read_line(size_t piece)
{
    size_t size = 0;

    for (;;) {
        ssize_t got;

        if (size + piece + 1 > line_capacity)
            line = realloc(line, line_capacity = 2 * (size + piece + 1));
        got = read_device(line + size, piece);
        if (got <= 0) {
            fprintf(stderr, "read: %s\n", strerror(errno));
            exit(3);
        }
        size += (size_t)got;
        if (line[size - 1] == '\n')
            break;
    }
    line[size - 1] = '\0';
}

static void write_all(const char *text, size_t size)
{
    while (size) {
        ssize_t written = write(device, text, size);

        if (written < 0) {
            fprintf(stderr, "write: %s\n", strerror(errno));
            exit(4);
        }
        text += written;
        size -= (size_t)written;
    }
}

static void say(const char *text)
{
    write_all(text, strlen(text));
}

/* The argument "..." of the line as it was before it was escaped; the host test escapes as little. */
static size_t raw_argument(char *to)
{
    const char *from = strstr(line, "\"args\":[\"") + 9;
    char *at = to;

    for (; *from != '"'; from++) {
        if (*from != '\\') {
            *at++ = *from;
        } else if (*++from == 'n') {
            *at++ = '\n';
        } else if (*from == 'u') {
            char digits[5] = {from[1], from[2], from[3], from[4]};

            *at++ = (char)strtoul(digits, NULL, 16);
            from += 4;
        } else {
            *at++ = *from;
        }
    }
    return (size_t)(at - to);
}

/* Writes the raw argument in pieces. A refusal becomes the reply. */
static void serve_raw(size_t piece)
{
    char *text = malloc(strlen(line) + 1), reply[64];
    size_t size = raw_argument(text);

    for (size_t at = 0; at < size;) {
        ssize_t written = write(device, text + at, size - at < piece ? size - at : piece);

        if (written < 0) {
            snprintf(reply, sizeof reply, "{\"error\":\"errno %d\"}\n", errno);
            say(reply);
            break;
        }
        at += (size_t)written;
    }
    free(text);
}

/* The raw argument is a host call; what comes back is the reply. */
static void serve_host(size_t piece)
{
    char *text = malloc(strlen(line) + 1);

    write_all(text, raw_argument(text));
    free(text);
    read_line(piece);
    say("{\"result\":[");
    write_all(line, strlen(line));
    say("]}\n");
}

static void serve_echo(void)
{
    char *start = strstr(line, "\"args\":") + 7, *end = strrchr(line, '}');
    struct iovec pieces[3] = {{"{\"result\":", 10}, {start, 0}, {"}\n", 2}};

    pieces[1].iov_len = (size_t)(end - start);
    if (end - start > 1000) {
        say("{\"result\":");
        write_all(start, (size_t)(end - start));
        say("}\n");
    } else if (writev(device, pieces, 3) != (ssize_t)(end - start) + 12) {
        exit(5);
    }
}

static int is_call(const char *name)
{
    char start[64];

    snprintf(start, sizeof start, "{\"call\":\"%s\",", name);
    return strncmp(line, start, strlen(start)) == 0;
}

static void serve_number(unsigned number)
{
    char text[64];

    snprintf(text, sizeof text, "{\"result\":%u}\n", number);
    say(text);
}

static void serve(void)
{
    if (is_call("echo"))
        serve_echo();
    else if (is_call("raw"))
        serve_raw(SIZE_MAX);
    else if (is_call("raw bytes"))
        serve_raw(1);
    else if (is_call("host"))
        serve_host(4096);
    else if (is_call("host bytes"))
        serve_host(1);
    else if (is_call("count"))
        serve_number(++counter);
    else if (is_call("vectors"))
        serve_number(vectors_lost);
    else if (is_call("spin"))
        for (;;)
            __asm__ volatile("");
    else if (is_call("exit"))
        exit(7);
    else if (is_call("restored"))
        serve_number(strstr(line, "\"restored\":true}") != NULL);
    else if (!is_call("nothing"))
        say("{\"error\":\"no such function\"}\n");
}

int main(int argc, char **argv)
{
    size_t piece = 4096;

    device = open("/dev/hyperlight", O_RDWR);
    if (device < 0)
        return 2;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "bytes") == 0)
            piece = 1;
        else
            say(argv[i]);
    }
    for (;;) {
        read_line(piece);
        serve();
    }
}
