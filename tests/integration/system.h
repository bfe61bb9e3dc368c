/* What tests need of the operating system: linux/system.c, windows/system.c. */
#ifndef HL_TESTS_SYSTEM_H
#define HL_TESTS_SYSTEM_H

#include <hyperlight/error.h>
#include <stdint.h>

/* Two descriptors, to read from and to write to. */
void system_pipe(int ends[2]);

/* Makes a file longer, by a hole. */
void system_resize(const char *path, uint64_t size);

/* Provokes the statuses that come of forks, signals, and address space that is used up, and calls
 * `note` with each; with those, too, that this system cannot bring about. */
void system_statuses(void (*note)(hl_status status));

#endif
