#include "io/vectors.h"
#include "entry/access.h"

struct piece {
    uint64_t address, size;
};

/* The part of the pieces that holds byte `offset`, from there on; size 0: behind the end. */
static struct piece vectors_piece(const struct hl__vectors *vectors, uint64_t offset)
{
    for (uint32_t i = 0; i < vectors->count; i++) {
        const struct linux_iovec *item = &vectors->items[i];

        if (offset < item->size)
            return (struct piece){item->address + offset, item->size - offset};
        offset -= item->size;
    }
    return (struct piece){0, 0};
}

/* Bytes up to the end of the page, so that a fault costs no more than the page's part. */
static uint64_t page_rest(uint64_t address, uint64_t size)
{
    uint64_t rest = HL_ABI_PAGE_SIZE - address % HL_ABI_PAGE_SIZE;

    return size < rest ? size : rest;
}

/* What of a piece that could not be copied as a whole can be. */
static uint64_t copy_prefix(uint64_t program, uint8_t *own, uint64_t size, bool to_program)
{
    uint64_t done = 0;

    while (done < size) {
        uint64_t part = page_rest(program + done, size - done);
        int64_t status = to_program ? hl__user_write(program + done, own + done, part)
                                    : hl__user_read(own + done, program + done, part);
        if (status < 0)
            break;
        done += part;
    }
    return done;
}

static int64_t vectors_copy(const struct hl__vectors *vectors, uint64_t offset, uint8_t *own,
                            uint64_t size, bool to_program)
{
    uint64_t done = 0;

    while (done < size) {
        struct piece piece = vectors_piece(vectors, offset + done);
        uint64_t part = piece.size < size - done ? piece.size : size - done;
        int64_t status;

        if (!part)
            break;
        status = to_program ? hl__user_write(piece.address, own + done, part)
                            : hl__user_read(own + done, piece.address, part);
        if (status < 0) {
            done += copy_prefix(piece.address, own + done, part, to_program);
            return done ? (int64_t)done : -EFAULT;
        }
        done += part;
    }
    return (int64_t)done;
}

int64_t hl__vectors_read(const struct hl__vectors *from, uint64_t offset, void *to, uint64_t size)
{
    return vectors_copy(from, offset, to, size, false);
}

int64_t hl__vectors_write(const struct hl__vectors *to, uint64_t offset, const void *from,
                          uint64_t size)
{
    return vectors_copy(to, offset, (uint8_t *)from, size, true);
}

int64_t hl__vectors_get(struct hl__vectors *vectors, struct linux_iovec *items, uint64_t address,
                        uint64_t count)
{
    *vectors = (struct hl__vectors){items, (uint32_t)count, 0};
    if (count > HL__VECTORS_MAX)
        return -EINVAL;
    if (count && hl__user_read(items, address, count * sizeof *items) < 0)
        return -EFAULT;
    for (uint64_t i = 0; i < count; i++) {
        if ((int64_t)items[i].size < 0)
            return -EINVAL;
        if (items[i].size > HL__TRANSFER_SIZE_MAX - vectors->size)
            items[i].size = HL__TRANSFER_SIZE_MAX - vectors->size;
        vectors->size += items[i].size;
    }
    return 0;
}
