/* A program's name, arguments and environment. */
#ifndef HL_PROGRAM_STRINGS_H
#define HL_PROGRAM_STRINGS_H

#include "program/program.h"

/* What messages call the program: `name`, else the last part of `path`, else "program"; escaped. */
hl_status hl__program_name_set(hl_program *program, const char *name, const char *path,
                               hl_error *err);

/* Copies argv, environment, path and directory within their limits. Without arguments argv is the name
 * alone; in an image, the path there alone, or nothing if that is NULL. */
hl_status hl__program_strings_set(hl_program *program, const hl_program_options *options,
                                  const char *path, bool in_image, hl_error *err);

#endif
