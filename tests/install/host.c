/* The smallest host application, built as a user would. */
#include <hyperlight/hyperlight.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    hl_error err = HL_ERROR_INIT;
    hl_program *program = NULL;
    hl_sandbox *sandbox = NULL;
    hl_value text = hl_value_string("hello");
    hl_value reply = hl_value_null();

    hl_status status = hl_program_open(argc > 1 ? argv[1] : "guest", NULL, &program, &err);
    if (status == HL_OK)
        status = hl_sandbox_new(program, NULL, &sandbox, &err);
    if (status == HL_OK)
        status = hl_sandbox_call(sandbox, "shout", &text, 1, &reply, &err);
    if (status == HL_OK)
        printf("%s\n", reply.as.string.data);
    else
        fprintf(stderr, "%s: %s\n", hl_status_name(status), err.message);

    hl_value_free(&reply);
    hl_sandbox_free(sandbox);
    hl_program_free(program);
    return status != HL_OK;
}
