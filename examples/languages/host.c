/*
 * A host application for the programs of this folder: they all export the same functions. It calls them,
 * lets them call back, and restores them. Exit status 0: all went as it should.
 *
 *     host PROGRAM          a static executable
 *     host --image IMAGE    what `hyperlight pack` made of a program in any language
 */
#include <ctype.h>
#include <hyperlight/hyperlight.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static hl_status upper(hl_call *call, const hl_value *arguments, size_t count, hl_value *reply,
                       void *user)
{
    char *text;
    (void)user;
    if (count != 1 || arguments[0].type != HL_TYPE_STRING)
        return hl_call_fail(call, "upper takes one string");
    text = hl_call_alloc(call, arguments[0].as.string.size);
    if (!text)
        return HL_OUT_OF_MEMORY;
    for (size_t i = 0; i < arguments[0].as.string.size; i++)
        text[i] = (char)toupper((unsigned char)arguments[0].as.string.data[i]);
    *reply = hl_value_string_n(text, arguments[0].as.string.size);
    return HL_OK;
}

static void need(hl_status status, const hl_error *err)
{
    if (status == HL_OK)
        return;
    fprintf(stderr, "host: %s\n", err->message);
    exit(1);
}

static hl_program *open_program(int argc, char **argv)
{
    hl_program *program = NULL;
    hl_error err = HL_ERROR_INIT;
    if (argc == 3 && strcmp(argv[1], "--image") == 0) {
        hl_image *image = NULL;
        need(hl_image_map(NULL, argv[2], NULL, &image, &err), &err);
        need(hl_program_from_image(image, NULL, NULL, &program, &err), &err);
        hl_image_free(image);
    } else if (argc == 2) {
        need(hl_program_open(argv[1], NULL, &program, &err), &err);
    } else {
        fprintf(stderr, "usage: host PROGRAM | host --image IMAGE\n");
        exit(2);
    }
    return program;
}

static hl_sandbox *start(hl_program *program)
{
    hl_host_functions *functions = NULL;
    hl_sandbox *sandbox = NULL;
    hl_error err = HL_ERROR_INIT;
    need(hl_host_functions_new(&functions, &err), &err);
    need(hl_host_functions_add(functions, "upper", NULL, upper, NULL, NULL, &err), &err);
    const hl_sandbox_options options = {
        .size = sizeof options, .host_functions = functions, .memory_size = UINT64_C(512) << 20};
    need(hl_sandbox_new(program, &options, &sandbox, &err), &err);
    hl_host_functions_free(functions);
    return sandbox;
}

static void call(hl_sandbox *sandbox, const char *function, const hl_value *arguments, size_t count,
                 const hl_value *expected)
{
    hl_value reply = hl_value_null();
    hl_error err = HL_ERROR_INIT;
    need(hl_sandbox_call(sandbox, function, arguments, count, &reply, &err), &err);
    if (!hl_value_equal(&reply, expected)) {
        fprintf(stderr, "host: %s returned something else than it should\n", function);
        exit(1);
    }
    hl_value_free(&reply);
}

static void call_count(hl_sandbox *sandbox, int expected)
{
    const hl_value number = hl_value_i32(expected);
    call(sandbox, "count", NULL, 0, &number);
}

int main(int argc, char **argv)
{
    hl_program *program = open_program(argc, argv);
    hl_sandbox *sandbox = start(program);
    hl_snapshot *snapshot = NULL;
    hl_error err = HL_ERROR_INIT;
    const hl_value numbers[] = {hl_value_i32(40), hl_value_i32(2)}, sum = hl_value_i32(42);
    const hl_value name = hl_value_string("w\xc3\xb6rld"),
                   greeting = hl_value_string("hello, w\xc3\xb6rld"),
                   quiet = hl_value_string("psst"), loud = hl_value_string("PSST");

    call(sandbox, "add", numbers, 2, &sum);
    call(sandbox, "greet", &name, 1, &greeting);
    call(sandbox, "shout", &quiet, 1, &loud);
    call_count(sandbox, 1);
    need(hl_sandbox_snapshot(sandbox, &snapshot, &err), &err);
    for (int round = 0; round < 3; round++) {
        call_count(sandbox, 2);
        call_count(sandbox, 3);
        need(hl_sandbox_restore(sandbox, snapshot, &err), &err);
    }
    if (hl_sandbox_call(sandbox, "add", &name, 1, NULL, &err) != HL_GUEST_ERROR) {
        fprintf(stderr, "host: a call that fails should say so\n");
        return 1;
    }
    call_count(sandbox, 2);
    call(sandbox, "shout", &quiet, 1, &loud);
    printf("%s\n", err.message);
    hl_sandbox_free(sandbox);
    hl_snapshot_free(snapshot);
    hl_program_free(program);
    return 0;
}
