/* Serves calls through /dev/hyperlight in frames: the messages of the boundary as they are. */
#include <errno.h>
#include <fcntl.h>
#include <hyperlight/abi/wire.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RESULT = 1, ERROR = 2, HOST = 3, CALL = 4 };
enum { TYPE_STRING = 8, TYPE_LIST = 10 };

struct frame {
    uint32_t kind, flags;
    uint64_t size;
};

static int device;

static void read_all(void *to, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = read(device, (char *)to + done, size - done);

        if (got <= 0)
            exit(3);
        done += (size_t)got;
    }
}

static void write_all(const void *from, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t written = write(device, (const char *)from + done, size - done);

        if (written <= 0)
            exit(4);
        done += (size_t)written;
    }
}

static char *read_frame(struct frame *frame)
{
    char *message;

    read_all(frame, sizeof *frame);
    message = malloc(frame->size);
    read_all(message, frame->size);
    return message;
}

/* A frame of a head and some more bytes. */
static void write_frame(uint32_t kind, uint32_t wire_kind, uint32_t count, const void *value,
                        size_t value_size, const void *more, size_t more_size)
{
    struct hl_wire_head head = {wire_kind, count, sizeof head + value_size + more_size};
    struct frame frame = {kind, 0, head.size};

    write_all(&frame, sizeof frame);
    write_all(&head, sizeof head);
    write_all(value, value_size);
    write_all(more, more_size);
}

/* `items`: the arguments, `count` of them. */
static void echo(const char *items, size_t size, uint32_t count)
{
    struct hl_wire_value list = {.type = TYPE_LIST, .data = count};

    write_frame(RESULT, HL_WIRE_VALUE, 1, &list, sizeof list, items, size);
}

/* The first argument is the name of a host function, the others are its arguments. */
static void call_host(const char *items, size_t size, uint32_t count)
{
    struct frame answer;
    char *message;

    write_frame(HOST, HL_WIRE_CALL, count - 1, items, size, NULL, 0);
    message = read_frame(&answer);
    write_all(&answer, sizeof answer);
    write_all(message, answer.size);
    free(message);
}

static void fail(const char *text)
{
    struct hl_wire_value string = {.type = TYPE_STRING, .data = strlen(text)};
    char padded[64] = {0};

    memcpy(padded, text, strlen(text));
    write_frame(ERROR, HL_WIRE_VALUE, 1, &string, sizeof string, padded,
                (strlen(text) + 8) & ~(size_t)7);
}

/* An argument by reference: the host fetches it from here. */
static void refer(void)
{
    static char large[1 << 20];
    struct hl_wire_value string = {
        .type = TYPE_STRING, .flags = HL_WIRE_REFERENCE, .data = sizeof large};
    const char *address = large;

    memset(large, 'x', sizeof large);
    write_frame(RESULT, HL_WIRE_VALUE, 1, &string, sizeof string, &address, sizeof address);
}

static void garbage(void)
{
    struct frame wrong = {99, 0, 8};
    char text[64];
    struct frame endless = {RESULT, 0, UINT64_MAX};
    ssize_t first = write(device, &wrong, sizeof wrong);
    ssize_t second = write(device, &endless, sizeof endless);

    snprintf(text, sizeof text, "%d %d %d", (int)first, (int)second, errno);
    fail(text);
}

static void serve(const char *message)
{
    struct hl_wire_head head;
    struct hl_wire_value name;
    const char *text = message + sizeof head + sizeof name, *items;
    size_t size;

    memcpy(&head, message, sizeof head);
    memcpy(&name, message + sizeof head, sizeof name);
    items = text + ((name.data + 8) & ~(uint64_t)7);
    size = (size_t)(message + head.size - items);
    if (strcmp(text, "echo") == 0)
        echo(items, size, head.count);
    else if (strcmp(text, "host") == 0)
        call_host(items, size, head.count);
    else if (strcmp(text, "refer") == 0)
        refer();
    else if (strcmp(text, "garbage") == 0)
        garbage();
    else if (strcmp(text, "malformed") == 0)
        write_frame(RESULT, HL_WIRE_VALUE, 1, "12345678", 8, NULL, 0);
    else if (strcmp(text, "nothing") != 0)
        fail("no such function");
}

int main(void)
{
    device = open("/dev/hyperlight", O_RDWR);
    if (device < 0)
        return 2;
    write_all("\0HLWIRE1", 8);
    for (;;) {
        struct frame frame;
        char *message = read_frame(&frame);

        if (frame.kind == CALL)
            serve(message);
        free(message);
    }
}
