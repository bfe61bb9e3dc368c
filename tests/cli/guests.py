"""Sources of the guests that several tests use."""

HELLO = r"""
#include <stdio.h>
int main(void) { puts("hello"); return 0; }
"""

# Prints its arguments and environment, one a line, and copies stdin to stdout.
ECHO = r"""
#include <stdio.h>
#include <string.h>
extern char **environ;
int main(int argc, char **argv)
{
    char buffer[4096];
    size_t size;
    for (int i = 0; i < argc; i++)
        printf("argument %d %s\n", i, argv[i]);
    for (char **variable = environ; *variable; variable++)
        printf("variable %s\n", *variable);
    while ((size = fread(buffer, 1, sizeof buffer, stdin)) > 0)
        fwrite(buffer, 1, size, stdout);
    return 0;
}
"""

LOOP = r"""
#include <stdio.h>
int main(void)
{
    puts("looping");
    fflush(stdout);
    for (volatile int turn = 0;; turn++) { }
}
"""

# Functions for `hyperlight call`.
PLUGIN = r"""
#include <hyperlight/guest.h>
#include <stdio.h>
#include <stdlib.h>

static hl_status echo(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)user;
    if (count != 1)
        return hl_guest_fail("echo takes 1 argument, got %zu", count);
    *reply = arguments[0];
    return HL_OK;
}

static hl_status list(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)user;
    *reply = hl_value_list(arguments, count);
    return HL_OK;
}

static hl_status type(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    static const char *const names[] = {"null", "bool", "i32", "u32", "i64", "u64",
                                        "f32", "f64", "string", "bytes", "list", "map"};
    (void)count;
    (void)user;
    *reply = hl_value_string(names[arguments[0].type]);
    return HL_OK;
}

static hl_status fail(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)arguments, (void)count, (void)reply, (void)user;
    return hl_guest_fail("cannot do \033[31mthat\033[0m");
}

static hl_status add(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)count, (void)user;
    *reply = hl_value_i32(arguments[0].as.i32 + arguments[1].as.i32);
    return HL_OK;
}

static hl_status speak(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)arguments, (void)count, (void)user;
    puts("on stdout");
    fflush(stdout);
    *reply = hl_value_bool(true);
    return HL_OK;
}

static hl_status misbehave(const hl_value *arguments, size_t count, hl_value *reply, void *user)
{
    (void)count, (void)reply, (void)user;
    switch (arguments[0].as.i32) {
    case 0:
        exit(7);
    case 1:
        abort();
    case 2:
        *(volatile int *)16 = 1;
    }
    for (volatile int turn = 0;; turn++) { }
}

int main(void)
{
    static const hl_type numbers[] = {HL_TYPE_I32, HL_TYPE_I32};
    static const hl_signature sum = {numbers, 2, HL_TYPE_I32};
    hl_guest_export("echo", echo, NULL);
    hl_guest_export("list", list, NULL);
    hl_guest_export("type", type, NULL);
    hl_guest_export("fail", fail, NULL);
    hl_guest_export("speak", speak, NULL);
    hl_guest_export("misbehave", misbehave, NULL);
    hl_guest_export_typed("add", &sum, add, NULL);
    return hl_guest_serve();
}
"""
