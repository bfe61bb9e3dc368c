#include <hyperlight/hyperlight.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    const hl_sandbox_options options = {
        .size = sizeof options,
        .memory_size = 16 << 20, /* bytes: all that the guest has */
        .timeout_ns = 100000000, /* 0.1 s for each call */
    };
    const hl_value name = hl_value_string(argc > 2 ? argv[2] : "world");
    hl_program *program = NULL;
    hl_sandbox *sandbox = NULL;
    hl_value reply = hl_value_null();
    hl_error err = HL_ERROR_INIT;

    if (hl_program_open(argc > 1 ? argv[1] : "guest", NULL, &program, &err) ||
        hl_sandbox_new(program, &options, &sandbox, &err) ||
        hl_sandbox_call(sandbox, "greet", &name, 1, &reply, &err))
        fprintf(stderr, "%s: %s\n", hl_status_name(err.status), err.message);
    else if (reply.type == HL_TYPE_STRING) /* what a reply is, the guest decides */
        printf("%s\n", reply.as.string.data);

    hl_value_free(&reply);
    hl_sandbox_free(sandbox);
    hl_program_free(program);
    return err.status != HL_OK;
}
