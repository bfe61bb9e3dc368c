/* System V shared memory: segments that have a number, and what attaches them. */
#include "base/linux.h"
#include "entry/access.h"
#include "entry/syscall.h"
#include "memory/heap.h"
#include "memory/memory.h"
#include "program/process.h"
#include "thread/thread.h"
#include "time/clock.h"

#define SEGMENTS_MAX 4096u /* as on Linux */
#define MODE_BITS 0777u

struct segment {
    struct segment *next;
    struct hl__inode *inode; /* its pages; the mappings that show it are the attachments */
    struct linux_shmid_ds state;
};

static struct segment *segments; /* the newest first */
static uint32_t segment_count;
static uint32_t next_id;

static int64_t now(void)
{
    return (int64_t)(hl__clock_realtime_ns() / 1000000000u);
}

/* A removed segment lasts until nothing shows it. As unmapping and ending do not tell, every call on
 * segments looks for such ones first. */
static void drop_removed(void)
{
    for (struct segment **at = &segments; *at;) {
        struct segment *segment = *at;

        if (!(segment->state.mode & SHM_DEST) || segment->inode->mapping_count) {
            at = &segment->next;
            continue;
        }
        *at = segment->next;
        hl__inode_unref(segment->inode);
        hl__heap_free(segment, sizeof *segment);
        segment_count--;
    }
}

static struct segment *find_id(uint64_t id)
{
    struct segment *segment;

    drop_removed();
    for (segment = segments; segment && segment->state.id != (int32_t)id; segment = segment->next)
        ;
    return segment;
}

static struct segment *find_key(int32_t key)
{
    struct segment *segment;

    drop_removed();
    if (key == IPC_PRIVATE)
        return NULL;
    for (segment = segments; segment && segment->state.key != key; segment = segment->next)
        ;
    return segment;
}

static int64_t segment_new(int32_t key, uint64_t size, uint32_t flags)
{
    const struct hl__credentials *who = &hl__process()->credentials;
    struct segment *segment;

    if (!size)
        return -EINVAL;
    if (size > HL_ABI_USER_END || flags & SHM_HUGETLB)
        return -ENOMEM;
    if (segment_count == SEGMENTS_MAX)
        return -ENOSPC;
    segment = hl__heap_new(sizeof *segment);
    if (!segment)
        return -ENOMEM;
    segment->inode = hl__inode_new_file(flags & MODE_BITS);
    if (!segment->inode) {
        hl__heap_free(segment, sizeof *segment);
        return -ENOMEM;
    }
    segment->inode->size = HL__PAGE_UP(size);
    segment->state = (struct linux_shmid_ds){.key = key,
                                             .uid = who->user.effective,
                                             .gid = who->group.effective,
                                             .creator_uid = who->user.effective,
                                             .creator_gid = who->group.effective,
                                             .mode = flags & MODE_BITS,
                                             .size = size,
                                             .changed = now(),
                                             .creator = hl__process()->id,
                                             .id = (int32_t)(next_id++ & INT32_MAX)};
    segment->next = segments;
    segments = segment;
    segment_count++;
    return segment->state.id;
}

HL__SYSCALL(shmget)
{
    uint32_t flags = (uint32_t)arg[2];
    struct segment *segment = find_key((int32_t)arg[0]);

    if (!segment)
        return (int32_t)arg[0] == IPC_PRIVATE || flags & IPC_CREAT
                   ? segment_new((int32_t)arg[0], arg[1], flags)
                   : -ENOENT;
    if (flags & IPC_CREAT && flags & IPC_EXCL)
        return -EEXIST;
    return arg[1] > segment->state.size ? -EINVAL : segment->state.id;
}

HL__SYSCALL(shmat)
{
    struct segment *segment = find_id(arg[0]);
    uint64_t address = arg[2] & SHM_RND ? HL__PAGE_DOWN(arg[1]) : arg[1];
    uint64_t protection =
        PROT_READ | (arg[2] & SHM_RDONLY ? 0 : PROT_WRITE) | (arg[2] & SHM_EXEC ? PROT_EXEC : 0);
    uint64_t place = arg[2] & SHM_REMAP ? MAP_FIXED : MAP_FIXED_NOREPLACE;
    int64_t result;

    if (!segment || address & HL__PAGE_MASK || (!address && arg[2] & SHM_REMAP))
        return -EINVAL;
    result = hl__memory_map_shared(address, address ? place : 0, protection, segment->inode);
    if (result < 0)
        return result == -EEXIST ? -EINVAL : result;
    segment->state.attached = now();
    segment->state.last = hl__process()->id;
    return result;
}

static struct segment *find_inode(const struct hl__inode *inode)
{
    struct segment *segment;

    for (segment = segments; segment && segment->inode != inode; segment = segment->next)
        ;
    return segment;
}

/* Unmaps what is left of one attachment at `start`. */
static int64_t detach(const struct segment *segment, uint64_t start)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;
    uint64_t limit = start + segment->inode->size, at = start;
    int64_t failure = 0;

    while (at < limit && !failure) {
        uint32_t i = hl__vma_at_or_after(vmas, at);
        struct hl__vma vma;

        if (i == vmas->count || vmas->items[i].start >= limit)
            break;
        vma = vmas->items[i];
        at = vma.end;
        if (vma.inode == segment->inode && vma.start - start == vma.offset)
            failure = hl__memory_unmap(vma.start, vma.end);
    }
    return failure;
}

HL__SYSCALL(shmdt)
{
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, arg[0]);
    struct segment *segment;
    int64_t failure;

    drop_removed();
    if (!vma || vma->start != arg[0] || vma->offset || vma->owner != hl__memory.vmas.owner)
        return -EINVAL;
    segment = find_inode(vma->inode);
    if (!segment)
        return -EINVAL;
    failure = detach(segment, arg[0]);
    segment->state.detached = now();
    segment->state.last = hl__process()->id;
    drop_removed();
    return failure;
}

static int64_t segment_stat(const struct segment *segment, uint64_t to)
{
    struct linux_shmid_ds state = segment->state;

    state.id = 0; /* unused for the program */
    state.attachments = segment->inode->mapping_count;
    return hl__user_write(to, &state, sizeof state);
}

static int64_t segment_set(struct segment *segment, uint64_t from)
{
    struct linux_shmid_ds state;

    if (hl__user_read(&state, from, sizeof state) < 0)
        return -EFAULT;
    segment->state.uid = state.uid;
    segment->state.gid = state.gid;
    segment->state.mode = (segment->state.mode & ~MODE_BITS) | (state.mode & MODE_BITS);
    segment->state.changed = now();
    return 0;
}

HL__SYSCALL(shmctl)
{
    struct segment *segment = find_id(arg[0]);

    if (!segment)
        return -EINVAL;
    switch ((int32_t)arg[1]) {
    case IPC_RMID:
        segment->state.mode |= SHM_DEST;
        segment->state.key = IPC_PRIVATE;
        drop_removed();
        return 0;
    case IPC_SET:
        return segment_set(segment, arg[2]);
    case IPC_STAT:
        return segment_stat(segment, arg[2]);
    case SHM_LOCK:
    case SHM_UNLOCK: /* memory is never paged out */
        return 0;
    default:
        return -EINVAL;
    }
}
