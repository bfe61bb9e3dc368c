/* Who the program is. It begins as root, with every right; a program that gives that up is held to it. */
#ifndef HL_SHIM_CREDENTIALS_H
#define HL_SHIM_CREDENTIALS_H

#include "file/inode.h"

#define HL__GROUPS_MAX 64u

struct hl__identity {
    uint32_t real, effective, saved, file;
};

struct hl__credentials {
    struct hl__identity user, group;
    uint32_t group_count;
    uint32_t groups[HL__GROUPS_MAX];
};

/* Rights on a file, as bits of R_OK, W_OK, X_OK. `real`: of the real user, for access(). */
bool hl__may(const struct hl__inode *inode, uint32_t rights, bool real);
/* Whether the program may change what only an owner may. */
bool hl__is_owner(const struct hl__inode *inode);
bool hl__in_group(uint32_t gid);

bool hl__is_root(void);

#endif
