/* What a parent is told of a child that ended. */
#ifndef HL_SHIM_CHILDREN_H
#define HL_SHIM_CHILDREN_H

#include "program/process.h"

struct linux_siginfo hl__child_info(const struct hl__process *child);

#endif
