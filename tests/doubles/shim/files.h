/*
 * The shim's files built natively: its system calls by number, in this process's memory, with memory
 * that can be made to run out. One process and thread; what would wait fails with -EAGAIN.
 */
#ifndef HL_TEST_SHIM_FILES_H
#define HL_TEST_SHIM_FILES_H

#include "file/file.h"
#include "file/tree.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A new process with a tree of its own: over an image, or (NULL) an empty one. False: no image. What was
 * there before must have been left by files_leave(). */
bool files_enter(const void *image, size_t size);
/* Closes and removes everything; what the shim does not give back then shows in the two below. */
void files_leave(void);
/* Objects and pages that the shim holds now. */
uint64_t files_objects(void);
uint64_t files_pages(void);
/* So many more objects and pages, and then no memory; UINT64_MAX: as much as there is. */
void files_memory_left(uint64_t objects, uint64_t pages);

/* From now on only that is the program's memory; else all of this process is, but the null page. */
void files_program_memory(const void *start, size_t size);

/* A system call; -ENOSYS if files have nothing to do with it. */
int64_t files_call(unsigned number, const uint64_t arg[6]);

/* Images. Parents come before what is in them; `parent` is the index of an earlier one, or -1. */
struct files_spec {
    int parent;
    const char *name;
    uint32_t mode;
    const void *content; /* of a file; the target of a link as a string; NULL: a pattern */
    uint64_t size;       /* of a file */
    int link;            /* not 0: a hard link to the one with index link - 1 */
};
/* An image in page-aligned memory of malloc's kind. */
uint8_t *files_image(const struct files_spec *specs, int count, size_t *size);
/* The pattern that a file without content has. */
uint8_t files_pattern(int index, uint64_t at);

#endif
