/* /proc and /sys. */
#ifndef HL_SHIM_PROC_H
#define HL_SHIM_PROC_H

#include <stdbool.h>

/* Hangs both into the tree. False when memory has run out. */
bool hl__proc_init(void);

#endif
