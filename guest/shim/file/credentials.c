/* User and group identities, and what they allow. There are no capabilities apart from user 0. */
#include "file/credentials.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "thread/thread.h"

bool hl__is_root(void)
{
    return hl__credentials()->user.file == 0;
}

bool hl__in_group(uint32_t gid)
{
    for (uint32_t i = 0; i < hl__credentials()->group_count; i++)
        if (hl__credentials()->groups[i] == gid)
            return true;
    return hl__credentials()->group.file == gid;
}

bool hl__is_owner(const struct hl__inode *inode)
{
    return hl__is_root() || hl__credentials()->user.file == inode->uid;
}

bool hl__may(const struct hl__inode *inode, uint32_t rights, bool real)
{
    const struct hl__credentials *own = hl__credentials();
    uint32_t uid = real ? own->user.real : own->user.file;
    uint32_t gid = real ? own->group.real : own->group.file;
    uint32_t granted = inode->mode;

    if (!uid) {
        bool directory = (inode->mode & S_IFMT) == S_IFDIR;

        return !(rights & X_OK) || directory || (inode->mode & 0111);
    }
    if (uid == inode->uid)
        granted >>= 6;
    else if (gid == inode->gid || hl__in_group(inode->gid))
        granted >>= 3;
    return !(rights & ~granted & 7);
}

/* -1: stays. */
static bool is_one_of(const struct hl__identity *identity, uint32_t id)
{
    return id == identity->real || id == identity->effective || id == identity->saved;
}

static bool privileged(void)
{
    return hl__credentials()->user.effective == 0;
}

static int64_t identity_set(struct hl__identity *identity, uint32_t id)
{
    if (privileged())
        *identity = (struct hl__identity){id, id, id, id};
    else if (id == identity->real || id == identity->saved)
        identity->effective = identity->file = id;
    else
        return -EPERM;
    return 0;
}

static int64_t identity_set_three(struct hl__identity *identity, const uint64_t *arg)
{
    uint32_t real = (uint32_t)arg[0], effective = (uint32_t)arg[1], saved = (uint32_t)arg[2];

    if (!privileged() && ((real != UINT32_MAX && !is_one_of(identity, real)) ||
                          (effective != UINT32_MAX && !is_one_of(identity, effective)) ||
                          (saved != UINT32_MAX && !is_one_of(identity, saved))))
        return -EPERM;
    if (real != UINT32_MAX)
        identity->real = real;
    if (effective != UINT32_MAX)
        identity->effective = identity->file = effective;
    if (saved != UINT32_MAX)
        identity->saved = saved;
    return 0;
}

static int64_t identity_set_two(struct hl__identity *identity, const uint64_t *arg)
{
    uint32_t real = (uint32_t)arg[0], effective = (uint32_t)arg[1];
    bool saves = real != UINT32_MAX || (effective != UINT32_MAX && effective != identity->real);

    if (!privileged() &&
        ((real != UINT32_MAX && real != identity->real && real != identity->effective) ||
         (effective != UINT32_MAX && !is_one_of(identity, effective))))
        return -EPERM;
    if (real != UINT32_MAX)
        identity->real = real;
    if (effective != UINT32_MAX)
        identity->effective = effective;
    if (saves)
        identity->saved = identity->effective;
    identity->file = identity->effective;
    return 0;
}

static int64_t identity_get_three(const struct hl__identity *identity, const uint64_t *arg)
{
    if (hl__user_write(arg[0], &identity->real, 4) < 0 ||
        hl__user_write(arg[1], &identity->effective, 4) < 0)
        return -EFAULT;
    return hl__user_write(arg[2], &identity->saved, 4);
}

static int64_t identity_set_file(struct hl__identity *identity, uint32_t id)
{
    uint32_t old = identity->file;

    if (id != UINT32_MAX && (privileged() || is_one_of(identity, id) || id == old))
        identity->file = id;
    return old;
}

HL__SYSCALL(getuid)
{
    (void)arg;
    return hl__credentials()->user.real;
}

HL__SYSCALL(geteuid)
{
    (void)arg;
    return hl__credentials()->user.effective;
}

HL__SYSCALL(getgid)
{
    (void)arg;
    return hl__credentials()->group.real;
}

HL__SYSCALL(getegid)
{
    (void)arg;
    return hl__credentials()->group.effective;
}

HL__SYSCALL(setuid)
{
    return (uint32_t)arg[0] == UINT32_MAX
               ? -EINVAL
               : identity_set(&hl__credentials()->user, (uint32_t)arg[0]);
}

HL__SYSCALL(setgid)
{
    return (uint32_t)arg[0] == UINT32_MAX
               ? -EINVAL
               : identity_set(&hl__credentials()->group, (uint32_t)arg[0]);
}

HL__SYSCALL(setreuid)
{
    return identity_set_two(&hl__credentials()->user, arg);
}

HL__SYSCALL(setregid)
{
    return identity_set_two(&hl__credentials()->group, arg);
}

HL__SYSCALL(setresuid)
{
    return identity_set_three(&hl__credentials()->user, arg);
}

HL__SYSCALL(setresgid)
{
    return identity_set_three(&hl__credentials()->group, arg);
}

HL__SYSCALL(getresuid)
{
    return identity_get_three(&hl__credentials()->user, arg);
}

HL__SYSCALL(getresgid)
{
    return identity_get_three(&hl__credentials()->group, arg);
}

HL__SYSCALL(setfsuid)
{
    return identity_set_file(&hl__credentials()->user, (uint32_t)arg[0]);
}

HL__SYSCALL(setfsgid)
{
    return identity_set_file(&hl__credentials()->group, (uint32_t)arg[0]);
}

HL__SYSCALL(getgroups)
{
    uint32_t count = hl__credentials()->group_count;

    if ((int32_t)arg[0] < 0 || (arg[0] && (uint32_t)arg[0] < count))
        return -EINVAL;
    if (arg[0] && hl__user_write(arg[1], hl__credentials()->groups, count * 4) < 0)
        return -EFAULT;
    return count;
}

HL__SYSCALL(setgroups)
{
    uint32_t groups[HL__GROUPS_MAX];

    if (!privileged())
        return -EPERM;
    if (arg[0] > HL__GROUPS_MAX)
        return -EINVAL;
    if (hl__user_read(groups, arg[1], arg[0] * 4) < 0)
        return -EFAULT;
    hl__credentials()->group_count = (uint32_t)arg[0];
    for (uint32_t i = 0; i < arg[0]; i++)
        hl__credentials()->groups[i] = groups[i];
    return 0;
}
