/* The system calls mmap, munmap, mprotect, brk and pkey_*. */
#include "base/linux.h"
#include "entry/syscall.h"
#include "file/file.h"
#include "memory/memory.h"
#include "memory/stubs.h"

/* Up to this size, growth is backed at once instead of by faults. */
#define BREAK_EAGER_MAX (1ull << 20)
#define MAP_EAGER_MAX (256ull << 10)
#define DEVICE_ZERO 0x105u /* st_rdev of /dev/zero */
/* Flags that MAP_SHARED_VALIDATE lets pass. */
#define MAP_KNOWN                                                                                  \
    (MAP_TYPE | MAP_FIXED | MAP_ANONYMOUS | MAP_32BIT | MAP_GROWSDOWN | MAP_DENYWRITE |            \
     MAP_EXECUTABLE | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK |       \
     MAP_HUGETLB | MAP_FIXED_NOREPLACE | MAP_UNINITIALIZED)

struct map_request {
    uint64_t hint, size, flags; /* flags: MAP_* */
    uint64_t vma_flags;
    struct hl__inode *inode; /* NULL: private memory of zeroes */
    uint64_t offset;
};

/* Clears the place of a fixed mapping. */
static int64_t take_place(uint64_t start, uint64_t size, uint64_t flags)
{
    if (start & HL__PAGE_MASK)
        return -EINVAL;
    if (!hl__memory_range_valid(start, size))
        return start < HL_ABI_USER_START ? -EPERM : -ENOMEM;
    if (!(flags & MAP_FIXED_NOREPLACE)) {
        if (hl__address_space_foreign(start, start + size))
            return -ENOMEM;
        return hl__memory_unmap(start, start + size);
    }
    if (hl__vma_any(&hl__memory.vmas, start, start + size))
        return -EEXIST;
    hl__memory_drop_ahead(start, start + size);
    return 0;
}

/* Whether all of a range is reserved already, so that a mapping over it opens a reservation. */
static bool is_reserved(const struct map_request *request)
{
    return request->flags & MAP_FIXED && hl__memory_range_valid(request->hint, request->size) &&
           hl__vma_all(&hl__memory.vmas, request->hint, request->hint + request->size);
}

/* Whether to back a mapping at once, with some more behind it. */
static bool is_eager(const struct map_request *request)
{
    return !request->hint && !request->inode && request->vma_flags == HL__VMA_DATA &&
           !(request->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT)) &&
           request->size <= MAP_EAGER_MAX;
}

static int64_t map_place(const struct map_request *request)
{
    uint64_t start = request->hint, flags = request->flags;
    uint64_t room = request->inode && !(request->vma_flags & HL__VMA_SHARED)
                        ? hl__stubs_room(request->inode, request->size)
                        : 0;
    int64_t failure;

    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        failure = take_place(start, request->size, flags);
        return failure < 0 ? failure : (int64_t)start;
    }
    start = hl__memory_place(start, request->size, room, flags, is_eager(request));
    return start ? (int64_t)start : -ENOMEM;
}

/* Backs a new mapping as far as that is better done now. */
static int64_t map_back(const struct map_request *request, uint64_t start, uint64_t end)
{
    if (is_eager(request) && start >= hl__memory.map_base)
        return hl__memory_back_ahead(&hl__memory.map_ahead, start, end,
                                     hl__memory_ahead_limit(end, hl__memory_hole_end(end)));
    if (request->flags & (MAP_POPULATE | MAP_LOCKED) && !(request->flags & MAP_NONBLOCK))
        hl__memory_populate(start, end, false);
    return 0;
}

static int64_t make_mapping(const struct map_request *request)
{
    uint64_t vma_flags = request->vma_flags;
    bool asks = vma_flags & HL_ABI_RIGHT_WRITE && !(vma_flags & HL__VMA_SHARED) &&
                !(vma_flags & HL__VMA_NO_RESERVE);
    int64_t start, failure;

    if (hl__memory_limited(request->size, vma_flags, request->hint,
                           request->flags & MAP_FIXED ? request->hint + request->size
                                                      : request->hint) < 0)
        return -ENOMEM;
    if (asks && hl__memory_ask(HL__PAGES(request->size), is_reserved(request)) < 0)
        return -ENOMEM;
    start = map_place(request);
    if (start < 0)
        return start;
    failure = request->inode
                  ? hl__memory_map_file((uint64_t)start, (uint64_t)start + request->size, vma_flags,
                                        request->inode, request->offset)
                  : hl__memory_map((uint64_t)start, (uint64_t)start + request->size, vma_flags);
    if (!failure) {
        failure = map_back(request, (uint64_t)start, (uint64_t)start + request->size);
        if (failure < 0)
            hl__memory_unmap((uint64_t)start, (uint64_t)start + request->size);
    }
    return failure < 0 ? failure : start;
}

/* The hardware cannot write or execute without reading. */
static uint32_t rights_of(uint64_t protection)
{
    uint32_t rights = (protection & PROT_WRITE ? HL_ABI_RIGHT_WRITE : 0) |
                      (protection & PROT_EXEC ? HL_ABI_RIGHT_EXECUTE : 0);

    return rights || (protection & PROT_READ) ? rights | HL_ABI_RIGHT_READ : 0;
}

/* What the open file allows. */
static int64_t check_file(const struct hl__file *file, struct map_request *request)
{
    uint32_t access = file->flags & O_ACCMODE;

    if (file->flags & O_PATH)
        return -EBADF;
    if (access == O_WRONLY)
        return -EACCES;
    if (request->vma_flags & HL__VMA_SHARED && file->inode &&
        file->inode->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) {
        if (request->vma_flags & HL_ABI_RIGHT_WRITE)
            return -EPERM;
        request->vma_flags |= HL__VMA_READ_ONLY;
    }
    if (request->vma_flags & HL__VMA_SHARED && access != O_RDWR) {
        if (request->vma_flags & HL_ABI_RIGHT_WRITE)
            return -EACCES;
        request->vma_flags |= HL__VMA_READ_ONLY;
    }
    if (!file->inode || (file->inode->mode & S_IFMT) != S_IFREG)
        return -ENODEV;
    request->inode = file->inode;
    return 0;
}

/* /dev/zero is memory of zeroes. */
static bool is_zeroes(const struct hl__file *file)
{
    return file->inode && (file->inode->mode & S_IFMT) == S_IFCHR &&
           file->inode->device == DEVICE_ZERO;
}

static int64_t map_shared_zeroes(struct map_request *request)
{
    struct hl__inode *inode = hl__inode_new_file(0600);
    int64_t result;

    if (!inode)
        return -ENOMEM;
    inode->size = request->size;
    request->inode = inode;
    request->offset = 0;
    result = make_mapping(request);
    hl__inode_unref(inode);
    return result;
}

static int64_t map_zeroes(struct map_request *request)
{
    if (request->vma_flags & HL__VMA_SHARED)
        return map_shared_zeroes(request);
    if (request->flags & MAP_GROWSDOWN)
        request->vma_flags |= HL__VMA_STACK;
    return make_mapping(request);
}

static int64_t map_file(struct map_request *request, uint64_t descriptor)
{
    struct hl__file *file = hl__descriptor_file(descriptor);
    int64_t failure;

    if (!file)
        return -EBADF;
    if (is_zeroes(file))
        return map_zeroes(request);
    failure = check_file(file, request);
    if (failure < 0)
        return failure;
    if (request->offset + request->size < request->offset)
        return -EOVERFLOW;
    return make_mapping(request);
}

int64_t hl__memory_map_shared(uint64_t address, uint64_t place, uint64_t protection,
                              struct hl__inode *inode)
{
    struct map_request request = {.hint = address,
                                  .size = HL__PAGE_UP(inode->size),
                                  .flags = MAP_SHARED | place,
                                  .vma_flags = rights_of(protection) | HL__VMA_SHARED,
                                  .inode = inode};

    if (!(protection & PROT_WRITE))
        request.vma_flags |= HL__VMA_READ_ONLY;
    return make_mapping(&request);
}

HL__SYSCALL(mmap)
{
    uint64_t flags = arg[3], type = flags & MAP_TYPE;
    struct map_request request = {
        .hint = arg[0], .size = HL__PAGE_UP(arg[1]), .flags = flags, .offset = arg[5]};

    if (!arg[1] || arg[5] & HL__PAGE_MASK ||
        (type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE))
        return -EINVAL;
    if (type == MAP_SHARED_VALIDATE && flags & ~(uint64_t)MAP_KNOWN)
        return -EOPNOTSUPP;
    if (arg[1] > HL_ABI_USER_END || (flags & MAP_HUGETLB))
        return -ENOMEM;
    request.vma_flags = rights_of(arg[2]) | (type == MAP_PRIVATE ? 0 : HL__VMA_SHARED) |
                        (flags & MAP_NORESERVE ? HL__VMA_NO_RESERVE : 0);
    if (flags & MAP_ANONYMOUS)
        return map_zeroes(&request);
    return map_file(&request, arg[4]);
}

HL__SYSCALL(munmap)
{
    uint64_t size = HL__PAGE_UP(arg[1]);

    if ((arg[0] & HL__PAGE_MASK) || !arg[1] || arg[1] > HL_ABI_USER_END ||
        !hl__memory_range_valid(arg[0], size))
        return -EINVAL;
    return hl__address_space_foreign(arg[0], arg[0] + size)
               ? -ENOMEM
               : hl__memory_unmap(arg[0], arg[0] + size);
}

/* With PROT_GROWSDOWN, from the start of the stack that holds the range. */
static int64_t protect_stack_start(uint64_t protection, uint64_t *start)
{
    const struct hl__vma *vma = hl__vma_find(&hl__memory.vmas, *start);

    if (!(protection & (PROT_GROWSDOWN | PROT_GROWSUP)))
        return 0;
    if (protection & PROT_GROWSUP)
        return -EINVAL;
    if (!vma)
        return -ENOMEM;
    if (!(vma->flags & HL__VMA_STACK))
        return -EINVAL;
    *start = vma->start;
    return 0;
}

HL__SYSCALL(mprotect)
{
    uint64_t start = arg[0], size = HL__PAGE_UP(arg[1]);
    const uint64_t known =
        PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM | PROT_GROWSDOWN | PROT_GROWSUP;
    int64_t failure;

    if (start & HL__PAGE_MASK || arg[2] & ~known ||
        (arg[2] & PROT_GROWSDOWN && arg[2] & PROT_GROWSUP))
        return -EINVAL;
    if (!arg[1])
        return 0;
    if (arg[1] > HL_ABI_USER_END || !hl__memory_range_valid(start, size))
        return -ENOMEM;
    if (hl__address_space_foreign(start, start + size))
        return -ENOMEM;
    failure = protect_stack_start(arg[2], &start);
    return failure < 0 ? failure : hl__memory_protect(start, arg[0] + size, rights_of(arg[2]));
}

/* There are no protection keys, as on a processor without. */
HL__SYSCALL(pkey_mprotect)
{
    return (int32_t)arg[3] == -1 ? hl__sys_mprotect(arg) : -EINVAL;
}

HL__SYSCALL(pkey_alloc)
{
    return arg[0] || arg[1] & ~3ull ? -EINVAL : -ENOSPC;
}

HL__SYSCALL(pkey_free)
{
    (void)arg;
    return -EINVAL;
}

static int64_t break_grow(uint64_t old_end, uint64_t new_end)
{
    uint64_t limit =
        hl__memory_hole_end(old_end) - HL_ABI_PAGE_SIZE; /* a page stays free, as a guard */

    if (new_end >= HL_ABI_USER_END || limit < new_end)
        return -ENOMEM;
    if (hl__memory_limited(new_end - old_end, HL__VMA_DATA, 0, 0) < 0 ||
        hl__memory_ask(HL__PAGES(new_end - old_end), false) < 0 ||
        hl__memory_map(old_end, new_end, HL__VMA_DATA) < 0)
        return -ENOMEM;
    if (new_end - old_end > BREAK_EAGER_MAX) {
        hl__memory.break_ahead.page_count = 0;
        hl__memory_drop_ahead(old_end, new_end);
        return 0;
    }
    if (hl__memory_back_ahead(&hl__memory.break_ahead, old_end, new_end,
                              hl__memory_ahead_limit(new_end, limit)) < 0)
        return hl__memory_unmap(old_end, new_end), -ENOMEM;
    return 0;
}

HL__SYSCALL(brk)
{
    struct hl__memory *memory = &hl__memory;
    uint64_t old_end = HL__PAGE_UP(memory->space->break_end), new_end = HL__PAGE_UP(arg[0]);
    int64_t failure = 0;

    if (arg[0] < memory->space->break_start || arg[0] >= HL_ABI_USER_END)
        return (int64_t)memory->space->break_end;
    if (new_end > old_end)
        failure = break_grow(old_end, new_end);
    else if (new_end < old_end)
        failure = hl__memory_unmap(new_end, old_end);
    if (!failure)
        memory->space->break_end = arg[0];
    return (int64_t)memory->space->break_end;
}
