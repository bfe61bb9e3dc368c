/* A host application that makes an image: IMAGE of DIRECTORY. */
#include <hyperlight/prepare.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    hl_error err = HL_ERROR_INIT;
    if (argc == 3 && hl_prepare_file(argv[1], argv[2], NULL, &err) == HL_OK)
        return 0;
    fprintf(stderr, "%s\n", err.message);
    return 1;
}
