/* Files without a name, and what may be done with them for good. */
#include "io/memfd.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "file/open.h"
#include "io/linux.h"

#define NAME_SIZE 250u /* the NUL included */
#define FLAGS (MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC)
#define SEALS                                                                                      \
    (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | F_SEAL_EXEC)

static int64_t seals_add(struct hl__file *file, uint32_t seals)
{
    struct hl__inode *inode = file->inode;

    if ((file->flags & O_ACCMODE) == O_RDONLY)
        return -EPERM;
    if (seals & ~(uint32_t)SEALS)
        return -EINVAL;
    if (inode->seals & F_SEAL_SEAL)
        return -EPERM;
    /* Which of the mappings could write is not asked. */
    if (seals & F_SEAL_WRITE && !(inode->seals & F_SEAL_WRITE) && inode->mapping_count)
        return -EBUSY;
    inode->seals |= seals;
    return 0;
}

int64_t hl__memfd_control(struct hl__file *file, uint64_t command, uint64_t argument)
{
    if (!(file->inode->seals & HL__SEALABLE))
        return -EINVAL;
    switch ((uint32_t)command) {
    case F_ADD_SEALS:
        return seals_add(file, (uint32_t)argument);
    case F_GET_SEALS:
        return file->inode->seals & SEALS;
    default:
        return -EINVAL;
    }
}

static int64_t memfd_open(uint32_t flags)
{
    uint32_t mode = flags & MFD_NOEXEC_SEAL ? 0666 : 0777;
    struct hl__inode *inode = hl__inode_new_file(mode);
    struct hl__file *file;

    if (!inode)
        return -ENOMEM;
    inode->seals = HL__SEALABLE;
    if (!(flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL)))
        inode->seals |= F_SEAL_SEAL;
    inode->seals |= flags & MFD_NOEXEC_SEAL ? F_SEAL_EXEC : 0;
    file = hl__file_new(&hl__regular_ops, O_RDWR | O_LARGEFILE, inode, NULL);
    if (!file) {
        hl__inode_unref(inode);
        return -ENOMEM;
    }
    return hl__descriptor_add(file, 0, flags & MFD_CLOEXEC);
}

HL__SYSCALL(memfd_create)
{
    char name[NAME_SIZE];
    uint32_t flags = (uint32_t)arg[1];
    int64_t length;

    if (flags & ~(uint32_t)FLAGS || (flags & MFD_EXEC && flags & MFD_NOEXEC_SEAL))
        return -EINVAL;
    length = hl__user_string(name, arg[0], sizeof name);
    if (length < 0)
        return length == -ENAMETOOLONG ? -EINVAL : length;
    return memfd_open(flags);
}
