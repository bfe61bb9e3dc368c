/* What the sys_* guests share: one line per behaviour that holds, an exit status of 1 if one does
 * not. Each behaves the same on Linux and in a micro VM. */
#ifndef SYS_CHECK_H
#define SYS_CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int sys_failures;

static inline void sys_check(int holds, const char *name, int line)
{
    if (holds) {
        printf("ok %s\n", name);
        return;
    }
    printf("FAILED %s (line %d, errno %d)\n", name, line, errno);
    sys_failures++;
}

#define CHECK(name, condition) sys_check((condition) ? 1 : 0, name, __LINE__)

static inline int sys_result(void)
{
    fflush(stdout);
    return sys_failures ? 1 : 0;
}

#endif
