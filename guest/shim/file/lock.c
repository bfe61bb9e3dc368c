/* Locks: those of flock() on whole files belong to open files, those on ranges to open files or to processes. */
#include "file/lock.h"
#include "entry/access.h"
#include "memory/heap.h"
#include "thread/thread.h"

#include <string.h>

struct hl__file_lock {
    struct hl__file_lock *next;
    const void *owner;   /* an open file or a process */
    int32_t process_id;  /* -1: it is an open file's */
    uint64_t start, end; /* end UINT64_MAX: for ever */
    bool exclusive;
    bool whole; /* of flock(): does not meet the others */
};

static struct hl__queue released; /* who waits for any lock tries again */

static bool overlaps(const struct hl__file_lock *a, const struct hl__file_lock *b)
{
    return a->whole == b->whole && a->start < b->end && b->start < a->end;
}

/* The first lock, by its start, that stands against one. */
static const struct hl__file_lock *conflict(const struct hl__inode *inode,
                                            const struct hl__file_lock *wanted)
{
    const struct hl__file_lock *first = NULL;

    for (const struct hl__file_lock *lock = inode->locks; lock; lock = lock->next)
        if (lock->owner != wanted->owner && overlaps(lock, wanted) &&
            (lock->exclusive || wanted->exclusive) && (!first || lock->start < first->start))
            first = lock;
    return first;
}

static struct hl__file_lock *lock_new(const struct hl__file_lock *like)
{
    struct hl__file_lock *lock = hl__heap_new(sizeof *lock);

    if (lock)
        *lock = *like;
    return lock;
}

static void lock_put(struct hl__inode *inode, struct hl__file_lock *lock)
{
    lock->next = inode->locks;
    inode->locks = lock;
}

/* Takes a range out of the owner's locks. `spare` becomes the second half of one that is split. */
static void range_clear(struct hl__inode *inode, const struct hl__file_lock *range,
                        struct hl__file_lock **spare)
{
    struct hl__file_lock **at = &inode->locks;

    while (*at) {
        struct hl__file_lock *lock = *at;

        if (lock->owner != range->owner || !overlaps(lock, range)) {
            at = &lock->next;
        } else if (lock->start < range->start) {
            if (lock->end > range->end) {
                **spare = *lock;
                (*spare)->start = range->end;
                lock_put(inode, *spare);
                *spare = NULL;
            }
            lock->end = range->start;
            at = &lock->next;
        } else if (lock->end > range->end) {
            lock->start = range->end;
            at = &lock->next;
        } else {
            *at = lock->next;
            hl__heap_free(lock, sizeof *lock);
        }
    }
}

/* Sets or clears (`type` F_UNLCK). 0, -EAGAIN, -ENOLCK. */
static int64_t lock_apply(struct hl__inode *inode, struct hl__file_lock *wanted, bool unlock)
{
    struct hl__file_lock *spare, *lock = NULL;

    if (!unlock && conflict(inode, wanted))
        return -EAGAIN;
    spare = lock_new(wanted);
    if (!unlock)
        lock = lock_new(wanted);
    if (!spare || (!unlock && !lock)) {
        hl__heap_free(spare, sizeof *spare);
        hl__heap_free(lock, sizeof *lock);
        return -ENOLCK;
    }
    range_clear(inode, wanted, &spare);
    if (lock)
        lock_put(inode, lock);
    hl__heap_free(spare, sizeof *spare);
    hl__wake(&released);
    return 0;
}

static void locks_release(struct hl__inode *inode, const void *owner)
{
    struct hl__file_lock **at = &inode->locks;
    bool any = false;

    while (*at) {
        struct hl__file_lock *lock = *at;

        if (lock->owner != owner) {
            at = &lock->next;
            continue;
        }
        *at = lock->next;
        hl__heap_free(lock, sizeof *lock);
        any = true;
    }
    if (any)
        hl__wake(&released);
}

void hl__locks_drop(struct hl__file *file)
{
    if (file->inode)
        locks_release(file->inode, file);
}

void hl__locks_leave(const struct hl__process *process, struct hl__inode *inode)
{
    locks_release(inode, process);
}

int64_t hl__lock_file(struct hl__file *file, uint32_t operation)
{
    struct hl__file_lock wanted = {
        .owner = file, .process_id = -1, .end = UINT64_MAX, .whole = true};
    uint32_t kind = operation & ~(uint32_t)LOCK_NB;
    int64_t result;

    if (!file->inode)
        return 0;
    wanted.exclusive = kind == LOCK_EX;
    result = lock_apply(file->inode, &wanted, kind == LOCK_UN);
    if (result == -EAGAIN && !(operation & LOCK_NB))
        return hl__wait_on(&released, UINT64_MAX);
    return result;
}

/* The range that a struct flock names. 0 or -errno. */
static int64_t range_of(const struct hl__file *file, const struct linux_flock *flock,
                        struct hl__file_lock *range)
{
    int64_t start = flock->start;
    int64_t base = flock->whence == SEEK_CUR   ? (int64_t)file->position
                   : flock->whence == SEEK_END ? (int64_t)file->inode->size
                                               : 0;

    if (flock->whence < SEEK_SET || flock->whence > SEEK_END)
        return -EINVAL;
    if (__builtin_add_overflow(base, start, &start))
        return -EOVERFLOW;
    range->end = UINT64_MAX;
    if (flock->length > 0) {
        int64_t last;

        if (__builtin_add_overflow(start, flock->length - 1, &last))
            return -EOVERFLOW;
        range->end = (uint64_t)last + 1;
    } else if (flock->length < 0) {
        range->end = (uint64_t)start;
        if (__builtin_add_overflow(start, flock->length, &start))
            return -EINVAL;
    }
    range->start = (uint64_t)start;
    return start < 0 ? -EINVAL : 0;
}

static int64_t lock_tell(const struct hl__file_lock *lock, struct linux_flock *flock,
                         uint64_t address)
{
    flock->type = F_UNLCK;
    if (lock) {
        flock->type = lock->exclusive ? F_WRLCK : F_RDLCK;
        flock->whence = SEEK_SET;
        flock->start = (int64_t)lock->start;
        flock->length = lock->end == UINT64_MAX ? 0 : (int64_t)(lock->end - lock->start);
        flock->pid = lock->process_id;
    }
    return hl__user_write(address, flock, sizeof *flock);
}

static bool may_lock(const struct hl__file *file, int16_t type)
{
    uint32_t mode = file->flags & O_ACCMODE;

    return type == F_RDLCK ? mode != O_WRONLY : type == F_WRLCK ? mode != O_RDONLY : true;
}

int64_t hl__lock_range(struct hl__file *file, uint32_t command, uint64_t address)
{
    bool tells = command == F_GETLK || command == F_OFD_GETLK;
    bool of_process = command <= F_SETLKW;
    struct hl__file_lock range = {.owner = of_process ? (const void *)hl__process() : file,
                                  .process_id = of_process ? hl__process()->id : -1};
    struct linux_flock flock;
    int64_t result;

    if (hl__user_read(&flock, address, sizeof flock) < 0)
        return -EFAULT;
    if (!file->inode)
        return -EINVAL;
    if (flock.type < F_RDLCK || flock.type > F_UNLCK || (!of_process && flock.pid))
        return -EINVAL;
    result = range_of(file, &flock, &range);
    if (result)
        return result;
    range.exclusive = flock.type == F_WRLCK;
    if (tells)
        return flock.type == F_UNLCK && of_process
                   ? -EINVAL
                   : lock_tell(conflict(file->inode, &range), &flock, address);
    if (!may_lock(file, flock.type))
        return -EBADF;
    result = lock_apply(file->inode, &range, flock.type == F_UNLCK);
    if (result == -EAGAIN && (command == F_SETLKW || command == F_OFD_SETLKW))
        return hl__wait_on(&released, UINT64_MAX);
    return result;
}
