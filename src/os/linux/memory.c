/* Anonymous memory. Ranges that a VM may map are never unmapped needlessly: each unmapping walks
 * every VM of the process. */
#define _GNU_SOURCE
#include "os/linux/mapping.h"
#include "os/os.h"
#include "util/error.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define LARGE_PAGE ((uintptr_t)2 << 20)

/* From here on giving pages back costs less than clearing them. */
#define GIVE_BACK_SIZE ((size_t)1 << 20)

static bool is_aligned(void *address)
{
    return ((uintptr_t)address & (LARGE_PAGE - 1)) == 0;
}

/* Makes room at an aligned address by mapping too much and unmapping the edges. */
static void *reserve_aligned(size_t size)
{
    if (size > SIZE_MAX - LARGE_PAGE) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    char *start = mmap(NULL, size + LARGE_PAGE, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        return MAP_FAILED;
    size_t before = (size_t)(-(uintptr_t)start & (LARGE_PAGE - 1));
    if (before > 0)
        munmap(start, before);
    munmap(start + before + size, LARGE_PAGE - before);
    return start + before;
}

/* Where the last aligned mapping went: the place below it is likely free, and a mapping there needs
 * no unmapping of edges. A gap stays between the two. */
static atomic_uintptr_t lowest_aligned;

static void *map_below_last(size_t size, int protection, int flags, int descriptor, off_t offset)
{
    uintptr_t last = atomic_load_explicit(&lowest_aligned, memory_order_relaxed);
    if (last <= size || last - size <= 2 * LARGE_PAGE)
        return MAP_FAILED;
    void *hint = (void *)((last - size - 1) & ~(LARGE_PAGE - 1));
    void *address = mmap(hint, size, protection, flags, descriptor, offset);
    if (address == MAP_FAILED || is_aligned(address))
        return address;
    munmap(address, size);
    return MAP_FAILED;
}

static void *map_large(size_t size, int protection, int flags, int descriptor, off_t offset)
{
    void *address = map_below_last(size, protection, flags, descriptor, offset);
    if (address == MAP_FAILED) {
        void *place = reserve_aligned(size);
        if (place == MAP_FAILED)
            return MAP_FAILED;
        address = mmap(place, size, protection, flags | MAP_FIXED, descriptor, offset);
        if (address == MAP_FAILED) {
            int error = errno;
            munmap(place, size);
            errno = error;
            return MAP_FAILED;
        }
    }
    atomic_store_explicit(&lowest_aligned, (uintptr_t)address, memory_order_relaxed);
    return address;
}

hl_status hl__linux_map(size_t size, int protection, int flags, int descriptor, uint64_t offset,
                        void **address, hl_error *err)
{
    void *start = size >= LARGE_PAGE
                      ? map_large(size, protection, flags, descriptor, (off_t)offset)
                      : mmap(NULL, size, protection, flags, descriptor, (off_t)offset);
    if (start == MAP_FAILED)
        return hl__error_os(err, errno == ENOMEM ? HL_OUT_OF_MEMORY : HL_SYSTEM, errno, "mmap",
                            "cannot map %zu bytes of memory", size);
    if (madvise(start, size, MADV_DONTFORK) != 0) {
        int error = errno;
        munmap(start, size);
        return hl__error_os(err, error == ENOMEM ? HL_OUT_OF_MEMORY : HL_SYSTEM, error, "madvise",
                            "cannot keep memory from forked children");
    }
    madvise(start, size, MADV_DONTDUMP);
    *address = start;
    return HL_OK;
}

hl_status hl__os_memory_map(size_t size, void **address, hl_error *err)
{
    return hl__linux_map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                         -1, 0, address, err);
}

void hl__os_memory_unmap(void *address, size_t size)
{
    if (address)
        munmap(address, size);
}

void hl__os_memory_populate(void *address, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = (uintptr_t)address & ~(page - 1);
    madvise((void *)start, size + ((uintptr_t)address - start), MADV_POPULATE_WRITE);
}

void hl__os_memory_scattered(void *address, size_t size)
{
    if (size >= LARGE_PAGE)
        madvise(address, size, MADV_NOHUGEPAGE);
}

void hl__os_memory_zero(void *address, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    char *start = address, *end = start + size;
    char *first = (char *)(((uintptr_t)start + page - 1) & ~(page - 1));
    char *last = (char *)((uintptr_t)end & ~(page - 1));
    if (size < GIVE_BACK_SIZE || madvise(first, (size_t)(last - first), MADV_DONTNEED) != 0) {
        memset(start, 0, size);
        return;
    }
    memset(start, 0, (size_t)(first - start));
    memset(last, 0, (size_t)(end - last));
}
