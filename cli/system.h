/* What the tool needs of the operating system beside the library: linux/system.c, windows/system.c. */
#ifndef HYPERLIGHT_CLI_SYSTEM_H
#define HYPERLIGHT_CLI_SYSTEM_H

#include <stdbool.h>
#include <stdio.h>

/* At the start of main(): makes arguments UTF-8 and standard streams safe to use. */
bool system_prepare(int *argc, char ***argv);

bool system_file_exists(const char *path);

/* Standard output to write to; what others print there goes to standard error from now on. NULL and
 * errno if that fails. */
FILE *system_take_stdout(void);

#endif
