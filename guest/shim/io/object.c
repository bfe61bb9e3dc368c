#include "io/object.h"
#include "entry/access.h"
#include "memory/heap.h"

#define DEVICE 12u /* st_dev; any will do, but not that of the tree */

/* Objects have a number as long as they live: where they lie. */
int64_t hl__object_stat(struct linux_stat *stat, uint32_t mode, const void *object)
{
    *stat = (struct linux_stat){.device = DEVICE,
                                .inode = (uint64_t)object >> 4 & UINT32_MAX,
                                .link_count = 1,
                                .mode = mode,
                                .block_size = HL_ABI_PAGE_SIZE};
    return 0;
}

int64_t hl__object_count(uint64_t address, uint64_t count)
{
    int32_t number = count > INT32_MAX ? INT32_MAX : (int32_t)count;

    return hl__user_write(address, &number, sizeof number);
}

struct hl__vectors hl__vectors_one(struct linux_iovec *item, uint64_t address, uint64_t size)
{
    *item =
        (struct linux_iovec){address, size < HL__TRANSFER_SIZE_MAX ? size : HL__TRANSFER_SIZE_MAX};
    return (struct hl__vectors){item, 1, item->size};
}

int64_t hl__object_open(const struct hl__file_ops *ops, uint32_t flags, void *object, uint64_t size)
{
    struct hl__file *file = hl__file_new(ops, flags & ~(uint32_t)O_CLOEXEC, NULL, object);

    if (!file) {
        hl__heap_free(object, size);
        return -ENOMEM;
    }
    return hl__descriptor_add(file, 0, flags & O_CLOEXEC);
}

int64_t hl__descriptor_pair(struct hl__file *files[2], bool close_on_exec, uint64_t address)
{
    int32_t descriptors[2];
    int64_t first = hl__descriptor_add(files[0], 0, close_on_exec), second;

    if (first < 0) {
        hl__file_unref(files[1]);
        return first;
    }
    second = hl__descriptor_add(files[1], 0, close_on_exec);
    if (second < 0) {
        hl__descriptor_close((uint64_t)first);
        return second;
    }
    descriptors[0] = (int32_t)first;
    descriptors[1] = (int32_t)second;
    if (hl__user_write(address, descriptors, sizeof descriptors) == 0)
        return 0;
    hl__descriptor_close((uint64_t)first);
    hl__descriptor_close((uint64_t)second);
    return -EFAULT;
}
